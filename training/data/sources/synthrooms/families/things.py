"""Small things that stand on tables and boards, and how they are spread there."""

import numpy as np

from ..rooms.bodies import arc, ball, bar, cushion, cylinder, leaf, tube, turned
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Array, box, join, mat, panel, place, tilt
from .books import PILE
from .lamps import TABLE_LAMP


def mug(maker: Maker) -> Object:
    """A mug with a handle, or a glass."""
    thing = maker.object("otherprop")
    radius, height = maker.between(0.03, 0.05), maker.between(0.07, 0.13)
    inner = ((radius - 0.004, height), (radius - 0.004, 0.01), (0, 0.01))
    look = maker.dyed("plastic", "ceramic", "ceramic")
    thing.add(turned(((0, 0), (radius * maker.between(0.7, 1.0), 0), (radius, height), *inner)), look)
    if maker.chance(0.7):
        loop = arc((0, radius, height / 2), (0, 0, height * 0.33), (0, 0.032, 0), 0, np.pi, 6)
        thing.add(tube(loop, 0.006, 5), look)
    return thing


def bottle(maker: Maker) -> Object:
    """A bottle, flask or can."""
    thing = maker.object("otherprop")
    radius, height = maker.between(0.03, 0.045), maker.between(0.12, 0.34)
    neck, shoulder = maker.between(0.25, 0.9), maker.between(0.5, 0.75)
    profile = (
        (radius, height * shoulder),
        (radius * neck, height * (shoulder + 0.15)),
        (radius * neck, height),
        (0, height),
    )
    thing.add(turned(((0, 0), (radius, 0), *profile)), maker.dyed("plastic", "stone", "metal"))
    return thing


def bowl(maker: Maker) -> Object:
    """A bowl or plate, some with fruit in it."""
    thing = maker.object("otherprop")
    along = np.linspace(0, 1, 8)
    radius, height = maker.between(0.09, 0.16), maker.between(0.025, 0.09)
    outside = np.stack((radius * np.maximum(np.sqrt(along), 0.3), along * height), -1)
    rings = np.concatenate((((0, 0),), outside, outside[:0:-1] * (0.93, 1), ((0, 0.02),)))
    thing.add(turned(rings, smooth=True), maker.dyed("ceramic", "stone", "plastic", "wood"))
    if maker.chance(0.5) and radius > 0.11:
        look = maker.dyed("plastic")
        thing.add(
            join([ball(0.036, (0.05 * np.cos(a), 0.05 * np.sin(a), 0.02), segments=10) for a in (0.3, 2.4, 4.5)]), look
        )
    return thing


def vase(maker: Maker) -> Object:
    """A vase, some with stalks or flowers."""
    thing = maker.object("otherprop")
    along = np.linspace(0, 1, 9)
    radius, height = maker.between(0.04, 0.09), maker.between(0.14, 0.32)
    swell = 0.55 + 0.45 * np.sin(along * maker.between(3, 5.5) + 0.4)
    outside = np.stack((radius * np.maximum(swell, 0.2), along * height), -1)
    thing.add(
        turned(np.concatenate((((0, 0),), outside, outside[:4:-1] * (0.9, 1))), smooth=True),
        maker.dyed("stone", "ceramic", "plastic"),
    )
    if maker.chance(0.5):
        green, bloom = maker.finish("plant"), maker.dyed("plastic")
        for index in range(maker.count(3, 7)):
            angle, high = index * 2.4, height * maker.between(1.4, 1.9)
            tip = (0.08 * np.cos(angle), 0.08 * np.sin(angle), high)
            thing.add(bar((0, 0, height * 0.7), tip, 0.003, segments=4), green)
            thing.add(ball(maker.between(0.012, 0.03), tip, 0.7, 6), bloom)
    return thing


def papers(maker: Maker) -> Object:
    """Sheets of paper, or a magazine."""
    thing = maker.object("paper")
    wide, long = maker.one((0.21, 0.297), (0.148, 0.21), (0.22, 0.28))
    for level in range(maker.count(1, 4)):
        turn = place(maker.between(-0.05, 0.05), maker.between(-0.05, 0.05), 0.002 * (1 + level), maker.between(-1, 1))
        thing.add(mat(wide, long), maker.finish("paper", "paper", "poster"), turn)
    return thing


def notebook(maker: Maker) -> Object:
    """An open laptop."""
    thing = maker.object("otherprop")
    dark = maker.dyed("metal")
    thing.add(box((0.33, 0.23, 0.016)), dark)
    thing.add(mat(0.28, 0.1, (0, -0.02, 0.017)), maker.finish("spines"))
    lid = tilt(maker.between(0.1, 0.4), 0.018, -0.11)
    thing.add(box((0.33, 0.008, 0.22)), dark, lid)
    thing.add(panel(0.31, 0.19, (0, 0.005, 0.015)), maker.finish("screen"), lid)
    return thing


def photograph(maker: Maker) -> Object:
    """A picture in a frame that stands."""
    thing = maker.object("picture")
    width, height, lean = maker.between(0.1, 0.25), maker.between(0.13, 0.28), tilt(0.18)
    thing.add(box((width, 0.015, height)), maker.finish("wood", "front", "metal"), lean)
    thing.add(panel(width - 0.03, height - 0.03, (0, 0.0085, 0.015)), maker.finish("poster"), lean)
    return thing


def packet(maker: Maker) -> Object:
    """A packet, standing or lying."""
    thing = maker.object("box")
    size = np.array((maker.between(0.08, 0.2), maker.between(0.04, 0.14), maker.between(0.06, 0.28)))
    thing.add(box(size), maker.finish("carton", "poster"))
    return thing


def pens(maker: Maker) -> Object:
    """A cup of pens."""
    thing = maker.object("otherprop")
    thing.add(
        turned(((0, 0), (0.038, 0), (0.04, 0.1), (0.036, 0.1), (0.034, 0.01), (0, 0.01))),
        maker.dyed("plastic", "metal"),
    )
    for angle in (np.arange(maker.count(3, 6)) * 2.4).tolist():
        tip = (0.045 * np.cos(angle), 0.045 * np.sin(angle), maker.between(0.14, 0.18))
        thing.add(bar((0, 0, 0.012), tip, 0.004, segments=5), maker.dyed("plastic"))
    return thing


def clock(maker: Maker) -> Object:
    """An alarm clock, radio or loudspeaker: a small case with a round face."""
    thing = maker.object("otherprop")
    wide, high = maker.between(0.1, 0.26), maker.between(0.1, 0.2)
    thing.add(cushion((wide, 0.09, high), radius=0.02), maker.dyed("plastic", "wood", "metal"))
    face = bar((0, 0.04, high / 2), (0, 0.052, high / 2), high * 0.36, segments=16)
    thing.add(face, maker.dyed("plastic", "metal"))
    return thing


def candles(maker: Maker) -> Object:
    """Candles of several heights on a tray."""
    thing = maker.object("otherprop")
    thing.add(cylinder(0.11, 0.012, segments=20), maker.finish("metal", "wood", "ceramic"))
    sticks = [
        cylinder(0.025, maker.between(0.06, 0.2), (0.06 * np.cos(a), 0.06 * np.sin(a), 0.012), segments=10)
        for a in (0.0, 2.1, 4.2)
    ]
    thing.add(join(sticks), maker.dyed("plastic"))
    return thing


def pot_plant(maker: Maker) -> Object:
    """A small plant in a pot."""
    thing = maker.object("otherprop")
    thing.add(cylinder(0.045, 0.09, top=0.06), maker.dyed("stone", "plastic", "ceramic"))
    green, length = maker.finish("plant"), maker.between(0.1, 0.26)
    count = maker.count(8, 16)
    leaves = [
        leaf(length * maker.between(0.6, 1.1), length * 0.25, maker.between(0.4, 1.35), i * 2.4, (0, 0, 0.085))
        for i in range(count)
    ]
    thing.add(join(leaves), green)
    return thing


def teapot(maker: Maker) -> Object:
    """A pot with a spout, a handle and a lid."""
    thing = maker.object("otherprop")
    look = maker.dyed("ceramic", "metal")
    body = ball(0.085, squash=0.8)
    handle = tube(arc((0, -0.08, 0.07), (0, 0, 0.05), (0, -0.06, 0), 0, np.pi, 7), 0.008, 6)
    thing.add(
        join([body, handle, bar((0, 0.06, 0.06), (0, 0.15, 0.12), 0.02, 0.01), ball(0.015, (0, 0, 0.135), segments=8)]),
        look,
    )
    return thing


def terrestrial_globe(maker: Maker) -> Object:
    """A globe on a foot."""
    thing = maker.object("otherprop")
    radius = maker.between(0.1, 0.14)
    thing.add(join([cylinder(0.08, 0.02), cylinder(0.012, 0.1)]), maker.finish("wood", "metal"))
    thing.add(ball(radius, (0, 0, 0.07), segments=18), maker.finish("poster"))
    bow = arc((0, 0, 0.07 + radius), (0, 0, radius + 0.015), (radius + 0.015, 0, 0), 0, np.pi, 9)
    thing.add(tube(bow, 0.006, 5), maker.finish("metal"))
    return thing


def table_lamp(maker: Maker) -> Object:
    """Any lamp for tables."""
    return maker.make(TABLE_LAMP)


def pile(maker: Maker) -> Object:
    """Any pile of books."""
    return maker.make(PILE)


CLUTTER = Family(
    "clutter",
    (mug, bottle, bowl, vase, pile, papers, notebook, photograph, packet, pens, clock, candles, pot_plant, table_lamp),
    (teapot, terrestrial_globe),
)


def scatter(
    maker: Maker, owner: Object, size: tuple[float, float], z: float, count: int, family: Family = CLUTTER
) -> None:
    """Put things on a level board of ``owner``, (width, depth) around its middle, without overlap."""
    taken: list[Array] = []
    half = np.array(size) / 2
    for _ in range(count):
        thing = maker.make(family)
        low, high = thing.bounds()[:, :2]
        for _ in range(6):
            x, y = (maker.random.uniform(-1, 1, 2) * half).tolist()
            matrix = place(x, y, z + 0.001, maker.between(-0.6, 0.6))
            low, high = thing.bounds(matrix)[:, :2]
            inside = bool((low > -half).all() and (high < half).all())
            if inside and not any((low < other[1]).all() and (high > other[0]).all() for other in taken):
                taken.append(np.stack((low, high)))
                owner.put(thing, matrix)
                break


def stand(
    maker: Maker, owner: Object, x: float, z: float, size: tuple[float, float, float], family: Family = CLUTTER
) -> None:
    """Put one thing at x on a board if it fits into (width, depth, height)."""
    thing = maker.make(family)
    low, high = thing.bounds()
    if (high - low < size).all():
        middle = (low + high) / 2
        owner.put(thing, place(x - middle[0], -middle[1], z + 0.001))
