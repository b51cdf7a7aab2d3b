"""From a run to a weight folder of the zoo: model.safetensors, config.json and README.md, as on the Hub."""

import json
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from .config import Config
from .data.augment import IMAGENET_MEAN, IMAGENET_STD
from .errors import InputError
from .pretrain import run_environment, trained_model


def export(run: Path, out: Path, *, dense: bool = False, tag: str = "local") -> str:
    """Write the backbone of a run as a weight folder, which appears whole or not at all.

    Args:
        run: Folder of a pre-training run.
        out: The folder to write; it must not exist yet, for a weight folder is never changed.
        dense: Encoder and decoder (``resunet*``) rather than the encoder alone.
        tag: What follows the dot in the name of the weights.

    Returns:
        The name of the model that loads it, such as ``resnet18_pri3d_joint``.

    Raises:
        InputError: The run has no checkpoint, or ``out`` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists already; weight folders are not overwritten: give another, or remove it")
    config, model = trained_model(run)
    name = model_name(config, dense)
    backbone = model.backbone if dense else model.backbone.encoder
    height, width = config.size
    pretrained_cfg = {
        "tag": tag,
        "input_size": [3, height, width],
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "first_conv": "encoder.conv1" if dense else "conv1",
        "num_classes": 0,
    }
    model_config = {
        # bare timm builds an encoder by its own name; a dense model is registered by `import pri3d_zoo`
        "architecture": name if dense else config.model.encoder,
        "num_classes": 0,
        "num_features": backbone.num_features,
        "pretrained_cfg": pretrained_cfg,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        tensors = {key: value.contiguous() for key, value in backbone.state_dict().items()}  # they are channels last
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        (temporary / "config.json").write_text(json.dumps(model_config, indent=2) + "\n")
        (temporary / "README.md").write_text(model_card(config, name, tag, run))
        temporary.chmod(0o755)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


def model_name(config: Config, dense: bool) -> str:
    """The zoo's name of what a run trains: encoder, method, and whether the decoder is with it."""
    encoder = config.model.encoder
    if dense:
        encoder = encoder.replace("resnet", "resunet", 1) if encoder.startswith("resnet") else f"resunet_{encoder}"
    return f"{encoder}_pri3d_{config.loss.method}"


def model_card(config: Config, name: str, tag: str, run: Path) -> str:
    """The README of a weight folder, with Hub front matter. It states how the weights were made, and no result."""
    environment = run_environment(run)
    command = environment.pop("command")
    scenes = "all of its scenes" + (f" but {', '.join(config.data.holdout)}" if config.data.holdout else "")
    return f"""---
library_name: timm
tags: [image-feature-extraction, timm, pri3d]
---
# {name}.{tag}

Pre-trained with Pri3D ({config.loss.method}) by `pri3d-zoo`, after *Pri3D: Can 3D Priors Help 2D Representation
Learning?* (ICCV 2021, arXiv 2104.11225).

```python
import pri3d_zoo

model = pri3d_zoo.create_model("{name}", checkpoint_path="this folder")
```

| | |
| --- | --- |
| data | the store `{Path(config.data.store).name}`, {scenes}; the terms of that data hold for these weights |
| initialisation | {config.init} |
| steps | {config.steps} of {config.batch_size} pairs at {config.size[0]}x{config.size[1]}, seed {config.seed} |
| loss | {config.loss.method}, temperature {config.loss.temperature}, {config.loss.matches} matches a pair |
| optimiser | SGD, learning rate {config.optimizer.lr}, momentum {config.optimizer.momentum}, \
weight decay {config.optimizer.weight_decay} |
| command | `{command}` |
| made with | {", ".join(f"{key} {value}" for key, value in environment.items())} |

Not measured here: what these weights are worth on a task; `pri3d-train probe` says how well their features match.
"""
