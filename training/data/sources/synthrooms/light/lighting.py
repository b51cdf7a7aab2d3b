"""Light in a room: direct with soft shadows, what surfaces give on to each other, and less of that in corners."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..rooms.rooms import Room
from .casting import FARTHEST, Caster
from .lights import Light
from .probes import RAYS, Probes
from .vectors import Array, Index, as_rows, dot, length, sphere, take

OFFSET = np.float32(2e-3)  # metres off a surface from which shadow rays start, so that they do not hit it
BOUNCES = 3
MIDDLE_GREY = 0.24  # linear
TILE = 4  # shadow rays differ within so many pixels squared, over which their results are then averaged
LIGHT_RAYS = 4  # to each light from points that have no neighbours to share with
FAINT = 0.01  # of the room's mean radiance: less direct light than that is left out
LEAST_GLOSS = 0.03  # below it nothing shines
JITTER = 0.01  # of the sun's direction, which is a little wider than a point
# ambient occlusion: a few rays a pixel in directions and of lengths that differ likewise
CORNER_RAYS = 3
CORNER_REACH = (0.07, 0.18, 0.45)  # metres


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
        self._caster = caster
        self._lights = [_Source(light) for light in room.lights]
        self._doorway = None if room.plan.doorway is None else room.plan.doorway.astype(np.float32)
        self._probes = Probes(room.plan)
        directions = sphere(TILE * TILE * CORNER_RAYS)
        self._corner = np.ascontiguousarray(directions.reshape(CORNER_RAYS, TILE * TILE, 3).transpose(0, 2, 1))
        self._bake(albedo, room.emission)
        for light in self._lights:
            light.least = np.float32(FAINT * MIDDLE_GREY / self.exposure / light.color.max())

    def arriving(
        self,
        position: Array,
        normal: Array,
        toward_eye: Array,
        gloss: Array,
        shininess: Array,
        phase: Index,
        openness: Array,
        smooth: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Diffuse irradiance over pi, and what the surfaces' gloss sends on, (3, N) each.

        Args:
            position, normal, toward_eye: (3, N), the vectors unit.
            gloss, shininess: (N,) strength and exponent of highlights.
            phase: (N,) which of the ``TILE * TILE`` sets of rays.
            openness: (N,) share of the surroundings that corners leave.
            smooth: Takes the mean of (N,) over neighbours of all phases.
        """
        diffuse, reflected = np.zeros_like(position), np.zeros_like(position)
        shiny = np.flatnonzero(gloss > LEAST_GLOSS)
        shininess, toward_eye, facing = shininess[shiny], take(toward_eye, shiny), take(normal, shiny)
        highlight = np.zeros_like(toward_eye)
        for ray, color, share in self._direct(position, normal, phase, 1 if smooth else LIGHT_RAYS, smooth):
            for channel, target in zip(color, diffuse, strict=True):
                target += channel * share
            half = take(ray, shiny)
            half += toward_eye
            cosine = np.maximum(dot(half, facing) / length(half), np.float32(1e-3))
            lobe = np.exp(shininess * np.log(cosine))  # faster than a power
            lobe *= share[shiny] * ((shininess + 8) / 8)
            for channel, target in zip(color, highlight, strict=True):
                target += channel * lobe
        around = self._probes.arriving(position, normal, normal)
        diffuse += openness * around
        cosine = dot(toward_eye, facing)
        mirrored = 2 * cosine * facing - toward_eye
        around = self._probes.arriving(take(position, shiny), facing, mirrored)
        # Schlick's approximation, for the surroundings that lacquer and polished floors reflect
        slant = np.clip(1 - cosine, 0, 1)
        fresnel = np.float32(0.25) + np.float32(0.75) * np.square(np.square(slant)) * slant
        highlight += openness[shiny] * fresnel * around
        reflected[:, shiny] = gloss[shiny] * highlight
        return diffuse, reflected

    def openness(self, position: Array, normal: Array, phase: Index, rays: int = CORNER_RAYS) -> Array:
        """Share (N,) of short rays from points (3, N) that meet nothing, weighted by the cosine.

        Args:
            position, normal: (3, N); geometric normals.
            phase: (N,) which of the ``TILE * TILE`` sets of directions.
            rays: So many directions, of this set and the following.
        """
        start = as_rows(position + OFFSET * normal)
        free, total = np.zeros(len(phase), np.float32), np.full(len(phase), np.float32(1e-6))
        for ray in range(rays):
            index = (phase + ray // CORNER_RAYS * 5) % (TILE * TILE)
            direction = np.take(self._corner[ray % CORNER_RAYS], index, axis=1, mode="clip")
            cosine = dot(direction, normal)
            reach = np.take(np.array(CORNER_REACH, np.float32), (index + index // TILE + ray) % len(CORNER_REACH))
            direction *= np.copysign(reach, cosine)  # to the side of the normal
            cosine = np.abs(cosine, out=cosine)
            total += cosine
            free += cosine * ~self._caster.blocked(start, as_rows(direction))
        return free / total

    def _direct(
        self, position: Array, normal: Array, phase: Index, rays: int, smooth: Callable[[Array], Array] | None = None
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Of each light: unit directions to it (3, N), its colour (3,), and what share (N,) of it arrives."""
        start = position + OFFSET * normal
        origins = as_rows(start)
        for light in self._lights:
            ray, strength = light.toward(start, normal)
            if self._doorway is not None:
                strength *= _passes(self._doorway, start, light)
            lit = np.flatnonzero(strength > light.least)
            if not len(lit):
                continue
            share = np.zeros(len(phase), np.float32)
            share[lit] = self._seen(origins[lit], phase[lit], light, rays)
            if smooth is not None:
                share = smooth(share)
            share *= np.maximum(strength, 0, out=strength)
            yield ray, light.color, share

    def _seen(self, start: Array, phase: Index, light: "_Source", rays: int) -> Array:
        """Share (N,) of a light that is seen from (N, 3). Where the first two rays agree they stand for all."""

        def free(origins: Array, phase: Index, ray: int) -> NDArray[np.bool_]:
            return ~self._caster.blocked(origins, light.rays(origins, phase + ray * TILE * TILE))

        visible = free(start, phase, 0).astype(np.float32)
        if rays > 1:
            second = free(start, phase, 1).astype(np.float32)
            shadow_edge = np.flatnonzero(visible != second)
            visible = np.float32(0.5) * (visible + second)
            origins, phases = start[shadow_edge], phase[shadow_edge]
            total = np.ones(len(shadow_edge), np.float32)
            for ray in range(2, rays):
                total += free(origins, phases, ray)
            visible[shadow_edge] = total / rays
        return visible

    def _bake(self, part_albedo: Array, part_emission: Array) -> None:
        """Fill the probes: what each sees, bounce after bounce. Sets the exposure on the way."""
        probes = self._probes
        origins = np.repeat(probes.centers, RAYS, 0)
        rays = np.tile(probes.directions, (len(probes.centers), 1))
        hits = self._caster.cast(origins, rays)
        position = (origins + rays * hits.distance[:, None]).T.copy()
        normal = self._caster.normals(hits, -rays.T)
        first = np.zeros_like(position)
        for _, color, share in self._direct(position, normal, np.arange(len(rays)) % TILE**2, 1):
            first += share * color[:, None]
        part = self._caster.part[hits.triangle]
        albedo = part_albedo.T[:, part] * (hits.distance < FARTHEST)  # nothing comes from where there is nothing
        emission = albedo * part_emission[part]
        indirect = np.zeros_like(first)
        for _ in range(BOUNCES):
            radiance = albedo * (first + indirect)
            mean = float(radiance.mean(dtype=np.float64))
            probes.fill(radiance + emission * np.float32(3 * mean), hits.distance)
            indirect = probes.arriving(position, normal, normal)
        self.exposure = MIDDLE_GREY / max(mean, 1e-9)


def _passes(doorway: Array, start: Array, light: "_Source") -> NDArray[np.bool_]:
    """Which (N,) of the ways from points (3, N) to a light do not cross the wall that a doorway (2, 2) leads through,
    or nearly cross it where the doorway is. What it says is not exact; it saves rays."""
    across = int(np.argmin(doorway[1] - doorway[0]))
    wall = doorway[:, across].mean()
    before, beyond = start[across] - wall, light.center[across] - wall
    share = before / np.where(np.abs(before - beyond) < 1e-6, 1, before - beyond)
    crossing = start[1 - across] + share * (light.center[1 - across] - start[1 - across])
    low, high = doorway[:, 1 - across] + np.array((-1, 1)) * (light.reach + (doorway[1] - doorway[0])[across])
    return (before * beyond >= 0) | ((crossing > low) & (crossing < high))


class _Source:
    """A light with points on its area, ``LIGHT_RAYS`` for each of the ``TILE * TILE`` phases.

    Args:
        light: The light.

    Attributes:
        color: (3,).
        least: Share of the light under which it does not count.
        center, reach: (3, 1), and metres from it to the light's farthest point.
    """

    def __init__(self, light: Light) -> None:
        single = np.float32
        # a sequence that fills the square evenly, however many of its points are taken
        number = np.arange(LIGHT_RAYS * TILE * TILE)[:, None]
        spot = ((number + 0.5) * (0.7548776662466927, 0.5698402909980532)) % 1 * 2 - 1
        self._points = (light.center + spot[:, :1] * light.across + spot[:, 1:] * light.up).astype(single)
        self.center, self._normal = light.center.astype(single)[:, None], light.normal.astype(single)
        self._focus = light.focus
        extent = np.square(light.across).sum() + np.square(light.up).sum()
        self._extent = single(extent + 0.02)
        self.reach = single(np.sqrt(extent))
        self._sun = None if light.sun is None else light.sun.astype(single)
        self._steep = single(-1)
        if light.sun is not None:
            self._points = (light.sun + JITTER * spot @ np.stack((light.across, light.up))).astype(single)
            self._sides = [(side / (side @ side)).astype(single) for side in (light.across, light.up)]
            self._steep = single(min(float(light.normal @ light.sun), -1e-3))
        self.color = light.color.astype(single)
        self.least = single(0)

    def toward(self, start: Array, normal: Array) -> tuple[Array, Array]:
        """Unit directions (3, N) to the light and what it gives (N,) where nothing is in the way."""
        if self._sun is not None:
            ray = np.broadcast_to(self._sun[:, None], start.shape)
            crossing = start - self.center + ray * self._way(start)
            inside = np.minimum(*(1 - np.abs(dot(side, crossing)) for side in self._sides))
            return ray, np.maximum(self._sun @ normal, 0) * np.clip(inside * 25, 0, 1)
        ray = self.center - start
        square = dot(ray, ray)
        ray /= np.sqrt(square)
        strength = dot(ray, normal)
        if self._normal.any():
            facing = np.maximum(-dot(self._normal, ray), 0)
            strength *= facing if self._focus == 1 else facing**self._focus
        # an extended source is not infinitely bright near by
        strength /= square + self._extent
        return ray, strength

    def rays(self, start: Array, number: Index) -> Array:
        """Vectors (N, 3) from (N, 3) to some of the light's points."""
        points = np.take(self._points, number, axis=0, mode="clip")
        return points - start if self._sun is None else points * self._way(start.T)[:, None]

    def _way(self, start: Array) -> Array:
        """Metres (N,) from (3, N) along the sun's direction to the opening."""
        return dot(self._normal, self.center - start) / self._steep
