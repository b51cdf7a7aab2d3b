"""Cameras, points and voxels against numbers worked out by hand and against brute force."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.geometry import (
    depth_to_world,
    frustum_box,
    invert_rigid,
    nearest_pixel,
    nearest_voxel,
    pack_keys,
    pixel_box,
    pixel_grid,
    project,
    quantize,
    scale_intrinsics,
    seen_pixel,
    transform,
    unproject,
    voxel_centers,
)

INTRINSICS = torch.tensor([[100.0, 0, 15.5], [0, 110, 11.5], [0, 0, 1]], dtype=torch.float64)


def random_poses(number: int, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    poses = np.repeat(np.eye(4)[None], number, 0)
    poses[:, :3, :3] = Rotation.random(number, rng=generator).as_matrix()
    poses[:, :3, 3] = generator.uniform(-3, 3, (number, 3))
    return torch.as_tensor(poses)


def test_intrinsics_of_a_resized_image_by_hand() -> None:
    # half the size: the centre of new pixel 0 lies between old pixels 0 and 1, at old 0.5
    scaled = scale_intrinsics(torch.tensor([[500.0, 0, 319.5], [0, 480, 239.5], [0, 0, 1]]), (480, 640), (240, 320))
    assert torch.allclose(scaled, torch.tensor([[250.0, 0, 159.5], [0, 240, 119.5], [0, 0, 1]]))
    # a third in height, unchanged in width; old v = 1 (the middle of three) is new v = 0
    scaled = scale_intrinsics(torch.tensor([[500.0, 0, 10], [0, 300, 1], [0, 0, 1]]), (90, 64), (30, 64))
    assert torch.allclose(scaled, torch.tensor([[500.0, 0, 10], [0, 100, 0], [0, 0, 1]]), atol=1e-5)


def test_scaled_intrinsics_keep_rays() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(50, 3, generator=generator, dtype=torch.float64) + torch.tensor([0, 0, 1])
    old, _ = project(points, INTRINSICS)
    new, _ = project(points, scale_intrinsics(INTRINSICS, (24, 32), (36, 16)))
    assert torch.allclose((old + 0.5) * torch.tensor([0.5, 1.5]), new + 0.5)


def test_invert_rigid_is_the_inverse() -> None:
    poses = random_poses(20)
    assert torch.allclose(invert_rigid(poses), torch.linalg.inv(poses), atol=1e-12)


def test_project_undoes_unproject() -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(4, 100, 2, generator=generator, dtype=torch.float64) * 30
    depth = torch.rand(4, 100, generator=generator, dtype=torch.float64) * 5 + 0.1
    back, z = project(unproject(pixels, depth, INTRINSICS.expand(4, 3, 3)), INTRINSICS.expand(4, 3, 3))
    assert torch.allclose(back, pixels)
    assert torch.allclose(z, depth)


def test_project_behind_the_camera_is_finite() -> None:
    pixels, depth = project(torch.tensor([[1.0, 1, 0], [1, 1, -2]]), INTRINSICS.float())
    assert torch.isfinite(pixels).all()
    assert (depth <= 0).all()


def test_transform_by_hand() -> None:
    quarter_turn = torch.tensor([[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])
    assert transform(torch.tensor([[1.0, 2, 3]]), quarter_turn).tolist() == [[8, 21, 33]]


def test_pixels_run_row_by_row() -> None:
    assert pixel_grid((2, 3)).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_depth_to_world_by_hand() -> None:
    depth = torch.tensor([[2.0, 0.0]])
    camera = torch.tensor([[4.0, 0, 1], [0, 4, 0], [0, 0, 1]])
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([0.0, 0, 5])
    assert depth_to_world(depth, camera, pose).tolist() == [[-0.5, 0, 7], [0, 0, 5]]


def test_frustum_box_by_hand() -> None:
    depth = torch.full((24, 32), 2.0)
    camera = torch.tensor([[16.0, 0, 15.5], [0, 12, 11.5], [0, 0, 1]], dtype=torch.float64)  # 45 degrees to each side
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([1.0, 2, 3])
    assert frustum_box(depth, camera, pose).tolist() == [[-1, 0, 3], [3, 4, 5]]


def test_invalid_depth_never_widens_the_frustum() -> None:
    generator = torch.Generator().manual_seed(2)
    depth = torch.rand(3, 24, 32, generator=generator) + 1
    poses = random_poses(3)
    cameras = INTRINSICS.expand(3, 3, 3)
    full = frustum_box(depth, cameras, poses)
    depth[:, 3:20, 5:30] = 0
    cut = frustum_box(depth, cameras, poses)
    assert (cut[:, 0] >= full[:, 0]).all()
    assert (cut[:, 1] <= full[:, 1]).all()
    nothing = frustum_box(torch.zeros(3, 24, 32), cameras, poses)
    assert torch.equal(nothing[:, 0], poses[:, :3, 3])
    assert torch.equal(nothing[:, 1], poses[:, :3, 3])


def test_frustum_box_holds_all_points() -> None:
    depth = torch.rand(5, 24, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.5
    poses = random_poses(5)
    points = depth_to_world(depth, INTRINSICS.expand(5, 3, 3), poses)
    box = frustum_box(depth, INTRINSICS.expand(5, 3, 3), poses)
    assert (points >= box[:, :1]).all()
    assert (points <= box[:, 1:]).all()


def test_pixel_box_by_hand() -> None:
    """The authors' box: of what the pixels see, rounded outward, and of the camera where a pixel sees nothing."""
    camera = torch.tensor([[16.0, 0, 15.5], [0, 12, 11.5], [0, 0, 1]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.5, 0.25, 1.5])
    depth = torch.zeros(24, 32, dtype=torch.float64)
    depth[:, :] = 2.0
    # x: 0.5 + 2 * (-15.5 .. 15.5) / 16, y: 0.25 + 2 * (-11.5 .. 11.5) / 12, z: 3.5
    assert pixel_box(depth, camera, pose).tolist() == [[-2, -2, 3], [3, 3, 4]]
    depth[5, 5] = 0
    assert pixel_box(depth, camera, pose).tolist() == [[-2, -2, 1], [3, 3, 4]]
    assert pixel_box(torch.zeros_like(depth), camera, pose).tolist() == [[0, 0, 1], [1, 1, 2]]
    two = pixel_box(torch.stack((depth, depth * 0)), camera.expand(2, 3, 3), pose.expand(2, 4, 4))
    assert two.tolist() == [[[-2, -2, 1], [3, 3, 4]], [[0, 0, 1], [1, 1, 2]]]


def test_seen_pixel_by_hand() -> None:
    camera = torch.tensor([[10.0, 0, 4.0], [0, 10, 3.0], [0, 0, 1]])
    depth = torch.stack((torch.full((7, 9), 2.0), torch.full((7, 9), 5.0)))
    depth[0, 3, 5] = 0
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 1.0
    points = torch.tensor(
        [
            [0.0, 0, 2.04],  # the principal point, 4 cm behind the surface
            [0.0, 0, 2.06],  # 6 cm
            [0.2, 0, 2.0],  # u = 5: no reading
            [0.09, 0, 2.0],  # u = 4.45, rounded to 4
            [0.11, -0.2, 2.0],  # u = 4.55, no reading is at (3, 5), but this is v = 2
            [0.9, 0, 2.0],  # u = 8.5, rounded to the even 8
            [1.0, 0, 2.0],  # outside
            [0.0, 0, -2.0],  # behind
        ]
    )
    view = torch.zeros(8, dtype=torch.long)
    cameras = camera.expand(2, 3, 3)
    index, found = seen_pixel(points, view, depth, cameras, poses, 0.05)
    assert found.tolist() == [True, False, False, True, True, True, False, False]
    assert index[found].tolist() == [3 * 9 + 4, 3 * 9 + 4, 2 * 9 + 5, 3 * 9 + 8]
    # the other view stands 1 m to the right and sees a wall at 5 m
    index, found = seen_pixel(torch.tensor([[[1.5, 0.5, 4.97]]]), torch.ones(1, 1).long(), depth, cameras, poses, 0.05)
    assert (index.tolist(), found.tolist()) == ([[4 * 9 + 5]], [[True]])


def test_voxels_of_negative_points() -> None:
    points = torch.tensor([[-0.001, 0.0, 0.019], [-0.02, -0.021, 0.02]])
    assert quantize(points, 0.02).tolist() == [[-1, 0, 0], [-1, -2, 1]]
    assert torch.allclose(voxel_centers(torch.tensor([[-1, 0, 3]]), 0.02), torch.tensor([[-0.01, 0.01, 0.07]]))


def test_keys_sort_like_batch_and_coordinates() -> None:
    generator = torch.Generator().manual_seed(4)
    rows = torch.randint(-131072, 131072, (1000, 4), generator=generator)
    rows[:, 0] = rows[:, 0].abs() % 512
    rows[500:, :3] = rows[:500, :3]  # so that the last column decides in half of the cases
    expected = torch.unique(rows, dim=0)
    keys = pack_keys(expected[:, 1:], expected[:, 0])
    assert (keys.diff() > 0).all()


def nearest_in_window(point: np.ndarray, cloud: np.ndarray, pixel: np.ndarray, window: int) -> tuple[int | None, float]:
    """Brute force: of the pixels (v, u) with a point in the window, the flat index of the nearest and its distance."""
    height, width = cloud.shape[:2]
    best: tuple[int | None, float] = (None, np.inf)
    for v in range(max(0, pixel[1] - window), min(height, pixel[1] + window + 1)):
        for u in range(max(0, pixel[0] - window), min(width, pixel[0] + window + 1)):
            distance = np.linalg.norm(cloud[v, u] - point)
            if distance < best[1]:
                best = (v * width + u, distance)
    return best


@pytest.mark.parametrize("window", [0, 1, 3])
def test_nearest_pixel_is_the_nearest_in_its_window(window: int) -> None:
    generator = np.random.default_rng(5)
    depth = generator.uniform(1, 1.05, (2, 24, 32)).astype(np.float32)
    depth[:, generator.random((24, 32)) < 0.2] = 0
    poses = random_poses(2, seed=6)
    cameras = INTRINSICS.expand(2, 3, 3)
    images = torch.as_tensor(depth).double()
    cloud = depth_to_world(images, cameras, poses)
    points = cloud + torch.as_tensor(generator.normal(0, 0.02, cloud.shape))
    # beside the image and behind the camera as well
    points[:, :5] = poses[:, None, :3, 3] - torch.as_tensor(generator.random((2, 5, 3)))
    index, found = nearest_pixel(points, images, cameras, poses, 0.02, window)
    pixels, z = project(transform(points, invert_rigid(poses)), cameras)
    for view in range(2):
        valid = np.where(depth[view] > 0, 0, np.nan)[..., None] + cloud[view].view(24, 32, 3).numpy()
        for point in range(0, points.shape[1], 7):
            which, distance = nearest_in_window(
                points[view, point].numpy(), valid, pixels[view, point].round().long().numpy(), window
            )
            assert bool(found[view, point]) == (distance <= 0.02 and bool(z[view, point] > 0))
            if found[view, point]:
                assert index[view, point] == which


def test_nearest_pixel_on_real_frames(real_data) -> None:
    scene = real_data / "rgbd" / "7scenes_redkitchen"
    camera = torch.as_tensor(np.loadtxt(scene / "intrinsics.txt"))
    depth, poses = [], []
    for id in ("000000", "000010"):
        depth.append(np.array(Image.open(scene / "depth" / f"{id}.png")) / 1000)
        poses.append(np.loadtxt(scene / "pose" / f"{id}.txt"))
    images, pose = torch.as_tensor(np.stack(depth)), torch.as_tensor(np.stack(poses))
    points = depth_to_world(images, camera.expand(2, 3, 3), pose)
    queries = points[0][(images[0] > 0).flatten()][::11]
    index, found = nearest_pixel(queries[None], images[1:], camera[None], pose[1:], 0.02, window=7)
    valid = (images[1] > 0).flatten()
    distance, _ = cKDTree(points[1][valid].numpy()).query(queries.numpy())
    truly = torch.as_tensor(distance <= 0.02)
    assert truly.float().mean() > 0.5
    assert (found[0] == truly).float().mean() > 0.998
    chosen = (points[1][index[0]] - queries).norm(dim=-1)
    # the rotations of these files are orthonormal to 4e-4 only, so distances differ between world and camera
    assert (chosen - torch.as_tensor(distance))[found[0] & truly].max() < 0.0005


def test_nearest_voxel_is_brute_force() -> None:
    generator = torch.Generator().manual_seed(7)
    coordinates = torch.unique(torch.randint(-9, 9, (2000, 3), generator=generator), dim=0)
    batch = torch.arange(len(coordinates)) % 2
    keys, order = pack_keys(coordinates, batch).sort()
    points = (torch.rand(3000, 3, generator=generator) - 0.5) * 0.4
    sample = torch.randint(0, 2, (3000,), generator=generator)
    index, found = nearest_voxel(points, sample, keys, 0.02, 0.02)
    centers = voxel_centers(coordinates[order], 0.02)
    for number in range(2):
        mine = (batch[order] == number).nonzero()[:, 0]
        chosen = sample == number
        distance, nearest = cKDTree(centers[mine].numpy()).query(points[chosen].numpy())
        assert torch.equal(found[chosen], torch.as_tensor(distance <= 0.02))
        hit = found[chosen]
        assert torch.equal(index[chosen][hit], mine[torch.as_tensor(nearest)][hit])


def test_nearest_voxel_among_none() -> None:
    _, found = nearest_voxel(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long), torch.zeros(0).long(), 0.02, 0.02)
    assert not found.any()
