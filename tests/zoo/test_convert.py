"""Names of weights and the files that they come in, against torchvision, detectron2's names and made-up checkpoints."""

import copy
import itertools
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor

import pri3d_zoo
from pri3d_zoo.checkpoint_files import read_state_dict
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
from pri3d_zoo.convert_files import convert_file, save_detectron2
from pri3d_zoo.training.networks.sparse import build_sparse_unet
from pri3d_zoo.training.networks.two_branch import TwoBranch
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


def random_state(names: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Other values everywhere, so that no two tensors of a shape are alike."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) + 0.1 if value.is_floating_point() else torch.tensor(7)
        for name, value in names.items()
    }


def resnet(depth: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        return timm.create_model(f"resnet{depth}", num_classes=0).state_dict()


@pytest.fixture(scope="module")
def network() -> TwoBranch:
    torch.manual_seed(0)
    return TwoBranch("resnet18", "minkunet14s")


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory) -> Path:
    """A file as the authors' `save_checkpoint` writes it (`pretrain/pri3d/common/pretrain.py`), depth head and all."""
    model = copy.deepcopy(network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])  # its state has a Counter
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    scheduler.step()
    state = dict(network.state_dict())
    state |= {"headnet.weight": torch.rand(1, 32, 1, 1), "headnet.bias": torch.rand(1)}
    state["headloss.get_gradient.edge_conv.weight"] = torch.rand(2, 1, 3, 3)
    path = tmp_path_factory.mktemp("authors") / "checkpoint20.pth"
    torch.save(
        {"step": 20, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "model": state}, path
    )
    return path


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


# names


@pytest.mark.parametrize(
    ("depth", "table", "count"),
    [(18, DETECTRON2_NAMES, 100), (50, DETECTRON2_NAMES | DETECTRON2_NAMES_OF_R50, 265)],
)
def test_detectron2_has_its_own_names(depth, table, count):
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
def test_torchvision_computes_the_same(depth):
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
def test_round_trips_of_encoders_are_identities(source, target):
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


def test_round_trips_of_the_other_parts_are_identities(network):
    state = network.state_dict()
    for part, middle, module in (("dense", "timm", network.backbone), ("unet3d", "minkowski", network.backbone3d)):
        there = convert_state_dict(state, "pri3d", middle, part=part)
        assert same(there, module.state_dict())
        assert list(there) == list(module.state_dict())
        back = convert_state_dict(there, middle, "pri3d", part=part)
        assert all(back[name] is state[name] for name in back)
        assert same(there, convert_state_dict(back, "pri3d", middle, part=part))


def test_encoder_of_a_checkpoint_and_of_a_dense_model(network):
    expected = network.backbone.encoder.state_dict()
    assert same(convert_state_dict(network.state_dict()), expected)
    assert same(convert_state_dict(network.backbone.state_dict(), "timm", "torchvision"), expected)


def test_counters_that_the_source_never_had_are_put_where_they_belong(network):
    state = network.state_dict()
    converted = convert_state_dict(without_counters(state), "pri3d", "minkowski", part="unet3d")
    assert list(converted) == list(network.backbone3d.state_dict())
    assert converted["bn0.bn.num_batches_tracked"].dtype == torch.int64


def test_classifier_is_left_out():
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
def test_mistakes_are_told(state, source, target, part, words):
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


def test_keys_and_shapes_are_compared():
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


def test_formats_are_told_from_names(network):
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


def test_state_dicts_are_described(network):
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


# files


def test_authors_checkpoint_is_read(checkpoint, network):
    tensors, found = read_state_dict(checkpoint)
    assert found == "pri3d"
    assert same({name: tensors[name] for name in network.state_dict()}, dict(network.state_dict()))


def test_the_tag_is_all_that_follows_the_dot(checkpoint, network, tmp_path, monkeypatch):
    convert_file(checkpoint, tmp_path / "resnet18_pri3d_joint.scannet.half", "timm")
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    loaded = pri3d_zoo.create_model("resnet18_pri3d_joint.scannet.half")
    assert same(loaded.state_dict(), network.backbone.encoder.state_dict())


@pytest.mark.parametrize("model", [None, "resnet18", "resnet18_pri3d_geo"])
def test_checkpoint_becomes_a_weight_folder_that_loads(checkpoint, network, tmp_path, model):
    folder = tmp_path / "made" / "resnet18_pri3d_joint.scannet"
    report = convert_file(checkpoint, folder, "timm", model=model)
    assert report.fits
    assert len(report.matched) == 120
    assert "headloss.get_gradient.edge_conv.weight" in report.left_out
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    assert "checkpoint20.pth" in card
    assert "license: other" in card
    assert report.summary() in card
    assert re.search("`[0-9a-f]{64}`", card)
    for name in ("resnet18_pri3d_joint.scannet", "resnet18_pri3d_view"):
        loaded = pri3d_zoo.create_model(name, checkpoint_path=folder)
        assert same(loaded.state_dict(), network.backbone.encoder.state_dict())
    assert json.loads((folder / "config.json").read_text())["architecture"] == "resnet18"
    with pytest.raises(WeightsError, match="exists already"):
        convert_file(checkpoint, folder, "timm")


def test_dense_folder_loads_and_goes_back(checkpoint, network, tmp_path):
    folder = tmp_path / "dense"
    report = convert_file(checkpoint, folder, "timm", part="dense")
    assert report.fits
    assert "backbone3d.conv0p1s1.kernel" in report.left_out
    loaded = pri3d_zoo.create_model("resunet18_pri3d_joint", checkpoint_path=folder)
    assert same(loaded.state_dict(), network.backbone.state_dict())
    convert_file(folder / "model.safetensors", tmp_path / "back.pth", "pri3d")  # the whole of it, unasked
    state = torch.load(tmp_path / "back.pth", weights_only=True)["model"]  # where the authors' finetune.py looks
    assert set(state) == {name for name in network.state_dict() if name.startswith("backbone.")}
    convert_file(folder / "model.safetensors", tmp_path / "encoder.pth", "torchvision")
    assert same(read_state_dict(tmp_path / "encoder.pth")[0], network.backbone.encoder.state_dict())


def test_3d_network_goes_out_and_back(checkpoint, network, tmp_path):
    report = convert_file(checkpoint, tmp_path / "unet.safetensors", "minkowski")
    assert report.fits
    assert same(
        load_file(tmp_path / "unet.safetensors"),
        network.backbone3d.state_dict(),
    )
    assert convert_file(tmp_path / "unet.safetensors", tmp_path / "back.pth", "pri3d").fits
    state, found = read_state_dict(tmp_path / "back.pth")
    assert found == "pri3d"
    assert same(
        convert_state_dict(state, "pri3d", "minkowski", part="unet3d"),
        network.backbone3d.state_dict(),
    )


@pytest.mark.slow
def test_full_size_checkpoint(tmp_path):
    torch.manual_seed(0)
    network = TwoBranch("resnet50", "minkunet34c")
    torch.save({"model": network.state_dict()}, tmp_path / "checkpoint.pth")
    assert (
        convert_file(tmp_path / "checkpoint.pth", tmp_path / "r50.pkl", "detectron2")
        .summary()
        .startswith("265 matched, 0 missing, 0 unexpected, ")
    )
    assert len(convert_file(tmp_path / "checkpoint.pth", tmp_path / "unet.pth", "minkowski").matched) == 374


SUFFIX = {"pri3d": "pth", "timm": "safetensors", "torchvision": "pth", "detectron2": "pkl"}


def test_a_round_of_files_through_all_formats(tmp_path):
    """Each is written and read once; that each becomes each other is shown of state dicts."""
    state = random_state(resnet(18))
    state = {name: value * 0 if name.endswith("tracked") else value for name, value in state.items()}
    start = file = tmp_path / "start.safetensors"
    save_file(state, start)
    assert set(SUFFIX) == set(FORMATS)
    for number, target in enumerate((*FORMATS, "timm")):
        there = tmp_path / f"{number}.{SUFFIX[target]}"
        assert convert_file(file, there, target).fits
        file = there
    assert same(read_state_dict(start)[0], read_state_dict(file)[0])
    assert {path.suffix for path in tmp_path.iterdir()} <= {".pth", ".safetensors", ".pkl"}  # nothing temporary


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_detectron2_files_are_what_its_checkpointer_takes(tmp_path, suffix):
    state = convert_state_dict(random_state(resnet(18)), "timm", "detectron2")
    state["stem.conv1.weight"] = state["stem.conv1.weight"].contiguous(memory_format=torch.channels_last)
    path = tmp_path / f"r18.{suffix}"
    save_detectron2(state, path)
    if suffix == "pkl":
        content = pickle.loads(path.read_bytes(), encoding="latin1")  # as DetectionCheckpointer._load_file does
        assert all(isinstance(value, np.ndarray) for value in content["model"].values())
    else:
        content = torch.load(path, weights_only=True)
    assert content.keys() == {"model", "__author__", "matching_heuristics"}
    assert content["matching_heuristics"] is True  # or `backbone.bottom_up.stem.*` of a model would stay as it was
    tensors, found = read_state_dict(path)
    assert found == "detectron2"
    assert same(tensors, state)


def test_prefix_of_data_parallel_is_taken_off(tmp_path):
    state = random_state(torchvision.models.resnet18().state_dict())
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "m.pth"
    )
    tensors, found = read_state_dict(tmp_path / "m.pth")
    assert found == "torchvision"
    assert same(tensors, state)
    report = convert_file(tmp_path / "m.pth", tmp_path / "m.safetensors", "timm")
    assert report.summary() == "120 matched, 0 missing, 0 unexpected, 2 left out (fc.weight, fc.bias)"


def test_mismatch_fails_unless_allowed(tmp_path):
    state = random_state(resnet(18)) | {"layer1.0.se.weight": torch.zeros(1), "bn1.bias": torch.zeros(3)}
    del state["layer4.1.bn2.bias"]
    save_file(state, tmp_path / "odd.safetensors")
    out = tmp_path / "odd.pkl"
    with pytest.raises(WeightsError) as error:
        convert_file(tmp_path / "odd.safetensors", out, "detectron2")
    for word in (
        "odd.safetensors does not fit resnet18 and nothing was written: 98 matched, ",
        "1 missing (res5.1.conv2.norm.bias)",
        "1 unexpected (layer1.0.se.weight)",
        "1 of another shape (stem.conv1.norm.bias)",
    ):
        assert word in str(error.value)
    assert not out.exists()
    report = convert_file(tmp_path / "odd.safetensors", out, "detectron2", allow_mismatch=True)
    assert not report.fits
    assert len(read_state_dict(out)[0]) == 99


def test_another_architecture_than_named(tmp_path):
    save_file(random_state(resnet(18)), tmp_path / "r18.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit resnet50 and nothing was written: .* resnet18"):
        convert_file(tmp_path / "r18.safetensors", tmp_path / "r50.pth", "torchvision", model="resnet50_pri3d_joint")
    with pytest.raises(WeightsError, match="there is no model 'resnot'"):
        convert_file(tmp_path / "r18.safetensors", tmp_path / "r50.pth", "torchvision", model="resnot")
    state = {name: value for name, value in random_state(resnet(18)).items() if not name.startswith("layer4.1.")}
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match="its blocks are of no ResNet that timm has"):
        convert_file(tmp_path / "cut.safetensors", tmp_path / "r18.pth", "torchvision")


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("out.pth", "timm", ".safetensors or a folder"),
        ("out", "detectron2", ".pkl or .pth"),
        ("out.pkl", "torchvision", ".pth or .safetensors"),
        ("out.pth", "caffe", "the formats are pri3d, timm, torchvision, detectron2, minkowski"),
    ],
)
def test_destinations_have_the_suffix_of_the_format(tmp_path, name, target, words):
    with pytest.raises(WeightsError, match=re.escape(words)):
        convert_file(tmp_path / "in.pth", tmp_path / name, target)


class Malice:
    """Unpickled, it leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["evil.pkl", "evil.pth", "evil.pt"])
def test_pickles_that_run_code_are_refused(tmp_path, name):
    marker, path = tmp_path / "marker", tmp_path / name
    content = {"model": {"stem.conv1.weight": np.zeros(1), "a": Malice(marker)}}
    if name.endswith("pkl"):
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save({"model": Malice(marker)}, path, _use_new_zipfile_serialization=name.endswith("pth"))
    with pytest.raises(WeightsError) as error:
        read_state_dict(path)
    assert f"{path} is refused: it is a pickle that wants to call {os.system.__module__}.system" in str(error.value)
    assert "weights_only" not in str(error.value)  # torch advises to switch the protection off
    assert not marker.exists()


@pytest.mark.parametrize(
    "module", ["builtins.eval", "numpy.load", "numpy.core.multiarray.scalar", "collections.Counter"]
)
def test_arrays_are_all_that_pickles_may_make(tmp_path, module):
    holder, _, function = module.rpartition(".")
    (tmp_path / "a.pkl").write_bytes(f"c{holder}\n{function}\n.".encode())
    with pytest.raises(WeightsError, match=f"wants to call {re.escape(module)}"):
        read_state_dict(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("old", [False, True])
def test_pickles_of_arrays_are_read(tmp_path, protocol, old):
    state = convert_state_dict(random_state(resnet(18)), "timm", "detectron2")
    arrays = {"model": {name: value.numpy() for name, value in state.items()}, "__author__": "torchvision"}
    data = pickle.dumps(arrays, protocol=protocol)
    if old and protocol < 4:  # where NumPy 1 has them; from protocol 4 on names carry their lengths
        data = data.replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "r18.pkl").write_bytes(data)
    assert same(read_state_dict(tmp_path / "r18.pkl")[0], state)


def test_files_that_are_no_weights(tmp_path):
    torch.save(random_state(resnet(18)), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    for name, content, words in (
        ("cut.pth", data[: len(data) // 2], "broken (RuntimeError: PytorchStreamReader"),
        ("page.pth", b"<!DOCTYPE html>\n<html>", "it is a web page"),
        ("page.pkl", b"  <html>", "it is a web page"),
        ("page.safetensors", b"<html>" * 9, "it is a web page"),
        ("empty.pth", b"", "broken (EOFError)"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError) as error:
            read_state_dict(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name} is not weights, or broken (")
        assert words in str(error.value)
        assert "weights_only" not in str(error.value)
    for content, words in (
        ([1, 2], "holds no tensors but list"),
        ({}, "holds no tensors but dict"),
        ({"step": 3, "a": torch.zeros(1)}, "'step' in it is int"),
        ({"model": {"a": 1}, "state_dict": {"a": 2}}, "several state dicts, model and state_dict"),
        ({"a.b": torch.zeros(1)}, "something other than a ResNet (first key 'a.b')"),
    ):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=re.escape(words)):
            read_state_dict(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is not a file"):
        read_state_dict(tmp_path / "nowhere.pth")


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pickle, "dump", fail)
    with pytest.raises(OSError, match="no space"):
        save_detectron2({"stem.conv1.weight": torch.zeros(1)}, tmp_path / "r18.pkl")
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_calls_its_tensors_is_shown_as_it_is_spelt(tmp_path):
    with pytest.raises(WeightsError, match="1 of 2 tensors") as error:
        convert_state_dict({"conv1.weight": torch.zeros(1), "a\n\x1b[2J": torch.zeros(1)}, "timm", "pri3d")
    assert r"'a\n\x1b[2J'" in str(error.value)
    (tmp_path / "calls.pkl").write_bytes(b"cos\x1b[2J\nsystem\n.")
    with pytest.raises(WeightsError, match="wants to call") as error:
        read_state_dict(tmp_path / "calls.pkl")
    assert str(error.value).isprintable()


def test_arrays_that_torch_has_not_are_refused(tmp_path):
    for array in (np.array(["a"]), np.array([1], "M8[s]"), np.array([1], "f4,f4")):
        (tmp_path / "text.pkl").write_bytes(pickle.dumps({"conv1.weight": array}, protocol=4))
        with pytest.raises(WeightsError, match=r"'conv1\.weight' in it is an array of"):
            read_state_dict(tmp_path / "text.pkl")


@pytest.mark.parametrize("kind", ["repeated", "without data", "sparse"])
def test_tensors_that_claim_more_than_they_hold(tmp_path, kind):
    tensor = {
        "repeated": torch.zeros(1).expand(10**12),
        "without data": torch.empty(3, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
    }[kind]
    torch.save({"conv0p1s1.kernel": tensor}, tmp_path / "claims.pth")
    with pytest.raises(WeightsError, match=r"claims.pth is refused: 'conv0p1s1.kernel' in it is sparse"):
        convert_file(tmp_path / "claims.pth", tmp_path / "out.pth", "pri3d", allow_mismatch=True)
    assert not (tmp_path / "out.pth").exists()
