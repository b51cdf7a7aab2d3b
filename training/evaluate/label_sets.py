"""The classes that semantic segmentation is measured in, and which numbers of a label image stand for them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.nyu40 import NYU40
from ..errors import InputError

IGNORED = 255  # the index of a pixel that neither trains nor counts
UNKNOWN = 254  # marks, in a table, a number that no label image may hold


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Classes, in the order of their indices.

    Args:
        name: As recipes name it.
        classes: Names; index i of a label is class i.
        table: (256,) uint8, from the number in a label image to the index, ``IGNORED`` or ``UNKNOWN``.
    """

    name: str
    classes: tuple[str, ...]
    table: NDArray[np.uint8]

    def indices(self, labels: NDArray[np.integer], image: str) -> NDArray[np.uint8]:
        """Indices (H, W) of the numbers (H, W) of a label image, which ``image`` names in errors.

        Raises:
            InputError: It holds a number that stands for nothing.
        """
        found = np.where((labels >= 0) & (labels < 256), self.table[np.clip(labels, 0, 255)], UNKNOWN)
        if (found == UNKNOWN).any():
            number = int(labels[found == UNKNOWN][0])
            raise InputError(
                f"{image} holds the label {number}, which {self.name} does not know; is it of another set?"
            )
        return found.astype(np.uint8)


# ids 1 to 13 (Couprie et al., ICLR 2013), and which of them each of the forty belongs to
NYU13 = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
    *("picture", "sofa", "table", "television", "wall", "window"),
)
NYU40_TO_13 = (
    *(12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5),
    *(7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7),
)
# the NYU40 ids that ScanNet's benchmark counts
SCANNET20 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
# the ids of Cityscapes' label images that count (Cordts et al., CVPR 2016), which KITTI uses too
CITYSCAPES19 = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"},
    **{20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"},
    **{27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"},
}
CITYSCAPES_IDS = (*range(34), 255)  # 255 is how the licence plate's -1 is written


def label_set(name: str) -> LabelSet:
    """The set of that name.

    Raises:
        InputError: There is none.
    """
    if name not in SETS:
        raise InputError(f"there is no set of classes {name!r}; there are {', '.join(SETS)}")
    return SETS[name]


def _set(name: str, classes: tuple[str, ...], known: tuple[int, ...], index: dict[int, int]) -> LabelSet:
    table = np.full(256, UNKNOWN, np.uint8)
    table[list(known)] = IGNORED
    table[list(index)] = list(index.values())
    return LabelSet(name, classes, table)


_NYU_IDS = tuple(range(41))  # 0 is void
SETS = {
    chosen.name: chosen
    for chosen in (
        _set("nyu40", NYU40, _NYU_IDS, {id: id - 1 for id in range(1, 41)}),
        _set("nyu13", NYU13, _NYU_IDS, {id: new - 1 for id, new in enumerate(NYU40_TO_13, start=1)}),
        _set(
            "scannet20",
            tuple(NYU40[id - 1] for id in SCANNET20),
            _NYU_IDS,
            {id: index for index, id in enumerate(SCANNET20)},
        ),
        _set(
            "cityscapes19",
            tuple(CITYSCAPES19.values()),
            CITYSCAPES_IDS,
            {id: index for index, id in enumerate(CITYSCAPES19)},
        ),
    )
}
