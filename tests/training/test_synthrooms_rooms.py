"""Synthetic rooms before they are rendered: shapes, floor plans, families of objects, where they stand, splits."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from pri3d_zoo.training.data.nyu40 import NYU40_IDS
from pri3d_zoo.training.data.sources.synthrooms import splits
from pri3d_zoo.training.data.sources.synthrooms.looks.materials import Finish
from pri3d_zoo.training.data.sources.synthrooms.rooms import bodies, furnishing, layout, maker, plan, rooms, shapes
from pri3d_zoo.training.errors import InputError

NAMES = {number: name for name, number in NYU40_IDS.items()}
SHELL = [NYU40_IDS[name] for name in ("wall", "floor", "ceiling")]
SEEDS = range(40)


class Grey:
    """Stands in for ``Materials``: what is made of what takes most of the time and does not matter here."""

    def __init__(self, random: np.random.Generator, split: str) -> None:
        del random, split

    def pick(self, kind: str) -> Finish:
        return Finish(texture=0, tile=1.0 if kind in ("poster", "screen", "spines") else 0.5)

    varied = pick

    def pool(self) -> None:
        return None


@pytest.fixture(autouse=True, scope="module")
def grey() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "Materials", Grey)
        yield
    room.cache_clear()


@cache
def room(seed: int, split: str = "train") -> rooms.Room:
    return rooms.build_room(np.random.default_rng((seed, 0)), split)


def instances(label: str, seeds: range = SEEDS) -> Iterator[tuple[rooms.Room, NDArray]]:
    """All points (N, 3) of each instance of a class, and its room."""
    for seed in seeds:
        here = room(seed)
        owner = here.instance[here.part]
        for number in np.unique(here.instance[here.semantic == NYU40_IDS[label]]):
            yield here, here.shape.corners[owner == number].reshape(-1, 3)


# ---- shapes


SMALL = 1e-9


@pytest.mark.parametrize(
    ("make", "volume"),
    [
        (lambda: shapes.box((1, 2, 3)), 6.0),
        (lambda: shapes.box((1, 1, 1), taper=0.5), 7 / 12),  # a pyramid's frustum: (1 + 1/2 + 1/4) / 3
        (lambda: bodies.cylinder(1, 2, segments=400), 2 * np.pi),
        (lambda: bodies.cylinder(1, 3, top=0.0, segments=400), np.pi),
        (lambda: bodies.ball(1, segments=120), 4 / 3 * np.pi),
        (lambda: bodies.cushion((2, 2, 2), radius=0.9999, steps=30), 4 / 3 * np.pi),  # all but a sphere
        (lambda: bodies.cushion((1, 1, 1), radius=0.01), 1.0),
        (lambda: bodies.bar((0, 0, 0), (0, 3, 4), 0.1, segments=200), 0.05 * np.pi),
        (lambda: bodies.bar((1, 2, 0), (3, 3, 2), 0.1, segments=200), 0.03 * np.pi),
        (
            lambda: bodies.loft(
                [bodies.oval((r, 2 * r), z, count=200) for r, z in ((SMALL, 0), (1, 0), (1, 3), (SMALL, 3))]
            ),
            6 * np.pi,
        ),
        # a half torus: its open ends lie in a plane through the origin and add nothing
        (lambda: bodies.tube(bodies.arc((0, 0, 0), (1, 0, 0), (0, 0, 1), 0, np.pi, 90), 0.1, 90), 0.01 * np.pi**2),
    ],
)
def test_shapes_are_closed_and_look_outward(make: Callable[[], shapes.Shape], volume: float) -> None:
    shape = make()
    a, b, c = shape.corners.transpose(1, 0, 2)
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(volume, rel=0.02)
    geometric = np.cross(b - a, c - a)
    solid = np.linalg.norm(geometric, axis=1) > 1e-9
    assert (np.einsum("fi,fki->fk", geometric, shape.normals)[solid] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=-1)[solid], 1, atol=1e-6)


def test_panels_look_forward_and_mats_up_with_pictures_the_right_way_round() -> None:
    upright, level = shapes.panel(2, 3, (0, 1, 0)), shapes.mat(2, 4)
    for shape, axis in ((upright, 1), (level, 2)):
        a, b, c = shape.corners.transpose(1, 0, 2)
        np.testing.assert_allclose(shapes.unit(np.cross(b - a, c - a)), np.tile(np.eye(3)[axis], (2, 1)), atol=1e-12)
    for corner, uv in zip(upright.corners.reshape(-1, 3), upright.uv.reshape(-1, 2), strict=True):
        # somebody who looks against +y has +x on the left
        np.testing.assert_allclose(corner, (1 - 2 * uv[0], 1, 3 * uv[1]))


# ---- floor plans


def shoelace(segments: NDArray) -> float:
    (x0, y0), (x1, y1) = segments[:, 0].T, segments[:, 1].T
    return float((x0 * y1 - x1 * y0).sum() / 2)


def test_the_outline_of_an_l_is_what_one_draws() -> None:
    corners = [(0, 0), (4, 0), (4, 2), (1, 2), (1, 5), (0, 5)]  # counter-clockwise
    found = plan.outline(np.array((((0, 0), (4, 2)), ((0, 0), (1, 5))), float))
    assert {(tuple(a), tuple(b)) for a, b in found.tolist()} == set(
        zip(corners, corners[1:] + corners[:1], strict=True)
    )


def test_clearance_and_nearest_of_two_rooms_by_hand() -> None:
    # 4 x 4 and 3 x 4 metres, a doorway of one metre in a wall of 0.12
    one, other = np.array((((0, 0), (4, 4.0)),)), np.array((((4.12, 0), (7.12, 4.0)),))
    both = plan.FloorPlan((one, other), 2.5, np.array(((4, 1), (4.12, 2.0))))
    points = np.array(((2, 2), (4.06, 1.5), (4.06, 3), (4.06, 1.1), (-1, 2), (3.5, 1.5), (6.12, 2)))
    expected = (2, 0.5, -0.06, 0.1, -1, np.hypot(0.5, 0.5), 1)
    np.testing.assert_allclose(both.clearance(points), expected, atol=1e-12)
    np.testing.assert_array_equal(both.contains(points), np.array(expected) > 0)
    moved = both.nearest(np.array(((-1, 2), (2, 2), (4.06, 1.5), (4.06, 1.1))), margin=0.3)
    np.testing.assert_allclose(moved, ((0.3, 2), (2, 2), (4.06, 1.5), (4.06, 1.3)))
    assert [len(space.segments) for space in both.rooms()] == [5, 5]
    assert len(both.jambs()) == 2
    assert shoelace(both.segments) == pytest.approx(16 + 12 + 0.12)
    np.testing.assert_allclose(both.size, (7.12, 4, 2.5))


@pytest.mark.parametrize(
    "make", [lambda r: plan.rectangle(r, 3, 6), plan.angle, lambda r: plan.pair(r, (3, 5), (2, 4))]
)
def test_plans_are_centred_and_walled_all_around(make: Callable[[np.random.Generator], plan.FloorPlan]) -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        here = make(random)
        np.testing.assert_allclose(here.rectangles[:, 0].min(0), -here.size[:2] / 2)
        np.testing.assert_allclose(here.rectangles[:, 1].max(0), here.size[:2] / 2)
        np.testing.assert_allclose((here.segments[:, 1] - here.segments[:, 0]).sum(0), 0, atol=1e-9)
        passage = 0.0 if here.doorway is None else float(np.prod(here.doorway[1] - here.doorway[0]))
        assert shoelace(here.segments) == pytest.approx(sum(space.area for space in here.rooms()) + passage)
        points = random.uniform(-here.size[:2] / 2, here.size[:2] / 2, (200, 2))
        inner = here.nearest(points, 0.2)
        assert here.contains(inner).all()
        stays = here.clearance(points) > 0.4
        np.testing.assert_allclose(inner[stays], points[stays], atol=0.4)


@pytest.mark.slow
def test_all_kinds_of_plans_and_rooms_occur() -> None:
    shapes_of = Counter((len(room(seed).plan.spaces), len(room(seed).plan.rectangles)) for seed in SEEDS)
    assert set(shapes_of) == {(1, 1), (1, 2), (2, 3)}  # a rectangle, an L, two rooms
    assert min(shapes_of.values()) > len(SEEDS) / 10
    assert {kind for seed in SEEDS for kind in room(seed).kinds} == set(furnishing.ROOMS)


@pytest.mark.slow
def test_no_ray_from_inside_escapes() -> None:
    random = np.random.default_rng(0)
    for seed in SEEDS:
        here = room(seed)
        bare = here.shape.corners[np.isin(here.semantic[here.part], SHELL)].astype(np.float32)
        scene = EmbreeScene(robust=True)
        TriangleMesh(scene, bare.reshape(-1, 3), np.arange(3 * len(bare), dtype=np.int32).reshape(-1, 3))
        points = random.uniform(-here.size[:2] / 2, here.size[:2] / 2, (400, 2))
        points = np.repeat(points[here.plan.clearance(points) > 0.02], 6, 0)
        origins = np.concatenate((points, random.uniform(0.05, 2.0, (len(points), 1))), 1).astype(np.float32)
        directions = random.standard_normal(origins.shape)
        # every other one at a corner of the room, of the doorway, or at an edge between wall and floor or ceiling
        corner = here.plan.segments[random.integers(len(here.plan.segments), size=len(points)), 0]
        height = random.choice((0.0, here.size[2], plan.LINTEL, 1.0), (len(points), 1))
        aimed = np.concatenate((corner, height), 1) + random.normal(0, 1e-3, origins.shape) - origins
        directions[::2] = aimed[::2]
        found = scene.run(origins, directions.astype(np.float32), output=True)
        assert (found["primID"] >= 0).all()
        ends = origins + directions * found["tfar"][:, None]
        assert here.plan.clearance(ends[:, :2]).min() > -0.02
        assert ends[:, 2].min() > -0.02
        assert ends[:, 2].max() < here.size[2] + 0.02


# ---- what is in a room


def test_every_class_but_people_occurs_and_every_family_is_of_its_class() -> None:
    found = {NAMES[number] for seed in SEEDS for number in room(seed).semantic.tolist()}
    assert found == set(NYU40_IDS) - {"person"}


FAMILIES: dict[str, tuple[maker.Family, tuple[float, ...], set[str]]] = {
    "chair": (furnishing.CHAIR, (), {"chair"}),
    "sofa": (furnishing.SOFA, (), {"sofa", "pillow"}),
    "lamp": (furnishing.FLOOR_LAMP, (), {"lamp"}),
    "toilet": (furnishing.TOILET, (), {"toilet", "otherstructure"}),
    "bathtub": (furnishing.BATHTUB, (), {"bathtub", "shower_curtain", "otherprop", "otherstructure"}),
    "refrigerator": (furnishing.REFRIGERATOR, (), {"refrigerator"}),
    "mirror": (furnishing.MIRROR, (), {"mirror"}),
    "towel": (furnishing.TOWEL, (), {"towel", "otherprop", "otherstructure"}),
    "whiteboard": (furnishing.WHITEBOARD, (), {"whiteboard"}),
    "picture": (furnishing.PICTURE, (), {"picture"}),
    "bag": (furnishing.BAG, (), {"bag"}),
    "box": (furnishing.BOX, (), {"box"}),
    "door": (furnishing.DOOR, (0.9, 2.0), {"door"}),
    "floor_mat": (furnishing.RUG, (2.0, 1.2), {"floor_mat"}),
    "dresser": (furnishing.DRESSER, (), {"dresser", "mirror"}),
}


@pytest.mark.parametrize("label", FAMILIES)
def test_every_variant_of_a_family_has_its_label_and_stands_on_its_footprint(label: str) -> None:
    family, sizes, allowed = FAMILIES[label]
    for build in family.common + family.held_out:
        for seed in range(3):
            make = maker.Maker(np.random.default_rng(seed), Grey(np.random.default_rng(), "train"), "shifted")
            thing = build(make, *sizes)
            labels = Counter(NAMES[part.label] for part in thing.parts)
            assert labels[label] > 0
            if label not in ("dresser", "refrigerator"):  # other things stand on those
                assert set(labels) <= allowed
            low, high = thing.bounds()
            points = np.concatenate([part.shape.moved(part.matrix).corners.reshape(-1, 3) for part in thing.parts])
            assert (points > low - 1e-9).all()
            assert (points < high + 1e-9).all()
            assert (low[:2] < 0.06).all()
            assert (high[:2] > -0.06).all()
            assert low[2] > -0.06


@pytest.mark.slow
def test_things_stay_inside_and_apart() -> None:
    for split in ("train", "shifted"):
        for seed in SEEDS[::4]:
            here = room(seed, split)
            boxes = here.obstacles
            meet = (boxes[:, None, 0] < boxes[None, :, 1] - 1e-3) & (boxes[:, None, 1] > boxes[None, :, 0] + 1e-3)
            assert not (meet.all(-1) & ~np.eye(len(boxes), dtype=bool)).any()
            points = here.shape.corners[~np.isin(here.semantic[here.part], SHELL)].reshape(-1, 3)
            # frames of doorways reach 2 cm into the wall
            low, high = here.plan.rectangles[:, 0] - 0.03, here.plan.rectangles[:, 1] + 0.03
            inside = (points[:, None, :2] > low) & (points[:, None, :2] < high)
            assert inside.all(-1).any(-1).all()
            assert points[:, 2].min() > -0.03
            assert points[:, 2].max() < here.size[2] + 0.01


def test_boxes_of_obstacles_hold_all_that_stands_on_the_floor() -> None:
    small = [NYU40_IDS[name] for name in ("floor_mat", "door", *(NAMES[number] for number in SHELL))]
    for seed in SEEDS[::5]:
        here = room(seed)
        corners = here.shape.corners[~np.isin(here.semantic[here.part], small)]
        middle = corners.mean(1)
        inside = (middle[:, None] > here.obstacles[:, 0] - 1e-6) & (middle[:, None] < here.obstacles[:, 1] + 1e-6)
        assert inside.all(-1).any(-1).all()


def test_a_doorway_can_be_walked_through() -> None:
    for seed in SEEDS:
        here = room(seed)
        if here.plan.doorway is None:
            continue
        low, high = here.plan.doorway
        middle = (low + high) / 2
        across = np.eye(2)[np.argmin(high - low)]
        way = middle + np.linspace(-0.6, 0.6, 30)[:, None] * across
        assert (here.plan.clearance(way) > 0.3).all()
        boxes = here.obstacles[(here.obstacles[:, 0, 2] < 1.9)][:, :, :2]
        inside = (way[:, None] > boxes[:, 0] - 0.2) & (way[:, None] < boxes[:, 1] + 0.2)
        assert not inside.all(-1).any()


@pytest.mark.parametrize(
    ("label", "nearest"),
    [
        *(("bed", 0.3), ("toilet", 0.2), ("bathtub", 0.1), ("towel", 0.3), ("refrigerator", 0.05), ("counter", 2.0)),
        *(("door", 0.05), ("window", 0.03), ("whiteboard", 0.15)),
    ],
)
def test_what_belongs_to_a_wall_stands_at_a_wall(label: str, nearest: float) -> None:
    distances = [here.plan.clearance(points[:, :2]).min() for here, points in instances(label)]
    assert len(distances) >= 3
    assert max(distances) < nearest
    assert np.median(distances) < 0.15


def test_people_would_find_what_they_look_for() -> None:
    def centers(here: rooms.Room, label: str) -> NDArray:
        owner = here.instance[here.part]
        numbers = np.unique(here.instance[here.semantic == NYU40_IDS[label]])
        return np.array([here.shape.corners[owner == number].mean((0, 1)) for number in numbers]).reshape(-1, 3)

    for here in map(room, SEEDS):
        if "bathroom" not in here.kinds:
            assert not len(centers(here, "toilet")) + len(centers(here, "bathtub"))
        if not {"bathroom", "kitchen"} & set(here.kinds):
            assert not len(centers(here, "sink"))
    # chairs at tables and desks, pillows on beds and sofas, sinks in kitchens and bathrooms
    for label, hosts, reach in (("chair", ("table", "desk", "counter"), 1.6), ("pillow", ("bed", "sofa"), 1.5)):
        near = []
        for here in map(room, SEEDS):
            others = np.concatenate([centers(here, host) for host in hosts])
            for center in centers(here, label):
                near.append(len(others) and np.linalg.norm(others[:, :2] - center[:2], axis=1).min() < reach)
        assert np.mean(near) > (0.7 if label == "chair" else 0.99)
    wet = [here for here in map(room, SEEDS) if {"bathroom", "kitchen"} & set(here.kinds)]
    assert np.mean([len(centers(here, "sink")) > 0 for here in wet]) > 0.8


def test_rows_of_the_tables_fit_together() -> None:
    for seed in SEEDS[:10]:
        here = room(seed)
        assert here.part.max() + 1 == len(here.texture) == len(here.semantic) == len(here.instance)
        assert np.isfinite(here.shape.corners).all()
        assert np.isfinite(here.shape.uv).all()
        for number in np.unique(here.instance):
            assert len(np.unique(here.semantic[here.instance == number])) == 1  # an instance has one class
        assert 5_000 < len(here.part) < 60_000


def test_official_order_of_the_classes(real_data) -> None:
    rows = (real_data / "nyuv2" / "classes.csv").read_text().splitlines()[1:]
    names = {row.split(",")[1].strip().replace(" ", "_").replace("-", "_"): int(row.split(",")[0]) for row in rows}
    assert {name: names.get(name, -1) for name in NYU40_IDS} == NYU40_IDS


# ---- splits


@pytest.mark.parametrize(
    ("seed", "split"),
    [(0, "train"), (899_999, "train"), (900_000, "val"), (949_999, "val"), (950_000, "shifted"), (999_999, "shifted")],
)
def test_seeds_belong_to_splits(seed: int, split: str) -> None:
    assert splits.split_of(seed) == split


@pytest.mark.parametrize("seed", [-1, 1_000_000])
def test_seeds_beyond_the_splits_say_so(seed: int) -> None:
    with pytest.raises(InputError, match=rf"no seed {seed}.*999999"):
        splits.split_of(seed)


def test_what_is_held_out_is_chosen_in_shifted_rooms_alone_and_mostly() -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        assert {splits.choose(random, split, "abb", "xy") for _ in range(300)} == {"a", "b"}
    drawn = Counter(splits.choose(random, "shifted", "abb", "xy") for _ in range(4000))
    assert (drawn["x"] + drawn["y"]) / 4000 == pytest.approx(splits.HELD_OUT_SHARE, abs=0.03)
    assert drawn["b"] > drawn["a"] > 0
    assert {splits.choose(random, "shifted", "ab") for _ in range(50)} == {"a", "b"}


def held_out() -> set[str]:
    """The variants of all families of all modules that only shifted rooms may have."""
    families = {
        family
        for module in (__import__("sys").modules).values()
        if getattr(module, "__name__", "").startswith(splits.__package__ + ".")
        for family in vars(module).values()
        if isinstance(family, maker.Family)
    }
    assert len({family.name for family in families}) >= 25
    common = {family.variant(build) for family in families for build in family.common}
    rare = {family.variant(build) for family in families for build in family.held_out}
    assert not common & rare
    return rare


@pytest.mark.slow
def test_shifted_rooms_alone_have_the_held_out_variants_and_have_most_of_them() -> None:
    rare = held_out()
    assert len(rare) >= 40
    for split in ("train", "val"):
        for seed in SEEDS if split == "train" else SEEDS[::10]:
            assert not set(room(seed, split).variants) & rare
    shifted = [set(room(seed, "shifted").variants) for seed in SEEDS[::4]]
    assert len(set.union(*shifted) & rare) > 0.75 * len(rare)
    assert min(len(variants & rare) for variants in shifted) >= 3


def test_a_room_is_a_function_of_its_generator_alone() -> None:
    first, again = (rooms.build_room(np.random.default_rng((7, 0)), "train") for _ in range(2))
    for name in ("corners", "normals", "uv"):
        np.testing.assert_array_equal(getattr(first.shape, name), getattr(again.shape, name))
    for name in ("part", "texture", "tint", "semantic", "instance", "obstacles"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.variants == again.variants
    assert len({room(seed).shape.corners.tobytes() for seed in SEEDS[:20]}) == 20


@pytest.mark.parametrize("taken", [2.5, 0.5])
def test_a_bathroom_without_room_for_a_toilet_has_no_roll_for_it(monkeypatch: pytest.MonkeyPatch, taken: float) -> None:
    """A room of which so many metres from the floor are taken: all of it, or what is needed to stand in it."""
    random = np.random.default_rng(0)
    made = maker.Maker(random, Grey(random, "train"), "train")
    here = layout.Layout(random, plan.FloorPlan((np.array((((-1, -1), (1, 1.0)),)),), 2.5).rooms()[0])
    here.zones.append(np.array(((-1, -1, 0), (1, 1, taken))))
    near = []
    against_wall = here.against_wall

    def recorded(thing: maker.Object, **settings: object) -> bool:
        near.append(settings.get("near"))
        return against_wall(thing, **settings)

    monkeypatch.setattr(here, "against_wall", recorded)
    furnishing.furnish(made, here, "bathroom")
    assert not any(place is not None for place in near)


# ---- layout


def test_a_full_wall_takes_nothing_more() -> None:
    space = plan.FloorPlan((np.array((((-1, -1), (1, 1.0)),)),), 2.5).rooms()[0]
    random = np.random.default_rng(0)
    here = layout.Layout(random, space)

    def block(width: float, depth: float) -> maker.Object:
        thing = maker.Object("box", random)
        thing.add(shapes.box((width, depth, 1)), Finish(texture=0, tile=0.5))
        return thing

    assert not here.against_wall(block(2.0, 0.5))  # 2 cm are left free on both sides
    assert here.against_wall(block(1.9, 0.5), front=0.4)
    box, zone = here.boxes[0], here.zones[0]
    assert np.sort(box[1] - box[0]) == pytest.approx((0.5, 1.0, 1.9))
    assert np.prod(zone[1] - zone[0]) == pytest.approx(1.9 * 0.4 * 1.0)
    assert not here.against_wall(block(1.2, 1.1))  # 2 - 0.51 - 0.4 metres are left
    assert here.against_wall(block(0.4, 1.0), near=np.array((5.0, 5.0)))
    assert not here.against_wall(block(1.9, 0.5))
    assert not here.put(block(1.0, 1.0), shapes.place(0.8, 0.0))  # through the wall
