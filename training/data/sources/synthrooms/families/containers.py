"""What holds things: bins, bags, boxes."""

from itertools import pairwise

import numpy as np

from ..rooms.bodies import arc, ball, bar, cushion, cylinder, loft, oval, tube, turned
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, place, tilt


def round_bin(maker: Maker) -> Object:
    """An open waste bin."""
    waste, radius, height = maker.object("otherfurniture"), maker.between(0.11, 0.17), maker.between(0.26, 0.45)
    inside = ((radius - 0.006, height), (radius * 0.8, 0.02), (0, 0.02))
    waste.add(
        turned(((0, 0), (radius * 0.82, 0), (radius, height), *inside), segments=20), maker.dyed("metal", "plastic")
    )
    return waste


def lidded_bin(maker: Maker) -> Object:
    """A bin with a lid and a pedal."""
    waste, radius, height = maker.object("otherfurniture"), maker.between(0.12, 0.18), maker.between(0.35, 0.65)
    waste.add(cylinder(radius, height, segments=20), maker.dyed("metal", "plastic"))
    waste.add(turned(((radius + 0.005, 0), (radius, 0.04), (0, 0.07)), (0, 0, height), 20), maker.dyed("plastic"))
    waste.add(box((0.08, 0.05, 0.015), (0, radius + 0.02, 0.02)), maker.finish("metal"))
    return waste


def wire_bin(maker: Maker) -> Object:
    """A bin of wire rings and staves."""
    waste, radius, height = maker.object("otherfurniture"), 0.14, maker.between(0.28, 0.36)
    rings = [oval((radius * s, radius * s), z) for s, z in ((0.75, 0.01), (0.87, height / 2), (1.0, height))]
    hoops = [tube(np.concatenate((ring, ring[:2])), 0.005, 4) for ring in rings]
    staves = [bar(a, b, 0.003, segments=4) for a, b in zip(rings[0][::1], rings[2][::1], strict=True)]
    waste.add(join(hoops + staves), maker.finish("metal"))
    return waste


BIN = Family("bin", (round_bin, round_bin, lidded_bin), (wire_bin,))


def rucksack(maker: Maker) -> Object:
    """A rucksack that stands."""
    bag, cloth = maker.object("bag"), maker.dyed("cloth")
    width, depth, height = maker.between(0.26, 0.4), maker.between(0.14, 0.22), maker.between(0.32, 0.48)
    bag.add(cushion((width, depth, height), (0, 0, 0), 0.06, 0.1), cloth)
    bag.add(cushion((width * 0.7, depth * 0.4, height * 0.45), (0, depth * 0.55, height * 0.08), 0.03), cloth)
    bag.add(tube(arc((0, 0, height * 0.98), (0.06, 0, 0), (0, 0, 0.08), 0, np.pi, 7), 0.009, 6), cloth)
    return bag


def tote(maker: Maker) -> Object:
    """A shopping bag or hand bag with two handles."""
    bag, look = maker.object("bag"), maker.dyed("cloth", "sofa", "plastic")
    width, depth, height = maker.between(0.14, 0.2), maker.between(0.05, 0.09), maker.between(0.24, 0.38)
    power = maker.between(2.5, 6)
    rings = [
        oval((width * s, depth * t), z * height, square=power)
        for s, t, z in (
            (0.0, 0.0, 0.0),
            (0.9, 1, 0.0),
            (1, 1.1, 0.4),
            (0.95, 0.5, 1.0),
            (0.92, 0.45, 1.0),
            (0.9, 0.8, 0.15),
        )
    ]
    bag.add(loft(rings), look)
    handles = [
        tube(arc((0, y, height * 0.97), (width * 0.4, 0, 0), (0, 0, 0.13), 0, np.pi, 8), 0.006, 5)
        for y in (-depth * 0.4, depth * 0.4)
    ]
    bag.add(join(handles), look)
    return bag


def suitcase(maker: Maker) -> Object:
    """A suitcase on wheels, its handle out."""
    bag, look = maker.object("bag"), maker.dyed("plastic", "cloth")
    width, depth, height = maker.between(0.36, 0.48), maker.between(0.2, 0.28), maker.between(0.5, 0.7)
    ribs = [cushion((0.03, depth + 0.015, height - 0.08), (x, 0, 0.08), 0.014) for x in (-width / 4, 0, width / 4)]
    bag.add(join([cushion((width, depth, height), (0, 0, 0.04), 0.04), *ribs]), look)
    handle = [
        (-0.09, -depth / 2 + 0.03, height),
        (-0.09, -depth / 2 + 0.03, height + 0.32),
        (0.09, -depth / 2 + 0.03, height + 0.32),
        (0.09, -depth / 2 + 0.03, height),
    ]
    wheels = [
        ball(0.025, (x, y, 0), segments=6)
        for x in (-width / 2 + 0.05, width / 2 - 0.05)
        for y in (-depth / 3, depth / 3)
    ]
    bag.add(join([*(bar(a, b, 0.008) for a, b in pairwise(handle)), *wheels]), maker.finish("metal"))
    return bag


def duffel(maker: Maker) -> Object:
    """A lying roll of a bag."""
    bag, look, radius = maker.object("bag"), maker.dyed("cloth"), maker.between(0.13, 0.18)
    long = maker.between(0.45, 0.65)
    bag.add(bar((-long / 2, 0, radius), (long / 2, 0, radius), radius, segments=16), look)
    straps = [tube(arc((0, y, radius * 1.85), (0.12, 0, 0), (0, 0, 0.1), 0, np.pi, 7), 0.01, 5) for y in (-0.05, 0.05)]
    bag.add(join(straps), maker.dyed("cloth"))
    return bag


BAG = Family("bag", (rucksack, tote, suitcase), (duffel,))


def closed_carton(maker: Maker) -> Object:
    """A cardboard box, or two on each other."""
    carton, size = maker.object("box"), maker.random.uniform(0.2, 0.5, 3) * (1, 0.9, 0.8)
    carton.add(box(size), maker.finish("carton"))
    if maker.chance(0.3):
        upper = maker.object("box")
        upper.add(box(size * maker.random.uniform(0.6, 0.95, 3)), maker.finish("carton"))
        carton.put(upper, place(0, 0, float(size[2]) + 0.001, maker.between(-0.3, 0.3)))
    return carton


def open_carton(maker: Maker) -> Object:
    """A box whose flaps stand open."""
    carton, look = maker.object("box"), maker.finish("carton")
    wide, deep, high = maker.between(0.28, 0.5), maker.between(0.22, 0.4), maker.between(0.2, 0.38)
    walls = [box((wide, 0.006, high), (0, y, 0)) for y in (-deep / 2, deep / 2)]
    walls += [box((0.006, deep, high), (x, 0, 0)) for x in (-wide / 2, wide / 2)]
    carton.add(join([*walls, box((wide, deep, 0.01), (0, 0, 0.005))]), look)
    for side in (-1, 1):
        flap = box((wide, 0.005, deep * 0.45)).moved(tilt(-side * maker.between(0.5, 2.0), high, side * deep / 2))
        carton.add(flap, look)
    return carton


def crate(maker: Maker) -> Object:
    """A box of slats or a plastic box with a lid."""
    case, wide, deep, high = (
        maker.object("box"),
        maker.between(0.35, 0.55),
        maker.between(0.28, 0.4),
        maker.between(0.22, 0.34),
    )
    if maker.chance(0.5):
        case.add(box((wide, deep, high), taper=1.06), maker.dyed("plastic"))
        case.add(cushion((wide * 1.1, deep * 1.1, 0.03), (0, 0, high), 0.012), maker.dyed("plastic"))
        return case
    levels = np.arange(0.01, high, 0.09).tolist()
    slats = [box((wide, 0.012, 0.07), (0, y, z)) for z in levels for y in (-deep / 2, deep / 2)]
    slats += [box((0.012, deep, 0.07), (x, 0, z)) for z in levels for x in (-wide / 2, wide / 2)]
    case.add(join([*slats, box((wide, deep, 0.012))]), maker.finish("wood"))
    return case


def round_box(maker: Maker) -> Object:
    """A hat box or drum with a lid."""
    case, radius, high = maker.object("box"), maker.between(0.15, 0.25), maker.between(0.18, 0.4)
    case.add(cylinder(radius, high, segments=24), maker.finish("carton", "cloth"))
    case.add(cylinder(radius * 1.03, 0.06, (0, 0, high - 0.04), segments=24), maker.finish("poster", "cloth"))
    return case


BOX = Family("box", (closed_carton, closed_carton, open_carton, crate), (round_box,))
