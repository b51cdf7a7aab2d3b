"""Augmentation: what a camera may change of a view, in its colours or in where it looks, not what a room looks like."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from ..geometry import scale_intrinsics

SMALLEST_CROP = 0.6  # of the sides of an image: two views that overlap must still do so when both are cut


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class ColorJitter(nn.Module):
    """``v2.ColorJitter`` with its draws and its values, but with ``adjust_hue`` below, on (3, H, W) uint8.

    Args:
        brightness: Largest change of the factor 1; likewise ``contrast`` and ``saturation``.
        contrast: See there.
        saturation: See there.
        hue: Largest turn either way; 0.5 is half the circle of colours.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        super().__init__()
        self.ranges = [*((1 - most, 1 + most) for most in (brightness, contrast, saturation)), (-hue, hue)]

    def forward(self, color: Tensor) -> Tensor:
        """The four changes in random order, all drawn from torch's global random state."""
        order, *amounts = v2.ColorJitter.get_params(*self.ranges)
        changes = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, adjust_hue)
        for number in order.tolist():
            color = changes[number](color, amounts[number])
        return color


def adjust_hue(color: Tensor, turn: float) -> Tensor:
    """torchvision's ``adjust_hue`` of (3, H, W) uint8, but for rounding, without going through HSV: 3 x faster.

    Lightest and darkest channel stay what they are; each channel runs between them along a trapezium over the hue.
    """
    red, green, blue = color.float()
    low, high = (extreme.float() for extreme in torch.aminmax(color, dim=0))
    chroma = high - low
    is_red, is_green = red == high, green == high
    hue = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    hue.div_(chroma.clamp(min=1)).add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))  # in sixths
    hue.add_(6 * turn).remainder_(6)
    channels = (hue - hue.new_tensor([3, 2, 4])[:, None, None]).abs_()
    channels[0].sub_(1)
    channels[1:].neg_().add_(2)
    # torchvision's way back to integers: 255.999 of the unit, rounded down
    return channels.clamp_(0, 1).mul_(chroma).add_(low).mul_(255.999 / 255).to(torch.uint8)


class GaussianBlur(nn.Module):
    """``v2.GaussianBlur`` with its draws and, but for rounding, its values, along one axis after the other: 4 x faster.

    Args:
        kernel_size: Pixels, odd.
        sigma: Least and greatest, pixels.
    """

    def __init__(self, kernel_size: int, sigma: tuple[float, float]) -> None:
        super().__init__()
        self.reach, self.sigma = kernel_size // 2, sigma

    def forward(self, color: Tensor) -> Tensor:
        """(3, H, W) uint8, blurred with a sigma drawn from torch's global random state."""
        sigma = torch.empty(1).uniform_(*self.sigma)
        weights = torch.exp(-0.5 * (torch.arange(self.reach + 1) / sigma) ** 2)
        weights = weights / (2 * weights.sum() - weights[0])
        padded = F.pad(color.float()[None], [self.reach] * 4, mode="reflect")[0]
        # sums of shifted images: the convolutions of torch take five times as long on one image of three channels
        return self._sum(self._sum(padded, 2, weights.tolist()), 1, weights.tolist()).round_().to(torch.uint8)

    def _sum(self, image: Tensor, axis: int, weights: list[float]) -> Tensor:
        length = image.shape[axis] - 2 * self.reach
        total = image.narrow(axis, self.reach, length) * weights[0]
        for distance, weight in enumerate(weights[1:], start=1):
            total.add_(image.narrow(axis, self.reach - distance, length), alpha=weight)
            total.add_(image.narrow(axis, self.reach + distance, length), alpha=weight)
        return total


def photometric() -> v2.Transform:
    """Colour jitter (p 0.8), grey (p 0.2) and blur (p 0.5) with the authors' strengths, for (3, H, W) uint8 images.

    Draws from torch's global random state; it moves no pixel, so correspondences stay as they are.
    """
    return v2.Compose(
        [
            v2.RandomApply([ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([GaussianBlur(kernel_size=9, sigma=(0.1, 2.0))], p=0.5),
        ]
    )


def random_window(size: tuple[int, int]) -> Window:
    """A part of an image of ``size`` (height, width), of nearly its shape, drawn from torch's random state."""
    share, down, right = torch.rand(3).tolist()
    share = SMALLEST_CROP + (1 - SMALLEST_CROP) * share
    height, width = round(share * size[0]), round(share * size[1])
    return Window(int(down * (size[0] - height + 1)), int(right * (size[1] - width + 1)), height, width)


def crop_and_resize(
    color: Tensor, depth: Tensor, intrinsics: Tensor, window: Window, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The part of a view in a window, at ``size`` (height, width); its pixels lie where they lay in the world.

    Args:
        color: (3, H, W) uint8.
        depth: (H, W), of which each new pixel takes the nearest reading: a mean would hang between two surfaces.
        intrinsics: (3, 3).
        window: What to keep.
        size: Of the result.
    """
    top, left, height, width = window
    color, depth = (image[..., top : top + height, left : left + width] for image in (color, depth))
    shift = torch.tensor([[0, 0, left], [0, 0, top], [0, 0, 0]], dtype=intrinsics.dtype)
    intrinsics = intrinsics - shift
    if (height, width) != size:
        color = TF.resize(color, list(size), antialias=True)
        depth = F.interpolate(depth[None, None], size, mode="nearest-exact")[0, 0]
        intrinsics = scale_intrinsics(intrinsics, (height, width), size)
    return color, depth, intrinsics


def mirror(color: Tensor, depth: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A view with left and right exchanged; arguments as of ``crop_and_resize``.

    No camera can be turned so that it sees a mirror image, but one whose focal length is negative along u does: its
    pixels W - 1 - u have the rays that the pixels u had, so the pose stays a rotation and the world stays as it is.
    """
    width = depth.shape[-1]
    reflection = torch.tensor([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], dtype=intrinsics.dtype)
    return color.flip(-1), depth.flip(-1), reflection @ intrinsics


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(color: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 to float32 with ImageNet's mean and standard deviation."""
    scaled = color.float() / 255
    mean, std = (scaled.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (scaled - mean) / std
