import io
import json
import shutil

import pytest
import torch
from rich.console import Console
from torch import nn

from pri3d_zoo.hub import WeightsError
from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.backbones import FeatureMaps
from pri3d_zoo.training.evaluate.probe import (
    RADIUS,
    THRESHOLDS,
    Protocol,
    best_matches,
    match_errors,
    matching_errors,
    matching_recall,
    probe_maps,
    probe_names,
    probe_pairs,
    write_results,
)
from pri3d_zoo.training.evaluate.probe_tables import covisible_table, probe3d_table
from pri3d_zoo.training.export import export
from pri3d_zoo.training.geometry import depth_to_world

SIZE = (48, 64)


class Oracle(nn.Module):
    """Features that are given, one map a call, whatever the image."""

    def __init__(self, maps):
        super().__init__()
        self.maps = iter(maps)

    def forward(self, _):
        return next(self.maps)


def position_features(batch):
    """Directions from far outside the room to each pixel's place: alike where the place is, and nowhere else."""
    for pair in range(len(batch.color)):
        points = depth_to_world(batch.depth[pair], batch.intrinsics[pair], batch.camera_to_world[pair])
        lifted = torch.cat((points, torch.full_like(points[..., :1], 3.0)), -1)
        yield lifted.transpose(1, 2).reshape(2, 4, *SIZE)


@pytest.fixture(scope="module")
def batch(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=False)
    return collate([dataset[i] for i in range(4)])


def test_perfect_features_score_one(batch):
    recall = matching_recall(matching_errors(Oracle(position_features(batch)), batch), RADIUS)
    # 5 px at a width of 320 is one pixel here, and a point may be nearest to the neighbour of its true match
    assert recall.at[10] > 0.99
    assert recall.pairs == 4
    assert recall.queries > 4 * 200


def test_shuffled_features_fall_to_chance(batch):
    generator = torch.Generator().manual_seed(0)

    def shuffled():
        for maps in position_features(batch):
            cells = torch.randperm(48 * 64, generator=generator)
            yield torch.stack((maps[0], maps[1].flatten(1)[:, cells].view_as(maps[1])))

    recall = matching_recall(matching_errors(Oracle(shuffled()), batch), RADIUS)
    chance = torch.pi * (20 / 5) ** 2 / (48 * 64)  # the share of the image within 20 px, 4 pixels here
    assert recall.at[20] < 2 * chance


def test_best_match_by_hand():
    # 2 x 3 cells over an image of 4 x 6; the first image asks with its pixel (u 5, v 0), which lies in cell (0, 2)
    features = torch.zeros(2, 6, 2, 3)
    features[0] = torch.eye(6).view(6, 2, 3)
    features[1] = torch.eye(6).flip(1).view(6, 2, 3)  # cell (0, 2) of the first is cell (1, 0) of the second
    best = best_matches(features, torch.tensor([[5]]), (4, 6))
    assert best.tolist() == [[0.5, 2.5]]  # centre of cell (1, 0): pixels 0 and 1, rows 2 and 3
    error = match_errors(features, torch.tensor([[5]]), torch.tensor([[3 * 6 + 4]]), (4, 6))
    assert error.item() == pytest.approx((3.5**2 + 0.5**2) ** 0.5)


def test_the_same_pairs_and_queries_for_everybody(tiny_store):
    store = SceneStore(tiny_store)
    a, b = (probe_pairs(store, SIZE, [], 3, seed=1) for _ in range(2))
    assert torch.equal(a.color, b.color)
    assert len(a.color) == 3
    assert len(probe_pairs(store, SIZE, ["box1"], 100, seed=1).color) == 5
    assert not torch.equal(a.color, probe_pairs(store, SIZE, [], 3, seed=2).color)
    ones = nn.Conv2d(3, 8, 3, stride=2)
    torch.manual_seed(3)
    one, other = (torch.cat(matching_errors(ones, a)) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.initial_seed() == 3  # the caller's random state is left alone


@pytest.mark.slow
def test_named_weights_beside_random_and_shuffled_ones(tiny_run, tiny_store, tmp_path):
    export(tiny_run, tmp_path / "dense", dense=True)
    export(tiny_run, tmp_path / "encoder")
    names = [str(tiny_run), str(tmp_path / "dense"), str(tmp_path / "encoder")]
    rows = probe_names(names, tiny_store, scenes=["box0"], pairs=3, size=SIZE)
    kinds = ["random resnet18, authors decoder", "random resnet18", *names, f"shuffled {tiny_run}"]
    strides = [f"stride {stride}" for stride in (4, 8, 16, 32)]
    wanted = {kind: strides + ["decoder"] * (kind not in (kinds[1], names[2])) for kind in kinds}
    assert [(row.name, row.stage) for row in rows] == [(kind, stage) for kind in kinds for stage in wanted[kind]]
    found = {(row.name, row.stage): row for row in rows}
    for stage in strides:  # the same weights, whichever way they are named
        same = [found[name, stage] for name in names]
        for row in same[1:]:  # but for the order in which their memory layouts add up
            assert row.covisible.at == pytest.approx(same[0].covisible.at, abs=0.02), (row.name, stage)
            assert row.probe3d.recall == pytest.approx(same[0].probe3d.recall, abs=0.02), (row.name, stage)
        assert found[kinds[0], stage].covisible != same[0].covisible
    assert set(rows[0].covisible.at) == set(THRESHOLDS)
    assert set(rows[0].probe3d.recall) == {5, 10, 20}
    write_results(rows, tmp_path / "deep" / "probe.json")
    written = json.loads((tmp_path / "deep" / "probe.json").read_text())
    assert written[1]["covisible"]["queries"] == rows[1].covisible.queries
    assert f"{rows[0].probe3d.recall[5]:.3f}" in render(probe3d_table(rows))
    assert f"{rows[0].covisible.at[10]:.3f}" in render(covisible_table(rows))


def render(table):
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_an_exported_encoder_scores_as_its_run(tiny_run, tiny_store, tmp_path):
    export(tiny_run, tmp_path / "encoder")
    names = [str(tiny_run), str(tmp_path / "encoder")]
    rows = probe_names(names, tiny_store, protocols=[Protocol.covisible], stages=["stride 8"], pairs=1)
    found = {row.name: row.covisible.at for row in rows}
    random = ["random resnet18, authors decoder", "random resnet18"]
    assert list(found) == [*random, *names, f"shuffled {tiny_run}"]
    assert found[names[0]] == pytest.approx(found[names[1]], abs=0.02)
    assert found[names[0]] != found[random[0]]


def test_one_protocol_and_one_stage(tiny_run, tiny_store):
    rows = probe_names(
        [str(tiny_run)], tiny_store, protocols=[Protocol.covisible], stages=["decoder"], pairs=2, size=SIZE
    )
    assert [row.stage for row in rows] == ["decoder"] * 3
    assert all(row.probe3d is None and row.covisible is not None for row in rows)
    with pytest.raises(InputError, match="no stage 'neck' in this network; there are stride 4, "):
        probe_names([str(tiny_run)], tiny_store, stages=["neck"], pairs=1, size=SIZE)


def test_shuffled_maps_fall_to_chance(batch):
    """Maps of constant random colours a cell, the same in both views where they see the same place."""

    class Places(FeatureMaps):
        def __init__(self, maps):
            torch.nn.Module.__init__(self)
            self.maps = iter(maps)

        def forward(self, _):
            return {"decoder": next(self.maps)}

    perfect = probe_maps(Places(position_features(batch)), batch, list(Protocol))["decoder"]
    shuffled = probe_maps(Places(position_features(batch)), batch, list(Protocol), shuffled=True)["decoder"]
    assert perfect[0].at[10] > 0.99
    assert perfect[1].recall[5] > 0.99
    assert shuffled[0].at[20] < 2 * torch.pi * (20 / 5) ** 2 / (48 * 64)
    assert shuffled[1].recall[5] < 2 * torch.pi * 5**2 / (48 * 64)


@pytest.mark.parametrize("name", ["resnet50_pri3d_joint", "no_such_network"])
def test_names_without_weights(name, tiny_store):
    with pytest.raises(WeightsError, match=name):
        probe_names([name], tiny_store, size=SIZE)


def test_no_valid_depth_is_said(batch):
    blind = type(batch)(**(vars(batch) | {"depth": torch.zeros_like(batch.depth)}))
    with pytest.raises(InputError, match=r"no pixel of the probed pairs has a true match within 0\.02 m"):
        matching_recall(matching_errors(Oracle(position_features(batch)), blind), RADIUS)


def test_coarse_depth_takes_a_larger_radius(batch):
    """The second views' depth is 0.3 m off: as wrong as in a store of street scenes."""
    off = batch.depth + torch.tensor([0.0, 0.3])[:, None, None]
    coarse = type(batch)(**(vars(batch) | {"depth": off}))
    assert sum(map(len, matching_errors(Oracle(position_features(batch)), coarse, 0.5))) > 400
    assert sum(map(len, matching_errors(Oracle(position_features(batch)), coarse))) < 40


@pytest.mark.slow
def test_the_radius_is_that_of_the_runs_or_the_one_given(tiny_run, tiny_store, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    text = (run / "config.yaml").read_text()
    assert "\n  radius: 0.02\n" in text
    (run / "config.yaml").write_text(text.replace("\n  radius: 0.02\n", "\n  radius: 0.5\n"))
    for given, expected in ((None, 0.5), (0.1, 0.1)):
        rows = probe_names(
            [str(tiny_run), str(run)],
            tiny_store,
            protocols=[Protocol.covisible],
            stages=["stride 32"],
            pairs=1,
            size=SIZE,
            radius=given,
        )
        assert {row.covisible.radius for row in rows} == {expected}
        assert {row.cells for row in rows} == {(2, 2)}
        assert f"their points within {expected:g} m" in render(covisible_table(rows))
        assert " 2x2 " in render(covisible_table(rows))
