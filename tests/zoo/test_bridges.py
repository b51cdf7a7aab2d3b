"""Other libraries with the zoo's models, in their own words: one line each, and it carries the weights.

The weights are random, of plain timm's ResNets, in a weight folder that PRI3D_WEIGHTS names; outputs are compared with
those of plain timm.
"""

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

import pri3d_zoo

pytestmark = pytest.mark.slow

ENCODER, DEEPER, DENSE = "resnet18_pri3d_joint", "resnet50_pri3d_joint", "resunet18_pri3d_joint"
STAGES = (1, 2, 3, 4)  # strides 4 to 32


def random_model(name: str) -> nn.Module:
    """Batch norms as after a training: with statistics that matter, a library that drops them is found out."""
    model = timm.create_model(name, num_classes=0).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.5, 0.5)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The weight folders' root, and plain timm's models with the same weights by the names of ours."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    plain = {
        ENCODER: random_model("resnet18"),
        DEEPER: random_model("resnet50"),
        DENSE: random_model(DENSE),
    }
    for name, model in plain.items():
        save_for_hf(model, root / f"{name}.rooms", safe_serialization=True)
    return root, plain


@pytest.fixture(autouse=True)
def plain(models, monkeypatch):
    """Plain timm's models by the names of ours, which take the same weights from PRI3D_WEIGHTS."""
    root, plain = models
    monkeypatch.setenv("PRI3D_WEIGHTS", str(root))
    return plain


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def stages(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    return model.forward_intermediates(image, indices=STAGES, intermediates_only=True)


@pytest.mark.parametrize("name", [ENCODER, DEEPER])
@pytest.mark.parametrize("architecture", ["Unet", "PSPNet", "DeepLabV3Plus"])
@torch.no_grad()
def test_segmentation_models_pytorch(plain, image, architecture, name):
    smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    # True is its word for the weights of a timm model; any other value but None loads them too
    model = getattr(smp, architecture)(encoder_name=f"tu-{name}", encoder_weights=True, classes=5).eval()
    assert model(image).shape == (2, 5, 64, 96)
    features = model.encoder(image)[2:]
    if architecture == "DeepLabV3Plus":
        plain_dilated = timm.create_model(name.partition("_")[0], num_classes=0, output_stride=16).eval()
        plain_dilated.load_state_dict(plain[name].state_dict())
        expected = stages(plain_dilated, image)
        assert expected[-1].shape[-2:] == (4, 6)
    else:
        expected = stages(plain[name], image)
    # PSPNet takes no more of an encoder than the stage at stride 8
    assert len(features) == (2 if architecture == "PSPNet" else 4)
    for found, wanted in zip(features, expected, strict=False):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_segmentation_models_pytorch_with_other_channels(plain):
    smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    model = smp.Unet(encoder_name=f"tu-{ENCODER}", encoder_weights=True, in_channels=1).eval()
    grey = plain[ENCODER].conv1.weight.sum(1, keepdim=True)
    torch.testing.assert_close(model.encoder.model.conv1.weight, grey)


def test_torchvision_mask_rcnn(plain, image):
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    encoder = pri3d_zoo.create_model(ENCODER)
    layers = {info["module"]: str(level) for level, info in enumerate(encoder.feature_info[1:])}
    channels = [info["num_chs"] for info in encoder.feature_info[1:]]
    backbone = BackboneWithFPN(encoder, layers, channels, out_channels=64)

    torch.manual_seed(0)
    model = MaskRCNN(backbone, num_classes=3, min_size=64, max_size=96, box_detections_per_img=5)
    backbone.eval()  # batch-norm statistics of two images would replace those of the weights
    with torch.no_grad():
        for found, wanted in zip(backbone.body(image).values(), stages(plain[ENCODER], image), strict=True):
            torch.testing.assert_close(found, wanted)
    masks = torch.zeros(1, 64, 96, dtype=torch.uint8)
    masks[0, 10:40, 20:60] = 1
    target = {"boxes": torch.tensor([[20.0, 10, 60, 40]]), "labels": torch.tensor([1]), "masks": masks}
    losses = model(list(image), [target, target])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert encoder.conv1.weight.grad.abs().sum() > 0
    detections = model.eval()(list(image))
    assert len(detections) == 2
    for detected in detections:
        assert 0 < len(detected["boxes"]) <= 5
        assert detected["boxes"].isfinite().all()
        assert detected["masks"].shape == (len(detected["boxes"]), 1, 64, 96)


def test_transformers_timm_backbone(plain, image):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    model = transformers.TimmBackbone.from_pretrained(ENCODER, out_indices=STAGES)
    config = transformers.TimmBackboneConfig(backbone=ENCODER, out_indices=list(STAGES))
    automatic = transformers.AutoBackbone.from_config(config, pretrained=True)
    assert model.channels == [64, 128, 256, 512]
    for backbone in (model.eval(), automatic.eval()):
        with torch.no_grad():
            for found, wanted in zip(backbone(image).feature_maps, stages(plain[ENCODER], image), strict=True):
                torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", [ENCODER, DENSE])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_torch_compile(plain, image, name, backend):
    """One graph without breaks; inductor needs a C++ compiler."""
    torch.compiler.reset()
    compiled = torch.compile(pri3d_zoo.create_model(name).eval(), fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), plain[name](image), rtol=1e-4, atol=1e-4)


# Sizes up to 32 have a last stage of one cell, for which a program of its own is traced.
SIZES = (
    {
        0: torch.export.Dim("batch"),
        2: torch.export.Dim("height", min=33),
        3: torch.export.Dim("width", min=33),
    },
)
OTHER_SIZES = ((1, 3, 70, 101), (3, 3, 33, 47))


@pytest.mark.parametrize("name", [ENCODER, DENSE])
@torch.no_grad()
def test_torch_export_with_any_batch_and_size(plain, image, name, tmp_path):
    program = torch.export.export(pri3d_zoo.create_model(name).eval(), (image,), dynamic_shapes=SIZES)
    torch.export.save(program, tmp_path / "model.pt2")
    exported = torch.export.load(tmp_path / "model.pt2").module()
    for other in (image, *(torch.randn(size) for size in OTHER_SIZES)):
        torch.testing.assert_close(exported(other), plain[name](other))


@pytest.mark.parametrize("name", [ENCODER, DENSE])
@torch.no_grad()
def test_onnx_runtime_with_any_batch_and_size(plain, image, name, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed, torch needs it to export to ONNX")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = tmp_path / "model.onnx"
    model = pri3d_zoo.create_model(name).eval()
    torch.onnx.export(model, (image,), file, dynamo=True, dynamic_shapes=SIZES, input_names=["image"], verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for other in (image, *(torch.randn(size) for size in OTHER_SIZES)):
        (found,) = session.run(None, {"image": other.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), plain[name](other), rtol=1e-4, atol=1e-4)
