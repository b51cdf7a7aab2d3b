"""Objects: parts of several finishes that are placed together, each with a label."""

from dataclasses import dataclass, field, replace

import numpy as np

from ....nyu40 import NYU40_IDS
from ..looks.materials import Finish
from .shapes import Array, Shape


@dataclass(frozen=True, eq=False)
class Part:
    """A shape with one finish.

    Args:
        shape: In its own coordinates.
        finish: How it looks.
        label: NYU40 id.
        instance: Which of the object's instances it belongs to, from 0.
        matrix: (4, 4) motion from the shape's coordinates to the object's.
        turned: Whether its texture runs across instead of along.
        offset: (2,) where on its texture it starts, metres.
    """

    shape: Shape
    finish: Finish
    label: int
    instance: int
    matrix: Array
    turned: bool
    offset: Array


STILL = np.eye(4)
UNTURNED = np.zeros(2)


@dataclass(eq=False)
class Object:
    """Parts that are placed together. Shapes stay as they were made; motions add up until the room is put together.

    Args:
        label: Name in ``NYU40_IDS`` of the parts that are added.
        random: For the place of each part on its texture.

    Attributes:
        lamps: Where light comes from.
        variants: Which variants of which families are in it, as ``family/variant``.
    """

    label: str
    random: np.random.Generator
    parts: list[Part] = field(default_factory=list)
    instances: int = 1
    lamps: list[tuple[float, float, float]] = field(default_factory=list)
    variants: set[str] = field(default_factory=set)
    _boxes: list[Array] = field(default_factory=list)
    _bounds: Array | None = None

    def add(self, shape: Shape, finish: Finish, matrix: Array = STILL) -> None:
        """Add a part of the object itself. Repeating textures start anywhere, pictures where they are."""
        turned, offset = False, UNTURNED
        if finish.tile != 1:
            chance = self.random.uniform(0, 1, 3)
            turned, offset = bool(chance[0] < 0.5) and self.label != "wall", chance[1:]  # bricks lie
        self.parts.append(Part(shape, finish, NYU40_IDS[self.label], 0, matrix, turned, offset))
        corners = shape.corners.reshape(-1, 3)
        if matrix is not STILL:
            corners = corners @ matrix[:3, :3].T + matrix[:3, 3]
        self._boxes.append(np.stack((corners.min(0), corners.max(0))))
        self._bounds = None

    def put(self, other: "Object", matrix: Array) -> None:
        """Place another object, which stays an instance of its own, in this one's coordinates."""
        self.parts += [
            replace(part, instance=self.instances + part.instance, matrix=matrix @ part.matrix) for part in other.parts
        ]
        self.lamps += [tuple((matrix @ (*lamp, 1))[:3].tolist()) for lamp in other.lamps]
        self.instances += other.instances
        self.variants |= other.variants
        if other.parts:
            self._boxes.append(other.bounds(matrix))
        self._bounds = None

    def bounds(self, matrix: Array | None = None) -> Array:
        """The axis-aligned box (2, 3); after a motion, that of the moved box: never too small."""
        if self._bounds is None:
            boxes = np.array(self._boxes)
            self._bounds = np.stack((boxes[:, 0].min(0), boxes[:, 1].max(0)))
        if matrix is None:
            return self._bounds
        middle, half = self._bounds.mean(0), (self._bounds[1] - self._bounds[0]) / 2
        center, reach = matrix[:3, :3] @ middle + matrix[:3, 3], np.abs(matrix[:3, :3]) @ half
        return np.stack((center - reach, center + reach))
