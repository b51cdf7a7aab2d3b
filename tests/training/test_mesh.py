"""Meshes as points: the same voxels as every point on the faces gives, and what is said of broken files."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pri3d_zoo.training.data.fusion import voxelize
from pri3d_zoo.training.data.sources import mesh as module
from pri3d_zoo.training.data.sources.mesh import cover, read_mesh
from pri3d_zoo.training.errors import InputError


def test_a_square_is_covered_cell_by_cell() -> None:
    corners = np.array([[0.001, 0.001], [0.999, 0.001], [0.999, 0.499], [0.001, 0.499]])
    colors = np.concatenate((corners * (200, 100), np.full((4, 1), 7)), 1)
    values = np.concatenate((corners, np.full((4, 1), 0.012), colors), 1)
    surface = cover(values, np.array([[0, 1, 2], [0, 2, 3]]))
    cells = np.floor(surface.points / 0.01).astype(int)
    expected = {(x, y, 1) for x in range(100) for y in range(50)}
    assert {tuple(cell) for cell in cells.tolist()} == expected
    assert len(cells) == len(expected)
    shades = np.stack((surface.points[:, 0] * 200, surface.points[:, 1] * 100, np.full(len(cells), 7)), -1)
    assert np.abs(surface.colors - shades).max() < 3


@pytest.mark.parametrize("points_at_once", [1000, 10**9])
def test_thinning_changes_no_voxel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, points_at_once: int) -> None:
    monkeypatch.setattr(module, "POINTS_AT_ONCE", points_at_once)
    sphere = trimesh.creation.icosphere(3, radius=0.4)
    sphere.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (len(sphere.vertices), 4))
    sphere.export(tmp_path / "sphere.ply")
    surface = read_mesh(tmp_path / "sphere.ply")
    voxels, _ = voxelize(surface.points, surface.colors, voxel_size=0.02)
    # points drawn at random on the faces, independent of how faces are sampled
    drawn, _ = trimesh.sample.sample_surface(trimesh.load(tmp_path / "sphere.ply", process=False), 300_000, seed=0)
    wanted = np.unique(np.floor(drawn / 0.02).astype(int), axis=0)
    found = {tuple(voxel) for voxel in voxels.tolist()}
    touched = {tuple(voxel) for voxel in wanted.tolist()}
    # either way some that a face only grazes are missed
    assert len(touched - found) < 0.02 * len(touched)
    assert len(found - touched) < 0.02 * len(touched)
    assert len(surface.points) < 20 * len(voxels)


def test_large_faces_are_halved_and_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A floor of two triangles."""
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 30_000)
    side = 2 - 0.002
    floor = np.array([[0, 0, 0], [side, 0, 0], [side, side, 0], [0, side, 0]]) + np.array((0.001, 0.001, 0.012))
    values = np.concatenate((floor, np.full((4, 3), 90)), 1)
    tracemalloc.start()
    surface = cover(values, np.array([[0, 1, 2], [0, 2, 3]]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # NumPy's part; that of the whole floor at once is 60 MB
    cells = {tuple(cell) for cell in np.floor(surface.points / 0.01).astype(int).tolist()}
    assert cells == {(x, y, 1) for x in range(200) for y in range(200)}
    assert (surface.colors == 90).all()


@pytest.mark.parametrize(
    "shape", [[[0, 0], [40, 0], [0, 30]], [[0, 0], [50, 0], [20, 0.001]], [[0, 0], [9, 0], [3, 0]]]
)
def test_halves_are_small_and_cover_the_same(monkeypatch: pytest.MonkeyPatch, shape: list[list[float]]) -> None:
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 2000)
    monkeypatch.setattr(module, "SURFACE_SPACING", 0.1)
    corners = np.concatenate((np.array([shape]), np.zeros((1, 3, 1))), 2)
    tiny = np.array([[[0, 0, 5], [0.1, 0, 5], [0, 0.1, 5.0]]])
    halves = module.halve(np.concatenate((tiny, corners, corners + np.array((0, 0, 1)))))
    counts = [len(module.sample_triangles(half[None])) for half in halves]
    assert max(counts) <= module.most_points(halves).max() <= 2000
    assert any(np.array_equal(half, tiny[0]) for half in halves)
    areas = np.cross(halves[:, 1] - halves[:, 0], halves[:, 2] - halves[:, 0])[:, 2] / 2
    assert (areas >= 0).all()  # none is turned over
    whole = np.cross(*(corners[0, 1:] - corners[0, 0]))[2] / 2
    assert areas.sum() == pytest.approx(2 * whole + 0.005)


@pytest.mark.parametrize(("scale", "reason"), [(1000, "6e[+]03 m from the origin"), (100, r"faces of some .*e\+05 m2")])
def test_meshes_not_in_metres_are_refused_before_they_are_sampled(tmp_path: Path, scale: float, reason: str) -> None:
    corners = scale * np.array([[0, 0, 0], [6, 0, 0], [6, 6, 0], [0, 6, 0]])
    floor = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], vertex_colors=np.full((4, 4), 9), process=False)
    floor.export(tmp_path / "mesh.ply")
    with pytest.raises(InputError, match=f"mesh.ply.*{reason}.*in metres"):
        read_mesh(tmp_path / "mesh.ply")


@pytest.mark.parametrize("share", [0, 0.2, 0.9])
def test_a_cut_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "scene0000_00_vh_clean_2.ply"
    sphere = trimesh.creation.icosphere(2)
    sphere.visual.vertex_colors = np.full((len(sphere.vertices), 4), 200, np.uint8)
    sphere.export(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"scene0000_00_vh_clean_2.ply.*get it again or remove it"):
        read_mesh(path)


def test_meshes_without_colours_or_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    trimesh.creation.icosphere(1).export(path)
    with pytest.raises(InputError, match="no vertex colours"):
        read_mesh(path)
    sphere = trimesh.creation.icosphere(1)
    sphere.visual.vertex_colors = np.full((len(sphere.vertices), 4), 200, np.uint8)
    sphere.vertices[0, 0] = np.nan
    sphere.export(path)
    with pytest.raises(InputError, match="not finite"):
        read_mesh(path)


def test_a_cloud_is_taken_as_it_is(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    trimesh.PointCloud(points, np.full((5, 4), 9, np.uint8)).export(tmp_path / "mesh.ply")
    surface = read_mesh(tmp_path / "mesh.ply")
    assert np.array_equal(surface.points, points)
    assert np.array_equal(surface.colors, np.full((5, 3), 9))
