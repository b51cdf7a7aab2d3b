"""Pair mining: which frames of a scene see enough of the same surface.

The paper's criterion (Pri3D, section 3.1): of the back-projected points of two frames together, the share that has a
point of the other frame within 2 cm; pairs with at least 30 % are kept. Brute force would be a nearest-neighbour search
of every pixel of every pair. Here

- pairs that cannot reach the threshold are left out beforehand, by the coarse cells that the frames' points lie in;
- queries are the pixels of a regular lattice (1 in 13 at 240x320), targets are all pixels: sampling moves a share by
  about 0.002;
- most queries are decided by the pixel that they project to, or by the range of depth around it; only the others go to
  a tree.

Everything else is exact, so the result agrees with brute force within 0.01.

Frames are compared block by block and read again for each, so memory grows with the pairs found, not with the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from ..geometry import depth_to_world, frustum_box, invert_rigid, pack_keys, pixel_grid, quantize, unproject

CELL_PIXELS = 4  # edge of the image cells that are tested for their range of depth
CELL = 2.5  # edge of the coarse cells, in radii; at least 1 for the bound to hold, more for fewer cells
QUERIES = 5000  # a frame
# one pixel in so many, where (u + slant * v) % sparsity == 0: square lattices, at a slant so that they do not beat with
# the rows and columns of sensor and room
LATTICES = ((1, 0), (2, 1), (5, 2), (10, 3), (13, 5), (17, 4), (26, 5), (37, 6), (50, 7))
QUERIES_AT_ONCE = 100_000  # working memory that stays in a core's cache
FRAMES_AT_ONCE = 200  # of each of the two blocks that are compared; 0.7 MB a frame


class Images(Protocol):
    """Depth images (H, W) by number, held in memory as one array (N, H, W) or read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.float32]: ...


def mine_pairs(
    depth: Images,
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
    *,
    radius: float = 0.02,
    min_overlap: float = 0.3,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """All pairs of frames that overlap enough, and by how much. Deterministic.

    Args:
        depth: N images (H, W), metres, 0 = no reading.
        intrinsics: (N, 3, 3), pixels.
        camera_to_world: (N, 4, 4).
        radius: Metres; points this near to each other correspond.
        min_overlap: Pairs with a smaller share of corresponding points are left out.

    Returns:
        (P, 2) frame indices i < j in rising order, and (P,) the share of corresponding points, in [0, 1].
    """
    cameras = torch.as_tensor(intrinsics, dtype=torch.float64)
    poses = torch.as_tensor(camera_to_world, dtype=torch.float64)
    pairs, overlaps = [], []
    first = second = None
    for rows, columns in block_pairs(depth, cameras, poses, FRAMES_AT_ONCE, radius):
        if first is None or first.frames != rows:
            first = _Block.read(depth, cameras, poses, rows, CELL * radius)
        second = first if columns == rows else _Block.read(depth, cameras, poses, columns, CELL * radius)
        overlap = _overlap(depth, cameras, poses, first, second, radius, min_overlap)
        i, j = np.nonzero(overlap >= max(min_overlap, 0))
        pairs.append(np.stack((rows.start + i, columns.start + j), -1).astype(np.int32))
        overlaps.append(overlap[i, j].astype(np.float32))
    return sorted_pairs(pairs, overlaps)


def block_pairs(
    depth: Images, cameras: Tensor, poses: Tensor, block: int, reach: float
) -> Iterator[tuple[range, range]]:
    """Every two blocks of so many frames that may see the same, each block with itself first, then with later ones.

    Blocks whose frusta lie more than ``reach`` metres apart are left out, so that a walk through many rooms takes time
    by its length, not by its square.
    """
    blocks = [range(start, min(start + block, len(depth))) for start in range(0, len(depth), block)]
    boxes = []
    for frames in blocks:
        views = [frustum_box(torch.as_tensor(depth[index]), cameras[index], poses[index]) for index in frames]
        stacked = torch.stack(views)
        boxes.append(torch.stack((stacked[:, 0].amin(0) - reach, stacked[:, 1].amax(0))))
    low, high = torch.stack(boxes or [torch.zeros(2, 3)]).unbind(1)
    meet = ((low[:, None] <= high) & (low <= high[:, None])).all(-1)
    for number, first in enumerate(blocks):
        yield first, first
        yield from ((first, second) for other, second in enumerate(blocks) if other > number and meet[number, other])


def sorted_pairs(
    pairs: list[NDArray[np.int32]], overlaps: list[NDArray[np.float32]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Pairs of several blocks as one array (P, 2) in rising order, and their overlaps (P,)."""
    joined = np.concatenate([np.zeros((0, 2), np.int32), *pairs])
    values = np.concatenate([np.zeros(0, np.float32), *overlaps])
    order = np.lexsort((joined[:, 1], joined[:, 0]))
    return joined[order], values[order]


@dataclass(frozen=True, eq=False)
class _Block:
    """What is held of consecutive frames while they are compared.

    Args:
        frames: Their numbers.
        points: (B, 3, Q), camera space, of the lattice's pixels, those with a reading first.
        queries: (B,), how many of them have one.
        valid: (B,), pixels with a reading.
        occupied: For each frame the coarse cells that its points lie in, as unique keys.
        asked: For each frame the cells of its queries, as keys.
    """

    frames: range
    points: Tensor
    queries: Tensor
    valid: NDArray[np.float64]
    occupied: list[Tensor]
    asked: list[Tensor]

    @classmethod
    def read(cls, depth: Images, cameras: Tensor, poses: Tensor, frames: range, cell: float) -> "_Block":
        occupied, asked, points, queries, valid = [], [], [], [], []
        for index in frames:
            image = torch.as_tensor(depth[index])
            lattice = _lattice((image.shape[0], image.shape[1]))
            keys = pack_keys(quantize(depth_to_world(image, cameras[index], poses[index]), cell))
            has_reading = (image > 0).flatten()
            occupied.append(torch.unique(keys[has_reading]))
            asked.append(keys[lattice][has_reading[lattice]])
            order = lattice[(~has_reading[lattice]).sort(stable=True).indices]
            pixels = pixel_grid((image.shape[0], image.shape[1]))[order]
            points.append(unproject(pixels, image.flatten()[order], cameras[index].float()).T)
            queries.append(len(asked[-1]))
            valid.append(int(has_reading.sum()))
        most = max(queries)
        return cls(
            frames,
            torch.stack([part[:, :most] for part in points]).contiguous(),
            torch.tensor(queries),
            np.array(valid, np.float64),
            occupied,
            asked,
        )


def _overlap(
    depth: Images, cameras: Tensor, poses: Tensor, first: _Block, second: _Block, radius: float, min_overlap: float
) -> NDArray[np.float64]:
    """Overlap of each frame of the first block with each later one of the second; -1 where it cannot be enough."""
    bound = _upper_bound(first, second)
    possible = (bound > 0) & (bound >= min_overlap)
    forward = _corresponding(depth, cameras, poses, first, second.frames, possible, radius)
    backward = (
        forward if second is first else _corresponding(depth, cameras, poses, second, first.frames, possible.T, radius)
    )
    total = np.maximum(first.valid[:, None] + second.valid[None], 1)
    if second is first:
        possible = np.triu(possible, 1)
    return np.where(possible, (forward + backward.T) / total, -1)


def _corresponding(
    depth: Images,
    cameras: Tensor,
    poses: Tensor,
    block: _Block,
    targets: range,
    possible: NDArray[np.bool_],
    radius: float,
) -> NDArray[np.float64]:
    """How many pixels (B, T) of the block's frames have one of the target's nearby, for the possible ones (B, T)."""
    share = np.zeros(possible.shape)
    for column, target in enumerate(targets):
        others = np.flatnonzero(possible[:, column])
        if len(others):
            view = _Target(torch.as_tensor(depth[target]), cameras[target], radius)
            motion = (invert_rigid(poses[target]) @ poses[block.frames.start + others]).float()
            size = max(1, QUERIES_AT_ONCE // block.points.shape[2])
            parts = zip(torch.as_tensor(others).split(size), motion.split(size), strict=True)
            found = [view.count(block.points[part], block.queries[part], part_motion) for part, part_motion in parts]
            share[others, column] = np.concatenate(found) / block.queries[others].numpy()
    return share * block.valid[:, None]


def _lattice(size: tuple[int, int]) -> Tensor:
    """Flat indices of the pixels that ask: at least ``QUERIES`` of them, evenly spread; all, in a small image."""
    pixels = pixel_grid(size).long()
    sparsity, slant = max(entry for entry in LATTICES if entry[0] == 1 or len(pixels) / entry[0] >= QUERIES)
    return ((pixels[:, 0] + slant * pixels[:, 1]) % sparsity == 0).nonzero()[:, 0]


def _upper_bound(first: _Block, second: _Block) -> NDArray[np.float64]:
    """Overlap (B, B) that no pair exceeds: a query counts if the other frame has any point in a neighbouring cell."""
    cells = torch.unique(torch.cat(first.occupied + second.occupied))
    steps = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    wanted = cells[:, None] + (pack_keys(steps) - pack_keys(torch.zeros(3)))
    neighbour = torch.searchsorted(cells, wanted).clamp(max=max(len(cells) - 1, 0))
    row, column = (cells[neighbour] == wanted).nonzero(as_tuple=True)
    adjacent = sparse.csr_matrix((np.ones(len(row), np.float32), (row, neighbour[row, column])), (len(cells),) * 2)

    def found(asking: _Block, target: _Block) -> NDArray[np.float64]:
        reached = _incidence(target.occupied, cells) @ adjacent
        reached.data[:] = 1
        return (_incidence(asking.asked, cells) @ reached.T.tocsr()).toarray().astype(np.float64)

    forward = found(first, second)
    backward = forward if second is first else found(second, first)
    total = first.queries[:, None] + second.queries[None]
    bound = (forward + backward.T) / np.maximum(total.numpy(), 1)
    if second is first:
        np.fill_diagonal(bound, 0)
    return bound


def _incidence(frames: list[Tensor], cells: Tensor) -> sparse.csr_matrix:
    """How often (N, cells) each frame's keys name each cell."""
    rows = np.repeat(np.arange(len(frames)), [len(keys) for keys in frames])
    columns = torch.searchsorted(cells, torch.cat(frames)).numpy()
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(frames), len(cells)))


class _Target:
    """A frame that others look into: its points as an image, and as a tree for what the image cannot decide."""

    def __init__(self, depth: Tensor, camera: Tensor, radius: float) -> None:
        self.depth, self.radius = depth, radius
        self.focal, self.center = camera.diagonal()[:2].tolist(), camera[:2, 2].tolist()
        valid = depth.flatten() > 0
        points = unproject(pixel_grid((depth.shape[0], depth.shape[1])), depth.flatten(), camera.float())[valid]
        self.tree = cKDTree(points.numpy(), balanced_tree=False)  # quicker to build, and as quick to ask

        # the pixels that a ball can cover: 1.5 because off the axis it looks larger
        nearest = float(depth[depth > 0].min()) if len(points) else 1.0
        window = 1.5 * max(self.focal) * radius / max(nearest - radius, radius)
        self.border = min(int(np.ceil(window / CELL_PIXELS)), max(depth.shape) // CELL_PIXELS + 1) + 1
        self.near = -self._farthest(torch.where(depth > 0, -depth, -torch.inf)) - radius
        self.far = self._farthest(torch.where(depth > 0, depth, -torch.inf)) + radius

    def _farthest(self, depth: Tensor) -> Tensor:
        """Largest depth in and around each cell of the image; the outermost cells, far from it, see nothing of it."""
        cells = max_pool2d(depth[None, None], CELL_PIXELS, CELL_PIXELS, ceil_mode=True)
        cells = pad(cells, (self.border,) * 4, value=-torch.inf)
        side = 2 * self.border - 1
        rows = max_pool2d(cells, (side, 1), 1, (self.border - 1, 0))
        return max_pool2d(rows, (1, side), 1, (0, self.border - 1))[0, 0]

    def count(self, points: Tensor, queries: Tensor, motion: Tensor) -> NDArray[np.int64]:
        """How many of the first ``queries`` (B,) of ``points`` (B, 3, Q), moved by ``motion`` (B, 4, 4), find one."""
        height, width = self.depth.shape
        x, y, z = torch.baddbmm(motion[:, :3, 3:], motion[:, :3, :3], points[..., : int(queries.max())]).unbind(1)
        inverse = 1 / z.clamp(min=1e-6)
        u = (x * inverse).mul_(self.focal[0]).add_(self.center[0]).round_().clamp_(-1e6, 1e6)
        v = (y * inverse).mul_(self.focal[1]).add_(self.center[1]).round_().clamp_(-1e6, 1e6)

        rows, columns = self.near.shape
        cell_u = (u / CELL_PIXELS + self.border).int().clamp_(0, columns - 1)
        cell_v = (v / CELL_PIXELS + self.border).int().clamp_(0, rows - 1)
        cell = (cell_v * columns + cell_u).long()
        possible = (z >= self.near.flatten()[cell]) & (z <= self.far.flatten()[cell])
        possible &= torch.arange(z.shape[1]) < queries[:, None]

        # the pixel that is hit decides most cases; beside the image its border stands in, a point like any other
        u.clamp_(0, width - 1)
        v.clamp_(0, height - 1)
        hit_z = self.depth.flatten()[(v * width + u).long()]
        hit_x = (u - self.center[0]) / self.focal[0] * hit_z
        hit_y = (v - self.center[1]) / self.focal[1] * hit_z
        near = (hit_x - x).square_() + (hit_y - y).square_() + (hit_z - z).square_() <= self.radius**2
        near &= hit_z > 0
        found = (near & possible).sum(1).numpy()

        frame, query = (possible & ~near).nonzero(as_tuple=True)
        undecided = torch.stack((x[frame, query], y[frame, query], z[frame, query]), -1).numpy()
        distance, _ = self.tree.query(undecided, distance_upper_bound=self.radius)
        return found + np.bincount(frame.numpy()[np.isfinite(distance)], minlength=len(found))
