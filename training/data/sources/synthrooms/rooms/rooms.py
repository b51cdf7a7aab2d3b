"""A furnished room, or two with a doorway: walls, what hangs on them, furniture where people would put it, lights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..light.lights import Light, make_lights
from ..looks.materials import Materials, TexturePool
from ..splits import choose
from . import plan as plans
from .furnishing import decorate, furnish, make_openings
from .layout import Layout
from .maker import Maker
from .objects import Object, Part
from .plan import FloorPlan
from .shapes import Array, Shape
from .shell import keep_passage, make_shell


@dataclass(frozen=True, eq=False)
class Room:
    """What is rendered. The origin is the middle of the box around the plan, on the floor, z up.

    Args:
        size: (3,) metres, of the box around the plan.
        plan: Where the floor and the walls are.
        kinds: What kind of room each space of the plan is.
        shape: All triangles; texture coordinates in repeats of their textures.
        part: (F,) int32, which row of the tables below a triangle belongs to.
        texture, tint, specular, shininess, emission, glass: Finishes of the parts.
        semantic, instance: uint8 NYU40 ids and uint16 of the parts.
        pool: Textures.
        lights: One to three a space.
        obstacles: (B, 2, 3) boxes of what stands or hangs in the room.
        variants: The variants of object families in it, as ``family/variant``, sorted.
    """

    size: Array
    plan: FloorPlan
    kinds: tuple[str, ...]
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
    variants: tuple[str, ...]


SIZES = {  # shortest and longest side, metres
    "living": (3.4, 6.0),
    "bedroom": (3.0, 5.0),
    "office": (3.0, 6.0),
    "dining": (3.0, 5.5),
    "kitchen": (2.6, 4.8),
    "bathroom": (2.0, 3.3),
}
ALONE = (
    "living",
    "living",
    "bedroom",
    "bedroom",
    "office",
    "office",
    "dining",
    "kitchen",
    "kitchen",
    "bathroom",
    "bathroom",
)
ANGLED = ("living", "living", "office", "bedroom", "dining", "kitchen")
PAIRS = (
    ("living", "kitchen"),
    ("living", "bedroom"),
    ("living", "office"),
    ("bedroom", "bathroom"),
    ("bedroom", "bathroom"),
    ("bedroom", "office"),
    ("office", "office"),
    ("dining", "kitchen"),
    ("office", "kitchen"),
)


def _make_plan(random: np.random.Generator, split: str) -> tuple[FloorPlan, tuple[str, ...]]:
    """A plan and the kinds of its rooms: half of all are one rectangle, the others an L or two rooms."""
    shape = choose(
        random, split, ("rectangle", "rectangle", "rectangle", "rectangle", "angle", "pair", "pair", "angle")
    )
    if shape == "rectangle":
        kind = choose(random, split, ALONE)
        return plans.rectangle(random, *SIZES[kind]), (kind,)
    if shape == "angle":
        return plans.angle(random), (choose(random, split, ANGLED),)
    kinds = choose(random, split, PAIRS)
    return plans.pair(random, *(SIZES[kind] for kind in kinds)), kinds


def build_room(random: np.random.Generator, split: str = "train") -> Room:
    """A room by chance, of what the split (a key of ``SPLITS``) may have."""
    plan, kinds = _make_plan(random, split)
    materials = Materials(random, split)
    maker = Maker(random, materials, split)
    shell = make_shell(maker, plan, list(kinds))
    layouts = [Layout(random, space) for space in plan.rooms()]
    keep_passage(maker, plan, layouts)
    lights = []
    for index, (layout, kind) in enumerate(zip(layouts, kinds, strict=True)):
        windows = make_openings(maker, layout, kind, entrance=index == 0)
        furnish(maker, layout, kind)
        decorate(maker, layout, kind)
        lamps = [(matrix @ (*lamp, 1))[:3] for thing, matrix in layout.placed for lamp in thing.lamps]
        lights += make_lights(random, split, layout.space, np.array(lamps).reshape(-1, 3), windows)
    placed = [(thing, np.eye(4)) for thing in shell] + [pair for layout in layouts for pair in layout.placed]
    boxes = np.array([box for layout in layouts for box in layout.boxes])
    return _assemble(plan, kinds, materials, placed, lights, boxes)


def _assemble(
    plan: FloorPlan,
    kinds: tuple[str, ...],
    materials: Materials,
    placed: list[tuple[Object, Array]],
    lights: list[Light],
    boxes: Array,
) -> Room:
    parts: list[Part] = []
    instances: list[int] = []
    matrices: list[Array] = []
    following = 1
    for thing, matrix in placed:
        parts += thing.parts
        matrices += [matrix @ part.matrix for part in thing.parts]
        instances += [following + part.instance for part in thing.parts]
        following += thing.instances
    finishes = [part.finish for part in parts]

    def table(name: str, kind: type) -> NDArray:
        return np.array([getattr(finish, name) for finish in finishes], kind)

    return Room(
        size=plan.size,
        plan=plan,
        kinds=kinds,
        shape=_moved(parts, np.array(matrices), table("tile", np.float64)),
        part=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.shape.corners) for part in parts]),
        texture=table("texture", np.int32),
        tint=table("tint", np.float32),
        specular=table("specular", np.float32),
        shininess=table("shininess", np.float32),
        emission=table("emission", np.float32),
        glass=table("glass", np.bool_),
        semantic=np.array([part.label for part in parts], np.uint8),
        instance=np.array(instances, np.uint16),
        pool=materials.pool(),
        lights=lights,
        obstacles=boxes,
        variants=tuple(sorted(set().union(*(thing.variants for thing, _ in placed)))),
    )


def _moved(parts: list[Part], matrices: Array, tiles: Array) -> Shape:
    """All parts as one shape after their motions (P, 4, 4), texture coordinates divided by their tiles (P,)."""
    counts = [len(part.shape.corners) for part in parts]
    part = np.repeat(np.arange(len(parts)), counts)
    rotation = np.ascontiguousarray(matrices[:, :3, :3].transpose(0, 2, 1))[part]
    corners = np.concatenate([one.shape.corners for one in parts]) @ rotation + matrices[part, None, :3, 3]
    normals = np.concatenate([one.shape.normals for one in parts]) @ rotation
    uv = np.concatenate([one.shape.uv for one in parts])
    turned = np.array([one.turned for one in parts])[part]
    uv[turned] = uv[turned][..., ::-1]
    uv = (uv + np.array([one.offset for one in parts])[part, None]) / tiles[part, None, None]
    return Shape(corners, normals, uv)
