"""Where the first weights come from, and that a run says so."""

import hashlib

import pytest
import timm
import torch

import pri3d_zoo
from pri3d_zoo.training import initialise
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.export import export
from pri3d_zoo.training.initialise import describe_init, initial_model


def config_of(tiny_settings, *more):
    return load_config("demo", ["run=unused", *tiny_settings, *more])


@pytest.fixture
def hub(monkeypatch):
    """timm whose weights are random; the names that were asked for."""
    asked = []
    create = timm.create_model

    def stand_in(name, pretrained=False, **arguments):
        if pretrained:
            asked.append(name)
            torch.manual_seed(99)
        return create(name, pretrained=False, **arguments)

    monkeypatch.setattr(initialise.timm, "create_model", stand_in)
    return asked


@pytest.mark.parametrize(
    ("init", "asked", "said"),
    [
        ("imagenet", "resnet18", "encoder from ImageNet, timm's weights resnet18.a1_in1k"),
        ("imagenet:tv_in1k", "resnet18.tv_in1k", "encoder from ImageNet, timm's weights resnet18.tv_in1k"),
    ],
)
def test_imagenet_weights_are_timms_by_tag(init, asked, said, hub, tiny_settings):
    config = config_of(tiny_settings, f"init={init}")
    model = initial_model(config)
    assert hub == [asked]
    torch.manual_seed(99)
    expected = timm.create_model("resnet18", num_classes=0).state_dict()
    state = model.backbone.encoder.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert describe_init(config) == said


def test_weights_that_timm_cannot_get(monkeypatch, tiny_settings):
    create = timm.create_model

    def offline(name, pretrained=False, **arguments):
        if pretrained:
            raise OSError("no network")
        return create(name, **arguments)

    monkeypatch.setattr(initialise.timm, "create_model", offline)
    with pytest.raises(InputError, match=r"init=imagenet:x: timm could not get the weights resnet18\.x \(OSError\)"):
        initial_model(config_of(tiny_settings, "init=imagenet:x"))


def test_scratch_and_a_weight_folder_are_said(tiny_run, tiny_settings, tmp_path):
    assert describe_init(config_of(tiny_settings, "seed=3")) == "from scratch, seed 3"
    export(tiny_run, tmp_path / "resnet18_pri3d_joint.tiny")
    config = config_of(tiny_settings, f"init={tmp_path / 'resnet18_pri3d_joint.tiny'}")
    digest = hashlib.sha256((tmp_path / "resnet18_pri3d_joint.tiny" / "model.safetensors").read_bytes()).hexdigest()
    assert describe_init(config) == f"encoder from the weights resnet18_pri3d_joint.tiny, SHA-256 {digest}"
    with pytest.raises(InputError, match="init=nowhere: it must be scratch, imagenet, an encoder of"):
        describe_init(config_of(tiny_settings, "init=nowhere"))


def test_an_encoder_of_the_zoo_is_gone_on_with(tiny_settings):
    config = config_of(tiny_settings, "init=resnet18_pri3d_view.synthrooms_mini", "model.encoder=resnet18")
    encoder = initial_model(config).backbone.encoder
    theirs = pri3d_zoo.create_model("resnet18_pri3d_view").state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in encoder.state_dict().items())
    sha256 = pri3d_zoo.get_weights("resnet18_pri3d_view").sha256
    assert describe_init(config) == f"encoder from the weights resnet18_pri3d_view.synthrooms_mini, SHA-256 {sha256}"
    for init in ("resunet18_pri3d_view", "nowhere"):  # dense, and none at all
        with pytest.raises(InputError, match=f"init={init}: it must be .* an encoder of the zoo"):
            describe_init(config_of(tiny_settings, f"init={init}"))
