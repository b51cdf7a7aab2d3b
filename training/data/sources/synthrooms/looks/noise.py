"""What patterns are made of: seamless noise, a room's colours, and ways to put images together.

Images are (SIZE, SIZE, 3) in [0, 1], square roots of linear reflectance, close to what sRGB pictures hold. Row 0 is
the top.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.floating]
SIZE = 256


class Noise:
    """Seamless noise fields and colours of one room; fields are cut from a few, as transforms cost the most.

    Args:
        random: Where all chance of the patterns comes from.
    """

    # slope of the amplitude over frequency, and stretch along x
    KINDS: dict[str, tuple[float, float]] = {  # noqa: RUF012
        "cloud": (2.2, 1.0),
        "rough": (1.3, 1.0),
        "grain": (0.4, 1.0),
        "streak": (1.1, 14.0),
    }

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.hues = [self._hue() for _ in range(3)]  # a room's colours go together, somewhat

    @cached_property
    def _bank(self) -> dict[str, Image]:
        y, x = np.meshgrid(np.fft.fftfreq(SIZE) * SIZE, np.fft.rfftfreq(SIZE) * SIZE, indexing="ij")
        bank = {}
        for name, (slope, stretch) in self.KINDS.items():
            amplitude = np.maximum(np.hypot(x * stretch, y), 1.0) ** -slope
            amplitude[0, 0] = 0
            white = scipy.fft.rfft2(self.random.standard_normal((3, SIZE, SIZE), dtype=np.float32))
            field = scipy.fft.irfft2(white * amplitude.astype(np.float32))
            bank[name] = field / field.std(axis=(1, 2), keepdims=True)
        return bank

    def field(self, kind: str) -> Image:
        """(SIZE, SIZE) of zero mean and unit deviation; ``streak`` runs along x."""
        fields = self._bank[kind]
        field = fields[self.random.integers(len(fields))] * self.random.choice((-1, 1))
        return np.roll(field, self.random.integers(0, SIZE, 2), (0, 1))

    def color(self, saturation: tuple[float, float] = (0.1, 0.8), value: tuple[float, float] = (0.3, 0.9)) -> Image:
        """(3,) of one of the room's hues, or now and then of any other."""
        random = self.random
        hue = self._hue() if random.uniform() < 0.4 else random.choice(self.hues) + random.normal(0, 0.04)
        low, high = saturation
        return hsv(hue, low + (high - low) * random.uniform() ** 2, random.uniform(*value))

    def _hue(self) -> float:
        """Homes hold more browns and blues than greens and purples."""
        random = self.random
        return float(
            random.choice((random.normal(0.08, 0.04), random.normal(0.58, 0.06), random.uniform()), p=(0.5, 0.2, 0.3))
        )

    def grid(self) -> tuple[Image, Image]:
        """Columns and rows in [0, 1), each (SIZE, SIZE)."""
        axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
        return np.broadcast_to(axis, (SIZE, SIZE)), np.broadcast_to(axis[:, None], (SIZE, SIZE))


def hsv(hue: float, saturation: float, value: float) -> Image:
    """RGB (3,) of a colour; the hue wraps around at 1."""
    ramp = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    return (value * (1 - saturation + saturation * np.clip(ramp, 0, 1))).astype(np.float32)


def mix(first: ArrayLike, second: ArrayLike, share: Image) -> Image:
    """Colours or images blended by ``share`` (SIZE, SIZE) of the second."""
    weight = np.clip(share, 0, 1, dtype=np.float32)
    image = _blank()
    below, above = (np.broadcast_to(np.asarray(part, np.float32), image.shape) for part in (first, second))
    for channel in range(3):
        target = image[..., channel]
        np.subtract(above[..., channel], below[..., channel], out=target)
        target *= weight
        target += below[..., channel]
    return image


def lit(image: Image, brightness: Image) -> Image:
    """The image made brighter or darker by (SIZE, SIZE)."""
    factor = (1 + brightness).astype(np.float32)
    result = _blank()
    for channel in range(3):
        target = result[..., channel]
        np.multiply(image[..., channel], factor, out=target, casting="same_kind")
        np.clip(target, 0, 1, out=target)
    return result


def _blank() -> Image:
    """An image (SIZE, SIZE, 3) whose channels lie one after the other in memory."""
    return np.moveaxis(np.empty((3, SIZE, SIZE), np.float32), 0, -1)


def speckled(noise: Noise, image: Image, grain: float = 0.03, cloud: float = 0.03) -> Image:
    """The image with what all real surfaces have: a little grain and some unevenness."""
    return lit(image, grain * noise.field("grain") + cloud * noise.field("cloud"))


def wear(noise: Noise) -> Image:
    """(SIZE, SIZE) factor around 1: how unevenly a room's surfaces have aged."""
    return 1 + 0.07 * noise.field("cloud") + 0.03 * noise.field("rough")


def edge(position: Image) -> Image:
    """Distance to the nearest whole number."""
    return np.abs(position - np.round(position))


def step(value: Image, width: float) -> Image:
    """A soft step at 0."""
    return np.clip(value / width * 0.5 + 0.5, 0, 1)


def bands(noise: Noise, along: Image, count: int, width: float | None = None) -> Image:
    """Soft bands across an axis, ``count`` a repeat."""
    share = noise.random.uniform(0.15, 0.6) if width is None else width
    return step(share / 2 - edge(along * count + noise.random.uniform()), 0.01 * count)


def motif(noise: Noise, count: int) -> Image:
    """Noise mirrored within each of ``count`` x ``count`` cells: an ornament."""
    cell = noise.field("cloud") + 0.4 * noise.field("rough")
    position = np.abs((np.arange(SIZE) * count / SIZE) % 1 - 0.5) * 2 * SIZE / 2.5
    index = np.clip(position, 0, SIZE - 1).astype(int)
    across = int(noise.random.integers(0, SIZE // 2))
    return np.roll(cell, across, 1)[np.ix_(index, index)]


Pattern = Callable[[Noise], Image]
