"""What a folder's `config.json` may say of the images its weights want, and of where they come from.

The rest of a timm configuration (head, first convolution) follows from the model and is not taken from files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .weights import WeightsError

LONGEST_SIDE = 4096
"""Pixels, of the images that a folder's `config.json` may ask for: a stranger's file must not ask for gigabytes."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming", "random")
CROP_MODES = ("center", "squash", "border")


def _are_three(value: Any, kind: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, kind) and fits(part) for part in value)


_Check = tuple[str, Callable[[Any], bool]]  # in words, and as code
_NUMBER = int | float
_SIZE: _Check = (
    f"[3, height, width], of at most {LONGEST_SIDE} pixels",
    lambda value: _are_three(value, int, lambda length: 0 < length <= LONGEST_SIDE) and value[0] == 3,
)
_MEAN: _Check = ("three numbers from 0 to 1", lambda value: _are_three(value, _NUMBER, lambda part: 0 <= part <= 1))
_STD: _Check = (
    "three numbers above 0 and at most 1",
    lambda value: _are_three(value, _NUMBER, lambda part: 0 < part <= 1),
)
_SHARE: _Check = ("a share, from 0.1 to 2", lambda value: isinstance(value, _NUMBER) and 0.1 <= value <= 2)
_TEXT: _Check = (
    "text, or a list of it",
    lambda value: all(isinstance(part, str) for part in (value if isinstance(value, list) else [value])),
)
_FACTS: dict[str, _Check] = {
    **dict.fromkeys(("input_size", "test_input_size", "min_input_size"), _SIZE),
    "mean": _MEAN,
    "std": _STD,
    **dict.fromkeys(("crop_pct", "test_crop_pct"), _SHARE),
    "interpolation": (f"one of {', '.join(INTERPOLATIONS)}", lambda value: value in INTERPOLATIONS),
    "crop_mode": (f"one of {', '.join(CROP_MODES)}", lambda value: value in CROP_MODES),
    "tag": ("text", lambda value: isinstance(value, str)),
    **dict.fromkeys(("license", "description", "origin_url", "paper_name", "paper_ids", "notes"), _TEXT),
}


def facts_of(pretrained_cfg: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Those facts, in timm's terms, of a configuration that was read from `file`.

    Raises:
        WeightsError: a fact is not of its kind.
    """
    facts = {}
    for key, (words, fits) in _FACTS.items():
        value = pretrained_cfg.get(key)
        if value is None:
            continue
        if not fits(value):
            raise WeightsError(f"{file} says {key}={value!r}, and it must be {words}; mend it")
        facts[key] = tuple(value) if isinstance(value, list) else value
    return facts
