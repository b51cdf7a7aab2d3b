"""Light in a room: direct with shadows, and what surfaces give on to each other.

Indirect light comes from probes on a grid, each with the first two bands of the spherical harmonics of what it sees
(Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001). Light is linear.
"""

import numpy as np
from scipy.sparse import csr_array

from .casting import Array, Caster, Hits, dot, length
from .rooms import Room

OFFSET = 2e-3  # metres off a surface from which shadow rays start, so that they do not hit it
PROBE_SPACING = 0.3  # metres
PROBE_RAYS = 48
BOUNCES = 3
MIDDLE_GREY = 0.24  # linear


class Lighting:
    """The light in one room.

    Args:
        room: The room.
        caster: For its rays.
        albedo: (P, 3) mean linear colour of the room's parts.

    Attributes:
        exposure: The factor that brings the room's mean radiance to a middle grey.
    """

    def __init__(self, room: Room, caster: Caster, albedo: Array) -> None:
        self._room = room
        self._caster = caster
        self._lights = [
            (light.points.astype(np.float32), light.normal.astype(np.float32), light.color.astype(np.float32))
            for light in room.lights
        ]
        self._bake(albedo)

    def direct(self, hits: Hits, toward_eye: Array | None) -> tuple[Array, Array]:
        """Diffuse irradiance over pi and highlight, (N, 3) each, from all lights; no highlight without an eye."""
        start = hits.position + OFFSET * hits.normal
        diffuse, highlight = np.zeros_like(start), np.zeros_like(start)
        shininess = self._room.shininess[hits.part]
        for points, facing, color in self._lights:
            middle = points.mean(0)
            extent = np.square(points - middle).sum(1).max() + np.float32(0.02)
            ray = middle - start
            distance = length(ray)
            ray /= distance[:, None]
            strength = dot(ray, hits.normal)
            if facing.any():
                strength = strength * np.maximum(-(ray @ facing), 0)
            lit = np.flatnonzero(strength > 0)
            # an extended source is not infinitely bright near by
            share = strength[lit] / (np.square(distance[lit]) + extent) * self._caster.visible(start[lit], points)
            diffuse[lit] += share[:, None] * color
            if toward_eye is not None:
                half = ray[lit] + toward_eye[lit]
                gloss = np.maximum(dot(half, hits.normal[lit]) / length(half), 0) ** shininess[lit]
                highlight[lit] += (gloss * share * (shininess[lit] + 8) / 8)[:, None] * color
        return diffuse, highlight

    def indirect(self, position: Array, normal: Array, *directions: Array) -> list[Array]:
        """Light over pi (N, 3) that arrives at (N, 3) around each of the directions (N, 3), from the nearest probes."""
        cell = (position + 0.5 * self._pitch * normal - self._low) / self._pitch - np.float32(0.5)
        cell = np.clip(cell, 0, self._count - np.float32(1.001))
        lower = cell.astype(np.int32)
        upper_share = cell - lower
        x, y, z = np.stack((1 - upper_share, upper_share), 1).transpose(2, 0, 1)  # (N, 2) each
        weight = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).reshape(-1)
        stride = np.array((self._count[1] * self._count[2], self._count[2], 1), np.int32)
        corner = np.indices((2, 2, 2), np.int32).reshape(3, 8).T @ stride
        column = ((lower @ stride)[:, None] + corner).reshape(-1)
        # eight probes a point: as a sparse matrix, one pass without temporary arrays
        row = np.arange(0, len(column) + 1, 8, dtype=np.int32)
        probes = csr_array((weight, column, row), (len(position), len(self._probes))) @ self._probes
        least = 0.25 * probes[:, :3]
        return [
            np.maximum(
                probes[:, :3]
                + direction[:, :1] * probes[:, 3:6]
                + direction[:, 1:2] * probes[:, 6:9]
                + direction[:, 2:] * probes[:, 9:],
                least,
            )
            for direction in directions
        ]

    def _bake(self, part_albedo: Array) -> None:
        """Fill the probes: what each sees, bounce after bounce. Sets the exposure on the way."""
        size = self._room.size
        count = np.maximum(np.ceil(size / PROBE_SPACING).astype(int), 2)
        self._low = (-size * (0.5, 0.5, 0)).astype(np.float32)
        self._pitch = (size / count).astype(np.float32)
        self._count = count.astype(np.int32)
        centers = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in count), indexing="ij"), -1).reshape(-1, 3)
        centers = self._low + centers.astype(np.float32) * self._pitch
        directions = _sphere(PROBE_RAYS)
        rays = np.tile(directions, (len(centers), 1))
        hits = self._caster.cast(np.repeat(centers, PROBE_RAYS, 0), rays)
        first = self.direct(hits, None)[0]
        albedo = part_albedo[hits.part]
        emission = (part_albedo * self._room.emission[:, None])[hits.part]
        # inside furniture most rays see surfaces near by: such a probe takes what its neighbours have
        close = (hits.distance.reshape(-1, PROBE_RAYS) < 0.4 * PROBE_SPACING).mean(1)
        weight = np.where(close > 0.5, 1e-3, 1.0).astype(np.float32)[:, None]
        basis = np.concatenate((np.ones((PROBE_RAYS, 1), np.float32), 2 * directions), 1) / PROBE_RAYS
        indirect = np.zeros_like(first)
        for _ in range(BOUNCES):
            radiance = albedo * (first + indirect)
            mean = float(radiance.mean())
            seen = (radiance + emission * 3 * mean).reshape(-1, PROBE_RAYS, 3)
            probes = np.einsum("pri,rb->pbi", seen, basis).reshape(-1, 12)
            self._probes = _spread(probes, weight, tuple(count.tolist()))
            (indirect,) = self.indirect(hits.position, hits.normal, hits.normal)
        self.exposure = MIDDLE_GREY / max(mean, 1e-9)


def _sphere(count: int) -> Array:
    """Directions (count, 3) spread evenly, by the golden angle."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle), z), -1).astype(np.float32)


def _spread(probes: Array, weight: Array, count: tuple[int, ...]) -> Array:
    """Probes (P, C) with those of little weight filled from the six around them."""
    total, share = probes * weight, weight.copy()
    grid, mass = total.reshape(*count, -1), share.reshape(*count, 1)
    filled, amount = grid.copy(), mass.copy()
    for axis in range(3):
        for step in (slice(1, None), slice(None, -1)):
            other = slice(None, -1) if step.start else slice(1, None)
            here = (slice(None),) * axis
            filled[(*here, step)] += 0.1 * grid[(*here, other)]
            amount[(*here, step)] += 0.1 * mass[(*here, other)]
    return (filled / amount).reshape(probes.shape)
