"""Decoded frames held in memory, so that a step's images are gathered rather than decoded.

A frame of 240x320 takes 384 kB, so 100,000 frames, which is ScanNet by every 25th, take 38 GB.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .augment import Window, crop_and_resize
from .batch import Box, PairBatch, decode
from .scene import Scene

SHARED = Path("/dev/shm")
THREADS = 8

RESERVE = 2 * 2**30  # bytes of a GPU that are left for the smallest networks and batches


class FrameMemory:
    """Frames by row: scene after scene, in the order of their stores. ``read_frames`` makes it.

    Args:
        images: (F * H * W * 5,) uint8, where images are wanted.
        boxes: (F, 2, 3) float32 on the CPU, those of the frames' chunks.
        size: (height, width).
        shared: Whether loader processes read the images; else they are gathered where they are, by ``fill``.
    """

    def __init__(self, images: Tensor, boxes: Tensor, size: tuple[int, int], shared: bool) -> None:
        self.boxes, self.size, self.shared = boxes, size, shared
        depth, color = images.split([part * len(images) // 5 for part in (2, 3)])
        self.depth = depth.view(torch.int16).view(-1, *size)  # the bits of uint16 millimetres
        self.color = color.view(-1, 3, *size)

    def __getstate__(self) -> dict[str, Any]:
        if self.shared:
            return self.__dict__
        return self.__dict__ | {"color": None, "depth": None}  # a loader process has no use for the device

    def images(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Colour (..., 3, H, W) uint8 and depth (..., H, W) float32, metres, of rows (...)."""
        millimetres = self.depth[rows].int().bitwise_and_(0xFFFF)
        return self.color[rows], millimetres.float() / 1000

    def fill(self, batch: PairBatch) -> PairBatch:
        """A batch on the device of the images, with those that its rows name."""
        color, depth = self.images(batch.rows)
        return replace(batch, color=color, depth=depth)


def read_frames(
    scenes: Sequence[Scene],
    size: tuple[int, int],
    box: Box,
    *,
    device: torch.device | None = None,
    name: str = "",
    first: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> FrameMemory:
    """Decode all frames of scenes into memory: on a device, or where all processes of this machine find them.

    What is shared has a name only until all have opened it, so that it goes with the last of them, even if killed.

    Args:
        scenes: In the order of the rows.
        size: (height, width) at which to hold them.
        box: Makes the box of a frame's chunk.
        device: Of this process; None: shared memory.
        name: Of what is shared; another one for each run.
        first: Whether it is this process that fills what is shared.
        wait: Called where the processes have to wait for each other.

    Raises:
        InputError: The frames do not fit.
    """
    frames = sum(len(scene.frame_ids) for scene in scenes)
    needed = 5 * frames * size[0] * size[1]
    if device is not None:
        _check_room(needed, frames, size, _free(device), str(device))
        images = torch.empty(needed, dtype=torch.uint8, device=device)
        memory = FrameMemory(images, torch.empty(frames, 2, 3), size, shared=False)
        _decode(scenes, memory, box)
        return memory
    path, box_bytes = SHARED / f"pri3d-{hashlib.sha256(name.encode()).hexdigest()[:16]}", 24 * frames
    if first:
        path.unlink(missing_ok=True)  # of a run that was killed before it had opened it
        _check_room(needed, frames, size, shutil.disk_usage(SHARED).free, str(SHARED))
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, box_bytes + needed)
    wait()
    whole = torch.from_file(str(path), shared=True, size=box_bytes + needed, dtype=torch.uint8)
    wait()
    boxes, images = whole.split([box_bytes, needed])
    memory = FrameMemory(images, boxes.view(torch.float32).view(-1, 2, 3), size, shared=True)
    if first:
        path.unlink()
        _decode(scenes, memory, box)
    wait()
    return memory


def _decode(scenes: Sequence[Scene], memory: FrameMemory, box: Box) -> None:
    work = [(scene, frame) for scene in scenes for frame in range(len(scene.frame_ids))]

    def read(row: int) -> None:
        scene, frame = work[row]
        window = Window(0, 0, *scene.size)
        color, depth, intrinsics = crop_and_resize(*decode(scene, frame), window, memory.size)
        memory.color[row] = color
        memory.depth[row] = (depth * 1000).round().int().short()
        pose = torch.from_numpy(scene.camera_to_world[frame])
        memory.boxes[row] = box(depth, intrinsics.float(), pose.float())

    with ThreadPoolExecutor(THREADS) as pool:  # decoding an image leaves Python to the other threads
        for _ in pool.map(read, range(len(work))):
            pass


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] - RESERVE
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _check_room(needed: int, frames: int, size: tuple[int, int], free: int, where: str) -> None:
    if needed > free:
        raise InputError(
            f"data.frames: {frames} frames of {size[0]}x{size[1]} take {needed / 1e9:.1f} GB, and {where} has "
            f"{free / 1e9:.1f} GB free; take data.frames=disk, or fewer scenes or a smaller size"
        )
