"""What goes wrong while a dataset is prepared: kills at any moment, and frames that are not what they should be."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from pri3d_zoo.training.data import prepare as prepare_module
from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.prepare import PrepareReport, prepare
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.store import SceneStore

SIZE = (24, 32)
KILLS = 20


def write_scene(folder: Path, frames: int, shift: float = 0.0) -> None:
    """A camera that passes along a wall with noise on it, in the plain folder layout."""
    generator = np.random.default_rng(frames)
    for name in ("color", "depth", "pose"):
        (folder / name).mkdir(parents=True)
    np.savetxt(folder / "intrinsics.txt", [[32.0, 0, 15.5], [0, 32, 11.5], [0, 0, 1]])
    for index in range(frames):
        Image.fromarray(generator.integers(0, 256, (*SIZE, 3)).astype(np.uint8)).save(folder / f"color/{index}.png")
        depth = (1500 + generator.integers(0, 10, SIZE)).astype(np.uint16)
        Image.fromarray(depth).save(folder / f"depth/{index}.png")
        pose = np.eye(4)
        pose[0, 3] = shift + 0.05 * index
        np.savetxt(folder / f"pose/{index}.txt", pose)


def run(root: Path, store: Path) -> PrepareReport:
    return prepare(FolderSource(root), store, size=SIZE, voxel_size=0.05, workers=1, arguments={})


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


# Forks from a process that has imported everything, so that kills fall into the work and not into imports.
SERVER = """
import os, sys
from pathlib import Path
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources.folder import FolderSource

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        prepare(FolderSource(Path(sys.argv[1])), Path(line.strip()), size=(24, 32), voxel_size=0.05, workers=1,
                arguments={})
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_same_store(tmp_path: Path) -> None:
    rooms, store = tmp_path / "rooms", tmp_path / "store"
    for number in range(6):
        write_scene(rooms / f"room{number}", 10 + number, shift=float(number))
    run(rooms, tmp_path / "warm")
    began = time.monotonic()
    run(rooms, tmp_path / "undisturbed")
    undisturbed = time.monotonic() - began
    generator = np.random.default_rng(0)
    killed, interrupted = 0, 0
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(rooms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        while killed < KILLS:
            if store.exists() and len(list(store.glob("*.zip"))) == 6:  # it was quicker than the kills: once more
                shutil.rmtree(store)
            server.stdin.write(f"{store}\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            time.sleep(generator.uniform(0, 0.6 * undisturbed))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            killed += server.stdout.readline().strip() == "-9"
            interrupted += store.exists() and any(path.name.endswith(".tmp") for path in store.iterdir())
    finally:
        server.stdin.close()
        server.wait(30)
    print(f"{killed} runs killed, {interrupted} in the middle of a file; undisturbed, one takes {undisturbed:.2f} s")
    assert interrupted > 0
    run(rooms, store)
    assert contents(store) == contents(tmp_path / "undisturbed")


def failure(root: Path, store: Path) -> str:
    """The reason for which the only scene of a dataset could not be prepared."""
    report = run(root, store)
    (reason,) = report.failed.values()
    assert f"failed: room: {reason}" in str(report)
    assert "Traceback" not in reason
    assert not list(store.glob("*.zip"))
    return reason


def test_bad_frames_are_left_out_and_named_in_the_manifest(tmp_path: Path) -> None:
    room = tmp_path / "rooms" / "room"
    write_scene(room, 8)
    cut = room / "depth/0.png"
    cut.write_bytes(cut.read_bytes()[:200])
    cut = room / "color/1.png"
    cut.write_bytes(cut.read_bytes()[:-600])
    poses = {"2": "-inf " * 16, "3": "nan " * 16, "4": "1 0.3 0 0  0 1 0 0  0 0 1 0  0 0 0 1"}
    for name, text in poses.items():
        (room / f"pose/{name}.txt").write_text(text)
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(room / "depth/5.png")  # nothing wrong with that: it has no pairs
    report = run(tmp_path / "rooms", tmp_path / "store")
    assert (report.frames, report.skipped, report.failed) == (3, 5, {})
    scene = SceneStore(tmp_path / "store").scene("room")
    assert scene.frame_ids == ["5", "6", "7"]
    assert scene.pairs.tolist() == [[1, 2]]
    reasons = {frame["id"]: frame["reason"] for frame in scene.manifest["skipped"]}
    assert "depth/0.png is broken" in reasons["0"]
    assert "color/1.png is broken" in reasons["1"]
    assert reasons["2"] == "pose/2.txt: the pose is not finite"
    assert reasons["3"] == "pose/3.txt: the pose is not finite"
    assert "not a rigid motion" in reasons["4"]


def test_depth_that_is_not_finite_is_refused_by_the_frame() -> None:
    depth = np.ones(SIZE, np.float32)
    depth[3, 4] = np.nan
    with pytest.raises(ValueError, match="0 stands for no reading"):
        Frame("0", np.zeros((*SIZE, 3), np.uint8), depth, np.eye(3), np.eye(4))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_mesh_fails_its_scene(tmp_path: Path, share: float) -> None:
    room = tmp_path / "rooms" / "room"
    write_scene(room, 3)
    sphere = trimesh.creation.icosphere(2)
    sphere.visual.vertex_colors = np.full((len(sphere.vertices), 4), 200, np.uint8)
    sphere.export(room / "mesh.ply")
    data = (room / "mesh.ply").read_bytes()
    (room / "mesh.ply").write_bytes(data[: int(share * len(data))])
    reason = failure(tmp_path / "rooms", tmp_path / "store")
    assert "mesh.ply" in reason
    assert "remove it" in reason


def test_a_scene_without_any_reading_fails(tmp_path: Path) -> None:
    room = tmp_path / "rooms" / "room"
    write_scene(room, 3)
    for path in (room / "depth").iterdir():
        Image.fromarray(np.zeros(SIZE, np.uint16)).save(path)
    assert "none of its 3 frames has a depth reading" in failure(tmp_path / "rooms", tmp_path / "store")


@pytest.mark.parametrize("pairs", ["paper", "authors"])
def test_two_frames_are_enough(tmp_path: Path, pairs: str) -> None:
    write_scene(tmp_path / "rooms" / "room", 2)
    source = FolderSource(tmp_path / "rooms")
    prepare(source, tmp_path / "store", size=SIZE, voxel_size=0.05, workers=1, arguments={}, pairs=pairs)
    assert SceneStore(tmp_path / "store").scene("room").pairs.tolist() == [[0, 1]]


def test_more_pairs_than_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "MAX_PAIRS", 20)
    monkeypatch.setattr(prepare_module, "SAMPLED_FRAMES", 6)
    write_scene(tmp_path / "rooms" / "room", 12)
    reason = failure(tmp_path / "rooms", tmp_path / "store")
    assert "its 12 frames would make about 0 million pairs" in reason
    assert "take one frame in 2" in reason


def test_a_long_scene_with_few_pairs_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "MAX_PAIRS", 50)
    monkeypatch.setattr(prepare_module, "SAMPLED_FRAMES", 12)
    write_scene(tmp_path / "rooms" / "room", 12)
    for index in range(12):
        pose = np.eye(4)
        pose[0, 3] = 3.0 * (index // 2)
        np.savetxt(tmp_path / f"rooms/room/pose/{index}.txt", pose)
    run(tmp_path / "rooms", tmp_path / "store")
    assert SceneStore(tmp_path / "store").scene("room").pairs.tolist() == [[i, i + 1] for i in range(0, 12, 2)]
