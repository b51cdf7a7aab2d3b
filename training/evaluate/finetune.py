"""Fine-tuning, with the loop of pre-training: all that detection and segmentation do alike."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from ..config import OnNonfinite
from ..data.dataset import StepSampler
from ..data.loader import batch_loader
from ..loop import LoopSettings, Task, train
from ..metrics import read_metrics
from ..pretrain import start_accelerator
from ..run_folder import open_run
from .best import Best
from .finetune_config import FineTuneConfig, ImagesConfig
from .labelled_images import AnyImage, fraction, listed
from .results import append_result

AnyConfig = TypeVar("AnyConfig", bound=FineTuneConfig)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What one task has of its own.

    Args:
        training: A dataset with a length, that takes the keys of ``StepSampler``.
        validation: The dataset that ``measure`` measures on.
        collate: Makes a batch, with a ``to(device)``, of several samples.
        model: The network before its first step.
        taken: Which parts of it are not random.
        groups: Its parameters to train, each group with what ``torch.optim.SGD`` and the loop know of a group.
        task: What is learned.
        steps: How many.
        evaluate_every: Steps.
        learning_rate: That of a step, counted from 0.
        measure: Gives the figures of a network by name, of which those that are float are shares of 1.
        criterion: The figure that the best evaluation is the best by.
        described: What the results say of the run beside what they say of any: ``task``, ``data``, ``size``,
            ``network``.
        details: Figures that are no float and stand in the results too.
    """

    training: Any
    validation: Any
    collate: Callable[[Sequence[Any]], Any]
    model: nn.Module
    taken: str
    groups: list[dict[str, Any]]
    task: Task
    steps: int
    evaluate_every: int
    learning_rate: Callable[[int], float]
    measure: Callable[[nn.Module, Accelerator], dict[str, Any]]
    criterion: str
    described: dict[str, str]
    details: tuple[str, ...] = ()


def fine_tune(config: AnyConfig, prepare: Callable[[AnyConfig], FineTuning]) -> dict[str, Any] | None:
    """Run or continue a fine-tuning in the folder ``config.run``.

    Args:
        config: Of the task.
        prepare: Reads the data and builds the network.

    Returns:
        The figures of the best of the evaluations, which are added to ``config.results``; None where a signal stopped
        the run, after saving.

    Raises:
        InputError: The data, the initialisation or the state of the run folder does not fit.
    """
    run = Path(config.run)
    own = prepare(config)
    accelerator = start_accelerator(config.precision)
    if accelerator.is_main_process:
        open_run(config, f"{own.taken} from {config.init}, the rest from seed {config.seed}", accelerator.num_processes)
    accelerator.wait_for_everyone()
    optimizer = torch.optim.SGD(own.groups, lr=config.optimizer.lr, momentum=config.optimizer.momentum, fused=True)

    def batches_from(start: int) -> DataLoader[Any]:
        sampler = StepSampler(
            len(own.training),
            config.batch_size,
            seed=config.seed,
            start=start,
            stop=own.steps,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        return loader(own.training, own.collate, accelerator, config.data.workers, batch_sampler=sampler)

    writes = accelerator.is_main_process
    best = Best(run, lambda network: own.measure(network, accelerator), own.criterion, writes=writes)

    def before_step(plain: nn.Module, step: int) -> None:
        if step and step % own.evaluate_every == 0:
            best.evaluate(plain, step)

    settings = LoopSettings(
        steps=own.steps,
        accumulate=1,
        seed=config.seed,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        learning_rate=own.learning_rate,
        skip_nonfinite=config.on_nonfinite == OnNonfinite.skip,
        before_step=before_step,
    )
    logger.info(
        "%d images to train on, %d to validate; %s from %s",
        len(own.training), len(own.validation), own.taken, config.init,
    )  # fmt: skip
    if not train(accelerator, own.model, optimizer, own.task, batches_from, run, settings):
        return None
    begin = perf_counter()
    best.evaluate(accelerator.unwrap_model(own.model), own.steps)
    if config.results is not None and accelerator.is_main_process:
        # of all steps, evaluations among them, wherever the run was stopped in between; and of the last evaluation
        seconds = read_metrics(run)[-1]["seconds"] + perf_counter() - begin
        append_result(Path(config.results), _result(config, own, best, seconds))
    return best.figures


def chosen(images: Sequence[AnyImage], config: ImagesConfig, seed: int) -> list[AnyImage]:
    """Those of the training images that are asked for.

    Raises:
        InputError: The list of them cannot be read or names what is not there, or the fraction is none.
    """
    return fraction(images if config.images is None else listed(images, Path(config.images)), config.fraction, seed)


def loader(
    dataset: Any, collate: Callable[[Sequence[Any]], Any], accelerator: Accelerator, workers: int, **order: Any
) -> DataLoader[Any]:
    """Batches of a dataset, in page-locked memory where they go to a GPU."""
    return batch_loader(dataset, collate, workers, pin_memory=accelerator.device.type == "cuda", **order)


@contextmanager
def evaluating(model: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Within it the network is in eval mode, without gradients; after it all is as it was, random numbers too."""
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(), accelerator.autocast():
        yield
    model.train(was_training)


def _result(config: FineTuneConfig, own: FineTuning, best: Best, seconds: float) -> dict[str, Any]:
    return {
        "run": str(config.run),
        **own.described,
        "init": config.init,
        "pre-trained": own.taken,
        "fraction": config.data.fraction,
        "seed": config.seed,
        "figures": {name: value for name, value in best.figures.items() if isinstance(value, float)},
        **{name: best.figures[name] for name in own.details},
        "best_step": best.step,
        "seconds": seconds,
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
