"""The configuration of a fine-tuning for detection and instance segmentation.

The defaults are the authors' for ScanNet, as ``pri3d_zoo/configs/detectron2`` has them.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from ..config import Precision
from ..errors import InputError


@dataclass
class CocoDataConfig:
    """Which images, in COCO's form."""

    store: str = MISSING  # the folder that the file names in the annotations start from
    validation: str | None = None  # that of the validation split, if it is another one
    annotations: str | None = None  # the folder of the files of annotations, if it is another one than store
    train: str = "scannet_train.coco.json"
    val: str = "scannet_val.coco.json"
    fraction: float = 1.0  # of the training images, scene by scene, drawn by the seed
    images: str | None = None  # a text file that names the training images, or scenes, one a line
    workers: int = 2  # loader processes


@dataclass
class StepwiseConfig:
    """SGD whose rate rises in the first steps and falls to a tenth at certain later ones."""

    lr: float = 0.0025
    momentum: float = 0.9
    weight_decay: float = 1e-4  # not of norms
    warmup_steps: int = 1000
    lower_at: list[int] = field(default_factory=lambda: [60_000, 80_000])  # steps


@dataclass
class DetectionConfig:
    """One fine-tuning run."""

    run: str = MISSING  # the folder of the run
    results: str | None = None  # the study's file that the result is added to
    data: CocoDataConfig = field(default_factory=CocoDataConfig)
    encoder: str = "resnet50"  # a name of timm's
    frozen_stages: int = 2  # of the encoder: 1 the stem, 2 also the first stage
    frozen_norms: bool = True  # all batch norms of the encoder
    regions: int = 32  # an image, that the box head learns from
    score_threshold: float = 0.5  # less certain detections do not count
    smallest_anchor: int = 32  # pixels, at the finest level; twice that at each next one
    # scratch, imagenet (timm's weights), imagenet:TAG, a name of the zoo or of timm, a weight folder, or a run's folder
    init: str = "imagenet"
    optimizer: StepwiseConfig = field(default_factory=StepwiseConfig)
    size: list[int] = field(default_factory=lambda: [800, 1333])  # shorter side, and the limit of the longer one
    # others for the shorter side, of which training draws one for each image
    short_sides: list[int] = field(default_factory=lambda: [640, 672, 704, 736, 768])
    batch_size: int = 16
    steps: int = 90_000
    evaluate_every: int = 10_000  # steps
    seed: int = 0
    precision: Precision = Precision.auto
    log_every: int = 20
    checkpoint_every: int = 1000


def check_detection(config: DetectionConfig) -> None:
    """Raise InputError for a value out of range, or values that do not go together."""
    positive = {
        "optimizer.lr": config.optimizer.lr,
        "regions": config.regions,
        "smallest_anchor": config.smallest_anchor,
        "batch_size": config.batch_size,
        "steps": config.steps,
        "evaluate_every": config.evaluate_every,
        "log_every": config.log_every,
        "checkpoint_every": config.checkpoint_every,
    }
    for key, value in positive.items():
        if not value > 0:
            raise InputError(f"{key}={value}: it must be greater than 0")
    sides = [*config.short_sides, *config.size]
    if len(config.size) != 2 or min(sides) < 32 or max(sides) > config.size[1]:
        raise InputError(
            f"size={config.size}, short_sides={config.short_sides}: size must be [shorter side,limit of the "
            f"longer one], and each shorter side at least 32 and at most the limit"
        )
    if not 0 <= config.score_threshold < 1:
        raise InputError(f"score_threshold={config.score_threshold}: it must be 0 or more, and below 1")
    if config.init == "scratch" and (config.frozen_stages or config.frozen_norms):
        raise InputError(
            f"init=scratch with frozen_stages={config.frozen_stages} and frozen_norms={config.frozen_norms}: what is "
            f"frozen would stay random; add frozen_stages=0 frozen_norms=false"
        )
