"""All datasets of which the package scenezoo reads RGB-D frames: one adapter for ScanNet++, ARKitScenes, 3RScan, ...

What scenezoo (0.3) gives is what we take: OpenCV axes, metres, the centre of the top-left pixel at (0, 0); world to
camera, which is inverted here; colour and depth at their own sizes with their own intrinsics at one place, which
``registration.py`` brings to one image. Frames are upright: where the device was held sideways scenezoo turns them, so
3RScan and most of MultiScan and ARKitScenes are higher than wide, for which a store of 320x240 is the right one.

Which datasets, what each needs on disk and which of its scenes are whose split, scenezoo's documentation says
(https://scenezoo.readthedocs.io). Lists of scenes that are not in a release it downloads once.
"""

import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import InputError, first_line
from ...geometry import scale_intrinsics
from ..frame import Frame, SkippedFrame, Surface
from ..scene_lists import select_scenes
from .mesh import cover
from .registration import register

CAMERAS = ("rgb_intrinsics", "depth_intrinsics", "world_to_camera")
ITEMS = ("rgb", "depth", *CAMERAS)
PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")
FRAMES_AT_ONCE = 8  # 250 MB of a phone's colour; fewer cost time where depth is one stream, unpacked from its start
LEVELS = 3  # of folders below the root, among which those of the scenes are: ROOT/raw/Training/SCENE
MESHES = ("ply", "house", "raw", "decimated")  # those coloured by what was seen, not by labels; the finest first
NAMED = 5  # frames or scenes that a message names

logger = logging.getLogger(__name__)


class ScenezooSource:
    """The scenes of a dataset, read through scenezoo when a frame is asked for.

    Args:
        root: The dataset's folder, as scenezoo wants it.
        dataset: scenezoo's name of it, such as "scannetppv2".
        split: An official split by scenezoo's name, such as "train"; None takes all scenes.
        scenes: Scenes by name, then the split does not matter and no list is needed; none means all of the split that
            are on this disk.
        stride: Every so many-th of the frames that have a camera.

    Raises:
        InputError: The stride is below 1, scenezoo is missing or cannot be loaded, it knows no such dataset or split,
            reads no RGB-D frames of it, has no list of its scenes, or a scene is not there.
    """

    def __init__(
        self, root: Path, *, dataset: str, split: str | None = None, scenes: Sequence[str] = (), stride: int
    ) -> None:
        if stride < 1:
            raise InputError(f"stride must be at least 1, not {stride}")
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; name the one that holds {dataset}")
        self._root, self._dataset, self._stride = root, dataset, stride
        reader = _open(root, dataset)
        wanted = list(scenes) or _official(reader, dataset, split)
        there = _present(root, wanted)
        if scenes:
            self._scenes = list(select_scenes(there, scenes, root))
            return
        self._scenes = sorted(there)
        if not there:
            raise InputError(
                f"{root}: none of the {len(wanted)} scenes of {dataset}{f' {split}' * bool(split)} is in it, such as "
                f"{wanted[0]!r}; name the folder that scenezoo's documentation describes"
            )
        if missing := sorted(set(wanted) - set(there)):
            logger.warning(
                "%s: %d of the %d scenes of %s are not there and left out: %s",
                *(root, len(missing), len(set(wanted)), dataset, _some(missing)),
            )

    def scene_ids(self) -> list[str]:
        """Names of the scenes, sorted."""
        return list(self._scenes)

    def frames(self, scene: str) -> Iterator[Frame | SkippedFrame]:
        """The frames of a scene in order; the id is scenezoo's number of it.

        Those that scenezoo gives no camera for are one SkippedFrame together, those that cannot be read one each.

        Raises:
            InputError: The scene's cameras cannot be read, or they are no pinholes.
        """
        reader = _open(self._root, self._dataset)
        read: Callable[..., Any] = partial(reader.get_frames, scene)
        try:
            if "source" in inspect.signature(reader.get_frames).parameters:
                read = partial(read, source=_frame_source(reader, scene))
            cameras = read(items=CAMERAS)
        except Exception as error:  # a reader of somebody else's may raise anything
            raise InputError(
                f"{self._root}: scenezoo cannot read the cameras of scene {scene} ({first_line(error)}); "
                "download or unpack it again"
            ) from None
        _check_pinhole(cameras, scene)
        left_out = sorted(set(range(cameras.source_frame_count)) - set(cameras.indices.tolist()))
        if left_out:
            yield SkippedFrame(
                _some([str(number) for number in left_out]),
                f"these {len(left_out)} of {cameras.source_frame_count} frames have no camera that is usable",
            )
        chosen = cameras.indices[:: self._stride]
        for start in range(0, len(chosen), FRAMES_AT_ONCE):
            yield from _read_frames(read, chosen[start : start + FRAMES_AT_ONCE])

    def surface(self, scene: str) -> Surface | None:
        """Points on the scene's mesh, one in each centimetre cell; None where no mesh with vertex colours is there.

        Raises:
            InputError: A mesh is there but cannot be read.
        """
        reader = _open(self._root, self._dataset)
        for kind in (kind for kind in MESHES if kind in reader.spec.mesh_types):
            try:
                mesh = reader.get_mesh(scene, mesh_type=kind)
            except (FileNotFoundError, import_module("scenezoo").UnsupportedOperationError):
                continue
            except Exception as error:  # as above
                raise InputError(
                    f"{self._root}: scenezoo cannot read the {kind} mesh of scene {scene} ({first_line(error)}); mend "
                    "or remove it"
                ) from None
            if mesh.has_vertex_colors():
                values = np.concatenate((np.asarray(mesh.vertices), 255 * np.asarray(mesh.vertex_colors)), 1)
                return cover(values, np.asarray(mesh.triangles))
        return None


def _open(root: Path, name: str) -> Any:
    """scenezoo's reader of the dataset."""
    try:
        scenezoo = import_module("scenezoo")
    except ImportError:
        raise InputError(f"{name} is read by the package scenezoo; pip install 'pri3d-zoo[datasets]'") from None
    usable = [known for known in scenezoo.list_datasets() if _frame_sources(scenezoo.get_dataset_info(known).spec)]
    try:
        spec = scenezoo.get_dataset_info(name).spec
    except KeyError:
        raise InputError(f"scenezoo knows no dataset {name!r}; with RGB-D frames it has {', '.join(usable)}") from None
    if not _frame_sources(spec):
        raise InputError(f"scenezoo has no RGB-D frames of a pinhole camera of {name!r}; it has of {', '.join(usable)}")
    try:
        return scenezoo.get_dataset(name, root)
    except (ImportError, OSError) as error:
        raise InputError(
            f"scenezoo cannot be loaded ({first_line(error)}); install what is missing, for a library of the system "
            "with its package manager (Open3D needs libusb-1.0-0 and libgl1)"
        ) from None


def _frame_sources(spec: Any) -> list[str]:
    """The cameras of a dataset that give RGB-D frames without distortion, by scenezoo's names and in its order."""
    return [
        source.name
        for source in spec.frame_sources
        if set(ITEMS) <= set(source.items) and "PINHOLE" in source.camera_models and not source.requires
    ]


def _frame_source(reader: Any, scene: str) -> str:
    """The first of those cameras that was downloaded for this scene; the first of all where none was or can be told."""
    names = _frame_sources(reader.spec)
    there = reader.get_frame_sources(scene) if hasattr(reader, "get_frame_sources") else names
    return next((name for name in names if name in there), names[0])


def _official(reader: Any, name: str, split: str | None) -> list[str]:
    """The scenes of a split; InputError where the list cannot be had or there is no such split."""
    try:
        splits = reader.splits
        if split is not None and split not in splits:
            raise InputError(f"{name} has no split {split!r} for scenezoo; there are {', '.join(splits) or 'none'}")
        scenes = list(reader.get_ids(split))
    except InputError:
        raise
    except Exception as error:  # lists that are downloaded fail in as many ways as networks do
        raise InputError(
            f"scenezoo cannot get the list of scenes of {name} ({first_line(error)}); connect to the network once, or "
            "name the scenes in a file of your own"
        ) from None
    if not scenes:
        raise InputError(f"scenezoo's list of scenes of {name} {split or ''} is empty; name the scenes in a file")
    return scenes


def _present(root: Path, scenes: Collection[str]) -> dict[str, Path]:
    """The folders of those scenes that are on this disk."""
    found: dict[str, Path] = {}
    wanted = set(scenes)
    for folder, names, _ in os.walk(root, followlinks=True):
        here = Path(folder)
        found |= {name: here / name for name in names if name in wanted}
        deeper = len(here.relative_to(root).parts) + 1 < LEVELS
        names[:] = [name for name in names if deeper and name not in wanted]
    return found


def _check_pinhole(cameras: Any, scene: str) -> None:
    distorted = cameras.distortion is not None and np.any(cameras.distortion)
    if cameras.camera_model not in PINHOLES or cameras.depth_mode == "ray_distance" or distorted:
        raise InputError(
            f"scene {scene}: its camera is {cameras.camera_model} with distortion or depth along rays, where a pinhole "
            "is needed; get the undistorted frames of the dataset"
        )


def _read_frames(read: Callable[..., Any], numbers: Sequence[int]) -> Iterator[Frame | SkippedFrame]:
    """The frames of those numbers; where they cannot be read together, one by one."""
    try:
        batch = read(indices=numbers, items=ITEMS)
    except Exception as error:  # a reader of somebody else's may raise anything
        if len(numbers) == 1:
            yield SkippedFrame(f"{numbers[0]:06d}", first_line(error))
            return
        batch = None
    if batch is None:
        for position in range(len(numbers)):
            yield from _read_frames(read, numbers[position : position + 1])
        return
    for position, number in enumerate(numbers):
        try:
            yield _frame(batch, position, f"{number:06d}")
        except InputError as error:
            yield SkippedFrame(f"{number:06d}", str(error))


def _frame(batch: Any, position: int, id: str) -> Frame:
    color, depth = batch.rgb[position], batch.depth[position]
    depth_intrinsics = batch.depth_intrinsics[position].astype(np.float64)
    if 2 * depth.shape[0] <= color.shape[0] and 2 * depth.shape[1] <= color.shape[1]:
        # each reading four times: the phones' 192x256 would take the colour down to less than is asked for as a rule
        size = (depth.shape[0], depth.shape[1])
        depth = depth.repeat(2, 0).repeat(2, 1)
        doubled = scale_intrinsics(torch.as_tensor(depth_intrinsics), size, (2 * size[0], 2 * size[1]))
        depth_intrinsics = doubled.numpy()
    registered = register(color, batch.rgb_intrinsics[position].astype(np.float64), depth, depth_intrinsics)
    return Frame(
        id=id,
        color=registered.color,
        depth=registered.depth,
        intrinsics=registered.intrinsics,
        camera_to_world=np.linalg.inv(batch.world_to_camera[position].astype(np.float64)),
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
