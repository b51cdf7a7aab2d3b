"""Scenes in a plain folder layout that any dataset can be brought into.

``ROOT/SCENE/`` (or ROOT itself) holds ``color/ID.jpg`` or ``.png``, ``depth/ID.png`` (16 bit, millimetres, registered
to colour, 0 = no reading), ``pose/ID.txt`` (camera to world, 4x4, OpenCV axes, metres), ``intrinsics.txt`` (3x3,
pixels), and where there are such ``semantic/ID.png`` (8 bit, NYU40), ``instance/ID.png`` (8 or 16 bit) and ``mesh.ply``
(with vertex colours).
"""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Source, Surface, check_pose
from ..fusion import fuse
from ..image_files import natural_order, read_color, read_depth, read_intrinsics, read_labels, read_matrix
from ..parallel import map_scenes
from ..spool import Spool
from ..store import JPEG_QUALITY, check_name, depth_to_millimetres, temporary_path
from .mesh import read_mesh

VOXEL_SIZE = 0.02  # metres, of surfaces that are fused
EXTENSIONS = {"color": (".jpg", ".jpeg", ".png"), "depth": (".png",), "pose": (".txt",)}


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
        ids = sorted({path.stem for name in EXTENSIONS for path in _files(folder, name)}, key=natural_order)
        if self._frames is not None and len(ids) > self._frames:
            ids = [ids[index] for index in np.linspace(0, len(ids) - 1, self._frames).round().astype(int)]
        whole, reason = 0, "its folders are empty"
        for id in ids:
            try:
                frame: Frame | SkippedFrame = _read_frame(folder, id, intrinsics)
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


def write_folder(source: Source, out: Path, *, workers: int) -> None:
    """Write all scenes of a source in the plain folder layout, several at a time, each with its surface.

    Where the source knows no surface, it is fused from the depth; either way ``mesh.ply`` holds points, not faces.

    A scene has a hidden name until it is whole, and one that is there already is left alone, so what was stopped can be
    started again.

    Raises:
        InputError: A scene cannot be read, or its frames differ in intrinsics, for which the layout has no place.
    """
    out.mkdir(parents=True, exist_ok=True)
    for _ in map_scenes(
        partial(_write_scene, source, out), source.scene_ids(), workers=workers, title="Writing scenes"
    ):
        pass


def _write_scene(source: Source, out: Path, scene: str) -> None:
    check_name(scene, "scene")
    unfinished = temporary_path(out / scene)
    shutil.rmtree(unfinished, ignore_errors=True)
    if (out / scene).exists():
        return
    intrinsics: NDArray[np.float64] | None = None
    for name in (*EXTENSIONS, "semantic", "instance"):
        (unfinished / name).mkdir(parents=True)
    poses = []
    with Spool(out) as depths, Spool(out) as colors:
        for frame in source.frames(scene):
            if isinstance(frame, SkippedFrame):
                continue
            check_name(frame.id, f"scene {scene}: frame")
            if intrinsics is None:
                intrinsics = frame.intrinsics
            if not np.array_equal(intrinsics, frame.intrinsics):
                raise InputError(
                    f"scene {scene}: frame {frame.id} has intrinsics of its own, and the layout holds one set"
                )
            depths.append(depth_to_millimetres(frame.depth))
            colors.append(frame.color)
            poses.append(frame.camera_to_world)
            Image.fromarray(frame.color).save(unfinished / "color" / f"{frame.id}.jpg", quality=JPEG_QUALITY)
            Image.fromarray(depth_to_millimetres(frame.depth)).save(unfinished / "depth" / f"{frame.id}.png")
            np.savetxt(unfinished / "pose" / f"{frame.id}.txt", frame.camera_to_world, fmt="%.17g")
            for name, labels in (("semantic", frame.semantic), ("instance", frame.instance)):
                if labels is not None:
                    Image.fromarray(labels).save(unfinished / name / f"{frame.id}.png")
        if intrinsics is None:
            raise InputError(f"scene {scene}: the source has no whole frame of it")
        surface = source.surface(scene)
        if surface is None:
            cameras = np.repeat(intrinsics[None], len(poses), 0)
            voxels, shades = fuse(depths, colors, cameras, np.stack(poses), voxel_size=VOXEL_SIZE)
            surface = Surface(((voxels + 0.5) * VOXEL_SIZE).astype(np.float32), shades)
    np.savetxt(unfinished / "intrinsics.txt", intrinsics, fmt="%.17g")
    if len(surface.points):
        trimesh.PointCloud(surface.points, surface.colors).export(unfinished / "mesh.ply")
    for name in ("semantic", "instance"):
        if not any((unfinished / name).iterdir()):
            (unfinished / name).rmdir()
    unfinished.rename(out / scene)


def _is_scene(folder: Path) -> bool:
    parts = (*EXTENSIONS, "intrinsics.txt")
    return not folder.name.startswith(".") and any((folder / part).exists() for part in parts)


def _files(folder: Path, name: str) -> Iterator[Path]:
    paths = (folder / name).iterdir() if (folder / name).is_dir() else ()
    return (path for path in paths if path.suffix.lower() in EXTENSIONS[name] and not path.name.startswith("."))


def _read_frame(folder: Path, id: str, intrinsics: NDArray[np.float64]) -> Frame:
    """The frame, or InputError naming the file that is missing or wrong."""
    color_path = next((path for end in EXTENSIONS["color"] if (path := folder / f"color/{id}{end}").exists()), None)
    if color_path is None:
        raise InputError(f"color/{id}.jpg (or .png) is missing")
    camera_to_world = read_matrix(folder / f"pose/{id}.txt", 4)
    try:
        check_pose(camera_to_world)
    except InputError as error:
        raise InputError(f"pose/{id}.txt: {error}") from None
    color = read_color(color_path)
    depth = read_depth(folder / f"depth/{id}.png")
    semantic, instance = (
        read_labels(path, kind) if (path := folder / f"{name}/{id}.png").exists() else None
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
