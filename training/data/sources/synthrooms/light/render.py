"""What a camera in a room sees, before exposure and noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rooms.rooms import Room
from .casting import FARTHEST
from .lighting import CORNER_RAYS, OFFSET, TILE
from .screen import STEP, Smoother, spread
from .shading import Seen, Shader
from .vectors import Array, Index, dot, take

# Edge pixels get these further rays, in pixels from their centre
SUBPIXELS = ((-0.25, 0.3), (0.3, -0.25))
CONTRAST = 0.05  # least difference of brightness, of its sum, that is worth further rays
ALONE = 8  # rays into the corners from pixels that have no neighbour to share with
MIRROR = 0.6  # gloss from which on a surface shows what is before it


@dataclass(frozen=True, eq=False)
class View:
    """A rendered frame.

    Args:
        color: (3, H, W) linear, before exposure.
        depth: (H, W) metres along z, exact.
        cosine: (H, W) between ray and surface normal.
        semantic, instance: (H, W).
        glass: (H, W) where a depth camera often reads nothing.
        albedo: (H, W) share of light that the surface gives back.
    """

    color: Array
    depth: Array
    cosine: Array
    semantic: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    glass: NDArray[np.bool_]
    albedo: Array


@dataclass(frozen=True, eq=False)
class Pinhole:
    """A camera.

    Args:
        intrinsics: (3, 3).
        camera_to_world: (4, 4).
    """

    intrinsics: NDArray[np.float64]
    camera_to_world: NDArray[np.float64]

    @property
    def pixel(self) -> float:
        """Width of a pixel at distance 1."""
        return float(1 / self.intrinsics[0, 0])

    @property
    def eye(self) -> Array:
        """(3, 1)."""
        return self.camera_to_world[:3, 3:].astype(np.float32)

    def rays(self, columns: NDArray, lines: NDArray) -> Array:
        """Rays (3, ...) of unit length along z through pixels; the two kinds of coordinate broadcast."""
        across = (columns - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        down = (lines - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        directions = np.empty((3, *np.broadcast_shapes(across.shape, down.shape)), np.float32)
        for row, target in zip(self.camera_to_world[:3, :3], directions, strict=True):
            target[:] = row[0] * across + (row[1] * down + row[2])
        return directions


class Renderer:
    """Renders one room.

    Args:
        room: The room.

    Attributes:
        exposure: The factor on a view's colours that brings the room's mean to a middle grey.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._shader = Shader(room)
        self.exposure = self._shader.exposure

    def view(
        self, size: tuple[int, int], intrinsics: NDArray[np.float64], camera_to_world: NDArray[np.float64]
    ) -> View:
        """What a camera sees: (height, width), (3, 3), (4, 4)."""
        room, shader, camera = self._room, self._shader, Pinhole(intrinsics, camera_to_world)
        height, width = size
        directions = camera.rays(np.arange(width), np.arange(height)[:, None]).reshape(3, -1)
        seen = shader.see(camera.eye, directions)
        part, depth = seen.part, seen.hits.distance.reshape(size)
        light = self._light(seen, size)
        albedo = shader.albedo(seen, camera.pixel)
        color = shader.color(seen, albedo, light)
        edge = _edges(seen.surface.reshape(size), depth, color.sum(0).reshape(size)).reshape(-1)
        mirror = room.specular[part] > MIRROR
        self._refine(color, np.flatnonzero(edge & ~mirror), seen, light, width, camera)
        self._mirror(color, np.flatnonzero(mirror), seen, camera)
        return View(
            color=color.reshape(3, height, width),
            depth=depth,
            cosine=seen.cosine.reshape(size),
            semantic=room.semantic[part].reshape(size),
            instance=room.instance[part].reshape(size),
            glass=room.glass[part].reshape(size),
            albedo=albedo.mean(0).reshape(size),
        )

    def _light(self, seen: Seen, size: tuple[int, int]) -> Array:
        """Diffuse light and gloss (6, N) of all pixels: at every other one, spread, and at those without neighbours."""
        height, width = size
        lines, columns = np.mgrid[:height:STEP, :width:STEP]
        grid = (lines * width + columns).reshape(-1)
        position, normal = seen.position.reshape(3, *size), seen.normal.reshape(3, *size)
        distance = seen.hits.distance.reshape(size)
        smooth = Smoother(position[:, ::STEP, ::STEP], normal[:, ::STEP, ::STEP], distance[::STEP, ::STEP])
        phase = (lines // STEP % TILE * TILE + columns // STEP % TILE).reshape(-1)
        light = self._shader.arriving(seen, grid, phase, CORNER_RAYS, smooth)
        whole, missing = spread(light.reshape(6, *lines.shape), position, normal, distance)
        whole = whole.reshape(6, -1)
        alone = np.flatnonzero(missing)
        whole[:, alone] = self._shader.arriving(seen, alone, alone % TILE**2, ALONE)
        return whole

    def _refine(self, color: Array, edge: Index, seen: Seen, light: Array, width: int, camera: Pinhole) -> None:
        """Give edge pixels the mean over further rays, lit as the pixels around them are."""
        distance = seen.hits.distance
        lines, columns = np.divmod(edge, width)
        total = take(color, edge)
        for across, down in SUBPIXELS:
            fine = self._shader.see(camera.eye, camera.rays(columns + across, lines + down))
            beside, below = edge + (1 if across > 0 else -1), edge + (width if down > 0 else -width)
            best, least = edge, np.full(len(edge), np.float32(np.inf))
            for neighbor in (edge, beside, below, beside + below - edge):
                neighbor = np.clip(neighbor, 0, len(distance) - 1)
                off = np.abs(distance[neighbor] - fine.hits.distance)
                off += np.where(seen.surface[neighbor] == fine.surface, np.float32(0), FARTHEST)
                best = np.where(off < least, neighbor, best)
                least = np.minimum(off, least)
            total += self._shader.color(fine, self._shader.albedo(fine, camera.pixel / 2), take(light, best))
        color[:, edge] = total / np.float32(1 + len(SUBPIXELS))

    def _mirror(self, color: Array, index: Index, seen: Seen, camera: Pinhole) -> None:
        """Add to pixels of mirrors what their rays meet next."""
        if not len(index):
            return
        normal, ray = take(seen.normal, index), take(seen.directions, index)
        ray = ray - 2 * dot(ray, normal) * normal
        next_seen = self._shader.see(take(seen.position, index) + OFFSET * normal, ray)
        everything = np.arange(len(index))
        light = self._shader.arriving(next_seen, everything, index % TILE**2, CORNER_RAYS)
        albedo = self._shader.albedo(next_seen, camera.pixel, seen.hits.distance[index])
        gloss = self._room.specular[seen.part[index]]
        color[:, index] += gloss * self._shader.color(next_seen, albedo, light)


def _edges(surface: NDArray[np.intp], depth: Array, brightness: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) with a border of surfaces or a step in depth towards a neighbour, where brightness differs."""
    edge = np.zeros(depth.shape, bool)
    for first, second in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        differs = surface[first] != surface[second]
        differs |= np.abs(depth[first] - depth[second]) > 0.08 * depth[first]
        differs &= np.abs(brightness[first] - brightness[second]) > CONTRAST * (brightness[first] + brightness[second])
        edge[first] |= differs
        edge[second] |= differs
    return edge
