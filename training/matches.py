"""Correspondences for a whole batch, on the device of the batch: which pixel shows what another pixel or a voxel is.

Every function draws a fixed number of matches for each sample and says which of them are real, so that shapes never
depend on the data and nothing waits for the device.
"""

import torch
from torch import Tensor

from . import geometry
from .seeds import uniform

OVERSAMPLE = 4  # candidates for each match wanted: a pair shares at least 30 % of its points


def view_matches(
    depth: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    count: int,
    radius: float,
    seeds: Tensor | None = None,
    *,
    by_depth: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixel-to-pixel matches of pairs: the 3D positions lie within ``radius`` (paper, section 3.1).

    Args:
        depth: (B, 2, H, W), metres.
        intrinsics: (B, 2, 3, 3).
        camera_to_world: (B, 2, 4, 4).
        count: N, matches a pair (fewer where an image has fewer pixels).
        radius: Metres.
        seeds: (B,) int64, what the choice is a function of; None: torch's generator.
        by_depth: As the authors' code: the match is the pixel on which the point falls, if the depths there differ by
            less than ``radius``.

    Returns:
        Flat pixel indices in the first and in the second view, (B, N) int64 each, and which are matches (B, N) bool.
        No pixel of either view takes part in two matches.
    """
    first, real = _random_pixels(depth[:, 0], OVERSAMPLE * count, seeds)
    points = _world_points(first, depth[:, 0], intrinsics[:, 0], camera_to_world[:, 0])
    other = (depth[:, 1], intrinsics[:, 1], camera_to_world[:, 1], radius)
    if by_depth:
        pair = torch.arange(len(depth), device=depth.device)[:, None].expand_as(first)
        second, near = geometry.seen_pixel(points, pair, *other)
    else:
        second, near = geometry.nearest_pixel(points, *other)
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
    seeds: Tensor | None = None,
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
        seeds: (S,) int64, what the choice is a function of; None: torch's generator.

    Returns:
        Flat pixel index and row of ``voxels``, (S, N) int64 each, and which are matches (S, N) bool. No voxel takes
        part in two matches.
    """
    pixels, real = _random_pixels(depth, OVERSAMPLE * count, seeds)
    points = _world_points(pixels, depth, intrinsics, camera_to_world)
    sample = torch.arange(len(depth), device=depth.device)[:, None].expand_as(pixels)
    keys, order = geometry.pack_keys(voxels[:, 1:], voxels[:, 0].long()).sort()
    position, near = geometry.nearest_voxel(points, sample, keys, voxel_size, radius)
    chosen, valid = _first_valid(_without_repeats(position, real & near), count)
    rows = position.gather(1, chosen)
    return pixels.gather(1, chosen), order[rows] if len(order) else rows, valid


def projected_voxel_matches(
    depth: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    voxels: Tensor,
    voxel_size: float,
    count: int,
    tolerance: float,
    seeds: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random voxel-to-pixel matches as in the authors' code: the pixel on which a voxel's centre falls, if the depths
    differ by less than ``tolerance``, metres.

    Args and returns as ``voxel_matches``, but that no pixel takes part in two matches either.
    """
    sample = voxels[:, 0].long()
    centers = geometry.voxel_centers(voxels[:, 1:], voxel_size)
    pixels, seen = geometry.seen_pixel(centers, sample, depth, intrinsics, camera_to_world, tolerance)
    # by sample, within it those that are seen first, and those at random; in float64, or samples would mingle
    order = (sample + (_random_scores(voxels, sample, seeds) + ~seen) / 2).argsort(stable=True)
    size, count_seen = torch.zeros(2, len(depth), dtype=torch.long, device=depth.device)
    size.index_add_(0, sample, torch.ones_like(sample))
    count_seen.index_add_(0, sample, seen.long())
    wanted = torch.arange(min(OVERSAMPLE * count, depth[0].numel()), device=depth.device)
    real = wanted < count_seen[:, None]
    if len(voxels) == 0:
        nothing = torch.zeros_like(real[:, :count], dtype=torch.long)
        return nothing, nothing, real[:, :count]
    rows = order[((size.cumsum(0) - size)[:, None] + wanted).clamp(max=len(voxels) - 1)]
    chosen, valid = _first_valid(_without_repeats(pixels[rows], real), count)
    rows = rows.gather(1, chosen)
    return pixels[rows], rows, valid


def sample_features(features: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (B, N, C) of a map (B, C, h, w) of any resolution at flat pixel indices (B, N) of images of ``size``.

    Bilinear between the centres of cells. Places and weights are float32 or better even where the map is not: in bf16 a
    place would be a third of a pixel off. One gather of whole rows, so one map of gradients, and a channels-last map is
    read in place.
    """
    height, width = size
    rows, columns = features.shape[-2:]
    exact = torch.promote_types(features.dtype, torch.float32)
    x = (((pixels % width).to(exact) + 0.5) * (columns / width) - 0.5).clamp(0, columns - 1)
    y = (((pixels // width).to(exact) + 0.5) * (rows / height) - 0.5).clamp(0, rows - 1)
    left, upper = x.floor(), y.floor()
    right, lower = (left + 1).clamp(max=columns - 1), (upper + 1).clamp(max=rows - 1)
    x, y = x - left, y - upper
    corners = torch.stack(
        [upper * columns + left, upper * columns + right, lower * columns + left, lower * columns + right], 1
    )
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)
    cells = features.permute(0, 2, 3, 1).flatten(1, 2)
    found = cells.gather(1, corners.long().flatten(1)[..., None].expand(-1, -1, cells.shape[-1]))
    return (found.unflatten(1, (4, -1)) * weights[..., None]).sum(1)


def _random_pixels(depth: Tensor, count: int, seeds: Tensor | None) -> tuple[Tensor, Tensor]:
    """(S, min(count, H * W)) different random flat pixel indices of (S, H, W), those with a reading first."""
    flat = depth.flatten(1)
    score = torch.rand(flat.shape, device=depth.device) if seeds is None else uniform(seeds, flat.shape[1])
    best, pixels = score.masked_fill_(flat <= 0, -1).topk(min(count, flat.shape[1]), dim=1)
    return pixels, best >= 0


def _random_scores(voxels: Tensor, sample: Tensor, seeds: Tensor | None) -> Tensor:
    """(M,) random numbers in [0, 1) for voxels (M, 4); with seeds, a function of the sample's and of the place."""
    if seeds is None:
        return torch.rand(len(voxels), device=voxels.device, dtype=torch.float64)
    return uniform(seeds[sample] + geometry.pack_keys(voxels[:, 1:]), 1)[:, 0].double()


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
