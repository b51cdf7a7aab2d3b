"""PointInfoNCE: pure functions of tensors, for a whole batch of pairs at once."""

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
        The mean loss over the pairs that have at least two matches, a float32 scalar; 0 (with a gradient of 0) where no
        pair has. Chance level is ln N: what features that tell nothing apart get.
    """
    # in float32 whatever the networks computed in: exp of differences of 1 / temperature needs the digits
    with torch.autocast(first.device.type, enabled=False):
        a = F.normalize(first.float(), dim=-1)
        b = F.normalize(second.float(), dim=-1)
        logits = a @ b.transpose(1, 2) / temperature
        # a large finite number: -inf would make NaN gradients in rows that are masked entirely
        logits = logits.masked_fill(~(valid[:, :, None] & valid[:, None, :]), -1e4)
        positive = logits.diagonal(dim1=1, dim2=2)
        loss = (logits.logsumexp(2) + logits.logsumexp(1)) / 2 - positive
        counted = valid & (valid.sum(1, keepdim=True) >= 2)
        per_pair = loss.masked_fill(~counted, 0).sum(1) / counted.sum(1).clamp(min=1)
        return per_pair.sum() / counted.any(1).sum().clamp(min=1)
