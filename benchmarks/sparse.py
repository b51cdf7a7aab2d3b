"""How fast the sparse 3D network is, beside the machine's matrix products and, where installed, MinkowskiEngine.

    python benchmarks/sparse.py [--device cpu] [--threads 2] [--repeats 3]

Voxels are the surfaces of furnished rooms at 2 cm, turned so that walls do not lie along the grid. Each time is the
median over the repeats, in which the engines, each in a process of its own, take turns; the maps of voxel neighbours
are made anew in each, as for a new batch in training. Memory is what forward and backward add, at its highest, to a
fresh process that holds the network and its input.
"""

import argparse
import importlib.util
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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


class Engine:
    """A network in a process of its own, forward and backward; a second engine's threads would get in its way.

    Args:
        build: Makes the network.
        name: Which.
        coordinates: (N, 4), its input.
        device: Where it is.
        threads: On a CPU.
    """

    def __init__(
        self,
        build: Callable[[str, int, int], nn.Module],
        name: str,
        coordinates: np.ndarray,
        device: torch.device,
        threads: int,
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.net = build(name, 3, 20).to(device)
        self.coordinates = torch.from_numpy(coordinates).to(device)
        self.features = torch.rand(len(coordinates), 3, device=device)
        self.factors = torch.randn(4096, 2048, device=device), torch.randn(2048, 2048, device=device)

    def forward(self) -> None:
        with torch.no_grad():
            self.net(SparseTensor(self.coordinates, self.features))

    def both(self) -> None:
        self.net.zero_grad()
        self.net(SparseTensor(self.coordinates, self.features)).features.square().mean().backward()

    def product(self) -> None:
        self.factors[0] @ self.factors[1]

    def memory(self) -> float:
        """MiB that two times forward and backward add, at the highest, to this process; to be called first."""
        cuda = self.coordinates.is_cuda
        before = torch.cuda.memory_allocated() if cuda else process_memory("VmRSS")
        self.both()
        self.both()
        highest = torch.cuda.max_memory_allocated() if cuda else process_memory("VmHWM")
        return (highest - before) / 2**20

    def turn(self) -> list[float]:
        """Seconds of one forward pass, of forward and backward, and of a matrix product."""
        spent = []
        for run in (self.forward, self.both, self.product):
            begin = time.perf_counter()
            run()
            if self.coordinates.is_cuda:
                torch.cuda.synchronize()
            spent.append(time.perf_counter() - begin)
        return spent


_engine: list[Engine] = []  # of this process


def start(*arguments: Any) -> None:
    """Make this process's engine."""
    _engine.append(Engine(*arguments))


def call(method: str) -> Any:
    """Have this process's engine do something."""
    return getattr(_engine[0], method)()


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
    builders = [build_sparse_unet]
    if importlib.util.find_spec("MinkowskiEngine") is None:
        print("MinkowskiEngine is not installed: no comparison")
    else:
        builders.append(build_minkowski_unet)
    for name, count in CASES:
        voxels = room_voxels(count)
        with ExitStack() as stack:
            processes = [
                stack.enter_context(
                    ProcessPoolExecutor(
                        1,
                        multiprocessing.get_context("spawn"),
                        start,
                        (build, name, voxels.numpy(), options.device, options.threads),
                    )
                )
                for build in builders
            ]
            mebibytes = [process.submit(call, "memory").result() for process in processes]
            turns = [[process.submit(call, "turn").result() for process in processes] for _ in range(options.repeats)]
        # by engine: forward, forward and backward, matrix product
        times = [[statistics.median(column) for column in zip(*own, strict=True)] for own in zip(*turns, strict=True)]
        forward, both, product = times[0]
        peak = 2 * 4096 * 2048 * 2048 / product / 1e9
        gflop = forward_gflop(build_sparse_unet(name, 3, 20), SparseTensor(voxels, torch.rand(count, 3)))
        print(
            f"{name}, {count} voxels, {gflop / 2:.1f} GMAC, {options.device}, {options.threads} threads: forward "
            f"{forward:.2f} s, forward + backward {both:.2f} s, {3 * gflop / both / peak:.0%} of float32 matrix "
            f"products' {peak:.0f} GFLOP/s, {mebibytes[0]:.0f} MiB",
            flush=True,
        )
        if len(times) > 1:
            print(
                f"    MinkowskiEngine: forward {times[1][0]:.2f} s ({times[1][0] / forward:.2f} times ours), "
                f"forward + backward {times[1][1]:.2f} s ({times[1][1] / both:.2f} times), "
                f"{mebibytes[1]:.0f} MiB ({mebibytes[1] / mebibytes[0]:.2f} times)",
                flush=True,
            )


if __name__ == "__main__":
    main()
