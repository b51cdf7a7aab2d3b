import math

import pytest
import torch
from torch.nn import functional as F

from pri3d_zoo.training.losses import depth_loss, point_info_nce


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


def plain_depth_loss(predicted, depth):
    """The formula, one pixel at a time."""

    def at(image, v, u):
        return image[v][u] if 0 <= v < len(image) and 0 <= u < len(image[0]) else 0.0

    def sobel(image, v, u):
        weights = {-1: 1, 0: 2, 1: 1}
        x = sum(w * (at(image, v + i, u - 1) - at(image, v + i, u + 1)) for i, w in weights.items())
        y = sum(w * (at(image, v - 1, u + i) - at(image, v + 1, u + i)) for i, w in weights.items())
        return x, y

    near, normal, along_x, along_y = [], [], [], []
    for p, d in zip(predicted.tolist(), depth.tolist(), strict=True):
        for v in range(len(d)):
            for u in range(len(d[0])):
                if d[v][u] == 0:
                    continue
                near.append(math.log(abs(p[v][u] - d[v][u]) + 0.5))
                around = [(v + i, u + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
                if any(0 <= i < len(d) and 0 <= j < len(d[0]) and d[i][j] == 0 for i, j in around):
                    continue
                (px, py), (dx, dy) = sobel(p, v, u), sobel(d, v, u)
                along_x.append(math.log(abs(px - dx) + 0.5))
                along_y.append(math.log(abs(py - dy) + 0.5))
                length = math.sqrt(px * px + py * py + 1) * math.sqrt(dx * dx + dy * dy + 1)
                normal.append(abs(1 - (px * dx + py * dy + 1) / length))

    def mean(values):
        return sum(values) / max(len(values), 1)

    return (mean(near) + mean(normal) + mean(along_x) + mean(along_y)) / 3


def test_depth_loss_worked_by_hand():
    flat = torch.full((1, 5, 6), 2.0)
    # right everywhere: three logarithms of a half, and normals that agree
    assert depth_loss(flat, flat).item() == pytest.approx(math.log(0.5), abs=1e-6)
    # a plane that rises 0.25 m a pixel to the right, by a prediction that does not: inside, 8 * 0.25 of response along
    # x and 1 - 1 / sqrt(1 + 4) between the normals; a frame of holes keeps the border out
    depth = torch.zeros(1, 5, 5)
    depth[0, 1:4, 1:4] = torch.tensor([1.0, 1.25, 1.5])
    expected = (
        (math.log(0.5) + math.log(0.75) + math.log(1)) / 3 + (1 - 1 / math.sqrt(5)) + math.log(2.5) + math.log(0.5)
    )
    assert depth_loss(torch.full((1, 5, 5), 1.0), depth).item() == pytest.approx(expected / 3, abs=1e-6)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_depth_loss_against_plain_loop(dtype, close):
    generator = torch.Generator().manual_seed(3)
    predicted, depth = torch.rand(2, 3, 9, 11, generator=generator, dtype=dtype).unbind(0)
    depth = depth * 3 + 0.5
    depth[torch.rand(depth.shape, generator=generator) < 0.05] = 0
    depth[1] = 0
    assert depth_loss(predicted, depth).item() == pytest.approx(plain_depth_loss(predicted, depth), abs=close)


def test_depth_loss_without_a_reading_is_zero_with_zero_gradient():
    predicted = torch.randn(2, 6, 7, requires_grad=True)
    loss = depth_loss(predicted, torch.zeros(2, 6, 7))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_depth_loss_takes_no_gradient_from_a_hole():
    predicted = torch.randn(1, 6, 7, requires_grad=True)
    depth = torch.ones(1, 6, 7)
    depth[0, 0, :3] = 0
    depth_loss(predicted, depth).backward()
    assert predicted.grad[0, 0, 0] == 0  # no neighbourhood without a hole reaches it
    assert predicted.grad.isfinite().all()


def test_losses_in_half_precision_compute_in_float32():
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 2, 40, 16, generator=generator).unbind(0)
    valid = torch.ones(2, 40, dtype=torch.bool)
    depth = torch.rand(2, 8, 9, generator=generator) + 1
    exact = [point_info_nce(first, second, valid, 0.07), depth_loss(depth * 1.1, depth)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = [point_info_nce(first, second, valid, 0.07), depth_loss(depth * 1.1, depth)]
    for one, other in zip(exact, inside, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)
    assert point_info_nce(first.bfloat16(), second.bfloat16(), valid, 0.07).dtype == torch.float32
