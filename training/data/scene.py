"""The prepared format, and its only reader: one uncompressed zip file a scene, as ``scene_writer.py`` writes it.

``STORE/<scene>.pri3d.zip`` holds ``manifest.json``, ``color/ID.jpg``, ``depth/ID.png`` (uint16 millimetres), where the
source has them ``semantic/ID.png`` and ``instance/ID.png``, and the arrays ``intrinsics.npy``, ``camera_to_world.npy``,
``pairs.npy``, ``overlaps.npy``, ``voxels.npy`` and ``voxel_colors.npy``. Any zip tool can look into it. Members are
stored, not deflated, so an image is one read at a known place, and each carries a checksum that every read verifies.
Nothing is written beside it when it is read, so it serves from read-only storage and wherever it is moved.

Why this container: ``benchmarks/containers.py`` on the 500 kitchen frames of 240x320, milliseconds to a random frame's
colour and depth, from memory and after the system was asked to drop the pages (the disk below may still hold them):

    ==================================  =====  =====  ====  ====
    container                              MB  files  warm  cold
    ==================================  =====  =====  ====  ====
    one zip, index in memory (this)      29.9      1  1.44  1.73
    one zip, its index read each time    29.9      1  3.91  4.11
    folder of JPEG and PNG               27.6   1000  1.56  1.72
    one SQLite file of JPEG and PNG      28.4      1  1.43  1.65
    one npz, deflated arrays             97.6      1  4.09  4.40
    two files of plain arrays, mapped   192.0      2  0.29  0.94
    ==================================  =====  =====  ====  ====

Decoding takes nearly all of the time, so what decides is the rest: one file and one rename a scene, where a folder is a
thousand; checksums, which SQLite and plain files lack; any zip tool as the reader. Only arrays that need no decoding
are quicker, for 6 times the bytes (100,000 frames of ScanNet: some 40 GB instead of 6), and decoding is 3 of the 9 ms
that a pair with augmented colours takes.
"""

import io
import json
import math
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError, first_line

STORE_VERSION = 1
SUFFIX = ".pri3d.zip"
# of each array, the type and the shape of a row
ARRAYS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "intrinsics": (np.float64, (3, 3)),
    "camera_to_world": (np.float64, (4, 4)),
    "pairs": (np.int32, (2,)),
    "overlaps": (np.float32, ()),
    "voxels": (np.int32, (3,)),
    "voxel_colors": (np.uint8, (3,)),
}
LABELS = {"semantic": ("L",), "instance": ("I;16", "I")}  # by mode of the image; Pillow has two for 16 bits
LOCAL_HEADER = 30  # bytes of a zip member's own header, before its name


def scene_path(root: Path, scene: str) -> Path:
    """The file of a scene."""
    return root / f"{scene}{SUFFIX}"


class Scene:
    """One prepared scene, read on demand. No file stays open, so it serves threads and forked workers alike.

    Args:
        path: The scene's file.

    Raises:
        InputError: Here or in any read: the file is broken, half-written or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name.removesuffix(SUFFIX)
        try:
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
            length = path.stat().st_size
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such scene; run prepare") from None
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            raise self._broken(str(error)) from None
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise self._broken("its members are compressed, so another tool has packed it")
        if any(member.header_offset < 0 or member.header_offset + member.file_size > length for member in members):
            raise self._broken("its members reach beyond its end")  # a read would make room for all they claim
        self._members = {member.filename: (member.header_offset, member.file_size, member.CRC) for member in members}
        self.manifest = self._manifest()
        self.frame_ids: list[str] = self.manifest["frames"]
        self.size: tuple[int, int] = (self.manifest["size"][0], self.manifest["size"][1])
        self.voxel_size: float = self.manifest["voxel_size"]
        self._check_members()

    def __reduce__(self) -> tuple[type["Scene"], tuple[Path]]:
        return Scene, (self.path,)  # another process reads what it needs itself

    @cached_property
    def intrinsics(self) -> NDArray[np.float64]:
        """(N, 3, 3), pixels."""
        return self._array("intrinsics", len(self.frame_ids))

    @cached_property
    def camera_to_world(self) -> NDArray[np.float64]:
        """(N, 4, 4)."""
        return self._array("camera_to_world", len(self.frame_ids))

    @cached_property
    def pairs(self) -> NDArray[np.int32]:
        """(P, 2), indices i < j of frames that overlap."""
        pairs: NDArray[np.int32] = self._array("pairs")
        if pairs.size and not (pairs.min() >= 0 and pairs.max() < len(self.frame_ids)):
            raise self._broken("its pairs are of frames that it does not have")
        return pairs

    @cached_property
    def overlaps(self) -> NDArray[np.float32]:
        """(P,), the share of corresponding points of each pair."""
        return self._array("overlaps", len(self.pairs))

    @property
    def voxels(self) -> NDArray[np.int32]:
        """(M, 3), the voxels of the surface, as in ``geometry.quantize``; unique and sorted by (x, y, z).

        They are read each time and not kept: those of a thousand scenes would fill the memory of a worker.
        """
        voxels: NDArray[np.int32] = self._array("voxels")
        if (voxels[1:, 0] < voxels[:-1, 0]).any():  # else chunks would silently lack voxels
            raise self._broken("its voxels are not sorted")
        return voxels

    @property
    def voxel_colors(self) -> NDArray[np.uint8]:
        """(M, 3) RGB, read each time."""
        return self._array("voxel_colors", self._voxel_count)

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._image(f"color/{self.frame_ids[index]}.jpg", "JPEG", ("RGB",))

    def depth(self, index: int) -> NDArray[np.float32]:
        """(H, W), metres, 0 = no reading."""
        millimetres = self._image(f"depth/{self.frame_ids[index]}.png", "PNG", ("I;16", "I"))
        return millimetres.astype(np.float32) / np.float32(1000)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """(H, W), NYU40 ids, 0 = void; or None."""
        return self._labels("semantic", index)

    def instance(self, index: int) -> NDArray[np.uint16] | None:
        """(H, W), 0 = none; or None."""
        labels = self._labels("instance", index)
        return None if labels is None else labels.astype(np.uint16, copy=False)  # Pillow may open 16 bits as 32

    def verify(self) -> None:
        """Read every member, and so test every checksum; raises InputError."""
        for name in self._members:
            self._read(name)

    @cached_property
    def _voxel_count(self) -> int:
        return len(self.voxels)

    def _manifest(self) -> dict[str, Any]:
        """The manifest, in which what a reader needs is there and of its kind."""
        try:
            manifest = json.loads(self._read("manifest.json"))
            if manifest["version"] != STORE_VERSION:
                version = manifest["version"]
                raise self._broken(f"it has version {version!r} of the format, and this program reads {STORE_VERSION}")
            frames, size, voxel_size = manifest["frames"], manifest["size"], manifest["voxel_size"]
            fits = all(isinstance(id, str) and id.isprintable() for id in frames) and isinstance(frames, list)
            fits &= len(size) == 2 and all(isinstance(length, int) and 0 < length < 2**16 for length in size)
            fits &= isinstance(voxel_size, int | float) and 0 < voxel_size < math.inf
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
            raise self._broken(f"its manifest cannot be read, {first_line(error)}") from None
        if not fits:
            raise self._broken("the frames, size or voxel_size of its manifest are none")
        return cast(dict[str, Any], manifest)

    def _check_members(self) -> None:
        """Names have no checksum of their own, and labels whose name is damaged would just seem not to be there."""
        needed = {"manifest.json", *(f"{name}.npy" for name in ARRAYS)}
        needed |= {name for id in self.frame_ids for name in (f"color/{id}.jpg", f"depth/{id}.png")}
        optional = {f"{kind}/{id}.png" for id in self.frame_ids for kind in ("semantic", "instance")}
        names = set(self._members)
        if not needed <= names <= needed | optional:
            wrong = sorted((needed - names) | (names - needed - optional))
            raise self._broken(f"{wrong[0]!r} is missing, or there without a frame")

    def _labels(self, name: str, index: int) -> NDArray[Any] | None:
        member = f"{name}/{self.frame_ids[index]}.png"
        return self._image(member, "PNG", LABELS[name]) if member in self._members else None

    def _image(self, name: str, kind: str, modes: tuple[str, ...]) -> NDArray[Any]:
        data = self._read(name)
        try:
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                # before it is unpacked: a few bytes may swell to gigabytes
                if image.size == self.size[::-1] and image.mode in modes:
                    return np.array(image)
                found = f"{image.size[::-1]} {image.mode}"
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise self._broken(f"{name} is no {kind} that can be read: {first_line(error)}") from None
        raise self._broken(f"{name} is an image of {found}, where {self.size} {' or '.join(modes)} is needed")

    def _array(self, name: str, rows: int | None = None) -> NDArray[Any]:
        """An array with so many rows, or any number of them; what its header claims is not made room for unseen."""
        kind, row = ARRAYS[name]
        data = io.BytesIO(self._read(f"{name}.npy"))
        try:
            np.lib.format.read_magic(data)
            shape, _, found = np.lib.format.read_array_header_1_0(data)
            whole = math.prod(shape) * found.itemsize == len(data.getvalue()) - data.tell()
            if found == kind and shape[1:] == row and rows in (None, shape[0]) and whole:
                return np.load(io.BytesIO(data.getvalue()), allow_pickle=False)
        except Exception as error:  # NumPy reads a header as Python, whose parser has many ways to fail
            raise self._broken(f"{name}.npy is no array that can be read: {first_line(error)}") from None
        raise self._broken(f"{name}.npy is an array of {shape} {found}, where {('n', *row)} {kind.__name__} is needed")

    def _read(self, name: str) -> bytes:
        """A member's bytes, in one read of header and data."""
        if name not in self._members:
            raise self._broken(f"{name} is missing")
        offset, size, checksum = self._members[name]
        start = LOCAL_HEADER + len(name.encode())  # were there extra fields, the checksum would tell
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset + start)
                data = file.read(size)
        except OSError as error:
            raise self._broken(str(error)) from None
        if len(data) != size or zlib.crc32(data) != checksum:
            raise self._broken(f"the checksum of {name} does not fit")
        return data

    def _broken(self, reason: str) -> InputError:
        return InputError(
            f"{self.path}: this scene is not usable ({reason}); run prepare again, it redoes just this one"
        )
