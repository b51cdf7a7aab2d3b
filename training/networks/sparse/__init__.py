"""Sparse 3D convolutions and UNets in plain PyTorch, with the parameters and the arithmetic of MinkowskiEngine."""

from .minkowski import build_minkowski_unet
from .modules import SparseBatchNorm, SparseConv3d, SparseConvTranspose3d
from .tensor import CoordinateManager, SparseTensor, cat, relu
from .unet import ARCHITECTURES, SparseUNet, build_sparse_unet

__all__ = [
    "ARCHITECTURES",
    "CoordinateManager",
    "SparseBatchNorm",
    "SparseConv3d",
    "SparseConvTranspose3d",
    "SparseTensor",
    "SparseUNet",
    "build_minkowski_unet",
    "build_sparse_unet",
    "cat",
    "relu",
]
