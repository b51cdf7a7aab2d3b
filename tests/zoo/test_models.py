"""Everything that users of timm expect, of every model that is registered."""

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, resolve_model_data_config
from timm.optim import param_groups_layer_decay

from pri3d_zoo import WeightsError, create_model, list_models


def is_large(name: str) -> bool:
    return "50" in name or "101" in name


MODELS = [pytest.param(name, marks=pytest.mark.slow if is_large(name) else ()) for name in list_models()]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_does_what_timm_models_do(name):
    torch.manual_seed(0)
    model = create_model(name, pretrained=False, in_chans=4).eval()
    reduction = 2 if name.startswith("resunet") else 32
    assert model.num_classes == 0
    with torch.no_grad():
        for height, width in ((64, 96), (96, 32)):
            x = torch.randn(1, 4, height, width)
            features = model.forward_features(x)
            assert features.shape == (1, model.num_features, height // reduction, width // reduction)
            assert model(x).shape == (features.shape if reduction == 2 else features.shape[:2])
            last, intermediates = model.forward_intermediates(x)
            assert torch.equal(last, features)
            assert [i.shape[1] for i in intermediates] == [info["num_chs"] for info in model.feature_info]
        model.reset_classifier(7)
        assert model(x).shape[:2] == (1, 7)
        assert model.get_classifier().weight.shape[0] == 7
    model.train().set_grad_checkpointing()
    scales = [group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.5)]
    assert max(scales) == 1
    assert len(set(scales)) > 5
    config = resolve_model_data_config(model)
    assert config["input_size"] == (3, 240, 320)
    assert (config["mean"], config["std"]) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


@pytest.mark.parametrize("name", MODELS)
def test_features_only(name):
    model = timm.create_model(name, features_only=True, out_indices=(1, 3)).eval()
    with torch.no_grad():
        features = model(torch.randn(1, 3, 64, 96))
    assert model.feature_info.reduction() == [4, 16]
    assert [feature.shape[1] for feature in features] == model.feature_info.channels()
    assert [feature.shape[-2:] for feature in features] == [(16, 24), (4, 6)]


@pytest.mark.parametrize("name", list_models())
def test_a_model_without_weights_says_so_in_one_piece(name, empty_machine):
    with pytest.raises(WeightsError) as error:
        create_model(name)
    for part in (f"no weights for {name}: ", "PRI3D_WEIGHTS is not set", "no such weights are published", "pretrain"):
        assert part in str(error.value)
    with pytest.raises(WeightsError, match=r"nowhere does not exist"):
        create_model(name, checkpoint_path="nowhere")
    with pytest.raises(WeightsError, match=f"did you mean .*{name}"):
        create_model(f"{name}x")


@pytest.mark.parametrize("stride", [8, 16])
def test_output_stride(stride):
    model = create_model("resnet18_pri3d_joint", pretrained=False, output_stride=stride)
    assert model.forward_features(torch.randn(1, 3, 64, 96)).shape[-2:] == (64 // stride, 96 // stride)
