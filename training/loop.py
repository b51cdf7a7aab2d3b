"""The one training loop. It knows steps, devices, checkpoints and logs; what is learned is the task's affair."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from .checkpoint import CHECKPOINT, has_checkpoint, load_checkpoint, save_checkpoint
from .errors import InputError
from .metrics import DataClock, MetricsLog
from .seeds import mix_seeds

Task = Callable[[nn.Module, Any], tuple[dict[str, Tensor], dict[str, Tensor]]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """How long, and what happens when.

    Args:
        steps: In all, with those of before a restart.
        accumulate: Batches of a step.
        seed: Of everything random in a step.
        log_every: Steps.
        checkpoint_every: Steps.
        learning_rate: That of a step, counted from 0; multiplied by the ``factor`` of a parameter group that has one.
        keep_checkpoints: The newest so many.
        skip_nonfinite: Leave out steps whose loss or gradient is not finite; needs a fused optimiser.
        before_step: Called with the network and the step.
    """

    steps: int
    accumulate: int
    seed: int
    log_every: int
    checkpoint_every: int
    learning_rate: Callable[[int], float]
    keep_checkpoints: int = 1
    skip_nonfinite: bool = False
    before_step: Callable[[nn.Module, int], None] | None = None


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

    Everything random in a step is drawn from (seed, step, process) or from the batch, so a run that was killed and goes
    on computes the same numbers as one that was not, bit for bit on the CPU. SIGINT and SIGTERM end the run with a
    checkpoint: after the step at hand, or, where several processes must agree, at the next step that is logged.

    Within a step the host does not wait for the device, but where a step is logged or saved, for the very first one if
    steps are to be skipped, and where a task needs sizes that only the data knows (maps of the sparse network).

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
        InputError: The checkpoint does not fit the model, or a loss or gradient is not finite and may not be skipped.
    """
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    plain: nn.Module = accelerator.unwrap_model(model)
    # after prepare, so that the optimizer's state lands on the device of the parameters
    start = _restore(plain, optimizer, run) if has_checkpoint(run) else 0
    log = MetricsLog(run, start) if accelerator.is_main_process else None
    batches = iter(batches_from(start))
    update = _Update(accelerator, plain, optimizer, settings.skip_nonfinite)
    clock = DataClock(accelerator.device)

    with StopSignals() as stop, _progress(accelerator.is_main_process) as progress:
        bar = progress.add_task("training", total=settings.steps, completed=start, status="")
        saved = start
        for step in range(start, settings.steps):
            torch.manual_seed(mix_seeds(settings.seed, step, accelerator.process_index))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate(step) * group.get("factor", 1.0)
            if settings.before_step is not None:
                settings.before_step(plain, step)
            update.begin()
            losses, found = _backward(accelerator, model, task, batches, clock, settings.accumulate)
            found["gradient"] = update.finish(losses["loss"])
            done = step + 1
            progress.update(bar, completed=done)
            logging_now = done % settings.log_every == 0 or done == settings.steps
            stopping = stop.requested and accelerator.num_processes == 1
            if logging_now:
                row = _means(accelerator, losses | found, stop=stop.requested)
                stopping = row.pop("stop") > 0
            saving = done % settings.checkpoint_every == 0 or done == settings.steps or stopping
            if (logging_now or saving) and not settings.skip_nonfinite and update.broken:
                raise InputError(
                    f"the loss or its gradient is not finite at or before step {done}; start anew in another run "
                    f"folder with a lower optimizer.lr, or with on_nonfinite=skip (the last checkpoint is from before "
                    f"that)"
                )
            if logging_now:
                progress.update(bar, status=" ".join(f"{name} {row[name]:.3f}" for name in losses if name != "loss"))
                row |= {"skipped": float(update.broken), "lr": settings.learning_rate(step), "waiting": clock.read()}
                if log is not None:
                    log.write(done, row)
            if saving:
                if accelerator.is_main_process:
                    state = {"step": done, "model": plain.state_dict(), "optimizer": optimizer.state_dict()}
                    save_checkpoint(run, state, settings.keep_checkpoints)
                saved = done
            if stopping:
                break
    if log is not None:
        log.close()
        _summarize(saved - start, clock, int(update.broken))
    return saved == settings.steps


def _backward(
    accelerator: Accelerator,
    model: nn.Module,
    task: Task,
    batches: Iterator[Any],
    clock: DataClock,
    accumulate: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradients of a step; its losses, among them their sum as ``loss``, and its other figures."""
    means: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for part in range(accumulate):
        with clock:
            batch = next(batches).to(accelerator.device)
        with accelerator.autocast():
            losses, found = task(model, batch)
        loss = torch.stack(list(losses.values())).sum()
        with accelerator.no_sync(model) if part < accumulate - 1 else nullcontext():
            accelerator.backward(loss / accumulate)
        for mean, values in zip(means, ({"loss": loss} | losses, found), strict=True):
            for name, value in values.items():
                mean[name] = mean.get(name, 0) + value.detach() / accumulate
    return means


class _Update:
    """The optimiser's step. One whose loss or gradient is not finite is counted and, if ``skip``, without effect.

    Which it is stays on the device: the fused optimisers look there themselves, at ``found_inf``.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, optimizer: Any, skip: bool) -> None:
        self.accelerator, self.optimizer, self.skip = accelerator, optimizer, skip
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.buffers = list(model.buffers()) if skip else []  # running statistics, that a forward pass has changed
        self.before: list[Tensor] = []
        self.broken = torch.zeros((), device=accelerator.device)  # steps

    def begin(self) -> None:
        """Before the forward pass."""
        self.before = [buffer.clone() for buffer in self.buffers]

    def finish(self, loss: Tensor) -> Tensor:
        """After the backward pass; returns the norm of the gradient."""
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        broken = ~(norm + loss).isfinite()
        if self.accelerator.num_processes > 1:  # each has a loss of its own
            broken = self.accelerator.reduce(broken.float(), "sum") > 0
        first = not self.optimizer.state
        if self.skip:
            self.optimizer.optimizer.found_inf = broken.float()
        self.optimizer.step()
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(broken, before, buffer))
        if self.skip and first and broken:
            self.optimizer.state.clear()  # a momentum that was made, but never filled
        self.optimizer.zero_grad(set_to_none=True)
        self.broken += broken
        return norm


def _means(accelerator: Accelerator, figures: dict[str, Tensor], stop: bool) -> dict[str, float]:
    """Figures over all processes, and under ``stop`` whether one of them is asked to, in one transfer."""
    told = torch.stack(
        [*(value.float() for value in figures.values()), torch.tensor(float(stop)).to(accelerator.device)]
    )
    return dict(zip([*figures, "stop"], accelerator.reduce(told, "mean").tolist(), strict=True))


def _summarize(steps: int, clock: DataClock, broken: int) -> None:
    clock.read()
    if steps:
        logger.info(
            "%d steps, %.3g s each; the device waited for data %.1f %% of the time",
            steps, clock.passed / steps, 100 * clock.waited / clock.passed,
        )  # fmt: skip
    if broken:
        logger.warning("%d steps were skipped, as their loss or gradient was not finite", broken)


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
