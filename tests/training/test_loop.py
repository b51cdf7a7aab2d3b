"""The loop with a task of its own, to show that it knows nothing of pre-training."""

import os
import re
import signal
import time
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pri3d_zoo.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.loop import LoopSettings, train
from pri3d_zoo.training.metrics import METRICS, read_metrics

STEPS, ACCUMULATE = 7, 2


@dataclass
class Batch:
    x: torch.Tensor

    def to(self, device):
        return Batch(self.x.to(device))


def batches_from(start, accumulate=ACCUMULATE):
    for number in range(start * accumulate, STEPS * accumulate):
        yield Batch(torch.randn(4, 3, generator=torch.Generator().manual_seed(number)))


def noisy_regression(model, batch):
    """Uses the global random state, as dropout or the drawing of matches do."""
    error = model(batch.x + 0.1 * torch.randn_like(batch.x)) - batch.x.sum(1, keepdim=True)
    return {"squared": error.square().mean(), "size": 0.01 * model.weight.square().sum()}, {"rows": torch.tensor(4.0)}


def start(
    run,
    task=noisy_regression,
    batches=batches_from,
    accumulate=ACCUMULATE,
    checkpoint_every=3,
    lr=0.05,
    model=None,
    **more,
):
    torch.manual_seed(5)
    model = nn.Linear(3, 1) if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, fused=True)
    settings = LoopSettings(STEPS, accumulate, 0, 1, checkpoint_every, lambda step: lr * (1 - step / STEPS), **more)
    finished = train(Accelerator(cpu=True), model, optimizer, task, batches, run, settings)
    return finished, model


class Killed(BaseException):
    pass


@pytest.mark.parametrize("last", [1, 3, 4, 6])
def test_killed_and_continued_is_the_same_bit_for_bit(tmp_path, last):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, straight = start(tmp_path / "a")

    def dying(first):
        for number, batch in enumerate(batches_from(first)):
            if first * ACCUMULATE + number == last * ACCUMULATE + 1:  # in the middle of a step
                raise Killed
            yield batch

    with pytest.raises(Killed):
        start(tmp_path / "b", batches=dying)
    finished, continued = start(tmp_path / "b")
    assert finished
    assert torch.equal(straight.weight, continued.weight)
    a, b = load_checkpoint(tmp_path / "a"), load_checkpoint(tmp_path / "b")
    assert torch.equal(a["model"]["weight"], b["model"]["weight"])
    assert torch.equal(a["optimizer"]["state"][0]["momentum_buffer"], b["optimizer"]["state"][0]["momentum_buffer"])
    assert a["step"] == b["step"] == STEPS
    timings = ("seconds", "waiting")
    rows = [[{k: v for k, v in row.items() if k not in timings} for row in read_metrics(tmp_path / f)] for f in "ab"]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == list(range(1, STEPS + 1))


def test_accumulation_is_the_mean_of_its_parts(tmp_path):
    def mean_square(model, batch):
        return {"squared": (model(batch.x) - 1).square().mean()}, {}

    def joined(first):
        for step in range(first, STEPS):
            parts = [torch.randn(4, 3, generator=torch.Generator().manual_seed(2 * step + i)) for i in range(2)]
            yield Batch(torch.cat(parts))

    for name in "ab":
        (tmp_path / name).mkdir()
    _, two_parts = start(tmp_path / "a", mean_square)
    _, one_part = start(tmp_path / "b", mean_square, joined, accumulate=1)
    torch.testing.assert_close(two_parts.weight, one_part.weight)


def test_first_step_by_hand(tmp_path):
    # one step of SGD from w: w - lr * d/dw mean((w.x + b - 1)^2)
    def mean_square(model, batch):
        return {"squared": (model(batch.x) - 1).square().mean()}, {}

    _, _ = start(tmp_path, mean_square, accumulate=1, batches=lambda first: batches_from(first, 1), checkpoint_every=1)
    torch.manual_seed(5)
    model = nn.Linear(3, 1)
    x = next(batches_from(0)).x
    residual = (x @ model.weight.T + model.bias - 1).detach()
    expected = residual.square().mean().item()
    assert read_metrics(tmp_path)[0]["loss"] == pytest.approx(expected, rel=1e-6)
    assert read_metrics(tmp_path)[0]["lr"] == pytest.approx(0.05)
    assert read_metrics(tmp_path)[-1]["lr"] == pytest.approx(0.05 / STEPS)


def test_signal_saves_and_stops(tmp_path):
    def interrupted(first):
        for number, batch in enumerate(batches_from(first)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    finished, _ = start(tmp_path, batches=interrupted, checkpoint_every=100)
    assert not finished
    assert load_checkpoint(tmp_path)["step"] == 2
    finished, _ = start(tmp_path)
    assert finished
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_loss_that_is_not_finite(tmp_path):
    def broken(model, batch):
        return {"bad": model(batch.x).sum() * float("nan")}, {}

    with pytest.raises(InputError, match=r"not finite at or before step 1; .*lower optimizer\.lr"):
        start(tmp_path, broken)
    assert not (tmp_path / CHECKPOINT).exists()


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(3), nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(self.norm(x))


@pytest.mark.parametrize("broken", [(0,), (3,), (0, 1, 4)])
@pytest.mark.parametrize("where", ["loss", "gradient", "statistics"])
def test_a_step_that_is_not_finite_is_skipped_as_if_it_had_not_been(tmp_path, broken, where):
    def batches(spoiled):
        def from_step(first):
            steps = [n for n in range(STEPS) if spoiled or n not in broken]
            for number in steps[first:]:
                batch = next(iter(batches_from(number, 1)))
                yield Batch(batch.x * float("inf") if number in broken and where == "statistics" else batch.x)

        return from_step

    def task(model, batch):
        task.calls += 1
        loss = (model(batch.x) - 1).square().mean()
        if spoiled and task.calls - 1 in broken:
            # sqrt has an infinite slope at 0, where it is finite itself
            loss = loss * float("nan") if where == "loss" else loss + (loss - loss.detach()).sqrt()
        return {"squared": loss}, {}

    states = []
    for spoiled in (True, False):
        task.calls = 0
        run = tmp_path / str(spoiled)
        run.mkdir()
        torch.manual_seed(1)
        model = Normed()
        settings = {"accumulate": 1, "lr": 0.05, "skip_nonfinite": True, "model": model}
        if spoiled:
            start(run, task, batches(True), **settings)
        else:  # only the steps that count, with the learning rates that they had
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            for number in [n for n in range(STEPS) if n not in broken]:
                optimizer.param_groups[0]["lr"] = 0.05 * (1 - number / STEPS)
                task(model, next(iter(batches_from(number, 1))))[0]["squared"].backward()
                optimizer.step()
                optimizer.zero_grad()
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], msg=name)
    rows = read_metrics(tmp_path / "True")
    assert rows[-1]["skipped"] == len(broken)
    assert rows[broken[-1]]["skipped"] == len(broken)


def test_every_step_calls_before_step(tmp_path):
    seen = []
    start(tmp_path, before_step=lambda model, step: seen.append((type(model), step)))
    assert seen == [(nn.Linear, step) for step in range(STEPS)]


def test_the_last_checkpoints_are_kept(tmp_path):
    start(tmp_path, checkpoint_every=2, keep_checkpoints=3)
    steps = {path.name: torch.load(path)["step"] for path in tmp_path.glob("*.pt")}
    assert steps == {"checkpoint.pt": 7, "checkpoint.1.pt": 6, "checkpoint.2.pt": 4}
    save_checkpoint(tmp_path, {"step": 8}, keep=2)
    assert sorted(path.name for path in tmp_path.glob("*.pt*")) == ["checkpoint.1.pt", "checkpoint.pt"]


@pytest.mark.parametrize("harm", ["missing", "broken"])
def test_a_run_goes_on_from_the_checkpoint_before(tmp_path, harm, caplog):
    (tmp_path / "a").mkdir()
    _, straight = start(tmp_path / "a")
    run = tmp_path / "b"
    run.mkdir()
    start(run, checkpoint_every=2, keep_checkpoints=2)
    if harm == "missing":  # killed between two renames
        (run / CHECKPOINT).unlink()
    else:
        (run / CHECKPOINT).write_bytes((run / CHECKPOINT).read_bytes()[:500])
    assert load_checkpoint(run)["step"] == 6
    assert ("checkpoint.1.pt is taken instead" in caplog.text) == (harm == "broken")
    finished, continued = start(run, checkpoint_every=2, keep_checkpoints=2)
    assert finished
    assert torch.equal(straight.weight, continued.weight)
    assert [row["step"] for row in read_metrics(run)] == list(range(1, STEPS + 1))


def test_waiting_for_data_is_measured(tmp_path, caplog):
    def slow(first):
        for batch in batches_from(first):
            time.sleep(0.02)
            yield batch

    caplog.set_level("INFO", logger="pri3d_zoo")
    start(tmp_path, batches=slow)
    rows = read_metrics(tmp_path)
    # a sleep takes no less than that, however busy the machine is; the clock in the rows is rounded
    spent = [later["seconds"] - row["seconds"] for row, later in pairwise(rows)]
    waited = sum(row["waiting"] * seconds for row, seconds in zip(rows[1:], spent, strict=True))
    steps = rows[-1]["step"] - rows[0]["step"]
    assert 0.7 * 0.02 * steps < waited < sum(spent)
    assert re.search(r"7 steps, \d\.\d+ s each; the device waited for data \d\d\.\d % of the time", caplog.text)


def test_checkpoint_of_another_network(tmp_path):
    save_checkpoint(tmp_path, {"step": 1, "model": nn.Linear(4, 1).state_dict(), "optimizer": {}})
    with pytest.raises(InputError, match="does not fit this network"):
        start(tmp_path)


def test_checkpoint_that_is_broken_or_hostile(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(tmp_path)
    torch.save({"step": 1, "model": nn.Linear(3, 1)}, tmp_path / CHECKPOINT)  # an object: reading it would run code
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(tmp_path)
    whole = tmp_path / "whole"
    whole.mkdir()
    save_checkpoint(whole, {"step": 1, "model": {"weight": torch.zeros(1000)}})
    data = (whole / CHECKPOINT).read_bytes()
    (whole / CHECKPOINT).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(whole)
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_checkpoint(tmp_path / "nowhere")


def test_metrics_row_cut_short_is_left_out(tmp_path):
    (tmp_path / METRICS).write_text("step,loss,seconds\n1,0.5,0.1\n2,0.4\n")
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5, "seconds": 0.1}]
