"""KITTI: street scenes for the view loss, after the authors' ``kitti_process.py`` (repository Sekunde/Pri3D).

What is read, as the archives of the release unpack, the odometry ones and the raw drives in ROOT and ``raw``, the depth
in ``data_depth_annotated``::

    ROOT/dataset/poses/SS.txt                 camera 0 to world, 3x4 a line; ground truth is public for 00 to 10
    ROOT/dataset/sequences/SS/calib.txt       rectified projections
    ROOT/dataset/sequences/SS/image_2/NNNNNN.png, or where there is none
    ROOT/raw/DATE/DRIVE/image_02/data/NNNNNNNNNN.png
    ROOT/data_depth_annotated/{train,val}/DRIVE/proj_depth/groundtruth/image_02/NNNNNNNNNN.png

A scene is a sequence; sequence 03 is missing, because its drive was never published. Depth is laser, accumulated over
11 scans: about one pixel in six has a reading, up to 80 m and more. A store's millimetres end at 65.5 m; what lies
beyond becomes no reading there, and is counted in the log.

Two centimetres mean nothing at this scale. The authors take all frames, call pixels corresponding whose depths differ
by less than 0.5 m, and keep pairs within 100 frames of each other that share more than 10 % (their file of pairs;
their script writes those above 5 %); in training the two depths may differ by 5 cm. They read the depth of sequence 08
without the 1100 frames that its drive runs before the sequence starts, and ignore the 6 cm between cameras 0 and 2;
both are put right here.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..frame import NO_SURFACE, Frame, SkippedFrame, Surface, check_pose
from ..image_files import read_color, read_depth
from ..scene_lists import select_scenes

# the drive of each sequence, and the drive's frame at which the sequence starts (readme of the odometry devkit)
DRIVES = {
    "00": ("2011_10_03_drive_0027_sync", 0),
    "01": ("2011_10_03_drive_0042_sync", 0),
    "02": ("2011_10_03_drive_0034_sync", 0),
    "04": ("2011_09_30_drive_0016_sync", 0),
    "05": ("2011_09_30_drive_0018_sync", 0),
    "06": ("2011_09_30_drive_0020_sync", 0),
    "07": ("2011_09_30_drive_0027_sync", 0),
    "08": ("2011_09_30_drive_0028_sync", 1100),
    "09": ("2011_09_30_drive_0033_sync", 0),
    "10": ("2011_09_30_drive_0034_sync", 0),
}
UNITS_PER_METRE = 256  # of the depth images
STORED_METRES = 65.535  # the farthest that a store's 16 bits of millimetres hold

logger = logging.getLogger(__name__)


class KittiSource:
    """The sequences of KITTI that have images, poses and depth; files are read when a frame is asked for.

    Args:
        root: The folder laid out as above.
        stride: Every so many-th of the frames with depth; at 10 Hz neighbours are up to 2 m apart.
        scenes: Sequences such as "00"; none means all that are there.

    Raises:
        InputError: The stride is below 1, or a sequence has no poses or no depth there.
    """

    def __init__(self, root: Path, *, stride: int, scenes: Sequence[str] = ()) -> None:
        if stride < 1:
            raise InputError(f"stride must be at least 1, not {stride}")
        self._root, self._stride = root, stride
        there = {
            scene: folder
            for scene in DRIVES
            if (folder := _depth_folder(root, scene)) is not None and self._poses(scene).is_file()
        }
        if not there:
            raise InputError(
                f"{root}: no sequence of KITTI in it; it must hold dataset/poses, dataset/sequences and "
                "data_depth_annotated/{train,val}, as KITTI's archives unpack"
            )
        self._depth = select_scenes(there, scenes, root)

    def scene_ids(self) -> list[str]:
        """The sequences, sorted."""
        return list(self._depth)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The frames of a sequence that have depth, in order; the id is the number in the sequence.

        Raises:
            InputError: The poses or the calibration cannot be read.
        """
        drive, start = DRIVES[scene]
        camera_0_to_world = _read_poses(self._poses(scene))
        intrinsics, camera_2_to_0 = _read_camera(self._root / "dataset" / "sequences" / scene / "calib.txt")
        folder = self._depth[scene]
        numbers = sorted(int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal())
        in_sequence = [number for number in numbers if 0 <= number - start < len(camera_0_to_world)]
        readings = beyond = 0
        for number in in_sequence[:: self._stride]:
            id = f"{number - start:06d}"
            try:
                _check_pose(scene, number - start, camera_0_to_world)
                depth = _read_depth(folder / f"{number:010d}.png")
                frame = Frame(
                    id=id,
                    color=read_color(self._color(scene, drive, number, id)),
                    depth=depth,
                    intrinsics=intrinsics,
                    camera_to_world=camera_0_to_world[number - start] @ camera_2_to_0,
                )
            except InputError as error:
                yield SkippedFrame(id, str(error))
                continue
            readings += int((depth > 0).sum())
            beyond += int((depth > STORED_METRES).sum())
            yield frame
        if beyond:
            logger.info(
                "sequence %s: %d of %d readings lie beyond %.1f m, which a store cannot hold: no readings there",
                *(scene, beyond, readings, STORED_METRES),
            )

    def surface(self, scene: str) -> Surface | None:
        """Nothing: a street is no room to be cut into voxels of 2 cm, and the view loss needs none."""
        return NO_SURFACE

    def _poses(self, scene: str) -> Path:
        return self._root / "dataset" / "poses" / f"{scene}.txt"

    def _color(self, scene: str, drive: str, number: int, id: str) -> Path:
        odometry = self._root / "dataset" / "sequences" / scene / "image_2" / f"{id}.png"
        raw = self._root / "raw" / drive[:10] / drive / "image_02" / "data" / f"{number:010d}.png"
        return raw if raw.exists() and not odometry.exists() else odometry


def _depth_folder(root: Path, scene: str) -> Path | None:
    folders = (
        root / "data_depth_annotated" / split / DRIVES[scene][0] / "proj_depth" / "groundtruth" / "image_02"
        for split in ("train", "val")
    )
    return next((folder for folder in folders if folder.is_dir()), None)


def _read_poses(path: Path) -> NDArray[np.float64]:
    """(N, 4, 4), camera 0 to world."""
    try:
        rows = np.loadtxt(path, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); unpack KITTI's data_odometry_poses again") from None
    if rows.shape[1:] != (12,):
        raise InputError(f"{path} has {rows.shape[-1]} numbers a line, where poses have 12; unpack it again")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    return poses


def _check_pose(scene: str, index: int, poses: NDArray[np.float64]) -> None:
    try:
        check_pose(poses[index])
    except InputError as error:
        raise InputError(f"poses/{scene}.txt, line {index + 1}: {error}") from None


def _read_camera(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intrinsics (3, 3) of camera 2, the left one in colour, and the motion (4, 4) from it to camera 0.

    ``P2`` maps points of rectified camera 0 into the image: it is the intrinsics times [I | t].
    """
    try:
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8-sig").splitlines() if ":" in line)
        projection = np.array(lines["P2"].split(), np.float64).reshape(3, 4)
        offset = np.linalg.solve(projection[:, :3], projection[:, 3])
    except (OSError, KeyError, ValueError) as error:  # LinAlgError is a ValueError
        raise InputError(
            f"{path} holds no projection P2 of 3x4 numbers ({error!r}); unpack KITTI's data_odometry_calib again"
        ) from None
    camera_2_to_0 = np.eye(4)
    camera_2_to_0[:3, 3] = -offset
    return projection[:, :3].copy(), camera_2_to_0


def _read_depth(path: Path) -> NDArray[np.float32]:
    units = read_depth(path)
    if units.max() <= 255:  # the authors' test: an image of 8 bits, or one spoilt by a tool, shows nothing but 1 m
        raise InputError(
            f"{path.parent.name}/{path.name} reaches only {units.max()}, where depth is in 1/{UNITS_PER_METRE} m with "
            "16 bits; unpack it again"
        )
    return units.astype(np.float32) / np.float32(UNITS_PER_METRE)
