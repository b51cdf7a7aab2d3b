import pytest
import timm
import torch

import pri3d_zoo

NAMES = [f"resnet{depth}_pri3d_{objective}" for depth in (18, 34, 50, 101) for objective in ("view", "geo", "joint")]
FORWARD = ["resnet18_pri3d_view", "resnet50_pri3d_joint"]


def test_the_twelve_names_are_registered_with_timm():
    assert sorted(timm.list_models("resnet*_pri3d_*")) == sorted(NAMES)
    assert sorted(timm.list_models(module="pri3d_resnet")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_same_tensors_as_the_plain_resnet_without_classifier(name):
    with torch.device("meta"):
        model = timm.create_model(name)
        plain = timm.create_model(name.split("_")[0], num_classes=0)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    assert not any(key.startswith("fc") for key in model.state_dict())
    cfg = model.pretrained_cfg
    assert cfg["architecture"] == name
    assert (cfg["input_size"], cfg["crop_pct"], cfg["interpolation"]) == ((3, 240, 320), 1.0, "bilinear")
    assert (cfg["mean"], cfg["std"]) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (cfg["num_classes"], cfg["first_conv"], cfg["classifier"]) == (0, "conv1", "fc")


@pytest.mark.parametrize("name", FORWARD)
def test_timm_interface(name):
    channels = 2048 if "50" in name else 512
    x = torch.randn(1, 3, 64, 96)
    model = timm.create_model(name).eval()
    with torch.no_grad():
        assert model(x).shape == (1, channels)
        assert model.forward_features(x).shape == (1, channels, 2, 3)
        last, intermediates = model.forward_intermediates(x)
        assert last is intermediates[-1]
        assert [tuple(y.shape[-2:]) for y in intermediates] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
        model.reset_classifier(7)
        assert model(x).shape == (1, 7)
        assert timm.create_model(name, num_classes=5).eval()(x).shape == (1, 5)
        assert timm.create_model(name, in_chans=4).eval()(torch.randn(1, 4, 64, 96)).shape == (1, channels)


def test_features_only():
    x = torch.randn(1, 3, 64, 96)
    # a number of classes means nothing to features, as in timm
    model = timm.create_model("resnet18_pri3d_geo", features_only=True, out_indices=(1, 4), num_classes=9).eval()
    with torch.no_grad():
        assert [tuple(y.shape) for y in model(x)] == [(1, 64, 16, 24), (1, 512, 2, 3)]
    assert model.feature_info.channels() == [64, 512]
    assert model.feature_info.reduction() == [4, 32]
    dilated = timm.create_model("resnet18_pri3d_geo", features_only=True, output_stride=8).eval()
    with torch.no_grad():
        assert dilated(x)[-1].shape == (1, 512, 8, 12)


def test_transform_gives_the_size_of_the_pre_training():
    from PIL import Image

    model = timm.create_model("resnet18_pri3d_joint")
    picture = Image.new("RGB", (640, 480), (124, 116, 104))  # the ImageNet mean, rounded
    tensor = pri3d_zoo.create_transform(model)(picture)
    assert tensor.shape == (3, 240, 320)
    assert tensor.abs().max() < 0.02
