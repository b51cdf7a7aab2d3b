"""Networks that give each pixel a class, on any encoder of timm's: the zoo's dense model, PSPNet, DeepLabV3 and V3+.

All but the first are segmentation_models_pytorch's, on its bridge to timm.
"""

from enum import StrEnum
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torch.nn import functional as F

from pri3d_zoo.resunet import build_resunet

from ..errors import InputError, first_line
from .backbones import Backbone
from .initial import take_weights

AUXILIARY_STAGE = -2  # of the encoder's stages: the last but one, as in PSPNet's paper (Zhao et al., CVPR 2017)
AUXILIARY_CHANNELS = 256


class Network(StrEnum):
    """What makes classes of an encoder's stages."""

    resunet = "resunet"  # Pri3D's decoder and a 1x1 convolution
    pspnet = "pspnet"  # at stride 8, with an auxiliary head
    deeplabv3 = "deeplabv3"  # at stride 16
    deeplabv3plus = "deeplabv3plus"  # at stride 16


class Segmenter(nn.Module):
    """Class scores of each pixel.

    Args:
        network: Which.
        encoder: timm's name.
        classes: How many.
        auxiliary: Whether a second head on an inner stage is trained too (PSPNet).

    Raises:
        InputError: The network cannot be built on this encoder.
    """

    def __init__(self, network: Network, encoder: str, classes: int, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.kind = network
        self.auxiliary: nn.Module | None = None
        try:
            if network == Network.resunet:
                self.network: Any = build_resunet(encoder, num_classes=classes)
            else:
                self.network = _smp_network(network, encoder, classes)
        except Exception as error:  # timm and segmentation_models_pytorch raise whatever they stumble over
            raise InputError(f"{network} cannot be built on {encoder} ({first_line(error)})") from None
        if auxiliary:
            if network != Network.pspnet:
                raise InputError(f"{network} has no auxiliary head; pspnet has")
            channels = self.network.encoder.out_channels[AUXILIARY_STAGE]
            self.auxiliary = nn.Sequential(
                nn.Conv2d(channels, AUXILIARY_CHANNELS, 3, padding=1, bias=False),
                nn.BatchNorm2d(AUXILIARY_CHANNELS),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.1),
                nn.Conv2d(AUXILIARY_CHANNELS, classes, 1),
            )

    @property
    def encoder(self) -> nn.Module:
        """The timm model, or a part of it under the same names."""
        encoder: nn.Module = self.network.encoder
        return encoder if self.kind == Network.resunet else encoder.model  # type: ignore[return-value]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores (B, classes, H, W) of images (B, 3, H, W), normalised; in training those of the second head after."""
        if self.kind == Network.resunet:
            scores = [self.network(images)]
        else:
            stages = self.network.encoder(images)
            scores = [self.network.segmentation_head(self.network.decoder(stages))]
            if self.auxiliary is not None and self.training:
                scores.append(self.auxiliary(stages[AUXILIARY_STAGE]))
        # segmentation_models_pytorch enlarges its scores by a whole factor, with their corners on those of the image
        size, corners = images.shape[-2:], self.kind != Network.resunet
        return [
            each if each.shape[-2:] == size else F.interpolate(each, size, mode="bilinear", align_corners=corners)
            for each in scores
        ]

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters of the encoder, and the others."""
        first = {id(parameter) for parameter in self.encoder.parameters()}
        both: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for parameter in self.parameters():
            both[id(parameter) not in first].append(parameter)
        return both

    def load(self, backbone: Backbone, *, decoder: bool) -> str:
        """Take over the weights of an encoder and, if ``decoder``, of the dense model's decoder; says what was taken.

        Raises:
            InputError: They are of another encoder, or there is no decoder to give or to take.
        """
        network = backbone.maps.network
        dense = backbone.decoder is not None
        if decoder and not (dense and self.kind == Network.resunet and backbone.decoder == "authors"):
            raise InputError(
                "with_decoder=true needs resunet and the weights of a dense model with the authors' decoder"
            )
        take_weights(self.encoder, network.encoder if dense else network)  # type: ignore[arg-type]
        if decoder:
            take_weights(self.network.decoder, network.decoder)  # type: ignore[arg-type]
        return "encoder and decoder" if decoder else "encoder"


def _smp_network(network: Network, encoder: str, classes: int) -> nn.Module:
    settings: dict[str, Any] = {"encoder_name": f"tu-{encoder}", "encoder_weights": None, "classes": classes}
    match network:
        case Network.pspnet:
            built: nn.Module = smp.PSPNet(**settings, encoder_depth=5, output_stride=8, upsampling=8)
        case Network.deeplabv3:
            built = smp.DeepLabV3(**settings, encoder_output_stride=16)
        case _:
            built = smp.DeepLabV3Plus(**settings, encoder_output_stride=16)
    return built
