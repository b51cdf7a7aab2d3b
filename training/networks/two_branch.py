"""The network of a pre-training run: the image network and, for the geometric prior, the sparse 3D one beside it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pri3d_zoo.resunet import build_resunet

from ..matches import sample_features
from .sparse import SparseTensor, build_sparse_unet

VOXEL_FEATURES = 96  # out of the 3D network, as the authors
PROJECTED_FEATURES = 64  # of pixels and voxels where they are contrasted, as the authors


class MatchedFeatures(NamedTuple):
    """Features at matches, each (B or S, N, C): of the two views of pairs, and of pixels and their voxels."""

    first: Tensor | None
    second: Tensor | None
    pixel: Tensor | None
    voxel: Tensor | None


class TwoBranch(nn.Module):
    """A ResUNet over images, a sparse UNet over voxels, and linear maps of both to a space that they share.

    State-dict names are those of the authors' checkpoints: ``backbone.*``, ``backbone3d.*``, ``w2d.*``, ``w3d.*``.

    Args:
        encoder: A name of timm's.
        unet3d: A name of ``build_sparse_unet``, or None for a network without a 3D half (the view loss alone).
    """

    def __init__(self, encoder: str, unet3d: str | None) -> None:
        super().__init__()
        # channels last: a sixth faster on a CPU, more on tensor cores, and the names and values stay as they are
        self.backbone = build_resunet(encoder).to(memory_format=torch.channels_last)
        if unet3d is not None:
            self.backbone3d = build_sparse_unet(unet3d, 3, VOXEL_FEATURES)
            self.w2d = nn.Linear(self.backbone.num_features, PROJECTED_FEATURES)
            self.w3d = nn.Linear(VOXEL_FEATURES, PROJECTED_FEATURES)

    def forward(
        self,
        color: Tensor,
        view_pixels: tuple[Tensor, Tensor] | None,
        voxels: SparseTensor | None = None,
        geo_pixels: Tensor | None = None,
        geo_voxels: Tensor | None = None,
    ) -> MatchedFeatures:
        """Features at the matches only: full maps of linear projections would be computed for nothing.

        Args:
            color: (2 * B, 3, H, W), normalised; the two views of a pair follow each other.
            view_pixels: Flat pixel indices (B, N) in the first and in the second views, or None.
            voxels: The chunks of all 2 * B images, coloured, or None.
            geo_pixels: (2 * B, N) flat pixel indices, with ``voxels``.
            geo_voxels: (2 * B, N) rows of ``voxels``, with ``voxels``.
        """
        size = (color.shape[-2], color.shape[-1])
        features = self.backbone(color.contiguous(memory_format=torch.channels_last))
        first = second = pixel = voxel = None
        if view_pixels is not None:
            first = sample_features(features[0::2], view_pixels[0], size)
            second = sample_features(features[1::2], view_pixels[1], size)
        if voxels is not None and geo_pixels is not None and geo_voxels is not None:
            pixel = self.w2d(sample_features(features, geo_pixels, size))
            # on a CPU the sparse network gathers more than it multiplies: bf16 makes it four times slower, not faster
            with torch.autocast(color.device.type, enabled=color.is_cuda and torch.is_autocast_enabled("cuda")):
                voxel_features = self.backbone3d(voxels).features
            voxel = self.w3d(voxel_features[geo_voxels])
        return MatchedFeatures(first, second, pixel, voxel)
