"""Images with objects in COCO's form: a JSON file of images, annotations and categories, and a folder of images."""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.image_files import read_color
from ..errors import InputError, first_line
from ..seeds import uniform
from .coco_masks import compress, decode_masks, mask_area

STREAM = 2  # of the seeds' random numbers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CocoFile:
    """A file of annotations, as it is.

    Args:
        path: Where it was read.
        content: All of it.
        categories: Names by id, in the order of the ids.
    """

    path: Path
    content: dict[str, Any]
    categories: dict[int, str]


@dataclass(frozen=True, eq=False)
class CocoObject:
    """One object of an image.

    Args:
        box: x1, y1, x2, y2 in pixels, within the image.
        category: COCO's id.
        mask: Its pixels, as compressed run lengths.
    """

    box: tuple[float, float, float, float]
    category: int
    mask: dict[str, Any]


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image.

    Args:
        id: Its file name, as the annotations have it.
        scene: Where it was taken, if the annotations say so (a key that is not COCO's own), else the file name.
        number: COCO's id.
        path: The file.
        size: Height and width.
        objects: To learn.
    """

    id: str
    scene: str
    number: int
    path: Path
    size: tuple[int, int]
    objects: tuple[CocoObject, ...] = ()


@dataclass(frozen=True, eq=False)
class ObjectBatch:
    """Images with their objects; sizes differ.

    Args:
        colors: (3, H, W) uint8 each.
        targets: For each image ``boxes`` (N, 4) float32, ``labels`` (N,) int64 from 1, ``masks`` (N, H, W) uint8.
        numbers: COCO's ids of the images.
    """

    colors: list[Tensor]
    targets: list[dict[str, Tensor]]
    numbers: list[int]

    def to(self, device: torch.device) -> "ObjectBatch":
        """The batch on a device, copied without waiting where the memory is pinned."""
        return ObjectBatch(
            [color.to(device, non_blocking=True) for color in self.colors],
            [{key: value.to(device, non_blocking=True) for key, value in target.items()} for target in self.targets],
            self.numbers,
        )

    def pin_memory(self) -> "ObjectBatch":
        """For the loader: page-locked copies."""
        return ObjectBatch(
            [color.pin_memory() for color in self.colors],
            [{key: value.pin_memory() for key, value in target.items()} for target in self.targets],
            self.numbers,
        )


class CocoImages(Dataset[ObjectBatch]):
    """Images and their objects, as batches of one.

    Args:
        images: What to read.
        categories: COCO's ids; label i is the i-th of them, from 1, as 0 is the background.

    Raises:
        InputError: There are no images.
    """

    def __init__(self, images: Sequence[CocoImage], categories: Sequence[int]) -> None:
        if not images:
            raise InputError("there is no image in this split; name another file of annotations, or more of the data")
        self.images, self.labels = list(images), {id: label for label, id in enumerate(categories, start=1)}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | tuple[int, int]) -> ObjectBatch:
        """An image as it is, or, with a seed, its mirror image half of the time.

        Args:
            key: The number of an image, or that and a seed, as ``StepSampler`` has it.

        Raises:
            InputError: The file is broken, or of another size than the annotations say.
        """
        index, seed = key if isinstance(key, tuple) else (key, None)
        image = self.images[index]
        try:
            pixels = read_color(image.path)
        except InputError as error:
            raise InputError(f"{image.path}: {error}") from None
        if pixels.shape[:2] != image.size:
            raise InputError(f"{image.path} is {pixels.shape[:2]}, and its annotations say {image.size}")
        color = torch.from_numpy(pixels).permute(2, 0, 1)
        boxes = torch.tensor([each.box for each in image.objects], dtype=torch.float32).reshape(-1, 4)
        masks = torch.from_numpy(decode_masks([each.mask for each in image.objects], image.size))
        if seed is not None and uniform(torch.tensor([seed]), 1, STREAM).item() < 0.5:
            color, masks = color.flip(-1), masks.flip(-1)
            boxes[:, [0, 2]] = image.size[1] - boxes[:, [2, 0]]
        labels = torch.tensor([self.labels[each.category] for each in image.objects], dtype=torch.int64)
        target = {"boxes": boxes, "labels": labels, "masks": masks.contiguous()}
        return ObjectBatch([color.contiguous()], [target], [image.number])


def collate(samples: Sequence[ObjectBatch]) -> ObjectBatch:
    """One batch of several."""
    return ObjectBatch(
        *(sum((getattr(sample, name) for sample in samples), []) for name in ("colors", "targets", "numbers"))
    )


def read_coco(path: Path) -> CocoFile:
    """The annotations in a file, checked in themselves.

    Raises:
        InputError: The file is missing or broken, or something in it does not fit the rest.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as COCO annotations ({first_line(error)}); get it again") from None
    for name, keys in (
        ("images", {"id", "file_name", "height", "width"}),
        ("annotations", {"id", "image_id", "category_id", "bbox", "segmentation"}),
        ("categories", {"id", "name"}),
    ):
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise InputError(f"{path} has no list of {name}, so it is no file of COCO annotations of objects")
        if wrong := [row for row in rows if not isinstance(row, dict) or not keys <= set(row)]:
            raise InputError(f"{path}: one of its {name} lacks one of {', '.join(sorted(keys))}: {str(wrong[0])[:100]}")
    images = [row["id"] for row in content["images"]]
    if not images:
        raise InputError(f"{path} names no image: the split is empty; name another file")
    if len(set(images)) < len(images):
        raise InputError(f"{path}: two images have one id; give each one of its own")
    categories = {row["id"]: str(row["name"]) for row in content["categories"]}
    known = {"image_id": set(images), "category_id": set(categories)}
    for row in content["annotations"]:
        for key, ids in known.items():
            if row[key] not in ids:
                raise InputError(f"{path}: annotation {row['id']} has {key} {row[key]}, which the file does not define")
    return CocoFile(path, content, dict(sorted(categories.items())))


def shared_categories(*files: CocoFile) -> dict[int, str]:
    """The categories of all files together: names by id, in the order of the ids.

    Raises:
        InputError: Two files name the same id differently.
    """
    together: dict[int, str] = {}
    for file in files:
        for id, name in file.categories.items():
            if together.setdefault(id, name) != name:
                raise InputError(
                    f"{file.path}: category {id} is {name}, and {together[id]} in {files[0].path}; "
                    f"the files of a run must number their categories alike"
                )
    return dict(sorted(together.items()))


def find_images(file: CocoFile, folder: Path) -> list[CocoImage]:
    """All images of a file, in the order of their ids, without their objects.

    Args:
        file: Annotations.
        folder: Where their file names start from.

    Raises:
        InputError: An image is not there.
    """
    images = [
        CocoImage(
            row["file_name"],
            str(row.get("scene", row["file_name"])),
            row["id"],
            folder / row["file_name"],
            (int(row["height"]), int(row["width"])),
        )
        for row in sorted(file.content["images"], key=lambda row: row["id"])
    ]
    if missing := [image.id for image in images if not image.path.is_file()]:
        raise InputError(
            f"{file.path} names {len(missing)} images that are not in {folder}, such as {missing[0]}; "
            f"get them, or name the folder that the names start from"
        )
    return images


def with_objects(images: Sequence[CocoImage], file: CocoFile) -> list[CocoImage]:
    """Those of the images that have objects, with these. What is left out is counted in the log.

    Crowds are left out, objects without extent, and images without an object.

    Raises:
        InputError: A box or segmentation cannot be read, or nothing is left.
    """
    rows = defaultdict(list)
    for row in file.content["annotations"]:
        rows[row["image_id"]].append(row)
    found, crowds, empty = [], 0, 0
    for image in images:
        alone = [row for row in rows[image.number] if not row.get("iscrowd")]
        objects = [_object(file.path, row, image.size) for row in alone]
        crowds += len(rows[image.number]) - len(alone)
        empty += objects.count(None)
        if kept := tuple(each for each in objects if each is not None):
            found.append(replace(image, objects=kept))
    if not found:
        raise InputError(f"{file.path}: no image of this split has an object to learn; name another file")
    logger.info(
        "%s: %d objects in %d images; left out: %d crowds, %d objects without extent, %d images without an object",
        file.path, sum(len(image.objects) for image in found), len(found), crowds, empty, len(images) - len(found),
    )  # fmt: skip
    return found


def _object(path: Path, row: dict[str, Any], size: tuple[int, int]) -> CocoObject | None:
    """An annotation as an object, None if nothing of it is in the image."""
    try:
        left, top, width, height = (float(number) for number in row["bbox"])
        mask = compress(row["segmentation"], size)
        area = 0 if mask is None else mask_area(mask)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: annotation {row['id']} is broken ({first_line(error)}); mend or remove it") from None
    x1, x2 = (min(max(x, 0.0), float(size[1])) for x in (left, left + width))
    y1, y2 = (min(max(y, 0.0), float(size[0])) for y in (top, top + height))
    if mask is None or area == 0 or not (x2 > x1 and y2 > y1):
        return None
    return CocoObject((x1, y1, x2, y2), row["category_id"], mask)
