"""The prepared format: round trips, and that nothing broken is ever read."""

import io
import json
import multiprocessing
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.scene import STORE_VERSION, Scene, scene_path
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)


def frame(index: int, *, labels: bool = False, size: tuple[int, int] = SIZE, id: str | None = None) -> Frame:
    generator = np.random.default_rng(index)
    pose = np.eye(4)
    pose[:3, 3] = generator.normal(size=3)
    return Frame(
        id=id or f"{index:04d}",
        color=np.full((*size, 3), generator.integers(0, 256, 3), np.uint8),
        depth=(generator.integers(0, 5000, size) / 1000).astype(np.float32),
        intrinsics=np.array([[30.5 + index, 0, 15.5], [0, 31, 11.25], [0, 0, 1]]),
        camera_to_world=pose,
        semantic=generator.integers(0, 41, size).astype(np.uint8) if labels else None,
        instance=generator.integers(0, 60000, size).astype(np.uint16) if labels else None,
    )


def write(root: Path, scene: str, *, voxel_size: float = 0.02, size: tuple[int, int] = SIZE, frames: int = 5) -> Path:
    with SceneWriter(root, scene) as writer:
        for index in range(frames):
            writer.add_frame(frame(index, labels=index % 2 == 0, size=size))
        finish(writer, voxel_size)
    return scene_path(root, scene)


def finish(writer: SceneWriter, voxel_size: float = 0.02) -> None:
    writer.finish(
        pairs=np.array([[0, 1], [2, 4]], np.int32),
        overlaps=np.array([0.5, 0.75], np.float32),
        voxels=np.array([[-3, 0, 7], [1, 2, 3], [4, 5, 6]], np.int32),
        voxel_colors=np.array([[1, 2, 3], [0, 255, 7], [9, 9, 9]], np.uint8),
        voxel_size=voxel_size,
        manifest={"skipped": [{"id": "x", "reason": "because"}]},
    )


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path, "den")
    write(tmp_path, "attic")
    store = SceneStore(tmp_path)
    assert store.scene_ids == ["attic", "den"]
    assert len(store) == 2
    assert store.size == SIZE
    assert store.voxel_size == 0.02
    scene = store.scene("den")
    assert scene.frame_ids == [f"{index:04d}" for index in range(5)]
    assert scene.manifest["skipped"] == [{"id": "x", "reason": "because"}]
    assert scene.pairs.tolist() == [[0, 1], [2, 4]]
    assert scene.overlaps.tolist() == [0.5, 0.75]
    assert scene.voxels.tolist() == [[-3, 0, 7], [1, 2, 3], [4, 5, 6]]
    assert scene.voxel_colors.tolist() == [[1, 2, 3], [0, 255, 7], [9, 9, 9]]
    types = (scene.pairs, scene.overlaps, scene.voxels, scene.voxel_colors, scene.intrinsics)
    assert [str(array.dtype) for array in types] == ["int32", "float32", "int32", "uint8", "float64"]
    for index in range(5):
        wanted = frame(index, labels=index % 2 == 0)
        assert np.abs(scene.color(index).astype(int) - wanted.color).max() <= 2
        assert np.array_equal(scene.depth(index), wanted.depth)
        assert np.array_equal(scene.intrinsics[index], wanted.intrinsics)
        assert np.array_equal(scene.camera_to_world[index], wanted.camera_to_world)
        if index % 2:
            assert scene.semantic(index) is None
            assert scene.instance(index) is None
        else:
            assert np.array_equal(scene.semantic(index), wanted.semantic)
            assert np.array_equal(scene.instance(index), wanted.instance)
    scene.verify()


def test_instances_have_16_bits_whatever_pillow_makes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "den")
    scene, original = SceneStore(tmp_path).scene("den"), Scene._image
    monkeypatch.setattr(Scene, "_image", lambda self, *arguments: original(self, *arguments).astype(np.int32))
    found = scene.instance(0)
    assert found is not None
    assert found.dtype == np.uint16
    assert np.array_equal(found, frame(0, labels=True).instance)


@pytest.mark.parametrize(("part", "kind"), [("depth", np.float64), ("semantic", np.int64), ("instance", np.uint8)])
def test_frames_have_the_types_of_the_store(part: str, kind: type[np.generic]) -> None:
    whole = frame(0, labels=True)
    with pytest.raises(InputError, match=f"{part} must be .*, not {kind.__name__}"):
        replace(whole, **{part: getattr(whole, part).astype(kind)})


def test_any_zip_tool_reads_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path, "den")) as file:
        assert file.testzip() is None
        assert json.loads(file.read("manifest.json"))["version"] == STORE_VERSION
        assert Image.open(io.BytesIO(file.read("depth/0000.png"))).size == (32, 24)
        assert all(member.compress_type == zipfile.ZIP_STORED for member in file.infolist())


def test_the_bytes_tell_no_time(tmp_path: Path) -> None:
    assert write(tmp_path / "a", "den").read_bytes() == write(tmp_path / "b", "den").read_bytes()


def test_depth_beyond_16_bits_is_no_reading(tmp_path: Path) -> None:
    far = frame(0)
    far.depth[0, :3] = (65.535, 65.6, 1000)
    with SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(far)
        finish(writer)
    assert SceneStore(tmp_path).scene("den").depth(0)[0, :3].tolist() == pytest.approx([65.535, 0, 0])


def test_an_interrupted_scene_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(frame(0))
        raise KeyboardInterrupt
    with SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(frame(0))  # and never finished
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_scene_leaves_the_one_before(tmp_path: Path) -> None:
    before = write(tmp_path, "den").read_bytes()
    with pytest.raises(InputError), SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(frame(0))
        writer.add_frame(frame(0))
    assert scene_path(tmp_path, "den").read_bytes() == before


def test_writer_refuses(tmp_path: Path) -> None:
    for name in ("", ".", "..", ".den", "a/b", "a\\b", "a\nb"):
        with pytest.raises(InputError, match="plain name"):
            SceneWriter(tmp_path, name)
    with SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(frame(0))
        with pytest.raises(InputError, match="two frames have the id 0000"):
            writer.add_frame(frame(0))
        with pytest.raises(InputError, match="frames before it"):
            writer.add_frame(frame(1, size=(12, 16)))
        with pytest.raises(InputError, match="plain name"):
            writer.add_frame(frame(1, id="../1"))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    data = path.read_bytes()
    for length in [0, 1, 100, *np.linspace(200, len(data) - 1, 40).astype(int)]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"den.pri3d.zip.*run prepare again"):
            SceneStore(tmp_path).scene("den").verify()


def test_a_broken_image_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        at = file.getinfo("depth/0002.png").header_offset + 30 + len("depth/0002.png")
    data[at + 60] ^= 1
    path.write_bytes(bytes(data))
    scene = SceneStore(tmp_path).scene("den")
    scene.depth(1)
    with pytest.raises(InputError, match=r"checksum of depth/0002.png.*run prepare again"):
        scene.depth(2)


def rewrite(path: Path, change: dict[str, object]) -> None:
    """The scene with another manifest."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | change).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def test_other_versions_are_refused(tmp_path: Path) -> None:
    rewrite(write(tmp_path, "den"), {"version": 99})
    with pytest.raises(InputError, match=rf"den.pri3d.zip.*version 99.*reads {STORE_VERSION}.*run prepare again"):
        SceneStore(tmp_path)


def test_scenes_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "attic")
    write(tmp_path, "den", voxel_size=0.05)
    with pytest.raises(InputError, match=r"den.*0.05.*attic.*0.02"):
        SceneStore(tmp_path)
    write(tmp_path, "den", size=(12, 16))
    with pytest.raises(InputError, match="den"):
        SceneStore(tmp_path)


def test_repacked_scenes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(InputError, match="compressed"):
        SceneStore(tmp_path)


def test_no_store_no_scene(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared scene"):
        SceneStore(tmp_path / "nowhere")
    (tmp_path / ".den.pri3d.zip.tmp").write_bytes(b"half")
    with pytest.raises(InputError, match="no prepared scene"):
        SceneStore(tmp_path)
    write(tmp_path, "attic")
    store = SceneStore(tmp_path)
    assert store.scene_ids == ["attic"]
    with pytest.raises(InputError, match=r"no scene 'den'.*attic"):
        store.scene("den")


class Depths(Dataset):
    """What a training dataset does with a store."""

    def __init__(self, store: SceneStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> float:
        scene = self.store.scene(self.store.scene_ids[index // 5])
        return float(scene.depth(index % 5).sum() + len(scene.voxels))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_side_by_side(tmp_path: Path, start: str) -> None:
    write(tmp_path, "den")
    write(tmp_path, "attic")
    data = Depths(SceneStore(tmp_path))
    expected = [data[index] for index in range(10)]  # every file has been read before the workers start
    context = multiprocessing.get_context(start)
    workers = 1 if start == "spawn" else 2  # a spawned one imports torch anew
    loader = DataLoader(data, batch_size=None, num_workers=workers, multiprocessing_context=context)
    assert [float(value) for value in loader] == expected


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    write(tmp_path, "den")
    scene = SceneStore(tmp_path).scene("den")
    expected = [scene.depth(index % 5).sum() for index in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda index: scene.depth(index % 5).sum(), range(200))) == expected


def test_a_pickle_carries_no_arrays(tmp_path: Path) -> None:
    scene = Scene(write(tmp_path, "den"))
    assert scene.pairs is scene.pairs
    assert len(pickle.dumps(scene)) < 500
    assert np.array_equal(pickle.loads(pickle.dumps(scene)).voxels, scene.voxels)


@pytest.fixture(scope="module")
def watch() -> Iterator[list[tuple[object, ...]]]:
    """What the interpreter asks the system to open or change while the list's first entry is there."""
    events: list[tuple[object, ...]] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if events and event.partition(".")[0] in {"open", "os", "shutil"}:
            events.append((event, *arguments))

    sys.addaudithook(note)  # can never be taken away, so it sleeps while the list is empty
    yield events
    events.clear()


def test_reads_from_storage_that_cannot_be_written(tmp_path: Path, watch: list[tuple[object, ...]]) -> None:
    write(tmp_path / "made", "den")
    root = tmp_path / "elsewhere"
    shutil.move(tmp_path / "made", root)  # nothing in it knows where it was
    for path in (*root.iterdir(), root):
        path.chmod(0o555)
    before = {path.name: path.stat().st_mtime_ns for path in (root, *root.iterdir())}
    watch.append(("begin",))
    store = SceneStore(root)
    scene = store.scene("den")
    scene.verify()
    for index in range(5):
        scene.color(index), scene.depth(index), scene.semantic(index), scene.instance(index)
    sizes = len(scene.voxels), len(scene.voxel_colors), len(scene.pairs), len(scene.overlaps)
    noted = watch[1:]
    watch.clear()
    assert sizes == (3, 3, 2, 2)
    # whoever runs this may be root, whom no permission stops: so nothing may have been tried
    opened = [event for event in noted if event[0] == "open" and str(root) in str(event[1])]
    assert len(opened) > 20
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
    assert not [event for event in opened if event[3] & writing]  # type: ignore[operator]
    assert {event[0] for event in noted} <= {"open", "os.scandir", "os.listdir", "os.fwalk"}
    assert {path.name: path.stat().st_mtime_ns for path in (root, *root.iterdir())} == before


def test_voxels_out_of_order_are_refused(tmp_path: Path) -> None:
    with SceneWriter(tmp_path, "den") as writer:
        writer.add_frame(frame(0))
        writer.finish(
            pairs=np.empty((0, 2), np.int32),
            overlaps=np.empty(0, np.float32),
            voxels=np.array([[1, 2, 3], [0, 5, 6]], np.int32),
            voxel_colors=np.zeros((2, 3), np.uint8),
            voxel_size=0.02,
            manifest={},
        )
    with pytest.raises(InputError, match=r"den.pri3d.zip.*voxels are not sorted.*run prepare again"):
        SceneStore(tmp_path).scene("den").voxels  # noqa: B018


def seal(path: Path, name: str, data: bytes) -> None:
    """Another member under a checksum that fits."""
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for member, content in (members | {name: data}).items():
            file.writestr(member, content)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b"7", b'{"version": 1}', b'{"version": 1, "frames": 3, "size": 4}', b"\xff"]
)
def test_manifests_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, "den")
    seal(path, "manifest.json", data)
    with pytest.raises(InputError, match=r"den.pri3d.zip.*manifest.*run prepare again"):
        SceneStore(tmp_path)


@pytest.mark.parametrize("change", [{"frames": [3]}, {"size": [0, 4]}, {"size": [10**6, 4]}, {"voxel_size": -1.0}])
def test_manifests_with_other_values_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    rewrite(write(tmp_path, "den"), change)
    with pytest.raises(InputError, match=r"frames, size or voxel_size of its manifest"):
        SceneStore(tmp_path)


def test_arrays_are_not_made_as_large_as_they_claim(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    for header in ("(1000000000000, 3)", "(3, 3", "'" * 9, "(-1, 3)"):
        text = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {header}, }}\n".encode()
        seal(path, "voxels.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        with pytest.raises(InputError, match=r"den.pri3d.zip.*voxels.npy is (no|an) array.*run prepare again"):
            Scene(path).voxels  # noqa: B018


def test_pairs_of_other_frames_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    for pairs in ([[0, 5]], [[-1, 0]]):
        data = io.BytesIO()
        np.save(data, np.array(pairs, np.int32))
        seal(path, "pairs.npy", data.getvalue())
        with pytest.raises(InputError, match="its pairs are of frames that it does not have"):
            Scene(path).pairs  # noqa: B018


def test_images_of_another_size_or_kind_are_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path, "den")
    for image, words in ((Image.new("I;16", (9000, 9000)), "(9000, 9000)"), (Image.new("RGB", (32, 24)), "RGB")):
        data = io.BytesIO()
        image.save(data, "PNG")
        seal(path, "depth/0001.png", data.getvalue())
        with pytest.raises(InputError, match=r"depth/0001.png is an image of") as error:
            Scene(path).depth(1)
        assert words in str(error.value)
    seal(path, "depth/0001.png", b"no image")
    with pytest.raises(InputError, match=r"depth/0001.png is no PNG that can be read"):
        Scene(path).depth(1)
