"""How objects are made: families of them, each in several variants, and what every variant needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..looks.materials import Finish, Materials
from ..splits import Choice, choose
from .objects import Object


@dataclass(frozen=True, eq=False)
class Family:
    """Objects that people call by one name, in variants of different shape.

    Args:
        name: As people call it.
        common: Functions that make one variant each; they take a ``Maker`` and what their family is made to.
        held_out: Those that only rooms of the split ``shifted`` have.
    """

    name: str
    common: tuple[Callable[..., Object], ...]
    held_out: tuple[Callable[..., Object], ...] = ()

    def variant(self, build: Callable[..., Object]) -> str:
        """The name ``family/variant`` of one of its functions."""
        return f"{self.name}/{build.__name__}"


class Maker:
    """What a function that makes an object works with. All stand on the centre of their footprint and look along +y.

    Args:
        random: Where all chance comes from.
        materials: The room's.
        split: Of the room.
    """

    def __init__(self, random: np.random.Generator, materials: Materials, split: str) -> None:
        self.random = random
        self.materials = materials
        self.split = split

    def make(self, family: Family, *arguments: float) -> Object:
        """An object of a family, in a variant by chance."""
        build = choose(self.random, self.split, family.common, family.held_out)
        thing = build(self, *arguments)
        thing.variants.add(family.variant(build))
        return thing

    def object(self, label: str) -> Object:
        """Nothing yet, of a class of NYU40."""
        return Object(label, self.random)

    def group(self) -> Object:
        """Nothing yet, and nothing of itself: other objects are put into it."""
        group = self.object("otherprop")
        group.instances = 0
        return group

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.random.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.random.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return bool(self.random.uniform() < share)

    def one(self, *choices: Choice) -> Choice:
        """One of them."""
        return choices[int(self.random.integers(len(choices)))]

    def finish(self, *kinds: str) -> Finish:
        """A finish of the room, of one of these kinds."""
        return self.materials.pick(self.one(*kinds))

    def dyed(self, *kinds: str) -> Finish:
        """The same in a colour of its own: for small things that should not all be alike."""
        return self.materials.varied(self.one(*kinds))


def four(x: float, y: float) -> list[tuple[float, float]]:
    """The four corners (±x, ±y), where feet stand."""
    return [(-x, -y), (x, -y), (x, y), (-x, y)]
