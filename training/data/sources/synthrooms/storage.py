"""Storage: cabinets with doors or drawers, bookcases, boards on the wall, the cabinet of a television."""

from .objects import Object
from .shapes import ball, box, cushion, panel, place
from .things import Things


class Storage(Things):
    """Makes the storage furniture of one room; all stands on the centre of its footprint with its back at -y."""

    def cabinet(self, width: float, depth: float, height: float, label: str = "cabinet", things: int = 3) -> Object:
        """A body with doors or drawers, each with a handle, and things on top when it is low."""
        cabinet = self._object(label)
        body, front = self.materials.pick("wood"), self.materials.pick("front")
        handle, foot = self.materials.pick("metal"), self._between(0.0, 0.1)
        cabinet.add(box((width - 0.02, depth - 0.04, foot + 0.01), (0, -0.01, 0)), body)
        cabinet.add(box((width, depth - 0.03, height - foot), (0, -0.015, foot)), body)
        columns = max(1, round(width / self._between(0.4, 0.6)))
        rows = 1 if height > 1.4 or label == "refrigerator" else int(self.random.integers(1, 5))
        if label == "refrigerator":
            rows, columns = 2, 1
        wide, tall = (width - 0.03) / columns, (height - foot - 0.03) / rows
        round_handle = self.random.uniform() < 0.5
        for column in range(columns):
            for row in range(rows):
                x, z = -width / 2 + 0.015 + wide * (column + 0.5), foot + 0.015 + tall * row
                cabinet.add(
                    cushion((wide - 0.008, 0.02, tall - 0.008), (x, depth / 2 - 0.025, z + 0.004), 0.005), front
                )
                if tall > 0.5:
                    grip = (x + wide * (0.4 if column % 2 == 0 else -0.4), depth / 2 - 0.012, z + tall * 0.45)
                    cabinet.add(box((0.014, 0.025, 0.14), grip), handle)
                elif round_handle:
                    cabinet.add(ball(0.014, (x, depth / 2 - 0.004, z + tall * 0.5), segments=8), handle)
                else:
                    cabinet.add(
                        box((min(0.16, wide * 0.5), 0.025, 0.014), (x, depth / 2 - 0.012, z + tall * 0.6)), handle
                    )
        if height < 1.3:
            cabinet.add(
                box((width + 0.02, depth, 0.025), (0, 0, height)), self.materials.pick(self._one("wood", "stone"))
            )
            self.scatter(cabinet, width * 0.95, depth * 0.9, height + 0.025, things)
        elif self.random.uniform() < 0.4:
            cabinet.put(self.carton(min(depth, 0.4)), place(self._between(-0.2, 0.2), 0, height))
        return cabinet

    def shelf(self) -> Object:
        """A bookcase with books, boxes and things, with or without a back."""
        shelf = self._object("bookshelf")
        width, depth, height = self._between(0.6, 1.4), self._between(0.26, 0.36), self._between(1.0, 2.1)
        body = self.materials.pick(self._one("wood", "front"))
        boards, thick = round(height / self._between(0.3, 0.42)), 0.022
        for x in (-1.0, 1.0):
            shelf.add(box((thick, depth, height), (x * (width - thick) / 2, 0, 0)), body)
        if self.random.uniform() < 0.75:
            shelf.add(
                box((width, 0.008, height), (0, -depth / 2 + 0.004, 0)), self.materials.pick(self._one("wood", "front"))
            )
        step = (height - thick - 0.06) / boards
        inner = width - 2 * thick
        for level in range(boards + 1):
            z = 0.06 + step * level
            shelf.add(box((inner, depth - 0.01, thick), (0, 0, z)), body)
            kind = self._one("books", "books", "books", "things", "boxes", "empty")
            if kind == "books" and level < boards:
                shelf.put(self.books(inner - 0.01, depth - 0.03, min(step - thick, 0.32)), place(0, 0, z + thick))
            elif kind == "boxes" and level < boards:
                for x in (-inner / 4, inner / 4):
                    case = self._object("box")
                    size = (
                        inner / 2 * self._between(0.6, 0.95),
                        depth * 0.9,
                        (step - thick) * self._between(0.5, 0.85),
                    )
                    case.add(box(size), self.materials.pick(self._one("carton", "cloth", "wood")))
                    shelf.put(case, place(x, 0, z + thick))
            elif kind == "things" and level < boards:
                for x in (-inner / 3, 0.0, inner / 3):
                    self._stand(shelf, x, z + thick, step - thick - 0.01, depth - 0.02, inner / 3.2)
        return shelf

    def wall_shelf(self) -> Object:
        """A board on the wall with books or things."""
        board = self._object("shelves")
        width, depth = self._between(0.5, 1.2), self._between(0.18, 0.26)
        finish = self.materials.pick("wood")
        for level in range(int(self.random.integers(1, 3))):
            z = 0.34 * level
            board.add(box((width, depth, 0.025), (0, 0, z)), finish)
            for x in (-1.0, 1.0):
                board.add(
                    box((0.02, depth * 0.7, 0.06), (x * width * 0.35, -depth * 0.15, z - 0.06)),
                    self.materials.pick("metal"),
                )
            if self.random.uniform() < 0.6:
                board.put(self.books(width - 0.05, depth, 0.26), place(0, 0, z + 0.025))
            else:
                for x in (-width / 3, 0.0, width / 3):
                    self._stand(board, x, z + 0.025, 0.28, depth, width / 3.2)
        return board

    def television(self) -> Object:
        """A low cabinet with a television."""
        width = self._between(1.0, 1.6)
        height = self._between(0.35, 0.55)
        stand = self.cabinet(width, self._between(0.36, 0.45), height, things=0)
        television = self._object("television")
        wide = self._between(0.75, min(1.25, width))
        dark = self.materials.varied("metal")
        television.add(box((wide * 0.4, 0.2, 0.015)), dark)
        television.add(box((0.08, 0.04, 0.1), (0, 0, 0.01)), dark)
        television.add(box((wide, 0.045, wide * 0.57), (0, 0, 0.08)), dark)
        television.add(panel(wide - 0.03, wide * 0.57 - 0.03, (0, 0.0235, 0.095)), self.materials.pick("screen"))
        stand.put(television, place(0, 0, height + 0.026))
        return stand
