"""The sparse convolution itself: gather, one matrix product for each kernel element, sum by target; block by block.

What a block needs is its pairs' features before and after the products, however many voxels there are. Only pairs
that exist are multiplied: on the surface of a room a voxel has 10 to 14 of its 27 neighbours, so a dense im2col would
do more than twice the work.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .maps import Block, Group, KernelMap, Plan


def sparse_conv(features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    """Sparse convolution: ``out[t] = sum of features[s] @ kernel[i]`` over the map's pairs (s, i, t).

    Args:
        features: (N_in, C_in).
        kernel: (K, C_in, C_out), of the same dtype.
        kernel_map: From the voxels of the features to those of the result.

    Returns:
        (N_out, C_out).
    """
    return _SparseConv.apply(features, kernel, kernel_map.to_output, kernel_map.to_input)


def sparse_conv_transpose(features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    """Transposed sparse convolution: as ``sparse_conv``, with the map's pairs taken from output to input."""
    return _SparseConv.apply(features, kernel, kernel_map.to_input, kernel_map.to_output)


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, there: Plan, back: Plan) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.back = back
        out = features.new_empty(there.rows, kernel.shape[2])
        matrices = kernel.unbind()
        for block in there.blocks:
            products = there.scratch.take("products", there.largest, features, kernel.shape[2])
            for group in block.groups:
                multiply(gather(features, group.sources, there, "sources"), matrices, group, products)
            out[block.start : block.stop] = sum_by_target(products, block)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        features, kernel = ctx.saved_tensors
        back: Plan = ctx.back
        grad_out = grad_out.contiguous()
        grad_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        # a sum over all blocks: half precision would lose the last ones
        precise = torch.promote_types(kernel.dtype, torch.float32)
        grad_kernel = torch.zeros_like(kernel, dtype=precise) if ctx.needs_input_grad[1] else None
        matrices = kernel.transpose(1, 2).unbind()
        for block in back.blocks:
            products = back.scratch.take("products", back.largest, grad_out, kernel.shape[1])
            for group in block.groups:
                gathered = gather(grad_out, group.sources, back, "sources")
                if grad_kernel is not None:
                    own = gather(features, group.targets, back, "targets")
                    runs = zip(group.elements, own.split(group.sizes), gathered.split(group.sizes), strict=True)
                    for element, inputs, gradients in runs:
                        add_product(grad_kernel[element], inputs.t(), gradients)
                if grad_features is not None:
                    multiply(gathered, matrices, group, products)
            if grad_features is not None:
                grad_features[block.start : block.stop] = sum_by_target(products, block)
        return grad_features, None if grad_kernel is None else grad_kernel.to(kernel.dtype), None, None


def gather(features: Tensor, rows: Tensor, plan: Plan, buffer: str) -> Tensor:
    """The rows (P,) of features (N, C), in a buffer of that name."""
    out = plan.scratch.take(buffer, len(rows), features, features.shape[1])
    return torch.index_select(features, 0, rows, out=out)


def multiply(gathered: Tensor, matrices: Sequence[Tensor], group: Group, products: Tensor) -> None:
    """Puts a group's features (P, C_in), times its elements' matrices (C_in, C_out), where they belong in products."""
    own = products[group.start : group.start + len(gathered)]
    runs = zip(group.elements, gathered.split(group.sizes), own.split(group.sizes), strict=True)
    for element, inputs, outputs in runs:
        torch.mm(inputs, matrices[element], out=outputs)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right``, without a temporary where the dtypes are one."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def sum_by_target(products: Tensor, block: Block) -> Tensor:
    """The sums (M, C_out) of a block's products (P or more, C_out) for each of its M targets."""
    return F.embedding_bag(
        block.pairs, products[: len(block.pairs)], block.bounds, mode="sum", include_last_offset=True
    )
