"""What a step of pre-training costs on a device, part by part, without any data at hand.

The batch is computed: pairs of views in an empty room whose walls are patterned, with exact depth, and the voxels of
its walls. It has the sizes that matter, images, matches and voxels a chunk, and needs neither files nor a renderer.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .config import Config, Method
from .data.augment import normalize
from .data.batch import PairBatch
from .data.dataset import StepSampler, pair_loader
from .errors import InputError
from .geometry import quantize, voxel_centers
from .initialise import initial_model
from .networks.moco import MoCo
from .networks.two_branch import MatchedFeatures
from .pretrain import prepared, training_pairs, uses_bf16
from .tasks import PretrainTask, voxel_input

VOXEL_SIZE = 0.02
HALF = (2.5, 1.3, 2.0)  # metres from the middle of the room to its walls
AUTHORS_PAIRS = 65_625 * 64  # 5 epochs over 840k pairs
WARM_UP = 2  # measurements that do not count


@dataclass(frozen=True)
class StepCosts:
    """What was measured.

    Args:
        device: Its name.
        parts: Seconds of each part of a step, by its name; the networks' forward and backward passes.
        step: Seconds of the whole step.
        pairs: In a step.
        flop: Floating-point operations of the networks' passes in a step.
        peak: Floating-point operations a second that the device's matrix products reach, at the same precision.
        memory: Bytes at most; 0 where the device does not tell.
        loader: Pairs a second that the loader gives; None without a store.
    """

    device: str
    parts: dict[str, float]
    step: float
    pairs: int
    flop: float
    peak: float
    memory: int
    loader: float | None

    @property
    def pairs_per_second(self) -> float:
        """Of the step alone, or, where the loader is slower, of the loader."""
        rate = self.pairs / self.step
        return rate if self.loader is None else min(rate, self.loader)

    @property
    def waiting(self) -> float | None:
        """Share of the time that the device waits for data; None without a store."""
        return None if self.loader is None else 1 - self.pairs_per_second * self.step / self.pairs

    @property
    def hours(self) -> float:
        """For the authors' schedule: 5 epochs over 840k pairs."""
        return AUTHORS_PAIRS / self.pairs_per_second / 3600


def bench(config: Config, *, device: torch.device, voxels: int, repeats: int, store: Path | None) -> StepCosts:
    """Measure a step of the network, batch size, image size and precision of a configuration.

    Args:
        config: Of a pre-training; ``accumulate`` parts make a step.
        device: Where.
        voxels: Of each chunk.
        repeats: Of each measurement; the median counts.
        store: Pairs that the loader is measured on, if any.

    Raises:
        InputError: The configuration is for MoCo, or the device is not there.
    """
    if config.loss.method == Method.moco:
        raise InputError("bench measures view, geo and joint; MoCo has no parts to tell apart")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"there is no {device} here; take --device cpu, or one of {torch.cuda.device_count()} GPUs")
    model = initial_model(config).to(device).train()
    assert not isinstance(model, MoCo)
    part = config.batch_size // config.accumulate
    height, width = config.size
    batch = room_batch(part, (height, width), voxels if config.loss.method != Method.view else 0, config.seed).to(
        device
    )
    task = PretrainTask(config.loss, VOXEL_SIZE)
    ready = prepared(task, augment=config.data.augment, memory=None)
    low = uses_bf16(config.precision)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=low)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=config.optimizer.momentum, fused=True)
    images = normalize(batch.color.flatten(0, 1)).contiguous(memory_format=torch.channels_last)

    def image_network() -> None:
        with autocast:
            features = model.backbone(images)
        features.backward(torch.ones_like(features))

    def voxel_network() -> None:
        sparse = voxel_input(batch.voxels, batch.voxel_colors)
        with torch.autocast(device.type, torch.bfloat16, enabled=low and device.type == "cuda"):
            features = model.backbone3d(sparse).features
        features.backward(torch.ones_like(features))

    counts = (2 * part, min(config.loss.matches, height * width))
    found = [torch.randn(*counts, 64, device=device, requires_grad=True) for _ in range(3)]

    def matches_and_losses() -> None:
        features = MatchedFeatures(found[0][0::2], found[0][1::2], found[1], found[2])
        losses, _ = task(lambda *_: features, batch)  # type: ignore[arg-type]  # called as a network is
        torch.stack(list(losses.values())).sum().backward()

    def whole() -> None:
        for _ in range(config.accumulate):
            with autocast:
                losses, _ = ready(model, batch)
            (torch.stack(list(losses.values())).sum() / config.accumulate).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step = _seconds(whole, device, repeats)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    parts: dict[str, Callable[[], Any]] = {"colours": batch.with_changed_colors} if config.data.augment else {}
    parts["image network"] = image_network
    if config.loss.method != Method.view:
        parts["voxel network"] = voxel_network
    parts["matches and losses"] = matches_and_losses
    times = {name: config.accumulate * _seconds(work, device, repeats) for name, work in parts.items()}
    whole()  # leaves gradients behind for no one, and the optimiser's state in place
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    times["optimiser"] = _seconds(optimizer.step, device, repeats)
    networks = [work for name, work in parts.items() if name.endswith("network")]
    flop = config.accumulate * sum(counted_flop(work) for work in networks)
    return StepCosts(
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        parts=times,
        step=step,
        pairs=config.accumulate * part,
        flop=flop,
        peak=_peak(device, low and device.type == "cuda"),
        memory=memory,
        loader=None if store is None else _loader_rate(config, store),
    )


def room_batch(pairs: int, size: tuple[int, int], voxels: int, seed: int) -> PairBatch:
    """Pairs of views of an empty room: some 20 degrees and 20 cm apart, so that most of one is seen in the other.

    Args:
        pairs: B.
        size: (height, width).
        voxels: Of each chunk: those of the walls that are nearest to what the view's middle ray hits; none for 0.
        seed: Of the places of the cameras.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    focal = 0.9 * width
    intrinsics = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    yaw = 6.28 * torch.rand(pairs, 1, generator=generator) + torch.tensor([0.0, 0.35])
    poses = torch.eye(4).expand(pairs, 2, 4, 4).clone()
    poses[..., 0, 0] = poses[..., 2, 2] = yaw.cos()
    poses[..., 0, 2], poses[..., 2, 0] = yaw.sin(), -yaw.sin()
    poses[..., :3, 3] = 0.8 * (torch.rand(pairs, 1, 3, generator=generator) - 0.5)
    poses[:, 1, 0, 3] += 0.2
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    local = torch.stack(((u - intrinsics[0, 2]) / focal, (v - intrinsics[1, 2]) / focal, torch.ones(size)), -1)
    rays = torch.einsum("hwj,bvij->bvhwi", local, poses[..., :3, :3])
    start = poses[:, :, None, None, :3, 3]
    depth = ((rays.sign() * torch.tensor(HALF) - start) / torch.where(rays == 0, 1e-9, rays)).amin(-1)
    places = start + rays * depth[..., None]
    middles = places[:, :, height // 2, width // 2].flatten(0, 1)
    chunks = [_chunk(middle, voxels) for middle in middles]
    samples = torch.repeat_interleave(torch.arange(2 * pairs), torch.tensor([len(chunk) for chunk in chunks]))
    rows = torch.cat((samples[:, None], torch.cat(chunks)), 1).int()
    return PairBatch(
        color=_pattern(places).permute(0, 1, 4, 2, 3).contiguous(),
        depth=depth,
        intrinsics=intrinsics.expand(pairs, 2, 3, 3).contiguous(),
        camera_to_world=poses,
        voxels=rows,
        voxel_colors=_pattern(voxel_centers(rows[:, 1:], VOXEL_SIZE)),
        seeds=torch.randint(2**62, (pairs,), generator=generator),
        rows=torch.arange(2 * pairs).view(pairs, 2),
    )


def _chunk(middle: Tensor, voxels: int) -> Tensor:
    """The (voxels, 3) voxels of the walls that are nearest to a point."""
    reach = torch.tensor(HALF)
    steps = [torch.arange(-half, half, VOXEL_SIZE) + VOXEL_SIZE / 2 for half in HALF]
    walls = []
    for axis in range(3):
        for side in (-1, 1):
            grid = [side * reach[axis : axis + 1] if other == axis else steps[other] for other in range(3)]
            walls.append(torch.cartesian_prod(*grid))
    points = torch.cat(walls)
    nearest = (points - middle).square().sum(1).argsort()[: 2 * voxels]
    return torch.unique(quantize(points[nearest], VOXEL_SIZE), dim=0)[:voxels] if voxels else points[:0].long()


def _pattern(points: Tensor) -> Tensor:
    """Colours (..., 3) uint8 of places (..., 3): waves of several lengths."""
    waves = torch.sin(points @ torch.tensor([[5.0, 11, 3], [7, 2, 13], [3, 8, 6]]))
    return (127 + 90 * waves + 30 * torch.sin(9 * waves)).clamp(0, 255).to(torch.uint8)


def _seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    times = []
    for _ in range(WARM_UP + repeats):
        _wait(device)
        begin = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return median(times[WARM_UP:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def counted_flop(work: Callable[[], Any]) -> float:
    """Floating-point operations of what a function computes by torch; a multiplication and an addition are two."""

    # which does not know of sums in place, the gradients of the sparse network's kernels
    def product(total: torch.Size, left: torch.Size, right: torch.Size, **_: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: product}) as counter:
        work()
    return float(counter.get_total_flops())


def _peak(device: torch.device, low: bool) -> float:
    side = 8192 if device.type == "cuda" else 2048
    kind = torch.bfloat16 if low else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: left @ right, device, 5)


def _loader_rate(config: Config, store: Path, batches: int = 20) -> float:
    """Pairs a second that the loader's processes give when nobody keeps them waiting."""
    config = replace(config, data=replace(config.data, store=str(store)))
    dataset = training_pairs(config)
    ahead = 4 * max(config.data.workers, 1)  # batches that are ready before the first is asked for
    sampler = StepSampler(dataset.lengths, config.batch_size, seed=config.seed, start=0, stop=ahead + batches)
    loader = iter(pair_loader(dataset, sampler, config.data.workers, pin_memory=False))
    for _ in islice(loader, ahead):
        pass
    begin = time.perf_counter()
    for _ in loader:
        pass
    return batches * config.batch_size / (time.perf_counter() - begin)


def describe(costs: StepCosts) -> Sequence[tuple[str, str]]:
    """The figures as rows of name and value, for people."""
    rows = [(name, f"{1000 * seconds:.1f} ms, {seconds / costs.step:.0%}") for name, seconds in costs.parts.items()]
    rate = costs.flop / costs.step
    rows += [
        ("whole step", f"{1000 * costs.step:.1f} ms for {costs.pairs} pairs"),
        ("networks' arithmetic", f"{costs.flop / 1e12:.2f} TFLOP a step, {rate / 1e12:.2f} TFLOP/s"),
        ("of the matrix-product peak", f"{rate / costs.peak:.0%} of {costs.peak / 1e12:.2f} TFLOP/s"),
    ]
    if costs.memory:
        rows.append(("memory", f"{costs.memory / 2**30:.1f} GiB at most"))
    if costs.loader is not None:
        rows.append(("loader", f"{costs.loader:.1f} pairs/s; the device waits {costs.waiting:.0%} of the time"))
    rows += [
        ("pairs a second", f"{costs.pairs_per_second:.1f}"),
        ("the authors' schedule", f"{costs.hours:.1f} hours (5 epochs over 840k pairs)"),
    ]
    return rows
