"""Seeds for everything random, so that a step, an epoch or a sample draws the same numbers wherever it is computed."""

import numpy as np
import torch
from torch import Tensor

# the constants of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), as signed 64-bit integers
_STEP, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685
_STREAM, _PART = 0x9E3779B97F, 0x2127599BF4  # ours: far from the small differences of seeds that belong together


def mix_seeds(*seeds: int) -> int:
    """One seed (63 bits) of several non-negative numbers, well mixed: neighbours in, strangers out."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)


def uniform(seeds: Tensor, count: int, stream: int = 0) -> Tensor:
    """Random numbers that are a function of their row's seed alone, on whatever device.

    A generator's numbers depend on how a batch is dealt to processes and on the device; these do not, so the parts of
    a step draw what the whole step would.

    Args:
        seeds: (S,) int64.
        count: N.
        stream: Another one gives other numbers of the same seeds.

    Returns:
        (S, N) float32 in [0, 1), by SplitMix64.
    """
    start = _mixed(seeds + (stream + 1) * _STREAM)
    state = torch.arange(1, count + 1, device=seeds.device).mul_(_STEP) + start[:, None]
    return (_mixed(state) >> 40).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24)


def part_seeds(seeds: Tensor, parts: int) -> Tensor:
    """(S, parts) int64, a seed for each part of what the seeds (S,) belong to, as the frames of a pair."""
    return _mixed(seeds[:, None] + torch.arange(1, parts + 1, device=seeds.device) * _PART)


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's finaliser, in place; sums and products of int64 wrap around, and ``>>`` keeps the sign."""
    state.bitwise_xor_((state >> 30).bitwise_and_((1 << 34) - 1)).mul_(_FIRST)
    state.bitwise_xor_((state >> 27).bitwise_and_((1 << 37) - 1)).mul_(_SECOND)
    return state.bitwise_xor_((state >> 31).bitwise_and_((1 << 33) - 1))
