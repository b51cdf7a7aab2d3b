"""ScanNet's 25k-frame export, written here: what comes back, and what is said of broken files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.scannet_frames import ScanNetFramesSource
from pri3d_zoo.training.errors import InputError

COLOR_SIZE, DEPTH_SIZE = (48, 64), (24, 32)
DEPTH_INTRINSICS = np.array([[30, 0, 15.5, 0], [0, 31, 11.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
COLOR_INTRINSICS = np.array([[60, 0, 31.5, 0], [0, 62, 23.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def write_scene(folder: Path, ids: list[str], seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    for name in ("color", "depth", "pose", "label", "instance"):
        (folder / name).mkdir(parents=True)
    np.savetxt(folder / "intrinsics_color.txt", COLOR_INTRINSICS, fmt="%f")
    np.savetxt(folder / "intrinsics_depth.txt", DEPTH_INTRINSICS, fmt="%f")
    for id in ids:
        pose = np.eye(4)
        pose[:3, 3] = generator.normal(size=3).round(6)
        np.savetxt(folder / "pose" / f"{id}.txt", pose, fmt="%f")
        Image.fromarray(generator.integers(0, 256, (*COLOR_SIZE, 3), dtype=np.uint8)).save(
            folder / "color" / f"{id}.jpg"
        )
        Image.fromarray(generator.integers(0, 5000, DEPTH_SIZE).astype(np.uint16)).save(folder / "depth" / f"{id}.png")
        for name, values in (("label", 41), ("instance", 250)):
            blocks = generator.integers(0, values, DEPTH_SIZE, dtype=np.uint8)
            Image.fromarray(blocks.repeat(2, 0).repeat(2, 1)).save(folder / name / f"{id}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(2):
        write_scene(
            tmp_path / "scannet_frames_25k" / f"scene000{number}_00", [f"{i:06d}" for i in range(0, 500, 100)], number
        )
    return tmp_path / "scannet_frames_25k"


def image(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_what_is_written_comes_back(root: Path) -> None:
    source = ScanNetFramesSource(root)
    assert source.scene_ids() == ["scene0000_00", "scene0001_00"]
    found = list(source.frames("scene0001_00"))
    assert [frame.id for frame in found] == ["000000", "000100", "000200", "000300", "000400"]
    folder = root / "scene0001_00"
    for frame in found:
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.depth, image(folder / f"depth/{frame.id}.png") / np.float32(1000))
        assert np.array_equal(frame.camera_to_world, np.loadtxt(folder / f"pose/{frame.id}.txt"))
        # the centres of 2x2 blocks of the colour image are those of the depth image
        assert np.allclose(frame.intrinsics, DEPTH_INTRINSICS[:3, :3])
        color = image(folder / f"color/{frame.id}.jpg").reshape(24, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(frame.color - color).max() <= 1  # rounded along one axis after the other
        assert np.array_equal(frame.semantic, image(folder / f"label/{frame.id}.png")[::2, ::2])
        assert np.array_equal(frame.instance, image(folder / f"instance/{frame.id}.png")[::2, ::2])
        assert frame.semantic.dtype == np.uint8
        assert frame.instance.dtype == np.uint16


def test_numbers_without_zeros_in_front_are_in_order(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene0000_00", [str(number) for number in range(0, 120, 10)])
    frames = ScanNetFramesSource(tmp_path, stride=4).frames("scene0000_00")
    assert [frame.id for frame in frames] == ["0", "40", "80"]


def test_kitchen_frames_come_back_exactly(real_data: Path, tmp_path: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    folder = tmp_path / "scene0000_00"
    folder.mkdir()
    for name in ("color", "depth", "pose"):
        (folder / name).symlink_to(kitchen / name)
    intrinsics = np.eye(4)
    intrinsics[:3, :3] = np.loadtxt(kitchen / "intrinsics.txt")
    for name in ("color", "depth"):
        np.savetxt(folder / f"intrinsics_{name}.txt", intrinsics)
    found = list(ScanNetFramesSource(tmp_path, stride=50).frames("scene0000_00"))
    wanted = list(FolderSource(kitchen).frames(kitchen.name))[::50]
    for frame, expected in zip(found, wanted, strict=True):
        assert isinstance(frame, Frame)
        assert isinstance(expected, Frame)
        for name in ("color", "depth", "intrinsics", "camera_to_world"):
            assert np.array_equal(getattr(frame, name), getattr(expected, name)), name


def test_scenes_are_found_wherever_the_root_points(root: Path) -> None:
    (root / "scannetv2_val.txt").write_text("scene0001_00\n")
    assert len(ScanNetFramesSource(root.parent).scene_ids()) == 2
    assert ScanNetFramesSource(root / "scene0000_00").scene_ids() == ["scene0000_00"]
    assert ScanNetFramesSource(root, split="val").scene_ids() == ["scene0001_00"]
    assert ScanNetFramesSource(root.parent, split="val").scene_ids() == ["scene0001_00"]
    assert open_source("scannet_frames", str(root), size=DEPTH_SIZE, stride=2).scene_ids() == [
        "scene0000_00",
        "scene0001_00",
    ]
    with pytest.raises(InputError, match="no such folder"):
        ScanNetFramesSource(root / "nowhere")
    with pytest.raises(InputError, match="no scene in it"):
        ScanNetFramesSource(root / "scene0000_00" / "color")


def test_stride(root: Path) -> None:
    found = ScanNetFramesSource(root, stride=2).frames("scene0000_00")
    assert [frame.id for frame in found] == ["000000", "000200", "000400"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("color/000200.jpg", None, "color/000200.jpg is missing"),
        ("color/000200.jpg", 0.5, "color/000200.jpg is broken"),
        ("depth/000200.png", None, "depth/000200.png is missing"),
        ("depth/000200.png", 0.5, "depth/000200.png is broken"),
        ("label/000200.png", 0.5, "label/000200.png is broken"),
        ("pose/000200.txt", None, "pose/000200.txt is missing"),
        ("pose/000200.txt", "-inf " * 16, "pose/000200.txt: the pose is not finite"),
        ("pose/000200.txt", "nan " * 16, "pose/000200.txt: the pose is not finite"),
        ("pose/000200.txt", "1 .3 0 0 0 1 0 0 0 0 1 0 0 0 0 1", "pose/000200.txt: the pose is not a rigid motion"),
        ("pose/000200.txt", "1 0 0", "pose/000200.txt holds 3 numbers"),
    ],
)
def test_broken_frames_are_skipped(root: Path, name: str, data: str | float | None, reason: str) -> None:
    path = root / "scene0000_00" / name
    if data is None:
        path.unlink()
    elif isinstance(data, float):
        path.write_bytes(path.read_bytes()[: int(data * path.stat().st_size)])
    else:
        path.write_text(data)
    found = list(ScanNetFramesSource(root).frames("scene0000_00"))
    (skipped,) = (frame for frame in found if isinstance(frame, SkippedFrame))
    assert len(found) == 5
    assert skipped.id == "000200"
    assert reason in skipped.reason


def test_labels_of_another_size_are_skipped(root: Path) -> None:
    Image.fromarray(np.zeros(DEPTH_SIZE, np.uint8)).save(root / "scene0000_00" / "label" / "000000.png")
    first = next(ScanNetFramesSource(root).frames("scene0000_00"))
    assert isinstance(first, SkippedFrame)
    assert "label/000000.png is (24, 32), colour is (48, 64)" in first.reason


@pytest.mark.parametrize("text", [None, "1 2 3", "-30 0 15 0 0 30 11 0 0 0 1 0 0 0 0 1", "nan " * 16])
@pytest.mark.parametrize("name", ["color", "depth"])
def test_bad_intrinsics_stop_the_scene(root: Path, text: str | None, name: str) -> None:
    path = root / "scene0000_00" / f"intrinsics_{name}.txt"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(InputError, match=f"intrinsics_{name}.txt"):
        next(ScanNetFramesSource(root).frames("scene0000_00"))


def test_surfaces_are_fused_unless_a_mesh_is_there(root: Path) -> None:
    source = ScanNetFramesSource(root)
    assert source.surface("scene0000_00") is None
    (root / "scene0000_00" / "scene0000_00_vh_clean_2.ply").write_text("ply\n")
    with pytest.raises(InputError, match=r"scene0000_00_vh_clean_2.ply cannot be read as a mesh"):
        source.surface("scene0000_00")
