"""Average precision, as COCO's own evaluation computes it (Lin et al., ECCV 2014)."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .coco_data import CocoFile

AP, AP50 = 0, 1  # places in COCOeval's list of figures


@dataclass(frozen=True)
class DetectionFigures:
    """Average precisions, means over the categories that occur in the truth, of at most 100 detections an image.

    Args:
        box_ap: Mean over overlaps (intersection over union) of 0.5, 0.55, ... 0.95 that boxes must have to count.
        box_ap50: At 0.5.
        mask_ap, mask_ap50: The same of masks.
    """

    box_ap: float
    box_ap50: float
    mask_ap: float
    mask_ap50: float


def average_precision(truth: CocoFile, detections: Sequence[dict[str, Any]]) -> DetectionFigures:
    """The figures of detections in all images of a file of annotations.

    Args:
        truth: With at least one object that is no crowd; the detections of a crowd count neither way.
        detections: Each with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score`` and
            ``segmentation`` (run lengths).
    """
    if not detections:  # pycocotools stumbles over an empty list
        return DetectionFigures(0.0, 0.0, 0.0, 0.0)
    figures = []
    with redirect_stdout(io.StringIO()):  # it prints what it does
        known = COCO()
        annotations = [
            {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]} | row for row in truth.content["annotations"]
        ]
        known.dataset = truth.content | {"annotations": annotations}  # copies, as it writes into them
        known.createIndex()
        found = known.loadRes([dict(detection) for detection in detections])
        for kind in ("bbox", "segm"):
            evaluation = COCOeval(known, found, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            figures += [float(evaluation.stats[AP]), float(evaluation.stats[AP50])]
    return DetectionFigures(*figures)
