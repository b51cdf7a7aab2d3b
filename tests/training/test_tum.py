"""The TUM RGB-D layout, written here: frames, depth and poses come back, matched by time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.tum import TumSource, nearest_in_time
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)
INTRINSICS = np.array([[30.0, 0, 15.5], [0, 31, 11.25], [0, 0, 1]])
START = 1305031102.0


def write_sequence(
    folder: Path,
    colors: list[np.ndarray],
    depths: list[np.ndarray],
    poses: list[np.ndarray],
    *,
    color_times: np.ndarray,
    depth_times: np.ndarray,
    pose_times: np.ndarray,
) -> None:
    """A sequence as the benchmark packs it; depth in units of 0.2 mm."""
    lines: dict[str, list[str]] = {"rgb": ["# color images"], "depth": ["# depth maps"], "groundtruth": ["# poses"]}
    for name, images, times in (("rgb", colors, color_times), ("depth", depths, depth_times)):
        (folder / name).mkdir(parents=True)
        for image, time in zip(images, times, strict=True):
            Image.fromarray(image).save(folder / name / f"{time:.6f}.png")
            lines[name].append(f"{time:.6f} {name}/{time:.6f}.png")
    for pose, time in zip(poses, pose_times, strict=True):
        numbers = (*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat())
        lines["groundtruth"].append(" ".join((f"{time:.4f}", *(f"{number:.16g}" for number in numbers))))
    for name, text in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(text) + "\n")
    np.savetxt(folder / "intrinsics.txt", INTRINSICS)


def random_pose(generator: np.random.Generator) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(generator.normal(size=3)).as_matrix()
    pose[:3, 3] = generator.normal(size=3)
    return pose


class Sequence:
    """Five colour images at 30 Hz, depth 5 ms later, poses at 100 Hz."""

    def __init__(self, folder: Path) -> None:
        generator = np.random.default_rng(0)
        self.folder = folder
        self.color_times = START + np.arange(5) / 30
        self.colors = [generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(5)]
        self.depths = [generator.integers(0, 40000, SIZE).astype(np.uint16) for _ in range(5)]
        self.pose_times = START - 0.05 + np.arange(30) / 100
        self.poses = [random_pose(generator) for _ in range(30)]
        write_sequence(
            folder,
            self.colors,
            self.depths,
            self.poses,
            color_times=self.color_times,
            depth_times=self.color_times + 0.005,
            pose_times=self.pose_times,
        )

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        text = (self.folder / name).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / name).write_text(text)

    def skipped(self) -> dict[str, str]:
        found = TumSource(self.folder).frames(self.folder.name)
        return {frame.id: frame.reason for frame in found if isinstance(frame, SkippedFrame)}


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    return Sequence(tmp_path / "rgbd_dataset_freiburg1_desk")


def test_lists_saved_with_a_byte_order_mark_are_read(sequence: Sequence) -> None:
    for name in ("rgb.txt", "depth.txt", "groundtruth.txt", "intrinsics.txt"):
        path = sequence.folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sequence.skipped() == {}


def test_what_is_written_comes_back(sequence: Sequence) -> None:
    source = TumSource(sequence.folder.parent)
    assert source.scene_ids() == ["rgbd_dataset_freiburg1_desk"]
    found = list(source.frames("rgbd_dataset_freiburg1_desk"))
    assert [frame.id for frame in found] == [f"{time:.6f}" for time in sequence.color_times]
    for index, frame in enumerate(found):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.color, sequence.colors[index])
        assert np.array_equal(frame.depth, sequence.depths[index] / np.float32(5000))
        assert np.array_equal(frame.intrinsics, INTRINSICS)
        nearest = np.abs(sequence.pose_times - sequence.color_times[index]).argmin()
        assert np.allclose(frame.camera_to_world, sequence.poses[nearest], atol=1e-12)
    assert source.surface("rgbd_dataset_freiburg1_desk") is None


def test_kitchen_frames_come_back_exactly(real_data: Path, tmp_path: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    wanted = [frame for frame in FolderSource(kitchen, frames=8).frames(kitchen.name) if isinstance(frame, Frame)]
    times = START + np.arange(8.0) / 30
    write_sequence(
        tmp_path / "kitchen",
        [frame.color for frame in wanted],
        [np.rint(frame.depth * 5000).astype(np.uint16) for frame in wanted],
        [frame.camera_to_world for frame in wanted],
        color_times=times,
        depth_times=times - 0.004,
        pose_times=times + 0.003,
    )
    np.savetxt(tmp_path / "kitchen" / "intrinsics.txt", wanted[0].intrinsics)
    for frame, expected in zip(TumSource(tmp_path).frames("kitchen"), wanted, strict=True):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.color, expected.color)
        assert np.allclose(frame.depth, expected.depth, atol=1e-6)
        assert np.array_equal(frame.intrinsics, expected.intrinsics)
        assert np.allclose(frame.camera_to_world, expected.camera_to_world, atol=1e-3)  # its rotation is rounded


@pytest.mark.parametrize("seed", range(5))
def test_times_against_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    times, others = np.sort(generator.random(40)), np.sort(generator.random(seed * 10))
    found = nearest_in_time(times, others)
    for time, index in zip(times, found, strict=True):
        gaps = np.abs(others - time)
        assert index == (gaps.argmin() if len(gaps) and gaps.min() <= 0.02 else -1)


def test_frames_without_a_partner_in_time_are_skipped(sequence: Sequence) -> None:
    times = [f"{time:.6f}" for time in sequence.color_times]
    depth_times = [f"{time + 0.005:.6f}" for time in sequence.color_times]
    sequence.edit("depth.txt", (f"{depth_times[1]} ", f"{sequence.color_times[1] + 0.0301:.6f} "))
    lines = (sequence.folder / "groundtruth.txt").read_text().splitlines()
    kept = [line for line in lines if line[0] == "#" or float(line.split()[0]) < sequence.color_times[4] - 0.021]
    (sequence.folder / "groundtruth.txt").write_text("\n".join(kept))
    assert sequence.skipped() == {
        times[1]: f"no depth image within 0.02 s of rgb/{times[1]}.png",
        times[4]: f"no pose within 0.02 s of rgb/{times[4]}.png",
    }


def test_a_depth_image_belongs_to_one_colour_image(sequence: Sequence) -> None:
    times = [f"{time:.6f}" for time in sequence.color_times]
    # one between the second and the third, 15 and 18 ms away; the next belongs to the fourth
    moved = {1: sequence.color_times[1] + 0.015, 2: sequence.color_times[3] - 0.001}
    sequence.edit("depth.txt", *((f"{sequence.color_times[i] + 0.005:.6f} ", f"{to:.6f} ") for i, to in moved.items()))
    assert list(sequence.skipped()) == [times[2]]


def test_stride_and_lists(sequence: Sequence, tmp_path: Path) -> None:
    found = list(TumSource(sequence.folder, stride=2).frames(sequence.folder.name))
    assert [frame.id for frame in found] == [f"{time:.6f}" for time in sequence.color_times[::2]]
    mine = tmp_path / "mine.txt"
    mine.write_text("rgbd_dataset_freiburg1_desk\n")
    assert len(open_source("tum", str(tmp_path), size=SIZE, scenes=mine).scene_ids()) == 1
    mine.write_text("rgbd_dataset_freiburg2_desk\n")
    with pytest.raises(InputError, match=r"1 of the 1 scenes asked for are not there \(rgbd_dataset_freiburg2_desk\)"):
        open_source("tum", str(tmp_path), size=SIZE, scenes=mine)
    with pytest.raises(InputError, match="tum takes no split"):
        open_source("tum", str(tmp_path), size=SIZE, split="train")


def test_the_benchmarks_own_intrinsics_hold_for_its_size(sequence: Sequence) -> None:
    (sequence.folder / "intrinsics.txt").unlink()
    reasons = set(sequence.skipped().values())
    assert len(reasons) == 5
    assert all("the Kinect's intrinsics hold for (480, 640): write those of the camera to" in r for r in reasons)
    for name in ("rgb", "depth"):
        for path in (sequence.folder / name).iterdir():
            image = Image.open(path)
            image.resize((640, 480), Image.Resampling.NEAREST).save(path)
    first = next(TumSource(sequence.folder).frames(sequence.folder.name))
    assert isinstance(first, Frame)
    assert first.intrinsics.tolist() == [[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]]


@pytest.mark.parametrize(
    ("quaternion", "reason"),
    [
        ("nan 0 0 1", "the pose is not finite"),
        ("-inf 0 0 1", "the pose is not finite"),
        ("0 0 0 0", "the quaternion has length 0, not 1"),
        ("0 0 0.5 1", "the quaternion has length 1.12, not 1"),
    ],
)
def test_bad_poses_are_skipped(sequence: Sequence, quaternion: str, reason: str) -> None:
    nearest = np.abs(sequence.pose_times - sequence.color_times[2]).argmin()
    lines = (sequence.folder / "groundtruth.txt").read_text().splitlines()
    time = lines[nearest + 1].split()[0]
    lines[nearest + 1] = f"{time} 0 0 0 {quaternion}"
    (sequence.folder / "groundtruth.txt").write_text("\n".join(lines))
    assert sequence.skipped() == {f"{sequence.color_times[2]:.6f}": f"groundtruth.txt, time {time}: {reason}"}


@pytest.mark.parametrize("name", ["rgb", "depth"])
@pytest.mark.parametrize("share", [0, 0.5, None])
def test_cut_and_missing_images_are_skipped(sequence: Sequence, name: str, share: float | None) -> None:
    path = sorted((sequence.folder / name).iterdir())[3]
    if share is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    ((_, reason),) = sequence.skipped().items()
    assert f"{name}/{path.name} is {'missing' if share is None else 'broken'}" in reason


@pytest.mark.parametrize("name", ["rgb", "depth", "groundtruth"])
def test_broken_lists_stop_the_sequence(sequence: Sequence, name: str) -> None:
    path = sequence.folder / f"{name}.txt"
    text = path.read_text()
    for line in ("nan rgb/x.png", "one two", "1305031102.5"):
        path.write_text(f"{text}{line}\n")
        with pytest.raises(InputError, match=rf"{name}.txt, line {len(text.splitlines()) + 1}: '{line}' is not a time"):
            list(TumSource(sequence.folder).frames(sequence.folder.name))
    if name != "rgb":
        path.unlink()
        with pytest.raises(InputError, match=rf"{name}.txt is missing"):
            list(TumSource(sequence.folder).frames(sequence.folder.name))


def test_empty_lists_leave_nothing(sequence: Sequence) -> None:
    (sequence.folder / "depth.txt").write_text("# depth maps\n")
    assert len(sequence.skipped()) == 5
    (sequence.folder / "rgb.txt").write_text("")
    assert list(TumSource(sequence.folder).frames(sequence.folder.name)) == []


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        TumSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no sequence in it"):
        TumSource(tmp_path)
