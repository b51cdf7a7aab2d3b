"""Tables of all heights, and dining tables with their chairs."""

import numpy as np

from ..rooms.bodies import bar, cushion, cylinder, loft, oval, turned
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, place
from .chairs import DINING_CHAIR
from .seats import BENCH
from .things import scatter


def _top(maker: Maker, table: Object, width: float, depth: float, height: float, thick: float) -> None:
    edge = maker.one(0.004, 0.012)
    table.add(
        cushion((width, depth, thick), (0, 0, height - thick), edge, steps=2),
        maker.finish("wood", "wood", "front", "stone"),
    )


def _apron(width: float, depth: float, height: float) -> list[Shape]:
    """The boards under a table's top."""
    long = [box((width, 0.02, 0.07), (0, y, height - 0.07)) for y in (-depth / 2, depth / 2)]
    return long + [box((0.02, depth, 0.07), (x, 0, height - 0.07)) for x in (-width / 2, width / 2)]


def on_legs(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """A top on four legs: square, turned, or slanted."""
    table, legs = maker.object(label), maker.finish("wood", "wood", "metal")
    thick, inset = maker.between(0.02, 0.05), maker.between(0.04, 0.09)
    under = height - thick
    _top(maker, table, width, depth, height, thick)
    places = four(width / 2 - inset, depth / 2 - inset)
    style = maker.count(0, 2)
    if style == 0:
        side = maker.between(0.03, 0.08)
        table.add(join([box((side, side, under), (x, y, 0)) for x, y in places]), legs)
    elif style == 1:
        belly = maker.between(0.02, 0.045)
        outline = ((0.015, 0), (belly, under * 0.35), (0.02, under * 0.55), (0.032, under * 0.7), (0.032, under))
        table.add(join([turned(outline, (x, y, 0), 10, smooth=True) for x, y in places]), legs)
    else:
        out = maker.between(0.03, 0.07)
        slanted = [
            bar((x + np.sign(x) * out * 0.5, y + np.sign(y) * out * 0.5, 0), (x * 0.85, y * 0.85, under), 0.014, 0.024)
            for x, y in places
        ]
        table.add(join(slanted), legs)
        return table
    table.add(join(_apron(width - 2 * inset, depth - 2 * inset, under)), legs)
    return table


def trestle(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """A top on two trestles and a rail."""
    table, legs = maker.object(label), maker.finish("wood", "metal")
    _top(maker, table, width, depth, height, 0.04)
    for x in (-width / 2 + 0.14, width / 2 - 0.14):
        side = [box((0.06, depth * 0.85, 0.05), (x, 0, 0)), box((0.05, 0.12, height - 0.1), (x, 0, 0.05))]
        table.add(join([*side, box((0.06, depth * 0.7, 0.05), (x, 0, height - 0.09))]), legs)
    table.add(box((width - 0.3, 0.03, 0.08), (0, 0, height * 0.4)), legs)
    return table


def on_panels(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """A top between two upright boards, with a shelf or a back between them."""
    table, look = maker.object(label), maker.finish("wood", "front")
    thick = maker.between(0.02, 0.04)
    table.add(box((width, depth, thick), (0, 0, height - thick)), look)
    table.add(
        join([box((thick, depth * 0.96, height - thick), (x, 0, 0)) for x in (-width / 2 + 0.05, width / 2 - 0.05)]),
        look,
    )
    if height < 0.6:
        table.add(box((width - 0.1, depth * 0.9, 0.018), (0, 0, height * 0.35)), look)
    else:
        table.add(box((width - 0.1, 0.018, height * 0.5), (0, -depth * 0.3, height * 0.45)), look)
    return table


def crossed(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """A top on crossed legs at both ends."""
    table, look = maker.object(label), maker.finish("metal", "wood")
    _top(maker, table, width, depth, height, 0.035)
    reach = depth / 2 - 0.06
    for x in (-width / 2 + 0.15, width / 2 - 0.15):
        table.add(join([bar((x, -y, 0), (x, y, height - 0.035), 0.02) for y in (-reach, reach)]), look)
    return table


def slab(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """A thick top on two turned columns, or on a block."""
    table, look = maker.object(label), maker.finish("stone", "wood")
    table.add(cushion((width, depth, 0.07), (0, 0, height - 0.07), 0.034, steps=3), look)
    if height < 0.55:
        table.add(box((width * 0.7, depth * 0.7, height - 0.07)), look)
    else:
        table.add(
            join([cylinder(depth * 0.2, height - 0.07, (x, 0, 0), segments=20) for x in (-width / 4, width / 4)]), look
        )
    return table


def rounded(maker: Maker, width: float, depth: float, height: float, label: str = "table") -> Object:
    """An oval top on a trumpet's foot."""
    table, look = maker.object(label), maker.finish("plastic", "stone", "metal")
    rim = [
        oval((width / 2 * s, depth / 2 * s), height - 0.025 + z, square=2.3, count=32)
        for s, z in ((0.0, 0), (0.98, 0), (1, 0.012), (0.98, 0.025), (0.0, 0.025))
    ]
    table.add(loft(rim), look)
    foot = depth * 0.3
    curve = ((foot, 0), (foot * 0.6, 0.03), (0.05, height * 0.25), (0.04, height * 0.6), (0.1, height - 0.03))
    table.add(turned(curve, smooth=True, segments=20), maker.finish("plastic", "metal"))
    return table


def pedestal(maker: Maker, diameter: float, height: float) -> Object:
    """A round top on a column."""
    table, thick = maker.object("table"), maker.between(0.02, 0.04)
    table.add(
        cylinder(diameter / 2, thick, (0, 0, height - thick), segments=28), maker.finish("wood", "stone", "front")
    )
    foot = diameter * maker.between(0.25, 0.33)
    column = ((0, 0), (foot, 0), (foot * 0.9, 0.025), (0.04, maker.between(0.05, 0.12)), (0.04, height - thick))
    table.add(turned(column, segments=20), maker.finish("wood", "metal"))
    return table


def round_on_legs(maker: Maker, diameter: float, height: float) -> Object:
    """A round top on three or four slanted legs."""
    table, thick = maker.object("table"), maker.between(0.02, 0.035)
    table.add(
        cylinder(diameter / 2, thick, (0, 0, height - thick), segments=28), maker.finish("wood", "stone", "front")
    )
    angles = np.arange(maker.count(3, 4)) * 2 * np.pi
    legs = []
    for angle in (angles / len(angles) + 0.4).tolist():
        x, y = diameter * 0.42 * np.cos(angle), diameter * 0.42 * np.sin(angle)
        legs.append(bar((x, y, 0), (0.6 * x, 0.6 * y, height - thick), 0.013, 0.022))
    table.add(join(legs), maker.finish("wood", "metal"))
    return table


def drum(maker: Maker, diameter: float, height: float) -> Object:
    """A closed or waisted drum."""
    table = maker.object("table")
    along, waist = np.linspace(0, 1, 9), maker.between(0.55, 1.0)
    profile = np.stack((diameter / 2 * (waist + (1 - waist) * (2 * along - 1) ** 2), along * height), -1)
    table.add(turned(np.concatenate((profile, ((0, height),))), segments=28), maker.finish("wood", "stone", "metal"))
    return table


TABLE = Family("table", (on_legs, on_legs, trestle, on_panels, crossed), (slab, rounded))
ROUND_TABLE = Family("round table", (pedestal, round_on_legs), (drum,))


def low_table(maker: Maker, width: float) -> Object:
    """A table before a sofa, with things on it; some are round, some two of a nest."""
    height = maker.between(0.32, 0.46)
    if maker.chance(0.3):
        diameter = min(width, maker.between(0.55, 0.8))
        table, size = maker.make(ROUND_TABLE, diameter, height), (diameter * 0.65, diameter * 0.65)
    else:
        depth = maker.between(0.45, 0.65)
        table, size = maker.make(TABLE, width, depth, height), (width * 0.92, depth * 0.9)
    scatter(maker, table, size, height, maker.count(1, 5))
    return table


def side_table(maker: Maker) -> Object:
    """A small table or a console, with things on it."""
    if maker.chance(0.4):
        diameter, height = maker.between(0.35, 0.5), maker.between(0.45, 0.6)
        table, size = maker.make(ROUND_TABLE, diameter, height), (diameter * 0.65, diameter * 0.65)
    else:
        width, depth, height = maker.between(0.6, 1.3), maker.between(0.35, 0.45), maker.between(0.65, 0.85)
        table, size = maker.make(TABLE, width, depth, height), (width * 0.92, depth * 0.9)
    scatter(maker, table, size, height, maker.count(2, 5))
    return table


def dining(maker: Maker) -> Object:
    """A table with chairs of one kind pushed more or less under it, some with a bench along one side."""
    group, chair = maker.group(), maker.make(DINING_CHAIR)
    height = maker.between(0.71, 0.77)
    if maker.chance(0.3):
        diameter, chairs = maker.between(0.85, 1.25), maker.count(2, 4)
        table, size = maker.make(ROUND_TABLE, diameter, height), (diameter * 0.65, diameter * 0.65)
        for index in range(chairs):
            angle, reach = 2 * np.pi * index / chairs + 0.3, diameter / 2 + maker.between(0.22, 0.5)
            turn = angle + np.pi / 2 + maker.between(-0.25, 0.25)
            group.put(chair, place(reach * np.cos(angle), reach * np.sin(angle), 0, turn))
    else:
        width, depth, each = maker.between(1.1, 1.9), maker.between(0.75, 0.95), maker.count(1, 2)
        table, size = maker.make(TABLE, width, depth, height), (width * 0.93, depth * 0.9)
        for side in (-1, 1):
            if side < 0 and maker.chance(0.15):
                group.put(maker.make(BENCH), place(0, -depth / 2 - maker.between(0.05, 0.25)))
                continue
            for index in range(each):
                x = (index - (each - 1) / 2) * (width - 0.2) / each
                out = side * (depth / 2 + maker.between(0.1, 0.4))
                group.put(chair, place(x, out, 0, (np.pi if side > 0 else 0) + maker.between(-0.25, 0.25)))
        if width > 1.6 and maker.chance(0.5):
            group.put(chair, place(-width / 2 - maker.between(0.15, 0.35), 0, 0, -np.pi / 2 + maker.between(-0.2, 0.2)))
    scatter(maker, table, size, height, maker.count(2, 8))
    group.put(table, np.eye(4))
    return group
