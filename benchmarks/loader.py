"""How many pairs a second the loader gives at 240x320, with chunks, and where the time goes.

    python benchmarks/loader.py [STORE] [--scene NAME] [--pairs 256] [--batch 8] [--workers 2]

STORE is what ``pri3d-train prepare`` wrote; without it two furnished rooms are rendered and prepared first. Every
process computes with one thread. "A core" divides by the processor time that the loading took, which other programs
disturb little; workers are measured by the clock. A chunk is measured beside comparing all voxels of the scene. Colours
are changed on the device, by the step; how long that takes is printed last.

On 60 kitchen frames (89k voxels, chunks of 65k), on one core of an EPYC: 170 pairs a second and core from disk, 396
from shared memory, 134 cropped; two workers on two cores that five other programs shared gave half of that. Colours,
changed in batches where the step runs, take 12 ms a pair of one core: every image goes through every change, for the
sake of devices that must not wait. On a GPU it was not measured.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pri3d_zoo.training.data.augment import Window, crop_and_resize
from pri3d_zoo.training.data.batch import collate, decode
from pri3d_zoo.training.data.chunks import surface
from pri3d_zoo.training.data.dataset import PairDataset, StepSampler, pair_loader
from pri3d_zoo.training.data.memory import read_frames
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.scene import Scene
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.geometry import frustum_box

SIZE = (240, 320)
KINDS = {"from disk": {}, "from shared memory": {}, "cropped": {"geometric": True}}


def milliseconds(work: Callable[..., object], arguments: Iterable[tuple[object, ...]]) -> float:
    """Mean time of a call."""
    calls = list(arguments)
    begin = time.perf_counter()
    for call in calls:
        work(*call)
    return (time.perf_counter() - begin) / len(calls) * 1000


def pairs_per_second(
    dataset: PairDataset, pairs: int, batch: int, workers: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Pairs of whole batches a second, from the second batch on of each worker, so without their start."""
    skipped = max(1, 2 * workers)
    sampler = StepSampler(len(dataset), batch, seed=0, start=0, stop=skipped + pairs // batch)
    batches = iter(pair_loader(dataset, sampler, workers, pin_memory=False))
    for _ in range(skipped):
        next(batches)
    begin = clock()
    count = sum(len(found.color) for found in batches)
    return count / (clock() - begin)


def compare_all_voxels(voxels: np.ndarray, colors: np.ndarray, voxel_size: float, box: Tensor) -> tuple[Tensor, Tensor]:
    """A chunk without anything prepared."""
    scaled = box.numpy() / voxel_size - 0.5
    keep = ((voxels >= scaled[0]) & (voxels <= scaled[1])).all(1)
    return torch.nn.functional.pad(torch.from_numpy(voxels[keep]), (1, 0)), torch.from_numpy(colors[keep])


def profile(scene: Scene, frames: list[int]) -> None:
    """Print the milliseconds that each step takes of a pair, which is of two frames."""
    window = Window(0, 0, *scene.size)
    views = []
    for frame in frames:
        views.append(crop_and_resize(*decode(scene, frame), window, SIZE))
    poses = torch.from_numpy(scene.camera_to_world[frames]).float()
    depths, intrinsics = (torch.stack([view[part] for view in views]).float() for part in (1, 2))
    boxes = frustum_box(depths, intrinsics, poses)
    cutter, voxels, colors = surface(scene), scene.voxels, scene.voxel_colors
    steps = {
        "decode colour": milliseconds(scene.color, ((frame,) for frame in frames)),
        "decode depth": milliseconds(scene.depth, ((frame,) for frame in frames)),
        "chunk": milliseconds(cutter.cut, ((box, 0) for box in boxes)),
    }
    total = sum(steps.values())
    print(f"one pair of {scene.id}, {len(voxels):,} voxels, one thread:")
    for name, time_taken in steps.items():
        print(f"  {name:16s} {2 * time_taken:6.2f} ms {time_taken / total:5.0%}")
    boxed = [(voxels, colors, scene.voxel_size, box) for box in boxes]
    print("one frame's chunk, before and after:")
    print(f"  {milliseconds(compare_all_voxels, boxed):6.2f} ms {steps['chunk']:6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path, help="a prepared store; default: two rendered rooms")
    parser.add_argument("--scene", help="the one scene to read; default: all")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.store or Path(folder)
        if options.store is None:
            prepare(open_source("synthrooms", "0:2", frames=40, size=SIZE), root, size=SIZE, workers=2, arguments={})
        store = SceneStore(root)
        only = [options.scene] if options.scene else []
        scene = store.scene((only or store.scene_ids)[0])
        profile(scene, np.linspace(0, len(scene.frame_ids) - 1, 40).round().astype(int).tolist())
        print(f"pairs a second, batches of {options.batch}, with chunks, of a core's own time and by the clock:")
        for name, arguments in KINDS.items():
            dataset = PairDataset(store, SIZE, chunks=True, only=only, **arguments)
            if name == "from shared memory":
                dataset.hold(read_frames([store.scene(name) for name in dataset.scenes], SIZE, frustum_box), 0)
            found = [f"a core {pairs_per_second(dataset, options.pairs, options.batch, 0, time.process_time):6.1f}"]
            for workers in options.workers:
                found.append(
                    f"{workers} workers {pairs_per_second(dataset, options.pairs, options.batch, workers):6.1f}"
                )
            print(f"  {name:18s}", ", ".join(found))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        batch = collate([dataset[index % len(dataset), index] for index in range(options.batch)]).to(device)
        # what the step does itself, for the whole batch; printed where the device has finished
        changed = milliseconds(lambda: batch.with_changed_colors().color.sum().item(), [()] * 5)
        print(f"colours of a batch changed on {device}: {changed / options.batch:.2f} ms a pair")


if __name__ == "__main__":
    main()
