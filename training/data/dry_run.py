"""What preparing a dataset will cost, measured on a few frames of one of its scenes.

Time and bytes of a scene are taken as c + b n + a n^2 in its frames n: a surface to voxelise, frames to read and write,
pairs to mine. The coefficients are fitted to three short runs into a temporary folder. Consecutive frames overlap more
than those of a whole scene, so the time is rather an upper limit.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ..errors import InputError
from .frame import Frame, SkippedFrame, Source, Surface
from .prepare import prepare
from .scene import scene_path

SAMPLES = (2, 16, 40)  # frames of the three runs
COUNTED = 2000  # frames; a longer scene is not read to its end


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Args:
        scenes: All of them.
        present: Those that have a file in the store; whether it is whole is only seen when it is read.
        sampled: The scene that was measured.
        frames: How many frames it has.
        longer: Whether it has even more, which were not counted.
        seconds: Of work on one core for a scene as long.
        bytes: On disk for a scene as long.
        workers: Processes that share the work.
    """

    scenes: int
    present: int
    sampled: str
    frames: int
    longer: bool
    seconds: float
    bytes: float
    workers: int

    def __str__(self) -> str:
        todo = self.scenes - self.present
        hours = self.seconds * todo / max(min(self.workers, todo), 1) / 3600
        count = f"{'more than ' if self.longer else ''}{self.frames}"
        return (
            f"{self.scenes} scenes, {self.present} of them in the store; {self.sampled} has {count} frames, "
            f"{self.seconds:.1f} s and {self.bytes / 1e6:.1f} MB; if all are like it: {todo * self.frames} "
            f"frames, {hours:.2f} hours with {self.workers} workers, {self.bytes * todo / 1e9:.2f} GB; nothing written"
        )


class _Beginning:
    """The first so many whole frames of one scene of a source, and those that are skipped before and between them."""

    def __init__(self, source: Source, scene: str, frames: int) -> None:
        self._source, self._scene, self._frames = source, scene, frames

    def scene_ids(self) -> list[str]:
        return [self._scene]

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        left = self._frames
        for frame in self._source.frames(scene):
            yield frame
            left -= isinstance(frame, Frame)
            if not left:
                return

    def surface(self, scene: str) -> Surface | None:
        return self._source.surface(scene)


def dry_run(source: Source, store: Path, *, workers: int, **settings: Any) -> Estimate:
    """Measure what ``prepare`` would take; nothing is written to the store, and what is written elsewhere is removed.

    Args:
        source: Where the frames come from.
        store: Where ``prepare`` would write; looked at only.
        workers: Processes that ``prepare`` would have.
        settings: The other arguments of ``prepare``.

    Raises:
        InputError: The source has no scene, or the first few frames of the one in the middle cannot be prepared.
    """
    scenes = source.scene_ids()
    if not scenes:
        raise InputError("the source has no scenes; is it the right folder?")
    scene = scenes[len(scenes) // 2]
    whole = (frame for frame in source.frames(scene) if isinstance(frame, Frame))
    count = sum(1 for _ in islice(whole, COUNTED + 1))
    sizes = sorted({min(number, max(count, 1)) for number in SAMPLES})  # of no frame, prepare says why
    seconds: list[float] = []
    octets: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in (sizes[0], *sizes):  # the first run warms up
            root = Path(folder) / f"{len(seconds)}"
            report = prepare(_Beginning(source, scene, number), root, workers=1, quiet=True, **settings)
            if report.failed:
                raise InputError(f"{report.failed[scene]} (the first {number} frames, tried before the whole)")
            seconds.append(report.seconds)
            octets.append(scene_path(root, scene).stat().st_size)
    frames = min(count, COUNTED)
    return Estimate(
        scenes=len(scenes),
        present=sum(scene_path(store, name).exists() for name in scenes),
        sampled=scene,
        frames=frames,
        longer=count > COUNTED,
        seconds=_extrapolate(sizes, seconds[1:], frames),
        bytes=_extrapolate(sizes, octets[1:], frames),
        workers=workers,
    )


def _extrapolate(sizes: Sequence[int], values: Sequence[float], size: int) -> float:
    """The value at another size, of the polynomial with no negative coefficient that fits best."""

    def powers(numbers: Sequence[int]) -> NDArray[np.float64]:
        return np.power.outer(np.array(numbers, np.float64), np.arange(3))

    coefficients, _ = nnls(powers(sizes), np.array(values, np.float64))
    return float(powers([size])[0] @ coefficients)
