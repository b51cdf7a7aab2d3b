"""Chairs on castors, stools and benches."""

import numpy as np

from ..rooms.bodies import arc, ball, bar, cushion, cylinder, oval, tube, turned
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, sheet, tilt
from .chairs import legs_of


def _star(maker: Maker, reach: float, seat: float) -> list[Shape]:
    """A foot of five arms on castors and the column of a swivel chair."""
    shapes: list[Shape] = [cylinder(0.025, seat - 0.1, (0, 0, 0.06))]
    for angle in (np.arange(5) * 2 * np.pi / 5).tolist():
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        shapes += [bar((0, 0, 0.1), (x, y, 0.06), 0.022, 0.015), ball(0.03, (x, y, 0), segments=6)]
    return shapes


def swivel(maker: Maker) -> Object:
    """A desk chair on castors, with or without arms."""
    chair = maker.object("chair")
    dark, soft = maker.dyed("metal"), maker.finish("cloth", "sofa", "plastic")
    seat = maker.between(0.44, 0.52)
    chair.add(join(_star(maker, 0.29, seat)), dark)
    chair.add(cushion((0.48, 0.46, 0.08), (0, 0, seat - 0.06), 0.035, 0.3), soft)
    upright = tilt(maker.between(0.05, 0.2), seat + 0.05, -0.22)
    chair.add(box((0.06, 0.02, 0.2), (0, -0.02, -0.1)), dark, upright)
    chair.add(cushion((maker.between(0.38, 0.46), 0.07, maker.between(0.3, 0.6)), (0, 0, 0.05), 0.03), soft, upright)
    if maker.chance(0.6):
        arms = [box((0.03, 0.04, 0.2), (x, 0, seat - 0.03)) for x in (-0.26, 0.26)]
        arms += [cushion((0.06, 0.26, 0.03), (x, 0, seat + 0.17), 0.014) for x in (-0.26, 0.26)]
        chair.add(join(arms), dark)
    return chair


def executive(maker: Maker) -> Object:
    """A broad desk chair with a high back, a headrest and closed arms."""
    chair = maker.object("chair")
    dark, soft = maker.dyed("metal"), maker.finish("sofa")
    seat = maker.between(0.46, 0.52)
    upright = tilt(maker.between(0.08, 0.2), seat + 0.02, -0.24)
    chair.add(join(_star(maker, 0.32, seat)), dark)
    chair.add(cushion((0.54, 0.52, 0.12), (0, 0, seat - 0.1), 0.05, 0.25), soft)
    chair.add(cushion((0.52, 0.11, 0.62), (0, 0, 0), 0.05), soft, upright)
    chair.add(cushion((0.34, 0.11, 0.16), (0, 0.02, 0.6), 0.05), soft, upright)
    for x in (-0.29, 0.29):
        chair.add(tube(arc((x, 0.0, seat), (0, 0.2, 0), (0, 0, 0.2), 0, np.pi, 7), 0.018), dark)
        chair.add(cushion((0.07, 0.26, 0.04), (x, 0, seat + 0.19), 0.018), soft)
    return chair


def drafting(maker: Maker) -> Object:
    """A high work chair with a ring for the feet and a small back."""
    chair = maker.object("chair")
    dark, soft = maker.finish("metal"), maker.dyed("plastic", "cloth")
    seat = maker.between(0.58, 0.7)
    chair.add(join(_star(maker, 0.3, seat)), dark)
    chair.add(tube(oval((0.2, 0.2), seat * 0.45, count=15), 0.01), dark)
    chair.add(turned(((0, 0), (0.19, 0), (0.21, 0.03), (0.2, 0.06), (0, 0.07)), (0, 0, seat - 0.06), 20), soft)
    back = tube(arc((0, -0.12, seat), (0, 0.12, 0), (0, -0.1, 0.3), -0.2, 1.7, 6), 0.012)
    chair.add(back, dark)
    chair.add(cushion((0.36, 0.05, 0.18), (0, -0.22, seat + 0.26), 0.024), soft)
    return chair


def pouf(maker: Maker) -> Object:
    """A round or square pouf."""
    seat = maker.object("otherfurniture")
    radius = maker.between(0.2, 0.3)
    if maker.chance(0.5):
        seat.add(ball(radius, squash=maker.between(0.6, 0.8), segments=20), maker.finish("cloth", "sofa"))
    else:
        seat.add(
            cushion((2 * radius, 2 * radius, maker.between(0.35, 0.45)), radius=0.05, bulge=0.15),
            maker.finish("cloth", "sofa"),
        )
    return seat


def stool(maker: Maker) -> Object:
    """A stool on four legs."""
    seat = maker.object("chair")
    height, radius = maker.between(0.42, 0.65), maker.between(0.15, 0.19)
    top = cylinder(radius, 0.035, (0, 0, height - 0.035), segments=20)
    square = cushion((2 * radius, 1.7 * radius, 0.04), (0, 0, height - 0.04), 0.015)
    seat.add(top if maker.chance(0.6) else square, maker.finish("wood", "plastic", "sofa"))
    legs = [bar((x, y, 0), (0.65 * x, 0.65 * y, height - 0.03), 0.014) for x, y in four(radius * 0.75, radius * 0.75)]
    seat.add(join(legs), maker.finish("wood", "metal"))
    return seat


def bar_stool(maker: Maker) -> Object:
    """A high stool on one foot, with a low back."""
    seat = maker.object("chair")
    height, metal = maker.between(0.65, 0.78), maker.finish("metal")
    seat.add(turned(((0, 0), (0.22, 0), (0.21, 0.015), (0.03, 0.035), (0.03, height - 0.05)), segments=20), metal)
    seat.add(tube(arc((0, 0, height * 0.4), (0.16, 0, 0), (0, 0.16, 0), 0, np.pi, 7), 0.01), metal)
    soft = maker.dyed("plastic", "sofa")
    seat.add(cylinder(0.19, 0.07, (0, 0, height - 0.06), segments=20), soft)
    if maker.chance(0.6):
        back = arc((0, 0, height), (0.19, 0, 0), (0, -0.19, 0), 0.4, np.pi - 0.4, 7)[:, None] + np.array(
            ((0, 0, 0), (0, -0.02, 0.2))
        )
        seat.add(sheet(back, back[..., (0, 2)]), soft)
    return seat


def drum_stool(maker: Maker) -> Object:
    """A waisted stool in one piece."""
    seat = maker.object("chair")
    height, wide = maker.between(0.42, 0.5), maker.between(0.16, 0.2)
    along = np.linspace(0, 1, 9)
    profile = np.stack((wide * (0.62 + 0.38 * np.abs(2 * along - 1) ** 1.5), height * along), -1)
    seat.add(turned(np.concatenate((profile, ((0, height),))), segments=20), maker.dyed("wood", "plastic", "stone"))
    return seat


def bench(maker: Maker) -> Object:
    """A bench on two sides or four legs, some with a cushion."""
    seat = maker.object("chair")
    width, depth, height = (maker.between(0.9, 1.4), maker.between(0.3, 0.4), maker.between(0.42, 0.47))
    look = maker.finish("wood", "front")
    seat.add(box((width, depth, 0.04), (0, 0, height - 0.04)), look)
    if maker.chance(0.5):
        seat.add(
            join([box((0.05, depth * 0.9, height - 0.04), (x, 0, 0)) for x in (-width / 2 + 0.1, width / 2 - 0.1)]),
            look,
        )
    else:
        seat.add(legs_of(maker, width, depth, height - 0.04, 0.0), look)
    if maker.chance(0.5):
        seat.add(cushion((width * 0.97, depth * 0.95, 0.06), (0, 0, height), 0.025, 0.2), maker.finish("cloth"))
    return seat


DESK_CHAIR = Family("desk chair", (swivel, swivel, executive), (drafting,))
BAR_STOOL = Family("bar stool", (bar_stool, stool), (drum_stool,))
STOOL = Family("stool", (pouf, stool, bar_stool, bench), (drum_stool,))
BENCH = Family("bench", (bench,))
