"""Finds weight files, verifies them, and hands them to timm; the wording of every error about weights.

A weight folder has the shape of a Hub repository of timm's: `model.safetensors`, `config.json` and `README.md`.
It is looked for in this order: the path given; `<model>.<tag>/` in the folder named by the environment variable
`PRI3D_WEIGHTS`; `<model>.<tag>/` in the folder `bundled` of this package; the Hub, where the table says.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from safetensors import SafetensorError, safe_open
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs
from torch import Tensor, nn

from . import weights
from .weights import BUNDLED, Weights, WeightsError

ENVIRONMENT_VARIABLE = "PRI3D_WEIGHTS"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"
WEIGHT_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
WAY_OUT = (
    "pass a weight folder or a .safetensors file as checkpoint_path=, "
    "make one from your own RGB-D video with `pri3d-train pretrain` and `pri3d-train export`, "
    "or ask for random weights with pretrained=False"
)

# What a folder's config.json may say about the images its weights want and where they come from. The rest of a timm
# configuration (head, first convolution) follows from the model and is not taken from files.
_FROM_CONFIG = frozenset(
    (
        *("input_size", "test_input_size", "min_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode"),
        *("mean", "std", "tag", "license", "description", "origin_url", "paper_name", "paper_ids", "notes"),
    )
)


def pretrained_cfgs(models: list[str], *, first_conv: str, classifier: str) -> Any:
    """timm's `default_cfgs` of models without a classifier in their files, with the published rows as their tags."""
    cfg = {
        "input_size": (3, 240, 320),  # the size that Pri3D pre-trains at
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "num_classes": 0,
        "first_conv": first_conv,
        "classifier": classifier,
        "paper_ids": "arXiv:2104.11225",
    }
    cfgs = {}
    for model in models:
        rows = [row for row in weights.TABLE if row.model == model]
        cfgs.update({row.name: cfg | {"license": row.licence} | _timm_source(row) for row in rows} or {model: cfg})
    return generate_default_cfgs(cfgs)


def build_model(
    model_cls: Callable[..., nn.Module],
    variant: str,
    pretrained: bool,
    *,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """timm's `build_model_with_cfg`, with weights from the places of this module and loaded strictly.

    A source that the caller names in timm's own way (a folder, a file, a Hub repository, a URL) is used as it is.

    Raises:
        WeightsError: no weights were found, or what was found does not fit.
    """
    if pretrained:
        given = pretrained_cfg.to_dict() if isinstance(pretrained_cfg, PretrainedCfg) else pretrained_cfg
        given = given if isinstance(given, Mapping) else {}
        given = {key: value for key, value in {**given, **(pretrained_cfg_overlay or {})}.items() if value is not None}
        if not given.keys() & {"url", "state_dict", "hf_hub_id"}:
            tag = pretrained_cfg if isinstance(pretrained_cfg, str) else None
            file = find_weights(variant, tag, path=given.get("file"), cache_dir=cache_dir)
            # timm merges the overlay into the registered configuration and reads `file` before any other source
            pretrained_cfg = None
            pretrained_cfg_overlay = read_config(variant, tag, file) | given | {"file": str(file), "source": None}
    model: nn.Module = build_model_with_cfg(
        model_cls,
        variant,
        pretrained,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=pretrained_cfg_overlay,
        pretrained_filter_fn=partial(check_state_dict, variant),
        cache_dir=cache_dir,
        **kwargs,
    )
    return model


def find_weights(
    model: str,
    tag: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """The readable `.safetensors` file of a model, from `path` (a weight folder or a file) or the other places.

    Raises:
        WeightsError: it is nowhere, or what is there is broken.
    """
    if path is not None:
        return _weight_file(model, Path(path))
    reasons = []
    for place, root in _local_roots():
        if root is None or not root.is_dir():
            reasons.append(f"{place} is not set" if root is None else f"{place} ({root}) is not there")
        elif (folder := _choose_folder(model, tag, root)) is None:
            reasons.append(f"{place} ({root}) has no folder {model}.{tag or '*'}")
        else:
            file = _weight_file(model, folder)
            row = weights.find_row(*folder.name.split(".", 1))
            return _verify(row, file) if row is not None and row.location == BUNDLED else file
    row = weights.find_row(model, tag)
    if row is None:
        reasons.append("no such weights are published")
    elif row.location == BUNDLED:
        reasons.append("this copy of the package came without them")
    else:
        try:
            return _download(row, cache_dir)
        except WeightsError:
            raise
        # huggingface_hub raises from half a dozen unrelated families (HTTP client, OSError, its own); all mean the same
        except Exception as error:
            reasons.append(f"{row.location} on the Hub could not be fetched ({_first_line(error)})")
    raise WeightsError(f"no weights for {model}{'.' + tag if tag else ''}: {'; '.join(reasons)}. Instead, {WAY_OUT}.")


def available(model: str) -> dict[str, str]:
    """The tags of a model whose weights can be had here, each with the place: a folder, or `owner/name@commit`."""
    places = {}
    for row in weights.TABLE:
        if row.model == model and row.location != BUNDLED:
            places[row.tag] = row.location
    for _, root in reversed(list(_local_roots())):
        for folder in _folders(model, root) if root is not None else []:
            if (folder / WEIGHT_FILE).is_file():
                places[folder.name.split(".", 1)[1]] = str(folder)
    return places


def read_config(model: str, tag: str | None, file: Path) -> dict[str, Any]:
    """What the `config.json` beside a weight file says, in timm's terms; empty for a file outside a weight folder.

    Raises:
        WeightsError: the file is not JSON, or says that the weights are of another model or tag.
    """
    config_file = file.parent / CONFIG_FILE
    if file.name != WEIGHT_FILE or not config_file.is_file():
        return {}
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        architecture, cfg = config["architecture"], dict(config["pretrained_cfg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{config_file} is not a timm configuration: {error!r}; export the weights again") from error
    # encoders are published under timm's own name, so that bare timm loads them too
    if architecture not in (model, model.split("_pri3d_")[0]):
        raise WeightsError(f"{file.parent} holds {architecture}, not {model}; ask for the model that it holds")
    if tag and cfg.get("tag", tag) != tag:
        raise WeightsError(
            f"{file.parent} holds {model}.{cfg['tag']}, not {model}.{tag}; ask for the tag that it holds"
        )
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in cfg.items() if key in _FROM_CONFIG
    }


def check_state_dict(variant: str, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file in float32, once they are known to be exactly those of the model without its head.

    timm loads a file loosely when a new head is asked for, so that a wrong file would go unnoticed; this does not.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape.
    """
    cfg: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    expected = {key: value for key, value in model.state_dict().items() if not key.startswith(f"{cfg['classifier']}.")}
    first_conv = f"{cfg['first_conv']}.weight"  # timm adapts it to other numbers of channels than the file's
    faults = {
        "missing": [key for key in expected if key not in state_dict],
        "unexpected": [key for key in state_dict if key not in expected],
        "of another shape": [
            key
            for key, value in expected.items()
            if key in state_dict
            and state_dict[key].shape != value.shape
            and not (key == first_conv and state_dict[key].shape[1] == cfg["input_size"][0])
        ],
    }
    if any(faults.values()):
        listed = "; ".join(
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in faults.items()
            if keys
        )
        source = cfg.get("file") or cfg.get("hf_hub_id") or cfg.get("url") or "the state dict"
        raise WeightsError(
            f"{source} does not fit {variant}: it seems to hold {describe_state_dict(state_dict)}; tensors {listed}"
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in state_dict.items()}


def describe_state_dict(state_dict: Mapping[str, Tensor]) -> str:
    """What a file seems to hold, judged by its keys, for the eyes of a person."""
    if any(key.startswith("backbone.") for key in state_dict):
        return "a pre-training checkpoint with its heads, which has to be exported first"
    dense = any(key.startswith("decoder.") for key in state_dict)
    keys = {key.removeprefix("encoder.") for key in state_dict}
    blocks = {tuple(key.split(".")[:2]) for key in keys if key.startswith("layer")}
    if not blocks or "conv1.weight" not in keys:
        return f"something other than a ResNet (first key {next(iter(state_dict), 'none')!r})"
    # three convolutions a block or two, one before the blocks, one classifier after them: the customary count
    depth = len(blocks) * (3 if "layer1.0.conv3.weight" in keys else 2) + 2
    kind = f"a dense model, resunet{depth}" if dense else f"an encoder, resnet{depth}"
    return kind + (", with a classifier" if "fc.weight" in keys else "")


def _local_roots() -> Iterator[tuple[str, Path | None]]:
    root = os.environ.get(ENVIRONMENT_VARIABLE)
    yield ENVIRONMENT_VARIABLE, Path(root) if root else None
    yield "the package's own folder", BUNDLED_FOLDER


def _folders(model: str, root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob(f"{model}.*") if folder.is_dir())


def _choose_folder(model: str, tag: str | None, root: Path) -> Path | None:
    folders = {folder.name.split(".", 1)[1]: folder for folder in _folders(model, root)}
    if tag is None and len(folders) > 1:
        default = weights.find_row(model)
        if default is None or default.tag not in folders:
            names = ", ".join(f"{model}.{found}" for found in folders)
            raise WeightsError(f"{root} has several weights for {model}: ask for one of {names}")
        tag = default.tag
    return next(iter(folders.values()), None) if tag is None else folders.get(tag)


def _weight_file(model: str, path: Path) -> Path:
    file = path
    if path.is_dir():
        if missing := [name for name in (CONFIG_FILE, WEIGHT_FILE) if not (path / name).is_file()]:
            raise WeightsError(f"{path} is no weight folder for {model}: {' and '.join(missing)} missing; {WAY_OUT}")
        file = path / WEIGHT_FILE
    elif not path.exists():
        raise WeightsError(f"no weights for {model}: {path} does not exist; {WAY_OUT}")
    elif path.suffix != ".safetensors":
        raise WeightsError(
            f"{path} is not read for {model}: weights come as .safetensors only, as a pickle can run code; "
            "convert it with safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
        )
    try:
        with safe_open(file, framework="pt"):
            return file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is broken ({_first_line(error)}); fetch or export {model} again") from error


def _download(row: Weights, cache_dir: str | os.PathLike[str] | None) -> Path:
    repository, _, commit = row.location.partition("@")
    fetch = partial(hf_hub_download, repository, revision=commit, cache_dir=cache_dir)
    fetch(CONFIG_FILE)
    return _weight_file(row.model, _verify(row, Path(fetch(WEIGHT_FILE))))


def _verify(row: Weights, file: Path) -> Path:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != row.sha256:
        raise WeightsError(
            f"{file} is not {row.name}: its SHA-256 is {found}, the table says {row.sha256}; delete it and try again"
        )
    return file


def _timm_source(row: Weights) -> dict[str, str]:
    if row.location == BUNDLED:
        return {"file": str(BUNDLED_FOLDER / row.name / WEIGHT_FILE)}
    return {"hf_hub_id": row.location, "hf_hub_filename": WEIGHT_FILE}


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
