"""What a joint step costs beside its two networks, and matches and losses of a batch beside those of its samples.

    python benchmarks/step.py [STORE] [--encoder resnet18] [--unet3d minkunet34c] [--size 240 320] [--batch 2]

Without a prepared store a furnished room is rendered. The step is that of ``training/loop.py``; before each one, its
networks' forward and backward passes are timed on the same batch, so that both meet the same machine. Medians.
"""

import argparse
import tempfile
import time
from itertools import repeat
from pathlib import Path
from statistics import median
from timeit import timeit

import torch
from accelerate import Accelerator
from torch import nn

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.data.batch import PairBatch, collate
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.initialise import initial_model
from pri3d_zoo.training.loop import LoopSettings, train
from pri3d_zoo.training.networks.two_branch import MatchedFeatures
from pri3d_zoo.training.pretrain import prepared, training_pairs
from pri3d_zoo.training.tasks import PretrainTask, voxel_input


def networks_alone(model: nn.Module, batch: PairBatch) -> None:
    features = model.backbone(normalize(batch.color.flatten(0, 1)).contiguous(memory_format=torch.channels_last))
    features.backward(torch.ones_like(features))
    features = model.backbone3d(voxel_input(batch.voxels, batch.voxel_colors)).features
    features.backward(torch.ones_like(features))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", help="a prepared store; default: a rendered room")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320))
    for name, default in {"encoder": "resnet18", "unet3d": "minkunet34c", "batch": 2, "steps": 5}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or f"{folder}/store"
        if options.store is None:
            prepare(open_source("synthrooms", "0:1", frames=20, size=(240, 320)), Path(store), workers=1, arguments={})
        recipe = [f"run={folder}", f"data.store={store}", f"size={list(options.size)}", "init=scratch"]
        config = load_config("paper", [*recipe, f"model.encoder={options.encoder}", f"model.unet3d={options.unet3d}"])
        pairs = training_pairs(config)
        parts = [pairs[index % len(pairs), index] for index in range(options.batch)]
        batch = collate(parts)
        task, model = PretrainTask(config.loss, pairs.voxel_size), initial_model(config)
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, fused=True)
        alone, whole, begun = [], [], []

        def before_step(model: nn.Module, step: int) -> None:
            whole.extend(time.perf_counter() - begin for begin in begun[-1:])
            alone.append(timeit(lambda: networks_alone(model, batch), number=1))
            model.zero_grad()
            begun.append(time.perf_counter())

        steps = options.steps + 2  # the first warms up, and the last is longer by its checkpoint
        settings = LoopSettings(steps, 1, 0, 10, steps, lambda step: 1e-3, before_step=before_step)
        work = (prepared(task, augment=True, memory=None), lambda _: repeat(batch), Path(folder), settings)
        train(Accelerator(cpu=True), model, optimizer, *work)
    ratio, networks = median([a / b for a, b in zip(whole, alone, strict=False)][1:]), median(alone[1:])
    print(f"{options.batch} pairs, {len(batch.voxels)} voxels: networks {networks:.2f} s, step {ratio:.3f} times that")
    found = [torch.randn(2 * options.batch, 1024, width, requires_grad=True) for width in (128, 64, 64)]

    def rest(batch: PairBatch, first: int = 0) -> None:
        view, pixel, voxel = (part[2 * first : 2 * (first + len(batch.color))] for part in found)
        losses, _ = task(lambda *_: MatchedFeatures(view[0::2], view[1::2], pixel, voxel), batch)
        sum(losses.values()).backward()

    times = [
        (timeit(lambda: rest(batch), number=1), timeit(lambda: [rest(p, i) for i, p in enumerate(parts)], number=1))
        for _ in range(9)
    ]
    together, ratio = median(a for a, _ in times), median(b / a for a, b in times)
    print(f"matches and losses {together * 1000:.0f} ms; sample by sample {ratio:.2f} times that")


if __name__ == "__main__":
    main()
