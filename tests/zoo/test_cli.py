import dataclasses
import json
import re

import pytest
import torch
from PIL import Image

from pri3d_zoo import build_resunet, hub, weights
from pri3d_zoo.cli import main
from pri3d_zoo.weights import BUNDLED, Weights


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: no published weights, nothing bundled, no folder named."""
    monkeypatch.setattr(weights, "TABLE", ())
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """The folder of the test is the one that PRI3D_WEIGHTS names."""
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))


def test_list_shows_models_sizes_and_weights(capsys, monkeypatch, tmp_path):
    assert main(["list", "resnet18*"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "tag", "parameters", "size", "licence", "metric"]
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


def test_list_shows_the_first_metric(capsys, monkeypatch):
    """Figures of different kinds have no largest: neither the largest number nor the last in the alphabet."""
    row = dataclasses.replace(PUBLISHED, metrics={"linear_miou": 0.09, "recall_10": 12.5, "zeta": 9.5})
    monkeypatch.setattr(weights, "TABLE", (row,))
    assert main(["list", "resnet18_pri3d_joint"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("0.09 linear_miou")


@pytest.mark.usefixtures("own_weights")
def test_a_users_folder_under_a_name_of_the_table_is_not_the_tables(capsys, monkeypatch, tmp_path, tiny_folder):
    monkeypatch.setattr(weights, "TABLE", (PUBLISHED,))
    folder = tiny_folder(tmp_path / PUBLISHED.name, input_size=[3, 96, 128])
    assert main(["list", "resnet18_pri3d_joint"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == ["resnet18_pri3d_joint", "rooms", "11.2", "M", "0.0", "MB", "see", "its", "card", "-"]
    assert main(["info", PUBLISHED.name]) == 0
    out = capsys.readouterr().out
    assert str(folder) in out
    assert "see its card" in out
    assert not any(text in out for text in ("100 rooms", "CC0-1.0", "probe", PUBLISHED.location))


@pytest.mark.usefixtures("own_weights")
def test_info_shows_the_image_size_of_weights_that_are_here(capsys, tmp_path, tiny_folder):
    tiny_folder(tmp_path / "resnet18_pri3d_view.a", input_size=[3, 96, 128], mean=[0.1, 0.2, 0.3])
    tiny_folder(tmp_path / "resnet18_pri3d_view.b", input_size=[3, 120, 160])
    assert main(["info", "resnet18_pri3d_view.b"]) == 0
    out = capsys.readouterr().out
    assert "3x120x160" in out
    assert "3x240x320" not in out
    assert main(["info", "resnet18_pri3d_view"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split("  ")[0] for line in lines]
    first, second = starts.index("weights .a"), starts.index("weights .b")
    assert [line for line in lines[first:second] if "3x96x128" in line]
    assert [line for line in lines[first:second] if "(0.1, 0.2, 0.3)" in line]
    assert [line for line in lines[second:] if "3x120x160" in line]


def test_info_shows_the_image_size_of_weights_in_the_cache(capsys, monkeypatch, tmp_path, tiny_folder):
    monkeypatch.setattr(weights, "TABLE", (PUBLISHED,))
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert main(["info", PUBLISHED.name]) == 0
    assert "3x240x320" in capsys.readouterr().out
    tiny_folder(cache / "models--someone--weights" / "snapshots" / ("a" * 40), input_size=[3, 96, 128])
    assert main(["info", PUBLISHED.name]) == 0
    out = capsys.readouterr().out
    assert "3x96x128" in out
    assert "3x240x320" not in out
    assert "CC0-1.0" in out


def test_bundled_weights_have_the_facts_of_the_table(capsys, monkeypatch, tmp_path, tiny_folder):
    row = dataclasses.replace(PUBLISHED, location=BUNDLED)
    monkeypatch.setattr(weights, "TABLE", (row,))
    tiny_folder(tmp_path / "bundled" / row.name, input_size=[3, 96, 128])
    assert main(["list", "resnet18_pri3d_joint"]) == 0
    assert "44.7 MB  CC0-1.0  0.5 probe" in capsys.readouterr().out
    assert main(["info", row.name]) == 0
    out = capsys.readouterr().out
    assert "3x96x128" in out
    assert "100 rooms" in out


@pytest.mark.slow
@pytest.mark.usefixtures("own_weights")
@pytest.mark.parametrize(
    ("name", "features"),
    [("convnext_atto_pri3d_joint", "40 at 1/4"), ("resunet_convnext_atto_pri3d_joint", "20 at 1/2")],
)
def test_models_on_other_encoders(capsys, tmp_path, tiny_folder, name, features):
    assert main(["info", name]) == 0
    out = capsys.readouterr().out
    assert features in out
    assert "none can be had yet" in out
    assert main(["list", name]) == 1  # as many as timm has models: only those with weights are shown
    assert "no model is called like" in capsys.readouterr().err
    encoder = name.removeprefix("resunet_").removesuffix("_pri3d_joint")
    dense = {"architecture": "resunet", "model_args": {"encoder_name": encoder}}
    folder = tiny_folder(tmp_path / f"{name}.a_tag_of_more_than_twenty_letters", input_size=[3, 96, 128])
    config = json.loads((folder / "config.json").read_text()) | {"architecture": encoder}
    (folder / "config.json").write_text(json.dumps(config | (dense if name.startswith("resunet") else {})))
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 26
    assert lines[-1].split()[:2] == [name, "a_tag_of_more_than_twenty_letters"]
    assert len({line.find(" M ") for line in lines[1:]}) == 1  # in one column
    assert main(["info", name]) == 0
    assert "3x96x128" in capsys.readouterr().out


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


@pytest.mark.slow
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
