"""Fine-tuning for semantic segmentation, on eight small images that are easy to learn."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.best import Best
from pri3d_zoo.training.evaluate.label_sets import IGNORED
from pri3d_zoo.training.evaluate.results import read_results
from pri3d_zoo.training.evaluate.segmentation import LabelledBatch, SegmentationTask, initial_segmenter, segment
from pri3d_zoo.training.evaluate.segmentation_config import SegmentationConfig
from pri3d_zoo.training.export import export
from pri3d_zoo.training.run_folder import trained_network

SIZE = (32, 64)
EVALUATE = Best.evaluate


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Images in NYUv2's layout: floor below, wall above, a bed in between, whose colours tell them."""
    root = tmp_path_factory.mktemp("nyuv2")
    (root / "image").mkdir()
    (root / "label40").mkdir()
    generator = np.random.default_rng(0)
    names = [f"{number:04d}" for number in range(8)]
    for name in names:
        labels = np.ones(SIZE, np.uint8)
        labels[generator.integers(18, 26) :] = 2
        left = generator.integers(4, 40)
        labels[12:24, left : left + 20] = 4
        labels[:2] = 0
        color = np.array([[0, 0, 0], [200, 190, 180], [120, 60, 20], [0, 0, 0], [30, 60, 200]], np.uint8)[labels]
        Image.fromarray(color).save(root / "image" / f"{name}.png")
        Image.fromarray(labels).save(root / "label40" / f"{name}.png")
    (root / "train.txt").write_text("\n".join(names[:6]))
    (root / "test.txt").write_text("\n".join(names[6:]))
    return root


def configure(rooms, run, *more):
    overrides = [
        f"run={run}",
        f"data.store={rooms}",
        "data.workers=0",
        "encoder=resnet18",
        f"size=[{SIZE[0]},{SIZE[1]}]",
        "batch_size=3",
        "init=scratch",
        "precision=float32",
        "log_every=1",
        *more,
    ]
    return load_config("semseg_nyuv2", overrides, SegmentationConfig)


def test_the_loss_by_hand():
    scores = torch.zeros(1, 2, 1, 3)
    scores[0, 1] = torch.tensor([np.log(3.0), 0.0, 5.0])
    labels = torch.tensor([[[1, 0, IGNORED]]], dtype=torch.uint8)
    batch = LabelledBatch(torch.zeros(1, 3, 1, 3, dtype=torch.uint8), labels)
    losses, found = SegmentationTask(0.4)(lambda _: [scores, scores], batch)
    expected = (-np.log(3 / 4) - np.log(1 / 2)) / 2
    assert losses["classes"].item() == pytest.approx(expected)
    assert losses["auxiliary"].item() == pytest.approx(0.4 * expected)
    assert found["accuracy"].item() == 1  # of two equal scores the first counts
    empty = LabelledBatch(batch.color, torch.full_like(labels, IGNORED))
    assert SegmentationTask(0.4)(lambda _: [scores], empty)[0]["classes"].item() == 0


def test_it_learns_and_tells(rooms, tmp_path):
    study = tmp_path / "results.jsonl"
    small = ["encoder=test_resnet", "steps=12", "evaluate_every=2", "optimizer.lr=0.05"]
    config = configure(rooms, tmp_path / "run", *small, f"results={study}")
    found = segment(config)
    assert found.miou > 0.6
    assert found.pixels == 2 * 30 * 64  # of the two rows above nothing counts
    # of the thirteen classes wall, floor and bed
    assert [i for i, value in enumerate(found.class_iou) if value is not None and value > 0] == [0, 4, 11]
    lines = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert max(line["miou"] for line in lines) == found.miou
    [result] = read_results(study)
    assert result["figures"]["miou"] == found.miou
    assert (result["fraction"], result["seed"], result["init"], result["pre-trained"]) == (1.0, 0, "scratch", "nothing")
    best = load_checkpoint(tmp_path / "run" / "best")
    assert best["figures"]["miou"] == found.miou
    assert best["step"] == result["best_step"]


def test_going_on_is_the_same_as_never_stopping(rooms, tmp_path, monkeypatch):
    often = ("encoder=test_resnet", "steps=6", "evaluate_every=1", "checkpoint_every=2")  # an epoch is two steps
    found = segment(configure(rooms, tmp_path / "whole", *often))

    def breaks(best, model, step):
        if step == 4:
            raise RuntimeError("power cut")
        EVALUATE(best, model, step)

    monkeypatch.setattr(Best, "evaluate", breaks)
    with pytest.raises(RuntimeError, match="power cut"):
        segment(configure(rooms, tmp_path / "parts", *often))
    monkeypatch.setattr(Best, "evaluate", EVALUATE)
    assert load_checkpoint(tmp_path / "parts")["step"] == 4
    assert segment(configure(rooms, tmp_path / "parts", *often)) == found
    one, other = (load_checkpoint(tmp_path / name)["model"] for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_weights_to_start_from(rooms, tiny_run, tmp_path):
    export(tiny_run, tmp_path / "encoder")
    trained = trained_network(tiny_run)[1].state_dict()
    for init, decoder, taken in (
        (str(tiny_run), True, "encoder and decoder"),
        (str(tiny_run), False, "encoder"),
        (str(tmp_path / "encoder"), False, "encoder"),
    ):
        config = configure(rooms, tmp_path / "run", f"init={init}", f"with_decoder={str(decoder).lower()}")
        model, said = initial_segmenter(config, 13)
        assert said == taken
        assert torch.equal(model.network.encoder.conv1.weight, trained["backbone.encoder.conv1.weight"])
        same = torch.equal(model.network.decoder.up1.conv1.weight, trained["backbone.decoder.up1.conv1.weight"])
        assert same == decoder
    with pytest.raises(InputError, match="init=scratch has none"):
        initial_segmenter(configure(rooms, tmp_path / "run", "with_decoder=true"), 13)


def test_a_size_that_deeplabv3plus_cannot_take(rooms, tmp_path):
    with pytest.raises(InputError, match=r"size=\[120, 160\]: deeplabv3plus .* multiples of 16"):
        initial_segmenter(configure(rooms, tmp_path / "run", "network=deeplabv3plus", "size=[120,160]"), 13)


def test_the_same_seed_starts_with_the_same_weights(rooms, tmp_path):
    first, second, third = (
        initial_segmenter(configure(rooms, tmp_path / "run", f"seed={seed}"), 13)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first.network.head.weight, second.network.head.weight)
    assert not torch.equal(first.network.head.weight, third.network.head.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.fraction=1.5", "data.fraction=1.5: it must be above 0"),
        ("data.classes=nyu14", "no set of classes 'nyu14'"),
        ("data.dataset=ade20k", "no dataset 'ade20k'"),
        ("network=unet", "unet"),
    ],
)
def test_wrong_settings_are_one_sentence(rooms, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        segment(configure(rooms, tmp_path / "run", change))
