import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from pri3d_zoo.training.config import ChunkBox, load_config
from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.probe import matching_errors
from pri3d_zoo.training.geometry import pixel_box
from pri3d_zoo.training.networks.sparse import SparseUNet
from pri3d_zoo.training.pretrain import CHUNK_BOXES, pretrain, training_pairs
from pri3d_zoo.training.report import _upright, principal_colors, report
from pri3d_zoo.training.run_folder import trained_model
from pri3d_zoo.training.tasks import PretrainTask


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
    path = report(tiny_run)
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
    assert "after 4 steps" in text
    assert len(re.findall(r"\b[01]\.\d{3}\b", text)) >= 6
    assert path.stat().st_size < 4_000_000


def explored(path):
    """What the interactive part of a report shows."""
    return json.loads(re.search(r'type="application/json">(.*?)</script>', path.read_text())[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.mark.slow
def test_what_is_to_be_pointed_at(tiny_run):
    """Whether it works in a browser is seen by the zoo's tests of the page."""
    data = explored(report(tiny_run))
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
    small = ["loss.method=view", "model.encoder=test_resnet", "steps=1"]
    assert pretrain(load_config("demo", [f"run={tmp_path / 'run'}", *tiny_settings, *small]))
    path = report(tmp_path / "run")
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


@pytest.mark.slow
def test_other_scenes(tiny_run, tiny_store):
    assert "(box1)" in report(tiny_run, tiny_store, scenes=["box1"]).read_text()
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


@pytest.fixture(scope="module")
def coarse_run(tiny_run, tmp_path_factory):
    """The run as if it had been trained on the authors' chunks, and on depth that is off by half a metre."""
    run = tmp_path_factory.mktemp("runs") / "coarse"
    shutil.copytree(tiny_run, run)
    text = (run / "config.yaml").read_text()
    for key, value in (("  chunk_box: frustum\n", "  chunk_box: pixels\n"), ("  radius: 0.02\n", "  radius: 0.5\n")):
        assert key in text
        text = text.replace(key, value)
    (run / "config.yaml").write_text(text)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tiny_run", "coarse_run"])
def test_the_3d_network_is_shown_what_it_was_trained_on(which, request, monkeypatch):
    """Voxels and colours of the report, as they enter the network, beside those that the task gives it."""

    def upper_half(*frame):  # in these rooms both boxes may hold the same voxels
        box = pixel_box(*frame)
        box[..., 1, 1] = 0.5
        return box

    monkeypatch.setitem(CHUNK_BOXES, ChunkBox.pixels, upper_half)
    run = request.getfixturevalue(which)
    given = []
    forward = SparseUNet.forward
    monkeypatch.setattr(SparseUNet, "forward", lambda network, voxels: given.append(voxels) or forward(network, voxels))
    path = report(run)
    reported = [(voxels.coordinates[:, 1:], voxels.features) for voxels in given]
    assert reported
    config, model = trained_model(run)
    dataset = training_pairs(config)
    trained = []
    for pair in range(len(dataset)):
        given.clear()
        with torch.no_grad():
            PretrainTask(config.loss, dataset.voxel_size)(model, dataset[pair, 0])
        left = given[0].coordinates[:, 0] == 0
        trained.append((given[0].coordinates[left, 1:], given[0].features[left]))
    for voxels, colors in reported:
        assert any(torch.equal(voxels, theirs[0]) and torch.equal(colors, theirs[1]) for theirs in trained)
    assert ("rounded outward to whole metres" in path.read_text()) == (which == "coarse_run")


@pytest.mark.slow
def test_a_store_without_voxels_and_with_coarse_depth(coarse_run, tiny_store, tmp_path, monkeypatch):
    for scene in map(SceneStore(tiny_store).scene, ("box0", "box1")):
        with SceneWriter(tmp_path / "store", scene.id) as writer:
            for number, id in enumerate(scene.frame_ids):
                depth = scene.depth(number) + np.float32(0.3 * (number % 2))
                writer.add_frame(
                    Frame(id, scene.color(number), depth, scene.intrinsics[number], scene.camera_to_world[number])
                )
            writer.finish(
                pairs=np.array([(0, 1), (1, 2), (2, 3)], np.int32),
                overlaps=np.full(3, 0.5, np.float32),
                voxels=np.empty((0, 3), np.int32),
                voxel_colors=np.empty((0, 3), np.uint8),
                voxel_size=0.1,
                manifest={},
            )
    probed = []
    monkeypatch.setattr(
        "pri3d_zoo.training.report.matching_errors",
        lambda network, *rest: probed.append(network) or matching_errors(network, *rest),
    )
    path = report(coarse_run, tmp_path / "store")
    assert len(probed) == 2  # each network once
    page = Page()
    page.feed(path.read_text())
    text = " ".join(page.text)
    assert "within 0.5 m" in text
    assert "whole metres would be shown here, but there are none" in text
    assert len(page.sources) == 3
    assert explored(path)["voxels"] is None
