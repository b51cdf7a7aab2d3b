"""Fused and voxelised surfaces against rooms whose walls are known, and against a real reconstruction."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data import fusion
from pri3d_zoo.training.data.fusion import fuse, voxelize
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.errors import InputError

VOXEL = 0.02
TOO_FAR = ((1 << 17) - 1) * VOXEL  # metres; keys have 18 bits an axis
FUSE_SLAB = fusion._fuse_slab
LOW, HIGH = np.array([-1.013, -0.807, -1.011]), np.array([0.997, 0.793, 1.003])  # of the room, off the voxel grid
SIZE = (60, 80)
INTRINSICS = np.array([[65.0, 0, 39.5], [0, 65, 29.5], [0, 0, 1]])


def views_of_a_room(number: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Depth (noise grows with its square), colour by the wall's axis, intrinsics and poses from inside an empty box."""
    generator = np.random.default_rng(0)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(INTRINSICS).T
    turns = np.linspace(0, 2 * np.pi, number, endpoint=False)
    poses = np.repeat(np.eye(4)[None], number, 0)
    poses[:, :3, :3] = Rotation.from_euler("YX", np.stack((turns, 0.4 * np.sin(5 * turns)), 1)).as_matrix()
    poses[:, :3, 3] = 0.4 * np.stack((np.cos(3 * turns), 0.5 * np.sin(turns), np.sin(2 * turns)), 1)
    world = rays @ poses[:, None, :3, :3].transpose(0, 1, 3, 2)
    with np.errstate(divide="ignore"):
        walls = np.where(world > 0, HIGH - poses[:, None, None, :3, 3], LOW - poses[:, None, None, :3, 3]) / world
    depth = walls.min(-1)
    depth += noise * depth**2 * generator.standard_normal(depth.shape)
    color = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)[walls.argmin(-1)]
    return (depth * 1000).round().astype(np.uint16), color, np.repeat(INTRINSICS[None], number, 0), poses


def distance_to_walls(points: np.ndarray) -> np.ndarray:
    inward = np.minimum(points - LOW, HIGH - points).min(-1)
    outward = np.linalg.norm(np.maximum(np.maximum(LOW - points, points - HIGH), 0), axis=-1)
    return np.where(inward > 0, inward, outward)


def wall_voxels(depth: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Centres of the voxels that points on the walls lie in, of those that at least three clean views have seen."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = (np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(INTRINSICS).T).reshape(-1, 3)
    seen = []
    for image, pose in zip(depth, poses, strict=True):
        points = rays * image.reshape(-1, 1) / 1000 @ pose[:3, :3].T + pose[:3, 3]
        seen.append(np.unique(np.floor(points / VOXEL), axis=0))
    voxels, counts = np.unique(np.concatenate(seen), axis=0, return_counts=True)
    return (voxels[counts >= 3] + 0.5) * VOXEL


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "near", "holes"), [(0.0, 0.0175, 0.01), (0.003, 0.03, 0.03)])
def test_a_room_is_fused_to_thin_whole_walls(noise: float, near: float, holes: float) -> None:
    depth, color, intrinsics, poses = views_of_a_room(60, noise)
    voxels, colors = fuse(depth, color, intrinsics, poses, voxel_size=VOXEL)
    assert voxels.dtype == np.int32
    assert colors.dtype == np.uint8
    assert len(np.unique(voxels, axis=0)) == len(voxels) == len(colors)
    centers = (voxels + 0.5) * VOXEL
    distance = distance_to_walls(centers)
    assert (distance < near).mean() > 0.97
    clean = views_of_a_room(60, 0)[0]
    truth = wall_voxels(clean, poses)
    assert (cKDTree(centers).query(truth)[0] > VOXEL * 1.01).mean() < holes
    # every wall is one voxel thick: the naive set of voxels that any noisy pixel touches is far more
    assert len(voxels) < 1.25 * len(wall_voxels(clean, poses)) + 0.1 * len(voxels)
    flat = (np.abs(centers[:, 0] - HIGH[0]) < 0.03) & (np.abs(centers[:, 1:]) < 0.6).all(1)
    assert (colors[flat].argmax(1) == 0).mean() > 0.99


@pytest.mark.parametrize(("number", "noise"), [(40, 0.003), (6, 0.0)])
def test_slabs_give_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch, number: int, noise: float) -> None:
    """The voxels and colours of a room that is cut into two or more slabs, one only 16 cm thick, are those of one."""
    views = views_of_a_room(number, noise)
    whole, colors = fuse(*views, voxel_size=VOXEL)
    used = []
    for blocks in (300, 60):
        monkeypatch.setattr(fusion, "BLOCKS_AT_ONCE", blocks)
        monkeypatch.setattr(fusion, "_fuse_slab", lambda *args, run=FUSE_SLAB: used.append(args[1]) or run(*args))
        voxels, shades = fuse(*views, voxel_size=VOXEL)
        assert np.array_equal(voxels, whole)
        assert np.array_equal(shades, colors)
    assert len(used) > 2 + 4


def test_what_passes_through_is_not_kept() -> None:
    """A thing that a few frames saw where the others see through it (a person walking by) leaves no surface."""
    depth, color, intrinsics, poses = views_of_a_room(60, 0.0)
    clean = fuse(depth, color, intrinsics, poses, voxel_size=VOXEL)[0]
    poses[:] = poses[0]
    still = np.repeat(depth[:1], 60, 0)
    still[:4, 20:40, 30:50] = 500
    kept = fuse(still, color, intrinsics, poses, voxel_size=VOXEL)[0]
    assert 0 < len(kept) < len(clean)
    assert (distance_to_walls((kept + 0.5) * VOXEL) < 0.05).all()


def test_few_frames_keep_what_one_has_seen() -> None:
    depth, color, intrinsics, poses = views_of_a_room(1, 0.0)
    voxels, _ = fuse(depth, color, intrinsics, poses, voxel_size=VOXEL)
    assert len(voxels) > 1000
    assert (distance_to_walls((voxels + 0.5) * VOXEL) < 0.02).all()


def test_frames_without_readings_give_no_voxel() -> None:
    depth, color, intrinsics, poses = views_of_a_room(3, 0.0)
    voxels, colors = fuse(np.zeros_like(depth), color, intrinsics, poses, voxel_size=VOXEL)
    assert voxels.shape == (0, 3)
    assert colors.shape == (0, 3)


def test_voxelize_by_hand() -> None:
    points = np.array([[0.001, 0.001, 0.001], [0.019, 0.0, 0.0], [-0.001, 0.021, 0.0], [0.0, 0.0, 0.02]], np.float32)
    colors = np.array([[10, 0, 255], [21, 0, 255], [7, 8, 9], [1, 2, 3]], np.uint8)
    voxels, means = voxelize(points, colors, voxel_size=0.02)
    assert voxels.tolist() == [[-1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert means.tolist() == [[7, 8, 9], [16, 0, 255], [1, 2, 3]]  # 15.5 rounds to even


def test_worlds_that_are_too_large_are_refused() -> None:
    with pytest.raises(InputError, match="3e\\+03 m from the origin"):
        voxelize(np.array([[0, 0, 3000]], np.float32), np.zeros((1, 3), np.uint8), voxel_size=0.02)


@pytest.mark.slow
def test_real_frames_agree_with_the_reconstruction(real_data: Path) -> None:
    scene = real_data / "rgbd" / "7scenes_redkitchen"
    mesh = FolderSource(scene).surface("7scenes_redkitchen")
    assert mesh is not None
    ids = [f"{index:06d}" for index in range(0, 500, 5)]
    depth = np.stack([np.array(Image.open(scene / "depth" / f"{id}.png")) for id in ids])
    color = np.stack([np.array(Image.open(scene / "color" / f"{id}.jpg")) for id in ids])
    poses = np.stack([np.loadtxt(scene / "pose" / f"{id}.txt") for id in ids])
    intrinsics = np.repeat(np.loadtxt(scene / "intrinsics.txt")[None], len(ids), 0)
    voxels, _ = fuse(depth, color, intrinsics, poses, voxel_size=VOXEL)
    centers = (voxels + 0.5) * VOXEL
    distance, _ = cKDTree(mesh.points).query(centers)
    assert (distance < 0.02).mean() > 0.85
    assert (distance < 0.04).mean() > 0.95
    truth = (voxelize(mesh.points, mesh.colors, voxel_size=VOXEL)[0] + 0.5) * VOXEL
    missing, _ = cKDTree(centers).query(truth)
    seen = missing < 0.1  # the mesh was made of more frames
    assert (missing[seen] < 0.0201).mean() > 0.8


@pytest.mark.parametrize("reach", [TOO_FAR, -TOO_FAR, 1e5, 1e30, -1e30, np.inf, np.nan])
def test_points_beyond_all_keys_are_refused(reach: float) -> None:
    points = np.array([[0, 0, 0], [0, reach, 0]], np.float32)
    with pytest.raises(InputError, match=r"m from the origin.*in metres"):
        voxelize(points, np.zeros((2, 3), np.uint8), voxel_size=VOXEL)
    near = points.clip(-TOO_FAR + 0.1, TOO_FAR - 0.1)
    if np.isfinite(near).all():
        assert len(voxelize(near, np.zeros((2, 3), np.uint8), voxel_size=VOXEL)[0]) == 2
