"""The textures of a room: their mip pyramids, read at many points at once with integer arithmetic."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..light.vectors import Array, Index
from .noise import SIZE

LEVELS = 7  # of the mip pyramid, SIZE down to 4 texels
WEAR = 0.2  # repeats of the pattern of wear in one of a texture
_EVEN = np.uint32(0x00FF00FF)  # the lower byte of each half of a word


class TexturePool:
    """Textures with their mip pyramids.

    Args:
        pyramids: One a texture, from ``pyramid``.
        wear: (SIZE, SIZE) factor on colours that no repeat of a texture shows again.

    Attributes:
        mean: (T, 3) linear colour.
    """

    def __init__(self, pyramids: Sequence[NDArray[np.uint32]], wear: Array) -> None:
        self._wear = wear.astype(np.float32).reshape(-1)
        self._texels = np.concatenate(pyramids)
        self._stride = len(pyramids[0])
        sizes = [(SIZE >> level) ** 2 for level in range(LEVELS)]
        self._starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int32)
        coarsest = np.stack([texels[-sizes[-1] :] for texels in pyramids]).view(np.uint8).reshape(len(pyramids), -1, 4)
        self.mean = np.square(coarsest[..., :3].astype(np.float32) / 255).mean(1)

    def sample(self, texture: Index, uv: Array, footprint: Array) -> Array:
        """Linear colours (3, N), bilinear in the level whose texels are nearest to a pixel's width.

        Args:
            texture: (N,) which.
            uv: (2, N) in repeats; v points up.
            footprint: (N,) width of a pixel on the texture, in repeats.
        """
        # the exponent of a float32 is its logarithm, rounded down; the root of 2 makes it round to the nearest
        width = np.maximum(footprint * np.float32(SIZE * np.sqrt(2)), np.float32(1)).view(np.int32)
        level = np.minimum((width >> 23) - 127, LEVELS - 1)
        size = np.right_shift(SIZE, level)
        mask = size - 1
        scale = size.astype(np.float32) * 16  # sixteenths of a texel
        x, y = uv[0] - np.floor(uv[0]), 1 - (uv[1] - np.floor(uv[1]))
        x, y = (x * scale).astype(np.int32) - 8, (y * scale).astype(np.int32) - 8
        across, down = (x & 15).view(np.uint32), (y & 15).view(np.uint32)
        x, y = (x >> 4) & mask, (y >> 4) & mask
        base = np.take(self._starts, level) + texture * self._stride
        row0, row1 = base + y * size, base + ((y + 1) & mask) * size
        next_x = (x + 1) & mask
        both = across * down
        even = np.zeros(len(x), np.uint32)
        odd = np.zeros(len(x), np.uint32)
        # two channels in each word, 16 bits for each: weights sum up to 256
        for index, weight in (
            (row0 + x, 256 - 16 * (across + down) + both),
            (row0 + next_x, 16 * across - both),
            (row1 + x, 16 * down - both),
            (row1 + next_x, both),
        ):
            texel = np.take(self._texels, index, mode="clip")
            even += (texel & _EVEN) * weight
            odd += ((texel >> 8) & _EVEN) * weight
        color = np.empty((3, len(x)), np.float32)
        color[0], color[1], color[2] = even & 0xFFFF, odd & 0xFFFF, even >> 16
        color *= np.float32(1 / (255 * 256))
        return np.square(color, out=color)

    def wear(self, uv: Array) -> Array:
        """How much lighter or darker (N,) surfaces are by wear and dirt, at (2, N) in repeats."""
        column, row = (np.floor(uv * np.float32(WEAR * SIZE)).astype(np.intp) & (SIZE - 1))[:2]
        return np.take(self._wear, row * SIZE + column, mode="clip")


def pyramid(image: NDArray[np.floating]) -> NDArray[np.uint32]:
    """The packed mip pyramid of an image (SIZE, SIZE, 3) in [0, 1] that holds square roots of linear colour."""
    linear = np.empty((3, SIZE, SIZE), np.float32)
    np.square(np.moveaxis(image, -1, 0), out=linear)
    levels = []
    for _ in range(LEVELS):
        # four bytes a texel, so that one gather of 32-bit words fetches all channels
        packed = np.zeros((*linear.shape[1:], 4), np.uint8)
        root = np.sqrt(linear)
        root *= 255
        root += np.float32(0.5)
        for channel in range(3):
            packed[..., channel] = root[channel]
        levels.append(packed.reshape(-1).view(np.uint32))
        pairs = linear[:, ::2] + linear[:, 1::2]
        linear = (pairs[:, :, ::2] + pairs[:, :, 1::2]) * np.float32(0.25)
    return np.concatenate(levels)
