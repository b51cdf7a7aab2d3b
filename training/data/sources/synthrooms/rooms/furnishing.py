"""Which furniture a room has and where: by the kind of room, as people would put it."""

from collections.abc import Callable

import numpy as np

from ..families.bathroom import BATHTUB, TOILET
from ..families.beds import sleeping
from ..families.belongings import LOOSE, PLANT, RUG, SMALL_MAT
from ..families.chairs import CHAIR, EASY_CHAIR
from ..families.containers import BAG, BIN, BOX
from ..families.decor import CLOTHES, FLIP_CHART, MIRROR, PICTURE, WALL_CLOTHES, WALL_THING, WHITEBOARD
from ..families.desks import media_wall, workplace
from ..families.kitchen import REFRIGERATOR, island, run_of
from ..families.lamps import CEILING_LAMP, FLOOR_LAMP, HANGING_LAMP
from ..families.openings import DOOR, RADIATOR, window_of
from ..families.seats import STOOL
from ..families.shelves import BOOKCASE, WALL_SHELF
from ..families.sofas import ARMCHAIR, SOFA
from ..families.storage import DRESSER, WARDROBE, sideboard
from ..families.tables import dining, low_table, side_table
from ..families.things import pile
from ..families.washing import TOWEL, toilet_roll, washing_machine, washplace
from ..light.lights import Window
from .layout import Layout
from .maker import Family, Maker
from .objects import Object
from .shapes import place

PATH = 0.55  # metres that people leave free in front of furniture


def furnish(maker: Maker, layout: Layout, kind: str) -> None:
    """What the kind of room asks for, then small things, while there is room and floor to walk on."""
    ROOMS[kind](maker, layout)


def _living(maker: Maker, layout: Layout) -> None:
    _sitting(maker, layout)
    area = layout.space.area
    if area > 16 and maker.chance(0.6):
        layout.anywhere(dining(maker), 1.0)
    if maker.chance(0.25):
        layout.against_wall(workplace(maker), gap=0.03)
    _storage(maker, layout, (_bookcase, _bookcase, sideboard, side_table, _dresser), area)
    if area > 22 and maker.chance(0.5):
        layout.anywhere(maker.make(SOFA), 1.0)
    _small(maker, layout, 3, (PLANT, PLANT, BOX, BAG, STOOL, CHAIR, LOOSE, CLOTHES))
    _rug(maker, layout, 0.6)


def _bedroom(maker: Maker, layout: Layout) -> None:
    for _ in range(3):  # not every bed fits every room
        if layout.against_wall(sleeping(maker), gap=0.08, front=0.4):
            break
    layout.against_wall(maker.make(WARDROBE), front=PATH)
    if maker.chance(0.7):
        layout.against_wall(maker.make(DRESSER), front=0.4)
    if maker.chance(0.45):
        layout.against_wall(workplace(maker), gap=0.03)
    if layout.space.area > 17:
        layout.anywhere(maker.make(maker.one(ARMCHAIR, EASY_CHAIR, STOOL)), 0.7)
    _storage(maker, layout, (_bookcase, sideboard, _dresser, side_table), layout.space.area * 0.6)
    _small(maker, layout, 3, (PLANT, BOX, BAG, BAG, CLOTHES, CLOTHES, CHAIR, STOOL, LOOSE, BIN))
    _rug(maker, layout, 0.4)


def _office(maker: Maker, layout: Layout) -> None:
    for _ in range(1 + int(layout.space.area > 11) + int(layout.space.area > 18)):
        if maker.chance(0.8) or layout.space.area < 15:
            layout.against_wall(workplace(maker), gap=0.03)
        else:
            layout.anywhere(workplace(maker), 1.0)
    layout.against_wall(maker.make(BOOKCASE), front=0.4)
    if maker.chance(0.7):
        layout.against_wall(maker.make(WHITEBOARD), z=maker.between(0.85, 1.1), gap=0.0)
    elif maker.chance(0.5):
        layout.against_wall(maker.make(FLIP_CHART), gap=0.1)
    if layout.space.area > 20 and maker.chance(0.6):
        layout.anywhere(dining(maker), 1.0)
    _storage(maker, layout, (_bookcase, _bookcase, _wardrobe, sideboard, side_table), layout.space.area)
    _small(maker, layout, 3, (PLANT, BOX, BOX, BAG, BIN, BIN, CHAIR, LOOSE))


def _dining(maker: Maker, layout: Layout) -> None:
    layout.anywhere(dining(maker), 1.0)
    if layout.space.area > 20 and maker.chance(0.5):
        _sitting(maker, layout)
    _storage(maker, layout, (sideboard, sideboard, _bookcase, side_table), layout.space.area)
    _small(maker, layout, 2, (PLANT, PLANT, CHAIR, BOX, STOOL, LOOSE))
    _rug(maker, layout, 0.5)


def _kitchen(maker: Maker, layout: Layout) -> None:
    longest = float(np.linalg.norm(layout.space.segments[:, 1] - layout.space.segments[:, 0], axis=1).max())
    for width in (min(longest - 0.1, maker.between(2.2, 3.6)), 2.0, 1.2):  # what fits between doors and windows
        if layout.against_wall(run_of(maker, width, wet=True, hot=True), gap=0.0, front=PATH, corner=True):
            break
    layout.against_wall(maker.make(REFRIGERATOR), gap=0.03, front=PATH, corner=maker.chance(0.6))
    if maker.chance(0.6):
        width = maker.between(0.7, min(2.2, longest - 0.2))
        layout.against_wall(run_of(maker, width, wet=False, hot=False), gap=0.0, front=PATH)
    if layout.space.area > 14 and maker.chance(0.45):
        layout.anywhere(island(maker), 0.9)
    if layout.space.area > 10 and maker.chance(0.75):
        layout.anywhere(dining(maker), 0.9)
    _storage(maker, layout, (sideboard, side_table, _bookcase), layout.space.area * 0.5)
    if maker.chance(0.5):
        layout.against_wall(maker.make(TOWEL), z=maker.between(0.6, 1.0), gap=0.0)
    _small(maker, layout, 1, (PLANT, BIN, BIN, CHAIR, STOOL, BOX, BAG))


def _bathroom(maker: Maker, layout: Layout) -> None:
    layout.against_wall(maker.make(BATHTUB), gap=0.0, corner=True, front=0.4)
    if layout.against_wall(maker.make(TOILET), gap=0.0, front=0.4):
        toilet = layout.placed[-1][1][:2, 3]
        layout.against_wall(toilet_roll(maker), z=0.65, gap=0.0, near=toilet)
    if layout.against_wall(washplace(maker), gap=0.0, front=0.45):
        basin = layout.placed[-1][1][:2, 3]
        layout.against_wall(maker.make(TOWEL), z=maker.between(0.8, 1.1), gap=0.0, near=basin)
    if maker.chance(0.4):
        layout.against_wall(washing_machine(maker), gap=0.02, front=0.3)
    if maker.chance(0.5):
        layout.against_wall(maker.make(TOWEL), z=maker.between(0.7, 1.1), gap=0.0)
    if layout.space.area > 6:
        _storage(maker, layout, (sideboard, _bookcase), layout.space.area * 0.2)
    layout.anywhere(maker.make(SMALL_MAT), 0.3)
    _small(maker, layout, 1, (BIN, LOOSE, PLANT, STOOL, CLOTHES))


ROOMS: dict[str, Callable[[Maker, Layout], None]] = {
    "living": _living,
    "bedroom": _bedroom,
    "office": _office,
    "dining": _dining,
    "kitchen": _kitchen,
    "bathroom": _bathroom,
}


def _bookcase(maker: Maker) -> Object:
    return maker.make(BOOKCASE)


def _dresser(maker: Maker) -> Object:
    return maker.make(DRESSER)


def _wardrobe(maker: Maker) -> Object:
    return maker.make(WARDROBE)


def _storage(maker: Maker, layout: Layout, makes: tuple[Callable[[Maker], Object], ...], area: float) -> None:
    """Along the walls, the more the larger the room."""
    for _ in range(maker.count(1 + int(area / 8), 2 + int(area / 5))):
        layout.against_wall(maker.one(*makes)(maker), front=0.35)


def _small(maker: Maker, layout: Layout, least: int, families: tuple[Family, ...]) -> None:
    """Things on the floor, most of them along the walls, and a lamp in a corner."""
    if least > 1 and maker.chance(0.5):
        layout.against_wall(maker.make(FLOOR_LAMP), gap=0.05, corner=True)
    for _ in range(maker.count(least + 1, least + 4 + int(layout.space.area / 5))):
        thing = pile(maker) if maker.chance(0.08) else maker.make(maker.one(*families))
        if maker.chance(0.75):
            layout.against_wall(thing, gap=maker.between(0.03, 0.2), corner=maker.chance(0.3))
        else:
            layout.anywhere(thing, 0.5)


def _sitting(maker: Maker, layout: Layout) -> None:
    """A sofa with a low table in front, a television across, perhaps an armchair beside."""
    sofa = maker.make(SOFA)
    low, high = sofa.bounds()
    group = maker.group()
    group.put(sofa, np.eye(4))
    table = low_table(maker, min(float(high[0] - low[0]) * 0.6, 1.1))
    out = float(high[1]) + maker.between(0.25, 0.4) - float(table.bounds()[0, 1])
    deep = float(high[1] - low[1])
    if deep < 1.2:  # the long end of others leaves no room before the seats
        group.put(table, place(maker.between(-0.1, 0.1), out, 0, maker.between(-0.06, 0.06)))
    if maker.chance(0.45):
        side = maker.one(-1, 1)
        seat = maker.make(maker.one(ARMCHAIR, EASY_CHAIR))
        beside = float(high[0]) + 0.35
        group.put(seat, place(side * beside, float(high[1]) + 0.45, 0, side * (np.pi / 2 + maker.between(-0.4, 0.2))))
    if not layout.against_wall(group, gap=0.05):
        layout.against_wall(sofa, gap=0.05)
    if maker.chance(0.8):
        layout.against_wall(media_wall(maker), front=PATH)
    if maker.chance(0.3):
        layout.anywhere(maker.make(ARMCHAIR), 0.6)


def _rug(maker: Maker, layout: Layout, share: float) -> None:
    """A rug in the middle; furniture may stand on it, so it takes no room."""
    if not maker.chance(share):
        return
    low, high = maker.one(*layout.space.rectangles)
    size = np.minimum(maker.random.uniform((1.2, 0.9), (2.4, 1.7)), (high - low).min() * 0.75)
    rug = maker.make(RUG, float(size[0]), float(size[1]))
    x, y = ((low + high) / 2 + maker.random.uniform(-0.08, 0.08, 2) * (high - low)).tolist()
    layout.placed.append((rug, place(x, y, 0, maker.one(0.0, np.pi / 2) + float(maker.random.normal(0, 0.05)))))


def make_openings(maker: Maker, layout: Layout, kind: str, entrance: bool) -> list[Window]:
    """A door if the space has an entrance of its own, windows, radiators; gives the windows."""
    if entrance:
        layout.against_wall(maker.make(DOOR, maker.between(0.8, 0.95), maker.between(1.98, 2.1)), gap=0.0, front=0.8)
    windows = []
    most = 1 if layout.space.area < 9 else 2 if layout.space.area < 22 else 3
    for _ in range(maker.count(0 if maker.chance(0.2) or kind == "bathroom" else 1, most)):
        width, height = maker.between(0.8, 1.9), maker.between(0.9, 1.4)
        sill = maker.between(0.75, 1.0)
        if kind == "bathroom":
            width, height, sill = maker.between(0.5, 0.8), maker.between(0.5, 0.8), maker.between(1.25, 1.4)
        height = min(height, layout.space.height - sill - 0.25)
        if layout.against_wall(window_of(maker, width, height, sill), z=sill, gap=0.0):
            windows.append(Window(layout.placed[-1][1], width, height))
            if maker.chance(0.4):
                below = layout.placed[-1][1][:2, 3]
                layout.against_wall(maker.make(RADIATOR, width * maker.between(0.5, 0.9)), gap=0.0, near=below)
    return windows


def decorate(maker: Maker, layout: Layout, kind: str) -> None:
    """Pictures, mirrors, boards with books, clocks, hooks: on the walls, above the furniture."""
    wet = kind == "bathroom"
    if maker.chance(0.4) and not wet:
        layout.against_wall(maker.make(WALL_CLOTHES), gap=0.0)
    if maker.chance(0.35):
        layout.against_wall(maker.make(MIRROR), z=maker.between(0.6, 1.1), gap=0.002)
    for _ in range(maker.count(0, 1) if wet else maker.count(4, 5 + int(layout.space.area / 3))):
        picture = maker.make(PICTURE)
        top = layout.space.height - float(picture.bounds()[1, 2]) - 0.1
        layout.against_wall(picture, z=min(maker.between(0.95, 1.7), top), gap=0.004)
    for _ in range(maker.count(0, 1 if wet else 3)):
        layout.against_wall(maker.make(WALL_SHELF), z=maker.between(1.2, 1.5), gap=0.002)
    for _ in range(maker.count(0, 2)):
        layout.against_wall(maker.make(WALL_THING), z=maker.between(1.3, 1.8), gap=0.0)
    _hang_lamps(maker, layout, kind)


def _hang_lamps(maker: Maker, layout: Layout, kind: str) -> None:
    """A lamp from the ceiling near the middle of each part of the room."""
    low_down = kind not in ("bathroom", "kitchen", "office") and maker.chance(0.6)
    for low, high in layout.space.rectangles:
        drop = maker.between(0.35, 0.75)
        lamp = maker.make(HANGING_LAMP if low_down else CEILING_LAMP, drop)
        for spread in (0.08, 0.2, 0.3):
            x, y = ((low + high) / 2 + maker.random.uniform(-spread, spread, 2) * (high - low)).tolist()
            if layout.put(lamp, place(x, y, layout.space.height - 0.001, maker.one(0.0, np.pi / 2))):
                break
