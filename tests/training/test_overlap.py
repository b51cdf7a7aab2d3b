"""Pair mining against a nearest-neighbour search of every pixel, and on scenes that can be worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from pri3d_zoo.training.data import overlap, overlap_voxels
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.overlap_voxels import mine_voxel_pairs


def read_scene(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, intrinsics and poses of frames spread over a scene."""
    ids = sorted(path.stem for path in (folder / "depth").iterdir())
    chosen = [ids[index] for index in np.linspace(0, len(ids) - 1, number).round().astype(int)]
    depth = np.stack([np.array(Image.open(folder / "depth" / f"{id}.png")) for id in chosen]).astype(np.float32) / 1000
    poses = np.stack([np.loadtxt(folder / "pose" / f"{id}.txt") for id in chosen])
    return depth, np.repeat(np.loadtxt(folder / "intrinsics.txt")[None], number, 0), poses


def read_clouds(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> list[np.ndarray]:
    """The points of each frame, world."""
    clouds = []
    for image, camera, pose in zip(depth, intrinsics, poses, strict=True):
        v, u = np.nonzero(image)
        rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(camera).T
        clouds.append(rays * image[v, u, None] @ pose[:3, :3].T + pose[:3, 3])
    return clouds


def brute_force(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, radius: float = 0.02) -> np.ndarray:
    """The paper's criterion, word by word: overlap (N, N)."""
    clouds = read_clouds(depth, intrinsics, poses)
    trees = [cKDTree(cloud) for cloud in clouds]
    overlap = np.zeros((len(clouds), len(clouds)))
    for i, first in enumerate(clouds):
        for j in range(i):
            found = np.isfinite(trees[j].query(first, distance_upper_bound=radius)[0]).sum()
            found += np.isfinite(trees[i].query(clouds[j], distance_upper_bound=radius)[0]).sum()
            overlap[j, i] = found / (len(first) + len(clouds[j]))
    return overlap


def check_against_brute_force(scene: Path, number: int) -> None:
    depth, intrinsics, poses = read_scene(scene, number)
    truth = brute_force(depth, intrinsics, poses)
    pairs, overlaps = mine_pairs(depth, intrinsics, poses, min_overlap=0)
    mined = np.zeros_like(truth)
    mined[pairs[:, 0], pairs[:, 1]] = overlaps
    assert np.abs(mined - truth).max() < 0.01
    pairs, overlaps = mine_pairs(depth, intrinsics, poses)
    found, wanted = set(map(tuple, pairs.tolist())), set(zip(*np.nonzero(truth >= 0.3), strict=True))
    assert len(wanted) > 0
    assert 2 * len(found & wanted) / (len(found) + len(wanted)) >= 0.99
    assert np.array_equal(overlaps, mined[pairs[:, 0], pairs[:, 1]].astype(np.float32))


@pytest.mark.parametrize("name", ["7scenes_redkitchen", "sun3d_frag1"])
def test_real_frames_agree_with_brute_force(real_data: Path, name: str) -> None:
    check_against_brute_force(real_data / "rgbd" / name, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["7scenes_redkitchen", "sun3d_frag1", "sun3d_frag2", "tum_fr1_rpy"])
def test_many_real_frames_agree_with_brute_force(real_data: Path, name: str) -> None:
    check_against_brute_force(real_data / "rgbd" / name, 40)


@pytest.mark.parametrize("size", [(24, 32), (60, 80), (120, 160), pytest.param((480, 640), marks=pytest.mark.slow)])
def test_other_sizes_agree_with_brute_force(real_data: Path, size: tuple[int, int]) -> None:
    depth, intrinsics, poses = read_scene(real_data / "rgbd" / "7scenes_redkitchen", 4)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, (240, 320), strict=True)
    )
    depth = depth[:, rows][:, :, columns]
    scale = size[0] / 240
    intrinsics = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]]) @ intrinsics
    truth = brute_force(depth, intrinsics, poses)
    pairs, overlaps = mine_pairs(depth, intrinsics, poses, min_overlap=0)
    mined = np.zeros_like(truth)
    mined[pairs[:, 0], pairs[:, 1]] = overlaps
    assert truth.max() > 0.1
    assert np.abs(mined - truth).max() < 0.01
    wanted = np.argwhere(np.abs(truth) >= 0.1).tolist()
    assert mine_pairs(depth, intrinsics, poses, min_overlap=0.1)[0].tolist() == wanted


def wall(shift: float, size: tuple[int, int] = (48, 64)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two cameras before a wall 2 m away, the second moved along it by ``shift`` of the image's width."""
    intrinsics = np.array([[64.0, 0, 31.5], [0, 64, 23.5], [0, 0, 1]])
    poses = np.repeat(np.eye(4)[None], 2, 0)
    poses[1, 0, 3] = shift * 2.0  # 64 pixels of a focal length of 64 see 2 m at 2 m
    return np.full((2, *size), 2, np.float32), np.repeat(intrinsics[None], 2, 0), poses


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_two_views_of_a_wall_by_hand(shift: float) -> None:
    pairs, overlaps = mine_pairs(*wall(shift))
    assert pairs.tolist() == [[0, 1]]
    assert pairs.dtype == np.int32
    assert overlaps[0] == pytest.approx(1 - shift, abs=0.02)  # 3 % is a column of pixels, half of one may round


def test_views_that_share_too_little_are_no_pair() -> None:
    assert len(mine_pairs(*wall(0.75))[0]) == 0
    assert len(mine_pairs(*wall(0.75), min_overlap=0.2)[0]) == 1


def test_distance_counts_in_space_not_along_the_ray() -> None:
    depth, intrinsics, poses = wall(0.0)
    depth[1] += 0.03
    assert len(mine_pairs(depth, intrinsics, poses, radius=0.02)[0]) == 0
    assert len(mine_pairs(depth, intrinsics, poses, radius=0.035)[0]) == 1


def test_frames_without_readings_pair_with_nothing() -> None:
    depth, intrinsics, poses = wall(0.0)
    depth[1] = 0
    for floor in (0.3, 0.0):
        pairs, overlaps = mine_pairs(depth, intrinsics, poses, min_overlap=floor)
        assert pairs.shape == (0, 2)
        assert overlaps.shape == (0,)
    depth[0] = 0
    assert mine_pairs(depth, intrinsics, poses)[0].shape == (0, 2)


def test_half_of_the_readings_missing() -> None:
    depth, intrinsics, poses = wall(0.0)
    depth[1, :, 32:] = 0  # frame 1 finds all of its 32 columns, frame 0 half of its 64: 64 of 96
    assert mine_pairs(depth, intrinsics, poses)[1][0] == pytest.approx(64 / 96, abs=0.01)


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_frames_for_a_pair(number: int) -> None:
    depth, intrinsics, poses = wall(0.0)
    pairs, overlaps = mine_pairs(depth[:number], intrinsics[:number], poses[:number])
    assert pairs.shape == (0, 2)
    assert overlaps.dtype == np.float32


def test_points_very_near_the_camera() -> None:
    depth, intrinsics, poses = wall(0.0)
    depth[:] = 0.05
    assert mine_pairs(depth, intrinsics, poses)[1][0] == 1


def authors_procedure(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """The authors' criterion, step by step: average in voxels of 5 cm, search within 7.5 cm, take the larger share."""
    averages = []
    for cloud in read_clouds(depth, intrinsics, poses):
        voxels = np.floor((cloud - (cloud.min(0) - 0.025)) / 0.05).astype(int)
        _, group = np.unique(voxels, axis=0, return_inverse=True)
        sums = np.zeros((group.max() + 1, 4))
        np.add.at(sums, group.ravel(), np.column_stack((cloud, np.ones(len(cloud)))))
        averages.append(sums[:, :3] / sums[:, 3:])
    trees = [cKDTree(cloud) for cloud in averages]
    share = np.array(
        [[np.isfinite(tree.query(cloud, distance_upper_bound=0.075)[0]).mean() for tree in trees] for cloud in averages]
    )
    return np.triu(np.maximum(share, share.T), 1)


def check_against_authors(scene: Path, number: int) -> None:
    depth, intrinsics, poses = read_scene(scene, number)
    truth = authors_procedure(depth, intrinsics, poses)
    pairs, overlaps = mine_voxel_pairs(depth, intrinsics, poses)
    assert np.abs(overlaps - truth[pairs[:, 0], pairs[:, 1]]).max() < 0.01
    found, wanted = set(map(tuple, pairs.tolist())), set(zip(*np.nonzero(truth >= 0.3), strict=True))
    assert len(wanted) > 0
    assert 2 * len(found & wanted) / (len(found) + len(wanted)) >= 0.99


def test_real_frames_agree_with_the_authors_procedure(real_data: Path) -> None:
    check_against_authors(real_data / "rgbd" / "7scenes_redkitchen", 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["7scenes_redkitchen", "sun3d_frag1", "sun3d_frag2", "tum_fr1_rpy"])
def test_many_real_frames_agree_with_the_authors_procedure(real_data: Path, name: str) -> None:
    check_against_authors(real_data / "rgbd" / name, 40)


@pytest.mark.slow
def test_blocks_of_frames_change_nothing(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = read_scene(real_data / "rgbd" / "7scenes_redkitchen", 9)
    pairs, overlaps = mine_pairs(*frames)
    voxel_pairs, voxel_overlaps = mine_voxel_pairs(*frames)
    monkeypatch.setattr(overlap, "FRAMES_AT_ONCE", 4)
    monkeypatch.setattr(overlap_voxels, "POINTS_AT_ONCE", 12_000)
    again, overlaps_again = mine_pairs(*frames)
    assert np.array_equal(pairs, again)
    assert np.array_equal(overlaps, overlaps_again)
    again, overlaps_again = mine_voxel_pairs(*frames)
    assert np.array_equal(voxel_pairs, again)
    assert np.abs(voxel_overlaps - overlaps_again).max() < 0.005  # its cells hold the points of two blocks at a time


def test_blocks_far_apart_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames in one place, four 50 m away: the pairs of each, and nothing is read to compare them."""
    depth, intrinsics, poses = (np.concatenate([part] * 4) for part in wall(0.1))
    poses[4:, 1, 3] += 50

    class Counted:
        reads = 0

        def __len__(self) -> int:
            return len(depth)

        def __getitem__(self, index: int) -> np.ndarray:
            Counted.reads += 1
            return depth[index]

    monkeypatch.setattr(overlap, "FRAMES_AT_ONCE", 4)
    monkeypatch.setattr(overlap_voxels, "POINTS_AT_ONCE", 1)
    for mine, times in ((mine_pairs, 3), (mine_voxel_pairs, None)):
        Counted.reads = 0
        pairs, _ = mine(Counted(), intrinsics, poses)
        assert pairs.tolist() == [[i, j] for i in range(8) for j in range(i + 1, 8) if i // 4 == j // 4]
        assert times is None or Counted.reads == times * len(depth)  # box, points, and as a target


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_authors_take_the_larger_direction(shift: float) -> None:
    depth, intrinsics, poses = wall(shift)
    depth[1, :, 32:] = 0  # half of frame 1: all of it is seen by frame 0 where that is not moved
    pairs, overlaps = mine_voxel_pairs(depth, intrinsics, poses)
    assert pairs.tolist() == [[0, 1]]
    assert overlaps[0] == pytest.approx(1, abs=0.01)
    assert mine_voxel_pairs(depth, intrinsics, poses, min_overlap=1.1)[0].shape == (0, 2)


def test_the_authors_with_frames_without_readings() -> None:
    depth, intrinsics, poses = wall(0.0)
    depth[1] = 0
    assert mine_voxel_pairs(depth, intrinsics, poses)[0].shape == (0, 2)
    assert mine_voxel_pairs(0 * depth, intrinsics, poses)[0].shape == (0, 2)
    assert mine_voxel_pairs(depth[:0], intrinsics[:0], poses[:0])[0].shape == (0, 2)
