"""What a scene could be kept in: the bytes, the files, and the time to one random frame of each container.

    python benchmarks/containers.py [STORE] [--scene NAME] [--reads 200]

STORE is what ``pri3d-train prepare`` wrote; without it a furnished room is rendered and prepared first. Its frames are
written anew into every container; the zip is the store's own, with the arrays of the scene. A read gives colour and
depth as arrays. "Warm" reads come from the memory of the system; before the "cold" ones the system is asked to drop the
pages of the files (posix_fadvise), which it may not do wholly, and which says nothing of caches beneath it. HDF5 and
LMDB are left out: each is one more package to install, and what they would have to beat is in the table.
"""

import argparse
import io
import os
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.scene import Scene
from pri3d_zoo.training.data.scene_writer import depth_to_millimetres
from pri3d_zoo.training.data.sources import open_source
from pri3d_zoo.training.data.store import SceneStore

SIZE = (240, 320)
Read = Callable[[int], object]


@dataclass(frozen=True)
class Container:
    """One way to keep a scene: how a frame is read, and what the way promises by itself."""

    name: str
    path: Path
    read: Read
    one_rename: bool
    checksums: bool

    @property
    def files(self) -> list[Path]:
        """All files of the scene."""
        return sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else [self.path]


def decoded(color: bytes, depth: bytes) -> tuple[np.ndarray, np.ndarray]:
    with Image.open(io.BytesIO(color)) as image, Image.open(io.BytesIO(depth)) as other:
        return np.array(image), np.array(other).astype(np.float32) / np.float32(1000)


def containers(scene: Scene, root: Path) -> list[Container]:
    """The scene's frames in every container, under ``root``."""
    names = [(f"color/{id}.jpg", f"depth/{id}.png") for id in scene.frame_ids]
    with zipfile.ZipFile(scene.path) as source:
        members = {name: source.read(name) for pair in names for name in pair}

    folder = root / "folder"
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    database = root / "scene.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("create table members (name text primary key, data blob)")
        connection.executemany("insert into members values (?, ?)", members.items())
    connection.close()
    reader = sqlite3.connect(f"file:{database}?immutable=1", uri=True)

    def of_database(name: str) -> bytes:
        return reader.execute("select data from members where name = ?", (name,)).fetchone()[0]

    colors = np.stack([scene.color(index) for index in range(len(names))])
    depths = np.stack([depth_to_millimetres(scene.depth(index)) for index in range(len(names))])
    compressed, mapped = root / "scene.npz", root / "mapped"
    np.savez_compressed(
        compressed, **{f"{k}{i}": a[i] for k, a in (("c", colors), ("d", depths)) for i in range(len(a))}
    )
    mapped.mkdir()
    np.save(mapped / "color.npy", colors)
    np.save(mapped / "depth.npy", depths)

    def of_arrays(index: int) -> object:
        with np.load(compressed) as arrays:
            return arrays[f"c{index}"], arrays[f"d{index}"].astype(np.float32) / np.float32(1000)

    def of_maps(index: int) -> object:
        color, depth = (np.load(mapped / f"{kind}.npy", mmap_mode="r") for kind in ("color", "depth"))
        return np.array(color[index]), depth[index].astype(np.float32) / np.float32(1000)

    def of_zip(index: int) -> object:
        with zipfile.ZipFile(copy) as file:
            return decoded(*(file.read(name) for name in names[index]))

    def of_folder(index: int) -> object:
        return decoded(*((folder / name).read_bytes() for name in names[index]))

    copy = root / scene.path.name
    copy.write_bytes(scene.path.read_bytes())
    ours = Scene(copy)
    return [
        Container("one zip, its index in memory", copy, lambda i: (ours.color(i), ours.depth(i)), True, True),
        Container("one zip, its index read each time", copy, of_zip, True, True),
        Container("folder of JPEG and PNG", folder, of_folder, False, False),
        Container(
            "one SQLite file of JPEG and PNG", database, lambda i: decoded(*map(of_database, names[i])), True, False
        ),
        Container("one npz, deflated arrays", compressed, of_arrays, True, True),
        Container("two files of plain arrays, mapped", mapped, of_maps, False, False),
    ]


def drop_pages(files: list[Path]) -> None:
    """Ask the system to forget what it holds of the files."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def milliseconds(read: Read, order: list[int]) -> float:
    """Mean time of a read."""
    begin = time.perf_counter()
    for index in order:
        read(index)
    return (time.perf_counter() - begin) / len(order) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path, help="a prepared store; default: one rendered room")
    parser.add_argument("--scene", help="default: the first")
    parser.add_argument("--reads", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.store or Path(folder) / "store"
        if options.store is None:
            prepare(open_source("synthrooms", "0:1", frames=100, size=SIZE), root, size=SIZE, workers=1, arguments={})
        store = SceneStore(root)
        scene = store.scene(options.scene or store.scene_ids[0])
        built = Path(folder) / "built"
        built.mkdir()
        count = len(scene.frame_ids)
        order = (np.random.default_rng(0).permutation(max(options.reads, count)) % count)[: options.reads].tolist()
        print(f"{count} frames of {scene.size}, {options.reads} random ones read, decoded to colour and depth:")
        print(f"{'':34s}{'MB':>6s}{'files':>7s}{'warm ms':>9s}{'cold ms':>9s}  one rename  checksums")
        for container in containers(scene, built):
            milliseconds(container.read, order)
            warm = milliseconds(container.read, order)
            drop_pages(container.files)
            cold = milliseconds(container.read, order)
            size = sum(path.stat().st_size for path in container.files) / 1e6
            promises = ("yes" if holds else "no" for holds in (container.one_rename, container.checksums))
            print(
                f"{container.name:34s}{size:6.1f}{len(container.files):7d}{warm:9.2f}{cold:9.2f}",
                *(f"{promise:>11s}" for promise in promises),
            )


if __name__ == "__main__":
    main()
