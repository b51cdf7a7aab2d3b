"""The source ``synthrooms``: furnished rooms by chance, rendered on the fly, one scene a seed."""

from collections.abc import Iterator

import numpy as np

from ....errors import InputError
from ...frame import Frame
from .camera import camera_path, intrinsics_of
from .render import Renderer
from .rooms import build_room
from .sensor import expose, make_drift, measure_depth

# What a generator is for: each has its own, so that a change of one leaves the others as they were
ROOM, CAMERA, PATH, DRIFT, FRAME = range(5)


class SynthRooms:
    """Procedural rooms with furniture, as posed RGB-D frames with NYU40 labels and instances.

    A scene is a function of its seed alone, a frame of the seed, its index, the number of frames and the size.

    Args:
        seeds: One scene each, not negative.
        frames: Of each scene, at least 1: a walk of some 11 degrees of turn a frame, so 33 make a round.
        size: (height, width) of the images, at least 8 each.

    Raises:
        InputError: An argument is out of bounds.
    """

    def __init__(self, seeds: range, *, frames: int = 40, size: tuple[int, int] = (240, 320)) -> None:
        if len(seeds) and min(seeds[0], seeds[-1]) < 0:
            raise InputError(f"seeds of synthrooms must not be negative, not {seeds}; start the range at 0 or above")
        if frames < 1:
            raise InputError(f"frames of synthrooms must be at least 1, not {frames}; 40 go once around a room")
        if min(size) < 8:
            raise InputError(f"size of synthrooms must be at least 8 x 8 pixels, not {size}; try (240, 320)")
        self._seeds = {f"room{seed:08d}": seed for seed in sorted(seeds)}
        self._frames = frames
        self._size = size

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
        room = build_room(np.random.default_rng((seed, ROOM)))
        renderer = Renderer(room)
        intrinsics = intrinsics_of(np.random.default_rng((seed, CAMERA)), self._size)
        poses = camera_path(np.random.default_rng((seed, PATH)), room, self._frames)
        drift = make_drift(np.random.default_rng((seed, DRIFT)), self._frames)
        for index, pose in enumerate(poses):
            random = np.random.default_rng((seed, FRAME, index))
            view = renderer.view(self._size, intrinsics, pose)
            yield Frame(
                id=f"{index:06d}",
                color=expose(random, view, renderer.exposure, drift, index),
                depth=measure_depth(random, view),
                intrinsics=intrinsics,
                camera_to_world=pose,
                semantic=view.semantic,
                instance=view.instance,
            )
