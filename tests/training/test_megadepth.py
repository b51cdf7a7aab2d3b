"""MegaDepth's layout: COLMAP's models against poses worked out here, the scale, what is said of broken files."""

import pickle
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.overlap import mine_pairs
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources.megadepth import MegaDepthSource
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError

SIZE = (48, 64)
FOCAL = 60.0
UNIT = 0.125  # the model's unit in metres: its scale is any
FRAMES = 6


class NumpyFile(dict):
    """Stands for h5py.File where h5py is not installed: a file of numpy's, read through the same calls."""

    def __init__(self, path: Path, mode: str) -> None:
        try:
            with Path(path).open("rb") as file:
                super().__init__(depth=np.load(file))
        except (EOFError, ValueError):
            raise OSError("file signature not found") from None

    def __enter__(self) -> "NumpyFile":
        return self

    def __exit__(self, *_) -> None:
        pass


def write_depth(path: Path, depth: np.ndarray) -> None:
    if (h5py := sys.modules.get("h5py")) is not None and h5py.File is not NumpyFile:
        with h5py.File(path, "w") as file:
            file["depth"] = depth
    else:
        with path.open("wb") as file:
            np.save(file, depth)


@pytest.fixture(autouse=True)
def h5py_or_its_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("h5py"):
        import h5py  # noqa: F401
    else:
        module = ModuleType("h5py")
        module.File = NumpyFile
        monkeypatch.setitem(sys.modules, "h5py", module)


def wall(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth in metres of the wall z = 4 from a camera at (0.3 number, 0, 0) that looks 0.05 number aside; its pose."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0, 0.05 * number, 0]).as_matrix()
    pose[0, 3] = 0.3 * number
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack(((u - 31.5) / FOCAL, (v - 23.5) / FOCAL, np.ones(SIZE)), -1) @ pose[:3, :3].T
    return 4 / rays[..., 2], pose


@pytest.fixture
def landmark(tmp_path: Path) -> Path:
    """One scene; the images.txt holds the images in another order than that of their names, and some have no points."""
    model = tmp_path / "Undistorted_SfM" / "0021"
    depths = tmp_path / "phoenix" / "S6" / "zl548" / "MegaDepth_v1" / "0021" / "dense0" / "depths"
    for folder in (model / "images", model / "sparse-txt", depths):
        folder.mkdir(parents=True)
    (model / "sparse-txt" / "cameras.txt").write_text(
        "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
        f"# Number of cameras: 2\n7 PINHOLE 64 48 {FOCAL} {FOCAL} 32 24\n8 SIMPLE_PINHOLE 64 48 {FOCAL} 32 24\n"
    )
    lines = ["# Image list with two lines of data per image:"] * 4
    for number in (3, 0, 5, 1, 4, 2):
        depth, pose = wall(number)
        name = f"{number}_photo o.jpg"
        world_to_camera = np.linalg.inv(pose)
        x, y, z, w = -Rotation.from_matrix(world_to_camera[:3, :3]).as_quat()
        translation = world_to_camera[:3, 3] / UNIT
        numbers = " ".join(f"{value:.17g}" for value in (w, x, y, z, *translation))
        lines += [f"{number + 1} {numbers} {7 + number % 2} {name}", "" if number == 1 else "10.5 20.5 -1 3 4 77"]
        color = np.full((*SIZE, 3), 40 * number, np.uint8)
        Image.fromarray(color).save(model / "images" / name)
        write_depth(depths / f"{number}_photo o.h5", (depth / UNIT).astype(np.float32))
    (model / "sparse-txt" / "images.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def depth_file(root: Path, number: int) -> Path:
    return root / "phoenix/S6/zl548/MegaDepth_v1/0021/dense0/depths" / f"{number}_photo o.h5"


def one_skipped(root: Path) -> SkippedFrame:
    """The one frame that is left out."""
    found = list(MegaDepthSource(root, stride=1).frames("0021"))
    skipped = [frame for frame in found if isinstance(frame, SkippedFrame)]
    assert len(found) == FRAMES
    assert len(skipped) == 1
    return skipped[0]


def test_frames_come_back_at_a_scale_of_their_own(landmark: Path) -> None:
    source = pickle.loads(pickle.dumps(MegaDepthSource(landmark, stride=1)))
    assert source.scene_ids() == ["0021"]
    frames = list(source.frames("0021"))
    assert [frame.id for frame in frames] == [f"{number}_photo o" for number in range(FRAMES)]
    factor = 10 / np.median([np.median(wall(number)[0]) for number in range(FRAMES)])
    for number, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        depth, pose = wall(number)
        assert np.allclose(frame.depth, factor * depth, rtol=1e-5)
        assert np.allclose(frame.camera_to_world[:3, :3], pose[:3, :3], atol=1e-9)
        assert np.allclose(frame.camera_to_world[:3, 3], factor * pose[:3, 3], atol=1e-6)
        # COLMAP's (32, 24) is the corner between the four pixels in the middle, so their centres lie around it
        assert np.allclose(frame.intrinsics, [[FOCAL, 0, 31.5], [0, FOCAL, 23.5], [0, 0, 1]])
        assert np.abs(frame.color.astype(int) - 40 * number).max() < 4


def test_stride_and_images_of_the_release(landmark: Path) -> None:
    dense = landmark / "phoenix/S6/zl548/MegaDepth_v1/0021/dense0"
    (landmark / "Undistorted_SfM/0021/images").rename(dense / "imgs")
    frames = list(MegaDepthSource(landmark, stride=4, scenes=["0021"]).frames("0021"))
    assert [type(frame) for frame in frames] == [Frame, Frame]
    assert [frame.id for frame in frames] == ["0_photo o", "4_photo o"]


def test_through_prepare(landmark: Path) -> None:
    report = prepare(MegaDepthSource(landmark, stride=1), landmark / "store", size=SIZE, workers=1, arguments={})
    assert (report.frames, report.voxels, report.failed) == (FRAMES, 0, {})
    scene = SceneStore(landmark / "store").scene("0021")
    depth = np.stack([scene.depth(index) for index in range(FRAMES)])
    # of the two lengths only the share of the distance counts: pixels of this wall are 17 cm apart
    pairs, overlaps = mine_pairs(depth, scene.intrinsics, scene.camera_to_world, radius=0.15, min_overlap=0)
    assert overlaps[(pairs == (0, 1)).all(1)][0] > 0.7
    assert overlaps[(pairs == (0, 5)).all(1)][0] < 0.6


@pytest.mark.parametrize(
    ("depth", "reason"),
    [
        (np.full(SIZE, -1, np.float32), "what is nearer"),
        (np.zeros(SIZE, np.float32), "no reading"),
        (np.full(SIZE, np.nan, np.float32), "no image of finite depths"),
        (np.ones((*SIZE, 3), np.float32), "no image of finite depths"),
        (np.ones((40, 64), np.float32), "must be registered"),
    ],
)
def test_images_without_depth_are_skipped(landmark: Path, depth: np.ndarray, reason: str) -> None:
    write_depth(depth_file(landmark, 2), depth)
    skipped = one_skipped(landmark)
    assert skipped.id == "2_photo o"
    assert reason in skipped.reason


@pytest.mark.parametrize("share", [0, 0.5])
def test_cut_files_are_skipped(landmark: Path, share: float) -> None:
    for path, reason in (
        (depth_file(landmark, 2), "depths/2_photo o.h5 is"),
        (landmark / "Undistorted_SfM/0021/images/2_photo o.jpg", "images/2_photo o.jpg is"),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        assert f"{reason} broken" in one_skipped(landmark).reason
        path.unlink()
        assert f"{reason} missing" in one_skipped(landmark).reason
        path.write_bytes(whole)


@pytest.mark.parametrize("numbers", ["0 0 0 0 1 2 3", "nan 0 0 0 1 2 3", "1 0 0 0 inf 2 3", "1 0 0 0 one 2 3"])
def test_bad_poses_are_skipped(landmark: Path, numbers: str) -> None:
    path = landmark / "Undistorted_SfM/0021/sparse-txt/images.txt"
    lines = path.read_text().splitlines()
    fields = lines[4].split(maxsplit=9)
    lines[4] = " ".join([fields[0], numbers, *fields[8:]])
    path.write_text("\n".join(lines))
    skipped = one_skipped(landmark)
    assert skipped.id == "3_photo o"
    assert "pose" in skipped.reason


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("cameras.txt", "7 PINHOLE", "7 SIMPLE_RADIAL", "no camera without distortion"),
        ("cameras.txt", "60.0 32 24", "", "has parameters"),
        ("images.txt", "10.5 20.5 -1 3 4 77\n", "", "no image"),
    ],
)
def test_bad_models_stop_the_scene(landmark: Path, name: str, old: str, new: str, reason: str) -> None:
    path = landmark / "Undistorted_SfM/0021/sparse-txt" / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"{name}.*{reason}"):
        list(MegaDepthSource(landmark, stride=1).frames("0021"))


def test_an_unknown_camera_is_named(landmark: Path) -> None:
    path = landmark / "Undistorted_SfM/0021/sparse-txt/images.txt"
    path.write_text(path.read_text().replace(" 8 1_photo", " 9 1_photo"))
    assert "no camera 9" in one_skipped(landmark).reason


def test_what_is_not_there_is_named(landmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"not there \(0022\)"):
        MegaDepthSource(landmark, stride=1, scenes=["0022"])
    with pytest.raises(InputError, match="no scene of MegaDepth in it"):
        MegaDepthSource(landmark / "phoenix", stride=1)
    with pytest.raises(InputError, match="at least 1"):
        MegaDepthSource(landmark, stride=0)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="pip install h5py"):
        MegaDepthSource(landmark, stride=1)
