"""Many vectors at once, kept as (3, N), one row a coordinate: sums and products then run over contiguous memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.intp]


def take(table: Array, index: Index) -> Array:
    """(C, N): columns of (C, F); the indices must be good ones."""
    out = np.empty((len(table), len(index)), table.dtype)
    for row, target in zip(table, out, strict=True):
        np.take(row, index, out=target, mode="clip")  # without a check that would cost a copy
    return out


def dot(first: Array, second: Array) -> Array:
    """Scalar products (...) of (3, ...) and (3, ...)."""
    product = first[0] * second[0]
    product += first[1] * second[1]
    product += first[2] * second[2]
    return product


def length(vectors: Array) -> Array:
    """Lengths (...) of (3, ...)."""
    return np.sqrt(dot(vectors, vectors))


def as_rows(vectors: Array) -> Array:
    """(N, 3), as Embree wants them, of (3, N)."""
    return np.ascontiguousarray(vectors.T)


def sphere(count: int) -> Array:
    """Directions (count, 3) spread evenly, by the golden angle."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle), z), -1).astype(np.float32)
