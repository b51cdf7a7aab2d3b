"""The linear probes: against scikit-like least squares in numpy, and on features that hold the answer, or nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.backbones import FeatureMaps
from pri3d_zoo.training.evaluate.label_sets import label_set
from pri3d_zoo.training.evaluate.labelled_images import Item, LabelledImages
from pri3d_zoo.training.evaluate.linear import LeastSquares, probe_depth, probe_segmentation


class Maps(FeatureMaps):
    """Maps computed from the image by a function."""

    def __init__(self, **stages):
        nn.Module.__init__(self)
        self.stages = stages

    def forward(self, images):
        return {name: make(images) for name, make in self.stages.items()}


def test_least_squares_against_numpy():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(500, 6)) * [1, 10, 0.1, 1, 1, 1] + 3
    targets = features @ generator.normal(size=(6, 2)) + generator.normal(size=(500, 2)) + 5
    least = LeastSquares(6, 2, torch.device("cpu"))
    for part in range(0, 500, 100):
        least.add(torch.from_numpy(features[part : part + 100]), torch.from_numpy(targets[part : part + 100]))
    weight, offset = least.solve()
    expected = np.linalg.lstsq(np.c_[features, np.ones(500)], targets, rcond=None)[0]
    assert np.allclose(weight, expected[:6], rtol=2e-2, atol=5e-3)  # but for the ridge
    found = features @ weight.numpy() + offset.numpy()
    assert np.allclose(found, np.c_[features, np.ones(500)] @ expected, atol=0.01)
    with pytest.raises(InputError, match="nothing to fit"):
        LeastSquares(6, 2, torch.device("cpu")).solve()


def test_features_that_do_not_vary_do_no_harm():
    least = LeastSquares(3, 1, torch.device("cpu"))
    x = torch.arange(10.0)
    least.add(torch.stack((x, torch.ones(10), x), 1), 2 * x[:, None] + 1)
    weight, offset = least.solve()
    assert torch.isfinite(weight).all()
    assert torch.allclose(torch.stack((x, torch.ones(10), x), 1) @ weight + offset, 2 * x[:, None] + 1, atol=0.01)


def striped(seed):
    """An image whose red tells the class: wall, floor or bed in vertical stripes eight pixels wide."""
    ids = np.random.default_rng(seed).integers(1, 5, 8)  # 3 is a cabinet, 4 a bed
    labels = np.repeat(ids, 8)[None].repeat(48, 0).astype(np.uint8)
    color = np.stack((labels * 50, labels * 0, labels * 0), -1).astype(np.uint8)
    return color, labels


def images(seeds):
    return LabelledImages(
        [Item(f"{s}", f"{s}", lambda s=s: striped(s)[0], lambda s=s: striped(s)[1]) for s in seeds],
        label_set("nyu40"),
        (48, 64),
    )


def test_classes_that_features_hold_are_found_and_others_not():
    def indicators(image):
        red = (image[:, :1] * 0.229 + 0.485) * 255 / 50
        return torch.cat([(red.round() == id).float() for id in range(1, 5)], 1)[..., 4::8, 4::8]

    network = Maps(known=indicators, blind=lambda image: torch.randn(len(image), 5, 6, 8))
    torch.manual_seed(0)
    found = probe_segmentation(network, images(range(12)), images(range(100, 106)))
    # cells are as wide as stripes, and between their middles scores are mixed
    assert found["known"].pixel_accuracy > 0.9
    assert found["blind"].pixel_accuracy < 0.45
    assert [value is None for value in found["known"].class_iou[:5]] == [False] * 4 + [True]
    with pytest.raises(InputError, match="no stage 'x' in this network; there are known, blind"):
        probe_segmentation(network, images([1]), images([2]), ["x"])


def test_depth_from_features_that_hold_it(tiny_store):
    store = SceneStore(tiny_store)
    depth = {
        name: torch.stack([torch.from_numpy(store.scene(name).depth(i)) for i in range(4)]) for name in ("box0", "box1")
    }
    turn = iter(["box0", "box1"])

    def logarithm(image):
        assert len(image) == 4
        return depth[next(turn)].log()[:, None] * 3 + 2

    found = probe_depth(Maps(known=logarithm), store, training=["box0"], validation=["box1"], frames=4)["known"]
    assert found.rmse < 0.01
    assert found.within_quarter == 1
    assert found.pixels == 4 * 48 * 64
    constant = probe_depth(
        Maps(blind=lambda image: torch.ones(len(image), 2, 3, 4)),
        store,
        training=["box0"],
        validation=["box1"],
        frames=4,
    )["blind"]
    mean = depth["box0"][:, 8::16, 8::16].log().mean().exp()  # the middles of the cells
    assert constant.rmse == pytest.approx((depth["box1"] - mean).square().mean().sqrt().item(), rel=1e-3)
    assert constant.relative == pytest.approx(((depth["box1"] - mean).abs() / depth["box1"]).mean().item(), rel=1e-3)
    with pytest.raises(InputError, match="other scenes to measure on"):
        probe_depth(Maps(), store, training=["box0"], validation=["box0"], frames=4)
