"""Fuzzes weight folders, safetensors and config.json: `python fuzz/weights.py -max_total_time=600`.

An input is a zip archive of the two files, either of which is changed; the network is a very small ResNet.
"""

import warnings
from pathlib import Path

import common
import torch
from PIL import Image
from safetensors.torch import save
from timm.models.resnet import BasicBlock, ResNet

with common.instrumented:
    from pri3d_zoo.factory import create_transform
    from pri3d_zoo.hub import build_model
    from pri3d_zoo.weights import WeightsError

MODEL = "resnet18_pri3d_joint"
SMALL = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (2, 2, 2, 2), "stem_width": 2}
CONFIG = b"""{"architecture": "resnet18", "num_classes": 0, "model_args": {}, "pretrained_cfg": {"tag": "rooms",
"input_size": [3, 24, 32], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "interpolation": "bilinear",
"crop_pct": 1.0, "crop_mode": "center", "license": "other", "num_classes": 0}}"""


def load(file: Path) -> torch.nn.Module:
    """The way of `create_model(..., checkpoint_path=...)`, but for the size of the network."""
    return build_model(ResNet, MODEL, True, pretrained_cfg_overlay={"file": str(file)}, num_classes=0, **SMALL)


def check(data: bytes, folder: Path) -> None:
    """What loads is the file's, bit for bit, and with its configuration an image can be brought into the network."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    for name, content in common.unpack(data).items():
        if name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes(content)
    model = load(folder)
    image = create_transform(model)(Image.new("RGB", (40, 30)))
    assert image.dtype == torch.float32
    assert image.shape[0] == 3
    assert image.numel() < 10**8


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # timm's own
    weights = save(ResNet(num_classes=0, **SMALL).state_dict())
    seeds = [common.pack({"config.json": CONFIG, "model.safetensors": weights})]
    words = ["input_size", "architecture", "model_args", "test_input_size", "crop_mode", "F16", "BF16", "I64", "BOOL"]
    common.fuzz(check, seeds, refusals=(WeightsError,), words=words, archive=True)
