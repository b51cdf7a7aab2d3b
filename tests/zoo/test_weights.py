import dataclasses
import hashlib
import re

import pytest
from huggingface_hub import try_to_load_from_cache

from pri3d_zoo import create_model, get_weights, list_models, list_pretrained, weights
from pri3d_zoo.hub import find_weights
from pri3d_zoo.weights import BUNDLED, WEIGHT_FILE, Weights, WeightsError

ROW = Weights(
    model="resnet18_pri3d_joint",
    tag="rooms",
    location="someone/resnet18_pri3d_joint.rooms@" + "a" * 40,
    sha256="0" * 64,
    size=10,
    licence="CC0-1.0",
    terms="none",
    data="100 rooms",
    recipe="demo",
    command="pri3d-train pretrain",
    metrics={"probe": 0.5},
    protocol="10 rooms, one seed",
)
PLAN = dataclasses.replace(ROW, tag="plan", location=None, sha256=None, size=None)


@pytest.mark.parametrize("row", weights.TABLE, ids=lambda row: row.name)
def test_every_row_tells_the_truth(row):
    assert row.model in list_models()
    assert re.fullmatch(r"[a-z0-9_]+", row.tag)
    assert weights.find_row(row.model, row.tag) is row, "a second row of this name"
    for field in ("licence", "terms", "data", "recipe", "command"):
        assert getattr(row, field), f"{field} is empty"
    assert row.protocol or not row.metrics, "metrics without their protocol"
    if row.location is None:
        assert row.name not in list_pretrained()
        return
    repository, _, commit = row.location.partition("@")
    if row.location != BUNDLED and not isinstance(
        try_to_load_from_cache(repository, WEIGHT_FILE, revision=commit), str
    ):
        pytest.skip(f"{row.location} is not in the cache, and tests do not ask the network")
    assert row.name in list_pretrained()
    file = find_weights(row.model, row.tag)
    assert (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size) == (row.sha256, row.size)
    create_model(row.name)  # strict: every tensor, and no other


def test_what_travels_with_the_package_is_all_in_the_table_and_not_much():
    folders = {path.name for path in weights.BUNDLED_FOLDER.iterdir()}
    assert folders == {row.name for row in weights.TABLE if row.location == BUNDLED}
    assert sum(file.stat().st_size for file in weights.BUNDLED_FOLDER.rglob("*")) <= 80e6


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
    with pytest.raises(
        WeightsError, match=r"published as resunet18_pri3d_veiw; there are resunet18_pri3d_view\.rooms;"
    ):
        get_weights("resunet18_pri3d_veiw")


def test_what_cannot_be_had_is_not_listed(monkeypatch, tmp_path):
    bundled = dataclasses.replace(ROW, tag="bundled", location=BUNDLED)
    monkeypatch.setattr(weights, "TABLE", (PLAN, bundled, ROW))
    monkeypatch.setattr(weights, "BUNDLED_FOLDER", tmp_path)
    assert list_pretrained() == [ROW.name]
    (tmp_path / bundled.name).mkdir()
    (tmp_path / bundled.name / WEIGHT_FILE).touch()
    assert list_pretrained() == [bundled.name, ROW.name]
    assert get_weights(PLAN.name) is PLAN
    assert get_weights(ROW.model) is bundled  # a plan is no default, wherever it stands


@pytest.mark.parametrize(
    "fault", [{"location": "someone/x@main"}, {"location": "someone/x"}, {"sha256": "abc"}, {"size": None}]
)
def test_a_row_is_pinned_to_a_commit_and_a_hash(fault):
    with pytest.raises(ValueError, match=re.escape(str(next(iter(fault.values())) or "given together"))):
        dataclasses.replace(ROW, **fault)


def test_rows_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.tag = "flats"
