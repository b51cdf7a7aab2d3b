"""The source of synthetic rooms: names, errors, types, walks, determinism; what is in them has files of its own."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.nyu40 import NYU40_IDS
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms, source
from pri3d_zoo.training.data.sources.synthrooms.camera import camera, exposure, sensor
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import depth_to_world, invert_rigid, nearest_pixel, project, transform

SIZE = (60, 80)
SEED = 5


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


def test_frames_have_ids_and_types(walked) -> None:
    frames = walked()
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


def test_same_seed_same_bytes_whatever_came_before(walked) -> None:
    np.random.seed(1)
    rendered = SynthRooms(range(SEED + 1), frames=12, size=SIZE)
    next(rendered.frames("room00000001"))  # another scene first
    np.random.seed(2)  # and another global state
    again = list(rendered.frames(f"room{SEED:08d}"))
    assert [frame_bytes(frame) for frame in again] == [frame_bytes(frame) for frame in walked()]


def test_seeds_differ(walked) -> None:
    first, second = walked()[0], walked(6, 2)[0]
    assert not np.array_equal(first.color, second.color)
    assert not np.array_equal(first.depth, second.depth)
    assert not np.array_equal(first.intrinsics, second.intrinsics)


def test_a_walk_sees_many_classes_and_no_void(walked) -> None:
    semantic = np.stack([frame.semantic for frame in walked()])
    instance = np.stack([frame.instance for frame in walked()])
    assert semantic.min() >= 1
    assert semantic.max() <= 40
    assert instance.min() >= 1
    assert len(np.unique(semantic)) >= 6
    for number in np.unique(instance):
        assert len(np.unique(semantic[instance == number])) == 1  # an instance has one class


# ---- dependencies


@pytest.mark.slow
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


# ---- walks


def shared(first: Frame, second: Frame, radius: float = 0.05) -> tuple[float, float]:
    """Of the first frame's points: the share seen in the second, and of those in its view the share that is there."""

    def batch(array: NDArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.float64))[None]

    depth = batch(first.depth)
    points = depth_to_world(depth, batch(first.intrinsics), batch(first.camera_to_world))
    points = points[:, depth.flatten() > 0]
    other = batch(second.depth)
    seen_from = batch(second.camera_to_world)
    _, found = nearest_pixel(points, other, batch(second.intrinsics), seen_from, radius)
    pixels, z = project(transform(points, invert_rigid(seen_from)), batch(second.intrinsics))
    column, row = pixels.round().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    there = other[0, row.clamp(0, SIZE[0] - 1), column.clamp(0, SIZE[1] - 1)]
    visible = inside & (there > 0) & (z < there + 0.1)  # not hidden behind something
    agrees = (found & visible).sum() / visible.sum().clamp(min=1)
    return float(found.double().mean()), float(agrees)


def test_reprojected_depth_agrees_in_both_directions(walked) -> None:
    frames = walked()
    for first, second in ((0, 1), (1, 0), (3, 5), (5, 3), (8, 9)):
        assert shared(frames[first], frames[second])[1] > 0.85


def test_neighbouring_frames_overlap_but_move(walked) -> None:
    overlaps = [shared(walked(seed, 12)[i], walked(seed, 12)[i + 1])[0] for seed in (5, 8) for i in range(11)]
    assert 0.5 < np.median(overlaps) < 0.97
    assert np.mean(np.array(overlaps) > 0.3) > 0.9


# ---- the same for ever


def digest(frames: tuple[Frame, ...]) -> str:
    total = hashlib.sha256()
    for frame in frames:
        for part in (frame.color, frame.depth, frame.camera_to_world, frame.semantic, frame.instance):
            total.update(np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


@pytest.mark.slow
def test_another_process_with_more_threads_renders_the_same_bytes(walked) -> None:
    code = (
        "import hashlib, numpy as np\n"
        "from pri3d_zoo.training.data.sources.synthrooms import SynthRooms\n"
        "total = hashlib.sha256()\n"
        f"for frame in SynthRooms(range({SEED + 1}), frames=12, size={SIZE}).frames('room{SEED:08d}'):\n"
        "    for part in (frame.color, frame.depth, frame.camera_to_world, frame.semantic, frame.instance):\n"
        "        total.update(np.ascontiguousarray(part).tobytes())\n"
        "print(total.hexdigest())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.strip() == digest(walked())


def test_a_frame_rendered_alone_is_the_frame_of_the_walk(walked, room, renderer, view) -> None:
    frame, index = walked()[7], 7
    random = np.random.default_rng((SEED, source.FRAME, index))
    settings = exposure.make_camera(np.random.default_rng((SEED, source.SETTINGS)), 12)
    poses = camera.camera_path(np.random.default_rng((SEED, source.PATH)), room(), 13)
    alone = view(frame)
    moved = exposure.motion(poses[index], poses[index + 1], settings.shutter[index])
    light = exposure.blurred(alone.color, alone.depth, frame.intrinsics, moved)
    np.testing.assert_array_equal(exposure.expose(random, light, renderer().exposure, settings, index), frame.color)
    np.testing.assert_array_equal(sensor.measure_depth(random, alone, frame.intrinsics[0, 0]), frame.depth)
    np.testing.assert_array_equal(alone.semantic, frame.semantic)
    np.testing.assert_array_equal(alone.instance, frame.instance)


def test_noisy_poses_are_reported_and_exact_ones_rendered(walked) -> None:
    noisy = list(
        SynthRooms(range(SEED, SEED + 1), frames=12, size=SIZE, pose_noise=(0.02, 0.01)).frames("room00000005")
    )
    errors = [np.linalg.inv(a.camera_to_world) @ b.camera_to_world for a, b in zip(walked(), noisy, strict=True)]
    for exact, frame in zip(walked(), noisy, strict=True):
        np.testing.assert_array_equal(exact.depth, frame.depth)
        np.testing.assert_array_equal(exact.color, frame.color)
    shift = np.stack([error[:3, 3] for error in errors])
    turn = np.array([np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1)) for error in errors])
    assert shift.std() == pytest.approx(0.02, rel=0.4)
    assert np.sqrt(np.mean(turn**2)) == pytest.approx(0.01 * 3**0.5, rel=0.4)
    with pytest.raises(InputError, match="pose_noise"):
        SynthRooms(range(3), pose_noise=(-0.1, 0.0))


def test_official_names_stand_for_what_is_seen(walked) -> None:
    semantic = np.stack([frame.semantic for frame in walked()])
    assert {NYU40_IDS["wall"], NYU40_IDS["floor"]} <= set(np.unique(semantic).tolist())
