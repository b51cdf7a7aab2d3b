"""Models by name: create, list, and the image transform that goes with one."""

import difflib
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.data import create_transform as timm_create_transform
from timm.data import resolve_model_data_config
from torch import nn

from . import pri3d_resnet, resunet
from .hub import available, check_state_dict, find_weights, models_at_hand, read_config
from .names import parse_name
from .resunet import any_size
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
        name: a name of `list_models()`, with or without a tag: `resnet50_pri3d_joint`, `resnet50_pri3d_joint.scannet`;
            or one that is built of any other model of timm's: `convnext_tiny_pri3d_joint` for the encoder,
            `resunet_convnext_tiny_pri3d_joint` for encoder and decoder.
        pretrained: load weights; without them the model is randomly initialised and a tag means nothing.
        checkpoint_path: a weight folder or a `.safetensors` file to load, instead of what is published.
        cache_dir: where downloads are kept, instead of the Hub's usual folder.
        kwargs: timm's: `num_classes`, `in_chans`, and for the encoders `features_only`, `out_indices`, `output_stride`.

    Returns:
        A model of timm's, or a `ResUNet`. Every tensor of the file is in it, bit for bit (float16 as float32), and
        nothing else but a head that was asked for; with `in_chans` other than 3 timm adapts the first convolution.

    Raises:
        WeightsError: the name is unknown, the weights cannot be had, or they do not fit the model.
    """
    model, _, tag = name.partition(".")
    check_name(model)
    if not pretrained and checkpoint_path is not None:
        raise WeightsError(f"{name}: checkpoint_path asks for weights and pretrained=False for none; drop one of them")
    if model not in list_models():
        return _on_other_encoder(model, tag or None, pretrained, checkpoint_path, cache_dir, kwargs)
    if not pretrained:
        return timm.create_model(model, **kwargs)
    if checkpoint_path is not None:
        kwargs["pretrained_cfg_overlay"] = {"file": os.fspath(checkpoint_path)}
    return timm.create_model(name, pretrained=True, cache_dir=cache_dir, **kwargs)


def check_name(model: str) -> None:
    """Raise `WeightsError`, with the names that come close, unless there can be a model of this name."""
    models = list_models()
    if model not in models and not _is_on_other_encoder(model):
        parsed = parse_name(model)
        known = models if parsed is None else [*models, *timm.list_models()]
        wanted = model if parsed is None or parsed.encoder.startswith("resnet") else parsed.encoder
        close = difflib.get_close_matches(wanted, known, n=3)
        raise WeightsError(
            f"there is no model {model!r} in the zoo; "
            + (f"did you mean {', '.join(close)}?" if close else "`pri3d-zoo list` shows them all")
        )


def _is_on_other_encoder(model: str) -> bool:
    parsed = parse_name(model)
    return parsed is not None and timm.is_model(parsed.encoder)


def _on_other_encoder(
    model: str,
    tag: str | None,
    pretrained: bool,
    checkpoint_path: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    kwargs: dict[str, Any],
) -> nn.Module:
    parsed = parse_name(model)
    assert parsed is not None  # check_name has seen to it
    overlay: dict[str, Any] = {"num_classes": 0}
    if pretrained:
        file = find_weights(model, tag, path=checkpoint_path, cache_dir=cache_dir)
        overlay |= read_config(model, tag, file) | {"file": str(file), "source": None}
    if parsed.dense:
        return timm.create_model(
            "resunet", pretrained, encoder_name=parsed.encoder, pretrained_cfg_overlay=overlay, **kwargs
        )
    if pretrained:
        with torch.device("meta"):
            skeleton = timm.create_model(parsed.encoder, num_classes=0)
        check_state_dict(model, load_file(overlay["file"]), skeleton)
        # else timm would resize position embeddings to the image size that the folder names
        overlay["fixed_input_size"] = False
    arguments = {"num_classes": 0, **any_size(parsed.encoder), **kwargs}
    return timm.create_model(parsed.encoder, pretrained, pretrained_cfg_overlay=overlay, **arguments)


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """The names of the models, by a shell pattern.

    With `pretrained` those whose weights can be had here, among them folders of models on other encoders of timm's,
    which without it are not listed: there are as many as timm has models.
    """
    models: list[str] = [model for model in timm.list_models(pattern, module=_MODULES) if model != "resunet"]
    if not pretrained:
        return models
    found = models_at_hand().difference(timm.list_models(module=_MODULES))
    models += sorted(model for model in found if fnmatchcase(model, pattern) and _is_on_other_encoder(model))
    return [model for model in models if available(model)]


def create_transform(model: nn.Module, is_training: bool = False) -> Callable[..., Any]:
    """The transform from a PIL image to the normalised (3, H, W) tensor that the model's weights were trained on."""
    transform: Callable[..., Any] = timm_create_transform(**resolve_model_data_config(model), is_training=is_training)
    return transform
