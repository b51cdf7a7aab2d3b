"""Augmentation: colours against torchvision's own transforms, cameras against worked examples and brute force."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torchvision.transforms.v2 import functional as TF

from pri3d_zoo.training.data.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SMALLEST_CROP,
    Window,
    adjust_hue,
    change_colors,
    crop_and_resize,
    draw_color_changes,
    gaussian_blur,
    mirror,
    normalize,
    random_window,
)
from pri3d_zoo.training.data.dataset import PairDataset
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.geometry import depth_to_world, frustum_box, project
from pri3d_zoo.training.matches import OVERSAMPLE, view_matches

SIZE = (24, 32)


def picture(size=SIZE, seed=0):
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def view():
    """A slanted wall, seen by a turned camera: colour, depth, intrinsics and pose."""
    intrinsics = torch.tensor([[30.0, 0, 14.5], [0, 28, 12.25], [0, 0, 1]], dtype=torch.float64)
    v, u = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    depth = 3 / (1 + 0.2 * (u - 14.5) / 30 + 0.1 * (v - 12.25) / 28)
    depth[3:5, 20:24] = 0
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    pose[:3, 3] = torch.tensor([1.0, -2, 0.5])
    return picture(), depth, intrinsics, pose


def pictures(count, size=(48, 64)):
    return torch.stack([picture(size, seed) for seed in range(count)])


def test_blur_is_torchvisions():
    images, sigmas = pictures(6).float(), torch.tensor([0.1, 0.4, 0.8, 1.3, 2.0, 1e-3])
    ours = gaussian_blur(images, sigmas)
    for image, sigma, blurred in zip(images, sigmas.tolist(), ours, strict=True):
        torch.testing.assert_close(blurred, TF.gaussian_blur(image, 9, sigma), rtol=0, atol=2e-3)
    assert torch.equal(ours[-1], images[-1])


def test_hue_is_torchvisions():
    turns = torch.tensor([-0.5, -0.1, -0.03, 0.0, 0.07, 0.1, 0.4])
    grey = picture()[:1].expand(3, -1, -1)
    corners = 255 * torch.tensor([[(n >> bit) & 1 for n in range(8)] for bit in range(3)], dtype=torch.uint8)
    for image in (picture((200, 200)), picture() // 64 * 85, grey, corners[:, None]):
        batch = image.float().expand(len(turns), -1, -1, -1)
        for turned, turn in zip(adjust_hue(batch, turns), turns.tolist(), strict=True):
            torch.testing.assert_close(turned, 255 * TF.adjust_hue(image / 255, turn), rtol=0, atol=2e-3)
        assert torch.equal(adjust_hue(grey.float()[None], turns[:1])[0], grey.float())


def test_hue_by_hand():
    def turned(color, turn):
        image = torch.tensor(color, dtype=torch.float32)[None, :, None, None]
        return adjust_hue(image, torch.tensor([turn])).flatten().round().tolist()

    assert turned([255, 0, 0], 1 / 3) == [0, 255, 0]  # red to green
    assert turned([255, 0, 0], -1 / 6) == [255, 0, 255]  # red to magenta
    assert turned([200, 100, 100], 1 / 12) == [200, 150, 100]
    assert turned([30, 60, 90], 0.5) == [90, 60, 30]


def test_changes_are_torchvisions_one_after_the_other():
    images, seeds = pictures(60, SIZE), torch.arange(60) * 977
    changes = draw_color_changes(seeds)
    ours = change_colors(images, changes)
    steps = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    for i, image in enumerate(images):
        expected = image / 255
        amounts = [*changes.factors[i].tolist(), changes.turn[i].item()]
        for number in changes.order[i].argsort().tolist():
            expected = steps[number](expected, amounts[number])
        if changes.grey[i]:
            expected = TF.rgb_to_grayscale(expected, 3)
        expected = TF.gaussian_blur(expected, 9, changes.sigma[i].item())
        torch.testing.assert_close(ours[i], 255 * expected, rtol=0, atol=0.05)
    untouched = sum(torch.allclose(a, b.float(), atol=1e-3) for a, b in zip(ours, images, strict=True))
    assert 1 <= untouched <= 14  # of 60, 0.2 * 0.8 * 0.5 are expected to stay as they are


def test_draws_are_those_of_the_authors():
    changes = draw_color_changes(torch.arange(20_000))
    jittered = changes.turn != 0
    assert jittered.float().mean() == pytest.approx(0.8, abs=0.01)
    assert changes.grey.float().mean() == pytest.approx(0.2, abs=0.01)
    blurred = changes.sigma > 0.01
    assert blurred.float().mean() == pytest.approx(0.5, abs=0.015)
    assert torch.equal(changes.factors[~jittered], torch.ones(int((~jittered).sum()), 3))
    for values, low, high in (
        (changes.factors[jittered], 0.6, 1.4),
        (changes.turn[jittered], -0.1, 0.1),
        (changes.sigma[blurred], 0.1, 2.0),
    ):
        assert (values.min().item(), values.max().item()) == pytest.approx((low, high), abs=0.002)
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    orders, counts = changes.order.argsort(1).unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 700  # of 833 expected
    # every number by itself
    table = torch.stack((changes.factors[:, 0], changes.factors[:, 1], changes.turn, changes.order[:, 0]))
    assert (torch.corrcoef(table[:, jittered]) - torch.eye(4)).abs().max() < 0.03


def test_normalize_takes_bytes_and_floats():
    image = picture()
    expected = TF.normalize(image / 255, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(normalize(image), expected)
    torch.testing.assert_close(normalize(image.float()[None])[0], expected)


def test_mirrored_pixels_stay_in_their_place_of_the_world():
    color, depth, intrinsics, pose = view()
    mirrored = mirror(color, depth, intrinsics)
    assert mirrored[2].tolist() == [[-30, 0, 31 - 14.5], [0, 28, 12.25], [0, 0, 1]]
    before = depth_to_world(depth, intrinsics, pose).view(*SIZE, 3)
    after = depth_to_world(*mirrored[1:], pose).view(*SIZE, 3)
    torch.testing.assert_close(after, before.flip(1), rtol=0, atol=1e-12)
    assert torch.equal(mirrored[0], color.flip(-1))
    # and points of the world fall on the pixels that show them
    pixels, z = project(torch.tensor([[0.1, 0.2, 2.0]], dtype=torch.float64), mirrored[2])
    assert pixels[0].tolist() == pytest.approx([31 - (14.5 + 30 * 0.05), 12.25 + 28 * 0.1])
    assert z.item() == 2
    torch.testing.assert_close(frustum_box(*mirrored[1:], pose), frustum_box(depth, intrinsics, pose))
    again = mirror(*mirrored)
    assert all(torch.equal(a, b) for a, b in zip(again, (color, depth, intrinsics), strict=True))


def test_cropped_pixels_stay_in_their_place_of_the_world():
    color, depth, intrinsics, pose = view()
    cropped = crop_and_resize(color, depth, intrinsics, Window(4, 7, 15, 20), (15, 20))
    assert torch.equal(cropped[0], color[:, 4:19, 7:27])
    before = depth_to_world(depth, intrinsics, pose).view(*SIZE, 3)
    after = depth_to_world(*cropped[1:], pose).view(15, 20, 3)
    torch.testing.assert_close(after, before[4:19, 7:27], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(24, 32), (36, 48), (6, 8), (12, 16)])
def test_a_crop_that_is_resized_shows_what_its_rays_meet(size):
    """Colour and depth that hold their own column and row tell where each new pixel looks."""
    _, _, intrinsics, _ = view()
    v, u = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    color = torch.stack((8 * u, 8 * v, 0 * u)).to(torch.uint8)
    top, left, height, width = window = Window(6, 9, 12, 16)
    new_color, columns, k = crop_and_resize(color, u.float(), intrinsics, window, size)
    _, rows, _ = crop_and_resize(color, v.float(), intrinsics, window, size)
    new_v, new_u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    # the old pixel on the ray of each new one, by the two cameras alone
    old_u = (new_u - k[0, 2]) / k[0, 0] * 30 + 14.5
    old_v = (new_v - k[1, 2]) / k[1, 1] * 28 + 12.25
    assert old_u[0, 0] == pytest.approx(left - 0.5 + 0.5 * width / size[1])
    assert old_v[0, 0] == pytest.approx(top - 0.5 + 0.5 * height / size[0])
    half = 0.5 + 1e-6
    assert (columns - old_u).abs().max() <= half
    assert (rows - old_v).abs().max() <= half
    inner = (slice(2, -2), slice(2, -2))  # at the edges a mean has fewer neighbours
    assert (new_color[0].double() / 8 - old_u)[inner].abs().max() < 0.1
    assert (new_color[1].double() / 8 - old_v)[inner].abs().max() < 0.1


def test_random_windows_lie_in_the_image_and_everywhere():
    torch.manual_seed(0)
    windows = [random_window((240, 320)) for _ in range(500)]
    for top, left, height, width in windows:
        assert 0 <= top <= 240 - height
        assert 0 <= left <= 320 - width
        assert SMALLEST_CROP * 240 - 1 <= height <= 240
        assert abs(height / width - 0.75) < 0.01
    heights = np.array([window.height for window in windows])
    assert (heights.min(), heights.max()) == pytest.approx((144, 240), abs=3)
    assert min(window.top for window in windows) == min(window.left for window in windows) == 0
    assert max(window.top + window.height for window in windows) == 240
    assert max(window.left + window.width for window in windows) == 320


def world(depth, intrinsics, pose):
    """Back-projection written out once more, in numpy and float64."""
    depth, k, pose = (part.double().numpy() for part in (depth, intrinsics, pose))
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    local = np.stack(((u - k[0, 2]) / k[0, 0] * depth, (v - k[1, 2]) / k[1, 1] * depth, depth), -1).reshape(-1, 3)
    return local @ pose[:3, :3].T + pose[:3, 3]


def test_matches_of_augmented_pairs_against_brute_force(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), (48, 64), chunks=False, geometric=True)
    turned = 0
    for seed in range(12):
        batch = dataset[(seed % 10, seed)]
        turned += int((batch.intrinsics[0, :, 0, 0] < 0).sum() == 1)
        torch.manual_seed(seed)
        first, second, valid = view_matches(batch.depth, batch.intrinsics, batch.camera_to_world, 512, 0.05)
        a, b = (world(batch.depth[0, v], batch.intrinsics[0, v], batch.camera_to_world[0, v]) for v in range(2))
        distance = np.linalg.norm(a[first[0]] - b[second[0]], axis=1)
        distances, partners = cKDTree(b).query(a)
        nearest, partner = distances[first[0]], partners[first[0]]
        keep = valid[0].numpy()
        wanted = min(512, (distances < 0.05).mean() * OVERSAMPLE * 512)  # of those drawn, the share that is near
        assert 0.6 * wanted < keep.sum() <= 512
        assert (distance[keep] <= 0.05 + 1e-5).all()
        assert np.quantile(distance[keep] - nearest[keep], 0.95) < 1e-3
        # what was not matched though near shares its partner with another match
        lonely = ~keep & (nearest < 0.05 - 1e-5)
        assert np.isin(partner[lonely], second[0][keep]).all()
    assert turned > 2  # pairs of a mirrored view and one that is not are among them
