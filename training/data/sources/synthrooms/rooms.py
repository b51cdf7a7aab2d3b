"""A furnished room: four walls, what hangs on them, furniture where people would put it, lights, all as triangles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .furnishing import furnish, hang_lamp
from .furniture import Workshop
from .layout import Layout
from .materials import Materials, TexturePool
from .objects import Object, Part
from .shapes import Array, Shape, join
from .shell import decorate, make_openings, make_shell

MOST_LIGHTS = 3


@dataclass(frozen=True, eq=False)
class Light:
    """A light source.

    Args:
        points: (S, 3) samples of its area; each gives an equal share.
        normal: (3,) direction that a flat source faces, or zeros: light to all sides.
        color: (3,) intensity.
    """

    points: Array
    normal: Array
    color: Array


@dataclass(frozen=True, eq=False)
class Room:
    """What is rendered. The origin is the middle of the floor, z up.

    Args:
        size: (3,) metres.
        shape: All triangles; texture coordinates in repeats of their textures.
        part: (F,) int32, which row of the tables below a triangle belongs to.
        texture, tint, specular, shininess, emission, glass: Finishes of the parts.
        semantic, instance: uint8 NYU40 ids and uint16 of the parts.
        pool: Textures.
        lights: One to three.
        obstacles: (B, 2, 3) boxes of what stands or hangs in the room.
    """

    size: Array
    shape: Shape
    part: NDArray[np.int32]
    texture: NDArray[np.int32]
    tint: NDArray[np.float32]
    specular: NDArray[np.float32]
    shininess: NDArray[np.float32]
    emission: NDArray[np.float32]
    glass: NDArray[np.bool_]
    semantic: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    pool: TexturePool
    lights: list[Light]
    obstacles: Array


def build_room(random: np.random.Generator) -> Room:
    """A room by chance."""
    size = np.array((random.uniform(3.0, 6.0), random.uniform(3.0, 6.0), random.uniform(2.4, 3.0)))
    materials = Materials(random)
    workshop = Workshop(random, materials)
    layout = Layout(random, size)
    shell = make_shell(random, materials, size)
    windows = make_openings(random, materials, layout)
    furnish(random, workshop, layout)
    decorate(random, materials, workshop, layout)
    hang_lamp(random, workshop, layout)
    return _assemble(random, materials, layout, shell, windows)


def _lights(random: np.random.Generator, layout: Layout, windows: list[Array]) -> list[Light]:
    """Daylight through the windows and lamps: at least one, at most three."""
    lights = []
    lamps = [matrix @ (*lamp, 1) for thing, matrix in layout.placed for lamp in thing.lamps]
    by_day = bool(windows) and random.uniform() < 0.8
    if by_day:
        tone = np.array((1.0, 1.0, 1.0)) * random.uniform(0.9, 1.1, 3) * random.uniform(2.5, 6.0)
        for window in windows[:2]:
            width, height = window[3, :2]
            across, up = np.meshgrid((-0.25, 0.25), (0.3, 0.75))
            local = np.stack((across * width, np.full_like(across, 0.22), up * height), -1).reshape(-1, 3)
            points = local @ window[:3, :3].T + window[:3, 3]
            lights.append(Light(points, window[:3, 1].copy(), tone * width * height))
    warm = np.array((1.0, random.uniform(0.72, 1.0), random.uniform(0.5, 1.0)))
    for index in random.permutation(len(lamps)).tolist():
        if len(lights) == MOST_LIGHTS:
            break
        point = lamps[index][:3]
        overhead = point[2] > 1.75
        if by_day and not overhead and random.uniform() < 0.5:
            continue
        spread = 0.07 * np.array(((1, 0, 0), (-0.5, 0.87, 0), (-0.5, -0.87, 0)))
        strength = random.uniform(1.5, 4.0) if overhead else random.uniform(0.5, 1.2)
        lights.append(Light(point + (spread if overhead else spread[:1] * 0), np.zeros(3), warm * strength))
    if not lights:
        middle = np.array(((0.0, 0.0, layout.size[2] - 0.15),))
        lights.append(Light(middle, np.zeros(3), warm * 3))
    return lights


def _assemble(
    random: np.random.Generator, materials: Materials, layout: Layout, shell: list[Object], windows: list[Array]
) -> Room:
    parts: list[Part] = []
    instances: list[int] = []
    following = 1
    still = np.eye(4)
    for thing, matrix in [(thing, still) for thing in shell] + layout.placed:
        parts += [Part(part.shape.moved(matrix), part.finish, part.label, part.instance) for part in thing.parts]
        instances += [following + part.instance for part in thing.parts]
        following += thing.instances
    finishes = [part.finish for part in parts]

    def table(name: str, kind: type) -> NDArray:
        return np.array([getattr(finish, name) for finish in finishes], kind)

    counts = [len(part.shape.corners) for part in parts]
    tile = np.repeat(table("tile", np.float64), counts)[:, None, None]
    whole = join([part.shape for part in parts])
    return Room(
        size=layout.size,
        shape=Shape(whole.corners, whole.normals, whole.uv / tile),
        part=np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        texture=table("texture", np.int32),
        tint=table("tint", np.float32),
        specular=table("specular", np.float32),
        shininess=table("shininess", np.float32),
        emission=table("emission", np.float32),
        glass=table("glass", np.bool_),
        semantic=np.array([part.label for part in parts], np.uint8),
        instance=np.array(instances, np.uint16),
        pool=materials.pool(),
        lights=_lights(random, layout, windows),
        obstacles=np.stack(layout.boxes),
    )
