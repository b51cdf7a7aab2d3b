"""Norms of weights before a batch norm: found, set back, and nothing else changed."""

from functools import partial

import pytest
import timm
import torch
from torch import nn

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.initialise import build_network, initial_model
from pri3d_zoo.training.norms import normalised_convolutions, restore_norms, weight_norms
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.run_folder import NORMS, trained_network


class Mixed(nn.Module):
    """One convolution that a batch norm follows, one whose output a sum changes first, one without any."""

    def __init__(self):
        super().__init__()
        self.normalised = nn.Conv2d(3, 4, 3)  # with a bias, which counts too
        self.norm = nn.BatchNorm2d(4)
        self.summed = nn.Conv2d(4, 4, 1)
        self.after = nn.BatchNorm2d(4)
        self.bare = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.norm(self.normalised(x)).relu()
        return self.bare(self.after(self.summed(x) + x))


def test_only_what_goes_into_a_batch_norm_as_it_is_counts():
    model = Mixed().eval()
    pairs = normalised_convolutions(model, lambda: model(torch.zeros(1, 3, 8, 8)))
    assert pairs == [(model.normalised, model.norm)]
    assert not model.normalised._forward_hooks


def test_of_a_resnet_all_convolutions_count():
    model = timm.create_model("resnet18", num_classes=0).eval()
    names = {part: name for name, part in model.named_modules()}
    found = {names[a]: names[b] for a, b in normalised_convolutions(model, lambda: model(torch.zeros(1, 3, 64, 64)))}
    assert set(found) == {name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    assert all(a.replace("conv", "bn").replace("downsample.0", "downsample.1") == b for a, b in found.items())


def test_norms_are_set_back_and_the_function_stays():
    torch.manual_seed(0)
    model = Mixed().double()
    before = weight_norms(model)
    for _ in range(3):  # statistics
        model(torch.randn(8, 3, 12, 12, dtype=torch.float64))
    with torch.no_grad():
        for part in (model.normalised, model.summed, model.bare):
            part.weight *= 5
            part.weight += 0.3 * torch.randn_like(part.weight)
    for _ in range(50):
        model(torch.randn(8, 3, 12, 12, dtype=torch.float64))
    model.norm.eps = 1e-30  # else it differs by that
    image, kept = torch.randn(2, 3, 12, 12, dtype=torch.float64), weight_norms(model)
    expected = model.eval()(image)
    restore_norms(model, before, partial(model, image))
    torch.testing.assert_close(model(image), expected, rtol=1e-9, atol=1e-9)
    assert weight_norms(model) == kept | {"normalised": pytest.approx(before["normalised"], rel=1e-6)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["view", "moco"])
def test_a_run_gives_its_network_with_the_norms_of_before(method, tmp_path, tiny_store, tiny_settings):
    run = [f"run={tmp_path}", f"data.store={tiny_store}", f"loss.method={method}", "moco.queue=16"]
    config = load_config("demo", [*run, *tiny_settings, "optimizer.lr=3", "steps=2"])
    assert pretrain(config)
    _, model = trained_network(tmp_path)
    now, before = weight_norms(model.backbone.encoder), weight_norms(initial_model(config).backbone.encoder)
    assert now == pytest.approx(before, rel=1e-5)
    assert not torch.equal(model.backbone.encoder.conv1.weight, initial_model(config).backbone.encoder.conv1.weight)
    raw = build_network(config).eval()
    raw.load_state_dict(load_checkpoint(tmp_path)["model"])
    image = torch.rand(1, 3, 48, 64)
    expected = raw.backbone.encoder.forward_features(image)
    torch.testing.assert_close(model.backbone.encoder.forward_features(image), expected, rtol=1e-3, atol=1e-3)
    (tmp_path / NORMS).unlink()
    with pytest.raises(InputError, match=r"norms.json is missing"):
        trained_network(tmp_path)
    pretrain(config)  # has nothing left to do but that
    trained_network(tmp_path)
