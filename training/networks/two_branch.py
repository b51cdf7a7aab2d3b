"""The network of a pre-training run: the image network and, for the geometric prior, the sparse 3D one beside it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pri3d_zoo.resunet import build_resunet

from ..errors import InputError
from ..matches import sample_features
from .sparse import SparseTensor, build_minkowski_unet, build_sparse_unet

VOXEL_FEATURES = 96  # out of the 3D network, as the authors
PROJECTED_FEATURES = 64  # of pixels and voxels where they are contrasted, as the authors


class MatchedFeatures(NamedTuple):
    """What a network gives: features at matches, each (B or S, N, C), and the depth of whole images."""

    first: Tensor | None = None
    """Of the first views of pairs."""
    second: Tensor | None = None
    """Of the second views."""
    pixel: Tensor | None = None
    """Of pixels, mapped to where they are contrasted with voxels."""
    voxel: Tensor | None = None
    """Of voxels, mapped to there too."""
    depth: Tensor | None = None
    """(2 * B, H, W), metres, as the depth head predicts it."""


class TwoBranch(nn.Module):
    """A ResUNet over images, a sparse UNet over voxels, and linear maps of both to a space that they share.

    State-dict names are those of the authors' checkpoints: ``backbone.*``, ``backbone3d.*``, ``w2d.*``, ``w3d.*``,
    ``headnet.*``.

    Args:
        encoder: A name of timm's.
        unet3d: A name of ``build_sparse_unet``, or None for a network without a 3D half (the view loss alone).
        decoder: ``authors`` or ``light``.
        depth_head: Whether to predict depth, by a 1x1 convolution of the dense features, as the authors.
        backend3d: ``native``, or ``minkowski`` for a 3D network that MinkowskiEngine computes.

    Raises:
        InputError: No such 3D network, or no MinkowskiEngine.
    """

    def __init__(
        self,
        encoder: str,
        unet3d: str | None,
        *,
        decoder: str = "authors",
        depth_head: bool = False,
        backend3d: str = "native",
    ) -> None:
        super().__init__()
        # channels last: a sixth faster on a CPU, more on tensor cores, and the names and values stay as they are
        self.backbone = build_resunet(encoder, decoder=decoder).to(memory_format=torch.channels_last)
        if unet3d is not None:
            build = build_minkowski_unet if backend3d == "minkowski" else build_sparse_unet
            self.backbone3d = build(unet3d, 3, VOXEL_FEATURES)
            self.w2d = nn.Linear(self.backbone.num_features, PROJECTED_FEATURES)
            self.w3d = nn.Linear(VOXEL_FEATURES, PROJECTED_FEATURES)
        self.headnet = nn.Conv2d(self.backbone.num_features, 1, 1) if depth_head else None

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
            voxels: The chunks of all 2 * B images, coloured; None if they are empty.
            geo_pixels: (2 * B, N) flat pixel indices, or None.
            geo_voxels: (2 * B, N) rows of ``voxels``, with ``geo_pixels``.
        """
        size = (color.shape[-2], color.shape[-1])
        features = self.backbone(color.contiguous(memory_format=torch.channels_last))
        # read at once for both losses: each reading makes a whole map of gradients
        wanted = [torch.stack(view_pixels, 1).flatten(0, 1)] if view_pixels is not None else []
        wanted += [geo_pixels] if geo_pixels is not None else []
        sampled = sample_features(features, torch.cat(wanted, 1), size).split([len(part.T) for part in wanted], 1)
        first = second = pixel = voxel = depth = None
        if view_pixels is not None:
            first, second = sampled[0][0::2], sampled[0][1::2]
        if geo_pixels is not None and geo_voxels is not None:
            pixel = self.w2d(sampled[-1])
            voxel = self.w3d(self._voxel_features(voxels, geo_voxels))
        if self.headnet is not None:
            predicted = F.interpolate(self.headnet(features), size=size, mode="bilinear", align_corners=True)
            depth = predicted[:, 0]
        return MatchedFeatures(first, second, pixel, voxel, depth)

    def _voxel_features(self, voxels: SparseTensor | None, rows: Tensor) -> Tensor:
        if voxels is None:
            if any(isinstance(module, nn.SyncBatchNorm) for module in self.backbone3d.modules()):
                raise InputError(
                    "batch_norm.sync=true: a process has pairs without any voxel in a step, and the others would wait "
                    "for its statistics for ever; take batch_norm.sync=false, or a larger batch_size"
                )
            # processes that share their gradients wait for all of them, so these have to be 0 and not missing
            nothing = torch.stack([parameter.sum() for parameter in self.backbone3d.parameters()]).sum() * 0
            return nothing.expand(*rows.shape, VOXEL_FEATURES)
        # on a CPU the sparse network gathers more than it multiplies: bf16 makes it four times slower, not faster
        with torch.autocast(rows.device.type, enabled=rows.is_cuda and torch.is_autocast_enabled("cuda")):
            features: Tensor = self.backbone3d(voxels).features
        return features[rows]
