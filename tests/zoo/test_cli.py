import json
import re

import pytest
import torch
from PIL import Image

from pri3d_zoo import build_resunet, hub, weights
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
    assert header.split() == ["model", "tag", "parameters", "size", "licence", "best", "metric"]
    assert [line.split() for line in lines] == [
        [f"resnet18_pri3d_{objective}", "-", "11.2", "M", "-", "-", "-"] for objective in ("geo", "joint", "view")
    ]
    folder = tmp_path / "resnet18_pri3d_view.rooms"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(2_500_000))
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    assert main(["list", "resnet18_pri3d_view"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == ["resnet18_pri3d_view", "rooms", "11.2", "M", "2.5", "MB", "see", "its", "card", "-"]


PUBLISHED = Weights(
    model="resnet18_pri3d_joint",
    tag="rooms",
    location="someone/weights@" + "a" * 40,
    sha256="0" * 64,
    size=44_700_000,
    licence="CC0-1.0",
    terms="none",
    data="100 rooms",
    recipe="demo",
    command="pri3d-train pretrain --recipe demo",
    metrics={"probe": 0.5},
    protocol="30 rooms",
)


def test_list_shows_what_the_table_says(capsys, monkeypatch):
    monkeypatch.setattr(weights, "TABLE", (PUBLISHED,))
    assert main(["list", "resnet18_pri3d_joint"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[1:] == ["rooms", "11.2", "M", "44.7", "MB", "CC0-1.0", "0.5", "probe"]


def test_list_shows_all(capsys):
    assert main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 25


def test_info(capsys, monkeypatch):
    assert main(["info", "resunet50_pri3d_joint"]) == 0
    out = capsys.readouterr().out
    for part in ("175.3 M", "128 at 1/2", "3x240x320", "none can be had yet", "pri3d-train export"):
        assert part in out
    monkeypatch.setattr(weights, "TABLE", (PUBLISHED,))
    assert main(["info", "resnet18_pri3d_joint.rooms"]) == 0
    out = capsys.readouterr().out
    for part in ("64 at 1/4", "weights .rooms", PUBLISHED.location, "100 rooms", "CC0-1.0", "'probe': 0.5", "30 rooms"):
        assert part in out


@pytest.fixture
def checkpoint(tmp_path):
    """A pre-training checkpoint as the authors save it, without its 3D half."""
    model = {f"backbone.{key}": value for key, value in build_resunet("resnet18").state_dict().items()}
    torch.save({"step": 1, "model": model}, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth"


def test_a_checkpoint_of_the_authors_becomes_a_picture(capsys, monkeypatch, tmp_path, checkpoint):
    folder = tmp_path / "dense"
    assert main(["convert", str(checkpoint), str(folder), "--to", "timm", "--part", "dense"]) == 0
    assert "matched, 0 missing, 0 unexpected" in capsys.readouterr().out
    images = [tmp_path / f"{i}.png" for i in range(2)]
    for i, image in enumerate(images):
        Image.effect_mandelbrot((160, 120), (-2 + i / 10, -1.5, 1, 1.5), 20).convert("RGB").save(image)
    arguments = ["features", "resunet18_pri3d_joint", *map(str, images), "--weights", str(folder)]
    assert main([*arguments, "--out", str(tmp_path / "out.png"), "--pixel", "30", "40"]) == 0
    assert str(tmp_path / "out.png") in capsys.readouterr().out
    assert Image.open(tmp_path / "out.png").width > 160
    # the same as a page: beside random weights if there is nothing else to compare with
    page = tmp_path / "page.html"
    arguments += ["--html", str(page)]
    assert main([*arguments, "--out", str(tmp_path / "again.png"), "--pixel", "30", "40"]) == 0
    picture, said = capsys.readouterr().out.splitlines()
    assert picture.startswith(str(tmp_path / "again.png"))
    assert said.startswith(f"{page}: resunet18_pri3d_joint, dense beside random weights of the same network, ")
    first, second = weights_of(page)
    assert first["maps"] != second["maps"]
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    # beside the weights of a file, and of a name
    file = folder / "model.safetensors"
    assert main([*arguments, "--beside", str(file)]) == 0
    assert "dense beside resunet18_pri3d_joint, model.safetensors" in capsys.readouterr().out
    assert [x["maps"] for x in weights_of(page)] == [first["maps"]] * 2
    folder.rename(tmp_path / "resunet18_pri3d_joint.converted")
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    named = ["features", "resunet18_pri3d_joint.converted", *map(str, images), "--html", str(page)]
    assert main([*named, "--beside", "resunet18_pri3d_joint.other"]) == 1
    assert "resunet18_pri3d_joint.other" in capsys.readouterr().err
    assert main([*named, "--beside", "resunet18_pri3d_joint.converted"]) == 0
    assert [x["name"] for x in weights_of(page)] == [named[1], f"{named[1]} ({named[1]})"]
    capsys.readouterr()
    assert main([*named, "--beside", "resunet18_pri3d_joint"]) == 0
    assert "resunet18_pri3d_joint.converted beside resunet18_pri3d_joint, " in capsys.readouterr().out


def weights_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])["weights"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "resnet50_pri3d_jiont"], "did you mean resnet50_pri3d_joint"),
        (["info", "resnet50_pri3d_joint.rooms"], "tags of resnet50_pri3d_joint: none"),
        (["list", "vgg*"], "no model is called like 'vgg*'"),
        (["convert", "nowhere.pth", "there", "--to", "timm"], "nowhere.pth"),
        (["features", "resnet18_pri3d_joint", "a.jpg", "--out", "b.jpg"], "no weights for resnet18_pri3d_joint"),
        (["features", "resnet18_pri3d_joint", "a.jpg"], "give --out FILE for a picture, --html FILE for a page"),
        (["features", "resnet18_pri3d_joint", "a", "b", "--out", "c.png", "--beside", "d"], "--beside is for the page"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, message):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pri3d-zoo: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
