"""``STORE/manifest.json``, for people: what each scene in a store holds, and which scenes could not be prepared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pri3d_zoo.files import write_whole

from ..errors import InputError
from .scene import STORE_VERSION, Scene
from .store import scene_files

# what preparing says in a scene's manifest and is counted; readers need none of it, so other writers may leave it out
COUNTED = {"arguments": dict, "skipped": list, "images": list, "pairs": int, "voxels": int}


def is_counted(manifest: Mapping[str, Any]) -> bool:
    """Whether a scene's manifest says all that is counted, as those that ``prepare`` writes do."""
    return all(isinstance(manifest.get(name), kind) for name, kind in COUNTED.items())


def write_summary(store: Path, failed: Mapping[str, str]) -> None:
    """Write it anew; ``failed`` are reasons by scene."""
    scenes = dict(map(_summary, scene_files(store)))
    summary = {"version": STORE_VERSION, "scenes": scenes, "failed": dict(failed)}
    write_whole(store / "manifest.json", json.dumps(summary, indent=1))


def _summary(path: Path) -> tuple[str, dict[str, Any]]:
    """The name of a scene, or of its file where that is broken, and what is told of it."""
    try:
        scene = Scene(path)
    except InputError as error:
        return path.name, {"broken": str(error)}
    if not is_counted(scene.manifest):
        return scene.id, {"frames": len(scene.frame_ids), "uncounted": "another program has written its manifest"}
    histogram = scene.manifest.get("overlap_histogram")
    return scene.id, {
        "frames": len(scene.frame_ids),
        "skipped": len(scene.manifest["skipped"]),
        "pairs": scene.manifest["pairs"],
        "voxels": scene.manifest["voxels"],
        "overlap_histogram": histogram.get("pairs") if isinstance(histogram, dict) else None,
    }
