"""The materials of a room, made when first asked for, and the pool from which their textures are read, filtered."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import patterns, pictures
from .patterns import SIZE, Image, Noise, Pattern

LEVELS = 7  # of the mip pyramid, SIZE down to 4 texels
Array = NDArray[np.float32]


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
    """A family of materials: its patterns, how many of them a room has, and how they shine."""

    textures: tuple[Pattern, ...]
    count: int
    tile: tuple[float, float]
    specular: tuple[float, float] = (0.0, 0.05)
    shininess: tuple[float, float] = (6.0, 20.0)
    emission: float = 0.0
    glass: bool = False


KINDS = {
    "wood": Kind((patterns.wood,), 3, (0.5, 1.0), (0.02, 0.2), (15, 60)),
    "front": Kind(
        (patterns.wood, patterns.plastic, patterns.plastic, patterns.metal), 3, (0.5, 1.0), (0.02, 0.25), (15, 60)
    ),
    "stone": Kind((patterns.marble, patterns.terrazzo, patterns.tiles), 1, (0.5, 1.0), (0.1, 0.3), (30, 80)),
    "cloth": Kind((patterns.weave, patterns.weave, patterns.carpet), 4, (0.25, 0.7)),
    "sofa": Kind((patterns.weave, patterns.leather, patterns.carpet), 2, (0.25, 0.6), (0.0, 0.1)),
    "curtain": Kind((patterns.weave,), 1, (0.3, 0.8)),
    "metal": Kind((patterns.metal,), 2, (0.2, 0.4), (0.2, 0.5), (30, 90)),
    "plastic": Kind((patterns.plastic,), 4, (0.2, 0.4), (0.05, 0.3), (15, 60)),
    "wall": Kind(
        (patterns.paint, patterns.paint, patterns.paint, patterns.wallpaper, patterns.wallpaper, patterns.bricks),
        2,
        (0.8, 1.6),
    ),
    "floor": Kind(
        (patterns.planks, patterns.planks, patterns.carpet, patterns.tiles, patterns.terrazzo, patterns.marble),
        1,
        (0.9, 1.6),
        (0.0, 0.2),
        (20, 80),
    ),
    "ceiling": Kind((patterns.ceiling,), 1, (1.0, 1.4)),
    "plant": Kind((patterns.carpet,), 1, (0.2, 0.4), (0.02, 0.1)),
    "poster": Kind(pictures.POSTERS, 7, (1, 1), (0.0, 0.12), (20, 60)),
    "paper": Kind((pictures.page,), 3, (1, 1)),
    "rug": Kind((pictures.rug,), 1, (1, 1)),
    "spines": Kind((pictures.spines,), 2, (1, 1), (0.0, 0.1)),
    "carton": Kind((pictures.carton,), 3, (0.3, 0.5)),
    "door": Kind((pictures.door,), 1, (1, 1), (0.02, 0.15)),
    "screen": Kind((pictures.screen,), 2, (1, 1), (0.1, 0.3), (40, 90), emission=0.35, glass=True),
    "outdoors": Kind((pictures.outdoors,), 2, (1, 1), (0.1, 0.2), (40, 90), emission=0.9, glass=True),
    "shade": Kind((patterns.weave, patterns.plastic), 1, (0.3, 0.5), emission=0.5),
}


class Materials:
    """All finishes of one room.

    Args:
        random: Where all chance comes from.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._noise = Noise(random)
        self._made: dict[str, list[Finish]] = {}
        self._images: list[Image] = []

    def pick(self, kind: str) -> Finish:
        """One of the room's finishes of a kind (a key of ``KINDS``); a new one until the room has its number."""
        random, family = self._random, KINDS[kind]
        made = self._made.setdefault(kind, [])
        if len(made) < family.count and (not made or random.uniform() < 0.7):
            pattern = family.textures[random.integers(len(family.textures))]
            self._images.append(pattern(self._noise).astype(np.float32))
            finish = Finish(
                texture=len(self._images) - 1,
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

    def pool(self) -> "TexturePool":
        """The textures of everything picked so far."""
        return TexturePool(np.stack(self._images))


class TexturePool:
    """Textures with their mip pyramids, read at many points at once.

    Args:
        images: (T, SIZE, SIZE, 3) in [0, 1], square roots of linear colour.
    """

    def __init__(self, images: Array) -> None:
        linear = np.zeros((*images.shape[:3], 4), np.float32)
        np.square(images, out=linear[..., :3])
        self.mean = linear[..., :3].mean((1, 2))
        texels, starts = [], [0]
        for _ in range(LEVELS):
            # four bytes a texel, so that one gather of 32-bit words fetches all channels
            packed = (np.sqrt(linear) * 255 + np.float32(0.5)).astype(np.uint8)
            texels.append(packed.reshape(-1, 4).view(np.uint32)[:, 0])
            starts.append(starts[-1] + len(texels[-1]))
            rows = linear[:, ::2] + linear[:, 1::2]
            linear = (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)
        self._texels = np.concatenate(texels)
        self._starts = np.array(starts[:-1], np.int32)

    def sample(self, texture: NDArray[np.int32], uv: Array, footprint: Array) -> Array:
        """Linear colours (N, 3), trilinear.

        Args:
            texture: (N,) which.
            uv: (N, 2) in repeats; v points up.
            footprint: (N,) width of a pixel on the texture, in repeats.
        """
        level = np.clip(np.log2(np.maximum(footprint * SIZE, 1.0)), 0, LEVELS - 1.001)
        lower = level.astype(np.int32)
        share = (level - lower)[:, None].astype(np.float32)
        wrapped = uv - np.floor(uv)
        color = (
            self._bilinear(texture, wrapped, lower) * (1 - share) + self._bilinear(texture, wrapped, lower + 1) * share
        )
        return np.square(color[:, :3] * np.float32(1 / 255))

    def _bilinear(self, texture: NDArray[np.int32], uv: Array, level: NDArray[np.int32]) -> Array:
        size = (SIZE >> level).astype(np.int32)
        x, y = uv[:, 0] * size - np.float32(0.5), (1 - uv[:, 1]) * size - np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        across, down = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
        mask = size - 1
        x0, y0 = left.astype(np.int32) & mask, top.astype(np.int32) & mask
        x1, base = (x0 + 1) & mask, self._starts[level] + texture * size * size
        row0, row1 = base + y0 * size, base + ((y0 + 1) & mask) * size

        def texel(index: NDArray[np.int32]) -> Array:
            return self._texels[index].view(np.uint8).reshape(-1, 4).astype(np.float32)

        upper = texel(row0 + x0) * (1 - across) + texel(row0 + x1) * across
        return upper * (1 - down) + (texel(row1 + x0) * (1 - across) + texel(row1 + x1) * across) * down
