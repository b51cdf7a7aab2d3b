"""Chairs on legs."""

from itertools import pairwise

import numpy as np

from ..rooms.bodies import arc, bar, cushion, tube
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, sheet, tilt


def legs_of(maker: Maker, width: float, depth: float, height: float, splay: float) -> Shape:
    """Four legs, round or square, that lean outward by ``splay``."""
    if splay == 0 and maker.chance(0.5):
        side = maker.between(0.03, 0.05)
        return join([box((side, side, height), (x, y, 0)) for x, y in four(width / 2 - 0.03, depth / 2 - 0.03)])
    radius = maker.between(0.011, 0.02)
    top, foot = (four(width / 2 - 0.03 - splay, depth / 2 - 0.03 - splay), four(width / 2 - 0.02, depth / 2 - 0.02))
    return join([bar((*a, 0), (*b, height), radius, radius * 1.3) for a, b in zip(foot, top, strict=True)])


def _back(maker: Maker, width: float, height: float) -> Shape:
    """What is between the two posts of a chair's back: boards, slats, spindles or a cross; its foot at the origin."""
    style = maker.count(0, 4)
    if style == 0:
        return cushion((width - 0.05, 0.02, height * 0.5), (0, 0, height * 0.45), 0.009)
    if style == 1:
        return join([box((width - 0.05, 0.014, height * 0.12), (0, 0, height * z)) for z in (0.25, 0.52, 0.79)])
    rail = box((width - 0.04, 0.022, height * 0.12), (0, 0, height * 0.86))
    if style == 2:
        across = np.linspace(-width / 2 + 0.08, width / 2 - 0.08, 5).tolist()
        return join([rail] + [bar((x, 0, 0), (x, 0, height * 0.9), 0.007, segments=6) for x in across])
    if style == 3:
        reach = width / 2 - 0.04
        cross = [bar((-x, 0, height * 0.15), (x, 0, height * 0.86), 0.009, segments=6) for x in (-reach, reach)]
        return join([rail, *cross])
    return join([rail, box((width * 0.3, 0.014, height * 0.9))])


def wooden(maker: Maker) -> Object:
    """A chair with a frame of wood, metal or plastic and an open back."""
    chair = maker.object("chair")
    width, depth, seat = (maker.between(0.4, 0.48), maker.between(0.4, 0.47), maker.between(0.42, 0.47))
    height, upright = (maker.between(0.38, 0.55), tilt(maker.between(0.08, 0.2), seat - 0.01, -depth / 2 + 0.03))
    frame = maker.finish("wood", "wood", "metal", "plastic")
    chair.add(legs_of(maker, width, depth, seat - 0.02, maker.one(0.0, 0.0, 0.03, 0.05)), frame)
    top = cushion((width, depth, 0.05), (0, 0, seat - 0.04), 0.022, maker.one(0.0, 0.3, 0.5))
    chair.add(top, maker.finish("cloth", "wood", "wood", "plastic"))
    posts = [bar((x * 0.98, 0, -0.02), (x, 0, height), 0.015) for x in (-width / 2 + 0.03, width / 2 - 0.03)]
    chair.add(join(posts), frame, upright)
    chair.add(_back(maker, width, height), frame, upright)
    if maker.chance(0.25):
        for x in (-width / 2, width / 2):
            arm = [
                box((0.04, depth * 0.8, 0.025), (x, 0, seat + 0.2)),
                bar((x, 0.12, seat - 0.03), (x, 0.12, seat + 0.2), 0.012),
            ]
            chair.add(join(arm), frame)
    return chair


def upholstered(maker: Maker) -> Object:
    """A padded chair, its back in one piece with the seat."""
    chair = maker.object("chair")
    width, depth, seat = (maker.between(0.44, 0.54), maker.between(0.46, 0.55), maker.between(0.44, 0.49))
    soft = maker.finish("sofa", "cloth")
    chair.add(legs_of(maker, width, depth, seat - 0.1, maker.one(0.0, 0.03)), maker.finish("wood", "metal"))
    chair.add(cushion((width, depth, 0.13), (0, 0, seat - 0.12), 0.03, 0.2), soft)
    back = cushion((width, 0.09, maker.between(0.4, 0.6)), (0, 0, -0.05), 0.035)
    chair.add(back, soft, tilt(maker.between(0.05, 0.18), seat, -depth / 2 + 0.05))
    return chair


def shell(maker: Maker) -> Object:
    """A moulded shell on thin legs, wire struts between them, or on a star."""
    chair = maker.object("chair")
    seat, wide = maker.between(0.43, 0.47), maker.between(0.42, 0.5)
    along = np.linspace(0, 1, 11)
    # a side view: from the front edge over the seat and up the back
    y = np.interp(along, (0, 0.08, 0.5, 0.65, 1), (0.24, 0.22, -0.16, -0.23, -0.3))
    z = seat + np.interp(along, (0, 0.08, 0.5, 0.65, 1), (-0.04, 0.0, -0.02, 0.06, maker.between(0.3, 0.42)))
    half = wide / 2 * np.interp(along, (0, 0.2, 0.6, 1), (0.85, 1, 1, maker.between(0.6, 0.95)))
    across = np.linspace(-1, 1, 7)
    curl = maker.between(0.03, 0.1) * across**4
    points = np.empty((len(along), len(across), 3))
    points[..., 0] = half[:, None] * across
    points[..., 1] = y[:, None] + curl * np.linspace(0, 1.4, 11)[:, None]
    points[..., 2] = z[:, None] + curl * np.linspace(1.2, 0, 11)[:, None]
    chair.add(sheet(points, points[..., (0, 2)] + points[..., 1:2]), maker.dyed("plastic", "plastic", "wood"))
    chair.add(legs_of(maker, wide, 0.44, seat - 0.02, maker.between(0.05, 0.11)), maker.finish("wood", "metal"))
    return chair


def armchair(maker: Maker) -> Object:
    """A low open armchair: cushions in a frame of wood."""
    chair = maker.object("chair")
    width, depth, seat = (maker.between(0.6, 0.7), maker.between(0.65, 0.75), maker.between(0.36, 0.42))
    frame, soft = maker.finish("wood", "metal"), maker.finish("cloth", "sofa")
    lean = tilt(maker.between(0.2, 0.35), seat + 0.02, -depth / 2 + 0.18)
    chair.add(cushion((width - 0.12, depth - 0.1, 0.13), (0, 0.03, seat - 0.12), 0.045, 0.25), soft)
    chair.add(cushion((width - 0.12, 0.13, 0.5), (0, 0, 0), 0.05), soft, lean)
    for x in (-width / 2, width / 2):
        loop = (
            (x, depth / 2, 0),
            (x, depth / 2 - 0.03, seat + 0.18),
            (x, -depth / 2 + 0.05, seat + 0.14),
            (x, -depth / 2, 0),
        )
        chair.add(join([bar(a, b, 0.02) for a, b in pairwise(loop)]), frame)
    chair.add(
        join([box((width, 0.03, 0.05), (0, y, seat - 0.16)) for y in (-depth / 2 + 0.06, depth / 2 - 0.06)]), frame
    )
    return chair


def cantilever(maker: Maker) -> Object:
    """Seat and back of cloth or wood in two bent tubes that stand on a runner."""
    chair = maker.object("chair")
    width, depth, seat, top = (0.46, maker.between(0.44, 0.5), maker.between(0.43, 0.47), maker.between(0.8, 0.9))
    for x in (-width / 2, width / 2):
        bends = [
            np.array(((x, -depth / 2, 0.015),)),
            arc((x, depth / 2 - 0.07, 0.085), (0, 0, -0.07), (0, 0.07, 0), 0, np.pi / 2, 4),
            arc((x, depth / 2 - 0.07, seat - 0.07), (0, 0.07, 0), (0, 0, 0.07), 0, np.pi / 2, 4),
            arc((x, -depth / 2 + 0.07, seat + 0.07), (0, 0, -0.07), (0, -0.07, 0), 0, np.pi / 2, 4),
            np.array(((x, -depth / 2 - 0.06, top),)),
        ]
        chair.add(tube(np.concatenate(bends), 0.012), maker.finish("metal"))
    chair.add(bar((-width / 2, -depth / 2, 0.015), (width / 2, -depth / 2, 0.015), 0.012), maker.finish("metal"))
    soft = maker.finish("sofa", "wood", "plastic")
    chair.add(cushion((width - 0.03, depth - 0.08, 0.03), (0, 0, seat - 0.01), 0.012), soft)
    chair.add(
        cushion((width - 0.03, 0.03, (top - seat) * 0.6), (0, 0, 0.16), 0.012),
        soft,
        tilt(0.14, seat, -depth / 2 + 0.01),
    )
    return chair


def folding(maker: Maker) -> Object:
    """A folding chair: crossed legs, a slatted seat and back."""
    chair = maker.object("chair")
    frame, slat = maker.finish("metal", "wood"), maker.finish("wood", "plastic")
    seat, depth = maker.between(0.43, 0.47), 0.42
    for x in (-0.2, 0.2):
        legs = [
            bar((x, -0.24, 0), (x, 0.19, seat), 0.011),
            bar((x * 0.9, 0.26, 0), (x * 0.9, -0.26, maker.between(0.8, 0.86)), 0.011),
        ]
        chair.add(join(legs), frame)
    chair.add(
        join([box((0.42, 0.06, 0.016), (0, y, seat)) for y in np.linspace(-depth / 2, depth / 2, 6).tolist()]), slat
    )
    back = [box((0.4, 0.014, 0.06), (0, -0.235 - 0.09 * z, seat + z)) for z in (0.2, 0.29)]
    chair.add(join(back), slat)
    return chair


CHAIR = Family("chair", (wooden, wooden, upholstered, shell, armchair), (cantilever, folding))
DINING_CHAIR = Family("dining chair", (wooden, wooden, upholstered, shell), (cantilever, folding))
EASY_CHAIR = Family("easy chair", (armchair,), (cantilever,))
