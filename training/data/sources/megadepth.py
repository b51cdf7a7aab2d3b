"""MegaDepth: photographs of landmarks for the view loss, after the authors' code (repository Sekunde/Pri3D).

What is read is what the authors' preparation (D2-Net's) reads: the released depth, and the SfM models undistorted by
COLMAP, because the released ones have lens distortion that the released depth has not::

    ROOT/MegaDepth_v1/SCENE/dense0/depths/NAME.h5   (or ROOT/phoenix/S6/zl548/MegaDepth_v1/..., as it unpacks)
    ROOT/Undistorted_SfM/SCENE/images/NAME.jpg      (or .../dense0/imgs/NAME.jpg of the release)
    ROOT/Undistorted_SfM/SCENE/sparse-txt/{cameras,images}.txt

**Scale.** Structure from motion knows no metres. The authors take its unit for a metre (two depths correspond when they
differ by 0.05 units) and choose pairs not by depth but by the SfM points that two images share, at least 30 % of one
image's, 4000 pairs a scene. Here a scene is scaled so that its median depth is 10 m. So a length of the paper is a
share of the distance, the same in every scene: 2 cm are 0.2 % of the median depth, 5 cm 0.5 %. Depth by stereo is
seldom better than that, so 5 cm are the more sensible radius; no number of this source is a real metre.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ...errors import InputError
from ..frame import NO_SURFACE, Frame, SkippedFrame, Surface
from ..image_files import natural_order, read_color
from ..scene_lists import select_scenes

MEDIAN_DEPTH = 10.0  # metres that the median depth of a scene is called
SCALE_FRAMES = 20  # evenly spread, whose depth gives a scene's scale
MODELS = {"PINHOLE": (0, 1, 2, 3), "SIMPLE_PINHOLE": (0, 0, 1, 2)}  # places of fx, fy, cx, cy among the parameters
RELEASES = ("MegaDepth_v1", "phoenix/S6/zl548/MegaDepth_v1")


class _View(NamedTuple):
    """A line of images.txt."""

    name: str
    camera: str
    numbers: tuple[str, ...]  # quaternion w x y z and translation, world to camera


class MegaDepthSource:
    """The scenes of MegaDepth; files are read when a frame is asked for. Needs the package h5py.

    Args:
        root: The folder laid out as above.
        stride: Every so many-th image in the order of their names; the images have no order in time, so 1 is usual.
        scenes: Names such as "0000"; none means all that are there.

    Raises:
        InputError: The stride is below 1, h5py is missing, or a scene has no depth or no undistorted model.
    """

    def __init__(self, root: Path, *, stride: int, scenes: Sequence[str] = ()) -> None:
        if stride < 1:
            raise InputError(f"stride must be at least 1, not {stride}")
        _import_h5py()
        self._root, self._stride = root, stride
        found = sorted(path.parent.parent.name for path in root.glob("Undistorted_SfM/*/sparse-txt/images.txt"))
        dense = {scene: folder for scene in found if (folder := _dense(root, scene)) is not None}
        if not dense:
            raise InputError(
                f"{root}: no scene of MegaDepth in it; it must hold Undistorted_SfM/SCENE/sparse-txt/images.txt "
                "(COLMAP's image_undistorter makes it) and MegaDepth_v1/SCENE/dense0/depths"
            )
        self._dense = select_scenes(dense, scenes, root)

    def scene_ids(self) -> list[str]:
        """Names of the scenes, sorted."""
        return list(self._dense)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The images of a scene in the order of their names, those without depth in distances as SkippedFrame.

        Raises:
            InputError: The model cannot be read, or its cameras are not pinholes.
        """
        model = self._root / "Undistorted_SfM" / scene
        cameras = _read_cameras(model / "sparse-txt" / "cameras.txt")
        views = sorted(_read_views(model / "sparse-txt" / "images.txt"), key=lambda view: natural_order(view.name))
        views = views[:: self._stride]
        dense = self._dense[scene]
        colors = model / "images" if (model / "images").is_dir() else dense / "imgs"
        scale = _scale([_depth_path(dense, view) for view in views])
        for view in views:
            id = Path(view.name).stem
            try:
                if view.camera not in cameras:
                    raise InputError(f"cameras.txt has no camera {view.camera}, which images.txt names for {view.name}")
                yield Frame(
                    id=id,
                    color=read_color(colors / view.name),
                    depth=_read_depth(_depth_path(dense, view)) * np.float32(scale),
                    intrinsics=cameras[view.camera],
                    camera_to_world=_camera_to_world(view, scale),
                )
            except InputError as error:
                yield SkippedFrame(id, str(error))

    def surface(self, scene: str) -> Surface | None:
        """Nothing: where no length is known there are no voxels of 2 cm, and the view loss needs none."""
        return NO_SURFACE


def _dense(root: Path, scene: str) -> Path | None:
    folders = (root / release / scene / "dense0" for release in RELEASES)
    return next((folder for folder in folders if (folder / "depths").is_dir()), None)


def _import_h5py() -> ModuleType:
    try:
        return import_module("h5py")
    except ImportError:
        raise InputError("MegaDepth's depth is in HDF5 files; to read them, pip install h5py") from None


def _depth_path(dense: Path, view: _View) -> Path:
    return dense / "depths" / f"{Path(view.name).stem}.h5"


def _read_depth(path: Path) -> NDArray[np.float32]:
    """(H, W), in units of the model, 0 = no reading."""
    if not path.is_file():
        raise InputError(f"depths/{path.name} is missing")
    h5py = _import_h5py()
    try:
        with h5py.File(path, "r") as file:
            depth = np.asarray(file["depth"], np.float32)
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # h5py raises all of them for broken files
        raise InputError(f"depths/{path.name} is broken ({error})") from None
    if depth.ndim != 2 or not depth.size or not np.isfinite(depth).all():
        raise InputError(f"depths/{path.name} is no image of finite depths but {depth.shape}; download it again")
    if depth.min() < 0:
        raise InputError(
            f"depths/{path.name} says what is nearer and what farther, not how far (it has negative values)"
        )
    if not depth.any():
        raise InputError(f"depths/{path.name} has no reading")
    return depth


def _scale(paths: list[Path]) -> float:
    """Metres a unit, with which the median depth of these images is ``MEDIAN_DEPTH``; unreadable ones do not count."""
    medians = []
    for index in np.unique(np.linspace(0, len(paths) - 1, SCALE_FRAMES).round().astype(int)) if paths else ():
        try:
            depth = _read_depth(paths[index])
        except InputError:
            continue  # frames() says so
        medians.append(np.median(depth[depth > 0]))
    return MEDIAN_DEPTH / float(np.median(medians)) if medians else 1.0


def _read_cameras(path: Path) -> dict[str, NDArray[np.float64]]:
    """Intrinsics (3, 3) by camera of COLMAP's cameras.txt.

    COLMAP has the corner of the top-left pixel at (0, 0), we its centre: the principal point moves by half a pixel.
    """
    cameras = {}
    for line in _lines(path):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 4 or fields[1] not in MODELS:
            raise InputError(
                f"{path}: {' '.join(fields[:2])!r} is no camera without distortion ({' or '.join(MODELS)}); make it "
                "with COLMAP's image_undistorter and model_converter --output_type TXT"
            )
        try:
            focal_x, focal_y, center_x, center_y = (float(fields[4 + place]) for place in MODELS[fields[1]])
        except (IndexError, ValueError):
            raise InputError(
                f"{path}: camera {fields[0]} has parameters {fields[4:]}; convert the model again"
            ) from None
        cameras[fields[0]] = np.array([[focal_x, 0, center_x - 0.5], [0, focal_y, center_y - 0.5], [0, 0, 1]])
    return cameras


def _read_views(path: Path) -> list[_View]:
    """The images of COLMAP's images.txt: of each two lines, the second of which (its points) is passed over."""
    views: list[_View] = []
    lines = _lines(path)
    for line in lines:
        fields = line.split(maxsplit=9)
        if not fields and not views:
            continue  # between the comments and the first image
        if len(fields) != 10:
            raise InputError(
                f"{path}: {line.strip()[:40]!r} is no image (10 fields: id, quaternion, translation, camera, name); "
                "convert the model again"
            )
        views.append(_View(fields[9].strip(), fields[8], tuple(fields[1:8])))
        next(lines, None)
    return views


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line for line in file if not line.startswith("#"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); undistort the scene's model with COLMAP again") from None


def _camera_to_world(view: _View, scale: float) -> NDArray[np.float64]:
    try:
        w, x, y, z, *translation = (float(number) for number in view.numbers)
        if not np.isfinite(translation).all():
            raise ValueError
        rotation = Rotation.from_quat((x, y, z, w)).as_matrix()
    except ValueError:  # no finite numbers, or a quaternion of zeros
        raise InputError(f"images.txt has no pose for {view.name} but {' '.join(view.numbers)!r}") from None
    camera_to_world = np.eye(4)
    camera_to_world[:3, :3] = rotation.T
    camera_to_world[:3, 3] = -scale * (rotation.T @ translation)
    return camera_to_world
