"""Sequences in the layout of the TUM RGB-D benchmark (Sturm et al., IROS 2012).

``SEQUENCE/`` holds ``rgb/`` and ``depth/`` (16 bit, 5000 to the metre, registered to colour, 0 = no reading), the lists
``rgb.txt`` and ``depth.txt`` (time and file) and ``groundtruth.txt`` (time, tx ty tz, qx qy qz qw: the colour camera in
the world, metres). The three run on clocks of their own and are matched by time.

The intrinsics are those of the Kinect's driver, which the benchmark recommends since depth was registered with them;
``SEQUENCE/intrinsics.txt`` (3x3, pixels) replaces them, for other cameras.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Surface
from ..image_files import read_color, read_depth, read_intrinsics
from ..scene_lists import select_scenes

INTRINSICS = np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]])
SIZE = (480, 640)  # for which they hold
UNITS = 5000  # of depth, in a metre
APART = 0.02  # seconds that what belongs together may lie apart, as in the benchmark's own tools
UNIT_TOLERANCE = 1e-2  # of a quaternion's length: files are rounded to four digits


class TumSource:
    """Sequences of the TUM RGB-D layout; images are read when a frame is asked for.

    Args:
        root: The folder of sequences, or one sequence.
        scenes: Only these; none means all.
        stride: Every so many-th colour image.

    Raises:
        InputError: There is no such folder, no sequence in it, or a scene asked for is not there.
    """

    def __init__(self, root: Path, *, scenes: Sequence[str] = (), stride: int = 1) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder that holds the sequences")
        found = {path.parent.name: path.parent for path in (root.resolve() / "rgb.txt", *root.glob("[!.]*/rgb.txt"))}
        found = {name: folder for name, folder in found.items() if (folder / "rgb.txt").exists()}
        if not found:
            raise InputError(f"{root}: no sequence in it; one has rgb.txt, depth.txt, groundtruth.txt, rgb/ and depth/")
        self._folders = select_scenes(found, scenes, root)
        self._stride = stride

    def scene_ids(self) -> list[str]:
        """Names of the sequences' folders, sorted."""
        return list(self._folders)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """Every ``stride``-th colour image in order of time, named by its time, with the depth and pose nearest to it.

        Raises:
            InputError: A list is missing or broken, or the intrinsics are.
        """
        folder = self._folders[scene]
        own = folder / "intrinsics.txt"
        intrinsics = read_intrinsics(own) if own.exists() else None
        color, depth = _read_list(folder / "rgb.txt", 1), _read_list(folder / "depth.txt", 1)
        poses = _read_list(folder / "groundtruth.txt", 7)
        color_times, depth_times, pose_times = (
            np.array([row[0] for row in rows], float) for rows in (color, depth, poses)
        )
        with_depth = nearest_in_time(color_times, depth_times)
        with_pose = nearest_in_time(color_times, pose_times)
        # a depth image belongs to one colour image only, the nearer one; the last entry is for those without any
        owner = np.append(nearest_in_time(depth_times, color_times), -1)
        with_depth = np.where(owner[with_depth] == np.arange(len(color)), with_depth, -1)
        for index in range(0, len(color), self._stride):
            id = color[index][0]
            try:
                if with_depth[index] < 0 or with_pose[index] < 0:
                    what = "depth image" if with_depth[index] < 0 else "pose"
                    raise InputError(f"no {what} within {APART} s of {color[index][1]}")
                camera_to_world = _pose(poses[with_pose[index]])
                paths = (folder / color[index][1], folder / depth[with_depth[index]][1])
                frame: Frame | SkippedFrame = _read_frame(id, *paths, intrinsics, camera_to_world)
            except InputError as error:
                frame = SkippedFrame(id, str(error))
            yield frame

    def surface(self, scene: str) -> Surface | None:
        """None: the benchmark has no surfaces, so they are fused from depth."""
        return None


def nearest_in_time(times: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each time, the index of the nearest of the other times (ascending), or -1 where none is within 0.02 s."""
    if not len(others):
        return np.full(len(times), -1)
    after = np.searchsorted(others, times).clip(1, max(len(others) - 1, 1))
    pair = np.stack((after - 1, np.minimum(after, len(others) - 1)))
    gaps = np.abs(others[pair] - times)
    best = gaps.argmin(0)[None]
    near = np.take_along_axis(gaps, best, 0)[0] <= APART
    return np.where(near, np.take_along_axis(pair, best, 0)[0], -1)


def _read_frame(
    id: str,
    color_path: Path,
    depth_path: Path,
    intrinsics: NDArray[np.float64] | None,
    camera_to_world: NDArray[np.float64],
) -> Frame:
    color = read_color(color_path)
    depth = read_depth(depth_path)
    if intrinsics is None and color.shape[:2] != SIZE:
        raise InputError(
            f"rgb/{color_path.name} is {color.shape[:2]}, and the Kinect's intrinsics hold for {SIZE}: "
            f"write those of the camera to {color_path.parents[1] / 'intrinsics.txt'}"
        )
    return Frame(
        id,
        color,
        depth.astype(np.float32) / np.float32(UNITS),
        INTRINSICS if intrinsics is None else intrinsics,
        camera_to_world,
    )


def _pose(row: list[str]) -> NDArray[np.float64]:
    """Camera to world from a line of groundtruth.txt."""
    numbers = np.array(row[1:], np.float64)
    length = np.linalg.norm(numbers[3:])
    if not np.isfinite(numbers).all():
        raise InputError(f"groundtruth.txt, time {row[0]}: the pose is not finite")
    if abs(length - 1) > UNIT_TOLERANCE:
        raise InputError(f"groundtruth.txt, time {row[0]}: the quaternion has length {length:.3g}, not 1")
    camera_to_world = np.eye(4)
    camera_to_world[:3, :3] = Rotation.from_quat(numbers[3:]).as_matrix()
    camera_to_world[:3, 3] = numbers[:3]
    return camera_to_world


def _read_list(path: Path, fields: int) -> list[list[str]]:
    """The lines of a list, split, in order of time: the time and so many more fields; numbers where there are seven."""
    try:
        lines = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; a sequence has rgb.txt, depth.txt and groundtruth.txt") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); get it again") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        row = line.split()
        if not row or row[0].startswith("#"):
            continue
        try:
            times = [float(field) for field in (row if fields > 1 else row[:1])]
        except ValueError:
            times = [np.nan]
        if len(row) != fields + 1 or not np.isfinite(times[0]):
            raise InputError(
                f"{path}, line {number}: {line!r} is not a time and {fields} more; mend or remove the line"
            )
        rows.append(row)
    return sorted(rows, key=lambda row: float(row[0]))
