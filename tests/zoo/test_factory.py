import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import PretrainedCfg, save_for_hf

import pri3d_zoo
from pri3d_zoo import WeightsError, create_model, hub, list_models, weights

ENCODER, DENSE = "resnet18_pri3d_joint", "resunet18_pri3d_joint"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: no published weights, nothing bundled, no folder named."""
    monkeypatch.setattr(weights, "TABLE", ())
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


def write_folder(folder: Path, model: torch.nn.Module) -> Path:
    """As timm writes a Hub repository; mean and std unlike any default, to see that they arrive."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.weight.data.normal_()
    cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 240, 320), "tag": "rooms"}
    save_for_hf(model, folder, model_config={"pretrained_cfg": cfg}, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder as PRI3D_WEIGHTS names it, with an encoder under timm's own name and a dense model."""
    root = tmp_path_factory.mktemp("weights")
    write_folder(root / f"{ENCODER}.rooms", timm.create_model("resnet18", num_classes=0))
    write_folder(root / f"{DENSE}.rooms", timm.create_model(DENSE))
    return root


def assert_holds(model: torch.nn.Module, folder: Path, without: str = "\0") -> None:
    """Every tensor of the file, bit for bit, is in the model, and nothing else but what starts with `without`."""
    file, state = load_file(folder / "model.safetensors"), model.state_dict()
    assert {key for key in state if not key.startswith(without)} == set(file)
    for key, value in file.items():
        assert state[key].dtype == value.dtype
        assert torch.equal(state[key], value), key


@pytest.mark.parametrize("name", [ENCODER, DENSE])
def test_every_way_to_load_gives_the_bytes_of_the_file(root, monkeypatch, name):
    folder = root / f"{name}.rooms"
    assert_holds(create_model(name, checkpoint_path=folder), folder)
    assert_holds(create_model(name, checkpoint_path=str(folder / "model.safetensors")), folder)
    assert_holds(timm.create_model(f"local-dir:{folder}", pretrained=True), folder)
    cfg = PretrainedCfg(file=str(folder / "model.safetensors"), num_classes=0)
    assert_holds(timm.create_model(name, pretrained=True, pretrained_cfg=cfg), folder)
    monkeypatch.setenv("PRI3D_WEIGHTS", str(root))
    for model in (
        create_model(name),
        create_model(f"{name}.rooms"),
        timm.create_model(f"{name}.rooms", pretrained=True),
    ):
        assert_holds(model, folder)
        assert model.pretrained_cfg["architecture"] == name
        assert model.pretrained_cfg["tag"] == "rooms"
        assert model.pretrained_cfg["mean"] == (0.1, 0.2, 0.3)
        assert model.pretrained_cfg["file"] == str(folder / "model.safetensors")
    assert list_models(pretrained=True) == [ENCODER, DENSE]


def test_saved_again_it_is_the_same_folder(root, tmp_path):
    model = create_model(DENSE, checkpoint_path=root / f"{DENSE}.rooms")
    save_for_hf(model, tmp_path / "again", safe_serialization=True)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (config["architecture"], config["num_features"], config["pretrained_cfg"]["tag"]) == (DENSE, 32, "rooms")
    assert_holds(create_model(DENSE, checkpoint_path=tmp_path / "again"), root / f"{DENSE}.rooms")


def test_new_heads_are_fresh_and_the_rest_is_loaded(root):
    folder = root / f"{ENCODER}.rooms"
    model = create_model(ENCODER, checkpoint_path=folder, num_classes=10)
    assert_holds(model, folder, without="fc.")
    assert model.fc.out_features == 10
    dense = create_model(DENSE, checkpoint_path=root / f"{DENSE}.rooms", num_classes=10)
    assert_holds(dense, root / f"{DENSE}.rooms", without="head.")
    assert dense.head.out_channels == 10
    assert_holds(
        timm.create_model(f"local-dir:{root / f'{DENSE}.rooms'}", pretrained=True, num_classes=0),
        root / f"{DENSE}.rooms",
    )


def test_features_only_is_loaded(root):
    folder = root / f"{ENCODER}.rooms"
    model = create_model(
        ENCODER, checkpoint_path=folder, features_only=True, out_indices=(1, 2, 3, 4), output_stride=16
    )
    assert_holds(model, folder)
    assert model.feature_info.reduction() == [4, 8, 16, 16]


@pytest.mark.parametrize(("name", "key"), [(ENCODER, "conv1.weight"), (DENSE, "encoder.conv1.weight")])
def test_other_channels_adapt_the_first_convolution_as_timm_does(root, name, key):
    folder = root / f"{name}.rooms"
    filed = load_file(folder / "model.safetensors")[key]
    grey = create_model(name, checkpoint_path=folder, in_chans=1).state_dict()
    torch.testing.assert_close(grey[key], filed.sum(dim=1, keepdim=True))
    four = create_model(name, checkpoint_path=folder, in_chans=4).state_dict()
    torch.testing.assert_close(four[key], torch.cat([filed, filed[:, :1]], dim=1) * 3 / 4)
    assert all(torch.equal(four[k], v) for k, v in load_file(folder / "model.safetensors").items() if k != key)


def test_half_precision_is_upcast(root, tmp_path):
    state = load_file(root / f"{ENCODER}.rooms" / "model.safetensors")
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file(half, tmp_path / "half.safetensors")
    loaded = create_model(ENCODER, checkpoint_path=tmp_path / "half.safetensors").state_dict()
    for key, value in half.items():
        assert loaded[key].dtype == (torch.float32 if value.is_floating_point() else torch.int64)
        assert torch.equal(loaded[key], value.to(loaded[key].dtype))


@pytest.mark.parametrize("kwargs", [{}, {"num_classes": 4}, {"in_chans": 4}])
@pytest.mark.parametrize(
    ("name", "file", "found"),
    [
        (DENSE, ENCODER, "an encoder, resnet18"),
        (ENCODER, DENSE, "a dense model, resunet18"),
        ("resnet34_pri3d_joint", ENCODER, "an encoder, resnet18"),
        ("resnet50_pri3d_joint", ENCODER, "an encoder, resnet18"),
    ],
)
def test_a_wrong_file_is_never_loaded(root, tmp_path, name, file, found, kwargs):
    source = root / f"{file}.rooms" / "model.safetensors"
    (tmp_path / "file.safetensors").symlink_to(source)  # alone, so that no config.json gives it away
    with pytest.raises(
        WeightsError, match=rf"file\.safetensors does not fit {name}: it seems to hold {found}; tensors: \d+ matched, "
    ):
        create_model(name, checkpoint_path=tmp_path / "file.safetensors", **kwargs)


def test_a_shallower_file_for_a_deeper_model_with_a_new_head(root, tmp_path):
    """timm alone would load it: it is not strict once a head is new."""
    folder = tmp_path / "folder"
    write_folder(folder, timm.create_model("resnet34", num_classes=0))
    with pytest.raises(WeightsError, match="holds resnet34, not resnet18_pri3d_joint"):
        create_model(ENCODER, checkpoint_path=folder, num_classes=4)
    with pytest.raises(WeightsError, match=f"holds {DENSE}, not resunet18_pri3d_view"):
        create_model("resunet18_pri3d_view", checkpoint_path=root / f"{DENSE}.rooms")


def test_names_that_do_not_exist():
    with pytest.raises(
        WeightsError, match=r"no model 'resnet50_pri3d_jiont' in the zoo; did you mean resnet50_pri3d_joint"
    ):
        create_model("resnet50_pri3d_jiont")
    with pytest.raises(WeightsError, match="`pri3d-zoo list` shows them all"):
        create_model("zzz", pretrained=False)


def test_without_weights():
    with pytest.raises(WeightsError, match=f"no weights for {ENCODER}: PRI3D_WEIGHTS is not set"):
        create_model(ENCODER)
    with pytest.raises(WeightsError, match=rf"no weights for {ENCODER}\.rooms: PRI3D_WEIGHTS is not set"):
        timm.create_model(f"{ENCODER}.rooms", pretrained=True)
    assert create_model(f"{ENCODER}.rooms", pretrained=False).num_classes == 0
    with pytest.raises(WeightsError, match="drop one of them"):
        create_model(ENCODER, pretrained=False, checkpoint_path="folder")


def test_weights_on_other_encoders_are_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("PRI3D_WEIGHTS", str(tmp_path))
    names = ["convnext_atto_pri3d_view", "resunet_convnext_atto_pri3d_view"]
    others = ["convnext_nano_pri3d_veiw", "no_such_net_pri3d_view", "convnext_atto", "resunet", ""]
    for name in (*names, *others, ENCODER):
        (tmp_path / f"{name}.mine").mkdir()
        (tmp_path / f"{name}.mine" / "model.safetensors").touch()
    (tmp_path / "convnext_tiny_pri3d_view.empty").mkdir()
    assert list_models(pretrained=True) == [ENCODER, *names]
    assert list_models("*convnext*", pretrained=True) == names
    assert list_models("resu*", pretrained=True) == names[1:]
    assert len(list_models()) == 24


def test_list_models():
    assert len(list_models()) == 24
    assert list_models("resunet50*") == [f"resunet50_pri3d_{objective}" for objective in ("geo", "joint", "view")]
    assert list_models("nothing*") == []
    assert list_models(pretrained=True) == []


def test_transform_follows_the_weights(root):
    from PIL import Image

    model = create_model(ENCODER, checkpoint_path=root / f"{ENCODER}.rooms", features_only=True)
    tensor = pri3d_zoo.create_transform(model)(Image.new("RGB", (640, 480), (0, 0, 0)))
    expected = -torch.tensor([0.1, 0.2, 0.3]) / torch.tensor([0.4, 0.5, 0.6])
    torch.testing.assert_close(tensor.mean(dim=(1, 2)), expected)
    assert pri3d_zoo.create_transform(model, is_training=True)(Image.new("RGB", (640, 480))).shape == (3, 240, 320)
