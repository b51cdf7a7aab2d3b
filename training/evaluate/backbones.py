"""Weights by whatever name they have, as networks that give the feature maps of their stages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional as F

import pri3d_zoo
from pri3d_zoo.hub import CONFIG_FILE
from pri3d_zoo.names import METHODS, ModelName, parse_name
from pri3d_zoo.resunet import STRIDES, ResUNet, any_size, build_resunet, choose_stages

from ..data.augment import IMAGENET_MEAN, IMAGENET_STD
from ..errors import InputError, first_line
from ..run_folder import CONFIG, trained_network

DECODER = "decoder"  # the name of its output among the maps; the stages of the encoder go by strides


class FeatureMaps(nn.Module):
    """The feature maps of a network by name: the encoder's four stages and, of a dense model, the decoder's output.

    The stages go by the strides that they have in a ResNet, "stride 4" to "stride 32". Where an encoder has none at one
    of them, another stands there (``choose_stages``): of a plain vision transformer four of its blocks, evenly spread,
    all at the stride of its patches, but that a dense model brings them to those strides.

    The cells of a map tile the image: what has patches is given images resized to whole ones, at most half a patch
    larger or smaller. timm would pad them, and the cells reach beyond the lower and the right border.

    Args:
        network: A timm encoder, or a ResUNet; put into eval mode.
        mean: Of the colours, 0 to 1, as the network wants them normalised.
        std: Their deviation, likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.network = network.eval()
        ours, theirs = (
            torch.tensor(values)[..., None, None] for values in ((IMAGENET_MEAN, IMAGENET_STD), (mean, std))
        )
        self.register_buffer("scale", ours[1] / theirs[1])
        self.register_buffer("shift", (ours[0] - theirs[0]) / theirs[1])
        patches = getattr(network.encoder if isinstance(network, ResUNet) else network, "patch_embed", None)
        self.patch = patches.patch_size if isinstance(patches, PatchEmbed) else (1, 1)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps (B, C, h, w) of images (B, 3, H, W), normalised as ``augment.normalize`` does; the finest stage first,
        the decoder's output last."""
        images = self._whole_patches(images * self.scale + self.shift)
        if isinstance(self.network, ResUNet):
            stages: list[Tensor] = []
            handle = self.network.decoder.register_forward_pre_hook(lambda _, inputs: stages.extend(inputs[0]))
            try:
                last = {DECODER: self.network.forward_features(images)}
            finally:
                handle.remove()
        else:
            chosen = choose_stages([info["reduction"] for info in self.network.feature_info])  # type: ignore[union-attr]
            indices = sorted(set(chosen))
            found = self.network.forward_intermediates(images, indices=indices, intermediates_only=True)  # type: ignore[operator]
            stages, last = [found[indices.index(index)] for index in chosen], {}
        return {f"stride {stride}": stage for stride, stage in zip(STRIDES, stages, strict=True)} | last

    def _whole_patches(self, images: Tensor) -> Tensor:
        sizes = images.shape[-2:]
        whole = [max(1, round(size / side)) * side for size, side in zip(sizes, self.patch, strict=True)]
        return images if whole == list(sizes) else F.interpolate(images, whole, mode="bilinear", align_corners=False)


def computing_device() -> torch.device:
    """Where networks are measured: on a GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, eq=False)
class Backbone:
    """Weights that were found.

    Args:
        encoder: timm's name of the encoder.
        decoder: Which decoder is on it; None for an encoder alone.
        maps: The network.
        mean: Of the colours that it wants.
        std: Their deviation.
        radius: Of a run, metres between matching points that it trained with (``loss.radius``); None of other weights.
    """

    encoder: str
    decoder: str | None
    maps: FeatureMaps
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    radius: float | None = None

    @property
    def kind(self) -> str:
        """What network it is, for people."""
        return self.encoder + f", {self.decoder} decoder" * (self.decoder is not None)

    def random(self, seed: int) -> FeatureMaps:
        """The same network with random weights, a function of the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.decoder is not None:
                network: nn.Module = build_resunet(self.encoder, decoder=self.decoder)
            else:
                network = timm.create_model(self.encoder, num_classes=0, **any_size(self.encoder))
        return FeatureMaps(network, self.mean, self.std)


def load_backbone(name: str) -> Backbone:
    """The network of a run's folder, of a weight folder, of a name of the zoo, or of one of timm's with its weights.

    Raises:
        InputError, WeightsError: There is no such thing, or its weights cannot be had.
    """
    if (Path(name) / CONFIG).is_file():
        return _of_run(Path(name))
    config_file = Path(name) / CONFIG_FILE
    folder = config_file.is_file()
    model = name.partition(".")[0]
    arguments, config = {}, {}
    if folder:
        try:
            config = json.loads(config_file.read_text())
            model = str(config["architecture"])
            arguments = {key: value for key, value in config.get("model_args", {}).items() if key == "decoder"}
            if model == "resunet":  # then the method is not named, and does not matter
                model = str(ModelName(config["model_args"]["encoder_name"], METHODS[0], dense=True))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{config_file} names no architecture; export the run again") from None
    parsed = parse_name(model)
    if parsed is None and not folder and timm.is_model(model):
        try:
            network = timm.create_model(name, pretrained=True, num_classes=0, **any_size(model))
        except Exception as error:  # whatever the Hub client, the network or timm raise
            raise InputError(f"timm could not get weights for {name} ({first_line(error)})") from None
        return _of_network(model, network, network.pretrained_cfg)
    if parsed is None and folder:  # a weight folder names the bare encoder, so that timm loads it too
        parsed = ModelName(model, METHODS[0])
        model = str(parsed)
    network = pri3d_zoo.create_model(model if folder else name, checkpoint_path=name if folder else None, **arguments)
    assert parsed is not None  # create_model has refused what is no name
    return _of_network(parsed.encoder, network, config.get("pretrained_cfg", {}) if folder else network.pretrained_cfg)


def _of_run(run: Path) -> Backbone:
    config, trained = trained_network(run)
    encoder = config.model.encoder
    network: Any = trained.backbone
    if not isinstance(network, ResUNet):  # MoCo's encoder alone, made for images of one size if it is a transformer
        network = timm.create_model(encoder, num_classes=0, **any_size(encoder))
        network.prune_intermediate_layers(1, prune_norm=True)
        network.load_state_dict(trained.backbone.encoder.state_dict())
    return replace(_of_network(encoder, network, {}), radius=config.loss.radius)


def _of_network(encoder: str, network: nn.Module, pretrained_cfg: Any) -> Backbone:
    decoder = network.decoder.kind if isinstance(network, ResUNet) else None
    mean, std = pretrained_cfg.get("mean", IMAGENET_MEAN), pretrained_cfg.get("std", IMAGENET_STD)
    return Backbone(encoder, decoder, FeatureMaps(network, mean, std), mean, std)
