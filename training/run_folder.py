"""The folder of a run: what tells everything about it, and what is read of it later."""

import json
import os
import platform
import shlex
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pri3d_zoo.files import write_whole

from .checkpoint import has_checkpoint, load_checkpoint
from .config import Backend3D, Config, flat_keys, read_config, save_config
from .errors import InputError, first_line
from .initialise import build_network
from .networks.moco import MoCo
from .networks.two_branch import TwoBranch
from .norms import restore_norms, weight_norms

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
NORMS = "norms.json"
# when a run goes on; stores may have moved
FREE_TO_CHANGE = {"run", "data.store", "data.more_stores", "data.validation", "data.annotations", "results",
                  "data.workers", "data.frames", "model.backend3d", "model.grad_checkpointing_3d", "on_nonfinite",
                  "log_every", "checkpoint_every", "keep_checkpoints"}  # fmt: skip
PACKAGES = ("pri3d-zoo", "torch", "torchvision", "timm", "accelerate", "numpy")
VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "NVIDIA_TF32_OVERRIDE")


def open_run(config: Any, initialisation: str | None, processes: int = 1) -> None:
    """Write what the run is into its folder, or, where it goes on, make sure that it is the same run.

    Args:
        config: A dataclass as ``Config``, with the folder as ``run``.
        initialisation: Where the first weights come from, in words; None where it goes on, and that is known.
        processes: How many train.

    Raises:
        InputError: The folder holds another run.
    """
    run = Path(config.run)
    if (run / CONFIG).is_file() and has_checkpoint(run):
        before, now = flat_keys(read_config(run / CONFIG, type(config))), flat_keys(config)
        for key in now.keys() - FREE_TO_CHANGE:
            if before[key] != now[key]:
                raise InputError(
                    f"{run} was begun with {key}={before[key]}, not {now[key]}; "
                    f"use run=ANOTHER_FOLDER, or the same value"
                )
    save_config(config, run / CONFIG)
    program = Path(sys.argv[0]).name
    environment = {
        "command": shlex.join(["pri3d-train" if program == "__main__.py" else program, *sys.argv[1:]]),
        "initialisation": initialisation or run_environment(run)["initialisation"],
        **({"git": git} if (git := git_state(Path(__file__))) else {}),
        **{name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
        "processes": str(processes),
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    write_whole(run / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")


def run_environment(run: Path) -> dict[str, str]:
    """The command that began or continued a run, where its weights came from, versions and machine, by name."""
    try:
        environment: dict[str, str] = json.loads((run / ENVIRONMENT).read_text())
        return {"command": "unknown"} | environment
    except (OSError, ValueError, TypeError):
        raise InputError(f"{run / ENVIRONMENT} is missing or broken; the run's own command writes it again") from None


def is_recorded(run: Path) -> bool:
    """Whether a run has a checkpoint, and beside it all that is told of its weights before the first step."""
    try:
        return has_checkpoint(run) and "initialisation" in run_environment(run) and bool(_read_norms(run))
    except InputError:
        return False


def write_norms(run: Path, model: nn.Module) -> None:
    """Keep the norms of a run's weights before its first step, for ``trained_network``."""
    write_whole(run / NORMS, json.dumps(weight_norms(model), indent=2) + "\n")


def trained_network(run: Path) -> tuple[Config, TwoBranch | MoCo]:
    """The configuration of a run and its network as of the last checkpoint, in eval mode.

    Weights before a batch norm have their former norms again (see ``norms.py``).
    """
    config = read_config(run / CONFIG)
    config.model.backend3d = Backend3D.native  # the same weights, and nothing to install
    state = load_checkpoint(run)
    model = build_network(config)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError) as error:
        raise InputError(f"the checkpoint in {run} does not fit its {CONFIG}: {first_line(error)}") from None
    model.eval()
    image = torch.zeros(1, 3, *config.size)
    encoder: Any = model.backbone.encoder
    forward = partial(model.backbone if isinstance(model, TwoBranch) else encoder.forward_features, image)
    norms = _read_norms(run)
    try:
        restore_norms(model.backbone, norms, forward)
    except KeyError as error:
        raise InputError(
            f"{run / NORMS} is of another network, it lacks {error}; delete it, the run's own command writes it again"
        ) from None
    return config, model


def trained_model(run: Path) -> tuple[Config, TwoBranch]:
    """As ``trained_network``, for those who need dense features.

    Raises:
        InputError: The run trained an encoder alone.
    """
    config, model = trained_network(run)
    if not isinstance(model, TwoBranch):
        raise InputError(
            f"{run} was trained with loss.method={config.loss.method}: it holds an encoder, no dense model"
        )
    return config, model


def _read_norms(run: Path) -> dict[str, float]:
    try:
        return {name: float(norm) for name, norm in json.loads((run / NORMS).read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(f"{run / NORMS} is missing or broken; the run's own command writes it again") from None


def git_state(file: Path) -> str | None:
    """The commit that a source file stands at, and whether what is tracked there differs; None outside a repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=file.parent, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file.name) is None:  # installed, if within some other repository
        return None
    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}, with changes that are not committed" if changes else commit
