"""Books: in rows, leaning, in piles, open."""

import numpy as np

from ..rooms.bodies import tube
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, mat, panel, place, sheet, tilt

COLUMNS = 16  # spines in a picture of spines


def _book(maker: Maker, thick: float, deep: float, tall: float) -> Object:
    """A book that stands, its back along +y."""
    book = maker.object("books")
    book.add(box((thick - 0.002, deep, tall)), maker.dyed("plastic"))
    face = panel(thick - 0.002, tall, (0, deep / 2 + 0.001, 0))
    uv = face.uv * (1 / COLUMNS, 1) + (int(maker.random.integers(COLUMNS)) / COLUMNS, 0)
    book.add(Shape(face.corners, face.normals, uv), maker.finish("spines"))
    return book


def _row(maker: Maker, width: float, depth: float, height: float, share: float) -> tuple[Object, float]:
    """Books side by side from the left until a share of the width is full; each is an instance. And where they end."""
    row = maker.group()
    x, last = -width / 2, width * (share - 0.5)
    usual = maker.between(0.6, 0.95)
    while True:
        thick, tall = maker.between(0.018, 0.055), height * min(0.97, usual * maker.between(0.85, 1.2))
        deep = min(depth * 0.95, tall * maker.between(0.6, 0.8))
        if x + thick > last:
            return row, x
        row.put(_book(maker, thick, deep, tall), place(x + thick / 2, depth / 2 - deep / 2 - 0.01))
        x += thick


def upright_row(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A row that fills a part of a board."""
    return _row(maker, width, depth, height, maker.between(0.4, 1.0))[0]


def leaning_row(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A row whose last book leans."""
    row, end = _row(maker, width, depth, height, maker.between(0.3, 0.6))
    thick, tall = maker.between(0.02, 0.04), height * 0.75
    if row.parts and end + 0.4 * tall < width / 2:
        lean = np.eye(4)
        angle = maker.between(0.15, 0.3)
        lean[0, 0], lean[0, 2], lean[2, 0], lean[2, 2] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        lean[0, 3], lean[1, 3] = end + tall * np.sin(angle) + thick, depth / 2 - 0.09
        row.put(_book(maker, thick, min(depth * 0.8, 0.16), tall), lean)
    return row


def rows_and_pile(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A short row, and a pile of lying books beside it."""
    row, end = _row(maker, width, depth, height, maker.between(0.2, 0.55))
    if width / 2 - end > 0.24:
        lying = flat_pile(maker, min(depth * 0.9, 0.2), height * 0.8)
        row.put(lying, place((end + width / 2) / 2))
    return row


def flat_pile(maker: Maker, size: float = 0.22, height: float = 0.2) -> Object:
    """Books that lie on each other."""
    pile = maker.object("books")
    z = 0.0
    for _ in range(maker.count(1, 5)):
        width, depth, thick = (
            size * maker.between(0.6, 0.8),
            size * maker.between(0.8, 1.0),
            maker.between(0.015, 0.045),
        )
        if z + thick > height:
            break
        turn = place(0, 0, z, maker.between(-0.2, 0.2))
        pile.add(box((width, depth, thick)), maker.dyed("plastic"), turn)
        pile.add(mat(width, depth, (0, 0, thick + 0.001)), maker.finish("poster"), turn)
        z += thick + 0.002
    return pile


def loose_pile(maker: Maker) -> Object:
    """A pile on a table or the floor."""
    return flat_pile(maker, maker.between(0.2, 0.32), maker.between(0.06, 0.3))


def open_book(maker: Maker) -> Object:
    """An open book that lies."""
    book = maker.object("books")
    across = np.linspace(-1, 1, 9)
    rise = 0.004 + 0.02 * np.abs(across) * (1 - np.abs(across)) * 4 * 0.6
    wide, tall = maker.between(0.13, 0.2), maker.between(0.18, 0.28)
    points = np.empty((2, 9, 3))
    points[..., 0], points[..., 1], points[..., 2] = across * wide, np.array([[-tall / 2], [tall / 2]]), rise
    uv = np.stack(np.broadcast_arrays(across / 2 + 0.5, np.array([[0.0], [1.0]])), -1)
    book.add(sheet(points, uv), maker.finish("paper"))
    book.add(box((2 * wide + 0.01, tall + 0.01, 0.003)), maker.dyed("plastic"))
    return book


def book_ends(maker: Maker) -> Object:
    """A few standing books between two bent wires."""
    row, end = _row(maker, 0.4, 0.2, 0.26, 0.7)
    shelf = maker.object("books")
    shelf.put(row, place())
    for x in (-0.205, end + 0.008):
        wire = [(x, -0.06, 0.0), (x, -0.06, 0.14), (x, 0.0, 0.17), (x, 0.06, 0.14), (x, 0.06, 0.0)]
        shelf.add(tube(wire, 0.004, 5), maker.finish("metal"))
    return shelf


def leaning_pile(maker: Maker) -> Object:
    """A pile with one book that leans against it."""
    pile = flat_pile(maker, 0.26, 0.25)
    high = float(pile.bounds()[1, 2])
    pile.add(box((0.15, 0.025, 0.22)), maker.dyed("plastic"), place(0, 0.2) @ tilt(0.5 if high > 0.1 else 1.2))
    return pile


ROW = Family("row of books", (upright_row, upright_row, leaning_row, rows_and_pile))
PILE = Family("pile of books", (loose_pile, loose_pile, open_book), (book_ends, leaning_pile))
