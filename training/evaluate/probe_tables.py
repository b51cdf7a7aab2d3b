"""The probe's figures as tables for people."""

from collections.abc import Sequence

from rich.table import Column, Table

from . import probe3d
from .probe import THRESHOLDS, ProbeResult


def probe3d_table(results: Sequence[ProbeResult]) -> Table:
    """Recall by threshold and by rotation, with the number of pairs of each bin in the heading."""
    found = [(row, row.probe3d) for row in results if row.probe3d is not None]
    first = found[0][1]
    bins = (f"{name} deg@{probe3d.BIN_THRESHOLD} ({first.pairs_by_rotation[name]} pairs)" for name in first.by_rotation)
    heads = (f"recall@{threshold} px" for threshold in probe3d.THRESHOLDS)
    title = f"Probe3D, grid of {first.grid[0]}x{first.grid[1]}"
    table = Table(_name_column(), "map", "cells", "scenes", *heads, *bins, "matches", title=title)
    for row, figures in found:
        shares = [*figures.recall.values(), *figures.by_rotation.values()]
        values = ("-" if share is None else f"{share:.3f}" for share in shares)
        table.add_row(row.name, row.stage, _cells(row), row.scenes, *values, str(figures.matches))
    return table


def covisible_table(results: Sequence[ProbeResult]) -> Table:
    """Recall of pixels that both views see, by threshold."""
    heads = (f"recall@{threshold} px" for threshold in THRESHOLDS)
    found = [(row, row.covisible) for row in results if row.covisible is not None]
    title = f"pixels that both views see, 320 wide, their points within {found[0][1].radius:g} m"
    table = Table(_name_column(), "map", "cells", "scenes", *heads, "pairs", "queries", title=title)
    for row, recall in found:
        shares = (f"{recall.at[threshold]:.3f}" for threshold in THRESHOLDS)
        table.add_row(row.name, row.stage, _cells(row), row.scenes, *shares, str(recall.pairs), str(recall.queries))
    return table


def _cells(row: ProbeResult) -> str:
    """The map's size: that a map stands for stride 8 does not tell that of a transformer."""
    return f"{row.cells[0]}x{row.cells[1]}"


def _name_column() -> Column:
    """Of names that differ at their ends: over several lines rather than cut off."""
    return Column("weights", overflow="fold")
