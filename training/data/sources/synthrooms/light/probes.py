"""What surfaces give on to each other: a grid of probes, each with the light that arrives there.

A probe holds the first two bands of the spherical harmonics of what it sees (Ramamoorthi and Hanrahan, "An Efficient
Representation for Irradiance Environment Maps", 2001). A point of one room asks no probe beyond a wall.
"""

import numpy as np
from scipy.sparse import csr_array

from ..rooms.plan import FloorPlan
from .vectors import Array, sphere

SPACING = 0.4  # metres
RAYS = 40  # of a probe


class Probes:
    """A grid of probes over a floor plan.

    Args:
        plan: The floor plan.

    Attributes:
        centers: (P, 3) where the probes are.
        directions: (RAYS, 3) in which each looks.
    """

    def __init__(self, plan: FloorPlan) -> None:
        size = plan.size
        count = np.maximum(np.ceil(size / SPACING).astype(int), 2)
        self._low = (-size * (0.5, 0.5, 0)).astype(np.float32)
        self._pitch = (size / count).astype(np.float32)
        self._count = count.astype(np.int32)
        self._stride = np.array((count[1] * count[2], count[2], 1), np.int32)
        self._spaces = [space.astype(np.float32) for space in plan.spaces]
        ticks = np.meshgrid(*(np.arange(n) + 0.5 for n in count), indexing="ij")
        centers = self._low + np.stack(ticks, -1).reshape(-1, 3) * self._pitch
        # what lies behind the walls is moved before them, but counts for nothing
        inside = plan.contains(centers[:, :2])
        centers[:, :2] = plan.nearest(centers[:, :2], 0.05)
        self.centers = centers.astype(np.float32)
        self.directions = sphere(RAYS)
        self._basis = np.concatenate((np.ones((RAYS, 1), np.float32), 2 * self.directions), 1) / RAYS
        within = self._within(self.centers.T)
        # one table for each room, in which the other's probes mean nothing, and one for the doorway between
        tables = [inside & (own | ~within.any(0)) for own in within] + [inside]
        self._trust = np.where(np.stack(tables), np.float32(1), np.float32(1e-6))
        self._light = np.zeros((len(self._trust) * len(centers), 12), np.float32)

    def fill(self, radiance: Array, distance: Array) -> None:
        """Take what the probes see.

        Args:
            radiance: (3, P * RAYS).
            distance: (P * RAYS,) metres to what is seen.
        """
        # inside furniture most rays see surfaces near by: such a probe takes what its neighbours have
        close = (distance.reshape(-1, RAYS) < 0.3 * SPACING).mean(1)
        weight: Array = (self._trust * np.where(close > 0.5, 1e-3, 1.0)).astype(np.float32)
        bands = (radiance.reshape(3, -1, RAYS) @ self._basis).transpose(1, 2, 0)
        seen: Array = np.ascontiguousarray(bands, np.float32).reshape(-1, 12)
        shape = tuple(self._count.tolist())
        self._light = np.concatenate([_filled(seen, own[:, None], shape) for own in weight])

    def arriving(self, position: Array, normal: Array, direction: Array) -> Array:
        """Light over pi (3, N) that arrives at points (3, N) with normals (3, N), around directions (3, N)."""
        pitch = self._pitch[:, None]
        point = position + np.float32(0.4) * pitch * normal
        cell = (point - self._low[:, None]) / pitch - np.float32(0.5)
        cell = np.clip(cell, 0, self._count[:, None] - np.float32(1.001))
        lower = cell.astype(np.int32)
        upper = cell - lower
        shares = (1 - upper, upper)
        first = self._stride[0] * lower[0] + self._stride[1] * lower[1] + lower[2]
        if len(self._spaces) > 1:
            first += self._table(point) * len(self.centers)
        weight, column = np.empty((len(first), 8), np.float32), np.empty((len(first), 8), np.int32)
        for x, y in np.ndindex(2, 2):
            both = shares[x][0] * shares[y][1]
            for z in range(2):
                corner = 4 * x + 2 * y + z
                np.multiply(both, shares[z][2], out=weight[:, corner])
                np.add(first, self._stride @ (x, y, z), out=column[:, corner])
        # eight probes a point: as a sparse matrix, one pass without temporary arrays
        starts = np.arange(0, 8 * len(first) + 1, 8, dtype=np.int32)
        matrix = csr_array((weight.reshape(-1), column.reshape(-1), starts), (len(first), len(self._light)))
        around = np.ascontiguousarray((matrix @ self._light).T).reshape(4, 3, -1)
        light = around[0] + direction[0] * around[1]
        light += direction[1] * around[2]
        light += direction[2] * around[3]
        return np.maximum(light, np.float32(0.25) * around[0], out=light)

    def _within(self, points: Array) -> Array:
        """Whether (S, N) points (3, N) lie in each of the rooms."""
        return np.stack(
            [
                np.logical_or.reduce(
                    [
                        (points[0] >= low[0]) & (points[1] >= low[1]) & (points[0] <= high[0]) & (points[1] <= high[1])
                        for low, high in space
                    ]
                )
                for space in self._spaces
            ]
        )

    def _table(self, points: Array) -> Array:
        """Which of the tables (N,) points (3, N) ask: of the first room that they lie in, or the last."""
        within = self._within(points)
        return np.where(within.any(0), within.argmax(0), len(within)).astype(np.int32)


def _filled(probes: Array, weight: Array, count: tuple[int, ...]) -> Array:
    """Probes (P, C) with those of little weight filled from the ones around them."""
    grid, mass = (probes * weight).reshape(*count, -1), weight.reshape(*count, 1)
    for reach in (np.float32(0.1), np.float32(1e-3)):  # the second time for those that had no good neighbour either
        filled, amount = grid.copy(), mass.copy()
        for axis in range(3):
            for step in (slice(1, None), slice(None, -1)):
                other = slice(None, -1) if step.start else slice(1, None)
                here = (slice(None),) * axis
                filled[(*here, step)] += reach * grid[(*here, other)]
                amount[(*here, step)] += reach * mass[(*here, other)]
        grid, mass = filled, amount
    return (grid / mass).reshape(probes.shape)
