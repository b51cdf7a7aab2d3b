"""Objects: parts of several finishes that are placed together, each with a label."""

from dataclasses import dataclass, field

import numpy as np

from .materials import Finish
from .shapes import Array, Shape

NYU40 = {
    name: index + 1
    for index, name in enumerate(
        [
            "wall",
            "floor",
            "cabinet",
            "bed",
            "chair",
            "sofa",
            "table",
            "door",
            "window",
            "bookshelf",
            "picture",
            "counter",
            "blinds",
            "desk",
            "shelves",
            "curtain",
            "dresser",
            "pillow",
            "mirror",
            "floor_mat",
            "clothes",
            "ceiling",
            "books",
            "refrigerator",
            "television",
            "paper",
            "towel",
            "shower_curtain",
            "box",
            "whiteboard",
            "person",
            "night_stand",
            "toilet",
            "sink",
            "lamp",
            "bathtub",
            "bag",
            "otherstructure",
            "otherfurniture",
            "otherprop",
        ]
    )
}


@dataclass(frozen=True, eq=False)
class Part:
    """A shape with one finish.

    Args:
        shape: In the object's coordinates.
        finish: How it looks.
        label: NYU40 id.
        instance: Which of the object's instances it belongs to, from 0.
    """

    shape: Shape
    finish: Finish
    label: int
    instance: int


@dataclass(eq=False)
class Object:
    """Parts that are placed together.

    Args:
        label: Name in ``NYU40`` of the parts that are added.
        random: For the place of each part on its texture.
    """

    label: str
    random: np.random.Generator
    parts: list[Part] = field(default_factory=list)
    instances: int = 1
    lamps: list[tuple[float, float, float]] = field(default_factory=list)  # where light comes from
    _bounds: Array | None = None

    def add(self, shape: Shape, finish: Finish) -> None:
        """Add a part of the object itself. Repeating textures start anywhere, pictures where they are."""
        if finish.tile != 1:
            turn = self.random.uniform() < 0.5 and self.label != "wall"  # bricks lie
            uv = shape.uv[..., ::-1] if turn else shape.uv
            shape = Shape(shape.corners, shape.normals, uv + self.random.uniform(0, 1, 2))
        self.parts.append(Part(shape, finish, NYU40[self.label], 0))
        self._bounds = None

    def put(self, other: "Object", matrix: Array) -> None:
        """Place another object, which stays an instance of its own, in this one's coordinates."""
        for part in other.parts:
            instance = self.instances + part.instance
            self.parts.append(Part(part.shape.moved(matrix), part.finish, part.label, instance))
        self.lamps += [tuple((matrix @ (*lamp, 1))[:3].tolist()) for lamp in other.lamps]
        self.instances += other.instances
        self._bounds = None

    def bounds(self, matrix: Array | None = None) -> Array:
        """The axis-aligned box (2, 3); after a motion, that of the moved box: never too small."""
        if self._bounds is None:
            corners = [part.shape.corners for part in self.parts]
            low, high = ([extreme(corner, (0, 1)) for corner in corners] for extreme in (np.min, np.max))
            self._bounds = np.stack((np.min(low, 0), np.max(high, 0)))
        if matrix is None:
            return self._bounds
        middle, half = self._bounds.mean(0), (self._bounds[1] - self._bounds[0]) / 2
        center, reach = matrix[:3, :3] @ middle + matrix[:3, 3], np.abs(matrix[:3, :3]) @ half
        return np.stack((center - reach, center + reach))
