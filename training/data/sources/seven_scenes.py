"""7-Scenes as it is released (Shotton et al., CVPR 2013).

``ROOM/seq-XX/`` holds ``frame-XXXXXX.color.png``, ``.depth.png`` and ``.pose.txt`` (camera to world, 4x4, metres);
12-Scenes and copies of 7-Scenes have ``.color.jpg``.
Depth is in millimetres, 65535 where there is no reading. Colour and depth are those of two cameras, as the sensor gave
them, and the release says no more than the depth camera's focal length, 585 pixels; the poses are the depth camera's.
Some read the two as one image. Here depth is brought to the colour camera with a calibration of the same sensor, as
DSAC++ and ACE do, except that the colour camera gets a pose of its own. On the kitchen (48 pairs of frames 5 to 15
apart), the colours of corresponding pixels correlate with a median of 0.967 then, and of 0.922 when read as one image.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Surface, check_pose
from ..image_files import natural_order, read_color, read_depth, read_matrix
from ..scene_lists import read_scene_list, select_scenes
from .registration import register

DEPTH_INTRINSICS = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])  # the release's
COLOR_INTRINSICS = np.array([[525.0, 0, 320], [0, 525, 240], [0, 0, 1]])  # the sensor's driver's, as in DSAC++
COLORS = (".png", ".jpg")  # endings of colour images, of two of one frame the first
SIZE = (480, 640)  # for which they hold
# of a Kinect measured at LIRIS (projet.liris.cnrs.fr/voir/activities-dataset/kinect-calibration.html)
DEPTH_TO_COLOR = np.array(
    [
        [0.99996518012567637, 0.0026765126468950343, -0.0079041012313000904, -0.025558943178152542],
        [-0.0027409311281316700, 0.99996302803027592, -0.0081504520778013286, 0.00010109636268061706],
        [0.0078819942130445332, 0.0081718328771890631, 0.99993554558014031, 0.0020318321729487039],
        [0, 0, 0, 1],
    ]
)
COLOR_TO_DEPTH = np.linalg.inv(DEPTH_TO_COLOR)


class SevenScenesSource:
    """The sequences of 7-Scenes, each a scene of its own, such as ``chess_seq-01``; files are read on demand.

    The sequences of a room share one world, but not the pairs that are mined: a sequence has up to 1000 frames already.

    Args:
        root: The folder of the rooms, one room, or one sequence.
        split: "train" or "test": the sequences in each room's ``TrainSplit.txt`` or ``TestSplit.txt``.
        scenes: Only these; none means all, or those of the split.
        stride: Every so many-th frame.

    Raises:
        InputError: There is no such folder, no sequence in it, or a scene asked for is not there.
    """

    def __init__(self, root: Path, *, split: str | None = None, scenes: Sequence[str] = (), stride: int = 1) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder that holds the rooms")
        root = root.resolve()
        sequences = [folder for folder in (root, *root.glob("seq-*"), *root.glob("*/seq-*")) if _is_sequence(folder)]
        if not sequences:
            raise InputError(
                f"{root}: no sequence in it; one is ROOM/seq-XX with frame-XXXXXX.color.png or .jpg, unpacked"
            )
        found = {f"{folder.parent.name}_{folder.name}": folder for folder in sequences}
        wanted = list(scenes)
        if not wanted and split is not None:
            wanted = [name for room in sorted({folder.parent for folder in sequences}) for name in _split(room, split)]
        self._folders = select_scenes(found, wanted, root)
        self._stride = stride

    def scene_ids(self) -> list[str]:
        """``ROOM_seq-XX``, sorted."""
        return list(self._folders)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """Every ``stride``-th frame in order, named by its number, colour and depth in the colour camera."""
        folder = self._folders[scene]
        names = {path.name.split(".")[0].removeprefix("frame-") for path in folder.glob("frame-*.*.*")}
        ids = sorted(names, key=natural_order)
        for id in ids[:: self._stride]:
            try:
                frame: Frame | SkippedFrame = _read_frame(folder, id)
            except InputError as error:
                frame = SkippedFrame(id, str(error))
            yield frame

    def surface(self, scene: str) -> Surface | None:
        """None: the release has volumes rather than coloured meshes, so surfaces are fused from depth."""
        return None


def _is_sequence(folder: Path) -> bool:
    return any(path.suffix in COLORS for path in folder.glob("frame-*.color.*"))


def _split(room: Path, split: str) -> list[str]:
    """``ROOM_seq-01`` for each line ``sequence1`` of a room's list."""
    lines = read_scene_list(room / f"{split.capitalize()}Split.txt")
    return [f"{room.name}_seq-{line.removeprefix('sequence').zfill(2)}" for line in lines]


def _read_frame(folder: Path, id: str) -> Frame:
    """The frame, or InputError naming the file that is missing or wrong."""
    name = f"{folder.name}/frame-{id}"
    depth_to_world = read_matrix(folder / f"frame-{id}.pose.txt", 4)
    try:
        check_pose(depth_to_world)
    except InputError as error:
        raise InputError(f"{name}.pose.txt: {error}") from None
    paths = [folder / f"frame-{id}.color{ending}" for ending in COLORS]
    color_path = next((path for path in paths if path.exists()), paths[0])
    depth_path = folder / f"frame-{id}.depth.png"
    color, readings = read_color(color_path), read_depth(depth_path)
    for path, image in ((color_path, color), (depth_path, readings)):
        if image.shape[:2] != SIZE:
            raise InputError(
                f"{folder.name}/{path.name} is {image.shape[:2]}, and the release's intrinsics hold for {SIZE}"
            )
    depth = readings.astype(np.float32) / np.float32(1000)
    registered = register(color, COLOR_INTRINSICS, depth, DEPTH_INTRINSICS, DEPTH_TO_COLOR)
    return Frame(id, *registered, depth_to_world @ COLOR_TO_DEPTH)
