"""The label-free probe: do the features of a point agree between two views of it?

First version: dense matching recall. For pixels of one view whose true match in the other is known from depth and
poses, the nearest neighbour among all cells of the other view's feature map, by cosine, is compared with the truth.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pri3d_zoo
from pri3d_zoo.hub import CONFIG_FILE
from pri3d_zoo.names import METHODS, ModelName, parse_name
from pri3d_zoo.resunet import ResUNet, build_resunet

from ..data.augment import normalize
from ..data.dataset import PairBatch, PairDataset, collate
from ..data.store import SceneStore
from ..errors import InputError
from ..files import write_whole
from ..matches import sample_features, view_matches
from ..pretrain import CONFIG, trained_model
from ..seeds import mix_seeds

THRESHOLDS = (5, 10, 20)  # pixels of an image that is 320 wide
QUERIES = 256  # a pair
RADIUS = 0.02  # metres, as in the paper


@dataclass(frozen=True)
class Recall:
    """How often the best match lies near the true one.

    Args:
        at: Share of queries by threshold, in pixels at a width of 320.
        pairs: Pairs with at least one query.
        queries: Queries in all.
    """

    at: dict[int, float]
    pairs: int
    queries: int


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


def matching_recall(
    backbone: nn.Module, batch: PairBatch, *, seed: int = 0, device: torch.device | None = None
) -> Recall:
    """Dense matching recall of a backbone over a batch; the arguments are those of ``matching_errors``.

    Raises:
        InputError: Nothing in the batch has a true match.
    """
    errors = matching_errors(backbone, batch, seed=seed, device=device)
    every = torch.cat(errors)
    if len(every) == 0:
        raise InputError("no pixel of the probed pairs has a true match; are depth and poses of this store right?")
    at = {threshold: (every <= threshold).float().mean().item() for threshold in THRESHOLDS}
    return Recall(at, sum(len(error) > 0 for error in errors), len(every))


@torch.no_grad()
def matching_errors(
    backbone: nn.Module, batch: PairBatch, *, seed: int = 0, device: torch.device | None = None
) -> list[Tensor]:
    """How far the best match of each query lies from the true one, pair by pair, in pixels at a width of 320.

    Args:
        backbone: Maps (B, 3, H, W) to a feature map (B, C, h, w); in eval mode.
        batch: Of ``probe_pairs``.
        seed: Of the queries.
        device: Where to compute.

    Returns:
        For each pair the errors (N,) of its queries, fewer than ``QUERIES`` where fewer pixels have a match.
    """
    device = device or torch.device("cpu")
    backbone = backbone.to(device)
    size = (batch.color.shape[-2], batch.color.shape[-1])
    errors = []
    with torch.random.fork_rng():
        for index in range(len(batch.color)):  # one pair at a time: all cells of a map are candidates of each query
            one = batch.pair(index).to(device)
            torch.manual_seed(mix_seeds(seed, index))
            first, second, valid = view_matches(one.depth, one.intrinsics, one.camera_to_world, QUERIES, RADIUS)
            error = match_errors(backbone(normalize(one.color[0])), first, second, size)[valid[0]]
            errors.append(error.cpu() * (320 / size[1]))
    return errors


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


@dataclass(frozen=True)
class ProbeResult:
    """One row of the probe: which weights, on which scenes, and how well they match."""

    name: str
    scenes: str
    recall: Recall


def probe_names(
    names: Sequence[str],
    store: Path,
    *,
    scenes: Sequence[str] = (),
    pairs: int = 100,
    min_overlap: float = 0.0,
    size: tuple[int, int] = (240, 320),
    seed: int = 0,
) -> list[ProbeResult]:
    """Matching recall of each of the named weights, and of random ones of every network among them.

    Args:
        names: Folders of runs, dense weight folders, or names of dense models of the zoo.
        store: Folder of a store.
        scenes: Those to take pairs from; all, if none is named.
        pairs: At most so many.
        min_overlap: The least share of points that a pair has in common.
        size: (height, width) of the images; thresholds are in pixels of a 320 wide image whatever it is.
        seed: Of pairs, queries and random weights.

    Raises:
        InputError, WeightsError: Weights or scenes that are not there.
    """
    loaded = [(name, load_dense(name)) for name in names]
    batch = probe_pairs(SceneStore(store), size, scenes, pairs, seed, min_overlap)
    where = ", ".join(scenes) or "all"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = []
    for encoder in dict.fromkeys(encoder for _, (encoder, _) in loaded):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            random = build_resunet(encoder).eval()
        recall = matching_recall(random, batch, seed=seed, device=device)
        results.append(ProbeResult(f"random {encoder}", where, recall))
    for name, (_, backbone) in loaded:
        results.append(ProbeResult(name, where, matching_recall(backbone, batch, seed=seed, device=device)))
    return results


def load_dense(name: str) -> tuple[str, ResUNet]:
    """The encoder's name and the dense model, in eval mode, of a run, a dense weight folder or a name of the zoo."""
    if (Path(name) / CONFIG).is_file():
        run, two_branch = trained_model(Path(name))
        return run.model.encoder, two_branch.backbone
    config_file = Path(name) / CONFIG_FILE
    folder = config_file.is_file()
    model = name.partition(".")[0]
    if folder:
        try:
            config = json.loads(config_file.read_text())
            model = str(config["architecture"])
            if model == "resunet":  # then the method is not named, and does not matter
                model = str(ModelName(config["model_args"]["encoder_name"], METHODS[0], dense=True))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{config_file} names no architecture; export the run again with --dense") from None
        if not model.startswith("resunet"):
            raise InputError(f"{name} holds {model}, which has no dense features; export the run with --dense")
    backbone = pri3d_zoo.create_model(model if folder else name, checkpoint_path=name if folder else None).eval()
    parsed = parse_name(model)
    if parsed is None or not isinstance(backbone, ResUNet):
        raise InputError(f"{name} has no dense features; name a resunet model, a dense weight folder, or a run")
    return parsed.encoder, backbone


def write_results(results: Sequence[ProbeResult], path: Path) -> None:
    """The rows as JSON."""
    write_whole(path, json.dumps([asdict(result) for result in results], indent=2) + "\n")
