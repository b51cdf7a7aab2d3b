"""What a network that is fine-tuned starts from."""

from typing import Any

from torch import nn

from ..colors import expect_imagenet_colors
from ..errors import InputError
from .backbones import Backbone, FeatureMaps, load_backbone


def initial_backbone(init: str, encoder: str) -> Backbone | None:
    """The weights that a recipe's ``init`` names, for an encoder of timm's that is given ImageNet's colours, whatever
    they wanted; None for ``scratch``.

    Args:
        init: scratch, imagenet (timm's weights), imagenet:TAG, or whatever ``load_backbone`` takes.
        encoder: timm's name.

    Raises:
        InputError, WeightsError: It names nothing that is there, or its weights cannot be had.
    """
    if init == "scratch":
        return None
    word, _, tag = init.partition(":")
    name = (f"{encoder}.{tag}" if tag else encoder) if word == "imagenet" else init
    found = load_backbone(name)
    network: Any = found.maps.network
    encoder_only = network if found.decoder is None else network.encoder
    expect_imagenet_colors(encoder_only, found.encoder, found.mean, found.std)
    return Backbone(found.encoder, found.decoder, FeatureMaps(network))


def take_weights(target: nn.Module, source: nn.Module) -> None:
    """Copy the weights of a network into the same one, or into what timm makes of it that gives features.

    Raises:
        InputError: The two do not fit.
    """
    weights = source.state_dict()
    # timm's features_only keeps the model whole under "model.", or its parts, where "stages.0" may become "stages_0"
    prefix = "model." if hasattr(target, "model") else ""
    names = {key.replace(".", "_", 1): key for key in weights} | {key: key for key in weights}
    wanted = {key: names.get(key.removeprefix(prefix), key) for key in target.state_dict()}
    shapes = {key: tensor.shape for key, tensor in target.state_dict().items()}
    wrong = [name for key, name in wanted.items() if name not in weights or weights[name].shape != shapes[key]]
    if wrong:
        raise InputError(
            f"the weights do not fit this network: {len(wrong)} of its {len(wanted)} tensors are missing or of another "
            f"shape, such as {wrong[0]}; is it the same encoder?"
        )
    target.load_state_dict({key: weights[name] for key, name in wanted.items()})
