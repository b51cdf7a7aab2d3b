"""Pre-training: from a configuration to a run folder with trained weights."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from .config import ChunkBox, Config, Correspondence, Frames, Method, OnNonfinite, Precision
from .data.batch import PairBatch
from .data.dataset import PairDataset, PairMixture, StepSampler, pair_loader
from .data.memory import FrameMemory, read_frames
from .data.store import SceneStore
from .errors import InputError
from .geometry import frustum_box, pixel_box
from .initialise import build_network, describe_init, initial_model
from .loop import LoopSettings, Task, train
from .moco import MoCoTask
from .networks.batch_norm import batch_norm_momentum, set_batch_norm_momentum
from .run_folder import is_recorded, open_run, write_norms
from .tasks import PretrainTask

CHUNK_BOXES = {ChunkBox.frustum: frustum_box, ChunkBox.pixels: pixel_box}

logger = logging.getLogger(__name__)


def pretrain(config: Config) -> bool:
    """Run or continue the pre-training that ``config`` describes, in the folder ``config.run``.

    Returns:
        Whether the last step was reached, rather than a signal that stopped the run after saving.

    Raises:
        InputError: The store, the initialisation or the state of the run folder does not fit.
    """
    dataset = training_pairs(config)
    _check_radius(config, dataset.voxel_size)
    accelerator = start_accelerator(config.precision)
    run = Path(config.run)
    resumed = is_recorded(run)  # its checkpoint replaces the first weights, which need not be there any more
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        open_run(config, None if resumed else describe_init(config), accelerator.num_processes)
    accelerator.wait_for_everyone()
    memory = _hold_frames(config, dataset, accelerator)
    first = build_network(config) if resumed else initial_model(config)
    if accelerator.is_main_process and not resumed:
        write_norms(run, first.backbone)
    model: nn.Module = first
    if config.batch_norm.sync:
        if accelerator.device.type == "cpu":
            raise InputError("batch_norm.sync=true: torch has it for GPUs alone; take batch_norm.sync=false on a CPU")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        dampening=config.optimizer.dampening,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )

    def learning_rate(step: int) -> float:
        return config.optimizer.lr * (1 - step / config.steps) ** config.optimizer.poly_power

    def batches_from(start: int):  # type: ignore[no-untyped-def]  # DataLoader's own type says nothing of its batches
        sampler = StepSampler(
            dataset.lengths,
            config.batch_size,
            seed=config.seed,
            start=start,
            stop=config.steps,
            weights=config.data.weights,
            accumulate=config.accumulate,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        return pair_loader(dataset, sampler, config.data.workers, pin_memory=accelerator.device.type == "cuda")

    for part in dataset.parts:
        logger.info("%d pairs of %d scenes in %s", len(part), len(part.scenes), part.store.root)
    settings = LoopSettings(
        steps=config.steps,
        accumulate=config.accumulate,
        seed=config.seed,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        learning_rate=learning_rate,
        keep_checkpoints=config.keep_checkpoints,
        skip_nonfinite=config.on_nonfinite == OnNonfinite.skip,
        before_step=_before_step(config),
    )
    # MoCo changes the colours of each of its crops by itself
    alone = config.loss.method == Method.moco
    task: Task = MoCoTask(config.loss.temperature) if alone else PretrainTask(config.loss, dataset.voxel_size)
    task = prepared(task, augment=config.data.augment and not alone, memory=memory)
    return train(accelerator, model, optimizer, task, batches_from, run, settings)


def training_pairs(config: Config) -> PairMixture:
    """The pairs of ``data.store`` and ``data.more_stores``, as a run sees them.

    Raises:
        InputError: A store has no pair left, they do not fit each other, or a scene to hold out is in none of them.
    """
    stores = [SceneStore(Path(folder)) for folder in (config.data.store, *config.data.more_stores)]
    elsewhere = {scene for store in stores[1:] for scene in store.scene_ids}
    height, width = config.size
    return PairMixture(
        [
            PairDataset(
                store,
                (height, width),
                chunks=config.loss.method in (Method.geo, Method.joint),
                box=CHUNK_BOXES[config.data.chunk_box],
                geometric=config.data.geometric,
                # one that is nowhere goes to the first store, which refuses it by name
                holdout=[
                    scene
                    for scene in config.data.holdout
                    if scene in store.scene_ids or (store is stores[0] and scene not in elsewhere)
                ],
                min_overlap=config.data.min_overlap,
            )
            for store in stores
        ]
    )


def prepared(task: Task, *, augment: bool, memory: FrameMemory | None) -> Task:
    """A task whose batches are first made ready on their device: images gathered, colours changed."""

    def ready(model: nn.Module, batch: PairBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if memory is not None and not memory.shared:
            batch = memory.fill(batch)
        return task(model, batch.with_changed_colors() if augment else batch)

    return ready


def _hold_frames(config: Config, dataset: PairMixture, accelerator: Accelerator) -> FrameMemory | None:
    if config.data.frames == Frames.disk:
        return None
    sizes = {part.store.size for part in dataset.parts}
    if config.data.geometric and len(sizes) > 1:
        raise InputError(
            f"data.frames=shared with data.geometric needs stores of one image size, not {sorted(sizes)}; "
            f"prepare them alike, or take data.frames=disk"
        )
    memory = read_frames(
        [part.store.scene(scene) for part in dataset.parts for scene in part.scenes],
        sizes.pop() if config.data.geometric else (config.size[0], config.size[1]),
        dataset.parts[0].box,
        device=accelerator.device if config.data.frames == Frames.device else None,
        name=str(Path(config.run).resolve()),
        first=accelerator.is_local_main_process,
        wait=accelerator.wait_for_everyone,
    )
    row = 0
    for part in dataset.parts:
        row = part.hold(memory, row)
    logger.info("%d frames held in memory (%s)", row, config.data.frames)
    return memory


def _before_step(config: Config) -> Callable[[nn.Module, int], None]:
    settings = config.batch_norm
    compiled = False

    def before_step(model: Any, step: int) -> None:
        nonlocal compiled
        settled = True
        if settings.momentum is not None:
            momentum = batch_norm_momentum(step, settings.momentum, settings.halve_every, settings.least)
            set_batch_norm_momentum(model, momentum)
            settled = momentum <= settings.least
        # not before the momentum stays as it is: it would be compiled anew for each value
        if config.compile and settled and not compiled:
            model.backbone.compile()
            compiled = True

    return before_step


def _check_radius(config: Config, voxel_size: float) -> None:
    radius = config.loss.voxel_radius
    if config.loss.correspondence == Correspondence.distance and radius is not None and radius > voxel_size:
        raise InputError(
            f"loss.voxel_radius={radius}: it may be at most the voxel size of {config.data.store}, {voxel_size}"
        )


def start_accelerator(precision: Precision) -> Accelerator:
    """The devices and processes of a run, as torchrun or ``accelerate launch`` has started them; or just this one."""
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # unless told, accelerate starts no process group on CPUs
        mixed_precision="bf16" if uses_bf16(precision) else "no",
    )


def uses_bf16(precision: Precision) -> bool:
    """Whether the networks compute in bf16 on this machine."""
    if precision != Precision.auto:
        return precision == Precision.bf16
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # get_capabilities is younger than the oldest torch that is supported
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
