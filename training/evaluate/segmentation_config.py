"""The configuration of a fine-tuning for semantic segmentation; the defaults are the authors' for their UNet."""

from dataclasses import dataclass, field

from .finetune_config import FineTuneConfig, ImagesConfig, SgdConfig
from .segmenters import Network


@dataclass
class LabelledDataConfig(ImagesConfig):
    """Which images, with labels."""

    dataset: str = "nyuv2"  # the layout: nyuv2, scannet, kitti, cityscapes, or store
    classes: str = "nyu13"  # nyu13, nyu40, scannet20, cityscapes19


@dataclass
class PolynomialConfig(SgdConfig):
    """SGD with the polynomial schedule, by step."""

    dampening: float = 0.0
    poly_power: float = 0.9
    encoder_factor: float = 1.0  # on the rate of the encoder's parameters
    others_factor: float = 1.0  # and on that of all others


@dataclass
class SegmentationConfig(FineTuneConfig):
    """One fine-tuning run."""

    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    network: Network = Network.resunet
    auxiliary_weight: float = 0.0  # of the auxiliary head's loss, pspnet's alone; 0: no such head
    with_decoder: bool = False  # whether the decoder's weights are taken too
    optimizer: PolynomialConfig = field(default_factory=PolynomialConfig)
    size: list[int] = field(default_factory=lambda: [240, 320])  # height, width
    epochs: float = 80
    steps: int | None = None  # instead of the epochs
    evaluate_every: float = 5  # epochs
