"""Weight files from one format to another, read without running anything that is in them."""

import hashlib
import json
import os
import pickle
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from .convert import (
    PARTS,
    KeyReport,
    compare_keys,
    convert_state_dict,
    describe_state_dict,
    detect_format,
    expected_unet3d,
    resnet_depth,
    translate,
)
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
_WRAPPERS = ("model", "state_dict", "model_state")  # the authors and detectron2; Lightning and MoCo; pycls
# where NumPy has, by its version, what the pickles of arrays call
_ARRAY_MODULES = (
    *("collections", "numpy", "numpy.core.multiarray", "numpy.core.numeric"),
    *("numpy._core.multiarray", "numpy._core.numeric"),
)


def read_state_dict(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors of a weight file, and the format of their names as `detect_format` tells it.

    `.safetensors` is read as that, `.pkl` as a pickle of arrays of NumPy's that may call for nothing else, any other
    file as torch's with `weights_only=True`. What a checkpoint has around its state dict is taken off, and so is the
    `module.` that `DataParallel` puts before every name.

    Raises:
        WeightsError: the file is missing, broken, a pickle that wants to run code, or of no such format.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is not a file: give a weight file, such as checkpoint.pth or model.safetensors")
    tensors = _unwrap(_read(path), path)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    try:
        return tensors, detect_format(tensors)
    except WeightsError as error:
        raise WeightsError(f"{path} cannot be converted: {error}") from None


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
    destination.parent.mkdir(parents=True, exist_ok=True)
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
    with _whole_file(path) as temporary, temporary.open("wb") as stream:
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


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows how to make arrays of NumPy's, and refuses to look up anything else."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")  # as detectron2 reads them: some were written by Python 2
        import numpy as np  # comes with torchvision; the zoo has no other use for it

        # the functions that arrays name in their pickles, of protocols to 4 and from 5 on
        reconstruct: Any = np.empty(0).__reduce__()[0]
        from_buffer: Any = np.empty(0).__reduce_ex__(5)[0]
        self._known = {part.__name__: part for part in (np.ndarray, np.dtype, OrderedDict, reconstruct, from_buffer)}

    def find_class(self, module: str, name: str) -> Any:
        if module not in _ARRAY_MODULES or name not in self._known:
            raise pickle.UnpicklingError(f"unsupported GLOBAL {module}.{name}")  # as torch words it
        return self._known[name]


def _read(path: Path) -> Any:
    """What is in a file, by its suffix, on the CPU."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".pkl":
            with path.open("rb") as stream:
                return _ArrayUnpickler(stream).load()
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from bytes that are no weights, the readers raise whatever they lead them to
        if called := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path} is refused: it is a pickle that wants to call {called[1]}, "
                "and weights need no more than tensors; save its state dict alone"
            ) from None
        with path.open("rb") as stream:
            page = stream.read(512).lstrip().startswith(b"<")
        # of what torch says when it cannot read a pickle, the most is advice to read it without the protection
        reason = (
            "it is a web page"
            if page
            else f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0].rstrip(": ")
        )
        raise WeightsError(f"{path} is not weights, or broken ({reason}); fetch it again") from None


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    wrappers = [key for key in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)]
    if len(wrappers) > 1:
        raise WeightsError(
            f"{path} holds several state dicts, {' and '.join(wrappers)}; save the one that is meant alone"
        )
    state_dict: object = content[wrappers[0]] if wrappers else content
    if not isinstance(state_dict, dict) or not state_dict:
        raise WeightsError(
            f"{path} holds no tensors but {type(state_dict).__name__}; give a checkpoint or a state dict"
        )
    import numpy as np

    tensors = {}
    for name, value in state_dict.items():
        tensor: object = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path} is no state dict: {name!r} in it is {type(value).__name__} and not a tensor")
        tensors[name] = tensor
    return tensors


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file in, which takes the place of `path` if all goes well and else vanishes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _save(tensors: Mapping[str, Tensor], path: Path, *, wrap: bool = False) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with _whole_file(path) as temporary:
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
            "tag": folder.suffix.removeprefix(".") or "converted",
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
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _save(tensors, temporary / "model.safetensors")
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _card(source: Path, found: str, architecture: str, report: KeyReport) -> str:
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"""---
library_name: timm
license: other
tags: [image-feature-extraction, timm, pri3d]
---
# {architecture}, converted

By `pri3d-zoo convert` from the file `{source.name}` ({found} names, SHA-256 `{digest}`).
Its tensors beside those of {architecture}: {report.summary()}.

Nothing was trained, and no tensor was changed. Licence, training data and results of that file are not known to the
converter; the terms of its origin hold for these weights.

```python
import pri3d_zoo

model = pri3d_zoo.create_model("{architecture}_pri3d_joint", checkpoint_path="this folder")  # or _view, or _geo
```
"""
