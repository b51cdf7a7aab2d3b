"""Images of a scene on disk rather than in memory while it is prepared: however long it is, a worker stays small.

The file has no name (or loses it at once, where the system cannot do without), so a killed run leaves nothing behind.
It is raw, because mining reads a frame several times, and to decode an image takes twenty times as long as to read it.
"""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


class Spool:
    """Arrays of one shape and type, appended one by one and read by number. A context manager, which frees the disk.

    Args:
        folder: On the disk that takes the file; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._length = 0
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def append(self, array: NDArray[Any]) -> None:
        """Add an array of the shape and type of those before it; raises InputError if it has others."""
        if self._length and (array.shape, array.dtype) != (self._shape, self._dtype):
            raise InputError(
                f"image {self._length} is {array.shape} {array.dtype}, those before it are {self._shape} "
                f"{self._dtype}; the frames of a scene must have one size"
            )
        self._shape, self._dtype = array.shape, array.dtype
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array).data)
        self._length += 1

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        array = np.empty(self._shape, self._dtype)
        self._file.seek(index * array.nbytes)
        if index >= self._length or self._file.readinto(array.data.cast("B")) < array.nbytes:
            raise IndexError(f"array {index} of {self._length}")
        return array


class Metres:
    """Depth images in metres, float32, of a spool of millimetres; of all frames or of the chosen ones."""

    def __init__(self, millimetres: Spool, chosen: NDArray[np.int64] | None = None) -> None:
        self._millimetres = millimetres
        self._chosen = np.arange(len(millimetres)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        metres: NDArray[np.float32] = self._millimetres[int(self._chosen[index])].astype(np.float32) / np.float32(1000)
        return metres
