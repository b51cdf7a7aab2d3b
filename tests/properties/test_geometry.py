"""Cameras, rigid motions and voxels of any kind: what must hold for all of them."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.geometry import (
    depth_to_world,
    frustum_box,
    invert_rigid,
    nearest_pixel,
    pack_keys,
    project,
    quantize,
    scale_intrinsics,
    transform,
    unproject,
    voxel_centers,
)

quickly = settings(derandomize=True, deadline=None, max_examples=60)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def cameras(draw: st.DrawFn) -> torch.Tensor:
    focal, center = numbers(10, 2000), numbers(-100, 1000)
    return torch.tensor(
        [[draw(focal), 0, draw(center)], [0, draw(focal), draw(center)], [0, 0, 1]], dtype=torch.float64
    )


@st.composite
def poses(draw: st.DrawFn) -> torch.Tensor:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [draw(numbers(-math.pi, math.pi)) for _ in range(3)]).as_matrix()
    pose[:3, 3] = [draw(numbers(-100, 100)) for _ in range(3)]
    return torch.from_numpy(pose)


points = st.lists(st.tuples(*[numbers(-50, 50)] * 3), min_size=1, max_size=8).map(
    lambda rows: torch.tensor(rows, dtype=torch.float64)
)
cells = st.lists(st.tuples(*[st.integers(-(2**17), 2**17 - 1)] * 3), min_size=1, max_size=8)


@quickly
@given(cameras(), st.lists(st.tuples(numbers(-500, 2000), numbers(-500, 2000), numbers(0.05, 60)), min_size=1))
def test_a_pixel_that_is_unprojected_projects_to_itself(intrinsics: torch.Tensor, rows: list) -> None:
    values = torch.tensor(rows, dtype=torch.float64)
    pixels, depth = project(unproject(values[:, :2], values[:, 2], intrinsics), intrinsics)
    assert torch.allclose(pixels, values[:, :2], rtol=0, atol=1e-6)
    assert torch.equal(depth, values[:, 2])


@quickly
@given(cameras(), points)
def test_project_is_the_pinhole_equation(intrinsics: torch.Tensor, local: torch.Tensor) -> None:
    pixels, depth = project(local, intrinsics)
    assert torch.isfinite(pixels).all()  # behind the camera too
    for pixel, z, point in zip(pixels.numpy(), depth.numpy(), local.numpy(), strict=True):
        if z > 1e-3:
            homogeneous = intrinsics.numpy() @ point
            assert np.allclose(pixel, homogeneous[:2] / homogeneous[2], rtol=1e-9, atol=1e-6)


@quickly
@given(poses(), poses(), points)
def test_rigid_motions_compose_and_invert(first: torch.Tensor, second: torch.Tensor, world: torch.Tensor) -> None:
    assert torch.allclose(transform(transform(world, first), second), transform(world, second @ first), atol=1e-9)
    assert torch.allclose(invert_rigid(first), torch.linalg.inv(first), atol=1e-9)
    assert torch.allclose(transform(transform(world, first), invert_rigid(first)), world, atol=1e-9)
    moved = transform(world, first)
    assert torch.allclose(torch.cdist(moved, moved), torch.cdist(world, world), atol=1e-5)


@quickly
@given(st.lists(st.tuples(*[numbers(-1000, 1000)] * 3), min_size=1, max_size=8), numbers(0.005, 2))
def test_a_voxel_holds_its_points(rows: list, voxel_size: float) -> None:
    found = quantize(torch.tensor(rows, dtype=torch.float64), voxel_size)
    assert found.tolist() == [[math.floor(value / voxel_size) for value in row] for row in rows]  # floored, not cut


@quickly
@given(cells, numbers(0.005, 2))
def test_the_centre_of_a_voxel_lies_in_it(rows: list, voxel_size: float) -> None:
    coordinates = torch.tensor(rows) // 64  # beyond, the half of a voxel is lost in the 24 bits of a float32
    assert torch.equal(quantize(voxel_centers(coordinates, voxel_size), voxel_size), coordinates)


@quickly
@given(st.lists(st.tuples(st.integers(0, 511), *[st.integers(-(2**17), 2**17 - 1)] * 3), min_size=1, max_size=20))
def test_keys_are_in_the_order_of_coordinates_and_tell_them_apart(rows: list) -> None:
    values = torch.tensor(rows)
    keys = pack_keys(values[:, 1:], values[:, 0]).tolist()
    assert sorted(range(len(rows)), key=keys.__getitem__) == sorted(range(len(rows)), key=rows.__getitem__)
    assert len(set(keys)) == len(set(rows))


@quickly
@given(cameras(), numbers(0.1, 30), st.tuples(*[st.integers(1, 64)] * 4))
def test_scaled_intrinsics_keep_the_edges_of_the_image(intrinsics: torch.Tensor, depth: float, sizes: tuple) -> None:
    size, new_size = sizes[:2], sizes[2:]
    scaled = scale_intrinsics(intrinsics, size, new_size)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):  # of each image the same, half a pixel beyond its outer centres
        rays = [
            unproject(
                torch.tensor([[corner[0] * w - 0.5, corner[1] * h - 0.5]], dtype=torch.float64),
                torch.tensor([depth], dtype=torch.float64),
                matrix,
            )
            for (h, w), matrix in ((size, intrinsics), (new_size, scaled))
        ]
        assert torch.allclose(*rays, rtol=1e-9, atol=1e-6)
    assert torch.allclose(scale_intrinsics(scaled, new_size, size), intrinsics, rtol=1e-9, atol=1e-9)


@st.composite
def views(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth (4, 5), a camera that it fills, and its pose."""
    depth = draw(st.lists(st.one_of(st.just(0.0), numbers(0.3, 5)), min_size=20, max_size=20))
    focal = draw(numbers(3, 12))
    intrinsics = torch.tensor([[focal, 0, 2], [0, focal, 1.5], [0, 0, 1]], dtype=torch.float64)
    return torch.tensor(depth, dtype=torch.float64).view(4, 5), intrinsics, draw(poses())


@quickly
@given(views())
def test_every_reading_lies_in_the_box_of_its_frustum(view: tuple) -> None:
    depth, intrinsics, pose = view
    box = frustum_box(depth, intrinsics, pose)
    world = depth_to_world(depth, intrinsics, pose)[depth.flatten() > 0]
    assert (world >= box[0] - 1e-9).all()
    assert (world <= box[1] + 1e-9).all()
    if not depth.any():
        assert torch.equal(box[0], box[1])


@quickly
@given(views(), numbers(0.001, 0.05))
def test_each_reading_is_its_own_nearest_pixel(view: tuple, radius: float) -> None:
    depth, intrinsics, pose = view
    world = depth_to_world(depth, intrinsics, pose)
    index, found = nearest_pixel(world[None], depth[None], intrinsics[None], pose[None], radius)
    valid = depth.flatten() > 0
    assert torch.equal(found[0][valid], valid[valid])
    # another may be as near, to the last bits
    assert torch.allclose(world[index[0][valid]], world[valid], atol=1e-6)
