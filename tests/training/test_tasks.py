"""The task's losses against a plain transcription of the formulas, one match and one pixel at a time."""

import importlib.util
import math

import pytest
import torch

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.initialise import initial_model
from pri3d_zoo.training.networks.sparse import SparseTensor
from pri3d_zoo.training.tasks import PretrainTask

VOXEL_SIZE = 0.1  # of the tiny store
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Recorder(torch.nn.Module):
    """A network that keeps what it was asked for."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        self.inputs = inputs
        return self.model(*inputs)


def settings_of(recipe, tiny_settings, *more):
    # networks and sizes of the demo, the arithmetic of the recipe
    small = ["model.encoder=resnet18", "model.unet3d=minkunet14s", "init=scratch", *tiny_settings, "loss.matches=24"]
    return load_config(recipe, ["run=unused", *small, *more])


def one_batch(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=True)
    batch = collate([dataset[0, 1], dataset[6, 2], dataset[3, 3]])
    batch.depth[1, 0, 10:14, 20:30] = 0  # holes
    batch.depth[2] = 0  # and a pair without any reading
    return batch


def bilinear(features, pixel):
    """The feature of a map (C, 24, 32) at a flat pixel index of an image of 48x64."""
    x, y = ((pixel % 64) + 0.5) / 2 - 0.5, ((pixel // 64) + 0.5) / 2 - 0.5
    x, y = min(max(x, 0), 31), min(max(y, 0), 23)
    left, upper = math.floor(x), math.floor(y)
    right, lower = min(left + 1, 31), min(upper + 1, 23)
    top = (1 - (x - left)) * features[:, upper, left] + (x - left) * features[:, upper, right]
    bottom = (1 - (x - left)) * features[:, lower, left] + (x - left) * features[:, lower, right]
    return (1 - (y - upper)) * top + (y - upper) * bottom


def contrast(first, second, temperature):
    """Equations 1 and 2 of the paper for one pair: lists of features, in float64."""
    first = [a.double() / a.double().norm() for a in first]
    second = [b.double() / b.double().norm() for b in second]
    total = 0.0
    for i in range(len(first)):
        there = [math.exp(float(first[i] @ b) / temperature) for b in second]
        back = [math.exp(float(second[i] @ a) / temperature) for a in first]
        total += -(math.log(there[i] / sum(there)) + math.log(back[i] / sum(back))) / 2
    return total / len(first)


def depth_term(predicted, depth):
    """log-L1, normals and gradients of one side of the pairs, each a third, in float64."""
    near, normal, along_x, along_y = [], [], [], []
    for p, d in zip(predicted.double(), depth.double(), strict=True):
        p, d, hole = (torch.nn.functional.pad(x, (1, 1, 1, 1)) for x in (p, d, (d == 0).double()))
        for v in range(1, d.shape[0] - 1):
            for u in range(1, d.shape[1] - 1):
                if hole[v, u]:
                    continue
                near.append(math.log(abs(p[v, u] - d[v, u]) + 0.5))
                if hole[v - 1 : v + 2, u - 1 : u + 2].any():
                    continue
                slopes = []
                for image in (p, d):
                    w = image[v - 1 : v + 2, u - 1 : u + 2].tolist()
                    x = w[0][0] + 2 * w[1][0] + w[2][0] - w[0][2] - 2 * w[1][2] - w[2][2]
                    y = w[0][0] + 2 * w[0][1] + w[0][2] - w[2][0] - 2 * w[2][1] - w[2][2]
                    slopes.append((x, y))
                (px, py), (dx, dy) = slopes
                along_x.append(math.log(abs(px - dx) + 0.5))
                along_y.append(math.log(abs(py - dy) + 0.5))
                lengths = math.sqrt(px * px + py * py + 1) * math.sqrt(dx * dx + dy * dy + 1)
                normal.append(abs(1 - (px * dx + py * dy + 1) / lengths))
    return sum(sum(values) / len(values) for values in (near, normal, along_x, along_y)) / 3


@pytest.mark.parametrize("recipe", ["paper", "authors"])
def test_losses_equal_a_plain_transcription(recipe, tiny_store, tiny_settings):
    config = settings_of(recipe, tiny_settings)
    authors = recipe == "authors"
    batch = one_batch(tiny_store)
    model = Recorder(initial_model(config).eval())
    with torch.no_grad():
        losses, figures = PretrainTask(config.loss, VOXEL_SIZE)(model, batch)
        assert losses.keys() == {"view", "geo"} | ({"depth"} if authors else set())
        # the parts of the network, whole, and once more
        network = model.model
        color = (batch.color.flatten(0, 1) / 255 - MEAN[:, None, None]) / DEVIATION[:, None, None]
        torch.testing.assert_close(model.inputs[0], color)
        maps = network.backbone(model.inputs[0])
        voxels = network.backbone3d(SparseTensor(batch.voxels, batch.voxel_colors / 255)).features
        heads = network.headnet(maps) if authors else None
    task = PretrainTask(config.loss, VOXEL_SIZE)
    *_, view_valid = task.view_matches(batch)
    *_, geo_valid = task.voxel_matches(batch)
    view_pixels, _, geo_pixels, geo_voxels = model.inputs[1:]

    def world(pair, view, pixel):
        z = float(batch.depth[pair, view].flatten()[pixel])
        k, pose = batch.intrinsics[pair, view].double(), batch.camera_to_world[pair, view].double()
        local = [(pixel % 64 - k[0, 2]) / k[0, 0] * z, (pixel // 64 - k[1, 2]) / k[1, 1] * z, z]
        return z, pose[:3, :3] @ torch.tensor(local, dtype=torch.float64) + pose[:3, 3]

    def depth_in(pair, view, point):
        pose = batch.camera_to_world[pair, view].double()
        return float((pose[:3, :3].T @ (point - pose[:3, 3]))[2])

    views = []
    for pair in range(3):
        rows = view_valid[pair].nonzero()[:, 0].tolist()
        if len(rows) < 2:
            continue
        first = [bilinear(maps[2 * pair], int(view_pixels[0][pair, row])) for row in rows]
        second = [bilinear(maps[2 * pair + 1], int(view_pixels[1][pair, row])) for row in rows]
        views.append(contrast(first, second, 0.4))
        for row in rows:
            _, a = world(pair, 0, int(view_pixels[0][pair, row]))
            z, b = world(pair, 1, int(view_pixels[1][pair, row]))
            assert z > 0
            apart = abs(depth_in(pair, 1, a) - z) if authors else float((a - b).norm())
            assert apart <= (0.05 if authors else 0.02) + 1e-5
    frames = []
    for sample in range(6):
        rows = geo_valid[sample].nonzero()[:, 0].tolist()
        if len(rows) < 2:
            continue
        pixels = [network.w2d(bilinear(maps[sample], int(geo_pixels[sample, row]))).detach() for row in rows]
        chosen = [network.w3d(voxels[int(geo_voxels[sample, row])]).detach() for row in rows]
        frames.append(contrast(pixels, chosen, 0.4))
        for row in rows:
            number, *place = batch.voxels[int(geo_voxels[sample, row])].tolist()
            center = (torch.tensor(place, dtype=torch.float64) + 0.5) * VOXEL_SIZE
            z, point = world(sample // 2, sample % 2, int(geo_pixels[sample, row]))
            apart = abs(depth_in(sample // 2, sample % 2, center) - z) if authors else float((center - point).norm())
            assert number == sample
            assert apart <= (0.2 if authors else VOXEL_SIZE) + 1e-5
    assert (len(views), len(frames)) == (2, 4)
    assert losses["view"].item() == pytest.approx(sum(views) / 2, abs=1e-6)
    assert losses["geo"].item() == pytest.approx(sum(frames) / 4, abs=1e-6)
    assert figures["view_unmatched"].item() == pytest.approx(1 / 3)
    assert figures["geo_unmatched"].item() == pytest.approx(1 / 3)
    if authors:
        large = torch.nn.functional.interpolate(heads, size=(48, 64), mode="bilinear", align_corners=True)[:, 0]
        sides = [depth_term(large[side::2], batch.depth[:, side]) for side in range(2)]
        assert losses["depth"].item() == pytest.approx(sum(sides) / 2, abs=1e-6)


def test_the_weight_of_the_depth_head(tiny_store, tiny_settings):
    batch = one_batch(tiny_store)
    values = []
    for weight in (1, 0.25):
        config = settings_of("authors", tiny_settings, "loss.method=view", f"loss.depth_weight={weight}")
        with torch.no_grad():
            losses, _ = PretrainTask(config.loss, VOXEL_SIZE)(initial_model(config).eval(), batch)
        assert losses.keys() == {"view", "depth"}
        values.append(losses["depth"].item())
    assert values[1] == pytest.approx(values[0] / 4)
    without = initial_model(settings_of("authors", tiny_settings, "loss.depth_weight=0"))
    assert not any(name.startswith("headnet") for name in without.state_dict())


@pytest.mark.parametrize("recipe", ["paper", "authors"])
def test_a_batch_without_any_voxel_trains_the_rest(recipe, tiny_store, tiny_settings):
    config = settings_of(recipe, tiny_settings)
    batch = one_batch(tiny_store)
    batch = type(batch)(**vars(batch) | {"voxels": batch.voxels[:0], "voxel_colors": batch.voxel_colors[:0]})
    model = initial_model(config)
    losses, figures = PretrainTask(config.loss, VOXEL_SIZE)(model, batch)
    sum(losses.values()).backward()
    assert (losses["geo"].item(), figures["geo_matches"].item(), figures["geo_unmatched"].item()) == (0, 0, 1)
    # processes that share their gradients wait for every parameter's
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(not parameter.grad.any() for parameter in model.backbone3d.parameters())
    assert model.backbone.encoder.conv1.weight.grad.any()


@pytest.mark.parametrize("recipe", ["paper", "authors"])
def test_matches_are_the_same_in_mixed_precision(recipe, tiny_store, tiny_settings):
    config = settings_of(recipe, tiny_settings)
    batch = one_batch(tiny_store)
    asked = []
    for enabled in (False, True):
        model = Recorder(initial_model(config).eval())
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses, _ = PretrainTask(config.loss, VOXEL_SIZE)(model, batch)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        asked.append(model.inputs)
    for one, other in zip((*asked[0][1], *asked[0][3:]), (*asked[1][1], *asked[1][3:]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_both_backends_of_the_3d_network_train_alike(tiny_store, tiny_settings):
    if importlib.util.find_spec("MinkowskiEngine") is None:
        pytest.skip("MinkowskiEngine is not installed")
    batch = one_batch(tiny_store)
    steps = []
    for backend in ("native", "minkowski"):
        config = settings_of("paper", tiny_settings, f"model.backend3d={backend}")
        model = initial_model(config).train()
        if steps:
            model.load_state_dict(steps[0][0])
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        losses, _ = PretrainTask(config.loss, VOXEL_SIZE)(model, batch)
        sum(losses.values()).backward()
        steps.append((before, losses, {name: part.grad for name, part in model.named_parameters()}))
    (_, ours, gradients), (_, theirs, others) = steps
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=0)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        tolerance = 1e-3 * float(gradient.abs().max())
        torch.testing.assert_close(
            gradient, others[name], rtol=0, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )
