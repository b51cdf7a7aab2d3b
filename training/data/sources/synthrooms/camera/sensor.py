"""What a cheap depth camera makes of an exact view: steps, noise, and holes where it cannot read.

It works as the first Kinect: a pattern from a projector beside the camera is matched along rows, so that the measured
quantity is the disparity, in steps. Steps and noise of depth grow with the square of the distance (Khoshelham and
Elberink, "Accuracy and Resolution of Kinect Depth Data for Indoor Mapping Applications", 2012).
"""

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from ..light.render import View
from ..light.vectors import Array

NEAREST, FARTHEST = 0.35, 8.0  # metres between which there are readings
BASELINE = 0.075  # metres between projector and camera
FOCAL = 580.0  # pixels, of the depth camera itself
DISPARITY_STEP = 1 / 8  # of its pixels
NOISE = 0.0012  # metres of deviation at one metre
SPECKLE = 0.003  # share of pixels without a reading for no visible reason
SLANT = 0.22  # cosine under which a surface gives no reading
DARK = 0.0035  # albedo times cosine over the squared distance under which too little of the pattern returns


def measure_depth(random: np.random.Generator, view: View, focal: float) -> Array:
    """Depth (H, W) float32 as a sensor gives it, whole millimetres, 0 = no reading.

    Args:
        random: Where the chance comes from.
        view: The exact view.
        focal: Of the view, in pixels.
    """
    exact = view.depth
    shape = exact.shape
    disparity = np.float32(BASELINE * FOCAL) / exact
    # half of the noise is shared by neighbours, as matching windows make it
    fine, coarse = random.standard_normal((2, *shape), dtype=np.float32)
    noise = (fine + _mean3(coarse) * 3) * np.float32(np.sqrt(0.5) * NOISE * BASELINE * FOCAL)
    measured = np.rint((disparity + noise) * np.float32(1 / DISPARITY_STEP)) * np.float32(DISPARITY_STEP)
    depth = np.float32(BASELINE * FOCAL) / np.maximum(measured, np.float32(DISPARITY_STEP))
    hole = random.random(shape, dtype=np.float32) < SPECKLE
    hole |= _shadow(disparity * np.float32(focal / FOCAL))
    hole |= _steps(exact, view.cosine) & (fine < 0.6)
    # patches, not single pixels, get lost on surfaces that give too little back
    patches = _blocks(random, shape)
    hole |= view.cosine < np.float32(SLANT) * (np.float32(0.5) + patches)
    hole |= view.albedo * view.cosine < np.float32(DARK) * exact * exact * (np.float32(0.5) + patches)
    hole |= view.glass & (patches > 0.45)
    hole |= (exact < NEAREST) | (exact > FARTHEST)
    depth *= 1000
    np.rint(depth, out=depth)
    depth /= 1000
    depth[hole] = 0
    return depth


def _mean3(image: Array) -> Array:
    """The mean of 3 x 3 pixels."""
    return scipy.ndimage.uniform_filter(image, 3)


def _shadow(disparity: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) that the projector, to the camera's right, does not see: something further right covers them."""
    place = np.arange(disparity.shape[1], dtype=np.float32) - disparity  # in the projector's picture
    nearest = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return place > nearest + 1


def _steps(depth: Array, cosine: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) next to a step in depth: a larger one where the surface is slanted."""
    near, far = depth.copy(), depth.copy()
    for extreme, target in ((np.minimum, near), (np.maximum, far)):
        for part in (target, target.T):  # rows, then columns
            before = part.copy()
            extreme(part[1:], before[:-1], out=part[1:])
            extreme(part[:-1], before[1:], out=part[:-1])
    step = far - near
    return ((step > 0.06 + 0.02 * depth) & (cosine > 0.3)) | (step > 0.15 + 0.1 * depth)


def _blocks(random: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Noise (H, W) in [0, 1] with a grain of some 6 pixels and a finer one."""
    coarse = random.random((shape[0] // 4 + 3, shape[1] // 4 + 3), dtype=np.float32)
    coarse = scipy.ndimage.uniform_filter(coarse, 2)
    coarse = (coarse - np.float32(0.5)) * 2 + np.float32(0.5)
    wide = np.repeat(np.repeat(coarse, 4, 0), 4, 1)[: shape[0], : shape[1]]
    fine = random.random(shape, dtype=np.float32)
    return np.clip(np.float32(0.75) * wide + np.float32(0.25) * fine, 0, 1)
