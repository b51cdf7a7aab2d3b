"""What all fine-tunings do alike, on a network of one weight."""

import json
import re
from dataclasses import dataclass

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.config import Precision, check_numbers, load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.best import BEST, EVALUATIONS
from pri3d_zoo.training.evaluate.detection_config import DetectionConfig, check_detection
from pri3d_zoo.training.evaluate.finetune import FineTuning, chosen, evaluating, fine_tune
from pri3d_zoo.training.evaluate.finetune_config import FineTuneConfig, ImagesConfig, SgdConfig
from pri3d_zoo.training.evaluate.results import read_results
from pri3d_zoo.training.evaluate.segmentation import segment
from pri3d_zoo.training.evaluate.segmentation_config import SegmentationConfig
from pri3d_zoo.training.metrics import METRICS, read_metrics


@dataclass
class Numbers:
    """A batch."""

    values: Tensor

    def to(self, device):
        return Numbers(self.values.to(device))


@dataclass(frozen=True)
class Photo:
    id: str
    scene: str


def pull(model, batch):
    """Draws the weight to the mean of the batch."""
    return {"distance": (model.weight - batch.values.mean()).square().sum() / 2}, {}


def config(run, **changes):
    settings = {
        "data": ImagesConfig(store="s", workers=0),
        "optimizer": SgdConfig(lr=0.5, momentum=0.0),
        "init": "scratch",
        "batch_size": 2,
        "precision": Precision.float32,
        "log_every": 1,
        "checkpoint_every": 1,
    }
    return FineTuneConfig(run=str(run), **{**settings, **changes})


def own(values, task=pull, measured=(), **changes):
    """A task whose evaluations find the weight, or these figures one after the other."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    found = iter(measured)
    settings = {
        "training": NumberImages(values),
        "validation": [0],
        "collate": lambda samples: Numbers(torch.tensor(samples)),
        "model": model,
        "taken": "nothing",
        "groups": [{"params": [model.weight]}],
        "task": task,
        "steps": 4,
        "evaluate_every": 2,
        "learning_rate": lambda step: 0.5,
        "measure": lambda network, accelerator: {"share": next(found, network.weight.item()), "each": [1, 2]},
        "criterion": "share",
        "described": {"task": "numbers", "data": "two", "size": "1", "network": "a weight"},
        "details": ("each",),
    }
    return FineTuning(**{**settings, **changes})


class NumberImages:
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        return self.values[key[0]]


def test_the_folder_and_the_results_of_a_run(tmp_path):
    """Each step halves the distance to 1."""
    study = tmp_path / "results.jsonl"
    found = fine_tune(config(tmp_path / "run", results=str(study), seed=3), lambda _: own([0.0, 2.0]))
    assert found == {"share": 1 - 0.5**4, "each": [1, 2]}
    rows = [json.loads(line) for line in (tmp_path / "run" / EVALUATIONS).read_text().splitlines()]
    assert [(row["step"], row["share"]) for row in rows] == [(2, 0.75), (4, 0.9375)]
    assert [row["loss"] for row in read_metrics(tmp_path / "run")] == [0.5, 0.125, 0.03125, 0.0078125]
    assert "scratch, the rest from seed 3" in (tmp_path / "run" / "environment.json").read_text()
    [line] = read_results(study)
    assert line.pop("seconds") > 0
    assert line.pop("hardware")
    assert list(line.items()) == [
        ("run", str(tmp_path / "run")),
        ("task", "numbers"),
        ("data", "two"),
        ("size", "1"),
        ("network", "a weight"),
        ("init", "scratch"),
        ("pre-trained", "nothing"),
        ("fraction", 1.0),
        ("seed", 3),
        ("figures", {"share": 0.9375}),
        ("each", [1, 2]),
        ("best_step", 4),
    ]


def test_seconds_are_those_of_all_sessions(tmp_path):
    """A run that is killed in its third step, and whose steps before it were slow."""

    def dies(model, batch):
        if model.weight > 0.7:
            raise RuntimeError("power cut")
        return pull(model, batch)

    study = tmp_path / "results.jsonl"
    settings = config(tmp_path / "run", results=str(study))
    with pytest.raises(RuntimeError, match="power cut"):
        fine_tune(settings, lambda _: own([0.0, 2.0], dies))
    metrics = tmp_path / "run" / METRICS
    header, *rows = [line.split(",") for line in metrics.read_text().splitlines()]
    for number, row in enumerate(rows, start=1):
        row[header.index("seconds")] = str(1000.0 * number)
    metrics.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    fine_tune(settings, lambda _: own([0.0, 2.0]))
    [line] = read_results(study)
    assert 2000 < line["seconds"] < 2500


def test_the_best_evaluation_counts_and_not_the_last(tmp_path):
    found = fine_tune(config(tmp_path), lambda _: own([1.0, 1.0], measured=[0.8, 0.3]))
    assert found["share"] == 0.8
    best, last = load_checkpoint(tmp_path / BEST), load_checkpoint(tmp_path)
    assert (best["step"], last["step"]) == (2, 4)
    assert best["model"]["weight"].item() == 0.75


def test_groups_keep_their_own_settings(tmp_path):
    fine = own([1.0, 1.0], steps=1)
    fine.groups[0] |= {"factor": 0.5, "weight_decay": 0.1}
    fine_tune(config(tmp_path), lambda _: fine)
    [group] = load_checkpoint(tmp_path)["optimizer"]["param_groups"]
    assert (group["lr"], group["factor"], group["weight_decay"]) == (0.25, 0.5, 0.1)
    assert fine.model.weight.item() == 0.25


@pytest.mark.parametrize("schema", [DetectionConfig, SegmentationConfig])
def test_the_way_out_of_a_loss_that_is_not_finite_is_a_key(tmp_path, schema):
    """What the loop advises, each task's recipes understand."""

    def breaks(model, batch):
        losses, found = pull(model, batch)
        return {"distance": losses["distance"] * (torch.inf if batch.values.mean() > 1 else 1)}, found

    images = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0]  # of the three steps of an epoch the fives break one or two
    with pytest.raises(InputError, match="on_nonfinite=skip"):
        fine_tune(config(tmp_path / "stop"), lambda _: own(images, breaks, steps=3))
    override = ["run=r", "data.store=s", "on_nonfinite=skip"]
    skip = load_config("detect_coco_mini" if schema is DetectionConfig else "semseg_nyuv2", override, schema)
    fine = own(images, breaks, steps=3)
    assert fine_tune(config(tmp_path / "skip", on_nonfinite=skip.on_nonfinite), lambda _: fine)
    kept = 3 - int(read_metrics(tmp_path / "skip")[-1]["skipped"])
    assert kept in (1, 2)
    assert fine.model.weight.item() == 1 - 0.5**kept


@pytest.mark.parametrize("key", ["optimizer.lr", "batch_size", "steps", "evaluate_every", "log_every", "epochs"])
def test_values_that_must_be_positive(key):
    config = load_config("semseg_nyuv2", ["run=r", "data.store=s", f"{key}=-1"], SegmentationConfig)
    with pytest.raises(InputError, match=rf"{key}=-1(\.0)?: it must be greater than 0"):
        check_numbers(config, "evaluate_every", "epochs")
    check_numbers(load_config("semseg_nyuv2", ["run=r", "data.store=s"], SegmentationConfig), "epochs")  # steps=null


@pytest.mark.parametrize("wrong", ["size=[240]", "size=[240,8]", "data.workers=-1"])
def test_sizes_and_workers_are_checked_before_anything_is_read(wrong):
    config = load_config("semseg_nyuv2", ["run=r", "data.store=s", wrong], SegmentationConfig)
    with pytest.raises(InputError, match=re.escape(wrong.replace(",", ", ")) + ": it must be"):
        segment(config)


def test_detection_checks_them_too():
    config = load_config("detect_scannet_resnet50", ["run=r", "data.store=s", "batch_size=0"], DetectionConfig)
    with pytest.raises(InputError, match="batch_size=0: it must be greater than 0"):
        check_detection(config)


def test_the_images_that_are_chosen(tmp_path):
    photos = [Photo(f"scene{number // 2}/{number}", f"scene{number // 2}") for number in range(8)]
    assert chosen(photos, ImagesConfig(), 0) == photos
    (tmp_path / "list.txt").write_text("scene1\nscene3\n")
    of_list = chosen(photos, ImagesConfig(images=str(tmp_path / "list.txt")), 0)
    assert of_list == photos[2:4] + photos[6:]
    half = chosen(photos, ImagesConfig(images=str(tmp_path / "list.txt"), fraction=0.5), 0)  # half of the list
    assert half in (photos[2:4], photos[6:])


@pytest.mark.parametrize("training", [True, False])
def test_an_evaluation_leaves_no_trace(training):
    model = nn.Dropout().train(training)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with evaluating(model, Accelerator(cpu=True)):
        assert not model.training
        assert not torch.is_grad_enabled()
        torch.rand(7)
    assert model.training == training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.rand(1), expected)
