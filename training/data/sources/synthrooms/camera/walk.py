"""Where a person goes in a furnished room: from one free place to another, around what stands there."""

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra

from ..rooms.rooms import Room

Array = NDArray[np.float64]
PITCH = 0.12  # metres between the places that a walk may touch
SMOOTH = 0.25  # metres over which corners of the way are cut
WALL = 0.25  # metres to walls, where there is room
TALL = 0.2  # metres to what is as high as the camera
LOW, HIGH = 1.15, 1.9  # metres: heights between which the camera is carried
DETOUR = 6.0  # so many metres around low furniture are as good as one across its edge


class FreeSpace:
    """The places of a room where a person with a camera may be.

    Args:
        room: The room.
    """

    def __init__(self, room: Room) -> None:
        half = room.size[:2] / 2
        ticks = [np.arange(-side + PITCH / 2, side, PITCH) for side in half]
        places = np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 2)
        boxes = room.obstacles
        tall = boxes[(boxes[:, 1, 2] > LOW - 0.1) & (boxes[:, 0, 2] < HIGH)]
        low = boxes[(boxes[:, 1, 2] > 0.25) & (boxes[:, 1, 2] <= LOW - 0.1) & (boxes[:, 0, 2] < 1.0)]
        self._room, self._tall = room, tall[:, :, :2]
        to_wall, to_tall = room.plan.clearance(places), distance_to(places, self._tall)
        free = (to_wall > WALL) & (to_tall > TALL)
        if not free.any():  # then the roomiest place has to do
            roomiest = np.minimum(to_wall, to_tall).argmax()
            free[roomiest] = True
        self.places = places[free]
        cost = np.where(distance_to(self.places, low[:, :, :2]) < 0.1, DETOUR, 1.0)
        cost += 0.5 * (np.minimum(to_wall, to_tall)[free] < 0.4)
        number = np.full(free.shape, -1)
        number[free] = np.arange(free.sum())
        self._graph = _neighbors(number.reshape(len(ticks[0]), -1), cost)
        # what cannot be reached from the largest piece of free floor is not gone to
        _, piece = connected_components(self._graph, directed=False)
        self.reachable = np.flatnonzero(piece == np.bincount(piece).argmax())

    def clearance(self, points: Array) -> Array:
        """Distance (N,) of points (N, 2) to the nearest wall or thing as high as the camera; negative off the floor."""
        return np.minimum(self._room.plan.clearance(points), distance_to(points, self._tall))

    def sees(self, start: Array, ends: Array) -> NDArray[np.bool_]:
        """Whether neither a wall nor a thing as high as the camera lies between (2,) and just before points (N, 2)."""
        share = np.linspace(0.0, 0.85, 18)[:, None, None]
        between = (start + share * (ends - start)).reshape(-1, 2)
        clear = self._room.plan.contains(between) & (distance_to(between, self._tall) > 0)
        return np.asarray(clear.reshape(len(share), -1).all(0))

    def way(self, random: np.random.Generator, length: float) -> Array:
        """A way (N, 2) of at least so many metres where there is room to walk, its points some 5 cm apart."""
        here = int(random.choice(self.reachable))
        visited, way, walked = [here], [here], 0.0
        while walked <= length and len(self.reachable) > 1:
            there = self._goal(random, visited)
            _, before = dijkstra(self._graph, indices=there, return_predecessors=True)
            while here != there:
                following = int(before[here])
                walked += float(np.linalg.norm(self.places[following] - self.places[here]))
                here = following
                way.append(here)
            visited.append(there)
        return self._smooth(self.places[way])

    def _goal(self, random: np.random.Generator, visited: list[int]) -> int:
        """Where to go next: mostly where one has not been."""
        others = self.reachable[self.reachable != visited[-1]]
        choice = random.choice(others, 10)
        if random.uniform() < 0.3:
            return int(choice[0])
        apart = self.places[choice][:, None] - self.places[visited[-6:]]
        return int(choice[np.linalg.norm(apart, axis=-1).min(1).argmax()])

    def _smooth(self, way: Array) -> Array:
        """A way with its corners cut as far as there is room for that."""
        along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))))
        ticks = np.linspace(0, along[-1], int(along[-1] / 0.05) + 2)
        fine = np.stack([np.interp(ticks, along, way[:, axis]) for axis in range(2)], -1)
        least = self.clearance(way).min() - 0.05
        for sigma in (SMOOTH, SMOOTH / 2, SMOOTH / 4):
            smooth = scipy.ndimage.gaussian_filter1d(fine, sigma / 0.05, axis=0, mode="nearest")
            if self.clearance(smooth).min() > least:
                return smooth
        return fine


def distance_to(points: Array, boxes: Array) -> Array:
    """Distance (N,) of points (N, 2) to the nearest of the boxes (B, 2, 2), 0 in a box."""
    gap = np.maximum(boxes[:, 0] - points[:, None], points[:, None] - boxes[:, 1])
    return np.linalg.norm(np.maximum(gap, 0), axis=-1).min(1, initial=np.inf)


def _neighbors(number: NDArray[np.int64], cost: Array) -> scipy.sparse.csr_array:
    """What steps between neighbours on a grid cost; ``number`` is -1 where nobody may be."""
    starts, ends, lengths = [], [], []
    wide, deep = number.shape
    for x, y in ((1, 0), (0, 1), (1, 1), (1, -1)):
        first = number[: wide - x, max(0, -y) : deep - max(0, y)]
        second = number[x:, max(0, y) : deep + min(0, y)]
        both = (first >= 0) & (second >= 0)
        starts.append(first[both])
        ends.append(second[both])
        lengths.append(np.full(both.sum(), PITCH * np.hypot(x, y)))
    start, end = np.concatenate(starts), np.concatenate(ends)
    weight = np.concatenate(lengths) * (cost[start] + cost[end]) / 2
    pairs = np.concatenate((start, end)), np.concatenate((end, start))
    return scipy.sparse.csr_array((np.tile(weight, 2), pairs), shape=(len(cost), len(cost)))
