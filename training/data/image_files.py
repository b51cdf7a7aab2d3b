"""What the sources read from files: images, matrices, names in order. What is wrong with one is said with its name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError

# what datasets come in; Pillow knows formats that start other programs
FORMATS = ("JPEG", "PNG")
NO_READING = 65535  # beside 0: what the Kinect's tools write, 7-Scenes among them


def read_color(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, from a JPEG or PNG with pixels of any kind.

    Raises:
        InputError: The file is missing or broken.
    """
    return _read_image(path, None)


def read_depth(path: Path) -> NDArray[np.uint16]:
    """(H, W), the numbers of an image of 16 bits, as depth has them, 0 where there is no reading.

    Raises:
        InputError: The file is missing or broken, or has other pixels.
    """
    return readings(_read_image(path, ("I;16", "I")).astype(np.uint16))


def readings(units: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Depth of any shape with 0 where there is no reading, which some write as the largest number."""
    return np.where(units == NO_READING, np.uint16(0), units)


def read_labels(path: Path, kind: type[np.uint8] | type[np.uint16]) -> NDArray[Any]:
    """(H, W), the numbers of an image of labels, which is often saved with fewer bits than it may have.

    Raises:
        InputError: The file is missing or broken, or has pixels that do not fit the kind.
    """
    return _read_image(path, ("L", "P") if kind is np.uint8 else ("I;16", "I", "L", "P")).astype(kind)


def read_matrix(path: Path, size: int) -> NDArray[np.float64]:
    """(size, size), from a text file of that many numbers.

    Raises:
        InputError: The file is missing, or holds something else.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        numbers = np.array(path.read_text(encoding="utf-8-sig").split(), np.float64)
    except FileNotFoundError:
        raise InputError(f"{name} is missing") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name} is broken ({error})") from None
    if numbers.size != size**2:
        raise InputError(f"{name} holds {numbers.size} numbers, where {size}x{size} are needed")
    return numbers.reshape(size, size)


def read_intrinsics(path: Path) -> NDArray[np.float64]:
    """(3, 3), of a pinhole camera.

    Raises:
        InputError: The file is missing, or holds something else.
    """
    matrix = read_matrix(path, 3)
    pinhole = np.array([[matrix[0, 0], 0, matrix[0, 2]], [0, matrix[1, 1], matrix[1, 2]], [0, 0, 1]])
    if not np.isfinite(matrix).all() or not np.allclose(matrix, pinhole, atol=1e-3) or matrix.diagonal().min() <= 0:
        raise InputError(
            f"{path}: not the intrinsics of a pinhole camera, fx 0 cx / 0 fy cy / 0 0 1: {matrix.tolist()}"
        )
    return matrix


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorting key with which frame 10 follows frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


def _read_image(path: Path, modes: tuple[str, ...] | None) -> NDArray[Any]:
    """The pixels of an image that has one of the modes, or, for None, of any as RGB."""
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path, formats=FORMATS) as image:
            if modes is None:
                return np.array(image.convert("RGB"))
            pixels, found = np.array(image), image.mode
    except FileNotFoundError:
        raise InputError(f"{name} is missing") from None
    # Pillow raises all of these for files that are broken, or too large to be true
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} is broken ({error})") from None
    if found not in modes:
        raise InputError(f"{name} has pixels of mode {found}, where {' or '.join(modes)} is needed")
    return pixels
