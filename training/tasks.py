"""What is learned: a task turns a batch into a dict of losses; the loop adds them up and knows nothing else of it."""

import torch
from torch import Tensor, nn

from .config import LossConfig, Method
from .data.augment import normalize
from .data.dataset import PairBatch
from .losses import point_info_nce
from .matches import view_matches, voxel_matches
from .networks.sparse import SparseTensor
from .networks.two_branch import MatchedFeatures


class PretrainTask:
    """Pri3D's pre-training: the view loss, the geo loss, or their sum (paper, section 3.3).

    Args:
        loss: The ``loss`` section of the configuration.
        voxel_size: Of the store's chunks, metres.
    """

    def __init__(self, loss: LossConfig, voxel_size: float) -> None:
        self.loss, self.voxel_size = loss, voxel_size
        self.voxel_radius = voxel_size if loss.voxel_radius is None else loss.voxel_radius

    def __call__(self, model: nn.Module, batch: PairBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses by name, to be added up, and figures to be logged: matches found, a pair or a frame."""
        settings = self.loss
        view_valid = geo_valid = None
        view_pixels = voxels = geo_pixels = geo_voxels = None
        with torch.no_grad():
            if settings.method != Method.geo:
                *pixels, view_valid = view_matches(
                    batch.depth, batch.intrinsics, batch.camera_to_world, settings.matches, settings.radius
                )
                view_pixels = (pixels[0], pixels[1])
            if settings.method != Method.view:
                geo_pixels, geo_voxels, geo_valid = voxel_matches(
                    batch.depth.flatten(0, 1),
                    batch.intrinsics.flatten(0, 1),
                    batch.camera_to_world.flatten(0, 1),
                    batch.voxels,
                    self.voxel_size,
                    settings.matches,
                    self.voxel_radius,
                )
                voxels = SparseTensor(batch.voxels, batch.voxel_colors.float() / 255 - 0.5)
        features: MatchedFeatures = model(
            normalize(batch.color.flatten(0, 1)), view_pixels, voxels, geo_pixels, geo_voxels
        )
        losses: dict[str, Tensor] = {}
        figures: dict[str, Tensor] = {}
        if features.first is not None and features.second is not None and view_valid is not None:
            losses["view"] = point_info_nce(features.first, features.second, view_valid, settings.temperature)
            figures["view_matches"] = view_valid.sum(1).float().mean()
        if features.pixel is not None and features.voxel is not None and geo_valid is not None:
            # the mean over all frames is (geo_1 + geo_2) / 2 of the pairs
            losses["geo"] = point_info_nce(features.pixel, features.voxel, geo_valid, settings.temperature)
            figures["geo_matches"] = geo_valid.sum(1).float().mean()
        return losses, figures
