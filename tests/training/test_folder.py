"""The plain folder layout: what is read, what is left out and why, and that what is written reads back."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from pri3d_zoo.training.data.frame import Frame, SkippedFrame, Surface
from pri3d_zoo.training.data.fusion import fuse, voxelize
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.unfinished import temporary_path
from pri3d_zoo.training.data.write_folder import write_folder
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)
FUSED = ("depth", "color", "intrinsics", "camera_to_world")


class Scenes:
    """A source of random frames, with labels, a skipped frame and a surface."""

    def scene_ids(self) -> list[str]:
        return ["attic", "cellar"]

    def frames(self, scene: str):
        generator = np.random.default_rng(len(scene))
        for index in range(4):
            pose = np.eye(4)
            pose[:3, 3] = generator.normal(size=3)
            yield Frame(
                id=f"{index}",
                color=np.kron(generator.integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8),
                depth=(generator.integers(0, 5000, SIZE) / 1000).astype(np.float32),
                intrinsics=np.array([[30.5, 0, 15.5], [0, 31, 11.25], [0, 0, 1]]),
                camera_to_world=pose,
                semantic=generator.integers(0, 41, SIZE).astype(np.uint8),
                instance=generator.integers(0, 60000, SIZE).astype(np.uint16),
            )
        yield SkippedFrame("4", "the lens cap was on")

    def surface(self, scene: str) -> Surface | None:
        generator = np.random.default_rng(len(scene))
        if scene == "attic":
            return None
        points, colors = generator.random((50, 3)), generator.integers(0, 256, (50, 3))
        return Surface(points.astype(np.float32), colors.astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(Scenes(), tmp_path / "rooms", workers=1)
    return tmp_path / "rooms"


def only_skipped(folder: Path) -> SkippedFrame:
    """The one frame of scene attic that is left out."""
    found = list(FolderSource(folder).frames("attic"))
    skipped = [frame for frame in found if isinstance(frame, SkippedFrame)]
    assert len(found) == 4
    assert len(skipped) == 1
    return skipped[0]


def test_what_is_written_reads_back(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.scene_ids() == ["attic", "cellar"]
    for scene in source.scene_ids():
        written = [frame for frame in Scenes().frames(scene) if isinstance(frame, Frame)]
        for wanted, frame in zip(written, source.frames(scene), strict=True):
            assert isinstance(frame, Frame)
            assert frame.id == wanted.id
            for name in ("depth", "intrinsics", "camera_to_world", "semantic", "instance"):
                value = getattr(frame, name)
                assert np.array_equal(value, getattr(wanted, name)), name
                assert value.dtype == getattr(wanted, name).dtype
            assert np.abs(frame.color.astype(int) - wanted.color).mean() < 8  # JPEG
    originals = [frame for frame in Scenes().frames("attic") if isinstance(frame, Frame)]
    depth, color, intrinsics, poses = (np.stack([getattr(frame, name) for frame in originals]) for name in FUSED)
    voxels, shades = fuse((depth * 1000).round().astype(np.uint16), color, intrinsics, poses, voxel_size=0.02)
    fused = source.surface("attic")  # which its source did not know
    assert fused is not None
    assert len(voxels) > 100
    again, colors = voxelize(fused.points, fused.colors, voxel_size=0.02)
    assert np.array_equal(again, voxels)
    assert np.array_equal(colors, shades)
    surface, wanted_surface = source.surface("cellar"), Scenes().surface("cellar")
    assert surface is not None
    assert wanted_surface is not None
    assert np.array_equal(surface.points, wanted_surface.points)
    assert np.array_equal(surface.colors, wanted_surface.colors)


def test_finished_scenes_are_left_alone_and_leftovers_removed(folder: Path) -> None:
    marked = folder / "attic" / "color" / "0.jpg"
    marked.write_bytes(b"mine")
    shutil.rmtree(folder / "cellar")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = temporary_path(folder / "cellar")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
    (left / "color").mkdir(parents=True)
    (left / "color" / "99.jpg").write_bytes(b"half")
    write_folder(Scenes(), folder, workers=1)
    assert marked.read_bytes() == b"mine"
    assert sorted(path.name for path in folder.iterdir()) == ["attic", "cellar"]
    assert sorted(path.name for path in (folder / "cellar" / "color").iterdir()) == [f"{i}.jpg" for i in range(4)]


def test_skipped_frames_are_counted_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(Scenes(), tmp_path, workers=1)
    assert "scene attic: 1 frames skipped, the last one, 4: the lens cap was on" in caplog.text


class Torn(Scenes):
    """Scenes whose second frame has another size."""

    def frames(self, scene: str):
        frames = list(super().frames(scene))
        half = {name: getattr(frames[1], name)[:12] for name in ("color", "depth", "semantic", "instance")}
        yield from (frames[0], replace(frames[1], **half))


def test_a_scene_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one size"):
        write_folder(Torn(), tmp_path, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_root_may_be_one_scene(folder: Path) -> None:
    source = FolderSource(folder / "cellar")
    assert source.scene_ids() == ["cellar"]
    assert len(list(source.frames("cellar"))) == 4


def test_frames_are_in_order_of_their_numbers_and_evenly_spread(folder: Path) -> None:
    scene = folder / "attic"
    for name, end in (("color", "jpg"), ("depth", "png"), ("pose", "txt")):
        for number in range(4, 12):
            shutil.copy(scene / name / f"0.{end}", scene / name / f"{number}.{end}")
    assert [frame.id for frame in FolderSource(folder).frames("attic")] == [str(number) for number in range(12)]
    assert [frame.id for frame in FolderSource(folder, frames=3).frames("attic")] == ["0", "6", "11"]
    assert [frame.id for frame in FolderSource(folder, frames=1).frames("attic")] == ["0"]


def test_the_largest_number_of_depth_is_no_reading(folder: Path) -> None:
    path = folder / "attic" / "depth" / "0.png"
    depth = np.array(Image.open(path))
    depth[2:5, 3:9] = 65535
    Image.fromarray(depth).save(path)
    frame = next(FolderSource(folder).frames("attic"))
    assert isinstance(frame, Frame)
    assert not frame.depth[2:5, 3:9].any()
    depth[2:5, 3:9] = 0
    assert np.array_equal(frame.depth, depth / np.float32(1000))


def test_color_may_be_png(folder: Path) -> None:
    path = folder / "attic" / "color" / "1.jpg"
    Image.open(path).save(path.with_suffix(".png"))
    path.unlink()
    assert all(isinstance(frame, Frame) for frame in FolderSource(folder).frames("attic"))


def test_the_case_of_extensions_does_not_matter(folder: Path) -> None:
    scene = folder / "attic"
    for name, end in (("color", "jpg"), ("depth", "png"), ("pose", "txt"), ("semantic", "png"), ("instance", "png")):
        (scene / name / f"2.{end}").rename(scene / name / f"2.{end.upper()}")
    found = list(FolderSource(folder).frames("attic"))
    assert [frame.id for frame in found] == ["0", "1", "2", "3"]
    assert isinstance(found[2], Frame)
    assert found[2].semantic is not None
    assert found[2].instance is not None


def test_of_two_colour_images_the_jpeg_is_taken(folder: Path) -> None:
    Image.new("RGB", SIZE[::-1], (9, 8, 7)).save(folder / "attic" / "color" / "1.PNG")
    found = list(FolderSource(folder).frames("attic"))
    assert len(found) == 4
    assert isinstance(found[1], Frame)
    assert (found[1].color != (9, 8, 7)).any()


@pytest.mark.parametrize(("name", "end"), [("color", "jpg"), ("depth", "png"), ("instance", "png")])
@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.98])
def test_cut_images_are_skipped(folder: Path, name: str, end: str, share: float) -> None:
    path = folder / "attic" / name / f"2.{end}"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    skipped = only_skipped(folder)
    assert skipped.id == "2"
    assert f"{name}/2.{end} is broken" in skipped.reason


@pytest.mark.parametrize(("name", "end"), [("color", "jpg"), ("depth", "png"), ("pose", "txt")])
def test_missing_companions_are_skipped(folder: Path, name: str, end: str) -> None:
    (folder / "attic" / name / f"1.{end}").unlink()
    skipped = only_skipped(folder)
    assert skipped.id == "1"
    assert f"{name}/1.{end}" in skipped.reason
    assert "missing" in skipped.reason


SHEARED = "1 0.3 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
MIRRORED = "-1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-inf " * 16, "not finite"),
        ("nan " * 16, "not finite"),
        (SHEARED, "not a rigid motion"),
        (MIRRORED, "not a rigid motion"),
        ("1 0 0", "3 numbers"),
        ("", "0 numbers"),
        ("one two", "broken"),
    ],
)
def test_bad_poses_are_skipped(folder: Path, text: str, reason: str) -> None:
    (folder / "attic" / "pose" / "3.txt").write_text(text)
    skipped = only_skipped(folder)
    assert skipped.id == "3"
    assert "pose/3.txt" in skipped.reason
    assert reason in skipped.reason


def test_depth_of_8_bits_or_another_size_is_skipped(folder: Path) -> None:
    path = folder / "attic" / "depth" / "0.png"
    Image.fromarray(np.ones(SIZE, np.uint8)).save(path)
    assert "mode L" in only_skipped(folder).reason
    Image.fromarray(np.ones((12, 16), np.uint16)).save(path)
    assert "must be registered" in only_skipped(folder).reason


@pytest.mark.parametrize(
    "text", [None, "1 2 3", "nan 0 1 0 1 1 0 0 1", "-30 0 15 0 30 11 0 0 1", "30 5 15 0 30 11 0 0 1"]
)
def test_bad_intrinsics_stop_the_scene(folder: Path, text: str | None) -> None:
    path = folder / "attic" / "intrinsics.txt"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(InputError, match=r"intrinsics.txt"):
        next(FolderSource(folder).frames("attic"))


def test_a_scene_without_a_whole_frame_is_an_error(folder: Path) -> None:
    for path in (folder / "attic" / "depth").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"no frame is whole.*depth/3.png is missing"):
        list(FolderSource(folder).frames("attic"))


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no scene in it"):
        FolderSource(tmp_path)


def test_a_mesh_is_sampled_on_its_faces(folder: Path) -> None:
    corners = np.array([[0, 0, 0.01], [1, 0, 0.01], [0, 0.5, 0.01], [0.01, 0.01, 3]])
    colors = np.array([[0, 0, 0, 255], [200, 0, 0, 255], [0, 100, 0, 255], [9, 9, 9, 255]], np.uint8)
    mesh = trimesh.Trimesh(corners, [[2, 0, 1]], vertex_colors=colors, process=False)
    mesh.export(folder / "attic" / "mesh.ply")
    surface = FolderSource(folder).surface("attic")
    assert surface is not None
    points = surface.points  # the centres of cells of 1 cm
    assert np.allclose(points[:, 2], 0.01, atol=0.0051)
    expected = np.stack((points[:, 0] * 200, points[:, 1] * 200, 0 * points[:, 0]), -1)
    assert np.abs(surface.colors - expected).max() <= 2.5
    touched = {tuple(voxel) for voxel in np.floor(points[:, :2] / 0.02).astype(int).tolist()}
    inside = {(x, y) for x in range(50) for y in range(25) if (x + 0.8) * 0.02 + (y + 0.8) * 0.04 < 1}
    assert inside <= touched
    assert 2500 < len(points) < 2700  # 0.25 m2, and the cells that the sides cut


def test_slivers_cost_little_and_degenerate_triangles_nothing(folder: Path) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-4, 0], [2, 2, 2]])
    colors = np.full((4, 4), 255, np.uint8)
    mesh = trimesh.Trimesh(corners, [[0, 1, 2], [3, 3, 3]], vertex_colors=colors, process=False)
    mesh.export(folder / "attic" / "mesh.ply")
    surface = FolderSource(folder).surface("attic")
    assert surface is not None
    assert np.isfinite(surface.points).all()
    assert len(surface.points) < 4 + 2 * 340


@pytest.mark.parametrize("share", [0, 0.2, 0.9])
def test_a_broken_mesh_is_named(folder: Path, share: float) -> None:
    path = folder / "attic" / "mesh.ply"
    sphere = trimesh.creation.icosphere(2)
    sphere.visual.vertex_colors = np.full((len(sphere.vertices), 4), 200, np.uint8)
    sphere.export(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"mesh.ply"):
        FolderSource(folder).surface("attic")


def test_a_mesh_without_colors_is_refused(folder: Path) -> None:
    trimesh.creation.icosphere(1).export(folder / "attic" / "mesh.ply")
    with pytest.raises(InputError, match="no vertex colours"):
        FolderSource(folder).surface("attic")


def test_real_scenes(real_data: Path) -> None:
    source = FolderSource(real_data / "rgbd", frames=3)
    assert source.scene_ids() == ["7scenes_redkitchen", "sun3d_frag1", "sun3d_frag2", "tum_fr1_rpy"]
    for scene in source.scene_ids():
        frames = list(source.frames(scene))
        assert all(isinstance(frame, Frame) for frame in frames)
        assert len(frames) == 3


def test_open_source(folder: Path) -> None:
    assert open_source("folder", str(folder), frames=None, size=SIZE).scene_ids() == ["attic", "cellar"]
    assert len(open_source("synthrooms", "3:5", frames=None, size=SIZE).scene_ids()) == 2


@pytest.mark.parametrize("root", ["", "5", "5:5", "7:3", "a:b", "-2:3", "0:3:1"])
def test_bad_ranges_of_seeds(root: str) -> None:
    with pytest.raises(InputError, match="0:24"):
        open_source("synthrooms", root, frames=None, size=SIZE)


def test_open_source_refuses_what_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match="folder, synthrooms"):
        open_source("nosuch", str(folder), frames=None, size=SIZE)
    with pytest.raises(InputError, match="at least 1"):
        open_source("folder", str(folder), frames=0, size=SIZE)
