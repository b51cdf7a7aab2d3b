"""The configuration of a run: dataclasses with the paper's values as defaults, and recipes that override them.

``load_config("demo", ["steps=10", "data.store=rooms"])`` merges, in this order: the defaults below, the recipe's YAML
file, the ``key=value`` arguments. A key that does not exist is an error, wherever it stands. A recipe with the key
``base: NAME`` starts from another recipe instead of the defaults, and holds only what differs from that.
"""

import difflib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pri3d_zoo.files import write_whole

from .errors import InputError, first_line

RECIPES = Path(__file__).parent / "recipes"
# what PyYAML and OmegaConf make of text that is no configuration: ValueErrors of numbers and of UTF-8, the next three
# of tags that do not fit (!!int, !!bool x, !!timestamp x)
UNREADABLE = (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, LookupError, AttributeError, TypeError,
              RecursionError)  # fmt: skip
Schema = TypeVar("Schema")


class Method(StrEnum):
    """Which correspondences are learned from (paper, sections 3.1 to 3.3)."""

    view = "view"
    geo = "geo"
    joint = "joint"
    moco = "moco"  # from none: MoCo v2 on the same frames, the paper's baseline


class DecoderKind(StrEnum):
    """What turns the encoder's stages into dense features; the channels and the size of those are the same."""

    authors = "authors"  # 288 GFLOP with ResNet-50 at 240x320, 275 of them here; the zoo's resunet* have it
    light = "light"  # at most the encoder's cost, for those who keep the encoder


class Backend3D(StrEnum):
    """What computes the 3D network; the weights are the same."""

    native = "native"  # plain PyTorch
    minkowski = "minkowski"  # MinkowskiEngine 0.5.4, where it is installed


class Correspondence(StrEnum):
    """When two pixels, or a pixel and a voxel, show the same place."""

    distance = "distance"  # their 3D positions lie within a radius (paper)
    depth = "depth"  # one falls on the other, and their depths differ by less than a radius (authors' code)


class ChunkBox(StrEnum):
    """Which box of the scene is a frame's chunk."""

    frustum = "frustum"  # of the view frustum up to the largest valid depth (paper)
    pixels = "pixels"  # of the back-projected pixels, rounded outward to whole metres (authors' code)


class Frames(StrEnum):
    """Where the images of a step are read from."""

    disk = "disk"  # decoded again each time
    shared = "shared"  # decoded once, into memory that all processes of a machine share
    device = "device"  # decoded once, into the memory of each GPU


class OnNonfinite(StrEnum):
    """What becomes of a step whose loss or gradient is not finite."""

    stop = "stop"
    skip = "skip"  # it is counted and changes nothing


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
    frames: Frames = Frames.disk
    augment: bool = True  # colour jitter, grey and blur, as the authors
    chunk_box: ChunkBox = ChunkBox.frustum
    geometric: bool = False  # random crop, scale and mirror image of each view; the authors did without


@dataclass
class ModelConfig:
    """The two networks."""

    encoder: str = "resnet50"  # a name of timm's
    decoder: DecoderKind = DecoderKind.authors
    unet3d: str = "minkunet34c"
    backend3d: Backend3D = Backend3D.native
    grad_checkpointing_3d: bool = False  # the 3D network in less memory: its backward pass computes each stage again


@dataclass
class LossConfig:
    """What is contrasted with what."""

    method: Method = Method.joint
    matches: int = 1024  # a pair, for each loss
    temperature: float = 0.4
    correspondence: Correspondence = Correspondence.distance
    radius: float = 0.02  # metres between the two 3D positions of a match, or between their depths (the authors: 0.05)
    # metres between a pixel's 3D position and the centre of its voxel, or between their depths (the authors: 0.2);
    # null: the store's voxel size, 2 cm in the paper
    voxel_radius: float | None = None
    depth_weight: float = 0.0  # of the loss of a head that predicts depth; 0: no such head. The authors: 1


@dataclass
class MocoConfig:
    """MoCo v2, for ``loss.method=moco``; its temperature is ``loss.temperature``, 0.2 in theirs."""

    queue: int = 65_536  # features to be told apart from
    momentum: float = 0.999  # of the network that makes them


@dataclass
class OptimizerConfig:
    """SGD with the polynomial schedule, by step."""

    lr: float = 0.1
    momentum: float = 0.9
    dampening: float = 0.1
    weight_decay: float = 0.0
    poly_power: float = 0.9


@dataclass
class BatchNormConfig:
    """The momentum with which batch norms follow the statistics, by step."""

    momentum: float | None = None  # of the first steps; null: that of the layers, all the way. The authors: 0.5
    halve_every: int = 20  # steps
    least: float = 0.001
    sync: bool = False  # statistics over all processes, on GPUs; the authors did without


@dataclass
class Config:
    """One pre-training run."""

    run: str = MISSING  # the folder of the run
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    moco: MocoConfig = field(default_factory=MocoConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_norm: BatchNormConfig = field(default_factory=BatchNormConfig)
    # scratch, imagenet (timm's weights), imagenet:TAG (timm's weights of that tag), an encoder of the zoo with or
    # without a tag, or a weight folder of the encoder
    init: str = "imagenet"
    size: list[int] = field(default_factory=lambda: [240, 320])  # height, width
    batch_size: int = 64  # pairs a step, over all processes
    accumulate: int = 1  # parts in which a process works off its share of a step
    steps: int = 65_625  # 5 epochs over 840k pairs
    seed: int = 0
    precision: Precision = Precision.auto
    compile: bool = False  # the 2D network by torch.compile
    on_nonfinite: OnNonfinite = OnNonfinite.stop
    log_every: int = 10
    checkpoint_every: int = 500
    keep_checkpoints: int = 2  # the newest


@overload
def load_config(recipe: str, overrides: Sequence[str] = ()) -> Config: ...
@overload
def load_config(recipe: str, overrides: Sequence[str], schema: type[Schema]) -> Schema: ...
def load_config(recipe: str, overrides: Sequence[str] = (), schema: type[Any] = Config) -> Any:
    """The configuration of a recipe (a name in ``recipes/`` or a YAML file) with ``key=value`` overrides.

    Args:
        recipe: See there.
        overrides: The last word.
        schema: A dataclass with the defaults; what is pre-trained, unless told otherwise.

    Raises:
        InputError: Unknown recipe or key, a value of the wrong kind or, of ``Config``, out of range, a missing ``run``
            or ``data.store``.
    """
    merged = _merged_recipe(_recipe_path(recipe), [], schema)
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise InputError(f"{override!r} is not an override; write key=value, for example steps=300")
        try:
            dotted = OmegaConf.from_dotlist([override])
        except UNREADABLE as error:
            raise InputError(f"{override!r} cannot be read: {first_line(error)}") from None
        merged = _merge(merged, dotted, "the command line", schema)
    with _resolving(f"the recipe '{recipe}'"):
        for key in sorted(OmegaConf.missing_keys(merged)):
            raise InputError(f"the recipe '{recipe}' needs {key}=FOLDER on the command line")
        config = _to_object(merged)
    if isinstance(config, Config):
        _check(config)
    return config


def recipe_text(recipe: str, schema: type[Any] = Config) -> str:
    """All keys of a recipe as YAML, the defaults too; ``???`` stands where a value has to be given.

    Raises:
        InputError: Unknown recipe, or a key or value in it that does not fit.
    """
    return OmegaConf.to_yaml(_merged_recipe(_recipe_path(recipe), [], schema))


@overload
def read_config(path: Path) -> Config: ...
@overload
def read_config(path: Path, schema: type[Schema]) -> Schema: ...
def read_config(path: Path, schema: type[Any] = Config) -> Any:
    """The configuration that a run saved with ``save_config``.

    Raises:
        InputError: There is none, or it cannot have been written by that.
    """
    if not path.is_file():
        raise InputError(f"{path.parent} is not the folder of a run: {path.name} is missing")
    merged = _merge(OmegaConf.structured(schema), _read_yaml(path), str(path), schema)
    with _resolving(str(path)):
        return _to_object(merged)


def save_config(config: Any, path: Path) -> None:
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


def _merged_recipe(path: Path, above: list[Path], schema: type[Any]) -> DictConfig:
    """The defaults, the bases of a recipe, and the recipe; ``above`` are those that it is a base of."""
    path = path.resolve()
    if path in above:
        raise InputError(f"{path} is a base of itself, by way of {above[-1]}; take 'base' out of one of them")
    changes = _read_yaml(path)
    with _resolving(str(path)):
        base = changes.pop("base", None)
    if base is None:
        start = OmegaConf.structured(schema)
    else:
        start = _merged_recipe(_recipe_path(str(base), path.parent), [*above, path], schema)
    return _merge(start, changes, str(path), schema)


def _read_yaml(path: Path) -> DictConfig:
    """The mapping in a file, which may be from anywhere."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        # a few lines of aliases of aliases stand for more values than any memory holds
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise InputError(f"{path} has aliases (*name), which are not read; write out what they stand for")
        content = OmegaConf.load(io.StringIO(text))
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read as YAML: {first_line(error)}; write it again") from None
    if not isinstance(content, DictConfig):
        raise InputError(f"{path} holds a list; it must be a mapping of keys to values")
    return content


@contextmanager
def _resolving(origin: str) -> Iterator[None]:
    """What OmegaConf says of values that are missing or refer to what is not there, as the error of ``origin``."""
    try:
        yield
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        raise InputError(f"{origin}: {first_line(error)}" + (f" (key {key!r})" if key else "")) from None


def _to_object(merged: DictConfig) -> Any:
    config = OmegaConf.to_object(merged)
    OmegaConf.structured(config)  # which, other than merging, looks at what lists hold
    return config


def _recipe_path(recipe: str, folder: Path = Path()) -> Path:
    if recipe.endswith((".yaml", ".yml")):
        if not (folder / recipe).is_file():
            raise InputError(f"there is no recipe file {folder / recipe}")
        return folder / recipe
    path = RECIPES / f"{recipe}.yaml"
    if Path(recipe).name != recipe or not path.is_file():
        known = sorted(file.stem for file in RECIPES.glob("*.yaml"))
        raise InputError(f"there is no recipe '{recipe}'; there are {', '.join(known)}, or give a .yaml file")
    return path


def _merge(base: DictConfig, changes: DictConfig, origin: str, schema: type[Any]) -> DictConfig:
    known = flat_keys(schema())
    for key, value in _leaves(cast(dict[str, Any], OmegaConf.to_container(changes))):
        if key in known:
            continue
        sections = {name.partition(".")[0] for name in known if "." in name}
        if key in sections:
            raise InputError(f"{f'{key}={value}'!r} in {origin}: {key} is a group of keys, set for example {key}.…=…")
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
        raise InputError(f"unknown key {key!r} in {origin}{hint}")
    with _resolving(origin):
        return cast(DictConfig, OmegaConf.merge(base, changes))


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += _leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves


def check_numbers(config: Any, *positive: str) -> None:
    """Of any training: raise InputError unless keys that must be above 0 are; null is no number.

    Args:
        config: A dataclass with ``data.workers``.
        positive: Keys of its own, beside those that every training has.
    """
    flat = flat_keys(config)
    for key in ("batch_size", "steps", "log_every", "checkpoint_every", "optimizer.lr", *positive):
        if flat[key] is not None and not flat[key] > 0:
            raise InputError(f"{key}={flat[key]}: it must be greater than 0")
    if config.data.workers < 0:
        raise InputError(f"data.workers={config.data.workers}: it must be 0 (load in the main process) or more")


def check_size(size: Sequence[int]) -> None:
    """Raise InputError unless it is a height and a width."""
    if len(size) != 2 or min(size) < 32:
        raise InputError(f"size={list(size)}: it must be [height,width], each at least 32")


def _check(config: Config) -> None:
    check_numbers(config, "accumulate", "keep_checkpoints", "loss.matches", "loss.temperature", "loss.radius",
                  "loss.voxel_radius", "batch_norm.momentum", "batch_norm.halve_every", "batch_norm.least",
                  "moco.queue")  # fmt: skip
    check_size(config.size)
    if config.loss.depth_weight < 0:
        raise InputError(f"loss.depth_weight={config.loss.depth_weight}: it must be 0 (no depth head) or more")
    stores = 1 + len(config.data.more_stores)
    if config.data.weights and (len(config.data.weights) != stores or min(config.data.weights) <= 0):
        raise InputError(
            f"data.weights={config.data.weights}: it must be one number above 0 for each store, and there are {stores}"
        )
    if config.model.grad_checkpointing_3d and config.model.backend3d != Backend3D.native:
        raise InputError(
            f"model.grad_checkpointing_3d=true: model.backend3d={config.model.backend3d} has no such thing"
        )
    if not 0 <= config.data.min_overlap < 1:
        raise InputError(f"data.min_overlap={config.data.min_overlap}: it is a share, from 0 to below 1")
    if config.data.frames == Frames.device and config.data.geometric:
        raise InputError("data.frames=device: images there cannot be cropped one by one; take data.frames=shared")
