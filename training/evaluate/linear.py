"""How much of classes, and of depth, is in frozen features: the best linear map of them, found in one pass.

A linear probe by ridge regression rather than by training: least squares has one answer, whatever the learning rate or
the order of the images, so that what is compared is the features. Features are standardised, so that one strength of
the ridge serves maps of any scale. Classes are regressed as their indicators, and the largest wins.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..data.augment import normalize
from ..data.store import SceneStore
from ..errors import InputError
from .backbones import FeatureMaps, computing_device
from .confusion import ConfusionMatrix, SegmentationFigures, figures
from .label_sets import IGNORED
from .labelled_images import LabelledImages

RIDGE = 1e-4  # of the variance of a standardised feature
IMAGES_AT_ONCE = 8


class LeastSquares:
    """The linear map from features to targets, with an offset, of least squared error over all that is added.

    Sums of products are kept, never the features, so memory does not depend on their number.

    Args:
        features: Channels, C.
        targets: K.
        device: Where sums are kept, in float64.
    """

    def __init__(self, features: int, targets: int, device: torch.device) -> None:
        self.inner = torch.zeros(features + 1, features + 1, dtype=torch.float64, device=device)
        self.outer = torch.zeros(features + 1, targets, dtype=torch.float64, device=device)

    def add(self, features: Tensor, targets: Tensor) -> None:
        """(N, C) and (N, K)."""
        rows = F.pad(features.double(), (0, 1), value=1.0)
        self.inner += rows.T @ rows
        self.outer += rows.T @ targets.double()

    def solve(self) -> tuple[Tensor, Tensor]:
        """The map (C, K) and the offset (K,), float32.

        Raises:
            InputError: Nothing was added.
        """
        count = self.inner[-1, -1]
        if count == 0:
            raise InputError("there is nothing to fit a linear probe to: no pixel has a label, or depth")
        mean, target = self.inner[-1, :-1] / count, self.outer[-1] / count
        covariance = self.inner[:-1, :-1] / count - mean[:, None] * mean
        deviation = covariance.diagonal().clamp(min=1e-12).sqrt()
        correlation = covariance / (deviation[:, None] * deviation)
        correlation.diagonal().add_(RIDGE)
        crossed = (self.outer[:-1] / count - mean[:, None] * target) / deviation[:, None]
        weight = torch.linalg.solve(correlation, crossed) / deviation[:, None]
        return weight.float(), (target - mean @ weight).float()


def probe_segmentation(
    network: FeatureMaps, training: LabelledImages, validation: LabelledImages, stages: Sequence[str] = ()
) -> dict[str, SegmentationFigures]:
    """Figures of the classes that linear maps of each stage give, fitted to one split and measured on another."""
    device = computing_device()
    classes = len(training.classes.classes)

    def targets(labels: Tensor) -> tuple[Tensor, Tensor]:
        counted = labels != IGNORED
        return F.one_hot(labels.long().masked_fill(~counted, 0), classes), counted

    maps = _fit(network, ((color, *targets(labels)) for color, labels in _batches(training, device)), stages)
    matrices = {stage: ConfusionMatrix(classes, device) for stage in maps}
    for color, labels in _batches(validation, device):
        for stage, scores in _apply(network, maps, color):
            matrices[stage].add(scores.argmax(1), labels)
    return {stage: figures(matrix) for stage, matrix in matrices.items()}


@dataclass(frozen=True)
class DepthFigures:
    """How near predicted depth is, over all pixels with a reading.

    Args:
        rmse: Root of the mean squared error, metres.
        relative: Mean of the error by the true depth.
        within_quarter: Share of pixels that are wrong by a factor of less than 1.25.
        pixels: How many counted.
    """

    rmse: float
    relative: float
    within_quarter: float
    pixels: int


def probe_depth(
    network: FeatureMaps,
    store: SceneStore,
    *,
    training: Sequence[str],
    validation: Sequence[str],
    frames: int,
    stages: Sequence[str] = (),
) -> dict[str, DepthFigures]:
    """Figures of the depth whose logarithm is a linear map of each stage's features.

    Args:
        network: What is probed.
        store: Frames with depth.
        training: Scenes that the maps are fitted to.
        validation: Scenes that they are measured on; others, as the place must not be known.
        frames: Of each scene at most so many, evenly spread.
        stages: Of which maps; all, if none is named.

    Raises:
        InputError: Scenes are missing, in both lists, or in none.
    """
    if not training or not validation or set(training) & set(validation):
        raise InputError("a depth probe needs scenes to fit to and other scenes to measure on; name some with --scenes")
    device = computing_device()

    def targets(depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth.clamp(min=1e-3).log()[..., None], depth > 0

    fitted = ((color, *targets(depth)) for color, depth in _frames(store, training, frames, device))
    maps = _fit(network, fitted, stages)
    sums = {stage: torch.zeros(4, dtype=torch.float64, device=device) for stage in maps}
    for color, depth in _frames(store, validation, frames, device):
        for stage, scores in _apply(network, maps, color):
            found, true = scores[:, 0].exp()[depth > 0].double(), depth[depth > 0].double()
            factor = torch.maximum(found / true, true / found)
            wrong = (found - true).abs()
            values = (
                wrong.square().sum(),
                (wrong / true).sum(),
                (factor < 1.25).sum().double(),
                wrong.new_tensor(len(true)),
            )
            sums[stage] += torch.stack(values)
    results = {}
    for stage, (squared, relative, near, count) in ((stage, total.tolist()) for stage, total in sums.items()):
        if count == 0:
            raise InputError(f"no frame of {', '.join(validation)} has depth")
        results[stage] = DepthFigures((squared / count) ** 0.5, relative / count, near / count, int(count))
    return results


@torch.no_grad()
def _fit(
    network: FeatureMaps, batches: Iterable[tuple[Tensor, Tensor, Tensor]], stages: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """For each stage the map and offset from the features of its cells to the targets in their middles.

    Args:
        network: What is probed.
        batches: Colour (B, 3, H, W) uint8, targets (B, H, W, K), and which pixels have one (B, H, W).
        stages: Of which maps; all, if none is named.
    """
    sums: dict[str, LeastSquares] = {}
    for color, targets, valid in batches:
        maps = network.to(color.device)(normalize(color))
        for stage in stages or maps:
            if stage not in maps:
                raise InputError(f"there is no stage {stage!r} in this network; there are {', '.join(maps)}")
            features = maps[stage]
            rows, columns = (
                ((torch.arange(cells, device=color.device) + 0.5) * pixels / cells).long()
                for cells, pixels in zip(features.shape[-2:], color.shape[-2:], strict=True)
            )
            there = valid[:, rows][:, :, columns]
            if stage not in sums:
                sums[stage] = LeastSquares(features.shape[1], targets.shape[-1], color.device)
            sums[stage].add(features.permute(0, 2, 3, 1)[there], targets[:, rows][:, :, columns][there])
    return {stage: least.solve() for stage, least in sums.items()}


@torch.no_grad()
def _apply(network: FeatureMaps, maps: dict[str, tuple[Tensor, Tensor]], color: Tensor) -> Iterator[tuple[str, Tensor]]:
    """For each stage what its map gives (B, K, H, W), enlarged to the size of the image."""
    found = network(normalize(color))
    for stage, (weight, offset) in maps.items():
        scores = torch.einsum("bchw,ck->bkhw", found[stage].float(), weight) + offset[:, None, None]
        yield stage, F.interpolate(scores, color.shape[-2:], mode="bilinear", align_corners=False)


def _batches(dataset: LabelledImages, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for color, labels in DataLoader(dataset, IMAGES_AT_ONCE):
        yield color.to(device), labels.to(device)


def _frames(
    store: SceneStore, scenes: Sequence[str], most: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Colour (B, 3, H, W) uint8 and depth (B, H, W) of the frames of some scenes."""
    chosen = [
        (scene, index)
        for scene in map(store.scene, scenes)
        for index in torch.linspace(0, len(scene.frame_ids) - 1, min(len(scene.frame_ids), most)).round().int().tolist()
    ]
    for start in range(0, len(chosen), IMAGES_AT_ONCE):
        part = chosen[start : start + IMAGES_AT_ONCE]
        color = torch.stack([torch.from_numpy(scene.color(index)).permute(2, 0, 1) for scene, index in part])
        depth = torch.stack([torch.from_numpy(scene.depth(index)) for scene, index in part])
        yield color.to(device), depth.to(device)
