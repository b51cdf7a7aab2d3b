"""Labelled images: NYUv2 as it is here, and the other layouts on files written by the tests."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.label_sets import IGNORED, label_set
from pri3d_zoo.training.evaluate.labelled_images import Item, LabelledImages, find_items, fraction, listed


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def hide_companions(root):
    """The ``._NAME`` that macOS puts beside each file on disks of other systems."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")


def labels_of(number, size=(12, 16)):
    return np.full(size, number, np.uint8)


def picture(size=(12, 16), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def test_nyuv2_as_it_is(real_data):
    root = real_data / "nyuv2"
    train, test = find_items("nyuv2", root, "train"), find_items("nyuv2", root, "val")
    assert (len(train), len(test)) == (795, 654)
    assert not {item.id for item in train} & {item.id for item in test}
    images = LabelledImages(train[:3], label_set("nyu13"), (120, 160))
    color, labels = images[1]
    assert (color.shape, color.dtype, labels.shape, labels.dtype) == (
        (3, 120, 160),
        torch.uint8,
        (120, 160),
        torch.uint8,
    )
    stored = np.array(Image.open(root / "label40" / f"{train[1].id}.png"))
    assert np.array_equal(labels.numpy(), label_set("nyu13").indices(stored[1::2, 1::2], "x"))
    assert set(labels.unique().tolist()) <= {*range(13), IGNORED}


def test_the_official_files_of_nyuv2(tmp_path):
    h5py = pytest.importorskip("h5py")
    savemat = pytest.importorskip("scipy.io").savemat
    colors = np.stack([picture(seed=n) for n in range(4)])
    numbers = np.arange(4 * 12 * 16).reshape(4, 12, 16) % 895
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = colors.transpose(0, 3, 2, 1)  # MATLAB's order of axes, as HDF5 shows it
        file["labels"] = numbers.transpose(0, 2, 1).astype(np.uint16)
        names = [file.create_dataset(f"n{n}", data=np.array([[ord(c)] for c in f"room_000{n // 2}"])) for n in range(4)]
        file.create_dataset("scenes", (1, 4), dtype=h5py.ref_dtype)[0] = [name.ref for name in names]
    to_forty = np.arange(894) % 40 + 1
    savemat(tmp_path / "classMapping40.mat", {"mapClass": to_forty[None]})
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [3], [4]]), "testNdxs": np.array([[2]])})
    items = find_items("nyuv2", tmp_path, "train")
    assert [(item.id, item.scene) for item in items] == [
        ("0001", "room_0000"),
        ("0003", "room_0001"),
        ("0004", "room_0001"),
    ]
    images = pickle.loads(pickle.dumps(LabelledImages(items, label_set("nyu40"), (12, 16))))
    color, labels = images[1]
    assert np.array_equal(color.permute(1, 2, 0).numpy(), colors[2])
    expected = np.where(numbers[2] == 0, IGNORED, to_forty[numbers[2] - 1] - 1)
    assert np.array_equal(labels.numpy(), expected)
    (tmp_path / "splits.mat").unlink()
    with pytest.raises(InputError, match=r"needs nyu_depth_v2_labeled.mat, splits.mat and classMapping40.mat"):
        find_items("nyuv2", tmp_path, "train")


def test_scannet_frames(tmp_path):
    for scene in ("scene0000_00", "scene0000_01", "scene0007_00"):
        for id in ("000000", "000100"):
            save(tmp_path / "scannet_frames_25k" / scene / "label" / f"{id}.png", labels_of(39))
            save(tmp_path / "scannet_frames_25k" / scene / "color" / f"{id}.jpg", picture())
    (tmp_path / "scannetv2_train.txt").write_text("scene0000_00\nscene0000_01\nscene0005_00\n")
    (tmp_path / "scannetv2_val.txt").write_text("scene0007_00\n")
    hide_companions(tmp_path)
    train = find_items("scannet", tmp_path, "train")
    assert [item.id for item in train] == [f"scene0000_0{scan}/000{n}00" for scan in (0, 1) for n in (0, 1)]
    assert {item.scene for item in train} == {"scene0000"}  # two scans of one room
    assert len(find_items("scannet", tmp_path, "val")) == 2
    _, labels = LabelledImages(train, label_set("scannet20"), (12, 16))[0]
    assert labels.unique().tolist() == [19]


def test_kitti_and_cityscapes(tmp_path):
    for number in range(10):
        save(tmp_path / "kitti" / "training" / "image_2" / f"{number:06d}_10.png", picture())
        save(tmp_path / "kitti" / "training" / "semantic" / f"{number:06d}_10.png", labels_of(26))
    hide_companions(tmp_path)
    train, val = (find_items("kitti", tmp_path / "kitti", split) for split in ("train", "val"))
    assert [item.id for item in val] == ["000004_10", "000009_10"]
    assert len(train) == 8
    for split, city in (("train", "aachen"), ("val", "lindau")):
        for frame in range(2):
            name = f"{city}_00000{frame}_000019"
            save(tmp_path / "city" / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture())
            save(tmp_path / "city" / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", labels_of(7))
    hide_companions(tmp_path / "city")
    items = find_items("cityscapes", tmp_path / "city", "val")
    assert [(item.id, item.scene) for item in items] == [
        (f"lindau_00000{frame}_000019", f"lindau_00000{frame}") for frame in range(2)
    ]
    for chosen, index in ((val, 13), (items, 0)):
        _, labels = LabelledImages(chosen, label_set("cityscapes19"), (6, 8))[0]
        assert labels.unique().tolist() == [index]


def test_a_store_without_labels(tiny_store):
    items = find_items("store", tiny_store, "train")
    assert len(items) == 8
    with pytest.raises(InputError, match="frame 000 has no labels"):
        LabelledImages(items, label_set("nyu40"), (48, 64))[0]


def test_bad_files_are_named(tmp_path):
    root = tmp_path / "nyuv2"
    save(root / "image" / "0001.jpg", picture())
    save(root / "label40" / "0001.png", labels_of(41))
    for name in ("train", "test"):
        (root / f"{name}.txt").write_text("0001\n")
    images = LabelledImages(find_items("nyuv2", root, "train"), label_set("nyu13"), (12, 16))
    with pytest.raises(InputError, match="0001 holds the label 41, which nyu13 does not know"):
        images[0]
    save(root / "label40" / "0001.png", labels_of(1, (6, 8)))
    with pytest.raises(InputError, match=r"0001: the image is \(12, 16\) and its labels are \(6, 8\)"):
        images[0]
    (root / "label40" / "0001.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"nyuv2: label40/0001.png is broken"):
        images[0]
    (root / "test.txt").write_text("0001\n0002\n")
    with pytest.raises(InputError, match="lacks 1 images of the split val, such as 0002"):
        find_items("nyuv2", root, "val")


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no dataset 'ade20k' of labelled images; there are nyuv2, scannet"):
        find_items("ade20k", tmp_path, "train")
    with pytest.raises(InputError, match="no split 'test'"):
        find_items("kitti", tmp_path, "test")
    with pytest.raises(InputError, match="no such folder"):
        find_items("kitti", tmp_path / "nowhere", "train")
    with pytest.raises(InputError, match="no labelled image of the split train of kitti"):
        find_items("kitti", tmp_path, "train")
    with pytest.raises(InputError, match="no labelled image in this split"):
        LabelledImages([], label_set("nyu13"), (12, 16))


def items_of(scenes, each):
    return [Item(f"{s}/{n}", f"scene{s}", lambda: None, lambda: None) for s in range(scenes) for n in range(each)]


def test_fractions_are_whole_scenes_and_nested():
    items = items_of(10, 6)
    parts = {share: fraction(items, share, seed=3) for share in (0.2, 0.4, 0.5, 1.0)}
    assert {share: len(part) for share, part in parts.items()} == {0.2: 12, 0.4: 24, 0.5: 30, 1.0: 60}
    assert len({item.scene for item in parts[0.2]}) == 2
    assert {item.id for item in parts[0.2]} < {item.id for item in parts[0.4]}
    assert parts[1.0] == items
    assert [item.id for item in fraction(items, 0.2, seed=4)] != [item.id for item in parts[0.2]]
    assert len(fraction(items, 0.001, seed=0)) == 1
    with pytest.raises(InputError, match=r"data.fraction=0: it must be"):
        fraction(items, 0, seed=0)


def test_a_list_chooses_images_or_scenes(tmp_path):
    items = items_of(3, 2)
    (tmp_path / "list.txt").write_text("scene1  # both\n2/0\n")
    assert [item.id for item in listed(items, tmp_path / "list.txt")] == ["1/0", "1/1", "2/0"]
    (tmp_path / "list.txt").write_text("0\n")  # as ScanNet's lists name scans, scene0000_00, of a scene0000
    assert [item.id for item in listed(items, tmp_path / "list.txt")] == ["0/0", "0/1"]
    (tmp_path / "list.txt").write_text("scene9\n")
    with pytest.raises(InputError, match="names scene9, which is no image or scene"):
        listed(items, tmp_path / "list.txt")
