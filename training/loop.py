"""The one training loop. It knows steps, devices, checkpoints and logs; what is learned is the task's affair."""

import csv
import io
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .errors import InputError
from .files import write_whole
from .seeds import mix_seeds

METRICS = "metrics.csv"

Task = Callable[[nn.Module, Any], tuple[dict[str, Tensor], dict[str, Tensor]]]


@dataclass(frozen=True)
class LoopSettings:
    """Args: as in the configuration; ``learning_rate`` gives that of a step, counted from 0."""

    steps: int
    accumulate: int
    seed: int
    log_every: int
    checkpoint_every: int
    learning_rate: Callable[[int], float]


def train(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    batches_from: Callable[[int], Iterable[Any]],
    run: Path,
    settings: LoopSettings,
) -> bool:
    """Train from the run's checkpoint, or from the beginning, to the last step.

    Everything random in a step is drawn from (seed, step, process), so a run that was killed and goes on computes the
    same numbers as one that was not, bit for bit on the CPU. SIGINT and SIGTERM end the run after the step at hand,
    with a checkpoint.

    Args:
        accelerator: Devices, processes and mixed precision.
        model: Not yet prepared by the accelerator.
        optimizer: Of the model's parameters.
        task: Called with the prepared model and a batch on the device.
        batches_from: Batches from a given step on, ``accumulate`` for each step, each with a ``to(device)``.
        run: Folder of the run, existing.
        settings: See there.

    Returns:
        Whether the last step was reached, rather than a signal.

    Raises:
        InputError: The checkpoint does not fit the model, or a loss is not finite.
    """
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    # after prepare, so that the optimizer's state lands on the device of the parameters
    start = _restore(accelerator.unwrap_model(model), optimizer, run) if (run / CHECKPOINT).is_file() else 0
    log = MetricsLog(run, start) if accelerator.is_main_process else None
    batches = iter(batches_from(start))

    def save(step: int) -> None:
        if accelerator.is_main_process:
            state = {"step": step, "model": accelerator.unwrap_model(model).state_dict()}
            save_checkpoint(run, state | {"optimizer": optimizer.state_dict()})

    with StopSignals() as stop, _progress(accelerator.is_main_process) as progress:
        bar = progress.add_task("training", total=settings.steps, completed=start, status="")
        saved = start
        # stays on the device and is looked at only where the host waits anyway
        finite = torch.ones((), dtype=torch.bool, device=accelerator.device)
        for step in range(start, settings.steps):
            torch.manual_seed(mix_seeds(settings.seed, step, accelerator.process_index))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate(step)
            figures: dict[str, Tensor] = {}
            for part in range(settings.accumulate):
                batch = next(batches).to(accelerator.device)
                with accelerator.autocast():
                    losses, found = task(model, batch)
                total = torch.stack(list(losses.values())).sum() / settings.accumulate
                if part < settings.accumulate - 1:
                    with accelerator.no_sync(model):
                        accelerator.backward(total)
                else:
                    accelerator.backward(total)
                for name, value in ({"loss": total * settings.accumulate} | losses | found).items():
                    figures[name] = figures.get(name, 0) + value.detach() / settings.accumulate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            finite &= figures["loss"].isfinite()
            done = step + 1
            progress.update(bar, completed=done)
            logging = done % settings.log_every == 0 or done == settings.steps
            saving = done % settings.checkpoint_every == 0 or done == settings.steps or stop.requested
            if (logging or saving) and not finite:
                raise InputError(
                    f"the loss is not finite at or before step {done}; start anew in another run folder with an "
                    f"optimizer.lr lower than {settings.learning_rate(0)} (the last checkpoint is from before that)"
                )
            if logging:
                means = {name: float(accelerator.reduce(value, "mean")) for name, value in figures.items()}
                progress.update(bar, status=" ".join(f"{k} {v:.3f}" for k, v in means.items() if k in losses))
                if log is not None:
                    log.write(done, means | {"lr": settings.learning_rate(step)})
            if saving:
                save(done)
                saved = done
            if stop.requested:
                break
    if log is not None:
        log.close()
    return saved == settings.steps


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, run: Path) -> int:
    state = load_checkpoint(run)
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (RuntimeError, ValueError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        detail = lines[1] if len(lines) > 1 else lines[0]
        raise InputError(
            f"{run / CHECKPOINT} does not fit this network ({detail[:200]}); use another run folder"
        ) from None


class MetricsLog:
    """Scalars of a run, as CSV and for TensorBoard. Rows that a killed run wrote after its checkpoint are dropped."""

    def __init__(self, run: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and needed by the main process alone

        self.path = run / METRICS
        self.rows = [row for row in read_metrics(run) if row["step"] <= start] if self.path.is_file() else []
        self._rewrite()
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)
        self.begun = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append a row; columns are fixed by the first one."""
        row = {"step": step, **figures, "seconds": round(time.perf_counter() - self.begun, 2)}
        self.rows.append(row)
        if len(self.rows) == 1:
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, list(self.rows[0]), lineterminator="\n").writerow(row)
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what TensorBoard holds back."""
        self.board.close()

    def _rewrite(self) -> None:
        text = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        write_whole(self.path, text.getvalue())


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``metrics.csv``: numbers by column name, ``step`` an int. A row cut short is left out."""
    with (run / METRICS).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row.values())]
    return [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]


class StopSignals:
    """Within it, the first SIGINT or SIGTERM only sets ``requested``; a second one does what it always does."""

    def __init__(self) -> None:
        self.requested = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, _: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self.previous[number])

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def _progress(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[status]}"), disable=not shown)
