"""Scenes of any content through writer and reader, and what becomes of damaged ones."""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.scene import Scene, scene_path
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError

quickly = settings(derandomize=True, deadline=None, max_examples=25)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters='/\\:*?"<>|'), min_size=1
)


@contextmanager
def folder() -> Iterator[Path]:
    """One for each example, where pytest's would be the same for all."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Frame], dict[str, Any]]:
    """Frames of one size, and what belongs to the scene as a whole."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    names = st.lists(NAMES.filter(lambda name: name[0] != "."), min_size=1, max_size=3, unique=True)
    frames = []
    for id in draw(names):
        pose = np.eye(4)
        pose[:3, 3] = draw(arrays(np.float64, 3, elements=st.floats(-2e4, 2e4)))
        millimetres = draw(arrays(np.uint16, size))
        labels = [draw(st.none() | arrays(kind, size)) for kind in (np.uint8, np.uint16)]
        color = np.full((*size, 3), draw(st.integers(0, 255)), np.uint8)
        intrinsics = np.diag([draw(st.floats(1e-3, 1e5)), 30, 1])
        frames.append(Frame(id, color, (millimetres / 1000).astype(np.float32), intrinsics, pose, *labels))
    indices = arrays(np.int32, st.tuples(st.integers(0, 4), st.just(2)), elements=st.integers(0, len(frames) - 1))
    pairs = draw(indices)
    rows = draw(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3), max_size=4, unique=True).map(sorted))
    whole = {
        "pairs": pairs,
        "overlaps": draw(arrays(np.float32, len(pairs), elements=st.floats(0, 1, width=32))),
        "voxels": np.array(rows, np.int32).reshape(-1, 3),
        "voxel_colors": draw(arrays(np.uint8, (len(rows), 3))),
        "voxel_size": draw(st.floats(1e-4, 10)),
        "manifest": {"note": draw(st.text(st.characters(codec="utf-8")))},
    }
    return frames, whole


def write(root: Path, frames: list[Frame], whole: dict[str, Any]) -> Path:
    with SceneWriter(root, "den") as writer:
        for frame in frames:
            writer.add_frame(frame)
        writer.finish(**whole)
    return scene_path(root, "den")


def same(found: Any, wanted: Any) -> bool:
    return found is wanted is None or (found.dtype == wanted.dtype and np.array_equal(found, wanted))


@quickly
@given(scenes())
def test_what_was_written_is_read(content: tuple[list[Frame], dict[str, Any]]) -> None:
    frames, whole = content
    with folder() as root:
        write(root, frames, whole)
        scene = SceneStore(root).scene("den")
        for name in ("pairs", "overlaps", "voxels", "voxel_colors"):
            assert same(getattr(scene, name), whole[name])
        assert scene.voxel_size == whole["voxel_size"]
        assert scene.manifest["note"] == whole["manifest"]["note"]
        assert scene.frame_ids == [frame.id for frame in frames]
        for index, frame in enumerate(frames):
            assert same(scene.depth(index), frame.depth)
            assert same(scene.semantic(index), frame.semantic)
            assert same(scene.instance(index), frame.instance)
            assert same(scene.intrinsics[index], frame.intrinsics)
            assert same(scene.camera_to_world[index], frame.camera_to_world)
            assert np.abs(scene.color(index).astype(int) - frame.color).max() <= 2  # JPEG, of one colour


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def good() -> Iterator[tuple[Path, bytes]]:
    """A scene, and its bytes: what a test writes in its place the next test replaces."""
    size, generator = (4, 5), np.random.default_rng(0)
    depth = generator.integers(1, 5000, size).astype(np.float32) / 1000
    frames = [
        Frame(id, np.full((*size, 3), 9, np.uint8), depth, np.eye(3), np.eye(4), np.ones(size, np.uint8))
        for id in ("a", "b")
    ]
    whole = {
        "pairs": np.array([[0, 1]], np.int32),
        "overlaps": np.array([0.5], np.float32),
        "voxels": np.array([[-1, 2, 3], [0, 0, 0]], np.int32),
        "voxel_colors": np.zeros((2, 3), np.uint8),
        "voxel_size": 0.02,
        "manifest": {},
    }
    with folder() as root:
        path = write(root, frames, whole)
        yield path, path.read_bytes()


def everything(scene: Scene) -> list[Any]:
    images = [read(index) for read in (scene.color, scene.depth, scene.semantic, scene.instance) for index in (0, 1)]
    return [
        *(scene.pairs, scene.overlaps, scene.voxels, scene.voxel_colors, scene.intrinsics, scene.camera_to_world),
        *images,
        scene.manifest,
    ]


def is_refused_or_as_before(path: Path, data: bytes, good: bytes) -> None:
    """By name, and in one line."""
    path.write_bytes(good)
    wanted = everything(Scene(path))
    path.write_bytes(data)
    try:
        found = everything(SceneStore(path.parent).scene("den"))
    except InputError as error:
        assert str(path) in str(error)
        assert str(error).isprintable()
    else:
        assert all(same(one, other) if isinstance(one, np.ndarray) else one == other
                   for one, other in zip(found, wanted, strict=True))  # fmt: skip


@settings(quickly, max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless(good: tuple[Path, bytes], place: float, flip: int) -> None:
    path, data = good
    broken = bytearray(data)
    broken[int(place * len(data))] ^= flip
    is_refused_or_as_before(path, bytes(broken), data)


@settings(quickly, max_examples=60)
@given(start=st.floats(0, 1), length=st.integers(1, 3000))
def test_a_file_with_a_part_cut_out_is_refused_or_harmless(good: tuple[Path, bytes], start: float, length: int) -> None:
    path, data = good
    first = int(start * (len(data) - 1))
    is_refused_or_as_before(path, data[:first] + data[first + length :], data)


@settings(quickly, max_examples=60)
@given(
    key=st.sampled_from(("version", "frames", "size", "voxel_size")),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    ),
)
def test_a_sealed_manifest_of_anything_is_refused_or_read(good: tuple[Path, bytes], key: str, value: Any) -> None:
    path, data = good
    path.write_bytes(data)
    content = members(path)
    manifest = json.loads(content["manifest.json"])
    content["manifest.json"] = json.dumps(manifest | {key: value}).encode()
    sealed(path, content)
    try:
        scene = SceneStore(path.parent).scene("den")
        everything(scene)
    except InputError as error:
        assert str(path) in str(error)
        assert str(error).isprintable()
    else:  # only another voxel size is as good as the one before
        assert value == manifest[key] or (key == "voxel_size" and value > 0)


@settings(quickly, max_examples=60)
@given(
    name=st.sampled_from(("intrinsics", "camera_to_world", "pairs", "overlaps", "voxels", "voxel_colors")),
    array=arrays(
        st.sampled_from((np.float64, np.float32, np.int32, np.uint8, np.int64, np.dtype("U3"))),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
)
def test_a_sealed_array_of_another_kind_is_refused(good: tuple[Path, bytes], name: str, array: np.ndarray) -> None:
    path, data = good
    path.write_bytes(data)
    wanted = getattr(Scene(path), name)
    stream = io.BytesIO()
    np.save(stream, array)
    sealed(path, members(path) | {f"{name}.npy": stream.getvalue()})
    if array.dtype == wanted.dtype and array.shape[1:] == wanted.shape[1:]:
        return
    with pytest.raises(InputError, match=rf"den.pri3d.zip.*{name}.npy is an array of"):
        getattr(Scene(path), name)


def sealed(path: Path, content: dict[str, bytes]) -> None:
    """The members under checksums that fit."""
    with zipfile.ZipFile(path, "w") as file:
        for name, part in content.items():
            file.writestr(name, part)
