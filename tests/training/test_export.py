import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

import pri3d_zoo
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.backbones import load_backbone
from pri3d_zoo.training.export import export, in_half, loading_code
from pri3d_zoo.training.initialise import initial_model
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.run_folder import trained_model, trained_network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folders(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("weights")
    names = [export(tiny_run, out / kind, dense=kind == "dense", tag="tiny") for kind in ("encoder", "dense")]
    assert names == ["resnet18_pri3d_joint", "resunet18_pri3d_joint"]
    return out / "encoder", out / "dense"


def trained(tiny_run, prefix):
    model = trained_network(tiny_run)[1].state_dict()
    return {key.removeprefix(prefix): value for key, value in model.items() if key.startswith(prefix)}


def assert_bit_equal(model, expected):
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_every_way_to_load_the_encoder_gives_the_trained_tensors(tiny_run, folders):
    expected = trained(tiny_run, "backbone.encoder.")
    assert_bit_equal(pri3d_zoo.create_model("resnet18_pri3d_joint", checkpoint_path=folders[0]), expected)
    assert_bit_equal(timm.create_model(f"local-dir:{folders[0]}", pretrained=True), expected)
    hub = torch.hub.load(str(ROOT), "resnet18_pri3d_joint", source="local", checkpoint_path=str(folders[0]))
    assert_bit_equal(hub, expected)


def test_every_way_to_load_the_dense_model(tiny_run, folders):
    expected = trained(tiny_run, "backbone.")
    assert_bit_equal(pri3d_zoo.create_model("resunet18_pri3d_joint", checkpoint_path=folders[1]), expected)
    assert_bit_equal(timm.create_model(f"local-dir:{folders[1]}", pretrained=True), expected)


def test_bare_timm_needs_no_pri3d_zoo(folders, tmp_path):
    code = (
        f"import timm, sys; m = timm.create_model('local-dir:{folders[0]}', pretrained=True); "
        "assert 'pri3d_zoo' not in sys.modules; print(type(m).__name__, m.num_classes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.split() == ["ResNet", "0"], done.stderr


def test_same_output_as_the_trained_network(tiny_run, folders):
    model = pri3d_zoo.create_model("resunet18_pri3d_joint", checkpoint_path=folders[1]).eval()
    # in float64, for one of the two is channels last and sums in another order
    x = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        torch.testing.assert_close(model.double()(x), trained_model(tiny_run)[1].backbone.double()(x))


def test_the_folder_has_the_shape_of_a_hub_repository(folders):
    for folder, architecture in zip(folders, ("resnet18", "resunet18_pri3d_joint"), strict=True):
        assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
        config = json.loads((folder / "config.json").read_text())
        assert config["architecture"] == architecture
        assert config["pretrained_cfg"]["tag"] == "tiny"
        assert not any(key.startswith("fc.") for key in load_file(folder / "model.safetensors"))
        card = (folder / "README.md").read_text()
        assert card.startswith("---\n")
        assert "4 of 2 pairs at 48x64" in card


def test_nothing_is_overwritten_or_left_half(tiny_run, folders, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="exists already"):
        export(tiny_run, folders[0])
    monkeypatch.setattr("pri3d_zoo.training.export.save_file", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        export(tiny_run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_tag_is_that_of_the_folder_unless_another_is_named(tiny_run, tmp_path, monkeypatch):
    names = ("resnet18_pri3d_joint.mine", "resnet18_pri3d_joint.mine.second", "plain")
    for name in names:
        export(tiny_run, tmp_path / name)
    export(tiny_run, tmp_path / "named.mine", tag="named")
    for name, tag in zip((*names, "named.mine"), ("mine", "mine.second", "local", "named"), strict=True):
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config["pretrained_cfg"]["tag"] == tag
        assert f"# resnet18_pri3d_joint.{tag}\n" in (tmp_path / name / "README.md").read_text()
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    for name in names[:2]:
        assert_bit_equal(pri3d_zoo.create_model(name), trained(tiny_run, "backbone.encoder."))


def test_a_run_without_checkpoint(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        export(tmp_path, tmp_path / "out")


def test_an_exported_encoder_initialises_another_run(tiny_run, folders, tiny_settings):
    config = load_config("demo", ["run=unused", *tiny_settings, f"init={folders[0]}"])
    assert_bit_equal(initial_model(config).backbone.encoder, trained(tiny_run, "backbone.encoder."))
    config.model.encoder = "resnet34"
    with pytest.raises(InputError, match=r"seems to hold an encoder, resnet18, not the encoder resnet34"):
        initial_model(config)


OTHERS = ("tf_efficientnet_lite0", "vit_tiny_patch16_224")


@pytest.fixture(scope="module", params=["convnext_atto", *(name for name in OTHERS)])
def other(request, tiny_settings, tmp_path_factory):
    """A pre-training of one step on another encoder than a ResNet, and its two weight folders."""
    folder = tmp_path_factory.mktemp("other")
    settings = [*tiny_settings, f"model.encoder={request.param}", "loss.method=view", "steps=1"]
    assert pretrain(load_config("demo", [f"run={folder / 'run'}", *settings]))
    names = [export(folder / "run", folder / kind, dense=kind == "dense", tag="tiny") for kind in ("encoder", "dense")]
    assert names == [f"{request.param}_pri3d_view", f"resunet_{request.param}_pri3d_view"]
    return request.param, folder


def test_any_encoder_of_timm_goes_the_whole_way(other):
    encoder, folder = other
    tensors = trained(folder / "run", "backbone.encoder.")
    whole = pri3d_zoo.create_model(f"{encoder}_pri3d_view", checkpoint_path=folder / "encoder")
    behind = whole.state_dict().keys() - tensors.keys()  # a norm or a convolution that the decoder has no use for
    assert load_file(folder / "encoder" / "model.safetensors").keys() == tensors.keys() | behind
    for model in (whole, timm.create_model(f"local-dir:{folder / 'encoder'}", pretrained=True)):
        assert model.num_classes == 0
        assert all(torch.equal(model.state_dict()[key], value) for key, value in tensors.items())
        assert model.eval().forward_features(torch.randn(1, 3, 48, 64)).shape[0] == 1
    card = (folder / "encoder" / "README.md").read_text()
    assert all(key in card for key in behind)
    pyramid = pri3d_zoo.create_model(f"{encoder}_pri3d_view", checkpoint_path=folder / "encoder", features_only=True)
    kept = {key.removeprefix("model.").replace(".", "_"): value for key, value in pyramid.state_dict().items()}
    assert all(torch.equal(kept[key.replace(".", "_")], value) for key, value in tensors.items())
    classes = pri3d_zoo.create_model(f"{encoder}_pri3d_view", checkpoint_path=folder / "encoder", num_classes=3)
    assert classes.eval()(torch.randn(1, 3, 48, 64)).shape == (1, 3)
    assert all(torch.equal(classes.state_dict()[key], value) for key, value in tensors.items())


def test_any_dense_model_goes_the_whole_way(other):
    encoder, folder = other
    tensors = trained(folder / "run", "backbone.")
    name = f"resunet_{encoder}_pri3d_view"
    assert_bit_equal(pri3d_zoo.create_model(name, checkpoint_path=folder / "dense"), tensors)
    assert_bit_equal(timm.create_model(f"local-dir:{folder / 'dense'}", pretrained=True), tensors)
    four = pri3d_zoo.create_model(name, checkpoint_path=folder / "dense", in_chans=4, num_classes=5)
    assert four.eval()(torch.randn(1, 4, 48, 64)).shape == (1, 5, 24, 32)
    assert load_backbone(str(folder / "dense")).encoder == encoder
    with pytest.raises(pri3d_zoo.WeightsError, match=f"holds .*, not resunet_{encoder}x?_pri3d_view|there is no model"):
        pri3d_zoo.create_model(f"resunet_{encoder}x_pri3d_view", checkpoint_path=folder / "dense")
    with pytest.raises(pri3d_zoo.WeightsError, match="holds resunet, not resunet18_pri3d_view"):
        pri3d_zoo.create_model("resunet18_pri3d_view", checkpoint_path=folder / "dense")


def test_an_encoder_with_parts_behind_its_stages_initialises_another_run(other, tiny_settings):
    encoder, folder = other
    settings = [*tiny_settings, f"model.encoder={encoder}", "loss.method=view", f"init={folder / 'encoder'}"]
    config = load_config("demo", ["run=unused", *settings])
    assert_bit_equal(initial_model(config).backbone.encoder, trained(folder / "run", "backbone.encoder."))


@pytest.fixture(scope="module")
def light(tiny_settings, tmp_path_factory):
    """The folder of a run of one step with the light decoder and the depth head."""
    run = tmp_path_factory.mktemp("light") / "run"
    settings = [*tiny_settings, "model.decoder=light", "loss.method=view", "loss.depth_weight=1", "steps=1"]
    assert pretrain(load_config("demo", [f"run={run}", *settings]))
    return run


def test_a_light_dense_model_loads_again_and_is_none_of_the_zoos(light, tmp_path):
    folder = tmp_path / "dense"
    assert export(light, folder, dense=True) == "resunet18_pri3d_view"
    expected = trained(light, "backbone.")
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "resunet"
    assert config["model_args"] == {"encoder_name": "resnet18", "decoder": "light"}
    assert_bit_equal(timm.create_model(f"local-dir:{folder}", pretrained=True), expected)
    call = f'pri3d_zoo.create_model("resunet18_pri3d_view", checkpoint_path="{folder}", decoder="light")'
    assert loading_code(
        load_config("demo", ["run=r", "data.store=s", "model.decoder=light"]), "m", "f", dense=True
    ) == ('pri3d_zoo.create_model("m", checkpoint_path="f", decoder="light")')
    assert call.replace(str(folder), "this folder") in (folder / "README.md").read_text()
    assert_bit_equal(eval(call), expected)
    assert load_backbone(str(folder)).decoder == "light"
    with pytest.raises(pri3d_zoo.WeightsError, match='resunet18 with decoder="light"'):
        pri3d_zoo.create_model("resunet18_pri3d_view", checkpoint_path=folder)


def test_the_decoder_of_training_changes_nothing_about_an_encoder(light, tmp_path):
    folder = tmp_path / "encoder"
    assert export(light, folder) == "resnet18_pri3d_view"
    expected = trained(light, "backbone.encoder.")
    assert_bit_equal(pri3d_zoo.create_model("resnet18_pri3d_view", checkpoint_path=folder), expected)
    assert_bit_equal(timm.create_model(f"local-dir:{folder}", pretrained=True), expected)
    card = (folder / "README.md").read_text()
    assert "| decoder in training | light |" in card
    assert "depth head of weight 1.0" in card
    assert "| initialisation | from scratch, seed 0 |" in card
    assert 'decoder="light"' not in card


def test_the_licence_is_where_the_hub_reads_it(tiny_run, tmp_path):
    from huggingface_hub import metadata_load

    export(tiny_run, tmp_path / "folder", licence="cc-by-4.0")
    assert metadata_load(tmp_path / "folder" / "README.md")["license"] == "cc-by-4.0"


def test_half_the_bytes_are_the_same_weights_to_eleven_bits(tiny_run, folders, tmp_path):
    export(tiny_run, tmp_path / "half", tag="tiny", half=True)
    whole, half = (load_file(folder / "model.safetensors") for folder in (folders[0], tmp_path / "half"))
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (folders[0], tmp_path / "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.51
    for key, value in whole.items():
        if value.ndim < 2:
            assert torch.equal(half[key], value), key
        else:
            assert half[key].dtype == torch.float16
            torch.testing.assert_close(half[key].float(), value, rtol=2**-11, atol=2**-25)  # below: subnormal steps
    model = pri3d_zoo.create_model("resnet18_pri3d_joint", checkpoint_path=tmp_path / "half")
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert_bit_equal(model, {key: value.to(whole[key].dtype) for key, value in half.items()})
    assert "| stored in | float16, batch norms and offsets in float32 |" in (tmp_path / "half/README.md").read_text()


def test_a_weight_that_float16_cannot_hold():
    with pytest.raises(InputError, match=r"stem\.weight reaches 70000, beyond float16"):
        in_half("stem.weight", torch.full((2, 2), 7e4))
