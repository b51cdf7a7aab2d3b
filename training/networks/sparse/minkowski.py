"""The same networks on MinkowskiEngine 0.5.4, where that is installed: parameters, names and results are those of ours.

Topology after MinkowskiEngine's ``examples/minkunet.py``. It is imported when a network is built, not before.
"""

import collections
import collections.abc
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from .tensor import SparseTensor
from .unet import ARCHITECTURES, LEVELS, Architecture


def minkowski_engine() -> Any:
    """The module MinkowskiEngine; InputError where it is not installed."""
    # it still looks for what Python 3.10 removed
    collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    try:
        import MinkowskiEngine
    except ImportError as error:
        raise InputError(
            f"MinkowskiEngine cannot be imported ({error}): install the extra pri3d-zoo[minkowski] "
            "or take the default network, which needs nothing"
        ) from error
    return MinkowskiEngine


def build_minkowski_unet(name: str, in_channels: int, out_channels: int) -> nn.Module:
    """The network that ``build_sparse_unet`` builds, on MinkowskiEngine; either loads the other's state dict.

    Raises:
        InputError: No such name, or no MinkowskiEngine.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"there is no sparse network called {name!r}: take one of {', '.join(ARCHITECTURES)}")
    return MinkowskiUNet(minkowski_engine(), ARCHITECTURES[name], in_channels, out_channels)


class _Block(nn.Module):
    def __init__(self, engine: Any, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = engine.MinkowskiConvolution(in_channels, out_channels, kernel_size=3, dimension=3)
        self.norm1 = engine.MinkowskiBatchNorm(out_channels)
        self.conv2 = engine.MinkowskiConvolution(out_channels, out_channels, kernel_size=3, dimension=3)
        self.norm2 = engine.MinkowskiBatchNorm(out_channels)
        self.relu = engine.MinkowskiReLU()
        self.downsample = nn.Sequential()
        if in_channels != out_channels:
            self.downsample.append(engine.MinkowskiConvolution(in_channels, out_channels, kernel_size=1, dimension=3))
            self.downsample.append(engine.MinkowskiBatchNorm(out_channels))

    def forward(self, x: Any) -> Any:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(out + self.downsample(x))


class MinkowskiUNet(nn.Module):
    """MinkUNet on MinkowskiEngine, which is given as ``engine``; initialised as MinkowskiEngine's layers are."""

    def __init__(self, engine: Any, architecture: Architecture, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.engine = engine
        self.relu = engine.MinkowskiReLU()
        planes, counts, channels = architecture.planes, architecture.layers, architecture.stem
        size = architecture.stem_kernel
        self.conv0p1s1 = engine.MinkowskiConvolution(in_channels, channels, kernel_size=size, dimension=3)
        self.bn0 = engine.MinkowskiBatchNorm(channels)
        skips = [channels]
        for i in range(LEVELS):
            conv = engine.MinkowskiConvolution(channels, channels, kernel_size=2, stride=2, dimension=3)
            self.add_module(f"conv{i + 1}p{2**i}s2", conv)
            self.add_module(f"bn{i + 1}", engine.MinkowskiBatchNorm(channels))
            self.add_module(f"block{i + 1}", self._stage(channels, planes[i], counts[i]))
            channels = planes[i]
            skips.append(channels)
        skips.pop()
        for i in range(LEVELS, 2 * LEVELS):
            conv = engine.MinkowskiConvolutionTranspose(channels, planes[i], kernel_size=2, stride=2, dimension=3)
            self.add_module(f"convtr{i}p{2 ** (2 * LEVELS - i)}s2", conv)
            self.add_module(f"bntr{i}", engine.MinkowskiBatchNorm(planes[i]))
            self.add_module(f"block{i + 1}", self._stage(planes[i] + skips.pop(), planes[i], counts[i]))
            channels = planes[i]
        self.final = engine.MinkowskiConvolution(channels, out_channels, kernel_size=1, bias=True, dimension=3)

    def _stage(self, in_channels: int, out_channels: int, count: int) -> nn.Sequential:
        widths = [in_channels] + [out_channels] * (count - 1)
        return nn.Sequential(*(_Block(self.engine, width, out_channels) for width in widths))

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Features (N, out_channels) of the voxels of ``tensor``, which has stride 1, in the same order."""
        given = self.engine.SparseTensor(tensor.features, coordinates=tensor.coordinates.to(torch.int32).contiguous())
        x = self.relu(self.bn0(self.conv0p1s1(given)))
        skips = [x]
        for i in range(LEVELS):
            x = self.get_submodule(f"conv{i + 1}p{2**i}s2")(x)
            x = self.get_submodule(f"block{i + 1}")(self.relu(self.get_submodule(f"bn{i + 1}")(x)))
            skips.append(x)
        skips.pop()
        for i in range(LEVELS, 2 * LEVELS):
            x = self.get_submodule(f"convtr{i}p{2 ** (2 * LEVELS - i)}s2")(x)
            x = self.engine.cat(self.relu(self.get_submodule(f"bntr{i}")(x)), skips.pop())
            x = self.get_submodule(f"block{i + 1}")(x)
        return tensor.with_features(self.final(x).F[given.inverse_mapping])
