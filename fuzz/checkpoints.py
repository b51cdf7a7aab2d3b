"""Fuzzes the converter of pickled checkpoints: `python fuzz/checkpoints.py -max_total_time=600`.

An input is a checkpoint of torch's, a zip archive whose pickle is changed, or a pickle of NumPy's arrays.
"""

import io
import pickle
import shutil
import warnings
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import common
import numpy as np
import timm
import torch
from torch._weights_only_unpickler import Unpickler

with common.instrumented:
    from pri3d_zoo.convert import convert_state_dict, expected_unet3d
    from pri3d_zoo.convert_files import convert_file
    from pri3d_zoo.weights import WeightsError

ENCODER = ("conv1.weight", "bn1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight")
TARGETS = (("timm", "timm.safetensors"), ("detectron2", "d2.pkl"), ("minkowski", "unet3d.safetensors"))
UNET3D = [f"block{stage}.0.conv1.kernel" for stage in range(1, 9)]


def tensors(names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Small ones; the converter is told to put up with what is missing and of another shape."""
    return {name: torch.full((2, 1), 0.5) for name in names}


def saved(content: object) -> bytes:
    """A checkpoint of torch's."""
    data = io.BytesIO()
    torch.save(content, data)
    return data.getvalue()


def check(data: bytes, folder: Path) -> None:
    """It is converted, to one format or another, or refused; and nothing else is left behind."""
    source = folder / ("checkpoint.pth" if data[:2] == b"PK" else "checkpoint.pkl")
    source.write_bytes(data)
    target, name = TARGETS[zlib.crc32(data) % len(TARGETS)]
    try:
        convert_file(source, folder / name, target, model="resnet18", allow_mismatch=True)
        assert (folder / name).is_file()
    finally:
        left = {path.name for path in folder.iterdir()}
        shutil.rmtree(folder)
        folder.mkdir()
        assert left <= {source.name, name}, left


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # torch's own
    Unpickler.load = common.atheris.instrument_func(Unpickler.load)  # torch's, in Python: leads deeper into a pickle
    timm.create_model = cache(timm.create_model)  # the networks to compare with, which are always the same
    encoder = convert_state_dict(tensors(ENCODER), "timm", "pri3d")
    arrays = {
        name: tensor.numpy() for name, tensor in convert_state_dict(tensors(ENCODER), "timm", "detectron2").items()
    }
    seeds = [
        saved(tensors(ENCODER)),
        saved({"model": encoder, "iteration": 3}),
        saved({"state_dict": {f"module.{name}": tensor for name, tensor in encoder.items()}}),
        saved(convert_state_dict(tensors(expected_unet3d(tensors(UNET3D))), "minkowski", "pri3d", part="unet3d")),
        *(pickle.dumps({"model": arrays, "x": np.float32(3)} if x else arrays, protocol=x) for x in (0, 2, 4, 5)),
    ]
    common.fuzz(check, seeds, refusals=(WeightsError,), archive=True)
