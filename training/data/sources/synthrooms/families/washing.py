"""What people wash at: washbasins with what hangs around them, towels, washing machines."""

import numpy as np

from ..rooms.bodies import arc, bar, cushion, drape, loft, oval, tube, turned
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, panel, place
from .kitchen import tap
from .storage import body
from .things import mug, scatter


def _basin(maker: Maker, sink: Object, wide: float, deep: float, level: float, square: float) -> None:
    """A basin whose rim is at ``level``, with a tap behind."""
    rings = (
        (0.3, level - 0.15),
        (0.47, level - 0.06),
        (0.5, level),
        (0.44, level),
        (0.4, level - 0.08),
        (0.02, level - 0.12),
    )
    sink.add(loft([oval((wide * s, deep * s), z, square=square, count=28) for s, z in rings]), maker.finish("ceramic"))
    sink.add(tap(0, -deep / 2 + 0.03, level, 0.16), maker.finish("metal"))


def on_column(maker: Maker) -> Object:
    """A washbasin on a column of ceramic."""
    sink, wide, deep, level = maker.object("sink"), maker.between(0.45, 0.6), 0.44, maker.between(0.8, 0.87)
    _basin(maker, sink, wide, deep, level, maker.between(2.2, 5))
    sink.add(
        turned(((0.11, 0), (0.08, 0.1), (0.07, level - 0.2), (0.12, level - 0.1)), smooth=True), maker.finish("ceramic")
    )
    return sink


def in_cabinet(maker: Maker) -> Object:
    """A washbasin on a cabinet."""
    group, wide, deep, level = maker.group(), maker.between(0.55, 1.1), 0.47, 0.72
    cabinet = body(maker, "cabinet", (wide, deep, level), max(1, round(wide / 0.4)), 1)
    group.put(cabinet, np.eye(4))
    sink, look = maker.object("sink"), maker.finish("ceramic")
    half, out = wide / 2 + 0.01, deep / 2 + 0.01
    rim = (
        (half, out, level, 40),
        (half, out, level + 0.05, 40),
        (min(0.27, half - 0.05), out - 0.06, level + 0.05, 3),
        (min(0.22, half - 0.1), out - 0.1, level - 0.0, 3),
        (0.01, 0.01, level - 0.0, 3),
    )
    sink.add(loft([oval((x, y), z + 0.002, square=power, count=32) for x, y, z, power in rim], smooth=False), look)
    sink.add(tap(0, -deep / 2 + 0.06, level + 0.05, 0.15), maker.finish("metal"))
    group.put(sink, np.eye(4))
    return group


def wall_basin(maker: Maker) -> Object:
    """A washbasin on the wall, its pipe below."""
    sink, wide, deep, level = maker.object("sink"), maker.between(0.4, 0.55), 0.38, maker.between(0.8, 0.87)
    _basin(maker, sink, wide, deep, level, maker.between(3, 8))
    trap = [
        (0, 0, level - 0.14),
        (0, 0, level - 0.3),
        (0, -deep / 2 + 0.05, level - 0.34),
        (0, -deep / 2 + 0.01, level - 0.3),
    ]
    sink.add(
        join([tube(trap, 0.02), box((wide * 0.6, 0.05, 0.12), (0, -deep / 2 + 0.025, level - 0.13))]),
        maker.finish("metal", "ceramic"),
    )
    return sink


def bowl_on_board(maker: Maker) -> Object:
    """A bowl that stands on a board of wood or stone."""
    group, board, wide = maker.group(), maker.object("counter"), maker.between(0.8, 1.2)
    board.add(
        join([box((wide, 0.46, 0.06), (0, 0, 0.7)), box((wide, 0.4, 0.02), (0, 0, 0.3))]), maker.finish("wood", "stone")
    )
    board.add(
        join([box((0.04, 0.4, 0.7), (x, 0, 0)) for x in (-wide / 2 + 0.03, wide / 2 - 0.03)]),
        maker.finish("wood", "metal"),
    )
    sink = maker.object("sink")
    rings = ((0.1, 0.0), (0.18, 0.06), (0.21, 0.14), (0.2, 0.14), (0.16, 0.05), (0.01, 0.02))
    sink.add(loft([oval((r, r), z) for r, z in rings]), maker.finish("ceramic", "stone"))
    board.put(sink, place(0, 0.02, 0.761))
    board.add(tap(0, -0.2, 0.76, 0.28), maker.finish("metal"))
    group.put(board, np.eye(4))
    return group


BASIN = Family("washbasin", (on_column, in_cabinet, in_cabinet, wall_basin), (bowl_on_board,))


def hung(maker: Maker) -> Object:
    """A towel over a bar on the wall; its lower edge at the origin's height."""
    group, wide = maker.group(), maker.between(0.35, 0.6)
    towel, high = maker.object("towel"), maker.between(0.4, 0.65)
    for y, long in ((0.08, high), (0.05, high * maker.between(0.6, 0.9))):
        towel.add(drape(wide * 0.85, long, 0.006, 3, (0, y, high - long)), maker.finish("cloth"))
    towel.add(box((wide * 0.85, 0.04, 0.012), (0, 0.065, high)), maker.finish("cloth"))
    group.put(towel, np.eye(4))
    holder = maker.object("otherprop")
    holder.add(
        join(
            [
                bar((-wide / 2, 0.065, high), (wide / 2, 0.065, high), 0.009),
                *(bar((x, 0, high), (x, 0.065, high), 0.009) for x in (-wide / 2, wide / 2)),
            ]
        ),
        maker.finish("metal"),
    )
    group.put(holder, np.eye(4))
    return group


def on_hook(maker: Maker) -> Object:
    """A towel that hangs from a hook or ring in folds."""
    towel, high = maker.object("towel"), maker.between(0.5, 0.9)
    along = np.linspace(0, 1, 6)
    rings = [
        oval((0.02 + 0.09 * (1 - a) ** 0.6, 0.02 + 0.03 * (1 - a)), high * a, 0.05, 2 + a, 16) for a in along.tolist()
    ]
    towel.add(loft(rings), maker.finish("cloth"))
    towel.add(tube(arc((0, 0.04, high), (0.05, 0, 0), (0, 0, 0.05), 0, np.pi, 7), 0.006, 5), maker.finish("metal"))
    return towel


def towel_ladder(maker: Maker) -> Object:
    """A heated ladder with towels over its rungs."""
    group, frame, high, wide = (
        maker.group(),
        maker.object("otherstructure"),
        maker.between(0.9, 1.3),
        maker.between(0.45, 0.55),
    )
    rungs = np.arange(0.05, high, 0.09).tolist()
    frame.add(
        join(
            [bar((x, 0.05, 0), (x, 0.05, high), 0.016) for x in (-wide / 2, wide / 2)]
            + [bar((-wide / 2, 0.05, z), (wide / 2, 0.05, z), 0.01, segments=6) for z in rungs]
        ),
        maker.finish("metal", "ceramic"),
    )
    group.put(frame, np.eye(4))
    for z in rungs[len(rungs) // 2 :: 4]:
        towel = maker.object("towel")
        towel.add(drape(wide * 0.8, 0.4, 0.005, 3, (0, 0.075, max(0.0, z - 0.38))), maker.finish("cloth"))
        group.put(towel, np.eye(4))
    return group


TOWEL = Family("towel", (hung, hung, on_hook), (towel_ladder,))


def washplace(maker: Maker) -> Object:
    """A washbasin, over it a mirror, beside it a towel."""
    group, basin = maker.group(), maker.make(BASIN)
    low, high = basin.bounds()
    group.put(basin, np.eye(4))
    back, level, wide = float(low[1]), 1.15, min(max(float(high[0] - low[0]), 0.45), 1.0)
    mirror = maker.object("mirror")
    if maker.chance(0.6):
        tall = maker.between(0.55, 0.8)
        mirror.add(box((wide, 0.03, tall)), maker.finish("front", "metal"))
        mirror.add(panel(wide - 0.03, tall - 0.03, (0, 0.016, 0.015)), maker.finish("mirror"))
    else:
        mirror.add(bar((0, -0.012, 0.35), (0, 0.012, 0.35), wide * 0.42, segments=28), maker.finish("mirror"))
    group.put(mirror, place(0, back + 0.018, level))
    if maker.chance(0.6):
        cup = mug(maker)
        ledge = maker.object("shelves")
        ledge.add(box((wide * 0.9, 0.12, 0.012), (0, 0, 0)), maker.finish("clear", "ceramic", "wood"))
        scatter(maker, ledge, (wide * 0.85, 0.12), 0.013, 1)
        ledge.put(cup, place(maker.between(-0.3, 0.3) * wide, 0, 0.013))
        group.put(ledge, place(0, back + 0.065, 1.08))
    if maker.chance(0.75):
        side = maker.one(-1, 1)
        group.put(maker.make(TOWEL), place(side * (wide / 2 + 0.35), back, maker.between(0.75, 1.0)))
    return group


def washing_machine(maker: Maker) -> Object:
    """A washing machine or dryer with a round door."""
    machine, look = maker.object("otherfurniture"), maker.finish("ceramic", "metal")
    machine.add(cushion((0.6, 0.56, 0.85), radius=0.02), look)
    machine.add(
        turned(((0.2, 0), (0.2, 0.02), (0.15, 0.035), (0, 0.02)), segments=24), maker.dyed("metal"), _facing(0.28, 0.45)
    )
    machine.add(
        join([bar((0.2, 0.28, 0.77), (0.2, 0.3, 0.77), 0.03), box((0.16, 0.01, 0.07), (-0.18, 0.281, 0.73))]),
        maker.finish("metal"),
    )
    scatter(maker, machine, (0.55, 0.5), 0.85, 2)
    return machine


def _facing(y: float, z: float) -> np.ndarray:
    """The motion that turns the vertical to +y."""
    matrix = np.eye(4)
    matrix[1:3, 1:3] = (0, 1), (-1, 0)
    matrix[1:3, 3] = y, z
    return matrix


def toilet_roll(maker: Maker) -> Object:
    """A roll of paper on a holder at the wall."""
    roll = maker.object("paper")
    roll.add(bar((-0.055, 0.07, 0), (0.055, 0.07, 0), 0.055, segments=14), maker.finish("ceramic"))
    roll.add(panel(0.105, 0.12, (0, 0.126, -0.12)), maker.finish("ceramic"))
    roll.add(box((0.14, 0.09, 0.01), (0, 0.045, 0.06)), maker.finish("metal"))
    return roll
