"""Finds weight files and hands them to timm; the wording of what a user sees when there are none.

A weight folder has the shape of a Hub repository of timm's: `model.safetensors`, `config.json` and `README.md`.
It is looked for in this order: the path given; `<model>.<tag>/` in the folder named by the environment variable
`PRI3D_WEIGHTS`; `<model>.<tag>/` in the folder `bundled` of this package; the Hub, where the table says, cache first.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs
from torch import Tensor, nn

from . import weights
from .convert import compare_keys, describe_state_dict, printable
from .download import cached, download, fault_of, first_line
from .image_facts import facts_of
from .names import ModelName, parse_name
from .weights import BUNDLED, BUNDLED_FOLDER, CONFIG_FILE, WEIGHT_FILE, Weights, WeightsError

ENVIRONMENT_VARIABLE = "PRI3D_WEIGHTS"
CONVERT = "pri3d-zoo convert CHECKPOINT FOLDER --to timm"


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
        rows = [row for row in weights.TABLE if row.model == model and row.location is not None]
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
    elif isinstance(pretrained_cfg, str) and weights.find_row(variant, pretrained_cfg) is None:
        pretrained_cfg = None  # the tag of a folder: timm knows none but the table's
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
    if pretrained:
        # transformers 5 resets the statistics of batch norms without this mark after its TimmBackbone has loaded them
        for module in model.modules():
            module._is_hf_initialized = True  # type: ignore[assignment]
    return model


def find_weights(
    model: str,
    tag: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """The readable `.safetensors` file of a model, from `path` (a weight folder or a file) or the other places.

    A row of the table is pinned to one commit, which is the revision that is downloaded; another revision of a
    repository is a matter of timm's: `timm.create_model("hf-hub:owner/name@revision", pretrained=True)`.

    Raises:
        WeightsError: it is nowhere, or what is there is broken; the message goes through all the places.
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
            return _verified(_weight_file(model, folder), bundled=root == BUNDLED_FOLDER)
    name = f"{model}.{tag}" if tag else model
    row = weights.find_row(model, tag)
    if row is None:
        close = weights.close_names(name)
        reasons.append("no such weights are published" + (f" (did you mean {', '.join(close)}?)" if close else ""))
    elif row.location is None:
        reasons.append("they are not published yet")
    elif row.location == BUNDLED:
        reasons.append("this copy of the package came without them")
    else:
        try:
            return _weight_file(model, download(row, cache_dir))
        except WeightsError as error:
            reasons.append(str(error))
    raise WeightsError(f"no weights for {name}: {'; '.join(reasons)}. Instead, {way_out(model, row)}.")


def way_out(model: str, row: Weights | None = None) -> str:
    """What to do without published weights of a model, as the end of a sentence; `row` knows the command best."""
    name = parse_name(model) or ModelName("ENCODER", "METHOD")
    dense = " --dense" if name.dense else ""
    command = f"pri3d-train pretrain model.encoder={name.encoder} loss.method={name.method} data.store=STORE run=RUN"
    if row is not None and row.command:
        command = row.command
    return (
        "pass a weight folder or a .safetensors file as checkpoint_path= "
        '(bare timm: timm.create_model("local-dir:FOLDER", pretrained=True)); '
        f"train them with `{command}` and `pri3d-train export RUN FOLDER{dense}`; "
        f"make such a folder of the authors' checkpoint with `{CONVERT}`; "
        "or ask for random weights with pretrained=False"
    )


WAY_OUT = way_out("MODEL")


def available(model: str) -> dict[str, str]:
    """The tags of a model whose weights can be had here, each with the place: a folder, or `owner/name@commit`."""
    places = {}
    for row in weights.TABLE:
        if row.model == model and row.location not in (None, BUNDLED):
            places[row.tag] = row.location
    for _, root in reversed(list(_local_roots())):
        for folder in _folders(model, root) if root is not None else []:
            if (folder / WEIGHT_FILE).is_file():
                places[folder.name.split(".", 1)[1]] = str(folder)
    return places


def models_at_hand() -> set[str]:
    """The names for which `available` finds weights, or what folders say in the place of such a name."""
    names = {row.model for row in weights.TABLE if row.location not in (None, BUNDLED)}
    folders = (folder for _, root in _local_roots() if root is not None for folder in _folders("*", root))
    return names | {folder.name.split(".", 1)[0] for folder in folders}


def row_at(model: str, tag: str, place: str) -> Weights | None:
    """The row of the table whose bytes lie at a place of `available`.

    `None` for a folder of the user's own, be it under a name of the table: nobody has compared what is in it.
    """
    row = weights.find_row(model, tag)
    if row is None:
        return None
    return row if place == (str(BUNDLED_FOLDER / row.name) if row.location == BUNDLED else row.location) else None


def config_at_hand(model: str, tag: str, place: str, cache_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """What weights at a place of `available` say of their images, as `read_config`; empty if they are not here yet.

    Raises:
        WeightsError: as `read_config`.
    """
    row = row_at(model, tag, place)
    if row is None or row.location == BUNDLED:
        return read_config(model, tag, Path(place) / WEIGHT_FILE)
    config = cached(row, CONFIG_FILE, cache_dir)
    return read_config(model, tag, config.with_name(WEIGHT_FILE)) if config is not None else {}


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
        architecture, cfg = str(config["architecture"]), dict(config["pretrained_cfg"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{config_file} is not a timm configuration: {error!r}; export the weights again") from error
    if not _is_of(model, architecture, config.get("model_args")):
        raise WeightsError(
            f"{file.parent} holds {printable(architecture)}, not {model}; ask for the model that it holds"
        )
    said = facts_of(cfg, config_file)
    if tag and said.get("tag", tag) != tag:
        raise WeightsError(
            f"{file.parent} holds {model}.{printable(said['tag'])}, not {model}.{tag}; ask for the tag that it holds"
        )
    return said


def check_state_dict(variant: str, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file in float32, once they are known to be exactly those of the model without its head.

    timm loads a file loosely when a new head is asked for, so that a wrong file would go unnoticed; this does not.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape.
    """
    cfg: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    expected = {key: value for key, value in model.state_dict().items() if not key.startswith(f"{cfg['classifier']}.")}
    report = compare_keys(state_dict, expected)
    first_conv = f"{cfg['first_conv']}.weight"  # timm adapts it to other numbers of channels than the file's
    if first_conv in report.mismatched and state_dict[first_conv].shape[1] == cfg["input_size"][0]:
        report = replace(report, mismatched=tuple(key for key in report.mismatched if key != first_conv))
    if not report.fits:
        source = cfg.get("file") or cfg.get("hf_hub_id") or cfg.get("url") or "the state dict"
        raise WeightsError(
            f"{source} does not fit {variant}: it seems to hold {describe_state_dict(state_dict)}; "
            f"tensors: {report.summary()}"
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in state_dict.items()}


def _is_of(model: str, architecture: str, arguments: Any) -> bool:
    """Whether a configuration is of a model, be it by the zoo's name or by that which timm builds the network by."""
    parsed = parse_name(model)
    if architecture == "resunet" and parsed is not None:
        return parsed.dense and isinstance(arguments, dict) and arguments.get("encoder_name") == parsed.encoder
    return architecture in (model, model.partition("_pri3d_")[0])


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
        if (path / "checkpoint.pt").is_file():
            raise WeightsError(
                f"{path} is the folder of a run; `pri3d-train export {path} FOLDER` makes a weight folder"
            )
        if missing := [name for name in (CONFIG_FILE, WEIGHT_FILE) if not (path / name).is_file()]:
            raise WeightsError(
                f"{path} is no weight folder for {model}: {' and '.join(missing)} missing; {way_out(model)}"
            )
        file = path / WEIGHT_FILE
    elif not path.exists():
        raise WeightsError(f"no weights for {model}: {path} does not exist; {way_out(model)}")
    elif path.suffix != ".safetensors":
        raise WeightsError(
            f"{path} is not read for {model}: weights come as .safetensors only, as a pickle can run code; "
            f"make one of it with `{CONVERT}`"
        )
    try:
        with safe_open(file, framework="pt"):
            return file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is broken ({first_line(error)}); fetch or export {model} again") from error


def _verified(file: Path, bundled: bool) -> Path:
    # what lies in PRI3D_WEIGHTS is the user's own, even under a name of the table
    row = weights.find_row(*file.parent.name.split(".", 1)) if bundled else None
    if row is not None and row.location == BUNDLED and (fault := fault_of(row, file)):
        raise WeightsError(f"{file} is not {row.name}: {fault}; install the package again")
    return file


def _timm_source(row: Weights) -> dict[str, str]:
    if row.location == BUNDLED:
        return {"file": str(BUNDLED_FOLDER / row.name / WEIGHT_FILE)}
    return {"hf_hub_id": str(row.location), "hf_hub_filename": WEIGHT_FILE}
