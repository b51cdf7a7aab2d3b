import dataclasses
import functools
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from pri3d_zoo import hub, weights
from pri3d_zoo.hub import check_state_dict, describe_state_dict, find_weights, read_config
from pri3d_zoo.weights import Weights, WeightsError

MODEL = "resnet18_pri3d_joint"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: no published weights, nothing bundled, no folder named."""
    monkeypatch.setattr(weights, "TABLE", ())
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


def write_folder(folder: Path, value: float = 0.0, **cfg: object) -> Path:
    folder.mkdir(parents=True)
    save_file({"tensor": torch.tensor([value])}, folder / "model.safetensors")
    config = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def row(folder: Path, **fields: object) -> Weights:
    data = (folder / "model.safetensors").read_bytes()
    values = {"model": MODEL, "tag": "rooms", "location": "someone/weights@" + "a" * 40, "size": len(data)}
    values |= {"sha256": hashlib.sha256(data).hexdigest(), "licence": "", "data": "", "recipe": "", "metrics": {}}
    return Weights(**(values | fields))


def test_nothing_anywhere_names_every_place_and_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(WeightsError) as error:
        find_weights(MODEL, "rooms")
    for part in (
        f"no weights for {MODEL}.rooms: PRI3D_WEIGHTS is not set; ",
        f"{tmp_path / 'bundled'}) is not there; no such weights are published. ",
        "checkpoint_path=",
        "`pri3d-train pretrain` and `pri3d-train export`",
        "pretrained=False",
    ):
        assert part in str(error.value)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"PRI3D_WEIGHTS \({tmp_path}\) has no folder {MODEL}\.\*;"):
        find_weights(MODEL)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"PRI3D_WEIGHTS \(.*nowhere\) is not there"):
        find_weights(MODEL)


def test_order_of_the_places(tmp_path, monkeypatch):
    given = write_folder(tmp_path / "given")
    named = write_folder(tmp_path / "named" / f"{MODEL}.rooms")
    bundled = write_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    assert find_weights(MODEL).parent == bundled
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path / "named"))
    assert find_weights(MODEL).parent == named
    assert find_weights(MODEL, path=given).parent == given
    assert find_weights(MODEL, path=given / "model.safetensors").parent == given
    with pytest.raises(WeightsError, match="no weights for"):
        find_weights("resnet18_pri3d_view")


def test_available_names_the_place_that_is_used(tmp_path, monkeypatch):
    assert hub.available(MODEL) == {}
    bundled = write_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    monkeypatch.setattr(weights, "TABLE", (row(bundled), row(bundled, tag="flats"), row(bundled, tag="x", model="y")))
    assert hub.available(MODEL) == {"rooms": str(bundled), "flats": "someone/weights@" + "a" * 40}


def test_several_tags_need_a_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    folders = [write_folder(tmp_path / f"{MODEL}.{tag}") for tag in ("flats", "rooms")]
    assert find_weights(MODEL, "flats").parent == folders[0]
    with pytest.raises(WeightsError, match=rf"several weights .* ask for one of {MODEL}\.flats, {MODEL}\.rooms"):
        find_weights(MODEL)
    monkeypatch.setattr(weights, "TABLE", (row(folders[1]),))
    assert find_weights(MODEL).parent == folders[1]


def test_what_is_there_but_broken_is_refused(tmp_path):
    folder = write_folder(tmp_path / "folder")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match=r"model\.safetensors is broken \(SafetensorError: .*export .* again"):
        find_weights(MODEL, path=folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no weight folder for .*: model\.safetensors missing"):
        find_weights(MODEL, path=folder)
    with pytest.raises(WeightsError, match=r"nowhere does not exist"):
        find_weights(MODEL, path=tmp_path / "nowhere")
    (tmp_path / "old.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"old\.pth is not read .* \.safetensors only.*save_file"):
        find_weights(MODEL, path=tmp_path / "old.pth")


def test_bundled_bytes_are_compared_with_the_table(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    monkeypatch.setattr(weights, "TABLE", (row(folder, location="bundled"),))
    assert find_weights(MODEL).parent == folder
    monkeypatch.setattr(weights, "TABLE", (row(folder, location="bundled", sha256="0" * 64),))
    with pytest.raises(WeightsError, match=rf"is not {MODEL}\.rooms: its SHA-256 is .* the table says 0000"):
        find_weights(MODEL)
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="this copy of the package came without them"):
        find_weights(MODEL)


@pytest.fixture
def stand_in_hub(tmp_path, monkeypatch):
    """A Hub on loopback with one repository at one commit; yields its folder and the paths that were asked for."""
    folder = write_folder(tmp_path / "repository", mean=[0.5, 0.5, 0.5])
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"{self.command} {self.path}")
            prefix = f"/someone/weights/resolve/{'a' * 40}/"
            file = folder / self.path.removeprefix(prefix)
            if not self.path.startswith(prefix) or not file.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    download = functools.partial(huggingface_hub.hf_hub_download, endpoint=endpoint)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    yield folder, asked
    server.shutdown()
    server.server_close()


def test_published_weights_come_from_the_hub_once(tmp_path, monkeypatch, stand_in_hub):
    folder, asked = stand_in_hub
    monkeypatch.setattr(weights, "TABLE", (row(folder),))
    file = find_weights(MODEL, cache_dir=tmp_path / "cache")
    assert file.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert read_config(MODEL, "rooms", file) == {"mean": (0.5, 0.5, 0.5)}
    assert any("GET" in line for line in asked)
    asked.clear()
    assert find_weights(MODEL, "rooms", cache_dir=tmp_path / "cache") == file
    assert asked == []


def test_bytes_from_the_hub_are_compared_with_the_table(tmp_path, monkeypatch, stand_in_hub):
    monkeypatch.setattr(weights, "TABLE", (row(stand_in_hub[0], sha256="0" * 64),))
    with pytest.raises(WeightsError, match="its SHA-256 is"):
        find_weights(MODEL, cache_dir=tmp_path / "cache")


def test_a_hub_that_does_not_have_it(tmp_path, monkeypatch, stand_in_hub):
    missing = dataclasses.replace(row(stand_in_hub[0]), location="someone/else@" + "a" * 40)
    monkeypatch.setattr(weights, "TABLE", (missing,))
    with pytest.raises(
        WeightsError, match=r"not set; .*someone/else@a+ on the Hub could not be fetched \(.*checkpoint"
    ):
        find_weights(MODEL, cache_dir=tmp_path / "cache")


def test_registry_entries_of_published_and_unpublished_models(tmp_path, monkeypatch):
    published = row(write_folder(tmp_path / "folder"), licence="CC0-1.0")
    monkeypatch.setattr(weights, "TABLE", (published,))
    cfgs = hub.pretrained_cfgs([MODEL, "resnet18_pri3d_view"], first_conv="conv1", classifier="fc")
    tag, cfg = cfgs[MODEL].default_with_tag
    assert (tag, cfg.hf_hub_id, cfg.hf_hub_filename, cfg.license) == (
        "rooms",
        published.location,
        "model.safetensors",
        "CC0-1.0",
    )
    assert not cfgs["resnet18_pri3d_view"].is_pretrained


def test_config_gives_what_the_images_need_and_nothing_of_the_model(tmp_path):
    cfg = {"mean": [0.5] * 3, "tag": "rooms", "classifier": "other", "num_classes": 9, "file": "x"}
    file = write_folder(tmp_path / "folder", **cfg) / "model.safetensors"
    assert read_config(MODEL, None, file) == {"mean": (0.5, 0.5, 0.5), "tag": "rooms"}
    with pytest.raises(WeightsError, match=rf"holds {MODEL}\.rooms, not {MODEL}\.flats"):
        read_config(MODEL, "flats", file)
    with pytest.raises(WeightsError, match="holds resnet18, not resnet34_pri3d_joint"):
        read_config("resnet34_pri3d_joint", None, file)
    file.with_name("config.json").write_text('{"architecture": ')
    with pytest.raises(WeightsError, match=r"config\.json is not a timm configuration"):
        read_config(MODEL, None, file)
    assert read_config(MODEL, None, tmp_path / "alone.safetensors") == {}


def test_state_dicts_are_described_by_what_they_are():
    with torch.device("meta"):
        for depth in (18, 34, 50, 101):
            encoder = timm.create_model(f"resnet{depth}_pri3d_joint")
            assert describe_state_dict(encoder.state_dict()) == f"an encoder, resnet{depth}"
        dense = timm.create_model("resunet50_pri3d_joint")
        assert describe_state_dict(dense.state_dict()) == "a dense model, resunet50"
        assert describe_state_dict(timm.create_model("resnet18").state_dict()).endswith("resnet18, with a classifier")
    assert "checkpoint" in describe_state_dict({"backbone.encoder.conv1.weight": torch.zeros(1)})
    assert describe_state_dict({"a.b": torch.zeros(1)}) == "something other than a ResNet (first key 'a.b')"
    assert describe_state_dict({}) == "something other than a ResNet (first key 'none')"


def test_check_lists_the_first_keys_and_upcasts():
    model = timm.create_model(MODEL, num_classes=3)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    checked = check_state_dict(MODEL, half, model)
    assert checked["conv1.weight"].dtype == torch.float32
    assert checked["bn1.num_batches_tracked"].dtype == torch.int64
    faulty = {key: value for key, value in state.items() if not key.startswith("layer4.")}
    faulty |= {"extra": torch.zeros(1), "bn1.weight": torch.zeros(3)}
    with pytest.raises(WeightsError) as error:
        check_state_dict(MODEL, faulty, model)
    for part in (
        "missing (layer4.0.conv1.weight, ",
        ", ...)",
        "1 unexpected (extra)",
        "1 of another shape (bn1.weight)",
    ):
        assert part in str(error.value)
