"""The decoder of the dense models: the authors' (github.com/Sekunde/Pri3D, `pretrain/pri3d/model/backbone`), or a light
one of the same levels for pre-training whose encoder alone is kept."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class UpProjection(nn.Module):
    """Bilinear enlargement, then a branch of two convolutions beside a branch of one, added.

    The two 5x5 convolutions could run as one over joined weights; measured on a CPU, forward and backward, that gains
    nothing, so they stay apart.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv1_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1_2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, in_channels, h, w) to (B, out_channels, *size)."""
        x = functional.interpolate(x, size=list(size), mode="bilinear", align_corners=True)
        long = self.bn1_2(self.conv1_2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(long + self.bn2(self.conv2(x)))


class LightUpProjection(nn.Module):
    """A bottleneck of half the channels around the one 3x3 convolution at the new size.

    The channels are reduced before the enlargement, and the one wide convolution at the new size is 1x1: for ResNet-50
    at 240x320 the four cost 8 GFLOP where the authors' cost 275.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = max(1, out_channels // 2)
        self.conv1 = nn.Conv2d(in_channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, in_channels, h, w) to (B, out_channels, *size)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.interpolate(x, size=list(size), mode="bilinear", align_corners=False)
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(self.bn3(self.conv3(x)))


PROJECTIONS: dict[str, type[UpProjection | LightUpProjection]] = {
    "authors": UpProjection,
    "light": LightUpProjection,
}


class Decoder(nn.Module):
    """Four up-projections, the first three followed by adding the encoder's stage of the same size; 1x1 at the end.

    Args:
        channels: of the encoder's four stages, finest first.
        kind: of the up-projections, one of `PROJECTIONS`; levels and channels are the same with any.

    Raises:
        ValueError: there is no such kind.
    """

    def __init__(self, channels: Sequence[int], kind: str = "authors") -> None:
        super().__init__()
        if kind not in PROJECTIONS:
            raise ValueError(f"there is no decoder {kind!r}; there are {', '.join(PROJECTIONS)}")
        projection = PROJECTIONS[kind]
        c1, c2, c3, c4 = channels
        self.kind = kind
        self.out_channels = c1 // 2
        self.up1 = projection(c4, c3)
        self.up2 = projection(c3, c2)
        self.up3 = projection(c2, c1)
        self.up4 = projection(c1, self.out_channels)
        self.conv0 = nn.Conv2d(self.out_channels, self.out_channels, 1)
        self.finest = 0
        self.grad_checkpointing = False

    def prune(self, finest: int) -> None:
        """Take off what only levels finer than `finest` need."""
        self.finest = finest
        for level, names in enumerate((("up4", "conv0"), ("up3",), ("up2",), ("up1",))):
            for name in names:
                if level < finest and hasattr(self, name):
                    delattr(self, name)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """All levels, finest first.

        Args:
            stages: The encoder's four, finest first; the finest is (B, c1, h1, w1).

        Returns:
            (B, c1 // 2, 2 h1, 2 w1), the decoder's output; its three levels below, of the sizes and channels of the
            stages; the coarsest stage itself. After `prune`, without the levels that it took off.
        """
        x1, x2, x3, x4 = stages
        levels = [x4]
        if self.finest < 4:
            levels.append(self._up(self.up1, levels[-1], x3.shape[-2:]) + x3)
        if self.finest < 3:
            levels.append(self._up(self.up2, levels[-1], x2.shape[-2:]) + x2)
        if self.finest < 2:
            levels.append(self._up(self.up3, levels[-1], x1.shape[-2:]) + x1)
        if self.finest < 1:
            x = self._up(self.up4, levels[-1], (2 * x1.shape[-2], 2 * x1.shape[-1]))
            levels.append(self.conv0(x))
        return levels[::-1]

    def _up(self, up: nn.Module, x: Tensor, size: Sequence[int]) -> Tensor:
        again = self.grad_checkpointing and torch.is_grad_enabled()
        result: Tensor = checkpoint(up, x, size, use_reentrant=False) if again else up(x, size)
        return result
