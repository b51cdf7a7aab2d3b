"""Surfaces that furniture is made of: boxes, cushions, turned bodies, sheets, as triangles with normals and texture
coordinates.

Closed shapes have their geometric normals (right-hand rule) outward. Texture coordinates are metres, v pointing up on
upright faces, unless a function says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# (axis across, axis up, axis outward, sign) of the six faces of a box; (across, up, sign * outward) is right-handed
FACES = ((1, 2, 0, 1), (1, 2, 0, -1), (0, 2, 1, -1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 2, -1))


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


def sheet(points: Array, uv: Array, normals: Array | None = None) -> Shape:
    """A grid of points (R, C, 3) with texture coordinates (R, C, 2) as triangles; normals follow columns x rows."""
    if normals is None:
        normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)

    def triangles(grid: Array) -> Array:
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
        return np.stack((np.stack((a, b, c), 2), np.stack((a, c, d), 2)), 2).reshape(-1, 3, grid.shape[-1])

    return Shape(triangles(points), triangles(normals), triangles(uv))


def box(size: ArrayLike, base: ArrayLike = (0.0, 0.0, 0.0), taper: float = 1.0) -> Shape:
    """A box of ``size`` (x, y, z) that stands on the centre of its base; ``taper`` scales its top."""
    half = np.asarray(size, float) / 2
    middle = np.asarray(base, float) + np.array((0, 0, half[2]))
    faces = []
    for across, up, outward, sign in FACES:
        point = np.empty((2, 2, 3))
        # the order of the columns makes every face look outward
        direction = sign if outward != 1 else -sign
        point[..., across] = np.array([-1, 1]) * direction * half[across]
        point[..., up] = np.array([[-1], [1]]) * half[up]
        point[..., outward] = sign * half[outward]
        uv = point[..., (across, up)].copy()
        point[..., :2] *= np.where(point[..., 2:] > 0, taper, 1.0)
        faces.append(sheet(point + middle, uv))
    return join(faces)


def cushion(
    size: ArrayLike, base: ArrayLike = (0.0, 0.0, 0.0), radius: float = 0.03, bulge: float = 0.0, steps: int = 3
) -> Shape:
    """A box with rounded edges that stands on the centre of its base, its top optionally bulging."""
    half = np.asarray(size, float) / 2
    middle = np.asarray(base, float) + np.array((0, 0, half[2]))
    radius = min(radius, 0.999 * half.min())
    rounding = radius * np.tan(np.linspace(0, np.pi / 4, steps))
    inside = np.linspace(-1, 1, 7 if bulge else 2)[1:-1]
    axes = [
        np.concatenate((-flat - rounding[::-1], inside * flat, flat + rounding)) for flat in (half - radius).tolist()
    ]
    faces = []
    for across, up, outward, sign in FACES:
        direction = sign if outward != 1 else -sign
        point = np.empty((len(axes[up]), len(axes[across]), 3))
        point[..., across] = axes[across] * direction
        point[..., up] = axes[up][:, None]
        point[..., outward] = sign * half[outward]
        inner = np.clip(point, radius - half, half - radius)
        normal = (point - inner) / np.linalg.norm(point - inner, axis=-1, keepdims=True)
        point = inner + radius * normal
        uv = point[..., (across, up)]
        if bulge:
            relative = point[..., :2] / half[:2]
            swell = bulge * (1 - relative[..., 0] ** 2) * (1 - relative[..., 1] ** 2)
            point[..., 2] *= np.where(point[..., 2] > 0, 1 + swell, 1)
        faces.append(sheet(point + middle, uv, None if bulge and outward == 2 else normal))
    return join(faces)


def turned(profile: ArrayLike, base: ArrayLike = (0.0, 0.0, 0.0), segments: int = 16, smooth: bool = False) -> Shape:
    """A body of revolution about the vertical.

    Args:
        profile: (P, 2) radius and height, from the bottom up along the outside: then normals are outward.
        base: Where the origin of the profile stands.
        segments: Around.
        smooth: Whether the profile is a curve or has a sharp edge at each of its points.
    """
    points = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    around = np.stack((np.cos(angle), np.sin(angle)), -1)
    length = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))
    tangent = np.gradient(points, axis=0) if smooth else np.diff(points, axis=0)
    tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    widest = float(points[:, 0].max())

    def ring(at: Array, tangents: Array, lengths: Array) -> Shape:
        position = np.concatenate(
            (at[:, None, :1] * around, np.broadcast_to(at[:, None, 1:], (len(at), segments + 1, 1))), -1
        )
        up = np.broadcast_to(-tangents[:, None, :1], (len(at), segments + 1, 1))
        normal = np.concatenate((tangents[:, None, 1:] * around, up), -1)
        uv = np.stack(np.broadcast_arrays(angle[None] * widest, lengths[:, None]), -1)
        return sheet(position + np.asarray(base, float), uv, normal)

    if smooth:
        return ring(points, tangent, length)
    pairs = zip(points[:-1], points[1:], tangent, length[:-1], length[1:], strict=True)
    return join([ring(np.stack((a, b)), np.stack((t, t)), np.array([m, n])) for a, b, t, m, n in pairs])


def cylinder(
    radius: float, height: float, base: ArrayLike = (0.0, 0.0, 0.0), top: float | None = None, segments: int = 14
) -> Shape:
    """A closed cylinder, or a cone's stump with radius ``top`` at its top."""
    upper = radius if top is None else top
    return turned(((0, 0), (radius, 0), (upper, height), (0, height)), base, segments)


def ball(radius: float, base: ArrayLike = (0.0, 0.0, 0.0), squash: float = 1.0, segments: int = 14) -> Shape:
    """An ellipsoid of height ``2 * radius * squash`` that touches its base."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 2)
    profile = np.stack((radius * np.cos(angle), radius * squash * (1 + np.sin(angle))), -1)
    return turned(profile, base, segments, smooth=True)


def bar(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None = None, segments: int = 8) -> Shape:
    """A round bar from one point to another."""
    first, last = np.asarray(start, float), np.asarray(end, float)
    length = float(np.linalg.norm(last - first))
    along = (last - first) / length
    side = np.cross(along, (0, 1, 0) if abs(along[1]) < 0.9 else (1, 0, 0))
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack((side, np.cross(along, side), along), -1)
    matrix[:3, 3] = first
    return cylinder(radius, length, top=end_radius, segments=segments).moved(matrix)


def panel(width: float, height: float, base: ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """An upright rectangle that looks along +y; its texture coordinates run over [0, 1] once."""
    u, v = np.meshgrid((0.0, 1.0), (0.0, 1.0))
    points = np.stack(((0.5 - u) * width, np.zeros_like(u), v * height), -1)
    return sheet(points + np.asarray(base, float), np.stack((u, v), -1))


def mat(width: float, depth: float, base: ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """A level rectangle that looks up; its texture coordinates run over [0, 1] once, v along +y."""
    u, v = np.meshgrid((0.0, 1.0), (0.0, 1.0))
    points = np.stack(((u - 0.5) * width, (v - 0.5) * depth, np.zeros_like(u)), -1)
    return sheet(points + np.asarray(base, float), np.stack((u, v), -1))


def drape(width: float, height: float, fold: float, folds: int, base: ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """A hanging cloth in the x-z plane that looks along +y, with folds of depth ``fold`` that widen downward."""
    across = np.linspace(0, 1, 6 * folds + 1)
    down = np.linspace(0, 1, 5)[:, None]
    wave = np.sin(across * folds * 2 * np.pi) + 0.35 * np.sin(across * folds * 3.3 + 1)
    depth = fold * wave * (1.1 - 0.5 * down)
    points = np.stack(np.broadcast_arrays((0.5 - across) * width, depth, down * height), -1)
    uv = np.stack(np.broadcast_arrays(across * width * 1.3, down * height), -1)
    return sheet(points + np.asarray(base, float), uv)


def leaf(length: float, width: float, elevation: float, yaw: float, base: ArrayLike) -> Shape:
    """A bent blade that grows out of its base; texture coordinates in metres."""
    along = np.linspace(0, 1, 5)[:, None]
    across = np.array([-1.0, 1.0])
    blade = width / 2 * np.sin(np.pi * np.clip(along, 0.04, 0.97)) ** 0.7
    rise = elevation - 0.9 * along * along
    reach = length * along * np.cos(elevation)
    points = np.stack(np.broadcast_arrays(reach, across * blade, length * along * np.sin(rise)), -1)
    uv = np.stack(np.broadcast_arrays(along * length, across * blade), -1)
    matrix = place(yaw=yaw)
    matrix[:3, 3] = base
    return sheet(points, uv).moved(matrix)
