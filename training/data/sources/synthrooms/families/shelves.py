"""Bookcases and boards on the wall, with books, boxes and things."""

import numpy as np

from ..looks.materials import Finish
from ..rooms.bodies import bar
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, place
from .books import ROW
from .storage import fronts
from .things import stand


def fill(maker: Maker, shelf: Object, x: float, z: float, size: tuple[float, float, float]) -> None:
    """Put books, boxes, things or nothing into a compartment (width, depth, height) that stands at x, z."""
    width, depth, height = size
    kind = maker.one("books", "books", "books", "things", "boxes", "nothing")
    if kind == "books":
        shelf.put(maker.make(ROW, width - 0.01, depth - 0.03, min(height, 0.34)), place(x, 0, z))
    elif kind == "boxes":
        count = max(1, round(width / 0.38))
        for index in range(count):
            case, each = maker.object("box"), width / count
            tall = height * maker.between(0.5, 0.85)
            case.add(
                box((each * maker.between(0.7, 0.95), depth * 0.85, tall)), maker.finish("carton", "cloth", "wood")
            )
            shelf.put(case, place(x + (index + 0.5) * each - width / 2, 0, z))
    elif kind == "things":
        count = max(1, int(width / 0.26))
        for index in range(count):
            stand(maker, shelf, x + ((index + 0.5) / count - 0.5) * width, z, (width / count, depth, height - 0.01))


def _sides(width: float, depth: float, height: float) -> list[Shape]:
    return [box((0.022, depth, height), (x, 0, 0)) for x in (-width / 2 + 0.011, width / 2 - 0.011)]


def bookcase(maker: Maker) -> Object:
    """Boards between two sides, with or without a back."""
    shelf, look = maker.object("bookshelf"), maker.finish("wood", "front")
    width, depth, height = maker.between(0.5, 1.4), maker.between(0.26, 0.36), maker.between(0.9, 2.15)
    count = round(height / maker.between(0.3, 0.42))
    step = (height - 0.082) / count
    boards = [box((width - 0.044, depth - 0.01, 0.022), (0, 0, 0.06 + step * level)) for level in range(count + 1)]
    shelf.add(join(_sides(width, depth, height) + boards), look)
    if maker.chance(0.75):
        shelf.add(box((width, 0.008, height), (0, -depth / 2 + 0.004, 0)), maker.one(look, maker.finish("front")))
    for level in range(count):
        fill(maker, shelf, 0, 0.082 + step * level, (width - 0.05, depth, step - 0.03))
    return shelf


def with_doors(maker: Maker) -> Object:
    """A bookcase whose lower part is closed, perhaps with glass above."""
    shelf, look = maker.object("bookshelf"), maker.finish("wood", "front")
    width, depth, height, low = maker.between(0.7, 1.3), maker.between(0.34, 0.42), maker.between(1.7, 2.15), 0.75
    count = round((height - low) / 0.34)
    step = (height - low - 0.02) / count
    boards = [box((width - 0.04, depth - 0.03, 0.02), (0, 0, low + step * level)) for level in range(count + 1)]
    shelf.add(join(_sides(width, depth - 0.02, height) + boards), look)
    shelf.add(
        join([box((width - 0.02, depth - 0.03, low)), box((width, 0.01, height), (0, -depth / 2 + 0.005, 0))]), look
    )
    faces, handles = fronts(maker, (width, depth - 0.02, low), 2, 1, 0.06)
    shelf.add(join(faces), look)
    shelf.add(join(handles), maker.finish("metal"))
    for level in range(count):
        fill(maker, shelf, 0, low + 0.02 + step * level, (width - 0.05, depth - 0.04, step - 0.03))
    return shelf


def cubes(maker: Maker) -> Object:
    """A grid of square compartments."""
    shelf, look = maker.object("bookshelf"), maker.finish("wood", "front")
    columns, rows, each, depth = (
        maker.count(2, 4),
        maker.count(2, 5),
        maker.between(0.33, 0.4),
        maker.between(0.34, 0.4),
    )
    width, height = columns * each + 0.03, rows * each + 0.03
    uprights = [box((0.03, depth, height), ((i - columns / 2) * each, 0, 0)) for i in range(columns + 1)]
    boards = [box((width, depth - 0.004, 0.03), (0, 0, i * each)) for i in range(rows + 1)]
    shelf.add(join(uprights + boards), look)
    if maker.chance(0.5):
        shelf.add(box((width, 0.008, height), (0, -depth / 2 + 0.004, 0)), look)
    for column in range(columns):
        for row in range(rows):
            x = (column + 0.5 - columns / 2) * each
            fill(maker, shelf, x, 0.03 + row * each, (each - 0.04, depth, each - 0.04))
    return shelf


def rack(maker: Maker) -> Object:
    """Posts of metal with boards, as in cellars and offices."""
    shelf, metal = maker.object("shelves"), maker.finish("metal")
    width, depth, height, count = (
        maker.between(0.8, 1.3),
        maker.between(0.35, 0.5),
        maker.between(1.5, 2.0),
        maker.count(3, 5),
    )
    posts = [box((0.035, 0.035, height), (x, y, 0)) for x in (-width / 2, width / 2) for y in (-depth / 2, depth / 2)]
    shelf.add(join(posts), metal)
    step = (height - 0.2) / (count - 1)
    shelf.add(
        join([box((width, depth, 0.025), (0, 0, 0.1 + step * level)) for level in range(count)]),
        maker.finish("wood", "metal"),
    )
    for level in range(count):
        room = step - 0.05 if level < count - 1 else 0.35
        fill(maker, shelf, 0, 0.126 + step * level, (width - 0.06, depth - 0.05, room))
    return shelf


def ladder(maker: Maker) -> Object:
    """Boards that grow shallower upward between two leaning posts."""
    shelf, look = maker.object("bookshelf"), maker.finish("wood", "metal")
    width, height, deep, count = maker.between(0.5, 0.8), maker.between(1.6, 1.9), 0.45, 4
    posts = [bar((x, deep / 2, 0), (x, -deep / 2, height), 0.018) for x in (-width / 2, width / 2)]
    shelf.add(join(posts), look)
    for level in range(count):
        z = 0.25 + (height - 0.5) * level / (count - 1)
        depth = deep * (1 - z / height) + 0.12
        y = -deep / 2 + depth / 2 - 0.02
        shelf.add(box((width, depth, 0.02), (0, y, z)), look)
        content = maker.group()
        fill(maker, content, 0, z + 0.021, (width - 0.08, depth, 0.3))
        if content.parts:
            shelf.put(content, place(0, y))
    return shelf


def stagger(maker: Maker) -> Object:
    """Boards and uprights that shift from level to level."""
    shelf, look = maker.object("bookshelf"), maker.finish("wood", "front")
    width, depth, step, count = maker.between(0.8, 1.1), 0.28, maker.between(0.32, 0.38), maker.count(4, 5)
    pieces = [box((width, depth, 0.025), (0, 0, step * level)) for level in range(count + 1)]
    for level in range(count):
        split = width * (0.18 if level % 2 else -0.18)
        pieces += [
            box((0.025, depth, step), (x, 0, step * level))
            for x in (split, (width / 2 - 0.02) * (-1 if level % 2 else 1))
        ]
        for low, high in ((-width / 2 + 0.03, split - 0.02), (split + 0.02, width / 2 - 0.03)):
            fill(maker, shelf, (low + high) / 2, step * level + 0.026, (high - low, depth, step - 0.03))
    shelf.add(join(pieces), look)
    return shelf


BOOKCASE = Family("bookshelf", (bookcase, bookcase, with_doors, cubes, rack), (ladder, stagger))


def _load(maker: Maker, board: Object, width: float, depth: float, z: float) -> None:
    if maker.chance(0.6):
        board.put(maker.make(ROW, width - 0.05, depth, 0.27), place(0, 0, z))
    else:
        for x in (-width / 3, 0.0, width / 3):
            stand(maker, board, x, z, (width / 3.2, depth, 0.28))


def _board(maker: Maker, board: Object, width: float, depth: float, z: float, look: Finish) -> None:
    board.add(box((width, depth, 0.025), (0, 0, z)), look)
    _load(maker, board, width, depth, z + 0.025)


def brackets(maker: Maker) -> Object:
    """One to three boards on brackets."""
    board, look, metal = maker.object("shelves"), maker.finish("wood", "front"), maker.finish("metal")
    width, depth = maker.between(0.5, 1.3), maker.between(0.18, 0.26)
    for level in range(maker.count(1, 3)):
        z = 0.34 * level
        _board(maker, board, width, depth, z, look)
        arms = [box((0.02, depth * 0.7, 0.06), (x * width * 0.35, -depth * 0.15, z - 0.06)) for x in (-1, 1)]
        board.add(join(arms), metal)
    return board


def wall_box(maker: Maker) -> Object:
    """An open box on the wall, or a cabinet with a glass-less front."""
    board, look = maker.object("shelves"), maker.finish("wood", "front")
    width, depth, height = maker.between(0.4, 0.9), maker.between(0.2, 0.28), maker.between(0.3, 0.4)
    sides = [box((0.02, depth, height), (x, 0, 0)) for x in (-width / 2, width / 2)]
    board.add(
        join(
            [*sides, box((width + 0.02, depth, 0.02), (0, 0, height)), box((width, 0.01, height), (0, -depth / 2, 0))]
        ),
        look,
    )
    _board(maker, board, width - 0.02, depth, 0.0, look)
    return board


def strings(maker: Maker) -> Object:
    """Boards that hang in two ladders of wire."""
    board, look, metal = maker.object("shelves"), maker.finish("wood"), maker.finish("metal")
    width, depth, count = maker.between(0.6, 0.9), 0.2, maker.count(2, 3)
    for level in range(count):
        _board(maker, board, width, depth, 0.1 + 0.32 * level, look)
    wires = [
        bar((x, y, 0), (x, y, 0.32 * count + 0.05), 0.005, segments=5)
        for x in (-width / 2, width / 2)
        for y in np.array((-0.49, 0.49)) * depth
    ]
    board.add(join(wires), metal)
    return board


WALL_SHELF = Family("wall shelf", (brackets, brackets, wall_box), (strings,))
