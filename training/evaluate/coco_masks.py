"""Masks of objects as run lengths, which is how COCO's tools count and compare them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

CORNERS = 3  # that a polygon has at least
FAR = 10  # times the image's longer side


def encode_mask(mask: NDArray[Any]) -> dict[str, Any]:
    """COCO's compressed run lengths, fit for JSON, of a mask (H, W), bool or of zeros and ones."""
    encoded: dict[str, Any] = run_lengths.encode(np.asfortranarray(mask, np.uint8))
    return encoded | {"counts": encoded["counts"].decode("ascii")}


def decode_masks(masks: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Run lengths of N masks to (N, H, W) uint8."""
    if not masks:
        return np.zeros((0, *size), np.uint8)
    return np.ascontiguousarray(run_lengths.decode(list(masks)).transpose(2, 0, 1))


def mask_area(mask: Mapping[str, Any]) -> int:
    """Its pixels."""
    return int(run_lengths.area(mask))


def mask_box(mask: Mapping[str, Any]) -> list[float]:
    """x, y, width and height of the smallest box around it, in pixels."""
    return [float(number) for number in run_lengths.toBbox(mask)]


def compress(segmentation: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """Compressed run lengths of what COCO's files have: polygons, plain run lengths, or these; None if no polygon has
    an inside.

    Raises:
        ValueError, TypeError, KeyError: It is none of them, or for images of another size.
    """
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != list(size):
            raise ValueError(f"its mask is for images of {segmentation['size']}, and the image is {list(size)}")
        plain = isinstance(segmentation["counts"], list)
        runs = np.array(segmentation["counts"]) if plain else _runs(segmentation["counts"])
        # pycocotools writes wherever runs lead it to
        if (runs < 0).any() or runs.sum() != size[0] * size[1]:
            raise ValueError(f"its run lengths are of {runs.sum()} pixels, and the image has {size[0] * size[1]}")
        return run_lengths.frPyObjects(segmentation, *size) if plain else segmentation
    # of pycocotools' converter each polygon is asked by itself: it takes a list of four numbers for a box
    polygons = [polygon for polygon in segmentation if len(polygon) >= 2 * CORNERS]
    for polygon in polygons:
        reach = np.abs(np.array(polygon, np.float64)).max()  # of coordinates that are far away it fills the memory
        if len(polygon) % 2 or not reach <= FAR * max(size):
            raise ValueError(
                f"its polygon of {len(polygon)} numbers reaches {reach:g} pixels, the image is {list(size)}"
            )
    parts = [run_lengths.frPyObjects([polygon], *size)[0] for polygon in polygons]
    return run_lengths.merge(parts) if parts else None


def _runs(text: str) -> NDArray[np.int64]:
    """The numbers in COCO's text of compressed run lengths.

    A character holds six bits above "0": five of a number, lowest first, and whether more of them follow; the highest
    of the last five is the sign. From the fourth on, a number is the difference to the last but one.
    """
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(codes & 32 == 0)
    lengths = np.diff(ends, prepend=-1)
    whole = ends.size > 0 and ends[-1] == codes.size - 1 and lengths.max() <= 6
    if not whole or codes.min() < 0 or codes.max() > 63:
        raise ValueError("its run lengths are no text of COCO's")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    for first in (1, 2):
        numbers[first::2] = numbers[first::2].cumsum()
    return numbers
