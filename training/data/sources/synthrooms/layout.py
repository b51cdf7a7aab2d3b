"""Where things stand: objects are placed so that their boxes do not meet."""

import numpy as np

from .objects import Object
from .shapes import Array, place


class Layout:
    """Places objects in a room so that their boxes do not meet.

    Args:
        random: Where all chance comes from.
        size: (3,) metres, of the room.
    """

    def __init__(self, random: np.random.Generator, size: Array) -> None:
        self._random = random
        self.size = size
        self.boxes: list[Array] = []
        self.zones: list[Array] = []  # kept free, but not solid
        self.placed: list[tuple[Object, Array]] = []

    def _fits(self, bounds: Array) -> bool:
        half = self.size[:2] / 2
        if (bounds[0, :2] < -half - 1e-3).any() or (bounds[1, :2] > half + 1e-3).any() or bounds[1, 2] > self.size[2]:
            return False
        others = self.boxes + self.zones
        if not others:
            return True
        other = np.array(others)
        meets = (bounds[0] < other[:, 1] - 1e-4) & (bounds[1] > other[:, 0] + 1e-4)
        return not meets.all(1).any()

    def put(self, thing: Object, matrix: Array) -> bool:
        """Place an object if there is room for it."""
        bounds = thing.bounds(matrix)
        if not self._fits(bounds):
            return False
        self.boxes.append(bounds)
        self.placed.append((thing, matrix))
        return True

    def wall(self, index: int, along: float, out: float, z: float = 0.0) -> Array:
        """The motion (4, 4) to the place ``along`` a wall's middle, ``out`` from it, facing the room."""
        yaw = index * np.pi / 2
        inward = np.array((-np.sin(yaw), np.cos(yaw)))
        distance = self.size[1 - index % 2] / 2
        position = -inward * (distance - out) + along * np.array((np.cos(yaw), np.sin(yaw)))
        return place(float(position[0]), float(position[1]), z, yaw)

    def against_wall(
        self, thing: Object, z: float = 0.0, gap: float = 0.01, front: float = 0.0, corner: bool = False
    ) -> bool:
        """Place an object with its back to some wall; ``front`` metres before it are then kept free."""
        low, high = thing.bounds()
        for wall in self._random.permutation(np.repeat(np.arange(4), 10)).tolist():
            reach = self.size[wall % 2] / 2
            left, right = -reach - low[0] + 0.02, reach - high[0] - 0.02
            if left >= right:
                continue
            along = self._random.choice((left, right)) if corner else self._random.uniform(left, right)
            if self.put(thing, self.wall(wall, float(along), gap - low[1], z)):
                if front > 0:
                    self._keep_free(self.boxes[-1], wall, front)
                return True
        return False

    def _keep_free(self, bounds: Array, wall: int, depth: float) -> None:
        yaw = wall * np.pi / 2
        inward = np.round(np.array((-np.sin(yaw), np.cos(yaw), 0.0)))
        edge = np.where(inward > 0, bounds[1], bounds[0])
        zone = np.where(inward == 0, bounds, np.stack((edge, edge + depth * inward)))
        self.zones.append(np.stack((zone.min(0), zone.max(0))))

    def anywhere(self, thing: Object, margin: float) -> bool:
        """Place an object on the floor, turned at random by quarters and a little, ``margin`` from the walls."""
        for _ in range(25):
            yaw = self._random.integers(4) * np.pi / 2 + self._random.normal(0, 0.08)
            reach = np.maximum(self.size[:2] / 2 - margin, 0.05)
            x, y = self._random.uniform(-reach, reach).tolist()
            if self.put(thing, place(x, y, 0, yaw)):
                return True
        return False
