"""MoCo v2, the baseline of the paper that learns from single images: what it is worth to know which pixels correspond.

Two random crops of an image are to have features that are alike, and unlike those of other images, which wait in a
queue. Momentum contrast is of He et al. (CVPR 2020, arXiv 1911.05722: algorithm 1, equation 2, shuffled batch norm in
section 3.3), the two-layer head, the blur and temperature 0.2 of Chen et al. (arXiv 2003.04297).

lightly has these parts too, but brings PyTorch Lightning, Hydra and an OmegaConf older than ours with it.
"""

import timm
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

FEATURES = 128
GROUPS = 4  # parts of a batch, each with batch norm statistics of its own, for keys


class EncoderOnly(nn.Module):
    """What stands where dense networks have encoder and decoder."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder


class MoCo(nn.Module):
    """An encoder with a head that is trained, a copy of both that follows it, and a queue of the copy's features.

    Args:
        encoder: A name of timm's.
        queue: Features to be told apart from.
        momentum: With which the copy follows, each time the network is called.
    """

    queue: Tensor

    def __init__(self, encoder: str, queue: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        # pruned as the dense networks have it, so that checkpoints and exports hold the same tensors
        made = [timm.create_model(encoder, num_classes=0) for _ in range(2)]
        for network in made:
            network.prune_intermediate_layers(1, prune_norm=True)
        channels = made[0].feature_info[-1]["num_chs"]
        self.backbone, self.key_backbone = (EncoderOnly(network) for network in made)
        self.head, self.key_head = (
            nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, FEATURES)) for _ in range(2)
        )
        self.to(memory_format=torch.channels_last)
        self.register_buffer("queue", F.normalize(torch.randn(queue, FEATURES), dim=1))
        self.start_keys()

    def start_keys(self) -> None:
        """Make the copy equal; to be called when weights have been loaded into the encoder."""
        self._follow(momentum=0)
        for parameter in self._keys():
            parameter.requires_grad_(False)

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Two crops (N, 3, H, W) of the same images, normalised.

        Returns:
            Features of both (N, C), l2-normalised, and those in the queue (K, C) as they were before these keys.
        """
        found = F.normalize(self.head(self._pooled(self.backbone, queries)).float(), dim=1)
        with torch.no_grad():
            self._follow(self.momentum)
            # statistics of other images than those of the queries, so that they do not give the right key away
            order = torch.randperm(len(keys), device=keys.device)
            parts = keys[order].chunk(min(GROUPS, len(keys) // 2 or 1))
            shuffled = torch.cat([self.key_head(self._pooled(self.key_backbone, part)) for part in parts])
            target = F.normalize(torch.empty_like(shuffled).index_copy_(0, order, shuffled).float(), dim=1)
            negatives = self.queue.clone()
            self.queue.copy_(torch.cat((_of_all_processes(target), self.queue))[: len(self.queue)])
        return found, target, negatives

    def _pooled(self, backbone: EncoderOnly, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        stages = backbone.encoder.forward_intermediates(images, indices=1, intermediates_only=True)  # type: ignore[operator]
        return stages[-1].mean((2, 3))

    def _keys(self) -> list[Tensor]:
        return [*self.key_backbone.parameters(), *self.key_head.parameters()]

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        followed: list[Tensor] = [*self.backbone.parameters(), *self.head.parameters()]
        torch._foreach_lerp_(self._keys(), followed, 1 - momentum)


def _of_all_processes(keys: Tensor) -> Tensor:
    if not (distributed.is_available() and distributed.is_initialized()):
        return keys
    gathered = [torch.empty_like(keys) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, keys)
    return torch.cat(gathered)
