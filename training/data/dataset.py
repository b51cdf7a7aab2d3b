"""From a store to batches: pairs of frames and the 3D chunks that they look into.

The order of the data is a pure function of (seed, step), so a run that is stopped goes on with the very batches that
it would have seen; nothing about the order is ever saved.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms.v2 import functional as TF

from ..errors import InputError
from ..geometry import frustum_box, scale_intrinsics
from ..seeds import mix_seeds
from .augment import photometric
from .store import Scene, SceneStore


@dataclass(frozen=True, eq=False)
class PairBatch:
    """B pairs of frames; view ``v`` of pair ``i`` is sample ``2 * i + v`` of everything that is cut per frame.

    Args:
        color: (B, 2, 3, H, W) uint8.
        depth: (B, 2, H, W) float32, metres, 0 = no reading.
        intrinsics: (B, 2, 3, 3) float32.
        camera_to_world: (B, 2, 4, 4) float32.
        voxels: (M, 4) int32, (sample, x, y, z), the chunks of all frames; empty where only views are contrasted.
        voxel_colors: (M, 3) uint8.
    """

    color: Tensor
    depth: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    voxels: Tensor
    voxel_colors: Tensor

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on a device, copied without waiting where the memory is pinned."""
        return PairBatch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def pair(self, index: int) -> "PairBatch":
        """One pair as a batch, without voxels."""
        images = (self.color, self.depth, self.intrinsics, self.camera_to_world)
        color, depth, intrinsics, pose = (part[index : index + 1] for part in images)
        return PairBatch(color, depth, intrinsics, pose, self.voxels[:0], self.voxel_colors[:0])

    def pin_memory(self) -> "PairBatch":
        """For the loader: page-locked copies."""
        return PairBatch(*(getattr(self, f.name).pin_memory() for f in fields(self)))


class PairDataset(Dataset[PairBatch]):
    """The pairs of a store, as batches of one.

    Args:
        store: What ``prepare`` wrote.
        size: (height, width) of the images; those of the store are resized where they differ.
        chunks: Whether to cut the 3D chunk of each frame.
        augment: Whether to change the colours of the images.
        holdout: Scenes to leave out.
        only: If not empty, the scenes to take.
        min_overlap: Pairs that share less of their points are left out.

    Raises:
        InputError: A scene named that is not there, or no pair left.
    """

    def __init__(
        self,
        store: SceneStore,
        size: tuple[int, int],
        *,
        chunks: bool,
        augment: bool = False,
        holdout: Sequence[str] = (),
        only: Sequence[str] = (),
        min_overlap: float = 0.0,
    ) -> None:
        for name in (*holdout, *only):
            if name not in store.scene_ids:
                raise InputError(f"there is no scene '{name}' in {store.root}; there are {', '.join(store.scene_ids)}")
        self.scenes = [name for name in only or store.scene_ids if name not in holdout]
        self.store, self.size, self.chunks = store, size, chunks
        self.photometric = photometric() if augment else None
        self.pairs = [scene.pairs[scene.overlaps >= min_overlap] for scene in map(store.scene, self.scenes)]
        self.ends = np.cumsum([len(pairs) for pairs in self.pairs])
        if not self.scenes or self.ends[-1] == 0:
            overlap = f" that shares at least {min_overlap:g}" if min_overlap else ""
            raise InputError(f"{store.root} has no pair{overlap} in the scenes {', '.join(self.scenes) or '(none)'}")

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, key: int | tuple[int, int]) -> PairBatch:
        """Pair ``index``, or pair and seed of its augmentation as ``(index, seed)``."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        position = int(np.searchsorted(self.ends, index, side="right"))
        scene = self.store.scene(self.scenes[position])
        pair = self.pairs[position][index - (self.ends[position - 1] if position else 0)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            views = [self._view(scene, int(frame)) for frame in pair]
        color, depth, intrinsics, pose = (torch.stack(parts)[None] for parts in zip(*views, strict=True))
        chunks = [self._chunk(scene, *views[v][1:], v) for v in range(2)] if self.chunks else []
        voxels = torch.cat([c[0] for c in chunks]) if chunks else torch.empty(0, 4, dtype=torch.int32)
        colors = torch.cat([c[1] for c in chunks]) if chunks else torch.empty(0, 3, dtype=torch.uint8)
        return PairBatch(color, depth, intrinsics, pose, voxels, colors)

    def _view(self, scene: Scene, frame: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        color = torch.from_numpy(scene.color(frame)).permute(2, 0, 1).contiguous()
        depth = torch.from_numpy(scene.depth(frame))
        intrinsics = torch.from_numpy(scene.intrinsics[frame])
        if scene.size != self.size:
            color = TF.resize(color, list(self.size), antialias=True)
            depth = torch.nn.functional.interpolate(depth[None, None], self.size, mode="nearest-exact")[0, 0]
            intrinsics = scale_intrinsics(intrinsics, scene.size, self.size)
        if self.photometric is not None:
            color = self.photometric(color)
        return color, depth, intrinsics.float(), torch.from_numpy(scene.camera_to_world[frame]).float()

    @staticmethod
    def _chunk(scene: Scene, depth: Tensor, intrinsics: Tensor, pose: Tensor, sample: int) -> tuple[Tensor, Tensor]:
        box = frustum_box(depth, intrinsics, pose).numpy() / scene.voxel_size - 0.5  # where voxel centres may lie
        keep = ((scene.voxels >= box[0]) & (scene.voxels <= box[1])).all(1)
        voxels = torch.from_numpy(scene.voxels[keep])
        return torch.nn.functional.pad(voxels, (1, 0), value=sample), torch.from_numpy(scene.voxel_colors[keep])


def collate(samples: list[PairBatch]) -> PairBatch:
    """One batch of several; the sample numbers of their voxels are made consecutive."""
    voxels = [s.voxels + s.voxels.new_tensor([2 * i, 0, 0, 0]) for i, s in enumerate(samples)]
    joined = {f.name: torch.cat([getattr(s, f.name) for s in samples]) for f in fields(PairBatch)}
    return PairBatch(**(joined | {"voxels": torch.cat(voxels)}))


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of ``(pair, seed)`` for the steps ``start`` to ``stop`` of a run, the share of one process.

    Each epoch is a permutation of all pairs drawn from (seed, epoch). The pairs of a step are dealt to its
    ``accumulate`` parts and, within a part, to the processes in turn, without overlap.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        start: int,
        stop: int,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size % (accumulate * processes):
            raise InputError(
                f"batch_size={batch_size} cannot be dealt evenly to {processes} processes x accumulate={accumulate}"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start, self.stop, self.accumulate = start, stop, accumulate
        self.process, self.processes = process, processes

    def __len__(self) -> int:
        return (self.stop - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        part = self.batch_size // (self.accumulate * self.processes)
        epoch, order = -1, torch.empty(0)
        for step in range(self.start, self.stop):
            for number in range(self.accumulate):
                batch = []
                first = step * self.batch_size + (number * self.processes + self.process) * part
                for position in range(first, first + part):
                    if position // self.length != epoch:
                        epoch = position // self.length
                        generator = torch.Generator().manual_seed(mix_seeds(self.seed, epoch))
                        order = torch.randperm(self.length, generator=generator)
                    batch.append((int(order[position % self.length]), mix_seeds(self.seed, epoch, position)))
                yield batch


def pair_loader(dataset: PairDataset, sampler: StepSampler, workers: int, pin_memory: bool) -> DataLoader[PairBatch]:
    """A loader of PairBatch in the order of the sampler, the same for any number of workers."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_interrupts_to_the_main_process,
    )


def _leave_interrupts_to_the_main_process(_: int) -> None:
    # Ctrl-C reaches every process of the group; the main one finishes its step and saves, and needs its batches for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
