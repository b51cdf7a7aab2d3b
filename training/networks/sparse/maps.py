"""Which voxel meets which under which element of a kernel, and in what order a convolution visits those pairs.

Voxels are looked up by Morton keys: the bits of x, y and z interleaved (x lowest), the sample of the batch above them.
In that order a voxel's parent at twice the stride has the key ``key >> 3``, the children of one parent are
neighbours, and the lowest three bits are the child's place in a kernel of size 2. All of it is pure tensors; sizes
that only the data knows make the host wait for a CUDA device here, some times for each block, and nowhere in the
convolutions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

COORDINATE_BITS = 18  # of one axis in a key at stride 1; batch takes what is left of 63
COORDINATE_OFFSET = 1 << (COORDINATE_BITS - 1)
COORDINATE_LIMIT = 1 << 16  # half of the range, so that no neighbour of a voxel leaves it: 1.3 km at 2 cm
BATCH_LIMIT = 1 << (63 - 3 * COORDINATE_BITS)
# bits of x at every third place: each pass halves the groups of bits that are still together
SPREAD_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
# Target voxels of one block: the memory of a convolution beside its result. A CPU is about as fast with 2,000 as with
# 8,000; a GPU wants few, large launches, and how large was measured on none.
BLOCK_ROWS = {"cpu": 2048}
BLOCK_ROWS_ELSEWHERE = 32768
# Pairs whose features are gathered together, where that is more than one element's: on a CPU they are then multiplied
# while they are in the cache. That of a GPU is a guess, too.
GROUP_PAIRS = {"cpu": 4096}
GROUP_PAIRS_ELSEWHERE = 1 << 20


@dataclass(frozen=True, eq=False)
class Level:
    """The voxels of one stride.

    Args:
        batch: (N,) int64.
        cells: (N, 3) int64, coordinates divided by the stride.
        keys: (N,) int64, sorted Morton keys.
        order: (N,) int64, the row that each key belongs to; None where the rows are in the order of the keys.
        depth: The stride is 2 ** depth.
    """

    batch: Tensor
    cells: Tensor
    keys: Tensor
    order: Tensor | None
    depth: int

    def find(self, batch: Tensor, cells: Tensor, steps: Tensor) -> Tensor:
        """Rows (k**3, M) int64 of the voxels at ``cells`` + kernel offset, x fastest, -1 where there is none.

        Args:
            batch: (M,) int64.
            cells: (M, 3) int64.
            steps: (k,) int64, the offsets along one axis.
        """
        x, y, z = spread_bits(
            cells.t().contiguous()[:, None] + steps[None, :, None] + (COORDINATE_OFFSET >> self.depth)
        )
        columns = (z << 2)[:, None] | (y << 1) | (batch << 3 * (COORDINATE_BITS - self.depth))
        wanted = (columns[:, :, None] | x).flatten(0, 2).contiguous()
        position = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        missing = self.keys[position] != wanted
        rows = position if self.order is None else self.order[position]
        return rows.masked_fill(missing, -1)


def spread_bits(values: Tensor) -> Tensor:
    """Non-negative int64 below 2**21 with bit ``i`` moved to bit ``3 * i``."""
    for shift, mask in SPREAD_STEPS:
        values = (values | values << shift) & mask
    return values


def morton_keys(batch: Tensor, cells: Tensor) -> Tensor:
    """Morton keys (N,) int64 of voxels at stride 1: batch (N,) and cells (N, 3), int64."""
    x, y, z = spread_bits(cells.t() + COORDINATE_OFFSET)
    return batch << 3 * COORDINATE_BITS | z << 2 | y << 1 | x


def coarsen(level: Level) -> tuple[Level, Tensor, Tensor]:
    """The level at twice the stride, in Morton order; each voxel's parent (N,) and its place there (N,), in 0..7."""
    keys, parent, counts = torch.unique_consecutive(level.keys >> 3, return_inverse=True, return_counts=True)
    octant = level.keys & 7
    first = counts.cumsum(0) - counts
    if level.order is not None:
        first = level.order[first]
        inverse = torch.empty_like(level.order)
        inverse[level.order] = torch.arange(len(inverse), device=inverse.device)
        parent, octant = parent[inverse], octant[inverse]
    return Level(level.batch[first], level.cells[first] >> 1, keys, None, level.depth + 1), parent, octant


@dataclass(frozen=True, eq=False)
class Group:
    """Successive pairs of a block, those of whole kernel elements.

    Args:
        start: The first of them among the block's.
        elements: The kernel elements, ascending or descending.
        sizes: How many pairs each of them has, P in all.
        sources: (P,) int32, source row of each pair.
        targets: (P,) int32, target row of each pair.
    """

    start: int
    elements: list[int]
    sizes: list[int]
    sources: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Block:
    """The pairs that end in the target rows ``start`` to ``stop``, ordered by kernel element, then by target.

    Args:
        start: First target row.
        stop: One past the last.
        groups: The pairs, P in all.
        pairs: (P,) int32, the block's pairs ordered by target.
        bounds: (stop - start + 1,) int32, where each target's share of ``pairs`` begins.
    """

    start: int
    stop: int
    groups: list[Group]
    pairs: Tensor
    bounds: Tensor


class Scratch:
    """Buffers that all layers share: on a CPU a fresh one costs ten times as much as one whose pages are there."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, rows: int, like: Tensor, columns: int) -> Tensor:
        """An uninitialised (rows, columns) buffer with the dtype and device of ``like``; the next take re-uses it."""
        size = rows * columns
        buffer = self._buffers.get((name, like.dtype))
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name, like.dtype] = like.new_empty(size)
        return buffer[:size].view(rows, columns)

    def size(self) -> int:
        """Bytes held."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


@dataclass(frozen=True, eq=False)
class Plan:
    """All pairs of a convolution in one direction, block by block over its target rows.

    Args:
        blocks: In the order of the rows.
        rows: Number of target rows.
        scratch: Where the convolutions put a block's features.
    """

    blocks: list[Block]
    rows: int
    scratch: Scratch = field(repr=False)

    @cached_property
    def largest(self) -> int:
        """Pairs of the largest block."""
        return max(len(block.pairs) for block in self.blocks)

    def mirrored(self, volume: int) -> "Plan":
        """The same pairs with kernel element ``i`` called ``volume - 1 - i``."""

        def turned(group: Group) -> Group:
            return replace(group, elements=[volume - 1 - element for element in group.elements])

        return replace(self, blocks=[replace(block, groups=list(map(turned, block.groups))) for block in self.blocks])


@dataclass(frozen=True, eq=False)
class KernelMap:
    """A convolution's pairs by output row, and the same by input row: what its gradient and its transpose follow."""

    to_output: Plan
    to_input: Plan


def build_plan(rows: int, lookup: Callable[[int, int], Tensor], scratch: Scratch, device: torch.device) -> Plan:
    """Plan over ``rows`` target rows; ``lookup(start, stop)`` gives (K, stop - start) source rows, -1 for none."""
    size = BLOCK_ROWS.get(device.type, BLOCK_ROWS_ELSEWHERE)
    blocks = [build_block(start, lookup(start, min(start + size, rows))) for start in range(0, rows, size)]
    return Plan(blocks, rows, scratch)


def build_block(start: int, found: Tensor) -> Block:
    """The block of the target rows from ``start`` on whose sources are ``found`` (K, M), -1 for none."""
    width = found.shape[1]
    valid = found >= 0
    sizes = valid.sum(1).tolist()
    present = valid.flatten().nonzero()[:, 0]
    position = valid.flatten().cumsum(0, dtype=torch.int32).view_as(found) - 1
    sources = found.flatten()[present].int()
    targets = (present % width + start).int()
    groups = []
    begin = 0
    for elements in group_elements(sizes, GROUP_PAIRS.get(found.device.type, GROUP_PAIRS_ELSEWHERE)):
        own = [sizes[element] for element in elements]
        end = begin + sum(own)
        groups.append(Group(begin, elements, own, sources[begin:end], targets[begin:end]))
        begin = end
    return Block(
        start,
        start + width,
        groups,
        pairs=position.t()[valid.t()],
        bounds=F.pad(valid.sum(0, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0)),
    )


def group_elements(sizes: list[int], limit: int) -> list[list[int]]:
    """The elements that have pairs, as many successive ones in a list as have at most ``limit`` together."""
    groups: list[list[int]] = []
    room = 0
    for element, size in enumerate(sizes):
        if size == 0:
            continue
        if size > room:
            groups.append([])
            room = limit
        groups[-1].append(element)
        room -= size
    return groups


def search_map(source: Level, target: Level, kernel_size: int, dilation: int, scratch: Scratch) -> KernelMap:
    """Pairs of an output voxel of ``target`` and the voxels of ``source`` under a kernel that is laid on it.

    An odd kernel is centred on the voxel, an even one begins there, as in MinkowskiEngine.
    """
    scale = 1 << (target.depth - source.depth)
    begin = kernel_size // 2 if kernel_size % 2 else 0
    steps = (torch.arange(kernel_size, device=source.keys.device) - begin) * dilation

    def under_kernel(start: int, stop: int) -> Tensor:
        return source.find(target.batch[start:stop], target.cells[start:stop] * scale, steps)

    to_output = build_plan(len(target.keys), under_kernel, scratch, source.keys.device)
    volume = kernel_size**3
    if kernel_size % 2 and scale == 1:
        return KernelMap(to_output, to_output.mirrored(volume))
    return KernelMap(to_output, reverse_plan(to_output, volume, len(source.keys), source.keys.device))


def reverse_plan(plan: Plan, volume: int, rows: int, device: torch.device) -> Plan:
    """The same pairs ordered by source: a source meets a kernel element at most once."""
    targets = torch.full((rows, volume), -1, dtype=torch.int32, device=device)
    for group in (group for block in plan.blocks for group in block.groups):
        runs = zip(group.elements, group.sources.split(group.sizes), group.targets.split(group.sizes), strict=True)
        for element, sources, own in runs:
            targets[sources.long(), element] = own
    return build_plan(rows, lambda start, stop: targets[start:stop].t(), plan.scratch, device)


def parent_map(parent: Tensor, octant: Tensor, parents: int, scratch: Scratch) -> KernelMap:
    """The pairs of kernel size 2, stride 2, from each voxel's parent (N,) and place in it (N,); nothing is searched."""
    children = children_table(parent, octant, parents)
    places = torch.arange(8, device=parent.device)[:, None]

    def own_parent(start: int, stop: int) -> Tensor:
        return torch.where(octant[start:stop] == places, parent[start:stop], -1)

    to_parents = build_plan(parents, lambda start, stop: children[start:stop].t(), scratch, parent.device)
    return KernelMap(to_parents, build_plan(len(parent), own_parent, scratch, parent.device))


def children_table(parent: Tensor, octant: Tensor, parents: int) -> Tensor:
    """(parents, 8) int64: the rows of each parent's children, -1 where there is none."""
    children = torch.full((parents, 8), -1, dtype=torch.int64, device=parent.device)
    children[parent, octant] = torch.arange(len(parent), device=parent.device)
    return children


def family_map(parent: Tensor, octant: Tensor, near: Tensor, kernel_size: int, scratch: Scratch) -> KernelMap:
    """Pairs of stride 1 without a search of their own: a voxel's neighbours are children of its parent's neighbours.

    Args:
        parent: (N,) int64, each voxel's parent.
        octant: (N,) int64, its place there.
        near: (27, P) int64, row of each parent's neighbours, x fastest, -1 where there is none.
        kernel_size: 3 or 5: a step of more than two voxels would lead beyond them.
        scratch: Of the plan.
    """
    parents = near.shape[1]
    # children of a neighbour that is not there: the last eight
    children = F.pad(children_table(parent, octant, parents).flatten(), (0, 8), value=-1)
    eldest = torch.where(near < 0, parents, near).flatten() * 8
    neighbour, place = (table.to(parent.device) for table in family_tables(kernel_size))

    def under_kernel(start: int, stop: int) -> Tensor:
        octants = octant[start:stop]
        child = eldest.take(neighbour.index_select(1, octants).mul_(parents).add_(parent[start:stop]))
        return children.take(child.add_(place.index_select(1, octants)))

    to_output = build_plan(len(parent), under_kernel, scratch, parent.device)
    return KernelMap(to_output, to_output.mirrored(kernel_size**3))


def family_tables(kernel_size: int) -> tuple[Tensor, Tensor]:
    """(k**3, 8) int64 twice: where each kernel element takes a voxel in each octant of its parent.

    The first is that of the parent's 27 neighbours, x fastest, the second the octant there.
    """
    steps = torch.arange(kernel_size) - kernel_size // 2
    axis = torch.arange(3)[:, None, None]
    offsets = torch.cartesian_prod(steps, steps, steps).flip(1).t()[:, :, None]
    halves = offsets + (torch.arange(8) >> axis & 1)
    return (((halves >> 1) + 1) * 3**axis).sum(0), ((halves & 1) << axis).sum(0)
