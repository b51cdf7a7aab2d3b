"""The table of published weights: what can be had, where it lies, how it was made.

A row is added here only after its file is in its place; a tag is never re-used for other bytes.
The first row of a model is the one that its name without a tag stands for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

BUNDLED = "bundled"
"""The location of weights that travel with the package, in `pri3d_zoo/bundled/<model>.<tag>/`."""


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit. The message names the model, the reason and the way out."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published weight file and what is known about it."""

    model: str
    """Name of the model that it is for, e.g. `resnet50_pri3d_joint`."""
    tag: str
    """What it was trained on, e.g. `scannet`; `<model>.<tag>` names these bytes and no others."""
    location: str
    """A Hub repository at a commit, `owner/name@<40 hexadecimal digits>`, or `bundled`."""
    sha256: str
    """Of `model.safetensors`, 64 hexadecimal digits."""
    size: int
    """Of `model.safetensors`, in bytes."""
    licence: str
    """Of the weights, as an SPDX identifier or the name of the data's terms of use."""
    data: str
    """What it was trained on, in words, with the number of scenes and pairs."""
    recipe: str
    """The `pri3d-train` recipe, with its overrides."""
    metrics: Mapping[str, float]
    """Measured results, by benchmark."""
    paper: str = "arXiv:2104.11225"
    """The method."""

    def __post_init__(self) -> None:
        if self.location != BUNDLED and not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", self.location):
            raise ValueError(
                f"{self.name}: the location {self.location!r} is neither '{BUNDLED}' nor owner/name@commit"
            )
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"{self.name}: {self.sha256!r} is not a SHA-256 in hexadecimal")

    @property
    def name(self) -> str:
        """`<model>.<tag>`."""
        return f"{self.model}.{self.tag}"


TABLE: tuple[Weights, ...] = ()


def find_row(model: str, tag: str | None = None) -> Weights | None:
    """The row of a model with this tag, or its first row if no tag is asked for; `None` if there is none."""
    return next((row for row in TABLE if row.model == model and tag in (None, row.tag)), None)


def get_weights(name: str) -> Weights:
    """The row of the table for `model` or `model.tag`.

    Raises:
        WeightsError: nothing is published under this name.
    """
    model, _, tag = name.partition(".")
    row = find_row(model, tag or None)
    if row is None:
        others = [other.name for other in TABLE if other.model == model] or [other.name for other in TABLE]
        raise WeightsError(
            f"no weights are published as {name}; "
            + (f"there are {', '.join(others)}" if others else "none are published at all yet")
            + "; weights of your own load with create_model(..., checkpoint_path=FOLDER)"
        )
    return row


def list_pretrained(pattern: str = "*") -> list[str]:
    """The published weights as sorted `model.tag`; the shell pattern may be for the model or for model and tag."""
    return sorted(row.name for row in TABLE if fnmatchcase(row.name, pattern) or fnmatchcase(row.model, pattern))
