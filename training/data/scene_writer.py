"""Writes the files that ``scene.py`` describes and reads."""

import io
import json
import os
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .frame import Frame
from .scene import ARRAYS, STORE_VERSION, scene_path
from .unfinished import temporary_path

JPEG_QUALITY = 95
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the bytes of a scene must not tell when it was prepared


class SceneWriter:
    """Writes one scene under a hidden name and renames it when it is whole.

    Use it as a context manager: ``add_frame`` for each frame, then ``finish``. Without ``finish`` nothing is left.

    Raises:
        InputError: A name cannot be a file name, a frame's id is there already or its size is another one.
    """

    def __init__(self, root: Path, scene: str) -> None:
        check_name(scene, "scene")
        self.path = scene_path(root, scene)
        self._unfinished = temporary_path(self.path)
        self.scene = scene
        self.frame_ids: list[str] = []
        self._known: set[str] = set()
        self.size: tuple[int, int] | None = None
        self._intrinsics: list[NDArray[np.float64]] = []
        self._poses: list[NDArray[np.float64]] = []
        self._finished = False

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._unfinished.open("wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        whole = self._finished and error is None
        try:
            with self._file:
                self._zip.close()
                self._file.flush()
                os.fsync(self._file.fileno())
            if whole:
                self._unfinished.replace(self.path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def add_frame(self, frame: Frame) -> None:
        """Append a frame; all frames of a scene have one size."""
        check_name(frame.id, f"scene {self.scene}: frame")
        if frame.id in self._known:
            raise InputError(f"scene {self.scene}: two frames have the id {frame.id}; rename one of them")
        size = (frame.depth.shape[0], frame.depth.shape[1])
        if size != (self.size or size):
            raise InputError(f"scene {self.scene}: frame {frame.id} is {size}, the frames before it are {self.size}")
        self.size = size
        self.frame_ids.append(frame.id)
        self._known.add(frame.id)
        self._intrinsics.append(frame.intrinsics)
        self._poses.append(frame.camera_to_world)
        color = io.BytesIO()
        Image.fromarray(frame.color).save(color, "JPEG", quality=JPEG_QUALITY)
        self._write(f"color/{frame.id}.jpg", color.getvalue())
        self._write(f"depth/{frame.id}.png", _png(depth_to_millimetres(frame.depth)))
        for name, labels in (("semantic", frame.semantic), ("instance", frame.instance)):
            if labels is not None:
                self._write(f"{name}/{frame.id}.png", _png(labels))

    def finish(
        self,
        *,
        pairs: NDArray[np.int32],
        overlaps: NDArray[np.float32],
        voxels: NDArray[np.int32],
        voxel_colors: NDArray[np.uint8],
        voxel_size: float,
        manifest: dict[str, Any],
    ) -> None:
        """Write what belongs to the scene as a whole; ``manifest`` is kept as it is, beside what a reader needs."""
        intrinsics = np.reshape(self._intrinsics, (-1, 3, 3)).astype(np.float64)
        camera_to_world = np.reshape(self._poses, (-1, 4, 4)).astype(np.float64)
        arrays: tuple[NDArray[Any], ...] = (intrinsics, camera_to_world, pairs, overlaps, voxels, voxel_colors)
        for name, array in zip(ARRAYS, arrays, strict=True):
            data = io.BytesIO()
            np.save(data, array, allow_pickle=False)
            self._write(f"{name}.npy", data.getvalue())
        needed = {
            "version": STORE_VERSION,
            "scene": self.scene,
            "frames": self.frame_ids,
            "size": self.size,
            "voxel_size": voxel_size,
        }
        self._write("manifest.json", json.dumps(manifest | needed, indent=1).encode())
        self._finished = True

    def _write(self, name: str, data: bytes) -> None:
        member = zipfile.ZipInfo(name, FIXED_DATE)
        member.external_attr = 0o644 << 16  # else unpacked files could not be read
        self._zip.writestr(member, data)


def check_name(name: str, what: str) -> None:
    """Raise InputError unless ``name`` can serve as a file name in any folder; ``what`` says whose name it is."""
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        raise InputError(f"{what} {name!r} is no plain name: rename it so that it has no separators and no leading dot")


def depth_to_millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth images as they are stored; what is beyond 65.5 m becomes no reading."""
    rounded = np.rint(depth * 1000)
    return np.where(rounded < 2**16, rounded, 0).astype(np.uint16)


def _png(image: NDArray[Any]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()
