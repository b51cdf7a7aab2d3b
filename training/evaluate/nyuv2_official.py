"""NYU Depth v2 as it is released: ``nyu_depth_v2_labeled.mat``, ``classMapping40.mat`` and ``splits.mat``."""

import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line

MAT = "nyu_depth_v2_labeled.mat"
SPLITS = {"train": "trainNdxs", "val": "testNdxs"}


class OfficialNYUv2:
    """The labelled images; they are read when they are asked for, by their numbers from 1.

    Args:
        root: The folder of the three files.

    Raises:
        InputError: A file is missing or broken, or h5py is.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / MAT
        try:
            h5py = import_module("h5py")
            from scipy.io import loadmat
        except ImportError:
            raise InputError(f"{MAT} is an HDF5 file; to read it, pip install 'pri3d-zoo[datasets]'") from None
        try:
            splits = loadmat(root / "splits.mat")
            self.splits = {name: sorted(int(n) for n in splits[key].ravel()) for name, key in SPLITS.items()}
            forty = loadmat(root / "classMapping40.mat")["mapClass"].ravel()
            with h5py.File(self.path, "r") as file:
                scenes = ["".join(map(chr, file[reference][()].ravel())) for reference in file["scenes"][0]]
        except (OSError, KeyError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"{root}: the official NYUv2 needs {MAT}, splits.mat and classMapping40.mat, whole "
                f"({first_line(error)})"
            ) from None
        self.to_forty: NDArray[np.uint8] = np.concatenate(([0], forty)).astype(np.uint8)
        """(895,), from the number of a label to the NYU40 id, 0 for none."""
        self.scenes = dict(enumerate(scenes, start=1))
        """Where each image was taken."""

    def color(self, number: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._read("images", number)

    def labels(self, number: int) -> NDArray[np.uint16]:
        """(H, W), 0 to 894, 0 = none.

        Raises:
            InputError: It holds a number that ``to_forty`` does not know.
        """
        labels = self._read("labels", number)
        if labels.max() >= len(self.to_forty):
            raise InputError(
                f"NYUv2 image {number} holds the label {labels.max()}, classMapping40.mat has {len(self.to_forty) - 1}"
            )
        return labels

    def instances(self, number: int) -> NDArray[np.uint8]:
        """(H, W), 0 = none; counted for each label anew, so only both together tell an object."""
        return self._read("instances", number)

    def _read(self, name: str, number: int) -> NDArray[Any]:
        try:
            # MATLAB's order of axes is the other way round
            return np.ascontiguousarray(_opened(self.path, os.getpid())[name][number - 1].T)
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise InputError(f"{self.path}: its {name} {number} cannot be read ({first_line(error)})") from None


@lru_cache(1)
def _opened(path: Path, _process: int) -> Any:  # an open HDF5 file must not be inherited by loader processes
    return import_module("h5py").File(path, "r")
