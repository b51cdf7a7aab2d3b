"""Images and matrices of strangers' datasets: what is read, and what is said of the rest."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pri3d_zoo.training.data.image_files import (
    natural_order,
    read_color,
    read_depth,
    read_intrinsics,
    read_labels,
    read_matrix,
)
from pri3d_zoo.training.errors import InputError


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_pixels_of_any_kind_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    assert (read_color(tmp_path / "a.png") == np.full((3, 4, 3), 255)).all()


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "GIF", "PPM"])
def test_no_other_format_is_opened_whatever_its_name(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", kind)
    with pytest.raises(InputError, match=rf"{tmp_path.name}/a.jpg is broken \(cannot identify"):
        read_color(tmp_path / "a.jpg")


def test_sizes_too_large_to_be_true_fill_no_memory(tmp_path: Path) -> None:
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT")
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    with pytest.raises(InputError, match=r"a.png is broken \(.*3600000000 pixels"):
        read_color(tmp_path / "a.png")


def test_numbers_keep_their_bits(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 255], [256, 40_000, 65_534]], np.uint16)
    Image.fromarray(numbers).save(tmp_path / "deep.png")
    Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / "flat.png")
    assert (read_depth(tmp_path / "deep.png") == numbers).all()
    assert (read_labels(tmp_path / "deep.png", np.uint16) == numbers).all()
    assert (read_labels(tmp_path / "flat.png", np.uint16) == numbers.astype(np.uint8)).all()
    with pytest.raises(InputError, match=r"flat\.png has pixels of mode L, where I;16 or I is needed"):
        read_depth(tmp_path / "flat.png")
    with pytest.raises(InputError, match=r"deep\.png has pixels of mode I;16, where L or P is needed"):
        read_labels(tmp_path / "deep.png", np.uint8)


def test_the_largest_number_is_no_reading_but_a_label_like_others(tmp_path: Path) -> None:
    Image.fromarray(np.array([[65_535, 65_534, 0, 1200]], np.uint16)).save(tmp_path / "a.png")
    assert read_depth(tmp_path / "a.png").tolist() == [[0, 65_534, 0, 1200]]
    assert read_labels(tmp_path / "a.png", np.uint16).tolist() == [[65_535, 65_534, 0, 1200]]


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2 3", "holds 3 numbers, where 2x2 are needed"), ("1 2 3 x", "is broken"), (None, "is missing")],
)
def test_a_matrix_is_of_the_size_that_is_asked_for(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "pose.txt").write_text(text)
    with pytest.raises(InputError, match=f"pose.txt {message}"):
        read_matrix(tmp_path / "pose.txt", 2)
    (tmp_path / "pose.txt").write_text("1 2\n3 4.5")
    assert read_matrix(tmp_path / "pose.txt", 2).tolist() == [[1, 2], [3, 4.5]]
    (tmp_path / "pose.txt").write_bytes(b"\xef\xbb\xbf1 2\r\n3 4.5\r\n")  # as Windows saves it
    assert read_matrix(tmp_path / "pose.txt", 2).tolist() == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize(
    "text", ["-1 0 5 0 3 5 0 0 1", "3 0 5 0 -1 5 0 0 1", "0 0 5 0 3 5 0 0 1", "3 0 5 0 nan 5 0 0 1"]
)
def test_focal_lengths_are_positive_each(tmp_path: Path, text: str) -> None:
    (tmp_path / "intrinsics.txt").write_text(text)
    with pytest.raises(InputError, match="not the intrinsics of a pinhole camera"):
        read_intrinsics(tmp_path / "intrinsics.txt")


def test_frame_ten_follows_frame_nine() -> None:
    assert sorted(["10", "9", "a10b2", "a9b10", "a10b1"], key=natural_order) == ["9", "10", "a9b10", "a10b1", "a10b2"]
