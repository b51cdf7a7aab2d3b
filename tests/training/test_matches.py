"""Matches against brute force over all pixels and voxels."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from pri3d_zoo.training import geometry, matches


@pytest.fixture(scope="module")
def kitchen(real_data):
    """Four kitchen frames as two pairs: depth (2, 2, H, W), intrinsics, poses."""
    folder = real_data / "rgbd" / "7scenes_redkitchen"
    frames = ["000000", "000004", "000100", "000110"]
    depth = np.stack([np.asarray(Image.open(folder / "depth" / f"{f}.png")) for f in frames]).astype(np.float32) / 1000
    pose = np.stack([np.loadtxt(folder / "pose" / f"{f}.txt") for f in frames]).astype(np.float32)
    intrinsics = np.loadtxt(folder / "intrinsics.txt").astype(np.float32)
    size = depth.shape[1:]
    return (
        torch.from_numpy(depth).view(2, 2, *size),
        torch.from_numpy(intrinsics).expand(2, 2, 3, 3),
        torch.from_numpy(pose).view(2, 2, 4, 4),
    )


def world(depth, intrinsics, pose):
    """Back-projection written out once more, in numpy and float64."""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    z = depth.double().numpy()
    k = intrinsics.double().numpy()
    local = np.stack(((u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z, np.ones_like(z)), -1)
    return (local.reshape(-1, 4) @ pose.double().numpy().T)[:, :3]


def test_view_matches_against_brute_force(kitchen):
    depth, intrinsics, pose = kitchen
    torch.manual_seed(0)
    first, second, valid = matches.view_matches(depth, intrinsics, pose, 1024, 0.02)
    assert first.shape == second.shape == valid.shape == (2, 1024)
    for pair in range(2):
        a = world(depth[pair, 0], intrinsics[pair, 0], pose[pair, 0])
        b = world(depth[pair, 1], intrinsics[pair, 1], pose[pair, 1])
        seen = np.flatnonzero(depth[pair, 1].numpy().ravel() > 0)
        nearest, which = cKDTree(b[seen]).query(a[first[pair]])
        distance = np.linalg.norm(a[first[pair]] - b[second[pair]], axis=1)
        keep = valid[pair].numpy()
        assert keep.sum() > 900
        # the rotations of these pose files are off by up to 1e-4, which is a third of a millimetre at 3 m
        assert (distance[keep] <= 0.02 + 3e-4).all()
        # the window around the projection finds the nearest point of the whole frame, but for rare steep slants
        assert (distance[keep] - nearest[keep]).mean() < 2e-5
        assert (seen[which][keep] == second[pair].numpy()[keep]).mean() > 0.96
        for side in (first, second):
            assert len(side[pair][valid[pair]].unique()) == keep.sum()


def test_voxel_matches_against_brute_force(kitchen):
    depth, intrinsics, pose = (part.flatten(0, 1) for part in kitchen)
    voxels = []
    for sample in range(4):
        points = world(depth[sample], intrinsics[sample], pose[sample])[depth[sample].numpy().ravel() > 0]
        coordinates = np.unique(np.floor(points / 0.02).astype(np.int64), axis=0)
        coordinates = coordinates[np.random.default_rng(sample).random(len(coordinates)) < 0.5]  # with gaps
        voxels.append(np.concatenate((np.full((len(coordinates), 1), sample), coordinates), 1))
    shuffled = torch.from_numpy(np.random.default_rng(9).permutation(np.concatenate(voxels)))
    torch.manual_seed(0)
    pixels, rows, valid = matches.voxel_matches(depth, intrinsics, pose, shuffled, 0.02, 512, 0.02)
    assert (shuffled[rows, 0] == torch.arange(4)[:, None])[valid].all()
    for sample in range(4):
        points = world(depth[sample], intrinsics[sample], pose[sample])[pixels[sample]]
        centers = (voxels[sample][:, 1:] + 0.5) * 0.02
        nearest, which = cKDTree(centers).query(points)
        keep = valid[sample].numpy()
        assert keep.sum() == 512
        found = (shuffled[rows[sample], 1:].numpy() + 0.5) * 0.02
        np.testing.assert_allclose(np.linalg.norm(found - points, axis=1)[keep], nearest[keep], atol=2e-6)
        np.testing.assert_allclose(found[keep], centers[which][keep], atol=1e-6)
        assert len(rows[sample][valid[sample]].unique()) == 512


def test_nothing_to_match():
    depth = torch.zeros(1, 2, 8, 10)
    intrinsics = torch.eye(3).expand(1, 2, 3, 3)
    pose = torch.eye(4).expand(1, 2, 4, 4)
    _, _, valid = matches.view_matches(depth, intrinsics, pose, 16, 0.02)
    assert not valid.any()
    _, rows, valid = matches.voxel_matches(
        depth[:, 0] + 1, intrinsics[:, 0], pose[:, 0], torch.empty(0, 4, dtype=torch.int32), 0.02, 16, 0.02
    )
    assert not valid.any()
    assert rows.shape == (1, 16)


def test_identical_views_match_themselves():
    depth = torch.full((1, 2, 12, 16), 2.0)
    depth[0, :, :, 3] = 0
    intrinsics = torch.tensor([[20.0, 0, 7.5], [0, 20, 5.5], [0, 0, 1]]).expand(1, 2, 3, 3)
    pose = torch.eye(4).expand(1, 2, 4, 4)
    first, second, valid = matches.view_matches(depth, intrinsics, pose, 1000, 0.02)
    assert first.shape == (1, 192)
    assert valid.sum() == 12 * 15
    assert (first == second)[valid].all()
    assert (first[valid] % 16 != 3).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_sample_features_reads_at_pixel_centers(scale):
    # a map that holds its own pixel-centre coordinates is read back exactly, whatever its resolution
    height, width = 24, 32
    v, u = torch.meshgrid(torch.arange(height // scale), torch.arange(width // scale), indexing="ij")
    features = torch.stack(((u + 0.5) * scale - 0.5, (v + 0.5) * scale - 0.5))[None]
    pixels = torch.tensor([[5 * width + 9, 11 * width + 20, 17 * width + 4]])
    read = matches.sample_features(features, pixels, (height, width))
    torch.testing.assert_close(read[0], torch.tensor([[9.0, 5], [20, 11], [4, 17]]), atol=1e-4, rtol=0)


def test_matches_do_not_favour_any_pixel():
    depth = torch.ones(1, 2, 10, 10)
    intrinsics = torch.tensor([[10.0, 0, 4.5], [0, 10, 4.5], [0, 0, 1]]).expand(1, 2, 3, 3)
    pose = torch.eye(4).expand(1, 2, 4, 4)
    torch.manual_seed(0)
    counts = torch.zeros(100)
    draws = 400
    for _ in range(draws):
        first, _, valid = matches.view_matches(depth, intrinsics, pose, 10, 0.02)
        counts[first[valid]] += 1
    assert counts.sum() == 10 * draws
    expected = draws / 10
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected)


def test_world_points_agree_with_geometry(kitchen):
    depth, intrinsics, pose = (part.flatten(0, 1) for part in kitchen)
    ours = geometry.depth_to_world(depth, intrinsics, pose)
    for sample in range(4):
        np.testing.assert_allclose(
            ours[sample].numpy(), world(depth[sample], intrinsics[sample], pose[sample]), atol=1e-5
        )
