"""Which scenes are read: official splits, lists of one's own, and what is said where they do not fit the disk."""

from pathlib import Path

import pytest

from pri3d_zoo.training.data.scene_lists import read_scene_list, scannet_split, select_scenes
from pri3d_zoo.training.errors import InputError


def test_lists_have_one_name_a_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# rooms\nscene0001_00  # the kitchen\n\n  scene0000_00\n")
    assert read_scene_list(path) == ["scene0001_00", "scene0000_00"]


def test_the_byte_order_mark_of_windows_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbfkitchen\r\nhall\r\n")
    assert read_scene_list(tmp_path / "mine.txt") == ["kitchen", "hall"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing\n"])
def test_empty_lists_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mine.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"mine.txt: there is no scene in this list"):
        read_scene_list(tmp_path / "mine.txt")


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.txt: cannot be read as a list"):
        read_scene_list(tmp_path / "nowhere.txt")
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match=r"image.jpg: cannot be read as a list"):
        read_scene_list(tmp_path / "image.jpg")


@pytest.mark.parametrize("place", [".", "splits", "Tasks/Benchmark", "scans", ".."])
def test_official_lists_are_found_beside_the_scans(tmp_path: Path, place: str) -> None:
    root = tmp_path / "scannet"
    root.mkdir()
    (root / place).mkdir(parents=True, exist_ok=True)
    (root / place / "scannetv2_train.txt").write_text("scene0002_00\nscene0000_00\n")
    assert scannet_split(root, "train") == ["scene0002_00", "scene0000_00"]
    with pytest.raises(InputError, match=r"no scannetv2_val.txt in it or beside it.*Tasks/Benchmark.*--scenes"):
        scannet_split(root, "val")


def test_scenes_are_selected_in_order_and_all_without_a_list(tmp_path: Path) -> None:
    found = {"c": 3, "a": 1, "b": 2}
    assert list(select_scenes(found, [], tmp_path).items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert list(select_scenes(found, ["c", "a", "c"], tmp_path).items()) == [("a", 1), ("c", 3)]


def test_scenes_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    wanted = [f"scene0{number:03d}_00" for number in range(100)]
    with pytest.raises(InputError, match=r"97 of the 100 scenes asked for are not there \(scene0003_00, .*, \.\.\.\)"):
        select_scenes(dict.fromkeys(wanted[:3], 0), wanted, tmp_path)
