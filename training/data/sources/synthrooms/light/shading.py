"""What surfaces look like along rays: textures, the light that arrives, Lambert and Blinn-Phong."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..rooms.rooms import Room
from .casting import Caster, Hits
from .lighting import Lighting
from .vectors import Array, Index, as_rows, dot, length, take


@dataclass(frozen=True, eq=False)
class Seen:
    """What N rays meet.

    Args:
        hits: Where.
        part: (N,) row of the room's tables.
        surface: (N,) numbers of surfaces, as of ``Caster``.
        origin: (3, N) or (3, 1).
        directions: (3, N).
        normal: (3, N), geometric, towards the origin.
        far: (N,) lengths of the directions.
        cosine: (N,) between ray and normal.
    """

    hits: Hits
    part: Index
    surface: Index
    origin: Array
    directions: Array
    normal: Array
    far: Array
    cosine: Array

    @cached_property
    def position(self) -> Array:
        """(3, N)."""
        return self.origin + self.directions * self.hits.distance


class Shader:
    """Looks along rays in one room.

    Args:
        room: The room.

    Attributes:
        exposure: The factor on colours that brings the room's mean to a middle grey.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._caster = Caster(room)
        self._lighting = Lighting(room, self._caster, room.pool.mean[room.texture] * room.tint)
        self.exposure = self._lighting.exposure
        corners, uv = room.shape.corners, room.shape.uv
        edges = np.linalg.norm(corners[:, 1:] - corners[:, :1], axis=-1).max(1)
        turns = np.linalg.norm(uv[:, 1:] - uv[:, :1], axis=-1).max(1)
        self._repeats = (turns / np.maximum(edges, 1e-6)).astype(np.float32)  # of a triangle's texture, per metre
        self._texture = room.texture.astype(np.intp)[room.part]
        self._tint = np.ascontiguousarray(room.tint.T)
        self._emission = (room.emission / self.exposure).astype(np.float32)

    def see(self, origin: Array, directions: Array) -> Seen:
        """What rays (3, N) from (3, N) or (3, 1) meet first."""
        hits = self._caster.cast(np.broadcast_to(origin.T, directions.shape[::-1]), as_rows(directions))
        normal = self._caster.geometric(hits)
        toward = dot(normal, directions)
        normal *= -np.sign(toward)
        far = length(directions)
        return Seen(
            hits=hits,
            part=self._caster.part[hits.triangle],
            surface=self._caster.surface[hits.triangle],
            origin=origin,
            directions=directions,
            normal=normal,
            far=far,
            cosine=np.divide(np.abs(toward), far),
        )

    def arriving(
        self, seen: Seen, index: Index, phase: Index, rays: int, smooth: Callable[[Array], Array] | None = None
    ) -> Array:
        """Diffuse light and gloss (6, M) at some of the points seen; arguments as of ``Lighting``."""
        position = take(seen.position, index)
        openness = self._lighting.openness(position, take(seen.normal, index), phase, rays)
        if smooth is not None:
            openness = smooth(openness)
        toward_eye = take(seen.directions, index)
        toward_eye /= -seen.far[index]
        hits, part = seen.hits[index], seen.part[index]
        normal = self._caster.normals(hits, toward_eye)
        gloss, shininess = self._room.specular[part], self._room.shininess[part]
        light = np.concatenate(
            self._lighting.arriving(position, normal, toward_eye, gloss, shininess, phase, openness, smooth)
        )
        light[:3] *= self._room.pool.wear(self._caster.uv(hits))
        return light

    def albedo(self, seen: Seen, pixel: float, before: Array | float = 0.0) -> Array:
        """Linear colours (3, N) of surfaces.

        Args:
            seen: What rays meet.
            pixel: Width of the rays' pixels, in lengths of their directions at 1.
            before: Lengths that the rays have come before their origins.
        """
        triangle = seen.hits.triangle
        # a square-root of the cosine: half way between too sharp and too blurred on slanted surfaces
        width = np.float32(pixel) * (seen.hits.distance + np.float32(before)) * self._repeats[triangle]
        width /= np.sqrt(np.maximum(seen.cosine, np.float32(0.05)))
        color = self._room.pool.sample(self._texture[triangle], self._caster.uv(seen.hits), width)
        color *= take(self._tint, seen.part)
        return color

    def color(self, seen: Seen, albedo: Array, light: Array) -> Array:
        """What leaves surfaces along the rays, (3, N), of the light (6, N) that arrives."""
        color = light[:3] + self._emission[seen.part]
        color *= albedo
        color += light[3:]
        return color
