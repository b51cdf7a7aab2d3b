"""Scenes in a plain folder layout that any dataset can be brought into.

``ROOT/SCENE/`` (or ROOT itself) holds ``color/ID.jpg`` or ``.png``, ``depth/ID.png`` (16 bit, millimetres, registered
to colour, 0 = no reading), ``pose/ID.txt`` (camera to world, 4x4, OpenCV axes, metres), ``intrinsics.txt`` (3x3,
pixels), and where there are such ``semantic/ID.png`` (8 bit, NYU40), ``instance/ID.png`` (8 or 16 bit) and ``mesh.ply``
(with vertex colours).
"""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ..frame import Frame, SkippedFrame, Source, Surface, check_pose
from ..parallel import map_scenes
from ..store import JPEG_QUALITY, check_name, depth_to_millimetres, temporary_path

EXTENSIONS = {"color": (".jpg", ".jpeg", ".png"), "depth": (".png",), "pose": (".txt",)}
SURFACE_SPACING = 0.003  # metres between points on faces: of the 2 cm voxels that a mesh touches 1 % are missed
TRIANGLES_AT_ONCE = 100_000


class FolderSource:
    """A dataset in the plain folder layout; files are read when a frame is asked for.

    Args:
        root: The folder of scenes, or one scene.
        frames: At most so many frames a scene, evenly spread; None takes all.

    Raises:
        InputError: There is no such folder, or no scene in it.
    """

    def __init__(self, root: Path, *, frames: int | None = None) -> None:
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the folder that holds the scenes")
        folders = [root.resolve()] if _is_scene(root) else [folder for folder in root.iterdir() if _is_scene(folder)]
        if not folders:
            raise InputError(
                f"{root}: no scene in it; a scene is a folder with color/, depth/, pose/ and intrinsics.txt"
            )
        self._folders = {folder.name: folder for folder in sorted(folders)}
        self._frames = frames

    def scene_ids(self) -> list[str]:
        """Names of the scenes' folders, sorted."""
        return list(self._folders)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The frames of a scene in the order of their numbers; those with a file broken or missing as SkippedFrame.

        Raises:
            InputError: The intrinsics are missing or wrong, or no frame is whole.
        """
        folder = self._folders[scene]
        intrinsics = _read_intrinsics(folder / "intrinsics.txt")
        ids = sorted({path.stem for name in EXTENSIONS for path in _files(folder, name)}, key=_natural)
        if self._frames is not None and len(ids) > self._frames:
            ids = [ids[index] for index in np.linspace(0, len(ids) - 1, self._frames).round().astype(int)]
        whole, reason = 0, "its folders are empty"
        for id in ids:
            try:
                frame: Frame | SkippedFrame = _read_frame(folder, id, intrinsics)
                whole += 1
            except InputError as error:
                reason = str(error)
                frame = SkippedFrame(id, reason)
            yield frame
        if not whole:
            raise InputError(f"{folder}: no frame is whole, the last for this reason: {reason}")

    def surface(self, scene: str) -> Surface | None:
        """Points on ``mesh.ply``, 3 mm apart, or None where there is no such file.

        Raises:
            InputError: The mesh cannot be read, is empty or has no colours.
        """
        path = self._folders[scene] / "mesh.ply"
        return _read_mesh(path) if path.exists() else None


def write_folder(source: Source, out: Path, *, workers: int) -> None:
    """Write all scenes of a source in the plain folder layout, several at a time.

    A scene has a hidden name until it is whole, and one that is there already is left alone, so what was stopped can be
    started again.

    Raises:
        InputError: A scene cannot be read, or its frames differ in intrinsics, for which the layout has no place.
    """
    out.mkdir(parents=True, exist_ok=True)
    for _ in map_scenes(
        partial(_write_scene, source, out), source.scene_ids(), workers=workers, title="Writing scenes"
    ):
        pass


def _write_scene(source: Source, out: Path, scene: str) -> None:
    check_name(scene, "scene")
    unfinished = temporary_path(out / scene)
    shutil.rmtree(unfinished, ignore_errors=True)
    if (out / scene).exists():
        return
    intrinsics: NDArray[np.float64] | None = None
    for name in (*EXTENSIONS, "semantic", "instance"):
        (unfinished / name).mkdir(parents=True)
    for frame in source.frames(scene):
        if isinstance(frame, SkippedFrame):
            continue
        check_name(frame.id, f"scene {scene}: frame")
        if intrinsics is None:
            intrinsics = frame.intrinsics
        if not np.array_equal(intrinsics, frame.intrinsics):
            raise InputError(f"scene {scene}: frame {frame.id} has intrinsics of its own, and the layout holds one set")
        Image.fromarray(frame.color).save(unfinished / "color" / f"{frame.id}.jpg", quality=JPEG_QUALITY)
        Image.fromarray(depth_to_millimetres(frame.depth)).save(unfinished / "depth" / f"{frame.id}.png")
        np.savetxt(unfinished / "pose" / f"{frame.id}.txt", frame.camera_to_world, fmt="%.17g")
        for name, labels in (("semantic", frame.semantic), ("instance", frame.instance)):
            if labels is not None:
                Image.fromarray(labels).save(unfinished / name / f"{frame.id}.png")
    if intrinsics is None:
        raise InputError(f"scene {scene}: the source has no whole frame of it")
    np.savetxt(unfinished / "intrinsics.txt", intrinsics, fmt="%.17g")
    surface = source.surface(scene)
    if surface is not None:
        trimesh.PointCloud(surface.points, surface.colors).export(unfinished / "mesh.ply")
    for name in ("semantic", "instance"):
        if not any((unfinished / name).iterdir()):
            (unfinished / name).rmdir()
    unfinished.rename(out / scene)


def _is_scene(folder: Path) -> bool:
    parts = (*EXTENSIONS, "intrinsics.txt")
    return not folder.name.startswith(".") and any((folder / part).exists() for part in parts)


def _files(folder: Path, name: str) -> Iterator[Path]:
    paths = (folder / name).iterdir() if (folder / name).is_dir() else ()
    return (path for path in paths if path.suffix.lower() in EXTENSIONS[name] and not path.name.startswith("."))


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorting key with which frame 10 follows frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


def _read_frame(folder: Path, id: str, intrinsics: NDArray[np.float64]) -> Frame:
    """The frame, or InputError naming the file that is missing or wrong."""
    color_path = next((path for end in EXTENSIONS["color"] if (path := folder / f"color/{id}{end}").exists()), None)
    if color_path is None:
        raise InputError(f"color/{id}.jpg (or .png) is missing")
    camera_to_world = _read_matrix(folder / f"pose/{id}.txt", 4)
    try:
        check_pose(camera_to_world)
    except InputError as error:
        raise InputError(f"pose/{id}.txt: {error}") from None
    color = _read_image(color_path, "RGB")
    depth = _read_image(folder / f"depth/{id}.png", "I;16")
    semantic, instance = (
        _read_image(path, mode) if (path := folder / f"{name}/{id}.png").exists() else None
        for name, mode in (("semantic", "L"), ("instance", "I;16"))
    )
    try:
        return Frame(
            id=id,
            color=color,
            depth=depth.astype(np.float32) / np.float32(1000),
            intrinsics=intrinsics,
            camera_to_world=camera_to_world,
            semantic=semantic,
            instance=instance,
        )
    except InputError as error:
        raise InputError(f"{color_path.parent.name}/{color_path.name} and its companions do not fit: {error}") from None


def _read_image(path: Path, mode: str) -> NDArray[Any]:
    """The pixels of an image file: "RGB" from anything, "L" as 8 bit numbers, "I;16" as 16 bit numbers."""
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path) as image:
            if mode == "RGB":
                return np.array(image.convert("RGB"))
            pixels, found = np.array(image), image.mode
    except FileNotFoundError:
        raise InputError(f"{name} is missing") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # Pillow raises all of them for broken files
        raise InputError(f"{name} is broken ({error})") from None
    # labels of few values are often saved with fewer bits; depth with 8 bits cannot be millimetres
    allowed = {"L": ("L", "P"), "I;16": ("I;16", "I") if path.parent.name == "depth" else ("I;16", "I", "L", "P")}[mode]
    if found not in allowed:
        raise InputError(f"{name} has pixels of mode {found}, where {' or '.join(allowed)} is needed")
    return pixels.astype(np.uint8 if mode == "L" else np.uint16)


def _read_matrix(path: Path, size: int) -> NDArray[np.float64]:
    name = f"{path.parent.name}/{path.name}"
    try:
        numbers = np.array(path.read_text().split(), np.float64)
    except FileNotFoundError:
        raise InputError(f"{name} is missing") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name} is broken ({error})") from None
    if numbers.size != size**2:
        raise InputError(f"{name} holds {numbers.size} numbers, where {size}x{size} are needed")
    return numbers.reshape(size, size)


def _read_intrinsics(path: Path) -> NDArray[np.float64]:
    matrix = _read_matrix(path, 3)
    pinhole = np.array([[matrix[0, 0], 0, matrix[0, 2]], [0, matrix[1, 1], matrix[1, 2]], [0, 0, 1]])
    if not np.isfinite(matrix).all() or not np.allclose(matrix, pinhole, atol=1e-3) or matrix[:2, :2].trace() <= 0:
        raise InputError(
            f"{path}: not the intrinsics of a pinhole camera, fx 0 cx / 0 fy cy / 0 0 1: {matrix.tolist()}"
        )
    return matrix


def _read_mesh(path: Path) -> Surface:
    try:
        mesh = trimesh.load(path, process=False)
        points = np.asarray(mesh.vertices, np.float64)
        faces = np.asarray(getattr(mesh, "faces", np.zeros((0, 3), np.int64)))  # a cloud of points has none
        colors = np.asarray(mesh.visual.vertex_colors if hasattr(mesh, "faces") else mesh.colors)[:, :3]
        colored = mesh.visual.defined if hasattr(mesh, "faces") else len(colors) > 0
    except Exception as error:  # whatever the parser stumbles over
        raise InputError(f"{path} cannot be read as a mesh ({error}); mend or remove it") from None
    if not len(points) or not np.isfinite(points).all():
        raise InputError(f"{path} has no vertices or such as are not finite; mend or remove it")
    if not colored or len(colors) != len(points):
        raise InputError(f"{path} has no vertex colours; remove it, then the surface is fused from the depth")
    values = np.concatenate((points, colors), 1)
    sampled = [values] + [
        _sample_triangles(values[faces[start : start + TRIANGLES_AT_ONCE]])
        for start in range(0, len(faces), TRIANGLES_AT_ONCE)
    ]
    return Surface(
        points=np.concatenate([part[:, :3].astype(np.float32) for part in sampled]),
        colors=np.concatenate([part[:, 3:].round().astype(np.uint8) for part in sampled]),
    )


def _sample_triangles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (M, 3 + C) on triangles (T, 3, 3 + C): position, and what is interpolated along.

    Each triangle is cut into rows parallel to its longest side, and each row into steps, neither longer than the
    spacing; so slivers get few points.
    """
    sides = np.linalg.norm(np.roll(corners, -1, 1)[..., :3] - corners[..., :3], axis=-1)
    turn = (sides.argmax(1)[:, None] + np.arange(3)) % 3
    start, end, apex = np.take_along_axis(corners, turn[..., None], 1).transpose(1, 0, 2)
    longest = sides.max(1)
    doubled_area = np.linalg.norm(np.cross(end[:, :3] - start[:, :3], apex[:, :3] - start[:, :3]), axis=-1)
    height = doubled_area / np.maximum(longest, 1e-12)

    rows = np.ceil(height / SURFACE_SPACING).astype(np.int64) + 1
    triangle, row = _ragged_range(rows)
    up = (row / np.maximum(rows - 1, 1)[triangle])[:, None]
    steps = np.ceil(longest[triangle] * (1 - up[:, 0]) / SURFACE_SPACING).astype(np.int64) + 1
    line, step = _ragged_range(steps)
    along = (step / np.maximum(steps - 1, 1)[line])[:, None]
    triangle, up = triangle[line], up[line]
    base = start[triangle] * (1 - along) + end[triangle] * along
    return base * (1 - up) + apex[triangle] * up


def _ragged_range(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For counts (2, 3): the owners 0 0 1 1 1 and the positions 0 1 0 1 2."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
