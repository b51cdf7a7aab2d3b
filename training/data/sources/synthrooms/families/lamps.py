"""Lamps: on tables, on the floor, from the ceiling. Each says where its light comes from."""

import numpy as np

from ..rooms.bodies import arc, ball, bar, cushion, cylinder, oval, tube, turned
from ..rooms.maker import Family, Maker, four
from ..rooms.objects import Object
from ..rooms.shapes import box, join


def _shade(maker: Maker, lamp: Object, radius: float, z: float, height: float, x: float = 0.0) -> None:
    """An open shade, drum or cone, and light in it."""
    top = radius * maker.one(1.0, maker.between(0.4, 1.0))
    outline = ((radius, 0), (top, height), (top - 0.004, height), (radius - 0.004, 0))
    lamp.add(turned(outline, (x, 0, z), segments=20), maker.finish("shade"))
    lamp.lamps.append((x, 0.0, z + 0.3 * height))


def _globe(maker: Maker, lamp: Object, radius: float, z: float, x: float = 0.0) -> None:
    """A ball that shines; its light comes from below it, where no surface hides it."""
    lamp.add(ball(radius, (x, 0, z)), maker.finish("shade"))
    lamp.lamps.append((x, 0.0, z - 0.03))


def vase_lamp(maker: Maker) -> Object:
    """A turned foot with a shade."""
    lamp = maker.object("lamp")
    height = maker.between(0.3, 0.5)
    belly = np.interp(np.linspace(0, 1, 7), (0, 0.15, 0.5, 1), (0.05, 0.07, maker.between(0.03, 0.08), 0.012))
    profile = np.stack((belly, np.linspace(0, height * 0.6, 7)), -1)
    lamp.add(turned(np.concatenate((((0, 0),), profile)), smooth=True), maker.dyed("metal", "stone", "wood", "ceramic"))
    _shade(maker, lamp, maker.between(0.1, 0.16), height * 0.55, height * 0.45)
    return lamp


def globe_lamp(maker: Maker) -> Object:
    """A ball of glass on a small foot."""
    lamp = maker.object("lamp")
    lamp.add(cylinder(0.06, 0.05, top=0.04), maker.finish("metal", "wood"))
    _globe(maker, lamp, maker.between(0.08, 0.12), 0.05)
    return lamp


def desk_lamp(maker: Maker) -> Object:
    """Two jointed arms and a cone."""
    lamp = maker.object("lamp")
    metal = maker.dyed("metal", "plastic")
    elbow, head = (-0.1, 0, maker.between(0.24, 0.32)), (maker.between(0.08, 0.18), 0, maker.between(0.36, 0.46))
    lamp.add(join([cylinder(0.09, 0.02), bar((0, 0, 0.01), elbow, 0.008), bar(elbow, head, 0.008)]), metal)
    cone = turned(((0.07, 0), (0.02, 0.09), (0, 0.1), (0.016, 0.08), (0.066, 0)), (head[0], 0, head[2] - 0.09))
    lamp.add(cone, metal)
    lamp.lamps.append((head[0], 0.0, head[2] - 0.08))
    return lamp


def mushroom_lamp(maker: Maker) -> Object:
    """A cap on a stem, of one material."""
    lamp = maker.object("lamp")
    height, wide = maker.between(0.28, 0.4), maker.between(0.11, 0.17)
    look = maker.finish("shade")
    lamp.add(turned(((0, 0), (0.06, 0), (0.03, height * 0.3), (0.03, height * 0.6)), smooth=True), look)
    angle = np.linspace(0, np.pi / 2, 6)
    cap = np.stack((wide * np.cos(angle), height * (0.6 + 0.4 * np.sin(angle))), -1)
    lamp.add(turned(cap, smooth=True, segments=20), look)
    lamp.lamps.append((0.0, 0.0, height * 0.55))
    return lamp


def pole_lamp(maker: Maker) -> Object:
    """A shade on a pole."""
    lamp = maker.object("lamp")
    height = maker.between(1.35, 1.75)
    pole = [cylinder(0.14, 0.025, segments=18), cylinder(0.012, height - 0.1, (0, 0, 0.02), segments=8)]
    lamp.add(join(pole), maker.finish("metal", "wood"))
    _shade(maker, lamp, maker.between(0.16, 0.24), height - 0.15, maker.between(0.2, 0.32))
    return lamp


def uplighter(maker: Maker) -> Object:
    """A bowl on a pole that shines at the ceiling."""
    lamp = maker.object("lamp")
    height = maker.between(1.6, 1.85)
    pole = [cylinder(0.14, 0.02, segments=18), cylinder(0.013, height, (0, 0, 0.02), segments=8)]
    lamp.add(join(pole), maker.finish("metal"))
    lamp.add(turned(((0.02, 0), (0.15, 0.09), (0.144, 0.09), (0.02, 0.01)), (0, 0, height), 20), maker.finish("shade"))
    lamp.lamps.append((0.0, 0.0, height + 0.14))
    return lamp


def arc_lamp(maker: Maker) -> Object:
    """A shade at the end of a large arc."""
    lamp = maker.object("lamp")
    reach, height = maker.between(0.5, 0.8), maker.between(1.7, 1.95)
    bow = arc((-0.1 + reach / 2, 0, height - 0.45), (-reach / 2, 0, 0), (0, 0, 0.45), 0, np.pi * 0.95, 10)
    path = np.concatenate((((-0.1, 0, 0.03), (-0.1, 0, 0.6)), bow))
    lamp.add(join([box((0.28, 0.28, 0.05), (-0.1, 0, 0)), tube(path, 0.012)]), maker.finish("metal"))
    x, _, z = path[-1].tolist()
    lamp.add(
        turned(((0.15, 0), (0.13, 0.08), (0.02, 0.14), (0.126, 0.08)), (x, 0, z - 0.12), 20), maker.finish("shade")
    )
    lamp.lamps.append((x, 0.0, z - 0.13))
    return lamp


def tripod_lamp(maker: Maker) -> Object:
    """A wide shade on three legs of wood."""
    lamp = maker.object("lamp")
    height, spread = maker.between(1.25, 1.55), maker.between(0.2, 0.28)
    angles = (np.arange(3) * 2 * np.pi / 3 + 0.5).tolist()
    top = height - 0.2
    legs = [bar((spread * np.cos(a), spread * np.sin(a), 0), (0, 0, top), 0.018, 0.012) for a in angles]
    lamp.add(join(legs), maker.finish("wood"))
    _shade(maker, lamp, maker.between(0.2, 0.27), top, maker.between(0.25, 0.32))
    return lamp


def flat_light(maker: Maker, drop: float) -> Object:
    """A disc or a square panel right under the ceiling."""
    del drop
    lamp = maker.object("lamp")
    wide = maker.between(0.15, 0.26)
    body = cylinder(wide, 0.07, (0, 0, -0.07), segments=24)
    lamp.add(body if maker.chance(0.6) else box((2 * wide, 2 * wide, 0.06), (0, 0, -0.06)), maker.finish("shade"))
    lamp.lamps.append((0.0, 0.0, -0.12))
    return lamp


def strip_light(maker: Maker, drop: float) -> Object:
    """One or two tubes in a long trough, as in offices and kitchens."""
    del drop
    lamp = maker.object("lamp")
    long, pair = maker.between(0.9, 1.3), maker.chance(0.5)
    lamp.add(box((long, 0.2 if pair else 0.1, 0.03), (0, 0, -0.03)), maker.finish("front"))
    for y in (-0.05, 0.05) if pair else (0.0,):
        lamp.add(bar((-long / 2 + 0.04, y, -0.05), (long / 2 - 0.04, y, -0.05), 0.016), maker.finish("shade"))
    lamp.lamps += [(-long / 4, 0.0, -0.1), (long / 4, 0.0, -0.1)]
    return lamp


def pendant(maker: Maker, drop: float) -> Object:
    """A shade that hangs on a cord."""
    lamp = maker.object("lamp")
    lamp.add(cylinder(0.006, drop, (0, 0, -drop), segments=6), maker.finish("metal"))
    _shade(maker, lamp, maker.between(0.15, 0.28), -drop, maker.between(0.12, 0.28))
    return lamp


def globe_pendant(maker: Maker, drop: float) -> Object:
    """A ball on a cord: of paper when it is large."""
    lamp = maker.object("lamp")
    radius = maker.between(0.1, 0.22)
    lamp.add(cylinder(0.006, drop, (0, 0, -drop), segments=6), maker.finish("metal"))
    _globe(maker, lamp, radius, -drop - radius)
    return lamp


def spots(maker: Maker, drop: float) -> Object:
    """A rail with three or four spotlights."""
    del drop
    lamp = maker.object("lamp")
    look, long = maker.dyed("metal", "plastic"), maker.between(0.7, 1.1)
    lamp.add(box((long, 0.05, 0.03), (0, 0, -0.03)), look)
    for x in np.linspace(-long / 2 + 0.08, long / 2 - 0.08, maker.count(3, 4)).tolist():
        lean = maker.between(-0.08, 0.08)
        lamp.add(bar((x, 0, -0.02), (x + lean, maker.between(-0.1, 0.1), -0.15), 0.03, 0.045), look)
    lamp.lamps.append((0.0, 0.0, -0.22))
    return lamp


def chandelier(maker: Maker, drop: float) -> Object:
    """A hub with curved arms, a small ball of light at the end of each."""
    lamp = maker.object("lamp")
    metal, arms, reach = maker.finish("metal"), maker.count(4, 6), maker.between(0.22, 0.34)
    body = [cylinder(0.008, drop, (0, 0, -drop), segments=6), ball(0.05, (0, 0, -drop - 0.05), segments=10)]
    for angle in (np.arange(arms) * 2 * np.pi / arms).tolist():
        out = np.array((np.cos(angle), np.sin(angle), 0))
        bow = arc(out * reach / 2 + np.array((0, 0, -drop)), -out * reach / 2, (0, 0, -0.1), 0, np.pi, 6)
        body.append(tube(bow, 0.008, 5))
        x, y, _ = (out * reach).tolist()
        lamp.add(ball(0.045, (x, y, -drop), segments=8), maker.finish("shade"))
    lamp.add(join(body), metal)
    lamp.lamps.append((0.0, 0.0, -drop - 0.15))
    return lamp


def ring_light(maker: Maker, drop: float) -> Object:
    """A shining hoop that hangs on three wires."""
    lamp = maker.object("lamp")
    radius = maker.between(0.25, 0.4)
    wires = [
        bar((radius * x, radius * y, -drop), (0, 0, -0.005), 0.003, segments=4)
        for x, y in ((1, 0), (-0.5, 0.87), (-0.5, -0.87))
    ]
    lamp.add(join(wires), maker.finish("metal"))
    loop = oval((radius, radius), -drop, count=24)
    lamp.add(tube(np.concatenate((loop, loop[:2])), 0.022), maker.finish("shade"))
    lamp.lamps.append((0.0, 0.0, -drop - 0.06))
    return lamp


def lantern(maker: Maker, drop: float) -> Object:
    """A box of paper between wooden bars."""
    lamp = maker.object("lamp")
    wide, high = maker.between(0.24, 0.34), maker.between(0.26, 0.36)
    lamp.add(cushion((wide, wide, high), (0, 0, -drop - high), 0.004), maker.finish("shade"))
    bars = [box((0.02, 0.02, high), (x, y, -drop - high)) for x, y in four(wide / 2, wide / 2)]
    bars += [box((wide, wide, 0.015), (0, 0, -drop)), cylinder(0.006, drop, (0, 0, -drop), segments=6)]
    lamp.add(join(bars), maker.finish("wood"))
    lamp.lamps.append((0.0, 0.0, -drop - high - 0.06))
    return lamp


TABLE_LAMP = Family("table lamp", (vase_lamp, vase_lamp, globe_lamp, desk_lamp), (mushroom_lamp,))
DESK_LAMP = Family("desk lamp", (desk_lamp,), (mushroom_lamp,))
FLOOR_LAMP = Family("floor lamp", (pole_lamp, uplighter, arc_lamp), (tripod_lamp,))
CEILING_LAMP = Family("ceiling lamp", (flat_light, flat_light, strip_light, spots), (ring_light,))
HANGING_LAMP = Family("hanging lamp", (pendant, pendant, globe_pendant, chandelier), (ring_light, lantern))
