"""Lines of results, and tables with means and spreads by hand."""

import io
import multiprocessing
import os

import pytest
from rich.console import Console

from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.results import append_result, read_results, study_table


def result(run, init, share, seed, miou):
    settings = {"network": "resunet", "init": init, "hardware": f"machine {run}", "class_iou": [miou]}
    return {"run": run, "fraction": share, "seed": seed, "figures": {"miou": miou}} | settings


def shown(table):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return [line for line in console.export_text().splitlines() if line.strip()]


def test_a_table_by_hand(tmp_path):
    path = tmp_path / "study" / "results.jsonl"
    for number, (init, share, miou) in enumerate(
        [
            ("scratch", 0.2, 0.10),
            ("scratch", 0.2, 0.12),
            ("scratch", 0.2, 0.17),
            ("joint", 0.2, 0.2),
            ("joint", 1.0, 0.5),
        ]
    ):
        append_result(path, result(f"r{number}", init, share, number, miou))
    lines = shown(study_table(read_results(path), "miou"))
    assert "miou in %; network resunet" in lines[0]
    assert "20% of the images" in lines[2]
    assert "100% of the images" in lines[2]
    rows = {line.split("│")[1].strip(): line for line in lines if line.startswith("│")}
    assert "13.0 ±3.6 (3)" in rows["scratch"]  # the mean of 10, 12, 17 and their deviation, the square root of 13
    assert rows["scratch"].split("│")[3].strip() == "-"
    assert "20.0 (1)" in rows["joint"]
    assert "50.0 (1)" in rows["joint"]


def test_a_run_done_again_replaces_its_line(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, result("a", "scratch", 1.0, 0, 0.1))
    append_result(path, result("b", "scratch", 1.0, 1, 0.2))
    append_result(path, result("a", "scratch", 1.0, 0, 0.3))
    assert [(line["run"], line["figures"]["miou"]) for line in read_results(path)] == [("b", 0.2), ("a", 0.3)]
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]


def add_many(path, name, start):
    start.wait()
    for number in range(50):
        append_result(path, result(f"{name}{number}", "scratch", 1.0, number, 0.5))


def test_runs_that_finish_together_lose_nothing(tmp_path):
    path = tmp_path / "study" / "results.jsonl"
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    processes = [context.Process(target=add_many, args=(path, name, start)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert {line["run"] for line in read_results(path)} == {f"{name}{number}" for name in "ab" for number in range(50)}
    assert [file.name for file in path.parent.iterdir()] == ["results.jsonl"]


def test_a_line_cut_short_harms_no_other(tmp_path, caplog):
    path = tmp_path / "results.jsonl"
    for name in "ab":
        append_result(path, result(name, "scratch", 1.0, 0, 0.1))
    os.truncate(path, path.stat().st_size - 9)
    assert [line["run"] for line in read_results(path)] == ["a"]
    assert "left out what is not whole, line 2" in caplog.text
    append_result(path, result("c", "scratch", 1.0, 0, 0.1))
    assert [line["run"] for line in read_results(path)] == ["a", "c"]


def test_what_is_no_result(tmp_path):
    path = tmp_path / "results.jsonl"
    with pytest.raises(InputError, match=r"results.jsonl cannot be read as results"):
        read_results(path)
    path.write_text('{"run": 1}\n')
    with pytest.raises(InputError, match="line 1 is no result"):
        read_results(path)
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_results(path)
    with pytest.raises(InputError, match="no result has the figure 'ap'; there are miou"):
        study_table([result("a", "x", 1.0, 0, 0.1)], "ap")
