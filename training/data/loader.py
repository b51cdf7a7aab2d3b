"""Batches from loader processes that outlive a signal to all, and no training."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader


def batch_loader(
    dataset: Any, collate: Callable[[list[Any]], Any], workers: int, *, pin_memory: bool, **order: Any
) -> DataLoader[Any]:
    """Batches of a dataset, read ahead by processes.

    Args:
        dataset: With a length, or keys of its own and a ``batch_sampler``.
        collate: Makes a batch of samples.
        workers: Processes; with 0 batches are made when they are asked for.
        pin_memory: Whether they come in page-locked memory, from where a GPU copies faster.
        order: ``batch_sampler`` or ``batch_size``, as of ``DataLoader``.
    """
    return DataLoader(
        dataset,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_serve,
        **order,
    )


def _serve(_: int) -> None:
    """Begin as a loader process."""
    # Ctrl-C, and SIGTERM of a scheduler, reach every process of the group; the main one finishes its step and saves,
    # and needs its batches for it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # torch's worker ends when its parent's number changes, and so never if that was killed before it first looked
    main = multiprocessing.parent_process()
    if main is not None:
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(main: Any) -> None:
    main.join()
    os._exit(1)
