"""Fine-tuning for detection and instance segmentation, with the loop of pre-training, and its average precision."""

import logging
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..data.dataset import StepSampler
from ..errors import InputError
from ..loop import LoopSettings, train
from ..pretrain import start_accelerator
from ..run_folder import open_run
from .best import Best
from .coco_data import (
    CocoFile,
    CocoImage,
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
from .initial import initial_backbone
from .labelled_images import fraction, listed
from .results import append_result

CRITERION = "mask_ap50"  # of the best evaluation; the paper's tables are of AP50
INSIDE = 0.5  # a mask's value from which a pixel is of the object
FIRST_RATE = 0.001  # share of the learning rate that the first step takes, as in detectron2

logger = logging.getLogger(__name__)


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
    begin = perf_counter()
    check_detection(config)
    run = Path(config.run)
    training, validation, truth = read_data(config.data, config.seed)
    accelerator = start_accelerator(config.precision)
    model, taken = initial_detector(config, len(training.labels))
    if accelerator.is_main_process:
        open_run(config, f"{taken} from {config.init}, the rest from seed {config.seed}", accelerator.num_processes)
    accelerator.wait_for_everyone()
    decaying, norms = model.groups()
    optimizer = torch.optim.SGD(
        [{"params": decaying, "weight_decay": config.optimizer.weight_decay}, {"params": norms, "weight_decay": 0.0}],
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        fused=True,
    )

    def batches_from(start: int):  # type: ignore[no-untyped-def]  # DataLoader's own type says nothing of its batches
        sampler = StepSampler(
            len(training),
            config.batch_size,
            seed=config.seed,
            start=start,
            stop=config.steps,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        return _loader(training, accelerator, config.data.workers, batch_sampler=sampler)

    def measure(plain: nn.Module) -> dict[str, Any]:
        return asdict(evaluate(plain, validation, truth, accelerator, config.data.workers))

    best = Best(run, measure, CRITERION, writes=accelerator.is_main_process)

    def before_step(plain: nn.Module, step: int) -> None:
        if step and step % config.evaluate_every == 0:
            best.evaluate(plain, step)

    settings = LoopSettings(
        steps=config.steps,
        accumulate=1,
        seed=config.seed,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        learning_rate=lambda step: learning_rate(step, config.optimizer),
        before_step=before_step,
    )
    logger.info("%d images to train on, %d to validate; %s from %s", len(training), len(validation), taken, config.init)
    if not train(accelerator, model, optimizer, DetectionTask(), batches_from, run, settings):
        return None
    best.evaluate(accelerator.unwrap_model(model), config.steps)
    if config.results is not None and accelerator.is_main_process:
        append_result(Path(config.results), _result(config, taken, best, perf_counter() - begin))
    return DetectionFigures(**best.figures)


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
    images: list[CocoImage] = find_images(train, Path(config.store))
    if config.images is not None:
        images = listed(images, Path(config.images))
    images = with_objects(fraction(images, config.fraction, seed), train)
    validation = find_images(truth, Path(config.validation or config.store))
    return CocoImages(images, categories), CocoImages(validation, categories), truth


def initial_detector(config: DetectionConfig, classes: int) -> tuple[Detector, str]:
    """The network before its first step, and which parts of it are not random.

    Raises:
        InputError, WeightsError: ``init`` names nothing that is there, or its weights do not fit.
    """
    with torch.random.fork_rng():
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


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: CocoImages, truth: CocoFile, accelerator: Accelerator, workers: int
) -> DetectionFigures:
    """The figures of a network over a whole split, computed by every process for itself; it is left as it was."""
    was_training = model.training
    model.eval()
    categories = {label: id for id, label in dataset.labels.items()}
    detections: list[dict[str, Any]] = []
    with torch.random.fork_rng(), accelerator.autocast():
        for batch in _loader(dataset, accelerator, workers, batch_size=1):
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
    model.train(was_training)
    return average_precision(truth, detections)


def _loader(dataset: CocoImages, accelerator: Accelerator, workers: int, **order: Any) -> DataLoader[ObjectBatch]:
    return DataLoader(
        dataset,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        **order,
    )


def _result(config: DetectionConfig, taken: str, best: Best, seconds: float) -> dict[str, Any]:
    return {
        "run": str(config.run),
        "task": "detection",
        "data": f"{config.data.train}, {config.data.val}",
        "size": f"{config.size[0]}, at most {config.size[1]}",
        "network": f"mask r-cnn on {config.encoder}",
        "init": config.init,
        "pre-trained": taken,
        "fraction": config.data.fraction,
        "seed": config.seed,
        "figures": best.figures,
        "best_step": best.step,
        "seconds": seconds,
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
