"""Fixtures that several test files share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.geometry import depth_to_world
from pri3d_zoo.training.pretrain import pretrain


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real frames; it belongs to the developers' workplace, a public clone does not have it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: the folder shared/data is not beside this clone")
    return folder


def box_room_frame(number: int, yaw: float, shift: float, size: tuple[int, int] = (48, 64), phase: float = 0.0):
    """A camera inside a 4 x 3 x 4 m box whose walls carry a colourful pattern: exact depth, no renderer needed."""
    height, width = size
    focal = 0.9 * width
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    v, u = np.mgrid[:height, :width]
    rays = np.stack(((u - intrinsics[0, 2]) / focal, (v - intrinsics[1, 2]) / focal, np.ones(size)), -1)
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    pose[:3, 3] = (shift, 0.1, 0.0)
    directions = rays @ pose[:3, :3].T
    half = np.array([2.0, 1.5, 2.0])
    with np.errstate(divide="ignore"):
        distances = (np.sign(directions) * half - pose[:3, 3]) / directions
    depth = distances.min(-1)  # along the ray (x, y, 1), so this is z
    points = pose[:3, 3] + directions * depth[..., None]
    waves = np.sin(points @ np.array([[5.0, 11, 3], [7, 2, 13], [3, 8, 6]]) + phase)
    color = (127 + 120 * waves).astype(np.uint8)
    return Frame(f"{number:03d}", color, depth.astype(np.float32), intrinsics, pose)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Path:
    """Two scenes of four frames of 48x64 with voxels of 10 cm, quick to train on."""
    root = tmp_path_factory.mktemp("tiny_store")
    for scene in range(2):
        frames = [box_room_frame(i, 0.2 * i + scene, 0.1 * i, phase=float(scene)) for i in range(4)]
        points, colors = [], []
        for frame in frames:
            arrays = (frame.depth, frame.intrinsics, frame.camera_to_world)
            points.append(depth_to_world(*(torch.from_numpy(a).double() for a in arrays)).numpy())
            colors.append(frame.color.reshape(-1, 3))
        voxels, first = np.unique(np.floor(np.concatenate(points) / 0.1).astype(np.int32), axis=0, return_index=True)
        with SceneWriter(root, f"box{scene}") as writer:
            for frame in frames:
                writer.add_frame(frame)
            writer.finish(
                pairs=np.array([(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)], np.int32),
                overlaps=np.array([0.8, 0.6, 0.8, 0.6, 0.8], np.float32),
                voxels=voxels,
                voxel_colors=np.concatenate(colors)[first],
                voxel_size=0.1,
                manifest={},
            )
    return root


@pytest.fixture(scope="session")
def tiny_settings(tiny_store) -> list[str]:
    """Overrides of the demo recipe for a joint training of a few seconds on the tiny store."""
    return [
        f"data.store={tiny_store}",
        "data.workers=0",
        "size=[48,64]",
        "batch_size=2",
        "steps=4",
        "log_every=1",
        "checkpoint_every=2",
        "loss.matches=64",
        "precision=float32",
    ]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_settings) -> Path:
    """The folder of a finished joint run on the tiny store; tests only read it."""
    run = tmp_path_factory.mktemp("runs") / "joint"
    assert pretrain(load_config("demo", [f"run={run}", *tiny_settings]))
    return run
