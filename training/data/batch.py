"""What a batch is: pairs of frames, the chunks they look into, and how a frame of a store becomes tensors."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..seeds import part_seeds
from .augment import change_colors, draw_color_changes
from .scene import Scene

# of depth (..., H, W), intrinsics and pose, the world box (..., 2, 3) whose voxels are a frame's chunk
Box = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """B pairs of frames; view ``v`` of pair ``i`` is sample ``2 * i + v`` of everything that is cut per frame.

    Args:
        color: (B, 2, 3, H, W) uint8, or float32 from 0 to 255 once the colours are changed.
        depth: (B, 2, H, W) float32, metres, 0 = no reading.
        intrinsics: (B, 2, 3, 3) float32; the focal length along u is negative where a view is mirrored.
        camera_to_world: (B, 2, 4, 4) float32.
        voxels: (M, 4) int32, (sample, x, y, z), the chunks of all frames; empty where only views are contrasted.
        voxel_colors: (M, 3) uint8.
        seeds: (B,) int64, from which everything is drawn that is random about a pair.
        rows: (B, 2) int64, the numbers of the frames, in the ``FrameMemory`` if there is one, else in their scene.
    """

    color: Tensor
    depth: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    voxels: Tensor
    voxel_colors: Tensor
    seeds: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on a device, copied without waiting where the memory is pinned."""
        return PairBatch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def with_changed_colors(self) -> "PairBatch":
        """The batch with the authors' changes of colours, drawn from the seeds."""
        changes = draw_color_changes(self.frame_seeds())
        return replace(self, color=change_colors(self.color.flatten(0, 1), changes).view(self.color.shape))

    def pair(self, index: int) -> "PairBatch":
        """One pair as a batch, without voxels."""
        chunks = ("voxels", "voxel_colors")
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return PairBatch(**{k: part[:0] if k in chunks else part[index : index + 1] for k, part in parts.items()})

    def frame_seeds(self) -> Tensor:
        """(2 * B,) int64, one for each frame."""
        return part_seeds(self.seeds, 2).flatten()

    def pin_memory(self) -> "PairBatch":
        """For the loader: page-locked copies."""
        return PairBatch(*(getattr(self, f.name).pin_memory() for f in fields(self)))


def collate(samples: list[PairBatch]) -> PairBatch:
    """One batch of several; the sample numbers of their voxels are made consecutive."""
    batch = PairBatch(**{f.name: torch.cat([getattr(s, f.name) for s in samples]) for f in fields(PairBatch)})
    for number, voxels in enumerate(batch.voxels.split([len(s.voxels) for s in samples])):
        voxels[:, 0] += 2 * number  # in the batch itself: chunks are most of its bytes
    return batch


def decode(scene: Scene, frame: int) -> tuple[Tensor, Tensor, Tensor]:
    """Colour (3, H, W) uint8, depth (H, W) and intrinsics of a frame, as the store has them."""
    color = torch.from_numpy(scene.color(frame)).permute(2, 0, 1).contiguous()
    return color, torch.from_numpy(scene.depth(frame)), torch.from_numpy(scene.intrinsics[frame])
