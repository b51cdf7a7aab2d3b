"""Weights by name, and their maps: what the cells of one see, and how images are given to it."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from pri3d_zoo.resunet import ResUNet, any_size
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.evaluate.backbones import FeatureMaps, load_backbone
from pri3d_zoo.training.evaluate.initial import initial_backbone
from pri3d_zoo.training.evaluate.segmenters import Network, Segmenter
from pri3d_zoo.training.matches import sample_features
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.run_folder import trained_network


def test_colours_are_normalised_as_the_weights_want_them(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=0).eval()
    cfg = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.6, 0.7]}
    save_file(network.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_efficientnet", "pretrained_cfg": cfg}))
    color = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(cfg[name])[:, None, None] for name in ("mean", "std"))
    expected = network.forward_intermediates((color / 255 - mean) / std, intermediates_only=True)[-1]
    backbone = load_backbone(str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(backbone.maps(normalize(color))["stride 32"], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(backbone.random(0).shift, backbone.maps.shift)


@pytest.mark.parametrize("size", [(60, 88), (64, 80), (71, 57)])
@pytest.mark.parametrize("dense", [False, True])
def test_a_place_has_the_feature_of_its_own_patch(size, dense):
    """A spot wanders over the image, before a transformer whose patches know nothing of each other."""
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0, **any_size("test_vit"))
    for block in network.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
    maps = FeatureMaps(ResUNet(network) if dense else network)
    plain = torch.zeros(1, 3, *size)
    before = maps(plain)["stride 16"]
    rows, columns = before.shape[-2:]
    assert (rows, columns) == (round(size[0] / 16), round(size[1] / 16))
    for row in range(rows):
        for column in range(columns):
            v, u = int((row + 0.5) * size[0] / rows), int((column + 0.5) * size[1] / columns)
            image = plain.clone()
            image[..., v - 1 : v + 2, u - 1 : u + 2] = 5
            change = (maps(image)["stride 16"] - before).norm(dim=1, keepdim=True)
            assert change.flatten().argmax() == row * columns + column
            here = sample_features(change, torch.tensor([[v * size[1] + u]]), size)
            assert here.item() > 0.8 * change.max().item()
            change[..., row, column] = 0
            assert change.max() < 1e-4


def test_other_networks_are_given_images_as_they_are():
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0).eval()
    images = torch.randn(1, 3, 60, 88)
    with torch.no_grad():
        expected = network.forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(FeatureMaps(network)(images)["stride 32"], expected)


def test_the_run_of_an_encoder_alone(tmp_path, tiny_settings):
    run = tmp_path / "moco"
    settings = ["loss.method=moco", "moco.queue=12", "model.encoder=test_resnet", "steps=1", "loss.radius=0.1"]
    assert pretrain(load_config("demo", [*tiny_settings, *settings, f"run={run}"]))
    encoder = trained_network(run)[1].backbone.encoder
    backbone = load_backbone(str(run))
    assert (backbone.kind, backbone.radius) == ("test_resnet", 0.1)
    images = torch.randn(1, 3, 64, 64)
    maps = backbone.maps(images)
    assert list(maps) == [f"stride {stride}" for stride in (4, 8, 16, 32)]
    with torch.no_grad():
        expected = encoder.forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(maps["stride 32"], expected, rtol=1e-4, atol=1e-5)
    assert list(backbone.random(0)(images)) == list(maps)
    model = Segmenter(Network.deeplabv3, "test_resnet", 3)
    found = initial_backbone(str(run), "test_resnet")
    assert model.load(found, decoder=False) == "encoder"
    assert torch.equal(model.encoder.conv1[0].weight, encoder.conv1[0].weight)
