"""The dense models: a timm encoder and the decoder that Pri3D pre-trains it with.

Structure and names follow the authors' code (github.com/Sekunde/Pri3D, `pretrain/pri3d/model/backbone/resunet.py`):
the state dict is theirs with the prefix `backbone.` taken off. Other encoders than ResNets get the same decoder.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import timm
import torch
from timm.models import group_parameters, register_model
from torch import Tensor, nn
from torch.nn import functional

from .decoder import Decoder
from .hub import build_model, pretrained_cfgs
from .names import METHODS, RESNETS, ModelName

STRIDES = (4, 8, 16, 32)
LEVELS = 5


class ResUNet(nn.Module):
    """Per-pixel features at half the resolution of the image, from a timm encoder and Pri3D's decoder.

    The decoder takes four stages of the encoder, at the strides 4, 8, 16 and 32. Where the encoder has none at one of
    them, it takes the nearest, enlarged or reduced: a plain vision transformer gives four of its blocks, evenly spread.

    `feature_info` and `forward_intermediates`, and so timm's `features_only`, are of the decoder's five levels: its
    output at stride 2, its inner levels at 4, 8 and 16, and the encoder's last stage.

    Args:
        encoder: a timm model with `feature_info` and `forward_intermediates`. It becomes a part of this one, and what
            it has behind its last stage (norm, pooling, classifier) is taken off.
        decoder: `authors`, or `light`, which costs less than the encoder.
        num_classes: channels of a 1x1 convolution on the features; 0 for none.

    Raises:
        ValueError: the encoder has no stages, or there is no such decoder.
    """

    def __init__(self, encoder: nn.Module, *, decoder: str = "authors", num_classes: int = 0) -> None:
        super().__init__()
        stages = [(info["reduction"], info["num_chs"]) for info in getattr(encoder, "feature_info", ())]
        if not stages or not hasattr(encoder, "forward_intermediates"):
            raise ValueError(
                f"ResUNet needs a timm encoder with feature_info and forward_intermediates, "
                f"which {type(encoder).__name__} is not"
            )
        chosen = choose_stages([reduction for reduction, _ in stages])
        self._indices = sorted(set(chosen))
        self._order = [self._indices.index(index) for index in chosen]
        self._reductions = [stages[index][0] for index in chosen]
        encoder.prune_intermediate_layers(self._indices, prune_norm=True)  # type: ignore[operator]
        self.encoder = encoder
        channels = [stages[index][1] for index in chosen]
        self.decoder = Decoder(channels, decoder)
        self.num_features = self.decoder.out_channels
        self.feature_info = [
            {"num_chs": count, "reduction": reduction, "module": module}
            for count, reduction, module in zip(
                (self.num_features, *channels),
                (2, *STRIDES),
                ("decoder", "decoder.up3", "decoder.up2", "decoder.up1", "encoder"),
                strict=True,
            )
        ]
        self.in_chans: int = encoder.in_chans  # type: ignore[assignment]
        self.reset_classifier(num_classes)

    @property
    def encoder_stride(self) -> int:
        """Of the finest of the encoder's stages that the decoder takes: 4, or the patches of a plain transformer.

        The features cover images whose sides are multiples of it and of 8 exactly; they reach beyond others.
        """
        return self._reductions[0]

    def get_classifier(self) -> nn.Module:
        """The 1x1 convolution to classes, or an identity."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Put a fresh 1x1 convolution to `num_classes` on the features, or none for 0."""
        self.num_classes = num_classes
        self.head: nn.Module = nn.Identity()
        if num_classes > 0:
            parameter = next(self.parameters())
            self.head = nn.Conv2d(self.num_features, num_classes, 1, device=parameter.device, dtype=parameter.dtype)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[float, ...]]:
        """For timm's layer-wise learning rates: the encoder's groups, then each up-projection, then the head."""
        encoder = group_parameters(self.encoder, self.encoder.group_matcher(coarse), reverse=True)  # type: ignore[operator]
        decoder = ("up1", "up2", "up3", "up4", "conv0")

        def group(name: str) -> tuple[float, ...]:
            part, _, rest = name.partition(".")
            if part == "encoder":
                return 0, encoder[rest]
            return (1, 0 if coarse else decoder.index(rest.partition(".")[0])) if part == "decoder" else (math.inf,)

        return group

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """The encoder's parameters that timm's optimisers spare from weight decay."""
        spared = getattr(self.encoder, "no_weight_decay", set)
        return {f"encoder.{name}" for name in spared()}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations of encoder and decoder in the backward pass instead of keeping them."""
        self.encoder.set_grad_checkpointing(enable)  # type: ignore[operator]
        self.decoder.grad_checkpointing = enable

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take off what the levels at `indices` do not need, as timm's models do; returns the indices."""
        taken = _level_indices(indices)
        self.decoder.prune(min(taken))
        if prune_head:
            self.reset_classifier(0)
        return taken

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The levels of `feature_info`, finest first, as timm's method of this name gives stages.

        Args:
            x: (B, in_chans, H, W), normalised.
            indices: Which levels; the last so many if one number; all if None.
            norm: Without effect: no level has a norm of its own.
            stop_early: Without effect: a coarse level is never computed after a finer one.
            output_fmt: NCHW, the only one there is.
            intermediates_only: Leave out the output.

        Returns:
            The list of (B, C, h, w), or the output and that list.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r}: ResUNet has NCHW only")
        taken = _level_indices(indices)
        levels = self._levels(x)
        intermediates = [levels[index - self.decoder.finest] for index in taken]
        return intermediates if intermediates_only else (levels[0], intermediates)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W), normalised, to features (B, num_features, H/2, W/2), not normalised.

        For odd sizes H/2 and W/2 are twice those of the encoder's stage at stride 4.
        """
        return self._levels(x)[0]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features to class scores (B, num_classes, H/2, W/2); unchanged without classes or with `pre_logits`."""
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W) to features, or to class scores, of half the size."""
        return self.forward_head(self.forward_features(x))

    def _levels(self, x: Tensor) -> list[Tensor]:
        found = self.encoder.forward_intermediates(x, indices=self._indices, intermediates_only=True)  # type: ignore[operator]
        stages = [found[position] for position in self._order]
        if self._reductions == list(STRIDES):
            return self.decoder(stages)
        stages = [
            _resize(stage, reduction, stride)
            for stage, reduction, stride in zip(stages, self._reductions, STRIDES, strict=True)
        ]
        # patches may reach beyond the right and lower border of the image, where timm pads it
        return [
            level[..., : math.ceil(x.shape[-2] / info["reduction"]), : math.ceil(x.shape[-1] / info["reduction"])]
            for level, info in zip(self.decoder(stages), self.feature_info[self.decoder.finest :], strict=True)
        ]


def choose_stages(reductions: Sequence[int]) -> list[int]:
    """Which stages of an encoder stand for the strides 4, 8, 16 and 32, as four indices.

    The nearest by ratio; of several with one reduction the last, as a UNet takes it, and where such a row of stages
    has to serve n strides, the last of each of its n equal parts.
    """
    nearest = [min(reductions, key=lambda reduction: abs(math.log2(reduction / stride))) for stride in STRIDES]
    chosen = []
    for position, reduction in enumerate(nearest):
        row = [index for index, other in enumerate(reductions) if other == reduction]
        part, parts = position - nearest.index(reduction) + 1, nearest.count(reduction)
        chosen.append(row[math.ceil(len(row) * part / parts) - 1])
    return chosen


def build_resunet(encoder_name: str, *, decoder: str = "authors", in_chans: int = 3, num_classes: int = 0) -> ResUNet:
    """A randomly initialised dense model on the timm encoder of this name, e.g. `resnet18`."""
    encoder = timm.create_model(
        encoder_name, pretrained=False, in_chans=in_chans, num_classes=0, **any_size(encoder_name)
    )
    return ResUNet(encoder, decoder=decoder, num_classes=num_classes)


def any_size(encoder_name: str) -> dict[str, bool]:
    """The arguments with which a timm model takes images of any size; transformers are made for one, unless told."""
    with torch.device("meta"):
        parameters = inspect.signature(type(timm.create_model(encoder_name)).__init__).parameters
    return {name: True for name in ("dynamic_img_size", "dynamic_img_pad") if name in parameters}


def _resize(stage: Tensor, reduction: int, stride: int) -> Tensor:
    if reduction == stride:
        return stage
    size = [max(1, math.ceil(extent * reduction / stride)) for extent in stage.shape[-2:]]
    return functional.interpolate(stage, size=size, mode="bilinear", align_corners=False)


def _level_indices(indices: int | Sequence[int] | None) -> list[int]:
    if indices is None or isinstance(indices, int):
        return list(range(LEVELS))[-(indices or LEVELS) :]
    if wrong := [index for index in indices if not -LEVELS <= index < LEVELS]:
        raise ValueError(f"ResUNet has {LEVELS} levels, 0 to {LEVELS - 1}; there is no {wrong[0]}")
    return [index % LEVELS for index in indices]


# timm reads this name from the module while it registers the functions below
default_cfgs = pretrained_cfgs(
    ["resunet", *(str(ModelName(encoder, method, dense=True)) for encoder in RESNETS for method in METHODS)],
    first_conv="encoder.conv1",
    classifier="head",
)


def _resunet(variant: str, encoder_name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.get("features_only"):
        kwargs["num_classes"] = 0  # features have no head, and the file none to fill it
    return build_model(
        partial(build_resunet, encoder_name), variant, pretrained, feature_cfg={"feature_cls": "getter"}, **kwargs
    )


@register_model
def resunet(pretrained: bool = False, encoder_name: str = "resnet50", **kwargs: Any) -> nn.Module:
    """Any timm encoder with either decoder; weight folders name it for dense models without an entry of their own."""
    overlay = dict(kwargs.pop("pretrained_cfg_overlay", None) or {})
    overlay["first_conv"] = f"encoder.{timm.get_pretrained_cfg_value(encoder_name, 'first_conv')}"
    return _resunet("resunet", encoder_name, pretrained, pretrained_cfg_overlay=overlay, **kwargs)


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
