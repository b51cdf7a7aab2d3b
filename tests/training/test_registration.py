"""Colour and depth in one camera: against numbers worked out by hand, brute force, and planes known exactly."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data.sources.registration import register, reproject, resample
from pri3d_zoo.training.errors import InputError

# a scan of ScanNet's
COLOR_SIZE, DEPTH_SIZE = (968, 1296), (480, 640)
COLOR = np.array([[1170.187988, 0, 647.75], [0, 1170.187988, 483.75], [0, 0, 1]])
DEPTH = np.array([[571.623718, 0, 319.5], [0, 571.623718, 239.5], [0, 0, 1]])


def camera(focal: float, u: float, v: float) -> np.ndarray:
    return np.array([[focal, 0, u], [0, focal, v], [0, 0, 1]])


def plane_depth(intrinsics: np.ndarray, size: tuple[int, int], normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane normal . x = distance at the centres of the pixels."""
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack((u, v, np.ones(size)), -1) @ np.linalg.inv(intrinsics).T
    return (distance / (rays @ normal)).astype(np.float32)


def test_one_camera_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    color = generator.integers(0, 256, (*DEPTH_SIZE, 3), dtype=np.uint8)
    depth = generator.random(DEPTH_SIZE, dtype=np.float32)
    image = register(color, DEPTH, depth, DEPTH)
    assert np.array_equal(image.color, color)
    assert np.array_equal(image.depth, depth)
    assert np.array_equal(image.intrinsics, DEPTH)


@pytest.mark.parametrize("factor", [2, 3])
def test_finer_colour_is_averaged_and_depth_kept(factor: int) -> None:
    generator = np.random.default_rng(1)
    depth = generator.random((24, 32), dtype=np.float32)
    blocks = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    intrinsics = camera(30, 15.5, 11.5)
    # the centre of a block of f pixels lies (f - 1) / 2 beyond the centre of its first
    fine = camera(30 * factor, factor * 15.5 + (factor - 1) / 2, factor * 11.5 + (factor - 1) / 2)
    image = register(blocks.repeat(factor, 0).repeat(factor, 1), fine, depth, intrinsics)
    assert np.array_equal(image.color, blocks)
    assert np.array_equal(image.depth, depth)
    assert np.allclose(image.intrinsics, intrinsics, atol=1e-12)


def test_finer_depth_is_sampled_at_centres() -> None:
    depth = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    image = register(np.zeros((4, 4, 3), np.uint8), camera(4, 1.5, 1.5), depth, camera(8, 3.5, 3.5))
    # each centre lies between four readings; the first of them it is
    assert np.array_equal(image.depth, depth[::2, ::2])


@pytest.mark.parametrize("seed", range(5))
def test_resampling_against_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    depth = generator.integers(1, 10000, (23, 31)).astype(np.float32)
    old, new = (camera(generator.uniform(15, 40), *generator.uniform(5, 20, 2)) for _ in range(2))
    found = resample(depth, old, (20, 27), new)
    for v in range(20):
        for u in range(27):
            ray = np.linalg.inv(new) @ (u, v, 1)
            column, row, _ = np.rint(old @ ray).astype(int)
            inside = 0 <= row < 23 and 0 <= column < 31
            assert found[v, u] == (depth[row, column] if inside else 0)


def test_scannet_cameras_see_one_plane_without_bias() -> None:
    normal, distance = np.array([0.5, -0.3, 0.8]), 2.0
    depth = plane_depth(DEPTH, DEPTH_SIZE, normal, distance)
    image = register(np.zeros((*COLOR_SIZE, 3), np.uint8), COLOR, depth, DEPTH)
    assert image.depth.shape == image.color.shape[:2] == DEPTH_SIZE
    expected = plane_depth(image.intrinsics, DEPTH_SIZE, normal, distance)
    seen = image.depth > 0
    assert seen.mean() > 0.99
    error = (image.depth - expected)[seen]
    step = np.abs(np.diff(expected, axis=1))[seen[:, 1:]].mean() + np.abs(np.diff(expected, axis=0))[seen[1:]].mean()
    assert np.abs(error).max() < 0.02
    assert np.abs(error).mean() < 0.5 * step
    assert abs(error.mean()) < 0.05 * step  # half a pixel of shift would be half a step


@pytest.mark.parametrize("seed", range(5))
def test_reprojection_against_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    depth = generator.uniform(0.5, 4, (18, 24)).astype(np.float32) * (generator.random((18, 24)) < 0.8)
    old, new = camera(20, 11.3, 8.6), camera(17, 9.2, 7.1)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(generator.normal(0, 0.1, 3)).as_matrix()
    motion[:3, 3] = generator.normal(0, 0.1, 3)
    expected = np.full((15, 20), np.inf)
    for v, u in zip(*np.nonzero(depth), strict=True):
        point = motion[:3, :3] @ (np.linalg.inv(old) @ (u, v, 1) * depth[v, u]) + motion[:3, 3]
        column, row, _ = np.rint(new @ point / point[2]).astype(int)
        if point[2] > 0 and 0 <= row < 15 and 0 <= column < 20:
            expected[row, column] = min(expected[row, column], point[2])
    found = reproject(depth.astype(np.float32), old, (15, 20), new, motion)
    assert np.allclose(found, np.where(np.isinf(expected), 0, expected), atol=1e-5)
    assert (found > 0).mean() > 0.3


def test_the_nearer_surface_hides_the_other() -> None:
    depth = np.full((60, 80), 3, np.float32)
    depth[:, 30:50] = 1
    motion = np.eye(4)
    motion[0, 3] = 0.1  # at 60 pixels of focal length: 6 pixels near, 2 far
    image = register(np.zeros((60, 80, 3), np.uint8), camera(60, 40, 30), depth, camera(60, 40, 30), motion)
    row = image.depth[30]
    assert (row[36:56] == 1).all()
    assert (row[56:] == 3).all()  # of the far plane, what the near one has moved over is gone
    assert (row[:2] == 0).all()
    assert (row[2:32] == 3).all()
    assert (row[32:36] == 0).all()  # what the depth camera could not see


def test_a_moved_camera_sees_the_same_plane() -> None:
    normal, distance = np.array([0.2, 0.1, 0.97]), 2.0
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [0.5, -0.4, 0.2], degrees=True).as_matrix()
    motion[:3, 3] = (-0.025, 0.001, 0.002)
    depth = plane_depth(camera(585, 320, 240), DEPTH_SIZE, normal, distance)
    new = camera(525, 320, 240)
    image = register(np.zeros((*DEPTH_SIZE, 3), np.uint8), new, depth, camera(585, 320, 240), motion)
    turned = motion[:3, :3] @ normal
    expected = plane_depth(new, DEPTH_SIZE, turned, distance + turned @ motion[:3, 3])
    seen = image.depth > 0
    assert seen.mean() > 0.75  # the depth camera sees less
    error = (image.depth - expected)[seen]
    assert np.abs(error).max() < 0.003
    assert abs(error.mean()) < 1e-4


def test_no_readings_stay_none() -> None:
    depth, motion = np.zeros((6, 8), np.float32), np.eye(4)
    assert not register(np.zeros((6, 8, 3), np.uint8), camera(8, 4, 3), depth, camera(8, 4, 3)).depth.any()
    motion[2, 3] = 1
    assert not register(np.zeros((6, 8, 3), np.uint8), camera(8, 4, 3), depth, camera(8, 4, 3), motion).depth.any()


@pytest.mark.parametrize("bad", [[[30, 2, 15], [0, 30, 11], [0, 0, 1]], camera(-30, 15, 11), camera(np.nan, 15, 11)])
def test_cameras_that_are_no_pinholes_are_refused(bad: list[list[float]]) -> None:
    color, depth = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.float32)
    with pytest.raises(InputError, match="the depth intrinsics are not those of a pinhole"):
        register(color, camera(8, 4, 3), depth, np.array(bad, float))
    with pytest.raises(InputError, match="the colour intrinsics are not those of a pinhole"):
        register(color, np.array(bad, float), depth, camera(8, 4, 3))
