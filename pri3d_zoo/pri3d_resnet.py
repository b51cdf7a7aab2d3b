"""The encoders: timm's ResNets under the names that Pri3D weights are published for.

`view`, `geo` and `joint` are the pre-training objectives of the paper (arXiv 2104.11225, section 3); the networks are
alike. They have no classifier until one is asked for (`num_classes=`), and everything of timm works on them:
`features_only`, `out_indices`, `output_stride`, `in_chans`, `reset_classifier`, `forward_intermediates`.
"""

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from .hub import build_model, pretrained_cfgs
from .names import METHODS, RESNETS, ModelName

_BLOCKS: dict[int, dict[str, Any]] = {
    18: {"block": BasicBlock, "layers": (2, 2, 2, 2)},
    34: {"block": BasicBlock, "layers": (3, 4, 6, 3)},
    50: {"block": Bottleneck, "layers": (3, 4, 6, 3)},
    101: {"block": Bottleneck, "layers": (3, 4, 23, 3)},
}

# timm reads this name from the module while it registers the functions below
default_cfgs = pretrained_cfgs(
    [str(ModelName(encoder, method)) for encoder in RESNETS for method in METHODS],
    first_conv="conv1",
    classifier="fc",
)


def _resnet(variant: str, depth: int, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.get("features_only"):
        kwargs["num_classes"] = 0  # features have no head, and the file none to fill it
    return build_model(ResNet, variant, pretrained, **_BLOCKS[depth], **kwargs)


@register_model
def resnet18_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 for weights pre-trained with the view loss (pixels to pixels)."""
    return _resnet("resnet18_pri3d_view", 18, pretrained, **kwargs)


@register_model
def resnet18_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resnet("resnet18_pri3d_geo", 18, pretrained, **kwargs)


@register_model
def resnet18_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 for weights pre-trained with both losses."""
    return _resnet("resnet18_pri3d_joint", 18, pretrained, **kwargs)


@register_model
def resnet34_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 for weights pre-trained with the view loss (pixels to pixels)."""
    return _resnet("resnet34_pri3d_view", 34, pretrained, **kwargs)


@register_model
def resnet34_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resnet("resnet34_pri3d_geo", 34, pretrained, **kwargs)


@register_model
def resnet34_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-34 for weights pre-trained with both losses."""
    return _resnet("resnet34_pri3d_joint", 34, pretrained, **kwargs)


@register_model
def resnet50_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 for weights pre-trained with the view loss (pixels to pixels)."""
    return _resnet("resnet50_pri3d_view", 50, pretrained, **kwargs)


@register_model
def resnet50_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resnet("resnet50_pri3d_geo", 50, pretrained, **kwargs)


@register_model
def resnet50_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 for weights pre-trained with both losses."""
    return _resnet("resnet50_pri3d_joint", 50, pretrained, **kwargs)


@register_model
def resnet101_pri3d_view(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 for weights pre-trained with the view loss (pixels to pixels)."""
    return _resnet("resnet101_pri3d_view", 101, pretrained, **kwargs)


@register_model
def resnet101_pri3d_geo(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 for weights pre-trained with the geometric loss (pixels to voxels)."""
    return _resnet("resnet101_pri3d_geo", 101, pretrained, **kwargs)


@register_model
def resnet101_pri3d_joint(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 for weights pre-trained with both losses."""
    return _resnet("resnet101_pri3d_joint", 101, pretrained, **kwargs)
