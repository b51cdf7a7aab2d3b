"""What stands or lies about on the floor: plants, washing, shoes, toys, appliances, rugs."""

import numpy as np

from ..rooms.bodies import arc, ball, bar, cushion, cylinder, leaf, loft, oval, tube, turned
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, mat, place, sheet, tilt


def _pot(maker: Maker, plant: Object, height: float) -> float:
    high = height * maker.between(0.22, 0.36)
    radius = max(0.06, high * 0.55)
    look = maker.dyed("stone", "plastic", "wood", "ceramic")
    plant.add(cylinder(radius * maker.between(0.65, 1.0), high, top=radius, segments=18), look)
    return high


def leafy(maker: Maker) -> Object:
    """A pot with blades that grow from its middle."""
    plant, height = maker.object("otherprop"), maker.between(0.5, 1.4)
    pot, wide = _pot(maker, plant, height), maker.between(0.12, 0.3)
    leaves = []
    for index in range(maker.count(9, 22)):
        length = (height - pot) * maker.between(0.6, 1.1)
        leaves.append(leaf(length, length * wide, maker.between(0.5, 1.35), index * 2.4, (0, 0, pot)))
    plant.add(join(leaves), maker.finish("plant"))
    return plant


def tree(maker: Maker) -> Object:
    """A small tree: a stem, and leaves around its top."""
    plant, height = maker.object("otherprop"), maker.between(1.0, 1.8)
    pot = _pot(maker, plant, height * 0.8)
    plant.add(bar((0, 0, pot), (0.04, 0.02, height * 0.9), 0.02, 0.01), maker.finish("wood"))
    leaves = []
    for index in range(maker.count(18, 30)):
        z = maker.between(0.5, 0.92) * height
        leaves.append(
            leaf(
                maker.between(0.18, 0.32),
                maker.between(0.06, 0.12),
                maker.between(0.05, 1.0),
                index * 2.4,
                (0.03, 0.01, z),
            )
        )
    plant.add(join(leaves), maker.finish("plant"))
    return plant


def cactus(maker: Maker) -> Object:
    """Columns in a pot."""
    plant, height, green = maker.object("otherprop"), maker.between(0.5, 1.0), maker.finish("plant")
    pot = _pot(maker, plant, height)
    for x, tall in ((0.0, height - pot), (0.09, (height - pot) * 0.6), (-0.08, (height - pot) * 0.45)):
        profile = ((0.04, 0), (0.055, tall * 0.5), (0.045, tall * 0.9), (0.0, tall))
        plant.add(turned(profile, (x, 0.02, pot - 0.02), 9, smooth=True), green)
    return plant


PLANT = Family("plant", (leafy, leafy, tree), (cactus,))


def laundry_basket(maker: Maker) -> Object:
    """A basket with washing in it."""
    basket, wide, deep, high = (
        maker.object("otherprop"),
        maker.between(0.2, 0.3),
        maker.between(0.16, 0.22),
        maker.between(0.28, 0.5),
    )
    rings = ((0.85, 0.0), (1.0, 1.0), (1.03, 1.0), (0.97, 0.96), (0.82, 0.1), (0.0, 0.1))
    basket.add(
        loft([oval((wide * s, deep * s), z * high, square=3) for s, z in rings]), maker.dyed("cloth", "plastic", "wood")
    )
    cloth = maker.object("clothes")
    cloth.add(cushion((wide * 1.6, deep * 1.6, 0.2), (0, 0, high - 0.17), 0.06, 0.6), maker.finish("cloth"))
    basket.put(cloth, np.eye(4))
    return basket


def shoes(maker: Maker) -> Object:
    """A pair of shoes."""
    pair, look = maker.object("clothes"), maker.dyed("sofa", "cloth")
    for x in (-0.06, 0.06):
        rings = [
            oval((0.042 * s, 0.13 * s), z, y, 2.6, 14)
            for s, z, y in ((1.0, 0.0, 0.0), (1.0, 0.03, 0.0), (0.85, 0.06, -0.01))
        ]
        shaft = [oval((0.036, 0.05), 0.09, -0.06, 2, 14), oval((0.03, 0.04), maker.one(0.1, 0.16), -0.065, 2, 14)]
        pair.add(loft(rings + shaft), look, place(x, maker.between(-0.03, 0.03), 0, maker.between(-0.2, 0.2)))
    return pair


def football(maker: Maker) -> Object:
    """A ball, or a few blocks."""
    toy = maker.object("otherprop")
    if maker.chance(0.5):
        toy.add(ball(maker.between(0.08, 0.13), segments=16), maker.dyed("plastic", "sofa", "poster"))
        return toy
    for index in range(maker.count(3, 7)):
        side, angle = maker.between(0.04, 0.08), index * 2.4
        toy.add(
            box((side, side, side)),
            maker.dyed("wood", "plastic"),
            place(0.12 * np.cos(angle), 0.12 * np.sin(angle), 0, angle),
        )
    return toy


def fan(maker: Maker) -> Object:
    """A fan on a pole, or a heater."""
    thing, look = maker.object("otherprop"), maker.dyed("plastic", "metal")
    if maker.chance(0.5):
        high, turn = maker.between(0.8, 1.1), tilt(np.pi / 2 + 0.05)
        rings = [oval((0.19 * s, 0.19 * s), 0.0) for s in (1.0, 0.7, 0.35)]
        cage = [
            tube(np.concatenate((ring, ring[:2])), 0.006, 4).moved(turn).moved(place(0, 0.05, high + 0.2))
            for ring in rings
        ]
        thing.add(
            join(
                [
                    cylinder(0.16, 0.03, segments=18),
                    bar((0, 0, 0.02), (0, 0, high + 0.1), 0.014),
                    *cage,
                    bar((0, -0.06, high + 0.2), (0, 0.05, high + 0.2), 0.05),
                ]
            ),
            look,
        )
        return thing
    thing.add(
        join(
            [box((0.035, 0.14, 0.5), (x, 0, 0.06)) for x in np.linspace(-0.24, 0.24, 8).tolist()]
            + [box((0.5, 0.05, 0.5), (0, 0, 0.06))]
        ),
        look,
    )
    return thing


def vacuum_cleaner(maker: Maker) -> Object:
    """A vacuum cleaner with its hose."""
    thing, look = maker.object("otherprop"), maker.dyed("plastic")
    thing.add(cushion((0.26, 0.36, 0.22), radius=0.09, bulge=0.2), look)
    hose = np.concatenate(
        (arc((0, 0.18, 0.2), (0, -0.05, 0), (0, 0.05, 0.25), 0, 1.8, 6), ((0, 0.32, 0.3), (0, 0.42, 0.06)))
    )
    thing.add(join([tube(hose, 0.02, 7), box((0.26, 0.1, 0.04), (0, 0.45, 0))]), maker.dyed("plastic", "metal"))
    return thing


def step_ladder(maker: Maker) -> Object:
    """A ladder that stands open."""
    thing, metal, high = maker.object("otherprop"), maker.finish("metal", "wood"), maker.between(0.7, 1.3)
    front = [bar((x, 0.25, 0), (x * 0.8, 0, high), 0.015) for x in (-0.22, 0.22)]
    back = [bar((x, -0.3, 0), (x * 0.8, 0, high), 0.012) for x in (-0.2, 0.2)]
    steps = [box((0.4, 0.1, 0.025), (0, 0.25 * (1 - z / high), z)) for z in np.arange(0.22, high + 0.01, 0.23).tolist()]
    thing.add(join(front + back + steps), metal)
    return thing


def guitar(maker: Maker) -> Object:
    """A guitar that leans against the wall."""
    thing, look, lean = maker.object("otherprop"), maker.finish("wood"), tilt(0.22, 0.0, 0.2)
    outline = ((0.0, 0.0), (0.15, 0.03), (0.19, 0.14), (0.13, 0.27), (0.15, 0.37), (0.1, 0.46), (0.0, 0.48))
    half = np.array(outline)
    front = np.concatenate((half, half[::-1] * (-1, 1)))
    ring = np.stack((front[:, 0], np.zeros(len(front)), front[:, 1]), -1)
    middle = np.broadcast_to((0.0, 0.0, 0.22), ring.shape)
    body = np.stack((middle - (0, 0.05, 0), ring - (0, 0.05, 0), ring - (0, -0.05, 0), middle - (0, -0.05, 0)))
    thing.add(sheet(body, body[..., (0, 2)]), look, lean)
    thing.add(
        join([box((0.055, 0.025, 0.5), (0, 0.05, 0.42)), box((0.08, 0.02, 0.16), (0, 0.05, 0.9))]),
        maker.finish("wood"),
        lean,
    )
    return thing


LOOSE = Family("loose thing", (laundry_basket, shoes, football, fan, vacuum_cleaner), (step_ladder, guitar))


def oblong_rug(maker: Maker, width: float, depth: float) -> Object:
    """A rectangular rug."""
    rug = maker.object("floor_mat")
    rug.add(mat(width, depth, (0, 0, 0.008)), maker.finish("rug"))
    rug.add(box((width, depth, 0.007)), maker.finish("cloth"))
    return rug


def round_rug(maker: Maker, width: float, depth: float) -> Object:
    """A round or oval rug."""
    return _disc(maker, width, depth, 2.0, 32)


def hexagon_rug(maker: Maker, width: float, depth: float) -> Object:
    """A rug with six corners."""
    return _disc(maker, width, depth, 2.0, 6)


def _disc(maker: Maker, width: float, depth: float, square: float, count: int) -> Object:
    rug = maker.object("floor_mat")
    rim = oval((width / 2, depth / 2), 0.008, 0.0, square, count)
    points = np.stack((np.concatenate((rim, rim[:1])), np.broadcast_to((0.0, 0.0, 0.008), (count + 1, 3))))
    rug.add(sheet(points, points[..., :2] / (width, depth) + 0.5), maker.finish("rug"))
    rug.add(loft([rim * (1, 1, 0), rim - (0, 0, 0.0005)]), maker.finish("cloth"))
    return rug


RUG = Family("rug", (oblong_rug, oblong_rug, round_rug), (hexagon_rug,))


def foot_mat(maker: Maker) -> Object:
    """A small mat before a bath or a door."""
    small = maker.object("floor_mat")
    small.add(
        cushion((maker.between(0.5, 0.8), maker.between(0.4, 0.5), 0.015), radius=0.006, steps=2), maker.finish("cloth")
    )
    return small


SMALL_MAT = Family("small mat", (foot_mat,))
