"""Small things: what stands on tables and boards or about on the floor, lamps, plants."""

from itertools import pairwise

import numpy as np

from .materials import Materials
from .objects import Object
from .shapes import Array, Shape, ball, bar, box, cushion, cylinder, leaf, mat, panel, place, tilt, turned


class Things:
    """Makes the small things of one room; all stand on the centre of their footprint and look along +y.

    Args:
        random: Where all chance comes from.
        materials: The room's.
    """

    def __init__(self, random: np.random.Generator, materials: Materials) -> None:
        self.random = random
        self.materials = materials

    def _between(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def _one(self, *choices: str) -> str:
        return str(self.random.choice(choices))

    def _object(self, label: str) -> Object:
        return Object(label, self.random)

    def books(self, width: float, depth: float, height: float) -> Object:
        """A row of books that fills a part of a board, back to -y; each book is an instance."""
        row = self._object("books")
        x, last = -width / 2, -width / 2 + width * self._between(0.4, 1.0)
        spines = self.materials.pick("spines")
        row.instances = 0
        while True:
            thick, tall = self._between(0.018, 0.055), height * self._between(0.6, 0.95)
            deep = min(depth * 0.95, tall * self._between(0.6, 0.8))
            if x + thick > last:
                return row
            book = self._object("books")
            cover = self.materials.varied("plastic")
            book.add(box((thick - 0.002, deep, tall)), cover)
            face = panel(thick - 0.002, tall, (0, deep / 2 + 0.001, 0))
            column = self.random.integers(16)
            uv = face.uv * (1 / 16, 1) + (column / 16, 0)
            book.add(Shape(face.corners, face.normals, uv), spines)
            row.put(book, place(x + thick / 2, depth / 2 - deep / 2 - 0.01, 0.0))
            x += thick

    def pile(self) -> Object:
        """A pile of lying books."""
        pile = self._object("books")
        height = 0.0
        for _ in range(int(self.random.integers(1, 5))):
            width, depth, thick = self._between(0.14, 0.22), self._between(0.18, 0.28), self._between(0.015, 0.045)
            turn = place(0, 0, height, self._between(-0.3, 0.3))
            pile.add(box((width, depth, thick)).moved(turn), self.materials.varied("plastic"))
            pile.add(mat(width, depth, (0, 0, thick + 0.001)).moved(turn), self.materials.pick("poster"))
            height += thick + 0.002
        return pile

    def carton(self, largest: float = 0.5) -> Object:
        """A cardboard box."""
        carton = self._object("box")
        size = self.random.uniform(0.4, 1.0, 3) * (largest, largest, largest * 0.8)
        carton.add(box(size), self.materials.pick("carton"))
        return carton

    def thing(self) -> Object:
        """Something that stands about on tables."""
        kind = self._one(
            "mug", "bottle", "bowl", "vase", "pile", "paper", "plant", "carton", "laptop", "fruit", "lamp", "frame"
        )
        if kind == "pile":
            return self.pile()
        if kind == "carton":
            return self.carton(self._between(0.12, 0.28))
        if kind == "plant":
            return self.plant(self._between(0.2, 0.4))
        if kind == "lamp":
            return self.table_lamp()
        thing = self._object("paper" if kind == "paper" else "picture" if kind == "frame" else "otherprop")
        look = self.materials.varied(self._one("plastic", "stone", "metal"))
        if kind == "mug":
            radius, height = self._between(0.035, 0.05), self._between(0.08, 0.12)
            inner = ((radius - 0.004, height), (radius - 0.004, 0.01), (0, 0.01))
            thing.add(turned(((0, 0), (radius, 0), (radius, height), *inner)), look)
            thing.add(box((0.012, 0.035, 0.055), (0, radius + 0.012, height * 0.2)), look)
        elif kind == "bottle":
            radius, height = self._between(0.03, 0.05), self._between(0.2, 0.34)
            neck = ((radius, height * 0.6), (radius * 0.35, height * 0.78), (radius * 0.35, height), (0, height))
            thing.add(turned(((0, 0), (radius, 0), *neck)), look)
        elif kind in ("bowl", "vase"):
            along = np.linspace(0, 1, 9)
            radius, height = (0.13, 0.08) if kind == "bowl" else (self._between(0.05, 0.1), self._between(0.16, 0.35))
            swell = np.sqrt(along) if kind == "bowl" else 0.55 + 0.45 * np.sin(along * self._between(3, 5.5) + 0.4)
            outside = np.stack((radius * np.maximum(swell, 0.2), along * height), -1)
            inside = outside[:0:-1] * (0.93, 1)
            thing.add(turned(np.concatenate((((0, 0),), outside, inside, ((0, 0.02),))), smooth=True), look)
        elif kind == "fruit":
            for index in range(int(self.random.integers(2, 6))):
                x, y = 0.075 * np.cos(index * 1.3), 0.075 * np.sin(index * 1.3)
                thing.add(
                    ball(self._between(0.03, 0.042), (x, y, 0), self._between(0.8, 1.2), 10),
                    self.materials.varied("plastic"),
                )
        elif kind == "paper":
            for level in range(int(self.random.integers(1, 4))):
                x, y = self._between(-0.05, 0.05), self._between(-0.05, 0.05)
                turn = place(x, y, 0.002 + 0.002 * level, self._between(-1, 1))
                thing.add(mat(0.21, 0.297).moved(turn), self.materials.pick("paper"))
        elif kind == "frame":
            width, height = self._between(0.12, 0.25), self._between(0.15, 0.28)
            lean = tilt(0.18, 0.0)
            thing.add(box((width, 0.015, height)).moved(lean), self.materials.pick("wood"))
            thing.add(panel(width - 0.03, height - 0.03, (0, 0.0085, 0.015)).moved(lean), self.materials.pick("poster"))
        else:
            dark = self.materials.varied("metal")
            thing.add(box((0.33, 0.23, 0.016)), dark)
            thing.add(mat(0.28, 0.1, (0, -0.02, 0.017)), self.materials.pick("spines"))
            lid = tilt(self._between(0.1, 0.4), 0.018, -0.11)
            thing.add(box((0.33, 0.008, 0.22)).moved(lid), dark)
            thing.add(panel(0.31, 0.19, (0, 0.005, 0.015)).moved(lid), self.materials.pick("screen"))
        return thing

    def scatter(self, owner: Object, width: float, depth: float, z: float, count: int, base_y: float = 0.0) -> None:
        """Put things on a level board of ``owner`` without overlap."""
        taken: list[Array] = []
        for _ in range(count):
            thing = self.thing()
            matrix = np.eye(4)
            for _ in range(8):
                x, y = self.random.uniform(-0.5, 0.5, 2) * (width, depth)
                matrix = place(x, base_y + y, z + 0.001, self._between(-0.6, 0.6))
                low, high = thing.bounds(matrix)[:, :2]
                fits = (low > (-width / 2, base_y - depth / 2)).all() and (high < (width / 2, base_y + depth / 2)).all()
                if fits and not any((low < other[1]).all() and (high > other[0]).all() for other in taken):
                    taken.append(np.stack((low, high)))
                    owner.put(thing, matrix)
                    break

    def _stand(self, owner: Object, x: float, z: float, height: float, depth: float, width: float) -> None:
        """Put one thing on a board if it fits under the next."""
        thing = self.thing()
        low, high = thing.bounds()
        size = high - low
        if (size < (width, depth, height)).all():
            centre = (low + high) / 2
            owner.put(thing, place(x - centre[0], -centre[1], z + 0.001))

    def table_lamp(self) -> Object:
        """A small lamp with a shade."""
        lamp = self._object("lamp")
        height = self._between(0.3, 0.48)
        foot = self.materials.varied(self._one("metal", "stone", "wood"))
        lamp.add(
            turned(((0, 0), (0.07, 0), (0.06, 0.02), (0.015, 0.05), (0.03, height * 0.4), (0.01, height * 0.6))), foot
        )
        self._shade(lamp, self._between(0.1, 0.15), height * 0.55, height * 0.45)
        return lamp

    def floor_lamp(self) -> Object:
        """A lamp on a tall pole."""
        lamp = self._object("lamp")
        height = self._between(1.35, 1.75)
        metal = self.materials.pick("metal")
        lamp.add(cylinder(0.14, 0.025), metal)
        lamp.add(cylinder(0.012, height - 0.1, (0, 0, 0.02)), metal)
        self._shade(lamp, self._between(0.16, 0.24), height - 0.15, self._between(0.2, 0.32))
        return lamp

    def ceiling_lamp(self, drop: float) -> Object:
        """A lamp that hangs from z = 0 down to -drop, or a flat one on the ceiling."""
        lamp = self._object("lamp")
        if drop < 0.25:
            lamp.add(cylinder(0.2, 0.07, (0, 0, -0.07), segments=24), self.materials.pick("shade"))
            lamp.lamps.append((0.0, 0.0, -0.12))
            return lamp
        lamp.add(cylinder(0.006, drop, (0, 0, -drop), segments=6), self.materials.pick("metal"))
        self._shade(lamp, self._between(0.15, 0.28), -drop, self._between(0.15, 0.28))
        return lamp

    def _shade(self, lamp: Object, radius: float, z: float, height: float) -> None:
        """An open shade, and light at its lower rim."""
        top = radius * self._between(0.5, 1.0)
        outline = ((radius, 0), (top, height), (top - 0.004, height), (radius - 0.004, 0))
        lamp.add(turned(outline, (0, 0, z), segments=20), self.materials.pick("shade"))
        lamp.lamps.append((0.0, 0.0, z + 0.3 * height))

    def plant(self, height: float) -> Object:
        """A pot with leaves."""
        plant = self._object("otherprop")
        pot = height * self._between(0.28, 0.4)
        radius = max(0.05, pot * 0.55)
        plant.add(
            cylinder(radius * 0.75, pot, top=radius), self.materials.varied(self._one("stone", "plastic", "wood"))
        )
        green = self.materials.pick("plant")
        width = self._between(0.12, 0.3)
        for index in range(int(self.random.integers(9, 22))):
            length = (height - pot) * self._between(0.6, 1.15)
            blade = leaf(length, length * width, self._between(0.5, 1.35), index * 2.4, (0, 0, pot))
            plant.add(blade, green)
        return plant

    def bin(self) -> Object:
        """A waste bin."""
        waste = self._object("otherfurniture")
        radius, height = self._between(0.11, 0.17), self._between(0.26, 0.45)
        inside = ((radius - 0.006, height), (radius * 0.8, 0.02), (0, 0.02))
        look = self.materials.varied(self._one("metal", "plastic"))
        waste.add(turned(((0, 0), (radius * 0.82, 0), (radius, height), *inside), segments=20), look)
        return waste

    def bag(self) -> Object:
        """A rucksack or bag that stands on the floor."""
        bag = self._object("bag")
        width, depth, height = self._between(0.26, 0.42), self._between(0.14, 0.22), self._between(0.26, 0.46)
        cloth = self.materials.varied("cloth")
        bag.add(cushion((width, depth, height), (0, 0, 0), 0.06, 0.1), cloth)
        bag.add(cushion((width * 0.7, depth * 0.4, height * 0.45), (0, depth * 0.55, height * 0.08), 0.03), cloth)
        angle = np.linspace(0, np.pi, 7)
        loop = np.stack((0.07 * np.cos(angle), np.zeros(7), height * 0.99 + 0.08 * np.sin(angle)), -1)
        for start, end in pairwise(loop):
            bag.add(bar(start, end, 0.01, segments=6), cloth)
        return bag

    def stool(self) -> Object:
        """A pouf or stool."""
        if self.random.uniform() < 0.5:
            pouf = self._object("otherfurniture")
            radius = self._between(0.2, 0.3)
            pouf.add(ball(radius, squash=self._between(0.6, 0.8), segments=20), self.materials.pick("cloth"))
            return pouf
        stool = self._object("chair")
        height, radius = self._between(0.42, 0.65), self._between(0.15, 0.19)
        look = self.materials.pick(self._one("wood", "metal"))
        stool.add(
            cylinder(radius, 0.035, (0, 0, height - 0.035), segments=20),
            self.materials.pick(self._one("wood", "plastic")),
        )
        for angle in (np.arange(4) * np.pi / 2 + 0.4).tolist():
            reach = np.array((np.cos(angle), np.sin(angle)))
            stool.add(bar((*(reach * radius * 0.95), 0), (*(reach * radius * 0.6), height - 0.03), 0.014), look)
        return stool
