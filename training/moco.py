"""MoCo v2's task: two crops of each frame for themselves, whatever pairs the frames come in."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data.augment import change_colors, draw_color_changes, normalize
from .data.batch import PairBatch
from .seeds import part_seeds, uniform

STREAM = 2  # of the seeds' random numbers


class MoCoTask:
    """Instance discrimination: of all features in the queue, the one of the same frame's other crop is to be found.

    Args:
        temperature: 0.2 in MoCo v2.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, model: nn.Module, batch: PairBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The loss, and how often the right feature is the nearest. All that is drawn comes of the batch's seeds, but
        for the order in which keys are grouped."""
        with torch.no_grad(), torch.autocast(batch.color.device.type, enabled=False):
            color = batch.color.flatten(0, 1)
            queries, keys = (crop(color, seeds) for seeds in part_seeds(batch.frame_seeds(), 2).unbind(1))
        found, target, negatives = model(normalize(queries), normalize(keys))
        with torch.autocast(found.device.type, enabled=False):
            right = (found * target).sum(1, keepdim=True)
            logits = torch.cat((right, found @ negatives.T), 1) / self.temperature
            loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        return {"moco": loss}, {"nearest": (logits[:, 1:] < logits[:, :1]).all(1).float().mean()}


def crop(color: Tensor, seeds: Tensor) -> Tensor:
    """MoCo v2's view of images (N, 3, H, W) from 0 to 255, a function of their seeds (N,): a part of them at full size.

    20 to 100 % of the area, of the image's shape times 3/4 to 4/3, mirrored half of the time; colours jittered and
    blurred as Pri3D's, which took them from there.
    """
    draws = uniform(seeds, 5, STREAM)
    side = (0.2 + 0.8 * draws[:, 0]).sqrt()
    stretch = torch.exp((draws[:, 1] - 0.5) * math.log(4 / 3))  # of the width; its square is that of the shape
    shares = torch.stack((side * stretch, side / stretch), 1).clamp_(max=1)
    shift = (1 - shares) * (2 * draws[:, 2:4] - 1)
    mirrored = torch.where(draws[:, 4] < 0.5, -1.0, 1.0)
    nothing = torch.zeros_like(side)
    rows = [shares[:, 0] * mirrored, nothing, shift[:, 0], nothing, shares[:, 1], shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(color.shape), align_corners=False)
    part = F.grid_sample(color.float(), grid, padding_mode="border", align_corners=False)
    return change_colors(part, draw_color_changes(seeds))
