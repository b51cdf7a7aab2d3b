"""What every source yields: posed RGB-D frames of a scene and, where it has one, the scene's surface.

Axes and units (used everywhere): ``camera_to_world`` is 4x4 float64 with OpenCV axes (x right, y down, z forward),
metres. Depth is metres along z, 0 where there is no reading. The centre of the top-left pixel is at (0, 0).
Sizes are (height, width).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

RIGID_TOLERANCE = 1e-2  # of R^T R - I: real pose files are rounded, sheared ones are off by far more
FARTHEST_POSE = 20_000.0  # metres along an axis: a longer drive than any dataset has, and tracking that is lost


@dataclass(frozen=True, eq=False)
class Frame:
    """One posed RGB-D image.

    Args:
        id: Name of the frame, unique in its scene.
        color: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along z, 0 = no reading; registered to ``color``.
        intrinsics: (3, 3) float64, pixels.
        camera_to_world: (4, 4) float64, rigid.
        semantic: (H, W) uint8, NYU40 ids, 0 = void; or None.
        instance: (H, W) uint16, 0 = none; or None.

    Raises:
        InputError: The parts do not fit together, or the pose or the intrinsics are not what they must be.
    """

    id: str
    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    camera_to_world: NDArray[np.float64]
    semantic: NDArray[np.uint8] | None = None
    instance: NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.color.shape[2] != 3 or self.color.dtype != np.uint8:
            raise InputError(f"colour must be (H, W, 3) uint8, not {self.color.shape} {self.color.dtype}")
        for name, kind in (("depth", np.float32), ("semantic", np.uint8), ("instance", np.uint16)):
            image = getattr(self, name)
            if image is None:
                continue
            if image.shape != self.color.shape[:2]:
                raise InputError(f"{name} is {image.shape}, colour is {self.color.shape[:2]}: they must be registered")
            if image.dtype != kind:
                raise InputError(f"{name} must be {kind.__name__}, not {image.dtype}; convert it")
        if not np.isfinite(self.depth).all() or self.depth.min() < 0:
            raise InputError("depth holds negative or non-finite values; 0 stands for no reading")
        if not np.isfinite(self.intrinsics).all() or self.intrinsics[0, 0] <= 0 or self.intrinsics[1, 1] <= 0:
            raise InputError("intrinsics are not finite with positive focal lengths")
        check_pose(self.camera_to_world)


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that a source had to leave out, and why; it is counted and named in the store's manifest."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Surface:
    """Points that cover the surface of a scene at least as densely as its voxels.

    Args:
        points: (N, 3) float32, metres, world.
        colors: (N, 3) uint8 RGB.
    """

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]


# of a source that knows that a surface cannot be had, not even by fusion
NO_SURFACE = Surface(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))


class Source(Protocol):
    """A dataset: scenes, and for each its frames in order of time and, where there is one, its surface."""

    def scene_ids(self) -> list[str]:
        """Names of the scenes, sorted; each is a plain name that can serve as a file name."""
        ...

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The frames of a scene, one at a time, broken ones as SkippedFrame."""
        ...

    def surface(self, scene: str) -> Surface | None:
        """The scene's reconstructed surface, or None: then it is fused from the depth."""
        ...


def check_pose(camera_to_world: NDArray[np.float64]) -> None:
    """Raise InputError unless the 4x4 matrix is finite, a rigid motion, and within ``FARTHEST_POSE`` of the origin."""
    if camera_to_world.shape != (4, 4):
        raise InputError(f"the pose must be 4x4, not {camera_to_world.shape}")
    if not np.isfinite(camera_to_world).all():
        raise InputError("the pose is not finite")
    rotation = camera_to_world[:3, :3]
    rigid = np.abs(rotation.T @ rotation - np.eye(3)).max() < RIGID_TOLERANCE and np.linalg.det(rotation) > 0
    if not rigid or not np.allclose(camera_to_world[3], (0, 0, 0, 1), atol=1e-6):
        raise InputError("the pose is not a rigid motion (its rotation is sheared, scaled or mirrored)")
    distance = np.abs(camera_to_world[:3, 3]).max()
    if distance > FARTHEST_POSE:
        raise InputError(f"the pose is {distance:.3g} m from the origin; is it in metres, and did tracking hold?")
