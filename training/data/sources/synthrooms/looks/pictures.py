"""Images that are not repeated: posters and paintings, screens, book spines, the view from a window.

As in ``noise.py``: (SIZE, SIZE, 3) in [0, 1], row 0 at the top. Drawn without fonts, whose outlines differ
from machine to machine.
"""

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from .noise import SIZE, Image, Noise, hsv, lit, mix, speckled


def _canvas(background: Image) -> tuple[Pillow.Image, ImageDraw.ImageDraw]:
    if background.ndim == 1:
        image = Pillow.new("RGB", (SIZE, SIZE), _ink(background))
    else:
        image = Pillow.fromarray((background * np.float32(255)).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def _array(image: Pillow.Image) -> Image:
    return np.asarray(image, np.float32) / 255


def _ink(color: Image) -> tuple[int, int, int]:
    red, green, blue = (int(255 * channel) for channel in color.tolist())
    return red, green, blue


def _text(draw: ImageDraw.ImageDraw, noise: Noise, area: tuple[int, int, int, int], height: int, ink: Image) -> None:
    """Lines of strokes that look like writing from afar."""
    random = noise.random
    left, top, right, bottom = area
    fill = _ink(ink)
    for y in range(top, bottom - height, int(height * 1.8)):
        x, end = left, right - random.integers(0, (right - left) // 2 + 1)
        while x < end:
            width = int(random.integers(1, max(2, height)))
            rise = int(random.integers(0, max(1, height // 3)))
            draw.rectangle((x, y + rise, x + width, y + height), fill=fill)
            x += width + int(random.choice((2, 2, 3, height)))


def landscape(noise: Noise) -> Image:
    """Sky, clouds, ranges of hills, a sun, trees or houses in front."""
    random = noise.random
    _, y = noise.grid()
    sky = mix(noise.color((0.2, 0.8), (0.4, 0.9)), noise.color((0.0, 0.5), (0.7, 1.0)), y * 1.4)
    sky = mix(sky, np.ones(3), 0.6 * np.clip(noise.field("cloud") * 0.7, 0, 1))
    image, draw = _canvas(sky)
    if random.uniform() < 0.5:
        x, top, radius = (int(random.integers(*bounds)) for bounds in ((30, 220), (15, 90), (8, 28)))
        draw.ellipse((x - radius, top - radius, x + radius, top + radius), fill=_ink(hsv(0.12, 0.4, 1.0)))
    for layer in range(int(random.integers(2, 5))):
        ridge = random.uniform(90, 150) + 26 * layer + 12 * noise.field("cloud")[0] + 5 * noise.field("rough")[0]
        outline = [(float(x), float(height)) for x, height in enumerate(ridge)]
        draw.polygon([(0, SIZE), *outline, (SIZE - 1, SIZE)], fill=_ink(noise.color((0.2, 0.7), (0.15, 0.7))))
    for _ in range(int(random.integers(0, 14))):
        x, foot, size = (int(random.integers(*bounds)) for bounds in ((0, SIZE), (170, 250), (8, 40)))
        ink = _ink(noise.color((0.2, 0.8), (0.1, 0.6)))
        if random.uniform() < 0.6:
            draw.rectangle((x - 1, foot - size, x + 1, foot), fill=(60, 45, 35))
            draw.ellipse((x - size // 2, foot - 2 * size, x + size // 2, foot - size // 2), fill=ink)
        else:
            draw.rectangle((x, foot - size, x + size, foot), fill=ink)
            draw.polygon(
                [(x - 3, foot - size), (x + size // 2, foot - 1.6 * size), (x + size + 3, foot - size)], fill=ink
            )
    return lit(_array(image), 0.05 * noise.field("rough") + 0.03 * noise.field("grain"))


def abstract(noise: Noise) -> Image:
    """Overlapping discs, bars, polygons and lines."""
    random = noise.random
    ground = mix(noise.color(), noise.color(), 0.5 + 0.5 * noise.field("cloud"))
    image, draw = _canvas(ground)
    for _ in range(int(random.integers(8, 36))):
        ink = _ink(noise.color((0.1, 0.95), (0.1, 1.0)))
        a, b = random.integers(-30, SIZE + 30, (2, 2))
        low, high = np.minimum(a, b).tolist(), (np.minimum(a, b) + random.integers(6, 90, 2)).tolist()
        kind = random.integers(5)
        if kind == 0:
            draw.ellipse((*low, *high), fill=ink)
        elif kind == 1:
            draw.rectangle((*low, *high), fill=ink)
        elif kind == 2:
            draw.line((*a.tolist(), *b.tolist()), fill=ink, width=int(random.integers(1, 10)))
        elif kind == 3:
            draw.polygon([(int(x), int(y)) for x, y in a + random.integers(-60, 60, (3, 2))], fill=ink)
        else:
            draw.arc((*low, *high), int(random.integers(360)), int(random.integers(360)), fill=ink, width=4)
    return speckled(noise, _array(image), 0.04, 0.06)


def heap(noise: Noise) -> Image:
    """Discs and blocks of all sizes that cover each other, shaded: edges and scales are spread as in photographs."""
    random = noise.random
    count = int(random.integers(120, 260))
    # areas fall off with the cube of the radius (the dead leaves model: Lee, Mumford and Huang, 2001)
    radius = np.minimum(5 / np.sqrt(1 - random.uniform(0, 0.998, count)), 80)
    middle = random.uniform(-20, SIZE + 20, (count, 2))
    palette = np.stack([noise.color((0.0, 0.8), (0.1, 0.95)) for _ in range(12)])
    inks = np.clip(palette[random.integers(0, 12, count)] + random.normal(0, 0.06, (count, 3)), 0, 1)
    corners = random.uniform(0.6, 1.2, (count, 7))
    angle = np.sort(random.uniform(0, 2 * np.pi, (count, 7)), axis=1)
    image, draw = _canvas(palette[0])
    outline = middle[:, None] + (radius[:, None] * corners)[..., None] * np.stack((np.cos(angle), np.sin(angle)), -1)
    round_ones = random.uniform(size=count) < random.uniform(0.2, 0.9)
    for index in range(count):
        (x, y), size, ink = middle[index], radius[index], _ink(inks[index])
        if round_ones[index]:
            draw.ellipse((x - size, y - size, x + size, y + size * corners[index, 0]), fill=ink)
        else:
            draw.polygon([(float(px), float(py)) for px, py in outline[index]], fill=ink)
    return lit(_array(image), 0.25 * noise.field("cloud") + 0.08 * noise.field("rough") + 0.03 * noise.field("grain"))


def blobs(noise: Noise) -> Image:
    """A painting of soft masses in several colours."""
    image: Image = np.broadcast_to(noise.color(), (SIZE, SIZE, 3))
    for _ in range(int(noise.random.integers(3, 8))):
        shape = noise.field("cloud") + 0.3 * noise.field("rough") + 0.2 * noise.field("streak")
        image = mix(image, noise.color((0.1, 0.95), (0.1, 1.0)), (shape - noise.random.uniform(-0.3, 1.2)) * 4)
    return lit(image, 0.08 * noise.field("streak") + 0.05 * noise.field("grain"))


def portrait(noise: Noise) -> Image:
    """A head and shoulders, roughly."""
    random = noise.random
    ground = mix(noise.color(), noise.color(), 0.5 + 0.6 * noise.field("cloud"))
    image, draw = _canvas(ground)
    x, top, width = int(random.integers(95, 160)), int(random.integers(35, 80)), int(random.integers(55, 85))
    skin, hair = (
        hsv(random.uniform(0.03, 0.09), random.uniform(0.25, 0.6), random.uniform(0.3, 0.95)),
        noise.color((0.1, 0.7), (0.05, 0.6)),
    )
    height = int(width * 1.35)
    draw.ellipse((x - width * 1.3, top + height, x + width * 1.3, SIZE + 90), fill=_ink(noise.color()))
    draw.rectangle((x - width // 5, top + height - 20, x + width // 5, top + height + 22), fill=_ink(skin * 0.85))
    draw.ellipse((x - width // 2 - 9, top - 16, x + width // 2 + 9, top + height * 0.75), fill=_ink(hair))
    draw.ellipse((x - width // 2, top, x + width // 2, top + height), fill=_ink(skin))
    for side in (-1, 1):
        eye = x + side * width // 5
        draw.ellipse((eye - 5, top + height * 0.42, eye + 5, top + height * 0.42 + 6), fill=_ink(hair * 0.5))
    draw.line((x, top + height * 0.45, x - 4, top + height * 0.65), fill=_ink(skin * 0.7), width=2)
    draw.line(
        (x - width // 6, top + height * 0.8, x + width // 6, top + height * 0.8),
        fill=_ink(hsv(0.98, 0.6, 0.6)),
        width=3,
    )
    return lit(_array(image), 0.08 * noise.field("rough") + 0.04 * noise.field("grain"))


def page(noise: Noise) -> Image:
    """A poster, magazine or form: a heading, pictures and columns of writing."""
    random = noise.random
    paper = noise.color((0.0, 0.3), (0.75, 1.0)) if random.uniform() < 0.7 else noise.color()
    ink = noise.color((0, 0.9), (0.0, 0.35)) if paper.mean() > 0.5 else noise.color((0, 0.4), (0.8, 1.0))
    image, draw = _canvas(paper)
    _text(draw, noise, (18, 16, SIZE - 18, 60), int(random.integers(12, 26)), noise.color((0.3, 0.9), (0.1, 0.7)))
    for column in range(int(random.integers(1, 4))):
        left = 18 + column * 78
        top = int(random.integers(70, 140))
        if random.uniform() < 0.6:
            picture = ((landscape, abstract, blobs)[random.integers(3)](noise) * 255).astype(np.uint8)
            image.paste(Pillow.fromarray(picture).resize((70, top - 30)), (left, 62))
            top = 62 + top - 26
        _text(draw, noise, (left, top, left + 70, SIZE - 12), int(random.integers(3, 7)), ink)
    return speckled(noise, _array(image), 0.02, 0.02)


def screen(noise: Noise) -> Image:
    """A computer's or a television's picture."""
    random = noise.random
    if random.uniform() < 0.35:
        return landscape(noise)
    image, draw = _canvas(blobs(noise) * 0.7 if random.uniform() < 0.5 else noise.color((0.2, 0.9), (0.1, 0.6)))
    for _ in range(int(random.integers(1, 5))):
        left, top = (int(value) for value in random.integers(4, 130, 2))
        right, bottom = left + int(random.integers(60, 120)), top + int(random.integers(50, 115))
        dark = random.uniform() < 0.4
        draw.rectangle((left, top, right, bottom), fill=(30, 32, 38) if dark else (236, 238, 240))
        draw.rectangle((left, top, right, top + 8), fill=_ink(noise.color()))
        _text(
            draw,
            noise,
            (left + 5, top + 14, right - 4, bottom),
            4,
            noise.color((0.0, 0.9), (0.7, 1.0) if dark else (0.05, 0.5)),
        )
    draw.rectangle((0, SIZE - 12, SIZE, SIZE), fill=(24, 26, 30))
    return _array(image)


def outdoors(noise: Noise) -> Image:
    """What a window shows: sky, trees or houses, bars of the frame."""
    random = noise.random
    bright = random.uniform(0.1, 0.45)  # day is brighter than what the camera is set for
    image = np.clip(bright + (1.1 - bright) * landscape(noise), 0, 1)
    view, draw = _canvas(image)
    frame = _ink(noise.color((0, 0.3), (0.55, 0.95)))
    for index in range(int(random.integers(0, 3))):
        middle = SIZE * (index + 1) // (index + 2)
        draw.rectangle((middle - 5, 0, middle + 5, SIZE), fill=frame)
    if random.uniform() < 0.5:
        height = int(random.integers(60, 190))
        draw.rectangle((0, height - 4, SIZE, height + 4), fill=frame)
    draw.rectangle((0, 0, SIZE - 1, SIZE - 1), outline=frame, width=8)
    return _array(view)


def door(noise: Noise) -> Image:
    """A door leaf with panels and a handle."""
    random = noise.random
    base = noise.color((0.0, 0.6), (0.3, 0.95))
    image, draw = _canvas(base)
    rows, columns = int(random.integers(1, 5)), int(random.integers(1, 3))
    for row in range(rows):
        for column in range(columns):
            left, top = 24 + column * 208 // columns, 16 + row * 226 // rows
            right, bottom = left + 208 // columns - 14, top + 226 // rows - 12
            draw.rectangle(
                (left, top, right, bottom),
                fill=_ink(base * random.uniform(0.85, 1.0)),
                outline=_ink(base * 0.6),
                width=3,
            )
            draw.line((left + 3, bottom - 3, right - 3, bottom - 3), fill=_ink(np.clip(base * 1.25, 0, 1)), width=3)
    draw.ellipse((228, 128, 244, 137), fill=(190, 185, 170), outline=(70, 66, 60))
    grain = 0.05 * noise.field("streak").T if random.uniform() < 0.5 else 0.02 * noise.field("rough")
    return lit(_array(image), grain + 0.02 * noise.field("grain"))


def rug(noise: Noise) -> Image:
    """A carpet with a border and an ornament, or a plain modern one."""
    random = noise.random
    x, y = noise.grid()
    first, second, third = noise.color(), noise.color(), noise.color((0.2, 0.9), (0.1, 0.9))
    across, up = np.abs(x - 0.5) * 2, np.abs(y - 0.5) * 2
    mirror = (across * 180).astype(int), (up * 180).astype(int)
    ornament = (noise.field("cloud") + 0.6 * noise.field("rough"))[mirror]
    image = mix(mix(first, second, ornament * 3), third, (noise.field("rough")[mirror] - 0.8) * 4)
    rim = np.maximum(across, up)
    image = mix(
        image, third, (rim > 0.78) * (0.5 + 0.5 * np.sin(40 * np.pi * (x + y))) + 1.0 * (np.abs(rim - 0.78) < 0.02)
    )
    if random.uniform() < 0.35:
        image = abstract(noise) * 0.6 + 0.4 * first
    return lit(image, 0.1 * noise.field("grain") + 0.06 * noise.field("rough"))


def spines(noise: Noise, columns: int = 16) -> Image:
    """The spines of ``columns`` books side by side."""
    random = noise.random
    image, draw = _canvas(np.zeros(3, np.float32))
    width = SIZE // columns
    for column in range(columns):
        left = column * width
        base, ink = noise.color((0.0, 0.9), (0.1, 0.95)), noise.color((0.0, 0.7), (0.1, 1.0))
        draw.rectangle((left, 0, left + width - 1, SIZE), fill=_ink(base))
        for band in random.integers(8, 248, int(random.integers(0, 5))).tolist():
            draw.rectangle((left, band, left + width - 1, band + int(random.integers(2, 14))), fill=_ink(ink))
        start, stop = int(random.integers(30, 80)), int(random.integers(120, 220))
        for y in range(start, stop, 6):
            draw.rectangle((left + 4, y, left + int(random.integers(8, width - 2)), y + 3), fill=_ink(ink))
    return speckled(noise, _array(image), 0.03, 0.03)


def carton(noise: Noise) -> Image:
    """The side of a cardboard box or a package: tape, a label, print."""
    random = noise.random
    plain = random.uniform() < 0.5
    base = (
        hsv(0.085, random.uniform(0.25, 0.45), random.uniform(0.55, 0.8))
        if plain
        else noise.color((0.2, 0.9), (0.3, 0.95))
    )
    image, draw = _canvas(base)
    draw.rectangle((0, 112, SIZE, 140), fill=_ink(np.clip(base * 1.15, 0, 1)))
    left, top = (int(value) for value in random.integers(20, 120, 2))
    draw.rectangle((left, top, left + 90, top + 64), fill=(232, 230, 224))
    _text(draw, noise, (left + 6, top + 6, left + 84, top + 60), 6, noise.color((0, 0.8), (0.05, 0.5)))
    _text(draw, noise, (16, 190, 240, 246), 16, base * 0.5)
    return lit(_array(image), 0.04 * noise.field("streak") + 0.03 * noise.field("rough"))


POSTERS = (landscape, abstract, blobs, portrait, page, heap, heap)
