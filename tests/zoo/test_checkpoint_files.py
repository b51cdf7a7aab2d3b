"""Files that are no weights, broken, or hostile: refused by name, and nothing in them is run."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pri3d_zoo.checkpoint_files import read_state_dict
from pri3d_zoo.convert import convert_state_dict
from pri3d_zoo.convert_files import convert_file, save_detectron2
from pri3d_zoo.weights import WeightsError


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
def test_pickles_of_arrays_are_read(resnet, random_state, same, tmp_path, protocol, old):
    state = convert_state_dict(random_state(resnet(18)), "timm", "detectron2")
    arrays = {"model": {name: value.numpy() for name, value in state.items()}, "__author__": "torchvision"}
    data = pickle.dumps(arrays, protocol=protocol)
    if old and protocol < 4:  # where NumPy 1 has them; from protocol 4 on names carry their lengths
        data = data.replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "r18.pkl").write_bytes(data)
    assert same(read_state_dict(tmp_path / "r18.pkl")[0], state)


def test_files_that_are_no_weights(resnet, random_state, tmp_path):
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


def test_tensors_that_share_their_bytes(resnet, random_state, same, tmp_path):
    """Tied weights are written as often as they are named; a gigabyte under a thousand names is not."""
    state = random_state(resnet(18))
    state["layer1.0.bn1.weight"] = state["bn1.weight"]
    torch.save(state, tmp_path / "tied.pth")
    convert_file(tmp_path / "tied.pth", tmp_path / "tied.safetensors", "timm", model="resnet18")
    assert same(load_file(tmp_path / "tied.safetensors"), state)
    torch.save({f"layer1.{n}.conv1.weight": state["layer4.0.conv2.weight"] for n in range(9)}, tmp_path / "many.pth")
    with pytest.raises(WeightsError, match=r"many.pth is refused: many of its tensors are the same bytes"):
        convert_file(tmp_path / "many.pth", tmp_path / "out.safetensors", "timm", allow_mismatch=True)
