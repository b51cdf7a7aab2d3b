"""Photometric augmentation, as the authors': what a camera may change, not what a room looks like."""

from torch import Tensor
from torchvision.transforms import v2


def photometric() -> v2.Transform:
    """Colour jitter (p 0.8), grey (p 0.2) and blur (p 0.5) with the authors' strengths, for (3, H, W) uint8 images.

    Draws from torch's global random state; it moves no pixel, so correspondences stay as they are.
    """
    return v2.Compose(
        [
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(kernel_size=9, sigma=(0.1, 2.0))], p=0.5),
        ]
    )


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(color: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 to float32 with ImageNet's mean and standard deviation."""
    scaled = color.float() / 255
    mean, std = (scaled.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (scaled - mean) / std
