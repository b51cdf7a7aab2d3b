"""One word chooses the dataset: every source opens by its name and refuses options that it does not take."""

from pathlib import Path

import pytest

from pri3d_zoo.training.data.sources import OPTIONS, SOURCES, default_stride, open_source
from pri3d_zoo.training.errors import InputError

SIZE = (24, 32)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.txt"
    path.write_text("no-such-scene\n")
    return path


@pytest.mark.parametrize("name", [name for name, options in OPTIONS.items() if "scenes" in options])
def test_every_source_can_be_opened_and_names_what_is_missing(tmp_path: Path, mine: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=r"data|no-such-scene|install"):
        open_source(name, str(tmp_path / "data"), size=SIZE, scenes=mine)


def test_video_is_thinned_out_by_default() -> None:
    assert {name for name in SOURCES if default_stride(name) == 25} == {"scannet", "scannetppv2", "multiscan"}
    assert {name for name in SOURCES if default_stride(name) == 1} == set(SOURCES) - {
        "scannet",
        "scannetppv2",
        "multiscan",
    }


def test_a_wrong_name_lists_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no source 'scanet'; there are folder, synthrooms, scannet, .*, multiscan"):
        open_source("scanet", str(tmp_path), size=SIZE)


def test_options_that_a_source_does_not_take(tmp_path: Path, mine: Path) -> None:
    with pytest.raises(InputError, match="scannet takes no frames; it takes split, scenes, stride"):
        open_source("scannet", str(tmp_path), size=SIZE, frames=10)
    with pytest.raises(InputError, match="folder takes no stride; it takes frames"):
        open_source("folder", str(tmp_path), size=SIZE, stride=2)
    with pytest.raises(InputError, match="stride must be at least 1, not 0"):
        open_source("scannet", str(tmp_path), size=SIZE, stride=0)
    with pytest.raises(InputError, match="both the split train and the list"):
        open_source("scannet", str(tmp_path), size=SIZE, scenes=mine, split="train")
