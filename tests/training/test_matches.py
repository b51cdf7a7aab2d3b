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


def test_view_matches_by_depth_against_brute_force(kitchen):
    """As the authors' code: the pixel on which the point falls, where the depths differ by less than 5 cm."""
    depth, intrinsics, pose = kitchen
    torch.manual_seed(0)
    first, second, valid = matches.view_matches(depth, intrinsics, pose, 2048, 0.05, by_depth=True)
    height, width = depth.shape[-2:]
    for pair in range(2):
        a = world(depth[pair, 0], intrinsics[pair, 0], pose[pair, 0])
        inverse = np.linalg.inv(pose[pair, 1].double().numpy())
        local = np.concatenate((a, np.ones((len(a), 1))), 1) @ inverse.T
        k = intrinsics[pair, 1].double().numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = (np.round(local[:, i] / local[:, 2] * k[i, i] + k[i, 2]) for i in range(2))
        real = (depth[pair, 0].numpy().ravel() > 0) & (local[:, 2] > 0)
        real &= (u >= 0) & (u < width) & (v >= 0) & (v < height)
        target = np.where(real, v * width + u, 0).astype(int)
        other = depth[pair, 1].numpy().ravel()[target]
        real &= (other > 0) & (np.abs(other - local[:, 2]) < 0.05)
        keep = valid[pair].numpy()
        assert keep.sum() == 2048
        # rounding in float32 may fall the other way, and poses are not quite rigid
        assert real[first[pair].numpy()][keep].mean() > 0.99
        assert (target[first[pair].numpy()] == second[pair].numpy())[keep].mean() > 0.99
        for side in (first, second):
            assert len(side[pair][valid[pair]].unique()) == keep.sum()


def test_projected_voxel_matches_against_brute_force(kitchen):
    """As the authors' code: the pixel on which a voxel's centre falls, where the depths differ by less than 20 cm."""
    depth, intrinsics, pose = (part.flatten(0, 1) for part in kitchen)
    generator = np.random.default_rng(0)
    rows = []
    for sample in range(4):
        points = world(depth[(sample + 1) % 4], intrinsics[sample], pose[(sample + 1) % 4])  # also what is not seen
        coordinates = np.unique(np.floor(generator.permutation(points)[:20000] / 0.05).astype(np.int64), axis=0)
        rows.append(np.concatenate((np.full((len(coordinates), 1), sample), coordinates), 1))
    voxels = torch.from_numpy(generator.permutation(np.concatenate(rows)))
    for count in (200, 100_000):
        torch.manual_seed(0)
        pixels, found, valid = matches.projected_voxel_matches(depth, intrinsics, pose, voxels, 0.05, count, 0.2)
        assert pixels.shape == found.shape == valid.shape == (4, min(count, depth[0].numel()))
        assert (voxels[found, 0] == torch.arange(4)[:, None])[valid].all()
        for sample in range(4):
            mine = voxels[:, 0].numpy() == sample
            centers = (voxels[:, 1:].numpy() + 0.5) * 0.05
            inverse = np.linalg.inv(pose[sample].double().numpy())
            local = np.concatenate((centers, np.ones((len(centers), 1))), 1) @ inverse.T
            k = intrinsics[sample].double().numpy()
            u, v = (np.round(local[:, i] / local[:, 2] * k[i, i] + k[i, 2]) for i in range(2))
            height, width = depth.shape[-2:]
            real = mine & (local[:, 2] > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            target = np.where(real, v * width + u, 0).astype(int)
            seen = depth[sample].numpy().ravel()[target]
            real &= (seen > 0) & (np.abs(seen - local[:, 2]) < 0.2)
            keep = valid[sample].numpy()
            chosen = found[sample].numpy()[keep]
            assert real[chosen].mean() > 0.99
            assert (target[chosen] == pixels[sample].numpy()[keep]).mean() > 0.99
            assert len(set(chosen)) == len(set(pixels[sample].numpy()[keep])) == keep.sum()
            # all of them where as many are wanted, but for those that share their pixel with another
            every = len(np.unique(target[real]))
            assert keep.sum() == 200 if count == 200 else abs(keep.sum() - every) <= 0.01 * every


def test_a_choice_by_seeds_depends_on_nothing_else(kitchen):
    depth, intrinsics, pose = kitchen
    seeds = torch.tensor([3, 11])
    whole = matches.view_matches(depth, intrinsics, pose, 64, 0.02, seeds)
    alone = matches.view_matches(depth[1:], intrinsics[1:], pose[1:], 64, 0.02, seeds[1:])
    for one, other in zip(whole, alone, strict=True):
        assert torch.equal(one[1:], other)
    frames = (depth.flatten(0, 1), intrinsics.flatten(0, 1), pose.flatten(0, 1))
    places = torch.randint(-40, 40, (5000, 3), generator=torch.Generator().manual_seed(0))
    voxels = torch.cat([torch.cat((torch.full((5000, 1), sample), places), 1) for sample in range(4)])
    for find in (matches.voxel_matches, matches.projected_voxel_matches):
        pixels, rows, valid = find(*frames, voxels, 0.1, 64, 0.1, torch.tensor([3, 4, 11, 12]))
        half = [part[2:] for part in frames]
        rest = voxels[voxels[:, 0] >= 2] - torch.tensor([2, 0, 0, 0])
        again = find(*half, rest, 0.1, 64, 0.1, torch.tensor([11, 12]))
        assert valid.any()
        assert torch.equal(valid[2:], again[2])
        assert torch.equal(pixels[2:][again[2]], again[0][again[2]])
        assert torch.equal(voxels[rows[2:]][again[2]][:, 1:], rest[again[1]][again[2]][:, 1:])


def test_nothing_to_match():
    depth = torch.zeros(1, 2, 8, 10)
    intrinsics = torch.eye(3).expand(1, 2, 3, 3)
    pose = torch.eye(4).expand(1, 2, 4, 4)
    for by_depth in (False, True):
        _, _, valid = matches.view_matches(depth, intrinsics, pose, 16, 0.02, by_depth=by_depth)
        assert not valid.any()
    for find in (matches.voxel_matches, matches.projected_voxel_matches):
        pixels, rows, valid = find(
            depth[:, 0] + 1, intrinsics[:, 0], pose[:, 0], torch.empty(0, 4, dtype=torch.int32), 0.02, 16, 0.02
        )
        assert not valid.any()
        assert pixels.shape == rows.shape == (1, 16)


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


def test_sample_features_agrees_with_torch_and_keeps_its_places_in_half_precision():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 8, 11, 17, generator=generator, dtype=torch.float64, requires_grad=True)
    pixels = torch.randint(0, 24 * 32, (3, 50), generator=generator)
    grid = torch.stack(((pixels % 32 * 2 + 1) / 32 - 1, (pixels // 32 * 2 + 1) / 24 - 1), -1).double()
    expected = torch.nn.functional.grid_sample(features, grid[:, None], padding_mode="border", align_corners=False)
    read = matches.sample_features(features, pixels, (24, 32))
    torch.testing.assert_close(read, expected[:, :, 0].transpose(1, 2), atol=1e-6, rtol=0)
    weight = torch.randn(read.shape, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((x * weight).sum(), features)[0] for x in (read, expected[:, :, 0].mT))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    ramp = torch.arange(160.0).to(torch.bfloat16).expand(1, 1, 120, 160)  # whole numbers below 256 are exact
    read = matches.sample_features(ramp, torch.tensor([[300, 301, 302]]), (240, 320))
    torch.testing.assert_close(read[0, :, 0], torch.tensor([149.75, 150.25, 150.75]))


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
