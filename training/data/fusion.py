"""The voxels of a scene's surface: from points on it, or fused from posed depth images where there is no mesh.

Fusion is the classic one of Curless and Levoy (SIGGRAPH 1996), over a sparse set of voxels: the truncated distance
along z between a voxel and the depth image it falls into, averaged over the frames. A voxel is kept where the surface
of zero distance passes through it, judged by the distance and its slope there.

A scene is fused slab by slab along x, each from the frames that see it, so memory grows neither with the length of a
video nor with the building that it walks through.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry import (
    KEY_BITS,
    KEY_OFFSET,
    depth_to_world,
    frustum_box,
    invert_rigid,
    pack_keys,
    project,
    quantize,
    transform,
    voxel_centers,
)

TRUNCATION = 3  # voxels: beyond it a distance is no longer that of this surface
FEW_FRAMES = 10  # with fewer, a surface that one frame alone has seen is kept too
FRAMES_AT_ONCE = 32  # whose touched voxels are merged in one sort
BLOCK = 8  # voxels along the edge of the blocks by which the extent of a slab is chosen
BLOCKS_AT_ONCE = 15_000  # of a slab; at 2 cm some 1.5 million voxels, 0.4 GB, and more than most rooms have
STEPS = tuple(1 << KEY_BITS * axis for axis in (2, 1, 0))  # from a voxel's key to the next one's along x, y, z
HALO = 2  # voxels around a slab: what is kept depends on its neighbours, and they on what was touched beside them


class Images(Protocol):
    """Images of equal shape by number, held in one array or read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[Any]: ...


def voxelize(
    points: NDArray[np.float32], colors: NDArray[np.uint8], *, voxel_size: float
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Voxels that hold at least one of the points, sorted, and the mean colours in them.

    Args:
        points: (N, 3), metres, world.
        colors: (N, 3) RGB.
        voxel_size: Metres.

    Returns:
        (M, 3) coordinates and (M, 3) RGB.

    Raises:
        InputError: A point is farther from the origin than voxel keys reach.
    """
    keys, owner = torch.unique(_checked_keys(torch.as_tensor(points), voxel_size), return_inverse=True)
    sums = torch.zeros(len(keys), 4, dtype=torch.float64)
    ones = torch.ones(len(owner), 1, dtype=torch.float64)
    sums.index_add_(0, owner, torch.cat((torch.as_tensor(colors).double(), ones), 1))
    mean = (sums[:, :3] / sums[:, 3:]).round()
    return _unpack_keys(keys).int().numpy(), mean.to(torch.uint8).numpy()


def fuse(
    depth: Images,
    color: Images,
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
    *,
    voxel_size: float,
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The voxels that the surface seen by the frames passes through, sorted, and their mean colours.

    Args:
        depth: N images (H, W) uint16, millimetres, 0 = no reading.
        color: N images (H, W, 3) uint8 RGB.
        intrinsics: (N, 3, 3), pixels.
        camera_to_world: (N, 4, 4).
        voxel_size: Metres.

    Returns:
        (M, 3) coordinates and (M, 3) RGB.

    Raises:
        InputError: A point is farther from the origin than voxel keys reach.
    """
    frames = _Frames(depth, color, torch.as_tensor(intrinsics).float(), torch.as_tensor(camera_to_world))
    slabs = [_fuse_slab(frames, slab, voxel_size) for slab in _slabs(frames, voxel_size)]
    return (
        np.concatenate([np.zeros((0, 3), np.int32), *(voxels for voxels, _ in slabs)]),
        np.concatenate([np.zeros((0, 3), np.uint8), *(colors for _, colors in slabs)]),
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    """What is fused."""

    depth: Images
    color: Images
    cameras: Tensor
    poses: Tensor

    def points(self, index: int) -> Tensor:
        """World points (P, 3) of the pixels with a reading."""
        image = _metres(self.depth[index])
        return depth_to_world(image, self.cameras[index], self.poses[index])[(image > 0).flatten()]


@dataclass(frozen=True, eq=False)
class _Slab:
    """A part of the world between two planes of equal x.

    Args:
        first, last: Voxel coordinates x from the first up to, not including, the last.
        frames: Numbers of the frames that may see it or what is around it.
        boxes: (F, 2, 3) lowest and highest voxel coordinates that each of these frames says something of.
    """

    first: int
    last: int
    frames: list[int]
    boxes: Tensor


def _slabs(frames: _Frames, voxel_size: float) -> Iterator[_Slab]:
    """Slabs, in rising order and as thick as they may be, that hold all points."""
    touched = [torch.zeros(0, dtype=torch.int64)]
    seen = torch.zeros(len(frames.depth), 2, 3, dtype=torch.int64)
    reach = TRUNCATION * voxel_size
    for index in range(len(frames.depth)):
        image = _metres(frames.depth[index])
        farther = torch.where(image > 0, image + reach, 0)
        box = frustum_box(farther, frames.cameras[index].double(), frames.poses[index])
        seen[index] = quantize(box, voxel_size) + torch.tensor([[-1], [1]])  # a voxel more, for rounding
        touched.append(torch.unique(_checked_keys(frames.points(index), voxel_size * BLOCK)))
        if len(touched) > FRAMES_AT_ONCE:
            touched = [torch.unique(torch.cat(touched))]
    blocks = torch.unique(torch.cat(touched))
    layers, counts = torch.unique_consecutive(_unpack_keys(blocks)[:, 0], return_counts=True)
    number = counts.cumsum(0) // BLOCKS_AT_ONCE  # a layer goes where its last block falls
    begins = layers[number.diff(prepend=number.new_full((1,), -1)) > 0] * BLOCK
    borders = [-KEY_OFFSET, *begins[1:].tolist(), KEY_OFFSET]
    for first, last in pairwise(borders):
        chosen = (seen[:, 0, 0] <= last + HALO) & (seen[:, 1, 0] >= first - HALO)
        yield _Slab(first, last, chosen.nonzero()[:, 0].tolist(), seen[chosen])


def _fuse_slab(frames: _Frames, slab: _Slab, voxel_size: float) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    needed = 2 if len(frames.depth) >= FEW_FRAMES else 1
    keys = _candidates(frames, slab, voxel_size, needed)
    coordinates = _unpack_keys(keys)
    centers = voxel_centers(coordinates, voxel_size)
    truncation = TRUNCATION * voxel_size
    x = coordinates[:, 0].contiguous()

    distances, weights, observed = torch.zeros(3, len(keys)).unbind()
    shades, shade_weights = torch.zeros(len(keys), 3), torch.zeros(len(keys), 1)
    for index, box in zip(slab.frames, slab.boxes, strict=True):
        depth = _metres(frames.depth[index])
        some = slice(int(torch.searchsorted(x, box[0, 0])), int(torch.searchsorted(x, box[1, 0], right=True)))
        there = coordinates[some, 1:]
        near = ((there >= box[0, 1:]) & (there <= box[1, 1:])).all(1).nonzero()[:, 0] + some.start
        voxel, pixel, reading, distance = _observe(centers[near], depth, frames.cameras[index], frames.poses[index])
        voxel = near[voxel]
        in_reach = distance > -truncation  # farther behind what is seen nothing is known
        voxel, pixel, reading, distance = voxel[in_reach], pixel[in_reach], reading[in_reach], distance[in_reach]
        weight = 1 / reading**2  # the noise of depth cameras grows with the square of the distance
        distances[voxel] += weight * distance.clamp(max=truncation)  # beyond it: free space, and counts as such
        weights[voxel] += weight
        at_surface = distance < truncation
        voxel, weight = voxel[at_surface], (weight * (truncation - distance.abs()))[at_surface, None]
        observed[voxel] += 1
        shades[voxel] += weight * torch.as_tensor(frames.color[index]).reshape(-1, 3)[pixel[at_surface]]
        shade_weights[voxel] += weight

    seen = weights > 0
    mean = distances / weights.clamp(min=1e-12) / voxel_size
    kept = (observed >= needed) & (mean.abs() <= _half_extent(keys, mean, seen))
    kept &= (coordinates[:, 0] >= slab.first) & (coordinates[:, 0] < slab.last)
    shade = (shades[kept] / shade_weights[kept].clamp(min=1e-12)).round()
    return coordinates[kept].int().numpy(), shade.to(torch.uint8).numpy()


def _candidates(frames: _Frames, slab: _Slab, voxel_size: float, needed: int) -> Tensor:
    """Sorted keys of the voxels that points of at least ``needed`` frames lie in, and of the six around each."""
    low, high = (pack_keys(torch.tensor((x, -KEY_OFFSET, -KEY_OFFSET))) for x in (slab.first - HALO, slab.last + HALO))
    keys, counts = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    touched: list[Tensor] = []
    for number, index in enumerate(slab.frames, start=1):
        found = torch.unique(_checked_keys(frames.points(index), voxel_size))
        touched.append(found[(found >= low) & (found < high)])
        if len(touched) == FRAMES_AT_ONCE or number == len(slab.frames):
            found = torch.cat(touched)
            keys, owner = torch.unique(torch.cat((keys, found)), return_inverse=True)
            sums = torch.zeros(len(keys), dtype=torch.int64)
            counts = sums.index_add_(0, owner, torch.cat((counts, torch.ones_like(found))))
            touched = []
    core = keys[counts >= needed]
    # the noise of few frames leaves holes in what was touched, and the slope needs both sides of the surface
    return torch.unique(torch.cat((core, *(core + sign * step for step in STEPS for sign in (1, -1)))))


def _observe(
    centers: Tensor, depth: Tensor, camera: Tensor, camera_to_world: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a frame says of the voxels that fall onto a pixel with a reading.

    Returns:
        Index of the voxel, of the pixel (flat), the reading there, and how far the voxel is in front of it; metres.
    """
    height, width = depth.shape
    pixels, z = project(transform(centers, invert_rigid(camera_to_world).float()), camera)
    u, v = pixels.round_().unbind(-1)
    voxel = ((z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)).nonzero()[:, 0]
    pixel = v[voxel].long() * width + u[voxel].long()
    reading = depth.flatten()[pixel]
    valid = reading > 0
    voxel, pixel, reading = voxel[valid], pixel[valid], reading[valid]
    return voxel, pixel, reading, reading - z[voxel]


def _half_extent(keys: Tensor, distance: Tensor, seen: Tensor) -> Tensor:
    """By how much a field of that slope changes from a voxel's centre to its farthest corner, in units of the field.

    The slope is the central difference, or one-sided where only one neighbour is known. Being relative to the slope,
    the test does not care at which slant distances along z were measured.
    """
    extent = torch.zeros_like(distance)
    for step in STEPS:
        change, sides = torch.zeros_like(distance), torch.zeros_like(distance)
        for sign in (1, -1):
            wanted = keys + sign * step
            position = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
            known = (keys[position] == wanted) & seen[position]
            change += torch.where(known, sign * (distance[position] - distance), 0)
            sides += known
        extent += 0.5 * (change / sides.clamp(min=1)).abs()
    return extent


def _metres(depth: NDArray[np.uint16]) -> Tensor:
    return torch.as_tensor(depth.astype(np.float32) / np.float32(1000))


def check_reach(points: Tensor, voxel_size: float) -> None:
    """Raise InputError if one of the points (..., 3) is farther from the origin than keys of voxels of that size reach.

    Of the points, not of their voxels: integers of what is far enough wrap around.
    """
    most = (KEY_OFFSET - 2) * voxel_size
    # the greatest is not a number where one is not, and then not below the limit
    if points.numel() and not (reach := float(points.abs().max())) < most:
        raise InputError(
            f"the scene reaches {reach:.3g} m from the origin, where voxels of {voxel_size:g} m reach {most:.4g} m; "
            "are its poses and depth in metres?"
        )


def _checked_keys(points: Tensor, voxel_size: float) -> Tensor:
    check_reach(points, voxel_size)
    return pack_keys(quantize(points, voxel_size))


def _unpack_keys(keys: Tensor) -> Tensor:
    """Coordinates (N, 3) int64 of keys (N,) with batch 0."""
    mask = (1 << KEY_BITS) - 1
    return torch.stack((keys >> 2 * KEY_BITS & mask, keys >> KEY_BITS & mask, keys & mask), -1) - KEY_OFFSET
