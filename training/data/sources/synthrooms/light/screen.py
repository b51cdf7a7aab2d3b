"""Light is computed at every other pixel in each direction and spread to the rest, within one surface."""

import numpy as np
from numpy.typing import NDArray

from .vectors import Array, dot

STEP = 2  # pixels between those with their own light
FLAT = 0.006  # of the distance: how far off each other's plane two pixels of one surface may lie


class Smoother:
    """Means over 4 x 4 pixels as far as they lie on one surface: first along rows, then along columns.

    Args:
        position, normal: (3, H, W).
        distance: (H, W) from the eye.
    """

    def __init__(self, position: Array, normal: Array, distance: Array) -> None:
        self._passes = []
        for axis in (1, 0):
            share = np.ones_like(distance)
            shifts = []
            for shift in (-1, 1, 2):
                here, there = _shifted(axis, shift)
                weight = likeness_of(
                    position[:, *here], normal[:, *here], distance[here], position[:, *there], normal[:, *there]
                )
                share[here] += weight
                shifts.append((here, there, weight))
            self._passes.append((shifts, np.reciprocal(share)))

    def __call__(self, values: Array) -> Array:
        """The means (H * W,) of values (H * W,)."""
        for shifts, scale in self._passes:
            values = values.reshape(scale.shape)
            total = values.copy()
            for here, there, weight in shifts:
                total[here] += weight * values[there]
            total *= scale
            values = total
        return values.reshape(-1)


def spread(values: Array, position: Array, normal: Array, distance: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Values of all pixels by interpolation between those on the grid, and which pixels have no neighbour to ask.

    Args:
        values: (C, ceil(H / 2), ceil(W / 2)) at the even pixels.
        position, normal: (3, H, W) of all pixels.
        distance: (H, W) from the eye.

    Returns:
        (C, H, W), and (H, W) where they mean nothing.
    """
    height, width = distance.shape
    whole = np.empty((len(values), height, width), np.float32)
    missing = np.zeros((height, width), bool)
    # the last row and column may lack a neighbour on the grid: they ask the last one twice
    border = ((0, 0), (0, 1), (0, 1))
    values = np.pad(values, border, mode="edge")
    at, facing = (np.pad(array[:, ::STEP, ::STEP], border, mode="edge") for array in (position, normal))
    for down in range(STEP):
        for across in range(STEP):
            phase = (slice(down, None, STEP), slice(across, None, STEP))
            target = whole[:, *phase]
            rows, columns = target.shape[1:]
            if down == across == 0:
                target[:] = values[:, :rows, :columns]
                continue
            here, there, far = position[:, *phase], normal[:, *phase], distance[phase]
            total, share = np.zeros_like(target), np.zeros((rows, columns), np.float32)
            for below in range(down + 1):
                for beside in range(across + 1):
                    grid = (slice(below, below + rows), slice(beside, beside + columns))
                    weight = likeness_of(here, there, far, at[:, *grid], facing[:, *grid])
                    share += weight
                    total += weight * values[:, *grid]
            missing[phase] = share < 0.05
            np.divide(total, np.maximum(share, np.float32(1e-3)), out=target)
    return whole, missing


def likeness_of(position: Array, normal: Array, distance: Array, other: Array, other_normal: Array) -> Array:
    """1 for points of one plane, 0 for points that are not of one surface."""
    off = np.abs(dot(normal, other - position))
    off *= np.float32(1 / FLAT) / distance
    weight = dot(normal, other_normal)
    weight *= 5
    weight -= 4
    weight -= off
    return np.clip(weight, 0, 1, out=weight)


def _shifted(axis: int, shift: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of an image and of what lies ``shift`` further along an axis."""
    near, far = slice(max(0, -shift), None if shift < 0 else -shift), slice(max(0, shift), None if shift > 0 else shift)
    full = slice(None)
    return ((full, near), (full, far)) if axis == 1 else ((near, full), (far, full))
