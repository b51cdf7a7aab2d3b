import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.report import principal_colors, report


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
        self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_one_file_with_everything(tiny_run, tiny_store):
    path = report(tiny_run, pairs=4)
    page = Page()
    page.feed(path.read_text())
    assert not page.open
    assert page.headings[:5] == ["Probe", "Losses", "Matches", "Features as colours", "A chunk in 3D"]
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
