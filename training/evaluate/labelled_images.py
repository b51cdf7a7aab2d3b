"""Datasets of images with a class for each pixel: NYUv2, ScanNet's 25k frames, KITTI, Cityscapes, and prepared stores.

Each is a list of items that are read when they are asked for; what a recipe calls ``data.dataset`` names the layout:

- ``nyuv2``: a folder with ``image/ID.jpg`` (or png), ``label40/ID.png`` and ``train.txt``, ``test.txt``; or the
  official files ``nyu_depth_v2_labeled.mat``, ``classMapping40.mat`` (its 894 labels to 40) and ``splits.mat``.
- ``scannet``: ``scannet_frames_25k`` with ``SCENE/color/ID.jpg``, ``SCENE/label/ID.png`` and ``scannetv2_SPLIT.txt``.
- ``kitti``: ``training/image_2/ID.png`` and ``training/semantic/ID.png``, of which every fifth is for validation.
- ``cityscapes``: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.
- ``store``: scenes of a store that holds NYU40 labels, such as one of ``synthrooms``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..data.image_files import read_color, read_labels
from ..data.scene import Scene
from ..data.scene_lists import read_scene_list, scannet_split
from ..data.store import SceneStore
from ..errors import InputError
from .label_sets import LabelSet
from .nyuv2_official import MAT, OfficialNYUv2

HELD_OUT = 5  # of KITTI, which has no split of its own: one image in so many


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled image.

    Args:
        id: Names it in errors.
        scene: Where it was taken; images of one scene are near-copies, so fractions are drawn scene by scene.
        color: Reads (H, W, 3) uint8 RGB.
        labels: Reads (H, W), the numbers of the dataset.
    """

    id: str
    scene: str
    color: Callable[[], NDArray[np.uint8]]
    labels: Callable[[], NDArray[Any]]


class Placed(Protocol):
    """An image of a dataset, as fractions and lists of it need to know it."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def scene(self) -> str:
        """Where it was taken."""
        ...


AnyImage = TypeVar("AnyImage", bound=Placed)


class LabelledImages(Dataset[tuple[Tensor, Tensor]]):
    """Images and class indices at one size.

    Args:
        items: What to read.
        classes: Which numbers are which classes.
        size: (height, width); colour becomes the areas' mean, a label that of the nearest pixel.

    Raises:
        InputError: There are no items.
    """

    def __init__(self, items: Sequence[Item], classes: LabelSet, size: tuple[int, int]) -> None:
        if not items:
            raise InputError("there is no labelled image in this split; name another one, or more of the data")
        self.items, self.classes, self.size = list(items), classes, size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Colour (3, H, W) uint8 and class indices (H, W) uint8, ``IGNORED`` where there is none.

        Args:
            key: The number of an image, or that and a seed, which is not needed, as ``StepSampler`` has it.

        Raises:
            InputError: A file is missing or broken, the two differ in size, or a label is not of the set.
        """
        item = self.items[key[0] if isinstance(key, tuple) else key]
        color, labels = item.color(), item.labels()
        if color.shape[:2] != labels.shape:
            raise InputError(f"{item.id}: the image is {color.shape[:2]} and its labels are {labels.shape}")
        wide = (self.size[1], self.size[0])
        resized = np.array(Image.fromarray(color).resize(wide, Image.Resampling.BOX))
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(self.size, labels.shape, strict=True)
        )
        indices = self.classes.indices(labels[np.ix_(rows, columns)], item.id)
        return torch.from_numpy(resized).permute(2, 0, 1).contiguous(), torch.from_numpy(indices)


def find_items(dataset: str, root: Path, split: str) -> list[Item]:
    """The items of a split ("train" or "val") of a dataset, in a fixed order.

    Raises:
        InputError: There is no such dataset or split, or nothing of it at ``root``.
    """
    if dataset not in LAYOUTS:
        raise InputError(f"there is no dataset {dataset!r} of labelled images; there are {', '.join(LAYOUTS)}")
    if split not in ("train", "val"):
        raise InputError(f"there is no split {split!r}; there are train and val")
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one of {dataset}")
    items = LAYOUTS[dataset](root, split)
    if not items:
        raise InputError(f"{root}: no labelled image of the split {split} of {dataset} is in it")
    return items


def fraction(items: Sequence[AnyImage], share: float, seed: int) -> list[AnyImage]:
    """A part of the items: whole scenes in an order drawn from the seed, until the share of images is reached.

    A smaller share of the same seed is a part of a larger one.

    Raises:
        InputError: The share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"data.fraction={share}: it must be above 0 and at most 1")
    scenes = sorted({item.scene for item in items})
    order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(seed)).tolist()
    place = {scenes[index]: position for position, index in enumerate(order)}
    chosen = sorted(range(len(items)), key=lambda index: (place[items[index].scene], index))
    return [items[index] for index in sorted(chosen[: max(1, round(share * len(items)))])]


def listed(items: Sequence[AnyImage], path: Path) -> list[AnyImage]:
    """The items whose id, scan or scene a text file names, one a line.

    Raises:
        InputError: The file cannot be read, or names what is not there.
    """
    names = set(read_scene_list(path))
    called = [{item.id, item.scene, item.id.rpartition("/")[0]} for item in items]  # the last is a scan of the scene
    if unknown := sorted(names - set().union(*called)):
        raise InputError(f"{path} names {unknown[0]}, which is no image or scene of this split")
    return [item for item, own in zip(items, called, strict=True) if own & names]


def _files(id: str, scene: str, color: Path, labels: Path) -> Item:
    return Item(
        id, scene, partial(_named, read_color, color), partial(_named, partial(read_labels, kind=np.uint16), labels)
    )


def _named(read: Callable[[Path], NDArray[Any]], path: Path) -> NDArray[Any]:
    try:
        return read(path)
    except InputError as error:
        raise InputError(f"{path.parent.parent}: {error}") from None


def _nyuv2(root: Path, split: str) -> list[Item]:
    if (root / MAT).is_file():
        return _nyuv2_official(root, split)
    names = read_scene_list(root / ("train.txt" if split == "train" else "test.txt"))
    colors = {path.stem: path for path in sorted((root / "image").glob("[!.]*")) if path.suffix in (".jpg", ".png")}
    if missing := [name for name in names if name not in colors]:
        raise InputError(f"{root / 'image'} lacks {len(missing)} images of the split {split}, such as {missing[0]}")
    return [_files(name, name, colors[name], root / "label40" / f"{name}.png") for name in names]


def _nyuv2_official(root: Path, split: str) -> list[Item]:
    release = OfficialNYUv2(root)
    return [
        Item(f"{number:04d}", release.scenes[number], partial(release.color, number), partial(_forty, release, number))
        for number in release.splits[split]
    ]


def _forty(release: OfficialNYUv2, number: int) -> NDArray[np.uint8]:
    return release.to_forty[release.labels(number)]


def _scannet(root: Path, split: str) -> list[Item]:
    folders = {
        path.name: path for path in (root, root / "scannet_frames_25k") for path in path.glob("scene*") if path.is_dir()
    }
    return [
        _files(f"{scene}/{label.stem}", scene[:9], label.parent.parent / "color" / f"{label.stem}.jpg", label)
        for scene in scannet_split(root, split)
        if scene in folders
        for label in sorted((folders[scene] / "label").glob("[!.]*.png"))
    ]


def _kitti(root: Path, split: str) -> list[Item]:
    labels = sorted((root / "training" / "semantic").glob("[!.]*.png"))
    chosen = [path for number, path in enumerate(labels) if (number % HELD_OUT == HELD_OUT - 1) == (split == "val")]
    return [_files(path.stem, path.stem, root / "training" / "image_2" / path.name, path) for path in chosen]


def _cityscapes(root: Path, split: str) -> list[Item]:
    items = []
    for path in sorted((root / "gtFine" / split).glob("*/[!.]*_gtFine_labelIds.png")):
        id = path.name.removesuffix("_gtFine_labelIds.png")
        color = root / "leftImg8bit" / split / path.parent.name / f"{id}_leftImg8bit.png"
        items.append(_files(id, "_".join(id.split("_")[:2]), color, path))
    return items


def _store(root: Path, split: str) -> list[Item]:
    """Of a store all scenes are in either split: a store is prepared for one of them."""
    store = SceneStore(root)
    items = []
    for name in store.scene_ids:
        scene = store.scene(name)
        items += [
            Item(f"{name}/{id}", name, partial(scene.color, index), partial(_semantic, scene, index))
            for index, id in enumerate(scene.frame_ids)
        ]
    return items


def _semantic(scene: Scene, index: int) -> NDArray[np.uint8]:
    labels = scene.semantic(index)
    if labels is None:
        raise InputError(f"{scene.path}: frame {scene.frame_ids[index]} has no labels; prepare a source that has them")
    return labels


LAYOUTS: dict[str, Callable[[Path, str], list[Item]]] = {
    "nyuv2": _nyuv2,
    "scannet": _scannet,
    "kitti": _kitti,
    "cityscapes": _cityscapes,
    "store": _store,
}
