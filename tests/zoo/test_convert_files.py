"""Files of weights in every format, against made-up checkpoints and what detectron2 and timm take."""

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

import pri3d_zoo
from pri3d_zoo.checkpoint_files import read_state_dict
from pri3d_zoo.convert import FORMATS, convert_state_dict
from pri3d_zoo.convert_files import convert_file, save_detectron2
from pri3d_zoo.training.networks.two_branch import TwoBranch
from pri3d_zoo.weights import WeightsError


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


def test_authors_checkpoint_is_read(same, checkpoint, network):
    tensors, found = read_state_dict(checkpoint)
    assert found == "pri3d"
    assert same({name: tensors[name] for name in network.state_dict()}, dict(network.state_dict()))


def test_the_tag_is_all_that_follows_the_dot(same, checkpoint, network, tmp_path, monkeypatch):
    convert_file(checkpoint, tmp_path / "resnet18_pri3d_joint.scannet.half", "timm")
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    loaded = pri3d_zoo.create_model("resnet18_pri3d_joint.scannet.half")
    assert same(loaded.state_dict(), network.backbone.encoder.state_dict())


@pytest.mark.parametrize("model", [None, "resnet18", "resnet18_pri3d_geo"])
def test_checkpoint_becomes_a_weight_folder_that_loads(same, checkpoint, network, tmp_path, model):
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


def test_dense_folder_loads_and_goes_back(same, checkpoint, network, tmp_path):
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


def test_3d_network_goes_out_and_back(same, checkpoint, network, tmp_path):
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


def test_a_round_of_files_through_all_formats(resnet, random_state, same, tmp_path):
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
def test_detectron2_files_are_what_its_checkpointer_takes(resnet, random_state, same, tmp_path, suffix):
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


def test_prefix_of_data_parallel_is_taken_off(random_state, same, tmp_path):
    state = random_state(torchvision.models.resnet18().state_dict())
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "m.pth"
    )
    tensors, found = read_state_dict(tmp_path / "m.pth")
    assert found == "torchvision"
    assert same(tensors, state)
    report = convert_file(tmp_path / "m.pth", tmp_path / "m.safetensors", "timm")
    assert report.summary() == "120 matched, 0 missing, 0 unexpected, 2 left out (fc.weight, fc.bias)"


def test_mismatch_fails_unless_allowed(resnet, random_state, tmp_path):
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


def test_another_architecture_than_named(resnet, random_state, tmp_path):
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
