"""The results of a study, a line of JSON for each finished run, and the table that they make."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from ..errors import InputError
from ..files import write_whole

# what tells the columns of a table apart; the rest of a line that is no figure tells its rows apart
SHARE, SEED, FIGURES = "fraction", "seed", "figures"
DETAILS = ("run", "hardware", "software", "best_step", "class_iou", "seconds")


def append_result(path: Path, result: dict[str, Any]) -> None:
    """Add a line, whole or not at all, instead of one of the same run if there is one.

    Args:
        path: The study's file; made if need be.
        result: With the keys ``run``, ``seed``, ``fraction`` and ``figures`` (names and numbers), and what else tells
            runs apart.
    """
    lines = [line for line in read_results(path) if line["run"] != result["run"]] if path.exists() else []
    write_whole(path, "".join(json.dumps(line) + "\n" for line in [*lines, result]))


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines.

    Raises:
        InputError: The file is missing, or a line is no result.
    """
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as results ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or not {"run", SEED, SHARE, FIGURES} <= set(line):
            raise InputError(f"{path}: line {number} is no result; it lacks run, seed, fraction or figures")
    return lines


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
