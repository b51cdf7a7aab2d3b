"""The norms of weights that stand before a batch norm, set back to what they were before training.

Such a weight may have any norm: the batch norm divides by it. But the gradient of what is normalised is at right angles
to the weight, so that every step of training makes it longer, and the longer it is the less a step of the same learning
rate turns it, by the square. Weights that pre-training has made several times longer would hardly move in fine-tuning.
Their norm of before, with the statistics of the batch norm scaled along, changes nothing in what the network computes.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def weight_norms(model: nn.Module) -> dict[str, float]:
    """The norm of each convolution's weight, by the convolution's name."""
    convolutions = {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    return {name: float(part.weight.detach().norm()) for name, part in convolutions.items()}


def normalised_convolutions(model: nn.Module, forward: Callable[[], object]) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """The convolutions whose output goes into a batch norm as it is, each with that, in order.

    Args:
        model: Whose they are.
        forward: Makes a forward pass of it, which tells.
    """
    makers: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the identity of the output, which is kept alive
    pairs: list[tuple[nn.Conv2d, _BatchNorm]] = []

    def made(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        makers[id(output)] = (module, output)

    def taken(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _BatchNorm)
        if id(inputs[0]) in makers:
            pairs.append((makers[id(inputs[0])][0], module))

    hooks = [part.register_forward_hook(made) for part in model.modules() if isinstance(part, nn.Conv2d)]
    hooks += [part.register_forward_pre_hook(taken) for part in model.modules() if isinstance(part, _BatchNorm)]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


@torch.no_grad()
def restore_norms(model: nn.Module, norms: Mapping[str, float], forward: Callable[[], object]) -> None:
    """Give each convolution that a batch norm follows its former norm, in place.

    Args:
        model: Trained, in eval mode: batch norms use the statistics that they have.
        norms: ``weight_norms`` of it before.
        forward: As ``normalised_convolutions`` needs it.
    """
    names = {part: name for name, part in model.named_modules()}
    for convolution, norm in normalised_convolutions(model, forward):
        factor = norms[names[convolution]] / convolution.weight.norm()
        convolution.weight *= factor
        if convolution.bias is not None:
            convolution.bias *= factor
        if norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean *= factor
            norm.running_var *= factor**2
