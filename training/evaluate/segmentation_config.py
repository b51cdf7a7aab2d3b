"""The configuration of a fine-tuning for semantic segmentation; the defaults are the authors' for their UNet."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from ..config import Precision
from .segmenters import Network


@dataclass
class LabelledDataConfig:
    """Which images."""

    dataset: str = "nyuv2"  # the layout: nyuv2, scannet, kitti, cityscapes, or store
    store: str = MISSING  # the folder of the dataset
    validation: str | None = None  # that of the validation split, if it is another one
    classes: str = "nyu13"  # nyu13, nyu40, scannet20, cityscapes19
    fraction: float = 1.0  # of the training images, scene by scene, drawn by the seed
    images: str | None = None  # a text file that names the training images, or scenes, one a line
    workers: int = 2  # loader processes


@dataclass
class FineTuneConfig:
    """SGD with the polynomial schedule, by step."""

    lr: float = 0.01
    momentum: float = 0.9
    dampening: float = 0.0
    weight_decay: float = 0.0
    poly_power: float = 0.9
    encoder_factor: float = 1.0  # on the rate of the encoder's parameters
    others_factor: float = 1.0  # and on that of all others


@dataclass
class SegmentationConfig:
    """One fine-tuning run."""

    run: str = MISSING  # the folder of the run
    results: str | None = None  # the study's file that the result is added to
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    network: Network = Network.resunet
    encoder: str = "resnet50"  # a name of timm's
    auxiliary_weight: float = 0.0  # of the auxiliary head's loss, pspnet's alone; 0: no such head
    # scratch, imagenet (timm's weights), imagenet:TAG, a name of the zoo or of timm, a weight folder, or a run's folder
    init: str = "imagenet"
    with_decoder: bool = False  # whether the decoder's weights are taken too
    optimizer: FineTuneConfig = field(default_factory=FineTuneConfig)
    size: list[int] = field(default_factory=lambda: [240, 320])  # height, width
    batch_size: int = 8
    epochs: float = 80
    steps: int | None = None  # instead of the epochs
    evaluate_every: float = 5  # epochs
    seed: int = 0
    precision: Precision = Precision.auto
    log_every: int = 10
    checkpoint_every: int = 500
