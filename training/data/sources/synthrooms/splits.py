"""Which seeds are for training, for validation, and for testing on rooms with things that training never shows."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ....errors import InputError

SPLITS = {"train": range(900_000), "val": range(900_000, 950_000), "shifted": range(950_000, 1_000_000)}
HELD_OUT_SHARE = 0.8  # of the choices in ``shifted`` rooms, where there is something held out

Choice = TypeVar("Choice")


def split_of(seed: int) -> str:
    """The split that a seed belongs to: a key of ``SPLITS``.

    Raises:
        InputError: It belongs to none.
    """
    for name, seeds in SPLITS.items():
        if seed in seeds:
            return name
    last = SPLITS["shifted"][-1]
    raise InputError(
        f"synthrooms has no seed {seed}; seeds go from 0 to {last}, which the splits train, val, shifted share"
    )


def seeds_of(split: str, first: int, last: int) -> range:
    """The seeds of a split from its ``first`` one up to, not including, its ``last``, counted from 0.

    Raises:
        InputError: There is no such split, or it has not so many.
    """
    if split not in SPLITS:
        raise InputError(f"synthrooms has no split {split!r}; there are {', '.join(SPLITS)}")
    if not 0 <= first < last <= len(SPLITS[split]):
        raise InputError(f"synthrooms {split} has rooms 0 to {len(SPLITS[split]) - 1}; {first} to {last - 1} are not")
    return SPLITS[split][first:last]


def choose(
    random: np.random.Generator, split: str, common: Sequence[Choice], held_out: Sequence[Choice] = ()
) -> Choice:
    """One variant by chance. What is held out occurs in ``shifted`` rooms alone, and is most of what they have.

    Args:
        random: Where the chance comes from.
        split: Of the room.
        common: Variants of all splits; one that stands here twice comes twice as often.
        held_out: Variants of ``shifted`` only.
    """
    if held_out and split == "shifted" and random.uniform() < HELD_OUT_SHARE:
        common = held_out
    return common[int(random.integers(len(common)))]
