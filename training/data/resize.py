"""Frames at the size of the store."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from ..geometry import scale_intrinsics
from .frame import Frame


def window_of(size: tuple[int, int], new_size: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) inside ``size`` that has the shape of ``new_size``, to whole pixels."""
    height, width = size
    wide, high = new_size[1] * height, new_size[0] * width
    return (height, max(1, round(wide / new_size[0]))) if wide < high else (max(1, round(high / new_size[1])), width)


def resize_frame(frame: Frame, size: tuple[int, int]) -> Frame:
    """The middle of a frame, as much as has the shape wanted, at another (height, width).

    Cut rather than squeezed: things keep their proportions, whichever camera they were taken with. Colour is the areas'
    mean, depth and labels are the nearest pixel's.
    """
    old = (frame.depth.shape[0], frame.depth.shape[1])
    if old == size:
        return frame
    window = window_of(old, size)
    top, left = (old[0] - window[0]) // 2, (old[1] - window[1]) // 2
    rows, columns = (
        ((np.arange(new) + 0.5) * full / new).astype(np.int64) + start
        for new, full, start in zip(size, window, (top, left), strict=True)
    )
    nearest = np.ix_(rows, columns)
    color = Image.fromarray(frame.color[top : top + window[0], left : left + window[1]])
    intrinsics = torch.as_tensor(frame.intrinsics - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]]))
    return replace(
        frame,
        color=np.array(color.resize((size[1], size[0]), Image.Resampling.BOX)),
        depth=frame.depth[nearest],
        intrinsics=scale_intrinsics(intrinsics, window, size).numpy(),
        semantic=None if frame.semantic is None else frame.semantic[nearest],
        instance=None if frame.instance is None else frame.instance[nearest],
    )
