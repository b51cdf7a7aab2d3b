import numpy as np
import pytest
import torch

from pri3d_zoo.training.seeds import part_seeds, uniform


def splitmix64(state, count):
    """The published generator, in Python's unbounded integers."""
    mask = (1 << 64) - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def test_it_is_splitmix64():
    assert next(splitmix64(1234567, 1)) == 6457827717110365317  # of the published test values
    mask = (1 << 64) - 1
    for seed in (0, 1, 2**62 + 12345):
        start = (seed + 3 * 0x9E3779B97F) & mask
        start = next(splitmix64((start - 0x9E3779B97F4A7C15) & mask, 1))
        expected = [(z >> 40) / 2**24 for z in splitmix64(start, 50)]
        assert uniform(torch.tensor([seed]), 50, stream=2)[0].tolist() == expected


def test_rows_depend_on_their_seed_alone_and_streams_differ():
    seeds = torch.tensor([5, 6, 7])
    whole = uniform(seeds, 1000)
    assert torch.equal(whole[1:2], uniform(seeds[1:2], 1000))
    assert torch.equal(whole[:, :10], uniform(seeds, 10))
    assert torch.equal(seeds, torch.tensor([5, 6, 7]))
    both = torch.cat((whole, uniform(seeds, 1000, stream=1)))
    assert (torch.corrcoef(both) - torch.eye(6)).abs().max() < 0.15


def test_numbers_are_uniform():
    numbers = uniform(torch.arange(100), 10_000).flatten().numpy()
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    counts = np.histogram(numbers, 100, (0, 1))[0]
    chi = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi == pytest.approx(99, abs=4 * np.sqrt(2 * 99))


def test_parts_have_seeds_of_their_own():
    seeds = torch.arange(100)
    parts = part_seeds(part_seeds(seeds, 2).flatten(), 2)
    assert parts.shape == (200, 2)
    assert len(torch.cat((parts.flatten(), seeds)).unique()) == 500
