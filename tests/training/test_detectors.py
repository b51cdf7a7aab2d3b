"""Mask R-CNN on timm's encoders: what is frozen, what weights it takes over, and what it returns."""

import math

import pytest
import timm
import torch
from torch import nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

from pri3d_zoo.resunet import build_resunet
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.backbones import Backbone, FeatureMaps
from pri3d_zoo.training.evaluate.detectors import Detector, Pyramid
from pri3d_zoo.training.evaluate.initial import initial_backbone

pytestmark = pytest.mark.slow

ENCODER = "resnet18"
LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}


def detector(encoder=ENCODER, **settings):
    torch.manual_seed(0)
    return Detector(encoder, 3, **{"size": (64, 128), "regions": 8, **settings})


def images_and_targets():
    sizes = ((64, 96), (70, 60))
    targets = []
    for height, width in sizes:
        masks = torch.zeros(1, height, width, dtype=torch.uint8)
        masks[0, 8:40, 8:40] = 1
        targets.append({"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([2]), "masks": masks})
    torch.manual_seed(1)
    return [torch.rand(3, *size) for size in sizes], targets


def with_statistics(network):
    """The network with norms that look trained, so that a forgotten statistic would tell."""
    torch.manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5)
    return network


def dense():
    return Backbone(ENCODER, "authors", FeatureMaps(with_statistics(build_resunet(ENCODER))))


def alone(encoder=ENCODER):
    network = timm.create_model(encoder, num_classes=0)
    return Backbone(encoder, None, FeatureMaps(with_statistics(network)))


@pytest.mark.parametrize("encoder", [ENCODER, "vit_tiny_patch16_224", "convnext_atto"])
def test_five_levels_for_any_encoder(encoder):
    levels = Pyramid(encoder).eval()(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels.values()] == [
        (1, 256, 64 // stride, -(-96 // stride)) for stride in (4, 8, 16, 32, 64)
    ]


def test_losses_in_training_and_detections_after():
    model = detector(frozen_stages=0, frozen_norms=False, score_threshold=0.5)
    model.roi_heads.detections_per_img = 10
    images, targets = images_and_targets()
    losses = model(images, targets)
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[2] = 5  # so that something is found
        found = model.eval()(images)
    for image, each in zip(images, found, strict=True):
        count = len(each["boxes"])
        assert count > 0
        assert each["masks"].shape == (count, 1, *image.shape[1:])
        assert (each["labels"] == 2).all()
        assert each["boxes"].min() >= 0
        assert (each["boxes"].amax(0) <= torch.tensor([image.shape[2], image.shape[1]] * 2)).all()


def test_first_guesses_are_even():
    """All classes nearly alike, and masks not far from one half, however few classes there are."""
    model = detector()
    losses = {name: loss.item() for name, loss in model(*images_and_targets()).items()}
    assert losses["loss_classifier"] == pytest.approx(math.log(4), abs=0.3)
    assert losses["loss_mask"] == pytest.approx(math.log(2), abs=0.3)
    assert losses["loss_objectness"] == pytest.approx(math.log(2), abs=0.05)


def test_bf16_keeps_coordinates_exact():
    """Anchors and what is predicted from them stay in float32: in bf16 the corner 1001 would be 1000."""
    model = detector()
    images, targets = images_and_targets()
    seen = {}
    model.rpn.anchor_generator.register_forward_hook(lambda _m, _i, anchors: seen.update(anchors=anchors[0].dtype))
    model.rpn.register_forward_hook(lambda _m, _i, output: seen.update(proposals=output[0][0].dtype))
    model.backbone.encoder.conv1.register_forward_hook(lambda _m, _i, output: seen.update(encoder=output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images, targets)
    assert seen == {"anchors": torch.float32, "proposals": torch.float32, "encoder": torch.bfloat16}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


@pytest.mark.parametrize("source", [dense, alone])
@pytest.mark.parametrize("frozen", [True, False])
def test_encoders_are_taken_over_exactly(source, frozen):
    backbone = source()
    model = detector(frozen_norms=frozen, frozen_stages=2 if frozen else 0)
    assert model.load(backbone) == "encoder"
    plain = backbone.maps.network
    theirs = (plain.encoder if backbone.decoder else plain).state_dict()
    ours = model.encoder.state_dict()
    counters = {key for key in theirs if key.endswith("num_batches_tracked")}
    assert set(ours) == set(theirs) - (counters if frozen else set())
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone.maps(images)
        found = model.eval().encoder.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
    for stride, stage in zip((4, 8, 16, 32), found, strict=True):
        torch.testing.assert_close(stage, expected[f"stride {stride}"], rtol=1e-4, atol=1e-4)


def test_what_is_frozen_stays_as_it_is():
    model = detector()  # the stem, the first stage and all norms, as detectron2's FREEZE_AT 2 and FrozenBN
    images, targets = images_and_targets()
    fixed = {name for name, parameter in model.encoder.named_parameters() if not parameter.requires_grad}
    assert fixed == {"conv1.weight"} | {f"layer1.{block}.conv{n}.weight" for block in (0, 1) for n in (1, 2)}
    norms = [module for module in model.encoder.modules() if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm2d))]
    assert len(norms) == 20
    assert all(isinstance(norm, FrozenBatchNorm2d) for norm in norms)
    before = {key: tensor.clone() for key, tensor in model.encoder.state_dict().items()}
    decaying, norms = model.groups()
    optimizer = torch.optim.SGD(decaying + norms, lr=0.01)
    sum(model(images, targets).values()).backward()
    optimizer.step()
    changed = {key for key, tensor in model.encoder.state_dict().items() if not torch.equal(tensor, before[key])}
    assert changed
    assert all(key.startswith(("layer2", "layer3", "layer4")) and not key.startswith("bn") for key in changed)
    assert not any("bn" in key or "downsample.1" in key for key in changed)


def test_norms_of_frozen_parts_are_frozen_with_them():
    model = detector(frozen_norms=False, frozen_stages=1)
    assert isinstance(model.encoder.bn1, FrozenBatchNorm2d)
    assert isinstance(model.encoder.layer1[0].bn1, nn.BatchNorm2d)
    decaying, norms = model.groups()
    assert len(norms) == 2 * 19  # the others' weights and biases
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(decaying) + len(norms) == len(trained)
    assert {id(parameter) for parameter in decaying + norms} == {id(parameter) for parameter in trained}


def test_computes_what_torchvisions_does():
    """Its own Mask R-CNN on its ResNet-50, whose weights fit one to one under other names."""
    settings = {"min_size": 64, "max_size": 128, "box_score_thresh": 0.01, "box_detections_per_img": 10}
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4, **settings)
    ours = detector("resnet50", frozen_stages=0, frozen_norms=False, score_threshold=0.01)
    ours.roi_heads.detections_per_img = 10
    names = (("backbone.body.", "backbone.encoder."), ("backbone.fpn.", "backbone.levels."))
    weights = theirs.state_dict()
    for old, new in names:
        weights = {key.replace(old, new): tensor for key, tensor in weights.items()}
    ours.load_state_dict(weights)
    images, _ = images_and_targets()
    with torch.no_grad():
        expected, found = theirs.eval()(images), ours.eval()(images)
    assert len(expected[0]["boxes"]) > 0
    for a, b in zip(expected, found, strict=True):
        for key in a:
            assert torch.equal(a[key], b[key])


def test_sizes_of_images():
    model = detector(size=(64, 96), short_sides=(32, 48))
    tall = [torch.rand(3, 128, 64)]
    drawn = {model.transform([tall[0]])[0].image_sizes[0] for _ in range(40)}
    assert drawn == {(64, 32), (96, 48)}  # a shorter side of 64 would make the longer one 128
    assert model.eval().transform(tall)[0].image_sizes == [(96, 48)]
    assert model.transform([torch.rand(3, 100, 100)])[0].image_sizes == [(64, 64)]


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match=r"the weights do not fit this network: .* is it the same encoder"):
        detector("resnet34").load(alone())
    with pytest.raises(InputError, match="Mask R-CNN cannot be built on no_such_net"):
        detector("no_such_net")
    assert initial_backbone("scratch", ENCODER) is None
    with pytest.raises(InputError, match=r"timm could not get weights for resnet18\.no_such_tag"):
        initial_backbone("imagenet:no_such_tag", ENCODER)
