"""The best of a run's evaluations, whoever kills it in between."""

import json

from torch import nn

from pri3d_zoo.training.checkpoint import load_checkpoint
from pri3d_zoo.training.evaluate.best import BEST, EVALUATIONS, Best


def test_the_best_of_several_evaluations(tmp_path):
    network = nn.Linear(1, 1)
    found = iter([0.1, 0.3, 0.2, 0.25])

    def measure(_):
        return {"score": next(found), "classes": [1, 2]}

    best = Best(tmp_path, measure, "score", writes=True)
    best.evaluate(network, 10)
    network.weight.data.fill_(7)
    best.evaluate(network, 20)
    again = Best(tmp_path, measure, "score", writes=True)  # the run was killed, and goes on from step 15
    network.weight.data.fill_(8)
    again.evaluate(network, 20)
    again.evaluate(network, 30)
    assert (again.figures["score"], again.step) == (0.3, 20)
    state = load_checkpoint(tmp_path / BEST)
    assert (state["step"], state["model"]["weight"].item()) == (20, 7)
    rows = [json.loads(line) for line in (tmp_path / EVALUATIONS).read_text().splitlines()]
    assert [(row["step"], row["score"]) for row in rows] == [(10, 0.1), (20, 0.2), (30, 0.25)]


def test_a_process_that_does_not_write_knows_the_best_too(tmp_path):
    found = iter([0.2, 0.1])
    best = Best(tmp_path, lambda _: {"score": next(found)}, "score", writes=False)
    for step in (1, 2):
        best.evaluate(nn.Linear(1, 1), step)
    assert (best.figures, best.step) == ({"score": 0.2}, 1)
    assert not list(tmp_path.iterdir())
