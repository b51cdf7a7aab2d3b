"""ScanNet v2 as it is released: ``SCENE/SCENE.sens`` (RGB-D video with poses) and ``SCENE/SCENE_vh_clean_2.ply``.

The ``.sens`` format is that of ``SensReader`` in ScanNet's repository, version 4: a header, then for each frame its
pose, its time stamps, its compressed colour and its compressed depth.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Surface, check_pose
from ..image_files import readings
from ..scene_lists import scannet_split, select_scenes
from .mesh import read_mesh
from .registration import register

START = struct.Struct("<IQ")  # version, length of the sensor's name
CAMERAS = struct.Struct("<64f2i4IfQ")  # 4 matrices, 2 compressions, 2 sizes (width, height), depth shift, frames
FRAME = struct.Struct("<16f4Q")  # pose, time stamps of colour and depth, bytes of colour and depth
VERSION = 4
LONGEST_NAME = 4096  # bytes; a longer name, and more frames than this, are those of a file that is something else
MOST_FRAMES = 10_000_000
MOST_PIXELS = 50_000_000  # of an image: what a few bytes of zlib may swell to
COLOR_COMPRESSIONS = {1: "PNG", 2: "JPEG"}
RAW_DEPTH, ZLIB_DEPTH = 0, 1
OTHER_COMPRESSIONS = {-1: "of a kind unknown", 0: "not at all", 2: "with occi, which only the scanner's library reads"}


class ScanNetSource:
    """ScanNet's released scans; frames are read when they are asked for, and those between are skipped over.

    Args:
        root: The folder of the release (with ``scans/`` and perhaps ``scans_test/``), of the scans, or of one scan.
        split: "train", "val" or "test": the scenes of ``scannetv2_<split>.txt``.
        scenes: Only these; none means all, or those of the split.
        stride: Every so many-th frame.

    Raises:
        InputError: There is no such folder, no ``.sens`` file in it, or a scene asked for is not there.
    """

    def __init__(self, root: Path, *, split: str | None = None, scenes: Sequence[str] = (), stride: int = 25) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder of the ScanNet release")
        patterns = ("[!.]*.sens", "*/[!.]*.sens", "scans/*/[!.]*.sens", "scans_test/*/[!.]*.sens")
        found = {path.stem: path for pattern in patterns for path in root.glob(pattern)}
        if not found:
            raise InputError(f"{root}: no scan in it; a scan is a folder SCENE with SCENE.sens, here or in scans/")
        wanted = list(scenes) or (scannet_split(root, split) if split is not None else [])
        self._files = select_scenes(found, wanted, root)
        self._stride = stride

    def scene_ids(self) -> list[str]:
        """Names of the scans, sorted."""
        return list(self._files)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """Every ``stride``-th frame, named by its number in the video, colour and depth in one camera.

        Where the file is cut off, the frames before the cut are yielded and those after it are one SkippedFrame: how
        many there should be is a number that a broken or hostile header may have made up.

        Raises:
            InputError: The header of the file is broken or of another kind.
        """
        path = self._files[scene]
        header = read_header(path)
        size = path.stat().st_size
        position = header.bytes
        with path.open("rb", buffering=0) as file:
            for index in range(header.frames):
                file.seek(position)
                found = file.read(FRAME.size)
                end = position + FRAME.size + (sum(FRAME.unpack(found)[18:]) if len(found) == FRAME.size else 0)
                if end > size:
                    lost = range(-(-index // self._stride) * self._stride, header.frames, self._stride)
                    if lost:
                        yield SkippedFrame(
                            _id(lost[0]),
                            f"{path} ends at byte {size}, within frame {index} (which begins at {position}), "
                            f"{len(lost)} frames are missing; get it again",
                        )
                    return
                if index % self._stride == 0:
                    try:
                        frame: Frame | SkippedFrame = _read_frame(file, header, _id(index), found)
                    except InputError as error:
                        frame = SkippedFrame(_id(index), f"{path.name}, frame at byte {position}: {error}")
                    yield frame
                position = end

    def surface(self, scene: str) -> Surface | None:
        """Points on ``SCENE_vh_clean_2.ply``, or None where there is no such file.

        Raises:
            InputError: The mesh cannot be read.
        """
        path = self._files[scene].with_name(f"{scene}_vh_clean_2.ply")
        return read_mesh(path) if path.exists() else None


@dataclass(frozen=True, eq=False)
class SensHeader:
    """What holds for all frames of a ``.sens`` file.

    Args:
        bytes: Length of the header; the first frame follows.
        frames: How many there are said to be.
        color_intrinsics: (3, 3), pixels.
        depth_intrinsics: (3, 3), pixels.
        color_to_base: (4, 4), points of the colour camera to the one whose pose is stored; as a rule the identity.
        depth_to_color: (4, 4), points of the depth camera to the colour camera.
        color_size: (height, width).
        depth_size: (height, width).
        depth_compression: ``RAW_DEPTH`` or ``ZLIB_DEPTH``.
        depth_shift: Units of depth in a metre.
    """

    bytes: int
    frames: int
    color_intrinsics: NDArray[np.float64]
    depth_intrinsics: NDArray[np.float64]
    color_to_base: NDArray[np.float64]
    depth_to_color: NDArray[np.float64]
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    depth_compression: int
    depth_shift: float


def read_header(path: Path) -> SensHeader:
    """The header of a ``.sens`` file.

    Raises:
        InputError: It is cut off, of another version, or its compression is one that is not read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(START.size)
            version, name_bytes = START.unpack(start) if len(start) == START.size else (VERSION, 0)
            if version != VERSION or name_bytes > LONGEST_NAME:
                raise InputError(
                    f"{path}: not a .sens file of version {VERSION} (it starts with {version}); get it again"
                )
            file.seek(name_bytes, io.SEEK_CUR)
            found = file.read(CAMERAS.size)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    if len(found) < CAMERAS.size:
        raise InputError(f"{path} is cut off in its header, at byte {path.stat().st_size}; get it again")
    values = CAMERAS.unpack(found)
    matrices = np.reshape(values[:64], (4, 4, 4)).astype(np.float64)
    color_compression, depth_compression, color_width, color_height, depth_width, depth_height = values[64:70]
    depth_shift, frames = values[70:]
    if color_compression not in COLOR_COMPRESSIONS:
        how = OTHER_COMPRESSIONS.get(color_compression, f"by method {color_compression}")
        raise InputError(f"{path}: its colour is compressed {how}; write it again as JPEG")
    if depth_compression not in (RAW_DEPTH, ZLIB_DEPTH):
        how = OTHER_COMPRESSIONS.get(depth_compression, f"by method {depth_compression}")
        raise InputError(f"{path}: its depth is compressed {how}; write it again with zlib_ushort")
    pixels = (color_width * color_height, depth_width * depth_height)
    sane = min(pixels) > 0 and max(pixels) <= MOST_PIXELS and frames <= MOST_FRAMES
    if not sane or not (np.isfinite(depth_shift) and depth_shift > 0):
        raise InputError(
            f"{path}: its header is broken (sizes, depth shift and frames are {values[66:]}); get it again"
        )
    try:
        check_pose(matrices[1])
        check_pose(matrices[3])
    except InputError as error:
        raise InputError(f"{path}: its extrinsics are broken: {error}; get it again") from None
    return SensHeader(
        bytes=START.size + name_bytes + CAMERAS.size,
        frames=frames,
        color_intrinsics=matrices[0, :3, :3],
        depth_intrinsics=matrices[2, :3, :3],
        color_to_base=matrices[1],
        depth_to_color=np.linalg.inv(matrices[1]) @ matrices[3],
        color_size=(color_height, color_width),
        depth_size=(depth_height, depth_width),
        depth_compression=depth_compression,
        depth_shift=depth_shift,
    )


def _id(index: int) -> str:
    return f"{index:06d}"


def _read_frame(file: io.FileIO, header: SensHeader, id: str, found: bytes) -> Frame:
    """The frame whose leading bytes are ``found`` and whose images come next in the file."""
    values = FRAME.unpack(found)
    camera_to_world = np.reshape(values[:16], (4, 4)).astype(np.float64)
    check_pose(camera_to_world)  # before the images, which a lost frame does not need
    color = _decode_color(file.read(values[18]), header.color_size)
    depth = _decode_depth(file.read(values[19]), header)
    image = register(color, header.color_intrinsics, depth, header.depth_intrinsics, header.depth_to_color)
    return Frame(id, *image, camera_to_world @ header.color_to_base)


def _decode_color(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        # of no other format: Pillow knows many, and for some of them calls other programs
        with Image.open(io.BytesIO(data), formats=tuple(COLOR_COMPRESSIONS.values())) as image:
            found = image.size[::-1]
            if found == size:  # else it is not unpacked: it may be of any size
                return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"its colour is broken ({error})") from None
    raise InputError(f"its colour is {found}, where the header says {size}")


def _decode_depth(data: bytes, header: SensHeader) -> NDArray[np.float32]:
    expected = 2 * header.depth_size[0] * header.depth_size[1]
    if header.depth_compression == ZLIB_DEPTH:
        try:
            data = zlib.decompressobj().decompress(data, expected + 1)
        except zlib.error as error:
            raise InputError(f"its depth is broken ({error})") from None
    if len(data) != expected:
        raise InputError(f"its depth has {len(data)} bytes, where {expected} are needed")
    units = readings(np.frombuffer(data, "<u2").reshape(header.depth_size))
    return units.astype(np.float32) / np.float32(header.depth_shift)
