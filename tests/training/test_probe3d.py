"""Probe3D's protocol: against a brute force in numpy, by hand, with features that know everything or nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.probe3d import KEPT, GridPair, grid_of, ratio_matches, summarise
from pri3d_zoo.training.geometry import depth_to_world

SIZE = (48, 64)


@pytest.fixture(scope="module")
def batch(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=False)
    return collate([dataset[i] for i in range(4)])


def position_maps(pair):
    """Directions from far outside the room to each pixel's place: alike where the place is, and nowhere else."""
    points = depth_to_world(pair.depth[0], pair.intrinsics[0], pair.camera_to_world[0])
    return torch.cat((points, torch.full_like(points[..., :1], 3.0)), -1).transpose(1, 2).reshape(2, 4, *SIZE)


def test_the_grid_is_a_quarter_of_480x640_or_the_image():
    assert grid_of((480, 640)) == grid_of((240, 320)) == (120, 160)
    assert grid_of((120, 160)) == (120, 160)
    assert grid_of((48, 64)) == (48, 64)
    assert grid_of((320, 240)) == (213, 160)


def test_matches_against_brute_force():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(3000, 8, generator=generator), torch.randn(2500, 8, generator=generator)
    queries, matched = ratio_matches(first, second, 1000)
    distance = cdist(first.double().numpy(), second.double().numpy(), "cosine")
    nearest = np.sort(distance, 1)[:, :2]
    weight = 1 - nearest[:, 0] / nearest[:, 1]
    assert len(queries) == len(set(queries.tolist())) == 1000
    assert np.array_equal(matched.numpy(), distance.argmin(1)[queries])
    assert np.allclose(weight[queries], np.sort(weight)[::-1][:1000], atol=1e-4)
    assert len(ratio_matches(first[:10], second, 1000)[0]) == 10


def test_a_ratio_by_hand():
    # angles in degrees: 0 has its nearest at 10 and 20, 90 at 80 and 20: cosine distances .0152/.0603, .0152/.6580
    first, second = (
        torch.tensor([[np.cos(a), np.sin(a)] for a in np.deg2rad(angles)])
        for angles in ((0.0, 90.0), (10.0, 20.0, 80.0))
    )
    queries, matched = ratio_matches(first, second, 2)
    assert queries.tolist() == [1, 0]
    assert matched.tolist() == [2, 0]


def test_features_that_know_the_place_are_perfect(batch):
    errors, rotations = [], []
    for index in range(len(batch.color)):
        pair = GridPair(batch.pair(index))
        errors.append(pair.errors(*pair.features(position_maps(batch.pair(index)))))
        rotations.append(pair.rotation)
    figures = summarise(errors, rotations, SIZE)
    assert figures.matches == 4 * KEPT
    assert figures.recall[5] > 0.999
    # the scenes turn by 0.2 rad = 11.5 degrees a frame: pairs (0, 1), (0, 2), (1, 2), (1, 3)
    assert figures.pairs_by_rotation == {"0-15": 2, "15-30": 2, "30-60": 0, "60-180": 0}
    assert np.allclose(rotations, np.rad2deg([0.2, 0.4, 0.2, 0.4]), atol=0.05)
    assert figures.by_rotation["60-180"] is None


def test_features_that_know_nothing_fall_to_chance(batch):
    generator = torch.Generator().manual_seed(0)
    errors, rotations, true = [], [], []
    for index in range(len(batch.color)):
        pair = GridPair(batch.pair(index))
        maps = torch.randn(2, 4, *SIZE, generator=generator)
        errors.append(pair.errors(*pair.features(maps)))
        rotations.append(pair.rotation)
        true.append(pair.true)
    # how often a random pixel lies within 10 px of where the first view's pixels appear in the second
    places = torch.rand(4000, 2, generator=generator) * torch.tensor([SIZE[1], SIZE[0]])
    chance = np.mean([(torch.cdist(places, points[::7]) < 10).float().mean().item() for points in true])
    assert 0.02 < chance < 0.1
    assert summarise(errors, rotations, SIZE).recall[10] == pytest.approx(chance, abs=0.015)


def test_errors_are_pixels_of_the_grid_by_hand(batch):
    """Views of one camera: a feature map that is moved by three columns makes matches that are three pixels wrong."""
    one = batch.pair(0)
    still = dataclasses.replace(
        one,
        depth=one.depth[:, :1].expand(-1, 2, -1, -1),
        camera_to_world=one.camera_to_world[:, :1].expand(-1, 2, -1, -1),
        intrinsics=one.intrinsics[:, :1].expand(-1, 2, -1, -1),
    )
    pair = GridPair(still)
    maps = torch.randn(1, 16, *SIZE, generator=torch.Generator().manual_seed(1)).repeat(2, 1, 1, 1)
    maps[1] = maps[1].roll(3, -1)
    errors = pair.errors(*pair.features(maps))
    inside = errors < 10  # what was rolled out at the right comes in at the left, 61 pixels away
    assert torch.allclose(errors[inside], torch.tensor(3.0), atol=1e-3)
    assert inside.float().mean() > 0.9
    assert pair.rotation == pytest.approx(0, abs=0.05)


def test_recall_by_hand():
    figures = summarise([torch.tensor([1.0, 7.0, 30.0, 12.0]), torch.tensor([4.0, 4.0])], [10.0, 180.0], (120, 160))
    assert figures.recall == pytest.approx({5: 3 / 6, 10: 4 / 6, 20: 5 / 6})
    assert figures.by_rotation == {"0-15": 0.5, "15-30": None, "30-60": None, "60-180": 1.0}
    assert figures.matches == 6


def test_views_without_depth(batch):
    blind = dataclasses.replace(batch.pair(0), depth=torch.zeros_like(batch.depth[:1]))
    pair = GridPair(blind)
    errors = pair.errors(*pair.features(torch.randn(2, 4, *SIZE)))
    assert len(errors) == 0
    half = summarise([errors, torch.ones(3)], [5.0, 70.0], SIZE)
    assert half.pairs_by_rotation == {"0-15": 0, "15-30": 0, "30-60": 0, "60-180": 1}
    with pytest.raises(InputError, match="no view of the probed pairs has depth"):
        summarise([errors], [5.0], SIZE)
