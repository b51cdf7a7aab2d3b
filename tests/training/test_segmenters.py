"""The segmentation networks: shapes, what weights they take over, and which parameters are new."""

import pytest
import timm
import torch

from pri3d_zoo.resunet import build_resunet
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.backbones import Backbone, FeatureMaps
from pri3d_zoo.training.evaluate.segmenters import Network, Segmenter

pytestmark = pytest.mark.slow

ENCODER = "resnet18"


def dense(decoder="authors", encoder=ENCODER):
    return Backbone(encoder, decoder, FeatureMaps(build_resunet(encoder, decoder=decoder)))


def alone(encoder=ENCODER):
    return Backbone(encoder, None, FeatureMaps(timm.create_model(encoder, num_classes=0)))


@pytest.mark.parametrize("network", list(Network))
def test_scores_at_the_size_of_the_image(network):
    torch.manual_seed(0)
    model = Segmenter(network, ENCODER, 5, auxiliary=network == Network.pspnet)
    images = torch.randn(2, 3, 64, 96)
    assert [scores.shape for scores in model.eval()(images)] == [(2, 5, 64, 96)]
    training = model.train()(images)
    assert [scores.shape for scores in training] == [(2, 5, 64, 96)] * (2 if network == Network.pspnet else 1)
    sum(scores.mean() for scores in training).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("network", [Network.resunet, Network.pspnet, Network.deeplabv3])
def test_sizes_that_are_no_multiple_of_the_stride(network):
    model = Segmenter(network, "test_resnet", 5, auxiliary=network == Network.pspnet)
    for scores in model.train()(torch.randn(2, 3, 60, 84)):
        assert scores.shape == (2, 5, 60, 84)


def test_scores_are_spread_over_the_whole_image():
    """At 56x80 DeepLab's scores come at 64x80; corners stay on corners, and what is between moves with them."""
    torch.manual_seed(0)
    model = Segmenter(Network.deeplabv3, "test_resnet", 5).eval()
    images = torch.randn(1, 3, 56, 80)
    with torch.no_grad():
        scores, wide = (
            model(images)[0],
            model.network.segmentation_head(model.network.decoder(model.network.encoder(images))),
        )
    assert wide.shape[-2:] == (64, 80)
    torch.testing.assert_close(scores[..., [0, -1], :], wide[..., [0, -1], :])
    place = 20 * 63 / 55  # of row 20
    expected = wide[..., int(place), :] * (1 - place % 1) + wide[..., int(place) + 1, :] * (place % 1)
    torch.testing.assert_close(scores[..., 20, :], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", list(Network))
@pytest.mark.parametrize("source", [dense, alone])
def test_encoders_are_taken_over_whole(network, source):
    backbone = source()
    model = Segmenter(network, ENCODER, 5)
    assert model.load(backbone, decoder=False) == "encoder"
    plain = backbone.maps.network
    theirs = (plain.encoder if backbone.decoder else plain).state_dict()
    ours = model.encoder.state_dict()
    assert set(ours) == {key for key in theirs if not key.startswith("fc.")}
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    encoder, others = model.groups()
    assert sum(p.numel() for p in encoder) == sum(
        p.numel() for key, p in plain.named_parameters() if "decoder" not in key
    )
    assert len(encoder) + len(others) == len(list(model.parameters()))


def test_the_encoder_computes_what_it_did():
    """The last stage at stride 32 of the bare encoder, against that inside DeepLab, made to have stride 32 too."""
    backbone = alone()
    model = Segmenter(Network.resunet, ENCODER, 5)
    model.load(backbone, decoder=False)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone.maps(images)["stride 32"]
        found = model.eval().network.encoder.forward_intermediates(images, indices=[4], intermediates_only=True)[0]
    assert torch.equal(found, expected)


def test_the_decoder_too():
    backbone = dense()
    model = Segmenter(Network.resunet, ENCODER, 5)
    before = model.network.decoder.up1.conv1.weight.clone()
    assert model.load(backbone, decoder=True) == "encoder and decoder"
    assert torch.equal(model.network.decoder.up1.conv1.weight, backbone.maps.network.decoder.up1.conv1.weight)
    assert not torch.equal(model.network.decoder.up1.conv1.weight, before)
    for network, weights in ((Network.pspnet, dense()), (Network.resunet, alone()), (Network.resunet, dense("light"))):
        with pytest.raises(InputError, match="with_decoder=true needs resunet"):
            Segmenter(network, ENCODER, 5).load(weights, decoder=True)


def test_transformers_and_other_encoders():
    for network, encoder in ((Network.resunet, "vit_tiny_patch16_224"), (Network.deeplabv3plus, "convnext_atto")):
        backbone = alone(encoder)
        model = Segmenter(network, encoder, 3)
        model.load(backbone, decoder=False)
        assert model.eval()(torch.zeros(1, 3, 64, 64))[0].shape == (1, 3, 64, 64)


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match=r"the weights do not fit this network: .* is it the same encoder"):
        Segmenter(Network.deeplabv3, "resnet34", 5).load(alone(), decoder=False)
    with pytest.raises(InputError, match="deeplabv3 cannot be built on no_such_net"):
        Segmenter(Network.deeplabv3, "no_such_net", 5)
    with pytest.raises(InputError, match="resunet has no auxiliary head"):
        Segmenter(Network.resunet, ENCODER, 5, auxiliary=True)
