"""The momentum of batch norms as a schedule, which the authors' training has beside that of the learning rate."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norm_momentum(step: int, first: float, halve_every: int, least: float) -> float:
    """The momentum at a step, counted from 0: ``first``, halved every so many steps, but never below ``least``.

    The authors' are 0.5, 20 and 0.001, so 0.001 from step 180 on (``initialize_bnm_scheduler`` in ``solver.py`` of
    Sekunde/Pri3D, which by a slip makes each change one step later).
    """
    return max(first * 0.5 ** (step // halve_every), least)


def set_batch_norm_momentum(model: nn.Module, momentum: float) -> None:
    """Set it on every batch norm of a model, dense, sparse or synchronised."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = momentum
