"""Scenes side by side: one job a scene, with a progress bar where there is a terminal.

In processes of this machine, or on an existing Dask cluster; each job runs on one thread wherever it runs, so that sums
are added in one order and results are the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import InputError, first_line

Result = TypeVar("Result")

PATIENCE = 15  # seconds that a cluster has to answer, and to show a worker


def map_scenes(
    work: Callable[[str], Result], scenes: Sequence[str], *, workers: int, title: str | None, dask: str | None = None
) -> Iterator[tuple[str, Result]]:
    """Call ``work`` for each scene and yield ``(scene, result)`` as they come, in any order.

    Args:
        work: Picklable. An exception in it ends the whole.
        scenes: Names.
        workers: Processes; 1 stays in this one. A cluster has its own number.
        title: Stands before the progress bar; None shows no bar.
        dask: Address of a Dask scheduler, as tcp://host:8786, whose workers do the work.

    Raises:
        InputError: Dask is not installed, the scheduler or its workers cannot be reached, or a process was killed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    shown = title is not None and console.is_terminal
    number = -1 if dask is not None else min(workers, max(len(scenes), 1))
    jobs = (joblib.delayed(_single_threaded)(work, scene, number != 1) for scene in scenes)
    with (
        _cluster(dask),
        Progress(*columns, TimeRemainingColumn(), console=console, disable=not shown) as progress,
    ):
        task = progress.add_task(title or "", total=len(scenes))
        done = 0
        try:
            for result in joblib.Parallel(n_jobs=number, batch_size=1, return_as="generator_unordered")(jobs):
                progress.advance(task)
                done += 1
                yield result
        except TerminatedWorkerError:
            raise InputError(
                f"a worker was killed after {done} of {len(scenes)} scenes, most likely because memory ran out; "
                f"run the same command again with fewer --workers than {number}, and it goes on from there"
            ) from None


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Let joblib work on the Dask cluster at that address; without one, as it is."""
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError('--dask needs Dask, which is not installed: pip install "dask[distributed]"') from None
    client: Any = None
    try:
        client = Client(address, timeout=PATIENCE)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        if client is not None:
            client.close()
        raise InputError(
            f"no Dask cluster with a worker answers at {address} ({first_line(error)}); "
            "start `dask scheduler` and `dask worker ADDRESS`, or name another one"
        ) from None
    with client, joblib.parallel_config(backend="dask", client=client):
        yield


def _single_threaded(work: Callable[[str], Result], scene: str, stay: bool) -> tuple[str, Result]:
    # a process of our own, or a Dask worker's, stays so: jobs beside this one in it must not get its threads back
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return scene, work(scene)
    finally:
        if not stay:
            torch.set_num_threads(threads)
