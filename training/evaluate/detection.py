"""Fine-tuning for detection and instance segmentation, and its average precision."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..errors import InputError
from .coco_data import (
    CocoFile,
    CocoImages,
    ObjectBatch,
    collate,
    find_images,
    read_coco,
    shared_categories,
    with_objects,
)
from .coco_masks import encode_mask
from .coco_metrics import DetectionFigures, average_precision
from .detection_config import CocoDataConfig, DetectionConfig, StepwiseConfig, check_detection
from .detectors import Detector
from .finetune import FineTuning, chosen, evaluating, fine_tune, loader
from .initial import initial_backbone

INSIDE = 0.5  # a mask's value from which a pixel is of the object
FIRST_RATE = 0.001  # share of the learning rate that the first step takes, as in detectron2


class DetectionTask:
    """The five losses of Mask R-CNN."""

    def __call__(self, model: nn.Module, batch: ObjectBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses by name, to be added up, and no other figures."""
        losses = model([color.float() / 255 for color in batch.colors], batch.targets)
        return {name.removeprefix("loss_"): loss for name, loss in losses.items()}, {}


def detect(config: DetectionConfig) -> DetectionFigures | None:
    """Run or continue the fine-tuning that ``config`` describes, in the folder ``config.run``.

    The figures are those of the best of the evaluations on the validation split, by the masks' AP50; they are added to
    ``config.results``.

    Returns:
        The figures, or None where a signal stopped the run, after saving.

    Raises:
        InputError: The configuration, the data, the initialisation or the state of the run folder does not fit.
    """
    check_detection(config)
    found = fine_tune(config, _prepare)
    return None if found is None else DetectionFigures(**found)


def _prepare(config: DetectionConfig) -> FineTuning:
    training, validation, truth = read_data(config.data, config.seed)
    model, taken = initial_detector(config, len(training.labels))
    decaying, norms = model.groups()
    return FineTuning(
        training=training,
        validation=validation,
        collate=collate,
        model=model,
        taken=taken,
        groups=[
            {"params": decaying, "weight_decay": config.optimizer.weight_decay},
            {"params": norms, "weight_decay": 0.0},
        ],
        task=DetectionTask(),
        steps=config.steps,
        evaluate_every=config.evaluate_every,
        learning_rate=lambda step: learning_rate(step, config.optimizer),
        measure=lambda network, accelerator: asdict(
            evaluate(network, validation, truth, accelerator, config.data.workers)
        ),
        criterion="mask_ap50",  # the paper's tables are of AP50
        described={
            "task": "detection",
            "data": f"{config.data.train}, {config.data.val}",
            "size": f"{config.size[0]}, at most {config.size[1]}",
            "network": f"mask r-cnn on {config.encoder}",
        },
    )


def read_data(config: CocoDataConfig, seed: int) -> tuple[CocoImages, CocoImages, CocoFile]:
    """The images to train on, those to validate on, and the annotations of these.

    Raises:
        InputError: A file is missing, broken or empty, or the two do not fit each other.
    """
    annotations = Path(config.annotations or config.store)
    train, truth = read_coco(annotations / config.train), read_coco(annotations / config.val)
    if all(row.get("iscrowd") for row in truth.content["annotations"]):
        raise InputError(f"{truth.path} has no object to find, so nothing can be measured; name another file")
    categories = list(shared_categories(train, truth))
    images = with_objects(chosen(find_images(train, Path(config.store)), config, seed), train)
    validation = find_images(truth, Path(config.validation or config.store))
    return CocoImages(images, categories), CocoImages(validation, categories), truth


def initial_detector(config: DetectionConfig, classes: int) -> tuple[Detector, str]:
    """The network before its first step, and which parts of it are not random.

    Raises:
        InputError, WeightsError: ``init`` names nothing that is there, or its weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Detector(
            config.encoder,
            classes,
            size=(config.size[0], config.size[1]),
            short_sides=config.short_sides,
            frozen_stages=config.frozen_stages,
            frozen_norms=config.frozen_norms,
            regions=config.regions,
            score_threshold=config.score_threshold,
            smallest_anchor=config.smallest_anchor,
        )
    backbone = initial_backbone(config.init, config.encoder)
    return model, "nothing" if backbone is None else model.load(backbone)


def learning_rate(step: int, config: StepwiseConfig) -> float:
    """The rate of a step, counted from 0."""
    rate = config.lr * 0.1 ** sum(step >= lower for lower in config.lower_at)
    done = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    return rate * (FIRST_RATE * (1 - done) + done)


def evaluate(
    model: nn.Module, dataset: CocoImages, truth: CocoFile, accelerator: Accelerator, workers: int
) -> DetectionFigures:
    """The figures of a network over a whole split, computed by every process for itself; it is left as it was."""
    categories = {label: id for id, label in dataset.labels.items()}
    detections: list[dict[str, Any]] = []
    with evaluating(model, accelerator):
        for batch in loader(dataset, collate, accelerator, workers, batch_size=1):
            here = batch.to(accelerator.device)
            (found,) = model([color.float() / 255 for color in here.colors])
            corners = found["boxes"]
            boxes = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1).tolist()
            masks = (found["masks"][:, 0] >= INSIDE).cpu().numpy()
            detections += [
                {
                    "image_id": batch.numbers[0],
                    "category_id": categories[label],
                    "bbox": box,
                    "score": score,
                    "segmentation": encode_mask(mask),
                }
                for label, box, score, mask in zip(
                    found["labels"].tolist(), boxes, found["scores"].tolist(), masks, strict=True
                )
            ]
    return average_precision(truth, detections)
