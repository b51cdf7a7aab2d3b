"""What a camera in a room sees, before exposure and noise: textures, Lambert, Blinn-Phong, reflected surroundings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .casting import Array, Caster, Hits, dot, length
from .lighting import Lighting
from .rooms import Room

# Edge pixels get these further rays, in pixels from their centre
SUBPIXELS = np.array(((-0.3, -0.3), (0.3, 0.0), (0.0, 0.3)), np.float32)


@dataclass(frozen=True, eq=False)
class View:
    """A rendered frame.

    Args:
        color: (H, W, 3) linear, before exposure.
        depth: (H, W) metres along z, exact.
        cosine: (H, W) between ray and surface normal.
        semantic, instance: (H, W).
        glass: (H, W) where a depth camera often reads nothing.
    """

    color: Array
    depth: Array
    cosine: Array
    semantic: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    glass: NDArray[np.bool_]


class Renderer:
    """Renders one room.

    Args:
        room: The room.

    Attributes:
        exposure: The factor on a view's colours that brings the room's mean to a middle grey.
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

    def view(
        self, size: tuple[int, int], intrinsics: NDArray[np.float64], camera_to_world: NDArray[np.float64]
    ) -> View:
        """What a camera sees: (height, width), (3, 3), (4, 4)."""
        height, width = size
        v, u = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
        pixels = np.stack((u, v), -1).reshape(-1, 2)
        pixel = float(1 / intrinsics[0, 0])

        def rays(at: Array) -> tuple[Array, Array]:
            local = np.concatenate(((at - intrinsics[:2, 2]) / intrinsics[(0, 1), (0, 1)], np.ones((len(at), 1))), 1)
            directions = (local @ camera_to_world[:3, :3].T).astype(np.float32)
            return np.broadcast_to(camera_to_world[:3, 3].astype(np.float32), directions.shape), directions

        origins, directions = rays(pixels)
        hits = self._caster.cast(origins, directions)
        color = self._shade(hits, directions, pixel)
        depth = hits.distance.reshape(size)
        edges = np.flatnonzero(_edges(depth, hits.part.reshape(size), hits.normal.reshape(height, width, 3)))
        fine = (pixels[edges, None] + SUBPIXELS).reshape(-1, 2)
        origins, directions = rays(fine)
        more = self._shade(self._caster.cast(origins, directions), directions, pixel / 2)
        color[edges] = (color[edges] + more.reshape(-1, len(SUBPIXELS), 3).sum(1)) / (1 + len(SUBPIXELS))
        return View(
            color=color.reshape(height, width, 3),
            depth=depth,
            cosine=hits.cosine.reshape(size),
            semantic=self._room.semantic[hits.part].reshape(size),
            instance=self._room.instance[hits.part].reshape(size),
            glass=self._room.glass[hits.part].reshape(size),
        )

    def _shade(self, hits: Hits, directions: Array, pixel: float) -> Array:
        """Colours (N, 3) along rays whose pixel is ``pixel`` of the direction's length wide."""
        room, part = self._room, hits.part
        toward_eye = -directions / length(directions)[:, None]
        # a square-root of the cosine: half way between too sharp and too blurred on slanted surfaces
        width = pixel * hits.distance / np.sqrt(np.maximum(hits.cosine, 0.05))
        texture = room.pool.sample(room.texture[part], hits.uv, width * self._repeats[hits.triangle])
        texture *= room.tint[part]
        diffuse, highlight = self._lighting.direct(hits, toward_eye)
        facing = dot(toward_eye, hits.normal)
        mirrored = 2 * facing[:, None] * hits.normal - toward_eye
        around, reflected = self._lighting.indirect(hits.position, hits.normal, hits.normal, mirrored)
        color = texture * (diffuse + around)
        # Schlick's approximation, for the surroundings that lacquer and polished floors reflect
        fresnel = room.specular[part] * (0.25 + 0.75 * (1 - np.clip(facing, 0, 1)) ** 5)
        color += fresnel[:, None] * reflected + room.specular[part][:, None] * highlight
        return color + texture * (room.emission[part] / self.exposure)[:, None]


def _edges(depth: Array, part: NDArray[np.int32], normal: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) whose neighbour to the right or below shows another part, a fold, or a step in depth; and those."""
    edge = np.zeros(depth.shape, bool)
    for first, second in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        differs = part[first] != part[second]
        differs |= np.einsum("ijk,ijk->ij", normal[first], normal[second]) < 0.9
        differs |= np.abs(depth[first] - depth[second]) > 0.08 * depth[first]
        edge[first] |= differs
        edge[second] |= differs
    return edge
