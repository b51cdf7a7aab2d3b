"""Synthetic rooms, what a ray meets and what light makes of it: depth, labels, shadows, highlights, mirrors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.sources.synthrooms.light import lights, render
from pri3d_zoo.training.data.sources.synthrooms.rooms import shapes
from pri3d_zoo.training.data.sources.synthrooms.rooms.plan import FloorPlan
from pri3d_zoo.training.geometry import depth_to_world, nearest_pixel

SIZE = (60, 80)
K = np.array(((70.0, 0, 39.5), (0, 70.0, 29.5), (0, 0, 1)))
WALLS = shapes.box((4, 5, 3))


def rays(frame: Frame) -> tuple[NDArray, NDArray]:
    """Origin (3,) and directions (H, W, 3) with unit step along z, written out anew."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    k = frame.intrinsics
    local = np.stack(((u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(SIZE)), -1)
    return frame.camera_to_world[:3, 3], local @ frame.camera_to_world[:3, :3].T


# ---- rays


def test_depth_and_labels_of_boxes_agree_with_the_analytic_answer(handmade, pose) -> None:
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


def test_depth_and_labels_agree_with_brute_force(walked, room, view) -> None:
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


def test_light_falls_off_with_the_square_and_is_kept_off_by_things(handmade, pose) -> None:
    plate = shapes.box((0.8, 0.8, 0.02), (0.8, 0.0, 1.2))
    seen_from = pose((-1.6, -1.0, 1.1), 0.3, -0.35)
    open_room = render.Renderer(handmade(WALLS)).view(SIZE, K, seen_from)
    shaded = render.Renderer(handmade(WALLS, plate)).view(SIZE, K, seen_from)
    # the lamp, the plate's middle and the point (1.54, 0, 0) lie on a line
    assert at(shaded, seen_from, (1.54, 0.0, 0.0)).mean() < 0.6 * at(open_room, seen_from, (1.54, 0.0, 0.0)).mean()
    assert at(shaded, seen_from, (0.3, -0.3, 0.0)).mean() > 0.8 * at(open_room, seen_from, (0.3, -0.3, 0.0)).mean()


def test_direct_light_is_that_of_a_point_by_hand(handmade, pose) -> None:
    # all but no indirect light: a black room but for the floor, and the lamp above it
    made = handmade(WALLS, shapes.box((3.9, 4.9, 0.01)))
    made = replace(made, tint=np.array(((0, 0, 0), (1, 1, 1)), np.float32))
    seen_from = pose((-1.5, 0.0, 1.5), 0.0, -0.6)
    seen = render.Renderer(made).view(SIZE, K, seen_from)
    for x in (0.0, 0.5, 1.0):
        distance = np.hypot(2.49, x)
        expected = 0.36 * 3 * (2.49 / distance) / (distance**2 + 0.0208)  # albedo, intensity, cosine, distance
        assert at(seen, seen_from, (x, 0.0, 0.01)).mean() == pytest.approx(expected, rel=0.06)


def test_corners_are_darker_than_what_lies_open(handmade) -> None:
    made = handmade(WALLS, shapes.box((0.6, 0.6, 0.6), (1.2, 0.0, 0.0)), light=(-1.9, 0.0, 2.9))
    shader = render.Renderer(made)._shader
    up = np.array([[0, 0], [0, 0], [1, 1]], np.float32)
    points = np.array([[0.88, -0.5], [0, 0], [0, 0]], np.float32)  # beside the box, and in the open
    openness = np.stack([shader._lighting.openness(points, up, np.full(2, phase), 8) for phase in range(16)]).mean(0)
    assert 0.4 < openness[0] < 0.75  # half of the sky is the box's
    assert openness[1] == pytest.approx(1.0)


def test_no_light_comes_through_a_wall(handmade, pose) -> None:
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


def test_highlights_move_with_the_view_and_matte_surfaces_look_alike_from_everywhere(handmade, pose) -> None:
    spots = [(x, y, 0.0) for x in (-0.4, 0.0, 0.4) for y in (-0.3, 0.3)]
    views = [pose((-1.6, 0.2, 1.4), 0.0, -0.6), pose((1.6, -0.3, 1.4), np.pi, -0.6)]
    change = []
    for gloss in (0.0, 0.4):
        shown = render.Renderer(handmade(WALLS, light=(-0.6, 0.0, 2.0), specular=[gloss]))
        first, second = ([at(shown.view(SIZE, K, eye), eye, spot) for spot in spots] for eye in views)
        change.append(np.abs(np.log(np.array(first) / np.array(second))).max())
    assert change[0] < 0.05
    assert change[1] > 0.3


def test_a_mirror_shows_what_is_before_it(handmade, pose) -> None:
    mirror, glow = shapes.box((0.02, 2.0, 2.0), (1.9, 0, 0.5)), shapes.box((0.02, 0.5, 0.5), (-1.98, 0, 1.25))
    made = handmade(WALLS, mirror, glow, specular=[0, 0.9, 0], emission=[0, 0, 1.0])
    seen = render.Renderer(made).view(SIZE, K, pose((-1.0, 0.0, 1.5)))
    # straight ahead the mirror shows the panel behind the camera, far to the side the wall
    middle, aside = seen.color[:, 29:31, 39:41].mean(), seen.color[:, 29:31, 60:62].mean()
    assert (seen.semantic[29:31, 39:62] == 2).all()
    assert middle > 3 * aside


def test_views_of_a_moved_camera_show_the_same_surface_colors(walked, view) -> None:
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


# ---- splits


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
