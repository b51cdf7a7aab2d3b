"""From stores to batches: pairs of frames and the 3D chunks that they look into.

The order of the data is a pure function of (seed, step), so a run that is stopped goes on with the very batches that
it would have seen; nothing about the order is ever saved.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import InputError
from ..geometry import frustum_box, scale_intrinsics
from ..seeds import mix_seeds
from .augment import Window, crop_and_resize, mirror, random_window
from .batch import Box, PairBatch, collate, decode
from .chunks import surface
from .loader import batch_loader
from .memory import FrameMemory
from .scene import Scene
from .store import SceneStore


class PairDataset(Dataset[PairBatch]):
    """The pairs of a store, as batches of one.

    Args:
        store: What ``prepare`` wrote.
        size: (height, width) of the images; those of the store are resized where they differ.
        chunks: Whether to cut the 3D chunk of each frame.
        box: What of the scene is the chunk of a frame.
        geometric: Whether to crop, scale and mirror the images, each by itself; the cameras follow, and the chunks.
        holdout: Scenes to leave out.
        only: If not empty, the scenes to take.
        min_overlap: Pairs that share less of their points are left out.

    Raises:
        InputError: A scene named that is not there, no pair left, or no voxel to cut chunks from.
    """

    def __init__(
        self,
        store: SceneStore,
        size: tuple[int, int],
        *,
        chunks: bool,
        box: Box = frustum_box,
        geometric: bool = False,
        holdout: Sequence[str] = (),
        only: Sequence[str] = (),
        min_overlap: float = 0.0,
    ) -> None:
        for name in (*holdout, *only):
            if name not in store.scene_ids:
                raise InputError(f"there is no scene '{name}' in {store.root}; there are {', '.join(store.scene_ids)}")
        self.scenes = [name for name in only or store.scene_ids if name not in holdout]
        self.store, self.size, self.chunks, self.box, self.geometric = store, size, chunks, box, geometric
        self.memory: FrameMemory | None = None
        self.first_rows: dict[str, int] = {}  # of the scenes, in the memory
        self.pairs = [scene.pairs[scene.overlaps >= min_overlap] for scene in map(store.scene, self.scenes)]
        self.ends = np.cumsum([len(pairs) for pairs in self.pairs])
        if not self.scenes or self.ends[-1] == 0:
            overlap = f" that shares at least {min_overlap:g}" if min_overlap else ""
            raise InputError(f"{store.root} has no pair{overlap} in the scenes {', '.join(self.scenes) or '(none)'}")
        if chunks and not any(len(store.scene(name).voxels) for name in self.scenes):
            raise InputError(f"{store.root} has no voxels, as its source knows no surface; use loss.method=view")

    def __len__(self) -> int:
        return int(self.ends[-1])

    def hold(self, memory: FrameMemory, first_row: int) -> int:
        """Take images from a memory that holds this dataset's scenes from a row on; returns the row after them."""
        self.memory = memory
        for name in self.scenes:
            self.first_rows[name] = first_row
            first_row += len(self.store.scene(name).frame_ids)
        return first_row

    def __getitem__(self, key: int | tuple[int, int]) -> PairBatch:
        """Pair ``index``, or pair and seed of what is random about it as ``(index, seed)``."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        position = int(np.searchsorted(self.ends, index, side="right"))
        scene = self.store.scene(self.scenes[position])
        pair = self.pairs[position][index - (self.ends[position - 1] if position else 0)]
        rows = torch.from_numpy(pair).long() + self.first_rows.get(scene.id, 0)
        pose = torch.from_numpy(scene.camera_to_world[pair]).float()
        boxes = None
        if self.memory is not None and not self.memory.shared:  # the images are on the device, and stay there
            color, depth = torch.empty(2, 0, dtype=torch.uint8), torch.empty(2, 0)
            intrinsics = scale_intrinsics(torch.from_numpy(scene.intrinsics[pair]), scene.size, self.size).float()
            boxes = self.memory.boxes[rows]
        else:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds devices too, which takes 0.3 ms
                views = [self._view(scene, int(frame), row) for frame, row in zip(pair, rows, strict=True)]
            color, depth, intrinsics = (torch.stack(parts) for parts in zip(*views, strict=True))
        chunks = []
        if self.chunks:
            boxes = self.box(depth, intrinsics, pose) if boxes is None else boxes
            chunks = [surface(scene).cut(box, sample) for sample, box in enumerate(boxes)]
        voxels = torch.cat([c[0] for c in chunks]) if chunks else torch.empty(0, 4, dtype=torch.int32)
        colors = torch.cat([c[1] for c in chunks]) if chunks else torch.empty(0, 3, dtype=torch.uint8)
        one = (color[None], depth[None], intrinsics[None], pose[None])
        return PairBatch(*one, voxels, colors, seeds=torch.tensor([seed]), rows=rows[None])

    def _view(self, scene: Scene, frame: int, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.memory is None:
            color, depth, intrinsics = decode(scene, frame)
        else:
            color, depth = self.memory.images(row)
            intrinsics = scale_intrinsics(torch.from_numpy(scene.intrinsics[frame]), scene.size, self.memory.size)
        size = (depth.shape[0], depth.shape[1])
        window = random_window(size) if self.geometric else Window(0, 0, *size)
        color, depth, intrinsics = crop_and_resize(color, depth, intrinsics, window, self.size)
        if self.geometric and torch.rand(()) < 0.5:
            color, depth, intrinsics = mirror(color, depth, intrinsics)
        return color, depth, intrinsics.float()


class PairMixture(Dataset[PairBatch]):
    """The pairs of several stores, one after the other; ``StepSampler`` draws from them by ``lengths``.

    Args:
        parts: The pairs of each store.

    Raises:
        InputError: Chunks of different voxel sizes, which one network cannot tell apart.
    """

    def __init__(self, parts: Sequence[PairDataset]) -> None:
        self.parts = list(parts)
        self.lengths = [len(part) for part in parts]
        self.starts = np.cumsum([0, *self.lengths])
        self.voxel_size = parts[0].store.voxel_size
        for part in parts:
            if part.chunks and part.store.voxel_size != self.voxel_size:
                raise InputError(
                    f"{part.store.root} has voxels of {part.store.voxel_size} m, {parts[0].store.root} of "
                    f"{self.voxel_size} m; prepare them alike, or use loss.method=view"
                )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, key: tuple[int, int]) -> PairBatch:
        """Pair and seed of what is random about it as ``(index, seed)``."""
        index, seed = key
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part][index - int(self.starts[part]), seed]


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of ``(pair, seed)`` for the steps ``start`` to ``stop`` of a run, the share of one process.

    Each epoch is a permutation of all pairs drawn from (seed, epoch). The pairs of a step are dealt to its
    ``accumulate`` parts and, within a part, to the processes in turn, without overlap.

    Of several stores with ``weights``, an epoch, as long as all pairs together, takes the share of each; the pairs of a
    store are all used before one of them comes again, in this epoch or in the next ones.

    Args:
        lengths: Pairs of the store, or of each store.
        batch_size: Pairs a step, over all processes.
        seed: Of the run.
        start: The first step.
        stop: The step after the last.
        weights: Of the stores, of any sum; none: an epoch is all pairs of all, as in the authors' mixture.
        accumulate: Parts of a step.
        process: The number of this process.
        processes: How many there are.

    Raises:
        InputError: The batch cannot be dealt evenly, or the weights do not fit.
    """

    def __init__(
        self,
        lengths: int | Sequence[int],
        batch_size: int,
        *,
        seed: int,
        start: int,
        stop: int,
        weights: Sequence[float] = (),
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size % (accumulate * processes):
            raise InputError(
                f"batch_size={batch_size} cannot be dealt evenly to {processes} processes x accumulate={accumulate}"
            )
        self.lengths = [lengths] if isinstance(lengths, int) else list(lengths)
        self.length, self.batch_size, self.seed = sum(self.lengths), batch_size, seed
        self.start, self.stop, self.accumulate = start, stop, accumulate
        self.process, self.processes = process, processes
        self.shares = _whole_shares(self.length, weights or self.lengths, len(self.lengths))

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
                        order = self._epoch(epoch)
                    batch.append((int(order[position % self.length]), mix_seeds(self.seed, epoch, position)))
                yield batch

    def _epoch(self, epoch: int) -> Tensor:
        """Indices of the pairs of an epoch, in the order of their use."""
        starts = np.cumsum([0, *self.lengths[:-1]])
        pairs = torch.cat([start + self._turn(store, epoch) for store, start in enumerate(starts.tolist())])
        return pairs[_permutation(self.length, self.seed, epoch)]

    def _turn(self, store: int, epoch: int) -> Tensor:
        """The pairs of one store that are due in an epoch: the next ones of an endless row of permutations."""
        length, share = self.lengths[store], self.shares[store]
        first, last = epoch * share, (epoch + 1) * share
        pieces = []
        for turn in range(first // length, -(-last // length)):
            begin, end = max(first - turn * length, 0), min(last - turn * length, length)
            # a whole turn needs no order of its own, as the epoch is shuffled
            whole = end - begin == length
            pairs = torch.arange(length) if whole else _permutation(length, self.seed, store, turn)
            pieces.append(pairs[begin:end])
        return torch.cat(pieces)


def _permutation(length: int, *seeds: int) -> Tensor:
    return torch.randperm(length, generator=torch.Generator().manual_seed(mix_seeds(*seeds)))


def _whole_shares(total: int, weights: Sequence[float], stores: int) -> list[int]:
    """``total`` divided by the weights into whole numbers, the largest remainders rounded up."""
    if len(weights) != stores or min(weights) <= 0:
        raise InputError(f"data.weights={list(weights)}: it must hold {stores} positive numbers, one for each store")
    exact = np.array(weights, np.float64) * (total / sum(weights))
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: total - shares.sum()]] += 1
    if not shares.all():
        raise InputError(f"data.weights={list(weights)}: the least is too small to draw one of {total} pairs by it")
    return [int(share) for share in shares]


def pair_loader(
    dataset: PairDataset | PairMixture, sampler: StepSampler, workers: int, pin_memory: bool
) -> DataLoader[PairBatch]:
    """A loader of PairBatch in the order of the sampler, the same for any number of workers."""
    return batch_loader(dataset, collate, workers, pin_memory=pin_memory, batch_sampler=sampler)
