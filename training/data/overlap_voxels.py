"""Pair mining as in the authors' code (pretrain/data_preprocess/scannet/compute_full_overlapping.py of Sekunde/Pri3D).

Each frame's points are averaged in voxels of 5 cm, whose grid begins half a voxel before the frame's own lowest corner
(Open3D's). Of two frames, the share of one's averages that have one of the other's within 7.5 cm; the larger of the two
directions is the overlap. The script looks each average up in the other frame's tree, for every ordered pair.

Here all averages share one grid of small cells. Sparse products of frames and cells count those that certainly have a
neighbour, by how far the means of two cells are apart and how far their points scatter; what is left undecided asks a
tree, once a frame and only where the pair can still reach the threshold. A cell is certain beyond ``SPREADS`` standard
deviations, so overlaps agree with the script's within 0.005 on real frames rather than exactly.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from ..geometry import depth_to_world
from .overlap import Images, block_pairs, sorted_pairs

VOXEL = 0.05  # metres
RADIUS = 1.5 * VOXEL
POINTS_AT_ONCE = 700_000  # in each of the two blocks of frames that are compared; about 0.3 GB each
SAMPLED_FRAMES = 10  # by which the frames of a block are counted
CELLS_PER_RADIUS = 2  # smaller cells leave less undecided and have more neighbours
SPREADS = 2.0
CERTAIN = 2.0**14  # marks what is certain in a sum that counts what is possible with ones; sums stay exact in float32


def mine_voxel_pairs(
    depth: Images, intrinsics: NDArray[np.float64], camera_to_world: NDArray[np.float64], *, min_overlap: float = 0.3
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """All pairs of frames that overlap enough, and by how much. Deterministic.

    Args:
        depth: N images (H, W), metres, 0 = no reading.
        intrinsics: (N, 3, 3), pixels.
        camera_to_world: (N, 4, 4).
        min_overlap: Pairs with a smaller share are left out.

    Returns:
        (P, 2) frame indices i < j in rising order, and (P,) the larger of the two shares, in [0, 1].
    """
    chosen = np.linspace(0, len(depth) - 1, min(len(depth), SAMPLED_FRAMES)).astype(int).tolist()
    sampled = sum(len(_averages(depth[index], intrinsics[index], camera_to_world[index])) for index in chosen)
    block = max(1, POINTS_AT_ONCE * len(chosen) // max(sampled, 1))
    pairs, overlaps = [], []
    held: tuple[range, list[NDArray[np.float64]]] = (range(0), [])
    cameras, poses = torch.as_tensor(intrinsics), torch.as_tensor(camera_to_world)
    for first, second in block_pairs(depth, cameras, poses, block, RADIUS + VOXEL):
        if held[0] != first:
            held = first, [_averages(depth[index], intrinsics[index], camera_to_world[index]) for index in first]
        both = held[1]
        if second != first:
            both = both + [_averages(depth[index], intrinsics[index], camera_to_world[index]) for index in second]
        across = np.zeros((len(both), len(both)), bool)
        start = 0 if second == first else len(first)
        across[: len(first), start:] = True
        found = _overlap(both, np.triu(across, 1), min_overlap)
        i, j = np.nonzero((found > 0) & (found >= min_overlap))
        pairs.append(np.stack((first.start + i, second.start + j - start), -1).astype(np.int32))
        overlaps.append(found[i, j].astype(np.float32))
    return sorted_pairs(pairs, overlaps)


def _averages(
    image: NDArray[np.float32], camera: NDArray[np.float64], pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The frame's points (M, 3), world, averaged in its own voxels."""
    depth = torch.as_tensor(image, dtype=torch.float64)
    points = depth_to_world(depth, torch.as_tensor(camera), torch.as_tensor(pose)).numpy()[image.ravel() > 0]
    if not len(points):
        return points
    voxels = np.floor((points - (points.min(0) - VOXEL / 2)) / VOXEL).astype(np.int64)
    _, means, _ = _group(points, voxels)
    return means


def _group(
    points: NDArray[np.float64], coordinates: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Group (N,) of each of the points (N, 3) by integer coordinates >= 0, the groups' means (M, 3) and sizes (M,)."""
    sides = coordinates.max(0) + 1
    flat = (coordinates[:, 0] * sides[1] + coordinates[:, 1]) * sides[2] + coordinates[:, 2]
    _, group, sizes = np.unique(flat, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(group, points[:, axis]) for axis in range(3)], -1)
    return group, sums / sizes[:, None], sizes


def _overlap(clouds: list[NDArray[np.float64]], wanted: NDArray[np.bool_], min_overlap: float) -> NDArray[np.float64]:
    """Overlap (F, F) of the wanted pairs (F, F), i < j; 0 where it cannot reach ``min_overlap``."""
    points = np.concatenate(clouds)
    if not len(points):
        return np.zeros(wanted.shape)
    sizes = np.array([len(cloud) for cloud in clouds])
    owner = np.repeat(np.arange(len(clouds)), sizes)
    cells = np.floor(points / (RADIUS / CELLS_PER_RADIUS)).astype(np.int64)
    cell, means, counts = _group(points, cells - cells.min(0))
    variance = np.bincount(cell, np.square(points - means[cell]).sum(1)) / counts / 3  # along one direction

    shape = (len(clouds), len(means))
    frames = sparse.csr_matrix((np.ones(len(cell), np.float32), (owner, cell)), shape)
    near = frames @ _adjacency(means, variance)
    certain, possible = near.copy(), near.copy()
    certain.data = (near.data >= CERTAIN).astype(np.float32)
    possible.data[:] = 1
    found = (frames @ certain.T.tocsr()).toarray().astype(np.float64)
    bound = (frames @ possible.T.tocsr()).toarray() / np.maximum(sizes, 1)[:, None]
    bound = np.maximum(bound, bound.T)
    asked = (wanted | wanted.T) & (bound > 0) & (bound >= min_overlap)

    order = np.argsort(cell, kind="stable")
    points, owner, start = points[order], owner[order], np.cumsum(counts) - counts
    for target, cloud in enumerate(clouds):
        if asked[target].any():
            row = slice(near.indptr[target], near.indptr[target + 1])
            open_cells = near.indices[row][near.data[row] < CERTAIN]
            number = counts[open_cells]
            query = np.repeat(start[open_cells] - (np.cumsum(number) - number), number) + np.arange(number.sum())
            query = query[asked[target][owner[query]]]
            distance, _ = cKDTree(cloud, balanced_tree=False).query(points[query], distance_upper_bound=RADIUS)
            found[:, target] += np.bincount(owner[query[np.isfinite(distance)]], minlength=len(clouds))
    share = found / np.maximum(sizes, 1)[:, None]
    return np.where(asked & wanted, np.maximum(share, share.T), 0)


def _adjacency(means: NDArray[np.float64], variance: NDArray[np.float64]) -> sparse.csr_matrix:
    """For each two cells (M, M) whether their points are within reach: CERTAIN, possibly (1), or not (0)."""
    reach = RADIUS + SPREADS * np.sqrt(2 * variance.max())
    pairs = cKDTree(means, balanced_tree=False).query_pairs(reach, output_type="ndarray")
    first, second = pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32)
    del pairs
    distance = np.sqrt(sum(np.square(means[first, axis] - means[second, axis]) for axis in range(3)))
    scatter = SPREADS * np.sqrt(variance[first] + variance[second])
    kept = distance <= RADIUS + scatter
    values = np.where(distance + scatter <= RADIUS, np.float32(CERTAIN), np.float32(1))[kept]
    half = sparse.csr_matrix((values, (first[kept], second[kept])), (len(means),) * 2)
    # a cell's diagonal is shorter than the radius, so two points of one cell are always within reach
    return (half + half.T + CERTAIN * sparse.identity(len(means), np.float32, "csr")).tocsr()
