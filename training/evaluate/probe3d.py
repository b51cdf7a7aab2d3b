"""Multi-view matching as Probe3D measures it (El Banani et al., CVPR 2024, evaluate_scannet_correspondence.py).

Of two views, every pixel of a coarse grid that has a depth reading carries the feature sampled there. Each one of the
first view takes its nearest by cosine among those of the second; the 1000 matches whose nearest is most distinct from
the second nearest are kept. A match is as wrong as the place where the first pixel's point appears in the second view,
by the true pose, is far from the matched pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.batch import PairBatch
from ..errors import InputError
from ..geometry import depth_to_world, invert_rigid, pixel_grid, project, scale_intrinsics, transform
from ..matches import sample_features

GRID_WIDTH = 160  # a quarter of 640
KEPT = 1000  # matches a pair
THRESHOLDS = (5, 10, 20)  # pixels of the grid
ROTATIONS = (0, 15, 30, 60, 180)  # degrees between two views; the last bin holds its upper end
BIN_THRESHOLD = 10  # pixels, of the recall by rotation
QUERIES_AT_ONCE = 1024
LEAST_DISTANCE = 1e-9


@dataclass(frozen=True)
class Matching:
    """What one kind of features reached.

    Args:
        recall: Share of the kept matches that are nearer to the truth than each of ``THRESHOLDS``.
        by_rotation: Share nearer than ``BIN_THRESHOLD``, of the pairs of each bin of ``ROTATIONS``, by its name such as
            "0-15"; None where there is no pair.
        pairs_by_rotation: How many pairs there are in each bin.
        matches: Kept matches in all.
        grid: (height, width) of the grid.
    """

    recall: dict[int, float]
    by_rotation: dict[str, float | None]
    pairs_by_rotation: dict[str, int]
    matches: int
    grid: tuple[int, int]


class GridPair:
    """Two views of a scene as the grid sees them.

    Args:
        pair: A batch of one.
    """

    def __init__(self, pair: PairBatch) -> None:
        size = (pair.depth.shape[-2], pair.depth.shape[-1])
        self.grid = grid_of(size)
        depth = F.interpolate(pair.depth, self.grid, mode="nearest-exact")[0]
        intrinsics = scale_intrinsics(pair.intrinsics[0], size, self.grid)
        to_world = pair.camera_to_world[0]
        points = depth_to_world(depth, intrinsics, to_world)
        self.pixels = [(view > 0).nonzero()[:, 0] for view in depth.flatten(1)]  # (N,) and (M,), those with a reading
        to_second = invert_rigid(to_world[1])
        # where the first view's points appear in the second
        self.true, _ = project(transform(points[0][self.pixels[0]], to_second), intrinsics[1])
        self.rotation = _degrees(to_second[:3, :3] @ to_world[0, :3, :3])

    def features(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C) and (M, C) of the grid's pixels with a reading, from the two views' maps (2, C, h, w)."""
        first, second = (
            sample_features(maps[view : view + 1].float(), self.pixels[view][None], self.grid)[0] for view in range(2)
        )
        return first, second

    def errors(self, first: Tensor, second: Tensor) -> Tensor:
        """How far the kept matches (K,) of such features lie from the truth, in pixels of the grid; none where a view
        has no readings to speak of."""
        if not len(first) or len(second) < 2:
            return first.new_empty(0)
        queries, matched = ratio_matches(first, second, KEPT)
        return (self.true[queries] - pixel_grid(self.grid, second.device)[self.pixels[1][matched]]).norm(dim=1)


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """The grid (height, width) for images of a size: 160 wide, or as wide as the images where they are smaller."""
    width = min(GRID_WIDTH, size[1])
    return max(1, round(size[0] * width / size[1])), width


def ratio_matches(first: Tensor, second: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` most distinct matches of features (N, C) to the nearest of (M, C) by cosine, M at least 2.

    A match has the weight 1 - d1 / d2, with the cosine distances to its nearest and its second nearest.

    Returns:
        Rows of the first and of the second, (K,) each, the most distinct first; all where there are fewer.
    """
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    nearest, weights = [], []
    for queries in first.split(QUERIES_AT_ONCE):
        likeness = queries @ second.T
        best, index = likeness.max(1)
        likeness.scatter_(1, index[:, None], -torch.inf)
        distances = 1 - torch.stack((best, likeness.amax(1)))
        distances.clamp_(min=LEAST_DISTANCE)
        weights.append(1 - distances[0] / distances[1])
        nearest.append(index)
    order = torch.cat(weights).topk(min(count, len(first))).indices
    return order, torch.cat(nearest)[order]


def summarise(errors: Sequence[Tensor], rotations: Sequence[float], grid: tuple[int, int]) -> Matching:
    """The figures of pairs, by their errors (K,) each and the rotations between their views in degrees.

    Raises:
        InputError: There is no match at all.
    """
    every = torch.cat(list(errors))
    if not len(every):
        raise InputError("no view of the probed pairs has depth; is the depth of this store right?")
    near = torch.stack([(error < BIN_THRESHOLD).float().mean() for error in errors if len(error)])
    angle = torch.tensor([rotation for rotation, error in zip(rotations, errors, strict=True) if len(error)])
    by_rotation: dict[str, float | None] = {}
    counts = {}
    for low, high in pairwise(ROTATIONS):
        inside = (angle >= low) & ((angle < high) | (high == ROTATIONS[-1]))
        counts[f"{low}-{high}"] = int(inside.sum())
        by_rotation[f"{low}-{high}"] = near[inside].mean().item() if inside.any() else None
    recall = {threshold: (every < threshold).float().mean().item() for threshold in THRESHOLDS}
    return Matching(recall, by_rotation, counts, len(every), grid)


def _degrees(rotation: Tensor) -> float:
    """Angle of a rotation (3, 3)."""
    cosine = (rotation.diagonal().sum().item() - 1) / 2
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
