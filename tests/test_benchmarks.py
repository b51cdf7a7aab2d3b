"""The benchmark of a step, at toy size: that it runs, and prints what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_step(tiny_store):
    toy = ["--size", "48", "64", "--unet3d", "minkunet14s", "--batch", "1", "--steps", "1"]
    for store in ([str(tiny_store)], []):
        done = subprocess.run([sys.executable, BENCHMARKS / "step.py", *store, *toy], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert re.search(r"1 pairs, \d+ voxels: networks [\d.]+ s, step [\d.]+ times that", done.stdout)
        assert re.search(r"matches and losses \d+ ms; sample by sample [\d.]+ times that", done.stdout)
