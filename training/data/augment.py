"""Augmentation: what a camera may change of a view, in its colours or in where it looks, not what a room looks like."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from ..geometry import scale_intrinsics
from ..seeds import uniform

STREAM = 1  # of the seeds' random numbers
BLUR_REACH = 4  # pixels to each side
SMALLEST_CROP = 0.6  # of the sides of an image: two views that overlap must still do so when both are cut


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class ColorChanges(NamedTuple):
    """How the colours of N images change: an image without a change has a factor 1, a turn 0, a sigma of nearly 0."""

    factors: Tensor
    """(N, 3) of brightness, contrast and saturation."""
    turn: Tensor
    """(N,) of the hue; 0.5 is half the circle of colours."""
    order: Tensor
    """(N, 4) brightness, contrast, saturation and hue change in the order of these numbers."""
    grey: Tensor
    """(N,) bool."""
    sigma: Tensor
    """(N,) of the blur, pixels."""


def draw_color_changes(seeds: Tensor) -> ColorChanges:
    """The authors' changes of colours, a function of each image's seed (N,) alone.

    Jitter of brightness, contrast and saturation by 0.4 and of hue by 0.1, in random order (p 0.8), grey (p 0.2), blur
    with a sigma of 0.1 to 2 pixels (p 0.5).
    """
    draws = uniform(seeds, 12, STREAM)
    jitter, grey, blur = draws[:, 0] < 0.8, draws[:, 1] < 0.2, draws[:, 2] < 0.5
    change = torch.where(jitter[:, None], 2 * draws[:, 3:7] - 1, 0)
    sigma = torch.where(blur, 0.1 + 1.9 * draws[:, 7], 1e-3)
    return ColorChanges(1 + 0.4 * change[:, :3], 0.1 * change[:, 3], draws[:, 8:], grey, sigma)


def change_colors(color: Tensor, changes: ColorChanges) -> Tensor:
    """(N, 3, H, W), from 0 to 255, with the colours changed: torchvision's values, in float32 and for a whole batch.

    No pixel moves, so correspondences stay as they are; and the device is never waited for.
    """
    order = changes.order[:, :3].argsort(1)
    factors = changes.factors.gather(1, order)
    before_hue = changes.order.gather(1, order) < changes.order[:, 3:]
    color = color.float()
    for slot in range(3):
        color = _blend(color, order[:, slot], torch.where(before_hue[:, slot], factors[:, slot], 1))
    color = adjust_hue(color, changes.turn)
    for slot in range(3):
        color = _blend(color, order[:, slot], torch.where(before_hue[:, slot], 1, factors[:, slot]))
    color = torch.where(_to_images(changes.grey), _luminance(color), color)
    return gaussian_blur(color, changes.sigma)


def _blend(color: Tensor, kind: Tensor, factor: Tensor) -> Tensor:
    """Brightness (0), contrast (1) or saturation (2) times a factor, each (N,): away from black, mean, or grey."""
    luminance = _luminance(color)
    mean = luminance.mean((1, 2, 3), keepdim=True)
    kind = _to_images(kind)
    target = torch.where(kind == 2, luminance, torch.where(kind == 1, mean, 0))
    return torch.lerp(target, color, _to_images(factor)).clamp_(0, 255)


def _luminance(color: Tensor) -> Tensor:
    red, green, blue = color.split(1, dim=1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _to_images(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def adjust_hue(color: Tensor, turn: Tensor) -> Tensor:
    """torchvision's ``adjust_hue`` of (N, 3, H, W) float32 from 0 to 255 by (N,), but without going through HSV.

    Lightest and darkest channel stay what they are; each channel runs between them along a trapezium over the hue.
    """
    red, green, blue = color.unbind(1)
    low, high = color.amin(1), color.amax(1)
    chroma = high - low
    is_red, is_green = red == high, green == high
    hue = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    hue.div_(chroma.clamp(min=1e-6)).add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))  # in sixths
    hue.add_(6 * turn[:, None, None]).remainder_(6)
    turned = torch.empty_like(color)
    for channel, (peak, sign, offset) in enumerate(((3, 1, -1), (2, -1, 2), (4, -1, 2))):
        shape = (hue - peak).abs_().mul_(sign).add_(offset).clamp_(0, 1)
        torch.addcmul(low, shape, chroma, out=turned[:, channel])
    return turned


def gaussian_blur(color: Tensor, sigma: Tensor) -> Tensor:
    """torchvision's ``gaussian_blur`` of (N, 3, H, W) float32 with 9 pixels and sigmas (N,), along one axis after the
    other; sums of shifted images, as the weights differ from image to image."""
    weights = torch.exp(-0.5 * (torch.arange(BLUR_REACH + 1, device=sigma.device) / sigma[:, None]) ** 2)
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    for axis in (3, 2):
        length = color.shape[axis]
        reach = [BLUR_REACH, BLUR_REACH, 0, 0] if axis == 3 else [0, 0, BLUR_REACH, BLUR_REACH]
        padded = F.pad(color, reach, mode="reflect")
        color = color * _to_images(weights[:, 0])
        for distance in range(1, BLUR_REACH + 1):
            for start in (BLUR_REACH - distance, BLUR_REACH + distance):
                color.addcmul_(padded.narrow(axis, start, length), _to_images(weights[:, distance]))
    return color


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
    """(..., 3, H, W) from 0 to 255, of any dtype, to float32 with ImageNet's mean and standard deviation."""
    # numbers go to a device with the kernel; a tensor of them would have to wait for it
    channels = [
        (channel.float() - 255 * mean) / (255 * std)
        for channel, mean, std in zip(color.unbind(-3), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    ]
    return torch.stack(channels, -3)
