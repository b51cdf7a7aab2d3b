import dataclasses
import re

import pytest

from pri3d_zoo import get_weights, list_models, list_pretrained, weights
from pri3d_zoo.weights import Weights, WeightsError

ROW = Weights(
    model="resnet18_pri3d_joint",
    tag="rooms",
    location="someone/resnet18_pri3d_joint.rooms@" + "a" * 40,
    sha256="0" * 64,
    size=10,
    licence="CC0-1.0",
    data="100 rooms",
    recipe="demo",
    metrics={"probe": 0.5},
)


def test_nothing_is_listed_that_cannot_be_had():
    names = [row.name for row in weights.TABLE]
    assert len(set(names)) == len(names)
    for row in weights.TABLE:
        assert row.model in list_models()
        assert re.fullmatch(r"[a-z0-9_]+", row.tag)
        assert row.size > 0
    assert list_pretrained() == sorted(names)


def test_an_empty_table_says_so(monkeypatch):
    monkeypatch.setattr(weights, "TABLE", ())
    assert list_pretrained() == []
    with pytest.raises(
        WeightsError, match=r"as resnet50_pri3d_joint; none are published at all yet; .*checkpoint_path"
    ):
        get_weights("resnet50_pri3d_joint")


def test_rows_are_found_by_model_and_by_tag(monkeypatch):
    later, other = dataclasses.replace(ROW, tag="flats"), dataclasses.replace(ROW, model="resunet18_pri3d_view")
    monkeypatch.setattr(weights, "TABLE", (ROW, later, other))
    assert get_weights("resnet18_pri3d_joint") is ROW
    assert get_weights("resnet18_pri3d_joint.flats") is later
    assert list_pretrained("resnet18_pri3d_joint") == ["resnet18_pri3d_joint.flats", "resnet18_pri3d_joint.rooms"]
    assert list_pretrained("*.rooms") == ["resnet18_pri3d_joint.rooms", "resunet18_pri3d_view.rooms"]
    with pytest.raises(WeightsError, match=r"joint\.cellars; there are resnet18_pri3d_joint\.rooms, resnet18"):
        get_weights("resnet18_pri3d_joint.cellars")


@pytest.mark.parametrize("fault", [{"location": "someone/x@main"}, {"location": "someone/x"}, {"sha256": "abc"}])
def test_a_row_is_pinned_to_a_commit_and_a_hash(fault):
    with pytest.raises(ValueError, match=re.escape(next(iter(fault.values())))):
        dataclasses.replace(ROW, **fault)


def test_rows_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.tag = "flats"
