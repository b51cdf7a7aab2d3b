"""From a source to a store: what it holds, that it can be stopped anywhere, and that the bytes are always the same."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from pri3d_zoo.training.data.dry_run import dry_run
from pri3d_zoo.training.data.frame import Frame, SkippedFrame, Surface
from pri3d_zoo.training.data.prepare import PrepareReport, prepare
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.data.unfinished import temporary_path
from pri3d_zoo.training.data.write_folder import write_folder
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)
INTRINSICS = np.array([[32.0, 0, 15.5], [0, 32, 11.5], [0, 0, 1]])


def wall_frame(index: int, shift: float = 0.0) -> Frame:
    """A camera 1.5 m before a striped wall, moved along it by 5 cm a frame."""
    pose = np.eye(4)
    pose[0, 3] = 0.05 * index + shift
    stripes = (np.arange(SIZE[1]) // 4 * 30 % 256).astype(np.uint8)
    return Frame(
        id=f"{index:03d}",
        color=np.broadcast_to(stripes[:, None], (*SIZE, 3)).copy(),
        depth=np.full(SIZE, 1.5, np.float32),
        intrinsics=INTRINSICS,
        camera_to_world=pose,
        semantic=np.full(SIZE, index, np.uint8),
    )


class Walls:
    """A source of such scenes, one for each number of frames; None among the frames is a skipped one."""

    def __init__(self, scenes: dict[str, list[Any]], surface: Surface | None = None) -> None:
        self.scenes = scenes
        self.points = surface

    def scene_ids(self) -> list[str]:
        return list(self.scenes)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        for index, frame in enumerate(self.scenes[scene]):
            if isinstance(frame, Exception):
                raise frame
            yield SkippedFrame(f"{index:03d}", "torn") if frame is None else frame

    def surface(self, scene: str) -> Surface | None:
        return self.points


def run(source: Any, store: Path, workers: int = 1, **arguments: Any) -> PrepareReport:
    return prepare(source, store, size=SIZE, voxel_size=0.05, workers=workers, arguments=arguments)


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A dataset of four scenes on disk."""
    scenes = {f"room{number}": [wall_frame(index, number) for index in range(4 + number)] for number in range(4)}
    write_folder(Walls(scenes), tmp_path / "rooms", workers=1)
    (tmp_path / "rooms" / "room1" / "depth" / "002.png").write_bytes(b"torn")
    return tmp_path / "rooms"


def test_what_a_store_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Walls(
        {"a": [wall_frame(0), None, wall_frame(2), wall_frame(25)], "b": [wall_frame(index) for index in range(3)]}
    )
    with caplog.at_level(logging.WARNING):
        report = run(source, tmp_path, name="walls")
    store = SceneStore(tmp_path)
    scene = store.scene("a")
    assert scene.frame_ids == ["000", "002", "025"]
    # 32 pixels at 1.5 m and a focal length of 32 see 1.5 m; 0.1 m apart they share 14 / 15, 1.15 m apart too little
    assert scene.pairs.tolist() == [[0, 1]]
    assert scene.overlaps[0] == pytest.approx(14 / 15, abs=0.05)
    assert scene.manifest["skipped"] == [{"id": "001", "reason": "torn"}]
    assert scene.manifest["arguments"]["name"] == "walls"
    assert scene.manifest["pairs"] == len(scene.pairs) == sum(scene.manifest["overlap_histogram"]["pairs"])
    assert scene.manifest["voxels"] == len(scene.voxels) > 500
    assert set(scene.manifest["software"]) >= {"pri3d-zoo", "torch"}
    assert scene.semantic(1)[0, 0] == 2
    assert np.abs((scene.voxels[:, 2] + 0.5) * 0.05 - 1.5).max() < 0.06
    assert "scene a: frame 001 skipped: torn" in caplog.text
    pairs = len(scene.pairs) + len(store.scene("b").pairs)
    voxels = len(scene.voxels) + len(store.scene("b").voxels)
    assert (report.prepared, report.untouched, report.frames, report.skipped) == (2, 0, 6, 1)
    assert (report.pairs, report.voxels, report.failed) == (pairs, voxels, {})
    assert "6 frames (1 skipped)" in str(report)
    summary = json.loads((tmp_path / "manifest.json").read_text())
    histogram = scene.manifest["overlap_histogram"]["pairs"]
    assert sum(histogram) == len(scene.pairs) == 1
    assert summary["scenes"]["a"] == {
        "frames": 3,
        "skipped": 1,
        "pairs": len(scene.pairs),
        "voxels": len(scene.voxels),
        "overlap_histogram": histogram,
    }


def test_the_surface_of_the_source_is_taken_where_there_is_one(tmp_path: Path) -> None:
    points = np.array([[0.01, 0.01, 0.01], [0.02, 0.02, 0.02], [-1, 2, 3.01]], np.float32)
    surface = Surface(points, np.array([[10, 20, 30], [20, 30, 40], [1, 2, 3]], np.uint8))
    run(Walls({"a": [wall_frame(0)]}, surface), tmp_path)
    scene = SceneStore(tmp_path).scene("a")
    assert scene.voxels.tolist() == [[-20, 40, 60], [0, 0, 0]]
    assert scene.voxel_colors.tolist() == [[1, 2, 3], [15, 25, 35]]
    assert scene.manifest["surface"] == "of the source"


def test_one_frame_has_no_pairs(tmp_path: Path) -> None:
    assert run(Walls({"a": [wall_frame(0)]}), tmp_path).pairs == 0
    scene = SceneStore(tmp_path).scene("a")
    assert scene.pairs.shape == (0, 2)
    assert len(scene.voxels) > 500


def test_broken_scenes_do_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Walls(
        {
            "empty": [],
            "none_left": [None, None],
            "twice": [wall_frame(0), wall_frame(0)],
            "raises": [wall_frame(0), RuntimeError("disk on fire")],
            "whole": [wall_frame(0), wall_frame(1)],
        }
    )
    report = run(source, tmp_path)
    assert SceneStore(tmp_path).scene_ids == ["whole"]
    assert (report.prepared, report.frames, report.skipped) == (1, 2, 0)
    assert "no frame is left" in report.failed["empty"]
    assert "2 skipped, the last one: torn" in report.failed["none_left"]
    assert "two frames have the id 000" in report.failed["twice"]
    assert report.failed["raises"] == "RuntimeError: disk on fire"
    assert "scene raises failed" in caplog.text
    assert json.loads((tmp_path / "manifest.json").read_text())["failed"] == report.failed
    assert sorted(contents(tmp_path)) == ["manifest.json", "whole.pri3d.zip"]


@pytest.mark.parametrize("scenes", [{}, {"../a": [1]}, {"a/b": [1]}, {"..": [1]}])
def test_bad_scene_names_are_refused(tmp_path: Path, scenes: dict[str, list[Any]]) -> None:
    with pytest.raises(InputError):
        run(Walls(scenes), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_bad_frame_names_fail_the_scene(tmp_path: Path) -> None:
    frame = wall_frame(0)
    object.__setattr__(frame, "id", "../../escaped")
    assert "plain name" in run(Walls({"a": [frame]}), tmp_path / "store").failed["a"]


def test_images_that_lose_much_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [wall_frame(index) for index in range(2)]
    settings: dict[str, Any] = {"voxel_size": 0.05, "workers": 1, "arguments": {}}
    prepare(Walls({"a": frames}), tmp_path / "same", size=SIZE, **settings)
    assert "is kept" not in caplog.text
    prepare(Walls({"a": frames}), tmp_path / "upright", size=(24, 16), **settings)
    assert "of its images of 24x32 only the middle 24x16 is kept" in caplog.text
    manifest = SceneStore(tmp_path / "upright").scene("a").manifest
    assert manifest["images"] == [{"size": [24, 32], "kept": [24, 16]}]


def test_many_skipped_frames_are_summed_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(Walls({"a": [wall_frame(0), *[None] * 25]}), tmp_path)
    assert caplog.text.count("torn") == 10
    assert "15 more frames skipped" in caplog.text
    assert len(SceneStore(tmp_path).scene("a").manifest["skipped"]) == 25


def test_only_what_is_missing_or_broken_is_redone(rooms: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(FolderSource(rooms), store)
    before = contents(store)
    times = {path.name: path.stat().st_mtime_ns for path in store.glob("*.zip")}
    (store / "room0.pri3d.zip").unlink()
    cut = store / "room1.pri3d.zip"
    cut.write_bytes(cut.read_bytes()[:-100])
    flipped = bytearray(before["room2.pri3d.zip"])
    flipped[len(flipped) // 2] ^= 1
    (store / "room2.pri3d.zip").write_bytes(bytes(flipped))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = temporary_path(store / "room3.pri3d.zip")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
    left.write_bytes(b"left over")
    report = run(FolderSource(rooms), store)
    assert (report.prepared, report.untouched) == (3, 1)
    assert (report.frames, report.skipped) == (4 + 4 + 6 + 7, 1)
    assert contents(store) == before
    assert (store / "room3.pri3d.zip").stat().st_mtime_ns == times["room3.pri3d.zip"]


def test_other_arguments_redo_a_scene(rooms: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(FolderSource(rooms), store, frames=None, pair=(1, 2))  # a tuple comes back from JSON as a list
    assert run(FolderSource(rooms), store, frames=None, pair=(1, 2)).untouched == 4
    assert run(FolderSource(rooms, frames=2), store, frames=2).prepared == 4
    assert {len(SceneStore(store).scene(scene).frame_ids) for scene in FolderSource(rooms).scene_ids()} == {2}


def test_pairs_as_the_authors_mine_them(rooms: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(FolderSource(rooms), store)
    settings: dict[str, Any] = {"size": SIZE, "voxel_size": 0.05, "workers": 1, "arguments": {}}
    assert prepare(FolderSource(rooms), store, pairs="authors", **settings).prepared == 4
    scene = SceneStore(store).scene("room0")
    assert (scene.manifest["arguments"]["pairs"], scene.manifest["arguments"]["radius"]) == ("authors", 1.5 * 0.05)
    assert len(scene.pairs) == 6
    assert prepare(FolderSource(rooms), store, pairs="authors", **settings).untouched == 4
    with pytest.raises(InputError, match="paper or authors, not 'best'"):
        prepare(FolderSource(rooms), store, pairs="best", **settings)


def test_a_wider_radius_and_less_overlap_make_more_pairs(tmp_path: Path) -> None:
    """Frames 5 cm apart before a wall; neighbouring pixels see points 1.5 / 32 m = 4.7 cm apart."""
    source = Walls({"wall": [wall_frame(index) for index in range(30)]})
    found = {}
    for radius, share in ((None, 0.3), (0.06, 0.3), (0.06, 0.6)):
        store = tmp_path / f"{radius}-{share}"
        settings: dict[str, Any] = {"size": SIZE, "voxel_size": 0.02, "workers": 1, "arguments": {}}
        prepare(source, store, **settings, radius=radius, min_overlap=share)
        found[radius, share] = SceneStore(store).scene("wall")
        assert prepare(source, store, **settings, radius=radius, min_overlap=share).untouched == 1
    # of 32 columns the other view sees those that are not shifted out of it: 1.0667 columns a frame
    widest = {key: max(b - a for a, b in scene.pairs.tolist()) for key, scene in found.items()}
    assert widest[0.06, 0.3] >= 20
    assert 10 <= widest[0.06, 0.6] <= 13
    assert len(found[0.06, 0.3].pairs) > len(found[None, 0.3].pairs)
    assert found[0.06, 0.6].manifest["arguments"]["min_overlap"] == 0.6
    for wrong in ({"radius": 0.0}, {"radius": 0.1, "pairs": "authors"}, {"min_overlap": 0.0}, {"min_overlap": 1.5}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            prepare(source, tmp_path / "wrong", **settings, **wrong)


def test_stores_from_before_there_was_a_choice_of_pairs_stay(tmp_path: Path) -> None:
    run(Walls({"a": [wall_frame(0)]}), tmp_path)
    wanted = {"size": list(SIZE), "voxel_size": 0.05, "radius": 0.02, "min_overlap": 0.3}
    assert SceneStore(tmp_path).scene("a").manifest["arguments"] == wanted


def test_a_dry_run_measures_and_writes_nothing(rooms: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    estimate = dry_run(FolderSource(rooms), store, size=SIZE, voxel_size=0.05, workers=2, arguments={})
    assert not store.exists()
    assert (estimate.scenes, estimate.present, estimate.sampled, estimate.frames) == (4, 0, "room2", 6)
    assert estimate.seconds > 0
    run(FolderSource(rooms), store)
    assert estimate.bytes == pytest.approx((store / "room2.pri3d.zip").stat().st_size, rel=0.1)
    assert "4 scenes, 0 of them in the store; room2 has 6 frames" in str(estimate)
    before = contents(store)
    again = dry_run(FolderSource(rooms), store, size=SIZE, voxel_size=0.05, workers=2, arguments={})
    assert again.present == 4
    assert contents(store) == before


def test_scenes_of_other_sources_stay(rooms: Path, tmp_path: Path) -> None:
    run(Walls({"a": [wall_frame(0)]}), tmp_path / "store")
    run(FolderSource(rooms), tmp_path / "store")
    assert SceneStore(tmp_path / "store").scene_ids == ["a", "room0", "room1", "room2", "room3"]
    assert "a" in json.loads((tmp_path / "store" / "manifest.json").read_text())["scenes"]


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_a_byte(rooms: Path, tmp_path: Path) -> None:
    run(FolderSource(rooms), tmp_path / "one", workers=1)
    run(FolderSource(rooms), tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


SLOW = """
import sys, time
from pathlib import Path
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources import folder

class FolderSource(folder.FolderSource):
    def frames(self, scene):
        for frame in super().frames(scene):
            time.sleep(0.1)
            yield frame

prepare(FolderSource(Path(sys.argv[1])), Path(sys.argv[2]), size=(24, 32), voxel_size=0.05, workers=1, arguments={})
"""


@pytest.mark.slow
def test_a_killed_run_is_finished_to_the_same_bytes(rooms: Path, tmp_path: Path) -> None:
    undisturbed, store = tmp_path / "undisturbed", tmp_path / "store"
    run(FolderSource(rooms), undisturbed)
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(rooms), str(store)], start_new_session=True)
    try:
        until = time.monotonic() + 60
        # one scene is whole and the next one begun
        while not ((store / "room0.pri3d.zip").exists() and list(store.glob(".room1.pri3d.zip.*.tmp"))):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(SceneStore(store)) < 4
    assert list(store.glob(".room1.pri3d.zip.*.tmp"))
    report = run(FolderSource(rooms), store)
    assert report.untouched >= 1
    assert contents(store) == contents(undisturbed)


@pytest.mark.parametrize("distance", [3e5, 7e3, -7e3])
@pytest.mark.parametrize("surface", [None, Surface(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8))])
def test_a_lost_pose_costs_its_frame_alone(tmp_path: Path, surface: Surface | None, distance: float) -> None:
    """Beyond the keys of 5 cm voxels, 6.5 km, within and beyond what a pose may be."""
    frames = [wall_frame(0), wall_frame(1), wall_frame(2)]
    frames[1].camera_to_world[0, 3] = distance  # behind the frame's back, as a source's own would be refused
    report = run(Walls({"a": frames}, surface), tmp_path)
    assert (report.frames, report.skipped, report.failed) == (2, 1, {})
    scene = SceneStore(tmp_path).scene("a")
    assert scene.frame_ids == ["000", "002"]
    assert "m from the origin" in scene.manifest["skipped"][0]["reason"]


def test_a_dataset_in_millimetres_is_told_so(tmp_path: Path) -> None:
    report = run(Walls({"a": [wall_frame(0, 9000), wall_frame(1, 9000)]}), tmp_path)
    assert "2 skipped" in report.failed["a"]
    assert "in metres?" in report.failed["a"]


def test_a_dry_run_of_a_video_that_starts_before_its_poses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal, where progress is shown
    source = Walls({"a": [*[None] * 50, wall_frame(0), None, wall_frame(1), wall_frame(2)]})
    estimate = dry_run(source, tmp_path / "store", size=SIZE, voxel_size=0.05, workers=1, arguments={})
    assert estimate.frames == 3
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
    with pytest.raises(InputError, match=r"no frame is left of it .50 skipped, the last one: torn"):
        dry_run(Walls({"a": [None] * 50}), tmp_path, size=SIZE, voxel_size=0.05, workers=1, arguments={})


class Deadly(Walls):
    """Walls of which scene c ends its process, as the system does where memory runs out."""

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        for frame in super().frames(scene):
            yield frame
            if scene == "c" and multiprocessing.parent_process() is not None:
                until = time.monotonic() + 60
                while not (self.store / "b.pri3d.zip").exists() and time.monotonic() < until:
                    time.sleep(0.05)
                time.sleep(0.5)  # until the result has arrived
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_loses_only_what_it_had_begun(tmp_path: Path) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    source = Deadly({scene: [wall_frame(0), wall_frame(1)] for scene in "abcd"})
    source.scenes["a"] = []
    source.store = tmp_path
    with pytest.raises(InputError, match=r"worker was killed after [23] of 4 scenes.*fewer --workers than 2"):
        run(source, tmp_path, workers=2)
    summary = json.loads((tmp_path / "manifest.json").read_text())
    assert "b" in summary["scenes"]
    assert list(summary["failed"]) == ["a"]
    assert not list(tmp_path.glob(".*"))
    report = run(Walls({scene: source.scenes[scene] for scene in "bcd"}), tmp_path)
    assert report.prepared + report.untouched == 3
    assert report.untouched >= 1


class Interrupted(Walls):
    """Walls of which somebody else prepares the same scene meanwhile."""

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        frames = list(super().frames(scene))
        yield frames[0]
        run(Walls(self.scenes), self.store)
        yield from frames[1:]


def test_two_that_prepare_the_same_scene_do_not_meet(tmp_path: Path) -> None:
    source = Interrupted({"a": [wall_frame(0), wall_frame(1)]})
    source.store = tmp_path
    report = run(source, tmp_path)
    assert (report.prepared, report.failed) == (1, {})
    assert sorted(contents(tmp_path)) == ["a.pri3d.zip", "manifest.json"]
    scene = SceneStore(tmp_path).scene("a")
    scene.verify()
    assert (scene.frame_ids, scene.manifest["source"]) == (["000", "001"], "Interrupted")


def test_what_lives_is_not_swept_away(tmp_path: Path) -> None:
    """Of this process, of another machine, and of somebody who names files otherwise."""
    (own := temporary_path(tmp_path / "b.pri3d.zip")).write_bytes(b"")
    kept = {own, tmp_path / ".b.pri3d.zip.elsewhere-999999999-00000000.tmp", tmp_path / ".mine.tmp"}
    for path in kept:
        path.write_bytes(b"")
    run(Walls({"a": [wall_frame(0)]}), tmp_path)
    assert set(tmp_path.glob(".*")) == kept


FOREIGN = {"without": {}, "of_another_kind": {"skipped": 3, "pairs": "many", "voxels": None, "overlap_histogram": 1}}


@pytest.mark.parametrize("manifest", FOREIGN.values(), ids=FOREIGN)
def test_scenes_that_others_have_written_are_redone_or_left(tmp_path: Path, manifest: dict[str, Any]) -> None:
    arguments = {"size": list(SIZE), "voxel_size": 0.05, "radius": 0.02, "min_overlap": 0.3}
    for scene, more in (("a", {}), ("b", {"arguments": arguments}), ("other", {})):
        with SceneWriter(tmp_path, scene) as writer:
            writer.add_frame(wall_frame(0))
            writer.finish(
                pairs=np.zeros((0, 2), np.int32),
                overlaps=np.zeros(0, np.float32),
                voxels=np.zeros((0, 3), np.int32),
                voxel_colors=np.zeros((0, 3), np.uint8),
                voxel_size=0.05,
                manifest=manifest | more,
            )
    report = run(Walls({scene: [wall_frame(0), wall_frame(1)] for scene in "ab"}), tmp_path)
    assert (report.prepared, report.frames, report.failed) == (2, 4, {})
    scenes = json.loads((tmp_path / "manifest.json").read_text())["scenes"]
    assert [scenes[scene]["frames"] for scene in ("a", "b", "other")] == [2, 2, 1]
    assert "another program" in scenes["other"]["uncounted"]


def test_real_frames(real_data: Path, tmp_path: Path) -> None:
    shutil.copytree(real_data / "rgbd" / "sun3d_frag2", tmp_path / "frag2")
    report = prepare(
        FolderSource(tmp_path / "frag2", frames=6), tmp_path / "store", size=(120, 160), workers=1, arguments={}
    )
    assert (report.frames, report.skipped, report.failed) == (6, 0, {})
    assert report.pairs > 5
    assert SceneStore(tmp_path / "store").size == (120, 160)
    assert report.voxels > 10_000
