"""Files and folders that appear whole or not at all, and the number that tells their bytes apart."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden name to write a file under, which at the end takes the place of `path` in one step for whoever reads it.

    The bytes are on the disk by then, so that not even a loss of power leaves half a file. After an error there is
    nothing but what was there before. Folders are made if need be; processes that write the same file do not meet.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to write in, without folders of its own, which at the end is called `path`; as `whole_file`.

    Raises:
        OSError: something cannot be written, or `path` is there and not empty.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            _to_disk(file)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Put `text`, in UTF-8, in the place of the file `path`, as `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(file: Path) -> str:
    """Of the bytes of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _to_disk(file: Path) -> None:
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())
