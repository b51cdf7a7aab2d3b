"""Colour and depth of two cameras brought to one: the colour camera, no finer than the depth image.

The common image has the smaller of both heights and widths, so that depth is not invented and colour is averaged down
rather than sampled. Two cameras at one place, as in the ScanNet release, differ only in focal length, centre and size:
then each pixel takes the reading nearest to its centre. Otherwise the readings are moved, and the nearest one wins
where several meet.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ...geometry import depth_to_world, project, scale_intrinsics

SAME_PLACE = 1e-6  # metres, and entries of the rotation: float32 files are rounded by less
TIE = 1e-6  # pixels; a centre midway between two readings takes the first, whatever the rounding


class Registered(NamedTuple):
    """One camera's image.

    Args:
        color: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along z, 0 = no reading.
        intrinsics: (3, 3) float64, pixels.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]


def register(
    color: NDArray[np.uint8],
    color_intrinsics: NDArray[np.float64],
    depth: NDArray[np.float32],
    depth_intrinsics: NDArray[np.float64],
    depth_to_color: NDArray[np.float64] | None = None,
) -> Registered:
    """Colour and depth in the colour camera, at the smaller of both sizes.

    Args:
        color: (H, W, 3) RGB.
        color_intrinsics: (3, 3), pixels of ``color``.
        depth: (h, w), metres along z, 0 = no reading.
        depth_intrinsics: (3, 3), pixels of ``depth``.
        depth_to_color: (4, 4), points of the depth camera to the colour camera; None where they are at one place.

    Raises:
        InputError: Intrinsics are not those of a pinhole camera without skew.
    """
    check_pinhole(color_intrinsics, "colour")
    check_pinhole(depth_intrinsics, "depth")
    full = (color.shape[0], color.shape[1])
    size = (min(full[0], depth.shape[0]), min(full[1], depth.shape[1]))
    intrinsics = color_intrinsics
    if size != full:
        color = np.array(Image.fromarray(color).resize((size[1], size[0]), Image.Resampling.BOX))
        intrinsics = scale_intrinsics(torch.as_tensor(color_intrinsics), full, size).numpy()
    if depth_to_color is None or np.allclose(depth_to_color, np.eye(4), rtol=0, atol=SAME_PLACE):
        depth = resample(depth, depth_intrinsics, size, intrinsics)
    else:
        depth = reproject(depth, depth_intrinsics, size, intrinsics, depth_to_color)
    return Registered(color, depth, intrinsics)


def resample(
    image: NDArray[Any], intrinsics: NDArray[np.float64], size: tuple[int, int], new_intrinsics: NDArray[np.float64]
) -> NDArray[Any]:
    """An image (H, W) of depth or labels as another camera at the same place sees it: values are kept, never mixed.

    Args:
        image: (H, W).
        intrinsics: (3, 3), pixels of ``image``.
        size: (height, width) of the other camera.
        new_intrinsics: (3, 3) of the other camera.

    Returns:
        Of that size: the nearest pixel of ``image``, 0 where the ray passes beside it.
    """
    indices, inside = [], []
    for axis, length in enumerate(size):  # rows go with v, the second line of the intrinsics; columns with the first
        line = 1 - axis
        ray = (np.arange(length) - new_intrinsics[line, 2]) / new_intrinsics[line, line]
        nearest = np.ceil(ray * intrinsics[line, line] + intrinsics[line, 2] - 0.5 - TIE).astype(np.int64)
        indices.append(nearest.clip(0, image.shape[axis] - 1))
        inside.append(indices[axis] == nearest)
    return np.where(inside[0][:, None] & inside[1], image[np.ix_(*indices)], image.dtype.type(0))


def reproject(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    size: tuple[int, int],
    new_intrinsics: NDArray[np.float64],
    to_new: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Depth as a camera elsewhere sees it: each reading moves to one pixel, and the one in front hides the others.

    A camera that is finer than the depth image gets gaps, so it should not be.

    Args:
        depth: (H, W), metres along z, 0 = no reading.
        intrinsics: (3, 3), pixels of ``depth``.
        size: (height, width) of the other camera.
        new_intrinsics: (3, 3) of the other camera.
        to_new: (4, 4), points of the depth camera to the other camera.
    """
    height, width = size
    readings = torch.as_tensor(depth)
    points = depth_to_world(readings, torch.as_tensor(intrinsics), torch.as_tensor(to_new))
    pixels, z = project(points, torch.as_tensor(new_intrinsics).float())
    # far outside, rounding must not overflow an integer
    u, v = pixels.clamp(-1e6, 1e6).round().long().unbind(-1)
    seen = (readings.flatten() > 0) & (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    nearest = torch.full((height * width,), torch.inf)
    nearest.scatter_reduce_(0, (v * width + u)[seen], z[seen], "amin")
    return nearest.masked_fill_(nearest.isinf(), 0).view(size).numpy()


def check_pinhole(intrinsics: NDArray[np.float64], what: str) -> None:
    """Raise InputError unless the matrix (3, 3) is fx 0 cx / 0 fy cy / 0 0 1; ``what`` says whose it is."""
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    pinhole = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if not np.isfinite(intrinsics).all() or not np.allclose(intrinsics, pinhole, atol=1e-3) or min(fx, fy) <= 0:
        raise InputError(
            f"the {what} intrinsics are not those of a pinhole camera, fx 0 cx / 0 fy cy / 0 0 1: {intrinsics.tolist()}"
        )
