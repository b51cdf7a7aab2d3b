"""The linear probes of named weights, beside random ones, as tables for people."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.table import Table

from ..data.store import SceneStore
from .backbones import FeatureMaps, load_backbone
from .label_sets import label_set
from .labelled_images import LabelledImages, find_items
from .linear import probe_depth, probe_segmentation

Figures = TypeVar("Figures")

logger = logging.getLogger(__name__)


def linear_segmentation(
    names: Sequence[str],
    folder: Path,
    *,
    dataset: str,
    classes: str,
    size: tuple[int, int],
    stages: Sequence[str] = (),
    seed: int = 0,
) -> Table:
    """A row for each map of each of the named weights.

    Raises:
        InputError, WeightsError: Weights, stages, data or classes that are not there.
    """
    chosen = label_set(classes)
    training, validation = (
        LabelledImages(find_items(dataset, folder, split), chosen, size) for split in ("train", "val")
    )
    logger.info("%d images of %dx%d to fit, %d to measure", len(training), *size, len(validation))
    title = f"linear maps of {dataset}, {classes}, {len(training)} images to fit, {len(validation)} to measure"
    table = Table("weights", "map", "mIoU", "pixel accuracy", title=title)
    rows = _rows(names, seed, lambda network: probe_segmentation(network, training, validation, stages))
    for name, stage, figures in rows:
        table.add_row(name, stage, f"{figures.miou:.3f}", f"{figures.pixel_accuracy:.3f}")
    return table


def linear_depth(
    names: Sequence[str],
    folder: Path,
    *,
    scenes: Sequence[str],
    frames: int,
    stages: Sequence[str] = (),
    seed: int = 0,
) -> Table:
    """A row for each map of each of the named weights; ``scenes`` are measured on, the others of the store fitted to.

    Raises:
        InputError, WeightsError: Weights, stages or scenes that are not there.
    """
    store = SceneStore(folder)
    fitted = [name for name in store.scene_ids if name not in scenes]
    title = f"linear maps to depth, fitted to {', '.join(fitted)}, measured on {', '.join(scenes)}"
    table = Table("weights", "map", "RMSE in m", "relative error", "within a factor of 1.25", title=title)
    rows = _rows(
        names,
        seed,
        lambda network: probe_depth(
            network, store, training=fitted, validation=list(scenes), frames=frames, stages=stages
        ),
    )
    for name, stage, figures in rows:
        table.add_row(name, stage, f"{figures.rmse:.3f}", f"{figures.relative:.3f}", f"{figures.within_quarter:.3f}")
    return table


def _rows(
    names: Sequence[str], seed: int, probe: Callable[[FeatureMaps], dict[str, Figures]]
) -> list[tuple[str, str, Figures]]:
    """Name, stage and figures of random weights of each kind of network, then of the named ones."""
    loaded = {name: load_backbone(name) for name in names}
    networks: dict[str, FeatureMaps] = {}
    for backbone in loaded.values():
        networks.setdefault(f"random {backbone.kind}", backbone.random(seed))
    networks |= {name: backbone.maps for name, backbone in loaded.items()}
    rows = []
    for number, (name, network) in enumerate(networks.items(), start=1):
        logger.info("%d of %d: %s", number, len(networks), name)
        rows += [(name, stage, found) for stage, found in probe(network).items()]
    return rows
