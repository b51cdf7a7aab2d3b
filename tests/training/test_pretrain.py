"""Pre-training on a store of a few frames: the real task, both networks, resumed, by every method."""

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from itertools import repeat
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from pri3d_zoo.training import pretrain as pretrain_module
from pri3d_zoo.training.checkpoint import CHECKPOINT, load_checkpoint
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.export import export
from pri3d_zoo.training.initialise import initial_model
from pri3d_zoo.training.loop import LoopSettings, train
from pri3d_zoo.training.losses import point_info_nce
from pri3d_zoo.training.metrics import read_metrics
from pri3d_zoo.training.networks.two_branch import MatchedFeatures
from pri3d_zoo.training.pretrain import prepared, pretrain
from pri3d_zoo.training.run_folder import run_environment, trained_model
from pri3d_zoo.training.tasks import PretrainTask


def same_state(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same_state(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_joint_run_learns(tiny_run):
    rows = read_metrics(tiny_run)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["loss"] == pytest.approx(row["view"] + row["geo"], rel=1e-5) for row in rows)
    assert all(0 < row["view_matches"] <= 64 and 0 < row["geo_matches"] <= 64 for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]
    config, model = trained_model(tiny_run)
    start = initial_model(config)
    for branch in ("backbone.encoder.conv1.weight", "backbone3d.conv0p1s1.kernel", "w2d.weight", "w3d.weight"):
        assert not torch.equal(model.state_dict()[branch], start.state_dict()[branch])


@pytest.mark.slow
def test_killed_and_continued_run_is_the_same_bit_for_bit(tmp_path, tiny_settings):
    settings = [*tiny_settings, "steps=6"]
    assert pretrain(load_config("demo", [f"run={tmp_path / 'straight'}", *settings]))
    command = [sys.executable, "-m", "pri3d_zoo.training", "pretrain", f"run={tmp_path / 'run'}", *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert load_checkpoint(tmp_path / "run")["step"] in (2, 4, 6)
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert same_state(load_checkpoint(tmp_path / "straight"), load_checkpoint(tmp_path / "run"))


@pytest.mark.parametrize("method", ["view", "geo"])
def test_one_loss_alone(method, tmp_path, tiny_settings):
    small = [f"loss.method={method}", "model.encoder=test_resnet", "steps=1"]
    config = load_config("demo", [f"run={tmp_path}", *tiny_settings, *small])
    assert pretrain(config)
    row = read_metrics(tmp_path)[-1]
    assert row["loss"] == pytest.approx(row[method])
    assert ("view" in row, "geo" in row) == (method == "view", method == "geo")
    _, model = trained_model(tmp_path)
    assert hasattr(model, "backbone3d") == (method == "geo")


def test_task_contrasts_what_lies_at_the_same_place(tiny_store, tiny_settings):
    """Features that are world positions make both losses what the formulas give for exact positions."""
    config = load_config("demo", ["run=unused", *tiny_settings])
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=True)
    batch = collate([dataset[0], dataset[6]])
    seen = {}

    def model(color, view_pixels, voxels, geo_pixels, geo_voxels):
        seen.update(view=view_pixels, pixels=geo_pixels, rows=geo_voxels, voxels=voxels)
        generator = torch.Generator().manual_seed(0)
        codes = torch.randn(4, 64, 8, generator=generator)
        return MatchedFeatures(codes[:2], codes[2:], codes, codes.flip(0))

    torch.manual_seed(0)
    losses, figures = PretrainTask(config.loss, 0.1)(model, batch)
    codes = torch.randn(4, 64, 8, generator=torch.Generator().manual_seed(0))
    assert figures["view_matches"] == figures["geo_matches"] == 64
    every = torch.ones(4, 64, dtype=torch.bool)
    expected_geo = [point_info_nce(codes[i : i + 1], codes.flip(0)[i : i + 1], every[:1], 0.1) for i in range(4)]
    assert losses["geo"].item() == pytest.approx(sum(expected_geo).item() / 4, rel=1e-5)
    assert losses["view"].item() == pytest.approx(point_info_nce(codes[:2], codes[2:], every[:2], 0.1).item())
    # and the matches that it asked for are at the same place of the room
    for sample in range(4):
        pair, view = divmod(sample, 2)
        z = batch.depth[pair, view].flatten()[seen["pixels"][sample]]
        k, pose = batch.intrinsics[pair, view], batch.camera_to_world[pair, view]
        u, v = seen["pixels"][sample] % 64, seen["pixels"][sample] // 64
        local = torch.stack(((u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z))
        points = (pose[:3, :3] @ local + pose[:3, 3:]).T
        centers = (batch.voxels[seen["rows"][sample], 1:] + 0.5) * 0.1
        assert ((points - centers).norm(dim=1) <= 0.1 + 1e-5).all()
        assert (batch.voxels[seen["rows"][sample], 0] == sample).all()


def test_a_frame_without_any_depth_does_no_harm(tiny_store, tiny_settings):
    config = load_config("demo", ["run=unused", *tiny_settings])
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=True)
    batch = collate([dataset[0], dataset[1]])
    batch.depth[0] = 0
    losses, figures = PretrainTask(config.loss, 0.1)(initial_model(config), batch)
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert figures["view_matches"] == 32  # of two pairs, one has its 64


def test_the_same_seed_gives_the_same_start(tiny_settings):
    config = load_config("demo", ["run=unused", *tiny_settings])
    a, b = initial_model(config).state_dict(), initial_model(config).state_dict()
    assert same_state(dict(a), dict(b))
    config.seed = 1
    assert not torch.equal(initial_model(config).state_dict()["w2d.weight"], a["w2d.weight"])


def test_another_run_is_not_continued(tiny_run, tiny_settings):
    with pytest.raises(InputError, match=r"was begun with loss\.temperature=0\.1, not 0\.2; use run=ANOTHER_FOLDER"):
        pretrain(load_config("demo", [f"run={tiny_run}", *tiny_settings, "loss.temperature=0.2"]))
    assert pretrain(load_config("demo", [f"run={tiny_run}", *tiny_settings, "data.workers=1"]))  # nothing left to do


def test_errors_before_training(tmp_path, tiny_settings):
    def config(*overrides):
        return load_config("demo", [f"run={tmp_path / 'run'}", *tiny_settings, *overrides])

    with pytest.raises(InputError, match=r"loss\.voxel_radius=0\.2: it may be at most the voxel size"):
        pretrain(config("loss.voxel_radius=0.2"))
    with pytest.raises(InputError, match="init=nowhere: it must be scratch, imagenet, an encoder of"):
        pretrain(config("init=nowhere"))
    with pytest.raises(InputError, match="no scene 'attic'"):
        pretrain(config("data.holdout=[attic]"))
    assert not Path(tmp_path / "run" / CHECKPOINT).exists()


def test_authors_state_dict_names(tiny_run):
    """The names of the authors' checkpoints, written out by hand."""
    keys = set(load_checkpoint(tiny_run)["model"])
    assert {
        "backbone.encoder.conv1.weight",
        "backbone.encoder.layer4.1.bn2.running_var",
        "backbone.decoder.up1.conv1.weight",
        "backbone.decoder.up4.conv1_2.weight",
        "backbone.decoder.up4.bn1_2.weight",
        "backbone.decoder.up2.conv2.weight",
        "backbone.decoder.up2.bn2.bias",
        "backbone.decoder.conv0.bias",
        "backbone3d.conv0p1s1.kernel",
        "backbone3d.bn0.bn.weight",
        "backbone3d.final.kernel",
        "w2d.weight",
        "w2d.bias",
        "w3d.weight",
    } <= keys
    assert {key.split(".")[0] for key in keys} == {"backbone", "backbone3d", "w2d", "w3d"}


PACKAGE = Path(pretrain_module.__file__).parent
WAITS = {  # operations whose result the host needs, or whose shape depends on values
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.unique_consecutive",
    "aten._unique2",
    "aten.equal",
    "aten.is_nonzero",
    "aten.repeat_interleave.Tensor",
}


class Waits(TorchDispatchMode):
    """Notes where in this package the host would wait for a device."""

    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        names = {str(function), str(function.overloadpacket)}
        by_mask = names & {"aten.index", "aten.index_put", "aten.index_put_"} and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1]
        )
        if names & WAITS or by_mask:
            frames = [
                f for f in traceback.extract_stack() if "/training/" in f.filename and "/tests/" not in f.filename
            ]
            self.places.append(f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "torch")
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("method", ["view", "joint"])
def test_within_a_step_the_host_does_not_wait_for_the_device(method, tiny_store, tiny_settings, tmp_path):
    small = [f"loss.method={method}", "model.encoder=test_resnet"]
    config = load_config("demo", ["run=unused", *tiny_settings, *small])
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=method == "joint")
    batch = collate([dataset[0, 1], dataset[6, 2]])
    task = prepared(PretrainTask(config.loss, 0.1), augment=True, memory=None)
    model = initial_model(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    waits = Waits()

    def before_step(model, step):
        if step == 2:
            waits.__enter__()
        if step == 4:
            waits.__exit__(None, None, None)

    settings = LoopSettings(6, 1, 0, 6, 6, lambda step: 0.1, skip_nonfinite=True, before_step=before_step)
    assert train(Accelerator(cpu=True), model, optimizer, task, lambda _: repeat(batch), tmp_path, settings)
    # but for the voxels' maps, whose sizes are those of the surface
    maps = {"maps.py", "tensor.py"}
    assert [place for place in waits.places if place.partition(":")[0] not in maps] == []
    assert bool(waits.places) == (method == "joint")


def test_a_run_goes_on_without_its_first_weights(tiny_run, tmp_path, tiny_settings):
    run, weights = tmp_path / "run", tmp_path / "weights"
    export(tiny_run, weights)
    settings = [*tiny_settings, "loss.method=view", f"run={run}", f"init={weights}", "checkpoint_every=1"]
    assert pretrain(load_config("demo", [*settings, "steps=1"]))
    norms, told = (run / "norms.json").read_bytes(), run_environment(run)["initialisation"]
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("steps: 1\n", "steps: 2\n"))
    shutil.rmtree(weights)
    assert pretrain(load_config("demo", [*settings, "steps=2"]))
    assert (run / "norms.json").read_bytes() == norms
    assert run_environment(run)["initialisation"] == told
    assert "SHA-256" in told
    with pytest.raises(InputError, match="that exists"):  # but a new run needs them
        pretrain(load_config("demo", [*settings, "steps=2", f"run={tmp_path / 'new'}"]))
