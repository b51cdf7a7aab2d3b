"""Where things stand: objects are placed in a space so that their boxes do not meet."""

import numpy as np
from numpy.typing import NDArray

from .objects import Object
from .plan import Space
from .shapes import Array, place

TRIES = 10  # places that are tried along a wall
SHORTEST = 0.3  # metres; shorter walls stay bare


class Layout:
    """Places objects in a space so that their boxes do not meet.

    Args:
        random: Where all chance comes from.
        space: What its rectangles and walls are.

    Attributes:
        boxes: (2, 3) each, of all that stands or hangs.
        zones: (2, 3) each, kept free, but not solid.
        placed: The objects and their motions (4, 4).
    """

    def __init__(self, random: np.random.Generator, space: Space) -> None:
        self._random = random
        self.space = space
        self.boxes: list[Array] = []
        self.zones: list[Array] = []
        self.placed: list[tuple[Object, Array]] = []
        along = space.segments[:, 1] - space.segments[:, 0]
        self._lengths = np.linalg.norm(along, axis=1)
        self._along = np.round(along / self._lengths[:, None])  # plans are axis-aligned

    def _free(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which (N,) of the boxes between (N, 3) and (N, 3) lie in the space and meet nothing."""
        rectangles = self.space.rectangles
        inside = (low[:, None, :2] > rectangles[:, 0] - 1e-3) & (high[:, None, :2] < rectangles[:, 1] + 1e-3)
        free = inside.all(-1).any(-1) & (high[:, 2] <= self.space.height)
        others = self.boxes + self.zones
        if others:
            other = np.array(others)
            meets = (low[:, None] < other[:, 1] - 1e-4) & (high[:, None] > other[:, 0] + 1e-4)
            free &= ~meets.all(-1).any(-1)
        return free

    def put(self, thing: Object, matrix: Array) -> bool:
        """Place an object if there is room for it."""
        bounds = thing.bounds(matrix)
        if not self._free(bounds[:1], bounds[1:])[0]:
            return False
        self.boxes.append(bounds)
        self.placed.append((thing, matrix))
        return True

    def against_wall(
        self,
        thing: Object,
        z: float = 0.0,
        gap: float = 0.01,
        front: float = 0.0,
        corner: bool = False,
        near: Array | None = None,
    ) -> bool:
        """Place an object with its back to a wall, if there is room.

        Args:
            thing: The object; its back is at -y.
            z: How high it hangs.
            gap: Metres between the wall and its back.
            front: Metres before it that are kept free from then on.
            corner: Whether it goes to an end of a wall.
            near: (2,) the free place nearest to here is taken instead of any.
        """
        low, high = thing.bounds()
        left, right = 0.02 - low[0], self._lengths - high[0] - 0.02
        long = (right > left) & (self._lengths > SHORTEST)
        walls = np.repeat(np.flatnonzero(long), TRIES)
        if not len(walls):
            return False
        share = self._random.uniform(0, 1, len(walls))
        share = np.round(share) if corner else share
        along = self._along[walls]
        inward = np.stack((-along[:, 1], along[:, 0]), -1)
        at = self.space.segments[walls, 0] + (left + share * (right[walls] - left))[:, None] * along
        at = at + (gap - low[1]) * inward
        middle, half = (low + high) / 2, (high - low) / 2
        center = np.concatenate((at + middle[0] * along + middle[1] * inward, np.full((len(at), 1), z + middle[2])), 1)
        reach = np.concatenate((half[0] * np.abs(along) + half[1] * np.abs(inward), np.full((len(at), 1), half[2])), 1)
        free = np.flatnonzero(self._free(center - reach, center + reach))
        if not len(free):
            return False
        if near is None:
            # a wall first: long walls are not preferred
            wall = self._random.choice(np.unique(walls[free]))
            chosen = int(free[walls[free] == wall][0])
        else:
            chosen = int(free[np.linalg.norm(at[free] - near, axis=1).argmin()])
        matrix = np.eye(4)
        matrix[:2, 0], matrix[:2, 1] = along[chosen], inward[chosen]
        matrix[:2, 3], matrix[2, 3] = at[chosen], z
        self.boxes.append(np.stack((center[chosen] - reach[chosen], center[chosen] + reach[chosen])))
        self.placed.append((thing, matrix))
        if front > 0:
            self.keep_free(self.boxes[-1], inward[chosen], front)
        return True

    def keep_free(self, bounds: Array, inward: Array, depth: float) -> None:
        """Let nothing stand ``depth`` metres before the side of a box (2, 3) that faces along (2,)."""
        facing = np.array((*inward, 0.0))
        edge = np.where(facing > 0, bounds[1], bounds[0])
        zone = np.where(facing == 0, bounds, np.stack((edge, edge + depth * facing)))
        self.zones.append(np.stack((zone.min(0), zone.max(0))))

    def anywhere(self, thing: Object, margin: float) -> bool:
        """Place an object on the floor, turned at random by quarters and a little, ``margin`` from the walls."""
        rectangles = self.space.rectangles
        areas = np.prod(rectangles[:, 1] - rectangles[:, 0], axis=1)
        for _ in range(25):
            yaw = self._random.integers(4) * np.pi / 2 + self._random.normal(0, 0.08)
            low, high = rectangles[self._random.choice(len(areas), p=areas / areas.sum())]
            reach = np.maximum((high - low) / 2 - margin, 0.05)
            x, y = ((low + high) / 2 + self._random.uniform(-reach, reach)).tolist()
            if self.put(thing, place(x, y, 0, yaw)):
                return True
        return False
