"""The adapter against real scenezoo, on scenes written here in the layouts of five datasets that it reads.

scenezoo's adapters import Open3D, which needs a library of the system (libusb) that not every machine has. Where it
cannot be loaded an empty module stands for it: frames do not need it, and the tests of meshes skip.
"""

import io
import json
import pickle
import sys
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from pri3d_zoo.training.data.frame import Frame, SkippedFrame
from pri3d_zoo.training.data.prepare import prepare
from pri3d_zoo.training.data.sources.folder import FolderSource
from pri3d_zoo.training.data.sources.scenezoo import ScenezooSource
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError

pytest.importorskip("scenezoo", reason="scenezoo is not installed (extra datasets)")
av = pytest.importorskip("av")  # scenezoo's readers of videos and of depth come with it
lz4 = pytest.importorskip("lz4.block")

HALF = np.array([2.0, 1.5, 2.0])  # of the box that is looked at from inside
WAVES = np.array([[2.0, 3.5, 1.5], [3.0, 1.0, 4.0], [1.5, 3.0, 2.5]])
COLOR_SIZE, DEPTH_SIZE = (192, 256), (48, 64)
FRAMES = 5


@pytest.fixture(autouse=True)
def open3d_or_its_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        monkeypatch.setitem(sys.modules, "open3d", ModuleType("open3d"))


def camera(size: tuple[int, int]) -> np.ndarray:
    """Intrinsics of an image of that size, of one field of view, off the middle by a few pixels of it."""
    height, width = size
    return np.array(
        [
            [0.8 * width, 0, 0.52 * width - 0.5],
            [0, 0.8 * width * 1.02, 0.49 * height - 0.5],
            [0, 0, 1],
        ]
    )


def pose(number: int) -> np.ndarray:
    """Camera to world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("yxz", [0.3 * number, 0.1, 0.05 * number]).as_matrix()
    matrix[:3, 3] = (0.1 * number, 0.05, -0.2)
    return matrix


def wall_colors(points: np.ndarray) -> np.ndarray:
    return 127 + 100 * np.sin(points @ WAVES)


def look(number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Colour and depth of the box at that size."""
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack((u, v, np.ones(size)), -1) @ np.linalg.inv(camera(size)).T @ pose(number)[:3, :3].T
    position = pose(number)[:3, 3]
    depth = ((np.sign(rays) * HALF - position) / rays).min(-1)
    return wall_colors(position + rays * depth[..., None]).round().astype(np.uint8), depth


def check_on_walls(frame: Frame | SkippedFrame) -> None:
    """The frame's points lie on the walls, and their colours are those of the walls there: to half a pixel."""
    assert isinstance(frame, Frame)
    v, u = np.nonzero(frame.depth)
    assert len(v) > 0.9 * frame.depth.size
    differences = {}
    for shift in ((0, 0), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
        pixels = np.stack((u + shift[0], v + shift[1], np.ones(len(u))), -1)
        local = pixels @ np.linalg.inv(frame.intrinsics).T * frame.depth[v, u, None]
        points = local @ frame.camera_to_world[:3, :3].T + frame.camera_to_world[:3, 3]
        differences[shift] = np.sqrt(np.mean((frame.color[v, u] - wall_colors(points)) ** 2))
        if shift == (0, 0):
            assert np.median(np.abs(np.abs(points / HALF).max(-1) - 1)) < 0.004
    assert differences[0, 0] < 3
    assert min(differences, key=differences.__getitem__) == (0, 0)


def image_bytes(array: np.ndarray, kind: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind, quality=97)
    return data.getvalue()


def millimetres(depth: np.ndarray) -> np.ndarray:
    return np.rint(depth * 1000).astype(np.uint16)


def numbers(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.9g}" for value in np.asarray(matrix).flat)


def rows(matrix: np.ndarray) -> str:
    return "\n".join(numbers(row) for row in matrix)


SCAN = "0a4b8ef6-a83a-21f2-8672-dce34dd0d7ca"


def write_3rscan(root: Path, colors: list[bytes], depths: list[np.ndarray], poses: list[str], matrices: tuple) -> Path:
    """A scan of 3RScan: everything in one zip, depth as PGM, camera to world; the index names another scan as well."""
    folder = root / "download" / SCAN
    folder.mkdir(parents=True)
    (root / "3RScan.json").write_text(
        f'[{{"reference": "{SCAN}", "type": "train", "scans": []}},'
        '{"reference": "not-downloaded", "type": "train", "scans": []},'
        '{"reference": "one-to-validate", "type": "validation", "scans": []}]'
    )
    with Image.open(io.BytesIO(colors[0])) as image:
        width, height = image.size
    info = [
        "m_versionNumber = 4",
        f"m_colorWidth = {width}",
        f"m_colorHeight = {height}",
        f"m_depthWidth = {depths[0].shape[1]}",
        f"m_depthHeight = {depths[0].shape[0]}",
        "m_depthShift = 1000",
        f"m_frames.size = {len(colors)}",
    ]
    for name, matrix in zip(("Color", "Depth"), matrices, strict=True):
        full = np.eye(4)
        full[:3, :3] = matrix
        info += [
            f"m_calibration{name}Intrinsic = {numbers(full)}",
            f"m_calibration{name}Extrinsic = {numbers(np.eye(4))}",
        ]
    with zipfile.ZipFile(folder / "sequence.zip", "w") as archive:
        archive.writestr("_info.txt", "\n".join(info))
        for number, (color, depth, text) in enumerate(zip(colors, depths, poses, strict=True)):
            header = f"P5\n{depth.shape[1]} {depth.shape[0]}\n65535\n".encode()
            archive.writestr(f"frame-{number:06d}.color.jpg", color)
            archive.writestr(f"frame-{number:06d}.depth.pgm", header + depth.astype(">u2").tobytes())
            archive.writestr(f"frame-{number:06d}.pose.txt", text)
    return root


def box_3rscan(root: Path, **changes: str) -> Path:
    views = [(look(number, COLOR_SIZE)[0], look(number, DEPTH_SIZE)[1]) for number in range(FRAMES)]
    return write_3rscan(
        root,
        [image_bytes(color, "JPEG") for color, _ in views],
        [millimetres(depth) for _, depth in views],
        [changes.get(f"pose_{number}", rows(pose(number))) for number in range(FRAMES)],
        (camera(COLOR_SIZE), camera(DEPTH_SIZE)),
    )


VIDEO = "40777060"


def write_arkitscenes(root: Path) -> Path:
    """A video of ARKitScenes: PNG beside PNG, times for names, world to camera as rotation vectors; held sideways."""
    folder = root / "raw" / "Training" / VIDEO
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (folder / name).mkdir(parents=True)
    (root / "raw" / "metadata.csv").write_text(
        "video_id,visit_id,fold,sky_direction,is_in_upsampling,is_in_threedod,has_laser_scanner_point_clouds\n"
        f"{VIDEO},1,Training,Left,False,True,False\n40777065,1,Validation,Up,False,True,False\n"
    )
    lines = []
    for number in range(FRAMES):
        time = f"{100 + 0.1 * number:.3f}"
        (folder / "lowres_wide" / f"{VIDEO}_{time}.png").write_bytes(image_bytes(look(number, COLOR_SIZE)[0], "PNG"))
        depth = image_bytes(millimetres(look(number, DEPTH_SIZE)[1]), "PNG")
        (folder / "lowres_depth" / f"{VIDEO}_{time}.png").write_bytes(depth)
        matrix = camera(COLOR_SIZE)
        values = (*COLOR_SIZE[::-1], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        (folder / "lowres_wide_intrinsics" / f"{VIDEO}_{time}.pincam").write_text(" ".join(map(str, values)))
        to_camera = np.linalg.inv(pose(number))
        turn = Rotation.from_matrix(to_camera[:3, :3]).as_rotvec()
        lines.append(f"{time} {numbers(turn)} {numbers(to_camera[:3, 3])}")
    (folder / "lowres_wide.traj").write_text("\n".join(lines))
    return root


HOUSE = "17DRP5sb8fy"


def write_matterport3d(root: Path) -> Path:
    """A house of Matterport3D: one file of cameras with OpenGL's axes, depth in quarters of a millimetre."""
    folder = root / "v1" / "scans" / HOUSE
    for name in ("undistorted_camera_parameters", "undistorted_color_images", "undistorted_depth_images"):
        (folder / name).mkdir(parents=True)
    lines = ["dataset matterport", f"n_images {FRAMES}", f"intrinsics_matrix {numbers(camera(COLOR_SIZE))}"]
    for number in range(FRAMES):
        color, depth = look(number, COLOR_SIZE)
        (folder / "undistorted_color_images" / f"room_i0_{number}.jpg").write_bytes(image_bytes(color, "JPEG"))
        quarters = image_bytes(np.rint(4000 * depth).astype(np.uint16), "PNG")
        (folder / "undistorted_depth_images" / f"room_d0_{number}.png").write_bytes(quarters)
        lines.append(
            f"scan room_d0_{number}.png room_i0_{number}.jpg {numbers(pose(number) @ np.diag([1, -1, -1, 1]))}"
        )
    (folder / "undistorted_camera_parameters" / f"{HOUSE}.conf").write_text("\n".join(lines))
    return root


APARTMENT = "scene_00090_00"  # held sideways, as scenezoo's own list says


def write_multiscan(root: Path) -> Path:
    """A scan of MultiScan: a video, one deflated stream of half-precision depth, ARKit's cameras a line, their mesh's
    alignment; and the list of splits, where scenezoo keeps what it downloads."""
    folder = root / APARTMENT
    folder.mkdir()
    size = {"color_camera": COLOR_SIZE, "lidar_sensor": DEPTH_SIZE}
    streams = [
        {"type": name, "number_of_frames": FRAMES, "resolution": list(resolution), "encoding": "float16_zlib"}
        for name, resolution in size.items()
    ]
    (folder / f"{APARTMENT}.json").write_text(json.dumps({"depth_unit": "m", "streams": streams}))
    to_mesh = np.eye(4)
    to_mesh[:3, :3] = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # ARKit has y up, the mesh z
    alignment = {"coordinate_transform": np.linalg.inv(to_mesh).flatten(order="F").tolist()}
    (folder / f"{APARTMENT}.align.json").write_text(json.dumps(alignment))
    records, deflate = [], zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = b""
    with av.open(folder / f"{APARTMENT}.mp4", "w") as video:
        stream = video.add_stream("libx264rgb", rate=30, options={"qp": "0"})
        stream.height, stream.width = COLOR_SIZE
        stream.pix_fmt = "rgb24"
        for number in range(FRAMES):
            color, depth = look(number, COLOR_SIZE)[0], look(number, DEPTH_SIZE)[1]
            video.mux(stream.encode(av.VideoFrame.from_ndarray(color, format="rgb24")))
            data += deflate.compress(depth.astype("<f2").tobytes())
            arkit = np.linalg.inv(to_mesh) @ pose(number) @ np.diag([1, -1, -1, 1])
            record = {"intrinsics": camera(COLOR_SIZE), "transform": arkit}
            record = {name: matrix.flatten(order="F").tolist() for name, matrix in record.items()}
            times = {"timestamp": number, "exposure_duration": 1, "quaternion": [0] * 4, "euler_angles": [0] * 3}
            records.append(json.dumps(record | times))
        video.mux(stream.encode())
    (folder / f"{APARTMENT}.depth.zlib").write_bytes(data + deflate.flush())
    (folder / f"{APARTMENT}.jsonl").write_text("\n".join(records))
    return root


ROOM = "0a5c013435"


def write_scannetpp(root: Path) -> Path:
    """A scene of ScanNet++: a phone's video, its depth in blocks of lz4, cameras by frame, the list of a split."""
    folder = root / "data" / ROOM / "iphone"
    folder.mkdir(parents=True)
    (root / "splits").mkdir()
    (root / "splits" / "nvs_sem_train.txt").write_text(f"{ROOM}\nnot-downloaded")
    size, depth_size = (1440, 1920), (192, 256)
    cameras, blocks = {}, b""
    with av.open(folder / "rgb.mkv", "w") as video:
        stream = video.add_stream("libx264rgb", rate=60, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = "rgb24"
        for number in range(FRAMES):
            small = Image.fromarray(
                look(number, (360, 480))[0]
            )  # the size is fixed, and to draw all of it takes seconds
            color = np.asarray(small.resize(size[::-1], Image.Resampling.BILINEAR))
            video.mux(stream.encode(av.VideoFrame.from_ndarray(color, format="rgb24")))
            block = lz4.compress(millimetres(look(number, depth_size)[1]).tobytes(), store_size=False)
            blocks += len(block).to_bytes(4, "little") + block
            matrices = {"aligned_pose": pose(number).tolist(), "intrinsic": camera(size).tolist()}
            cameras[f"frame_{number:06d}"] = {"timestamp": number / 60} | matrices
        video.mux(stream.encode())
    (folder / "depth.bin").write_bytes(blocks)
    (folder / "pose_intrinsic_imu.json").write_text(json.dumps(cameras))
    return root


LAYOUTS = [
    ("scannetppv2", "nvs_sem_train", write_scannetpp, ROOM, (384, 512)),
    ("3rscan", "train", box_3rscan, SCAN, (128, 96)),  # height and width: upright, twice the depth's
    ("arkitscenes", "train_raw", write_arkitscenes, VIDEO, (128, 96)),
    ("multiscan", None, write_multiscan, APARTMENT, (128, 96)),
    ("matterport3d", None, write_matterport3d, HOUSE, COLOR_SIZE),
]


@pytest.mark.parametrize(("dataset", "split", "write", "scene", "size"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_frames_of_each_layout_lie_on_the_walls(
    tmp_path: Path, dataset: str, split: str | None, write, scene: str, size: tuple[int, int]
) -> None:
    write(tmp_path)
    scenes = [] if split else [scene]  # the lists of the others are not in their releases
    source = ScenezooSource(tmp_path, dataset=dataset, split=split, scenes=scenes, stride=2)
    source = pickle.loads(pickle.dumps(source))
    assert source.scene_ids() == [scene]
    frames = list(source.frames(scene))
    assert [frame.id for frame in frames] == ["000000", "000002", "000004"]
    for frame in frames:
        check_on_walls(frame)
        assert frame.depth.shape == size
    assert source.surface(scene) is None


@pytest.mark.slow
def test_kitchen_in_the_layout_of_3rscan(tmp_path: Path, real_data: Path) -> None:
    kitchen = real_data / "rgbd" / "7scenes_redkitchen"
    originals = [frame for frame in FolderSource(kitchen, frames=20).frames(kitchen.name) if isinstance(frame, Frame)]
    write_3rscan(
        tmp_path,
        [(kitchen / "color" / f"{frame.id}.jpg").read_bytes() for frame in originals],
        [millimetres(frame.depth) for frame in originals],
        [(kitchen / "pose" / f"{frame.id}.txt").read_text() for frame in originals],
        (originals[0].intrinsics, originals[0].intrinsics),
    )
    source = ScenezooSource(tmp_path, dataset="3rscan", split="train", stride=1)
    frames = list(source.frames(SCAN))
    assert len(frames) == len(originals) == 20
    for frame, original in zip(frames, originals, strict=True):
        assert isinstance(frame, Frame)
        assert np.array_equal(np.rot90(frame.color), original.color)  # scenezoo turned it clockwise to stand upright
        assert np.array_equal(np.rot90(frame.depth), original.depth)
        # the turned camera sees the original pixel (u, v) at (239 - v, u), and there the same point of the world
        for u, v in ((40, 30), (200, 170)):
            one, other = (
                at.camera_to_world[:3] @ [*np.linalg.solve(at.intrinsics, [*pixel, 1]) * 2, 1]
                for at, pixel in ((original, (u, v)), (frame, (239 - v, u)))
            )
            assert np.allclose(one, other, atol=1e-5)
    report = prepare(source, tmp_path / "store", size=(320, 240), workers=1, arguments={})
    assert (report.frames, report.skipped, report.failed) == (20, 0, {})
    assert report.pairs > 20


def write_mesh(path: Path, *, colored: bool = True) -> None:
    """Front and back of the box, subdivided so that vertex colours can tell."""
    box = trimesh.creation.box(2 * HALF)
    front_and_back = box.faces[np.abs(box.face_normals[:, 2]) > 0.5]
    vertices, faces = trimesh.remesh.subdivide_to_size(box.vertices, front_and_back, 0.1)
    colors = np.clip(wall_colors(vertices).round(), 0, 255).astype(np.uint8) if colored else None
    trimesh.Trimesh(vertices, faces, vertex_colors=colors, process=False).export(path)


def needs_open3d() -> None:
    if not hasattr(sys.modules.get("open3d"), "geometry"):
        pytest.skip("Open3D cannot be loaded here (it needs libusb-1.0-0), and scenezoo reads meshes with it")


def test_surface_of_a_mesh_fits_the_frames(tmp_path: Path) -> None:
    needs_open3d()
    path = write_arkitscenes(tmp_path) / "raw" / "Training" / VIDEO / f"{VIDEO}_3dod_mesh.ply"
    source = ScenezooSource(tmp_path, dataset="arkitscenes", split="train_threedod", stride=1)
    write_mesh(path)
    surface = source.surface(VIDEO)
    assert surface is not None
    assert np.abs(np.abs(surface.points[:, 2]) - 2).max() < 0.011
    assert np.abs(surface.colors - wall_colors(surface.points)).mean() < 3
    # no hole in it: each wall of 4 x 3 m passes through 200 x 150 columns of voxels, and those beside its edges
    columns = np.unique(np.floor(np.c_[surface.points[:, :2] / 0.02, surface.points[:, 2] > 0]).astype(int), axis=0)
    inside = (np.abs(columns[:, 0] + 0.5) < 100) & (np.abs(columns[:, 1] + 0.5) < 75)
    assert inside.sum() == 2 * 200 * 150
    report = prepare(source, tmp_path / "store", size=(128, 96), workers=1, arguments={})
    assert report.failed == {}
    assert SceneStore(tmp_path / "store").scene(VIDEO).manifest["surface"] == "of the source"
    write_mesh(path, colored=False)
    assert source.surface(VIDEO) is None
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=rf"the raw mesh of scene {VIDEO} .*mend or remove"):
        source.surface(VIDEO)


def test_frames_without_a_camera_are_counted(tmp_path: Path) -> None:
    box_3rscan(tmp_path, pose_1="-inf -inf -inf -inf\n" * 4, pose_3="nan nan nan nan\n" * 4)
    frames = list(ScenezooSource(tmp_path, dataset="3rscan", split="train", stride=1).frames(SCAN))
    assert [frame.id for frame in frames] == ["1, 3", "000000", "000002", "000004"]
    assert isinstance(frames[0], SkippedFrame)
    assert frames[0].reason == "these 2 of 5 frames have no camera that is usable"


def test_broken_frames_are_skipped_one_by_one(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    box_3rscan(tmp_path / "rio", pose_2=rows(sheared))
    found = list(ScenezooSource(tmp_path / "rio", dataset="3rscan", split="train", stride=1).frames(SCAN))
    assert [type(frame) for frame in found] == [Frame, Frame, SkippedFrame, Frame, Frame]
    assert "not a rigid motion" in found[2].reason
    folder = write_arkitscenes(tmp_path / "arkit") / "raw" / "Training" / VIDEO
    cut, missing = sorted((folder / "lowres_wide").iterdir())[1], sorted((folder / "lowres_depth").iterdir())[3]
    cut.write_bytes(cut.read_bytes()[:500])
    missing.unlink()
    found = list(ScenezooSource(tmp_path / "arkit", dataset="arkitscenes", split="train_raw", stride=1).frames(VIDEO))
    assert [type(frame) for frame in found] == [Frame, SkippedFrame, Frame, SkippedFrame, Frame]
    assert f"lowres_wide/{cut.name}" in found[1].reason
    assert "No ARKitScenes asset matches" in found[3].reason


def test_a_broken_scene_is_one_sentence(tmp_path: Path) -> None:
    archive = box_3rscan(tmp_path) / "download" / SCAN / "sequence.zip"
    source = ScenezooSource(tmp_path, dataset="3rscan", scenes=[SCAN], stride=1)
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"cannot read the cameras of scene {SCAN} \(.*; download or unpack"):
        list(source.frames(SCAN))


def test_scenes_that_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box_3rscan(tmp_path)
    assert ScenezooSource(tmp_path, dataset="3rscan", stride=1).scene_ids() == [SCAN]
    assert "2 of the 3 scenes of 3rscan are not there and left out: not-downloaded, one-to-validate" in caplog.text
    with pytest.raises(InputError, match="none of the 1 scenes of 3rscan val is in it, such as 'one-to-validate'"):
        ScenezooSource(tmp_path, dataset="3rscan", split="val", stride=1)
    with pytest.raises(InputError, match="no split 'training' for scenezoo; there are train, val, test"):
        ScenezooSource(tmp_path, dataset="3rscan", split="training", stride=1)
    with pytest.raises(InputError, match=r"1 of the 2 scenes asked for are not there \(not-downloaded\)"):
        ScenezooSource(tmp_path, dataset="3rscan", scenes=[SCAN, "not-downloaded"], stride=1)
    (tmp_path / "3RScan.json").write_text("[")
    with pytest.raises(InputError, match=r"the list of scenes of 3rscan \(Invalid 3RScan.json"):
        ScenezooSource(tmp_path, dataset="3rscan", stride=1)


def test_datasets_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"knows no dataset 'scanet'; .* it has 3rscan, arkitscenes, matterport3d"):
        ScenezooSource(tmp_path, dataset="scanet", stride=1)
    for name in ("s3dis", "ase", "structured3d"):  # no frames; a fisheye; rooms within scenes
        with pytest.raises(InputError, match=f"no RGB-D frames of a pinhole camera of '{name}'"):
            ScenezooSource(tmp_path, dataset=name, stride=1)
    with pytest.raises(InputError, match="at least 1"):
        ScenezooSource(tmp_path, dataset="3rscan", stride=0)
    with pytest.raises(InputError, match="no such folder"):
        ScenezooSource(tmp_path / "nowhere", dataset="3rscan", stride=1)
    monkeypatch.setitem(sys.modules, "scenezoo", None)
    with pytest.raises(InputError, match=r"pip install 'pri3d-zoo\[datasets\]'"):
        ScenezooSource(tmp_path, dataset="3rscan", stride=1)
