"""The computed batch against the room that it shows, and the table of costs."""

import numpy as np
import pytest
import torch

from pri3d_zoo.training.bench import HALF, VOXEL_SIZE, StepCosts, bench, counted_flop, describe, room_batch
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import depth_to_world
from pri3d_zoo.training.matches import view_matches, voxel_matches
from pri3d_zoo.training.networks.sparse import build_sparse_unet
from pri3d_zoo.training.tasks import voxel_input


def test_the_room_is_a_room():
    batch = room_batch(3, (48, 64), 4000, seed=1)
    points = depth_to_world(batch.depth, batch.intrinsics, batch.camera_to_world)
    beyond = points.abs() - torch.tensor(HALF)
    assert torch.allclose(beyond.amax(-1), torch.zeros(()), atol=1e-5)  # each point on a wall, none outside
    samples, counts = batch.voxels[:, 0].unique(return_counts=True)
    assert samples.tolist() == list(range(6))
    assert counts.tolist() == [4000] * 6
    voxels = batch.voxels.numpy()
    assert len(np.unique(voxels, axis=0)) == len(voxels)
    centers = (batch.voxels[:, 1:] + 0.5) * VOXEL_SIZE
    assert ((centers.abs() - torch.tensor(HALF)).amax(-1).abs() < VOXEL_SIZE).all()
    found = view_matches(batch.depth, batch.intrinsics, batch.camera_to_world, 200, 0.05)[2]
    assert (found.sum(1) > 150).all()
    views = (part.flatten(0, 1) for part in (batch.depth, batch.intrinsics, batch.camera_to_world))
    assert (voxel_matches(*views, batch.voxels, VOXEL_SIZE, 200, VOXEL_SIZE)[2].sum(1) > 100).all()
    assert torch.equal(room_batch(3, (48, 64), 4000, seed=1).color, batch.color)
    assert len(room_batch(1, (48, 64), 0, seed=1).voxels) == 0


def sparse_backward_over_forward():
    """Operations: a product each for the gradients of inputs and of kernels; the first layer has no former."""
    batch, network = room_batch(1, (48, 64), 500, seed=1), build_sparse_unet("minkunet14s", 3, 8)
    voxels = voxel_input(batch.voxels, batch.voxel_colors)

    def both():
        features = network(voxels).features
        features.backward(torch.ones_like(features))

    return counted_flop(both) / counted_flop(lambda: network(voxels)) - 1


@pytest.mark.slow
def test_every_part_is_measured(tiny_store):
    overrides = ["run=x", "data.store=x", "batch_size=2", "accumulate=2", "size=[48,64]", "init=scratch"]
    config = load_config("demo", [*overrides, "loss.matches=64", "data.workers=1"])
    costs = bench(config, device=torch.device("cpu"), voxels=500, repeats=1, store=tiny_store)
    assert set(costs.parts) >= {"image network", "voxel network", "matches and losses", "optimiser"}
    assert all(seconds > 0 for seconds in costs.parts.values())
    assert costs.pairs == 2
    assert costs.flop > 1e9
    assert sparse_backward_over_forward() == pytest.approx(2, abs=0.02)
    assert costs.loader > 0
    assert dict(describe(costs))["whole step"].endswith("for 2 pairs")
    with pytest.raises(InputError, match="there is no cuda here"):
        bench(config, device=torch.device("cuda"), voxels=500, repeats=1, store=None)


def test_figures_by_hand():
    costs = StepCosts("x", {"image network": 0.3}, 0.5, 64, 110e12, 400e12, 8 * 2**30, 100.0)
    assert costs.pairs_per_second == 100  # the device could do 128
    assert costs.waiting == pytest.approx(1 - 100 / 128)
    assert costs.hours == pytest.approx(65_625 * 64 / 100 / 3600)
    rows = dict(describe(costs))
    assert rows["image network"] == "300.0 ms, 60%"
    assert rows["networks' arithmetic"] == "110.00 TFLOP a step, 220.00 TFLOP/s"
    assert rows["of the matrix-product peak"].startswith("55%")
