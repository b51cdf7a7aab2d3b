"""How fast a scene is prepared and read, and how far pair mining is from a search of every pixel of every pair.

    python benchmarks/prepare.py [SCENE] [--frames 40] [--compared 12] [--threads 1]

SCENE is a folder in the plain layout; without it a furnished room is rendered first. Images are brought to 240x320.
Brute force, one KD-tree a frame that all pixels of the other frame look into, runs on the pairs of the compared frames.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from pri3d_zoo.training.data.frame import Frame, Source
from pri3d_zoo.training.data.fusion import fuse
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.prepare import prepare, resize_frame
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.store import SceneStore, depth_to_millimetres
from pri3d_zoo.training.geometry import depth_to_world

SIZE = (240, 320)
RADIUS = 0.02


def brute_force(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Overlap (N, N) of all pairs i < j, by the paper's definition."""
    images = torch.as_tensor(depth).double()
    clouds = depth_to_world(images, torch.as_tensor(intrinsics), torch.as_tensor(poses)).numpy()
    clouds = [cloud[image.ravel() > 0] for cloud, image in zip(clouds, depth, strict=True)]
    trees = [cKDTree(cloud) for cloud in clouds]
    overlap = np.zeros((len(depth), len(depth)))
    for i in range(len(depth)):
        for j in range(i + 1, len(depth)):
            there = np.isfinite(trees[j].query(clouds[i], distance_upper_bound=RADIUS)[0]).sum()
            back = np.isfinite(trees[i].query(clouds[j], distance_upper_bound=RADIUS)[0]).sum()
            overlap[i, j] = (there + back) / max(len(clouds[i]) + len(clouds[j]), 1)
    return overlap


def spread(frames: int, count: int) -> np.ndarray:
    """Indices of ``count`` frames, evenly spread."""
    return np.linspace(0, frames - 1, min(frames, count)).round().astype(int)


def prepare_and_read(source: Source) -> tuple[float, float]:
    """Milliseconds to prepare a frame of the source, and to read one's colour and depth from the store."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        report = prepare(source, Path(folder), size=SIZE, workers=1, arguments={})
        prepared = time.perf_counter() - begin
        store = SceneStore(Path(folder))
        scene = store.scene(store.scene_ids[0])
        order = np.random.default_rng(0).permutation(np.arange(200) % len(scene.frame_ids))
        begin = time.perf_counter()
        for index in order:
            scene.color(index)
            scene.depth(index)
        return prepared / report.frames * 1000, (time.perf_counter() - begin) / len(order) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", help="folder of a scene; default: a rendered room")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--compared", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name, root = ("folder", options.scene) if options.scene else ("synthrooms", "0:1")
    source = open_source(name, root, frames=options.frames, size=SIZE)
    found = source.frames(source.scene_ids()[0])
    frames = [resize_frame(frame, SIZE) for frame in found if isinstance(frame, Frame)]
    depth = np.stack([frame.depth for frame in frames])
    intrinsics = np.stack([frame.intrinsics for frame in frames])
    poses = np.stack([frame.camera_to_world for frame in frames])
    print(f"{source.scene_ids()[0]}: {len(frames)} frames of {SIZE[0]}x{SIZE[1]}, {options.threads} threads")

    begin = time.perf_counter()
    pairs, _ = mine_pairs(depth, intrinsics, poses, radius=RADIUS)
    mining = time.perf_counter() - begin
    considered = len(frames) * (len(frames) - 1) // 2
    print(f"pair mining: {mining:.2f} s, {len(pairs)} of {considered} pairs overlap")

    few = spread(len(frames), options.compared)
    begin = time.perf_counter()
    truth = brute_force(depth[few], intrinsics[few], poses[few])
    slow = time.perf_counter() - begin
    begin = time.perf_counter()
    pairs, overlaps = mine_pairs(depth[few], intrinsics[few], poses[few], radius=RADIUS, min_overlap=0)
    quick = time.perf_counter() - begin
    mined = np.zeros_like(truth)
    mined[pairs[:, 0], pairs[:, 1]] = overlaps
    print(
        f"brute force on {len(few)} of them: {slow:.2f} s, mined in {quick:.2f} s ({slow / quick:.0f} times as fast), "
        f"largest difference of an overlap {np.abs(mined - truth).max():.4f}"
    )

    begin = time.perf_counter()
    millimetres = np.stack([depth_to_millimetres(image) for image in depth])
    voxels, _ = fuse(millimetres, np.stack([frame.color for frame in frames]), intrinsics, poses, voxel_size=0.02)
    print(f"fusion: {time.perf_counter() - begin:.2f} s, {len(voxels)} voxels of 2 cm")
    whole, read = prepare_and_read(source)
    print(f"prepare as a whole: {whole:.0f} ms a frame; reading colour and depth back: {read:.2f} ms a frame")


if __name__ == "__main__":
    main()
