"""Images on disk while a scene is prepared: they come back, and others than the first are refused."""

from pathlib import Path

import numpy as np
import pytest

from pri3d_zoo.training.data.spool import Metres, Spool
from pri3d_zoo.training.errors import InputError


def test_images_come_back_in_any_order_and_leave_no_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 60000, (5, 3, 4)).astype(np.uint16)
    with Spool(tmp_path / "new") as spool:
        for image in images:
            spool.append(image)
        assert len(spool) == 5
        for index in (3, 0, 4, 4):
            assert np.array_equal(spool[index], images[index])
            assert spool[index].dtype == np.uint16
        with pytest.raises(IndexError, match="array 5 of 5"):
            spool[5]
        chosen = Metres(spool, np.array([4, 1]))
        assert len(chosen) == 2
        assert np.array_equal(chosen[1], images[1].astype(np.float32) / np.float32(1000))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("other", [np.zeros((4, 3), np.uint16), np.zeros((3, 4, 1), np.uint16), np.zeros((3, 4))])
def test_images_of_another_size_or_type_are_refused(tmp_path: Path, other: np.ndarray) -> None:
    with Spool(tmp_path) as spool:
        spool.append(np.ones((3, 4), np.uint16))
        with pytest.raises(InputError, match=r"image 1 is \(.*\) \w+, those before it are \(3, 4\) uint16"):
            spool.append(other)
        assert len(spool) == 1
        assert (spool[0] == 1).all()
