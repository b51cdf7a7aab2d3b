"""Seeds for everything random, so that a step, an epoch or a sample draws the same numbers wherever it is computed."""

import numpy as np


def mix_seeds(*seeds: int) -> int:
    """One seed (63 bits) of several non-negative numbers, well mixed: neighbours in, strangers out."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)
