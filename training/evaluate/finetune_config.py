"""What the configurations of all fine-tunings have in common."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from ..config import OnNonfinite, Precision


@dataclass
class ImagesConfig:
    """Which images."""

    store: str = MISSING  # the folder of the images
    validation: str | None = None  # that of the validation split, if it is another one
    fraction: float = 1.0  # of the training images, scene by scene, drawn by the seed
    images: str | None = None  # a text file that names the training images, or scenes, one a line
    workers: int = 2  # loader processes


@dataclass
class SgdConfig:
    """Stochastic gradient descent."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0


@dataclass
class FineTuneConfig:
    """One fine-tuning run, of whatever task."""

    run: str = MISSING  # the folder of the run
    results: str | None = None  # the study's file that the result is added to
    data: ImagesConfig = field(default_factory=ImagesConfig)
    encoder: str = "resnet50"  # a name of timm's
    # scratch, imagenet (timm's weights), imagenet:TAG, a name of the zoo or of timm, a weight folder, or a run's folder
    init: str = "imagenet"
    optimizer: SgdConfig = field(default_factory=SgdConfig)
    batch_size: int = 8
    seed: int = 0
    precision: Precision = Precision.auto
    on_nonfinite: OnNonfinite = OnNonfinite.stop
    log_every: int = 10
    checkpoint_every: int = 500
