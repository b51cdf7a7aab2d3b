"""Models by name: create, list, and the image transform that goes with one."""

import difflib
import os
from collections.abc import Callable
from typing import Any

import timm
from timm.data import create_transform as timm_create_transform
from timm.data import resolve_model_data_config
from torch import nn

from . import pri3d_resnet, resunet
from .hub import available
from .weights import WeightsError

_MODULES = tuple(module.__name__.rpartition(".")[-1] for module in (pri3d_resnet, resunet))


def create_model(
    name: str,
    pretrained: bool = True,
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """A model of the zoo, with its weights.

    Args:
        name: a name of `list_models()`, with or without a tag: `resnet50_pri3d_joint`, `resnet50_pri3d_joint.scannet`.
        pretrained: load weights; without them the model is randomly initialised and a tag means nothing.
        checkpoint_path: a weight folder or a `.safetensors` file to load, instead of what is published.
        cache_dir: where downloads are kept, instead of the Hub's usual folder.
        kwargs: timm's: `num_classes`, `in_chans`, and for the encoders `features_only`, `out_indices`, `output_stride`.

    Returns:
        A ResNet of timm's, or a `ResUNet`. Every tensor of the file is in it, bit for bit (float16 as float32), and
        nothing else but a head that was asked for; with `in_chans` other than 3 timm adapts the first convolution.

    Raises:
        WeightsError: the name is unknown, the weights cannot be had, or they do not fit the model.
    """
    model, _, _ = name.partition(".")
    check_name(model)
    if not pretrained:
        if checkpoint_path is not None:
            raise WeightsError(
                f"{name}: checkpoint_path asks for weights and pretrained=False for none; drop one of them"
            )
        return timm.create_model(model, **kwargs)
    if checkpoint_path is not None:
        kwargs["pretrained_cfg_overlay"] = {"file": os.fspath(checkpoint_path)}
    return timm.create_model(name, pretrained=True, cache_dir=cache_dir, **kwargs)


def check_name(model: str) -> None:
    """Raise `WeightsError`, with the names that come close, unless there is a model of this name."""
    models = list_models()
    if model not in models:
        close = difflib.get_close_matches(model, models, n=3)
        raise WeightsError(
            f"there is no model {model!r} in the zoo; "
            + (f"did you mean {', '.join(close)}?" if close else "`pri3d-zoo list` shows them all")
        )


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """The names of the models, by a shell pattern; with `pretrained` those whose weights can be had here."""
    models: list[str] = timm.list_models(pattern, module=_MODULES)
    return [model for model in models if not pretrained or available(model)]


def create_transform(model: nn.Module, is_training: bool = False) -> Callable[..., Any]:
    """The transform from a PIL image to the normalised (3, H, W) tensor that the model's weights were trained on."""
    transform: Callable[..., Any] = timm_create_transform(**resolve_model_data_config(model), is_training=is_training)
    return transform
