"""What a run writes down of its steps: scalars as CSV and for TensorBoard, and how long it waited for data."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import torch

from pri3d_zoo.files import write_whole

METRICS = "metrics.csv"


class MetricsLog:
    """Scalars of a run, as CSV and for TensorBoard. Rows that a killed run wrote after its checkpoint are dropped."""

    def __init__(self, run: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and needed by the main process alone

        self.path = run / METRICS
        self.rows = [row for row in read_metrics(run) if row["step"] <= start] if self.path.is_file() else []
        self._rewrite()
        self.columns = list(self.rows[0]) if self.rows else []
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)
        self.begun = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0.0)
        del self.rows[:]  # what is in the file need not fill the memory as well

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append a row; columns are fixed by the first one."""
        row = {"step": step, **figures, "seconds": round(time.perf_counter() - self.begun, 2)}
        if not self.columns:
            self.columns, self.rows = list(row), [row]
            self._rewrite()
            del self.rows[:]
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what TensorBoard holds back."""
        self.board.close()

    def _rewrite(self) -> None:
        text = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        write_whole(self.path, text.getvalue())


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``metrics.csv``: numbers by column name, ``step`` an int. A row cut short is left out."""
    with (run / METRICS).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row.values())]
    return [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]


class DataClock:
    """How long the device stood still until a step's data was there, copied to it.

    On a GPU, whose work the host only queues, that is the time between two events in its queue: the last work before
    the data and the data's arrival. They are looked at where the host has waited for the device anyway.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.waited = self.passed = 0.0  # seconds, of the whole run
        self._spans: list[tuple[Any, Any]] = []
        self._read = time.perf_counter()

    def __enter__(self) -> None:
        self._begun = self._now()

    def __exit__(self, *_: object) -> None:
        self._spans.append((self._begun, self._now()))

    def read(self) -> float:
        """Share of the time since the last call; the device must have finished its work."""
        waited = sum(a.elapsed_time(b) / 1000 if self.on_gpu else b - a for a, b in self._spans)
        now = time.perf_counter()
        passed = now - self._read
        self._spans, self._read = [], now
        self.waited, self.passed = self.waited + waited, self.passed + passed
        return waited / passed

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
