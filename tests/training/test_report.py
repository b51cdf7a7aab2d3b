import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.report import _upright, principal_colors, report
from pri3d_zoo.training.run_folder import trained_model


class Page(HTMLParser):
    """Collects what the page refers to and checks that every element is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.headings, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_one_file_with_everything(tiny_run, tiny_store):
    path = report(tiny_run, pairs=4)
    page = Page()
    page.feed(path.read_text())
    assert not page.open
    assert page.headings[:5] == ["Probe", "Point at a match", "Losses", "Matches", "Features as colours"]
    assert len(page.sources) == 4
    for source in page.sources:
        assert source.startswith("data:image/png;base64,")
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        assert min(image.shape[:2]) > 150
        assert image.std() > 5  # not an empty canvas
    text = " ".join(page.text)
    assert "before training" in text
    assert "after 6 steps" in text
    assert len(re.findall(r"\b[01]\.\d{3}\b", text)) >= 6
    assert path.stat().st_size < 4_000_000


def explored(path):
    """What the interactive part of a report shows."""
    return json.loads(re.search(r'type="application/json">(.*?)</script>', path.read_text())[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_what_is_to_be_pointed_at(tiny_run):
    """Whether it works in a browser is seen by the zoo's tests of the page."""
    data = explored(report(tiny_run, pairs=2))
    assert [(view["width"], view["height"]) for view in data["views"]] == [(64, 48)] * 2
    assert [weights["name"] for weights in data["weights"]] == ["before training", "after training"]
    count = len(numbers(data["voxels"]["positions"], np.int16)) // 3
    assert count > 50
    for colors in (data["voxels"], *data["weights"]):
        assert numbers(colors["colors"], np.uint8).reshape(count, 3).std() > 20
    # the codes are those of the trained network, of what it makes of the images that are shown
    left = Image.open(io.BytesIO(base64.b64decode(data["views"][0]["image"].partition(",")[2])))
    with torch.no_grad():
        image = torch.from_numpy(np.array(left)).permute(2, 0, 1)[None]
        expected = functional.normalize(trained_model(tiny_run)[1].backbone(normalize(image))[0].flatten(1), dim=0).T
    weights = data["weights"][1]
    codes = numbers(weights["maps"][0]["codes"], np.int8).reshape(24 * 32, -1)
    restored = codes * np.float32(weights["scales"]) + np.float32(weights["offsets"])
    found = functional.normalize(torch.from_numpy(restored), dim=1)
    assert (found @ found.T - expected @ expected.T).abs().mean() < 0.05  # the images went through JPEG


def test_without_a_3d_network_there_is_nothing_to_turn(tmp_path, tiny_settings):
    assert pretrain(load_config("demo", [f"run={tmp_path / 'run'}", *tiny_settings, "loss.method=view", "steps=1"]))
    path = report(tmp_path / "run", pairs=2)
    assert "A chunk in 3D" not in path.read_text()
    data = explored(path)
    assert data["voxels"] is None
    assert "colors" not in data["weights"][0]


def test_an_upright_view_of_the_world():
    """A camera that looks along the world's x axis, and 30 degrees down, in a world whose z axis points up."""
    down, ahead = np.array([-0.5, 0, -np.sqrt(0.75)]), np.array([np.sqrt(0.75), 0, -0.5])
    pose = np.eye(4)
    pose[:3, :3] = np.stack((np.cross(down, ahead), down, ahead), 1)
    expected = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    torch.testing.assert_close(_upright(torch.from_numpy(pose).float()), expected)
    # and where the world has the camera's own axes
    torch.testing.assert_close(_upright(torch.eye(4)), torch.eye(3))


def test_other_scenes(tiny_run, tiny_store):
    assert "(box1)" in report(tiny_run, tiny_store, scenes=["box1"], pairs=2).read_text()
    with pytest.raises(InputError, match="no scene 'attic'"):
        report(tiny_run, tiny_store, scenes=["attic"])


def test_not_a_run(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        report(tmp_path)


def test_principal_colors_follow_the_features():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(4, 16, generator=generator)
    labels = torch.randint(4, (500,), generator=generator)
    colors = principal_colors(kinds[labels] * torch.rand(500, 1, generator=generator).add(0.5))
    assert colors.min() >= 0
    assert colors.max() <= 1
    means = torch.stack([colors[labels == kind].mean(0) for kind in range(4)])
    assert all(colors[labels == kind].std(0).max() < 1e-3 for kind in range(4))
    assert torch.pdist(means).min() > 0.3
