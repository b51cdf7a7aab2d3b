"""The configuration of a fine-tuning for detection and instance segmentation.

The defaults are the authors' for ScanNet, as ``pri3d_zoo/configs/detectron2`` has them.
"""

from dataclasses import dataclass, field

from ..config import check_numbers
from ..errors import InputError
from .finetune_config import FineTuneConfig, ImagesConfig, SgdConfig


@dataclass
class CocoDataConfig(ImagesConfig):
    """Which images, in COCO's form; the file names in the annotations start from ``store`` and ``validation``."""

    annotations: str | None = None  # the folder of the files of annotations, if it is another one than store
    train: str = "scannet_train.coco.json"
    val: str = "scannet_val.coco.json"


@dataclass
class StepwiseConfig(SgdConfig):
    """SGD whose rate rises in the first steps and falls to a tenth at certain later ones."""

    lr: float = 0.0025
    weight_decay: float = 1e-4  # not of norms
    warmup_steps: int = 1000
    lower_at: list[int] = field(default_factory=lambda: [60_000, 80_000])  # steps


@dataclass
class DetectionConfig(FineTuneConfig):
    """One fine-tuning run."""

    data: CocoDataConfig = field(default_factory=CocoDataConfig)
    frozen_stages: int = 2  # of the encoder: 1 the stem, 2 also the first stage
    frozen_norms: bool = True  # all batch norms of the encoder
    regions: int = 32  # an image, that the box head learns from
    score_threshold: float = 0.5  # less certain detections do not count
    smallest_anchor: int = 32  # pixels, at the finest level; twice that at each next one
    optimizer: StepwiseConfig = field(default_factory=StepwiseConfig)
    size: list[int] = field(default_factory=lambda: [800, 1333])  # shorter side, and the limit of the longer one
    # others for the shorter side, of which training draws one for each image
    short_sides: list[int] = field(default_factory=lambda: [640, 672, 704, 736, 768])
    batch_size: int = 16
    steps: int = 90_000
    evaluate_every: int = 10_000  # steps
    log_every: int = 20
    checkpoint_every: int = 1000


def check_detection(config: DetectionConfig) -> None:
    """Raise InputError for a value out of range, or values that do not go together."""
    check_numbers(config, "evaluate_every", "regions", "smallest_anchor")
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
