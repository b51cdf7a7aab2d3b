"""Fine-tuning for detection: its data, schedule and figures, and that a stopped run goes on as if it were not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn
from yaml import safe_load

import pri3d_zoo
from pri3d_zoo.hub import WeightsError
from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.config import RECIPES, flat_keys, load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate import detection
from pri3d_zoo.training.evaluate.best import EVALUATIONS
from pri3d_zoo.training.evaluate.coco_masks import encode_mask, mask_box
from pri3d_zoo.training.evaluate.detection import detect, evaluate, initial_detector, learning_rate, read_data
from pri3d_zoo.training.evaluate.detection_config import DetectionConfig, StepwiseConfig
from pri3d_zoo.training.evaluate.results import read_results
from pri3d_zoo.training.run_folder import trained_model

CONFIGS = Path(pri3d_zoo.__file__).parent / "configs" / "detectron2"
NAMES = sorted(path.stem for path in RECIPES.glob("detect_*.yaml"))
SIZE = (64, 96)
COLORS = {3: (230, 40, 40), 90: (40, 60, 230)}


def write_split(folder, name, count, seed):
    """Grey images, each with a red square of category 3 and a blue bar of category 90; image n is of scene n // 2."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(count):
        pixels = rng.integers(100, 140, (*SIZE, 3)).astype(np.uint8)
        for category, (height, width), left in ((3, (24, 24), 4), (90, (14, 36), 50)):
            top, left = int(rng.integers(4, 36)), left + int(rng.integers(0, 8))
            mask = np.zeros(SIZE, bool)
            mask[top : top + height, left : left + width] = True
            pixels[mask] = COLORS[category]
            encoded = encode_mask(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": category,
                    "bbox": mask_box(encoded),
                    "segmentation": encoded,
                    "iscrowd": 0,
                }
            )
        file_name = f"{name}{number}.png"
        Image.fromarray(pixels).save(folder / file_name)
        row = {"id": number + 1, "file_name": file_name, "height": SIZE[0], "width": SIZE[1]}
        images.append(row | {"scene": f"scene{number // 2}"})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "square"}, {"id": 90, "name": "bar"}],
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    write_split(folder, "train", 6, 0)
    write_split(folder, "val", 2, 1)
    return folder


def config(run, data, *overrides):
    fixed = [
        f"run={run}",
        f"data.store={data}",
        "data.train=train.json",
        "data.val=val.json",
        "data.workers=0",
        "size=[64,96]",
        "regions=8",
        "smallest_anchor=16",
        "batch_size=2",
        "steps=4",
        "evaluate_every=3",
        "log_every=1",
        "checkpoint_every=2",
        "precision=float32",
        "score_threshold=0.5",  # the masks of a hundred uncertain detections take seconds an image
    ]
    return load_config("detect_coco_mini", [*fixed, *overrides], DetectionConfig)


def test_the_rate_rises_and_falls():
    settings = StepwiseConfig(lr=0.02, warmup_steps=1000, lower_at=[60_000, 80_000])
    for step, expected in (
        (0, 0.02 / 1000),
        (500, 0.02 * (0.5 + 0.0005)),
        (1000, 0.02),
        (59_999, 0.02),
        (60_000, 0.002),
        (80_000, 0.0002),
    ):
        assert learning_rate(step, settings) == pytest.approx(expected)
    assert learning_rate(0, StepwiseConfig(lr=0.02, warmup_steps=0)) == 0.02


@pytest.mark.parametrize("dataset", ["scannet", "nyuv2"])
@pytest.mark.parametrize("depth", [18, 50])
def test_recipes_are_the_schedules_of_the_detectron2_configurations(dataset, depth):
    def merged(name):
        loaded = safe_load((CONFIGS / name).read_text())
        base = merged(loaded.pop("_BASE_")) if "_BASE_" in loaded else {}
        return update(base, loaded)

    def update(base, changes):
        return base | {
            key: update(base.get(key, {}), value) if isinstance(value, dict) else value
            for key, value in changes.items()
        }

    theirs = merged(f"mask_rcnn_R_{depth}_FPN_{dataset}.yaml")
    ours = load_config(f"detect_{dataset}_resnet{depth}", ["run=r", "data.store=s"], DetectionConfig)
    assert (ours.encoder, ours.init) == (f"resnet{theirs['MODEL']['RESNETS']['DEPTH']}", "imagenet")
    assert ours.frozen_stages == theirs["MODEL"]["BACKBONE"]["FREEZE_AT"]
    assert ours.frozen_norms == (theirs["MODEL"]["RESNETS"]["NORM"] == "FrozenBN")
    assert ours.regions == theirs["MODEL"]["ROI_HEADS"]["BATCH_SIZE_PER_IMAGE"]
    assert ours.score_threshold == theirs["MODEL"]["ROI_HEADS"]["SCORE_THRESH_TEST"]
    assert [ours.smallest_anchor * 2**n for n in range(5)] == sum(theirs["MODEL"]["ANCHOR_GENERATOR"]["SIZES"], [])
    assert [*ours.short_sides, ours.size[0]] == theirs["INPUT"]["MIN_SIZE_TRAIN"]
    solver = theirs["SOLVER"]
    assert (ours.batch_size, ours.steps, ours.evaluate_every) == (
        solver["IMS_PER_BATCH"],
        solver["MAX_ITER"],
        theirs["TEST"]["EVAL_PERIOD"],
    )
    assert (ours.optimizer.lr, ours.optimizer.lower_at) == (solver["BASE_LR"], solver["STEPS"])
    assert (f"{theirs['DATASETS']['TRAIN'][0]}.coco.json", f"{theirs['DATASETS']['TEST'][0]}.coco.json") == (
        ours.data.train,
        ours.data.val,
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_with_the_names_that_stay(name):
    keys = flat_keys(load_config(name, ["run=r", "data.store=s"], DetectionConfig)).keys()
    assert {"run", "data.store", "steps", "batch_size", "size", "seed", "init"} <= keys


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["frozen_norms=true"], "init=scratch with frozen_stages=0 and frozen_norms=True: what is frozen would stay"),
        (["size=[64]"], r"size=\[64\], short_sides=\[\]: size must be"),
        (["short_sides=[128]"], r"short_sides=\[128\]: size must be"),
        (["regions=0"], "regions=0: it must be greater than 0"),
        (["score_threshold=1"], r"score_threshold=1\.0: it must be 0 or more"),
        (["data.fraction=0"], r"data\.fraction=0\.0"),
        (["init=no_such_thing"], "no_such_thing"),
    ],
)
def test_settings_that_do_not_fit_are_told(tmp_path, data, overrides, message):
    with pytest.raises((InputError, WeightsError), match=message):
        detect(config(tmp_path / "run", data, *overrides))


def test_parts_of_the_training_images(tmp_path, data):
    settings = config(tmp_path, data).data
    settings.fraction = 0.34
    chosen = {seed: {image.scene for image in read_data(settings, seed)[0].images} for seed in range(8)}
    assert all(len(scenes) == 1 for scenes in chosen.values())  # two of six images are one scene
    assert len(set().union(*chosen.values())) > 1
    settings.fraction = 1.0
    (tmp_path / "list.txt").write_text("scene1\ntrain5.png\n")
    settings.images = str(tmp_path / "list.txt")
    training, validation, _ = read_data(settings, 0)
    assert [image.id for image in training.images] == ["train2.png", "train3.png", "train5.png"]
    assert len(validation) == 2


def test_a_split_without_objects(tmp_path, data):
    content = json.loads((data / "val.json").read_text())
    for name in ("train.json", "empty.json"):
        rows = [] if name == "empty.json" else content["annotations"]
        (tmp_path / name).write_text(json.dumps(content | {"annotations": rows}))
    settings = config(tmp_path, data, f"data.annotations={tmp_path}", "data.val=empty.json").data
    with pytest.raises(InputError, match=r"empty\.json has no object to find"):
        read_data(settings, 0)


def test_a_rate_that_is_far_too_high_is_told(tmp_path, data):
    wild = ("optimizer.lr=1e20", "optimizer.warmup_steps=0", "steps=3")
    with pytest.raises(InputError, match=r"not finite .* lower optimizer\.lr, or with on_nonfinite=skip"):
        detect(config(tmp_path / "run", data, *wild))


class Oracle(nn.Module):
    """Knows the truth of a split, or half of it."""

    def __init__(self, dataset, share):
        super().__init__()
        self.dataset, self.share, self.calls = dataset, share, 0

    def forward(self, images):
        assert not self.training
        (target,) = self.dataset[self.calls].targets
        assert torch.equal(images[0], self.dataset[self.calls].colors[0] / 255)
        self.calls += 1
        count = int(len(target["labels"]) * self.share)
        return [
            {
                "boxes": target["boxes"][:count],
                "labels": target["labels"][:count],
                "scores": torch.full((count,), 0.8),
                "masks": target["masks"][:count, None].float(),
            }
        ]


@pytest.mark.parametrize(("share", "expected"), [(1, 1), (0.5, 0.5), (0, 0)])
def test_the_truth_scores_one(tmp_path, data, share, expected):
    """Half of it: all squares and no bar, so the mean of 1 and 0."""
    settings = config(tmp_path, data).data
    settings.val = "train.json"
    training, validation, truth = read_data(settings, 0)
    model = Oracle(training, share)  # the validation images carry no objects
    figures = evaluate(model, validation, truth, Accelerator(cpu=True), 0)
    assert model.training
    assert vars(figures) == pytest.approx(dict.fromkeys(vars(figures), expected))


@pytest.mark.slow
def test_the_encoder_of_a_run_is_where_it_starts(tmp_path, data, tiny_run):
    settings = config(tmp_path, data, f"init={tiny_run}")
    model, taken = initial_detector(settings, 2)
    _, trained = trained_model(tiny_run)
    theirs = trained.backbone.encoder.state_dict()
    assert taken == "encoder"
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.encoder.state_dict().items())
    again, _ = initial_detector(settings, 2)
    other, _ = initial_detector(config(tmp_path, data, f"init={tiny_run}", "seed=1"), 2)
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(model.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(model.state_dict()[name], other.state_dict()[name])


class Killed(Exception):
    pass


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_were_not(tmp_path, data, monkeypatch):
    results = tmp_path / "study" / "results.jsonl"
    figures = detect(config(tmp_path / "whole", data, f"results={results}"))
    calls = 0

    class Dying(detection.DetectionTask):
        def __call__(self, model, batch):
            nonlocal calls
            calls += 1
            if calls == 4:
                raise Killed
            return super().__call__(model, batch)

    with monkeypatch.context() as patched:
        patched.setattr(detection, "DetectionTask", Dying)
        with pytest.raises(Killed):
            detect(config(tmp_path / "parts", data))
    assert load_checkpoint(tmp_path / "parts")["step"] == 2
    assert detect(config(tmp_path / "parts", data, f"results={results}")) == figures
    whole, parts = (load_checkpoint(tmp_path / run) for run in ("whole", "parts"))
    assert all(torch.equal(tensor, parts["model"][key]) for key, tensor in whole["model"].items())
    rows = [(tmp_path / run / EVALUATIONS).read_text() for run in ("whole", "parts")]
    assert rows[0] == rows[1]
    assert [json.loads(row)["step"] for row in rows[0].splitlines()] == [3, 4]
    lines = read_results(results)
    assert [line["run"] for line in lines] == [str(tmp_path / "whole"), str(tmp_path / "parts")]
    assert lines[0]["figures"] == lines[1]["figures"] == vars(figures)
    assert (lines[0]["init"], lines[0]["pre-trained"], lines[0]["seed"]) == ("scratch", "nothing", 0)


@pytest.mark.slow  # about a minute
def test_two_images_are_learned_by_heart(tmp_path, data):
    content = json.loads((data / "train.json").read_text())
    two = content | {"images": content["images"][:2], "annotations": content["annotations"][:4]}
    (tmp_path / "two.json").write_text(json.dumps(two))
    figures = detect(
        config(
            tmp_path / "run",
            data,
            f"data.annotations={tmp_path}",
            "data.train=two.json",
            "data.val=two.json",
            "score_threshold=0.05",
            "steps=90",
            "evaluate_every=90",
            "checkpoint_every=90",
            "optimizer.lr=0.01",
            "optimizer.warmup_steps=20",
            "optimizer.lower_at=[70]",
        )
    )
    assert figures.box_ap50 > 0.9
    assert figures.mask_ap50 > 0.9
