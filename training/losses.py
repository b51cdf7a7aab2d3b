"""PointInfoNCE and the loss of the depth head: pure functions of tensors, for a whole batch at once.

They compute in float32 whatever the networks computed in, or in float64 if that is what they are given.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def point_info_nce(first: Tensor, second: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """Symmetric contrastive loss over matched points; the other matches of the same pair are the negatives.

    For features l2-normalised to a_i and b_i, with s_ij = a_i . b_j / temperature, the mean over matches i of
    ``(-log softmax_j(s_ij) - log softmax_j(s_ji)) / 2`` at j = i (Pri3D, equations 1 and 2; PointContrast).

    Args:
        first: (B, N, C) features of the matches in one view or branch.
        second: (B, N, C) features of the same matches in the other.
        valid: (B, N) bool, which rows are matches; the others take no part, neither as positives nor as negatives.
        temperature: 0.4 in the paper.

    Returns:
        The mean loss over the pairs that have at least two matches, a scalar; 0 (with a gradient of 0) where no
        pair has. Chance level is ln N: what features that tell nothing apart get.
    """
    # exp of differences of 1 / temperature needs the digits
    with torch.autocast(first.device.type, enabled=False):
        a = F.normalize(_precise(first), dim=-1)
        b = F.normalize(_precise(second), dim=-1)
        logits = a @ b.transpose(1, 2) / temperature
        # a large finite number: -inf would make NaN gradients in rows that are masked entirely
        logits = logits.masked_fill(~(valid[:, :, None] & valid[:, None, :]), -1e4)
        positive = logits.diagonal(dim1=1, dim2=2)
        loss = (logits.logsumexp(2) + logits.logsumexp(1)) / 2 - positive
        counted = valid & (valid.sum(1, keepdim=True) >= 2)
        per_pair = loss.masked_fill(~counted, 0).sum(1) / counted.sum(1).clamp(min=1)
        return per_pair.sum() / counted.any(1).sum().clamp(min=1)


def depth_loss(predicted: Tensor, depth: Tensor) -> Tensor:
    """What the authors' depth head learns from: the mean of three terms, ``(log-L1 + normal + gradient) / 3``.

    With p the predicted and d the true depth, g their responses to the Sobel operators along x and y, and the surface
    normals n = (-g_x, -g_y, 1): mean ``log(|p - d| + 0.5)``; mean ``|1 - cos(n_p, n_d)|``; and, added for the two axes,
    mean ``log(|g_p - g_d| + 0.5)`` (``DepthLoss`` in ``loss.py`` of Sekunde/Pri3D, after Hu et al., WACV 2019).

    Where the image ends it goes on with zeros, as theirs. Pixels without a reading are left out of the first term, as
    theirs, and pixels with one in their 3x3 neighbourhood of the other two, where theirs takes the hole for a surface
    at the camera.

    Args:
        predicted: (N, H, W), metres.
        depth: (N, H, W), metres, 0 = no reading.

    Returns:
        The loss, a scalar; a term without any pixel counts 0.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        predicted, depth = _precise(predicted), depth.to(torch.promote_types(predicted.dtype, torch.float32))
        valid = depth > 0
        # what lies beyond the border is no hole to max_pool2d
        smooth = F.max_pool2d((~valid).to(depth.dtype)[:, None], 3, stride=1, padding=1)[:, 0] == 0
        found, true = _sobel(predicted), _sobel(depth)
        gradient = sum(_masked_mean(((found[:, axis] - true[:, axis]).abs() + 0.5).log(), smooth) for axis in range(2))
        cosine = ((found * true).sum(1) + 1) * ((found.square().sum(1) + 1) * (true.square().sum(1) + 1)).rsqrt()
        normal = _masked_mean((1 - cosine).abs(), smooth)
        log_l1 = _masked_mean(((predicted - depth).abs() + 0.5).log(), valid)
        return (log_l1 + normal + gradient) / 3


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _sobel(images: Tensor) -> Tensor:
    """Responses (N, 2, H, W) of images (N, H, W) along x and y: left minus right, upper minus lower."""
    padded = F.pad(images, (1, 1, 1, 1))
    # sums of shifted images, for a kernel would have to be copied to the device
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return torch.stack((down[..., :-2] - down[..., 2:], across[:, :-2] - across[:, 2:]), 1)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)
