import math

import pytest
import torch
from torch.nn import functional as F

from pri3d_zoo.training.losses import point_info_nce


def plain_loop(first, second, valid, temperature):
    """The formula, one match at a time."""
    pair_losses = []
    for a, b, keep in zip(first, second, valid, strict=True):
        rows = [i for i in range(len(keep)) if keep[i]]
        if len(rows) < 2:
            continue
        losses = []
        for i in rows:
            forward = [math.exp(F.cosine_similarity(a[i], b[j], dim=0).item() / temperature) for j in rows]
            backward = [math.exp(F.cosine_similarity(b[i], a[j], dim=0).item() / temperature) for j in rows]
            k = rows.index(i)
            losses.append(-0.5 * (math.log(forward[k] / sum(forward)) + math.log(backward[k] / sum(backward))))
        pair_losses.append(sum(losses) / len(losses))
    return sum(pair_losses) / max(len(pair_losses), 1)


def test_worked_by_hand():
    # a1 = b1 = (1, 0), a2 = b2 = (0, 1): similarities 1 and 0, so every term is ln(1 + exp(-1/T))
    eye = torch.eye(2)[None] * 5  # length must not matter
    loss = point_info_nce(eye, eye * 0.1, torch.ones(1, 2, dtype=torch.bool), temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)
    # swapped: the positive has similarity 0, the negative 1
    loss = point_info_nce(eye, eye.flip(1), torch.ones(1, 2, dtype=torch.bool), temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(2)), abs=1e-6)


def test_equal_features_give_chance():
    ones = torch.ones(3, 7, 4)
    loss = point_info_nce(ones, ones, torch.ones(3, 7, dtype=torch.bool), temperature=0.4)
    assert loss.item() == pytest.approx(math.log(7), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 0.4])
def test_against_plain_loop(temperature):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 9, 5, generator=generator).unbind(0)
    valid = torch.rand(4, 9, generator=generator) < 0.6
    valid[1] = False
    valid[2] = torch.arange(9) == 3  # a single match has no negatives and is left out
    expected = plain_loop(first, second, valid, temperature)
    assert point_info_nce(first, second, valid, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_masked_rows_do_not_matter():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 2, 6, 5, generator=generator).unbind(0)
    valid = torch.tensor([[1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)
    loss = point_info_nce(first, second, valid, 0.4)
    first[~valid], second[~valid] = 100.0, -3.0
    assert point_info_nce(first, second, valid, 0.4).item() == pytest.approx(loss.item(), rel=1e-6)


def test_no_match_is_zero_with_zero_gradient():
    first = torch.randn(2, 5, 3, requires_grad=True)
    loss = point_info_nce(first, torch.randn(2, 5, 3), torch.zeros(2, 5, dtype=torch.bool), 0.4)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(first.grad, torch.zeros_like(first))


def test_gradient():
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn(2, 4, 3, generator=generator, requires_grad=True) for _ in range(2))
    valid = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)
    point_info_nce(first, second, valid, 0.4).backward()
    step = 1e-3
    for row, column in ((0, 1), (1, 2)):
        bumped = first.detach().clone()
        bumped[0, row, column] += step
        upper = point_info_nce(bumped, second, valid, 0.4).item()
        bumped[0, row, column] -= 2 * step
        lower = point_info_nce(bumped, second, valid, 0.4).item()
        assert first.grad[0, row, column].item() == pytest.approx((upper - lower) / (2 * step), abs=2e-4)
    assert torch.equal(first.grad[0, 3], torch.zeros(3))
