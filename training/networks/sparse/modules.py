"""Layers over sparse tensors. Parameters have the names, shapes and meaning of MinkowskiEngine's (0.5.4)."""

import math

import torch
from torch import Tensor, nn

from ...errors import InputError
from .functional import sparse_conv, sparse_conv_transpose
from .tensor import SparseTensor


class _Convolution(nn.Module):
    """``kernel`` is (k**3, C_in, C_out), the x offset changing fastest; (C_in, C_out) for kernel size and stride 1.

    Both start uniform within 1 / sqrt(fan), the fan being k**3 times ``fan_channels``.
    """

    def __init__(
        self, channels: tuple[int, int], kernel_size: int, stride: int, dilation: int, bias: bool, fan_channels: int
    ) -> None:
        super().__init__()
        if kernel_size < 1 or stride not in (1, 2) or dilation < 1:
            raise InputError(
                f"a sparse convolution with kernel size {kernel_size}, stride {stride} and dilation {dilation} cannot "
                "be built: kernel size and dilation must be at least 1, the stride 1 or 2"
            )
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.pointwise = kernel_size == 1 and stride == 1
        self.kernel = nn.Parameter(torch.empty(channels if self.pointwise else (kernel_size**3, *channels)))
        self.bias = nn.Parameter(torch.empty(1, channels[1])) if bias else None
        bound = 1 / math.sqrt(fan_channels * kernel_size**3)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        sizes = " x ".join(str(size) for size in self.kernel.shape)
        return f"{sizes}, kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"

    def operands(self, tensor: SparseTensor) -> tuple[Tensor, Tensor]:
        """Features and kernel in the dtype to compute in: autocast's where it is on, else the kernel's."""
        features = tensor.features
        if features.shape[1] != self.kernel.shape[-2]:
            raise InputError(
                f"a sparse convolution for {self.kernel.shape[-2]} channels was given features with {features.shape[1]}"
            )
        dtype = self.kernel.dtype
        if torch.is_autocast_enabled(features.device.type) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(features.device.type)
        return features.to(dtype), self.kernel.to(dtype)

    def add_bias(self, features: Tensor) -> Tensor:
        return features if self.bias is None else features + self.bias.to(features.dtype)


class SparseConv3d(_Convolution):
    """Convolution whose output voxels are the input voxels, or with stride 2 the voxels that hold them.

    ``out[o] = sum_i in[o + offset_i] @ kernel[i]`` over the input voxels that exist. Offsets are ``i - k // 2`` for odd
    and ``i`` for even kernel sizes, times dilation and the input's stride. Half-precision features are taken too.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: k, the same along all axes.
        stride: 1 or 2.
        dilation: Distance of kernel elements in voxels of the input.
        bias: Adds ``bias`` (1, C_out).

    Raises:
        InputError: A stride other than 1 or 2; when called, features with another number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__((in_channels, out_channels), kernel_size, stride, dilation, bias, fan_channels=in_channels)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        features, kernel = self.operands(tensor)
        if self.pointwise:
            return tensor.with_features(self.add_bias(features @ kernel))
        manager = tensor.manager
        kernel_map = manager.kernel_map(tensor.stride, self.kernel_size, self.stride, self.dilation)
        out = self.add_bias(sparse_conv(features, kernel, kernel_map))
        if self.stride == 1:
            return tensor.with_features(out)
        stride = tensor.stride * self.stride
        return SparseTensor(manager.coordinates(stride), out, stride, manager)


class SparseConvTranspose3d(_Convolution):
    """Transposed convolution with stride 2, onto the voxels that the input's were made of.

    ``out[p + offset_i] += in[p] @ kernel[i]`` where ``p + offset_i`` is such a voxel; offsets as in SparseConv3d, in
    steps of the output's stride.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: k.
        stride: 2.
        bias: Adds ``bias`` (1, C_out).

    Raises:
        InputError: A stride other than 2; when called, an input at stride 1 or with another number of channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 2, stride: int = 2, bias: bool = False
    ) -> None:
        if stride != 2:
            raise InputError(f"a transposed sparse convolution has stride 2, not {stride}")
        super().__init__((in_channels, out_channels), kernel_size, stride, 1, bias, fan_channels=out_channels)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        features, kernel = self.operands(tensor)
        if tensor.stride == 1:
            raise InputError(
                "a transposed sparse convolution needs an input at stride 2 or more, this one has stride 1"
            )
        stride, manager = tensor.stride // 2, tensor.manager
        out = sparse_conv_transpose(features, kernel, manager.kernel_map(stride, self.kernel_size, 2, 1))
        return SparseTensor(manager.coordinates(stride), self.add_bias(out), stride, manager)


class SparseBatchNorm(nn.Module):
    """Batch norm over all voxels of the batch; the parameters are those of ``bn``, as in MinkowskiBatchNorm.

    Raises:
        InputError: In training, a single voxel: it has no variance.
    """

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, momentum=momentum)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        if self.training and len(tensor.features) == 1:
            raise InputError(
                f"only one voxel is left at stride {tensor.stride}, too few for batch norm in training: "
                "use larger chunks or more samples in a batch"
            )
        return tensor.with_features(self.bn(tensor.features))
