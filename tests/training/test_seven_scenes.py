"""7-Scenes, written here in its own layout: two cameras brought to one, and what is said of broken files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.seven_scenes import DEPTH_TO_COLOR, SIZE, SevenScenesSource
from pri3d_zoo.training.errors import InputError


def write_frame(folder: Path, number: int, color: np.ndarray, depth: np.ndarray, pose: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(color).save(folder / f"frame-{number:06d}.color.png", compress_level=1)
    Image.fromarray(depth).save(folder / f"frame-{number:06d}.depth.png", compress_level=1)
    np.savetxt(folder / f"frame-{number:06d}.pose.txt", pose, fmt="%.9e", delimiter="\t")


def some_frame(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(number)
    color = np.full((*SIZE, 3), generator.integers(0, 256, 3), np.uint8)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(generator.normal(size=3)).as_matrix()
    pose[:3, 3] = generator.normal(size=3)
    return color, np.full(SIZE, 2000, np.uint16), pose


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for room, sequences in (("chess", 2), ("stairs", 1)):
        for sequence in range(1, sequences + 1):
            for number in range(3):
                write_frame(tmp_path / "seven" / room / f"seq-{sequence:02d}", number, *some_frame(number))
    (tmp_path / "seven" / "chess" / "TrainSplit.txt").write_text("sequence2\n")
    (tmp_path / "seven" / "stairs" / "TrainSplit.txt").write_text("sequence1\n")
    return tmp_path / "seven"


def test_sequences_are_scenes(root: Path) -> None:
    names = ["chess_seq-01", "chess_seq-02", "stairs_seq-01"]
    assert SevenScenesSource(root).scene_ids() == names
    assert SevenScenesSource(root / "chess").scene_ids() == names[:2]
    assert SevenScenesSource(root / "chess" / "seq-02").scene_ids() == names[1:2]
    assert SevenScenesSource(root, split="train").scene_ids() == names[1:]
    assert open_source("7scenes", str(root), size=(240, 320), split="train").scene_ids() == names[1:]
    with pytest.raises(InputError, match=r"TestSplit.txt: cannot be read as a list"):
        SevenScenesSource(root, split="test")
    with pytest.raises(InputError, match="no such folder"):
        SevenScenesSource(root / "nowhere")
    with pytest.raises(InputError, match=r"no sequence in it.*unpacked"):
        SevenScenesSource(root.parent)
    assert SevenScenesSource(root).surface("chess_seq-01") is None


def test_stride(root: Path) -> None:
    assert [frame.id for frame in SevenScenesSource(root, stride=2).frames("chess_seq-01")] == ["000000", "000002"]


def test_numbers_without_zeros_in_front_are_in_order(root: Path) -> None:
    folder = root / "chess" / "seq-01"
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("00000", "", 1))
    for path in list(folder.glob("frame-2.*")):
        path.rename(folder / path.name.replace("2", "10", 1))
    assert [frame.id for frame in SevenScenesSource(root).frames("chess_seq-01")] == ["0", "1", "10"]


def test_colour_may_be_jpeg(root: Path) -> None:
    folder = root / "chess" / "seq-01"
    before = list(SevenScenesSource(folder).frames("chess_seq-01"))
    for path in list(folder.glob("*.color.png")):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    after = list(SevenScenesSource(folder).frames("chess_seq-01"))
    assert len(after) == 3
    for frame, expected in zip(after, before, strict=True):
        assert isinstance(frame, Frame)
        assert isinstance(expected, Frame)
        assert np.abs(frame.color.astype(int) - expected.color).max() <= 2
        assert np.array_equal(frame.depth, expected.depth)


def test_readings_are_where_they_were_in_the_world(root: Path) -> None:
    generator = np.random.default_rng(0)
    color, _, pose = some_frame(0)
    depth = np.zeros(SIZE, np.uint16)
    pixels = generator.integers((40, 40), (440, 600), (200, 2))
    depth[pixels[:, 0], pixels[:, 1]] = generator.integers(800, 4000, 200)
    depth[depth == 0] = 65535
    write_frame(root / "chess" / "seq-01", 0, color, depth, pose)
    frame = next(SevenScenesSource(root).frames("chess_seq-01"))
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.color, color)

    def world(rows: np.ndarray, columns: np.ndarray, z: np.ndarray, focal: float, camera: np.ndarray) -> np.ndarray:
        local = np.stack(((columns - 320) / focal * z, (rows - 240) / focal * z, z), -1)
        return local @ camera[:3, :3].T + camera[:3, 3]

    rows, columns = np.nonzero(depth != 65535)
    expected = world(rows, columns, depth[rows, columns] / 1000, 585, pose)
    rows, columns = np.nonzero(frame.depth)
    found = world(rows, columns, frame.depth[rows, columns], 525, frame.camera_to_world)
    assert 0.95 * len(expected) < len(found) <= len(expected)
    gaps = np.linalg.norm(found[:, None] - expected, axis=-1).min(1)
    assert gaps.max() < 0.5 * np.sqrt(2) * 4 / 525 + 1e-3  # half a pixel's diagonal at 4 m


def test_the_colour_camera_stands_beside_the_depth_camera(root: Path) -> None:
    _, _, pose = some_frame(0)
    frame = next(SevenScenesSource(root).frames("chess_seq-01"))
    assert isinstance(frame, Frame)
    assert np.allclose(frame.camera_to_world @ DEPTH_TO_COLOR, pose, atol=1e-8)
    assert 0.02 < np.linalg.norm(frame.camera_to_world[:3, 3] - pose[:3, 3]) < 0.03
    # a wall at 2 m, seen with a lens of 525 rather than 585 pixels, leaves a margin without readings
    assert (frame.depth[240, :5] == 0).all()
    assert np.allclose(frame.depth[100:380, 100:540], 2, atol=0.02)


def test_kitchen_frames_come_back(real_data: Path, tmp_path: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    wanted = [frame for frame in FolderSource(kitchen, frames=3).frames(kitchen.name) if isinstance(frame, Frame)]
    for number, frame in enumerate(wanted):
        color = frame.color.repeat(2, 0).repeat(2, 1)
        depth = np.rint(frame.depth * 1000).astype(np.uint16).repeat(2, 0).repeat(2, 1)
        write_frame(
            tmp_path / "kitchen" / "seq-01", number, color, np.where(depth, depth, 65535), frame.camera_to_world
        )
    for frame, expected in zip(SevenScenesSource(tmp_path).frames("kitchen_seq-01"), wanted, strict=True):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.color[::2, ::2], expected.color)
        pose = frame.camera_to_world @ DEPTH_TO_COLOR
        assert np.allclose(pose, expected.camera_to_world, atol=1e-7)
        assert frame.depth.max() < expected.depth.max() + 0.1  # 65535 is no reading
        assert (frame.depth > 0).mean() > 0.6 * (expected.depth > 0).mean()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("color.png", None, "seq-01/frame-000001.color.png is missing"),
        ("color.png", 0.5, "seq-01/frame-000001.color.png is broken"),
        ("depth.png", None, "seq-01/frame-000001.depth.png is missing"),
        ("depth.png", 0.5, "seq-01/frame-000001.depth.png is broken"),
        ("pose.txt", None, "seq-01/frame-000001.pose.txt is missing"),
        ("pose.txt", "-inf " * 16, "seq-01/frame-000001.pose.txt: the pose is not finite"),
        ("pose.txt", "nan " * 16, "seq-01/frame-000001.pose.txt: the pose is not finite"),
        (
            "pose.txt",
            "1 .3 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
            "seq-01/frame-000001.pose.txt: the pose is not a rigid motion",
        ),
        ("pose.txt", "1 0", "seq-01/frame-000001.pose.txt holds 2 numbers"),
    ],
)
def test_broken_frames_are_skipped(root: Path, name: str, data: str | float | None, reason: str) -> None:
    path = root / "chess" / "seq-01" / f"frame-000001.{name}"
    if data is None:
        path.unlink()
    elif isinstance(data, float):
        path.write_bytes(path.read_bytes()[: int(data * path.stat().st_size)])
    else:
        path.write_text(data)
    found = list(SevenScenesSource(root).frames("chess_seq-01"))
    (skipped,) = (frame for frame in found if isinstance(frame, SkippedFrame))
    assert len(found) == 3
    assert skipped.id == "000001"
    assert reason in skipped.reason


def test_images_of_another_size_are_skipped(root: Path) -> None:
    path = root / "chess" / "seq-01" / "frame-000000.depth.png"
    Image.fromarray(np.ones((240, 320), np.uint16)).save(path)
    first = next(SevenScenesSource(root).frames("chess_seq-01"))
    assert isinstance(first, SkippedFrame)
    assert first.reason == (
        "seq-01/frame-000000.depth.png is (240, 320), and the release's intrinsics hold for (480, 640)"
    )
