"""Mask R-CNN with a feature pyramid (He et al., ICCV 2017; Lin et al., CVPR 2017) on any encoder of timm's.

It is torchvision's, with the settings of ``pri3d_zoo/configs/detectron2``, which are those of Pri3D's authors. What
is torchvision's own and differs from detectron2: regions are sampled on a fixed 2x2 grid a bin and not shifted by half
a pixel, and the second box loss is smooth below an error of 1/9.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import timm
from timm.layers import freeze_batch_norm_2d
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from pri3d_zoo.resunet import STRIDES, any_size, choose_stages

from ..errors import InputError, first_line
from .backbones import Backbone
from .initial import take_weights

CHANNELS = 256  # of each level
LEVELS = 5  # at the strides 4 to 64
ASPECT_RATIOS = (0.5, 1.0, 2.0)
PROPOSALS = 1000  # an image, that go on to the heads in training
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class Pyramid(nn.Module):
    """Five levels of features at the strides 4 to 64, from the four stages of an encoder.

    Args:
        encoder: timm's name.

    Raises:
        InputError: timm has no such encoder, or it has no stages.
    """

    def __init__(self, encoder: str) -> None:
        super().__init__()
        try:
            self.encoder: Any = timm.create_model(encoder, num_classes=0, **any_size(encoder))
            stages = [(info["reduction"], info["num_chs"]) for info in self.encoder.feature_info]
            chosen = choose_stages([reduction for reduction, _ in stages])
            self._indices = sorted(set(chosen))
            self.encoder.prune_intermediate_layers(self._indices, prune_norm=True)
        except Exception as error:  # timm raises whatever it stumbles over
            raise InputError(f"Mask R-CNN cannot be built on {encoder} ({first_line(error)})") from None
        self._order = [self._indices.index(index) for index in chosen]
        self._reductions = [stages[index][0] for index in chosen]
        self.levels = FeaturePyramidNetwork(
            [stages[index][1] for index in chosen], CHANNELS, extra_blocks=LastLevelMaxPool()
        )
        self.out_channels = CHANNELS  # torchvision reads it

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Levels (B, 256, h, w) float32 by name, of images (B, 3, H, W) whose sizes are multiples of 32."""
        found = self.encoder.forward_intermediates(images, indices=self._indices, intermediates_only=True)
        stages = {}
        for number, (position, reduction, stride) in enumerate(
            zip(self._order, self._reductions, STRIDES, strict=True)
        ):
            stage = found[position]
            if reduction != stride:  # as in the zoo's dense model: a plain vision transformer has one stride for all
                size = [math.ceil(extent * reduction / stride) for extent in stage.shape[-2:]]
                stage = F.interpolate(stage, size, mode="bilinear", align_corners=False)
                # patches may reach beyond the right and lower border, where timm pads the image
                stage = stage[..., : images.shape[-2] // stride, : images.shape[-1] // stride]
            stages[str(number)] = stage
        # anchors get the type of the levels, and in bf16 their corners would be pixels off
        return {name: level.float() for name, level in self.levels(stages).items()}


class Detector(MaskRCNN):
    """Boxes, classes and masks of the objects in images, which are resized and normalised here.

    In training it is called with a list of images (3, H, W), 0 to 1, and one of targets with ``boxes`` (N, 4) x1 y1 x2
    y2 in pixels, ``labels`` (N,) from 1, ``masks`` (N, H, W) uint8, and returns the losses by name; in eval mode with
    images alone, and returns for each ``boxes``, ``labels``, ``scores`` (N,) and ``masks`` (N, 1, H, W) from 0 to 1.

    Args:
        encoder: timm's name.
        classes: How many, without the background.
        size: Shorter side of the images, and the limit of the longer one.
        short_sides: Others for the shorter side, of which training draws one for each image.
        frozen_stages: How many parts of the encoder keep their weights: 1 is the stem, 2 also the first stage.
        frozen_norms: Whether all batch norms of the encoder keep their weights and statistics.
        regions: Sampled an image in training, for the box head.
        score_threshold: Detections below it are left out.
        smallest_anchor: Pixels, at the finest level; twice that at each next one.

    Raises:
        InputError: It cannot be built on this encoder.
    """

    def __init__(
        self,
        encoder: str,
        classes: int,
        *,
        size: tuple[int, int] = (800, 1333),
        short_sides: Sequence[int] = (),
        frozen_stages: int = 2,
        frozen_norms: bool = True,
        regions: int = 512,
        score_threshold: float = 0.05,
        smallest_anchor: int = 32,
    ) -> None:
        pyramid = Pyramid(encoder)
        _freeze(pyramid.encoder, frozen_stages, frozen_norms)
        anchors = tuple((smallest_anchor * 2**level,) for level in range(LEVELS))
        super().__init__(
            pyramid,
            classes + 1,
            min_size=(*short_sides, size[0]),  # in eval mode torchvision takes the last
            max_size=size[1],
            rpn_anchor_generator=AnchorGenerator(anchors, (ASPECT_RATIOS,) * LEVELS),
            rpn_post_nms_top_n_train=PROPOSALS,
            box_batch_size_per_image=regions,
            box_score_thresh=score_threshold,
        )
        _draw_heads(self.roi_heads)
        # box arithmetic takes the type of what the heads predict
        for head in (self.rpn.head, self.roi_heads.box_predictor, self.roi_heads.mask_predictor):
            head.register_forward_hook(_to_float32)

    @property
    def encoder(self) -> nn.Module:
        """The timm model, without what lies behind its last stage."""
        encoder: nn.Module = self.backbone.encoder
        return encoder

    def load(self, backbone: Backbone) -> str:
        """Take over the weights of an encoder, or of that of a dense model; says what was taken.

        Raises:
            InputError: They are of another encoder.
        """
        network: Any = backbone.maps.network
        take_weights(self.encoder, network.encoder if backbone.decoder is not None else network)
        return "encoder"

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters to train: those that decay, and those of norms, which do not (detectron2's default)."""
        norms = {id(parameter) for module in self.modules() if isinstance(module, NORMS) for parameter in
                 module.parameters(recurse=False)}  # fmt: skip
        both: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for parameter in self.parameters():
            if parameter.requires_grad:
                both[id(parameter) in norms].append(parameter)
        return both


def _freeze(encoder: Any, stages: int, norms: bool) -> None:
    """Freeze the first parts of an encoder, and its batch norms there or everywhere."""
    matcher: Callable[..., Any] = encoder.group_matcher
    groups = group_parameters(encoder, matcher(coarse=True))
    frozen = {name for number in sorted(groups)[:stages] for name in groups[number]}
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for name, module in list(encoder.named_modules()):
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if batch_norm and (norms or f"{name}.weight" in frozen):
            encoder.set_submodule(name, freeze_batch_norm_2d(module))


def _draw_heads(heads: Any) -> None:
    """Draw the first weights of the box head as detectron2 does, and those of the mask's last layer by its inputs.

    Torchvision draws these by its outputs, so that they grow as classes become few, and with two it diverges.
    Detectron2 starts them at nearly nothing, from where each class finds its way by itself, and slowly.
    """
    for layer in (heads.box_head.fc6, heads.box_head.fc7):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    for layer, deviation in ((heads.box_predictor.cls_score, 0.01), (heads.box_predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(heads.mask_predictor.mask_fcn_logits.weight, mode="fan_in", nonlinearity="relu")


def _to_float32(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    return output.float() if isinstance(output, Tensor) else type(output)(_to_float32(_module, (), o) for o in output)
