"""Weight files from one format to another, checked on the way and written whole or not at all."""

import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from .checkpoint_files import read_state_dict
from .convert import (
    PARTS,
    KeyReport,
    compare_keys,
    convert_state_dict,
    describe_state_dict,
    expected_unet3d,
    resnet_depth,
    translate,
)
from .files import sha256_of, whole_file, whole_folder
from .resunet import build_resunet
from .weights import WeightsError

# by which suffixes a format is written; a weight folder of the zoo has none of them
_SUFFIXES = {
    "pri3d": (".pth", ".safetensors"),
    "timm": (".safetensors",),
    "torchvision": (".pth", ".safetensors"),
    "detectron2": (".pkl", ".pth"),
    "minkowski": (".pth", ".safetensors"),
}
_FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".pkl", ".ckpt", ".bin")


def convert_file(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    target: str,
    *,
    part: str | None = None,
    model: str | None = None,
    allow_mismatch: bool = False,
) -> KeyReport:
    """Convert a weight file, check its tensors against the architecture, and write it whole or not at all.

    Args:
        source: A file that `read_state_dict` reads.
        destination: What to write, which must not exist: a file with a suffix of the format (`.safetensors` or, but for
            timm, `.pth`; for detectron2 `.pkl` or `.pth`), or for timm, without one, a weight folder of the zoo.
        target: The format: one of `FORMATS`, or `minkowski` for the 3D network.
        part: `encoder`, `dense` or `unet3d`; by default the 3D network if the target or the file is one, the whole of a
            dense model of the zoo that becomes a checkpoint, and otherwise the encoder.
        model: The architecture to check against, `resnet50` or a name of the zoo; by default the ResNet of this depth.
        allow_mismatch: Write even if tensors are missing, of another shape, or unexpected. Unexpected ones have no name
            in the target format and are never written.

    Returns:
        The report, by names of the target; those unexpected and left out by names of the source.

    Raises:
        WeightsError: the file cannot be read or written in this way, or its tensors do not fit the architecture.
    """
    source, destination = Path(source), Path(destination)
    _check_destination(destination, target)
    tensors, found = read_state_dict(source)
    part = part or _default_part(tensors, found, target)
    try:
        report, converted, architecture = _convert(tensors, found, target, part, model)
    except WeightsError as error:
        raise WeightsError(f"{source} cannot be converted: {error}") from None
    if not (report.fits or allow_mismatch):
        raise WeightsError(
            f"{source} does not fit {architecture} and nothing was written: {report.summary()}; "
            f"it seems to hold {describe_state_dict(tensors)}; name another model, or allow the mismatch"
        )
    if destination.suffix not in _FILE_SUFFIXES:
        card = _card(source, found, architecture, report)
        _write_folder(converted, destination, architecture, card)
    elif target == "detectron2":
        save_detectron2(converted, destination)
    else:
        _save(converted, destination, wrap=target == "pri3d")
    return report


def save_detectron2(state_dict: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write tensors under the names of a backbone of detectron2's for its `DetectionCheckpointer`, whole or not at all.

    A `.pkl` is a pickle of NumPy arrays, anything else torch's. Either asks for `matching_heuristics`, for in a model
    the backbone is called `backbone.bottom_up` or otherwise, and without them that checkpointer loads nothing of it.
    Images have to come in RGB with torchvision's mean and deviation, and `RESNETS.STRIDE_IN_1X1` has to be false.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    checkpoint = {"__author__": "pri3d-zoo", "matching_heuristics": True}
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        if path.suffix == ".pkl":
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            pickle.dump(checkpoint | {"model": arrays}, stream, protocol=4)
        else:
            torch.save(checkpoint | {"model": tensors}, stream)


def _convert(
    tensors: Mapping[str, Tensor], found: str, target: str, part: str, model: str | None
) -> tuple[KeyReport, dict[str, Tensor], str]:
    zoo = "minkowski" if part == "unet3d" else "timm"
    translation = translate(tensors, found, zoo, part=part)
    if part == "unet3d":
        architecture, expected = "MinkUNet", expected_unet3d(translation.tensors)
    else:
        architecture, expected = _reference(translation.tensors, part, model)
    converted = convert_state_dict(translation.tensors, zoo, target, part=part)
    report = compare_keys(converted, convert_state_dict(expected, zoo, target, part=part))
    unexpected = (*report.unexpected, *translation.unexpected)
    return replace(report, unexpected=unexpected, left_out=translation.left_out), converted, architecture


def _check_destination(destination: Path, target: str) -> None:
    if target not in _SUFFIXES:
        raise WeightsError(f"there is no format {target!r} to convert to; the formats are {', '.join(_SUFFIXES)}")
    suffixes = _SUFFIXES[target]
    # a folder may be called resnet50_pri3d_joint.scannet, so that what follows the dot need not be a suffix
    folder = target == "timm" and destination.suffix not in _FILE_SUFFIXES
    if not folder and destination.suffix not in suffixes:
        names = " or ".join((*suffixes, *(["a folder without a suffix"] if target == "timm" else [])))
        raise WeightsError(f"{destination} cannot be written as {target}: name a destination with {names}")
    if destination.exists():
        raise WeightsError(f"{destination} exists already and is not overwritten: name another, or remove it")


def _default_part(tensors: Mapping[str, Tensor], found: str, target: str) -> str:
    if "minkowski" in (found, target):
        return "unet3d"
    whole = found == "timm" and any(name.startswith("decoder.") for name in tensors)
    return "dense" if whole and target in PARTS["dense"] else "encoder"


def _reference(tensors: Mapping[str, Tensor], part: str, model: str | None) -> tuple[str, dict[str, Tensor]]:
    """The architecture that tensors under the zoo's names are of, or the one named, and its state dict without data."""
    depth = resnet_depth(name.removeprefix("encoder.") for name in tensors)
    encoder = (model or f"resnet{depth}").split("_pri3d_")[0].replace("resunet", "resnet")
    if not (re.fullmatch(r"resnet\d+", encoder) and timm.is_model(encoder)):
        raise WeightsError(
            f"there is no model {model!r} to check it against; name one such as resnet50 or resunet18_pri3d_joint"
            if model
            else f"its blocks are of no ResNet that timm has (it would be {encoder}); name the model that it should be"
        )
    with torch.device("meta"):  # shapes without memory or random numbers
        if part == "dense":
            return encoder.replace("resnet", "resunet"), build_resunet(encoder).state_dict()
        return encoder, timm.create_model(encoder, num_classes=0).state_dict()


def _save(tensors: Mapping[str, Tensor], path: Path, *, wrap: bool = False) -> None:
    # safetensors takes no two that share their memory, as tied weights do
    seen: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone(memory_format=torch.contiguous_format) if place in seen else tensor.contiguous()
        seen.add(place)
    tensors = own
    with whole_file(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(tensors, temporary, metadata={"format": "pt"})
        else:
            torch.save({"model": tensors} if wrap else tensors, temporary)


def _write_folder(tensors: Mapping[str, Tensor], folder: Path, architecture: str, card: str) -> None:
    dense = architecture.startswith("resunet")
    config: dict[str, Any] = {
        # what timm builds it by, and does so without this package if it is an encoder; the objective may not be known
        "architecture": "resunet" if dense else architecture,
        "model_args": {"encoder_name": architecture.replace("resunet", "resnet")} if dense else {},
        "num_classes": 0,
        "pretrained_cfg": {
            "tag": folder.name.partition(".")[2] or "converted",
            "input_size": [3, 240, 320],
            "mean": list(IMAGENET_DEFAULT_MEAN),
            "std": list(IMAGENET_DEFAULT_STD),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "first_conv": "encoder.conv1" if dense else "conv1",
            "num_classes": 0,
            "license": "other",
        },
    }
    with whole_folder(folder) as temporary:
        _save(tensors, temporary / "model.safetensors")
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")


def _card(source: Path, found: str, architecture: str, report: KeyReport) -> str:
    return f"""---
library_name: timm
license: other
tags: [image-feature-extraction, timm, pri3d]
---
# {architecture}, converted

By `pri3d-zoo convert` from the file `{source.name}` ({found} names, SHA-256 `{sha256_of(source)}`).
Its tensors beside those of {architecture}: {report.summary()}.

Nothing was trained, and no tensor was changed. Licence, training data and results of that file are not known to the
converter; the terms of its origin hold for these weights.

```python
import pri3d_zoo

model = pri3d_zoo.create_model("{architecture}_pri3d_joint", checkpoint_path="this folder")  # or _view, or _geo
```
"""
