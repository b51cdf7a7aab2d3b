"""Which furniture a room has and where: by the kind of room, as people would put it."""

from collections.abc import Callable

import numpy as np

from .furniture import Workshop
from .layout import Layout
from .objects import Object
from .shapes import box, mat, place

PATH = 0.55  # metres that people leave free in front of furniture


def furnish(random: np.random.Generator, workshop: Workshop, layout: Layout) -> None:
    """What the kind of room asks for, then storage, then small things, while there is room and floor to walk on."""
    kind = random.choice(("living", "bedroom", "office", "dining"))
    area = float(layout.size[0] * layout.size[1])
    if kind == "bedroom":
        for _ in range(3):  # not every bed fits every room
            if layout.against_wall(workshop.bed(), gap=0.08, front=0.4):
                break
    if kind == "living" or (kind == "dining" and area > 20 and random.uniform() < 0.4):
        _sitting(random, workshop, layout)
    if (
        kind == "office"
        or (kind == "bedroom" and random.uniform() < 0.5)
        or (kind == "living" and random.uniform() < 0.25)
    ):
        for _ in range(2 if kind == "office" and area > 15 else 1):
            layout.against_wall(workshop.desk(), gap=0.03)
    if kind == "dining" or (kind == "living" and area > 16 and random.uniform() < 0.6):
        layout.anywhere(workshop.dining(), 1.0)
    if kind == "dining":
        width = random.uniform(1.2, min(2.6, layout.size[:2].min() - 0.6))
        layout.against_wall(workshop.cabinet(width, 0.6, 0.87, "counter", 6), front=PATH)
        if random.uniform() < 0.7:
            layout.against_wall(workshop.cabinet(0.62, 0.65, random.uniform(1.5, 1.9), "refrigerator"), front=PATH)

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    storage: tuple[Callable[[], Object], ...] = (
        workshop.shelf,
        workshop.shelf,
        lambda: workshop.cabinet(between(0.8, 1.8), between(0.5, 0.62), between(1.7, 2.15)),
        lambda: workshop.cabinet(between(0.8, 1.4), between(0.4, 0.5), between(0.7, 1.05), "dresser", 4),
        lambda: workshop.table(between(0.7, 1.2), between(0.35, 0.45), between(0.65, 0.8)),
    )
    layout.against_wall(workshop.shelf(), front=0.4)
    for _ in range(int(random.integers(2, 3 + int(area / 5)))):
        layout.against_wall(storage[random.integers(len(storage))](), front=0.3)
    if random.uniform() < 0.5:
        layout.against_wall(workshop.floor_lamp(), gap=0.05, corner=True)
    small: tuple[Callable[[], Object], ...] = (
        lambda: workshop.plant(between(0.6, 1.4)),
        workshop.carton,
        workshop.bin,
        workshop.bag,
        workshop.stool,
        workshop.chair,
        workshop.pile,
    )
    if area > 22 and kind != "dining" and random.uniform() < 0.6:
        layout.anywhere(workshop.dining() if random.uniform() < 0.5 else workshop.sofa(), 1.0)
    for _ in range(int(random.integers(4, 11))):
        thing = small[random.integers(len(small))]()
        if random.uniform() < 0.75:
            layout.against_wall(thing, gap=float(random.uniform(0.03, 0.2)), corner=bool(random.uniform() < 0.3))
        else:
            layout.anywhere(thing, 0.5)
    if random.uniform() < 0.4:
        _rug(random, workshop, layout)


def _sitting(random: np.random.Generator, workshop: Workshop, layout: Layout) -> None:
    """A sofa with a low table in front, a television across, perhaps an armchair."""
    sofa = workshop.sofa()
    low, high = sofa.bounds()
    width = float(high[0] - low[0])
    table = workshop.table(min(width * 0.6, 1.1), float(random.uniform(0.45, 0.65)), float(random.uniform(0.38, 0.48)))
    group = Object("sofa", random)
    group.instances = 0
    group.put(sofa, np.eye(4))
    group.put(
        table, place(float(random.normal(0, 0.06)), float(high[1]) + 0.32 + 0.3, 0, float(random.normal(0, 0.05)))
    )
    if not layout.against_wall(group, gap=0.05):
        layout.against_wall(sofa, gap=0.05)
    if random.uniform() < 0.8:
        layout.against_wall(workshop.television(), front=PATH)
    if random.uniform() < 0.4:
        layout.anywhere(workshop.sofa(), 0.6)


def _rug(random: np.random.Generator, workshop: Workshop, layout: Layout) -> None:
    """A rug in the middle; furniture may stand on it, so it takes no room."""
    width, depth = random.uniform(1.2, 2.2), random.uniform(0.9, 1.6)
    rug = Object("floor_mat", random)
    rug.add(mat(width, depth, (0, 0, 0.008)), workshop.materials.pick("rug"))
    rug.add(box((width, depth, 0.007)), workshop.materials.pick("cloth"))
    x, y = (random.uniform(-0.15, 0.15, 2) * layout.size[:2]).tolist()
    layout.placed.append((rug, place(x, y, 0, float(random.choice((0, np.pi / 2)) + random.normal(0, 0.06)))))


def hang_lamp(random: np.random.Generator, workshop: Workshop, layout: Layout) -> None:
    """A lamp from the ceiling near the middle, or over the largest table if it hangs low."""
    drop = float(random.choice((0.1, random.uniform(0.4, 0.8))))
    lamp = workshop.ceiling_lamp(drop)
    for spread in (0.08, 0.2, 0.3):
        x, y = (random.uniform(-spread, spread, 2) * layout.size[:2]).tolist()
        if layout.put(lamp, place(x, y, float(layout.size[2]) - 0.001)):
            return
