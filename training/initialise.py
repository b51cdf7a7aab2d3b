"""The networks of a run before its first step: what they are made of, and where the encoder's weights come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pri3d_zoo.convert import compare_keys, describe_state_dict
from pri3d_zoo.files import sha256_of
from pri3d_zoo.hub import CONFIG_FILE, find_weights
from pri3d_zoo.names import parse_name

from .colors import expect_imagenet_colors
from .config import Config, Method
from .data.augment import IMAGENET_MEAN, IMAGENET_STD
from .errors import InputError, first_line
from .networks.moco import MoCo
from .networks.sparse import SparseUNet
from .networks.two_branch import TwoBranch


def build_network(config: Config) -> TwoBranch | MoCo:
    """The network that a configuration names, with random weights from torch's generator.

    Raises:
        InputError: It cannot be built.
    """
    try:
        return _build_network(config)
    except InputError:
        raise
    except Exception as error:  # timm raises whatever it stumbles over
        raise InputError(
            f"no network can be built on model.encoder={config.model.encoder} ({first_line(error)}); take one of "
            "timm's with feature maps, such as resnet50 or convnext_tiny"
        ) from error


def _build_network(config: Config) -> TwoBranch | MoCo:
    if config.loss.method == Method.moco:
        return MoCo(config.model.encoder, config.moco.queue, config.moco.momentum)
    model = TwoBranch(
        config.model.encoder,
        None if config.loss.method == Method.view else config.model.unet3d,
        decoder=config.model.decoder,
        depth_head=config.loss.depth_weight > 0,
        backend3d=config.model.backend3d,
    )
    if config.model.grad_checkpointing_3d and config.loss.method != Method.view:
        assert isinstance(model.backbone3d, SparseUNet)
        model.backbone3d.set_grad_checkpointing()
    return model


def initial_model(config: Config) -> TwoBranch | MoCo:
    """The network of a run before its first step: the same for the same configuration.

    Raises:
        InputError, WeightsError: ``init`` is none of scratch, imagenet, imagenet:TAG, an encoder of the zoo or a weight
            folder, or its weights cannot be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_network(config)
    if (name := _timm_name(config)) is not None:
        try:
            pretrained = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as error:  # whatever the Hub client, the network or timm raise
            raise InputError(
                f"init={config.init}: timm could not get the weights {name} ({type(error).__name__}); "
                f"give init=FOLDER with a weight folder, or init=scratch"
            ) from error
        _load_encoder(
            model.backbone.encoder, pretrained.state_dict(), config, "timm's weights", pretrained.pretrained_cfg
        )
    elif config.init != "scratch":
        file = _weight_file(config)
        cfg = _pretrained_cfg(file.with_name(CONFIG_FILE))
        _load_encoder(model.backbone.encoder, load_file(file), config, file.name, cfg)
    if isinstance(model, MoCo):
        model.start_keys()
    return model


def describe_init(config: Config) -> str:
    """Where the encoder's first weights come from, for a run's records and the card of what becomes of it.

    Raises:
        InputError, WeightsError: ``init`` is none of scratch, imagenet, imagenet:TAG, an encoder of the zoo or a weight
            folder.
    """
    if config.init == "scratch":
        return f"from scratch, seed {config.seed}"
    name = _timm_name(config)
    if name is None:
        return f"encoder from the weights {Path(config.init).name}, SHA-256 {sha256_of(_weight_file(config))}"
    cfg = timm.get_pretrained_cfg(name)
    weights = f"{name.partition('.')[0]}.{cfg.tag}" if cfg is not None and cfg.tag else name
    return f"encoder from ImageNet, timm's weights {weights}"


def _timm_name(config: Config) -> str | None:
    """The name of timm's weights that ``init`` asks for, None if it asks for others."""
    word, _, tag = config.init.partition(":")
    if word != "imagenet":
        return None
    return f"{config.model.encoder}.{tag}" if tag else config.model.encoder


def _weight_file(config: Config) -> Path:
    if Path(config.init).exists():
        return find_weights(config.model.encoder, path=config.init)
    model, _, tag = config.init.partition(".")
    if (name := parse_name(model)) is None or name.dense:
        raise InputError(
            f"init={config.init}: it must be scratch, imagenet, an encoder of the zoo, or a weight folder that exists"
        )
    return find_weights(model, tag or None)


def _pretrained_cfg(file: Path) -> dict[str, Any]:
    """What a weight folder says of its images; nothing where a weight file stands alone."""
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text()).get("pretrained_cfg", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({first_line(error)}); export the weights again") from None


def _load_encoder(
    encoder: nn.Module, weights: dict[str, Tensor], config: Config, source: str, pretrained_cfg: Mapping[str, Any]
) -> None:
    with torch.device("meta"):
        whole = timm.create_model(config.model.encoder, num_classes=0).state_dict()  # and what lies behind its stages
    report = compare_keys(weights, whole)
    if not report.fits:
        raise InputError(
            f"init={config.init}: {source} seems to hold {describe_state_dict(weights)}, "
            f"not the encoder {config.model.encoder} ({report.summary()})"
        )
    encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})
    colors = pretrained_cfg.get("mean", IMAGENET_MEAN), pretrained_cfg.get("std", IMAGENET_STD)
    expect_imagenet_colors(encoder, config.model.encoder, *colors)
