"""Toilets, bathtubs and showers."""

import numpy as np

from ..rooms.bodies import ball, bar, cushion, cylinder, drape, loft, oval, tube
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, place
from .kitchen import tap
from .things import bottle

Rings = tuple[tuple[float, float, float, float], ...]


def _bowl(rings: Rings) -> list[np.ndarray]:
    """Ovals of half axes x and y at height z, moved along y."""
    return [oval((x, y), z, move, 2.2) for x, y, z, move in rings]


def _seat(maker: Maker, toilet: Object, level: float, y: float) -> None:
    """A lid, shut or open against the back."""
    look = maker.finish("ceramic", "plastic")
    ring = [(0.14, 0.17, 0.0, 0.02), (0.185, 0.235, 0.0, 0.0), (0.185, 0.235, 0.025, 0.0), (0.14, 0.17, 0.025, 0.02)]
    toilet.add(loft([*_bowl(tuple(ring)), *_bowl((ring[0],))]), look, place(0, y, level))
    shut = loft(
        _bowl(((0.0, 0.0, 0.026, 0.0), (0.185, 0.235, 0.026, 0.0), (0.18, 0.23, 0.045, 0.0), (0.0, 0.0, 0.05, 0.0)))
    )
    if maker.chance(0.6):
        toilet.add(shut, look, place(0, y, level))
    else:
        lift = np.eye(4)
        lift[1:3, 1:3] = (0.2, -0.98), (0.98, 0.2)
        lift[1:3, 3] = y - 0.23, level + 0.24
        toilet.add(shut, look, lift)


def with_tank(maker: Maker) -> Object:
    """A toilet on a foot, its tank behind it."""
    toilet, look, level = maker.object("toilet"), maker.finish("ceramic"), maker.between(0.38, 0.42)
    foot = (
        (0.1, 0.17, 0, -0.02),
        (0.1, 0.17, 0.1, -0.02),
        (0.12, 0.19, 0.22, 0),
        (0.18, 0.23, level, 0.03),
        (0.13, 0.17, level, 0.04),
        (0.05, 0.08, 0.22, 0),
    )
    toilet.add(loft(_bowl(foot)), look, place(0, 0.05))
    wide = maker.between(0.36, 0.46)
    tank = [
        cushion((wide, 0.17, 0.36), (0, -0.24, level), 0.03),
        cushion((wide + 0.03, 0.19, 0.04), (0, -0.24, level + 0.36), 0.015),
    ]
    toilet.add(join([*tank, box((0.2, 0.2, level), (0, -0.2, 0), taper=1.2)]), look)
    _seat(maker, toilet, level, 0.08)
    return toilet


def wall_hung(maker: Maker) -> Object:
    """A toilet that hangs on the wall, its tank in a low box."""
    toilet, look = maker.object("toilet"), maker.finish("ceramic")
    rings = (
        (0.08, 0.12, 0.1, -0.08),
        (0.15, 0.21, 0.2, -0.02),
        (0.18, 0.25, 0.4, 0),
        (0.13, 0.17, 0.4, 0.02),
        (0.05, 0.08, 0.22, 0),
    )
    toilet.add(loft(_bowl(rings)), look, place(0, 0.02))
    _seat(maker, toilet, 0.4, 0.04)
    plate = maker.object("otherstructure")
    plate.add(
        box((maker.between(0.6, 1.0), 0.16, maker.between(1.05, 1.2)), (0, -0.32, 0)), maker.finish("tile", "stone")
    )
    plate.add(box((0.24, 0.01, 0.16), (0, -0.235, 0.85)), maker.finish("metal", "plastic"))
    toilet.put(plate, np.eye(4))
    return toilet


def high_tank(maker: Maker) -> Object:
    """A toilet of old: the tank high on the wall, a pipe, a chain."""
    toilet, look, metal = maker.object("toilet"), maker.finish("ceramic"), maker.finish("metal")
    foot = (
        (0.13, 0.16, 0, 0),
        (0.08, 0.11, 0.12, 0),
        (0.19, 0.23, 0.4, 0),
        (0.14, 0.17, 0.4, 0.02),
        (0.05, 0.07, 0.2, 0),
    )
    toilet.add(loft(_bowl(foot)), look, place(0, 0.05))
    _seat(maker, toilet, 0.4, 0.06)
    toilet.add(cushion((0.46, 0.2, 0.3), (0, -0.2, 1.5), 0.03), maker.finish("wood", "ceramic"))
    toilet.add(
        join([bar((0, -0.24, 0.3), (0, -0.24, 1.5), 0.018), bar((0.19, -0.12, 1.0), (0.19, -0.12, 1.5), 0.004)]), metal
    )
    toilet.add(ball(0.025, (0.19, -0.12, 0.96), 1.4, 8), maker.finish("wood"))
    return toilet


TOILET = Family("toilet", (with_tank, with_tank, wall_hung), (high_tank,))


def _curtain(maker: Maker, length: float, y: float, level: float) -> Object:
    """A shower curtain on a rail, drawn to one side."""
    curtain, top = maker.object("shower_curtain"), maker.between(1.85, 2.0)
    wide = length * maker.between(0.35, 0.9)
    x = maker.one(-1, 1) * (length - wide) / 2
    curtain.add(drape(wide, top - level, 0.03, max(4, int(wide * 12)), (x, y, level)), maker.finish("curtain", "cloth"))
    curtain.add(bar((-length / 2, y, top), (length / 2, y, top), 0.012), maker.finish("metal"))
    return curtain


def _bottles(maker: Maker, owner: Object, x: float, y: float, z: float) -> None:
    for index in range(maker.count(0, 3)):
        owner.put(bottle(maker), place(x + 0.1 * index, y, z))


def built_in(maker: Maker) -> Object:
    """A tub behind a tiled or smooth apron, some with a shower curtain."""
    group, tub = maker.group(), maker.object("bathtub")
    length, deep, high = maker.between(1.5, 1.75), maker.between(0.7, 0.8), maker.between(0.5, 0.6)
    look = maker.finish("ceramic")
    half, wide = length / 2, deep / 2
    rim = (
        (half, wide, high, 30),
        (half - 0.07, wide - 0.07, high, 6),
        (half - 0.14, wide - 0.1, high - 0.3, 4),
        (half - 0.3, wide - 0.16, high - 0.4, 4),
        (0.01, 0.01, high - 0.4, 4),
    )
    tub.add(loft([oval((x, y), z, square=power, count=32) for x, y, z, power in rim], smooth=False), look)
    apron = maker.one(look, maker.finish("tile"))
    tub.add(join([box((length, 0.02, high - 0.01), (0, y, 0)) for y in (wide - 0.02, -wide + 0.01)]), apron)
    tub.add(join([box((0.02, deep, high - 0.01), (x, 0, 0)) for x in (half - 0.011, -half + 0.011)]), apron)
    end = maker.one(-1, 1)
    tub.add(
        join([bar((end * (half - 0.02), 0, high + 0.15), (end * (half - 0.18), 0, high + 0.12), 0.018)]),
        maker.finish("metal"),
    )
    _bottles(maker, tub, -half + 0.1, -wide + 0.035, high)
    group.put(tub, np.eye(4))
    if maker.chance(0.65):
        group.put(_curtain(maker, length, wide - 0.06, 0.25), np.eye(4))
        head = maker.object("otherprop")
        path = [(end * (half - 0.01), 0, 1.95), (end * (half - 0.15), 0, 2.0), (end * (half - 0.25), 0, 1.95)]
        head.add(join([tube(path, 0.01), cylinder(0.06, 0.02, (end * (half - 0.25), 0, 1.93))]), maker.finish("metal"))
        group.put(head, np.eye(4))
    return group


def cabin(maker: Maker) -> Object:
    """A shower: a tray between two panes or a rail with a curtain, the head on a bar at the back."""
    group, tray, wide = maker.group(), maker.object("bathtub"), maker.between(0.8, 1.0)
    tray.add(cushion((wide, wide, 0.12), radius=0.03), maker.finish("ceramic"))
    group.put(tray, np.eye(4))
    metal, head = maker.finish("metal"), maker.object("otherprop")
    y = -wide / 2 + 0.04
    pipe = [(0, y, 1.9), (0, y + 0.1, 2.05), (0, y + 0.25, 2.05)]
    head.add(
        join(
            [
                bar((0, y, 1.0), (0, y, 1.95), 0.012),
                tube(pipe, 0.011),
                cylinder(0.09, 0.02, (0, y + 0.25, 2.02)),
                box((0.25, 0.06, 0.05), (0, y, 1.05)),
            ]
        ),
        metal,
    )
    group.put(head, np.eye(4))
    if maker.chance(0.6):
        group.put(_curtain(maker, wide, wide / 2 - 0.03, 0.13), np.eye(4))
        side = maker.object("otherstructure")
        side.add(box((0.012, wide - 0.04, 1.9), (maker.one(-1, 1) * (wide / 2 - 0.01), 0, 0.1)), maker.finish("clear"))
        group.put(side, np.eye(4))
    else:
        side = maker.object("otherstructure")
        side.add(
            box((0.012, wide - 0.02, 1.85), (maker.one(-1, 1) * (wide / 2 - 0.01), 0, 0.12)), maker.finish("clear")
        )
        side.add(
            join(
                [
                    bar((x, wide / 2 - 0.01, 0.1), (x, wide / 2 - 0.01, 1.98), 0.014)
                    for x in (-wide / 2 + 0.01, wide / 2 - 0.01)
                ]
            ),
            metal,
        )
        group.put(side, np.eye(4))
    return group


def on_feet(maker: Maker) -> Object:
    """A tub that stands free on four feet, higher at one end."""
    tub, length, deep = maker.object("bathtub"), maker.between(1.5, 1.7), 0.72
    half, wide, level = length / 2, deep / 2, 0.58
    rows = (
        (0.3, 0.15, 0.12),
        (half - 0.14, wide - 0.12, 0.2),
        (half - 0.05, wide - 0.05, 0.45),
        (half, wide, level),
        (half - 0.02, wide - 0.02, level + 0.02),
        (half - 0.06, wide - 0.06, level),
        (half - 0.2, wide - 0.14, 0.22),
        (0.01, 0.01, 0.2),
    )
    tub.add(loft([oval((x, y), z, square=2.8, count=32) for x, y, z in rows]), maker.finish("ceramic"))
    tub.add(
        join(
            [
                bar((x, y, 0), (0.85 * x, 0.85 * y, 0.25), 0.02, 0.03)
                for x in (-half + 0.25, half - 0.25)
                for y in (-0.24, 0.24)
            ]
        ),
        maker.finish("metal"),
    )
    tub.add(tap(0, -wide - 0.1, 0.0, level + 0.25), maker.finish("metal"))
    return tub


BATHTUB = Family("bathtub", (built_in, built_in, cabin), (on_feet,))
