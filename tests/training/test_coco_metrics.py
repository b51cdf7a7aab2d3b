"""Average precision against figures worked out by hand, a plain computation over arrays, and torchmetrics' own."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch

from pri3d_zoo.training.evaluate.coco_data import CocoFile
from pri3d_zoo.training.evaluate.coco_masks import encode_mask, mask_box
from pri3d_zoo.training.evaluate.coco_metrics import DetectionFigures, average_precision

SIZE = (40, 50)
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def rectangle(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def file_of(objects, images=(1, 2), categories=(1, 5)):
    """objects: (image, category, mask, crowd)"""
    rows = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "segmentation": encode_mask(mask),
            "bbox": mask_box(encode_mask(mask)),
            "iscrowd": int(crowd),
        }
        for number, (image, category, mask, crowd) in enumerate(objects, start=1)
    ]
    return CocoFile(
        Path("truth.json"),
        {
            "images": [{"id": id, "file_name": f"{id}", "height": SIZE[0], "width": SIZE[1]} for id in images],
            "annotations": rows,
            "categories": [{"id": id, "name": str(id)} for id in categories],
        },
        {id: str(id) for id in categories},
    )


def detection(image, category, mask, score, box=None):
    encoded = encode_mask(mask)
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box or mask_box(encoded),
        "score": score,
        "segmentation": encoded,
    }


def test_perfect_detections_score_one_and_none_zero():
    truth = file_of([(1, 1, rectangle(2, 2, 12, 12), False), (2, 5, rectangle(5, 5, 30, 20), False)])
    found = [detection(1, 1, rectangle(2, 2, 12, 12), 0.9), detection(2, 5, rectangle(5, 5, 30, 20), 0.2)]
    assert astuple(average_precision(truth, found)) == pytest.approx((1, 1, 1, 1))
    assert average_precision(truth, []) == DetectionFigures(0, 0, 0, 0)


def test_figures_worked_out_by_hand():
    """Two objects of one class; in the order of scores: right, wrong, right. Precision at recall 0.5 is 1, at 1 is 2/3.

    Of COCO's 101 recalls, 0, 0.01 ... 1, 51 are at most a half. The right boxes overlap by 0.8 and 1, so the first
    stops counting above 0.8: then the precisions are 0, 0, 1/3, and the greatest from recall 0.5 down is 1/3.
    """
    truth = file_of([(1, 1, rectangle(0, 0, 10, 10), False), (2, 1, rectangle(20, 20, 30, 30), False)])
    found = [
        detection(1, 1, rectangle(0, 0, 8, 10), 0.9),
        detection(1, 1, rectangle(30, 30, 40, 40), 0.8),
        detection(2, 1, rectangle(20, 20, 30, 30), 0.7),
    ]
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    figures = average_precision(truth, found)
    assert figures.box_ap50 == pytest.approx(low)
    assert figures.box_ap == pytest.approx((7 * low + 3 * high) / 10)  # 0.5, 0.55 ... 0.8 are seven
    assert (figures.mask_ap50, figures.mask_ap) == pytest.approx((figures.box_ap50, figures.box_ap))


def test_boxes_and_masks_are_told_apart():
    truth = file_of([(1, 1, rectangle(0, 0, 10, 10), False)])
    half = rectangle(0, 0, 10, 4)
    figures = average_precision(truth, [detection(1, 1, half, 0.9, box=[0, 0, 10, 10])])
    assert astuple(figures) == pytest.approx((1, 1, 0, 0))


def test_crowds_count_neither_way():
    crowd = rectangle(0, 0, 40, 40)
    truth = file_of([(1, 1, rectangle(42, 0, 50, 10), False), (1, 1, crowd, True)])
    found = [
        detection(1, 1, rectangle(5, 5, 15, 15), 0.9),  # in the crowd
        detection(1, 1, rectangle(42, 0, 50, 10), 0.5),
    ]
    assert astuple(average_precision(truth, found)) == pytest.approx((1, 1, 1, 1))


def plain_average_precision(objects, found, of_boxes):
    """By the definition, with loops: per class and threshold, greedy matches by score, 101 recalls."""

    def area(item):
        if not of_boxes:
            return item
        rows, columns = np.nonzero(item)
        return rectangle(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)

    precisions = []
    for category in sorted({category for _, category, _, _ in objects}):
        of_class = [(image, area(mask)) for image, c, mask, _ in objects if c == category]
        ordered = sorted((d for d in found if d[1] == category), key=lambda d: -d[3])
        for threshold in THRESHOLDS:
            taken, right = set(), []
            for image, _, mask, _ in ordered:
                overlaps = {
                    n: (area(mask) & other).sum() / (area(mask) | other).sum()
                    for n, (where, other) in enumerate(of_class)
                    if where == image and n not in taken
                }
                best = max(overlaps, key=lambda n: overlaps[n], default=None)
                hit = best is not None and overlaps[best] >= threshold
                right.append(hit)
                if hit:
                    taken.add(best)
            hits = np.cumsum(right)
            recall = hits / len(of_class)
            precision = hits / np.arange(1, len(right) + 1)
            at = [max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)]
            precisions.append((threshold, np.mean(at)))
    return (
        np.mean([p for _, p in precisions]),
        np.mean([p for threshold, p in precisions if threshold == THRESHOLDS[0]]),
    )


def random_scenes(seed):
    """Objects as unions of two rectangles, and detections that are moved, missed, doubled or of nothing."""
    rng = np.random.default_rng(seed)

    def blob(left, top):
        width, height = rng.integers(6, 14, 2)
        return rectangle(left, top, left + width, top + height) | rectangle(left, top, left + 3, top + height + 4)

    objects, found = [], []
    for image in range(1, 9):
        for _ in range(rng.integers(1, 5)):
            left, top, category = rng.integers(0, 34), rng.integers(0, 22), int(rng.choice([1, 5]))
            mask = blob(left, top)
            objects.append((image, category, mask, False))
            for _ in range(rng.integers(0, 3)):
                moved = np.roll(mask, rng.integers(-1, 2, 2), (0, 1))
                found.append((image, category, moved, float(rng.random())))
        if rng.random() < 0.7:
            found.append((image, int(rng.choice([1, 5])), blob(*rng.integers(0, 20, 2)), float(rng.random())))
    return objects, found


@pytest.mark.parametrize("seed", range(4))
def test_against_the_definition(seed):
    objects, found = random_scenes(seed)
    truth = file_of(objects, images=range(1, 9))
    figures = average_precision(truth, [detection(*each) for each in found])
    assert 0.1 < figures.box_ap < 0.9
    expected = (*plain_average_precision(objects, found, True), *plain_average_precision(objects, found, False))
    assert astuple(figures) == pytest.approx(expected, abs=1e-9)


def test_boxes_against_torchmetrics():
    """The computation that torchmetrics has in plain PyTorch; its public metric calls COCO's tools itself."""
    legacy = pytest.importorskip("torchmetrics.detection._mean_ap").MeanAveragePrecision(box_format="xywh")
    objects, found = random_scenes(9)
    truth = file_of(objects, images=range(1, 9))
    # by uneven parts of a pixel, as the two differ on whether an overlap of exactly a threshold counts
    parts = np.random.default_rng(1).random((len(found), 4)) / 2
    detections = [detection(*each) for each in found]
    detections = [d | {"bbox": (np.array(d["bbox"]) + p).tolist()} for d, p in zip(detections, parts, strict=True)]
    for image in range(1, 9):
        here = [d for d in detections if d["image_id"] == image]
        there = [row for row in truth.content["annotations"] if row["image_id"] == image]

        def columns(rows):
            return {
                "boxes": torch.tensor([row["bbox"] for row in rows]).reshape(-1, 4),
                "labels": torch.tensor([row["category_id"] for row in rows], dtype=torch.long),
            }

        scores = torch.tensor([d["score"] for d in here])
        legacy.update([columns(here) | {"scores": scores}], [columns(there)])
    expected = legacy.compute()
    figures = average_precision(truth, detections)
    assert figures.box_ap == pytest.approx(float(expected["map"]), abs=1e-6)
    assert figures.box_ap50 == pytest.approx(float(expected["map_50"]), abs=1e-6)
