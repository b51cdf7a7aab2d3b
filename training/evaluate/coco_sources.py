"""Datasets that tell single objects apart: ScanNet's 25k frames, NYUv2 as released, and prepared stores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.image_files import read_labels
from ..data.nyu40 import NYU40
from ..data.scene import Scene
from ..data.scene_lists import scannet_split
from ..data.store import SceneStore
from ..errors import InputError
from .label_sets import NYU13, NYU40_TO_13, SCANNET20
from .nyuv2_official import OfficialNYUv2

WALL, FLOOR = 1, 2  # NYU40 ids, of which ScanNet counts no objects

# of each class its name and the NYU40 ids that it stands for
Classes = tuple[tuple[str, tuple[int, ...]], ...]
SCANNET18: Classes = tuple(
    (NYU40[id - 1].replace("_", " ").replace("otherfurniture", "other furniture"), (id,))
    for id in SCANNET20
    if id not in (WALL, FLOOR)
)
NAMES_OF_13 = ("bed", "books", "chair", "furniture", "picture", "sofa", "table", "television", "window")
NYU9: Classes = tuple(
    (
        {"picture": "painting", "television": "tv"}.get(name, name),
        tuple(id for id, other in enumerate(NYU40_TO_13, start=1) if NYU13[other - 1] == name),
    )
    for name in NAMES_OF_13
)


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """One image to convert.

    Args:
        file_name: Of the image, from the folder that the annotations are used with.
        scene: Where it was taken.
        read: Labels (H, W) and instances (H, W), 0 = none; two pixels are of one object where both agree.
        color: Reads the image, if it has to be written.
    """

    file_name: str
    scene: str
    read: Callable[[], tuple[NDArray[Any], NDArray[Any]]]
    color: Callable[[], NDArray[np.uint8]] | None = None


@dataclass(frozen=True, eq=False)
class ObjectSplit:
    """A split of a dataset.

    Args:
        images: In a fixed order.
        table: Category of each label, from 1; 0 for none.
        folder: Where the images' names start from; None if they have to be written.
    """

    images: list[LabelledObjects]
    table: NDArray[np.uint8]
    folder: Path | None


def find_split(dataset: str, root: Path, split: str) -> tuple[Classes, ObjectSplit]:
    """The classes of a dataset, and its images of a split ("train" or "val").

    Raises:
        InputError: There is no such dataset or split, or nothing of it at ``root``.
    """
    if dataset not in DATASETS:
        raise InputError(f"there is no converter for {dataset!r}; there are {', '.join(DATASETS)}")
    if split not in ("train", "val"):
        raise InputError(f"there is no split {split!r}; there are train and val")
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one of {dataset}")
    classes, find = DATASETS[dataset]
    found = find(root, split)
    if not found.images:
        raise InputError(f"{root}: nothing of the split {split} of {dataset} is in it")
    return classes, found


def _table(classes: Classes) -> NDArray[np.uint8]:
    """(41,), from NYU40 ids to the place of their class, from 1; 0 for none."""
    table = np.zeros(len(NYU40) + 1, np.uint8)
    for place, (_, ids) in enumerate(classes, start=1):
        table[list(ids)] = place
    return table


def _scannet(root: Path, split: str) -> ObjectSplit:
    folder = next((path for path in (root / "scannet_frames_25k", root) if path.is_dir()), root)
    images = [
        LabelledObjects(f"{scene}/color/{path.stem}.jpg", scene[:9], partial(_read_pair, folder / scene, path.name))
        for scene in scannet_split(root, split)
        for path in sorted((folder / scene / "instance").glob("[!.]*.png"))
    ]
    return ObjectSplit(images, _table(SCANNET18), folder)


def _read_pair(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        return read_labels(folder / "label" / name, np.uint16), read_labels(folder / "instance" / name, np.uint16)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def _nyuv2(root: Path, split: str) -> ObjectSplit:
    official = OfficialNYUv2(root)
    images = [
        LabelledObjects(
            f"image/{number:04d}.png",
            official.scenes[number],
            partial(_read_official, official, number),
            partial(official.color, number),
        )
        for number in official.splits[split]
    ]
    return ObjectSplit(images, _table(NYU9)[official.to_forty], None)


def _read_official(official: OfficialNYUv2, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    # the release's toolbox counts what has a label and the number 0 as an object too
    return official.labels(number), official.instances(number).astype(np.uint16) + 1


def _store(root: Path, _: str) -> ObjectSplit:
    store = SceneStore(root)
    images = []
    for name in store.scene_ids:
        scene = store.scene(name)
        images += [
            LabelledObjects(
                f"image/{name}/{id}.png", name, partial(_read_scene, scene, index), partial(scene.color, index)
            )
            for index, id in enumerate(scene.frame_ids)
        ]
    return ObjectSplit(images, _table(SCANNET18), None)


def _read_scene(scene: Scene, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    labels, instances = scene.semantic(index), scene.instance(index)
    if labels is None or instances is None:
        raise InputError(
            f"{scene.path}: frame {scene.frame_ids[index]} lacks labels or instances; prepare a source that has both"
        )
    return labels, instances


DATASETS: dict[str, tuple[Classes, Callable[[Path, str], ObjectSplit]]] = {
    "scannet": (SCANNET18, _scannet),
    "nyuv2": (NYU9, _nyuv2),
    "store": (SCANNET18, _store),
}
