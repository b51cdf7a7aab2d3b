"""Floor plans: one rectangle, an L, or two rooms joined by a doorway, all as unions of axis-aligned rectangles."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .shapes import Array

LINTEL = 2.06  # metres, height of a doorway
WALL = 0.12  # metres, thickness of a wall between two rooms
REACH = 0.7  # metres that the rectangle of a doorway reaches into the rooms, so that shrunk rectangles stay joined


@dataclass(frozen=True, eq=False)
class Space:
    """One room of a plan.

    Args:
        rectangles: (R, 2, 2) low and high corners. Whatever box lies in the space lies in one of them.
        segments: (S, 2, 2) start and end of its walls, the space to the left.
        height: Metres.
    """

    rectangles: Array
    segments: Array
    height: float

    @property
    def bounds(self) -> Array:
        """(2, 2) of the box around it."""
        return np.stack((self.rectangles[:, 0].min(0), self.rectangles[:, 1].max(0)))

    @property
    def area(self) -> float:
        """Square metres."""
        return float(_area(self.rectangles))


@dataclass(frozen=True, eq=False)
class FloorPlan:
    """Where the floor and the walls are. The origin is the middle of the box around it.

    Args:
        spaces: Rectangles (R, 2, 2) of each room: one or two rooms.
        height: Metres, of all ceilings.
        doorway: (2, 2) the floor of the passage through the wall between two rooms.

    Attributes:
        rectangles: (R, 2, 2) low and high corners of the pieces of floor, doorway and all. They overlap.
        segments: (S, 2, 2) start and end of the walls all around the floor, which lies to the left.
        size: (3,) of the box around it.
    """

    spaces: tuple[Array, ...]
    height: float
    doorway: Array | None = None
    rectangles: Array = field(init=False)
    segments: Array = field(init=False)
    size: Array = field(init=False)

    def __post_init__(self) -> None:
        pieces = list(self.spaces)
        if self.doorway is not None:
            across = int(np.argmin(self.doorway[1] - self.doorway[0]))  # a doorway is wider than its wall is thick
            longer = self.doorway.copy()
            longer[:, across] += (-REACH, REACH)
            pieces.append(longer[None])
        rectangles = np.concatenate(pieces)
        object.__setattr__(self, "rectangles", rectangles)
        object.__setattr__(self, "segments", outline(rectangles))
        extent = rectangles[:, 1].max(0) - rectangles[:, 0].min(0)
        object.__setattr__(self, "size", np.array((*extent, self.height)))

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """Which (N,) of the points (N, 2) lie on the floor."""
        return _contains(self.rectangles, points)

    def clearance(self, points: Array) -> Array:
        """Distances (N,) of points (N, 2) to the nearest wall, negative off the floor."""
        start, along = self.segments[:, 0], self.segments[:, 1] - self.segments[:, 0]
        offset = points[:, None] - start
        share = np.clip((offset * along).sum(-1) / (along**2).sum(-1), 0, 1)
        distance = np.linalg.norm(offset - share[..., None] * along, axis=-1).min(1)
        return np.where(self.contains(points), distance, -distance)

    def nearest(self, points: Array, margin: float = 0.0) -> Array:
        """The points (N, 2) moved to the nearest place at least ``margin`` inside some rectangle of the floor."""
        inner = self.rectangles + np.array((margin, -margin))[:, None]
        middle = self.rectangles.mean(1)
        low, high = np.minimum(inner[:, 0], middle), np.maximum(inner[:, 1], middle)
        moved = np.clip(points[:, None], low, high)
        best = np.linalg.norm(moved - points[:, None], axis=-1).argmin(1)
        return moved[np.arange(len(points)), best]

    def rooms(self) -> list[Space]:
        """Its rooms, each with those walls that look into it."""
        return [Space(space, self.segments[_contains(space, self._before())], self.height) for space in self.spaces]

    def jambs(self) -> Array:
        """The two walls (2, 2, 2) inside the doorway, or none (0, 2, 2)."""
        return self.segments[~_contains(np.concatenate(self.spaces), self._before())]

    def _before(self) -> Array:
        """A point (S, 2) just before the middle of each wall."""
        along = self.segments[:, 1] - self.segments[:, 0]
        along = along / np.linalg.norm(along, axis=1, keepdims=True)
        return self.segments.mean(1) + 1e-3 * np.stack((-along[:, 1], along[:, 0]), -1)


def rectangle(random: np.random.Generator, shortest: float, longest: float) -> FloorPlan:
    """One rectangle with sides between two lengths."""
    sides = random.uniform(shortest, longest, 2)
    return _finish(random, (np.stack((np.zeros(2), sides))[None],))


def angle(random: np.random.Generator) -> FloorPlan:
    """An L: two overlapping rectangles, no arm narrower than 2.1 m."""
    sides = random.uniform(4.6, 6.8, 2)
    arms = np.maximum(sides * random.uniform(0.4, 0.65, 2), 2.1)
    first, second = np.array(((0, 0), (sides[0], arms[1]))), np.array(((0, 0), (arms[0], sides[1])))
    return _finish(random, (np.stack((first, second)),))


def pair(random: np.random.Generator, first: tuple[float, float], second: tuple[float, float]) -> FloorPlan:
    """Two rooms, with sides between the lengths given for each, and a doorway between them."""
    one, other = random.uniform(*first, 2), random.uniform(*second, 2)
    width = random.uniform(0.85, 1.25)
    # the second room lies beyond the first one's far wall, anywhere that leaves room for the doorway
    least, most = width + 0.3 - other[1], one[1] - width - 0.3
    shift = random.uniform(max(least, -other[1] / 2), min(most, one[1] / 2))
    low, high = max(0.0, shift) + 0.15, min(one[1], shift + other[1]) - 0.15
    left = random.uniform(low, high - width)
    far = one[0] + WALL
    spaces = (np.array((((0, 0), one),)), np.array((((far, shift), (far + other[0], shift + other[1])),)))
    return _finish(random, spaces, np.array(((one[0], left), (far, left + width))))


def _finish(random: np.random.Generator, spaces: tuple[Array, ...], doorway: Array | None = None) -> FloorPlan:
    """Mirrored, turned and centred."""
    sign = random.choice((-1.0, 1.0), 2)
    swap = random.uniform() < 0.5
    everything = np.concatenate(spaces)
    middle = (everything[:, 0].min(0) + everything[:, 1].max(0)) / 2

    def turned(boxes: Array) -> Array:
        moved = np.sort((boxes - middle) * sign, axis=-2)
        return np.ascontiguousarray(moved[..., ::-1]) if swap else moved

    height = float(random.uniform(2.4, 3.0))
    return FloorPlan(tuple(turned(space) for space in spaces), height, None if doorway is None else turned(doorway))


def outline(rectangles: Array) -> Array:
    """The boundary (S, 2, 2) of a union of rectangles (R, 2, 2), in pieces as long as possible, the inside left."""
    segments = []
    for axis in (0, 1):
        ticks = np.unique(rectangles[:, :, axis])
        middle = (ticks[:-1] + ticks[1:]) / 2
        for side in (0, 1):
            inward = 1e-6 if side == 0 else -1e-6
            for level in np.unique(rectangles[:, side, 1 - axis]).tolist():
                beside = [np.full((len(middle), 2), level + step) for step in (inward, -inward)]
                for points in beside:
                    points[:, axis] = middle
                inside, outside = (_contains(rectangles, points) for points in beside)
                change = np.diff((inside & ~outside).astype(int), prepend=0, append=0)
                for low, high in zip(ticks[change == 1], ticks[change == -1], strict=True):
                    ends = (low, high) if axis == side else (high, low)
                    segments.append([(end, level) if axis == 0 else (level, end) for end in ends])
    return np.array(segments)


def _contains(rectangles: Array, points: Array) -> NDArray[np.bool_]:
    inside = (points[:, None] >= rectangles[:, 0]) & (points[:, None] <= rectangles[:, 1])
    return np.asarray(inside.all(-1).any(-1), bool)


def _area(rectangles: Array) -> float:
    """Of a union, by the cells that its corners' coordinates make."""
    x, y = np.unique(rectangles[:, :, 0]), np.unique(rectangles[:, :, 1])
    middle = np.stack(np.meshgrid((x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2, indexing="ij"), -1).reshape(-1, 2)
    return float((np.outer(np.diff(x), np.diff(y)).ravel() * _contains(rectangles, middle)).sum())
