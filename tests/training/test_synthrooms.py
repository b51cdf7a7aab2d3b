"""The source of synthetic rooms: names, errors, types, determinism; the rooms and their looks have their own files."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms
from pri3d_zoo.training.errors import InputError

SIZE = (60, 80)
SEED = 5


@cache
def walk(seed: int = SEED, frames: int = 12) -> tuple[Frame, ...]:
    return tuple(SynthRooms(range(seed, seed + 1), frames=frames, size=SIZE).frames(f"room{seed:08d}"))


# ---- the source


def test_scene_ids_are_one_a_seed_and_sorted() -> None:
    assert SynthRooms(range(19, 16, -1)).scene_ids() == ["room00000017", "room00000018", "room00000019"]
    assert SynthRooms(range(0)).scene_ids() == []


def test_unknown_scene_and_bad_arguments_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"room00000099.*room00000000 to room00000002"):
        SynthRooms(range(3)).frames("room00000099")
    with pytest.raises(InputError, match="negative"):
        SynthRooms(range(-1, 3))
    with pytest.raises(InputError, match="frames"):
        SynthRooms(range(3), frames=0)
    with pytest.raises(InputError, match="size"):
        SynthRooms(range(3), size=(0, 80))


def test_there_is_no_surface_but_the_observed() -> None:
    assert SynthRooms(range(1)).surface("room00000000") is None


def test_frames_have_ids_and_types() -> None:
    frames = walk()
    assert [frame.id for frame in frames[:3]] == ["000000", "000001", "000002"]
    assert len(frames) == 12
    for frame in frames:
        assert frame.color.shape == (*SIZE, 3)
        assert frame.depth.dtype == np.float32
        assert frame.semantic is not None
        assert frame.instance is not None
        assert frame.semantic.dtype == np.uint8
        assert frame.instance.dtype == np.uint16


def frame_bytes(frame: Frame) -> bytes:
    parts = (frame.color, frame.depth, frame.intrinsics, frame.camera_to_world, frame.semantic, frame.instance)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def test_same_seed_same_bytes_whatever_came_before() -> None:
    np.random.seed(1)
    rendered = SynthRooms(range(SEED + 1), frames=12, size=SIZE)
    next(rendered.frames("room00000001"))  # another scene first
    np.random.seed(2)  # and another global state
    again = list(rendered.frames(f"room{SEED:08d}"))
    assert [frame_bytes(frame) for frame in again] == [frame_bytes(frame) for frame in walk()]


def test_seeds_differ() -> None:
    first, second = walk()[0], walk(6, 2)[0]
    assert not np.array_equal(first.color, second.color)
    assert not np.array_equal(first.depth, second.depth)
    assert not np.array_equal(first.intrinsics, second.intrinsics)


def test_a_walk_sees_many_classes_and_no_void() -> None:
    semantic = np.stack([frame.semantic for frame in walk()])
    instance = np.stack([frame.instance for frame in walk()])
    assert semantic.min() >= 1
    assert semantic.max() <= 40
    assert instance.min() >= 1
    assert len(np.unique(semantic)) >= 6
    for number in np.unique(instance):
        assert len(np.unique(semantic[instance == number])) == 1  # an instance has one class


# ---- shapes and textures


def test_rooms_are_rendered_without_what_training_needs() -> None:
    """On a machine with the zoo, numpy, scipy, pillow, trimesh and embreex; the others cannot be imported here."""
    absent = ["typer", "rich", "joblib", "accelerate", "omegaconf", "tensorboard", "matplotlib", "distributed", "h5py"]
    code = (
        f"import sys; sys.modules |= dict.fromkeys({absent}); "
        "from pri3d_zoo.training.data.sources.synthrooms import SynthRooms; "
        "print(len(list(SynthRooms(range(3, 4), frames=2, size=(24, 32)).frames('room00000003'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert found.stdout == "2\n", found.stderr
