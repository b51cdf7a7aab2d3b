"""MoCo v2 against its formulas written out, on the frames of the tiny store."""

import math

import pytest
import torch
from torch.nn import functional as F

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.export import export
from pri3d_zoo.training.initialise import initial_model
from pri3d_zoo.training.metrics import read_metrics
from pri3d_zoo.training.moco import MoCoTask, crop
from pri3d_zoo.training.networks.moco import FEATURES, MoCo
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.run_folder import trained_model, trained_network

MOCO = ["loss.method=moco", "loss.temperature=0.2", "moco.queue=12", "optimizer.lr=0.05"]


def images(count=4, size=(32, 48)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def test_queue_and_copy_by_hand():
    torch.manual_seed(0)
    model = MoCo("test_resnet", queue=6, momentum=0.75).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():  # the trained half moves away from its copy
        for parameter in [*model.backbone.parameters(), *model.head.parameters()]:
            parameter += 0.01
    first, second = images(), images().flip(3)
    found, target, negatives = model(first, second)
    assert torch.equal(negatives, before["queue"])
    for name, value in model.state_dict().items():
        if name.startswith("key_") and "running" not in name and "num_batches" not in name:
            own = model.state_dict()[name.removeprefix("key_")]
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * own, msg=name)
    torch.testing.assert_close(model.queue, torch.cat((target, before["queue"]))[:6])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    # the copy is another network now, of the same shape; in eval mode the groups of keys change nothing
    stages = model.key_backbone.encoder.forward_intermediates(second, intermediates_only=True)
    expected = F.normalize(model.key_head(stages[-1].mean((2, 3))), dim=1)
    torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-5)
    assert not target.requires_grad
    found.sum().backward()
    assert all(parameter.grad is None for parameter in model.key_backbone.parameters())
    assert all(parameter.grad is not None for parameter in model.backbone.encoder.parameters())


def test_loss_is_equation_one(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=False)
    batch = collate([dataset[0, 5], dataset[6, 9]])
    codes = F.normalize(torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    queue = F.normalize(torch.randn(10, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    seen = []

    def model(queries, keys):
        seen.extend((queries, keys))
        return codes[0], codes[1], queue

    losses, figures = MoCoTask(0.2)(model, batch)
    terms = []
    for query, key in zip(*codes.double(), strict=True):
        right = math.exp(query @ key / 0.2)
        terms.append(-math.log(right / (right + sum(math.exp(query @ other / 0.2) for other in queue.double()))))
    assert losses["moco"].item() == pytest.approx(sum(terms) / 4, rel=1e-5)
    right = (codes[0] * codes[1]).sum(1)
    assert figures["nearest"].item() == ((codes[0] @ queue.T).max(1).values < right).float().mean()
    assert seen[0].shape == seen[1].shape == (4, 3, 48, 64)
    assert not torch.equal(*seen)
    assert abs(seen[0].mean() - normalize(batch.color.flatten(0, 1)).mean()) < 1


def test_crops_are_parts_of_their_image(monkeypatch):
    """Images that hold their own column and row tell which part a crop shows, grey or brighter as it may be."""
    size, count = (60, 80), 400
    v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    areas, shapes, mirrored, lefts = [], [], 0, []
    color = torch.stack((u * 3.0, v * 3.0, torch.zeros(size)))
    monkeypatch.setattr("pri3d_zoo.training.moco.change_colors", lambda part, _: part)
    for part in crop(color.expand(count, -1, -1, -1), torch.arange(count)):
        across, down = part[0, 30] / 3, part[1, :, 40] / 3
        width = (across[-2] - across[1]).item() * 80 / 77
        height = (down[-2] - down[1]).item() * 60 / 57
        mirrored += width < 0
        areas.append(abs(width) * height / 4800)
        shapes.append(abs(width) / height / (80 / 60))
        lefts.append(across.min().item())
        assert height > 0
    assert 0.17 < min(areas) < 0.25
    assert 0.93 < max(areas) <= 1.02
    assert 0.72 < min(shapes) < 0.85
    assert 1.18 < max(shapes) < 1.37
    assert 160 < mirrored < 240
    assert min(lefts) < 1
    assert max(lefts) > 30


@pytest.fixture(scope="module")
def moco_run(tmp_path_factory, tiny_settings):
    run = tmp_path_factory.mktemp("moco") / "run"
    assert pretrain(load_config("demo", [*tiny_settings, *MOCO, f"run={run}", "model.encoder=test_resnet", "steps=2"]))
    return run


def test_a_run_learns_and_goes_on(moco_run, tmp_path, tiny_settings):
    rows = read_metrics(moco_run)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["loss"] == row["moco"] for row in rows)
    config, model = trained_network(moco_run)
    assert isinstance(model, MoCo)
    start = initial_model(config)
    keys = "key_backbone.encoder.conv1.0.weight"
    assert torch.equal(start.state_dict()[keys], start.state_dict()[keys.removeprefix("key_")])
    assert not torch.equal(model.state_dict()[keys], start.state_dict()[keys])
    assert model.queue.shape == (12, FEATURES)
    state = load_checkpoint(moco_run)["optimizer"]
    optimised = sum(len(group["params"]) for group in state["param_groups"])
    trained = [name for name, _ in start.named_parameters() if not name.startswith("key_")]
    assert 0 < optimised == len(trained) < len(list(start.parameters()))


def test_only_its_encoder_is_exported(moco_run, tmp_path):
    name = export(moco_run, tmp_path / "weights")
    assert name == "test_resnet_moco"
    with pytest.raises(InputError, match="holds an encoder, no dense model"):
        trained_model(moco_run)


def test_recipes_are_those_of_the_paper_but_for_the_task():
    for encoder in ("resnet18", "resnet50"):
        theirs = load_config(f"synthrooms_joint_{encoder}", ["run=r", "data.store=s"])
        ours = load_config(f"moco_v2_{encoder}_synthrooms", ["run=r", "data.store=s"])
        assert (ours.loss.method, ours.loss.temperature) == ("moco", 0.2)
        assert (ours.moco.queue, ours.moco.momentum) == (65_536, 0.999)
        for key in ("model", "size", "batch_size", "steps", "init", "data"):
            assert getattr(ours, key) == getattr(theirs, key)
