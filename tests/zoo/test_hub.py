import json

import pytest
import timm
import torch

from pri3d_zoo import hub, weights
from pri3d_zoo.hub import check_state_dict, find_weights, read_config
from pri3d_zoo.weights import WeightsError

MODEL = "resnet18_pri3d_joint"


pytestmark = pytest.mark.usefixtures("empty_machine")


def test_nothing_anywhere_names_every_place_and_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(WeightsError) as error:
        find_weights(MODEL, "rooms")
    for part in (
        f"no weights for {MODEL}.rooms: PRI3D_WEIGHTS is not set; ",
        f"{tmp_path / 'bundled'}) is not there; no such weights are published. ",
        "checkpoint_path=",
        "local-dir:FOLDER",
        "`pri3d-train pretrain model.encoder=resnet18 loss.method=joint data.store=STORE run=RUN`",
        "`pri3d-train export RUN FOLDER`",
        "`pri3d-zoo convert CHECKPOINT FOLDER --to timm`",
        "pretrained=False",
    ):
        assert part in str(error.value)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"PRI3D_WEIGHTS \({tmp_path}\) has no folder {MODEL}\.\*;"):
        find_weights(MODEL)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"PRI3D_WEIGHTS \(.*nowhere\) is not there"):
        find_weights(MODEL)


def test_order_of_the_places(tmp_path, monkeypatch, tiny_folder):
    given = tiny_folder(tmp_path / "given")
    named = tiny_folder(tmp_path / "named" / f"{MODEL}.rooms")
    bundled = tiny_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    assert find_weights(MODEL).parent == bundled
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path / "named"))
    assert find_weights(MODEL).parent == named
    assert find_weights(MODEL, path=given).parent == given
    assert find_weights(MODEL, path=given / "model.safetensors").parent == given
    with pytest.raises(WeightsError, match="no weights for"):
        find_weights("resnet18_pri3d_view")


def test_available_names_the_place_that_is_used(tmp_path, monkeypatch, tiny_folder, row_of):
    assert hub.available(MODEL) == {}
    bundled = tiny_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    monkeypatch.setattr(
        weights, "TABLE", (row_of(bundled), row_of(bundled, tag="flats"), row_of(bundled, tag="x", model="y"))
    )
    assert hub.available(MODEL) == {"rooms": str(bundled), "flats": "someone/weights@" + "a" * 40}


def test_several_tags_need_a_choice(tmp_path, monkeypatch, tiny_folder, row_of):
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    folders = [tiny_folder(tmp_path / f"{MODEL}.{tag}") for tag in ("flats", "rooms")]
    assert find_weights(MODEL, "flats").parent == folders[0]
    with pytest.raises(WeightsError, match=rf"several weights .* ask for one of {MODEL}\.flats, {MODEL}\.rooms"):
        find_weights(MODEL)
    monkeypatch.setattr(weights, "TABLE", (row_of(folders[1]),))
    assert find_weights(MODEL).parent == folders[1]


def test_what_is_there_but_broken_is_refused(tmp_path, tiny_folder):
    folder = tiny_folder(tmp_path / "folder")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match=r"model\.safetensors is broken \(SafetensorError: .*export .* again"):
        find_weights(MODEL, path=folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no weight folder for .*: model\.safetensors missing"):
        find_weights(MODEL, path=folder)
    with pytest.raises(WeightsError, match=r"nowhere does not exist"):
        find_weights(MODEL, path=tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").touch()
    with pytest.raises(WeightsError, match=r"run is the folder of a run; `pri3d-train export .*run FOLDER` makes"):
        find_weights(MODEL, path=tmp_path / "run")
    (tmp_path / "old.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"old\.pth is not read .* \.safetensors only.*`pri3d-zoo convert"):
        find_weights(MODEL, path=tmp_path / "old.pth")


def test_bundled_bytes_are_compared_with_the_table(tmp_path, monkeypatch, tiny_folder, row_of):
    folder = tiny_folder(tmp_path / "bundled" / f"{MODEL}.rooms")
    monkeypatch.setattr(weights, "TABLE", (row_of(folder, location="bundled"),))
    assert find_weights(MODEL).parent == folder
    monkeypatch.setattr(weights, "TABLE", (row_of(folder, location="bundled", sha256="0" * 64),))
    with pytest.raises(WeightsError, match=rf"is not {MODEL}\.rooms: its SHA-256 is .* the table says 0000.*install"):
        find_weights(MODEL)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path / "own"))
    own = tiny_folder(tmp_path / "own" / f"{MODEL}.rooms", 2.0)
    assert find_weights(MODEL).parent == own  # the user's, whatever the table says of that name
    monkeypatch.delenv("PRI3D_WEIGHTS")
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="this copy of the package came without them"):
        find_weights(MODEL)


def test_a_slip_of_the_pen_and_a_plan_are_told_apart(tmp_path, monkeypatch, tiny_folder, row_of):
    there = row_of(tiny_folder(tmp_path / "folder"), tag="scannet")
    planned = row_of(None, model="resunet18_pri3d_view", tag="flats", command="pri3d-train pretrain --recipe flats")
    monkeypatch.setattr(weights, "TABLE", (there, planned))
    with pytest.raises(WeightsError, match=rf"published \(did you mean {MODEL}\.scannet\?\)\. Instead"):
        find_weights(MODEL, "scanet")
    with pytest.raises(
        WeightsError, match=r"not published yet\..*with `pri3d-train pretrain --recipe flats`.* --dense`"
    ):
        find_weights("resunet18_pri3d_view")
    assert hub.available("resunet18_pri3d_view") == {}
    assert hub.available(MODEL) == {"scannet": there.location}


def test_registry_entries_of_published_and_unpublished_models(tmp_path, monkeypatch, tiny_folder, row_of):
    published = row_of(tiny_folder(tmp_path / "folder"), licence="CC0-1.0")
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


def test_config_gives_what_the_images_need_and_nothing_of_the_model(tmp_path, tiny_folder):
    cfg = {"mean": [0.5] * 3, "tag": "rooms", "classifier": "other", "num_classes": 9, "file": "x"}
    file = tiny_folder(tmp_path / "folder", **cfg) / "model.safetensors"
    assert read_config(MODEL, None, file) == {"mean": (0.5, 0.5, 0.5), "tag": "rooms"}
    with pytest.raises(WeightsError, match=rf"holds {MODEL}\.rooms, not {MODEL}\.flats"):
        read_config(MODEL, "flats", file)
    with pytest.raises(WeightsError, match="holds resnet18, not resnet34_pri3d_joint"):
        read_config("resnet34_pri3d_joint", None, file)
    file.with_name("config.json").write_text('{"architecture": ')
    with pytest.raises(WeightsError, match=r"config\.json is not a timm configuration"):
        read_config(MODEL, None, file)
    assert read_config(MODEL, None, tmp_path / "alone.safetensors") == {}


@pytest.mark.parametrize(
    ("model", "architecture", "arguments"),
    [
        ("convnext_tiny_pri3d_view", "convnext_tiny", None),
        ("resunet18_pri3d_view", "resunet18_pri3d_view", None),
        ("resunet_convnext_tiny_pri3d_view", "resunet", {"encoder_name": "convnext_tiny"}),
    ],
)
def test_a_configuration_may_have_the_name_that_timm_builds_by(tmp_path, tiny_folder, model, architecture, arguments):
    file = tiny_folder(tmp_path / "folder", tag="rooms") / "model.safetensors"
    config = {"architecture": architecture, "pretrained_cfg": {"tag": "rooms"}, "model_args": arguments}
    file.with_name("config.json").write_text(json.dumps(config))
    assert read_config(model, "rooms", file) == {"tag": "rooms"}
    for other in ("resunet_convnext_small_pri3d_view", "resunet50_pri3d_view", "resnet50_pri3d_view"):
        with pytest.raises(WeightsError, match=f"holds {architecture}, not {other}"):
            read_config(other, None, file)


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


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("input_size", [3, 10**6, 10**6], "[3, height, width]"),
        ("input_size", "large", "[3, height, width]"),
        ("mean", [0.5, 0.5], "three numbers from 0 to 1"),
        ("std", [0.5, 0, 0.5], "three numbers above 0"),
        ("crop_pct", 1e-9, "from 0.1 to 2"),
        ("interpolation", "bilynear", "one of nearest, bilinear"),
        ("crop_mode", ["center"], "one of center"),
        ("tag", {"a": 1}, "text"),
    ],
)
def test_a_configuration_cannot_ask_for_anything(tmp_path, tiny_folder, key, value, words):
    file = tiny_folder(tmp_path / "folder", **{key: value}) / "model.safetensors"
    with pytest.raises(WeightsError, match=r"config\.json says") as error:
        read_config(MODEL, None, file)
    assert f"{key}={value!r}" in str(error.value)
    assert words in str(error.value)


def test_a_configuration_of_another_shape_is_refused(tmp_path, tiny_folder):
    file = tiny_folder(tmp_path / "folder") / "model.safetensors"
    for text in ("[" * 100_000, "[]", "7", '{"architecture": "x", "pretrained_cfg": 3}'):
        file.with_name("config.json").write_text(text)
        with pytest.raises(WeightsError, match="is not a timm configuration"):
            read_config(MODEL, None, file)
    config = {"architecture": "resunet", "pretrained_cfg": {}, "model_args": ["resnet18"]}
    file.with_name("config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="holds resunet, not resunet18_pri3d_joint"):
        read_config("resunet18_pri3d_joint", None, file)
    file.with_name("config.json").write_text(json.dumps(config | {"architecture": "a\n\x1b[31mb"}))
    with pytest.raises(WeightsError) as error:
        read_config(MODEL, None, file)
    assert str(error.value).isprintable()
