"""The confusion matrix and its figures against torchmetrics and values by hand."""

import pytest
import torch

from pri3d_zoo.training.evaluate.confusion import ConfusionMatrix, figures
from pri3d_zoo.training.evaluate.label_sets import IGNORED


def test_by_hand():
    matrix = ConfusionMatrix(3, torch.device("cpu"))
    matrix.add(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, IGNORED, 1], dtype=torch.uint8))
    assert matrix.counts.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    found = figures(matrix)
    assert found.class_iou == [1 / 2, 1 / 3, 0.0]  # class 2 is predicted once and never true
    assert found.miou == pytest.approx((1 / 2 + 1 / 3) / 3)
    assert (found.pixel_accuracy, found.pixels) == (0.5, 4)


def test_classes_that_never_occur_are_left_out():
    matrix = ConfusionMatrix(4, torch.device("cpu"))
    assert figures(matrix).miou == 0
    matrix.add(torch.tensor([[1, 1]]), torch.tensor([[1, 3]], dtype=torch.uint8))
    assert figures(matrix).class_iou == [None, 0.5, None, 0.0]
    assert figures(matrix).miou == 0.25


def test_against_torchmetrics():
    segmentation = pytest.importorskip("torchmetrics.classification")
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, 14, (6, 40, 50), generator=generator).to(torch.uint8)
    true[true == 13] = IGNORED
    predicted = torch.where(
        torch.rand(true.shape, generator=generator) < 0.6,
        true.long().clamp(max=12),
        torch.randint(0, 13, true.shape, generator=generator),
    )
    matrix = ConfusionMatrix(13, torch.device("cpu"))
    theirs = segmentation.MulticlassJaccardIndex(13, average=None, ignore_index=IGNORED)
    for part in range(0, 6, 2):  # whatever the batches
        matrix.add(predicted[part : part + 2], true[part : part + 2])
        theirs.update(predicted[part : part + 2], true[part : part + 2].long())
    found = figures(matrix)
    assert found.class_iou == pytest.approx(theirs.compute().tolist(), abs=1e-6)
    assert found.miou == pytest.approx(theirs.compute().mean().item(), abs=1e-6)
