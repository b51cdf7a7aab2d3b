"""Surfaces as triangles with normals and texture coordinates, motions, and the flat ones: boxes, panels, mats.

Closed shapes have their geometric normals (right-hand rule) outward. Texture coordinates are metres, v pointing up on
upright faces, unless a function says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shape:
    """Triangles.

    Args:
        corners: (F, 3, 3) metres.
        normals: (F, 3, 3) unit, one per corner: smooth where the surface is.
        uv: (F, 3, 2) texture coordinates.
    """

    corners: Array
    normals: Array
    uv: Array

    def moved(self, matrix: Array) -> "Shape":
        """The shape after a rigid motion (4, 4)."""
        rotation = matrix[:3, :3].T
        return Shape(self.corners @ rotation + matrix[:3, 3], self.normals @ rotation, self.uv)


def join(shapes: Sequence[Shape]) -> Shape:
    """Several shapes as one."""
    return Shape(
        np.concatenate([shape.corners for shape in shapes]),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uv for shape in shapes]),
    )


def place(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Array:
    """The motion (4, 4) that turns about the vertical by ``yaw`` radians, then moves."""
    matrix = np.eye(4)
    matrix[:2, :2] = (np.cos(yaw), -np.sin(yaw)), (np.sin(yaw), np.cos(yaw))
    matrix[:3, 3] = x, y, z
    return matrix


def tilt(angle: float, z: float = 0.0, y: float = 0.0) -> Array:
    """The motion (4, 4) that turns about the x axis by ``angle`` radians, then moves."""
    matrix = np.eye(4)
    matrix[1:3, 1:3] = (np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))
    matrix[1:3, 3] = y, z
    return matrix


@cache
def grid_triangles(rows: int, columns: int) -> NDArray[np.intp]:
    """Indices (F, 3) into the flattened points of a grid, two triangles a cell."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.stack((np.stack((a, b, c), 2), np.stack((a, c, d), 2)), 2).reshape(-1, 3)


def sheet(points: Array, uv: Array, normals: Array | None = None) -> Shape:
    """A grid of points (R, C, 3) with texture coordinates (R, C, 2) as triangles; normals follow columns x rows."""
    if normals is None:
        normals = unit(np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0)))
    index = grid_triangles(*points.shape[:2])
    return Shape(points.reshape(-1, 3)[index], normals.reshape(-1, 3)[index], uv.reshape(-1, 2)[index])


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) of length 1, or 0 where they were."""
    return vectors / np.maximum(np.sqrt((vectors**2).sum(-1, keepdims=True)), 1e-12)


# (axis across, axis up, axis outward, sign) of the six faces of a box; (across, up, sign * outward) is right-handed
FACES = ((1, 2, 0, 1), (1, 2, 0, -1), (0, 2, 1, -1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 2, -1))


def _cube() -> tuple[Array, Array, NDArray[np.intp]]:
    """Corners (12, 3, 3) at -1 and 1, normals (12, 3, 3), and the axes (12, 2) that texture coordinates follow."""
    corners, normals, axes = [], [], []
    for across, up, outward, sign in FACES:
        point = np.empty((2, 2, 3))
        # the order of the columns makes every face look outward
        point[..., across] = np.array([-1, 1]) * (sign if outward != 1 else -sign)
        point[..., up] = np.array([[-1], [1]])
        point[..., outward] = sign
        corners.append(point.reshape(-1, 3)[grid_triangles(2, 2)])
        normals.append(np.broadcast_to(np.eye(3)[outward] * sign, (2, 3, 3)))
        axes += [(across, up)] * 2
    return np.concatenate(corners), np.concatenate(normals), np.array(axes)


CORNERS, NORMALS, AXES = _cube()
SIGNS = np.take_along_axis(CORNERS, np.repeat(AXES[:, None], 3, 1), 2)  # of the texture coordinates


def box(size: ArrayLike, base: ArrayLike = (0.0, 0.0, 0.0), taper: float = 1.0) -> Shape:
    """A box of ``size`` (x, y, z) that stands on the centre of its base; ``taper`` scales its top."""
    half = np.asarray(size, float) / 2
    corners, normals = CORNERS * half, NORMALS
    if taper != 1:
        corners[..., :2] *= np.where(CORNERS[..., 2:] > 0, taper, 1.0)
        flat = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        normals = np.broadcast_to(flat[:, None], corners.shape)
    corners += np.asarray(base, float)
    corners[..., 2] += half[2]
    return Shape(corners, normals, SIGNS * half[AXES][:, None])


QUARTERS = np.array(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))[[[0, 1, 2], [0, 2, 3]]]  # (2, 3, 2)
UPRIGHT = np.stack((0.5 - QUARTERS[..., 0], np.zeros((2, 3)), QUARTERS[..., 1]), -1)
LEVEL = np.stack((QUARTERS[..., 0] - 0.5, QUARTERS[..., 1] - 0.5, np.zeros((2, 3))), -1)
FORWARD, UPWARD = (np.broadcast_to(np.eye(3)[axis], (2, 3, 3)) for axis in (1, 2))


def panel(width: float, height: float, base: ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """An upright rectangle that looks along +y; its texture coordinates run over [0, 1] once."""
    return Shape(UPRIGHT * (width, 0, height) + np.asarray(base, float), FORWARD, QUARTERS)


def mat(width: float, depth: float, base: ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """A level rectangle that looks up; its texture coordinates run over [0, 1] once, v along +y."""
    return Shape(LEVEL * (width, depth, 0) + np.asarray(base, float), UPWARD, QUARTERS)
