"""A Dask cluster on loopback: the store that it writes, and what is said where there is none."""

import builtins
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pri3d_zoo.training.data.parallel import map_scenes
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms
from pri3d_zoo.training.errors import InputError

LOOPBACK = "--host=127.0.0.1"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with two workers, each a process of its own on ports that the system chooses."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dask[distributed]'")
    dask = (sys.executable, "-m", "dask")
    processes = []
    log = tmp_path / "scheduler.log"

    def start(*command: str) -> None:
        with log.open("a") as output:
            processes.append(subprocess.Popen((*dask, *command), stdout=output, stderr=output, cwd=tmp_path))

    try:
        start("scheduler", LOOPBACK, "--port=0", "--dashboard-address=127.0.0.1:0", "--no-show")
        until = time.monotonic() + 60
        while not (found := re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text())):
            assert processes[0].poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        for number in range(2):
            folder = f"--local-directory={tmp_path / f'worker{number}'}"
            start("worker", found[1], LOOPBACK, "--nthreads=2", "--no-dashboard", "--no-nanny", folder)
        yield found[1]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SynthRooms(range(4), frames=4, size=(48, 64))
    arguments = {"size": (48, 64), "voxel_size": 0.05, "arguments": {"source": "synthrooms"}}
    prepare(source, tmp_path / "one", workers=1, **arguments)
    monkeypatch.chdir(tmp_path)  # a relative store, where the workers have other folders to work in
    report = prepare(source, Path("cluster"), workers=1, dask=cluster, **arguments)
    assert (report.prepared, report.failed) == (4, {})
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "cluster"))
    assert one == other
    assert prepare(source, tmp_path / "cluster", workers=1, dask=cluster, **arguments).untouched == 4


def test_no_cluster_is_one_sentence() -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dask[distributed]'")
    with pytest.raises(InputError, match=r"no Dask cluster.*nonsense://.*dask scheduler"):
        list(map_scenes(str, ["a"], workers=1, title="", dask="nonsense://127.0.0.1:1"))


def test_without_dask_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "distributed":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=re.escape('pip install "dask[distributed]"')):
        list(map_scenes(str, ["a"], workers=1, title="", dask="tcp://127.0.0.1:1"))
