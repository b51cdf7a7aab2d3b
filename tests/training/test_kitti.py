"""KITTI's layout: cameras and poses brought together, the offset of drives, and what is said of broken files."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources.kitti import DRIVES, KittiSource
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError

SIZE = (94, 310)
FOCAL, CENTER = 180.0, (152.0, 43.0)
BASELINE = 0.06  # metres that camera 2 is to the left of camera 0
FRAMES = 10


def street_depth(position: float, keep: np.ndarray) -> np.ndarray:
    """A street 12 m wide with walls 6 m high, 1.6 m below the camera, closed 70 m from its start; sparse."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack(((u - CENTER[0]) / FOCAL, (v - CENTER[1]) / FOCAL), -1)
    with np.errstate(divide="ignore"):
        sides = 6 / np.abs(rays[..., 0])
        ground = np.where(rays[..., 1] > 0, 1.6 / rays[..., 1], np.inf)
    depth = np.minimum(np.minimum(sides, ground), 70 - position)
    return np.where(keep & (depth * rays[..., 1] > -4.4), depth, 0)


def write_sequence(root: Path, scene: str, *, split: str = "train", raw: bool = False) -> dict[int, np.ndarray]:
    """Frames 5 and on of a sequence that drives 1 m a frame along z; the depth of each, as written."""
    drive, start = DRIVES[scene]
    sequence = root / "dataset" / "sequences" / scene
    colors = root / "raw" / drive[:10] / drive / "image_02" / "data" if raw else sequence / "image_2"
    depths = root / "data_depth_annotated" / split / drive / "proj_depth" / "groundtruth" / "image_02"
    for folder in (root / "dataset" / "poses", sequence, colors, depths):
        folder.mkdir(parents=True, exist_ok=True)
    poses = np.tile(np.eye(3, 4), (5 + FRAMES, 1, 1))
    poses[:, 2, 3] = np.arange(len(poses))
    np.savetxt(root / "dataset" / "poses" / f"{scene}.txt", poses.reshape(-1, 12), fmt="%e")
    p0 = np.array([[FOCAL, 0, CENTER[0], 0], [0, FOCAL, CENTER[1], 0], [0, 0, 1, 0]])
    p2 = p0 + np.array([[0, 0, 0, FOCAL * BASELINE], [0, 0, 0, 0.2], [0, 0, 0, 0.003]])
    lines = [f"{name}: " + " ".join(f"{value:.12e}" for value in p.flat) for name, p in (("P0", p0), ("P2", p2))]
    (sequence / "calib.txt").write_text("\n".join(lines) + "\n")
    generator = np.random.default_rng(0)
    written = {}
    for number in range(5, 5 + FRAMES + 3):  # drives run on where sequences end
        depth = street_depth(float(number), generator.random(SIZE) < 0.16)
        units = np.rint(depth * 256).astype(np.uint16)
        Image.fromarray(units).save(depths / f"{start + number:010d}.png")
        color = generator.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(color).save(colors / (f"{start + number:010d}.png" if raw else f"{number:06d}.png"))
        written[number] = units / 256
    return written


def one_skipped(root: Path, number: int) -> str:
    """The reason for which the only frame that is left out, that of the number, is left out."""
    found = list(KittiSource(root, stride=1).frames("05"))
    skipped = [frame for frame in found if isinstance(frame, SkippedFrame)]
    assert len(found) == FRAMES
    assert [frame.id for frame in skipped] == [f"{number:06d}"]
    return skipped[0].reason


def test_text_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    write_sequence(tmp_path, "05")
    for path in (*tmp_path.rglob("calib.txt"), *tmp_path.rglob("05.txt")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert all(isinstance(frame, Frame) for frame in KittiSource(tmp_path, stride=1).frames("05"))


@pytest.mark.parametrize(
    ("scene", "split", "raw"), [("05", "train", False), ("08", "val", False), ("08", "train", True)]
)
def test_frames_come_back(tmp_path: Path, scene: str, split: str, raw: bool) -> None:
    written = write_sequence(tmp_path, scene, split=split, raw=raw)
    source = pickle.loads(pickle.dumps(KittiSource(tmp_path, stride=3)))
    assert source.scene_ids() == [scene]
    frames = list(source.frames(scene))
    assert [frame.id for frame in frames] == ["000005", "000008", "000011", "000014"]
    for frame in frames:
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.depth, written[int(frame.id)].astype(np.float32))
        # a point of camera 0's coordinates falls where P2 maps it
        point = np.array([1.5, -0.7, 9.0])
        world = point + np.array([0, 0, int(frame.id)])
        local = np.linalg.inv(frame.camera_to_world) @ [*world, 1]
        pixel = frame.intrinsics @ local[:3]
        by_hand = np.array([FOCAL * (1.5 + BASELINE) + CENTER[0] * 9, FOCAL * -0.7 + 0.2 + CENTER[1] * 9, 9.003])
        assert np.allclose(pixel / pixel[2], by_hand / by_hand[2], atol=1e-6)


def test_street_through_prepare(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_sequence(tmp_path, "05")
    with caplog.at_level(logging.INFO):
        frames = list(KittiSource(tmp_path, stride=1).frames("05"))
    beyond = sum(int((frame.depth > 65.535).sum()) for frame in frames if isinstance(frame, Frame))
    assert not beyond  # the end of the street is 65 m off at most
    report = prepare(KittiSource(tmp_path, stride=1), tmp_path / "store", size=SIZE, workers=1, arguments={})
    assert (report.frames, report.voxels, report.failed) == (FRAMES, 0, {})
    scene = SceneStore(tmp_path / "store").scene("05")
    assert np.abs(scene.depth(0) - frames[0].depth).max() <= 0.0006
    # of a street seen in steps of 1 m by one pixel in six, 2 cm find next to nothing, and half a metre nearly all
    depth = np.stack([scene.depth(index) for index in range(FRAMES)])
    _, near = mine_pairs(depth, scene.intrinsics, scene.camera_to_world, radius=0.02, min_overlap=0)
    pairs, wide = mine_pairs(depth, scene.intrinsics, scene.camera_to_world, radius=0.5, min_overlap=0.3)
    assert near.max() < 0.05
    assert wide[(pairs[:, 1] - pairs[:, 0]) == 1].min() > 0.8


def test_what_no_store_can_hold_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_sequence(tmp_path, "05")
    path = next(tmp_path.glob("data_depth_annotated/train/*/proj_depth/groundtruth/image_02/0000000007.png"))
    Image.fromarray(np.where(np.arange(SIZE[1]) < 3, 80 * 256, np.full(SIZE, 2560)).astype(np.uint16)).save(path)
    with caplog.at_level(logging.INFO):
        list(KittiSource(tmp_path, stride=1).frames("05"))
    assert f"{3 * SIZE[0]} of " in caplog.text
    assert "beyond 65.5 m" in caplog.text


def test_broken_frames_are_skipped(tmp_path: Path) -> None:
    write_sequence(tmp_path, "05")
    color = tmp_path / "dataset/sequences/05/image_2/000006.png"
    depth = next(tmp_path.glob("data_depth_annotated/*/*/proj_depth/groundtruth/image_02/0000000006.png"))
    whole_color, whole_depth = color.read_bytes(), depth.read_bytes()
    for data in (b"", whole_color[: len(whole_color) // 2]):
        color.write_bytes(data)
        assert "image_2/000006.png is broken" in one_skipped(tmp_path, 6)
    color.unlink()
    assert "image_2/000006.png is missing" in one_skipped(tmp_path, 6)
    color.write_bytes(whole_color)
    depth.write_bytes(whole_depth[: len(whole_depth) // 2])
    assert "image_02/0000000006.png is broken" in one_skipped(tmp_path, 6)
    Image.fromarray(np.full(SIZE, 200, np.uint8)).save(depth)
    assert "image_02/0000000006.png has pixels of mode L, where I;16" in one_skipped(tmp_path, 6)
    Image.fromarray(np.full(SIZE, 200, np.uint16)).save(depth)
    assert "image_02/0000000006.png reaches only 200" in one_skipped(tmp_path, 6)
    Image.fromarray(np.full((5, 5), 2000, np.uint16)).save(depth)
    assert "must be registered" in one_skipped(tmp_path, 6)


@pytest.mark.parametrize("value", ["-inf", "nan", "3.0"])
def test_bad_poses_are_skipped(tmp_path: Path, value: str) -> None:
    write_sequence(tmp_path, "05")
    path = tmp_path / "dataset/poses/05.txt"
    lines = path.read_text().splitlines()
    lines[9] = " ".join([value, *lines[9].split()[1:]])
    path.write_text("\n".join(lines))
    assert "poses/05.txt, line 10: the pose is not" in one_skipped(tmp_path, 9)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("poses/05.txt", "1 0 0\n", "3 numbers a line"),
        ("poses/05.txt", "one two\n", "cannot be read"),
        ("sequences/05/calib.txt", "P0: 1 0 0\n", "no projection P2"),
        ("sequences/05/calib.txt", "P2: 1 0 0\n", "no projection P2"),
        ("sequences/05/calib.txt", "P2:" + " 0" * 12, "no projection P2"),
    ],
)
def test_bad_files_of_a_sequence_stop_it(tmp_path: Path, name: str, text: str, reason: str) -> None:
    write_sequence(tmp_path, "05")
    (tmp_path / "dataset" / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}.*{reason}"):
        next(KittiSource(tmp_path, stride=1).frames("05"))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sequence of KITTI in it"):
        KittiSource(tmp_path, stride=1)
    write_sequence(tmp_path, "05")
    with pytest.raises(InputError, match=r"2 of the 3 scenes asked for are not there \(03, 07\)"):
        KittiSource(tmp_path, stride=1, scenes=["05", "07", "03"])
    with pytest.raises(InputError, match="at least 1"):
        KittiSource(tmp_path, stride=0)
