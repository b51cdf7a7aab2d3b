"""Correspondences for a whole batch, on the device of the batch: which pixel shows what another pixel or a voxel is.

Every function draws a fixed number of matches for each sample and says which of them are real, so that shapes never
depend on the data and nothing waits for the device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from . import geometry

OVERSAMPLE = 4  # candidates for each match wanted: a pair shares at least 30 % of its points


def view_matches(
    depth: Tensor, intrinsics: Tensor, camera_to_world: Tensor, count: int, radius: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixel-to-pixel matches of pairs: the 3D positions lie within ``radius`` (paper, section 3.1).

    Args:
        depth: (B, 2, H, W), metres.
        intrinsics: (B, 2, 3, 3).
        camera_to_world: (B, 2, 4, 4).
        count: N, matches a pair (fewer where an image has fewer pixels).
        radius: Metres.

    Returns:
        Flat pixel indices in the first and in the second view, (B, N) int64 each, and which are matches (B, N) bool.
        No pixel of either view takes part in two matches.
    """
    first, real = _random_pixels(depth[:, 0], OVERSAMPLE * count)
    points = _world_points(first, depth[:, 0], intrinsics[:, 0], camera_to_world[:, 0])
    second, near = geometry.nearest_pixel(points, depth[:, 1], intrinsics[:, 1], camera_to_world[:, 1], radius)
    chosen, valid = _first_valid(_without_repeats(second, real & near), count)
    return first.gather(1, chosen), second.gather(1, chosen), valid


def voxel_matches(
    depth: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    voxels: Tensor,
    voxel_size: float,
    count: int,
    radius: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixel-to-voxel matches of frames with their chunks: position to centre within ``radius`` (section 3.2).

    Args:
        depth: (S, H, W), metres.
        intrinsics: (S, 3, 3).
        camera_to_world: (S, 4, 4).
        voxels: (M, 4) integers, (sample, x, y, z).
        voxel_size: Metres.
        count: N, matches a frame (fewer where an image has fewer pixels).
        radius: Metres, at most ``voxel_size``.

    Returns:
        Flat pixel index and row of ``voxels``, (S, N) int64 each, and which are matches (S, N) bool. No voxel takes
        part in two matches.
    """
    pixels, real = _random_pixels(depth, OVERSAMPLE * count)
    points = _world_points(pixels, depth, intrinsics, camera_to_world)
    sample = torch.arange(len(depth), device=depth.device)[:, None].expand_as(pixels)
    keys, order = geometry.pack_keys(voxels[:, 1:], voxels[:, 0].long()).sort()
    position, near = geometry.nearest_voxel(points, sample, keys, voxel_size, radius)
    chosen, valid = _first_valid(_without_repeats(position, real & near), count)
    rows = position.gather(1, chosen)
    return pixels.gather(1, chosen), order[rows] if len(order) else rows, valid


def sample_features(features: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (B, N, C) of a map (B, C, h, w) of any resolution at flat pixel indices (B, N) of images of ``size``."""
    height, width = size
    u, v = (pixels % width).float(), (pixels // width).float()
    grid = torch.stack(((2 * u + 1) / width - 1, (2 * v + 1) / height - 1), -1)
    sampled = F.grid_sample(features, grid[:, None].to(features.dtype), padding_mode="border", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)


def _random_pixels(depth: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(S, min(count, H * W)) different random flat pixel indices of (S, H, W), those with a reading first."""
    flat = depth.flatten(1)
    score = torch.rand(flat.shape, device=depth.device).masked_fill_(flat <= 0, -1)
    best, pixels = score.topk(min(count, flat.shape[1]), dim=1)
    return pixels, best >= 0


def _world_points(pixels: Tensor, depth: Tensor, intrinsics: Tensor, camera_to_world: Tensor) -> Tensor:
    width = depth.shape[-1]
    uv = torch.stack((pixels % width, pixels // width), -1).to(depth.dtype)
    local = geometry.unproject(uv, depth.flatten(1).gather(1, pixels), intrinsics)
    return geometry.transform(local, camera_to_world)


def _without_repeats(targets: Tensor, valid: Tensor) -> Tensor:
    """(S, N) ``valid`` with only one of the valid entries of a row that have the same target left."""
    far = torch.iinfo(targets.dtype).max
    # entries that are not valid get targets of their own, so that they shadow none
    unique_invalid = far - torch.arange(targets.shape[1], device=targets.device)
    ordered, order = torch.where(valid, targets, unique_invalid).sort(dim=1, stable=True)
    repeated = torch.zeros_like(valid)
    repeated.scatter_(1, order[:, 1:], ordered[:, 1:] == ordered[:, :-1])
    return valid & ~repeated


def _first_valid(valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Positions (S, N) of the first ``count`` valid entries, filled up with others, and which are valid."""
    chosen = (~valid).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    return chosen, valid.gather(1, chosen)
