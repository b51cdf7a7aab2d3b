"""Checkpoints of runs: one file that appears whole or not at all, read without running anything that is in it."""

import os
from pathlib import Path
from typing import Any

import torch

from .errors import InputError, first_line

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Put ``state`` (tensors, numbers, strings and containers of them) in the place of the run's checkpoint."""
    temporary = run / f"{CHECKPOINT}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(run / CHECKPOINT)


def load_checkpoint(run: Path) -> dict[str, Any]:
    """The run's checkpoint, on the CPU.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{run} holds no {CHECKPOINT}: give the folder of a run that has saved one")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from bytes that are no checkpoint, torch's reader raises whatever they lead it to
        raise InputError(
            f"{path} cannot be read ({first_line(error)}); restore it, or delete it to start the run anew"
        ) from None
