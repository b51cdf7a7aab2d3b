"""What the engine promises: several processes compute what one does, kills cost nothing, memory does not grow.

Runs happen in a fresh process of this file, which forks the processes that train: they start at once.
"""

import ctypes
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pri3d_zoo.training import loop
from pri3d_zoo.training import pretrain as pretrain_module
from pri3d_zoo.training.checkpoint import CHECKPOINT, has_checkpoint, load_checkpoint
from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.metrics import read_metrics
from pri3d_zoo.training.run_folder import git_state, run_environment

KILLS, STEPS = 30, 60


def settings(run, store, *more):
    base = [
        "data.workers=0",
        "size=[48,64]",
        "log_every=1",
        "loss.matches=64",
        "precision=float32",
        "data.augment=true",
        "model.encoder=test_resnet",
    ]
    return load_config("demo", [f"run={run}", f"data.store={store}", *base, *more])


def fork(function, *arguments, environment=None):
    """The id of a process that calls the function and exits with 0 if it returns."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ.update(environment or {})
        function(*arguments)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def done(*children):
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)


def freeze_batch_norms(config, make=pretrain_module.initial_model):
    model = make(config)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train = lambda mode=True, module=module: torch.nn.Module.train(module, False)
    return model


def train_frozen(config):
    pretrain_module.initial_model = freeze_batch_norms
    pretrain_module.pretrain(config)


def start_two(function, config, port):
    def environment(rank):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        return {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}

    return [fork(function, config, environment=environment(rank)) for rank in range(2)]


def two_processes(function, config, port):
    done(*start_two(function, config, port))


def run_processes(root, store, port):
    port = int(port)
    steps = ["batch_size=4", "steps=4", "checkpoint_every=4"]
    done(fork(train_frozen, settings(root / "frozen_one", store, *steps)))
    two_processes(train_frozen, settings(root / "frozen_two", store, *steps), port)
    done(fork(train_frozen, settings(root / "frozen_parts", store, *steps, "accumulate=2")))
    done(fork(pretrain_module.pretrain, settings(root / "parts", store, *steps, "accumulate=2")))
    two_processes(pretrain_module.pretrain, settings(root / "two", store, *steps), port + 1)
    endless = ["batch_size=4", "steps=10_000", "log_every=2", "checkpoint_every=10_000", "loss.method=view"]
    children = start_two(pretrain_module.pretrain, settings(root / "stopped", store, *endless), port + 2)
    while not (root / "stopped" / "metrics.csv").exists() or not read_metrics(root / "stopped"):
        time.sleep(0.1)
    os.kill(children[1], signal.SIGTERM)  # as one machine of several might get it
    done(*children)


def run_killed(root, store, seed):
    """Kill a run at random moments, from its start to some steps on, then let it finish."""
    import torch.utils.tensorboard  # noqa: F401  # else each process would spend its life on this

    more = [f"steps={STEPS}", "batch_size=2", "checkpoint_every=1"]
    begin = time.perf_counter()
    straight = fork(pretrain_module.pretrain, settings(root / "straight", store, *more))
    while not (root / "straight" / CHECKPOINT).exists():
        time.sleep(0.01)
    first = time.perf_counter() - begin
    done(straight)
    step = (time.perf_counter() - begin - first) / STEPS
    chance = random.Random(seed)
    saving, steps = 0, []
    for kill in range(KILLS):
        (root / "killed" / f"{CHECKPOINT}.tmp").unlink(missing_ok=True)
        child = fork(pretrain_module.pretrain, settings(root / "killed", store, *more, f"data.workers={kill % 3}"))
        time.sleep(chance.uniform(0.3 * first, first + 3 * step))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "it had finished"
        saving += (root / "killed" / f"{CHECKPOINT}.tmp").exists()
        steps.append(load_checkpoint(root / "killed")["step"] if has_checkpoint(root / "killed") else 0)
    done(fork(pretrain_module.pretrain, settings(root / "killed", store, *more)))
    (root / "kills.json").write_text(json.dumps({"saving": saving, "steps": steps}))


def run_long(root, store, method, short, long):
    """Memory and live tensors of a run after so many steps."""
    short, long = int(short), int(long)
    found = []

    def before_step(make):
        def watched(config):
            inner = make(config)

            def call(model, step):
                inner(model, step)
                if step in (short, long - 1):
                    gc.collect()
                    ctypes.CDLL(None).malloc_trim(0)  # what is freed but kept by the C library comes and goes
                    tensors = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
                    found.append((psutil.Process().memory_info().rss / 2**20, tensors))

            return call

        return watched

    pretrain_module._before_step = before_step(pretrain_module._before_step)
    loop._progress = lambda shown, progress=loop._progress: progress(False)
    more = [f"steps={long}", f"loss.method={method}", "batch_size=1", "checkpoint_every=5000", "log_every=10"]
    more += ["size=[32,32]", "loss.matches=32", "data.workers=1"]
    pretrain_module.pretrain(settings(root / "long", store, *more))
    (root / "memory.json").write_text(json.dumps(found))


def apart(function, root, store, *arguments):
    command = [sys.executable, __file__, function.__name__, str(root), str(store), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (root / f"{function.__name__}.log").open("w+") as log:  # not a pipe, which an orphan would hold open
        result = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=600, env=environment)
        log.seek(0)
        assert result.returncode == 0, log.read()[-6000:]


def assert_same_training(a, b, statistics=True):
    """Losses and weights to 1e-5, running statistics too if they are to be the same."""
    for one, other in zip(read_metrics(a), read_metrics(b), strict=True):
        for name in ("loss", "view", "geo", "view_matches", "geo_matches", "gradient"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name
    states = [load_checkpoint(run) for run in (a, b)]
    for name, value in states[0]["model"].items():
        if statistics or not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(value, states[1]["model"][name], rtol=1e-5, atol=1e-5, msg=name)
    moments = [state["optimizer"]["state"] for state in states]
    for index, moment in moments[0].items():
        scale = moment["momentum_buffer"].abs().max().item()
        torch.testing.assert_close(
            moment["momentum_buffer"], moments[1][index]["momentum_buffer"], rtol=1e-4, atol=1e-5 * max(scale, 1)
        )


@pytest.fixture(scope="module")
def process_runs(tmp_path_factory, tiny_store):
    root = tmp_path_factory.mktemp("processes")
    apart(run_processes, root, tiny_store, str(20_000 + os.getpid() % 20_000))
    print("\nstep  1 process  2 processes  (batch norms frozen)   1 process in 2 parts  2 processes  (in training)")
    names = ("frozen_one", "frozen_two", "parts", "two")
    for rows in zip(*(read_metrics(root / name) for name in names), strict=True):
        print(rows[0]["step"], *(f"{row['loss']:.6f}" for row in rows), sep="      ")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("other", ["frozen_two", "frozen_parts"])
def test_two_processes_or_parts_are_one_where_batch_norms_are_frozen(process_runs, other):
    assert_same_training(process_runs / "frozen_one", process_runs / other)


@pytest.mark.slow
def test_two_processes_are_two_parts_of_one(process_runs):
    """Each process, as each part, has batch statistics of its own; the running ones are the first process's."""
    assert_same_training(process_runs / "parts", process_runs / "two", statistics=False)
    assert run_environment(process_runs / "two")["processes"] == "2"


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(process_runs):
    step = load_checkpoint(process_runs / "stopped")["step"]
    assert step % 2 == 0
    assert step == read_metrics(process_runs / "stopped")[-1]["step"] < 10_000


@pytest.mark.slow
def test_kills_leave_no_trace(tmp_path, tiny_store):
    apart(run_killed, tmp_path, tiny_store, "seed 7")
    kills = json.loads((tmp_path / "kills.json").read_text())
    print(f"\n{KILLS} kills, {kills['saving']} of them while saving, at steps {kills['steps']}")
    assert len(set(kills["steps"])) > 3  # on a busy machine most fall into the first steps
    straight, killed = (load_checkpoint(tmp_path / name) for name in ("straight", "killed"))
    assert straight["step"] == killed["step"] == STEPS
    assert all(torch.equal(value, killed["model"][name]) for name, value in straight["model"].items())
    for index, moment in straight["optimizer"]["state"].items():
        assert torch.equal(moment["momentum_buffer"], killed["optimizer"]["state"][index]["momentum_buffer"])
    rows = [[(row["step"], row["loss"]) for row in read_metrics(tmp_path / name)] for name in ("straight", "killed")]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "short", "long"), [("view", 200, 2000), ("joint", 50, 300)])
def test_memory_is_flat(tmp_path, tiny_store, method, short, long):
    apart(run_long, tmp_path, tiny_store, method, short, long)
    (early, tensors), (late, tensors_late) = json.loads((tmp_path / "memory.json").read_text())
    more = tensors_late - tensors
    print(f"\n{method}, after {short} and {long} steps: {early:.1f} and {late:.1f} MiB, {more} tensors more")
    assert more <= 0
    # the allocator's own unrest is up to 4 MiB; what leaks more than 4.5 kB a step would show
    assert late - early < 8


def test_git_state(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / "module.py"
    file.write_text("a = 1\n")
    assert git_state(file) is None
    git("init")
    assert git_state(file) is None  # in a repository, but not of it: installed
    git("add", "module.py")
    git("commit", "-m", "first")
    commit = git_state(file)
    assert commit is not None
    assert len(commit) == 40
    file.write_text("a = 2\n")
    assert git_state(file) == f"{commit}, with changes that are not committed"


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
