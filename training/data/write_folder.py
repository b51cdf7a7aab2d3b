"""From a source to the plain folder layout that ``sources/folder.py`` reads and describes."""

import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .frame import SkippedFrame, Source, Surface
from .fusion import fuse
from .parallel import map_scenes
from .scene_writer import JPEG_QUALITY, check_name, depth_to_millimetres
from .spool import Spool
from .unfinished import remove_abandoned, temporary_path

VOXEL_SIZE = 0.02  # metres, of surfaces that are fused
FOLDERS = ("color", "depth", "pose", "semantic", "instance")

logger = logging.getLogger(__name__)


def write_folder(source: Source, out: Path, *, workers: int) -> None:
    """Write all scenes of a source in the plain folder layout, several at a time, each with its surface.

    Where the source knows no surface, it is fused from the depth; either way ``mesh.ply`` holds points, not faces.
    Frames that the source had to skip are left out, and their number is logged.

    A scene has a hidden name until it is whole, and one that is there already is left alone, so what was stopped can be
    started again.

    Raises:
        InputError: A scene cannot be read, or its frames differ in intrinsics, for which the layout has no place; or a
            worker was killed.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_abandoned(out)  # where a run was killed
    work = partial(_write_scene, source, out)
    for scene, skipped in map_scenes(work, source.scene_ids(), workers=workers, title="Writing scenes"):
        if skipped:
            last = skipped[-1]
            logger.warning(
                "scene %s: %d frames skipped, the last one, %s: %s", scene, len(skipped), last.id, last.reason
            )


def _write_scene(source: Source, out: Path, scene: str) -> list[SkippedFrame]:
    """Write a scene if it is not there; gives the frames that were left out."""
    check_name(scene, "scene")
    if (out / scene).exists():
        return []
    unfinished = temporary_path(out / scene)
    try:
        skipped = _fill(source, scene, unfinished)
        if not (out / scene).exists():  # else somebody else was quicker
            unfinished.rename(out / scene)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return skipped


def _fill(source: Source, scene: str, folder: Path) -> list[SkippedFrame]:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    intrinsics: NDArray[np.float64] | None = None
    poses, skipped = [], []
    with Spool(folder) as depths, Spool(folder) as colors:
        for frame in source.frames(scene):
            if isinstance(frame, SkippedFrame):
                skipped.append(frame)
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
            Image.fromarray(frame.color).save(folder / "color" / f"{frame.id}.jpg", quality=JPEG_QUALITY)
            Image.fromarray(depth_to_millimetres(frame.depth)).save(folder / "depth" / f"{frame.id}.png")
            np.savetxt(folder / "pose" / f"{frame.id}.txt", frame.camera_to_world, fmt="%.17g")
            for name, labels in (("semantic", frame.semantic), ("instance", frame.instance)):
                if labels is not None:
                    Image.fromarray(labels).save(folder / name / f"{frame.id}.png")
        if intrinsics is None:
            raise InputError(f"scene {scene}: the source has no whole frame of it")
        surface = source.surface(scene)
        if surface is None:
            cameras = np.repeat(intrinsics[None], len(poses), 0)
            voxels, shades = fuse(depths, colors, cameras, np.stack(poses), voxel_size=VOXEL_SIZE)
            surface = Surface(((voxels + 0.5) * VOXEL_SIZE).astype(np.float32), shades)
    np.savetxt(folder / "intrinsics.txt", intrinsics, fmt="%.17g")
    if len(surface.points):
        trimesh.PointCloud(surface.points, surface.colors).export(folder / "mesh.ply")
    for name in ("semantic", "instance"):
        if not any((folder / name).iterdir()):
            (folder / name).rmdir()
    return skipped
