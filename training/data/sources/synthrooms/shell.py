"""The room itself: walls, floor, ceiling, door, windows with curtains, and what hangs on the walls."""

import numpy as np

from .furniture import Workshop
from .layout import Layout
from .materials import Materials
from .objects import Object
from .shapes import Array, Shape, box, drape, mat, panel


def make_shell(random: np.random.Generator, materials: Materials, size: Array) -> list[Object]:
    """Walls, floor and ceiling, each an object, and baseboards. The surfaces overlap so that no ray slips between."""
    wide, deep, high = size.tolist()
    slack = 0.02
    floor, ceiling = Object("floor", random), Object("ceiling", random)
    for target, height, kind in ((floor, 0.0, "floor"), (ceiling, high, "ceiling")):
        surface = mat(wide + slack, deep + slack)
        metres = Shape(surface.corners + np.array((0, 0, height)), surface.normals, surface.uv * (wide, deep))
        target.add(metres, materials.pick(kind))
    shell = [floor, ceiling]
    base = materials.pick("wood") if random.uniform() < 0.7 else None
    dado = random.uniform(0.8, 1.2) if random.uniform() < 0.2 else 0.0
    main = materials.pick("wall")
    accent = random.integers(4) if random.uniform() < 0.4 else -1
    layout = Layout(random, size)
    for index in range(4):
        wall = Object("wall", random)
        length = size[index % 2]
        matrix = layout.wall(index, 0.0, 0.0)
        surface = panel(length + slack, high + slack, (0, 0, -slack / 2))
        metres = Shape(surface.corners, surface.normals, surface.uv * (length, high)).moved(matrix)
        wall.add(metres, materials.pick("wall") if index == accent else main)
        if dado:
            wall.add(box((length, 0.024, dado)).moved(matrix), materials.pick("front"))
        if base is not None:
            wall.add(box((length, 0.03, 0.09)).moved(matrix), base)
        shell.append(wall)
    return shell


def make_openings(random: np.random.Generator, materials: Materials, layout: Layout) -> list[Array]:
    """A door, windows with curtains or blinds; gives where the windows are: motions to their lower middle, and size."""
    door = Object("door", random)
    width, height = random.uniform(0.8, 0.95), random.uniform(1.98, 2.1)
    frame = materials.pick("wood")
    door.add(panel(width, height, (0, 0.02, 0)), materials.pick("door"))
    for x in (-1, 1):
        door.add(box((0.07, 0.06, height + 0.07), (x * (width / 2 + 0.035), 0.03, 0)), frame)
    door.add(box((width, 0.06, 0.07), (0, 0.03, height)), frame)
    layout.against_wall(door, gap=0.0, front=0.8)
    windows = []
    for _ in range(int(random.choice((0, 1, 2), p=(0.1, 0.55, 0.35)))):
        width, height = random.uniform(0.8, 1.9), random.uniform(0.9, 1.4)
        sill = random.uniform(0.75, 1.0)
        window = Object("window", random)
        frame = materials.pick("front")
        window.add(panel(width, height, (0, 0.02, 0)), materials.pick("outdoors"))
        for x in (-1, 1):
            window.add(box((0.06, 0.07, height + 0.12), (x * (width / 2 + 0.03), 0.035, -0.06)), frame)
        for z, deep in ((-0.06, 0.11), (height, 0.07)):
            window.add(box((width, deep, 0.06), (0, deep / 2, z)), frame)
        cover = random.choice(("curtain", "blinds", "none"), p=(0.5, 0.25, 0.25))
        if cover == "curtain":
            _curtains(random, materials, window, width, height, sill)
        elif cover == "blinds":
            blinds = Object("blinds", random)
            slat = materials.varied("plastic")
            for z in np.arange(height * random.uniform(0.3, 0.8), height, 0.045).tolist():
                blinds.add(box((width - 0.02, 0.035, 0.004), (0, 0.05, z)), slat)
            window.put(blinds, np.eye(4))
        if layout.against_wall(window, z=sill, gap=0.0):
            _, matrix = layout.placed[-1]
            opening = np.eye(4)
            opening[:3] = matrix[:3]
            opening[3, :3] = width, height, 0.0
            windows.append(opening)
    return windows


def _curtains(
    random: np.random.Generator, materials: Materials, window: Object, width: float, height: float, sill: float
) -> None:
    curtain = Object("curtain", random)
    cloth = materials.pick("curtain")
    length = height + 0.15 + (sill - 0.03 if random.uniform() < 0.4 else 0.1)
    wide = width * random.uniform(0.18, 0.35)
    for x in (-1, 1):
        hung = drape(
            wide,
            length,
            0.03,
            max(3, int(wide * 14)),
            (x * (width / 2 + 0.12 - wide / 2), 0.17, height + 0.15 - length),
        )
        curtain.add(hung, cloth)
    rod = box((width + 0.4, 0.025, 0.025), (0, 0.17, height + 0.14))
    curtain.add(rod, materials.pick("metal"))
    window.put(curtain, np.eye(4))


def decorate(random: np.random.Generator, materials: Materials, workshop: Workshop, layout: Layout) -> None:
    """Pictures, posters, a whiteboard, boards with books: on the walls, above the furniture."""
    for _ in range(int(random.integers(5, 14))):
        picture = Object("picture", random)
        width, height = random.uniform(0.25, 1.0), random.uniform(0.3, 0.9)
        if random.uniform() < 0.6:
            rim = random.uniform(0.015, 0.05)
            picture.add(box((width + 2 * rim, 0.022, height + 2 * rim), (0, 0.011, -rim)), materials.pick("front"))
            picture.add(panel(width, height, (0, 0.023, 0)), materials.pick("poster"))
        else:
            picture.add(panel(width, height), materials.pick("poster"))
        layout.against_wall(picture, z=random.uniform(0.95, max(1.0, layout.size[2] - height - 0.5)), gap=0.004)
    if random.uniform() < 0.3:
        board = Object("whiteboard", random)
        width, height = random.uniform(0.9, 1.6), random.uniform(0.7, 1.0)
        board.add(box((width + 0.04, 0.02, height + 0.04), (0, 0.01, -0.02)), materials.pick("metal"))
        board.add(panel(width, height, (0, 0.021, 0)), materials.pick("paper"))
        layout.against_wall(board, z=1.0, gap=0.0)
    for _ in range(int(random.integers(0, 3))):
        layout.against_wall(workshop.wall_shelf(), z=random.uniform(1.2, 1.5), gap=0.002)
