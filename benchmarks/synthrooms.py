"""How fast SynthRooms renders, how like real frames its frames are, and what they look like.

    python benchmarks/synthrooms.py [--rooms 24] [--frames 40] [--size 240 320] [--split train] [--sheet FILE]

Speed is processor time of one thread, the room's making included, as one process of ``pri3d-train render`` works;
then the same rooms with two processes, by the clock. The figures beside it are of real frames, where shared/data is
beside this clone: the kitchen, desk and cubicles, and the images of NYUv2 with their labels.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pri3d_zoo.training.data.frame import Frame, Source
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.parallel import map_scenes
from pri3d_zoo.training.data.resize import resize_frame
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.synthrooms import SPLITS, SynthRooms

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"
SEEN = 0.005  # share of the pixels from which a class or an object counts
SAMPLED = 25  # frames of each real scene, and ten times so many images of NYUv2
PERCENTS = (5, 25, 50, 75, 95)


@dataclass
class Figures:
    """What is measured of a set of images, a number for each image, pair or set of percentiles."""

    images: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def see_color(self, color: NDArray[np.uint8]) -> None:
        """Brightness, contrast, colourfulness, detail at two scales, what is burnt or drowned: 0..1 all."""
        self.images += 1
        image = color.astype(np.float32) / 255
        grey = image @ np.array((0.299, 0.587, 0.114), np.float32)
        high, low = image.max(-1), image.min(-1)
        coarse = grey[: len(grey) // 4 * 4, : grey.shape[1] // 4 * 4]
        coarse = coarse.reshape(len(coarse) // 4, 4, -1, 4).mean((1, 3))
        self.add(
            brightness=float(grey.mean()),
            contrast=float(grey.std()),
            saturation=float(((high - low) / np.maximum(high, 1e-3)).mean()),
            gradient=float(np.hypot(*np.gradient(grey)).mean()),
            coarse_gradient=float(np.hypot(*np.gradient(coarse)).mean()),
            burnt=float((low > 0.98).mean()),
            drowned=float((high < 0.04).mean()),
        )

    def see_depth(self, depth: NDArray[np.float32]) -> None:
        """Percentiles in metres, and the share without a reading."""
        self.add(no_depth=float((depth == 0).mean()))
        if depth.any():
            found = np.percentile(depth[depth > 0], PERCENTS)
            self.add(**{f"depth_{percent}%": float(value) for percent, value in zip(PERCENTS, found, strict=True)})

    def see_labels(self, semantic: NDArray[np.uint8], instance: NDArray[np.uint16] | None) -> None:
        """How many classes, and objects, fill at least half a percent of the image."""
        for name, labels in (("classes", semantic), ("objects", instance)):
            if labels is not None:
                self.add(**{name: float((np.bincount(labels.ravel())[1:] > SEEN * labels.size).sum())})

    def see_neighbours(self, frames: Sequence[Frame]) -> None:
        """Overlap of each frame with the next, by the paper's definition."""
        parts = (np.stack([getattr(frame, name) for frame in frames]) for name in CAMERA)
        pairs, overlaps = mine_pairs(*parts, min_overlap=0)
        for (first, second), overlap in zip(pairs.tolist(), overlaps.tolist(), strict=True):
            if second == first + 1:
                self.add(next_overlap=overlap)

    def __str__(self) -> str:
        means = (f"{name} {np.mean(values):.3f} ±{np.std(values):.3f}" for name, values in self.values.items())
        return f"{self.images} images; " + ", ".join(means)


CAMERA = ("depth", "intrinsics", "camera_to_world")


def figures_of(source: Source, scenes: Sequence[str], size: tuple[int, int], sampled: int | None) -> Figures:
    """Of the frames of a source's scenes, of so many of them evenly spread; their neighbours are true ones."""
    figures = Figures()
    for scene in scenes:
        frames = [resize_frame(frame, size) for frame in source.frames(scene) if isinstance(frame, Frame)]
        chosen = range(len(frames)) if sampled is None else np.linspace(0, len(frames) - 2, sampled).astype(int)
        for index in chosen:
            figures.see_color(frames[index].color)
            figures.see_depth(frames[index].depth)
            if (semantic := frames[index].semantic) is not None:
                figures.see_labels(semantic, frames[index].instance)
            if index + 1 < len(frames):
                figures.see_neighbours(frames[index : index + 2])
    return figures


def figures_of_nyuv2(folder: Path, size: tuple[int, int]) -> Figures:
    figures = Figures()
    for path in sorted((folder / "image").iterdir())[:: 1449 // (10 * SAMPLED)]:
        figures.see_color(np.asarray(Image.open(path).resize((size[1], size[0]), Image.Resampling.BOX)))
        figures.see_labels(np.asarray(Image.open(folder / "label40" / f"{path.stem}.png")), None)
    return figures


def render_scene(source: SynthRooms, scene: str) -> float:
    """Seconds of processor time to render one room."""
    begin = time.process_time()
    for _ in source.frames(scene):
        pass
    return time.process_time() - begin


def contact_sheet(source: SynthRooms, path: Path) -> None:
    """One frame of each room with its depth, classes and objects beside it, four rooms a row."""
    colors = np.random.default_rng(0).integers(40, 256, (2**16, 3)).astype(np.uint8)
    colors[0] = 0
    tiles = []
    for number, scene in enumerate(source.scene_ids()):
        frames = [frame for frame in source.frames(scene) if isinstance(frame, Frame)]
        frame = frames[(7 * number) % len(frames)]
        near = (255 * np.clip(frame.depth / 6, 0, 1)).astype(np.uint8)[..., None].repeat(3, -1)
        assert frame.semantic is not None
        assert frame.instance is not None
        top = np.concatenate((frame.color, near), 1)
        tiles.append(np.concatenate((top, np.concatenate((colors[frame.semantic], colors[frame.instance]), 1))))
    rows = [np.concatenate(tiles[start : start + 4], 1) for start in range(0, len(tiles) // 4 * 4, 4)]
    Image.fromarray(np.concatenate(rows)).save(path)
    print(f"{len(tiles)} rooms in {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--split", choices=list(SPLITS), default="train")
    parser.add_argument("--sheet", type=Path, help="also draw a frame of each room into this picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (options.size[0], options.size[1])
    first = SPLITS[options.split].start
    rooms = SynthRooms(range(first, first + options.rooms), frames=options.frames, size=size)
    if options.sheet:
        contact_sheet(rooms, options.sheet)
    names = rooms.scene_ids()
    for workers in (1, 2):
        begin = time.perf_counter()
        spent = [s for _, s in map_scenes(partial(render_scene, rooms), names, workers=workers, title="Rendering")]
        clock, frames = time.perf_counter() - begin, options.rooms * options.frames
        print(
            f"{options.rooms} rooms of {options.frames} frames of {size[0]}x{size[1]}, {workers} processes: "
            f"{frames / sum(spent):.1f} frames a second and core (rooms {options.frames / max(spent):.1f} to "
            f"{options.frames / min(spent):.1f}), {frames / clock:.1f} frames a second by the clock"
        )
    print(f"synthrooms {options.split}: {figures_of(rooms, names, size, None)}")
    for folder in sorted((REAL / "rgbd").iterdir()) if (REAL / "rgbd").is_dir() else ():
        print(f"{folder.name}: {figures_of(FolderSource(folder), [folder.name], size, SAMPLED)}")
    if (REAL / "nyuv2").is_dir():
        print(f"nyuv2: {figures_of_nyuv2(REAL / 'nyuv2', size)}")


if __name__ == "__main__":
    main()
