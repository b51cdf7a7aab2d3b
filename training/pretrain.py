"""Pre-training: from a configuration to a run folder with trained weights."""

import json
import logging
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import timm
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from pri3d_zoo.convert import compare_keys, describe_state_dict
from pri3d_zoo.hub import find_weights

from .checkpoint import CHECKPOINT, load_checkpoint
from .config import Config, Method, Precision, flat_keys, read_config, save_config
from .data.dataset import PairDataset, PairMixture, StepSampler, pair_loader
from .data.store import SceneStore
from .errors import InputError
from .files import write_whole
from .loop import LoopSettings, train
from .networks.two_branch import TwoBranch
from .tasks import PretrainTask

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
# when a run goes on; stores may have moved
FREE_TO_CHANGE = {"run", "data.store", "data.more_stores", "data.workers", "log_every", "checkpoint_every"}

logger = logging.getLogger(__name__)


def pretrain(config: Config) -> bool:
    """Run or continue the pre-training that ``config`` describes, in the folder ``config.run``.

    Returns:
        Whether the last step was reached (False: stopped by a signal, after saving).

    Raises:
        InputError: The store, the initialisation or the state of the run folder does not fit.
    """
    run = Path(config.run)
    dataset = training_pairs(config)
    if config.loss.voxel_radius is not None and config.loss.voxel_radius > dataset.voxel_size:
        raise InputError(
            f"loss.voxel_radius={config.loss.voxel_radius}: it may be at most the voxel size of {config.data.store}, "
            f"{dataset.voxel_size}"
        )
    accelerator = Accelerator(mixed_precision="bf16" if _uses_bf16(config.precision) else "no")
    if accelerator.is_main_process:
        _open_run(config, run)
    accelerator.wait_for_everyone()
    model = initial_model(config)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        dampening=config.optimizer.dampening,
        weight_decay=config.optimizer.weight_decay,
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
    )
    task = PretrainTask(config.loss, dataset.voxel_size)
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
                chunks=config.loss.method != Method.view,
                augment=config.data.augment,
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


def initial_model(config: Config) -> TwoBranch:
    """The network of a run before its first step: the same for the same configuration.

    Raises:
        InputError: ``init`` is none of scratch, imagenet or a weight folder.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = TwoBranch(config.model.encoder, None if config.loss.method == Method.view else config.model.unet3d)
    if config.init == "imagenet":
        try:
            pretrained = timm.create_model(config.model.encoder, pretrained=True, num_classes=0)
        except Exception as error:  # whatever the Hub client, the network or timm raise
            raise InputError(
                f"init=imagenet: timm could not get weights for {config.model.encoder} ({type(error).__name__}); "
                f"give init=FOLDER with a weight folder, or init=scratch"
            ) from error
        _load_encoder(model, pretrained.state_dict(), config, "timm's weights")
    elif config.init != "scratch":
        if not Path(config.init).exists():
            raise InputError(f"init={config.init}: it must be scratch, imagenet, or a weight folder that exists")
        file = find_weights(config.model.encoder, path=config.init)
        _load_encoder(model, load_file(file), config, file.name)
    return model


def trained_model(run: Path) -> tuple[Config, TwoBranch]:
    """The configuration of a run and its network as of the last checkpoint, in eval mode."""
    config = read_config(run / CONFIG)
    state = load_checkpoint(run)
    model = TwoBranch(config.model.encoder, None if config.loss.method == Method.view else config.model.unet3d)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError) as error:
        raise InputError(f"{run / CHECKPOINT} does not fit {run / CONFIG}: {str(error).splitlines()[0]}") from None
    return config, model.eval()


def _load_encoder(model: TwoBranch, weights: dict[str, Tensor], config: Config, source: str) -> None:
    encoder = model.backbone.encoder
    with torch.device("meta"):
        whole = timm.create_model(config.model.encoder, num_classes=0).state_dict()  # and what lies behind its stages
    report = compare_keys(weights, whole)
    if not report.fits:
        raise InputError(
            f"init={config.init}: {source} seems to hold {describe_state_dict(weights)}, "
            f"not the encoder {config.model.encoder} ({report.summary()})"
        )
    encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})


def run_environment(run: Path) -> dict[str, str]:
    """The command that began or continued a run, the versions and the machine, by name."""
    try:
        environment: dict[str, str] = json.loads((run / ENVIRONMENT).read_text())
        return {"command": "unknown"} | environment
    except (OSError, ValueError, TypeError):
        raise InputError(f"{run / ENVIRONMENT} is missing or broken; the run's own command writes it again") from None


def _uses_bf16(precision: Precision) -> bool:
    if precision != Precision.auto:
        return precision == Precision.bf16
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # get_capabilities is younger than the oldest torch that is supported
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _open_run(config: Config, run: Path) -> None:
    """Write what the run is into its folder, or, where it goes on, make sure that it is the same run."""
    if (run / CONFIG).is_file() and (run / CHECKPOINT).is_file():
        before, now = flat_keys(read_config(run / CONFIG)), flat_keys(config)
        for key in now.keys() - FREE_TO_CHANGE:
            if before[key] != now[key]:
                raise InputError(
                    f"{run} was begun with {key}={before[key]}, not {now[key]}; "
                    f"use run=ANOTHER_FOLDER, or the same value"
                )
    save_config(config, run / CONFIG)
    packages = ("pri3d-zoo", "torch", "torchvision", "timm", "accelerate", "numpy")
    environment = {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}
    environment |= {name: version(name) for name in packages} | {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
    write_whole(run / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
