"""From a source to a store: frames at one size, the pairs among them, and the voxels of each scene's surface."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import frustum_box
from .frame import Frame, SkippedFrame, Source
from .fusion import check_reach, fuse, voxelize
from .overlap import Images, mine_pairs
from .overlap_voxels import RADIUS as VOXEL_RADIUS
from .overlap_voxels import mine_voxel_pairs
from .parallel import map_scenes
from .resize import resize_frame, window_of
from .scene import Scene, scene_path
from .scene_writer import SceneWriter, check_name, depth_to_millimetres
from .spool import Metres, Spool
from .summary import is_counted, write_summary
from .unfinished import remove_abandoned

RADIUS = 0.02  # metres between corresponding points (the paper, section 3.1)
MIN_OVERLAP = 0.3  # share of corresponding points that makes a pair (the paper, section 3.1)
MAX_PAIRS = 16_000_000  # of a scene: what a worker's memory holds; 5600 frames never make more
SAMPLED_FRAMES = 200  # of a longer scene, by which its pairs are estimated
DEFINITIONS = ("paper", "authors")  # of the overlap of two frames
LEAST_KEPT = 0.8  # of an image; where the store's shape keeps less, it is said
LOGGED_FRAMES = 10  # skipped frames of a scene that are logged one by one
SOFTWARE = ("pri3d-zoo", "numpy", "pillow", "scipy", "torch")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareReport:
    """What ``prepare`` did; the counts are of the source's scenes that are in the store now.

    Args:
        prepared: Scenes that were written.
        untouched: Scenes that were there already.
        failed: Reason by scene, of those that could not be prepared.
        frames: Frames kept.
        skipped: Frames left out.
        pairs: Pairs that overlap enough.
        voxels: Voxels of the surfaces.
        seconds: Time taken.
    """

    prepared: int
    untouched: int
    failed: Mapping[str, str]
    frames: int
    skipped: int
    pairs: int
    voxels: int
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.prepared} scenes prepared, {self.untouched} there already, {len(self.failed)} failed, "
            f"in {self.seconds:.1f} s: {self.frames} frames ({self.skipped} skipped), {self.pairs} pairs, "
            f"{self.voxels} voxels"
        ]
        return "\n".join(lines + [f"failed: {scene}: {reason}" for scene, reason in self.failed.items()])


@dataclass(frozen=True)
class _Outcome:
    """What became of one scene."""

    manifest: dict[str, Any] = field(default_factory=dict)
    written: bool = False
    failure: str | None = None


def prepare(
    source: Source,
    store: Path,
    *,
    size: tuple[int, int] = (240, 320),
    voxel_size: float = 0.02,
    workers: int,
    arguments: dict[str, Any],
    pairs: str = "paper",
    radius: float | None = None,
    min_overlap: float = MIN_OVERLAP,
    dask: str | None = None,
    quiet: bool = False,
) -> PrepareReport:
    """Write every scene of a source to a store, several at a time.

    A scene that is in the store already, whole, of this version and with the same arguments, is left alone, so what was
    stopped can be started again. A scene that cannot be prepared does not stop the others. The bytes of a scene depend
    neither on the number of workers nor on restarts.

    Args:
        source: Where the frames come from; picklable.
        store: Folder; made if need be. Scenes of other sources in it are left alone.
        size: (height, width) of the stored images.
        voxel_size: Metres.
        workers: Processes.
        arguments: What else the result depends on, to be kept in the manifests; scenes with other ones are redone.
        pairs: What overlap means: "paper" (see ``overlap.py``) or "authors" (see ``overlap_voxels.py``).
        radius: Metres between corresponding points, for "paper"; None is its 2 cm. Outdoors, where depth is sparse and
            far away, that finds no pair: there take 0.5 or so.
        min_overlap: Share of corresponding points that makes a pair.
        dask: Address of a Dask scheduler whose workers do it, instead of processes of this machine; they must find the
            files of the source and the store under the same paths.
        quiet: Show no progress and log nothing of what became of the scenes; the report tells.

    Raises:
        InputError: The source has no scenes, or two of one name, the size is not positive, there is no such definition
            of pairs, the cluster is out of reach, or a worker was killed; what was done by then is kept.
    """
    started = perf_counter()
    scenes = source.scene_ids()
    if not scenes or len(set(scenes)) < len(scenes):
        raise InputError(f"the source must have scenes, each with a name of its own, not {scenes}")
    for scene in scenes:
        check_name(scene, "scene")
    if min(size) < 1 or not voxel_size > 0:
        raise InputError(f"size and voxel_size must be positive, not {size} and {voxel_size}")
    if pairs not in DEFINITIONS:
        raise InputError(f"pairs are mined as in {' or '.join(DEFINITIONS)}, not {pairs!r}")
    if radius is not None and (pairs != "paper" or not radius > 0):
        raise InputError(f"radius={radius}: it must be greater than 0, and the authors' pairs have one of their own")
    if not 0 < min_overlap <= 1:
        raise InputError(f"min_overlap={min_overlap}: it is a share, above 0 and at most 1")
    store = store.absolute()  # workers elsewhere have another working directory
    everything = arguments | {
        "size": list(size),
        "voxel_size": voxel_size,
        "radius": VOXEL_RADIUS if pairs == "authors" else RADIUS if radius is None else radius,
        "min_overlap": min_overlap,
    }
    if pairs != "paper":  # stores from before there was a choice stay valid
        everything["pairs"] = pairs
    work = partial(_try_scene, source, store, json.loads(json.dumps(everything)))
    remove_abandoned(store)  # where a run was killed
    outcomes: dict[str, _Outcome] = {}
    try:
        title = None if quiet else "Preparing scenes"
        for scene, outcome in map_scenes(work, scenes, workers=workers, title=title, dask=dask):
            outcomes[scene] = outcome
            if not quiet:
                _log(scene, outcome)
    except InputError:  # a worker was killed: what is done stays, and is told
        if outcomes:
            remove_abandoned(store)
            write_summary(store, _failures(scenes, outcomes))
        raise
    failed = _failures(scenes, outcomes)
    write_summary(store, failed)
    manifests = [outcome.manifest for outcome in outcomes.values() if outcome.failure is None]
    return PrepareReport(
        prepared=sum(outcome.written for outcome in outcomes.values()),
        untouched=sum(not outcome.written for outcome in outcomes.values()) - len(failed),
        failed=failed,
        frames=sum(len(manifest["frames"]) for manifest in manifests),
        skipped=sum(len(manifest["skipped"]) for manifest in manifests),
        pairs=sum(manifest["pairs"] for manifest in manifests),
        voxels=sum(manifest["voxels"] for manifest in manifests),
        seconds=perf_counter() - started,
    )


def _failures(scenes: Sequence[str], outcomes: Mapping[str, _Outcome]) -> dict[str, str]:
    """Reason by scene, in the order of the scenes."""
    found = ((scene, outcomes[scene].failure) for scene in scenes if scene in outcomes)
    return {scene: failure for scene, failure in found if failure is not None}


def _try_scene(source: Source, store: Path, arguments: dict[str, Any], scene: str) -> _Outcome:
    try:
        path = scene_path(store, scene)
        if (manifest := _finished_manifest(path, arguments)) is not None:
            return _Outcome(manifest)
        _prepare_scene(source, store, arguments, scene)
        return _Outcome(Scene(path).manifest, written=True)
    except InputError as error:
        return _Outcome(failure=str(error))
    except Exception as error:  # a reader of somebody else's may raise anything, and other scenes wait
        return _Outcome(failure=f"{type(error).__name__}: {error}")


def _finished_manifest(path: Path, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a scene that needs nothing done, or None."""
    if not path.exists():
        return None
    try:
        scene = Scene(path)
        if not is_counted(scene.manifest) or scene.manifest["arguments"] != arguments:
            return None
        scene.verify()
    except InputError as error:
        logger.info("%s", error)
        return None
    return scene.manifest


def _prepare_scene(source: Source, store: Path, arguments: dict[str, Any], scene: str) -> None:
    size, voxel_size = (arguments["size"][0], arguments["size"][1]), arguments["voxel_size"]
    surface = source.surface(scene)
    cells = None if surface is None else voxelize(surface.points, surface.colors, voxel_size=voxel_size)
    intrinsics, poses = [], []
    skipped, any_reading, images = [], False, set()
    with SceneWriter(store, scene) as writer, Spool(store) as depth, Spool(store) as color:
        for found in source.frames(scene):
            if isinstance(found, SkippedFrame):
                skipped.append({"id": found.id, "reason": found.reason})
                continue
            images.add((found.color.shape[0], found.color.shape[1]))
            frame = resize_frame(found, size)
            try:
                if cells is None or len(cells[0]):
                    _check_view(frame, voxel_size)
            except InputError as error:  # one lost pose must not cost the scene
                skipped.append({"id": found.id, "reason": str(error)})
                continue
            writer.add_frame(frame)
            depth.append(depth_to_millimetres(frame.depth))
            any_reading |= bool(frame.depth.any())
            intrinsics.append(frame.intrinsics)
            poses.append(frame.camera_to_world)
            if cells is None:
                color.append(frame.color)
        if not intrinsics:
            why = f"{len(skipped)} skipped, the last one: {skipped[-1]['reason']}" if skipped else "it has none"
            raise InputError(f"scene {scene}: no frame is left of it ({why})")
        if not any_reading:
            raise InputError(f"scene {scene}: none of its {len(depth)} frames has a depth reading; is depth all zero?")
        cameras, camera_to_world = np.stack(intrinsics), np.stack(poses)
        by_points = partial(mine_pairs, radius=arguments["radius"])
        mine = partial(mine_voxel_pairs if "pairs" in arguments else by_points, min_overlap=arguments["min_overlap"])
        _check_length(scene, mine, depth, cameras, camera_to_world)
        if cells is None:
            cells = fuse(depth, color, cameras, camera_to_world, voxel_size=voxel_size)
        pairs, overlaps = mine(Metres(depth), cameras, camera_to_world)
        counts, edges = np.histogram(overlaps, bins=10, range=(0, 1))
        writer.finish(
            pairs=pairs,
            overlaps=overlaps,
            voxels=cells[0],
            voxel_colors=cells[1],
            voxel_size=voxel_size,
            manifest={
                "source": type(source).__name__,
                "arguments": arguments,
                "skipped": skipped,
                "images": [{"size": full, "kept": window_of(full, size)} for full in sorted(images)],
                "pairs": len(pairs),
                "overlap_histogram": {"edges": edges.round(1).tolist(), "pairs": counts.tolist()},
                "surface": "fused from depth" if surface is None else "of the source",
                "voxels": len(cells[0]),
                "software": {name: version(name) for name in SOFTWARE},
            },
        )


def _check_view(frame: Frame, voxel_size: float) -> None:
    """Raise InputError if what a frame sees is beyond all voxel keys, whether the scene's surface is fused or not."""
    depth, intrinsics, pose = map(torch.as_tensor, (frame.depth, frame.intrinsics, frame.camera_to_world))
    check_reach(frustum_box(depth, intrinsics, pose), voxel_size)


def _check_length(
    scene: str,
    mine: Callable[[Images, NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.int32], NDArray[np.float32]]],
    depth: Spool,
    intrinsics: NDArray[np.float64],
    camera_to_world: NDArray[np.float64],
) -> None:
    """Refuse a scene whose pairs would not fit into memory, judged by a sample before hours are spent on it."""
    frames = len(depth)
    if frames * (frames - 1) // 2 <= MAX_PAIRS:
        return
    chosen = np.linspace(0, frames - 1, SAMPLED_FRAMES).round().astype(np.int64)
    pairs, _ = mine(Metres(depth, chosen), intrinsics[chosen], camera_to_world[chosen])
    expected = len(pairs) * (frames / SAMPLED_FRAMES) ** 2
    if expected > MAX_PAIRS:
        fitting = int(0.9 * frames * (MAX_PAIRS / expected) ** 0.5)
        raise InputError(
            f"scene {scene}: its {frames} frames would make about {expected / 1e6:.0f} million pairs, where "
            f"{MAX_PAIRS / 1e6:.0f} million fit; take one frame in {-(-frames // fitting)}"
        )


def _log(scene: str, outcome: _Outcome) -> None:
    if outcome.failure is not None:
        logger.error("scene %s failed: %s", scene, outcome.failure)
    if outcome.written:
        for image in outcome.manifest["images"]:
            (height, width), (high, wide) = image["size"], image["kept"]
            if high * wide < LEAST_KEPT * height * width:
                logger.warning(
                    "scene %s: of its images of %dx%d only the middle %dx%d is kept; a --size of their shape keeps all",
                    *(scene, height, width, high, wide),
                )
        skipped = outcome.manifest["skipped"]
        for frame in skipped[:LOGGED_FRAMES]:
            logger.warning("scene %s: frame %s skipped: %s", scene, frame["id"], frame["reason"])
        if len(skipped) > LOGGED_FRAMES:
            more = len(skipped) - LOGGED_FRAMES
            logger.warning("scene %s: %d more frames skipped, the scene's manifest names them", scene, more)
