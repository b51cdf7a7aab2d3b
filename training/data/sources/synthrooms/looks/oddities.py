"""Patterns that only ``shifted`` rooms show, made as those of ``patterns.py`` and ``pictures.py`` are."""

import numpy as np

from .noise import SIZE, Image, Noise, edge, hsv, lit, mix, speckled, step
from .patterns import wood


def herringbone(noise: Noise) -> Image:
    """Parquet of short boards that lie across each other in steps."""
    random = noise.random
    across, along = wood(noise), np.swapaxes(wood(noise), 0, 1)
    size = SIZE // int(random.choice((8, 16)))
    row, column = np.indices((SIZE, SIZE))
    # boards of 1 x 4 units: along a diagonal each is one unit further on
    turn = (column // size - row // size) % 8
    flat = turn < 4
    board = np.where(
        flat, (column // size - turn) * 5 + row // size * 3, (row // size + turn) * 7 + column // size * 11
    )
    tone = random.normal(0, 0.1, 97)[board % 97]
    image = lit(np.where(flat[..., None], across, along), tone)
    x, y = column / size, row / size
    near = np.where(flat, edge(y), edge(x))
    ends = np.where(flat & ((turn == 0) | (turn == 3)), edge(x), np.where((turn == 4) | (turn == 7), edge(y), 1.0))
    return lit(image, -0.5 * (np.minimum(near, ends) * size < 1.0))


def diamonds(noise: Noise) -> Image:
    """Tiles that stand on a corner, of three colours."""
    random = noise.random
    count = int(random.choice((4, 6, 8)))
    x, y = noise.grid()
    u, v = x * count, y * count
    # two grids of centres, half a step apart; the nearer one owns a point
    places = [(np.floor(u + 0.5 - shift) + shift, np.floor(v + 0.5 - shift) + shift) for shift in (0.0, 0.5)]
    distance = [np.hypot(u - cx, v - cy) for cx, cy in places]
    second = distance[1] < distance[0]
    cx, cy = (np.where(second, places[1][axis], places[0][axis]) for axis in (0, 1))
    kind = (2 * cx % (2 * count) * 3 + 2 * cy % (2 * count)).astype(int) % 3
    colors = np.stack([noise.color((0.05, 0.7), (0.2, 0.95)) for _ in range(3)])
    image = lit(colors[kind], 0.05 * noise.field("rough"))
    joint = np.abs(distance[0] - distance[1]) * SIZE / count
    return speckled(noise, mix(image, noise.color((0, 0.1), (0.3, 0.9)), step(2.5 - joint, 1.5)))


def tartan(noise: Noise) -> Image:
    """Cloth of crossing stripes in several colours, twilled."""
    random = noise.random
    x, y = noise.grid()
    count = int(random.integers(1, 4))
    colors = np.stack([noise.color((0.2, 0.9), (0.1, 0.9)) for _ in range(4)])
    stripe = random.integers(0, 4, 24)
    warp, weft = (colors[stripe[(np.floor(axis * count * 24) % 24).astype(int)]] for axis in (x, y))
    twill = (np.sin(2 * np.pi * 48 * (x + y)) > 0).astype(np.float32)
    return lit(mix(warp, weft, twill), 0.06 * noise.field("grain") + 0.05 * noise.field("rough"))


def spotted(noise: Noise) -> Image:
    """Fur with rings and spots."""
    ground = hsv(0.09, noise.random.uniform(0.3, 0.6), noise.random.uniform(0.6, 0.9))
    cell = noise.field("rough") + 0.5 * noise.field("cloud")
    ring = np.exp(-np.square((cell - 0.9) * 5))
    image = mix(mix(ground, ground * 0.7, step(cell - 0.9, 0.2)), hsv(0.07, 0.5, 0.15), 1.2 * ring)
    return lit(image, 0.12 * noise.field("grain"))


def cork(noise: Noise) -> Image:
    """Pressed cork: grains of all browns."""
    image = mix(hsv(0.08, 0.5, 0.75), hsv(0.06, 0.6, 0.45), 0.5 + 0.7 * noise.field("grain"))
    return lit(image, -0.4 * (noise.field("rough") > 1.7) + 0.1 * noise.field("rough"))


def bamboo(noise: Noise) -> Image:
    """Canes side by side, with knots."""
    random = noise.random
    x, y = noise.grid()
    canes = int(random.choice((12, 16, 24)))
    cane = np.floor(x * canes).astype(int)
    base = hsv(random.uniform(0.09, 0.16), random.uniform(0.25, 0.5), random.uniform(0.6, 0.9))
    image = lit(
        np.broadcast_to(base, (SIZE, SIZE, 3)), random.normal(0, 0.07, canes)[cane] + 0.04 * noise.field("rough")
    )
    knot = edge(y * random.integers(2, 4) + random.uniform(0, 1, canes)[cane])
    return lit(image, -0.35 * step(0.012 - knot, 0.02) - 1.6 * np.square((x * canes) % 1 - 0.5))


def cane(noise: Noise) -> Image:
    """Woven cane: strands in four directions, dark where none is."""
    x, y = noise.grid()
    count = int(noise.random.choice((16, 24, 32)))
    strand = np.minimum(edge(x * count), edge(y * count))
    strand = np.minimum(strand, np.minimum(edge((x + y) * count), edge((x - y) * count)))
    ground = hsv(0.1, noise.random.uniform(0.3, 0.5), noise.random.uniform(0.65, 0.9))
    return speckled(noise, mix(ground * 0.25, ground, step(0.13 - strand, 0.06)), 0.05, 0.05)


def concrete(noise: Noise) -> Image:
    """Bare concrete with pores, clouds and the joints of its boarding."""
    random = noise.random
    _, y = noise.grid()
    image = np.broadcast_to(noise.color((0.0, 0.08), (0.4, 0.7)), (SIZE, SIZE, 3))
    image = lit(image, 0.07 * noise.field("cloud") + 0.06 * noise.field("rough") - 0.5 * (noise.field("grain") > 2.7))
    return lit(image, -0.25 * step(1.5 - edge(y * random.integers(2, 5)) * SIZE / 3, 1.0))


def rust(noise: Noise) -> Image:
    """Painted iron, rusted in places."""
    paint = np.broadcast_to(noise.color((0.1, 0.7), (0.3, 0.8)), (SIZE, SIZE, 3))
    decay = noise.field("cloud") + 0.6 * noise.field("rough") - noise.random.uniform(-0.2, 0.8)
    brown = mix(hsv(0.05, 0.75, 0.45), hsv(0.03, 0.7, 0.25), 0.5 + 0.5 * noise.field("grain"))
    return lit(mix(paint, brown, step(decay, 0.25)), 0.08 * noise.field("rough"))


def zigzag(noise: Noise) -> Image:
    """Wallpaper or cloth of zigzag bands."""
    random = noise.random
    x, y = noise.grid()
    teeth, rows = int(random.integers(3, 8)), int(random.integers(4, 9))
    level = y * rows + 2 * edge(x * teeth) * random.uniform(0.5, 1.0)
    colors = np.stack([noise.color((0.1, 0.8), (0.2, 0.95)) for _ in range(rows)])
    return speckled(noise, colors[np.floor(level).astype(int) % rows], 0.04, 0.05)


def chart(noise: Noise) -> Image:
    """A printed chart: curves and bars over a grid."""
    random = noise.random
    x, y = noise.grid()
    image = mix(np.full(3, 0.96), np.full(3, 0.75), step(0.006 - np.minimum(edge(x * 8) / 8, edge(y * 8) / 8), 0.004))
    height = np.repeat(random.uniform(0.05, 0.6, 16), SIZE // 16)
    bar = step(height - (1 - y), 0.01) * (edge(x * 16) > 0.15)
    image = mix(image, noise.color((0.4, 0.9), (0.3, 0.9)), bar)
    for _ in range(int(random.integers(1, 4))):
        curve = 0.5 + 0.15 * noise.field("cloud")[int(random.integers(SIZE))]
        image = mix(image, noise.color((0.5, 1.0), (0.1, 0.8)), step(0.012 - np.abs(y - curve), 0.01))
    return lit(image, 0.02 * noise.field("grain"))


def contours(noise: Noise) -> Image:
    """A map: heights in steps of colour, with lines and roads."""
    height = noise.field("cloud") + 0.25 * noise.field("rough")
    image = mix(
        noise.color((0.2, 0.7), (0.5, 0.9)), noise.color((0.2, 0.7), (0.4, 0.95)), np.floor(height * 3) / 6 + 0.5
    )
    image = mix(image, noise.color((0.4, 0.8), (0.4, 0.8)), step(-height - 0.9, 0.05))
    image = mix(image, np.full(3, 0.25), 0.7 * step(0.05 - edge(height * 5), 0.04))
    return mix(image, noise.color((0.6, 1.0), (0.5, 0.9)), step(0.03 - np.abs(noise.field("cloud")), 0.02))
