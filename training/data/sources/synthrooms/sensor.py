"""What a cheap RGB-D sensor makes of an exact view: exposure, white balance, noise; depth with noise and holes.

The noise of depth grows with the square of the distance, as measured on the Kinect by Khoshelham and Elberink,
"Accuracy and Resolution of Kinect Depth Data for Indoor Mapping Applications", 2012.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from .lighting import MIDDLE_GREY
from .render import View

Array = NDArray[np.float32]
NEAREST, FARTHEST = 0.4, 6.0  # metres between which there are readings
NOISE = 0.0012  # metres of deviation at one metre
SPECKLE = 0.003  # share of pixels without a reading for no visible reason
SLANT = 0.17  # cosine under which a surface gives no reading


@dataclass(frozen=True, eq=False)
class Drift:
    """How a room's camera sets itself, frame by frame.

    Args:
        exposure: (frames,) factor on the room's own exposure.
        balance: (frames, 3) factor on each channel.
        vignette: Share of the light lost in the corners.
        noise: Deviation of a channel at middle grey, of full scale.
    """

    exposure: NDArray[np.float64]
    balance: NDArray[np.float64]
    vignette: float
    noise: float


def make_drift(random: np.random.Generator, frames: int) -> Drift:
    """A camera's settings for a walk; neighbours are alike."""
    wander = scipy.ndimage.gaussian_filter1d(random.standard_normal((frames, 4)), 3.0, axis=0, mode="nearest") * 3
    base = np.exp(random.normal(0, (0.28, 0.06, 0.02, 0.07)))
    values = base * np.exp(wander * (0.09, 0.015, 0.008, 0.02))
    return Drift(values[:, 0], values[:, 1:], float(random.uniform(0.0, 0.25)), float(random.uniform(0.006, 0.02)))


def expose(random: np.random.Generator, view: View, exposure: float, drift: Drift, index: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of a view, by the room's exposure and the camera's drift."""
    height, width = view.depth.shape
    light = view.color * np.float32(exposure)
    # the camera follows the brightness of what it sees, not fully
    brightness = float(np.median(light.mean(-1)))
    light *= (drift.exposure[index] * drift.balance[index] * (MIDDLE_GREY / max(brightness, 0.02)) ** 0.5).astype(
        np.float32
    )
    v, u = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light *= (1 - drift.vignette * 0.5 * (u * u + v * v))[..., None].astype(np.float32)
    # highlights roll off; the square root stands for the gamma curve
    picture = np.sqrt(1 - np.exp(-1.25 * light))
    grain = random.standard_normal(picture.shape, dtype=np.float32)
    picture += drift.noise * grain * (1.3 - 0.6 * picture)
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def measure_depth(random: np.random.Generator, view: View) -> Array:
    """Depth (H, W) float32 as a sensor gives it, whole millimetres, 0 = no reading."""
    exact = view.depth
    shape = exact.shape
    # half of the noise is shared by neighbours, as matching windows make it
    fine, coarse = random.standard_normal((2, *shape), dtype=np.float32)
    coarse = scipy.ndimage.uniform_filter(coarse, 3) * 3
    noise = (fine + coarse) * np.float32(np.sqrt(0.5))
    depth = exact + np.float32(NOISE) * exact * exact * noise
    near = scipy.ndimage.minimum_filter(exact, 3)
    far = scipy.ndimage.maximum_filter(exact, 3)
    chance, again = random.random((2, *shape), dtype=np.float32)
    step = (far - near > 0.06 + 0.02 * exact) & (view.cosine > 0.3) | (far - near > 0.15 + 0.1 * exact)
    patches = scipy.ndimage.uniform_filter(random.random(shape, dtype=np.float32), 7)
    hole = (
        (step & (chance < 0.75))
        | (view.cosine < SLANT * (0.5 + again))
        | (chance < SPECKLE)
        | (view.glass & (patches > 0.48))
        | (exact < NEAREST)
        | (exact > FARTHEST)
    )
    return np.where(hole, 0, np.rint(depth * 1000) / 1000).astype(np.float32)
