"""Ray casting: a room's triangles in Embree, whole images in one query."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from .rooms import Room

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays first meet a surface; N rays.

    Args:
        distance: (N,) in lengths of the ray's direction.
        triangle, part: (N,) int32.
        position, normal: (N, 3); the normal is unit, smooth, and turned towards the ray's origin.
        uv: (N, 2) in repeats.
        cosine: (N,) between the ray and the surface's own normal, not negative.
    """

    distance: Array
    triangle: NDArray[np.int32]
    part: NDArray[np.int32]
    position: Array
    normal: Array
    uv: Array
    cosine: Array


class Caster:
    """Casts rays in one room.

    Args:
        room: The room.
    """

    def __init__(self, room: Room) -> None:
        self._part = room.part
        corners = room.shape.corners.astype(np.float32)
        self._scene = EmbreeScene(robust=True)
        faces = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
        TriangleMesh(self._scene, corners.reshape(-1, 3), faces)
        # a corner and two edges of each attribute: what barycentric interpolation needs, in one gather
        table = np.concatenate((room.shape.normals, room.shape.uv), -1).astype(np.float32)
        self._table = np.concatenate((table[:, 0], table[:, 1] - table[:, 0], table[:, 2] - table[:, 0]), -1)

    def cast(self, origins: Array, directions: Array) -> Hits:
        """First hits of rays (N, 3), (N, 3); directions need not be unit. The room is closed: all rays hit."""
        result = self._scene.run(origins, directions, output=True)
        triangle, distance = result["primID"], result["tfar"]
        geometric = result["Ng"]
        toward = dot(geometric, directions)
        lengths = length(geometric) * length(directions)
        row = self._table[triangle]
        row = row[:, :5] + result["u"][:, None] * row[:, 5:10] + result["v"][:, None] * row[:, 10:]
        normal = row[:, :3]
        away = dot(normal, directions) > 0
        normal = normal / np.maximum(length(normal), 1e-6)[:, None]
        return Hits(
            distance=distance,
            triangle=triangle,
            part=self._part[triangle],
            position=origins + directions * distance[:, None],
            normal=np.where(away[:, None], -normal, normal),
            uv=row[:, 3:],
            cosine=np.abs(toward) / np.maximum(lengths, 1e-12),
        )

    def visible(self, start: Array, points: Array) -> Array:
        """Share (N,) of a light's points that is seen from (N, 3). Where the first two agree they stand for all."""

        def seen(which: NDArray[np.intp] | slice, point: Array) -> Array:
            origin = start[which]
            reach = np.full(len(origin), 0.999, np.float32)  # of the way: the point itself may lie on a lamp
            return (self._scene.run(origin, point - origin, dists=reach, query="OCCLUDED") != 0).astype(np.float32)

        visible = seen(slice(None), points[0])
        if len(points) > 1:
            second = seen(slice(None), points[1])
            shadow_edge = np.flatnonzero(visible != second)
            visible = np.float32(0.5) * (visible + second)
            total = np.ones(len(shadow_edge), np.float32)
            for point in points[2:]:
                total += seen(shadow_edge, point)
            visible[shadow_edge] = total / len(points)
        return visible


def dot(first: Array, second: Array) -> Array:
    """Scalar products (N,) of (N, 3) and (N, 3)."""
    return np.einsum("ij,ij->i", first, second)


def length(vectors: Array) -> Array:
    """Lengths (N,) of (N, 3)."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
