"""Synthetic rooms: geometry against hand-worked and independent answers, labels, paths, sensor, determinism."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms, camera, render, rooms, sensor, shapes, source
from pri3d_zoo.training.data.sources.synthrooms.materials import TexturePool
from pri3d_zoo.training.data.sources.synthrooms.objects import NYU40
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import depth_to_world, invert_rigid, nearest_pixel, project, transform

SIZE = (60, 80)
SEED = 5


@cache
def walk(seed: int = SEED, frames: int = 12) -> tuple[Frame, ...]:
    return tuple(SynthRooms(range(seed, seed + 1), frames=frames, size=SIZE).frames(f"room{seed:08d}"))


@cache
def room(seed: int = SEED) -> rooms.Room:
    return rooms.build_room(np.random.default_rng((seed, 0)))


@cache
def renderer(seed: int = SEED) -> render.Renderer:
    return render.Renderer(room(seed))


def view(frame: Frame, seed: int = SEED) -> render.View:
    return renderer(seed).view(SIZE, frame.intrinsics, frame.camera_to_world)


def rays(frame: Frame) -> tuple[NDArray, NDArray]:
    """Origin (3,) and directions (H, W, 3) with unit step along z, written out anew."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    k = frame.intrinsics
    local = np.stack(((u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(SIZE)), -1)
    return frame.camera_to_world[:3, 3], local @ frame.camera_to_world[:3, :3].T


# ---- the source


def test_scene_ids_are_one_a_seed_and_sorted() -> None:
    assert SynthRooms(range(19, 16, -1)).scene_ids() == ["room00000017", "room00000018", "room00000019"]
    assert SynthRooms(range(0)).scene_ids() == []


def test_unknown_scene_and_bad_arguments_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"room00000099.*room00000000 to room00000002"):
        SynthRooms(range(3)).frames("room00000099")
    with pytest.raises(InputError, match="negative"):
        SynthRooms(range(-1, 3))
    with pytest.raises(InputError, match="frames"):
        SynthRooms(range(3), frames=0)
    with pytest.raises(InputError, match="size"):
        SynthRooms(range(3), size=(0, 80))


def test_there_is_no_surface_but_the_observed() -> None:
    assert SynthRooms(range(1)).surface("room00000000") is None


def test_frames_have_ids_and_types() -> None:
    frames = walk()
    assert [frame.id for frame in frames[:3]] == ["000000", "000001", "000002"]
    assert len(frames) == 12
    for frame in frames:
        assert frame.color.shape == (*SIZE, 3)
        assert frame.depth.dtype == np.float32
        assert frame.semantic is not None
        assert frame.instance is not None
        assert frame.semantic.dtype == np.uint8
        assert frame.instance.dtype == np.uint16


def frame_bytes(frame: Frame) -> bytes:
    parts = (frame.color, frame.depth, frame.intrinsics, frame.camera_to_world, frame.semantic, frame.instance)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def test_same_seed_same_bytes_whatever_came_before() -> None:
    np.random.seed(1)
    rendered = SynthRooms(range(SEED + 1), frames=12, size=SIZE)
    next(rendered.frames("room00000001"))  # another scene first
    np.random.seed(2)  # and another global state
    again = list(rendered.frames(f"room{SEED:08d}"))
    assert [frame_bytes(frame) for frame in again] == [frame_bytes(frame) for frame in walk()]


def test_a_frame_rendered_alone_is_the_frame_of_the_walk() -> None:
    frame, index = walk()[7], 7
    random = np.random.default_rng((SEED, source.FRAME, index))
    drift = sensor.make_drift(np.random.default_rng((SEED, source.DRIFT)), 12)
    alone = view(frame)
    np.testing.assert_array_equal(sensor.expose(random, alone, renderer().exposure, drift, index), frame.color)
    np.testing.assert_array_equal(sensor.measure_depth(random, alone), frame.depth)
    np.testing.assert_array_equal(alone.semantic, frame.semantic)
    np.testing.assert_array_equal(alone.instance, frame.instance)


def test_seeds_differ() -> None:
    first, second = walk()[0], walk(6, 2)[0]
    assert not np.array_equal(first.color, second.color)
    assert not np.array_equal(first.depth, second.depth)
    assert not np.array_equal(first.intrinsics, second.intrinsics)
    assert not np.allclose(room(5).size, room(6).size)


# ---- geometry


def test_depth_of_the_shell_agrees_with_the_analytic_room() -> None:
    half = room().size * (0.5, 0.5, 1)
    flat, upright = [], []
    for frame in walk()[::3]:
        seen = view(frame)
        origin, directions = rays(frame)
        upper = (half - origin) / directions
        lower = (half * (-1, -1, 0) - origin) / directions
        error = np.abs(seen.depth - np.where(directions > 0, upper, lower).min(-1))
        flat.append(error[np.isin(seen.semantic, (NYU40["floor"], NYU40["ceiling"]))])
        upright.append(error[seen.semantic == NYU40["wall"]])
    assert np.concatenate(flat).size > 500
    assert np.concatenate(flat).max() < 1e-5
    # baseboards and panelling are part of the wall and stand up to 1.5 cm in front of it
    assert np.median(np.concatenate(upright)) < 1e-5


def brute_force(corners: NDArray, origin: NDArray, direction: NDArray) -> tuple[float, int]:
    """Nearest hit of one ray among all triangles (F, 3, 3), by Cramer's rule: distance and triangle."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    determinant = np.einsum("ij,ij->i", first, across)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.einsum("ij,ij->i", origin - corners[:, 0], across) / determinant
        turned = np.cross(origin - corners[:, 0], first)
        v = turned @ direction / determinant
        distance = np.einsum("ij,ij->i", second, turned) / determinant
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
    nearest = int(np.where(hit, distance, np.inf).argmin())
    return float(distance[nearest]), nearest


def test_depth_and_labels_agree_with_brute_force() -> None:
    table, frame = room(), walk()[4]
    seen = view(frame)
    origin, directions = rays(frame)
    same_depth, same_label, same_instance = [], [], []
    for v, u in np.random.default_rng(0).integers(0, SIZE, (80, 2)):
        distance, triangle = brute_force(table.shape.corners, origin, directions[v, u])
        part = table.part[triangle]
        same_depth.append(abs(distance - seen.depth[v, u]) < 1e-3)
        same_label.append(table.semantic[part] == seen.semantic[v, u])
        same_instance.append(table.instance[part] == seen.instance[v, u])
    for same in (same_depth, same_label, same_instance):
        assert np.mean(same) > 0.97  # all but a ray that passes within rounding of an edge


def shared(first: Frame, second: Frame, radius: float = 0.05) -> tuple[float, float]:
    """Of the first frame's points: the share seen in the second, and of those in its view the share that is there."""

    def batch(array: NDArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.float64))[None]

    depth = batch(first.depth)
    points = depth_to_world(depth, batch(first.intrinsics), batch(first.camera_to_world))
    points = points[:, depth.flatten() > 0]
    other = batch(second.depth)
    pose = batch(second.camera_to_world)
    _, found = nearest_pixel(points, other, batch(second.intrinsics), pose, radius)
    pixels, z = project(transform(points, invert_rigid(pose)), batch(second.intrinsics))
    column, row = pixels.round().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    there = other[0, row.clamp(0, SIZE[0] - 1), column.clamp(0, SIZE[1] - 1)]
    visible = inside & (there > 0) & (z < there + 0.1)  # not hidden behind something
    agrees = (found & visible).sum() / visible.sum().clamp(min=1)
    return float(found.double().mean()), float(agrees)


def test_reprojected_depth_agrees_in_both_directions() -> None:
    frames = walk()
    for first, second in ((0, 1), (1, 0), (3, 5), (5, 3), (8, 9)):
        assert shared(frames[first], frames[second])[1] > 0.85


def test_neighbouring_frames_overlap_but_move() -> None:
    overlaps = [shared(walk(seed, 12)[i], walk(seed, 12)[i + 1])[0] for seed in (5, 8) for i in range(11)]
    assert 0.5 < np.median(overlaps) < 0.95
    assert np.mean(np.array(overlaps) > 0.3) > 0.9


def test_views_of_a_moved_camera_show_the_same_surface_colors() -> None:
    # light and texture belong to the surface: all but highlights and edges keep their colour between views
    first, second = walk()[0], walk()[1]
    one, two = view(first), view(second)
    exact = Frame("a", first.color, one.depth, first.intrinsics, first.camera_to_world)
    points = depth_to_world(
        *(
            torch.from_numpy(np.asarray(x, np.float64))[None]
            for x in (exact.depth, exact.intrinsics, exact.camera_to_world)
        )
    )
    other = [
        torch.from_numpy(np.asarray(x, np.float64))[None]
        for x in (two.depth, second.intrinsics, second.camera_to_world)
    ]
    index, found = nearest_pixel(points, *other, 0.03)
    a = one.color.reshape(-1, 3)[found[0].numpy()]
    b = two.color.reshape(-1, 3)[index[0][found[0]].numpy()]
    assert np.corrcoef(a.mean(1), b.mean(1))[0, 1] > 0.8


# ---- rooms


def test_a_room_has_walls_floor_and_furniture_and_a_plain_box() -> None:
    furniture = {NYU40[name] for name in ("cabinet", "bed", "chair", "sofa", "table", "desk", "bookshelf", "lamp")}
    for seed in (5, 6, 8):
        labels = set(room(seed).semantic.tolist())
        assert labels <= set(range(1, 41))
        assert {NYU40["wall"], NYU40["floor"], NYU40["ceiling"]} <= labels
        assert len(labels & furniture) >= 3
        width, depth, height = room(seed).size
        assert 3 <= width <= 6
        assert 3 <= depth <= 6
        assert 2.4 <= height <= 3


def test_a_walk_sees_many_classes_and_no_void() -> None:
    semantic = np.stack([frame.semantic for frame in walk()])
    instance = np.stack([frame.instance for frame in walk()])
    assert semantic.min() >= 1
    assert semantic.max() <= 40
    assert instance.min() >= 1
    assert len(np.unique(semantic)) >= 6
    for number in np.unique(instance):
        assert len(np.unique(semantic[instance == number])) == 1  # an instance has one class


def test_official_order_of_the_classes(real_data) -> None:
    rows = (real_data / "nyuv2" / "classes.csv").read_text().splitlines()[1:]
    names = {row.split(",")[1].strip().replace(" ", "_").replace("-", "_"): int(row.split(",")[0]) for row in rows}
    assert {name: names.get(name, -1) for name in NYU40} == NYU40


def test_furniture_stays_inside_and_apart() -> None:
    for seed in (5, 6, 8):
        boxes, half = room(seed).obstacles, room(seed).size[:2] / 2
        assert (boxes[:, 0, :2] > -half - 2e-3).all()
        assert (boxes[:, 1, :2] < half + 2e-3).all()
        meet = (boxes[:, None, 0] < boxes[None, :, 1] - 1e-3) & (boxes[:, None, 1] > boxes[None, :, 0] + 1e-3)
        assert not (meet.all(-1) & ~np.eye(len(boxes), dtype=bool)).any()


# ---- shapes and textures


@pytest.mark.parametrize(
    ("make", "volume"),
    [
        (lambda: shapes.box((1, 2, 3)), 6.0),
        (lambda: shapes.box((1, 1, 1), taper=0.5), 7 / 12),  # a pyramid's frustum: (1 + 1/2 + 1/4) / 3
        (lambda: shapes.cylinder(1, 2, segments=400), 2 * np.pi),
        (lambda: shapes.cylinder(1, 3, top=0.0, segments=400), np.pi),
        (lambda: shapes.ball(1, segments=120), 4 / 3 * np.pi),
        (lambda: shapes.cushion((2, 2, 2), radius=0.9999, steps=30), 4 / 3 * np.pi),  # all but a sphere
        (lambda: shapes.bar((0, 0, 0), (0, 3, 4), 0.1, segments=200), 0.05 * np.pi),
    ],
)
def test_shapes_are_closed_and_look_outward(make: Callable[[], shapes.Shape], volume: float) -> None:
    shape = make()
    a, b, c = shape.corners.transpose(1, 0, 2)
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(volume, rel=0.01)
    geometric = np.cross(b - a, c - a)
    solid = np.linalg.norm(geometric, axis=1) > 1e-9
    assert (np.einsum("fi,fki->fk", geometric, shape.normals)[solid] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=-1)[solid], 1, atol=1e-6)


def test_textures_are_read_at_texel_centres_and_averaged_from_afar() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.9, (2, 256, 256, 3)).astype(np.float32)
    pool = TexturePool(image)
    column, row = 37, 201
    uv = np.array([[(column + 0.5) / 256 + 3, 1 - (row + 0.5) / 256 - 2]], np.float32)  # repeats do not matter
    near = pool.sample(np.array([1], np.int32), uv, np.array([1 / 1024], np.float32))
    np.testing.assert_allclose(near[0], image[1, row, column] ** 2, atol=0.01)
    far = pool.sample(np.array([1], np.int32), uv, np.array([1.0], np.float32))
    np.testing.assert_allclose(far[0], pool.mean[1], atol=0.02)
    np.testing.assert_allclose(pool.mean[1], (image[1].astype(np.float64) ** 2).mean((0, 1)), atol=1e-4)


# ---- camera


def test_poses_are_rigid_upright_and_inside() -> None:
    for seed in range(4, 12):
        poses = camera.camera_path(np.random.default_rng(seed), room(5), 40)
        rotation = poses[:, :3, :3]
        np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (40, 1, 1)), atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-9)
        assert (rotation[:, 2, 1] < -0.6).all()  # the image's down is the world's down
        assert (np.abs(rotation[:, 2, 0]) < 0.1).all()  # little roll
        position = poses[:, :3, 3]
        assert (np.abs(position[:, :2]) < room(5).size[:2] / 2 - 0.1).all()
        assert (position[:, 2] > 1.15).all()
        assert (position[:, 2] < 1.85).all()


def test_the_camera_keeps_off_what_is_as_high_as_itself() -> None:
    for seed in (5, 6, 8):
        position = np.stack([frame.camera_to_world[:3, 3] for frame in walk(seed, 12)])
        boxes = room(seed).obstacles
        inside = (position[:, None] > boxes[:, 0]) & (position[:, None] < boxes[:, 1])
        assert not inside.all(-1).any()


def test_a_camera_looks_where_its_pose_says() -> None:
    pose = camera._poses(np.array([[1.0, 2.0, 1.5]]), *(np.array([angle]) for angle in (0.0, 0.0, 0.0)))[0]
    np.testing.assert_allclose(pose[:3, 2], (1, 0, 0), atol=1e-12)  # forward along world x
    np.testing.assert_allclose(pose[:3, 0], (0, -1, 0), atol=1e-12)  # so its right is world -y
    np.testing.assert_allclose(pose[:3, 1], (0, 0, -1), atol=1e-12)


# ---- sensor


def flat_view(distance: float, size: tuple[int, int] = (200, 200)) -> render.View:
    return render.View(
        color=np.full((*size, 3), 0.24, np.float32),
        depth=np.full(size, distance, np.float32),
        cosine=np.ones(size, np.float32),
        semantic=np.ones(size, np.uint8),
        instance=np.ones(size, np.uint16),
        glass=np.zeros(size, bool),
    )


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.0])
def test_depth_noise_grows_with_the_square_of_the_distance(distance: float) -> None:
    depth = sensor.measure_depth(np.random.default_rng(0), flat_view(distance))
    read = depth[depth > 0].astype(np.float64)
    assert read.mean() == pytest.approx(distance, abs=1e-3)
    assert read.std() == pytest.approx(0.0012 * distance**2, rel=0.15)
    np.testing.assert_allclose(read * 1000, np.rint(read * 1000), atol=1e-3)  # whole millimetres
    assert 0.001 < (depth == 0).mean() < 0.006  # speckle alone


def test_depth_has_holes_where_sensors_have_them() -> None:
    random = np.random.default_rng(0)
    assert (sensor.measure_depth(random, flat_view(0.3)) == 0).all()
    assert (sensor.measure_depth(random, flat_view(6.5)) == 0).all()
    seen = flat_view(2.0)
    seen.depth[:, 100:] = 3.0
    seen.cosine[:50] = 0.05
    seen.glass[150:, :50] = True
    depth = sensor.measure_depth(random, seen)
    assert (depth[:50] == 0).all()
    assert (depth[60:140, 99:101] == 0).mean() > 0.5
    assert (depth[60:140, 20:80] == 0).mean() < 0.01
    assert 0.2 < (depth[150:, :50] == 0).mean() < 0.95


def test_most_pixels_of_a_walk_have_depth_near_the_exact_one() -> None:
    errors, holes = [], []
    for frame in walk()[::2]:
        exact = view(frame).depth
        read = frame.depth > 0
        holes.append(1 - read.mean())
        errors.append((np.abs(frame.depth - exact) / (0.0012 * exact**2))[read])
    assert 0.01 < np.mean(holes) < 0.4
    assert np.median(np.concatenate(errors)) == pytest.approx(0.67, abs=0.15)  # of a normal distribution


def test_pictures_are_neither_dark_nor_blown_out_nor_flat() -> None:
    for seed in (5, 6, 8):
        color = np.stack([frame.color for frame in walk(seed, 12)]).astype(np.float64)
        assert 60 < color.mean() < 190
        assert (color > 250).mean() < 0.15
        assert (color < 5).mean() < 0.15
        assert color.std() > 20
