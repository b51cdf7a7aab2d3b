"""The classes against the datasets' own definitions."""

import csv

import numpy as np
import pytest

from pri3d_zoo.training.data.nyu40 import NYU40
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.label_sets import IGNORED, SETS, label_set


def test_nyu_names_and_mapping_are_the_official_ones(real_data):
    with (real_data / "nyuv2" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name40"] for row in rows] == list(label_set("nyu40").classes)
    thirteen = label_set("nyu13")
    numbers = np.array([[int(row["id40"]) for row in rows]])
    assert thirteen.indices(numbers, "x").tolist() == [[int(row["id13"]) - 1 for row in rows]]
    assert {int(row["id13"]): row["name13"] for row in rows} == dict(enumerate(thirteen.classes, start=1))


def test_void_does_not_count():
    for name in ("nyu40", "nyu13", "scannet20", "cityscapes19"):
        assert label_set(name).indices(np.zeros((2, 2), int), "x").tolist() == [[IGNORED] * 2] * 2


def test_scannet_counts_twenty_of_forty():
    chosen = label_set("scannet20")
    # the benchmark's list (kaldir.vc.in.tum.de/scannet_benchmark/documentation), by the ids of NYU40
    assert chosen.classes == (
        *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
        *("counter", "desk", "curtain", "refrigerator", "shower_curtain", "toilet", "sink", "bathtub"),
        "otherfurniture",
    )
    indices = chosen.indices(np.arange(41)[None], "x")[0]
    assert (indices != IGNORED).sum() == 20
    assert all(NYU40[id - 1] == chosen.classes[index] for id, index in enumerate(indices) if index != IGNORED)


def test_cityscapes_by_hand():
    chosen = label_set("cityscapes19")
    assert len(chosen.classes) == 19
    assert chosen.indices(np.array([[7, 26, 33, 0, 9, 255]]), "x").tolist() == [[0, 13, 18, IGNORED, IGNORED, IGNORED]]


@pytest.mark.parametrize(("name", "number"), [("nyu40", 41), ("nyu13", 255), ("cityscapes19", 34), ("nyu40", 894)])
def test_unknown_labels_are_refused_by_name(name, number):
    with pytest.raises(InputError, match=rf"room/7 holds the label {number}, which {name} does not know"):
        label_set(name).indices(np.array([[1, number]]), "room/7")


def test_unknown_sets():
    with pytest.raises(InputError, match="no set of classes 'nyu14'; there are nyu40, nyu13"):
        label_set("nyu14")
    assert all(len(chosen.classes) == len(set(chosen.classes)) for chosen in SETS.values())
