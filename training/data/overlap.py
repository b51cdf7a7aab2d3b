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
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from ..geometry import depth_to_world, invert_rigid, pack_keys, pixel_grid, quantize, unproject

CELL_PIXELS = 4  # edge of the image cells that are tested for their range of depth
CELL = 2.5  # edge of the coarse cells, in radii; at least 1 for the bound to hold, more for fewer cells
QUERIES = 5000  # a frame
# one pixel in so many, where (u + slant * v) % sparsity == 0: square lattices, at a slant so that they do not beat with
# the rows and columns of sensor and room
LATTICES = ((1, 0), (2, 1), (5, 2), (10, 3), (13, 5), (17, 4), (26, 5), (37, 6), (50, 7))
QUERIES_AT_ONCE = 100_000  # working memory that stays in a core's cache


def mine_pairs(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
    *,
    radius: float = 0.02,
    min_overlap: float = 0.3,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """All pairs of frames that overlap enough, and by how much. Deterministic.

    Args:
        depth: (N, H, W), metres, 0 = no reading.
        intrinsics: (N, 3, 3), pixels.
        camera_to_world: (N, 4, 4).
        radius: Metres; points this near to each other correspond.
        min_overlap: Pairs with a smaller share of corresponding points are left out.

    Returns:
        (P, 2) frame indices i < j in rising order, and (P,) the share of corresponding points, in [0, 1].
    """
    if len(depth) < 2:
        return np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    images = torch.as_tensor(depth)
    cameras = torch.as_tensor(intrinsics, dtype=torch.float64)
    poses = torch.as_tensor(camera_to_world, dtype=torch.float64)
    lattice = _lattice((images.shape[1], images.shape[2]))
    points, queries = _query_points(images, cameras, lattice)
    bound = _upper_bound(images, cameras, poses, lattice, CELL * radius)
    possible = (bound > 0) & (bound >= min_overlap)

    share = np.zeros((len(images), len(images)))  # of row's points that have one of column's nearby
    for target in range(len(images)):
        others = np.flatnonzero(possible[target])
        if len(others):
            view = _Target(images[target], cameras[target], radius)
            motion = (invert_rigid(poses[target]) @ poses[others]).float()
            block = max(1, QUERIES_AT_ONCE // points.shape[2])
            parts = zip(torch.as_tensor(others).split(block), motion.split(block), strict=True)
            found = [view.count(points[part], queries[part], part_motion) for part, part_motion in parts]
            share[others, target] = np.concatenate(found) / queries[others].numpy()

    valid = (images > 0).flatten(1).sum(1).numpy().astype(np.float64)
    corresponding = share * valid[:, None]
    overlap = (corresponding + corresponding.T) / np.maximum(valid[:, None] + valid[None], 1)
    first, second = np.nonzero(np.triu(overlap >= min_overlap, 1) & possible)
    return np.stack((first, second), -1).astype(np.int32), overlap[first, second].astype(np.float32)


def _lattice(size: tuple[int, int]) -> Tensor:
    """Flat indices of the pixels that ask: at least ``QUERIES`` of them, evenly spread; all, in a small image."""
    pixels = pixel_grid(size).long()
    sparsity, slant = max(entry for entry in LATTICES if entry[0] == 1 or len(pixels) / entry[0] >= QUERIES)
    return ((pixels[:, 0] + slant * pixels[:, 1]) % sparsity == 0).nonzero()[:, 0]


def _query_points(images: Tensor, cameras: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor]:
    """Camera-space points (N, 3, Q) of the lattice's pixels, those with a reading first, and how many have one (N,)."""
    depth = images.flatten(1)[:, lattice]
    order = (depth <= 0).sort(dim=1, stable=True).indices
    queries = (depth > 0).sum(1)
    pixels = pixel_grid((images.shape[1], images.shape[2]))[lattice]
    points = unproject(pixels[order], depth.gather(1, order), cameras.float())
    return points[:, : int(queries.max())].transpose(1, 2).contiguous(), queries


def _upper_bound(images: Tensor, cameras: Tensor, poses: Tensor, lattice: Tensor, cell: float) -> NDArray[np.float64]:
    """Overlap (N, N) that no pair exceeds: a query counts if the other frame has any point in a neighbouring cell."""
    occupied, asked = [], []
    for image, camera, pose in zip(images, cameras, poses, strict=True):
        keys = pack_keys(quantize(depth_to_world(image, camera, pose), cell))
        valid = (image > 0).flatten()
        occupied.append(torch.unique(keys[valid]))
        asked.append(keys[lattice][valid[lattice]])
    cells = torch.unique(torch.cat(occupied))
    steps = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    wanted = cells[:, None] + (pack_keys(steps) - pack_keys(torch.zeros(3)))
    neighbour = torch.searchsorted(cells, wanted).clamp(max=max(len(cells) - 1, 0))
    row, column = (cells[neighbour] == wanted).nonzero(as_tuple=True)
    adjacent = sparse.csr_matrix((np.ones(len(row), np.float32), (row, neighbour[row, column])), (len(cells),) * 2)
    reached = _incidence(occupied, cells) @ adjacent
    reached.data[:] = 1
    found = (_incidence(asked, cells) @ reached.T.tocsr()).toarray().astype(np.float64)
    total = np.array([len(keys) for keys in asked])
    bound = (found + found.T) / np.maximum(total[:, None] + total[None], 1)
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
