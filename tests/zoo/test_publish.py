"""Publishing to a Hub, and back from there. `pytest -s` shows what a user sees."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pri3d_zoo import create_model, list_pretrained, weights
from pri3d_zoo.publish import publish
from pri3d_zoo.training.cli import app
from pri3d_zoo.weights import Weights, WeightsError

MODEL = "resnet18_pri3d_joint"
REPOSITORY = f"someone/{MODEL}"
CARD = """---
library_name: timm
license: cc-by-4.0
tags: [pri3d]
---
# A card

| | |
| --- | --- |
| data | 8 rendered rooms |
| command | `pri3d-train pretrain run=runs/joint` |
| terms | none, the rooms are our own |
"""
pytestmark = pytest.mark.usefixtures("empty_machine")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A weight folder as `pri3d-train export` writes it, of random weights."""
    folder = tmp_path_factory.mktemp("exported") / f"{MODEL}.rooms"
    folder.mkdir()
    torch.manual_seed(1)
    save_file(timm.create_model("resnet18", num_classes=0).state_dict(), folder / "model.safetensors")
    cfg = {"tag": "rooms", "input_size": [3, 240, 320], "mean": [0.1, 0.2, 0.3], "first_conv": "conv1"}
    config = {"architecture": "resnet18", "num_classes": 0, "num_features": 512, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def folder(exported, tmp_path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(exported, tmp_path / exported.name)


@pytest.fixture
def token(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")


def refusal(case: str, folder: Path, repository: str = REPOSITORY, push: bool = True) -> str:
    with pytest.raises(WeightsError) as error:
        publish(folder, repository, dry_run=not push)
    print(f"\n--- {case}\n{error.value}")
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def pasted_row(text: str) -> Weights:
    """The row as the table would have it, from the text that a user sees."""
    start = text.index("    Weights(")
    (row,) = eval(f"({text[start : text.index('    ),') + 6]})", {"Weights": Weights})
    return row


def test_a_dry_run_says_everything_and_asks_nothing(loopback_hub, folder):
    (folder / "pytorch_model.bin").touch()
    (folder / ".secret").touch()
    publication = publish(folder, REPOSITORY)
    text = str(publication)
    print(f"\n--- publish, dry run\n{text}")
    assert loopback_hub.asked == []
    assert publication.row is None
    assert text.startswith(f"dry run, nothing was sent; to be published in {REPOSITORY} as the tag rooms:\n  model")
    size = (folder / "model.safetensors").stat().st_size
    for part in (
        f"  model.safetensors {size:>14} bytes",
        "left out: .secret, pytorch_model.bin (only model.safetensors, config.json, README.md are published)",
        f'        location="{REPOSITORY}@<commit>",',
        f'        sha256="{hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()}",',
        f"        size={size},",
        '        licence="cc-by-4.0",',
        '        command="pri3d-train pretrain run=runs/joint",',
        "the card does not say, so fill in by hand: recipe, protocol, metrics",
    ):
        assert part in text
    row = pasted_row(text.replace("<commit>", "a" * 40))
    assert (row.data, row.terms) == ("8 rendered rooms", "none, the rooms are our own")


@pytest.mark.slow
def test_there_and_back(loopback_hub, folder, token, monkeypatch):
    (folder / "optimizer.pth").touch()
    publication = publish(folder, REPOSITORY, dry_run=False)
    print(f"\n--- published\n{publication}")
    repository = loopback_hub.repositories[REPOSITORY]
    commit = repository.refs["rooms"]
    assert repository.commits[commit].keys() == {".gitattributes", "model.safetensors", "config.json", "README.md"}
    assert len(repository.commits) == 2  # that of the creation, and one for all files
    row = pasted_row(str(publication))
    assert row == publication.row
    assert row.location == f"{REPOSITORY}@{commit}"
    monkeypatch.setattr(weights, "TABLE", (row,))
    assert list_pretrained() == [f"{MODEL}.rooms"]
    model = create_model(f"{MODEL}.rooms")
    assert model.pretrained_cfg["mean"] == (0.1, 0.2, 0.3)
    file = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, file[key]) for key, value in model.state_dict().items())

    # bare timm, by a revision of the user's choice
    other = timm.create_model(f"hf-hub:{REPOSITORY}@rooms", pretrained=True)
    assert all(torch.equal(value, file[key]) for key, value in other.state_dict().items())
    assert f"HEAD /{REPOSITORY}/resolve/rooms/model.safetensors" in loopback_hub.asked

    message = refusal("published a second time", folder)
    assert f"{REPOSITORY} has the tag rooms already, at {commit}, and a tag is never re-used for other bytes" in message
    assert len(repository.commits) == 2


def test_a_tag_that_failed_is_set_by_the_same_command(loopback_hub, folder, token):
    loopback_hub.faults["tag"] = "500"
    message = refusal("the tag could not be set", folder)
    commit = loopback_hub.repositories[REPOSITORY].refs["main"]
    assert f"{MODEL}.rooms is in {REPOSITORY} at {commit}, but the tag rooms could not be set" in message
    loopback_hub.faults.clear()
    assert publish(folder, REPOSITORY, dry_run=False).commit == commit
    assert loopback_hub.repositories[REPOSITORY].refs["rooms"] == commit


@pytest.mark.parametrize(
    ("token", "repository", "words"),
    [
        (None, REPOSITORY, "was not published: there is no token; log in with `hf auth login` or set HF_TOKEN"),
        ("hf_bad", REPOSITORY, "answered 401: no access; log in with `hf auth login` or set HF_TOKEN to a valid token"),
        ("hf_good", f"another/{MODEL}", "answered 403: access denied; use a token that has the right to it"),
    ],
)
def test_a_hub_that_refuses(loopback_hub, folder, monkeypatch, token, repository, words):
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    assert words in refusal(f"token {token}, repository {repository}", folder, repository)
    assert loopback_hub.repositories == {}


def test_a_dead_network(loopback_hub, folder, token, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert f"was not published: http://127.0.0.1:9/{REPOSITORY} is out of reach (ConnectError" in refusal(
        "dead", folder
    )


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (
            CARD.replace("license: cc-by-4.0\n", ""),
            "README.md names no licence: add `license: cc-by-4.0`, or whichever",
        ),
        (
            CARD.replace("cc-by-4.0", "other"),
            "for one without a Hub identifier `license: other` and `license_name: NAME`",
        ),
        ("no front matter", "names no licence"),
        ("---\na: [\n---\n", "README.md is no model card ("),
        (None, "README.md is no model card ("),
    ],
)
def test_a_card_without_a_licence_is_refused(folder, card, words):
    (folder / "README.md").unlink()
    if card is not None:
        (folder / "README.md").write_text(card)
    assert words in refusal("card", folder, push=False)


def test_a_licence_of_its_own_name(folder):
    (folder / "README.md").write_text(CARD.replace("cc-by-4.0", "other\nlicense_name: scannet-terms-of-use"))
    assert publish(folder, REPOSITORY).fields["licence"] == "scannet-terms-of-use"


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("weights", "'weights' is no repository for a weight folder; give OWNER/MODEL or OWNER/MODEL.TAG"),
        ("someone/resnet18_pri3d_jiont", "did you mean resnet18_pri3d_joint"),
        (f"{REPOSITORY}.flats", f"holds {MODEL}.rooms, not {MODEL}.flats"),
        ("someone/resnet34_pri3d_joint", "holds resnet18, not resnet34_pri3d_joint"),
        ("someone/resunet18_pri3d_joint", "holds resnet18, not resunet18_pri3d_joint"),
    ],
)
def test_a_repository_is_named_after_its_model(folder, repository, words):
    assert words in refusal(repository, folder, repository, push=False)
    assert publish(folder, f"{REPOSITORY}.rooms").fields["model"] == MODEL


def test_a_folder_that_is_not_whole_or_does_not_fit(folder, tmp_path):
    state = load_file(folder / "model.safetensors")
    del state["conv1.weight"]
    save_file(state, folder / "model.safetensors")
    assert "does not fit resnet18_pri3d_joint" in refusal("a tensor is missing", folder, push=False)
    config = json.loads((folder / "config.json").read_text())
    for tag in (None, "Rooms 1"):
        config["pretrained_cfg"]["tag"] = tag
        (folder / "config.json").write_text(json.dumps(config))
        assert f"config.json has the tag {tag!r}; give pretrained_cfg.tag a name of small letters" in refusal(
            "tag", folder, push=False
        )
    (folder / "config.json").unlink()
    assert "config.json missing" in refusal("no configuration", folder, push=False)
    assert "is no folder; publish one that `pri3d-train export` wrote" in refusal("none", tmp_path / "none", push=False)


def test_the_command_line(loopback_hub, folder, token):
    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["publish", str(folder), REPOSITORY, *options])
        assert result.exit_code == 0, result.output
        return result.output

    assert run().startswith("dry run, nothing was sent; ")
    assert loopback_hub.repositories == {}
    assert run("--push").startswith("published at ")
    assert "rooms" in loopback_hub.repositories[REPOSITORY].refs
