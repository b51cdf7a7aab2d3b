"""Checkpoints of runs: files that appear whole or not at all, read without running anything that is in them."""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from .errors import InputError, first_line

CHECKPOINT = "checkpoint.pt"  # the newest; the ones before it are checkpoint.1.pt, checkpoint.2.pt, ...

logger = logging.getLogger(__name__)


def save_checkpoint(run: Path, state: dict[str, Any], keep: int = 1) -> None:
    """Make ``state`` (tensors, numbers, strings and containers of them) the run's newest checkpoint, of ``keep``.

    At any moment, the newest whole file is the last state saved or the one before.
    """
    temporary = run / f"{CHECKPOINT}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    for age, path in reversed(list(enumerate(_checkpoints(run)))):
        if age + 1 < keep:
            path.replace(_older(run, age + 1))
        elif age:
            path.unlink()
    temporary.replace(run / CHECKPOINT)


def has_checkpoint(run: Path) -> bool:
    """Whether there is something to go on from."""
    return bool(_checkpoints(run))


def load_checkpoint(run: Path) -> dict[str, Any]:
    """The run's newest checkpoint that can be read, on the CPU; broken ones before it are named in the log.

    Raises:
        InputError: There is none, or none can be read.
    """
    broken = []
    for path in _checkpoints(run):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # from bytes that are no checkpoint, torch's reader raises whatever they lead it to
            broken.append(f"{path} cannot be read ({first_line(error)})")
            continue
        if broken:
            logger.warning("%s; %s is taken instead", "; ".join(broken), path.name)
        return state
    if broken:
        raise InputError(f"{'; '.join(broken)}; restore it, or delete it to start the run anew")
    raise InputError(f"{run} holds no {CHECKPOINT}: give the folder of a run that has saved one")


def _older(run: Path, age: int) -> Path:
    return run / (f"checkpoint.{age}.pt" if age else CHECKPOINT)


def _checkpoints(run: Path) -> list[Path]:
    """Those that are there, newest first; a run killed while it saved may lack the first."""
    ages = (int(path.suffixes[0][1:]) for path in run.glob("checkpoint.*.pt") if path.suffixes[0][1:].isdigit())
    return [path for path in (_older(run, age) for age in sorted({0, *ages})) if path.is_file()]
