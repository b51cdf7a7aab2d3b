"""Frames held in memory: the same batches as from disk, and a clear word where they do not fit."""

import pickle
from types import SimpleNamespace

import pytest
import torch

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data import memory as memory_module
from pri3d_zoo.training.data.dataset import PairDataset, StepSampler, pair_loader
from pri3d_zoo.training.data.memory import read_frames
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import frustum_box
from pri3d_zoo.training.metrics import read_metrics
from pri3d_zoo.training.pretrain import pretrain

CPU = torch.device("cpu")


def batches(dataset, workers=0):
    sampler = StepSampler(len(dataset), 3, seed=4, start=0, stop=3)
    return list(pair_loader(dataset, sampler, workers, pin_memory=False))


def held(store, size, device, **arguments):
    dataset = PairDataset(store, size, chunks=True, **arguments)
    scenes = [store.scene(name) for name in dataset.scenes]
    memory_size = store.size if arguments.get("geometric") else size
    memory = read_frames(scenes, memory_size, frustum_box, device=device)
    assert dataset.hold(memory, 0) == sum(len(scene.frame_ids) for scene in scenes)
    return dataset, memory


@pytest.mark.parametrize("size", [(48, 64), (24, 32)])
@pytest.mark.parametrize("device", [None, CPU])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_from_disk(tiny_store, size, device, workers):
    store = SceneStore(tiny_store)
    expected = batches(PairDataset(store, size, chunks=True, holdout=["box0"]))
    dataset, memory = held(store, size, device, holdout=["box0"])
    found = batches(dataset, workers)
    if device is not None:
        assert found[0].color.shape == (3, 2, 0)
        found = [memory.fill(batch) for batch in found]
    for a, b in zip(found, expected, strict=True):
        for name in a.__dataclass_fields__:
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-6, atol=0, msg=name)


def test_shared_frames_can_be_cropped(tiny_store):
    store = SceneStore(tiny_store)
    expected = batches(PairDataset(store, (24, 32), chunks=True, geometric=True))
    found = batches(held(store, (24, 32), None, geometric=True)[0])
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.color, b.color)
        assert torch.equal(a.depth, b.depth)
        assert torch.equal(a.voxels, b.voxels)


def test_nothing_is_left_behind(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "SHARED", tmp_path)
    _, memory = held(SceneStore(tiny_store), (48, 64), None)
    assert not list(tmp_path.iterdir())
    assert memory.color.shape == (8, 3, 48, 64)


def test_a_loader_process_does_not_get_what_is_on_the_device(tiny_store):
    dataset, _ = held(SceneStore(tiny_store), (48, 64), CPU)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.memory.color is None
    assert torch.equal(copy[3].voxels, dataset[3].voxels)


def test_depth_beyond_32_metres(tiny_store, monkeypatch):
    store = SceneStore(tiny_store)
    scene = store.scene("box0")
    monkeypatch.setattr(type(scene), "depth", lambda self, index: torch.full((48, 64), 65.535).numpy())
    memory = read_frames([scene], (48, 64), frustum_box, device=CPU)
    assert torch.equal(memory.images(torch.tensor([1]))[1], torch.full((1, 48, 64), 65.535))


@pytest.mark.parametrize(("device", "where"), [(None, "/dev/shm"), (CPU, "cpu")])
def test_frames_that_do_not_fit(tiny_store, monkeypatch, device, where):
    store = SceneStore(tiny_store)
    monkeypatch.setattr(memory_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000_000))
    monkeypatch.setattr(memory_module, "_free", lambda _: 50_000_000)
    words = rf"data\.frames: 4 frames of 2400x3200 take 0\.2 GB, and {where} has 0\.1 GB free; take data\.frames=disk"
    with pytest.raises(InputError, match=words):
        read_frames([store.scene("box0")], (2400, 3200), frustum_box, device=device)


def test_a_run_is_the_same_wherever_its_frames_are(tmp_path, tiny_settings):
    losses = {}
    for frames in ("disk", "shared", "device"):
        more = [f"run={tmp_path / frames}", f"data.frames={frames}", "data.augment=true", "steps=1", "seed=3"]
        assert pretrain(load_config("demo", [*tiny_settings, *more, "model.encoder=test_resnet"]))
        losses[frames] = [row["loss"] for row in read_metrics(tmp_path / frames)]
    assert losses["disk"] == losses["shared"] == pytest.approx(losses["device"], rel=1e-5)
    with pytest.raises(InputError, match=r"data\.frames=device: images there cannot be cropped"):
        load_config("demo", [*tiny_settings, "run=r", "data.frames=device", "data.geometric=true"])
