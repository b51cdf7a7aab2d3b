"""Synthetic rooms, what a camera makes of them: exposure, motion blur, depth sensor, paths."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pri3d_zoo.training.data.sources.synthrooms import SynthRooms, source
from pri3d_zoo.training.data.sources.synthrooms.camera import camera, exposure, sensor, walk
from pri3d_zoo.training.data.sources.synthrooms.light import render
from pri3d_zoo.training.data.sources.synthrooms.rooms import rooms
from pri3d_zoo.training.data.sources.synthrooms.rooms.plan import FloorPlan

SIZE = (60, 80)
SEED = 5


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


def test_white_balance_and_exposure_change_from_frame_to_frame() -> None:
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


def test_exposure_and_white_balance_change_colors_alone(walked, monkeypatch) -> None:
    def brighter_and_warmer(random: np.random.Generator, frames: int) -> exposure.Camera:
        settings = exposure.make_camera(random, frames)
        return replace(settings, exposure=1.5 * settings.exposure, balance=settings.balance * (1.2, 1.0, 0.8))

    frames = walked()[:2]  # before the change, for other tests keep what is rendered here
    monkeypatch.setattr(source, "make_camera", brighter_and_warmer)
    again = SynthRooms(range(SEED, SEED + 1), frames=12, size=SIZE).frames(f"room{SEED:08d}")
    for plain, changed in zip(frames, again, strict=False):
        assert changed.color[..., 0].mean() > 1.1 * plain.color[..., 0].mean()
        assert changed.color[..., 0].mean() / changed.color[..., 2].mean() > 1.1 * (
            plain.color[..., 0].mean() / plain.color[..., 2].mean()
        )
        for name in ("depth", "semantic", "instance", "camera_to_world", "intrinsics"):
            np.testing.assert_array_equal(getattr(changed, name), getattr(plain, name), name)


@pytest.mark.slow
def test_pictures_are_neither_dark_nor_blown_out_nor_flat(walked) -> None:
    for seed in (5, 6, 8):
        color = np.stack([frame.color for frame in walked(seed, 12)]).astype(np.float64)
        assert 50 < color.mean() < 190
        assert (color > 250).mean() < 0.2
        assert (color < 5).mean() < 0.2
        assert color.std() > 20


def test_a_pan_blurs_a_line_by_its_angle_times_the_focal_length(pose) -> None:
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


def test_compression_takes_more_the_lower_its_quality(walked) -> None:
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


def test_most_pixels_of_a_walk_have_depth_near_the_exact_one(walked, view) -> None:
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
def test_a_walk_keeps_clear_and_neither_jumps_nor_whirls(room, seed: int) -> None:
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


def test_a_walk_visits_both_rooms_of_a_plan_by_the_door_and_things_from_several_sides(room) -> None:
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


def test_a_camera_looks_where_its_pose_says(pose) -> None:
    straight = pose((1.0, 2.0, 1.5))
    np.testing.assert_allclose(straight[:3, 2], (1, 0, 0), atol=1e-12)  # forward along world x
    np.testing.assert_allclose(straight[:3, 0], (0, -1, 0), atol=1e-12)  # so its right is world -y
    np.testing.assert_allclose(straight[:3, 1], (0, 0, -1), atol=1e-12)


def test_nothing_hides_behind_walls_from_a_walker(room) -> None:
    spaces = (np.array((((-3.06, -1.5), (-0.06, 1.5)),)), np.array((((0.06, -1.5), (3.06, 1.5)),)))
    plan = FloorPlan(spaces, 2.6, np.array(((-0.06, -0.5), (0.06, 0.5))))
    made = replace(room(), plan=plan, size=plan.size, obstacles=np.zeros((0, 2, 3)))
    space = walk.FreeSpace(made)
    ends = np.array(((-2.0, 1.0), (2.0, 1.0), (2.0, 0.0)))
    np.testing.assert_array_equal(space.sees(np.array((-1.0, 1.2)), ends), (True, False, False))
    assert space.sees(np.array((-1.0, 0.0)), ends)[2]  # through the doorway
