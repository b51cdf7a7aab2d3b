"""Names of weights, against torchvision and detectron2's own."""

import itertools
import re

import pytest
import torch
import torchvision
from torch import Tensor

import pri3d_zoo
from pri3d_zoo.convert import (
    FORMATS,
    KeyReport,
    compare_keys,
    convert_state_dict,
    describe_state_dict,
    detect_format,
    expected_unet3d,
    resnet_depth,
)
from pri3d_zoo.convert_files import convert_file
from pri3d_zoo.training.networks.sparse import build_sparse_unet
from pri3d_zoo.weights import WeightsError

# Names of detectron2's, written down from the modules of its `modeling/backbone/resnet.py` and not by a rule: a stem
# with one convolution, stages res2 to res5, each convolution with its `norm`, and a `shortcut` in the first block of a
# stage where the channels change. The first table holds for R18 and R50.
DETECTRON2_NAMES = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.weight": "stem.conv1.norm.weight",
    "bn1.running_var": "stem.conv1.norm.running_var",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.bn1.bias": "res2.0.conv1.norm.bias",
    "layer1.1.conv2.weight": "res2.1.conv2.weight",
    "layer1.1.bn2.running_mean": "res2.1.conv2.norm.running_mean",
    "layer2.0.downsample.0.weight": "res3.0.shortcut.weight",
    "layer2.0.downsample.1.weight": "res3.0.shortcut.norm.weight",
    "layer3.0.downsample.1.running_var": "res4.0.shortcut.norm.running_var",
    "layer4.0.downsample.0.weight": "res5.0.shortcut.weight",
    "layer4.1.bn2.bias": "res5.1.conv2.norm.bias",
}
DETECTRON2_NAMES_OF_R50 = {
    "layer1.0.conv3.weight": "res2.0.conv3.weight",
    "layer1.0.downsample.0.weight": "res2.0.shortcut.weight",
    "layer1.0.downsample.1.running_mean": "res2.0.shortcut.norm.running_mean",
    "layer3.5.bn3.running_var": "res4.5.conv3.norm.running_var",
    "layer4.2.conv3.weight": "res5.2.conv3.weight",
}


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


# names


@pytest.mark.parametrize(
    ("depth", "table", "count"),
    [(18, DETECTRON2_NAMES, 100), (50, DETECTRON2_NAMES | DETECTRON2_NAMES_OF_R50, 265)],
)
def test_detectron2_has_its_own_names(resnet, random_state, depth, table, count):
    state = random_state(resnet(depth))
    there = convert_state_dict(state, "timm", "detectron2")
    # R50: 53 convolutions and as many norms of four tensors; R18: 20 of each
    assert len(there) == count
    for name, renamed in table.items():
        assert there[renamed] is state[name]
    assert not any("bn" in name or "layer" in name or "downsample" in name for name in there)
    pattern = r"(stem|res[2-5]\.\d+)\.(conv[123]|shortcut)(\.norm\.(bias|weight|running_mean|running_var)|\.weight)"
    assert all(re.fullmatch(pattern, name) for name in there)


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvision_computes_the_same(random_state, depth):
    torch.manual_seed(depth)
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    norms = {name: value for name, value in theirs.state_dict().items() if value.ndim == 1}
    theirs.load_state_dict(random_state(norms, depth), strict=False)
    theirs.double().eval()
    there = convert_state_dict(theirs.state_dict(), "torchvision", "detectron2")
    back = convert_state_dict(there, "detectron2", "timm")
    ours = pri3d_zoo.create_model(f"resnet{depth}_pri3d_joint", pretrained=False).double().eval()
    ours.load_state_dict(back)
    theirs.fc = torch.nn.Identity()
    image = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(image)
        assert torch.isfinite(expected).all()
        assert expected.std() > 0
        torch.testing.assert_close(ours(image), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(FORMATS, 2)))
def test_round_trips_of_encoders_are_identities(resnet, random_state, same, source, target):
    state = convert_state_dict(random_state(resnet(18)), "timm", source)
    there = convert_state_dict(state, source, target)
    back = convert_state_dict(there, target, source)
    kept = without_counters(state)
    assert all(back[name] is value for name, value in kept.items())
    assert list(back) == list(state)
    if target == "detectron2":  # the counters stay behind, and come back as zeros
        counters = {name: value for name, value in back.items() if name not in kept}
        assert len(counters) == 20
        assert all(value.dtype == torch.int64 and value.shape == () and value == 0 for value in counters.values())
    else:
        assert same(back, state)
        assert list(there) == list(convert_state_dict(back, source, target))


def test_round_trips_of_the_other_parts_are_identities(same, network):
    state = network.state_dict()
    for part, middle, module in (("dense", "timm", network.backbone), ("unet3d", "minkowski", network.backbone3d)):
        there = convert_state_dict(state, "pri3d", middle, part=part)
        assert same(there, module.state_dict())
        assert list(there) == list(module.state_dict())
        back = convert_state_dict(there, middle, "pri3d", part=part)
        assert all(back[name] is state[name] for name in back)
        assert same(there, convert_state_dict(back, "pri3d", middle, part=part))


def test_encoder_of_a_checkpoint_and_of_a_dense_model(same, network):
    expected = network.backbone.encoder.state_dict()
    assert same(convert_state_dict(network.state_dict()), expected)
    assert same(convert_state_dict(network.backbone.state_dict(), "timm", "torchvision"), expected)


def test_counters_that_the_source_never_had_are_put_where_they_belong(network):
    state = network.state_dict()
    converted = convert_state_dict(without_counters(state), "pri3d", "minkowski", part="unet3d")
    assert list(converted) == list(network.backbone3d.state_dict())
    assert converted["bn0.bn.num_batches_tracked"].dtype == torch.int64


def test_classifier_is_left_out(random_state):
    state = random_state(torchvision.models.resnet18().state_dict())
    assert "fc.weight" not in convert_state_dict(state, "torchvision", "timm")
    there = convert_state_dict(state, "torchvision", "detectron2")
    # as detectron2's own converter leaves them: with the classifier in the stem, and the counters
    there |= {"stem.fc.weight": state["fc.weight"], "stem.conv1.norm.num_batches_tracked": torch.tensor(5)}
    assert convert_state_dict(there, "detectron2", "timm")["bn1.num_batches_tracked"] == 5


@pytest.mark.parametrize(
    ("state", "source", "target", "part", "words"),
    [
        ("resnet", "timm", "caffe", "encoder", ["'caffe' is no format", "encoder between pri3d, timm"]),
        ("resnet", "keras", "timm", "encoder", ["'keras' is no format"]),
        ("resnet", "timm", "detectron2", "dense", ["'detectron2' is no format", "dense between pri3d, timm"]),
        ("resnet", "pri3d", "timm", "unet3d", ["'timm' is no format", "unet3d between pri3d, minkowski"]),
        ("resnet", "timm", "pri3d", "head", ["no part 'head'", "encoder, dense, unet3d"]),
        ("resnet", "pri3d", "timm", "encoder", ["0 of 120 tensors", "an encoder, resnet18"]),
        ("resnet", "detectron2", "timm", "encoder", ["0 of 120 tensors", "an encoder, resnet18"]),
        ("strange", "timm", "pri3d", "encoder", ["1 of 121 tensors", "(head_of_another.weight)"]),
        ("twice", "timm", "pri3d", "encoder", ["conv1.weight and encoder.conv1.weight", "remove one"]),
        ("empty", "timm", "pri3d", "encoder", ["0 of 0 tensors"]),
    ],
)
def test_mistakes_are_told(resnet, state, source, target, part, words):
    states = {"resnet": resnet(18), "empty": {}}
    states["strange"] = states["resnet"] | {"head_of_another.weight": torch.zeros(1)}
    states["twice"] = states["resnet"] | {"encoder.conv1.weight": torch.zeros(1)}
    with pytest.raises(WeightsError) as error:
        convert_state_dict(states[state], source, target, part=part)
    for word in words:
        assert word in str(error.value)


def test_nothing_matched_is_never_silent(tmp_path):
    """A ResNet-50 of 320 tensors under `backbone.`, out of the authors' mocov2_to_pri3d.py: theirs loaded 0 of it."""
    state = {f"backbone.{name}": torch.zeros(1) for name in torchvision.models.resnet50().state_dict()}
    assert len(state) == 320
    with pytest.raises(WeightsError, match=r"0 of 320 tensors .* a ResNet under `backbone.`"):
        convert_state_dict(state)
    torch.save(state, tmp_path / "converted.pth")
    with pytest.raises(WeightsError, match=r"converted.pth cannot be converted.* under `backbone.encoder.`"):
        convert_file(tmp_path / "converted.pth", tmp_path / "model.safetensors", "timm", allow_mismatch=True)
    assert not (tmp_path / "model.safetensors").exists()


# reports


def test_keys_and_shapes_are_compared(resnet):
    expected = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(())}
    report = compare_keys({"b": torch.zeros(4), "a": torch.zeros(2), "d": torch.zeros(1)}, expected)
    assert report == KeyReport(matched=("a",), missing=("c",), unexpected=("d",), mismatched=("b",))
    assert not report.fits
    assert report.summary() == "1 matched, 1 missing (c), 1 unexpected (d), 1 of another shape (b)"
    assert compare_keys(expected, expected).fits
    full = torchvision.models.resnet50().state_dict()
    summary = compare_keys(full, resnet(50)).summary()
    assert summary == "318 matched, 0 missing, 2 unexpected (fc.weight, fc.bias)"
    assert (
        KeyReport(("a",), left_out=tuple("wxyz")).summary()
        == "1 matched, 0 missing, 0 unexpected, 4 left out (w, x, y, ...)"
    )


def test_formats_are_told_from_names(resnet, network):
    state = resnet(18)
    assert detect_format(state) == "timm"
    assert detect_format(torchvision.models.resnet18().state_dict()) == "torchvision"
    for name in ("pri3d", "detectron2"):
        assert detect_format(convert_state_dict(state, "timm", name)) == name
    assert detect_format(network.backbone.state_dict()) == "timm"
    assert detect_format(network.backbone3d.state_dict()) == "minkowski"
    assert detect_format(network.state_dict()) == "pri3d"
    with pytest.raises(WeightsError, match=r"none of pri3d, timm, torchvision, detectron2, minkowski"):
        detect_format(torchvision.models.vgg11().state_dict())


def test_state_dicts_are_described(resnet, network):
    for depth in (18, 34, 50, 101):
        state = resnet(depth)
        assert resnet_depth(state) == depth
        assert describe_state_dict(state) == f"an encoder, resnet{depth}"
        there = convert_state_dict(state, "timm", "detectron2")
        assert describe_state_dict(there) == f"a backbone of detectron2's, resnet{depth}"
    assert describe_state_dict(network.backbone.state_dict()) == "a dense model, resunet18"
    assert describe_state_dict(network.backbone3d.state_dict()).startswith("a sparse 3D network")
    assert "checkpoint" in describe_state_dict(network.state_dict())
    whole = {f"backbone.bottom_up.{name}": value for name, value in there.items()}
    assert describe_state_dict(whole).startswith("a whole model of detectron2's")
    assert describe_state_dict({"a.b": torch.zeros(1)}) == "something other than a ResNet (first key 'a.b')"
    assert describe_state_dict({}) == "something other than a ResNet (first key 'none')"


@pytest.mark.parametrize("name", ["minkunet14s", "minkunet14a", pytest.param("minkunet34c", marks=pytest.mark.slow)])
def test_names_of_the_3d_network_are_known(name):
    state = build_sparse_unet(name, 3, 96).state_dict()
    assert set(expected_unet3d(state)) == set(state)
    assert compare_keys(state, expected_unet3d(state)).fits
    del state["block8.0.conv2.kernel"], state["block2.0.downsample.1.bn.bias"]
    report = compare_keys(state, expected_unet3d(state))
    assert set(report.missing) | set(report.mismatched) == {"block8.0.conv2.kernel", "block2.0.downsample.1.bn.bias"}
    with pytest.raises(WeightsError, match="no MinkUNet"):
        expected_unet3d({key: value for key, value in state.items() if not key.startswith("block3.")})
