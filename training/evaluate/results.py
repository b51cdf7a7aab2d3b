"""The results of a study, a line of JSON for each finished run, and the table that they make."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from ..errors import InputError

# what tells the columns of a table apart; the rest of a line that is no figure tells its rows apart
SHARE, SEED, FIGURES = "fraction", "seed", "figures"
DETAILS = ("run", "hardware", "software", "best_step", "class_iou", "seconds")

logger = logging.getLogger(__name__)


def append_result(path: Path, result: dict[str, Any]) -> None:
    """Add a line, whatever other processes add at the same time; it stands for its run from then on.

    Args:
        path: The study's file; made if need be.
        result: With the keys ``run``, ``seed``, ``fraction`` and ``figures`` (names and numbers), and what else tells
            runs apart.

    Raises:
        InputError: The disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        torn = end > 0 and file.read(1) != b"\n"  # a killed writer's line, which this one must not become a part of
        line = b"\n" * torn + json.dumps(result).encode() + b"\n"
        if file.write(line) != len(line):  # one write, which the system puts at the end, wherever that is by now
            raise InputError(f"{path}: the result of {result['run']} was cut short; is the disk full?")
        os.fsync(file.fileno())


def read_results(path: Path) -> list[dict[str, Any]]:
    """The last line of each run, in their order. A line that a killed writer cut short is left out, and named in the
    log.

    Raises:
        InputError: The file is missing, a line is no result, or none is whole.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as results ({error})") from None
    results: dict[str, dict[str, Any]] = {}
    torn = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
        except ValueError:
            torn.append(number)
            continue
        if not isinstance(result, dict) or not {"run", SEED, SHARE, FIGURES} <= set(result):
            raise InputError(f"{path}: line {number} is no result; it lacks run, seed, fraction or figures")
        results.pop(result["run"], None)
        results[result["run"]] = result
    if torn and not results:
        raise InputError(f"{path} cannot be read as results (line {torn[0]} is no JSON)")
    if torn:
        logger.warning("%s: left out what is not whole, line %s", path, ", ".join(map(str, torn)))
    return list(results.values())


def study_table(results: Sequence[dict[str, Any]], figure: str) -> Table:
    """One figure in percent: a row for each setting, a column for each share of the training data; the mean over seeds,
    its spread (standard deviation) and their number.

    Raises:
        InputError: No result has that figure.
    """
    found = [line for line in results if figure in line[FIGURES]]
    if not found:
        known = sorted({name for line in results for name in line[FIGURES]})
        raise InputError(f"no result has the figure {figure!r}; there are {', '.join(known) or 'none'}")
    settings = sorted({key for line in found for key in line} - {SHARE, SEED, FIGURES, *DETAILS})
    # what is the same for all stands above the table
    varying = [key for key in settings if len({str(line.get(key)) for line in found}) > 1]
    common = ", ".join(f"{key} {found[0].get(key)}" for key in settings if key not in varying)
    shares = sorted({line[SHARE] for line in found})
    cells: dict[tuple[str, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in found:
        row = tuple(str(line.get(key)) for key in varying)
        cells[row][line[SHARE]].append(100 * line[FIGURES][figure])
    table = Table(*varying, *(f"{share:.0%} of the images" for share in shares), title=f"{figure} in %; {common}")
    for row, values in cells.items():
        table.add_row(*row, *(_cell(values[share]) for share in shares))
    return table


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f} (1)" if values else "-"
    return f"{mean(values):.1f} ±{stdev(values):.1f} ({len(values)})"
