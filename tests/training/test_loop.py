"""The loop with a task of its own, to show that it knows nothing of pre-training."""

import os
import signal
from dataclasses import dataclass

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pri3d_zoo.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.loop import METRICS, LoopSettings, read_metrics, train

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


def start(run, task=noisy_regression, batches=batches_from, accumulate=ACCUMULATE, checkpoint_every=3, lr=0.05):
    torch.manual_seed(5)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    settings = LoopSettings(STEPS, accumulate, 0, 1, checkpoint_every, lambda step: lr * (1 - step / STEPS))
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
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(tmp_path / f)] for f in "ab"]
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

    with pytest.raises(InputError, match=r"not finite at or before step 1; .*lower than 0\.05"):
        start(tmp_path, broken)
    assert not (tmp_path / CHECKPOINT).exists()


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
