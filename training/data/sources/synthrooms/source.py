"""The source ``synthrooms``: furnished rooms by chance, rendered on the fly, one scene a seed."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ....errors import InputError
from ...frame import Frame
from .camera.camera import camera_path, intrinsics_of
from .camera.exposure import blurred, expose, make_camera, motion
from .camera.sensor import measure_depth
from .light.render import Renderer
from .rooms.rooms import build_room
from .splits import split_of

# What a generator is for: each has its own, so that a change of one leaves the others as they were
ROOM, CAMERA, PATH, SETTINGS, FRAME, POSE = range(6)


class SynthRooms:
    """Procedural rooms with furniture, as posed RGB-D frames with NYU40 labels and instances.

    A scene is a function of its seed alone, a frame of the seed, its index, the number of frames and the size.

    Args:
        seeds: One scene each, of the splits in ``splits.py``.
        frames: Of each scene, at least 1: neighbours share most of what they see.
        size: (height, width) of the images, at least 8 each.
        pose_noise: Deviation of the poses that are reported from those that are rendered, in metres along each axis
            and radians about each axis.

    Raises:
        InputError: An argument is out of bounds.
    """

    def __init__(
        self,
        seeds: range,
        *,
        frames: int = 40,
        size: tuple[int, int] = (240, 320),
        pose_noise: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if len(seeds) and min(seeds[0], seeds[-1]) < 0:
            raise InputError(f"seeds of synthrooms must not be negative, not {seeds}; start the range at 0 or above")
        if frames < 1:
            raise InputError(f"frames of synthrooms must be at least 1, not {frames}; 40 see most of a room")
        if min(size) < 8:
            raise InputError(f"size of synthrooms must be at least 8 x 8 pixels, not {size}; try (240, 320)")
        if min(pose_noise) < 0:
            raise InputError(f"pose_noise of synthrooms must not be negative, not {pose_noise}; (0.0, 0.0) is none")
        for seed in (*seeds[:1], *seeds[-1:]):
            split_of(seed)
        self._seeds = {f"room{seed:08d}": seed for seed in sorted(seeds)}
        self._frames = frames
        self._size = size
        self._pose_noise = pose_noise

    def scene_ids(self) -> list[str]:
        """Names such as ``room00000017``, sorted by seed."""
        return list(self._seeds)

    def frames(self, scene: str) -> Iterator[Frame]:
        """The frames of a room, in order of the walk, with semantic and instance maps of all pixels.

        Raises:
            InputError: There is no such scene.
        """
        if scene not in self._seeds:
            names = f"{self.scene_ids()[0]} to {self.scene_ids()[-1]}" if self._seeds else "no scene at all"
            raise InputError(f"synthrooms has no scene {scene!r} here; these seeds give {names}")
        return self._render(self._seeds[scene])

    def surface(self, scene: str) -> None:
        """None: the surface is fused from the observed depth, as a real reconstruction is."""
        return

    def _render(self, seed: int) -> Iterator[Frame]:
        room = build_room(np.random.default_rng((seed, ROOM)), split_of(seed))
        renderer = Renderer(room)
        intrinsics = intrinsics_of(np.random.default_rng((seed, CAMERA)), self._size)
        # one more pose than frames: the last frame moves on as well
        poses = camera_path(np.random.default_rng((seed, PATH)), room, self._frames + 1)
        camera = make_camera(np.random.default_rng((seed, SETTINGS)), self._frames)
        for index, (pose, following) in enumerate(pairwise(poses)):
            random = np.random.default_rng((seed, FRAME, index))
            view = renderer.view(self._size, intrinsics, pose)
            light = blurred(view.color, view.depth, intrinsics, motion(pose, following, camera.shutter[index]))
            yield Frame(
                id=f"{index:06d}",
                color=expose(random, light, renderer.exposure, camera, index),
                depth=measure_depth(random, view, intrinsics[0, 0]),
                intrinsics=intrinsics,
                camera_to_world=self._reported(seed, index, pose),
                semantic=view.semantic,
                instance=view.instance,
            )

    def _reported(self, seed: int, index: int, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """A pose as a tracker would give it: moved and turned a little about the camera's own axes."""
        if not any(self._pose_noise):
            return pose
        shift, turn = np.random.default_rng((seed, POSE, index)).standard_normal((2, 3))
        error = np.eye(4)
        error[:3, :3] = Rotation.from_rotvec(self._pose_noise[1] * turn).as_matrix()
        error[:3, 3] = self._pose_noise[0] * shift
        return pose @ error
