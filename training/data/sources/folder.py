"""Scenes in a plain folder layout that any dataset can be brought into.

``ROOT/SCENE/`` (or ROOT itself) holds ``color/ID.jpg`` or ``.png``, ``depth/ID.png`` (16 bit, millimetres, registered
to colour, 0 or 65535 = no reading), ``pose/ID.txt`` (camera to world, 4x4, OpenCV axes, metres), ``intrinsics.txt``
(3x3, pixels), and where there are such ``semantic/ID.png`` (8 bit, NYU40), ``instance/ID.png`` (8 or 16 bit) and
``mesh.ply`` (with vertex colours).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Surface, check_pose
from ..image_files import natural_order, read_color, read_depth, read_intrinsics, read_labels, read_matrix
from .mesh import read_mesh

NEEDED = ("color", "depth", "pose")
EXTENSIONS = {
    "color": (".jpg", ".jpeg", ".png"),
    "depth": (".png",),
    "pose": (".txt",),
    "semantic": (".png",),
    "instance": (".png",),
}


class FolderSource:
    """A dataset in the plain folder layout; files are read when a frame is asked for.

    Args:
        root: The folder of scenes, or one scene.
        frames: At most so many frames a scene, evenly spread; None takes all.

    Raises:
        InputError: There is no such folder, or no scene in it.
    """

    def __init__(self, root: Path, *, frames: int | None = None) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder that holds the scenes")
        folders = [root.resolve()] if _is_scene(root) else [folder for folder in root.iterdir() if _is_scene(folder)]
        if not folders:
            raise InputError(
                f"{root}: no scene in it; a scene is a folder with color/, depth/, pose/ and intrinsics.txt"
            )
        self._folders = {folder.name: folder for folder in sorted(folders)}
        self._frames = frames

    def scene_ids(self) -> list[str]:
        """Names of the scenes' folders, sorted."""
        return list(self._folders)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The frames of a scene in the order of their numbers; those with a file broken or missing as SkippedFrame.

        Raises:
            InputError: The intrinsics are missing or wrong, or no frame is whole.
        """
        folder = self._folders[scene]
        intrinsics = read_intrinsics(folder / "intrinsics.txt")
        files = {name: _files(folder, name) for name in EXTENSIONS}
        ids = sorted({id for name in NEEDED for id in files[name]}, key=natural_order)
        if self._frames is not None and len(ids) > self._frames:
            ids = [ids[index] for index in np.linspace(0, len(ids) - 1, self._frames).round().astype(int)]
        whole, reason = 0, "its folders are empty"
        for id in ids:
            try:
                frame: Frame | SkippedFrame = _read_frame(files, id, intrinsics)
                whole += 1
            except InputError as error:
                reason = str(error)
                frame = SkippedFrame(id, reason)
            yield frame
        if not whole:
            raise InputError(f"{folder}: no frame is whole, the last for this reason: {reason}")

    def surface(self, scene: str) -> Surface | None:
        """Points on ``mesh.ply``, 3 mm apart, or None where there is no such file.

        Raises:
            InputError: The mesh cannot be read, is empty or has no colours.
        """
        path = self._folders[scene] / "mesh.ply"
        return read_mesh(path) if path.exists() else None


def _is_scene(folder: Path) -> bool:
    parts = (*NEEDED, "intrinsics.txt")
    return not folder.name.startswith(".") and any((folder / part).exists() for part in parts)


def _files(folder: Path, name: str) -> dict[str, Path]:
    """The files of that kind by the id of their frame, whatever the case of their extension."""
    extensions = EXTENSIONS[name]
    paths = (folder / name).iterdir() if (folder / name).is_dir() else ()
    found = [path for path in paths if path.suffix.lower() in extensions and not path.name.startswith(".")]
    # of two of one frame the kind that is named first is taken
    found.sort(key=lambda path: (extensions.index(path.suffix.lower()), path.name), reverse=True)
    return {path.stem: path for path in found}


def _read_frame(files: Mapping[str, Mapping[str, Path]], id: str, intrinsics: NDArray[np.float64]) -> Frame:
    """The frame, or InputError naming the file that is missing or wrong."""
    for name in NEEDED:
        if id not in files[name]:
            raise InputError(f"{name}/{id}{' or '.join(EXTENSIONS[name])} is missing")
    color_path = files["color"][id]
    camera_to_world = read_matrix(files["pose"][id], 4)
    try:
        check_pose(camera_to_world)
    except InputError as error:
        raise InputError(f"pose/{files['pose'][id].name}: {error}") from None
    color = read_color(color_path)
    depth = read_depth(files["depth"][id])
    semantic, instance = (
        read_labels(files[name][id], kind) if id in files[name] else None
        for name, kind in (("semantic", np.uint8), ("instance", np.uint16))
    )
    try:
        return Frame(
            id=id,
            color=color,
            depth=depth.astype(np.float32) / np.float32(1000),
            intrinsics=intrinsics,
            camera_to_world=camera_to_world,
            semantic=semantic,
            instance=instance,
        )
    except InputError as error:
        raise InputError(f"{color_path.parent.name}/{color_path.name} and its companions do not fit: {error}") from None
