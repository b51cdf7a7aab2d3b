"""From a run to a weight folder of the zoo: model.safetensors, config.json and README.md, as on the Hub."""

import json
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import pri3d_zoo
from pri3d_zoo.files import whole_folder
from pri3d_zoo.names import METHODS, ModelName
from pri3d_zoo.resunet import any_size

from .config import Config, Correspondence, DecoderKind
from .data.augment import IMAGENET_MEAN, IMAGENET_STD
from .errors import InputError
from .run_folder import run_environment, trained_model, trained_network

_PAPER = """Pri3D ({}) by `pri3d-zoo`, after *Pri3D: Can 3D Priors Help 2D Representation
Learning?* (ICCV 2021, arXiv 2104.11225)"""
_BASELINE = """MoCo v2 by `pri3d-zoo`, on single frames: the 2D baseline of Pri3D, after *Improved Baselines with
Momentum Contrastive Learning* (arXiv 2003.04297)"""


def export(
    run: Path,
    out: Path,
    *,
    dense: bool = False,
    tag: str | None = None,
    licence: str | None = None,
    half: bool = False,
) -> str:
    """Write the backbone of a run as a weight folder, which appears whole or not at all.

    Args:
        run: Folder of a pre-training run.
        out: The folder to write; it must not exist yet, for a weight folder is never changed.
        dense: Encoder and decoder (``resunet*``) rather than the encoder alone.
        tag: What follows the dot in the name of the weights; by default what does in that of the folder, without a dot
            ``local``.
        licence: Of the weights, as the Hub names it (``apache-2.0``); needed before they can be published.
        half: Convolutions and linear maps in float16, for half the bytes; a model loads them into its float32.

    Returns:
        The name of the model, such as ``resnet18_pri3d_joint``; ``loading_code`` says how it is loaded.

    Raises:
        InputError: The run has no checkpoint, ``out`` exists, or a weight is beyond float16.
    """
    if out.exists():
        raise InputError(f"{out} exists already; weight folders are not overwritten: give another, or remove it")
    tag = tag or out.name.partition(".")[2] or "local"
    config, model = trained_model(run) if dense else trained_network(run)
    encoder = config.model.encoder
    name = str(ModelName(encoder, config.loss.method, dense))
    if config.loss.method not in METHODS:
        name = f"{encoder}_{config.loss.method}"
    untrained: list[str] = []
    if dense:
        tensors = model.backbone.state_dict()
        light = config.model.decoder != DecoderKind.authors  # which no name of the zoo stands for
        registered = name in pri3d_zoo.list_models() and not light
        architecture = {"architecture": name} if registered else {"architecture": "resunet"}
        model_args: dict[str, str | bool] = {} if registered else {"encoder_name": encoder}
        if light:
            model_args["decoder"] = str(config.model.decoder)
    else:
        tensors, untrained = whole_encoder(encoder, model.backbone.encoder)
        architecture, model_args = {"architecture": encoder}, dict(any_size(encoder))  # a name that bare timm knows
    height, width = config.size
    first_conv = timm.get_pretrained_cfg_value(encoder, "first_conv")
    pretrained_cfg = {
        "tag": tag,
        "input_size": [3, height, width],
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "first_conv": f"encoder.{first_conv}" if dense else first_conv,
        "num_classes": 0,
    }
    model_config = architecture | {
        "num_classes": 0,
        "num_features": (model.backbone if dense else model.backbone.encoder).num_features,
        "pretrained_cfg": pretrained_cfg,
        "model_args": model_args,
    }
    with whole_folder(out) as temporary:
        tensors = {key: value.contiguous() for key, value in tensors.items()}  # they are channels last
        if half:
            tensors = {key: in_half(key, value) for key, value in tensors.items()}
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        (temporary / "config.json").write_text(json.dumps(model_config, indent=2) + "\n", encoding="utf-8")
        card = model_card(config, name, tag, run, licence, untrained, dense, half)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return name


def whole_encoder(name: str, trained: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """All tensors of timm's model without its classifier, and the names of those that training has not touched.

    A dense model has no use for what some encoders have behind their last stage (a norm, a convolution), but timm wants
    it in the file: it is as timm initialises it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = timm.create_model(name, num_classes=0).state_dict()
    tensors = trained.state_dict()
    return whole | tensors, [key for key in whole if key not in tensors]


def in_half(name: str, tensor: Tensor) -> Tensor:
    """A weight of two dimensions or more in float16; what is left, batch norms and offsets, has small numbers in it,
    and few, so that it stays as it is.

    Raises:
        InputError: It has values that float16 cannot hold.
    """
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not torch.isfinite(halved).all():
        raise InputError(f"{name} reaches {tensor.abs().max():g}, beyond float16; export it without --half")
    return halved


def loading_code(config: Config, name: str, folder: str, *, dense: bool) -> str:
    """The call that makes the model of a weight folder."""
    if config.loss.method not in METHODS:  # the zoo has no name for it
        return f'timm.create_model("local-dir:{folder}", pretrained=True)'
    decoder = f', decoder="{config.model.decoder}"' if dense and config.model.decoder != DecoderKind.authors else ""
    return f'pri3d_zoo.create_model("{name}", checkpoint_path="{folder}"{decoder})'


def model_card(
    config: Config,
    name: str,
    tag: str,
    run: Path,
    licence: str | None,
    untrained: Sequence[str],
    dense: bool,
    half: bool,
) -> str:
    """The README of a weight folder, with Hub front matter. It states how the weights were made, and no result."""
    environment = run_environment(run)
    command = environment.pop("command")
    initialisation = environment.pop("initialisation", config.init)  # runs of before it was written down
    folders = [Path(store).name for store in (config.data.store, *config.data.more_stores)]
    stores = f"the store `{folders[0]}`" if len(folders) == 1 else f"the stores `{'`, `'.join(folders)}`"
    scenes = "all scenes" + (f" but {', '.join(config.data.holdout)}" if config.data.holdout else "")
    ours = config.loss.method in METHODS
    behind = f"\nBehind the last stage, so not trained: {', '.join(untrained)}.\n" if untrained else ""
    return f"""---
library_name: timm
tags: [image-feature-extraction, timm, pri3d]{f"{chr(10)}license: {licence}" if licence else ""}
---
# {name}.{tag}

Pre-trained with {_PAPER.format(config.loss.method) if ours else _BASELINE}.

```python
import {"pri3d_zoo" if ours else "timm"}

model = {loading_code(config, name, "this folder", dense=dense)}
```

| | |
| --- | --- |
| data | {stores}, {scenes} |
| terms | those of that data hold for these weights |
| initialisation | {initialisation} |
| steps | {config.steps} of {config.batch_size} pairs at {config.size[0]}x{config.size[1]}, seed {config.seed} |
{_loss_rows(config) if ours else f"| loss | {config.loss.method} |"}
| optimiser | SGD, learning rate {config.optimizer.lr}, momentum {config.optimizer.momentum}, \
weight decay {config.optimizer.weight_decay} |
| command | `{command}` |
| made with | {", ".join(f"{key} {value}" for key, value in environment.items())} |
| stored in | {"float16, batch norms and offsets in float32" if half else "float32"} |
{behind}
Convolutions before a batch norm have the norms that they had before training, which changes nothing in what the network
computes but lets fine-tuning move them.

Not measured here: what these weights are worth on a task; `pri3d-train probe` says how well their features match.
"""


def _loss_rows(config: Config) -> str:
    loss = config.loss
    what = "depths" if loss.correspondence == Correspondence.depth else "3D positions"
    voxels = "a voxel" if loss.voxel_radius is None else f"{loss.voxel_radius} m"
    head = f", depth head of weight {loss.depth_weight}" if loss.depth_weight else ""
    return f"""| loss | {loss.method}, temperature {loss.temperature}, {loss.matches} matches a pair{head} |
| matches | {what} of pixels within {loss.radius} m, of pixels and voxels within {voxels} |
| decoder in training | {config.model.decoder} |"""
