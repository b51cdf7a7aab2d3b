"""Meshes of whole scenes as points on their faces, in memory that grows with what they cover, not with their faces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from ...errors import InputError, first_line
from ...geometry import KEY_OFFSET
from ..frame import Surface
from ..fusion import voxelize

SURFACE_SPACING = 0.003  # metres between points on faces: of the 2 cm voxels that a mesh touches 1 % are missed
FACES_AT_ONCE = 200_000  # 30 MB of corners
POINTS_AT_ONCE = 500_000  # on faces, before they are thinned: 200 MB while they are sampled
MOST_POINTS = 2_500_000_000  # on all faces: some 20,000 m2 of them, whose centimetre cells fill 3 GB
THINNED = 0.01  # metres; half a voxel of the paper, so that thinning neither loses nor adds any
FARTHEST = (KEY_OFFSET - 2) * THINNED  # metres along an axis; cells beyond have no key


def read_mesh(path: Path) -> Surface:
    """Points on the faces of a mesh with vertex colours, one in each centimetre cell that a face passes through.

    A cloud of points, which has no faces, is taken as it is.

    Raises:
        InputError: The file is no mesh, its vertices are not finite or without colour, or it is larger than any scene.
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
    reach = np.abs(values[:, :3]).max()
    if reach > FARTHEST:
        raise InputError(f"{path} reaches {reach:.3g} m from the origin, where {FARTHEST:.4g} fit; is it in metres?")
    expected = sum(most_points(block).sum() for block in _corners(values, faces))
    if expected > MOST_POINTS:
        area = expected * SURFACE_SPACING**2
        raise InputError(f"{path} has faces of some {area:.3g} m2, which would fill the memory; is it in metres?")
    return cover(values, faces)


def cover(values: NDArray[np.float64], faces: NDArray[np.integer]) -> Surface:
    """Points on faces, one in each centimetre cell (two where blocks of faces meet in it).

    Args:
        values: (V, 6), position in metres and RGB of 0 to 255 at the vertices.
        faces: (F, 3), their corners.
    """
    points, colors = [], []
    for corners in map(halve, _corners(values, faces)):
        expected = np.cumsum(most_points(corners))
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
    (start, end, apex), longest, height = _by_longest_side(corners)
    rows = np.ceil(height / SURFACE_SPACING).astype(np.int64) + 1
    triangle, row = _ragged_range(rows)
    up = (row / np.maximum(rows - 1, 1)[triangle])[:, None]
    steps = np.ceil(longest[triangle] * (1 - up[:, 0]) / SURFACE_SPACING).astype(np.int64) + 1
    line, step = _ragged_range(steps)
    along = (step / np.maximum(steps - 1, 1)[line])[:, None]
    triangle, up = triangle[line], up[line]
    base = start[triangle] * (1 - along) + end[triangle] * along
    return base * (1 - up) + apex[triangle] * up


def halve(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The triangles (T, 3, 3 + C), large ones cut across their longest side until each holds few enough points."""
    small = []
    while (large := most_points(corners) > POINTS_AT_ONCE).any():
        small.append(corners[~large])
        (start, end, apex), _, _ = _by_longest_side(corners[large])
        middle = (start + end) / 2
        corners = np.concatenate((np.stack((start, middle, apex), 1), np.stack((middle, end, apex), 1)))
    return np.concatenate((*small, corners))


def most_points(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper bounds (T,) of the points that are sampled on triangles (T, 3, 3 + C), slivers too."""
    _, longest, height = _by_longest_side(corners)
    # rows, and the steps of the mean one
    bounds: NDArray[np.float64] = (height / SURFACE_SPACING + 2) * (longest / SURFACE_SPACING / 2 + 2)
    return bounds


def _by_longest_side(
    corners: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of triangles (T, 3, 3 + C) the ends of the longest side and the apex (3, T, 3 + C), its length and the height."""
    sides = np.linalg.norm(np.roll(corners, -1, 1)[..., :3] - corners[..., :3], axis=-1)
    turn = (sides.argmax(1)[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(corners, turn[..., None], 1).transpose(1, 0, 2)
    start, end, apex = turned[..., :3]
    longest = sides.max(1)
    doubled_area = np.linalg.norm(np.cross(end - start, apex - start), axis=-1)
    return turned, longest, doubled_area / np.maximum(longest, 1e-12)


def _corners(values: NDArray[np.float64], faces: NDArray[np.integer]) -> Iterator[NDArray[np.float64]]:
    """The faces (F, 3), block by block as triangles (T, 3, 3 + C)."""
    for start in range(0, len(faces), FACES_AT_ONCE):
        yield values[faces[start : start + FACES_AT_ONCE]]


def _ragged_range(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For counts (2, 3): the owners 0 0 1 1 1 and the positions 0 1 0 1 2."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
