"""`pri3d-train linear`: its tables for classes and for depth, and the options that do not go together."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pri3d_zoo.training.cli import app
from pri3d_zoo.training.errors import InputError


@pytest.fixture
def rooms(tmp_path):
    """NYUv2's layout: images whose left half is a bright wall, and whose right half a dark floor."""
    (tmp_path / "image").mkdir()
    (tmp_path / "label40").mkdir()
    names = [f"{number:04d}" for number in range(12)]
    labels = np.repeat([[1, 2]], 48, 0).repeat(32, 1).astype(np.uint8)  # wall, floor
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 60, (48, 64, 3))
        Image.fromarray((noise + 180 * (labels == 1)[..., None]).astype(np.uint8)).save(tmp_path / f"image/{name}.jpg")
        Image.fromarray(labels).save(tmp_path / f"label40/{name}.png")
    (tmp_path / "train.txt").write_text("\n".join(names[:8]))
    (tmp_path / "test.txt").write_text("\n".join(names[8:]))
    return tmp_path


def lines(*arguments):
    """What the command prints, row by row, as the text of the cells."""
    done = CliRunner().invoke(app, ["linear", *map(str, arguments)], catch_exceptions=False)
    rows = [line.replace("┃", "│").strip("│ ").split("│") for line in done.output.splitlines()]
    return done.output, [[cell.strip() for cell in row] for row in rows if len(row) > 1]


def test_a_table_of_classes(rooms, tiny_run):
    output, table = lines(tiny_run, rooms, "--classes", "nyu40", "--size", 48, 64, "--stages", "stride 4,stride 8")
    assert "linear maps of nyuv2, nyu40, 8 images to fit, 4 to measure" in " ".join(output.split())
    assert table[0] == ["weights", "map", "mIoU", "pixel accuracy"]
    assert [row[1] for row in table[1:]] == ["stride 4", "stride 8"] * 2
    assert [row[0].startswith("random") for row in table[1:]] == [True, True, False, False]
    # bright and dark are told apart by any network
    assert all(float(row[3]) > 0.9 for row in table[1:] if row[1] == "stride 4")


def test_a_table_of_depth(tiny_store, tiny_run):
    output, table = lines(tiny_run, tiny_store, "--dataset", "depth", "--scenes", "box1", "--stages", "stride 4")
    assert "fitted to box0, measured on box1" in " ".join(output.split())
    assert table[0] == ["weights", "map", "RMSE in m", "relative error", "within a factor of 1.25"]
    assert [row[1] for row in table[1:]] == ["stride 4"] * 2
    assert all(0 < float(row[2]) < 4 for row in table[1:])  # in a room of 4 m


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "depth", "--classes", "nyu13"], "classes=nyu13 does not go with --dataset depth"),
        (["--dataset", "depth", "--size", "48", "64"], r"size=\(48, 64\) does not go with --dataset depth"),
        (["--scenes", "a"], "scenes=a does not go with --dataset nyuv2"),
        (["--frames", "3"], "frames=3 does not go with --dataset nyuv2"),
    ],
)
def test_options_that_would_do_nothing(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        lines("resnet18", tmp_path, *arguments)
