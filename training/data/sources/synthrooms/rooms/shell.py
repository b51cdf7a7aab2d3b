"""The shell of a plan: floors, ceilings, walls with baseboards and tiles, and the doorway between two rooms.

Surfaces overlap outside of the rooms, and share their edges where a corner juts into one, so that no ray slips between.
"""

import numpy as np

from .bodies import bar
from .layout import Layout
from .maker import Maker
from .objects import Object
from .plan import LINTEL, FloorPlan, Space
from .shapes import Array, Shape, box, join, panel, place, sheet

SLACK = 0.01  # metres that surfaces reach beyond outer corners


def make_shell(maker: Maker, plan: FloorPlan, kinds: list[str]) -> list[Object]:
    """Floors, ceilings and walls of all spaces, of the kinds given; each wall is an object."""
    shell = []
    for space, kind in zip(plan.rooms(), kinds, strict=True):
        shell += _space(maker, plan, space, kind)
    if plan.doorway is not None:
        shell += _passage(maker, plan, plan.doorway)
    return shell


def _level(rectangles: Array, z: float) -> Shape:
    """Level rectangles, texture coordinates in metres of the plan."""
    pieces = []
    for low, high in rectangles:
        x, y = np.meshgrid((low[0] - SLACK, high[0] + SLACK), (low[1] - SLACK, high[1] + SLACK))
        pieces.append(sheet(np.stack((x, y, np.full_like(x, z)), -1), np.stack((x, y), -1)))
    return join(pieces)


def _upright(start: Array, end: Array, low: float, high: float) -> Shape:
    """A wall's face, texture coordinates in metres of the plan; it looks to the left of start -> end."""
    along = (end - start) / np.linalg.norm(end - start)
    corners = np.array([[(*end, low), (*start, low)], [(*end, high), (*start, high)]])
    uv = np.stack((-corners[..., :2] @ along, corners[..., 2]), -1)
    return sheet(corners, uv)


def _juts(segments: Array) -> Array:
    """Whether (S, 2) a wall's start and end are corners that jut into the room."""
    along = segments[:, 1] - segments[:, 0]
    meets = (np.abs(segments[:, None, 1] - segments[None, :, 0]) < 1e-9).all(-1)  # [i, j]: j starts where i ends
    turn = along[:, None, 0] * along[None, :, 1] - along[:, None, 1] * along[None, :, 0]
    outward = meets & (turn < 0)
    return np.stack((outward.any(0), outward.any(1)), -1)


def _space(maker: Maker, plan: FloorPlan, space: Space, kind: str) -> list[Object]:
    wet = kind == "bathroom"
    floor, ceiling = maker.object("floor"), maker.object("ceiling")
    floor.add(_level(space.rectangles, 0.0), maker.finish("tile" if wet and maker.chance(0.7) else "floor"))
    ceiling.add(_level(space.rectangles, space.height), maker.finish("ceiling"))
    base = maker.finish("wood", "front") if maker.chance(0.7) and not wet else None
    dado = maker.between(0.8, 1.2) if maker.chance(0.2) else 0.0
    panelling = maker.finish("front")
    if wet:
        panelling, dado = maker.finish("tile"), maker.one(maker.between(1.1, 2.1), space.height)
    main, accent = maker.finish("wall"), maker.finish("wall")
    favoured = maker.count(0, 3) if maker.chance(0.4) else -1
    # walls in one line, as on both sides of a doorway, are one
    lines: dict[tuple[int, float], Object] = {}
    faces: dict[tuple[int, float], list[Shape]] = {}
    juts = {tuple(segment.ravel()): end for segment, end in zip(plan.segments, _juts(plan.segments), strict=True)}
    for segment in space.segments:
        start, end = segment
        along = np.round((end - start) / np.linalg.norm(end - start))
        side = int(np.round(np.arctan2(along[1], along[0]) / (np.pi / 2))) % 4
        key = side, float(start[1 - side % 2])
        wall = lines.setdefault(key, maker.object("wall"))
        grow = np.where(juts[tuple(segment.ravel())], 0.0, SLACK)
        faces.setdefault(key, []).append(
            _upright(start - grow[0] * along, end + grow[1] * along, -SLACK, space.height + SLACK)
        )
        motion = np.eye(4)
        motion[:2, 0], motion[:2, 1], motion[:2, 3] = along, (-along[1], along[0]), (start + end) / 2
        length = float(np.linalg.norm(end - start))
        if dado:
            wall.add(box((length, 0.024, dado)), panelling, motion)
        if base is not None:
            wall.add(box((length + 0.015, 0.03, 0.09)), base, motion)
    if plan.doorway is not None:
        for start, end in _over(plan.doorway):
            along = np.round((end - start) / np.linalg.norm(end - start))
            side = int(np.round(np.arctan2(along[1], along[0]) / (np.pi / 2))) % 4
            key = side, float(start[1 - side % 2])
            if key in faces:
                faces[key].append(_upright(start, end, LINTEL, space.height + SLACK))
    for key, wall in lines.items():
        wall.add(join(faces[key]), accent if key[0] == favoured else main)
    return [floor, ceiling, *lines.values()]


def _over(doorway: Array) -> list[tuple[Array, Array]]:
    """Start and end of the two faces over a doorway, the rooms to the left."""
    (x0, y0), (x1, y1) = doorway.tolist()
    if x1 - x0 < y1 - y0:  # the wall runs along y
        return [(np.array((x0, y0)), np.array((x0, y1))), (np.array((x1, y1)), np.array((x1, y0)))]
    return [(np.array((x1, y0)), np.array((x0, y0))), (np.array((x0, y1)), np.array((x1, y1)))]


def _passage(maker: Maker, plan: FloorPlan, doorway: Array) -> list[Object]:
    """The inside of the doorway, its threshold, and the boards around it on both sides."""
    lining, sill = maker.object("wall"), maker.object("floor")
    low, high = doorway
    x, y = np.meshgrid((low[0], high[0]), (low[1], high[1]))
    under = np.stack((x, y, np.full_like(x, LINTEL)), -1)[:, ::-1]
    jambs = [_upright(start, end, -SLACK, LINTEL) for start, end in plan.jambs()]
    lining.add(join([*jambs, sheet(under, np.ascontiguousarray(under[..., :2]))]), maker.finish("front", "wall"))
    sill.add(box((*(high - low + 2 * SLACK), 0.006), (*((low + high) / 2), 0)), maker.finish("wood", "metal"))
    frame, look = maker.object("door"), maker.finish("wood", "front")
    wide = maker.between(0.05, 0.1)
    for start, end in _over(doorway):
        along = (end - start) / np.linalg.norm(end - start)
        motion = np.eye(4)
        motion[:2, 0], motion[:2, 1], motion[:2, 3] = along, (-along[1], along[0]), (start + end) / 2
        width = float(np.linalg.norm(end - start))
        sides = [box((wide, 0.04, LINTEL + wide), (s * (width + wide) / 2, 0, 0)) for s in (-1, 1)]
        frame.add(join([*sides, box((width, 0.04, wide), (0, 0, LINTEL))]), look, motion)
    return [lining, sill, frame]


def keep_passage(maker: Maker, plan: FloorPlan, layouts: list[Layout]) -> None:
    """Let nothing stand before a doorway in either room, but perhaps its open leaf."""
    if plan.doorway is None:
        return
    swings = maker.count(0, 1) if maker.chance(0.6) else -1
    for index, (start, end) in enumerate(_over(plan.doorway)):
        along = (end - start) / np.linalg.norm(end - start)
        inward = np.array((-along[1], along[0]))
        middle = (start + end) / 2 + 0.1 * inward
        layout = next(one for one in layouts if _in(one.space, middle))
        if index == swings:
            leaf, width = maker.object("door"), float(np.linalg.norm(end - start)) - 0.02
            side = maker.one(-1, 1)
            leaf.add(box((width, 0.036, LINTEL - 0.02), (width / 2, 0, 0.012)), maker.finish("wood", "front"))
            look = maker.finish("door")
            leaf.add(panel(width, LINTEL - 0.03, (width / 2, 0.019, 0.015)), look)
            leaf.add(panel(width, LINTEL - 0.03, (-width / 2, 0.019, 0.015)), look, place(yaw=np.pi))
            grip = [bar((width - 0.07, y, 1.02), (width - 0.19, y, 1.02), 0.009) for y in (-0.06, 0.06)]
            leaf.add(
                join([*grip, bar((width - 0.07, -0.06, 1.02), (width - 0.07, 0.06, 1.02), 0.009)]),
                maker.finish("metal"),
            )
            hinge = (start if side < 0 else end) + 0.03 * inward
            yaw = float(np.arctan2(inward[1], inward[0])) - side * maker.between(-0.02, 0.15)
            leaf.variants.add("door/open_leaf")
            layout.put(leaf, place(float(hinge[0]), float(hinge[1]), 0.0, yaw))
        corners = np.stack((start - 0.08 * along, end + 0.08 * along))
        bounds = np.array(((*corners.min(0), 0.0), (*corners.max(0), LINTEL + 0.12)))
        layout.keep_free(bounds, inward, 0.75)


def _in(space: Space, point: Array) -> bool:
    return bool(((point >= space.rectangles[:, 0]) & (point <= space.rectangles[:, 1])).all(-1).any())
