"""The table of weights: what can be had, where it lies, how it was made, under which terms.

To add a weight, add a row; `pri3d-train publish` prints it. A tag is never re-used for other bytes. The first row of a
model that has a location is the one that its name without a tag stands for.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

BUNDLED = "bundled"
"""The location of weights that travel with the package, in `pri3d_zoo/bundled/<model>.<tag>/`."""
BUNDLED_FOLDER = Path(__file__).parent / "bundled"

# what a weight folder holds, and a Hub repository of timm's likewise
WEIGHT_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit. The message names the model, the reason and the way out."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One weight file and what is known about it.

    Raises:
        ValueError: the location is not pinned, the hash is none, or only some of location, hash and size are given.
    """

    model: str
    """Name of the model that it is for, e.g. `resnet50_pri3d_joint`."""
    tag: str
    """What it was trained on, e.g. `scannet`; `<model>.<tag>` names these bytes and no others."""
    location: str | None
    """A Hub repository at a commit, `owner/name@<40 hexadecimal digits>`; `bundled`; `None` if it lies nowhere yet."""
    sha256: str | None
    """Of `model.safetensors`, 64 hexadecimal digits; `None` with a location of `None`."""
    size: int | None
    """Of `model.safetensors`, in bytes; `None` with a location of `None`."""
    licence: str
    """Of the weights, as an SPDX identifier or the name of a licence."""
    terms: str
    """Those of the data, which bind whoever uses the weights."""
    data: str
    """The dataset, in words, with the number of scenes and pairs."""
    recipe: str
    """The recipe of `pri3d-train`, with what differs from it."""
    command: str
    """The command that trains it."""
    metrics: Mapping[str, float]
    """Measured results, by benchmark; the first is the headline, which `pri3d-zoo list` shows."""
    protocol: str
    """How the metrics were measured (split, resolution, seeds)."""
    paper: str = "arXiv:2104.11225"
    """The method."""

    def __post_init__(self) -> None:
        given = [self.location is not None, self.sha256 is not None, self.size is not None]
        if any(given) != all(given):
            raise ValueError(f"{self.name}: location, sha256 and size are given together or not at all")
        if self.location not in (None, BUNDLED) and not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", self.location):
            raise ValueError(
                f"{self.name}: the location {self.location!r} is neither '{BUNDLED}' nor owner/name@commit"
            )
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"{self.name}: {self.sha256!r} is not a SHA-256 in hexadecimal")

    @property
    def name(self) -> str:
        """`<model>.<tag>`."""
        return f"{self.model}.{self.tag}"

    @property
    def can_be_had(self) -> bool:
        """Whether the file is on the Hub or in this copy of the package; the network is not asked."""
        if self.location == BUNDLED:
            return (BUNDLED_FOLDER / self.name / WEIGHT_FILE).is_file()
        return self.location is not None


_RENDERED_TERMS = "none but the licence: the rooms are made by this package"
_MINI_ROOMS = "300 furnished rooms rendered by this package, 12,000 frames of 120x160, 67,531 pairs, voxels of 5 cm"
_MINI_PROTOCOL = (
    "linear: least squares on frozen features of stride 16, NYUv2, 795 and 654 images at 120x160, 13 classes, random "
    "weights 0.061; recall: Probe3D's protocol, stride 8, 8 pairs of each of four real scenes (7-Scenes, TUM, SUN3D) "
    "at 120x160, share of matches within 10 pixels of a 160 wide grid, mean of the scenes, random weights 0.464; "
    "fine-tuned: DeepLabV3+ at 96x128, 159 images, 20 epochs, 13 classes, mean of seeds 0 to 2, random weights 0.138; "
    "one training each; CPU"
)

TABLE: tuple[Weights, ...] = (
    Weights(
        model="resnet18_pri3d_view",
        tag="synthrooms_mini",
        location=BUNDLED,
        sha256="3d6740c9f65cbe3502dbcfa9e85ba2c517193da8a60c34b759e9c35f4593693d",
        size=22421088,
        licence="apache-2.0",
        terms=_RENDERED_TERMS,
        data=_MINI_ROOMS,
        recipe="synthrooms_mini_view_resnet18",
        command="pri3d-train pretrain --recipe synthrooms_mini_view_resnet18 run=RUN data.store=STORE",
        metrics={"real_scenes_recall_10": 0.779, "nyuv2_13_miou": 0.156, "nyuv2_13_linear_miou": 0.09},
        protocol=_MINI_PROTOCOL,
    ),
    Weights(
        model="resnet18_pri3d_geo",
        tag="synthrooms_mini",
        location=BUNDLED,
        sha256="9e5571652377af5b4f91ee7ac01868f24c065007a9fe8692b92eeaf4c91fff3a",
        size=22421088,
        licence="apache-2.0",
        terms=_RENDERED_TERMS,
        data=_MINI_ROOMS,
        recipe="synthrooms_mini_geo_resnet18",
        command="pri3d-train pretrain --recipe synthrooms_mini_geo_resnet18 run=RUN data.store=STORE",
        metrics={"real_scenes_recall_10": 0.687, "nyuv2_13_miou": 0.154, "nyuv2_13_linear_miou": 0.089},
        protocol=_MINI_PROTOCOL,
    ),
    Weights(
        model="resnet18_pri3d_joint",
        tag="synthrooms_mini",
        location=BUNDLED,
        sha256="398e1bdf8fa3c1c66935163561a954cda67ce6dd706d0691ba4ec1a7ea621058",
        size=22421088,
        licence="apache-2.0",
        terms=_RENDERED_TERMS,
        data=_MINI_ROOMS,
        recipe="synthrooms_mini_joint_resnet18",
        command="pri3d-train pretrain --recipe synthrooms_mini_joint_resnet18 run=RUN data.store=STORE",
        metrics={"real_scenes_recall_10": 0.775, "nyuv2_13_miou": 0.157, "nyuv2_13_linear_miou": 0.093},
        protocol=_MINI_PROTOCOL,
    ),
)


def find_row(model: str, tag: str | None = None) -> Weights | None:
    """The row of a model with this tag, or its first with a location if no tag is asked for; `None` without any."""
    rows = [row for row in TABLE if row.model == model and tag in (None, row.tag)]
    return next((row for row in rows if row.location is not None), rows[0] if rows else None)


def get_weights(name: str) -> Weights:
    """The row of the table for `model` or `model.tag`; its location says whether and where the file can be had.

    Raises:
        WeightsError: the table has no such row.
    """
    model, _, tag = name.partition(".")
    row = find_row(model, tag or None)
    if row is None:
        others = [other.name for other in TABLE if other.model == model]
        others = others or close_names(name) or [other.name for other in TABLE]
        raise WeightsError(
            f"no weights are published as {name}; "
            + (f"there are {', '.join(others)}" if others else "none are published at all yet")
            + "; weights of your own load with create_model(..., checkpoint_path=FOLDER)"
        )
    return row


def close_names(name: str) -> list[str]:
    """The names of rows that `name` may be a slip of the pen for, the closest first."""
    return difflib.get_close_matches(name, [row.name for row in TABLE], n=3, cutoff=0.8)


def list_pretrained(pattern: str = "*") -> list[str]:
    """The weights that can be had, as sorted `model.tag`; the shell pattern is for the model, or for model and tag."""
    return sorted(
        row.name
        for row in TABLE
        if row.can_be_had and (fnmatchcase(row.name, pattern) or fnmatchcase(row.model, pattern))
    )
