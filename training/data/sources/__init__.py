"""Readers of datasets: each an iterator of posed frames, scene by scene."""

import re
from pathlib import Path

from ...errors import InputError
from ..frame import Source
from .folder import FolderSource

SOURCES = ("folder", "synthrooms")


def open_source(name: str, root: str, *, frames: int | None, size: tuple[int, int]) -> Source:
    """The source of that name.

    Args:
        name: "folder" (the plain layout, see ``folder.py``) or "synthrooms" (rendered on the fly).
        root: The dataset's folder; for synthrooms a range of seeds such as "0:24".
        frames: At most so many frames a scene, evenly spread over time; synthrooms renders so many (default 40).
        size: (height, width) that synthrooms renders at; files have the size they have.

    Raises:
        InputError: There is no such source, or nothing to read at ``root``.
    """
    if frames is not None and frames < 1:
        raise InputError(f"frames must be at least 1, not {frames}; leave it out to take all")
    if name == "folder":
        return FolderSource(Path(root), frames=frames)
    if name == "synthrooms":
        from .synthrooms import SynthRooms

        return SynthRooms(_seed_range(root), frames=40 if frames is None else frames, size=size)
    raise InputError(f"there is no source {name!r}; there are {', '.join(SOURCES)}")


def _seed_range(text: str) -> range:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    seeds = range(int(match[1]), int(match[2])) if match else range(0)
    if not seeds:
        raise InputError(f"synthrooms takes a range of seeds such as 0:24 (24 rooms), not {text!r}")
    return seeds
