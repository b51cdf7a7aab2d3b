"""The same features of the same picture, whichever way its colours are normalised."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pri3d_zoo.training.colors import expect_imagenet_colors
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.augment import IMAGENET_MEAN, IMAGENET_STD
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.initial import initial_backbone
from pri3d_zoo.training.initialise import initial_model

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.1)
PICTURE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def normalized(mean, std):
    return (PICTURE - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def encoder_of(name):
    torch.manual_seed(0)
    encoder = timm.create_model(name, num_classes=0)
    for module in encoder.modules():  # as training leaves them
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    return encoder.eval()


# a patch embedding with an offset, and stems with a batch norm behind; the latter pad with zeros
@pytest.mark.parametrize(
    ("name", "inside"), [("vit_tiny_patch16_224", 0), ("resnet18", 20), ("tf_efficientnet_lite0", 12)]
)
@torch.no_grad()
def test_features_stay_what_they_were(name, inside):
    size = {"img_size": (64, 96)} if name.startswith("vit") else {}
    torch.manual_seed(0)
    encoder = timm.create_model(name, num_classes=0, **size).double().eval()
    first = encoder.get_submodule(timm.get_pretrained_cfg_value(name, "first_conv"))
    stem = nn.Sequential(first, encoder.bn1) if inside else first
    before = stem(normalized(MEAN, STD).double())
    whole = encoder(normalized(MEAN, STD).double())
    expect_imagenet_colors(encoder, name, MEAN, STD)
    after = stem(normalized(IMAGENET_MEAN, IMAGENET_STD).double())
    if inside:
        before, after = before[..., 4:-4, 4:-4], after[..., 4:-4, 4:-4]
    else:
        torch.testing.assert_close(encoder(normalized(IMAGENET_MEAN, IMAGENET_STD).double()), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)


def test_imagenets_own_are_left_alone():
    encoder = encoder_of("resnet18")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    expect_imagenet_colors(encoder, "resnet18", IMAGENET_MEAN, IMAGENET_STD)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_network_that_cannot_take_the_difference():
    encoder = encoder_of("resnet18")
    encoder.bn1 = encoder.layer1 = encoder.layer2 = encoder.layer3 = encoder.layer4 = nn.Identity()
    with pytest.raises(InputError, match=r"resnet18 want colours of mean \[0.5, 0.4, 0.3\].*ImageNet's"):
        expect_imagenet_colors(encoder, "resnet18", MEAN, STD)


def test_both_kinds_of_training_take_over_a_weight_folder_so(tmp_path, tiny_settings):
    encoder = encoder_of("resnet18")
    save_file(encoder.state_dict(), tmp_path / "model.safetensors")
    cfg = {"tag": "half", "mean": MEAN, "std": STD, "input_size": [3, 64, 96], "num_classes": 0}
    described = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(described))
    expect_imagenet_colors(encoder, "resnet18", MEAN, STD)
    expected = encoder.state_dict()
    pretraining = initial_model(load_config("demo", ["run=r", *tiny_settings, f"init={tmp_path}"])).backbone.encoder
    fine_tuning = initial_backbone(str(tmp_path), "resnet18").maps
    for state in (pretraining.state_dict(), fine_tuning.network.state_dict()):
        torch.testing.assert_close({key: state[key] for key in expected}, expected, check_stride=False)
    assert torch.equal(fine_tuning.scale, torch.ones(3, 1, 1))


def test_a_config_that_is_none(tmp_path, tiny_settings):
    save_file(encoder_of("resnet18").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": [1]}')
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        initial_model(load_config("demo", ["run=r", *tiny_settings, f"init={tmp_path}"]))
