"""Key maps of weights, for every ResNet and any selection of its tensors."""

from functools import cache

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from pri3d_zoo.convert import FORMATS, convert_state_dict, detect_format, translate
from pri3d_zoo.resunet import build_resunet
from pri3d_zoo.weights import WeightsError

quickly = settings(derandomize=True, deadline=None, max_examples=40)
DEPTHS = (18, 34, 50, 101)


@cache
def resnet(depth: int) -> dict[str, torch.Tensor]:
    """timm's names and shapes, without data."""
    with torch.device("meta"):
        return timm.create_model(f"resnet{depth}", num_classes=0).state_dict()


@st.composite
def selections(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Some tensors of some ResNet, in any order. A running variance comes with its counter, as it does in a model."""
    whole = resnet(draw(st.sampled_from(DEPTHS)))
    names = draw(st.lists(st.sampled_from(list(whole)), min_size=1, max_size=30, unique=True))
    counters = [name.removesuffix("running_var") + "num_batches_tracked" for name in names if "running_var" in name]
    return {name: whole[name] for name in dict.fromkeys(names + counters)}


def without_counters(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state_dict.items() if not name.endswith("num_batches_tracked")}


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    """The same names with the very same tensors."""
    return found.keys() == wanted.keys() and all(found[name] is tensor for name, tensor in wanted.items())


@quickly
@given(selections(), st.lists(st.sampled_from(FORMATS), min_size=1, max_size=4))
def test_any_way_round_comes_back(tensors: dict[str, torch.Tensor], formats: list[str]) -> None:
    current, source = tensors, "timm"
    for target in [*formats, "timm"]:
        kept = without_counters(current)
        if target == source or kept:  # of counters alone nothing is left in detectron2's names
            current, source = convert_state_dict(current, source, target), target
            assert same_tensors(current, kept)
    assert same(without_counters(current), without_counters(tensors))


def same_tensors(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    ids = {id(tensor) for tensor in without_counters(found).values()}
    return ids == {id(tensor) for tensor in wanted.values()}


@pytest.mark.parametrize("depth", DEPTHS)
def test_torchvision_has_the_names_that_we_give_it(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")().state_dict()
    ours = convert_state_dict(resnet(depth), "timm", "torchvision")
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items() if not name.startswith("fc.")
    }


@quickly
@given(selections(), st.text(max_size=40), st.sampled_from(FORMATS))
def test_a_name_of_nothing_is_refused(tensors: dict[str, torch.Tensor], name: str, source: str) -> None:
    named = convert_state_dict(tensors, "timm", source) if without_counters(tensors) else {}
    left_out = ("fc.", "stem.fc.", "decoder.", "head.", "encoder.", "backbone", "w2d.", "w3d.", "headnet.", "headloss.")
    if not named or name.startswith((*left_out, "conv", "bn", "layer", "stem", "res")):
        return
    with pytest.raises(WeightsError, match=r"1 of .* tensors have no name") as error:
        convert_state_dict(named | {name: torch.empty(0)}, source, "timm")
    assert str(error.value).isprintable()


@quickly
@given(selections(), st.data())
def test_a_mistyped_name_is_never_taken_for_another(tensors: dict[str, torch.Tensor], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(tensors)))
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.characters(codec="ascii", exclude_characters=name[place]))
    wrong = name[:place] + letter + name[place + 1 :]
    changed = {wrong if key == name else key: tensor for key, tensor in tensors.items()}
    if wrong in tensors:
        return
    try:
        found = translate(changed, "timm", "timm", part="encoder").tensors
    except WeightsError:
        return
    # `layer2.0` for `layer1.0` is a name, too: then it stays what was written
    assert set(without_counters(found)) <= set(changed)


@quickly
@given(selections())
def test_the_format_is_told_by_the_names(tensors: dict[str, torch.Tensor]) -> None:
    whole = {name: resnet(18)[name] for name in ("conv1.weight", "layer1.0.conv1.weight")} | tensors
    for target in FORMATS:
        found = detect_format(convert_state_dict(whole, "timm", target))
        assert found == ("timm" if target == "torchvision" else target)  # they differ in nothing but the classifier


@pytest.mark.parametrize("depth", [18, 50])
def test_dense_models_come_back(depth: int) -> None:
    with torch.device("meta"):
        whole = build_resunet(f"resnet{depth}").state_dict()
    there = convert_state_dict(whole, "timm", "pri3d", part="dense")
    assert same(convert_state_dict(there, "pri3d", "timm", part="dense"), whole)
