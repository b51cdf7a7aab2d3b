"""What is learned: a task turns a batch into a dict of losses; the loop adds them up and knows nothing else of it."""

import torch
from torch import Tensor, nn

from .config import Correspondence, LossConfig, Method
from .data.augment import normalize
from .data.batch import PairBatch
from .losses import depth_loss, point_info_nce
from .matches import projected_voxel_matches, view_matches, voxel_matches
from .networks.sparse import SparseTensor
from .networks.two_branch import MatchedFeatures

Matches = tuple[Tensor, Tensor, Tensor]


class PretrainTask:
    """Pri3D's pre-training: the view loss, the geo loss, or their sum (paper, section 3.3), and the depth head's.

    A pair or frame with fewer than two matches counts for nothing; a batch without any has a loss of 0.

    Args:
        loss: The ``loss`` section of the configuration.
        voxel_size: Of the store's chunks, metres.
    """

    def __init__(self, loss: LossConfig, voxel_size: float) -> None:
        self.loss, self.voxel_size = loss, voxel_size
        self.voxel_radius = voxel_size if loss.voxel_radius is None else loss.voxel_radius

    def __call__(self, model: nn.Module, batch: PairBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses by name, to be added up, and figures to be logged.

        These are, for each loss, the matches found, a pair or a frame, and the share of pairs or frames with too few.
        """
        # geometry in float32: in bf16 a position of 3 m is a centimetre off
        with torch.no_grad(), torch.autocast(batch.depth.device.type, enabled=False):
            view = self.view_matches(batch) if self.loss.method != Method.geo else None
            geo = self.voxel_matches(batch) if self.loss.method != Method.view else None
            color = normalize(batch.color.flatten(0, 1))
            voxels = None
            if geo is not None and len(batch.voxels):
                voxels = voxel_input(batch.voxels, batch.voxel_colors)
        features: MatchedFeatures = model(
            color,
            None if view is None else (view[0], view[1]),
            voxels,
            None if geo is None else geo[0],
            None if geo is None else geo[1],
        )
        losses: dict[str, Tensor] = {}
        figures: dict[str, Tensor] = {}
        if view is not None and features.first is not None and features.second is not None:
            losses["view"] = point_info_nce(features.first, features.second, view[2], self.loss.temperature)
            figures |= _counts("view", view[2])
        if geo is not None and features.pixel is not None and features.voxel is not None:
            # the mean over all frames is (geo_1 + geo_2) / 2 of the pairs
            losses["geo"] = point_info_nce(features.pixel, features.voxel, geo[2], self.loss.temperature)
            figures |= _counts("geo", geo[2])
        if features.depth is not None:
            # the mean over the first and the second views, as the authors
            sides = [depth_loss(features.depth[side::2], batch.depth[:, side]) for side in range(2)]
            losses["depth"] = self.loss.depth_weight * torch.stack(sides).mean()
        return losses, figures

    def view_matches(self, batch: PairBatch) -> Matches:
        """Pixels of the first and the second views, and which are matches, (B, N) each."""
        return view_matches(
            batch.depth,
            batch.intrinsics,
            batch.camera_to_world,
            self.loss.matches,
            self.loss.radius,
            batch.seeds,
            by_depth=self.loss.correspondence == Correspondence.depth,
        )

    def voxel_matches(self, batch: PairBatch) -> Matches:
        """Pixels of all frames and rows of ``batch.voxels``, and which are matches, (2 * B, N) each."""
        find = projected_voxel_matches if self.loss.correspondence == Correspondence.depth else voxel_matches
        return find(
            batch.depth.flatten(0, 1),
            batch.intrinsics.flatten(0, 1),
            batch.camera_to_world.flatten(0, 1),
            batch.voxels,
            self.voxel_size,
            self.loss.matches,
            self.voxel_radius,
            batch.frame_seeds(),
        )


def voxel_input(voxels: Tensor, colors: Tensor) -> SparseTensor:
    """What the 3D network is given of chunks: voxels (M, 4) with their colours (M, 3) uint8, from 0 to 1 as the
    authors'."""
    return SparseTensor(voxels, colors.float() / 255)


def _counts(name: str, valid: Tensor) -> dict[str, Tensor]:
    matches = valid.sum(1)
    return {f"{name}_matches": matches.float().mean(), f"{name}_unmatched": (matches < 2).float().mean()}
