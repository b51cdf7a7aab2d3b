"""Figures of semantic segmentation, all from one confusion matrix over a whole split, as the authors compute them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .label_sets import IGNORED


class ConfusionMatrix:
    """Counts of (true class, predicted class), on the device of what is added.

    Args:
        classes: How many.
        device: Where it is counted.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Count pixels: class indices (...) each; those whose true one is ``IGNORED`` do not count."""
        counted = true != IGNORED
        classes = len(self.counts)
        # what does not count goes to a cell of its own, so that no shape depends on the data
        cell = torch.where(counted, true.long() * classes + predicted.long(), classes**2)
        self.counts += torch.bincount(cell.flatten(), minlength=classes**2 + 1)[:-1].view(classes, classes)


@dataclass(frozen=True)
class SegmentationFigures:
    """What a confusion matrix says.

    Args:
        miou: Mean over the classes of intersection over union; classes that neither occur nor are predicted are left
            out of the mean.
        pixel_accuracy: Share of pixels that are right.
        class_iou: Of each class; None for those left out.
        pixels: How many counted.
    """

    miou: float
    pixel_accuracy: float
    class_iou: list[float | None]
    pixels: int


def figures(matrix: ConfusionMatrix) -> SegmentationFigures:
    """The figures of what was added, all 0 where nothing was."""
    counts = matrix.counts.double().cpu()
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    there = union > 0
    iou = right / union.clamp(min=1)
    return SegmentationFigures(
        miou=iou[there].mean().item() if there.any() else 0.0,
        pixel_accuracy=(right.sum() / counts.sum().clamp(min=1)).item(),
        class_iou=[value if seen else None for value, seen in zip(iou.tolist(), there.tolist(), strict=True)],
        pixels=int(counts.sum()),
    )
