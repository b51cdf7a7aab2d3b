"""The materials of a room, made when first asked for, with their textures."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..splits import choose
from . import oddities, patterns, pictures
from .noise import Noise, Pattern, wear
from .textures import TexturePool, pyramid


@dataclass(frozen=True)
class Finish:
    """How a surface looks.

    Args:
        texture: Index in the pool.
        tile: Texture coordinates that one repeat covers: metres, or 1 for pictures.
        tint: Multiplies the texture, per channel.
        specular: Strength of the highlight and of the reflected surroundings, 0..1.
        shininess: Exponent of the highlight.
        emission: Own light, times the texture's colour.
        glass: Whether a depth camera often reads nothing here.
    """

    texture: int
    tile: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    specular: float = 0.03
    shininess: float = 12.0
    emission: float = 0.0
    glass: bool = False


@dataclass(frozen=True)
class Kind:
    """A family of materials: its patterns, how many of them a room has, and how they shine.

    Args:
        textures: Patterns of all splits.
        count: Most that one room has.
        tile: Bounds of the length of a repeat.
        specular, shininess: Bounds.
        emission, glass: As of ``Finish``.
        held_out: Patterns of ``shifted`` only.
    """

    textures: tuple[Pattern, ...]
    count: int
    tile: tuple[float, float]
    specular: tuple[float, float] = (0.0, 0.05)
    shininess: tuple[float, float] = (6.0, 20.0)
    emission: float = 0.0
    glass: bool = False
    held_out: tuple[Pattern, ...] = ()


WALLS = (patterns.paint, patterns.paint, patterns.paint, patterns.wallpaper, patterns.wallpaper, patterns.bricks)
FLOORS = (patterns.planks, patterns.planks, patterns.carpet, patterns.tiles, patterns.terrazzo, patterns.marble)
FRONTS = (patterns.wood, patterns.plastic, patterns.plastic, patterns.metal)
KINDS = {
    "wood": Kind((patterns.wood,), 3, (0.5, 1.0), (0.02, 0.2), (15, 60), held_out=(oddities.bamboo, oddities.cork)),
    "front": Kind(
        FRONTS, 3, (0.5, 1.0), (0.02, 0.25), (15, 60), held_out=(oddities.bamboo, oddities.cane, oddities.concrete)
    ),
    "stone": Kind(
        (patterns.marble, patterns.terrazzo, patterns.tiles),
        1,
        (0.5, 1.0),
        (0.1, 0.3),
        (30, 80),
        held_out=(oddities.concrete,),
    ),
    "cloth": Kind(
        (patterns.weave, patterns.weave, patterns.carpet),
        4,
        (0.25, 0.7),
        held_out=(oddities.tartan, oddities.spotted, oddities.zigzag),
    ),
    "sofa": Kind(
        (patterns.weave, patterns.leather, patterns.carpet),
        2,
        (0.25, 0.6),
        (0.0, 0.1),
        held_out=(oddities.tartan, oddities.spotted),
    ),
    "curtain": Kind((patterns.weave,), 1, (0.3, 0.8), held_out=(oddities.tartan, oddities.zigzag)),
    "metal": Kind((patterns.metal,), 2, (0.2, 0.4), (0.2, 0.5), (30, 90), held_out=(oddities.rust,)),
    "plastic": Kind((patterns.plastic,), 4, (0.2, 0.4), (0.05, 0.3), (15, 60)),
    "wall": Kind(WALLS, 2, (0.8, 1.6), held_out=(oddities.concrete, oddities.zigzag, patterns.wood)),
    "floor": Kind(
        FLOORS,
        2,
        (0.9, 1.6),
        (0.0, 0.2),
        (20, 80),
        held_out=(oddities.herringbone, oddities.diamonds, oddities.concrete),
    ),
    "ceiling": Kind((patterns.ceiling,), 1, (1.0, 1.4), held_out=(oddities.concrete, patterns.wood)),
    "plant": Kind((patterns.carpet,), 1, (0.2, 0.4), (0.02, 0.1)),
    "poster": Kind(pictures.POSTERS, 7, (1, 1), (0.0, 0.12), (20, 60), held_out=(oddities.chart, oddities.contours)),
    "paper": Kind((pictures.page,), 3, (1, 1), held_out=(oddities.chart,)),
    "rug": Kind((pictures.rug,), 1, (1, 1), held_out=(oddities.spotted, oddities.zigzag)),
    "spines": Kind((pictures.spines,), 2, (1, 1), (0.0, 0.1)),
    "carton": Kind((pictures.carton,), 3, (0.3, 0.5), held_out=(oddities.cane, pictures.carton)),
    "door": Kind((pictures.door,), 1, (1, 1), (0.02, 0.15)),
    "screen": Kind((pictures.screen,), 2, (1, 1), (0.1, 0.3), (40, 90), emission=0.35, glass=True),
    "outdoors": Kind((pictures.outdoors,), 2, (1, 1), (0.1, 0.2), (40, 90), emission=0.9, glass=True),
    "ceramic": Kind((patterns.ceramic,), 1, (0.3, 0.6), (0.2, 0.35), (60, 120)),
    "tile": Kind((patterns.tiles,), 2, (0.6, 1.2), (0.1, 0.3), (40, 100), held_out=(oddities.diamonds,)),
    "mirror": Kind((patterns.silver,), 1, (0.5, 1.0), (0.85, 0.9), (200, 300), glass=True),
    "clear": Kind((patterns.silver,), 1, (0.5, 1.0), (0.3, 0.5), (100, 200), glass=True),
    "shade": Kind((patterns.weave, patterns.plastic), 1, (0.3, 0.5), emission=0.5),
}


class Materials:
    """All finishes of one room.

    Args:
        random: Where all chance comes from.
        split: Of the room.

    Attributes:
        patterns: Names of the patterns made so far.
    """

    def __init__(self, random: np.random.Generator, split: str = "train") -> None:
        self._random = random
        self._split = split
        self._noise = Noise(random)
        self._made: dict[str, list[Finish]] = {}
        self._pyramids: list[NDArray[np.uint32]] = []
        self.patterns: list[str] = []

    def pick(self, kind: str) -> Finish:
        """One of the room's finishes of a kind (a key of ``KINDS``); a new one until the room has its number."""
        random, family = self._random, KINDS[kind]
        made = self._made.setdefault(kind, [])
        if len(made) < family.count and (not made or random.uniform() < 0.7):
            pattern = choose(random, self._split, family.textures, family.held_out)
            self.patterns.append(pattern.__name__)
            self._pyramids.append(pyramid(pattern(self._noise)))
            finish = Finish(
                texture=len(self._pyramids) - 1,
                tile=random.uniform(*family.tile),
                specular=random.uniform(*family.specular),
                shininess=random.uniform(*family.shininess),
                emission=family.emission,
                glass=family.glass,
            )
            made.append(replace(finish, tint=(0.45, 0.8, 0.3)) if kind == "plant" else finish)
        return made[random.integers(len(made))]

    def varied(self, kind: str) -> Finish:
        """Like ``pick``, dyed: for small things that should not all be alike."""
        finish = self.pick(kind)
        tint = np.clip(self._random.uniform(0.5, 1.0) + self._random.normal(0, 0.15, 3), 0.15, 1.1)
        return replace(finish, tint=(float(tint[0]), float(tint[1]), float(tint[2])))

    def pool(self) -> TexturePool:
        """The textures of everything picked so far."""
        return TexturePool(self._pyramids, wear(self._noise))
