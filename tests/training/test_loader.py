"""Loader processes: they outlive the signals that a whole group of processes gets, and not the training."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.metrics import METRICS, read_metrics


def begun(run, settings):
    """A training in a group of processes of its own, with its second step done."""
    command = [sys.executable, "-m", "pri3d_zoo.training", "pretrain", f"run={run}", *settings]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (run / METRICS).exists() and len(read_metrics(run)) >= 2:
            return process
        time.sleep(0.01)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_saves_the_run(tiny_settings, tmp_path, number):
    settings = [*tiny_settings, "data.workers=2", "steps=2000", "checkpoint_every=2000"]
    process = begun(tmp_path, settings)
    os.killpg(process.pid, number)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert load_checkpoint(tmp_path)["step"] >= 2


@pytest.mark.slow
def test_workers_end_with_a_killed_training(tiny_settings, tmp_path):
    process = begun(tmp_path, [*tiny_settings, "data.workers=2", "steps=2000"])
    workers = [
        child for child in psutil.Process(process.pid).children() if "resource_tracker" not in str(child.cmdline())
    ]
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=20)[1] == []  # those alive
