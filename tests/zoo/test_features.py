import json
import math
import re

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from pri3d_zoo import ResUNet, create_model
from pri3d_zoo.features import ImageError, draw_features, feature_map, match_heatmap, pca_colors, write_page
from pri3d_zoo.resunet import build_resunet


class Patches(nn.Module):
    """A model whose features are known: every cell of 2x2 pixels is the patch of 6x6 around it."""

    feature_info = ({"num_chs": 108, "reduction": 2, "module": "patches"},)

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 120, 160), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        self.register_parameter("device", nn.Parameter(torch.empty(0)))

    def forward_intermediates(self, x, indices, intermediates_only):
        assert (indices, intermediates_only, self.training) == ([0], True, False)
        return [functional.unfold(x, 6, padding=2, stride=2).unflatten(2, (x.shape[2] // 2, x.shape[3] // 2))]


@pytest.fixture
def noise() -> np.ndarray:
    """(144, 240, 3): an image in which no two places are alike."""
    return np.random.default_rng(0).integers(0, 256, (144, 240, 3), dtype=np.uint8)


@pytest.fixture
def two_views(tmp_path, noise):
    """The same scene, once shifted by (14, 10) pixels, 120x160; saved without loss."""
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path, (v, u) in zip(paths, ((0, 0), (10, 14)), strict=True):
        Image.fromarray(noise[v : v + 120, u : u + 160]).save(path)
    return paths


def test_a_shifted_image_is_matched_by_the_same_shift(two_views, tmp_path):
    for u, v in ((100, 60), (31, 83), (150, 20)):
        picture = draw_features(Patches(), two_views, tmp_path / "out.png", pixel=(u, v))
        # cells are two pixels wide, so a match is known to half a cell
        assert picture.match.pixel == (u, v)
        assert abs(picture.match.best[0] - (u - 14)) <= 1
        assert abs(picture.match.best[1] - (v - 10)) <= 1
        assert picture.match.similarity > 0.5
    assert f"pixel (150, 20) of the first is {picture.match.best} of the second" in str(picture)
    assert draw_features(Patches(), two_views, tmp_path / "out.png").match.pixel == (80, 60)


def test_matches_are_in_pixels_of_the_original_images(two_views, tmp_path):
    """The second image at three times the size: the model sees the same, the answer is in the large image's pixels."""
    large = tmp_path / "large.png"
    with Image.open(two_views[1]) as image:
        image.resize((480, 360), Image.Resampling.NEAREST).save(large)
    picture = draw_features(Patches(), [two_views[0], large], tmp_path / "out.png", pixel=(100, 60))
    assert abs(picture.match.best[0] - (3 * 86 + 1)) <= 3
    assert abs(picture.match.best[1] - (3 * 50 + 1)) <= 3
    back = draw_features(Patches(), [large, two_views[0]], tmp_path / "out.png", pixel=(3 * 86 + 1, 3 * 50 + 1))
    assert abs(back.match.best[0] - 100) <= 1
    assert abs(back.match.best[1] - 60) <= 1


def test_heatmap_by_hand():
    first = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])  # one row of two cells: along x, and along y
    second = torch.tensor([[[3.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [[0.0, 5.0, 0.0], [-1.0, 1.0, -0.1]]])
    heat, best = match_heatmap(first, second, (0, 0))
    torch.testing.assert_close(heat, torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5**0.5, 0.0]]))
    assert best == (0, 0)
    assert match_heatmap(first, second, (1, 0))[1] == (1, 0)
    heat, best = match_heatmap(first, second, (1 / 2, 0))  # half of x and half of y, whatever their lengths
    assert best == (1, 1)
    torch.testing.assert_close(heat[1, 1], torch.tensor(1.0))
    torch.testing.assert_close(match_heatmap(first, second, (-5, 3))[0], match_heatmap(first, second, (0, 0))[0])


def page_match(first, second, sizes, u, v):
    """The cosines of `match` in page.js, line by line, for features in full precision."""
    (rows, columns), (width, height) = first.shape[1:], sizes
    lengths = np.maximum(np.sqrt((first**2).sum(0)), 1e-12)
    x = min(max((u + 0.5) * columns / width - 0.5, 0), columns - 1)
    y = min(max((v + 0.5) * rows / height - 0.5, 0), rows - 1)
    left, top = math.floor(x), math.floor(y)
    query = np.zeros(len(first))
    for column, row, share in (
        (left, top, (left + 1 - x) * (top + 1 - y)),
        (left + 1, top, (x - left) * (top + 1 - y)),
        (left, top + 1, (left + 1 - x) * (y - top)),
        (left + 1, top + 1, (x - left) * (y - top)),
    ):
        if share:
            query += share * first[:, row, column] / lengths[row, column]
    query /= max(np.linalg.norm(query), 1e-12)
    return np.tensordot(query, second, 1) / np.maximum(np.sqrt((second**2).sum(0)), 1e-12)


def test_the_page_and_the_picture_find_the_same_cell():
    generator = np.random.default_rng(2)
    # neighbours of very different lengths, as a ReLU leaves them
    first, second = (generator.normal(size=(6, 9, 12)) * generator.lognormal(0, 2, (9, 12)) for _ in range(2))
    for u, v in generator.integers(0, (320, 240), (200, 2)):
        cell = ((u + 0.5) * 12 / 320 - 0.5, (v + 0.5) * 9 / 240 - 0.5)
        heat, best = match_heatmap(torch.from_numpy(first), torch.from_numpy(second), cell)
        cosines = page_match(first, second, (320, 240), u, v)
        np.testing.assert_allclose(heat.numpy(), cosines, atol=1e-9)
        assert best == np.unravel_index(cosines.argmax(), cosines.shape)[::-1]


def test_colors_are_the_components_of_all_maps_together():
    generator = np.random.default_rng(1)
    maps = [torch.from_numpy(generator.normal(size=size)).float() for size in ((8, 12, 10), (8, 7, 9))]
    colors = pca_colors(maps)
    assert [(x.shape, x.dtype) for x in colors] == [((12, 10, 3), torch.uint8), ((7, 9, 3), torch.uint8)]
    rows = np.concatenate([x.numpy().reshape(8, -1).T for x in maps]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(0)
    components = np.linalg.svd(rows, full_matrices=False)[2][:3]
    components *= np.sign(components[range(3), np.abs(components).argmax(1)])[:, None]
    projected = rows @ components.T
    low, high = np.quantile(projected, (0.02, 0.98), axis=0, method="nearest")
    expected = (np.clip((projected - low) / (high - low), 0, 1) * 255).round()
    found = np.concatenate([x.numpy().reshape(-1, 3) for x in colors])
    assert np.abs(found - expected).max() <= 1


def test_equal_features_have_equal_colors_whatever_their_length():
    torch.manual_seed(0)
    features = torch.randn(16, 6, 5)
    one, two = pca_colors([features, 3 * features.flip(2)])
    assert torch.equal(one, two.flip(1))
    assert torch.equal(pca_colors([features, features])[0], pca_colors([features, features])[1])
    assert not pca_colors([torch.ones(4, 3, 3)])[0].any()


def test_the_map_of_each_kind_of_model():
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        dense = build_resunet("resnet18", num_classes=5).eval()
        assert torch.equal(feature_map(dense, image), dense.forward_features(image))
        encoder = timm.create_model("resnet18_pri3d_joint").eval()
        stride_8 = encoder.forward_intermediates(image, intermediates_only=True)[2]
        assert torch.equal(feature_map(encoder, image), stride_8)
        assert stride_8.shape == (1, 128, 8, 12)
        assert feature_map(timm.create_model("vit_tiny_patch16_224", img_size=(64, 96)), image).shape == (1, 192, 4, 6)
    with pytest.raises(ValueError, match="Identity is neither a dense model nor"):
        feature_map(nn.Identity(), image)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("patch", [14, 16])
def test_maps_of_transformers_cover_their_images_exactly(two_views, tmp_path, patch, dense):
    """No cell of them reaches beyond the border, which would put all places off."""
    torch.manual_seed(0)
    if patch == 16:
        model = create_model("vit_tiny_patch16_224_pri3d_joint", pretrained=False)
    else:
        model = timm.models.VisionTransformer(
            patch_size=14, embed_dim=32, depth=4, num_heads=2, dynamic_img_size=True, dynamic_img_pad=True
        )
        model.pretrained_cfg = Patches().pretrained_cfg
    seen = []
    model.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    if dense:
        model = ResUNet(model, decoder="light")
        model.pretrained_cfg = Patches().pretrained_cfg
    drawn = draw_features(model, two_views, tmp_path / "out.png", size=120)
    write_page({"one": model}, two_views, tmp_path / "out.html", size=120)
    assert len(seen) == 4
    stride = 2 if dense else patch
    for height, width in seen:
        assert 90 < height < 150
        assert height % patch == width % patch == 0
        assert (height, width) == tuple(cells * stride for cells in drawn.grids[0][1:])


def test_the_picture(two_views, tmp_path):
    picture = draw_features(Patches(), two_views, tmp_path / "new" / "out.png", pixel=(100, 60))
    assert picture.grids == ((108, 60, 80), (108, 60, 80))
    with Image.open(picture.path) as drawn, Image.open(two_views[0]) as first:
        # shown at a height of 320, so at 427 wide: three rows of two with gaps of 4
        assert (drawn.format, drawn.size) == ("PNG", (2 * 427 + 4, 3 * 320 + 2 * 4))
        shown = np.asarray(first.resize((427, 320), Image.Resampling.BILINEAR))
        assert np.array_equal(np.asarray(drawn)[:320, :427], shown)
        # the query is at (268, 161) of the first part of the third row: in a ring with a radius of 10
        query = np.asarray(drawn)[648:968, :427]
        v, u = np.nonzero((query == (0, 255, 255)).all(2))
        assert np.abs((u.mean() - 267.7, v.mean() - 160.8)).max() < 1
        assert np.abs(np.hypot(u - 267.7, v - 160.8) - 9.5).max() < 2
        assert np.array_equal(query[158:163, 265:270], shown[158:163, 265:270])
    one = draw_features(Patches(), two_views[:1], tmp_path / "one.JPEG")
    assert one.match is None
    with Image.open(one.path) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (858, 320))
    assert str(one).endswith("one.JPEG: features of 1 image, 60x80 cells of 108 channels")
    assert draw_features(Patches(), two_views[:1] * 3, tmp_path / "three.jpg", size=64).grids == ((108, 32, 44),) * 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix not in (".png", ".jpg")) == [
        "new",
        "one.JPEG",
    ]


def test_images_are_seen_upright(two_views, tmp_path):
    """A camera held on its side writes pixels on their side, and says so."""
    turned = tmp_path / "turned.png"
    with Image.open(two_views[0]) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    picture = draw_features(Patches(), [turned, two_views[0]], tmp_path / "out.png", pixel=(150, 20))
    assert abs(picture.match.best[0] - 150) <= 1
    assert abs(picture.match.best[1] - 20) <= 1


def test_a_real_dense_model_is_drawn(two_views, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("resunet18_pri3d_joint").train()
    picture = draw_features(model, two_views, tmp_path / "out.png", size=64)
    assert picture.grids == ((32, 32, 44), (32, 32, 44))
    assert not model.training


def test_the_page(two_views, tmp_path):
    """What it shows is looked at in a browser, by the tests of the page."""
    said = write_page({"one": Patches(), "two": Patches()}, two_views, tmp_path / "new" / "page.html", pixel=(100, 60))
    assert said.startswith(f"{tmp_path / 'new' / 'page.html'}: one beside two, ")
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "<title>Where first.png is in second.png</title>" in text
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])
    assert [(view["name"], view["width"], view["height"]) for view in data["views"]] == [
        ("first.png", 160, 120),
        ("second.png", 160, 120),
    ]
    assert [(x["name"], x["maps"][0]["rows"], x["maps"][1]["columns"]) for x in data["weights"]] == [
        ("one", 60, 80),
        ("two", 60, 80),
    ]
    assert (data["voxels"], data["start"]) == (None, {"side": 0, "u": 100, "v": 60})
    assert str(tmp_path) not in text  # it may be given away
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("images", "out", "pixel", "message"),
    [
        (["first"], "page.html", None, r"it takes 2 images, not 1"),
        (["first", "second"], "page.jpg", None, r"page\.jpg is no name for a page: it has to end in \.html, \.htm$"),
        (["first", "second"], "page.html", (160, 3), r"pixel \(160, 3\) is outside .*first\.png, which is 160 wide"),
        (["first", "missing"], "page.html", None, r"there is no image .*missing\.png"),
        (["first", "second"], "first.png/page.html", None, r"first\.png/page\.html cannot be written"),
    ],
)
def test_mistakes_about_a_page_are_one_sentence_and_leave_nothing(two_views, tmp_path, images, out, pixel, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ImageError, match=message):
        write_page({"one": Patches()}, [tmp_path / f"{name}.png" for name in images], tmp_path / out, pixel=pixel)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("images", "out", "pixel", "message"),
    [
        ([], "out.png", None, "must be an image to draw, and 0 are given"),
        (["first"], "out.png", (1, 1), r"pixel \(1, 1\) is matched between two images, and 1 are given"),
        (["first", "second"], "out.png", (160, 3), r"pixel \(160, 3\) is outside .*first\.png, which is 160 wide"),
        (["first", "second"], "out.png", (3, -1), r"pixel \(3, -1\) is outside"),
        (["first", "missing"], "out.png", None, r"there is no image .*missing\.png"),
        (["first", "broken"], "out.png", None, r"broken\.png cannot be read as an image \(.*truncated"),
        (["first", "text"], "out.png", None, r"text\.png cannot be read as an image \(cannot identify"),
        (["first", "postscript"], "out.png", None, r"postscript\.png cannot be read as an image \(cannot identify"),
        (["first", "second"], "out.gif", None, r"out\.gif is no name for a picture: .* \.png, \.jpg, \.jpeg$"),
        (["first", "second"], "second.png", None, r"second\.png is one of the images to look at"),
        (["first", "second"], "text.png/out.png", None, r"text\.png/out\.png cannot be written"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(two_views, tmp_path, images, out, pixel, message):
    content = two_views[0].read_bytes()
    (tmp_path / "broken.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    Image.new("RGB", (160, 120)).save(tmp_path / "postscript.png", "EPS")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ImageError, match=message) as caught:
        draw_features(Patches(), [tmp_path / f"{name}.png" for name in images], tmp_path / out, pixel=pixel)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
