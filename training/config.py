"""The configuration of a run: dataclasses with the authors' values as defaults, and recipes that override them.

``load_config("demo", ["steps=10", "data.store=rooms"])`` merges, in this order: the defaults below, the recipe's YAML
file, the ``key=value`` arguments. A key that does not exist is an error, wherever it stands.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .errors import InputError, first_line
from .files import write_whole

RECIPES = Path(__file__).parent / "recipes"


class Method(StrEnum):
    """Which correspondences are learned from (paper, sections 3.1 to 3.3)."""

    view = "view"
    geo = "geo"
    joint = "joint"


class Precision(StrEnum):
    """What the networks compute in; losses and geometry stay in float32."""

    auto = "auto"  # bf16 where the device multiplies it natively, else float32
    float32 = "float32"
    bf16 = "bf16"


@dataclass
class DataConfig:
    """Where pairs come from."""

    store: str = MISSING
    more_stores: list[str] = field(default_factory=list)  # further folders, whose pairs are mixed in
    # of store and of each of more_stores: their shares of the pairs; none: all pairs alike, as in the authors' mixture
    weights: list[float] = field(default_factory=list)
    holdout: list[str] = field(default_factory=list)  # scenes never trained on
    min_overlap: float = 0.0  # leaves out pairs of the store that share less; closer views make an easier lesson
    workers: int = 2  # loader processes
    augment: bool = True  # colour jitter, grey and blur, as the authors
    geometric: bool = False  # random crop, scale and mirror image of each view; the authors did without


@dataclass
class ModelConfig:
    """The two networks."""

    encoder: str = "resnet50"  # a name of timm's
    unet3d: str = "minkunet34c"


@dataclass
class LossConfig:
    """What is contrasted with what."""

    method: Method = Method.joint
    matches: int = 1024  # a pair, for each loss
    temperature: float = 0.4
    radius: float = 0.02  # metres between the two 3D positions of a match
    # metres between a pixel's 3D position and the centre of its voxel; null: the store's voxel size, 2 cm in the paper
    voxel_radius: float | None = None


@dataclass
class OptimizerConfig:
    """SGD with the polynomial schedule, by step."""

    lr: float = 0.1
    momentum: float = 0.9
    dampening: float = 0.1
    weight_decay: float = 0.0
    poly_power: float = 0.9


@dataclass
class Config:
    """One pre-training run."""

    run: str = MISSING  # the folder of the run
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    init: str = "imagenet"  # scratch, imagenet, or a weight folder of the encoder
    size: list[int] = field(default_factory=lambda: [240, 320])  # height, width
    batch_size: int = 64  # pairs a step, over all processes
    accumulate: int = 1  # parts in which a process works off its share of a step
    steps: int = 65_625  # 5 epochs over 840k pairs
    seed: int = 0
    precision: Precision = Precision.auto
    log_every: int = 10
    checkpoint_every: int = 500


def load_config(recipe: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a recipe (a name in ``recipes/`` or a YAML file) with ``key=value`` overrides.

    Raises:
        InputError: Unknown recipe or key, a value of the wrong kind or out of range, a missing ``run`` or
            ``data.store``.
    """
    path = _recipe_path(recipe)
    merged: DictConfig = OmegaConf.structured(Config)
    try:
        changes = OmegaConf.load(path)
    except (YAMLError, OSError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {first_line(error)}") from None
    if not isinstance(changes, DictConfig):
        raise InputError(f"{path} holds a list; a recipe is a mapping of keys to values")
    merged = _merge(merged, changes, str(path))
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise InputError(f"'{override}' is not an override; write key=value, for example steps=300")
        try:
            dotted = OmegaConf.from_dotlist([override])
        except (YAMLError, OmegaConfBaseException) as error:
            raise InputError(f"'{override}' cannot be read: {first_line(error)}") from None
        merged = _merge(merged, dotted, "the command line")
    for key in ("run", "data.store"):
        if OmegaConf.is_missing(OmegaConf.select(merged, key.rpartition(".")[0]) or merged, key.rpartition(".")[2]):
            raise InputError(f"the recipe '{recipe}' needs {key}=FOLDER on the command line")
    config = cast(Config, OmegaConf.to_object(merged))
    _check(config)
    return config


def read_config(path: Path) -> Config:
    """The configuration that a run saved with ``save_config``."""
    try:
        merged = _merge(OmegaConf.structured(Config), cast(DictConfig, OmegaConf.load(path)), str(path))
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not the folder of a run: {path.name} is missing") from None
    except (YAMLError, OSError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None
    return cast(Config, OmegaConf.to_object(merged))


def save_config(config: Config, path: Path) -> None:
    """Write all keys, the defaults too, as YAML."""
    write_whole(path, OmegaConf.to_yaml(OmegaConf.structured(config)))


def flat_keys(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and values of a dataclass of dataclasses."""
    flat: dict[str, Any] = {}
    for name, value in vars(config).items():
        if is_dataclass(value):
            flat |= flat_keys(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _recipe_path(recipe: str) -> Path:
    if recipe.endswith((".yaml", ".yml")):
        if not Path(recipe).is_file():
            raise InputError(f"there is no recipe file {recipe}")
        return Path(recipe)
    path = RECIPES / f"{recipe}.yaml"
    if Path(recipe).name != recipe or not path.is_file():
        known = sorted(file.stem for file in RECIPES.glob("*.yaml"))
        raise InputError(f"there is no recipe '{recipe}'; there are {', '.join(known)}, or give a .yaml file")
    return path


def _merge(base: DictConfig, changes: DictConfig, origin: str) -> DictConfig:
    known = flat_keys(Config())
    for key, value in _leaves(changes):
        if key in known:
            continue
        sections = {name.partition(".")[0] for name in known if "." in name}
        if key in sections:
            raise InputError(f"'{key}={value}' in {origin}: {key} is a group of keys, set for example {key}.…=…")
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
        raise InputError(f"unknown key '{key}' in {origin}{hint}")
    try:
        return cast(DictConfig, OmegaConf.merge(base, changes))
    except OmegaConfBaseException as error:
        raise InputError(f"{origin}: {first_line(error)} (key {error.full_key})") from None


def _leaves(config: DictConfig, prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = str(key)
        if isinstance(value, DictConfig):
            leaves += _leaves(value, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", value))
    return leaves


def _check(config: Config) -> None:
    positive = ("batch_size", "accumulate", "steps", "log_every", "checkpoint_every", "loss.matches",
                "loss.temperature", "loss.radius", "loss.voxel_radius", "optimizer.lr")  # fmt: skip
    flat = flat_keys(config)
    for key in positive:
        if flat[key] is not None and not flat[key] > 0:
            raise InputError(f"{key}={flat[key]}: it must be greater than 0")
    if len(config.size) != 2 or min(config.size) < 32:
        raise InputError(f"size={config.size}: it must be [height,width], each at least 32")
    stores = 1 + len(config.data.more_stores)
    if config.data.weights and (len(config.data.weights) != stores or min(config.data.weights) <= 0):
        raise InputError(
            f"data.weights={config.data.weights}: it must be one number above 0 for each store, and there are {stores}"
        )
    if not 0 <= config.data.min_overlap < 1:
        raise InputError(f"data.min_overlap={config.data.min_overlap}: it is a share, from 0 to below 1")
    if config.data.workers < 0:
        raise InputError(f"data.workers={config.data.workers}: it must be 0 (load in the main process) or more")
