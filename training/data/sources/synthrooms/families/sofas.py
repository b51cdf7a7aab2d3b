"""Sofas and upholstered armchairs, the pillows and throws on them."""

import numpy as np

from ..looks.materials import Finish
from ..rooms.bodies import ball, bar, cushion, cylinder, turned
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import box, join, place, sheet, tilt


def square_pillow(maker: Maker) -> Object:
    """A square or oblong pillow that lies on its middle."""
    pillow = maker.object("pillow")
    wide, deep = maker.between(0.34, 0.5), maker.between(0.32, 0.44)
    pillow.add(cushion((wide, deep, 0.12), (0, 0, 0), 0.05, 0.5), maker.finish("cloth"))
    return pillow


def round_pillow(maker: Maker) -> Object:
    """A round pillow."""
    pillow = maker.object("pillow")
    pillow.add(ball(maker.between(0.17, 0.23), squash=0.35, segments=18), maker.finish("cloth"))
    return pillow


def bolster(maker: Maker) -> Object:
    """A roll."""
    pillow = maker.object("pillow")
    radius, length = maker.between(0.07, 0.1), maker.between(0.4, 0.6)
    roll = bar((-length / 2, 0, radius), (length / 2, 0, radius), radius, segments=14)
    pillow.add(roll, maker.finish("cloth"))
    return pillow


PILLOW = Family("pillow", (square_pillow, square_pillow, round_pillow), (bolster,))


def _feet(maker: Maker, sofa: Object, width: float, depth: float) -> None:
    look = maker.finish("wood", "metal")
    sofa.add(
        join([cylinder(0.022, 0.09, (x, y, 0), segments=8) for x, y in four(width / 2 - 0.08, depth / 2 - 0.08)]), look
    )


def _block(sofa: Object, cloth: Finish, size: tuple[float, float], base: tuple[float, float], seat: float) -> None:
    """A seat: a base and the cushion on it."""
    (width, depth), (x, y) = size, base
    sofa.add(cushion((width, depth, seat - 0.2), (x, y, 0.08), 0.02), cloth)
    sofa.add(cushion((width - 0.01, depth - 0.01, 0.15), (x, y, seat - 0.13), 0.04, 0.22), cloth)


def _pillows(maker: Maker, sofa: Object, places: list[tuple[float, float, float]]) -> None:
    """Some of the places (x, y, z) of a seat's top get a pillow that leans back."""
    for x, y, z in places:
        if maker.chance(0.45):
            pillow, turn = maker.make(PILLOW), place(x, y, z, maker.between(-0.3, 0.3)) @ tilt(0.45 - np.pi / 2)
            turn[2, 3] += z - 0.02 - pillow.bounds(turn)[0, 2]  # soft: sinks in a little
            sofa.put(pillow, turn)


def _straight(maker: Maker, sofa: Object, seats: int, cloth: Finish) -> tuple[float, float, float, float]:
    """A row of seats between two arms; gives its inner width, the width of an arm, depth, and the seat's height."""
    arm, depth, seat = (maker.between(0.08, 0.22), maker.between(0.78, 0.95), maker.between(0.38, 0.46))
    each, back, edge = (maker.between(0.55, 0.7), maker.between(0.7, 0.9), maker.between(0.02, 0.07))
    inner, high = seats * each, maker.between(0.5, 0.65)
    for x in (-(inner + arm) / 2, (inner + arm) / 2):
        sofa.add(cushion((arm, depth, high - 0.06), (x, 0, 0.06), edge), cloth)
    sofa.add(cushion((inner, 0.2, back - 0.1), (0, -depth / 2 + 0.1, 0.1), edge), cloth)
    lean = maker.between(0.1, 0.22)
    places = []
    whole = maker.chance(0.25)  # one cushion for all seats
    for x, wide in [(0.0, inner)] if whole else [((i - (seats - 1) / 2) * each, each) for i in range(seats)]:
        _block(sofa, cloth, (wide, depth - 0.2), (x, 0.09), seat)
        motion = place(x) @ tilt(lean, seat + 0.03, -depth / 2 + 0.3)
        sofa.add(cushion((wide - 0.02, 0.16, back - seat + 0.02), (0, 0, 0), 0.06), cloth, motion)
        places.append((x, -depth / 2 + 0.5, seat + 0.02))
    _pillows(maker, sofa, places)
    _feet(maker, sofa, inner + 2 * arm, depth)
    if maker.chance(0.3):
        throw = cushion((each * 0.7, depth * 0.5, 0.02), (inner / 2 - each / 2, 0.12, seat + 0.05), 0.009, 1.0)
        sofa.add(throw, maker.finish("cloth"))
    return inner, arm, depth, seat


def straight(maker: Maker) -> Object:
    """A sofa for two or three."""
    sofa = maker.object("sofa")
    _straight(maker, sofa, maker.count(2, 3), maker.finish("sofa"))
    return sofa


def single(maker: Maker) -> Object:
    """An armchair made like a sofa."""
    sofa = maker.object("sofa")
    _straight(maker, sofa, 1, maker.finish("sofa"))
    return sofa


def chaise(maker: Maker) -> Object:
    """A sofa whose one end is long enough for the legs."""
    sofa = maker.object("sofa")
    cloth = maker.finish("sofa")
    inner, _, depth, seat = _straight(maker, sofa, 2, cloth)
    side = maker.one(-1.0, 1.0)
    _block(sofa, cloth, (inner / 2, 0.6), (side * inner / 4, depth / 2 + 0.28), seat)
    return sofa


def corner(maker: Maker) -> Object:
    """Two rows of seats around a corner; the second has its back at the end of the first."""
    sofa = maker.object("sofa")
    cloth = maker.finish("sofa")
    each, deep, seat, back = (
        maker.between(0.6, 0.7),
        maker.between(0.85, 0.95),
        maker.between(0.38, 0.44),
        maker.between(0.65, 0.8),
    )
    width, length = deep + 2 * each, deep + maker.count(1, 2) * each
    side = maker.one(-1.0, 1.0)
    for index in range(2):
        _block(
            sofa,
            cloth,
            (each, deep - 0.2),
            (side * (width / 2 - each * (index + 0.5)), -length / 2 + 0.1 + deep / 2),
            seat,
        )
    for index in range(round((length - deep) / each)):
        _block(
            sofa,
            cloth,
            (deep - 0.2, each),
            (-side * (width / 2 - 0.1 - deep / 2), -length / 2 + deep + each * (index + 0.5)),
            seat,
        )
    _block(
        sofa,
        cloth,
        (deep - 0.2, deep - 0.2),
        (-side * (width / 2 - 0.1 - deep / 2), -length / 2 + 0.1 + deep / 2),
        seat,
    )
    sofa.add(cushion((width, 0.2, back - 0.08), (0, -length / 2 + 0.1, 0.08), 0.05), cloth)
    sofa.add(cushion((0.2, length - 0.2, back - 0.08), (-side * (width / 2 - 0.1), 0.1, 0.08), 0.05), cloth)
    y, x = -length / 2 + 0.42, side * (width / 2 - each / 2)
    _pillows(
        maker,
        sofa,
        [(x, y, seat + 0.02), (x - side * each, y, seat + 0.02), (-side * (width / 2 - 0.55), y, seat + 0.02)],
    )
    _feet(maker, sofa, width, length)
    return sofa


def daybed(maker: Maker) -> Object:
    """A flat couch with a low head at one end."""
    sofa = maker.object("sofa")
    cloth, frame = maker.finish("sofa"), maker.finish("wood", "metal")
    width, depth, seat = (maker.between(1.7, 2.0), maker.between(0.75, 0.9), maker.between(0.36, 0.44))
    sofa.add(box((width, depth, 0.06), (0, 0, seat - 0.22)), frame)
    sofa.add(
        join([cylinder(0.025, seat - 0.22, (x, y, 0), top=0.03) for x, y in four(width / 2 - 0.1, depth / 2 - 0.1)]),
        frame,
    )
    sofa.add(cushion((width - 0.02, depth - 0.02, 0.17), (0, 0, seat - 0.16), 0.05, 0.15), cloth)
    sofa.add(cushion((0.14, depth, 0.42), (-width / 2 + 0.07, 0, seat - 0.16), 0.06), cloth)
    _pillows(maker, sofa, [(0.0, -depth / 2 + 0.22, seat + 0.02), (0.5, -depth / 2 + 0.22, seat + 0.02)])
    return sofa


def chesterfield(maker: Maker) -> Object:
    """Back and arms of one height, rolled outward, seat cushions between."""
    sofa = maker.object("sofa")
    cloth = maker.finish("sofa")
    seats, depth, high = (maker.count(1, 3), maker.between(0.85, 0.95), maker.between(0.66, 0.76))
    inner, arm = seats * 0.62, 0.22
    for x in (-(inner + arm) / 2, (inner + arm) / 2):
        sofa.add(box((arm * 0.75, depth, high - 0.16), (x, 0, 0.08)), cloth)
        sofa.add(bar((x, -depth / 2, high - 0.1), (x, depth / 2, high - 0.1), 0.12, segments=14), cloth)
    y = -depth / 2 + 0.12
    sofa.add(box((inner, 0.18, high - 0.16), (0, y, 0.08)), cloth)
    sofa.add(bar((-inner / 2, y, high - 0.1), (inner / 2, y, high - 0.1), 0.12, segments=14), cloth)
    for index in range(seats):
        _block(sofa, cloth, (0.62, depth - 0.22), ((index - (seats - 1) / 2) * 0.62, 0.1), 0.44)
    _feet(maker, sofa, inner + arm, depth)
    return sofa


def tub(maker: Maker) -> Object:
    """A round armchair: the back runs around the seat."""
    sofa = maker.object("sofa")
    cloth = maker.finish("sofa")
    radius, high = maker.between(0.36, 0.44), maker.between(0.65, 0.78)
    angle = np.linspace(np.pi + 0.25, -0.25, 15)
    outline = np.stack((np.cos(angle), -np.sin(angle)), -1)
    inner, outer = outline * (radius - 0.11), outline * radius
    rise = high - 0.14 * np.abs(np.cos(angle)) ** 3
    level = np.ones(len(angle))
    rows = [(outer, 0.1 * level), (outer, 0.35 * level), (outer, rise), ((inner + outer) / 2, rise + 0.035)]
    rows += [(inner, rise), (inner, 0.2 * level)]
    grid = np.stack([np.concatenate((flat, z[:, None]), 1) for flat, z in rows])
    sofa.add(sheet(grid, grid[..., (0, 2)]), cloth)
    for end in (0, -1):
        x, y = (outline[end] * (radius - 0.055)).tolist()
        sofa.add(cylinder(0.055, float(rise[end]) - 0.07, (x, y, 0.1)), cloth)
    sofa.add(
        turned(((0, 0), (radius - 0.1, 0), (radius - 0.09, 0.25), (radius - 0.12, 0.3), (0, 0.32)), (0, 0, 0.12), 24),
        cloth,
    )
    _feet(maker, sofa, radius * 1.6, radius * 1.6)
    return sofa


SOFA = Family("sofa", (straight, straight, chaise, corner, daybed), (chesterfield,))
ARMCHAIR = Family("upholstered armchair", (single,), (tub,))
