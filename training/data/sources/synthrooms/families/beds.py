"""Beds with what lies on them and stands beside them."""

import numpy as np

from ..rooms.bodies import bar, cushion
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import box, join, place, tilt
from .lamps import TABLE_LAMP
from .sofas import PILLOW
from .storage import NIGHT_STAND


def _bedding(maker: Maker, bed: Object, width: float, length: float, level: float) -> None:
    """A mattress whose top is at ``level``, a made or turned-down blanket, sleeping pillows, more pillows."""
    bed.add(cushion((width - 0.04, length - 0.04, 0.22), (0, 0, level - 0.2), 0.06), maker.finish("cloth"))
    cover = length * maker.between(0.5, 0.78)
    flat = cushion(
        (width + 0.06, cover, 0.2), (0, (length - cover) / 2 + 0.03, level - 0.12), 0.07, maker.between(0.1, 0.4)
    )
    blanket = maker.finish("cloth")
    bed.add(flat, blanket)
    if maker.chance(0.5):
        fold = cushion((width + 0.05, 0.3, 0.06), (0, length / 2 - cover + 0.15, level + 0.05), 0.028)
        bed.add(fold, maker.finish("cloth"))
    elif maker.chance(0.4):
        heap = cushion(
            (width * 0.5, 0.5, 0.12), (maker.between(-0.2, 0.2) * width, length * 0.2, level + 0.06), 0.05, 0.8
        )
        bed.add(heap, blanket, place(yaw=maker.between(-0.2, 0.2)))
    pillows, each = (1, width * 0.7) if width < 1.2 else (2, width * 0.42)
    look = maker.finish("cloth")
    for index in range(pillows):
        pillow = maker.object("pillow")
        pillow.add(cushion((min(each, 0.75), 0.42, 0.14), radius=0.06, bulge=0.6), look)
        turn = place(
            (index - (pillows - 1) / 2) * width / 2, -length / 2 + 0.28, level + 0.01, maker.between(-0.12, 0.12)
        )
        bed.put(pillow, turn @ tilt(maker.one(0.0, 0.0, -0.4)))
    for _ in range(maker.count(-2, 2)):
        x = maker.between(-0.3, 0.3) * width
        pillow, turn = maker.make(PILLOW), place(x, -length / 2 + 0.6, level) @ tilt(0.6 - np.pi / 2)
        turn[2, 3] += level - pillow.bounds(turn)[0, 2]
        bed.put(pillow, turn)


def _frame(maker: Maker, bed: Object, width: float, length: float, level: float) -> None:
    frame = maker.finish("wood", "wood", "metal")
    legs = [box((0.07, 0.07, level - 0.2), (x, y, 0)) for x, y in four(width / 2 - 0.04, length / 2 - 0.04)]
    bed.add(join([box((width, length, 0.14), (0, 0, level - 0.3)), *legs]), frame)


def _sizes(maker: Maker) -> tuple[float, float, float]:
    return maker.one(0.9, 1.4, 1.6, 1.8), maker.between(1.95, 2.1), maker.between(0.4, 0.56)


def headboard(maker: Maker) -> Object:
    """A bed with a closed headboard, of wood or padded, some with a foot board."""
    bed, (width, length, level) = maker.object("bed"), _sizes(maker)
    _frame(maker, bed, width, length, level)
    soft, high = maker.chance(0.4), level + maker.between(0.15, 0.6)
    look = maker.finish("sofa") if soft else maker.finish("wood", "front")
    bed.add(cushion((width, 0.07, high - 0.15), (0, -length / 2 - 0.035, 0.15), 0.03 if soft else 0.012), look)
    if not soft and maker.chance(0.4):
        bed.add(box((width, 0.04, level + 0.1), (0, length / 2 + 0.02, 0)), look)
    _bedding(maker, bed, width, length, level)
    return bed


def barred(maker: Maker) -> Object:
    """A bed with bars at its head, of metal or wood."""
    bed, (width, length, level) = maker.object("bed"), _sizes(maker)
    _frame(maker, bed, width, length, level)
    y, high, look = -length / 2 - 0.02, level + maker.between(0.4, 0.6), maker.finish("metal", "wood")
    uprights = [
        bar((x, y, level - 0.25), (x, y, high - 0.1), 0.01, segments=6)
        for x in np.linspace(-width / 2, width / 2, round(width / 0.13)).tolist()
    ]
    posts = [bar((x, y, 0), (x, y, high), 0.022) for x in (-width / 2, width / 2)]
    bed.add(join([*uprights, *posts, bar((-width / 2, y, high - 0.1), (width / 2, y, high - 0.1), 0.018)]), look)
    _bedding(maker, bed, width, length, level)
    return bed


def boxspring(maker: Maker) -> Object:
    """A padded box with a high padded head in two or three fields."""
    bed, (width, length, level) = maker.object("bed"), _sizes(maker)
    look, fields, high = maker.finish("sofa"), maker.count(1, 3), maker.between(0.95, 1.2)
    bed.add(cushion((width, length, level - 0.24), (0, 0, 0.05), 0.03), look)
    heads = [
        cushion(
            (width / fields - 0.01, 0.1, high),
            ((i - (fields - 1) / 2) * width / fields, -length / 2 - 0.05, 0.05),
            0.035,
        )
        for i in range(fields)
    ]
    bed.add(join(heads), look)
    _bedding(maker, bed, width, length, level)
    return bed


def bunk(maker: Maker) -> Object:
    """Two narrow beds above each other, with a ladder."""
    bed, frame = maker.object("bed"), maker.finish("wood", "metal")
    width, length, levels, high = 0.95, 2.0, (0.42, 1.42), 1.78
    pieces = [box((0.07, 0.07, high), (x, y, 0)) for x, y in four(width / 2, length / 2)]
    for level in levels:
        pieces.append(box((width, length, 0.1), (0, 0, level - 0.28)))
        pieces += [
            box((0.03, length, 0.08), (x, 0, level + 0.22)) for x in (-width / 2, width / 2) if level > 1 or x < 0
        ]
    side = width / 2 + 0.04
    pieces += [bar((side, y, 0), (side, y, 1.7), 0.018) for y in (0.45, 0.8)]
    pieces += [bar((side, 0.45, z), (side, 0.8, z), 0.014) for z in np.arange(0.25, 1.6, 0.27).tolist()]
    bed.add(join(pieces), frame)
    for level in levels:
        _bedding(maker, bed, width - 0.08, length - 0.08, level)
    return bed


def canopy(maker: Maker) -> Object:
    """A bed with four high posts and a frame between their tops."""
    bed = maker.object("bed")
    width, length, level = maker.one(1.4, 1.6, 1.8), maker.between(1.95, 2.1), maker.between(0.45, 0.56)
    _frame(maker, bed, width, length, level)
    look, high = maker.finish("wood", "metal"), maker.between(1.9, 2.15)
    posts = [bar((x, y, 0), (x, y, high), 0.028) for x, y in four(width / 2, length / 2)]
    rim = [
        bar((*a, high), (*b, high), 0.02)
        for a, b in zip(four(width / 2, length / 2), np.roll(four(width / 2, length / 2), -1, 0).tolist(), strict=True)
    ]
    bed.add(join(posts + rim), look)
    bed.add(box((width, 0.04, 0.45), (0, -length / 2, level)), look)
    _bedding(maker, bed, width, length, level)
    return bed


BED = Family("bed", (headboard, headboard, barred, boxspring), (bunk, canopy))


def sleeping(maker: Maker) -> Object:
    """A bed with night stands at its head."""
    group, bed = maker.group(), maker.make(BED)
    low, high = bed.bounds()
    group.put(bed, np.eye(4))
    for side, edge in ((-1, low[0]), (1, high[0])):
        if maker.chance(0.65):
            stand = maker.make(NIGHT_STAND)
            if stand.instances == 1 and maker.chance(0.6):  # nothing on it yet
                stand.put(maker.make(TABLE_LAMP), place(0, 0, float(stand.bounds()[1, 2]) + 0.001))
            reach = stand.bounds()
            group.put(
                stand,
                place(float(edge) + side * (0.08 + float(reach[1, 0])), float(low[1]) + 0.02 - float(reach[0, 1])),
            )
    return group
