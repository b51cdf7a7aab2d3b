"""What hangs on walls: pictures, mirrors, boards, clocks, hooks with clothes. Their back is the wall, y = 0."""

import numpy as np

from ..rooms.bodies import bar, cushion, cylinder, loft, oval
from ..rooms.maker import Family, Maker
from ..rooms.objects import Object
from ..rooms.shapes import box, join, panel, place, sheet


def _sizes(maker: Maker) -> tuple[float, float]:
    return maker.between(0.25, 1.0), maker.between(0.3, 0.9)


def framed(maker: Maker) -> Object:
    """A picture in a frame, some with a mount."""
    picture, (width, height) = maker.object("picture"), _sizes(maker)
    rim = maker.between(0.015, 0.05)
    if maker.chance(0.4):
        inner = max(0.04, 0.15 * min(width, height))
        picture.add(panel(width, height, (0, 0.014, 0)), maker.finish("ceramic", "cloth"))
        picture.add(panel(width - 2 * inner, height - 2 * inner, (0, 0.016, inner)), maker.finish("poster"))
    else:
        picture.add(panel(width, height, (0, 0.014, 0)), maker.finish("poster"))
    sides = [box((rim, 0.025, height + 2 * rim), (x, 0.0125, -rim)) for x in (-(width + rim) / 2, (width + rim) / 2)]
    picture.add(
        join([*sides, *(box((width, 0.025, rim), (0, 0.0125, z)) for z in (-rim, height))]),
        maker.finish("front", "wood", "metal"),
    )
    return picture


def poster(maker: Maker) -> Object:
    """A poster without a frame."""
    picture = maker.object("picture")
    picture.add(panel(*_sizes(maker), (0, 0.003, 0)), maker.finish("poster"))
    return picture


def canvas(maker: Maker) -> Object:
    """A canvas on a stretcher."""
    picture, (width, height) = maker.object("picture"), _sizes(maker)
    picture.add(box((width, 0.035, height), (0, 0.0175, 0)), maker.finish("cloth"))
    picture.add(panel(width, height, (0, 0.036, 0)), maker.finish("poster"))
    return picture


def group_of_frames(maker: Maker) -> Object:
    """Several small frames in rows."""
    group, columns, rows, size = maker.group(), maker.count(2, 4), maker.count(1, 2), maker.between(0.16, 0.26)
    for column in range(columns):
        for row in range(rows):
            picture = maker.object("picture")
            picture.add(box((size, 0.02, size * 1.3), (0, 0.01, 0)), maker.finish("front", "wood"))
            picture.add(panel(size - 0.04, size * 1.3 - 0.04, (0, 0.0205, 0.02)), maker.finish("poster"))
            group.put(picture, place((column - (columns - 1) / 2) * size * 1.3, 0, row * size * 1.6))
    return group


def medallion(maker: Maker) -> Object:
    """A round picture or plate."""
    picture, radius = maker.object("picture"), maker.between(0.15, 0.35)
    picture.add(bar((0, 0, radius), (0, 0.02, radius), radius, segments=28), maker.finish("wood", "metal"))
    angle = np.linspace(0, 2 * np.pi, 29)
    ring = np.stack((np.cos(angle), np.zeros(29), np.sin(angle)), -1) * radius * 0.85
    face = np.stack((np.zeros_like(ring), ring)) - (0, -0.0205, -radius)
    picture.add(sheet(face, face[..., (0, 2)] / (2 * radius) + (0.5, 0.0)), maker.finish("poster"))
    return picture


def banner(maker: Maker) -> Object:
    """A hanging cloth between two sticks."""
    picture, width, height = maker.object("picture"), maker.between(0.4, 0.8), maker.between(0.8, 1.2)
    picture.add(panel(width, height, (0, 0.01, 0)), maker.finish("rug", "poster"))
    picture.add(
        join([bar((-width / 2 - 0.03, 0.012, z), (width / 2 + 0.03, 0.012, z), 0.012) for z in (0, height)]),
        maker.finish("wood"),
    )
    return picture


PICTURE = Family("picture", (framed, framed, framed, poster, canvas, group_of_frames), (medallion, banner))


def framed_mirror(maker: Maker) -> Object:
    """A rectangular mirror, wide, or tall enough to see oneself."""
    mirror = maker.object("mirror")
    width, height = maker.one((0.5, 1.3), (0.6, 0.8), (0.9, 0.6))
    rim = maker.between(0.02, 0.07)
    mirror.add(box((width + 2 * rim, 0.025, height + 2 * rim), (0, 0.0125, 0)), maker.finish("wood", "front", "metal"))
    mirror.add(panel(width, height, (0, 0.026, rim)), maker.finish("mirror"))
    return mirror


def round_mirror(maker: Maker) -> Object:
    """A round mirror in a thin frame."""
    mirror, radius = maker.object("mirror"), maker.between(0.2, 0.4)
    mirror.add(bar((0, 0, radius), (0, 0.02, radius), radius, segments=32), maker.finish("metal", "wood"))
    mirror.add(bar((0, 0.015, radius), (0, 0.022, radius), radius * 0.93, segments=32), maker.finish("mirror"))
    return mirror


def sunburst(maker: Maker) -> Object:
    """A round mirror with rays around it."""
    mirror, radius = maker.object("mirror"), maker.between(0.14, 0.2)
    middle, rays = 2 * radius, []
    for angle in (np.arange(16) * np.pi / 8).tolist():
        out = np.array((np.cos(angle), 0, np.sin(angle)))
        long = radius * maker.one(1.6, 1.9)
        rays.append(
            bar((0, 0.01, middle) + out * radius * 0.9, (0, 0.01, middle) + out * long, 0.012, 0.004, segments=5)
        )
    mirror.add(join(rays), maker.finish("metal", "wood"))
    mirror.add(bar((0, 0, middle), (0, 0.025, middle), radius, segments=28), maker.finish("mirror"))
    return mirror


MIRROR = Family("mirror", (framed_mirror, framed_mirror, round_mirror), (sunburst,))


def white_board(maker: Maker) -> Object:
    """A whiteboard with a tray, drawn upon or empty."""
    board, width, height = maker.object("whiteboard"), maker.between(0.8, 1.8), maker.between(0.6, 1.1)
    board.add(
        join(
            [
                box((width + 0.04, 0.02, height + 0.04), (0, 0.01, -0.02)),
                box((width * 0.5, 0.07, 0.015), (0, 0.035, -0.03)),
            ]
        ),
        maker.finish("metal"),
    )
    board.add(panel(width, height, (0, 0.021, 0)), maker.finish("paper", "ceramic"))
    return board


def flip_chart(maker: Maker) -> Object:
    """A board on three legs; it stands on the floor."""
    board, width, height, metal = maker.object("whiteboard"), 0.7, 1.0, maker.finish("metal")
    legs = [bar((x, 0.42, 0), (x * 0.8, 0.22, 1.75), 0.012) for x in (-width / 2, width / 2)]
    board.add(join([*legs, bar((0, 0.02, 0), (0, 0.2, 1.6), 0.012)]), metal)
    lean = np.eye(4)
    lean[1:3, 1:3] = (0.993, -0.115), (0.115, 0.993)
    lean[1:3, 3] = 0.33, 0.75
    board.add(box((width, 0.02, height), (0, 0, 0)), metal, lean)
    board.add(panel(width - 0.04, height - 0.06, (0, 0.012, 0.02)), maker.finish("paper"), lean)
    return board


WHITEBOARD = Family("whiteboard", (white_board,))
FLIP_CHART = Family("flip chart", (flip_chart,))


def wall_clock(maker: Maker) -> Object:
    """A round clock."""
    clock, radius = maker.object("otherprop"), maker.between(0.11, 0.2)
    clock.add(bar((0, 0, radius), (0, 0.035, radius), radius, segments=28), maker.dyed("plastic", "metal", "wood"))
    clock.add(bar((0, 0.03, radius), (0, 0.037, radius), radius * 0.88, segments=28), maker.finish("ceramic"))
    hands = [
        bar((0, 0.04, radius), (radius * np.cos(a) * s, 0.04, radius * (1 + np.sin(a) * s)), 0.006, segments=4)
        for a, s in ((maker.between(0, 6), 0.75), (maker.between(0, 6), 0.5))
    ]
    clock.add(join(hands), maker.dyed("metal"))
    return clock


def notice_board(maker: Maker) -> Object:
    """A board of cork with notes on it."""
    board, width, height = maker.object("otherprop"), maker.between(0.5, 1.0), maker.between(0.4, 0.7)
    board.add(box((width, 0.02, height), (0, 0.01, 0)), maker.finish("wood", "cloth"))
    for _ in range(maker.count(3, 8)):
        note = maker.object("paper")
        size = maker.between(0.08, 0.2)
        x, z = maker.between(-0.5, 0.5) * (width - size), maker.between(0, 1) * (height - size * 1.2)
        note.add(panel(size, size * 1.2), maker.finish("paper", "poster"))
        board.put(note, place(x, maker.between(0.021, 0.027), max(0.0, z)))
    return board


def calendar(maker: Maker) -> Object:
    """A sheet or calendar on the wall."""
    leaf, width = maker.object("paper"), maker.between(0.21, 0.4)
    leaf.add(panel(width, width * maker.between(1.2, 1.5), (0, 0.004, 0)), maker.finish("paper"))
    return leaf


WALL_THING = Family("wall thing", (wall_clock, notice_board, calendar))


def _jacket(maker: Maker, long: float) -> Object:
    """A coat or jacket that hangs: its shoulders at z = 0, with sleeves."""
    cloth, look = maker.object("clothes"), maker.finish("cloth")
    rings = [oval((0.12 + 0.06 * a, 0.05 + 0.02 * a), -long * a, 0.09, 3, 16) for a in (1.0, 0.7, 0.35, 0.12)]
    cloth.add(loft([*rings, oval((0.04, 0.03), 0.0, 0.08, 2, 16)]), look)
    cloth.add(join([bar((x * 0.7, 0.09, -0.1), (x, 0.1, -long * 0.75), 0.05, 0.04) for x in (-0.2, 0.2)]), look)
    return cloth


def hooks(maker: Maker) -> Object:
    """A board with hooks, jackets and bags on some of them."""
    group, rack, count = maker.group(), maker.object("otherprop"), maker.count(2, 5)
    width = count * 0.28
    rack.add(box((width, 0.02, 0.1), (0, 0.01, 1.55)), maker.finish("wood", "front", "metal"))
    places = [((i + 0.5) / count - 0.5) * width for i in range(count)]
    rack.add(join([bar((x, 0.02, 1.58), (x, 0.09, 1.61), 0.008) for x in places]), maker.finish("metal"))
    group.put(rack, np.eye(4))
    for x in places:
        if maker.chance(0.75):
            group.put(_jacket(maker, maker.between(0.65, 1.0)), place(x, 0.0, 1.56, maker.between(-0.15, 0.15)))
    return group


def coat_stand(maker: Maker) -> Object:
    """A pole with arms, coats on them."""
    group, pole, look = maker.group(), maker.object("otherfurniture"), maker.finish("wood", "metal")
    height, angles = maker.between(1.65, 1.8), (np.arange(4) * np.pi / 2 + 0.3).tolist()
    pieces = [cylinder(0.02, height, segments=10)]
    for angle in angles:
        x, y = 0.14 * np.cos(angle), 0.14 * np.sin(angle)
        pieces += [
            bar((0, 0, height - 0.12), (x, y, height - 0.03), 0.01),
            bar((0, 0, 0.2), (1.8 * x, 1.8 * y, 0), 0.014),
        ]
    pole.add(join(pieces), look)
    group.put(pole, np.eye(4))
    for angle in angles[: maker.count(1, 3)]:
        group.put(
            _jacket(maker, maker.between(0.7, 1.0)),
            place(0.05 * np.cos(angle), 0.05 * np.sin(angle), height - 0.08, angle - np.pi / 2),
        )
    return group


def heap(maker: Maker) -> Object:
    """Clothes that somebody dropped."""
    cloth = maker.object("clothes")
    for index in range(maker.count(1, 3)):
        size = (maker.between(0.25, 0.5), maker.between(0.2, 0.4), maker.between(0.05, 0.1))
        turn = place(maker.between(-0.1, 0.1), maker.between(-0.1, 0.1), 0.03 * index, maker.between(0, 3))
        cloth.add(cushion(size, radius=0.03, bulge=maker.between(0.3, 1.0)), maker.finish("cloth"), turn)
    return cloth


def drying_rack(maker: Maker) -> Object:
    """A folding rack with washing on it."""
    group, frame, metal = maker.group(), maker.object("otherfurniture"), maker.finish("metal", "plastic")
    long, high = maker.between(0.9, 1.2), 0.95
    lines = [
        bar((-long / 2, y, high), (long / 2, y, high), 0.005, segments=5) for y in np.linspace(-0.27, 0.27, 7).tolist()
    ]
    legs = [bar((x, y, 0), (x, -y, high), 0.012) for x in (-long / 2, long / 2) for y in (-0.27, 0.27)]
    frame.add(join(lines + legs), metal)
    group.put(frame, np.eye(4))
    for y in (-0.27, -0.09, 0.09, 0.27):
        if maker.chance(0.7):
            cloth, wide, low = maker.object("clothes"), maker.between(0.3, 0.7), maker.between(0.3, 0.55)
            cloth.add(box((wide, 0.012, low), (0, 0, high - low + 0.01)), maker.finish("cloth"))
            group.put(cloth, place(maker.between(-0.5, 0.5) * (long - wide), y))
    return group


WALL_CLOTHES = Family("clothes on the wall", (hooks,))
CLOTHES = Family("clothes", (coat_stand, heap, heap), (drying_rack,))
