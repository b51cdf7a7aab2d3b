"""The 3D network: MinkUNet, with the parameter names of MinkowskiEngine's ``examples/minkunet.py``.

Four times a convolution with stride 2 and a stage of residual blocks, then four times the transposed convolution, the
features of the same stride from the way down beside it, and a stage.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...errors import InputError
from .modules import SparseBatchNorm, SparseConv3d, SparseConvTranspose3d
from .tensor import SparseTensor, cat, relu

LEVELS = 4  # strides 2, 4, 8, 16


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network; the defaults are MinkowskiEngine's.

    Args:
        layers: Residual blocks of the four stages down and the four up.
        planes: Channels of those stages.
        stem: Channels of the first convolution.
        stem_kernel: Its kernel size.
    """

    layers: tuple[int, ...]
    planes: tuple[int, ...]
    stem: int = 32
    stem_kernel: int = 5


ARCHITECTURES = {
    "minkunet34c": Architecture((2, 3, 4, 6, 2, 2, 2, 2), (32, 64, 128, 256, 256, 128, 96, 96)),
    "minkunet14a": Architecture((1,) * 8, (32, 64, 128, 256, 128, 128, 96, 96)),
    # ours, for two CPU cores: 100,000 voxels forward and backward in about a second
    "minkunet14s": Architecture((1,) * 8, (16, 32, 64, 128, 64, 64, 32, 32), stem=16, stem_kernel=3),
}


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, which is a pointwise convolution where the number of channels changes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = SparseConv3d(in_channels, out_channels, 3)
        self.norm1 = SparseBatchNorm(out_channels)
        self.conv2 = SparseConv3d(out_channels, out_channels, 3)
        self.norm2 = SparseBatchNorm(out_channels)
        self.downsample = (
            nn.Sequential(SparseConv3d(in_channels, out_channels, 1), SparseBatchNorm(out_channels))
            if in_channels != out_channels
            else None
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        # in place, as the gradients of a batch norm and a sum do without what those gave
        out = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)), inplace=True)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(out.with_features(out.features.add_(shortcut.features)), inplace=True)


class SparseUNet(nn.Module):
    """MinkUNet of an architecture.

    Convolutions start normal with variance 2 / fan_out, transposed ones uniform, both as MinkowskiEngine has them.
    """

    def __init__(self, architecture: Architecture, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.grad_checkpointing = False
        planes, layers = architecture.planes, architecture.layers
        channels = architecture.stem
        self.conv0p1s1 = SparseConv3d(in_channels, channels, architecture.stem_kernel)
        self.bn0 = SparseBatchNorm(channels)
        skips = [channels]
        self.down: list[tuple[str, str, str]] = []
        for level in range(LEVELS):
            names = (f"conv{level + 1}p{2**level}s2", f"bn{level + 1}", f"block{level + 1}")
            self.add_module(names[0], SparseConv3d(channels, channels, 2, stride=2))
            self.add_module(names[1], SparseBatchNorm(channels))
            self.add_module(names[2], stage(channels, planes[level], layers[level]))
            self.down.append(names)
            channels = planes[level]
            skips.append(channels)
        skips.pop()  # the deepest is where the way up begins
        self.up: list[tuple[str, str, str]] = []
        for level in range(LEVELS, 2 * LEVELS):
            names = (f"convtr{level}p{2 ** (2 * LEVELS - level)}s2", f"bntr{level}", f"block{level + 1}")
            self.add_module(names[0], SparseConvTranspose3d(channels, planes[level]))
            self.add_module(names[1], SparseBatchNorm(planes[level]))
            self.add_module(names[2], stage(planes[level] + skips.pop(), planes[level], layers[level]))
            self.up.append(names)
            channels = planes[level]
        self.final = SparseConv3d(channels, out_channels, 1, bias=True)
        for module in self.modules():
            if isinstance(module, SparseConv3d):
                # of a pointwise kernel MinkowskiEngine takes the input channels for its fan_out
                fan = module.kernel.shape[0] if module.pointwise else module.kernel[:, 0].numel()
                nn.init.normal_(module.kernel, std=math.sqrt(2 / fan))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether the backward pass computes each stage's inside again rather than keep it: slower, in less memory."""
        self.grad_checkpointing = enable

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Features (N, out_channels) of the voxels of ``x`` (N, in_channels), which has stride 1, in the same order."""
        inner, back = x.sorted()
        inner = relu(self.bn0(self.conv0p1s1(inner)), inplace=True)
        skips = [inner]
        for names in self.down:
            inner = self._stage(names, inner)
            skips.append(inner)
        skips.pop()
        for names in self.up:
            inner = self._stage(names, inner, skips.pop())
        return x.with_features(self.final(inner).features[back])

    def _stage(self, names: tuple[str, str, str], x: SparseTensor, skip: SparseTensor | None = None) -> SparseTensor:
        conv, norm, blocks = map(self.get_submodule, names)

        def run() -> SparseTensor:
            inner = norm(conv(x))
            # ReLU leaves a skip as it is, it went through one: so what the backward pass needs is there once
            result: SparseTensor = blocks(relu(inner if skip is None else cat(inner, skip), inplace=True))
            return result

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), statistics_kept(norm, blocks)

        if not (self.grad_checkpointing and self.training and torch.is_grad_enabled()):
            return run()
        result: SparseTensor = checkpoint(run, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
        return result


@contextmanager
def statistics_kept(*modules: nn.Module) -> Iterator[None]:
    """While a forward pass is made again, batch norms do not follow the statistics a second time."""
    norms = [
        part for module in modules for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = norm.num_batches_tracked.clone() if norm.num_batches_tracked is not None else None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """A sequence of residual blocks, the first of which may change the number of channels."""
    return nn.Sequential(*(BasicBlock(in_channels if i == 0 else out_channels, out_channels) for i in range(blocks)))


def build_sparse_unet(name: str, in_channels: int, out_channels: int) -> SparseUNet:
    """A 3D UNet, freshly initialised: ``minkunet34c`` (the paper's), ``minkunet14a`` or ``minkunet14s`` (small).

    Raises:
        InputError: No such name.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"there is no sparse network called {name!r}: take one of {', '.join(ARCHITECTURES)}")
    return SparseUNet(ARCHITECTURES[name], in_channels, out_channels)
