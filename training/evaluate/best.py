"""The evaluations of a fine-tuning, and the weights of the best of them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pri3d_zoo.files import write_whole

from ..checkpoint import has_checkpoint, load_checkpoint, save_checkpoint

BEST = "best"  # folder of the checkpoint with the best figures
EVALUATIONS = "evaluations.jsonl"

logger = logging.getLogger(__name__)


class Best:
    """Evaluates a run again and again, and keeps the best; a run that goes on finds what it had.

    Args:
        run: Its folder.
        measure: Gives the figures of a network by name, shares of 1, and leaves it as it was.
        criterion: The figure that the best is the best by.
        writes: Whether this process writes files.
    """

    def __init__(
        self, run: Path, measure: Callable[[nn.Module], dict[str, Any]], criterion: str, *, writes: bool
    ) -> None:
        self.run, self.measure, self.criterion, self.writes = run, measure, criterion, writes
        self.figures: dict[str, Any] = {}
        self.step = 0
        if has_checkpoint(run / BEST):
            state = load_checkpoint(run / BEST)
            self.figures, self.step = dict(state["figures"]), int(state["step"])

    def evaluate(self, model: nn.Module, step: int) -> None:
        """Measure a network that has been trained for so many steps."""
        found = self.measure(model)
        told = ", ".join(f"{name} {100 * value:.2f} %" for name, value in found.items() if isinstance(value, float))
        logger.info("step %d: %s", step, told)
        better = not self.figures or found[self.criterion] > self.figures[self.criterion]
        if better:
            self.figures, self.step = found, step
        if not self.writes:
            return
        path = self.run / EVALUATIONS
        lines = path.read_text().splitlines() if path.is_file() else []
        # a run that was killed may have been further than its checkpoint
        before = [line for line in lines if json.loads(line)["step"] < step]
        write_whole(path, "".join(f"{line}\n" for line in [*before, json.dumps({"step": step, **found})]))
        if better:
            (self.run / BEST).mkdir(exist_ok=True)
            save_checkpoint(self.run / BEST, {"step": step, "model": model.state_dict(), "figures": found})
