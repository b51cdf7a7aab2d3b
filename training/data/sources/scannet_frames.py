"""ScanNet's export of 25,000 frames (``scannet_frames_25k``): every 100th frame of the scans, as images.

``SCENE/`` holds ``color/ID.jpg`` (1296x968), ``depth/ID.png`` (640x480, 16 bit, millimetres, 0 = no reading),
``pose/ID.txt`` (camera to world, 4x4, metres), ``intrinsics_color.txt`` and ``intrinsics_depth.txt`` (4x4, pixels), and
for labelled scenes ``label/ID.png`` (NYU40) and ``instance/ID.png`` at the size of colour.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Surface, check_pose
from ..image_files import natural_order, read_color, read_depth, read_labels, read_matrix
from ..scene_lists import scannet_split, select_scenes
from .mesh import read_mesh
from .registration import check_pinhole, register, resample

INTRINSICS = ("intrinsics_color.txt", "intrinsics_depth.txt")
PLACES = (".", "scannet_frames_25k", "tasks/scannet_frames_25k")
LABELS: dict[str, type[np.uint8] | type[np.uint16]] = {"label": np.uint8, "instance": np.uint16}


class ScanNetFramesSource:
    """The exported frames of ScanNet's scans; files are read when a frame is asked for.

    Args:
        root: ``scannet_frames_25k``, the folder that holds it, or one scene.
        split: "train", "val" or "test": the scenes of ``scannetv2_<split>.txt``.
        scenes: Only these; none means all, or those of the split.
        stride: Every so many-th of the exported frames.

    Raises:
        InputError: There is no such folder, no scene in it, or a scene asked for is not there.
    """

    def __init__(self, root: Path, *, split: str | None = None, scenes: Sequence[str] = (), stride: int = 1) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder scannet_frames_25k")
        folders = [root.resolve()] if _is_scene(root) else [f for place in PLACES for f in (root / place).glob("*/")]
        found = {folder.name: folder for folder in folders if _is_scene(folder)}
        if not found:
            raise InputError(
                f"{root}: no scene in it; a scene is a folder with color/, depth/, pose/, {' and '.join(INTRINSICS)}"
            )
        wanted = list(scenes) or (scannet_split(root, split) if split is not None else [])
        self._folders = select_scenes(found, wanted, root)
        self._stride = stride

    def scene_ids(self) -> list[str]:
        """Names of the scenes, sorted."""
        return list(self._folders)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """Every ``stride``-th frame in the order of their numbers, colour and depth in one camera.

        Raises:
            InputError: The intrinsics are missing or wrong.
        """
        folder = self._folders[scene]
        color_intrinsics, depth_intrinsics = (_read_intrinsics(folder / name) for name in INTRINSICS)
        names = ("color", "depth", "pose")
        ids = sorted({path.stem for name in names for path in (folder / name).glob("[!.]*.*")}, key=natural_order)
        for id in ids[:: self._stride]:
            try:
                frame: Frame | SkippedFrame = _read_frame(folder, id, color_intrinsics, depth_intrinsics)
            except InputError as error:
                frame = SkippedFrame(id, str(error))
            yield frame

    def surface(self, scene: str) -> Surface | None:
        """Points on ``SCENE_vh_clean_2.ply`` where somebody has put the release's mesh beside the frames, else None.

        Raises:
            InputError: The mesh cannot be read.
        """
        path = self._folders[scene] / f"{scene}_vh_clean_2.ply"
        return read_mesh(path) if path.exists() else None


def _is_scene(folder: Path) -> bool:
    return any((folder / name).exists() for name in INTRINSICS)


def _read_frame(
    folder: Path, id: str, color_intrinsics: NDArray[np.float64], depth_intrinsics: NDArray[np.float64]
) -> Frame:
    """The frame, or InputError naming the file that is missing or wrong."""
    camera_to_world = read_matrix(folder / f"pose/{id}.txt", 4)
    try:
        check_pose(camera_to_world)
    except InputError as error:
        raise InputError(f"pose/{id}.txt: {error}") from None
    color = read_color(folder / f"color/{id}.jpg")
    depth = read_depth(folder / f"depth/{id}.png").astype(np.float32) / np.float32(1000)
    image = register(color, color_intrinsics, depth, depth_intrinsics)
    size = (image.depth.shape[0], image.depth.shape[1])
    semantic, instance = (
        resample(_read_label(path, kind, color.shape[:2]), color_intrinsics, size, image.intrinsics)
        if (path := folder / f"{name}/{id}.png").exists()
        else None
        for name, kind in LABELS.items()
    )
    return Frame(id, *image, camera_to_world, semantic, instance)


def _read_label(path: Path, kind: type[np.uint8] | type[np.uint16], size: tuple[int, ...]) -> NDArray[Any]:
    label = read_labels(path, kind)
    if label.shape != size:
        raise InputError(f"{path.parent.name}/{path.name} is {label.shape}, colour is {size}: they must be one size")
    return label


def _read_intrinsics(path: Path) -> NDArray[np.float64]:
    intrinsics = read_matrix(path, 4)[:3, :3]
    try:
        check_pinhole(intrinsics, path.stem.removeprefix("intrinsics_"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return intrinsics
