"""Frames brought to a size: values by hand, and that a point of the world stays under its pixel."""

import numpy as np
import pytest

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.resize import resize_frame, window_of


def random_frame(height: int, width: int) -> Frame:
    generator = np.random.default_rng(0)
    return Frame(
        id="0",
        color=generator.integers(0, 256, (height, width, 3)).astype(np.uint8),
        depth=generator.random((height, width)).astype(np.float32),
        intrinsics=np.array([[50.0, 0, 47.5], [0, 60, 23.5], [0, 0, 1]]),
        camera_to_world=np.eye(4),
        semantic=generator.integers(0, 41, (height, width)).astype(np.uint8),
        instance=generator.integers(0, 60000, (height, width)).astype(np.uint16),
    )


def test_a_third_in_both() -> None:
    frame = random_frame(48, 96)
    small = resize_frame(frame, (16, 32))
    means = frame.color.reshape(16, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(small.color - means).max() <= 1
    for name in ("depth", "semantic", "instance"):  # the middle one of three pixels
        assert np.array_equal(getattr(small, name), getattr(frame, name)[1::3, 1::3])
    assert np.allclose(small.intrinsics, [[50 / 3, 0, 15.5], [0, 20, 7.5], [0, 0, 1]])
    assert resize_frame(frame, (48, 96)) is frame


@pytest.mark.parametrize(
    ("size", "new_size", "window"),
    [
        ((480, 640), (240, 320), (480, 640)),
        ((375, 1242), (240, 320), (375, 500)),
        ((960, 540), (240, 320), (405, 540)),
        ((968, 1296), (240, 320), (968, 1291)),
        ((960, 540), (320, 240), (720, 540)),
        ((1, 9), (240, 320), (1, 1)),
    ],
)
def test_the_window_is_the_largest_of_that_shape(
    size: tuple[int, int], new_size: tuple[int, int], window: tuple[int, int]
) -> None:
    assert window_of(size, new_size) == window


@pytest.mark.parametrize(("height", "width", "top", "left"), [(48, 160, 0, 32), (120, 96, 24, 0)])
def test_another_shape_is_cut_in_the_middle(height: int, width: int, top: int, left: int) -> None:
    """A window of 2:1 or 4:3, then halved: what was at column ``left + 2 j`` and the next one is now at ``j``."""
    frame = random_frame(height, width)
    size = (24, 48) if top == 0 else (36, 48)
    small = resize_frame(frame, size)
    inside = np.s_[top : top + 2 * size[0], left : left + 2 * size[1]]
    means = frame.color[inside].reshape(size[0], 2, size[1], 2, 3).mean((1, 3))
    assert np.abs(small.color - means).max() <= 1
    assert np.array_equal(small.depth, frame.depth[inside][1::2, 1::2])
    assert np.array_equal(small.instance, frame.instance[inside][1::2, 1::2])
    # the middle of small pixel (3, 5), in pixels of the whole image, sees along the same ray
    u, v = left + 2 * 5 + 0.5, top + 2 * 3 + 0.5
    fx, fy, cx, cy = (small.intrinsics[at] for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    assert np.isclose((5 - cx) / fx, (u - 47.5) / 50)
    assert np.isclose((3 - cy) / fy, (v - 23.5) / 60)
