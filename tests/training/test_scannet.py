"""ScanNet's .sens files, written here from real and made-up frames: what comes back, what is said of broken ones."""

import io
import re
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import trimesh
from PIL import Image
from typer.testing import CliRunner

from pri3d_zoo.training.cli import app
from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.scene import Scene, scene_path
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.scannet import ScanNetSource
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)
INTRINSICS = np.array([[30, 0, 15.5], [0, 31, 11.25], [0, 0, 1]])
HEADER_BYTES = 4 + 8 + len(b"StructureSensor") + 4 * 64 + 2 * 4 + 4 * 4 + 4 + 8


class Written(NamedTuple):
    """A frame as it stands in the file."""

    pose: np.ndarray
    color: bytes
    depth: bytes


def write_sens(path: Path, frames: list[Written], **changes: object) -> list[int]:
    """Write a .sens file; gives the byte at which each frame begins."""
    values = {
        "version": 4,
        "name": b"StructureSensor",
        "color_intrinsics": INTRINSICS,
        "color_extrinsics": np.eye(4),
        "depth_intrinsics": INTRINSICS,
        "depth_extrinsics": np.eye(4),
        "color_compression": 2,
        "depth_compression": 1,
        "color_size": SIZE,
        "depth_size": SIZE,
        "depth_shift": 1000.0,
        "count": len(frames),
    } | changes
    data = struct.pack("<IQ", values["version"], len(values["name"])) + values["name"]
    for camera in ("color", "depth"):
        intrinsics = np.eye(4)
        intrinsics[:3, :3] = values[f"{camera}_intrinsics"]
        data += intrinsics.astype("<f4").tobytes() + values[f"{camera}_extrinsics"].astype("<f4").tobytes()
    data += struct.pack("<ii", values["color_compression"], values["depth_compression"])
    data += struct.pack("<4I", *values["color_size"][::-1], *values["depth_size"][::-1])
    data += struct.pack("<fQ", values["depth_shift"], values["count"])
    starts = []
    for index, frame in enumerate(frames):
        starts.append(len(data))
        times = struct.pack("<4Q", 33_333 * index, 33_333 * index, len(frame.color), len(frame.depth))
        data += frame.pose.astype("<f4").tobytes() + times + frame.color + frame.depth
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return starts


def jpeg(color: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(color).save(data, "JPEG", quality=90)
    return data.getvalue()


def made_up(count: int, seed: int = 0) -> list[Written]:
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        pose = np.eye(4)
        pose[:3, 3] = generator.normal(0, 0.01, 3)
        depth = generator.integers(998, 1003, SIZE).astype("<u2")
        color = generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        frames.append(Written(pose, jpeg(color), zlib.compress(depth.tobytes())))
    return frames


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return tmp_path / "scans" / "scene0000_00" / "scene0000_00.sens"


def read(path: Path, stride: int = 1) -> list[Frame | SkippedFrame]:
    return list(ScanNetSource(path.parents[1], stride=stride).frames(path.stem))


def check(frame: Frame | SkippedFrame, written: Written) -> None:
    """The frame is exactly what was written."""
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.color, np.array(Image.open(io.BytesIO(written.color))))
    depth = np.frombuffer(zlib.decompress(written.depth), "<u2").reshape(SIZE)
    assert np.array_equal(frame.depth, depth / np.float32(1000))
    assert np.array_equal(frame.camera_to_world, written.pose.astype(np.float32))
    assert np.array_equal(frame.intrinsics, INTRINSICS.astype(np.float32))


def test_kitchen_frames_come_back_exactly(real_data: Path, tmp_path: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    wanted = [frame for frame in FolderSource(kitchen, frames=12).frames(kitchen.name) if isinstance(frame, Frame)]
    written = [
        Written(
            frame.camera_to_world,
            (kitchen / f"color/{frame.id}.jpg").read_bytes(),
            zlib.compress(np.array(Image.open(kitchen / f"depth/{frame.id}.png")).astype("<u2").tobytes()),
        )
        for frame in wanted
    ]
    path = tmp_path / "scene0000_00" / "scene0000_00.sens"
    intrinsics, size = wanted[0].intrinsics, wanted[0].depth.shape
    write_sens(
        path, written, color_size=size, depth_size=size, color_intrinsics=intrinsics, depth_intrinsics=intrinsics
    )
    found = read(path)
    assert [frame.id for frame in found] == [f"{index:06d}" for index in range(12)]
    for frame, expected in zip(found, wanted, strict=True):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.color, expected.color)
        assert np.array_equal(frame.depth, expected.depth)
        assert np.array_equal(frame.camera_to_world, expected.camera_to_world.astype(np.float32))
        assert np.allclose(frame.intrinsics, expected.intrinsics, rtol=1e-7)


def test_kitchen_with_finer_colour_keeps_every_reading(real_data: Path, tmp_path: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    (wanted,) = FolderSource(kitchen, frames=1).frames(kitchen.name)
    assert isinstance(wanted, Frame)
    fine = np.array(Image.fromarray(wanted.color).resize((1280, 960), Image.Resampling.NEAREST))
    depth = np.rint(wanted.depth * 1000).astype("<u2")
    scale = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])  # the first of four centres lies 1.5 before the middle
    path = tmp_path / "scene0000_00" / "scene0000_00.sens"
    write_sens(
        path,
        [Written(wanted.camera_to_world, jpeg(fine), zlib.compress(depth.tobytes()))],
        color_size=(960, 1280),
        depth_size=(240, 320),
        color_intrinsics=scale @ wanted.intrinsics,
        depth_intrinsics=wanted.intrinsics,
    )
    (frame,) = read(path)
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.depth, wanted.depth)
    assert np.allclose(frame.intrinsics, wanted.intrinsics, atol=1e-4)
    assert np.abs(frame.color.astype(int) - wanted.color).mean() < 2  # JPEG


def test_raw_depth_png_colour_and_another_shift(scan: Path) -> None:
    color = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    depth = np.arange(768, dtype="<u2").reshape(SIZE)
    depth[3, 4] = 65535  # no reading
    data = io.BytesIO()
    Image.fromarray(color).save(data, "PNG")
    frames = [Written(np.eye(4), data.getvalue(), depth.tobytes())]
    write_sens(scan, frames, color_compression=1, depth_compression=0, depth_shift=4000.0, name=b"")
    (frame,) = read(scan)
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.color, color)
    assert frame.depth[3, 4] == 0
    depth[3, 4] = 0
    assert np.array_equal(frame.depth, depth / np.float32(4000))


def test_extrinsics_move_depth_and_pose(scan: Path) -> None:
    depth = np.full(SIZE, 3000, "<u2")
    color_extrinsics, depth_extrinsics = np.eye(4), np.eye(4)
    color_extrinsics[0, 3], depth_extrinsics[0, 3] = 0.1, 0.3
    frames = [Written(np.eye(4), made_up(1)[0].color, zlib.compress(depth.tobytes()))]
    write_sens(scan, frames, color_extrinsics=color_extrinsics, depth_extrinsics=depth_extrinsics)
    (frame,) = read(scan)
    assert isinstance(frame, Frame)
    assert np.allclose(frame.camera_to_world[:3, 3], (0.1, 0, 0))
    # the depth camera stands 0.2 m to the right: at 3 m that is 2 of 30 pixels of focal length
    assert (frame.depth[:, :2] == 0).all()
    assert np.allclose(frame.depth[:, 2:], 3)


def test_hidden_companions_are_no_scans(scan: Path) -> None:
    write_sens(scan, made_up(1))
    scan.with_name(f"._{scan.name}").write_bytes(b"of macOS")
    assert ScanNetSource(scan.parents[1]).scene_ids() == ["scene0000_00"]
    assert ScanNetSource(scan.parent).scene_ids() == ["scene0000_00"]


def test_only_every_stride_th_frame_is_read(scan: Path) -> None:
    frames = made_up(60)
    # what lies between is never decoded
    broken = [frame if index % 25 == 0 else frame._replace(color=b"x", depth=b"") for index, frame in enumerate(frames)]
    write_sens(scan, broken)
    found = list(ScanNetSource(scan.parents[1]).frames("scene0000_00"))  # 25 is the default
    assert [frame.id for frame in found] == ["000000", "000025", "000050"]
    for frame, index in zip(found, (0, 25, 50), strict=True):
        check(frame, frames[index])


@pytest.mark.slow
def test_30_000_frames_take_no_memory(scan: Path) -> None:
    whole, count = made_up(1)[0], 30_000
    frames = [whole if index % 25 == 0 else Written(np.eye(4), b"", b"") for index in range(count)]
    write_sens_quickly(scan, frames)
    tracemalloc.start()
    found = sum(isinstance(frame, Frame) for frame in ScanNetSource(scan.parent).frames("scene0000_00"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == count // 25
    assert peak < 1e6  # of 5 MB of frames


def write_sens_quickly(path: Path, frames: list[Written]) -> None:
    """As write_sens, for many frames."""
    write_sens(path, [], count=len(frames))
    with path.open("ab") as file:
        for frame in frames:
            sizes = struct.pack("<4Q", 0, 0, len(frame.color), len(frame.depth))
            file.write(frame.pose.astype("<f4").tobytes() + sizes + frame.color + frame.depth)


@pytest.mark.parametrize("stride", [1, 4])
def test_cut_files_give_what_is_before_the_cut(scan: Path, stride: int) -> None:
    frames = made_up(9)
    starts = write_sens(scan, frames)
    whole = scan.read_bytes()
    generator = np.random.default_rng(0)
    for cut in (*generator.integers(starts[0], len(whole), 15).tolist(), *starts, starts[4] + 95, starts[4] + 96):
        scan.write_bytes(whole[:cut])
        found = read(scan, stride)
        broken = max(index for index, start in enumerate(starts) if start <= cut)
        wanted = range(0, 9, stride)
        missing = [index for index in wanted if index >= broken]
        assert [int(frame.id) for frame in found] == [index for index in wanted if index < broken] + missing[:1]
        for frame in found[: len(wanted) - len(missing)]:
            check(frame, frames[int(frame.id)])
        for frame in found[len(wanted) - len(missing) :]:
            assert isinstance(frame, SkippedFrame)
            assert frame.reason == (
                f"{scan} ends at byte {cut}, within frame {broken} (which begins at {starts[broken]}), "
                f"{len(missing)} frames are missing; get it again"
            )


def test_ten_million_frames_in_a_kilobyte_are_one_that_is_skipped(scan: Path) -> None:
    write_sens(scan, [Written(np.eye(4), b"", b"")] * 7, count=10_000_000)
    assert scan.stat().st_size < 1100
    found = read(scan)
    assert [frame.id for frame in found] == [f"{index:06d}" for index in range(8)]
    assert isinstance(found[-1], SkippedFrame)
    assert "9999993 frames are missing" in found[-1].reason


@pytest.mark.parametrize("cut", [0, 3, 11, 12, 20, HEADER_BYTES - 1])
def test_a_cut_header_is_named_with_its_byte(scan: Path, cut: int) -> None:
    write_sens(scan, made_up(1))
    scan.write_bytes(scan.read_bytes()[:cut])
    with pytest.raises(InputError, match=rf"scene0000_00.sens is cut off in its header, at byte {cut}; get it again"):
        read(scan)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 3}, r"not a .sens file of version 4 \(it starts with 3\)"),
        ({"depth_compression": 2}, "its depth is compressed with occi, which only the scanner's library reads"),
        ({"depth_compression": 7}, "its depth is compressed by method 7"),
        ({"color_compression": 0}, "its colour is compressed not at all; write it again as JPEG"),
        ({"color_size": (0, 32)}, "its header is broken"),
        ({"depth_shift": 0.0}, "its header is broken"),
        ({"depth_shift": np.nan}, "its header is broken"),
        ({"count": 2**60}, "its header is broken"),
        ({"depth_extrinsics": np.full((4, 4), -np.inf)}, "its extrinsics are broken: the pose is not finite"),
    ],
)
def test_headers_that_cannot_be_read(scan: Path, changes: dict[str, object], reason: str) -> None:
    write_sens(scan, made_up(2), **changes)
    with pytest.raises(InputError, match=rf"scene0000_00.sens.*{reason}"):
        read(scan)


FAR_AWAY = np.array([[1, 0, 0, 0], [0, 1, 0, -1e5], [0, 0, 1, 0], [0, 0, 0, 1]])
SHEARED = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pose": np.full((4, 4), -np.inf)}, "the pose is not finite"),
        ({"pose": np.full((4, 4), np.nan)}, "the pose is not finite"),
        ({"pose": FAR_AWAY}, r"the pose is 1e\+05 m from the origin"),
        ({"pose": SHEARED}, r"the pose is not a rigid motion"),
        ({"pose": np.diag([-1.0, 1, 1, 1])}, r"the pose is not a rigid motion"),
        ({"color": made_up(1)[0].color[:400]}, "its colour is broken"),
        ({"color": b""}, "its colour is broken"),
        (
            {"color": jpeg(np.zeros((12, 16, 3), np.uint8))},
            r"its colour is \(12, 16\), where the header says \(24, 32\)",
        ),
        ({"depth": made_up(1)[0].depth[:300]}, "its depth has .* bytes, where 1536 are needed"),
        ({"depth": b"no zlib"}, "its depth is broken"),
        ({"depth": zlib.compress(bytes(10**7))}, "its depth has 1537 bytes, where 1536 are needed"),
    ],
)
def test_broken_frames_are_skipped(scan: Path, change: dict[str, object], reason: str) -> None:
    frames = made_up(3)
    starts = write_sens(scan, [frames[0], frames[1]._replace(**change), frames[2]])
    first, skipped, last = read(scan)
    check(first, frames[0])
    check(last, frames[2])
    assert isinstance(skipped, SkippedFrame)
    assert skipped.id == "000001"
    assert re.search(rf"scene0000_00.sens, frame at byte {starts[1]}: .*{reason}", skipped.reason)


def test_depth_without_a_reading_is_a_frame(scan: Path) -> None:
    frames = made_up(2)
    write_sens(scan, [frames[0]._replace(depth=zlib.compress(bytes(1536))), frames[1]])
    first, second = read(scan)
    assert isinstance(first, Frame)
    assert not first.depth.any()
    check(second, frames[1])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release with three scans."""
    root = tmp_path / "scannet"
    for number in range(3):
        name = f"scene000{number}_00"
        write_sens(root / "scans" / name / f"{name}.sens", made_up(4, seed=number))
    return root


def test_scans_are_found_wherever_the_root_points(release: Path) -> None:
    names = ["scene0000_00", "scene0001_00", "scene0002_00"]
    assert ScanNetSource(release).scene_ids() == names
    assert ScanNetSource(release / "scans").scene_ids() == names
    assert ScanNetSource(release / "scans" / names[1]).scene_ids() == names[1:2]


def test_a_split_or_a_list_leaves_the_others_out(release: Path) -> None:
    (release / "scannetv2_train.txt").write_text("scene0002_00\nscene0000_00\n")
    assert ScanNetSource(release, split="train").scene_ids() == ["scene0000_00", "scene0002_00"]
    assert ScanNetSource(release, scenes=["scene0001_00"]).scene_ids() == ["scene0001_00"]


def test_folders_without_scans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ScanNetSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no scan in it"):
        ScanNetSource(tmp_path)


def test_the_mesh_is_the_surface(release: Path) -> None:
    source = ScanNetSource(release)
    assert source.surface("scene0000_00") is None
    path = release / "scans" / "scene0000_00" / "scene0000_00_vh_clean_2.ply"
    box = trimesh.creation.box((0.1, 0.1, 0.1))
    box.visual.vertex_colors = np.full((8, 4), 200, np.uint8)
    box.export(path)
    surface = source.surface("scene0000_00")
    assert surface is not None
    assert np.abs(np.abs(surface.points).max(1) - 0.05).max() < 0.01
    assert len(surface.points) > 6 * (0.1 / 0.01) ** 2
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"scene0000_00_vh_clean_2.ply"):
        source.surface("scene0000_00")


def test_prepare_on_the_command_line(release: Path, tmp_path: Path) -> None:
    (release / "scannetv2_train.txt").write_text("scene0000_00\nscene0001_00\n")
    frames = made_up(5)
    frames[2] = frames[2]._replace(pose=np.full((4, 4), -np.inf))
    frames[4] = frames[4]._replace(depth=zlib.compress(bytes(1536)))
    scan = release / "scans" / "scene0001_00" / "scene0001_00.sens"
    write_sens(scan, frames)
    scan.write_bytes(scan.read_bytes()[:-10])
    store = tmp_path / "store"
    command = ["prepare", "scannet", str(release), str(store), "--split", "train", "--stride", "2", "--workers", "1"]
    result = CliRunner().invoke(app, [*command, "--size", "24", "32", "--voxel-size", "0.1"])
    assert result.exit_code == 0, result.output
    assert "2 scenes prepared" in result.stdout
    scene = Scene(scene_path(store, "scene0001_00"))
    assert scene.frame_ids == ["000000"]
    assert [skipped["id"] for skipped in scene.manifest["skipped"]] == ["000002", "000004"]
    assert "not finite" in scene.manifest["skipped"][0]["reason"]
    assert "ends at byte" in scene.manifest["skipped"][1]["reason"]
    assert scene.manifest["arguments"]["stride"] == 2
    other = Scene(scene_path(store, "scene0000_00"))
    assert other.frame_ids == ["000000", "000002"]
    assert other.pairs.tolist() == [[0, 1]]


def test_what_swells_is_not_unpacked(scan: Path) -> None:
    huge = Image.new("1", (9000, 9000))
    data = io.BytesIO()
    huge.save(data, "PNG")
    frames = made_up(2)
    write_sens(scan, [frames[0]._replace(color=data.getvalue()), frames[1]])
    tracemalloc.start()
    skipped, whole = read(scan)
    assert tracemalloc.get_traced_memory()[1] < 5e6  # of 243 MB
    tracemalloc.stop()
    assert isinstance(skipped, SkippedFrame)
    assert "its colour is (9000, 9000), where the header says (24, 32)" in skipped.reason
    check(whole, frames[1])
    for size in ((65_535, 65_535), (2**32 - 1, 2**32 - 1)):
        write_sens(scan, frames, depth_size=size)
        with pytest.raises(InputError, match=r"scene0000_00.sens: its header is broken"):
            read(scan)


def test_colour_of_other_formats_never_meets_their_readers(scan: Path) -> None:
    postscript = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\nshowpage\n"  # Pillow runs a program
    )
    write_sens(scan, [made_up(1)[0]._replace(color=postscript)])
    (skipped,) = read(scan)
    assert isinstance(skipped, SkippedFrame)
    assert "cannot identify image file" in skipped.reason
