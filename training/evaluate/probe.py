"""The label-free probe: do the features of a point agree between two views of it?

Two protocols. ``probe3d.py`` is that of the literature, over all pixels with depth. Dense matching recall, here, asks
only pixels whose true match in the other view is known from depth and poses: the nearest neighbour among all cells of
the other view's feature map, by cosine, is compared with the truth.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pri3d_zoo.files import write_whole

from ..data.augment import normalize
from ..data.batch import PairBatch, collate
from ..data.dataset import PairDataset
from ..data.store import SceneStore
from ..errors import InputError
from ..matches import sample_features, view_matches
from ..seeds import mix_seeds
from .backbones import FeatureMaps, computing_device, load_backbone
from .probe3d import GridPair, Matching, summarise

THRESHOLDS = (5, 10, 20)  # pixels of an image that is 320 wide
QUERIES = 256  # a pair
RADIUS = 0.02  # metres between matching points, as in the paper; coarse depth needs more

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recall:
    """How often the best match lies near the true one.

    Args:
        at: Share of queries by threshold, in pixels at a width of 320.
        pairs: Pairs with at least one query.
        queries: Queries in all.
        radius: Metres between the points of a true match.
    """

    at: dict[int, float]
    pairs: int
    queries: int
    radius: float


def choose_pairs(dataset: PairDataset, pairs: int, seed: int) -> list[int]:
    """At most ``pairs`` random indices: the same for the same pairs, so that all weights are measured on the same."""
    generator = torch.Generator().manual_seed(mix_seeds(seed, len(dataset)))
    return torch.randperm(len(dataset), generator=generator)[:pairs].tolist()


def probe_pairs(
    store: SceneStore,
    size: tuple[int, int],
    scenes: Sequence[str],
    pairs: int,
    seed: int,
    min_overlap: float = 0.0,
) -> PairBatch:
    """At most ``pairs`` random pairs of the scenes (all, if none is named), as one batch without voxels."""
    dataset = PairDataset(store, size, chunks=False, only=scenes, min_overlap=min_overlap)
    return collate([dataset[index] for index in choose_pairs(dataset, pairs, seed)])


def matching_recall(errors: Sequence[Tensor], radius: float) -> Recall:
    """Dense matching recall.

    Args:
        errors: Of ``matching_errors``.
        radius: That they were found with.

    Raises:
        InputError: Nothing has a true match.
    """
    every = torch.cat(list(errors))
    if len(every) == 0:
        raise InputError(
            f"no pixel of the probed pairs has a true match within {radius:g} m; is depth here so coarse that it takes "
            f"a larger radius (probe --radius, a run's loss.radius), or are depth or poses wrong?"
        )
    at = {threshold: (every <= threshold).float().mean().item() for threshold in THRESHOLDS}
    return Recall(at, sum(len(error) > 0 for error in errors), len(every), radius)


@torch.no_grad()
def matching_errors(backbone: nn.Module, batch: PairBatch, radius: float = RADIUS) -> list[Tensor]:
    """How far the best match of each query lies from the true one, pair by pair, in pixels at a width of 320.

    Args:
        backbone: Maps (B, 3, H, W) to a feature map (B, C, h, w); in eval mode. It is moved to ``computing_device``.
        batch: Of ``probe_pairs``.
        radius: Metres between the points of a true match.

    Returns:
        For each pair the errors (N,) of its queries, fewer than ``QUERIES`` where fewer pixels have a match.
    """
    device = computing_device()
    backbone = backbone.to(device)
    errors = []
    for index in range(len(batch.color)):  # one pair at a time: all cells of a map are candidates of each query
        one = batch.pair(index).to(device)
        errors.append(_errors_of_pair(backbone(normalize(one.color[0])), one, radius, mix_seeds(0, index)))
    return errors


def _errors_of_pair(features: Tensor, pair: PairBatch, radius: float, seed: int) -> Tensor:
    size = (pair.color.shape[-2], pair.color.shape[-1])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, second, valid = view_matches(pair.depth, pair.intrinsics, pair.camera_to_world, QUERIES, radius)
    return match_errors(features, first, second, size)[valid[0]].cpu() * (320 / size[1])


def match_errors(features: Tensor, first: Tensor, second: Tensor, size: tuple[int, int]) -> Tensor:
    """Distance in pixels between best and true match.

    Args:
        features: (2, C, h, w), the maps of the two views.
        first: (1, N) flat pixel indices in the first image.
        second: (1, N) the true matches in the second.
        size: Of the images.

    Returns:
        (N,) float32.
    """
    best = best_matches(features, first, size)
    true = torch.stack((second[0] % size[1], second[0] // size[1]), -1).float()
    return (best - true).norm(dim=1)


def best_matches(features: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (N, 2) as (u, v) of the second image whose feature is nearest to those at ``first`` (1, N), by cosine.

    What is found are cells of the map, so positions are as fine as the map is.
    """
    height, width = features.shape[-2:]
    queries = F.normalize(sample_features(features[:1].float(), first, size)[0], dim=1)
    cells = F.normalize(features[1].float().flatten(1), dim=0)
    best = (queries @ cells).argmax(1)
    scale = torch.tensor([size[1] / width, size[0] / height], device=features.device)
    return (torch.stack((best % width, best // width), -1) + 0.5) * scale - 0.5


class Protocol(StrEnum):
    """How matches are made and counted."""

    probe3d = "probe3d"
    covisible = "covisible"


@dataclass(frozen=True)
class ProbeResult:
    """One row of the probe: which weights, which of their maps, on which scenes, and how well they match.

    Args:
        name: Of the weights.
        stage: Of the map: see ``FeatureMaps``.
        scenes: Names, or "all".
        covisible: Dense matching recall; None if not asked for.
        probe3d: The figures of Probe3D's protocol; None if not asked for.
        cells: (height, width) of the map.
    """

    name: str
    stage: str
    scenes: str
    covisible: Recall | None
    probe3d: Matching | None
    cells: tuple[int, int]


def probe_names(
    names: Sequence[str],
    store: Path,
    *,
    protocols: Sequence[Protocol] = tuple(Protocol),
    stages: Sequence[str] = (),
    scenes: Sequence[str] = (),
    pairs: int = 100,
    min_overlap: float = 0.0,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    radius: float | None = None,
) -> list[ProbeResult]:
    """What the maps of each of the named weights match, of random weights of every network among them, and of the first
    named with the cells of the second view's map shuffled, which must fall to chance.

    Args:
        names: See ``load_backbone``.
        store: Folder of a store.
        protocols: Which figures.
        stages: Of which maps; all, if none is named.
        scenes: Those to take pairs from; all, if none is named.
        pairs: At most so many.
        min_overlap: The least share of points that a pair has in common.
        size: (height, width) of the images; None: as they are prepared.
        seed: Of pairs, queries and random weights.
        radius: Metres between the points of a match that both views see, the same for all weights; None: the largest
            that the runs among them trained with, ``RADIUS`` without a run.

    Raises:
        InputError, WeightsError: Weights, stages or scenes that are not there.
    """
    loaded = {name: load_backbone(name) for name in names}
    prepared = SceneStore(store)
    batch = probe_pairs(prepared, size or prepared.size, scenes, pairs, seed, min_overlap)
    if radius is None:
        radius = max((known.radius for known in loaded.values() if known.radius is not None), default=RADIUS)
    rows: dict[str, tuple[FeatureMaps, bool]] = {}
    for backbone in loaded.values():
        rows.setdefault(f"random {backbone.kind}", (backbone.random(seed), False))
    rows |= {name: (backbone.maps, False) for name, backbone in loaded.items()}
    if loaded:
        rows[f"shuffled {names[0]}"] = loaded[names[0]].maps, True
    where = ", ".join(scenes) or "all"
    results = []
    for number, (name, (maps, shuffled)) in enumerate(rows.items(), start=1):
        height, width = batch.color.shape[-2:]
        logger.info("%d of %d: %s, %d pairs of %dx%d", number, len(rows), name, len(batch.color), height, width)
        found = probe_maps(maps, batch, protocols, stages, seed=seed, radius=radius, shuffled=shuffled)
        results += [ProbeResult(name, stage, where, *figures) for stage, figures in found.items()]
    return results


@torch.no_grad()
def probe_maps(
    network: FeatureMaps,
    batch: PairBatch,
    protocols: Sequence[Protocol],
    stages: Sequence[str] = (),
    *,
    seed: int = 0,
    radius: float = RADIUS,
    shuffled: bool = False,
) -> dict[str, tuple[Recall | None, Matching | None, tuple[int, int]]]:
    """The figures of a network by stage, of co-visible pixels and of Probe3D's protocol where asked for, and the size
    of its map in cells.

    Args:
        network: What is probed.
        batch: Of ``probe_pairs``.
        protocols: Which figures.
        stages: Of which maps; all, if none is named.
        seed: Of the queries, and of the shuffling.
        radius: Metres between the points of a match that both views see.
        shuffled: Whether to shuffle the cells of the second views' maps.

    Raises:
        InputError: The network has no such stage, or nothing in the batch has a true match.
    """
    device = computing_device()
    network = network.to(device)
    cells: dict[str, tuple[int, int]] = {}
    covisible: dict[str, list[Tensor]] = {}
    probe3d: dict[str, list[Tensor]] = {}
    rotations = []
    grid = (0, 0)
    for index in range(len(batch.color)):
        pair = batch.pair(index).to(device)
        view = GridPair(pair)
        grid = view.grid
        rotations.append(view.rotation)
        maps = network(normalize(pair.color[0]))
        for stage in stages or maps:
            if stage not in maps:
                raise InputError(f"there is no stage {stage!r} in this network; there are {', '.join(maps)}")
            cells[stage] = (maps[stage].shape[-2], maps[stage].shape[-1])
            features = _shuffle(maps[stage], mix_seeds(seed, index)) if shuffled else maps[stage]
            if Protocol.covisible in protocols:
                errors = _errors_of_pair(features, pair, radius, mix_seeds(seed, index))
                covisible.setdefault(stage, []).append(errors)
            if Protocol.probe3d in protocols:
                probe3d.setdefault(stage, []).append(view.errors(*view.features(features)).cpu())
    return {
        stage: (
            matching_recall(covisible[stage], radius) if stage in covisible else None,
            summarise(probe3d[stage], rotations, grid) if stage in probe3d else None,
            cells[stage],
        )
        for stage in covisible | probe3d
    }


def _shuffle(maps: Tensor, seed: int) -> Tensor:
    """Maps (2, C, h, w) with the cells of the second one in random order."""
    order = torch.randperm(maps[0, 0].numel(), generator=torch.Generator().manual_seed(seed)).to(maps.device)
    return torch.stack((maps[0], maps[1].flatten(1)[:, order].view_as(maps[1])))


def write_results(results: Sequence[ProbeResult], path: Path) -> None:
    """The rows as JSON."""
    write_whole(path, json.dumps([asdict(result) for result in results], indent=2) + "\n")
