"""Desks with screens, and televisions."""

import numpy as np

from ..rooms.bodies import bar, cushion, cylinder
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, mat, panel, place, tilt
from .chairs import CHAIR
from .lamps import DESK_LAMP
from .seats import DESK_CHAIR
from .storage import drawers, low_cabinet
from .tables import crossed, on_legs, on_panels, trestle
from .things import notebook, scatter


def _desk(maker: Maker, width: float, depth: float, height: float) -> Object:
    build = maker.one(on_legs, on_legs, on_panels, trestle, crossed)
    return build(maker, width, depth, height, "desk")


def plain_desk(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A desk on legs, trestles or sides."""
    return _desk(maker, width, depth, height)


def pedestal_desk(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A desk with drawers under one side or both."""
    desk = _desk(maker, width, depth, height)
    sides = (-1, 1) if width > 1.4 and maker.chance(0.4) else (maker.one(-1, 1),)
    for side in sides:
        desk.put(drawers(maker, 0.4, depth - 0.15, height - 0.1), place((width / 2 - 0.3) * side))
    return desk


def hutch_desk(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A desk with a board for books over its back."""
    desk, look = on_panels(maker, width, depth, height, "desk"), maker.finish("wood", "front")
    high = maker.between(0.3, 0.45)
    y = -depth / 2 + 0.11
    desk.add(join([box((0.02, 0.2, high), (x, y, height)) for x in (-width / 2 + 0.02, width / 2 - 0.02)]), look)
    desk.add(
        join(
            [box((width, 0.2, 0.02), (0, y, height + high)), box((width, 0.01, high), (0, -depth / 2 + 0.005, height))]
        ),
        look,
    )
    shelf = maker.group()
    scatter(maker, shelf, (width * 0.9, 0.19), height + high + 0.02, 4)
    if shelf.parts:
        desk.put(shelf, place(0, y))
    return desk


def lifting_desk(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A desk on two columns with feet; some stand high."""
    desk, metal = maker.object("desk"), maker.finish("metal")
    height = maker.one(height, height + 0.3)
    desk.add(cushion((width, depth, 0.028), (0, 0, height - 0.028), 0.01, steps=2), maker.finish("wood", "front"))
    for x in (-width / 2 + 0.25, width / 2 - 0.25):
        foot = [box((0.07, depth * 0.85, 0.03), (x, 0, 0)), box((0.08, 0.06, height - 0.1), (x, 0, 0.03))]
        desk.add(join([*foot, box((0.07, depth * 0.7, 0.05), (x, 0, height - 0.078))]), metal)
    return desk


def flat_screen(maker: Maker) -> Object:
    """A screen on a foot."""
    monitor, dark = maker.object("otherprop"), maker.dyed("plastic", "metal")
    wide = maker.between(0.46, 0.68)
    high, foot = wide * maker.between(0.56, 0.64), maker.between(0.06, 0.14)
    round_foot = cylinder(0.11, 0.012)
    flat = box((wide * 0.45, 0.18, 0.012))
    monitor.add(
        join([round_foot if maker.chance(0.4) else flat, box((0.05, 0.03, foot + 0.08), (0, -0.02, 0.01))]), dark
    )
    monitor.add(cushion((wide, 0.03, high), (0, 0, foot), 0.01, steps=2), dark)
    monitor.add(panel(wide - 0.025, high - 0.025, (0, 0.016, foot + 0.0125)), maker.finish("screen"))
    return monitor


def all_in_one(maker: Maker) -> Object:
    """A computer in a screen, with a chin, on a bent foot."""
    monitor, look = maker.object("otherprop"), maker.dyed("metal", "plastic")
    wide = maker.between(0.5, 0.62)
    monitor.add(join([box((0.2, 0.18, 0.008)), box((0.2, 0.008, 0.2), (0, -0.06, 0))]), look)
    monitor.add(cushion((wide, 0.025, wide * 0.72), (0, 0, 0.08), 0.01, steps=2), look)
    monitor.add(panel(wide - 0.03, wide * 0.56, (0, 0.0135, 0.08 + wide * 0.15)), maker.finish("screen"))
    return monitor


def tube_screen(maker: Maker) -> Object:
    """A deep screen of old."""
    monitor, look = maker.object("otherprop"), maker.dyed("plastic")
    wide = maker.between(0.36, 0.44)
    monitor.add(join([cylinder(0.14, 0.04), box((wide, 0.12, wide * 0.85), (0, 0.06, 0.05))]), look)
    back = tilt(np.pi / 2, 0.05 + wide * 0.42, 0.0)
    monitor.add(box((wide * 0.95, wide * 0.8, 0.24), taper=0.65), look, back)
    monitor.add(panel(wide - 0.06, wide * 0.85 - 0.08, (0, 0.122, 0.09)), maker.finish("screen"))
    return monitor


DESK = Family("desk", (plain_desk, pedestal_desk, hutch_desk), (lifting_desk,))
MONITOR = Family("monitor", (flat_screen, flat_screen, all_in_one), (tube_screen,))


def workplace(maker: Maker) -> Object:
    """A desk with screens or a laptop, a keyboard, things, and a chair before it."""
    width, depth, height = maker.between(1.0, 1.7), maker.between(0.6, 0.8), maker.between(0.71, 0.76)
    desk = maker.make(DESK, width, depth, height)
    level = (
        height + 0.3 if float(desk.bounds()[1, 2]) > height + 0.29 and "desk/lifting_desk" in desk.variants else height
    )
    group, dark = maker.group(), maker.dyed("plastic")
    group.put(desk, np.eye(4))
    if maker.chance(0.8):
        screens = maker.count(1, 2) if width > 1.25 else 1
        y = -depth / 2 + (0.32 if "desk/hutch_desk" in desk.variants else 0.2)
        for index in range(screens):
            x = (index - (screens - 1) / 2) * 0.66 + maker.between(-0.05, 0.05)
            group.put(maker.make(MONITOR), place(x, y, level + 0.001, maker.between(-0.08, 0.08)))
        keyboard = maker.object("otherprop")
        keyboard.add(box((0.42, 0.13, 0.02)), dark)
        keyboard.add(mat(0.4, 0.11, (0, 0, 0.021)), maker.finish("spines"))
        mouse = maker.object("otherprop")
        mouse.add(cushion((0.06, 0.1, 0.03), radius=0.014), dark)
        front = depth / 2 - 0.14
        group.put(keyboard, place(maker.between(-0.08, 0.04), front, level + 0.001, maker.between(-0.1, 0.1)))
        group.put(mouse, place(0.3, front, level + 0.001, maker.between(-0.3, 0.3)))
    else:
        group.put(notebook(maker), place(maker.between(-0.1, 0.1), 0.1, level + 0.001, maker.between(-0.2, 0.2)))
    side = maker.one(-1, 1)
    things = maker.group()
    scatter(maker, things, (0.28, depth * 0.6), level, 4)
    if things.parts:
        group.put(things, place((width / 2 - 0.15) * side, 0.1))
    if width > 1.3 and maker.chance(0.5):
        group.put(maker.make(DESK_LAMP), place(-(width / 2 - 0.14) * side, depth / 2 - 0.14, level + 0.001))
    if maker.chance(0.3):
        case = maker.object("otherprop")
        case.add(box((0.19, 0.42, 0.42)), maker.dyed("metal", "plastic"))
        group.put(case, place((width / 2 - 0.2) * side, -0.05))
    chair = maker.make(DESK_CHAIR) if maker.chance(0.75) else maker.make(CHAIR)
    turn = np.pi + maker.between(-0.7, 0.7)
    group.put(chair, place(maker.between(-0.15, 0.15), depth / 2 + maker.between(0.25, 0.45), 0, turn))
    return group


def on_foot(maker: Maker, wide: float) -> Object:
    """A television on its foot."""
    television, dark = maker.object("television"), maker.dyed("metal")
    high = wide * 0.57
    feet = [box((wide * 0.4, 0.2, 0.015)), box((0.08, 0.04, 0.1), (0, 0, 0.01))]
    spread = [bar((x, y, 0), (x, 0, 0.09), 0.008) for x in (-wide * 0.35, wide * 0.35) for y in (-0.11, 0.11)]
    television.add(join(feet if maker.chance(0.5) else spread), dark)
    television.add(box((wide, 0.045, high), (0, 0, 0.08)), dark)
    television.add(panel(wide - 0.03, high - 0.03, (0, 0.0235, 0.095)), maker.finish("screen"))
    return television


def tube_television(maker: Maker, wide: float) -> Object:
    """A deep television of old, knobs beside its screen."""
    television, look = maker.object("television"), maker.dyed("wood", "plastic")
    wide = min(wide, 0.75)
    high = wide * 0.7
    television.add(box((wide, 0.3, high), (0, 0.05, 0)), look)
    television.add(panel(wide * 0.72, high - 0.1, (wide * 0.1, 0.201, 0.05)), maker.finish("screen"))
    knobs = [bar((-wide * 0.38, 0.2, z * high), (-wide * 0.38, 0.22, z * high), 0.03) for z in (0.5, 0.72)]
    television.add(join(knobs), maker.finish("metal"))
    return television


TELEVISION = Family("television", (on_foot,), (tube_television,))


def media_wall(maker: Maker) -> Object:
    """A low cabinet with a television on it, or over it on the wall."""
    width, height, depth = maker.between(1.0, 1.8), maker.between(0.35, 0.55), maker.between(0.36, 0.45)
    group = maker.group()
    group.put(low_cabinet(maker, width, depth, height), np.eye(4))
    wide = maker.between(0.75, min(1.3, width))
    if maker.chance(0.3):
        television = maker.object("television")
        high = wide * 0.57
        television.add(box((wide, 0.05, high)), maker.dyed("metal"))
        television.add(panel(wide - 0.02, high - 0.02, (0, 0.026, 0.01)), maker.finish("screen"))
        group.put(television, place(0, -depth / 2 + 0.04, height + maker.between(0.25, 0.5)))
    else:
        group.put(maker.make(TELEVISION, wide), place(0, 0, height + 0.001))
    return group
