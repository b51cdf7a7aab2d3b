"""Fine-tuning for semantic segmentation, with the loop of pre-training, and its figures on the validation split."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..data.augment import normalize
from ..data.dataset import StepSampler
from ..errors import InputError
from ..loop import LoopSettings, train
from ..pretrain import start_accelerator
from ..run_folder import open_run
from .best import Best
from .confusion import ConfusionMatrix, SegmentationFigures, figures
from .initial import initial_backbone
from .label_sets import IGNORED, label_set
from .labelled_images import LabelledImages, find_items, fraction, listed
from .results import append_result
from .segmentation_config import SegmentationConfig
from .segmenters import Segmenter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Images with labels.

    Args:
        color: (B, 3, H, W) uint8.
        labels: (B, H, W) uint8, class indices or ``IGNORED``.
    """

    color: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "LabelledBatch":
        """The batch on a device, copied without waiting where the memory is pinned."""
        return LabelledBatch(self.color.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))

    def pin_memory(self) -> "LabelledBatch":
        """For the loader: page-locked copies."""
        return LabelledBatch(self.color.pin_memory(), self.labels.pin_memory())


class SegmentationTask:
    """Cross-entropy over the pixels that have a class.

    Args:
        auxiliary_weight: Of the auxiliary head's cross-entropy.
    """

    def __init__(self, auxiliary_weight: float) -> None:
        self.auxiliary_weight = auxiliary_weight

    def __call__(self, model: nn.Module, batch: LabelledBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses by name, to be added up, and the share of right pixels."""
        labels = batch.labels.long()
        scores = model(normalize(batch.color))
        # the mean over the pixels that count, 0 in an image without any
        counted = (labels != IGNORED).sum().clamp(min=1)
        found = [
            F.cross_entropy(each.float(), labels, ignore_index=IGNORED, reduction="sum") / counted for each in scores
        ]
        losses = {"classes": found[0]}
        if len(found) > 1:
            losses["auxiliary"] = self.auxiliary_weight * found[1]
        right = (scores[0].detach().argmax(1) == labels).sum() / counted
        return losses, {"accuracy": right}


def segment(config: SegmentationConfig) -> SegmentationFigures | None:
    """Run or continue the fine-tuning that ``config`` describes, in the folder ``config.run``.

    The figures are those of the best of the evaluations on the validation split, as the authors report them; they are
    added to ``config.results``.

    Returns:
        The figures, or None where a signal stopped the run, after saving.

    Raises:
        InputError: The data, the initialisation or the state of the run folder does not fit.
    """
    begin = perf_counter()
    run = Path(config.run)
    classes = label_set(config.data.classes)
    size = (config.size[0], config.size[1])
    items = find_items(config.data.dataset, Path(config.data.store), "train")
    if config.data.images is not None:
        items = listed(items, Path(config.data.images))
    items = fraction(items, config.data.fraction, config.seed)
    dataset = LabelledImages(items, classes, size)
    validation_root = Path(config.data.validation or config.data.store)
    validation = LabelledImages(find_items(config.data.dataset, validation_root, "val"), classes, size)
    steps = config.steps or max(1, round(config.epochs * len(dataset) / config.batch_size))
    accelerator = start_accelerator(config.precision)
    model, taken = initial_segmenter(config, len(classes.classes))
    if accelerator.is_main_process:
        open_run(config, f"{taken} from {config.init}, the rest from seed {config.seed}", accelerator.num_processes)
    accelerator.wait_for_everyone()
    encoder, others = model.groups()
    factors = (config.optimizer.encoder_factor, config.optimizer.others_factor)
    optimizer = torch.optim.SGD(
        [{"params": part, "factor": factor} for part, factor in zip((encoder, others), factors, strict=True)],
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        dampening=config.optimizer.dampening,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )

    def batches_from(start: int):  # type: ignore[no-untyped-def]  # DataLoader's own type says nothing of its batches
        sampler = StepSampler(
            len(dataset),
            config.batch_size,
            seed=config.seed,
            start=start,
            stop=steps,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        return _loader(dataset, accelerator, config.data.workers, batch_sampler=sampler)

    every = max(1, round(config.evaluate_every * len(dataset) / config.batch_size))

    def measure(network: nn.Module) -> dict[str, Any]:
        return asdict(evaluate(network, validation, accelerator, config.batch_size, config.data.workers))

    best = Best(run, measure, "miou", writes=accelerator.is_main_process)

    def before_step(plain: nn.Module, step: int) -> None:
        if step and step % every == 0:
            best.evaluate(plain, step)

    settings = LoopSettings(
        steps=steps,
        accumulate=1,
        seed=config.seed,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        learning_rate=lambda step: config.optimizer.lr * (1 - step / steps) ** config.optimizer.poly_power,
        before_step=before_step,
    )
    logger.info("%d images to train on, %d to validate; %s from %s", len(dataset), len(validation), taken, config.init)
    task = SegmentationTask(config.auxiliary_weight)
    if not train(accelerator, model, optimizer, task, batches_from, run, settings):
        return None
    best.evaluate(accelerator.unwrap_model(model), steps)
    found = SegmentationFigures(**best.figures)
    if config.results is not None and accelerator.is_main_process:
        append_result(Path(config.results), _result(config, taken, found, best.step, perf_counter() - begin))
    return found


def initial_segmenter(config: SegmentationConfig, classes: int) -> tuple[Segmenter, str]:
    """The network before its first step, and which parts of it are not random.

    Raises:
        InputError, WeightsError: ``init`` names nothing that is there, or its weights do not fit.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = Segmenter(config.network, config.encoder, classes, auxiliary=config.auxiliary_weight > 0)
    backbone = initial_backbone(config.init, config.encoder)
    if backbone is not None:
        return model, model.load(backbone, decoder=config.with_decoder)
    if config.with_decoder:
        raise InputError("with_decoder=true takes a decoder from init, and init=scratch has none")
    return model, "nothing"


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: LabelledImages, accelerator: Accelerator, batch_size: int, workers: int
) -> SegmentationFigures:
    """The figures of a network over a whole split, computed by every process for itself; it is left as it was."""
    was_training = model.training
    model.eval()
    matrix = ConfusionMatrix(len(dataset.classes.classes), accelerator.device)
    with torch.random.fork_rng(), accelerator.autocast():
        for batch in _loader(dataset, accelerator, workers, batch_size=batch_size):
            here = batch.to(accelerator.device)
            matrix.add(model(normalize(here.color))[0].argmax(1), here.labels)
    model.train(was_training)
    return figures(matrix)


def _loader(dataset: LabelledImages, accelerator: Accelerator, workers: int, **order: Any) -> DataLoader[Any]:
    pin = accelerator.device.type == "cuda"
    return DataLoader(dataset, collate_fn=_collate, num_workers=workers, pin_memory=pin, **order)


def _collate(samples: Sequence[tuple[Tensor, Tensor]]) -> LabelledBatch:
    colors, labels = zip(*samples, strict=True)
    return LabelledBatch(torch.stack(colors), torch.stack(labels))


def _result(
    config: SegmentationConfig, taken: str, found: SegmentationFigures, best_step: int, seconds: float
) -> dict[str, Any]:
    return {
        "run": str(config.run),
        "task": "segmentation",
        "data": f"{config.data.dataset}, {config.data.classes}",
        "size": f"{config.size[0]}x{config.size[1]}",
        "network": f"{config.network} on {config.encoder}",
        "init": config.init,
        "pre-trained": taken,
        "fraction": config.data.fraction,
        "seed": config.seed,
        "figures": {"miou": found.miou, "pixel_accuracy": found.pixel_accuracy},
        "class_iou": found.class_iou,
        "best_step": best_step,
        "seconds": seconds,
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
