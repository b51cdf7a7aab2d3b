"""Meshes of whole scenes as points on their faces, in memory that hardly grows with the scene."""

from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from ...errors import InputError, first_line
from ..frame import Surface
from ..fusion import voxelize

SURFACE_SPACING = 0.003  # metres between points on faces: of the 2 cm voxels that a mesh touches 1 % are missed
FACES_AT_ONCE = 200_000  # 30 MB of corners
POINTS_AT_ONCE = 500_000  # on faces, before they are thinned: 200 MB while they are sampled
THINNED = 0.01  # metres; half a voxel of the paper, so that thinning neither loses nor adds any


def read_mesh(path: Path) -> Surface:
    """Points on the faces of a mesh with vertex colours, one in each centimetre cell that a face passes through.

    A cloud of points, which has no faces, is taken as it is.

    Raises:
        InputError: The file is no mesh, or its vertices are not finite or without colour.
    """
    try:
        mesh = trimesh.load(path, process=False)
        faces = np.asarray(getattr(mesh, "faces", np.zeros((0, 3), np.int64)))  # a cloud of points has none
        colors = np.asarray(mesh.visual.vertex_colors if len(faces) else mesh.colors)[:, :3]
        colored = mesh.visual.defined if len(faces) else len(colors) > 0
        values = np.concatenate((mesh.vertices, colors if colored else np.zeros_like(mesh.vertices)), 1)
    except Exception as error:  # whatever the parser stumbles over
        raise InputError(f"{path} cannot be read as a mesh ({first_line(error)}); get it again or remove it") from None
    if (
        not len(values)
        or not np.isfinite(values).all()
        or (len(faces) and not 0 <= faces.min() <= faces.max() < len(values))
    ):
        raise InputError(f"{path} has no vertices, or such as are not finite or missing; get it again or remove it")
    if not colored:
        raise InputError(f"{path} has no vertex colours; remove it, then the surface is fused from the depth")
    if not len(faces):
        return Surface(values[:, :3].astype(np.float32), values[:, 3:].astype(np.uint8))
    return cover(values, faces)


def cover(values: NDArray[np.float64], faces: NDArray[np.integer]) -> Surface:
    """Points on faces, one in each centimetre cell (two where blocks of faces meet in it).

    Args:
        values: (V, 6), position in metres and RGB of 0 to 255 at the vertices.
        faces: (F, 3), their corners.
    """
    points, colors = [], []
    for start in range(0, len(faces), FACES_AT_ONCE):
        corners = values[faces[start : start + FACES_AT_ONCE]]
        first, second, third = corners[..., :3].transpose(1, 0, 2)
        doubled_area = np.linalg.norm(np.cross(second - first, third - first), axis=-1)
        expected = np.cumsum(doubled_area / 2 / SURFACE_SPACING**2 + 3)
        for block in np.split(corners, np.flatnonzero(np.diff(expected // POINTS_AT_ONCE)) + 1):
            sampled = sample_triangles(block)
            shades = sampled[:, 3:].round().astype(np.uint8)
            cells, mean = voxelize(sampled[:, :3].astype(np.float32), shades, voxel_size=THINNED)
            points.append(((cells + 0.5) * THINNED).astype(np.float32))
            colors.append(mean)
    return Surface(np.concatenate(points), np.concatenate(colors))


def sample_triangles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (M, 3 + C) on triangles (T, 3, 3 + C): position, and what is interpolated along.

    Each triangle is cut into rows parallel to its longest side, and each row into steps, neither longer than the
    spacing; so slivers get few points.
    """
    sides = np.linalg.norm(np.roll(corners, -1, 1)[..., :3] - corners[..., :3], axis=-1)
    turn = (sides.argmax(1)[:, None] + np.arange(3)) % 3
    start, end, apex = np.take_along_axis(corners, turn[..., None], 1).transpose(1, 0, 2)
    longest = sides.max(1)
    doubled_area = np.linalg.norm(np.cross(end[:, :3] - start[:, :3], apex[:, :3] - start[:, :3]), axis=-1)
    height = doubled_area / np.maximum(longest, 1e-12)

    rows = np.ceil(height / SURFACE_SPACING).astype(np.int64) + 1
    triangle, row = _ragged_range(rows)
    up = (row / np.maximum(rows - 1, 1)[triangle])[:, None]
    steps = np.ceil(longest[triangle] * (1 - up[:, 0]) / SURFACE_SPACING).astype(np.int64) + 1
    line, step = _ragged_range(steps)
    along = (step / np.maximum(steps - 1, 1)[line])[:, None]
    triangle, up = triangle[line], up[line]
    base = start[triangle] * (1 - along) + end[triangle] * along
    return base * (1 - up) + apex[triangle] * up


def _ragged_range(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For counts (2, 3): the owners 0 0 1 1 1 and the positions 0 1 0 1 2."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
