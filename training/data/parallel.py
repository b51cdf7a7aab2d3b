"""Scenes side by side: one job a scene, in processes of their own, with a progress bar where there is a terminal."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import joblib
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Result = TypeVar("Result")


def map_scenes(
    work: Callable[[str], Result], scenes: Sequence[str], *, workers: int, title: str
) -> Iterator[tuple[str, Result]]:
    """Call ``work`` for each scene and yield ``(scene, result)`` as they come, in any order.

    Args:
        work: Picklable. An exception in it ends the whole.
        scenes: Names.
        workers: Processes; 1 stays in this one.
        title: Stands before the progress bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    jobs = (joblib.delayed(_single_threaded)(work, scene) for scene in scenes)
    results = joblib.Parallel(n_jobs=min(workers, max(len(scenes), 1)), return_as="generator_unordered")(jobs)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=len(scenes))
        for result in results:
            progress.advance(task)
            yield result


def _single_threaded(work: Callable[[str], Result], scene: str) -> tuple[str, Result]:
    # one thread whatever the number of workers, so that sums are added in one order and results are the same bytes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return scene, work(scene)
    finally:
        torch.set_num_threads(threads)
