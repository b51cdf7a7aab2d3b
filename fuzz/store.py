"""Fuzzes the reader of prepared scenes: `python fuzz/store.py -max_total_time=600`.

Checksums stop what befalls a file by accident; so members are changed and sealed again, as one who means harm would.
"""

import tempfile
from pathlib import Path

import common
import numpy as np

with common.instrumented:
    from pri3d_zoo.training.data.frame import Frame
    from pri3d_zoo.training.data.scene import scene_path
    from pri3d_zoo.training.data.scene_writer import SceneWriter
    from pri3d_zoo.training.data.store import SceneStore
    from pri3d_zoo.training.errors import InputError

SIZE = (6, 8)


def scene(folder: Path, labels: bool) -> bytes:
    """A scene of three frames, by the writer itself."""
    generator = np.random.default_rng(0)
    with SceneWriter(folder, "den") as writer:
        for index in range(3):
            writer.add_frame(
                Frame(
                    id=f"{index}",
                    color=generator.integers(0, 256, (*SIZE, 3)).astype(np.uint8),
                    depth=generator.uniform(0, 5, SIZE).astype(np.float32),
                    intrinsics=np.array([[9, 0, 3.5], [0, 9, 2.5], [0, 0, 1.0]]),
                    camera_to_world=np.eye(4),
                    semantic=np.full(SIZE, index, np.uint8) if labels else None,
                    instance=np.full(SIZE, index, np.uint16) if labels else None,
                )
            )
        writer.finish(
            pairs=np.array([[0, 1], [1, 2]], np.int32),
            overlaps=np.array([0.5, 0.75], np.float32),
            voxels=np.array([[-3, 0, 7], [1, 2, 3]], np.int32),
            voxel_colors=np.array([[1, 2, 3], [0, 255, 7]], np.uint8),
            voxel_size=0.02,
            manifest={"skipped": []},
        )
    return scene_path(folder, "den").read_bytes()


def check(data: bytes, folder: Path) -> None:
    """All that is read has the type and the shape that its docstring says."""
    scene_path(folder, "den").write_bytes(data)
    scene = SceneStore(folder).scene("den")
    frames, pairs, voxels = len(scene.frame_ids), scene.pairs, scene.voxels
    assert scene.intrinsics.shape == (frames, 3, 3)
    assert scene.camera_to_world.shape == (frames, 4, 4)
    assert pairs.dtype == np.int32
    assert pairs.shape == (len(scene.overlaps), 2)
    assert not pairs.size or (pairs.min() >= 0 and pairs.max() < frames)
    assert voxels.dtype == np.int32
    assert voxels.shape == scene.voxel_colors.shape == (len(voxels), 3)
    assert scene.voxel_colors.dtype == np.uint8
    for index in range(frames):
        images = (scene.depth(index), scene.semantic(index), scene.instance(index))
        assert scene.color(index).shape == (*scene.size, 3)
        assert all(image is None or image.shape == scene.size for image in images)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        seeds = [scene(Path(place), labels) for labels in (False, True)]
    common.fuzz(check, seeds, refusals=(InputError,), archive=True)
