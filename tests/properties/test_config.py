"""Overrides of any key with any value: they are kept, or refused in one line."""

import tempfile
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pri3d_zoo.training.config import flat_keys, load_config, read_config, save_config
from pri3d_zoo.training.errors import InputError

quickly = settings(derandomize=True, deadline=None, max_examples=25)
NEEDED = ["run=r", "data.store=s"]
DEFAULTS = flat_keys(load_config("demo", NEEDED))
POSITIVE = st.integers(1, 10**6)
SHARES = st.floats(0.001, 0.999)
PLAIN = st.text("abcdefgh_-./", min_size=1, max_size=12).filter(lambda text: text[0] in "abc")
# the keys whose values hang together with those of others have tests of their own
TOGETHER = ("size", "data.weights", "data.more_stores", "data.frames", "data.geometric", "model.backend3d",
            "model.grad_checkpointing_3d", "data.holdout")  # fmt: skip


def values(key: str) -> st.SearchStrategy[Any]:
    """Those that are fine for a key, by its default."""
    default = DEFAULTS[key]
    if isinstance(default, Enum):
        return st.sampled_from(type(default))
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return POSITIVE
    return PLAIN if isinstance(default, str) else SHARES


def written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value.value if isinstance(value, Enum) else value)


@st.composite
def overrides(draw: st.DrawFn) -> dict[str, Any]:
    keys = draw(st.lists(st.sampled_from([key for key in DEFAULTS if key not in TOGETHER]), max_size=4, unique=True))
    return {key: draw(values(key)) for key in keys}


@quickly
@given(overrides())
def test_overrides_are_kept_and_come_back(wanted: dict[str, Any]) -> None:
    config = load_config("demo", [*NEEDED, *(f"{key}={written(value)}" for key, value in wanted.items())])
    expected = DEFAULTS | wanted
    assert flat_keys(config) == expected
    with tempfile.TemporaryDirectory() as place:
        save_config(config, Path(place) / "config.yaml")
        assert read_config(Path(place) / "config.yaml") == config


@quickly
@given(st.sampled_from(sorted(DEFAULTS)), st.data())
def test_a_mistyped_key_is_refused(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key)))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_.0"))
    for wrong in (key[:place] + letter + key[place:], key[:place] + key[place + 1 :]):
        if wrong not in DEFAULTS:
            with pytest.raises(InputError) as error:
                load_config("demo", [*NEEDED, f"{wrong}=1"])
            assert str(error.value).isprintable()


@settings(quickly, max_examples=60)
@given(st.sampled_from(sorted(DEFAULTS)), st.text(max_size=20) | st.text("[]{}:,*&!${}'\"#-?|>%@`\n 1e.", max_size=12))
def test_any_value_is_taken_or_refused_in_one_line(key: str, text: str) -> None:
    try:
        config = load_config("demo", [*NEEDED, f"{key}={text}"])
    except InputError as error:
        assert "\n" not in str(error)
    else:
        with tempfile.TemporaryDirectory() as place:
            save_config(config, Path(place) / "config.yaml")
            assert repr(read_config(Path(place) / "config.yaml")) == repr(config)


@settings(quickly, max_examples=60)
@given(st.binary(max_size=60) | st.text("[]{}:,*&!${}'\"#-?|>%@`\n 1e.run", max_size=30).map(str.encode))
def test_a_recipe_of_any_bytes_is_taken_or_refused_in_one_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "recipe.yaml"
        path.write_bytes(data)
        for read in (lambda: load_config(str(path), NEEDED), lambda: read_config(path)):
            try:
                read()
            except InputError as error:
                assert "\n" not in str(error)
                assert str(path) in str(error)
