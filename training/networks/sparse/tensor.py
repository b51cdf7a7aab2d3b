"""Features on voxels, and the manager that knows their coordinates at every stride."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...errors import InputError
from .maps import (
    BATCH_LIMIT,
    COORDINATE_LIMIT,
    KernelMap,
    Level,
    Scratch,
    coarsen,
    family_map,
    morton_keys,
    parent_map,
    search_map,
)


class CoordinateManager:
    """The voxels of a batch at every stride and the kernel maps between them, each made when it is first asked for.

    Args:
        base: The voxels at stride 1. Larger strides are in Morton order, whatever the order of these.
    """

    def __init__(self, base: Level) -> None:
        self.scratch = Scratch()
        self._levels = {1: base}
        self._parents: dict[int, tuple[Tensor, Tensor]] = {}
        self._near: dict[int, Tensor] = {}
        self._maps: dict[tuple[int, int, int, int], KernelMap] = {}

    def level(self, stride: int) -> Level:
        """The voxels at a stride, a power of two."""
        if stride not in self._levels:
            coarser, parent, octant = coarsen(self.level(stride // 2))
            self._levels[stride], self._parents[stride] = coarser, (parent, octant)
        return self._levels[stride]

    def coordinates(self, stride: int) -> Tensor:
        """(N, 4) int64 sample, x, y, z of the voxels at a stride: floor(c / stride) * stride, for negative ones too."""
        level = self.level(stride)
        return torch.cat((level.batch[:, None], level.cells * stride), 1)

    def near(self, stride: int) -> Tensor:
        """(27, N) int64: the rows of each voxel's neighbours at a stride, x fastest, -1 where there is none."""
        if stride not in self._near:
            level = self.level(stride)
            steps = torch.arange(-1, 2, device=level.keys.device)
            self._near[stride] = level.find(level.batch, level.cells, steps)
        return self._near[stride]

    def kernel_map(self, stride: int, kernel_size: int, step: int, dilation: int) -> KernelMap:
        """The pairs of a convolution with stride ``step`` (1 or 2) over the voxels at ``stride``."""
        key = (stride, kernel_size, step, dilation)
        if key not in self._maps:
            source, target = self.level(stride), self.level(stride * step)
            if kernel_size == step == 2 and dilation == 1:
                self._maps[key] = parent_map(*self._parents[stride * 2], len(target.keys), self.scratch)
            elif kernel_size in (3, 5) and step == dilation == 1:
                near = self.near(stride * 2)
                self._maps[key] = family_map(*self._parents[stride * 2], near, kernel_size, self.scratch)
            else:
                self._maps[key] = search_map(source, target, kernel_size, dilation, self.scratch)
        return self._maps[key]

    @cached_property
    def sorted(self) -> "tuple[CoordinateManager, Tensor, Tensor]":
        """A manager with the same voxels in Morton order at stride 1 too, and the permutations (N,) there and back."""
        base = self._levels[1]
        rows = torch.arange(len(base.keys), device=base.keys.device)
        order = rows if base.order is None else base.order
        back = torch.empty_like(order)
        back[order] = rows
        return CoordinateManager(Level(base.batch[order], base.cells[order], base.keys, None, depth=0)), order, back


@dataclass(eq=False)
class SparseTensor:
    """Features on the voxels of a batch.

    Args:
        coordinates: (N, 4) int32 or int64: sample in the batch, x, y, z in voxels.
        features: (N, C), floating point, on the same device.
        stride: Distance of neighbouring voxels.
        manager: Shared by all tensors that come of one input; made here when it is not given.

    Raises:
        InputError: Wrong shapes, dtypes or devices, no voxels, coordinates out of range, a voxel that is there twice.
    """

    coordinates: Tensor
    features: Tensor
    stride: int = 1
    manager: CoordinateManager = None  # type: ignore[assignment]  # never None once __post_init__ is done

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not self.features.is_floating_point():
            raise InputError(
                f"sparse features must be (N, C) floating point, not {tuple(self.features.shape)} {self.features.dtype}"
            )
        if len(self.features) != len(self.coordinates) or self.features.device != self.coordinates.device:
            raise InputError(
                f"{len(self.features)} features on {self.features.device} do not fit {len(self.coordinates)} "
                f"coordinates on {self.coordinates.device}: there must be one row for each voxel, on one device"
            )
        if self.manager is None:
            self.manager = CoordinateManager(base_level(self.coordinates))

    def with_features(self, features: Tensor) -> "SparseTensor":
        """Other features (N, C) on the same voxels."""
        return replace(self, features=features)

    def sorted(self) -> tuple["SparseTensor", Tensor]:
        """The tensor with its rows in Morton order, and the permutation (N,) int64 that undoes that.

        Layers take rows in any order; in this one their memory accesses are near each other.

        Raises:
            InputError: The stride is not 1.
        """
        if self.stride != 1:
            raise InputError(f"a sparse tensor at stride {self.stride} was given where one at stride 1 is needed")
        manager, order, back = self.manager.sorted
        return SparseTensor(self.coordinates[order], self.features[order], 1, manager), back


def base_level(coordinates: Tensor) -> Level:
    """The level of stride 1 for coordinates as SparseTensor takes them, which it checks."""
    if coordinates.dtype not in (torch.int32, torch.int64) or coordinates.ndim != 2 or coordinates.shape[1] != 4:
        raise InputError(
            "sparse coordinates must be (N, 4) int32 or int64 (sample, x, y, z), "
            f"not {tuple(coordinates.shape)} {coordinates.dtype}"
        )
    if len(coordinates) == 0:
        raise InputError(
            "a sparse tensor needs at least one voxel, these coordinates hold none: leave such a batch out"
        )
    batch, cells = coordinates[:, 0].long(), coordinates[:, 1:].long()
    keys, order = morton_keys(batch, cells).sort()
    lowest, highest, reach, repeated = torch.stack(  # in one transfer from the device
        (batch.min(), batch.max(), torch.where(cells < 0, -cells, cells + 1).max(), (keys[1:] == keys[:-1]).sum())
    ).tolist()
    if lowest < 0 or highest >= BATCH_LIMIT:
        raise InputError(
            f"the first column of sparse coordinates is {lowest}..{highest}, but it is the sample in the batch: "
            f"number the samples from 0 to at most {BATCH_LIMIT - 1}; in a training that is a batch_size / accumulate "
            f"of {BATCH_LIMIT // 2} pairs on each process"
        )
    if reach > COORDINATE_LIMIT:
        raise InputError(
            f"sparse coordinates reach {reach} voxels from the origin, more than {COORDINATE_LIMIT}: "
            "move the scene to the origin or take larger voxels"
        )
    if repeated:
        raise InputError(
            f"{repeated} of {len(keys)} voxels repeat another one: merge the points of a voxel before the network"
        )
    return Level(batch, cells, keys, order, depth=0)


def cat(*tensors: SparseTensor) -> SparseTensor:
    """The channels of tensors on the same voxels, one after the other.

    Raises:
        InputError: The tensors do not share their manager and stride.
    """
    first = tensors[0]
    if any(tensor.manager is not first.manager or tensor.stride != first.stride for tensor in tensors):
        raise InputError("only sparse tensors that come of one input and have one stride can be concatenated")
    return first.with_features(torch.cat([tensor.features for tensor in tensors], 1))


def relu(tensor: SparseTensor, inplace: bool = False) -> SparseTensor:
    """ReLU of the features; in place it takes no further memory, and those of ``tensor`` are no more."""
    return tensor.with_features(torch.relu_(tensor.features) if inplace else torch.relu(tensor.features))
