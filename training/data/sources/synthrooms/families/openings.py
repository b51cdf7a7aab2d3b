"""Doors and windows, and what hangs before windows. All stand with their back on the wall and look into the room."""

import numpy as np

from ..rooms.bodies import bar, cylinder, drape
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, panel, place


def _frame(width: float, height: float, wide: float, deep: float) -> list[Shape]:
    """Boards left, right and above an opening."""
    sides = [box((wide, deep, height + wide), (x, deep / 2, 0)) for x in (-(width + wide) / 2, (width + wide) / 2)]
    return [*sides, box((width, deep, wide), (0, deep / 2, height))]


def panelled(maker: Maker, width: float, height: float) -> Object:
    """A door leaf with panels."""
    door = maker.object("door")
    door.add(panel(width, height, (0, 0.02, 0)), maker.finish("door"))
    door.add(join(_frame(width, height, maker.between(0.05, 0.09), 0.06)), maker.finish("wood", "front"))
    door.add(_handle(width, -1.0), maker.finish("metal"))
    return door


def _handle(width: float, side: float = 1.0) -> Shape:
    x = side * (width / 2 - 0.07)
    return join(
        [bar((x, 0.02, 1.02), (x, 0.075, 1.02), 0.01), bar((x, 0.07, 1.02), (x - side * 0.11, 0.07, 1.02), 0.009)]
    )


def glazed(maker: Maker, width: float, height: float) -> Object:
    """A door with a pane."""
    door, look = maker.object("door"), maker.finish("wood", "front")
    door.add(box((width, 0.03, height), (0, 0.015, 0)), look)
    low, wide = maker.one(0.25, 1.0), width - maker.between(0.24, 0.4)
    door.add(panel(wide, height - low - 0.15, (0, 0.031, low)), maker.finish("outdoors", "clear"))
    door.add(join(_frame(width, height, 0.07, 0.06)), look)
    door.add(_handle(width), maker.finish("metal"))
    return door


def sliding(maker: Maker, width: float, height: float) -> Object:
    """A door on a rail before the wall."""
    door, look = maker.object("door"), maker.finish("wood")
    door.add(box((width + 0.1, 0.035, height - 0.01), (0, 0.045, 0.01)), look)
    boards = [box((0.09, 0.02, height - 0.02), (x, 0.07, 0.015)) for x in (-width / 2, width / 2)]
    boards += [box((width, 0.02, 0.1), (0, 0.07, z)) for z in (0.05, height / 2, height - 0.12)]
    door.add(join(boards), maker.one(look, maker.finish("wood", "front")))
    rail = [box((width + 0.3, 0.02, 0.05), (0, 0.045, height + 0.05))]
    rail += [box((0.04, 0.012, 0.2), (x, 0.08, height - 0.08)) for x in (-width / 3, width / 3)]
    rail.append(bar((width / 2 - 0.1, 0.1, 0.9), (width / 2 - 0.1, 0.1, 1.15), 0.012))
    door.add(join(rail), maker.finish("metal"))
    return door


def double(maker: Maker, width: float, height: float) -> Object:
    """Two leaves with a pane each."""
    door, look = maker.object("door"), maker.finish("wood", "front")
    width *= 1.5
    door.add(box((width, 0.03, height), (0, 0.015, 0)), look)
    for side in (-1, 1):
        x = side * width / 4
        door.add(panel(width / 2 - 0.18, height * 0.6, (x, 0.031, height * 0.33)), maker.finish("outdoors"))
        door.add(panel(width / 2 - 0.18, height * 0.22, (x, 0.031, height * 0.06)), maker.finish("front"))
    door.add(join(_frame(width, height, 0.1, 0.07)), look)
    door.add(_handle(0.2, -1.0), maker.finish("metal"))
    return door


DOOR = Family("door", (panelled, panelled, panelled, glazed), (sliding, double))


def _sill(width: float, height: float) -> list[Shape]:
    """The frame of a window, all around, and its sill."""
    return [*_frame(width, height, 0.06, 0.07), box((width + 0.12, 0.11, 0.06), (0, 0.055, -0.06))]


def framed(maker: Maker, width: float, height: float) -> Object:
    """A window in a frame with a sill, in one or two casements."""
    window, look = maker.object("window"), maker.finish("front", "wood")
    window.add(panel(width, height, (0, 0.02, 0)), maker.finish("outdoors"))
    bars = [box((0.06, 0.05, height), (0, 0.03, 0))] if width > 1.1 and maker.chance(0.6) else []
    window.add(join(_sill(width, height) + bars), look)
    return window


def latticed(maker: Maker, width: float, height: float) -> Object:
    """A window of many panes."""
    window, look = maker.object("window"), maker.finish("front", "wood")
    window.add(panel(width, height, (0, 0.02, 0)), maker.finish("outdoors"))
    columns, rows = max(2, round(width / 0.4)), max(2, round(height / 0.45))
    bars = [box((0.03, 0.03, height), ((i / columns - 0.5) * width, 0.03, 0)) for i in range(1, columns)]
    bars += [box((width, 0.03, 0.03), (0, 0.03, i / rows * height)) for i in range(1, rows)]
    window.add(join(_sill(width, height) + bars), look)
    return window


def transom(maker: Maker, width: float, height: float) -> Object:
    """A window with a row of small panes above a large one."""
    window, look = maker.object("window"), maker.finish("front", "wood")
    window.add(panel(width, height, (0, 0.02, 0)), maker.finish("outdoors"))
    high = height * 0.72
    bars = [box((width, 0.04, 0.06), (0, 0.03, high))]
    bars += [box((0.03, 0.03, height - high), (x * width, 0.03, high)) for x in (-0.25, 0.0, 0.25)]
    window.add(join(_sill(width, height) + bars), look)
    return window


WINDOW = Family("window", (framed, framed, latticed), (transom,))


def pair_of_curtains(maker: Maker, width: float, height: float, sill: float) -> Object:
    """Two curtains on a rod, down to below the sill or to the floor."""
    return _curtains(maker, width, height, sill, (-1, 1), maker.between(0.18, 0.4))


def one_curtain(maker: Maker, width: float, height: float, sill: float) -> Object:
    """One wide curtain, drawn to a side."""
    return _curtains(maker, width, height, sill, (maker.one(-1, 1),), maker.between(0.3, 0.6))


def _curtains(maker: Maker, width: float, height: float, sill: float, sides: tuple[int, ...], share: float) -> Object:
    curtain, cloth, wide = maker.object("curtain"), maker.finish("curtain"), width * share
    length = height + 0.15 + (sill - 0.03 if maker.chance(0.45) else 0.1)
    for side in sides:
        base = (side * (width / 2 + 0.12 - wide / 2), 0.17, height + 0.15 - length)
        curtain.add(drape(wide, length, 0.03, max(3, int(wide * 14)), base), cloth)
    rod = bar((-width / 2 - 0.2, 0.17, height + 0.14), (width / 2 + 0.2, 0.17, height + 0.14), 0.014)
    curtain.add(rod, maker.finish("metal", "wood"))
    return curtain


def half_curtain(maker: Maker, width: float, height: float, sill: float) -> Object:
    """A short curtain over the lower half and a frill at the top."""
    del sill
    curtain, cloth = maker.object("curtain"), maker.finish("curtain")
    curtain.add(drape(width, height * 0.5, 0.02, max(4, int(width * 12)), (0, 0.12, 0.0)), cloth)
    curtain.add(drape(width + 0.1, height * 0.2, 0.02, max(4, int(width * 12)), (0, 0.12, height * 0.85)), cloth)
    rods = [bar((-width / 2, 0.12, z), (width / 2, 0.12, z), 0.008) for z in (height * 0.5, height * 1.05)]
    curtain.add(join(rods), maker.finish("metal"))
    return curtain


CURTAIN = Family("curtain", (pair_of_curtains, pair_of_curtains, one_curtain), (half_curtain,))


def slats(maker: Maker, width: float, height: float) -> Object:
    """Level slats, let down part of the way."""
    blinds, tilted = maker.object("blinds"), maker.between(-0.6, 0.6)
    turn = np.eye(4)
    turn[1:3, 1:3] = (np.cos(tilted), -np.sin(tilted)), (np.sin(tilted), np.cos(tilted))
    slat = box((width - 0.02, 0.035, 0.003)).moved(turn)
    levels = np.arange(height * maker.between(0.1, 0.7), height - 0.03, 0.042).tolist()
    rows = [slat.moved(place(0, 0.06, z)) for z in levels]
    blinds.add(join([*rows, box((width, 0.05, 0.04), (0, 0.06, height - 0.03))]), maker.dyed("plastic", "wood"))
    return blinds


def roller(maker: Maker, width: float, height: float) -> Object:
    """A cloth that comes off a roll."""
    blinds, low = maker.object("blinds"), height * maker.between(0.2, 0.8)
    blinds.add(box((width - 0.02, 0.004, height - low), (0, 0.07, low)), maker.finish("curtain", "cloth"))
    blinds.add(
        join(
            [
                bar((-width / 2, 0.075, height), (width / 2, 0.075, height), 0.025),
                box((width - 0.02, 0.015, 0.025), (0, 0.07, low)),
            ]
        ),
        maker.finish("metal", "front"),
    )
    return blinds


def vanes(maker: Maker, width: float, height: float) -> Object:
    """Upright strips on a rail."""
    blinds, turn = maker.object("blinds"), maker.between(-0.9, 0.9)
    count = max(4, int(width / 0.1))
    drawn = maker.between(0.5, 1.0)
    strips = [
        box((0.085, 0.002, height + 0.02)).moved(place(((i + 0.5) / count * drawn - 0.5) * width, 0.1, -0.02, turn))
        for i in range(count)
    ]
    blinds.add(join(strips), maker.dyed("cloth", "plastic"))
    blinds.add(box((width, 0.04, 0.04), (0, 0.1, height)), maker.finish("metal"))
    return blinds


BLINDS = Family("blinds", (slats, slats, roller), (vanes,))


def window_of(maker: Maker, width: float, height: float, sill: float) -> Object:
    """A window and perhaps what hangs before it."""
    window = maker.make(WINDOW, width, height)
    cover = maker.between(0, 1)
    if cover < 0.75:
        hanging = maker.make(CURTAIN, width, height, sill) if cover < 0.45 else maker.make(BLINDS, width, height)
        window.put(hanging, np.eye(4))
    return window


def ribbed(maker: Maker, width: float) -> Object:
    """A radiator of upright ribs."""
    radiator, height = maker.object("otherstructure"), maker.between(0.5, 0.62)
    count = max(5, int(width / 0.06))
    ribs = [box((0.035, 0.09, height), ((i + 0.5) / count * width - width / 2, 0.07, 0.12)) for i in range(count)]
    pipes = [bar((-width / 2, 0.07, z), (width / 2, 0.07, z), 0.015, segments=6) for z in (0.16, height + 0.06)]
    radiator.add(
        join([*ribs, *pipes, cylinder(0.012, 0.16, (width / 2 - 0.01, 0.07, 0))]), maker.finish("ceramic", "plastic")
    )
    return radiator


def flat_panel(maker: Maker, width: float) -> Object:
    """A flat radiator with a grid on top."""
    radiator, height = maker.object("otherstructure"), maker.between(0.45, 0.6)
    folds = np.arange(-width / 2 + 0.04, width / 2 - 0.02, 0.05).tolist()
    body = [
        box((width, 0.06, height), (0, 0.06, 0.12)),
        *(box((0.02, 0.01, height - 0.08), (x, 0.095, 0.16)) for x in folds),
    ]
    radiator.add(join([*body, cylinder(0.012, 0.2, (width / 2 - 0.03, 0.06, 0))]), maker.finish("ceramic", "plastic"))
    return radiator


RADIATOR = Family("radiator", (ribbed, flat_panel))
