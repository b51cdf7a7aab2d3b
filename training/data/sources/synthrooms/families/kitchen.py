"""Kitchens: runs of counters with a sink and a stove, wall cabinets over them, refrigerators."""

import numpy as np

from ..looks.materials import Finish
from ..rooms.bodies import arc, bar, cushion, cylinder, loft, oval, tube
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, panel, place
from .seats import BAR_STOOL
from .storage import body, fronts
from .things import CLUTTER, scatter

LEVEL, DEEP = 0.87, 0.6  # metres: a counter's top and depth


def tap(x: float, y: float, z: float, high: float = 0.24) -> Shape:
    """A bent pipe with a lever."""
    bend = arc((x, y + 0.07, z + high), (0, -0.07, 0), (0, 0, 0.07), 0, np.pi, 8)
    pipe = np.concatenate((((x, y, z), (x, y, z + high * 0.6)), bend, ((x, y + 0.14, z + high - 0.05),)))
    return join(
        [tube(pipe, 0.011), cylinder(0.022, 0.04, (x, y, z)), bar((x, y, z + 0.05), (x + 0.07, y, z + 0.08), 0.007)]
    )


def _around(left: float, right: float, hole: tuple[float, float, float], thick: float) -> list[Shape]:
    """A counter's top between two places around a hole (x, width, depth)."""
    x, wide, deep = hole
    rim = (DEEP - deep) / 2
    pieces = [box((wide, rim, thick), (x, y, LEVEL - thick)) for y in (-DEEP / 2 + rim / 2, DEEP / 2 - rim / 2)]
    for low, high in ((left, x - wide / 2), (x + wide / 2, right)):
        pieces.append(box((high - low, DEEP, thick), ((low + high) / 2, 0, LEVEL - thick)))
    return pieces


def square_sink(maker: Maker, wide: float, deep: float) -> Object:
    """A basin of metal or ceramic let into the counter, with a tap."""
    sink = maker.object("sink")
    sizes = (
        (0.5, LEVEL - 0.02),
        (0.53, LEVEL + 0.004),
        (0.48, LEVEL + 0.004),
        (0.45, LEVEL - 0.16),
        (0.01, LEVEL - 0.17),
    )
    sink.add(
        loft([oval((wide * s, deep * s), z, square=8, count=28) for s, z in sizes], smooth=False),
        maker.finish("metal", "ceramic"),
    )
    sink.add(tap(0, -deep / 2 - 0.05, LEVEL), maker.finish("metal"))
    return sink


def double_sink(maker: Maker, wide: float, deep: float) -> Object:
    """Two basins beside each other."""
    sink, look = maker.object("sink"), maker.finish("metal")
    wall = [box((0.03, deep, 0.14), (0, 0, LEVEL - 0.15)), box((wide, deep, 0.01), (0, 0, LEVEL - 0.18))]
    rim = ((0.5, LEVEL - 0.02), (0.53, LEVEL + 0.004), (0.48, LEVEL + 0.004), (0.47, LEVEL - 0.18))
    sink.add(
        join([*wall, loft([oval((wide * s, deep * s), z, square=9, count=28) for s, z in rim], smooth=False)]), look
    )
    sink.add(tap(0, -deep / 2 - 0.05, LEVEL, 0.3), maker.finish("metal"))
    return sink


def apron_sink(maker: Maker, wide: float, deep: float) -> Object:
    """A deep ceramic trough whose front shows."""
    sink, look = maker.object("sink"), maker.finish("ceramic")
    back, front = -deep / 2 - 0.01, DEEP / 2 + 0.02
    walls = [box((wide + 0.06, 0.03, 0.24), (0, y, LEVEL - 0.22)) for y in (back, front)]
    walls += [
        box((0.03, front - back, 0.24), (x, (back + front) / 2, LEVEL - 0.22))
        for x in (-wide / 2 - 0.015, wide / 2 + 0.015)
    ]
    sink.add(join([*walls, box((wide, front - back, 0.02), (0, (back + front) / 2, LEVEL - 0.21))]), look)
    sink.add(tap(0, -deep / 2 - 0.06, LEVEL, 0.28), maker.finish("metal"))
    return sink


SINK = Family("kitchen sink", (square_sink, square_sink, double_sink), (apron_sink,))


def _stove(maker: Maker) -> Object:
    """A stove that stands in the run: hob, knobs, oven door."""
    stove, look, dark = maker.object("otherfurniture"), maker.finish("metal", "ceramic"), maker.dyed("metal")
    stove.add(box((0.6, DEEP, LEVEL)), look)
    stove.add(cushion((0.5, 0.02, 0.42), (0, DEEP / 2 + 0.008, 0.2), 0.008, steps=2), dark)
    plates = [
        cylinder(r, 0.012, (x, y, LEVEL), segments=16)
        for x, y, r in ((-0.14, -0.13, 0.08), (0.14, -0.13, 0.1), (-0.14, 0.13, 0.1), (0.14, 0.13, 0.08))
    ]
    stove.add(join(plates), dark)
    knobs = [bar((x, DEEP / 2, 0.78), (x, DEEP / 2 + 0.025, 0.78), 0.018) for x in (-0.2, -0.1, 0.1, 0.2)]
    stove.add(
        join([*knobs, bar((-0.22, DEEP / 2 + 0.04, 0.6), (0.22, DEEP / 2 + 0.04, 0.6), 0.01)]), maker.finish("metal")
    )
    if maker.chance(0.6):
        pot, radius = maker.object("otherprop"), maker.between(0.08, 0.12)
        pot.add(
            join([cylinder(radius, 0.12, segments=18), bar((-radius - 0.04, 0, 0.1), (radius + 0.04, 0, 0.1), 0.008)]),
            maker.dyed("metal"),
        )
        stove.put(pot, place(maker.one(-0.14, 0.14), maker.one(-0.13, 0.13), LEVEL + 0.013))
    return stove


def microwave(maker: Maker) -> Object:
    """A microwave oven."""
    thing, wide = maker.object("otherprop"), maker.between(0.42, 0.52)
    thing.add(box((wide, 0.34, 0.28)), maker.dyed("plastic", "metal"))
    thing.add(panel(wide * 0.65, 0.2, (wide * 0.12, 0.171, 0.04)), maker.dyed("metal"))
    return thing


def kettle(maker: Maker) -> Object:
    """A kettle."""
    thing, look = maker.object("otherprop"), maker.dyed("metal", "plastic")
    handle = tube(arc((0, -0.07, 0.12), (0, 0, 0.07), (0, -0.06, 0), 0, np.pi, 7), 0.01, 6)
    thing.add(join([cylinder(0.085, 0.2, top=0.06), handle, bar((0, 0.05, 0.13), (0, 0.1, 0.18), 0.02, 0.012)]), look)
    return thing


def toaster(maker: Maker) -> Object:
    """A toaster."""
    thing = maker.object("otherprop")
    thing.add(cushion((0.3, 0.17, 0.19), radius=0.04), maker.dyed("metal", "plastic"))
    thing.add(box((0.22, 0.03, 0.002), (0, 0, 0.19)), maker.dyed("metal"))
    return thing


def paper_roll(maker: Maker) -> Object:
    """A roll of kitchen paper on a stick."""
    thing = maker.object("paper")
    thing.add(join([cylinder(0.06, 0.23, (0, 0, 0.015)), cylinder(0.08, 0.012)]), maker.dyed("ceramic"))
    return thing


WARE = Family("kitchen ware", (microwave, kettle, toaster, paper_roll, *CLUTTER.common[:5]), CLUTTER.held_out)


def two_doors(maker: Maker) -> Object:
    """A refrigerator with a freezer above or below."""
    thing, look = maker.object("refrigerator"), maker.finish("metal", "ceramic", "front")
    width, depth, height, split = maker.between(0.56, 0.7), 0.64, maker.between(1.5, 1.95), maker.one(0.35, 0.68)
    thing.add(box((width, depth - 0.06, height), (0, -0.03, 0)), look)
    for low, high in ((0.05, split * height), (split * height + 0.01, height)):
        thing.add(cushion((width, 0.06, high - low), (0, depth / 2 - 0.03, low), 0.02), look)
        grip = 0.3 if low < 0.1 else 0.25
        z = high - grip - 0.08 if low < 0.1 else low + 0.08
        thing.add(
            bar((width * 0.4, depth / 2 + 0.03, z), (width * 0.4, depth / 2 + 0.03, z + grip), 0.011),
            maker.finish("metal"),
        )
    return thing


def side_by_side(maker: Maker) -> Object:
    """A wide refrigerator with two doors beside each other."""
    thing, look = maker.object("refrigerator"), maker.finish("metal", "ceramic")
    width, depth, height = maker.between(0.82, 0.92), 0.68, maker.between(1.7, 1.85)
    thing.add(box((width, depth - 0.06, height), (0, -0.03, 0)), look)
    for side in (-1, 1):
        thing.add(
            cushion((width / 2 - 0.006, 0.06, height - 0.06), (side * width / 4, depth / 2 - 0.03, 0.05), 0.015), look
        )
        thing.add(
            bar((side * 0.05, depth / 2 + 0.035, 0.6), (side * 0.05, depth / 2 + 0.035, 1.4), 0.012),
            maker.finish("metal"),
        )
    thing.add(panel(0.18, 0.3, (-width / 4, depth / 2 + 0.002, 1.0)), maker.dyed("metal"))
    return thing


def small_fridge(maker: Maker) -> Object:
    """A low refrigerator with things on it."""
    thing, look = maker.object("refrigerator"), maker.finish("ceramic", "metal")
    height = maker.between(0.8, 0.9)
    thing.add(box((0.55, 0.54, height), (0, -0.03, 0)), look)
    thing.add(cushion((0.55, 0.06, height - 0.08), (0, 0.26, 0.05), 0.015), look)
    thing.add(box((0.02, 0.03, 0.2), (0.22, 0.3, height - 0.35)), maker.finish("metal"))
    scatter(maker, thing, (0.5, 0.5), height, 2, WARE)
    return thing


def round_fridge(maker: Maker) -> Object:
    """A refrigerator with round shoulders and a large lever."""
    thing, look = maker.object("refrigerator"), maker.dyed("ceramic", "plastic")
    height, width = maker.between(1.4, 1.65), 0.62
    thing.add(cushion((width, 0.58, height - 0.08), (0, -0.03, 0.08), 0.12, steps=5), look)
    thing.add(cushion((width - 0.04, 0.1, height - 0.2), (0, 0.25, 0.12), 0.049, 0.1), look)
    thing.add(
        join([bar((0.24, 0.32, height * 0.6), (0.08, 0.35, height * 0.6), 0.014), box((0.56, 0.5, 0.08))]),
        maker.finish("metal"),
    )
    return thing


REFRIGERATOR = Family("refrigerator", (two_doors, two_doors, side_by_side, small_fridge), (round_fridge,))


def _doors(maker: Maker, run: Object, span: tuple[float, float], front: Finish, metal: Finish, hole: bool) -> None:
    """Base cabinets between two places; ``hole`` leaves their inside open above for a basin."""
    left, right = span
    width, middle = right - left, (left + right) / 2
    columns = max(1, round(width / maker.between(0.45, 0.62)))
    rows = 1 if hole else maker.one(1, 1, 3)
    faces, handles = fronts(maker, (width, DEEP - 0.02, LEVEL - 0.04), columns, rows, 0.1)
    run.add(join(faces), front, place(middle))
    run.add(join(handles), metal, place(middle))
    high = LEVEL - (0.25 if hole else 0.04)
    walls = [
        box((width, DEEP - 0.05, high - 0.1), (middle, -0.025, 0.1)),
        box((width, DEEP - 0.12, 0.1), (middle, -0.06, 0)),
    ]
    if hole:
        walls += [box((width, 0.015, 0.21), (middle, DEEP / 2 - 0.05, high))]
        walls += [box((0.015, DEEP - 0.05, 0.21), (x, -0.025, high)) for x in (left + 0.01, right - 0.01)]
    run.add(join(walls), front)


def _upper(maker: Maker, left: float, right: float, front: Finish, metal: Finish) -> Object:
    """Wall cabinets between two places, their back with that of the counter."""
    upper, width, height = maker.object("cabinet"), right - left, maker.between(0.55, 0.75)
    faces, handles = fronts(maker, (width, 0.3, height), max(1, round(width / 0.5)), 1, 0.0)
    upper.add(join([box((width, 0.28, height), (0, -0.01, 0)), *faces]), front)
    upper.add(join(handles), metal)
    return upper


def run_of(maker: Maker, width: float, wet: bool, hot: bool) -> Object:
    """A counter with base cabinets, a sink and a stove if asked for and if it is long enough, wall cabinets, ware."""
    front, top, metal = maker.finish("front", "wood"), maker.finish("stone", "wood"), maker.finish("metal")
    group, run, thick = maker.group(), maker.object("counter"), maker.between(0.025, 0.045)
    left, right, over = -width / 2, width / 2, -DEEP / 2 + 0.16
    if hot and width > 1.5:
        right -= 0.61
        group.put(_stove(maker), place(width / 2 - 0.3))
        hood = maker.object("otherfurniture")
        hood.add(join([box((0.58, 0.44, 0.07)), box((0.5, 0.35, 0.35), (0, -0.04, 0.07), taper=0.55)]), metal)
        group.put(hood, place(width / 2 - 0.3, -DEEP / 2 + 0.23, 1.55))
    free = [(left, right)]
    if wet and right - left > 1.0:
        wide, deep = maker.between(0.46, 0.68), maker.between(0.36, 0.4)
        x = maker.between(left + wide / 2 + 0.1, right - wide / 2 - 0.1)
        group.put(maker.make(SINK, wide, deep), place(x))
        run.add(join(_around(left, right, (x, wide, deep), thick)), top)
        free = [(left, x - wide / 2 - 0.05), (x + wide / 2 + 0.05, right)]
    else:
        run.add(box((right - left, DEEP, thick), ((left + right) / 2, 0, LEVEL - thick)), top)
    _doors(maker, run, (left, right), front, metal, len(free) > 1)
    for low, high in free:
        if high - low > 0.3:
            ware = maker.group()
            scatter(maker, ware, (high - low, DEEP - 0.04), LEVEL, max(1, int(3 * (high - low))), WARE)
            if ware.parts:
                group.put(ware, place((low + high) / 2))
    group.put(run, np.eye(4))
    if maker.chance(0.75):
        group.put(_upper(maker, left, right, front, metal), place((left + right) / 2, over, 1.42))
    if maker.chance(0.6):
        splash = maker.object("wall")
        splash.add(box((width, 0.008, 0.5), (0, -DEEP / 2 + 0.004, LEVEL)), maker.finish("tile", "stone"))
        group.put(splash, np.eye(4))
    return group


def island(maker: Maker) -> Object:
    """A block of cabinets in the middle of a kitchen, stools on its other side."""
    group, block, width = maker.group(), maker.object("counter"), maker.between(1.2, 1.7)
    block.add(cushion((width + 0.06, 0.9, 0.04), (0, 0.12, 0.88), 0.008, steps=2), maker.finish("stone", "wood"))
    group.put(body(maker, "cabinet", (width, 0.62, 0.88), 3, 1), place(0, 0, 0, np.pi))
    ware = maker.group()
    scatter(maker, ware, (width * 0.9, 0.7), 0.921, 4, WARE)
    if ware.parts:
        block.put(ware, place(0, 0.1))
    group.put(block, np.eye(4))
    stool = maker.make(BAR_STOOL)
    for x in (-width / 4, width / 4):
        group.put(stool, place(x, 0.75, 0, np.pi + maker.between(-0.3, 0.3)))
    return group
