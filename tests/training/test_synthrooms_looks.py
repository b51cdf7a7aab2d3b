"""Synthetic rooms, what a camera makes of them: rays and light, exposure, motion blur, depth sensor, paths, splits."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.nyu40 import NYU40_IDS
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms, source
from pri3d_zoo.training.data.sources.synthrooms.camera import camera, exposure, sensor, walk
from pri3d_zoo.training.data.sources.synthrooms.light import lights, render
from pri3d_zoo.training.data.sources.synthrooms.light.lights import Light
from pri3d_zoo.training.data.sources.synthrooms.looks import materials, oddities
from pri3d_zoo.training.data.sources.synthrooms.looks.textures import TexturePool, pyramid
from pri3d_zoo.training.data.sources.synthrooms.rooms import rooms, shapes
from pri3d_zoo.training.data.sources.synthrooms.rooms.plan import FloorPlan
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import depth_to_world, invert_rigid, nearest_pixel, project, transform

SIZE = (60, 80)
SEED = 5
K = np.array(((70.0, 0, 39.5), (0, 70.0, 29.5), (0, 0, 1)))


@cache
def walked(seed: int = SEED, frames: int = 12) -> tuple[Frame, ...]:
    return tuple(SynthRooms(range(seed, seed + 1), frames=frames, size=SIZE).frames(f"room{seed:08d}"))


@cache
def room(seed: int = SEED) -> rooms.Room:
    return rooms.build_room(np.random.default_rng((seed, source.ROOM)))


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


def handmade(*things: shapes.Shape, light: tuple[float, float, float] = (0, 0, 2.5), **tables: list) -> rooms.Room:
    """A room of grey things, each a part of its own, in the box (4, 5, 3) with one small lamp."""
    count = len(things)
    grey = np.full((256, 256, 3), 0.6, np.float32)
    low, high = np.array((-2.0, -2.5)), np.array((2.0, 2.5))
    given = {name: np.array(value, np.float32) for name, value in tables.items()}
    return replace(
        room(),
        size=np.array((4.0, 5.0, 3.0)),
        plan=FloorPlan((np.stack((low, high))[None],), 3.0),
        shape=shapes.join(things),
        part=np.repeat(np.arange(count, dtype=np.int32), [len(thing.corners) for thing in things]),
        texture=np.zeros(count, np.int32),
        tint=np.ones((count, 3), np.float32),
        specular=given.get("specular", np.zeros(count, np.float32)),
        shininess=np.full(count, 30, np.float32),
        emission=given.get("emission", np.zeros(count, np.float32)),
        glass=np.zeros(count, bool),
        semantic=np.arange(1, count + 1, dtype=np.uint8),
        instance=np.arange(1, count + 1, dtype=np.uint16),
        pool=TexturePool([pyramid(grey)], np.ones((256, 256), np.float32)),
        lights=[
            Light(np.array(light), np.array((0.02, 0, 0)), np.array((0, 0.02, 0)), np.zeros(3), np.array((3.0, 3, 3)))
        ],
        obstacles=np.zeros((0, 2, 3)),
    )


def pose(position: tuple[float, float, float], yaw: float = 0.0, pitch: float = 0.0) -> NDArray[np.float64]:
    return camera._poses(np.array([position]), np.array([yaw]), np.array([pitch]), np.zeros(1))[0]


WALLS = shapes.box((4, 5, 3))


# ---- rays


def test_depth_and_labels_of_boxes_agree_with_the_analytic_answer() -> None:
    inner = shapes.box((0.8, 0.6, 1.0), (0.9, 0.2, 0.0))
    seen_from = pose((-1.2, -0.4, 1.5), 0.2, -0.3)
    seen = render.Renderer(handmade(WALLS, inner)).view(SIZE, K, seen_from)
    origin, directions = rays(Frame("a", np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.float32), K, seen_from))

    def slabs(low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
        first, second = (low - origin) / directions, (high - origin) / directions
        return np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)

    _, walls = slabs(np.array((-2, -2.5, 0)), np.array((2, 2.5, 3)))
    enter, leave = slabs(np.array((0.5, -0.1, 0)), np.array((1.3, 0.5, 1)))
    hit = enter < leave
    assert 100 < hit.sum() < hit.size - 100
    np.testing.assert_allclose(seen.depth, np.where(hit, enter, walls), atol=1e-4)
    np.testing.assert_array_equal(seen.semantic, np.where(hit, 2, 1))
    # the cosine: between the ray and the axis of the face that it meets
    point = origin + directions * seen.depth[..., None]
    floor = (np.abs(point[..., 2]) < 1e-3) & (np.abs(point[..., 0]) < 1.99) & (np.abs(point[..., 1]) < 2.49) & ~hit
    np.testing.assert_allclose(
        seen.cosine[floor], -directions[floor][:, 2] / np.linalg.norm(directions[floor], axis=-1), atol=1e-5
    )


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
    table, frame = room(), walked()[4]
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


# ---- light


def at(seen: render.View, seen_from: NDArray, point: tuple[float, float, float]) -> NDArray:
    """The colour (3,) of the pixel where a point of the world is seen."""
    local = (np.array(point) - seen_from[:3, 3]) @ seen_from[:3, :3]
    u, v = np.rint(K[0, 0] * local[:2] / local[2] + K[:2, 2]).astype(int)
    assert abs(seen.depth[v, u] - local[2]) < 0.1
    return seen.color[:, v, u]


def test_light_falls_off_with_the_square_and_is_kept_off_by_things() -> None:
    plate = shapes.box((0.8, 0.8, 0.02), (0.8, 0.0, 1.2))
    seen_from = pose((-1.6, -1.0, 1.1), 0.3, -0.35)
    open_room = render.Renderer(handmade(WALLS)).view(SIZE, K, seen_from)
    shaded = render.Renderer(handmade(WALLS, plate)).view(SIZE, K, seen_from)
    # the lamp, the plate's middle and the point (1.54, 0, 0) lie on a line
    assert at(shaded, seen_from, (1.54, 0.0, 0.0)).mean() < 0.6 * at(open_room, seen_from, (1.54, 0.0, 0.0)).mean()
    assert at(shaded, seen_from, (0.3, -0.3, 0.0)).mean() > 0.8 * at(open_room, seen_from, (0.3, -0.3, 0.0)).mean()


def test_direct_light_is_that_of_a_point_by_hand() -> None:
    # all but no indirect light: a black room but for the floor, and the lamp above it
    made = handmade(WALLS, shapes.box((3.9, 4.9, 0.01)))
    made = replace(made, tint=np.array(((0, 0, 0), (1, 1, 1)), np.float32))
    seen_from = pose((-1.5, 0.0, 1.5), 0.0, -0.6)
    seen = render.Renderer(made).view(SIZE, K, seen_from)
    for x in (0.0, 0.5, 1.0):
        distance = np.hypot(2.49, x)
        expected = 0.36 * 3 * (2.49 / distance) / (distance**2 + 0.0208)  # albedo, intensity, cosine, distance
        assert at(seen, seen_from, (x, 0.0, 0.01)).mean() == pytest.approx(expected, rel=0.06)


def test_corners_are_darker_than_what_lies_open() -> None:
    made = handmade(WALLS, shapes.box((0.6, 0.6, 0.6), (1.2, 0.0, 0.0)), light=(-1.9, 0.0, 2.9))
    shader = render.Renderer(made)._shader
    up = np.array([[0, 0], [0, 0], [1, 1]], np.float32)
    points = np.array([[0.88, -0.5], [0, 0], [0, 0]], np.float32)  # beside the box, and in the open
    openness = np.stack([shader._lighting.openness(points, up, np.full(2, phase), 8) for phase in range(16)]).mean(0)
    assert 0.4 < openness[0] < 0.75  # half of the sky is the box's
    assert openness[1] == pytest.approx(1.0)


def test_no_light_comes_through_a_wall() -> None:
    first, second = shapes.box((2.0, 5, 3), (-1.06, 0, 0)), shapes.box((2.0, 5, 3), (1.06, 0, 0))
    spaces = (np.array((((-2.06, -2.5), (-0.06, 2.5)),)), np.array((((0.06, -2.5), (2.06, 2.5)),)))
    made = replace(
        handmade(first, second, light=(-1.0, 0.5, 2.0)),
        plan=FloorPlan(spaces, 3.0),
        size=np.array((4.12, 5.0, 3.0)),
    )
    shown = render.Renderer(made)
    bright = shown.view(SIZE, K, pose((-1.9, -2.0, 1.5), 1.0)).color.mean()
    dark = shown.view(SIZE, K, pose((1.9, -2.0, 1.5), 2.1)).color.mean()
    assert dark < 0.003 * bright


def test_highlights_move_with_the_view_and_matte_surfaces_look_alike_from_everywhere() -> None:
    spots = [(x, y, 0.0) for x in (-0.4, 0.0, 0.4) for y in (-0.3, 0.3)]
    views = [pose((-1.6, 0.2, 1.4), 0.0, -0.6), pose((1.6, -0.3, 1.4), np.pi, -0.6)]
    change = []
    for gloss in (0.0, 0.4):
        shown = render.Renderer(handmade(WALLS, light=(-0.6, 0.0, 2.0), specular=[gloss]))
        first, second = ([at(shown.view(SIZE, K, eye), eye, spot) for spot in spots] for eye in views)
        change.append(np.abs(np.log(np.array(first) / np.array(second))).max())
    assert change[0] < 0.05
    assert change[1] > 0.3


def test_a_mirror_shows_what_is_before_it() -> None:
    mirror, glow = shapes.box((0.02, 2.0, 2.0), (1.9, 0, 0.5)), shapes.box((0.02, 0.5, 0.5), (-1.98, 0, 1.25))
    made = handmade(WALLS, mirror, glow, specular=[0, 0.9, 0], emission=[0, 0, 1.0])
    seen = render.Renderer(made).view(SIZE, K, pose((-1.0, 0.0, 1.5)))
    # straight ahead the mirror shows the panel behind the camera, far to the side the wall
    middle, aside = seen.color[:, 29:31, 39:41].mean(), seen.color[:, 29:31, 60:62].mean()
    assert (seen.semantic[29:31, 39:62] == 2).all()
    assert middle > 3 * aside


def test_views_of_a_moved_camera_show_the_same_surface_colors() -> None:
    # light and texture belong to the surface: all but highlights and edges keep their colour between views
    first, second = walked()[0], walked()[1]
    one, two = view(first), view(second)

    def batch(*arrays: NDArray) -> list[torch.Tensor]:
        return [torch.from_numpy(np.asarray(array, np.float64))[None] for array in arrays]

    points = depth_to_world(*batch(one.depth, first.intrinsics, first.camera_to_world))
    index, found = nearest_pixel(points, *batch(two.depth, second.intrinsics, second.camera_to_world), 0.03)
    a = one.color.reshape(3, -1)[:, found[0].numpy()]
    b = two.color.reshape(3, -1)[:, index[0][found[0]].numpy()]
    assert np.corrcoef(a.mean(0), b.mean(0))[0, 1] > 0.8


# ---- textures


def test_textures_are_read_at_texel_centres_and_averaged_from_afar() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.9, (2, 256, 256, 3)).astype(np.float32)
    pool = TexturePool([pyramid(part) for part in image], np.ones((256, 256), np.float32))
    column, row = 37, 201
    uv = np.array([[(column + 0.5) / 256 + 3], [1 - (row + 0.5) / 256 - 2]], np.float32)  # repeats do not matter
    near = pool.sample(np.array([1]), uv, np.array([1 / 1024], np.float32))
    np.testing.assert_allclose(near[:, 0], image[1, row, column] ** 2, atol=0.01)
    halfway = uv + np.array([[0.5 / 256], [0.0]], np.float32)
    between = pool.sample(np.array([1]), halfway, np.array([1 / 1024], np.float32))
    np.testing.assert_allclose(between[:, 0], image[1, row, column : column + 2].mean(0) ** 2, atol=0.02)
    far = pool.sample(np.array([1]), uv, np.array([1.0], np.float32))
    np.testing.assert_allclose(far[:, 0], pool.mean[1], atol=0.02)
    np.testing.assert_allclose(pool.mean[1], (image[1].astype(np.float64) ** 2).mean((0, 1)), atol=0.01)


def test_every_pattern_is_an_image_without_a_seam() -> None:
    noise = materials.Noise(np.random.default_rng(0))
    seamless = {"weave", "carpet", "bricks", "paint", "marble", "terrazzo", "plastic", "metal", "leather", "wood"}
    for kind in materials.KINDS.values():
        for pattern in (*kind.textures, *kind.held_out):
            image = pattern(noise)
            assert image.shape == (256, 256, 3)
            assert image.min() >= 0
            assert image.max() <= 1
            assert image.std() > 1e-3
            if pattern.__name__ in seamless:  # its last row is followed by its first as any row by the next
                inside = np.abs(np.diff(image, axis=0)).mean((1, 2))
                assert np.abs(image[0] - image[-1]).mean() < 2 * inside.max() + 1e-3


# ---- splits


def test_what_is_held_out_is_shown_by_shifted_rooms_alone() -> None:
    held_out = {name for name, made in vars(oddities).items() if getattr(made, "__module__", "") == oddities.__name__}
    for split in ("train", "val", "shifted"):
        shown: set[str] = set()
        for seed in range(6):
            made = materials.Materials(np.random.default_rng(seed), split)
            for kind in materials.KINDS:
                made.pick(kind)
            shown |= set(made.patterns)
        assert bool(shown & held_out) == (split == "shifted")


def test_lights_that_are_held_out_are_in_shifted_rooms_alone() -> None:
    plan = FloorPlan((np.array((((-2.0, -2), (2, 2)),)),), 2.6)
    window = lights.Window(shapes.place(0, -2, 0.9), 1.2, 1.2)
    for split in ("train", "shifted"):
        spot = colored = low = 0
        for seed in range(60):
            lamps = np.array(((0.0, 0.0, 2.4),))
            made = lights.make_lights(np.random.default_rng(seed), split, plan.rooms()[0], lamps, [window])
            assert 1 <= len(made) <= lights.MOST_LIGHTS + 1
            spot += any(light.focus > 1 for light in made)
            colored += any(light.color.min() < 0.3 * light.color.max() for light in made if light.sun is None)
            low += any(light.sun is not None and light.sun[2] < np.sin(np.deg2rad(20)) for light in made)
        assert [bool(number) for number in (spot, colored, low)] == [split == "shifted"] * 3


# ---- the camera's picture


def plain_camera(frames: int = 1, **changes: object) -> exposure.Camera:
    settings = exposure.make_camera(np.random.default_rng(0), frames)
    plain = {
        "exposure": np.ones(frames),
        "balance": np.ones((frames, 3)),
        "quality": np.zeros(frames, int),
        "vignette": 0.0,
        "contrast": 1.0,
        "saturation": 1.0,
        "shot": 0.0,
        "read": 0.0,
    }
    return replace(settings, **{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("light", [0.05, 0.24, 1.0])
def test_noise_of_a_picture_is_that_of_photons_and_of_reading(light: float) -> None:
    camera_settings = plain_camera(shot=0.03, read=0.01)
    gain = (0.24 / light) ** 0.6  # the camera follows what it sees by so much
    picture = exposure.expose(
        np.random.default_rng(0), np.full((3, 200, 200), light, np.float32), 1.0, camera_settings, 0
    )
    arrived = light * gain
    # the tone curve: 255 sqrt(1 - exp(-1.25 x)), and its slope
    value = 255 * np.sqrt(1 - np.exp(-1.25 * arrived))
    slope = 255**2 * 1.25 * np.exp(-1.25 * arrived) / (2 * value)
    deviation = slope * np.sqrt(0.03**2 * arrived + 0.01**2)
    assert picture.mean() == pytest.approx(value, abs=1.0)
    assert picture.std() == pytest.approx(np.hypot(deviation, 0.29), rel=0.05)


def test_white_balance_and_exposure_change_from_frame_to_frame_and_colors_alone() -> None:
    settings = exposure.make_camera(np.random.default_rng(3), 40)
    warmth = np.log(settings.balance[:, 0] / settings.balance[:, 2])
    assert 0.02 < warmth.std() < 0.4
    assert 0.03 < np.log(settings.exposure).std() < 0.6
    # a grey card under two balances: linear channels in the ratio of the balances
    card = np.full((3, 20, 20), 0.2, np.float32)
    balances = np.array(((1.2, 1.0, 0.8), (0.9, 1.0, 1.1)))
    two = plain_camera(2, balance=balances)
    for index, balance in enumerate(balances):
        picture = exposure.expose(np.random.default_rng(0), card, 1.0, two, index)[0, 0] / 255.0
        linear = -np.log(1 - picture**2) / 1.25
        np.testing.assert_allclose(linear / linear[1], balance, rtol=0.03)
    # what is seen does not depend on it
    frame = walked()[3]
    first, again = view(frame), view(frame)
    np.testing.assert_array_equal(first.depth, again.depth)
    np.testing.assert_array_equal(first.semantic, frame.semantic)


def test_pictures_are_neither_dark_nor_blown_out_nor_flat() -> None:
    for seed in (5, 6, 8):
        color = np.stack([frame.color for frame in walked(seed, 12)]).astype(np.float64)
        assert 50 < color.mean() < 190
        assert (color > 250).mean() < 0.2
        assert (color < 5).mean() < 0.2
        assert color.std() > 20


def test_a_pan_blurs_a_line_by_its_angle_times_the_focal_length() -> None:
    color, depth = np.zeros((3, 40, 120), np.float32), np.full((40, 120), 2.0, np.float32)
    color[:, :, 60] = 1.0
    intrinsics = np.array(((200.0, 0, 60), (0, 200, 20), (0, 0, 1)))
    turned = pose((0, 0, 1.5), yaw=-np.deg2rad(10))
    whole = exposure.motion(pose((0, 0, 1.5)), turned, 0.15)  # 1.5 degrees: 5.2 pixels
    angle = np.arccos((np.trace(whole[:3, :3]) - 1) / 2)
    assert angle == pytest.approx(np.deg2rad(1.5))
    streak = exposure.blurred(color, depth, intrinsics, whole)[0, 20]
    lit = np.flatnonzero(streak > 0)
    assert lit[-1] - lit[0] + 1 == pytest.approx(200 * np.tan(angle), abs=1.5)
    assert lit.mean() == pytest.approx(60, abs=0.6)  # half of it before, half after
    assert streak.sum() == pytest.approx(1.0, abs=0.25)
    np.testing.assert_array_equal(exposure.blurred(color, depth, intrinsics, np.eye(4)), color)


def test_what_is_near_is_blurred_more_by_a_sideways_step() -> None:
    color = np.zeros((3, 40, 120), np.float32)
    color[:, :, 60] = 1.0
    depth = np.full((40, 120), 1.0, np.float32)
    depth[20:] = 4.0
    moved = np.eye(4)
    moved[0, 3] = 0.025
    streak = exposure.blurred(color, depth, np.array(((200.0, 0, 60), (0, 200, 20), (0, 0, 1))), moved)[0]
    assert np.count_nonzero(streak[10]) == pytest.approx(200 * 0.025 / 1, abs=1)
    assert np.count_nonzero(streak[30]) <= 3  # 1.25 pixels touch two or three


def test_compression_takes_more_the_lower_its_quality() -> None:
    picture = walked()[0].color
    error = [np.abs(exposure.compressed(picture, quality).astype(float) - picture).mean() for quality in (0, 95, 50)]
    assert error[0] == 0
    assert 0 < error[1] < error[2] < 12


# ---- the depth sensor


def flat_view(distance: float, size: tuple[int, int] = (200, 200)) -> render.View:
    return render.View(
        color=np.full((3, *size), 0.24, np.float32),
        depth=np.full(size, distance, np.float32),
        cosine=np.ones(size, np.float32),
        semantic=np.ones(size, np.uint8),
        instance=np.ones(size, np.uint16),
        glass=np.zeros(size, bool),
        albedo=np.full(size, 0.4, np.float32),
    )


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.0, 5.0])
def test_depth_comes_in_steps_and_with_noise_that_grow_with_the_square_of_the_distance(distance: float) -> None:
    depth = sensor.measure_depth(np.random.default_rng(0), flat_view(distance), 290.0)
    read = depth[depth > 0].astype(np.float64)
    assert 0.001 < (depth == 0).mean() < 0.006  # speckle alone
    # 0.075 m x 580 pixels / disparity, the disparity in eighths of a pixel; then whole millimetres
    steps = 0.075 * 580 / (np.arange(8, 2000) / 8)
    assert np.abs(read[:, None] - steps[None, np.abs(steps - distance) < 0.5]).min(1).max() < 0.0006
    step = distance**2 / (0.075 * 580) / 8
    assert read.mean() == pytest.approx(distance, abs=step / 4 + 1e-3)
    assert read.std() == pytest.approx(distance**2 * np.hypot(0.0012, 1 / (0.075 * 580 * 8 * 12**0.5)), rel=0.2)


def test_depth_has_holes_where_sensors_have_them() -> None:
    random = np.random.default_rng(0)
    assert (sensor.measure_depth(random, flat_view(0.3), 290.0) == 0).all()
    assert (sensor.measure_depth(random, flat_view(8.2), 290.0) == 0).all()
    seen = flat_view(2.0)
    seen.depth[:, 100:] = 3.0
    seen.cosine[:50] = 0.05
    seen.glass[150:, :50] = True
    seen.albedo[100:150, 20:80] = 0.003
    depth = sensor.measure_depth(random, seen, 290.0)
    assert (depth[:50] == 0).all()
    assert (depth[60:100, 99:101] == 0).mean() > 0.4
    assert (depth[60:100, 20:80] == 0).mean() < 0.01
    assert (depth[100:150, 20:80] == 0).mean() > 0.5  # dark
    assert 0.2 < (depth[150:, :50] == 0).mean() < 0.95
    near = flat_view(1.0)
    near.albedo[:] = 0.03
    assert (sensor.measure_depth(random, near, 290.0) == 0).mean() < 0.01  # as dark, but near


def test_the_shadow_of_the_projector_is_as_wide_as_the_disparities_differ() -> None:
    seen = flat_view(3.0, (40, 200))
    seen.depth[:, 100:150] = 1.0
    depth = sensor.measure_depth(np.random.default_rng(0), seen, 290.0)
    width = 0.075 * 290 * (1 / 1 - 1 / 3)  # 14.5 pixels, to the left of what is near
    hidden = (depth[:, 60:100] == 0).mean(0) > 0.9
    assert hidden.sum() == pytest.approx(width, abs=2.5)
    assert hidden[-5:].all()
    assert (depth[:, 155:] == 0).mean() < 0.02  # none to the right


def test_most_pixels_of_a_walk_have_depth_near_the_exact_one() -> None:
    errors, holes = [], []
    for frame in walked()[::2]:
        exact = view(frame).depth
        read = frame.depth > 0
        holes.append(1 - read.mean())
        errors.append((np.abs(frame.depth - exact) / (0.00145 * exact**2))[read])
    assert 0.01 < np.mean(holes) < 0.4
    assert np.median(np.concatenate(errors)) == pytest.approx(0.67, abs=0.2)  # of a normal distribution


# ---- walks


def oracle_clearance(place: rooms.Room, points: NDArray) -> NDArray:
    """Distance (N,) to the walls' segments and to the boxes as high as the camera; negative off the floor."""
    best = np.full(len(points), np.inf)
    for start, end in place.plan.segments:
        share = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - (start + share[:, None] * (end - start)), axis=1))
    inside = np.zeros(len(points), bool)
    for low, high in place.plan.rectangles:
        inside |= ((points > low) & (points < high)).all(1)
    for low, high in place.obstacles:
        if high[2] > 1.15 and low[2] < 1.9:
            gap = np.maximum(np.maximum(low[:2] - points, points - high[:2]), 0)
            best = np.minimum(best, np.linalg.norm(gap, axis=1))
    return np.where(inside, best, -1.0)


@pytest.mark.parametrize("seed", [5, 6, 8, 11, 12])
def test_a_walk_keeps_clear_and_neither_jumps_nor_whirls(seed: int) -> None:
    poses = camera.camera_path(np.random.default_rng(seed), room(seed), 60)
    position, rotation = poses[:, :3, 3], poses[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (60, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-9)
    assert (rotation[:, 2, 1] < -0.6).all()  # the image's down is the world's down
    assert (np.abs(rotation[:, 2, 0]) < 0.12).all()  # little roll
    assert ((position[:, 2] > 1.1) & (position[:, 2] < 1.95)).all()
    assert oracle_clearance(room(seed), position[:, :2]).min() > 0.1
    assert np.linalg.norm(np.diff(position, axis=0), axis=1).max() < 0.4
    turn = np.arccos(np.clip(np.einsum("ij,ij->i", rotation[1:, :, 2], rotation[:-1, :, 2]), -1, 1))
    assert np.rad2deg(turn).max() < 26
    assert 3 < np.rad2deg(turn).mean() < 15
    assert np.ptp(position[:, :2], axis=0).max() > 0.8  # it does go somewhere


def test_a_walk_visits_both_rooms_of_a_plan_by_the_door_and_things_from_several_sides() -> None:
    spaces = (np.array((((-3.06, -1.5), (-0.06, 1.5)),)), np.array((((0.06, -1.5), (3.06, 1.5)),)))
    plan = FloorPlan(spaces, 2.6, np.array(((-0.06, -0.5), (0.06, 0.5))))
    pillar = np.array((((-1.8, -0.2, 0.0), (-1.4, 0.2, 2.0)), ((1.4, -0.2, 0.0), (1.8, 0.2, 0.8))))
    made = replace(room(), plan=plan, size=plan.size, obstacles=pillar)
    both, spread = 0, []
    for seed in range(6):
        poses = camera.camera_path(np.random.default_rng(seed), made, 80)
        position = poses[:, :3, 3]
        assert oracle_clearance(made, position[:, :2]).min() > 0.1
        between = np.abs(position[:, 0]) < 0.06
        assert (np.abs(position[between, 1]) < 0.5).all()  # through the wall by the doorway alone
        both += position[:, 0].min() < -0.3 and position[:, 0].max() > 0.3
        offset = pillar.mean(1)[:, None] - position
        ahead = np.einsum("bnk,nk->bn", offset / np.linalg.norm(offset, axis=-1, keepdims=True), poses[:, :3, 2])
        for box in range(2):
            side = np.unwrap(np.arctan2(offset[box, :, 1], offset[box, :, 0])[ahead[box] > 0.9])
            spread.append(np.ptp(side) if len(side) else 0.0)
    assert both >= 4
    assert np.mean(np.array(spread) > np.deg2rad(60)) > 0.3


def test_a_camera_looks_where_its_pose_says() -> None:
    straight = pose((1.0, 2.0, 1.5))
    np.testing.assert_allclose(straight[:3, 2], (1, 0, 0), atol=1e-12)  # forward along world x
    np.testing.assert_allclose(straight[:3, 0], (0, -1, 0), atol=1e-12)  # so its right is world -y
    np.testing.assert_allclose(straight[:3, 1], (0, 0, -1), atol=1e-12)


def test_nothing_hides_behind_walls_from_a_walker() -> None:
    spaces = (np.array((((-3.06, -1.5), (-0.06, 1.5)),)), np.array((((0.06, -1.5), (3.06, 1.5)),)))
    plan = FloorPlan(spaces, 2.6, np.array(((-0.06, -0.5), (0.06, 0.5))))
    made = replace(room(), plan=plan, size=plan.size, obstacles=np.zeros((0, 2, 3)))
    space = walk.FreeSpace(made)
    ends = np.array(((-2.0, 1.0), (2.0, 1.0), (2.0, 0.0)))
    np.testing.assert_array_equal(space.sees(np.array((-1.0, 1.2)), ends), (True, False, False))
    assert space.sees(np.array((-1.0, 0.0)), ends)[2]  # through the doorway


def shared(first: Frame, second: Frame, radius: float = 0.05) -> tuple[float, float]:
    """Of the first frame's points: the share seen in the second, and of those in its view the share that is there."""

    def batch(array: NDArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.float64))[None]

    depth = batch(first.depth)
    points = depth_to_world(depth, batch(first.intrinsics), batch(first.camera_to_world))
    points = points[:, depth.flatten() > 0]
    other = batch(second.depth)
    seen_from = batch(second.camera_to_world)
    _, found = nearest_pixel(points, other, batch(second.intrinsics), seen_from, radius)
    pixels, z = project(transform(points, invert_rigid(seen_from)), batch(second.intrinsics))
    column, row = pixels.round().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    there = other[0, row.clamp(0, SIZE[0] - 1), column.clamp(0, SIZE[1] - 1)]
    visible = inside & (there > 0) & (z < there + 0.1)  # not hidden behind something
    agrees = (found & visible).sum() / visible.sum().clamp(min=1)
    return float(found.double().mean()), float(agrees)


def test_reprojected_depth_agrees_in_both_directions() -> None:
    frames = walked()
    for first, second in ((0, 1), (1, 0), (3, 5), (5, 3), (8, 9)):
        assert shared(frames[first], frames[second])[1] > 0.85


def test_neighbouring_frames_overlap_but_move() -> None:
    overlaps = [shared(walked(seed, 12)[i], walked(seed, 12)[i + 1])[0] for seed in (5, 8) for i in range(11)]
    assert 0.5 < np.median(overlaps) < 0.97
    assert np.mean(np.array(overlaps) > 0.3) > 0.9


# ---- the same for ever


def digest(frames: tuple[Frame, ...]) -> str:
    total = hashlib.sha256()
    for frame in frames:
        for part in (frame.color, frame.depth, frame.camera_to_world, frame.semantic, frame.instance):
            total.update(np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


def test_another_process_with_more_threads_renders_the_same_bytes() -> None:
    code = (
        "import hashlib, numpy as np\n"
        "from pri3d_zoo.training.data.sources.synthrooms import SynthRooms\n"
        "total = hashlib.sha256()\n"
        f"for frame in SynthRooms(range({SEED + 1}), frames=12, size={SIZE}).frames('room{SEED:08d}'):\n"
        "    for part in (frame.color, frame.depth, frame.camera_to_world, frame.semantic, frame.instance):\n"
        "        total.update(np.ascontiguousarray(part).tobytes())\n"
        "print(total.hexdigest())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.strip() == digest(walked())


def test_a_frame_rendered_alone_is_the_frame_of_the_walk() -> None:
    frame, index = walked()[7], 7
    random = np.random.default_rng((SEED, source.FRAME, index))
    settings = exposure.make_camera(np.random.default_rng((SEED, source.SETTINGS)), 12)
    poses = camera.camera_path(np.random.default_rng((SEED, source.PATH)), room(), 13)
    alone = view(frame)
    moved = exposure.motion(poses[index], poses[index + 1], settings.shutter[index])
    light = exposure.blurred(alone.color, alone.depth, frame.intrinsics, moved)
    np.testing.assert_array_equal(exposure.expose(random, light, renderer().exposure, settings, index), frame.color)
    np.testing.assert_array_equal(sensor.measure_depth(random, alone, frame.intrinsics[0, 0]), frame.depth)
    np.testing.assert_array_equal(alone.semantic, frame.semantic)
    np.testing.assert_array_equal(alone.instance, frame.instance)


def test_noisy_poses_are_reported_and_exact_ones_rendered() -> None:
    noisy = list(
        SynthRooms(range(SEED, SEED + 1), frames=12, size=SIZE, pose_noise=(0.02, 0.01)).frames("room00000005")
    )
    errors = [np.linalg.inv(a.camera_to_world) @ b.camera_to_world for a, b in zip(walked(), noisy, strict=True)]
    for exact, frame in zip(walked(), noisy, strict=True):
        np.testing.assert_array_equal(exact.depth, frame.depth)
        np.testing.assert_array_equal(exact.color, frame.color)
    shift = np.stack([error[:3, 3] for error in errors])
    turn = np.array([np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1)) for error in errors])
    assert shift.std() == pytest.approx(0.02, rel=0.4)
    assert np.sqrt(np.mean(turn**2)) == pytest.approx(0.01 * 3**0.5, rel=0.4)
    with pytest.raises(InputError, match="pose_noise"):
        SynthRooms(range(3), pose_noise=(-0.1, 0.0))


def test_official_names_stand_for_what_is_seen() -> None:
    semantic = np.stack([frame.semantic for frame in walked()])
    assert {NYU40_IDS["wall"], NYU40_IDS["floor"]} <= set(np.unique(semantic).tolist())
