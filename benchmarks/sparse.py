"""How fast the sparse 3D network is, beside the machine's matrix products and, where installed, MinkowskiEngine.

    python benchmarks/sparse.py [--device cpu] [--threads 2] [--repeats 3]

Voxels are the surfaces of furnished rooms at 2 cm, turned so that walls do not lie along the grid. Each time is the
median over the repeats, in which the networks and the machine's matrix products take turns; the maps of voxel
neighbours are made anew in each, as for a new batch in training. Memory is what forward and backward add, at its
highest, to a fresh process that holds the network and its input.
"""

import argparse
import importlib.util
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pri3d_zoo.training.networks.sparse import SparseTensor, build_minkowski_unet, build_sparse_unet

VOXEL = 0.02
CASES = [("minkunet34c", 20_000), ("minkunet34c", 60_000), ("minkunet14s", 100_000)]


def room_voxels(count: int, seed: int = 0) -> Tensor:
    """(count, 4) int64: the voxels nearest to the middle of a room with 12 boxes in it; sample, x, y, z."""
    generator = torch.Generator().manual_seed(seed)
    side = 2 + (count * VOXEL**2) ** 0.5
    sizes = torch.cat((torch.tensor([[side, side, 2.6]]), 0.3 + 0.9 * torch.rand(12, 3, generator=generator)))
    centers = (torch.rand(13, 3, generator=generator) - 0.5) * torch.tensor([side, side, 0.0]) * 0.8
    centers[:, 2] = sizes[:, 2] / 2
    centers[0, :2] = 0
    points = []
    for size, center in zip(sizes, centers, strict=True):
        for axis in range(3):
            area = size.prod() / size[axis]
            unit = torch.rand(2, int(area / VOXEL**2 * 6), 3, generator=generator) - 0.5
            unit[0, :, axis], unit[1, :, axis] = -0.5, 0.5
            points.append(unit.flatten(0, 1) * size + center)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    cells = torch.floor(torch.cat(points) @ turn / VOXEL).long().unique(dim=0)
    if len(cells) < count:
        raise ValueError(f"the room has {len(cells)} voxels, fewer than {count}")
    middle = torch.tensor([0.0, 0.0, 1.0]) @ turn / VOXEL
    nearest = (cells - middle).square().sum(1).argsort()[:count]
    return torch.nn.functional.pad(cells[nearest], (1, 0))


def seconds(runs: list[Callable[[], object]], device: torch.device, repeats: int) -> list[float]:
    """Median of each run, taken by turns, after one turn to warm up."""
    durations: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for run, own in zip(runs, durations, strict=True):
            begin = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            own.append(time.perf_counter() - begin)
    return [statistics.median(own[1:]) for own in durations]


def forward_gflop(net: nn.Module, x: SparseTensor) -> float:
    """Arithmetic of one forward pass, counting the pairs of voxels that exist."""
    total = 0
    manager = x.manager.sorted[0]

    def count(module: nn.Module, inputs: tuple[SparseTensor], output: SparseTensor) -> None:
        nonlocal total
        if module.pointwise:
            pairs = len(output.features)
        else:
            stride = min(inputs[0].stride, output.stride)
            plan = manager.kernel_map(stride, module.kernel_size, module.stride, module.dilation).to_output
            pairs = sum(len(block.pairs) for block in plan.blocks)
        total += 2 * pairs * module.kernel.shape[-1] * module.kernel.shape[-2]

    hooks = [module.register_forward_hook(count) for module in net.modules() if hasattr(module, "pointwise")]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return total / 1e9


def passes(net: nn.Module, coordinates: Tensor, features: Tensor) -> tuple[Callable[[], None], Callable[[], None]]:
    """A forward pass, and forward and backward, coordinates included."""

    def forward() -> None:
        with torch.no_grad():
            net(SparseTensor(coordinates, features))

    def both() -> None:
        net.zero_grad()
        net(SparseTensor(coordinates, features)).features.square().mean().backward()

    return forward, both


def memory(
    build: Callable[[str, int, int], nn.Module], name: str, coordinates: np.ndarray, device: torch.device
) -> float:
    """MiB that two times forward and backward add, at the highest, to this process, which should be a fresh one."""
    net = build(name, 3, 20).to(device)
    _, both = passes(net, torch.from_numpy(coordinates).to(device), torch.rand(len(coordinates), 3, device=device))
    before = torch.cuda.memory_allocated() if device.type == "cuda" else process_memory("VmRSS")
    both()
    both()
    highest = torch.cuda.max_memory_allocated() if device.type == "cuda" else process_memory("VmHWM")
    return (highest - before) / 2**20


def process_memory(key: str) -> int:
    """Bytes that this process holds (VmRSS) or has held at most (VmHWM); getrusage's begin with those of its parent."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[key].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    builders = [build_sparse_unet]
    if importlib.util.find_spec("MinkowskiEngine") is None:
        print("MinkowskiEngine is not installed: no comparison")
    else:
        builders.append(build_minkowski_unet)
    left, right = torch.randn(4096, 2048, device=options.device), torch.randn(2048, 2048, device=options.device)
    for name, count in CASES:
        coordinates = room_voxels(count).to(options.device)
        features = torch.rand(count, 3, device=options.device)
        nets = [build(name, 3, 20).to(options.device) for build in builders]
        runs = [run for net in nets for run in passes(net, coordinates, features)]
        product, *durations = seconds([lambda: left @ right, *runs], options.device, options.repeats)
        peak = 2 * 4096 * 2048 * 2048 / product / 1e9
        gflop = forward_gflop(nets[0], SparseTensor(coordinates, features))
        mebibytes = []
        for build in builders:
            with ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), torch.set_num_threads, (options.threads,)
            ) as fresh:
                mebibytes.append(fresh.submit(memory, build, name, coordinates.cpu().numpy(), options.device).result())
        forward, both = durations[:2]
        print(
            f"{name}, {count} voxels, {gflop / 2:.1f} GMAC, {options.device}, {options.threads} threads: forward "
            f"{forward:.2f} s, forward + backward {both:.2f} s, {3 * gflop / both / peak:.0%} of float32 matrix "
            f"products' {peak:.0f} GFLOP/s, {mebibytes[0]:.0f} MiB"
        )
        if len(nets) > 1:
            print(
                f"    MinkowskiEngine: forward {durations[2]:.2f} s ({durations[2] / forward:.2f} times ours), "
                f"forward + backward {durations[3]:.2f} s ({durations[3] / both:.2f} times), "
                f"{mebibytes[1]:.0f} MiB ({mebibytes[1] / mebibytes[0]:.2f} times)"
            )


if __name__ == "__main__":
    main()
