"""Procedural textures: square images that repeat without a seam, with detail at several scales.

Every pattern is a function of a ``Noise`` that gives an image as ``noise.py`` says.
"""

import numpy as np

from .noise import SIZE, Image, Noise, bands, edge, hsv, lit, mix, motif, speckled, step


def wood(noise: Noise) -> Image:
    """Boards' grain along x: rings, streaks and a few darker pores."""
    random = noise.random
    hue, depth = random.uniform(0.03, 0.1), random.uniform(0.15, 0.45)
    light = hsv(hue, random.uniform(0.3, 0.65), random.uniform(0.35, 0.9))
    dark = light * hsv(hue - 0.02, 0.35, 1 - depth)
    _, y = noise.grid()
    rings = np.sin(2 * np.pi * (random.integers(3, 9) * y + random.uniform(0.3, 0.9) * noise.field("streak")))
    streak = noise.field("streak")
    image = mix(light, dark, 0.4 + 0.35 * rings + 0.3 * streak)
    return speckled(noise, lit(image, -0.25 * (noise.field("streak") > 1.9)), 0.04, 0.05)


def planks(noise: Noise) -> Image:
    """A wooden floor: rows of boards, each cut from another place, with dark joints."""
    random = noise.random
    rows, across = int(random.choice((4, 6, 8))), int(random.choice((1, 2)))
    image = wood(noise)
    x, y = noise.grid()
    row = (y * rows).astype(int)
    shift = random.uniform(0, 1, rows)[row]
    column = ((x + shift) * across).astype(int) % across
    board = row * across + column
    cut = random.integers(0, SIZE, (rows * across, 2))[board]
    source_y, source_x = np.indices((SIZE, SIZE))
    image = image[(source_y + cut[..., 0]) % SIZE, (source_x + cut[..., 1]) % SIZE]
    image = lit(image, random.normal(0, random.uniform(0.04, 0.14), rows * across)[board])
    joint = np.minimum(edge(y * rows) / rows, edge((x + shift) * across) / across)
    return lit(image, -0.6 * np.clip(1.6 - joint * SIZE, 0, 1))


def weave(noise: Noise) -> Image:
    """Woven cloth: threads, slubs, and stripes, checks, dots, leaves or nothing."""
    random = noise.random
    x, y = noise.grid()
    first = noise.color((0.05, 0.75), (0.25, 0.95))
    second, third = noise.color((0.05, 0.8), (0.2, 0.95)), noise.color((0.1, 0.9), (0.2, 0.95))
    image = np.broadcast_to(first, (SIZE, SIZE, 3))
    kind = random.choice(
        ("plain", "stripes", "checks", "dots", "leaves", "blotches"), p=(0.3, 0.16, 0.16, 0.1, 0.14, 0.14)
    )
    count = int(random.integers(2, 9))
    if kind == "stripes":
        image = mix(image, second, bands(noise, x, count))
        image = mix(image, third, bands(noise, x, count))
    elif kind == "checks":
        image = mix(mix(image, second, 0.6 * bands(noise, x, count)), third, 0.5 * bands(noise, y, count))
    elif kind == "dots":
        row = np.floor(y * 2 * count)
        reach = np.hypot((x * count + 0.5 * (row % 2)) % 1 - 0.5, ((y * 2 * count) % 1 - 0.5) / 2)
        image = mix(image, second, step(random.uniform(0.12, 0.24) - reach, 0.02))
    elif kind == "leaves":
        image = mix(image, second, step(motif(noise, count), 0.15))
        image = mix(image, third, 0.8 * step(motif(noise, count) - 0.6, 0.15))
    elif kind == "blotches":
        image = mix(image, second, step(noise.field("cloud") + 0.3 * noise.field("rough"), 0.2))
    threads = 0.06 * (np.sin(2 * np.pi * 64 * x) + np.sin(2 * np.pi * 64 * y))
    return lit(
        image, threads + 0.04 * noise.field("streak") + 0.05 * noise.field("rough") + 0.05 * noise.field("grain")
    )


def carpet(noise: Noise) -> Image:
    """Pile: strong grain in two or three close colours."""
    first = noise.color((0.05, 0.5), (0.25, 0.8))
    second = np.clip(first + noise.random.normal(0, 0.1, 3), 0, 1)
    image = mix(first, second, 0.5 + 0.6 * noise.field("rough"))
    return lit(image, noise.random.uniform(0.08, 0.2) * noise.field("grain") + 0.08 * noise.field("cloud"))


def tiles(noise: Noise) -> Image:
    """Square or oblong tiles with joints, all alike, chequered, or of stone."""
    random = noise.random
    x, y = noise.grid()
    columns = int(random.choice((2, 3, 4)))
    rows = columns * int(random.choice((1, 1, 2)))
    offset = 0.5 * (np.floor(y * rows) % 2) if random.uniform() < 0.3 and rows % 2 == 0 else np.zeros_like(y)
    tile = (np.floor(y * rows) * columns + np.floor((x * columns + offset) % columns)).astype(int)
    image = (
        marble(noise)
        if random.uniform() < 0.4
        else np.broadcast_to(noise.color((0, 0.4), (0.5, 0.95)), (SIZE, SIZE, 3))
    )
    if random.uniform() < 0.35 and columns % 2 == 0:
        image = mix(image, noise.color((0, 0.6), (0.1, 0.8)), 0.9 * ((np.floor(x * columns) + np.floor(y * rows)) % 2))
    image = lit(image, random.normal(0, random.uniform(0.01, 0.08), rows * columns)[tile])
    joint = np.minimum(edge(x * columns + offset) / columns, edge(y * rows) / rows) * SIZE
    grout = noise.color((0, 0.15), (0.25, 0.9))
    return speckled(noise, mix(image, grout, np.clip(random.uniform(1.5, 3.5) - joint, 0, 1)), 0.02, 0.04)


def bricks(noise: Noise) -> Image:
    """A brick wall, bare or painted."""
    random = noise.random
    x, y = noise.grid()
    columns, rows = 4, 12
    offset = 0.5 * (np.floor(y * rows) % 2)
    brick = (np.floor(y * rows) * columns + np.floor((x * columns + offset) % columns)).astype(int)
    painted = random.uniform() < 0.4
    base = (
        noise.color((0, 0.3), (0.6, 0.95)) if painted else hsv(random.uniform(0, 0.06), random.uniform(0.3, 0.6), 0.6)
    )
    image = lit(np.broadcast_to(base, (SIZE, SIZE, 3)), random.normal(0, 0.04 if painted else 0.14, 48)[brick])
    wobble = 0.6 * noise.field("rough")
    joint = np.minimum(edge(x * columns + offset) / columns, edge(y * rows) / rows) * SIZE + wobble
    image = mix(image, base * 0.8 if painted else hsv(0.1, 0.1, 0.72), 0.9 * np.clip(2.2 - joint, 0, 1))
    return lit(image, 0.07 * noise.field("rough") + 0.06 * noise.field("grain"))


def paint(noise: Noise) -> Image:
    """Painted plaster: roller marks, stains, a few scratches."""
    random = noise.random
    pale = random.uniform() < 0.6
    base = noise.color((0.0, 0.2), (0.75, 0.97)) if pale else noise.color((0.15, 0.65), (0.35, 0.9))
    image = np.broadcast_to(base, (SIZE, SIZE, 3))
    stain = step(noise.field("cloud") - random.uniform(0.9, 2.0), 0.5) * random.uniform(0, 0.3)
    image = mix(image, base * hsv(0.1, 0.3, 0.6), stain)
    scratch = np.clip(np.abs(noise.field("streak").T) - 2.6, 0, 1) * np.clip(noise.field("cloud"), 0, 1)
    return lit(
        image, 0.03 * noise.field("rough") + 0.02 * noise.field("grain") + 0.04 * noise.field("cloud") - 0.3 * scratch
    )


def wallpaper(noise: Noise) -> Image:
    """Stripes or a mirrored motif in close colours on a pale or a deep ground."""
    random = noise.random
    x, _ = noise.grid()
    first = noise.color((0.05, 0.6), (0.35, 0.95))
    second = np.clip(first * random.uniform(0.6, 1.25) + random.normal(0, 0.06, 3), 0, 1)
    count = int(random.integers(2, 6))
    if random.uniform() < 0.35:
        image = mix(mix(first, second, bands(noise, x, count)), noise.color(), 0.7 * bands(noise, x, count, 0.1))
    else:
        image = mix(first, second, step(motif(noise, count), 0.12))
        image = mix(image, noise.color(), 0.5 * step(motif(noise, count) - 0.9, 0.12))
    return speckled(noise, image, 0.02, 0.05)


def marble(noise: Noise) -> Image:
    """Stone with veins."""
    random = noise.random
    base = noise.color((0.0, 0.3), (0.25, 0.95))
    vein = np.exp(-np.abs(noise.field("cloud") + 0.25 * noise.field("rough")) * random.uniform(5, 14))
    image = mix(base, np.clip(base + random.choice((-1, 1)) * random.uniform(0.15, 0.4), 0, 1), vein)
    return speckled(noise, lit(image, 0.06 * noise.field("rough")), 0.02, 0.08)


def terrazzo(noise: Noise) -> Image:
    """Chips of several colours in a ground."""
    image = np.broadcast_to(noise.color((0, 0.25), (0.4, 0.95)), (SIZE, SIZE, 3))
    for _ in range(3):
        chip = 0.6 * noise.field("rough") + 0.5 * noise.field("grain")
        image = mix(image, noise.color((0.1, 0.6), (0.15, 0.95)), step(chip - 1.2, 0.15))
    return speckled(noise, image)


def plastic(noise: Noise) -> Image:
    """Lacquer or plastic: nearly plain, with smudges and wear."""
    image = np.broadcast_to(noise.color((0.0, 0.85), (0.12, 0.95)), (SIZE, SIZE, 3))
    wear = step(noise.field("rough") - 2.2, 0.3)
    image = mix(image, np.clip(image[0, 0] + 0.25, 0, 1), 0.4 * wear)
    return speckled(noise, image, 0.02, 0.04)


def ceramic(noise: Noise) -> Image:
    """Glaze: white or pale, all but plain."""
    image = np.broadcast_to(noise.color((0.0, 0.12), (0.82, 0.97)), (SIZE, SIZE, 3))
    return lit(image, 0.01 * noise.field("grain") + 0.02 * noise.field("cloud"))


def silver(noise: Noise) -> Image:
    """What glass itself looks like, a little dusty."""
    image = np.broadcast_to(noise.color((0.0, 0.1), (0.25, 0.4)), (SIZE, SIZE, 3))
    return lit(image, 0.05 * noise.field("cloud") + 0.02 * noise.field("grain"))


def metal(noise: Noise) -> Image:
    """Brushed metal."""
    image = np.broadcast_to(noise.color((0.0, 0.12), (0.25, 0.8)), (SIZE, SIZE, 3))
    return lit(image, 0.07 * noise.field("streak") + 0.03 * noise.field("grain"))


def leather(noise: Noise) -> Image:
    """Leather: fine cells, creases, worn spots."""
    hue = noise.random.uniform(0.0, 0.1)
    image = np.broadcast_to(hsv(hue, noise.random.uniform(0.1, 0.6), noise.random.uniform(0.15, 0.7)), (SIZE, SIZE, 3))
    crease = np.exp(-np.abs(noise.field("rough")) * 7)
    return lit(image, -0.2 * crease + 0.07 * noise.field("cloud") + 0.06 * noise.field("grain"))


def ceiling(noise: Noise) -> Image:
    """White plaster, panels with joints, or boards."""
    random = noise.random
    x, y = noise.grid()
    image = np.broadcast_to(noise.color((0.0, 0.1), (0.8, 0.97)), (SIZE, SIZE, 3))
    image = lit(image, 0.025 * noise.field("rough") + 0.02 * noise.field("grain"))
    kind = random.choice(("plaster", "panels", "boards"), p=(0.6, 0.25, 0.15))
    if kind == "panels":
        image = lit(image, -0.35 * (noise.field("grain") > 2.0))
        image = lit(image, -0.35 * np.clip(2.0 - np.minimum(edge(2 * x), edge(2 * y)) * SIZE / 2, 0, 1))
    elif kind == "boards":
        image = lit(image, 0.06 * noise.field("streak") - 0.3 * np.clip(2.0 - edge(8 * y) * SIZE / 8, 0, 1))
    return image
