"""The path handler, the configurations and the check; what needs detectron2 is at the end, against torchvision."""

import re
import sys
import types

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn

from pri3d_zoo import WeightsError, d2, hub, weights

pytestmark = pytest.mark.slow

ENCODERS = {18: "resnet18_pri3d_joint", 50: "resnet50_pri3d_joint"}
CONFIGS = [f"mask_rcnn_R_{depth}_FPN_{data}" for data in ("scannet", "nyuv2", "coco") for depth in ENCODERS]

# (torchvision's name, detectron2's): by hand from the layers of detectron2's BasicStem, BottleneckBlock and BasicBlock
NAMES = {
    50: {
        "conv1.weight": "stem.conv1.weight",
        "bn1.weight": "stem.conv1.norm.weight",
        "bn1.running_var": "stem.conv1.norm.running_var",
        "layer1.0.conv1.weight": "res2.0.conv1.weight",
        "layer1.0.bn3.bias": "res2.0.conv3.norm.bias",
        "layer1.0.downsample.0.weight": "res2.0.shortcut.weight",
        "layer1.0.downsample.1.running_mean": "res2.0.shortcut.norm.running_mean",
        "layer2.3.bn2.weight": "res3.3.conv2.norm.weight",
        "layer3.5.conv2.weight": "res4.5.conv2.weight",
        "layer4.2.conv3.weight": "res5.2.conv3.weight",
    },
    18: {
        "bn1.running_mean": "stem.conv1.norm.running_mean",
        "layer1.1.bn2.weight": "res2.1.conv2.norm.weight",
        "layer2.0.downsample.1.bias": "res3.0.shortcut.norm.bias",
        "layer4.1.conv2.weight": "res5.1.conv2.weight",
    },
}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: nothing published, nothing bundled, an empty cache, nothing loaded yet."""
    monkeypatch.setattr(weights, "TABLE", ())
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(d2, "_resolved", [])
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder as PRI3D_WEIGHTS names it, with two encoders whose batch norms are unlike those of a fresh model."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for depth, name in ENCODERS.items():
        model = timm.create_model(f"resnet{depth}", num_classes=0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, std=0.1)
        save_for_hf(model, root / f"{name}.rooms", model_config={"pretrained_cfg": {}}, safe_serialization=True)
    return root


@pytest.fixture
def zoo(root, monkeypatch):
    monkeypatch.setenv("PRI3D_WEIGHTS", str(root))
    return root


def read(path: str) -> dict:
    return torch.load(d2.local_file(path), weights_only=True)


@pytest.mark.parametrize("depth", ENCODERS)
def test_converted_file_has_detectron2s_names_and_the_same_values(zoo, depth):
    content = read(f"pri3d://{ENCODERS[depth]}")
    original = load_file(zoo / f"{ENCODERS[depth]}.rooms" / "model.safetensors")
    assert content["matching_heuristics"] is True
    assert content["__author__"]
    for theirs, name in NAMES[depth].items():
        assert torch.equal(content["model"][name], original[theirs])
    assert len(content["model"]) == sum(not key.endswith("num_batches_tracked") for key in original)
    pattern = r"(stem|res[2-5]\.\d+)\.(conv[1-3]|shortcut)\.(norm\.(weight|bias|running_mean|running_var)|weight)"
    assert all(re.fullmatch(pattern, key) for key in content["model"])


def test_every_way_to_name_weights_gives_one_file(zoo, monkeypatch):
    file = d2.local_file("pri3d://resnet18_pri3d_joint")
    written = file.stat().st_mtime_ns
    folder = zoo / "resnet18_pri3d_joint.rooms"
    monkeypatch.chdir(zoo)
    for path in (
        "pri3d://resnet18_pri3d_joint.rooms",
        f"pri3d://{folder}",
        f"pri3d:{folder}",  # what urllib makes of the one before
        f"pri3d://{folder / 'model.safetensors'}",
        "pri3d://./resnet18_pri3d_joint.rooms",
    ):
        assert d2.local_file(path) == file
    assert file.stat().st_mtime_ns == written
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert d2.local_file("pri3d://resnet50_pri3d_joint") != file


def test_other_bytes_give_another_file(zoo, tmp_path):
    tensors = load_file(zoo / "resnet18_pri3d_joint.rooms" / "model.safetensors")
    file = tmp_path / "other.safetensors"
    save_file(tensors, file)
    first = read(f"pri3d://{file}")["model"]["stem.conv1.weight"]
    save_file(tensors | {"conv1.weight": tensors["conv1.weight"] + 1}, file)
    assert torch.equal(read(f"pri3d://{file}")["model"]["stem.conv1.weight"], first + 1)


def test_dense_model_gives_its_encoder(zoo, tmp_path):
    tensors = load_file(zoo / "resnet18_pri3d_joint.rooms" / "model.safetensors")
    dense = {f"encoder.{key}": value for key, value in tensors.items()} | {"decoder.conv0.bias": torch.zeros(32)}
    save_file(dense, tmp_path / "dense.safetensors")
    found = read(f"pri3d://{tmp_path / 'dense.safetensors'}")["model"]
    expected = read("pri3d://resnet18_pri3d_joint")["model"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_failed_conversion_leaves_nothing_behind(zoo, tmp_path, monkeypatch):
    def full_disk(content, stream):
        stream.write(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="no space left"):
            d2.local_file("pri3d://resnet18_pri3d_joint")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert read("pri3d://resnet18_pri3d_joint")["model"]


def test_bad_names_are_told(zoo, tmp_path):
    with pytest.raises(WeightsError, match=r"no weights for resnet50_pri3d_jiont"):
        d2.local_file("pri3d://resnet50_pri3d_jiont")
    with pytest.raises(WeightsError, match=r"no folder resnet50_pri3d_joint\.scannet"):
        d2.local_file("pri3d://resnet50_pri3d_joint.scannet")
    with pytest.raises(WeightsError, match="does not exist"):
        d2.local_file(f"pri3d://{tmp_path}/nothing")
    save_file({"weight": torch.zeros(1)}, tmp_path / "linear.safetensors")
    with pytest.raises(WeightsError, match=r"linear\.safetensors cannot be used in detectron2.*other than a ResNet"):
        d2.local_file(f"pri3d://{tmp_path / 'linear.safetensors'}")


def test_without_detectron2_register_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2.utils.file_io", None)
    with pytest.raises(ImportError, match="detectron2 cannot be imported"):
        d2.register()


# The check, on a stand-in with detectron2's names


class Convolution(nn.Conv2d):
    """As detectron2's `Conv2d`: the norm is a part of it."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.norm = nn.BatchNorm2d(norm.num_features)


def stand_in(depth: int) -> nn.Module:
    """A detector of which only the backbone is there, with the layers of torchvision's ResNet under their names."""
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    bottom_up = nn.Module()
    bottom_up.stem = nn.Module()
    bottom_up.stem.conv1 = Convolution(theirs.conv1, theirs.bn1)
    for number in range(1, 5):
        stage = nn.Sequential()
        for block in getattr(theirs, f"layer{number}"):
            ours = nn.Module()
            for i in range(1, 4 if hasattr(block, "conv3") else 3):
                ours.add_module(f"conv{i}", Convolution(getattr(block, f"conv{i}"), getattr(block, f"bn{i}")))
            if block.downsample is not None:
                ours.shortcut = Convolution(*block.downsample)
            stage.append(ours)
        bottom_up.add_module(f"res{number + 1}", stage)
    model = nn.Module()
    model.backbone = nn.Module()
    model.backbone.bottom_up = bottom_up
    return model


@pytest.fixture
def loaded(zoo):
    """A function that makes a stand-in which holds the weights of its depth."""

    def make(depth: int) -> nn.Module:
        model = stand_in(depth)
        missing, unexpected = model.backbone.bottom_up.load_state_dict(
            read(f"pri3d://{ENCODERS[depth]}")["model"], strict=False
        )
        assert not unexpected
        assert all(key.endswith("num_batches_tracked") for key in missing)
        return model

    return make


@pytest.mark.parametrize("depth", ENCODERS)
def test_check_passes_what_is_loaded_and_nothing_else(loaded, depth):
    name = f"pri3d://{ENCODERS[depth]}"
    d2.check_loaded(loaded(depth), name)
    d2.check_loaded(loaded(depth).backbone.bottom_up, name)
    d2.check_loaded(nn.ModuleDict({"module": loaded(depth)}), name)
    with pytest.raises(WeightsError, match=r"of the backbone were not loaded \(backbone\.bottom_up\.stem\.conv1"):
        d2.check_loaded(stand_in(depth), name)


@pytest.mark.parametrize("name", ["stem.conv1.weight", "res3.0.shortcut.norm.running_var", "res5.1.conv2.norm.bias"])
def test_check_sees_a_single_tensor(loaded, name):
    model = loaded(18)
    with torch.no_grad():
        value = model.backbone.bottom_up.state_dict()[name].view(-1)
        value[-1] = torch.nextafter(value[-1], torch.tensor(9.0))  # the smallest change that there is
    with pytest.raises(WeightsError, match=rf"1 of 100 tensors .* \(backbone\.bottom_up\.{re.escape(name)}\)$"):
        d2.check_loaded(model, "pri3d://resnet18_pri3d_joint")


def test_check_sees_weights_of_another_depth(loaded):
    with pytest.raises(WeightsError, match="have no place in the backbone"):
        d2.check_loaded(loaded(18), "pri3d://resnet50_pri3d_joint")
    short = loaded(50)
    del short.backbone.bottom_up.res4[5]
    with pytest.raises(WeightsError, match=r"resnet50.*15 tensors of the file have no place .*res4\.5\.conv1"):
        d2.check_loaded(short, "pri3d://resnet50_pri3d_joint")


def test_check_allows_a_backbone_that_stops_early(loaded):
    model = loaded(18)
    del model.backbone.bottom_up.res5
    d2.check_loaded(model, "pri3d://resnet18_pri3d_joint")


def test_check_sees_what_tensors_do_not_tell(loaded):
    model = loaded(50)
    block = model.backbone.bottom_up.res4[0]
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    with pytest.raises(WeightsError, match=r"bottom_up\.res4\.0\.conv1 have .*set MODEL\.RESNETS\.STRIDE_IN_1X1"):
        d2.check_loaded(model, "pri3d://resnet50_pri3d_joint")
    model = loaded(50)
    model.pixel_mean = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    model.pixel_std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    model.input_format = "BGR"
    with pytest.raises(
        WeightsError, match=r"pixel_mean is \[103.*123\.675, 116\.28, 103\.53\]; .*INPUT\.FORMAT to RGB"
    ):
        d2.check_loaded(model, "pri3d://resnet50_pri3d_joint")
    model.pixel_mean, model.input_format = model.pixel_mean.flip(0), "RGB"
    d2.check_loaded(model, "pri3d://resnet50_pri3d_joint")


def test_check_does_not_pass_for_want_of_something_to_compare(zoo):
    with pytest.raises(WeightsError, match=r"has not loaded any weights of the zoo.*register\(\)"):
        d2.check_loaded(stand_in(18))
    with pytest.raises(WeightsError, match="ResNet has no ResNet of detectron2's"):
        d2.check_loaded(torchvision.models.resnet18(), "pri3d://resnet18_pri3d_joint")


# The configurations


def test_config_names():
    assert {d2.config_file(name).stem for name in CONFIGS} == set(CONFIGS)
    with pytest.raises(WeightsError, match=r"there are mask_rcnn_R_18_FPN_coco, .*scannet$"):
        d2.config_file("mask_rcnn_R_50_FPN")


def facts(name: str) -> dict:
    """What the configuration has to say, by hand from the authors' tables and torchvision's conventions."""
    data, depth = name.rpartition("_")[2], int(name.split("_")[3])
    return {
        "MODEL.WEIGHTS": f"pri3d://{ENCODERS[depth]}",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "INPUT.FORMAT": "RGB",
        "MODEL.MASK_ON": True,
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 0 if data == "coco" else 2,
        "MODEL.RESNETS.DEPTH": depth,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.RESNETS.NORM": "SyncBN" if data == "coco" else "FrozenBN",
        **({"MODEL.RESNETS.RES2_OUT_CHANNELS": 64} if depth == 18 else {}),
        "MODEL.ROI_HEADS.NUM_CLASSES": {"scannet": 18, "nyuv2": 9, "coco": 80}[data],
        "DATASETS.TRAIN": [{"coco": "coco_2017_train"}.get(data, f"{data}_train")],
        "DATASETS.TEST": [{"coco": "coco_2017_val"}.get(data, f"{data}_val")],
        "SOLVER.IMS_PER_BATCH": 2 if data == "nyuv2" else 16,
        "SOLVER.BASE_LR": 0.02 if data == "coco" else 0.0025,
        "SOLVER.STEPS": [60000, 80000],
        "SOLVER.MAX_ITER": 90000,
        "TEST.EVAL_PERIOD": 5000 if data == "nyuv2" else 10000,
    }


def assert_says(cfg, name: str) -> None:
    for key, expected in facts(name).items():
        value = cfg
        for part in key.split("."):
            value = value[part]
        value = list(value) if isinstance(value, tuple) else value
        assert (value, type(value)) == (expected, type(expected)), key


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_say_what_the_weights_need(name):
    config = pytest.importorskip("fvcore.common.config", reason="fvcore is not installed")
    cfg = config.CfgNode(config.CfgNode.load_yaml_with_base(str(d2.config_file(name))))
    assert_says(cfg, name)


# With detectron2


@pytest.fixture
def detectron2(zoo):
    pytest.importorskip("detectron2", reason="detectron2 is not installed")
    from detectron2 import checkpoint, config, modeling

    d2.register()
    d2.register()
    return types.SimpleNamespace(get_cfg=config.get_cfg, build=modeling.build_model, **vars(checkpoint))


def build(detectron2, name: str, *options):
    cfg = detectron2.get_cfg()
    cfg.merge_from_file(str(d2.config_file(name)))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *options])
    return detectron2.build(cfg).eval(), cfg.MODEL.WEIGHTS


def load(detectron2, model: nn.Module, path: str) -> None:
    detectron2.DetectionCheckpointer(model).load(path)


@pytest.mark.parametrize("name", CONFIGS)
def test_detectron2_knows_every_key(detectron2, name):
    cfg = detectron2.get_cfg()
    cfg.merge_from_file(str(d2.config_file(name)))  # raises for a key or a type that is not detectron2's
    assert_says(cfg, name)


@pytest.mark.filterwarnings("ignore")  # detectron2's own
@pytest.mark.parametrize("name", CONFIGS)
def test_detectron2_computes_what_torchvision_computes(detectron2, zoo, name):
    model, path = build(detectron2, name)
    load(detectron2, model, path)
    d2.check_loaded(model)
    d2.check_loaded(model, path)

    depth = facts(name)["MODEL.RESNETS.DEPTH"]
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    theirs.fc = nn.Identity()
    theirs.load_state_dict(load_file(zoo / f"{ENCODERS[depth]}.rooms" / "model.safetensors"))
    image = torch.randint(0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(0)).float()
    images = model.preprocess_image([{"image": image}]).tensor
    normalize = torchvision.transforms.Normalize([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert torch.equal(images[0, :, :96, :128], normalize(image))
    with torch.no_grad():
        found = model.backbone.bottom_up(images)
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for number in range(1, 5):
            x = getattr(theirs, f"layer{number}")(x)
            stage = found[f"res{number + 1}"]
            print(name, f"res{number + 1}", tuple(stage.shape), "largest difference", (stage - x).abs().max().item())
            assert torch.equal(stage, x)
        assert x.std() > 0.01
        assert "instances" in model.inference([{"image": image}])[0]


@pytest.mark.filterwarnings("ignore")
def test_check_sees_how_detectron2_loads_the_wrong_thing_in_silence(detectron2, zoo, tmp_path):
    name = "mask_rcnn_R_50_FPN_scannet"
    folder = zoo / "resnet50_pri3d_joint.rooms"

    model, path = build(detectron2, name, "MODEL.RESNETS.STRIDE_IN_1X1", "True")
    load(detectron2, model, path)
    with pytest.raises(WeightsError, match="STRIDE_IN_1X1"):
        d2.check_loaded(model)

    model, path = build(detectron2, name, "INPUT.FORMAT", "BGR", "MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]")
    load(detectron2, model, path)
    with pytest.raises(WeightsError, match=r"set MODEL\.PIXEL_STD to .*INPUT\.FORMAT"):
        d2.check_loaded(model)

    torch.save(load_file(folder / "model.safetensors"), tmp_path / "raw.pth")  # torchvision's names as they are
    model, path = build(detectron2, name)
    load(detectron2, model, str(tmp_path / "raw.pth"))
    with pytest.raises(WeightsError, match="265 of 265 tensors of the backbone were not loaded"):
        d2.check_loaded(model, path)

    model, path = build(detectron2, name)
    load(detectron2, model, f"pri3d://{folder}")
    d2.check_loaded(model)
    with torch.no_grad():
        model.backbone.bottom_up.res5[2].conv3.norm.running_var[7] += 1e-3
    with pytest.raises(WeightsError, match=r"1 of 265 .*\(backbone\.bottom_up\.res5\.2\.conv3\.norm\.running_var\)"):
        d2.check_loaded(model)


@pytest.mark.filterwarnings("ignore")
def test_other_heads_than_fpn(detectron2, zoo):
    """A backbone that is not called `bottom_up`, and stops before the last stage, which is in the heads."""
    cfg = detectron2.get_cfg()
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", "pri3d://resnet50_pri3d_joint"
    cfg.MODEL.RESNETS.STRIDE_IN_1X1, cfg.INPUT.FORMAT = False, "RGB"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    model = detectron2.build(cfg)
    load(detectron2, model, cfg.MODEL.WEIGHTS)
    d2.check_loaded(model)
    last = read(cfg.MODEL.WEIGHTS)["model"]["res5.2.conv3.weight"]
    assert torch.equal(model.roi_heads.res5[2].conv3.weight, last)
