"""Storage: cabinets, dressers, wardrobes, night stands, bookcases, boards on the wall."""

import numpy as np

from ..looks.materials import Finish
from ..rooms.bodies import ball, bar, cushion, cylinder
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import Shape, box, join, panel, place
from .books import ROW
from .things import scatter, stand


def fronts(
    maker: Maker, size: tuple[float, float, float], columns: int, rows: int, foot: float
) -> tuple[list[Shape], list[Shape]]:
    """Doors or drawers of a body (width, depth, height) and their handles."""
    width, depth, height = size
    wide, tall = (width - 0.03) / columns, (height - foot - 0.03) / rows
    style, faces, handles = maker.count(0, 2), [], []
    for column in range(columns):
        for row in range(rows):
            x, z = -width / 2 + 0.015 + wide * (column + 0.5), foot + 0.015 + tall * row
            faces.append(cushion((wide - 0.008, 0.02, tall - 0.008), (x, depth / 2 - 0.012, z + 0.004), 0.004, steps=2))
            if tall > 0.5:
                grip = (x + wide * (0.4 if column % 2 == 0 else -0.4), depth / 2 + 0.006, z + tall * 0.45)
                handles.append(box((0.014, 0.025, 0.14), grip) if style else ball(0.014, grip, segments=6))
            elif style == 0:
                handles.append(ball(0.014, (x, depth / 2 + 0.008, z + tall * 0.5), segments=6))
            else:
                long = min(0.16, wide * 0.5) if style == 1 else wide * 0.8
                handles.append(box((long, 0.022, 0.014), (x, depth / 2 + 0.006, z + tall * 0.65)))
    return faces, handles


def body(
    maker: Maker, label: str, size: tuple[float, float, float], columns: int, rows: int, look: Finish | None = None
) -> Object:
    """A closed body (width, depth, height) with fronts, on a plinth or on feet."""
    width, depth, height = size
    thing, wood = maker.object(label), maker.finish("wood", "front") if look is None else look
    front, foot = maker.finish("front", "wood") if look is None else look, maker.between(0.04, 0.12)
    deep = depth - 0.03
    if maker.chance(0.4) and height < 1.3:
        legs = [
            cylinder(0.014, foot, (x, y, 0), top=0.02, segments=8)
            for x in (-width / 2 + 0.05, width / 2 - 0.05)
            for y in (-deep / 2 + 0.05, deep / 2 - 0.05)
        ]
        thing.add(join(legs), maker.finish("wood", "metal"))
    else:
        thing.add(box((width - 0.02, deep - 0.04, foot), (0, -0.03, 0)), wood)
    thing.add(box((width, deep, height - foot), (0, -0.015, foot)), wood)
    faces, handles = fronts(maker, (width, deep, height), columns, rows, foot)
    thing.add(join(faces), front)
    thing.add(join(handles), maker.finish("metal"))
    return thing


def _columns(maker: Maker, width: float) -> int:
    return max(1, round(width / maker.between(0.4, 0.6)))


def low_cabinet(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A cabinet with doors or drawers."""
    rows = 1 if maker.chance(0.5) or height < 0.45 else 2
    return body(maker, "cabinet", (width, depth, height), _columns(maker, width), rows)


def drawers(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A narrow block of drawers."""
    return body(maker, "cabinet", (width, depth, height), 1, maker.count(2, 4))


def half_open(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A cabinet with doors below and open boards above or beside."""
    thing, look = maker.object("cabinet"), maker.finish("wood", "front")
    closed = body(maker, "cabinet", (width / 2, depth, height), 1, 1, look)
    side = maker.one(-1, 1)
    for part in closed.parts:
        thing.add(part.shape, part.finish, place(side * width / 4))
    x, wide = -side * width / 4, width / 2
    boards = [box((wide, depth - 0.03, 0.02), (x, -0.015, z * (height - 0.02))) for z in (0.1, 0.5, 1.0)]
    boards += [
        box((0.02, depth - 0.03, height), (-side * (width / 2 - 0.01), -0.015, 0)),
        box((wide, 0.01, height), (x, -depth / 2 + 0.01, 0)),
    ]
    thing.add(join(boards), look)
    for z in (0.1, 0.5):
        level = z * (height - 0.02) + 0.02
        free = (0.4 if z < 0.4 else 0.5) * (height - 0.02) - 0.03
        if free > 0.15:
            thing.put(maker.make(ROW, wide - 0.06, depth - 0.05, min(free, 0.3)), place(x, 0, level))
    return thing


def rolling(maker: Maker, width: float, depth: float, height: float) -> Object:
    """A cabinet closed by slats, as in offices and workshops."""
    thing, look = maker.object("cabinet"), maker.finish("metal", "plastic")
    thing.add(box((width, depth - 0.02, height), (0, -0.01, 0)), look)
    slats = np.arange(0.08, height - 0.08, 0.04).tolist()
    thing.add(
        join([cushion((width - 0.06, 0.02, 0.036), (0, depth / 2 - 0.012, z), 0.008, steps=2) for z in slats]),
        maker.finish("metal", "wood"),
    )
    return thing


SIDEBOARD = Family("cabinet", (low_cabinet, low_cabinet, half_open), (rolling,))


def sideboard(maker: Maker) -> Object:
    """A low cabinet with things on it."""
    width, depth, height = maker.between(0.8, 1.7), maker.between(0.36, 0.5), maker.between(0.6, 1.05)
    thing = maker.make(SIDEBOARD, width, depth, height)
    scatter(maker, thing, (width * 0.92, depth * 0.8), height, maker.count(2, 5))
    return thing


def chest(maker: Maker) -> Object:
    """A dresser: drawers of equal height."""
    width, depth, height = maker.between(0.7, 1.2), maker.between(0.42, 0.5), maker.between(0.75, 1.1)
    thing = body(maker, "dresser", (width, depth, height), maker.count(1, 2), maker.count(3, 4))
    thing.add(box((width + 0.03, depth, 0.025), (0, 0, height)), maker.finish("wood", "stone"))
    scatter(maker, thing, (width * 0.92, depth * 0.8), height + 0.025, maker.count(2, 5))
    return thing


def tallboy(maker: Maker) -> Object:
    """A narrow tall dresser."""
    width, depth, height = maker.between(0.5, 0.65), maker.between(0.4, 0.48), maker.between(1.15, 1.4)
    thing = body(maker, "dresser", (width, depth, height), 1, maker.count(5, 6))
    scatter(maker, thing, (width * 0.9, depth * 0.8), height, maker.count(1, 3))
    return thing


def vanity(maker: Maker) -> Object:
    """A dresser with a mirror on it."""
    thing = chest(maker)
    low, high = thing.bounds()
    mirror, frame = maker.object("mirror"), maker.finish("wood", "front")
    wide, tall = float(high[0] - low[0]) * 0.5, maker.between(0.5, 0.7)
    mirror.add(box((wide + 0.06, 0.02, tall + 0.06)), frame)
    mirror.add(panel(wide, tall, (0, 0.0105, 0.03)), maker.finish("mirror"))
    thing.put(mirror, place(0, float(low[1]) + 0.03, float(high[2]) + 0.01))
    return thing


def bow_front(maker: Maker) -> Object:
    """A dresser with a curved front on bent legs."""
    thing, look = maker.object("dresser"), maker.finish("wood")
    width, depth, height, rows = maker.between(0.8, 1.1), 0.45, maker.between(0.75, 0.9), 3
    from_x = np.linspace(-width / 2, width / 2, 9)
    tall = (height - 0.15) / rows
    for x in (-width / 2 + 0.04, width / 2 - 0.04):
        thing.add(
            join(
                [bar((x, y, 0), (x * 0.95, y * 0.9, 0.16), 0.015, 0.03) for y in (-depth / 2 + 0.05, depth / 2 - 0.1)]
            ),
            look,
        )
    thing.add(box((width, depth - 0.12, height - 0.15), (0, -0.06, 0.15)), look)
    bow = depth / 2 - 0.12 + 0.12 * (1 - (2 * from_x / width) ** 2)
    for row in range(rows):
        pieces = [
            box((width / 8 + 0.005, float(y) + 0.1, tall - 0.012), (float(x), float(y) / 2 - 0.05, 0.15 + row * tall))
            for x, y in zip((from_x[1:] + from_x[:-1]) / 2, (bow[1:] + bow[:-1]) / 2, strict=True)
        ]
        thing.add(join(pieces), look)
    scatter(maker, thing, (width * 0.9, depth * 0.5), height, 3)
    return thing


DRESSER = Family("dresser", (chest, chest, tallboy, vanity), (bow_front,))


def wardrobe(maker: Maker) -> Object:
    """A wardrobe with hinged doors, some with a drawer below and a box on top."""
    width, depth, height = maker.between(0.8, 1.8), maker.between(0.52, 0.62), maker.between(1.75, 2.1)
    thing = body(maker, "cabinet", (width, depth, height), _columns(maker, width), 1)
    if maker.chance(0.4):
        scatter(maker, thing, (width * 0.9, depth * 0.8), height, 2)
    return thing


def sliding_wardrobe(maker: Maker) -> Object:
    """A wide wardrobe with two sliding doors, one of them a mirror."""
    width, depth, height = maker.between(1.4, 2.0), 0.6, maker.between(1.9, 2.2)
    thing, look = maker.object("cabinet"), maker.finish("wood", "front")
    thing.add(box((width, depth - 0.05, height), (0, -0.025, 0)), look)
    faces = [maker.finish("front"), maker.finish("mirror") if maker.chance(0.5) else maker.finish("front", "wood")]
    for side, face in zip((-1, 1), faces, strict=True):
        thing.add(
            box(
                (width / 2 + 0.02, 0.02, height - 0.08),
                (side * (width / 4 - 0.02), depth / 2 - 0.03 + 0.011 * side, 0.04),
            ),
            face,
        )
    return thing


def filing(maker: Maker) -> Object:
    """A filing cabinet or locker of metal."""
    width, depth, height = maker.between(0.4, 0.8), 0.45, maker.between(1.0, 1.8)
    thing = body(maker, "cabinet", (width, depth, height), maker.count(1, 2), maker.one(1, 4), maker.finish("metal"))
    scatter(maker, thing, (width * 0.9, depth * 0.8), height, 2)
    return thing


def rail(maker: Maker) -> Object:
    """An open rail with clothes on hangers."""
    thing, metal = maker.object("otherfurniture"), maker.finish("metal", "wood")
    width, height = maker.between(0.9, 1.4), maker.between(1.5, 1.7)
    pieces = [bar((-width / 2, 0, height), (width / 2, 0, height), 0.014)]
    for x in (-width / 2, width / 2):
        pieces += [bar((x, 0, 0.02), (x, 0, height), 0.014), bar((x, -0.22, 0.015), (x, 0.22, 0.015), 0.014)]
    thing.add(join(pieces), metal)
    x = -width / 2 + 0.1
    while x < width / 2 - 0.1:
        cloth, long, thick = maker.object("clothes"), maker.between(0.6, 1.1), maker.between(0.03, 0.08)
        cloth.add(cushion((thick, 0.4, long), (0, 0, height - long - 0.06), 0.02), maker.finish("cloth"))
        thing.put(cloth, place(x, 0, 0, maker.between(-0.15, 0.15)))
        x += thick + maker.between(0.02, 0.12)
    return thing


WARDROBE = Family("wardrobe", (wardrobe, wardrobe, sliding_wardrobe, filing), (rail,))


def drawer_stand(maker: Maker) -> Object:
    """A night stand with drawers or a door."""
    width, depth, height = maker.between(0.38, 0.5), maker.between(0.35, 0.42), maker.between(0.42, 0.6)
    thing = body(maker, "night_stand", (width, depth, height), 1, maker.count(1, 3))
    scatter(maker, thing, (width * 0.95, depth * 0.85), height, 2)
    return thing


def open_stand(maker: Maker) -> Object:
    """A night stand of boards, something on its lower one."""
    thing, look = maker.object("night_stand"), maker.finish("wood", "front")
    width, depth, height = maker.between(0.36, 0.48), maker.between(0.34, 0.4), maker.between(0.42, 0.58)
    boards = [box((width, depth, 0.02), (0, 0, z)) for z in (0.12, height - 0.02)]
    thing.add(
        join(boards + [box((0.02, depth, height - 0.02), (x, 0, 0)) for x in (-width / 2 + 0.01, width / 2 - 0.01)]),
        look,
    )
    stand(maker, thing, 0, 0.14, (width - 0.05, depth, height - 0.18))
    scatter(maker, thing, (width * 0.95, depth * 0.9), height, 2)
    return thing


def round_stand(maker: Maker) -> Object:
    """A small round table beside a bed."""
    thing, look = maker.object("night_stand"), maker.finish("wood", "metal")
    radius, height = maker.between(0.19, 0.24), maker.between(0.45, 0.58)
    thing.add(
        join(
            [
                cylinder(radius, 0.025, (0, 0, height - 0.025), segments=20),
                cylinder(0.02, height),
                cylinder(radius * 0.7, 0.02, segments=20),
            ]
        ),
        look,
    )
    scatter(maker, thing, (radius * 1.35, radius * 1.35), height, 2)
    return thing


NIGHT_STAND = Family("night stand", (drawer_stand, open_stand), (round_stand,))
