"""Rounded bodies that furniture is made of: cushions, turned and lofted ones, bars, tubes, hanging cloth, leaves.

As in ``shapes.py``: closed bodies have their normals outward, texture coordinates are metres.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from .shapes import FACES, Array, Shape, grid_triangles, place, sheet, unit

ORIGIN = (0.0, 0.0, 0.0)


@cache
def _rounded_cube(steps: int, inside: int) -> tuple[Array, Array, Array]:
    """A box with rounded edges, corners (F, 3, 3) each in units of its flat part and in units of the radius, and the
    matrices (F, 1, 3, 2) that pick texture coordinates."""
    rounding = np.tan(np.linspace(0, np.pi / 4, steps))
    middle = np.linspace(-1, 1, inside + 2)[1:-1]
    flat = np.concatenate((-np.ones(steps), middle, np.ones(steps)))
    bent = np.concatenate((-rounding[::-1], np.zeros(inside), rounding))
    count = len(flat)
    flats, bends, axes = [], [], []
    index = grid_triangles(count, count)
    for across, up, outward, sign in FACES:
        direction = sign if outward != 1 else -sign
        inner, out = np.empty((count, count, 3)), np.empty((count, count, 3))
        inner[..., across], inner[..., up], inner[..., outward] = (flat * direction, flat[:, None], sign)
        out[..., across], out[..., up], out[..., outward] = (bent * direction, bent[:, None], sign)
        flats.append(inner.reshape(-1, 3)[index])
        bends.append(unit(out).reshape(-1, 3)[index])
        axes.append(np.broadcast_to(np.eye(3)[:, (across, up)], (len(index), 3, 2)))
    return np.concatenate(flats), np.concatenate(bends), np.concatenate(axes)[:, None]


def cushion(
    size: ArrayLike, base: ArrayLike = ORIGIN, radius: float = 0.03, bulge: float = 0.0, steps: int = 3
) -> Shape:
    """A box with rounded edges that stands on the centre of its base, its upper half optionally bulging."""
    half = np.asarray(size, float) / 2
    radius = min(radius, 0.999 * float(half.min()))
    flat, bent, axes = _rounded_cube(steps, 3 if bulge else 0)
    corners, normals = flat * (half - radius) + bent * radius, bent
    uv = (corners[:, :, None] @ axes)[:, :, 0]
    if bulge:
        x, y = corners[..., 0] / half[0], corners[..., 1] / half[1]
        upper = np.maximum(corners[..., 2], 0)
        scale = 1 + bulge * (1 - x * x) * (1 - y * y) * (corners[..., 2] > 0)
        slope = -2 * bulge * upper[..., None] * np.stack((x * (1 - y * y) / half[0], y * (1 - x * x) / half[1]), -1)
        # a normal follows the inverse transpose of the stretching
        tall = normals[..., 2:] / scale[..., None]
        normals = unit(np.concatenate((normals[..., :2] - slope * tall, tall), -1))
        corners[..., 2] *= scale
    corners += np.asarray(base, float)
    corners[..., 2] += half[2]
    return Shape(corners, normals, uv)


def turned(profile: ArrayLike, base: ArrayLike = ORIGIN, segments: int = 16, smooth: bool = False) -> Shape:
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
    step = np.diff(points, axis=0)
    distance = np.sqrt((step**2).sum(1))
    length = np.concatenate(([0], np.cumsum(distance)))
    if smooth:
        tangent = np.gradient(points, axis=0)
    else:  # each piece of the profile has its own two rings
        tangent = np.repeat(step, 2, 0)
        points = np.stack((points[:-1], points[1:]), 1).reshape(-1, 2)
        length = np.stack((length[:-1], length[1:]), 1).reshape(-1)
    tangent = tangent / np.maximum(np.sqrt((tangent**2).sum(1, keepdims=True)), 1e-12)
    shape = (len(points), segments + 1)
    position, normal, uv = (np.empty((*shape, 3)), np.empty((*shape, 3)), np.empty((*shape, 2)))
    position[..., :2], position[..., 2] = points[:, None, :1] * around, points[:, 1:]
    normal[..., :2], normal[..., 2] = tangent[:, None, 1:] * around, -tangent[:, :1]
    uv[..., 0], uv[..., 1] = angle * points[:, 0].max(), length[:, None]
    position += np.asarray(base, float)
    if smooth:
        return sheet(position, uv, normal)
    level = np.repeat(step[:, 1] == 0, 2)
    uv[level] = position[level, :, :2]  # as a board is, not as a pie
    index = _bands(len(step), segments + 1)
    return Shape(position.reshape(-1, 3)[index], normal.reshape(-1, 3)[index], uv.reshape(-1, 2)[index])


@cache
def _bands(count: int, columns: int) -> Array:
    """Triangles of ``count`` separate grids of two rows each."""
    return np.concatenate([grid_triangles(2, columns) + 2 * columns * band for band in range(count)])


def cylinder(
    radius: float, height: float, base: ArrayLike = ORIGIN, top: float | None = None, segments: int = 14
) -> Shape:
    """A closed cylinder, or a cone's stump with radius ``top`` at its top."""
    upper = radius if top is None else top
    return turned(((0, 0), (radius, 0), (upper, height), (0, height)), base, segments)


def ball(radius: float, base: ArrayLike = ORIGIN, squash: float = 1.0, segments: int = 14) -> Shape:
    """An ellipsoid of height ``2 * radius * squash`` that touches its base."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 2)
    profile = np.stack((radius * np.cos(angle), radius * squash * (1 + np.sin(angle))), -1)
    return turned(profile, base, segments, smooth=True)


def bar(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None = None, segments: int = 8) -> Shape:
    """A round bar from one point to another."""
    first, last = np.asarray(start, float), np.asarray(end, float)
    x, y, z = (last - first).tolist()
    length = float(np.sqrt(x * x + y * y + z * z))
    x, y, z = x / length, y / length, z / length
    # across the bar and that of the y and x axes which it is farther from
    side = np.array((-z, 0.0, x) if abs(y) < 0.9 else (0.0, z, -y))
    side /= np.sqrt(side @ side)
    a, b, c = side.tolist()
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 2], matrix[:3, 3] = side, (x, y, z), first
    matrix[:3, 1] = y * c - z * b, z * a - x * c, x * b - y * a
    return cylinder(radius, length, top=end_radius, segments=segments).moved(matrix)


def tube(points: ArrayLike, radius: float, segments: int = 7) -> Shape:
    """A bent pipe along the points (P, 3), P at least 3, of a curve that lies about in a plane; its ends are open."""
    path = np.asarray(points, float)
    across = np.linalg.svd(path - path.mean(0))[2][2]  # of the plane
    tangent = unit(np.gradient(path, axis=0))
    side = unit(np.cross(tangent, across))
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    upright = np.cross(tangent, side)
    normal = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * upright[:, None]
    length = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    uv = np.stack(np.broadcast_arrays(angle * radius, length[:, None]), -1)
    return sheet(path[:, None] + radius * normal, uv, normal)


def arc(center: ArrayLike, first: ArrayLike, second: ArrayLike, start: float, stop: float, count: int = 7) -> Array:
    """Points (count, 3) of an ellipse with half axes ``first`` and ``second`` (3,), between two angles."""
    angle = np.linspace(start, stop, count)[:, None]
    return np.asarray(center, float) + np.cos(angle) * np.asarray(first) + np.sin(angle) * np.asarray(second)


def oval(half: tuple[float, float], z: float, y: float = 0.0, square: float = 2.0, count: int = 20) -> Array:
    """A level closed curve (count, 3): an ellipse, or towards a rectangle as ``square`` grows, around (0, y, z)."""
    angle = np.arange(count) * 2 * np.pi / count
    cosine, sine = np.cos(angle), np.sin(angle)
    x = half[0] * np.sign(cosine) * np.abs(cosine) ** (2 / square)
    across = half[1] * np.sign(sine) * np.abs(sine) ** (2 / square)
    return np.stack((x, y + across, np.full(count, z)), -1)


def loft(rings: list[Array], smooth: bool = True) -> Shape:
    """A body through closed curves (C, 3) each, from the bottom up along the outside, and on down an inside.

    Args:
        rings: The curves, counter-clockwise from above.
        smooth: Whether the body is round from curve to curve or has an edge at each of them.
    """
    points = np.stack(rings)
    along = np.gradient(points, axis=0)
    if not smooth:  # each band has its own two curves
        along = np.repeat(np.diff(points, axis=0), 2, 0)
        points = np.repeat(points, 2, 0)[1:-1]
    around = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normals = unit(np.cross(around, along))
    pointed = np.flatnonzero((normals**2).sum(-1).max(1) < 0.5)  # a curve that is a point takes its neighbour's normal
    beside = np.where(pointed > 0, pointed - 1, pointed + 1)
    normals[pointed] = unit(normals[beside].mean(1, keepdims=True))
    points, normals = (np.concatenate((grid, grid[:, :1]), 1) for grid in (points, normals))
    across = np.cumsum(np.linalg.norm(np.diff(points, axis=1, prepend=points[:, :1]), axis=-1).max(0))
    upward = np.cumsum(np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=-1).max(1))
    uv = np.stack(np.broadcast_arrays(across, upward[:, None]), -1)
    if smooth:
        return sheet(points, uv, normals)
    index = _bands(len(rings) - 1, points.shape[1])
    return Shape(points.reshape(-1, 3)[index], normals.reshape(-1, 3)[index], uv.reshape(-1, 2)[index])


def drape(width: float, height: float, fold: float, folds: int, base: ArrayLike = ORIGIN) -> Shape:
    """A hanging cloth in the x-z plane that looks along +y, with folds of depth ``fold`` that widen downward."""
    across = np.linspace(0, 1, 6 * folds + 1)
    down = np.linspace(0, 1, 5)[:, None]
    wave = np.sin(across * folds * 2 * np.pi) + 0.35 * np.sin(across * folds * 3.3 + 1)
    depth = fold * wave * (1.1 - 0.5 * down)
    points = np.stack(np.broadcast_arrays((0.5 - across) * width, depth, down * height), -1)
    uv = np.stack(np.broadcast_arrays(across * width * 1.3, down * height), -1)
    return sheet(points + np.asarray(base, float), uv)


def leaf(length: float, width: float, elevation: float, yaw: float, base: ArrayLike) -> Shape:
    """A bent blade that grows out of its base and does not sink below it; texture coordinates in metres."""
    along = np.linspace(0, 1, 5)[:, None]
    across = np.array([-1.0, 1.0])
    blade = width / 2 * np.sin(np.pi * np.clip(along, 0.04, 0.97)) ** 0.7
    rise = elevation - min(0.9, elevation) * along * along
    reach = length * along * np.cos(elevation)
    points = np.stack(np.broadcast_arrays(reach, across * blade, length * along * np.sin(rise)), -1)
    uv = np.stack(np.broadcast_arrays(along * length, across * blade), -1)
    matrix = place(yaw=yaw)
    matrix[:3, 3] = base
    return sheet(points, uv).moved(matrix)
