"""From label and instance images to COCO's form, as ``pri3d_zoo/configs/detectron2`` names the files.

What counts as an object follows the authors' converters (github.com/Sekunde/Pri3D, ``downstream/insseg/dataset``): one
of their classes, of at least 1000 pixels; images without any are left out, of the validation split too. Other than
theirs, masks are exact, as run lengths and with their holes, and objects of NYUv2 whose labels differ stay two, even
if both labels fall into one of the 9 classes and both objects have the same number.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from pri3d_zoo.files import whole_file, write_whole

from ..errors import InputError
from .coco_masks import encode_mask, mask_box
from .coco_sources import LabelledObjects, find_split

MIN_PIXELS = 1000  # the authors'


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Args:
        path: The annotations.
        folder: Where their file names start from.
        images: With objects.
        objects: Of all images.
        small: Objects left out, as they are too small.
        empty: Images left out, as they have no object.
    """

    path: Path
    folder: Path
    images: int
    objects: int
    small: int
    empty: int

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.objects} objects in {self.images} images of {self.folder}; left out: "
            f"{self.small} objects that are too small, {self.empty} images without an object"
        )


def convert_to_coco(
    dataset: str, root: Path, out: Path, split: str, *, min_pixels: int = MIN_PIXELS, workers: int = 1
) -> Conversion:
    """Write ``OUT/<dataset>_<split>.coco.json``, and the images beside it where ``root`` has them in no folder.

    Args:
        dataset: scannet (``scannet_frames_25k``, 18 classes), nyuv2 (the official files, 9 classes) or store (prepared
            scenes with labels and instances, ScanNet's classes; all of them are in either split).
        root: Its folder.
        out: Folder to write to.
        split: train or val.
        min_pixels: Objects with fewer are left out.
        workers: Processes.

    Raises:
        InputError: There is no such dataset or split, nothing of it at ``root``, or a file of it is broken; then there
            is no file of annotations, or the one from before.
    """
    classes, found = find_split(dataset, root, split)
    work = partial(_annotate, table=found.table, folder=out, min_pixels=min_pixels)
    jobs = (joblib.delayed(work)(image) for image in found.images)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    rows: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    small = 0
    for image, (size, objects, left_out) in zip(
        found.images, track(results, f"{dataset} {split}", total=len(found.images)), strict=True
    ):
        small += left_out
        if not objects:
            continue
        number = len(rows["images"]) + 1
        row = {"id": number, "file_name": image.file_name, "height": size[0], "width": size[1], "scene": image.scene}
        rows["images"].append(row)
        for each in objects:
            ids = {"id": len(rows["annotations"]) + 1, "image_id": number}
            rows["annotations"].append(ids | each | {"iscrowd": 0})
    if not rows["annotations"]:
        raise InputError(f"{root}: no object of {min_pixels} pixels or more is in the split {split} of {dataset}")
    content = {
        "info": {"description": f"{dataset}, {split}, objects of at least {min_pixels} pixels"},
        "categories": [{"id": id, "name": name} for id, (name, _) in enumerate(classes, start=1)],
        **rows,
    }
    path = out / f"{dataset}_{split}.coco.json"
    write_whole(path, json.dumps(content))
    count = len(rows["images"])
    return Conversion(
        path, found.folder or out, count, len(rows["annotations"]), small, empty=len(found.images) - count
    )


def find_objects(
    labels: NDArray[Any], instances: NDArray[Any], table: NDArray[np.uint8], min_pixels: int
) -> tuple[list[dict[str, Any]], int]:
    """Annotations of the objects of an image, in the order of label and instance, and how many were too small.

    Args:
        labels: (H, W), each a place in ``table``.
        instances: (H, W), 0 = none.
        table: Category of each label, 0 for none.
        min_pixels: Objects with fewer are too small.
    """
    step = int(instances.max()) + 1
    keys = labels.astype(np.int64) * step + instances
    counts = np.bincount(keys.ravel())
    found = [key for key in np.flatnonzero(counts) if table[key // step] and key % step]
    keys = np.asfortranarray(keys)  # as COCO counts pixels, column by column
    objects = []
    for key in found:
        if counts[key] < min_pixels:
            continue
        mask = encode_mask(keys == key)
        objects.append(
            {
                "category_id": int(table[key // step]),
                "segmentation": mask,
                "bbox": mask_box(mask),
                "area": int(counts[key]),
            }
        )
    return objects, len(found) - len(objects)


def _annotate(
    image: LabelledObjects, table: NDArray[np.uint8], folder: Path, min_pixels: int
) -> tuple[tuple[int, int], list[dict[str, Any]], int]:
    """Size, annotations and number of small objects of an image, which is written if need be."""
    labels, instances = image.read()
    if labels.shape != instances.shape:
        raise InputError(f"{image.file_name}: its labels are {labels.shape} and its instances {instances.shape}")
    if labels.max() >= len(table):
        raise InputError(f"{image.file_name}: its labels hold {labels.max()}, and the classes end at {len(table) - 1}")
    objects, small = find_objects(labels, instances, table, min_pixels)
    if objects and image.color is not None:
        path = folder / image.file_name
        with whole_file(path) as temporary:
            Image.fromarray(image.color()).save(temporary, "PNG")
    return (labels.shape[0], labels.shape[1]), objects, small
