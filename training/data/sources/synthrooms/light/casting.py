"""Ray casting: a room's triangles in Embree, whole images in one query."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from ..rooms.rooms import Room
from .vectors import Array, Index, dot, sphere, take

FARTHEST = np.float32(100.0)  # metres; where a ray slips between two triangles it ends here
FACINGS = 24  # directions that count as different


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays first meet a surface; N rays.

    Args:
        distance: (N,) in lengths of the ray's direction.
        triangle: (N,).
        second, third: (N,) barycentric shares of the triangle's second and third corner.
    """

    distance: Array
    triangle: Index
    second: Array
    third: Array

    def __getitem__(self, index: Index) -> "Hits":
        return Hits(self.distance[index], self.triangle[index], self.second[index], self.third[index])


class Caster:
    """Casts rays in one room.

    Args:
        room: The room.

    Attributes:
        part: (F,) row of the room's tables of each triangle.
        surface: (F,) numbers that triangles share which are of one part and look about the same way.
    """

    def __init__(self, room: Room) -> None:
        self.part: Index = room.part.astype(np.intp)
        corners = room.shape.corners.astype(np.float32)
        self._scene = EmbreeScene()
        faces = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
        TriangleMesh(self._scene, corners.reshape(-1, 3), faces)
        edges = room.shape.corners[:, 1:] - room.shape.corners[:, :1]
        geometric = np.cross(edges[:, 0], edges[:, 1])
        geometric /= np.maximum(np.linalg.norm(geometric, axis=1, keepdims=True), 1e-12)
        self._geometric = np.ascontiguousarray(geometric.T, np.float32)
        self.surface: Index = FACINGS * self.part + (geometric @ sphere(FACINGS).T).argmax(1)
        self._normals = _spans(room.shape.normals)
        self._uv = _spans(room.shape.uv)

    def cast(self, origins: Array, directions: Array) -> Hits:
        """First hits of rays (N, 3), (N, 3); directions need not be unit."""
        result = self._scene.run(origins, directions, output=True)
        triangle = result["primID"].astype(np.intp)
        distance = np.minimum(result["tfar"], FARTHEST)
        return Hits(distance, np.maximum(triangle, 0, out=triangle), result["u"], result["v"])

    def blocked(self, origins: Array, rays: Array) -> NDArray[np.bool_]:
        """Whether something lies between (N, 3) and (N, 3) further on, both ends excluded."""
        reach = np.full(len(origins), 0.999, np.float32)  # of the way: the end itself may lie on a lamp
        return self._scene.run(origins, rays, dists=reach, query="OCCLUDED") == 0

    def geometric(self, hits: Hits) -> Array:
        """The triangles' own unit normals (3, N)."""
        return take(self._geometric, hits.triangle)

    def normals(self, hits: Hits, toward: Array) -> Array:
        """Smooth unit normals (3, N), on the side of the vectors (3, N)."""
        normal = self._between(self._normals, hits)
        scale = np.maximum(np.sqrt(dot(normal, normal)), np.float32(1e-6))
        normal /= np.copysign(scale, dot(normal, toward))
        return normal

    def uv(self, hits: Hits) -> Array:
        """Texture coordinates (2, N) in repeats."""
        return self._between(self._uv, hits)

    def _between(self, spans: Array, hits: Hits) -> Array:
        value = take(spans[0], hits.triangle)
        for span, share in zip(spans[1:], (hits.second, hits.third), strict=True):
            value += take(span, hits.triangle) * share
        return value


def _spans(corners: NDArray[np.float64]) -> Array:
    """(3, C, F) of (F, 3, C): the first corner's value and what the others add."""
    first = corners[:, 0]
    return np.stack((first.T, (corners[:, 1] - first).T, (corners[:, 2] - first).T)).astype(np.float32)
