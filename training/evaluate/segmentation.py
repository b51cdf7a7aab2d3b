"""Fine-tuning for semantic segmentation, and its figures on the validation split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import check_numbers, check_size
from ..data.augment import normalize
from ..errors import InputError
from .confusion import ConfusionMatrix, SegmentationFigures, figures
from .finetune import FineTuning, chosen, evaluating, fine_tune, loader
from .initial import initial_backbone
from .label_sets import IGNORED, label_set
from .labelled_images import LabelledImages, find_items
from .segmentation_config import SegmentationConfig
from .segmenters import Network, Segmenter


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
        InputError: The configuration, the data, the initialisation or the state of the run folder does not fit.
    """
    check_numbers(config, "evaluate_every", "epochs")
    check_size(config.size)
    found = fine_tune(config, _prepare)
    return None if found is None else SegmentationFigures(**found)


def _prepare(config: SegmentationConfig) -> FineTuning:
    training, validation = read_data(config)
    epoch = len(training) / config.batch_size
    steps = config.steps or max(1, round(config.epochs * epoch))
    model, taken = initial_segmenter(config, len(training.classes.classes))
    settings = config.optimizer
    factors = (settings.encoder_factor, settings.others_factor)
    return FineTuning(
        training=training,
        validation=validation,
        collate=_collate,
        model=model,
        taken=taken,
        groups=[
            {"params": part, "factor": factor, "dampening": settings.dampening, "weight_decay": settings.weight_decay}
            for part, factor in zip(model.groups(), factors, strict=True)
        ],
        task=SegmentationTask(config.auxiliary_weight),
        steps=steps,
        evaluate_every=max(1, round(config.evaluate_every * epoch)),
        learning_rate=lambda step: settings.lr * (1 - step / steps) ** settings.poly_power,
        measure=lambda network, accelerator: asdict(
            evaluate(network, validation, accelerator, config.batch_size, config.data.workers)
        ),
        criterion="miou",
        described={
            "task": "segmentation",
            "data": f"{config.data.dataset}, {config.data.classes}",
            "size": f"{config.size[0]}x{config.size[1]}",
            "network": f"{config.network} on {config.encoder}",
        },
        details=("class_iou",),
    )


def read_data(config: SegmentationConfig) -> tuple[LabelledImages, LabelledImages]:
    """The images to train on, and those to validate on.

    Raises:
        InputError: There is no such dataset or set of classes, or nothing of it in the folder.
    """
    data, size = config.data, (config.size[0], config.size[1])
    classes = label_set(data.classes)
    training = chosen(find_items(data.dataset, Path(data.store), "train"), data, config.seed)
    validation = find_items(data.dataset, Path(data.validation or data.store), "val")
    return LabelledImages(training, classes, size), LabelledImages(validation, classes, size)


def initial_segmenter(config: SegmentationConfig, classes: int) -> tuple[Segmenter, str]:
    """The network before its first step, and which parts of it are not random.

    Raises:
        InputError, WeightsError: ``init`` names nothing that is there, its weights do not fit, or the network takes no
            images of this size.
    """
    if config.network == Network.deeplabv3plus and any(side % 16 for side in config.size):
        raise InputError(f"size={config.size}: deeplabv3plus puts stages side by side, and wants multiples of 16")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Segmenter(config.network, config.encoder, classes, auxiliary=config.auxiliary_weight > 0)
    backbone = initial_backbone(config.init, config.encoder)
    if backbone is not None:
        return model, model.load(backbone, decoder=config.with_decoder)
    if config.with_decoder:
        raise InputError("with_decoder=true takes a decoder from init, and init=scratch has none")
    return model, "nothing"


def evaluate(
    model: nn.Module, dataset: LabelledImages, accelerator: Accelerator, batch_size: int, workers: int
) -> SegmentationFigures:
    """The figures of a network over a whole split, computed by every process for itself; it is left as it was."""
    matrix = ConfusionMatrix(len(dataset.classes.classes), accelerator.device)
    with evaluating(model, accelerator):
        for batch in loader(dataset, _collate, accelerator, workers, batch_size=batch_size):
            here = batch.to(accelerator.device)
            matrix.add(model(normalize(here.color))[0].argmax(1), here.labels)
    return figures(matrix)


def _collate(samples: Sequence[tuple[Tensor, Tensor]]) -> LabelledBatch:
    colors, labels = zip(*samples, strict=True)
    return LabelledBatch(torch.stack(colors), torch.stack(labels))
