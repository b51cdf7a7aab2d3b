"""How fast the sparse 3D network is, beside the machine's matrix products and, where installed, MinkowskiEngine.

    python benchmarks/sparse.py [--device cpu] [--threads 2] [--repeats 3]

Voxels are the surfaces of furnished rooms at 2 cm, turned so that walls do not lie along the grid. Each number is the
median over the repeats; the maps of voxel neighbours are made anew in each, as for a new batch in training.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

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


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median after one run to warm up."""
    durations = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - begin)
    return statistics.median(durations[1:])


def peak_gflops(device: torch.device) -> float:
    left, right = torch.randn(4096, 2048, device=device), torch.randn(2048, 2048, device=device)
    return 2 * 4096 * 2048 * 2048 / seconds(lambda: left @ right, device, 5) / 1e9


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
            pairs = sum(len(block.sources) for block in plan.blocks)
        total += 2 * pairs * module.kernel.shape[-1] * module.kernel.shape[-2]

    hooks = [module.register_forward_hook(count) for module in net.modules() if hasattr(module, "pointwise")]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return total / 1e9


def measure(net: nn.Module, coordinates: Tensor, features: Tensor, repeats: int) -> tuple[float, float]:
    """Seconds of a forward pass and of forward and backward, coordinates included."""

    def forward() -> None:
        with torch.no_grad():
            net(SparseTensor(coordinates, features))

    def both() -> None:
        net.zero_grad()
        net(SparseTensor(coordinates, features)).features.square().mean().backward()

    return seconds(forward, features.device, repeats), seconds(both, features.device, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    peak = peak_gflops(options.device)
    print(f"{options.device}, {options.threads} threads, float32 matrix products {peak:.0f} GFLOP/s")
    with_engine = importlib.util.find_spec("MinkowskiEngine") is not None
    if not with_engine:
        print("MinkowskiEngine is not installed: no comparison")
    for name, count in CASES:
        coordinates = room_voxels(count).to(options.device)
        features = torch.rand(count, 3, device=options.device)
        net = build_sparse_unet(name, 3, 20).to(options.device)
        x = SparseTensor(coordinates, features)
        gflop = forward_gflop(net, x)
        net(x).features.sum().backward()
        scratch = x.manager.sorted[0].scratch.size() / 2**20
        forward, both = measure(net, coordinates, features, options.repeats)
        print(
            f"{name}, {count} voxels, {gflop / 2:.1f} GMAC: forward {forward:.2f} s, forward + backward {both:.2f} s, "
            f"{3 * gflop / both / peak:.0%} of the peak, {scratch:.0f} MiB of scratch"
        )
        if with_engine:
            theirs = build_minkowski_unet(name, 3, 20).to(options.device)
            their_forward, their_both = measure(theirs, coordinates, features, options.repeats)
            print(
                f"    MinkowskiEngine: forward {their_forward:.2f} s ({their_forward / forward:.2f} times ours), "
                f"forward + backward {their_both:.2f} s ({their_both / both:.2f} times)"
            )


if __name__ == "__main__":
    main()
