"""Fuzzes the reader of ScanNet's .sens files: `python fuzz/sens.py -max_total_time=600`."""

import io
import struct
import zlib
from pathlib import Path

import common
import numpy as np
from PIL import Image

with common.instrumented:
    from pri3d_zoo.training.data.frame import Frame, SkippedFrame
    from pri3d_zoo.training.data.sources.scannet import ScanNetSource
    from pri3d_zoo.training.errors import InputError

HEIGHT, WIDTH = 6, 8
INTRINSICS = np.array([[9, 0, 3.5, 0], [0, 9, 2.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "<f4")
LEAST_BYTES = 96  # of a frame in the file, without its images


def sens(color_format: str, squeezed: bool, shift: float = 0.0) -> bytes:
    """A file of two frames; `shift` moves the depth camera to the side."""
    generator = np.random.default_rng(0)
    moved = np.eye(4, dtype="<f4")
    moved[0, 3] = shift
    data = struct.pack("<IQ", 4, 4) + b"fuzz"
    data += b"".join(matrix.tobytes() for matrix in (INTRINSICS, np.eye(4, dtype="<f4"), INTRINSICS, moved))
    data += struct.pack("<ii4I", 2 if color_format == "JPEG" else 1, squeezed, WIDTH, HEIGHT, WIDTH, HEIGHT)
    data += struct.pack("<fQ", 1000.0, 2)
    for _ in range(2):
        image = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(image, color_format)
        depth = generator.integers(0, 3000, (HEIGHT, WIDTH)).astype("<u2").tobytes()
        depth = zlib.compress(depth) if squeezed else depth
        data += np.eye(4, dtype="<f4").tobytes() + struct.pack("<4Q", 0, 0, len(image.getvalue()), len(depth))
        data += image.getvalue() + depth
    return data


def check(data: bytes, folder: Path) -> None:
    """Every frame is whole and of one size, or is skipped with a reason of one line; no more than the file can hold."""
    (folder / "scene.sens").write_bytes(data)
    most = len(data) // LEAST_BYTES + 1  # one for those that are missing
    for number, frame in enumerate(ScanNetSource(folder, stride=1).frames("scene"), start=1):
        assert number <= most
        if isinstance(frame, SkippedFrame):
            assert frame.reason.isprintable()
        else:
            assert isinstance(frame, Frame)
            assert np.isfinite(frame.depth).all()
            assert np.isfinite(frame.camera_to_world).all()


if __name__ == "__main__":
    seeds = [sens("JPEG", True), sens("JPEG", False), sens("PNG", True), sens("PNG", False), sens("PNG", False, 0.1)]
    common.fuzz(check, seeds, refusals=(InputError,))
