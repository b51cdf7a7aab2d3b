"""Weights that want their colours normalised in another way than training normalises them.

Half of timm's transformers want -1 to 1. All of training speaks ImageNet's mean and deviation, so the difference goes
into the first convolution, once, when weights are taken over.
"""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import nn

from .data.augment import IMAGENET_MEAN, IMAGENET_STD
from .errors import InputError


@torch.no_grad()
def expect_imagenet_colors(encoder: nn.Module, name: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change an encoder that wants colours of another mean and deviation into one that wants ImageNet's.

    The features are the same, but at the border of an image where the first convolution pads with zeros, which then
    stand for another colour.

    Args:
        encoder: timm's, or a part of it under the same names; changed in place.
        name: timm's name of it.
        mean: What its weights want, of colours from 0 to 1.
        std: Likewise.

    Raises:
        InputError: The first convolution has neither an offset nor a batch norm behind it.
    """
    if tuple(mean) == IMAGENET_MEAN and tuple(std) == IMAGENET_STD:
        return
    convolution: Any = encoder.get_submodule(timm.get_pretrained_cfg_value(name, "first_conv"))
    ours, theirs = (
        [convolution.weight.new_tensor(values) for values in pair]
        for pair in ((IMAGENET_MEAN, IMAGENET_STD), (mean, std))
    )
    offset = torch.einsum("oihw,i->o", convolution.weight, (ours[0] - theirs[0]) / theirs[1])
    convolution.weight *= (ours[1] / theirs[1])[:, None, None]
    if convolution.bias is not None:
        convolution.bias += offset
        return
    modules = list(encoder.modules())
    behind = modules[modules.index(convolution) + 1 :]
    norm = next((each for each in behind if isinstance(each, nn.BatchNorm2d)), None)
    if norm is None or norm.running_mean is None or norm.num_features != len(offset):
        raise InputError(
            f"the weights of {name} want colours of mean {list(mean)} and deviation {list(std)}, and its first "
            "convolution has neither an offset nor a batch norm to take the difference; take weights with ImageNet's"
        )
    norm.running_mean -= offset
