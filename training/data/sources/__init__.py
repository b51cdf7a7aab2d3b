"""Readers of datasets: each an iterator of posed frames, scene by scene.

They are imported when they are opened, so each needs only what it reads with: rooms are rendered where nothing but
numpy, scipy, pillow, trimesh and embreex is beside the zoo.
"""

import re
from pathlib import Path

from ...errors import InputError
from ..frame import Source
from ..scene_lists import read_scene_list

SCENEZOO = ("scannetppv2", "arkitscenes", "matterport3d", "3rscan", "multiscan")  # by scenezoo's own names
OPTIONS = {  # what each source takes, besides its root
    "folder": ("frames",),
    "synthrooms": ("frames", "split"),
    "scannet": ("split", "scenes", "stride"),
    "scannet_frames": ("split", "scenes", "stride"),
    "tum": ("scenes", "stride"),
    "7scenes": ("split", "scenes", "stride"),
    "kitti": ("scenes", "stride"),
    "megadepth": ("scenes", "stride"),
    **dict.fromkeys(SCENEZOO, ("split", "scenes", "stride")),
}
SOURCES = tuple(OPTIONS)
# video as it was recorded, of which the paper and the authors take every 25th frame; the others are read whole
STRIDES = dict.fromkeys(("scannet", "scannetppv2", "multiscan"), 25)


def default_stride(name: str) -> int:
    """Every so many-th frame is read of that source where nothing else is asked for."""
    return STRIDES.get(name, 1)


def open_source(
    name: str,
    root: str,
    *,
    frames: int | None = None,
    size: tuple[int, int],
    split: str | None = None,
    scenes: Path | None = None,
    stride: int | None = None,
) -> Source:
    """The source of that name.

    Args:
        name: One of ``SOURCES``: "folder" is the plain layout (see ``folder.py``), "synthrooms" is rendered on the fly,
            each of the others the layout in which a dataset is released (see the file of that name).
        root: The dataset's folder; for synthrooms a range of its rooms such as "0:24".
        frames: At most so many frames a scene, evenly spread over time; synthrooms renders so many (default 40).
        size: (height, width) that synthrooms renders at; files have the size they have.
        split: "train", "val" or "test": the scenes of the dataset's own list; synthrooms has "train", "val" and
            "shifted", rooms with things that are in no other, and takes "train" unless told.
        scenes: A text file that names scenes, one a line: only those.
        stride: Every so many-th frame (default: ``default_stride``).

    Raises:
        InputError: There is no such source, it does not take one of the options, or there is nothing to read at
            ``root``.
    """
    if name not in OPTIONS:
        raise InputError(f"there is no source {name!r}; there are {', '.join(SOURCES)}")
    for option, value in {"frames": frames, "split": split, "scenes": scenes, "stride": stride}.items():
        if value is not None and option not in OPTIONS[name]:
            raise InputError(f"{name} takes no {option}; it takes {', '.join(OPTIONS[name])}")
        if isinstance(value, int) and value < 1:
            raise InputError(f"{option} must be at least 1, not {value}; leave it out for the default")
    if split is not None and scenes is not None:
        raise InputError(f"both the split {split} and the list {scenes} are given; leave one of them out")
    names = () if scenes is None else read_scene_list(scenes)
    step = default_stride(name) if stride is None else stride
    match name:
        case "folder":
            from .folder import FolderSource

            return FolderSource(Path(root), frames=frames)
        case "synthrooms":
            from .synthrooms import SynthRooms, seeds_of

            seeds = seeds_of(split or "train", *_first_and_last(root))
            return SynthRooms(seeds, frames=40 if frames is None else frames, size=size)
        case "scannet":
            from .scannet import ScanNetSource

            return ScanNetSource(Path(root), split=split, scenes=names, stride=step)
        case "scannet_frames":
            from .scannet_frames import ScanNetFramesSource

            return ScanNetFramesSource(Path(root), split=split, scenes=names, stride=step)
        case "tum":
            from .tum import TumSource

            return TumSource(Path(root), scenes=names, stride=step)
        case "7scenes":
            from .seven_scenes import SevenScenesSource

            return SevenScenesSource(Path(root), split=split, scenes=names, stride=step)
        case "kitti":
            from .kitti import KittiSource

            return KittiSource(Path(root), stride=step, scenes=names)
        case "megadepth":
            from .megadepth import MegaDepthSource

            return MegaDepthSource(Path(root), stride=step, scenes=names)
        case _:
            from .scenezoo import ScenezooSource

            return ScenezooSource(Path(root), dataset=name, split=split, scenes=names, stride=step)


def _first_and_last(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if first >= last:
        raise InputError(f"synthrooms takes a range of rooms such as 0:24, not {text!r}")
    return first, last
