import pytest

from pri3d_zoo import hub, weights
from pri3d_zoo.cli import main
from pri3d_zoo.weights import Weights


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: no published weights, nothing bundled, no folder named."""
    monkeypatch.setattr(weights, "TABLE", ())
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


def test_list_shows_models_sizes_and_weights(capsys, monkeypatch, tmp_path):
    assert main(["list", "resnet18*"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "parameters", "weights"]
    assert [line.split() for line in lines] == [
        [f"resnet18_pri3d_{objective}", "11.2", "M", "none"] for objective in ("geo", "joint", "view")
    ]
    folder = tmp_path / "resnet18_pri3d_view.rooms"
    folder.mkdir()
    (folder / "model.safetensors").touch()
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    assert main(["list", "resnet18_pri3d_view"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("rooms")


def test_list_shows_all(capsys):
    assert main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 25


def test_info(capsys, monkeypatch):
    assert main(["info", "resunet50_pri3d_joint"]) == 0
    out = capsys.readouterr().out
    for part in ("175.3 M", "128 at 1/2", "3x240x320", "none can be had yet", "pri3d-train export"):
        assert part in out
    published = Weights(
        model="resnet18_pri3d_joint",
        tag="rooms",
        location="someone/weights@" + "a" * 40,
        sha256="0" * 64,
        size=1,
        licence="CC0-1.0",
        data="100 rooms",
        recipe="demo",
        metrics={"probe": 0.5},
    )
    monkeypatch.setattr(weights, "TABLE", (published,))
    assert main(["info", "resnet18_pri3d_joint.rooms"]) == 0
    out = capsys.readouterr().out
    for part in ("64 at 1/4", "weights .rooms", published.location, "100 rooms", "CC0-1.0", "'probe': 0.5"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "resnet50_pri3d_jiont"], "did you mean resnet50_pri3d_joint"),
        (["info", "resnet50_pri3d_joint.rooms"], "tags of resnet50_pri3d_joint: none"),
        (["list", "vgg*"], "no model is called like 'vgg*'"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, message):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pri3d-zoo: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
