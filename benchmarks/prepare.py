"""How fast a scene is prepared and read, and how far pair mining is from a search of every pixel of every pair.

    python benchmarks/prepare.py [SCENE] [--frames 40] [--compared 12] [--authors 200] [--threads 1]

SCENE is a folder in the plain layout; without it the kitchen in shared/data is taken, or where that is not there a
rendered room (then the time to prepare it holds the rendering). Images are brought to 240x320.
Brute force, one KD-tree a frame that all pixels of the other frame look into, runs on the pairs of the compared frames.
The procedure of the authors' script (each frame's cloud averaged in voxels of 5 cm, one search of 7.5 cm for each of
these points in the other frame's tree, for every ordered pair) runs on a sample of the ordered pairs of ``--authors``
frames of the kitchen in shared/data and is scaled by their number. Times are processor seconds, so that what else runs
counts little; only reading back is by the clock.
"""

import argparse
import io
import resource
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial import cKDTree

from pri3d_zoo.training.data.frame import Frame, Source
from pri3d_zoo.training.data.fusion import fuse
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.overlap_voxels import mine_voxel_pairs
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.resize import resize_frame
from pri3d_zoo.training.data.scene_writer import depth_to_millimetres
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.sources.registration import register
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.geometry import depth_to_world

SIZE = (240, 320)
RADIUS = 0.02
KITCHEN = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "rgbd" / "7scenes_redkitchen"


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


def downsample(cloud: np.ndarray, voxel: float = 0.05) -> np.ndarray:
    """Averages in voxels that begin half of one before the lowest corner, as Open3D has it."""
    coordinates = np.floor((cloud - (cloud.min(0) - voxel / 2)) / voxel).astype(np.int64)
    sides = coordinates.max(0) + 1
    flat = (coordinates[:, 0] * sides[1] + coordinates[:, 1]) * sides[2] + coordinates[:, 2]
    _, group, counts = np.unique(flat, return_inverse=True, return_counts=True)
    return np.stack([np.bincount(group, cloud[:, axis]) for axis in range(3)], -1) / counts[:, None]


def against_the_authors(scene: Path, number: int, sample: int = 40) -> None:
    """Their procedure on a sample of the ordered pairs, ours on all frames."""
    if not scene.is_dir():
        print(f"against the authors' procedure: skipped, {scene.name} is not beside this clone")
        return
    source = open_source("folder", str(scene), frames=number, size=SIZE)
    frames = [resize_frame(frame, SIZE) for frame in source.frames(scene.name) if isinstance(frame, Frame)]
    depth, intrinsics, poses = (
        np.stack([getattr(frame, name) for frame in frames]) for name in ("depth", "intrinsics", "camera_to_world")
    )
    begin = time.process_time()
    images = torch.as_tensor(depth).double()
    clouds = depth_to_world(images, torch.as_tensor(intrinsics), torch.as_tensor(poses)).numpy()
    clouds = [downsample(cloud[image.ravel() > 0]) for cloud, image in zip(clouds, depth, strict=True)]
    trees = [cKDTree(cloud) for cloud in clouds]
    ready = time.process_time() - begin
    chosen = np.random.default_rng(0).permutation(len(frames) * (len(frames) - 1))[:sample]
    ordered = [(int(i), int(j + (j >= i))) for i, j in zip(*divmod(chosen, len(frames) - 1), strict=True)]
    begin = time.process_time()
    shares = [np.mean([bool(trees[i].query_ball_point(point, 0.075)) for point in clouds[j]]) for i, j in ordered]
    looped = (time.process_time() - begin) / len(ordered)
    begin = time.process_time()
    for i, j in ordered:
        trees[i].query(clouds[j], distance_upper_bound=0.075)
    at_once = (time.process_time() - begin) / len(ordered)
    begin = time.process_time()
    authors, overlaps = mine_voxel_pairs(depth, intrinsics, poses)
    ours = time.process_time() - begin
    begin = time.process_time()
    paper, _ = mine_pairs(depth, intrinsics, poses, radius=RADIUS)
    papers = time.process_time() - begin
    both = len(frames) * (len(frames) - 1)
    script, batched = ready + looped * both, ready + at_once * both
    mined = {tuple(pair): overlap for pair, overlap in zip(authors.tolist(), overlaps, strict=True)}
    # the larger of two directions is at least the one that was searched
    under = max(share - mined.get((min(i, j), max(i, j)), 0.3) for (i, j), share in zip(ordered, shares, strict=True))
    print(
        f"{len(frames)} frames of {scene.name}, {len(clouds[0])} points in the first cloud; the authors' procedure: "
        f"{ready:.1f} s for clouds and trees, {looped * 1000:.2f} ms an ordered pair ({len(ordered)} of {both} "
        f"measured), {script:.0f} s in all; with all points of a pair in one call {batched:.1f} s"
    )
    for name, seconds, pairs in (("authors", ours, authors), ("paper", papers, paper)):
        print(
            f"  --pairs {name}: {seconds:.2f} s, {len(pairs)} pairs: {script / seconds:.0f} times as fast as the "
            f"procedure, {batched / seconds:.1f} times as fast as with one call a pair"
        )
    print(f"  a share that the procedure found exceeds the mined overlap by at most {under:.4f}")


@dataclass(frozen=True)
class Costs:
    """Seconds of one core: to decode a frame of ScanNet, to write one with its share of the surface, to mine a possible
    pair; bytes a frame; GB a worker."""

    decode: float
    write: float
    pair: float
    octets: float
    peak: float


def print_scannet(costs: Costs, frames: int = 100_000, scenes: int = 1513, cores: int = 16) -> None:
    """What all of ScanNet would take: 2.5 million frames, every 25th of them."""
    each = frames / scenes
    possible = scenes * each * (each - 1) / 2
    hours = (frames * (costs.decode + costs.write) + possible * costs.pair) / 3600
    decode, write, pair = (f"{1000 * cost:.2f} ms" for cost in (costs.decode, costs.write, costs.pair))
    print(
        f"estimate for ScanNet, {scenes} scenes of {each:.0f} frames: {frames} x ({decode} to read + {write} to write, "
        f"surface included) + {possible / 1e6:.2f} million possible pairs x {pair} = {hours:.2f} core hours, "
        f"{hours / cores:.2f} hours on {cores} cores; {frames} x {costs.octets / 1e3:.0f} kB = "
        f"{frames * costs.octets / 1e9:.1f} GB of disk; {cores} x {costs.peak:.2f} GB = {cores * costs.peak:.0f} GB of "
        "memory"
    )


def seconds_to_decode(frames: list[Frame]) -> float:
    """Of a frame as ScanNet's .sens files hold it, a JPEG of 968x1296 and deflated depth of 480x640, to one image."""
    packed = []
    for frame in frames[:20]:
        jpeg = io.BytesIO()
        Image.fromarray(frame.color).resize((1296, 968)).save(jpeg, "JPEG", quality=90)
        packed.append((jpeg, zlib.compress(depth_to_millimetres(frame.depth.repeat(2, 0).repeat(2, 1)).tobytes())))
    wide, near = (
        np.array([[f, 0, w / 2], [0, f, h / 2], [0, 0, 1]]) for f, w, h in ((1170, 1296, 968), (577, 640, 480))
    )
    begin = time.process_time()
    for jpeg, deflated in packed:
        depth = np.frombuffer(zlib.decompress(deflated), np.uint16).reshape(480, 640).astype(np.float32) / 1000
        register(np.array(Image.open(jpeg)), wide, depth, near)
    return (time.process_time() - begin) / len(packed)


def prepare_and_read(source: Source) -> tuple[float, float, float]:
    """Milliseconds to prepare a frame of the source, and to read one from the store; bytes of a frame in it."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        report = prepare(source, Path(folder), size=SIZE, workers=1, arguments={})
        prepared = time.process_time() - begin
        store = SceneStore(Path(folder))
        scene = store.scene(store.scene_ids[0])
        order = np.random.default_rng(0).permutation(np.arange(200) % len(scene.frame_ids))
        begin = time.perf_counter()
        for index in order:
            scene.color(index)
            scene.depth(index)
        read = (time.perf_counter() - begin) / len(order) * 1000
        octets = sum(path.stat().st_size for path in Path(folder).glob("*.zip"))
        return prepared / report.frames * 1000, read, octets / report.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", help="folder of a scene; default: the kitchen")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--compared", type=int, default=12)
    parser.add_argument("--authors", type=int, default=200, help="frames; 0 leaves the comparison out")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scene = options.scene or (str(KITCHEN) if KITCHEN.is_dir() else None)
    name, root = ("folder", scene) if scene else ("synthrooms", "0:1")
    source = open_source(name, root, frames=options.frames, size=SIZE)
    whole, read, octets = prepare_and_read(source)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # before anything else takes memory
    found = source.frames(source.scene_ids()[0])
    frames = [resize_frame(frame, SIZE) for frame in found if isinstance(frame, Frame)]
    depth = np.stack([frame.depth for frame in frames])
    intrinsics = np.stack([frame.intrinsics for frame in frames])
    poses = np.stack([frame.camera_to_world for frame in frames])
    print(f"{source.scene_ids()[0]}: {len(frames)} frames of {SIZE[0]}x{SIZE[1]}, {options.threads} threads")
    print(
        f"prepare as a whole: {whole:.0f} ms and {octets / 1e3:.0f} kB a frame, {peak:.2f} GB of memory at most; "
        f"reading colour and depth back: {read:.2f} ms a frame"
    )

    begin = time.process_time()
    pairs, _ = mine_pairs(depth, intrinsics, poses, radius=RADIUS)
    mining = time.process_time() - begin
    considered = len(frames) * (len(frames) - 1) // 2
    print(f"pair mining: {mining:.2f} s, {len(pairs)} of {considered} pairs overlap")

    few = spread(len(frames), options.compared)
    begin = time.process_time()
    truth = brute_force(depth[few], intrinsics[few], poses[few])
    slow = time.process_time() - begin
    begin = time.process_time()
    pairs, overlaps = mine_pairs(depth[few], intrinsics[few], poses[few], radius=RADIUS, min_overlap=0)
    quick = time.process_time() - begin
    mined = np.zeros_like(truth)
    mined[pairs[:, 0], pairs[:, 1]] = overlaps
    print(
        f"brute force on {len(few)} of them: {slow:.2f} s, mined in {quick:.2f} s ({slow / quick:.0f} times as fast), "
        f"largest difference of an overlap {np.abs(mined - truth).max():.4f}"
    )

    begin = time.process_time()
    millimetres = np.stack([depth_to_millimetres(image) for image in depth])
    voxels, _ = fuse(millimetres, np.stack([frame.color for frame in frames]), intrinsics, poses, voxel_size=0.02)
    fusing = time.process_time() - begin
    print(f"fusion: {fusing:.2f} s, {len(voxels)} voxels of 2 cm")
    write = max(whole / 1000 - mining / len(frames), 0)
    print_scannet(Costs(seconds_to_decode(frames), write, mining / considered, octets, peak))
    if options.authors:
        against_the_authors(KITCHEN, options.authors)


if __name__ == "__main__":
    main()
