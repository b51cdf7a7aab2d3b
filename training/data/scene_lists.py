"""Which scenes of a dataset: all that are there, an official split, or those of a list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import InputError

Place = TypeVar("Place")
NAMED = 5  # missing scenes that an error names


def read_scene_list(path: Path) -> list[str]:
    """The scenes that a text file names, one a line; blank lines and what follows a # do not count.

    Raises:
        InputError: The file cannot be read or names no scene.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list ({error}); name a text file, one name a line") from None
    scenes = [name for line in lines if (name := line.split("#")[0].strip())]
    if not scenes:
        raise InputError(f"{path}: there is no scene in this list; write one name a line")
    return scenes


def scannet_split(root: Path, split: str) -> list[str]:
    """The scenes of an official split of ScanNet, from ``scannetv2_<split>.txt`` in the release.

    The file is looked for in the root, its folders, ``Tasks/Benchmark`` (where ScanNet's repository has it) and beside
    the root.

    Raises:
        InputError: There is no such file.
    """
    name = f"scannetv2_{split}.txt"
    places = (root / name, *sorted(root.glob(f"*/{name}")), root / "Tasks" / "Benchmark" / name, root.parent / name)
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise InputError(
            f"{root}: there is no {name} in it or beside it; put the one of ScanNet's repository (Tasks/Benchmark) "
            "there, or name a list of scenes with --scenes"
        )
    return read_scene_list(found)


def select_scenes(found: Mapping[str, Place], wanted: Sequence[str], root: Path) -> dict[str, Place]:
    """Those of the scenes that are wanted, sorted by name; all where none is named.

    Raises:
        InputError: A wanted scene is not there.
    """
    missing = sorted(set(wanted) - set(found))
    if missing:
        names = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise InputError(
            f"{root}: {len(missing)} of the {len(set(wanted))} scenes asked for are not there ({names}); "
            "get them, or list those that are there in a file and name it with --scenes"
        )
    return {scene: found[scene] for scene in sorted(set(wanted) or found)}
