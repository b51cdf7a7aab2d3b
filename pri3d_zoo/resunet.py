"""The dense models: a timm encoder and the decoder that Pri3D pre-trains it with.

Structure and names follow the authors' code (github.com/Sekunde/Pri3D, `pretrain/pri3d/model/backbone/resunet.py`):
the state dict is theirs with the prefix `backbone.` taken off.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from .hub import build_model, pretrained_cfgs

STRIDES = (4, 8, 16, 32)


class UpProjection(nn.Module):
    """Bilinear enlargement, then a branch of two convolutions beside a branch of one, added.

    The two 5x5 convolutions could run as one over joined weights; measured on a CPU, forward and backward, that gains
    nothing, so they stay apart.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv1_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1_2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, in_channels, h, w) to (B, out_channels, *size)."""
        x = functional.interpolate(x, size=list(size), mode="bilinear", align_corners=True)
        long = self.bn1_2(self.conv1_2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(long + self.bn2(self.conv2(x)))


class Decoder(nn.Module):
    """Four up-projections, the first three followed by adding the encoder's stage of the same size; 1x1 at the end."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.out_channels = c1 // 2
        self.up1 = UpProjection(c4, c3)
        self.up2 = UpProjection(c3, c2)
        self.up3 = UpProjection(c2, c1)
        self.up4 = UpProjection(c1, self.out_channels)
        self.conv0 = nn.Conv2d(self.out_channels, self.out_channels, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """The four stages, finest first, to (B, c1 // 2, 2 h1, 2 w1), where (h1, w1) is the size of the finest."""
        x1, x2, x3, x4 = stages
        x = self.up1(x4, x3.shape[-2:]) + x3
        x = self.up2(x, x2.shape[-2:]) + x2
        x = self.up3(x, x1.shape[-2:]) + x1
        x = self.up4(x, (2 * x1.shape[-2], 2 * x1.shape[-1]))
        return self.conv0(x)


class ResUNet(nn.Module):
    """Per-pixel features at half the resolution of the image, from any timm encoder with stages at strides 4 to 32.

    Args:
        encoder: a timm model with `feature_info` and `forward_intermediates`. It becomes a part of this one, and what
            it has behind its last stage (norm, pooling, classifier) is taken off.
        num_classes: channels of a 1x1 convolution on the features; 0 for none.

    Raises:
        ValueError: the encoder has no stage at one of the strides.
    """

    def __init__(self, encoder: nn.Module, *, num_classes: int = 0) -> None:
        super().__init__()
        # reduction -> (index, channels); of several stages with one reduction the last, as a UNet takes it
        found = {info["reduction"]: (i, info["num_chs"]) for i, info in enumerate(getattr(encoder, "feature_info", ()))}
        if not found.keys() >= set(STRIDES) or not hasattr(encoder, "forward_intermediates"):
            raise ValueError(
                f"ResUNet needs a timm encoder with stages at the strides {STRIDES}; "
                f"{type(encoder).__name__} has {tuple(found) or 'no feature_info'}"
            )
        self._indices = [found[stride][0] for stride in STRIDES]
        encoder.prune_intermediate_layers(self._indices, prune_norm=True)  # type: ignore[operator]
        self.encoder = encoder
        self.decoder = Decoder([found[stride][1] for stride in STRIDES])
        self.num_features = self.decoder.out_channels
        self.feature_info = [{"num_chs": self.num_features, "reduction": 2, "module": "decoder"}]
        self.in_chans: int = encoder.in_chans  # type: ignore[assignment]
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """The 1x1 convolution to classes, or an identity."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Put a fresh 1x1 convolution to `num_classes` on the features, or none for 0."""
        self.num_classes = num_classes
        self.head: nn.Module = nn.Identity()
        if num_classes > 0:
            parameter = self.decoder.conv0.weight
            self.head = nn.Conv2d(self.num_features, num_classes, 1, device=parameter.device, dtype=parameter.dtype)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W), normalised, to features (B, num_features, H/2, W/2), not normalised.

        For odd sizes H/2 and W/2 are twice those of the encoder's stage at stride 4.
        """
        stages = self.encoder.forward_intermediates(x, indices=self._indices, intermediates_only=True)  # type: ignore[operator]
        return self.decoder(stages)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features to class scores (B, num_classes, H/2, W/2); unchanged without classes or with `pre_logits`."""
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W) to features, or to class scores, of half the size."""
        return self.forward_head(self.forward_features(x))


def build_resunet(encoder_name: str, *, in_chans: int = 3, num_classes: int = 0) -> ResUNet:
    """A randomly initialised dense model on the timm encoder of this name, e.g. `resnet18`."""
    encoder = timm.create_model(encoder_name, pretrained=False, in_chans=in_chans, num_classes=0)
    return ResUNet(encoder, num_classes=num_classes)


# timm reads this name from the module while it registers the functions below
default_cfgs = pretrained_cfgs(
    [f"resunet{depth}_pri3d_{objective}" for depth in (18, 34, 50, 101) for objective in ("view", "geo", "joint")],
    first_conv="encoder.conv1",
    classifier="head",
)


def _resunet(variant: str, encoder_name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.pop("features_only", False):
        raise ValueError(
            f"{variant} has no features_only: its output is one dense map already; "
            f"for the stages of the encoder take {variant.replace('resunet', 'resnet')}"
        )
    return build_model(partial(build_resunet, encoder_name), variant, pretrained, **kwargs)


@register_model
def resunet18_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 and decoder for weights pre-trained with the view loss (pixels to pixels)."""
    return _resunet("resunet18_pri3d_view", "resnet18", pretrained, **kwargs)


@register_model
def resunet18_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 and decoder for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resunet("resunet18_pri3d_geo", "resnet18", pretrained, **kwargs)


@register_model
def resunet18_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 and decoder for weights pre-trained with both losses."""
    return _resunet("resunet18_pri3d_joint", "resnet18", pretrained, **kwargs)


@register_model
def resunet34_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 and decoder for weights pre-trained with the view loss (pixels to pixels)."""
    return _resunet("resunet34_pri3d_view", "resnet34", pretrained, **kwargs)


@register_model
def resunet34_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 and decoder for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resunet("resunet34_pri3d_geo", "resnet34", pretrained, **kwargs)


@register_model
def resunet34_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 and decoder for weights pre-trained with both losses."""
    return _resunet("resunet34_pri3d_joint", "resnet34", pretrained, **kwargs)


@register_model
def resunet50_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 and decoder for weights pre-trained with the view loss (pixels to pixels)."""
    return _resunet("resunet50_pri3d_view", "resnet50", pretrained, **kwargs)


@register_model
def resunet50_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 and decoder for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resunet("resunet50_pri3d_geo", "resnet50", pretrained, **kwargs)


@register_model
def resunet50_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 and decoder for weights pre-trained with both losses."""
    return _resunet("resunet50_pri3d_joint", "resnet50", pretrained, **kwargs)


@register_model
def resunet101_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 and decoder for weights pre-trained with the view loss (pixels to pixels)."""
    return _resunet("resunet101_pri3d_view", "resnet101", pretrained, **kwargs)


@register_model
def resunet101_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 and decoder for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resunet("resunet101_pri3d_geo", "resnet101", pretrained, **kwargs)


@register_model
def resunet101_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 and decoder for weights pre-trained with both losses."""
    return _resunet("resunet101_pri3d_joint", "resnet101", pretrained, **kwargs)
