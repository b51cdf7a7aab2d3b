"""Converters to COCO's form, on files that the tests write; their masks and counts are worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from yaml import safe_load

import pri3d_zoo
from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.nyu40 import NYU40
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.coco_convert import convert_to_coco, find_objects
from pri3d_zoo.training.evaluate.coco_data import CocoImages, find_images, read_coco, with_objects
from pri3d_zoo.training.evaluate.coco_masks import decode_masks
from pri3d_zoo.training.evaluate.coco_sources import DATASETS, NYU9, SCANNET18

CONFIGS = Path(pri3d_zoo.__file__).parent / "configs" / "detectron2"
SIZE = (60, 80)
WALL, CHAIR, DESK, LAMP = 1, 5, 14, 35


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def labels_and_instances():
    """A wall, two chairs side by side, one of them with a desk before its middle, a lamp, and a small chair."""
    labels, instances = np.full(SIZE, WALL, np.uint8), np.ones(SIZE, np.uint16)
    labels[10:50, 5:35], instances[10:50, 5:35] = CHAIR, 1
    labels[10:50, 35:70], instances[10:50, 35:70] = CHAIR, 2
    labels[20:40, 10:30], instances[20:40, 10:30] = DESK, 1
    labels[:10, 70:], instances[:10, 70:] = LAMP, 1
    labels[55:, :5], instances[55:, :5] = CHAIR, 3
    labels[:5, :5], instances[:5, :5] = CHAIR, 0
    return labels, instances


@pytest.fixture
def scannet(tmp_path):
    root = tmp_path / "scannet"
    labels, instances = labels_and_instances()
    for scene, split in (("scene0000_00", "train"), ("scene0000_01", "train"), ("scene0007_00", "val")):
        folder = root / "scannet_frames_25k" / scene
        for id in ("000000", "000100"):
            save(folder / "label" / f"{id}.png", labels)
            # as ScanNet writes them: the label times 1000 and the number
            numbers = np.where(instances, labels.astype(np.uint16) * 1000 + instances, 0).astype(np.uint16)
            save(folder / "instance" / f"{id}.png", numbers)
            save(folder / "color" / f"{id}.jpg", picture())
        with (root / f"scannetv2_{split}.txt").open("a") as file:
            file.write(f"{scene}\n")
    save(root / "scannet_frames_25k" / "scene0000_01" / "label" / "000100.png", np.ones(SIZE, np.uint8))
    return root


def test_objects_of_an_image():
    labels, instances = labels_and_instances()
    table = np.zeros(41, np.uint8)
    table[[CHAIR, DESK]] = 3, 11
    objects, small = find_objects(labels, instances, table, 100)
    assert [(each["category_id"], each["area"], each["bbox"]) for each in objects] == [
        (3, 30 * 40 - 20 * 20, [5, 10, 30, 40]),
        (3, 35 * 40, [35, 10, 35, 40]),
        (11, 20 * 20, [10, 20, 20, 20]),
    ]
    assert small == 1  # the third chair has 25 pixels; what has no instance is no object
    masks = decode_masks([each["segmentation"] for each in objects], SIZE)
    for mask, (label, number) in zip(masks, ((CHAIR, 1), (CHAIR, 2), (DESK, 1)), strict=True):
        assert np.array_equal(mask, (labels == label) & (instances == number))
    assert len(find_objects(labels, instances, table, 25)[0]) == 4


def test_scannet(scannet, tmp_path):
    for path in list(scannet.rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    out = tmp_path / "out"
    done = convert_to_coco("scannet", scannet, out, "train", min_pixels=100)
    assert (done.images, done.objects, done.small, done.empty) == (3, 9, 3, 1)
    assert done.path == out / "scannet_train.coco.json"
    assert str(done).startswith(f"{done.path}: 9 objects in 3 images of {scannet / 'scannet_frames_25k'}; left out: 3 ")
    assert [path.name for path in out.iterdir()] == [done.path.name]  # images stay where they are
    file = read_coco(done.path)
    images = with_objects(find_images(file, done.folder), file)
    assert [image.id for image in images] == [
        "scene0000_00/color/000000.jpg",
        "scene0000_00/color/000100.jpg",
        "scene0000_01/color/000000.jpg",
    ]
    assert {image.scene for image in images} == {"scene0000"}  # two scans of one room
    target = CocoImages(images, list(file.categories))[2].targets[0]
    assert [file.categories[id] for id in target["labels"].tolist()] == ["chair", "chair", "desk"]
    assert target["boxes"].tolist() == [[5, 10, 35, 50], [35, 10, 70, 50], [10, 20, 30, 40]]
    with pytest.raises(InputError, match="no object of 1000000 pixels or more"):
        convert_to_coco("scannet", scannet, out, "val", min_pixels=1_000_000)


@pytest.mark.slow  # two processes that import everything
def test_any_number_of_workers_writes_the_same_file(scannet, tmp_path):
    one, two = (
        convert_to_coco("scannet", scannet, tmp_path / str(workers), "train", min_pixels=100, workers=workers)
        for workers in (1, 2)
    )
    assert one.path.read_bytes() == two.path.read_bytes()


def test_a_broken_file_leaves_no_annotations(scannet, tmp_path):
    path = scannet / "scannet_frames_25k" / "scene0007_00" / "instance" / "000100.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"scene0007_00.*000100\.png"):
        convert_to_coco("scannet", scannet, tmp_path / "out", "val", min_pixels=100)
    assert not (tmp_path / "out").exists()
    save(path, np.zeros((5, 5), np.uint16))
    with pytest.raises(InputError, match=r"000100.jpg: its labels are \(60, 80\) and its instances \(5, 5\)"):
        convert_to_coco("scannet", scannet, tmp_path / "out", "val", min_pixels=100)
    save(path.parents[1] / "label" / "000100.png", np.full((5, 5), 41, np.uint8))
    with pytest.raises(InputError, match=r"000100\.jpg: its labels hold 41, and the classes end at 40"):
        convert_to_coco("scannet", scannet, tmp_path / "out", "val", min_pixels=100)


@pytest.fixture
def nyuv2(tmp_path):
    """Three images; label 100 + i of the release's 894 is NYU40's i, and label 300 is a desk too."""
    h5py = pytest.importorskip("h5py")
    savemat = pytest.importorskip("scipy.io").savemat
    root = tmp_path / "nyuv2"
    root.mkdir()
    to_forty = np.full(894, 40)
    to_forty[100:140] = range(1, 41)
    to_forty[299] = DESK
    labels, instances = labels_and_instances()
    labels = labels.astype(np.uint16) + 100
    labels[labels == 100 + CHAIR] = 100 + 7  # tables
    labels[10:50, 35:70] = 300
    instances[10:50, 35:70] = 1  # a desk and a table, which are one class of the 13, with the same number
    instances[:5, :5], labels[:5, :5] = 0, 0
    colors = np.stack([picture(seed) for seed in range(3)])
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = colors.transpose(0, 3, 2, 1)
        file["labels"] = np.stack([labels] * 3).transpose(0, 2, 1)
        file["instances"] = np.stack([instances.astype(np.uint8)] * 3).transpose(0, 2, 1)
        names = [file.create_dataset(f"n{n}", data=np.array([[ord(c)] for c in f"room_{n}"])) for n in range(3)]
        file.create_dataset("scenes", (1, 3), dtype=h5py.ref_dtype)[0] = [name.ref for name in names]
    savemat(root / "classMapping40.mat", {"mapClass": to_forty[None]})
    savemat(root / "splits.mat", {"trainNdxs": np.array([[3], [1]]), "testNdxs": np.array([[2]])})
    return root


def test_nyuv2(nyuv2, tmp_path):
    out = tmp_path / "out"
    done = convert_to_coco("nyuv2", nyuv2, out, "train", min_pixels=100)
    assert (done.images, done.folder) == (2, out)
    file = read_coco(done.path)
    images = with_objects(find_images(file, out), file)
    assert [(image.id, image.scene) for image in images] == [("image/0001.png", "room_0"), ("image/0003.png", "room_2")]
    batch = CocoImages(images, list(file.categories))[1]
    assert np.array_equal(batch.colors[0].permute(1, 2, 0).numpy(), picture(2))
    found = [file.categories[id] for id in batch.targets[0]["labels"].tolist()]
    # table 1, the desk that label 114 stands for, the lamp no class, and the desk that label 300 stands for
    assert found == ["table", "table", "table"]
    assert batch.targets[0]["boxes"].tolist() == [[5, 10, 35, 50], [10, 20, 30, 40], [35, 10, 70, 50]]
    convert_to_coco("nyuv2", nyuv2, out, "val", min_pixels=100)
    assert sorted(path.name for path in (out / "image").iterdir()) == ["0001.png", "0002.png", "0003.png"]


def test_a_store_with_instances(tmp_path):
    labels, instances = labels_and_instances()
    depth = np.ones(SIZE, np.float32)
    for name, more in (("room", {"semantic": labels, "instance": instances}), ("bare", {})):
        with SceneWriter(tmp_path / name, "scene1") as writer:
            writer.add_frame(Frame("000", picture(), depth, np.eye(3), np.eye(4), **more))
            writer.finish(
                pairs=np.zeros((0, 2), np.int32),
                overlaps=np.zeros(0, np.float32),
                voxels=np.zeros((0, 3), np.int32),
                voxel_colors=np.zeros((0, 3), np.uint8),
                voxel_size=0.1,
                manifest={},
            )
    done = convert_to_coco("store", tmp_path / "room", tmp_path / "out", "val", min_pixels=100)
    file = read_coco(done.path)
    (image,) = with_objects(find_images(file, tmp_path / "out"), file)
    assert (image.id, image.scene, len(image.objects)) == ("image/scene1/000.png", "scene1", 3)
    with pytest.raises(InputError, match="frame 000 lacks labels or instances"):
        convert_to_coco("store", tmp_path / "bare", tmp_path / "out", "val")


def test_wrong_names_are_told(tmp_path):
    for arguments, message in (
        (("ade20k", tmp_path, tmp_path, "train"), "no converter for 'ade20k'; there are scannet, nyuv2, store"),
        (("scannet", tmp_path, tmp_path, "test"), "there is no split 'test'"),
        (("scannet", tmp_path / "none", tmp_path, "train"), "there is no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            convert_to_coco(*arguments)
    (tmp_path / "scannetv2_train.txt").write_text("scene0000_00\n")
    with pytest.raises(InputError, match="nothing of the split train of scannet is in it"):
        convert_to_coco("scannet", tmp_path, tmp_path, "train")


def test_classes_are_the_authors():
    """The tables of the authors' converters: by the ids 0 to 40 of NYU40, and 0 to 13 of the usual 13."""
    theirs = {3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6, 9: 7, 10: 8, 11: 9, 12: 10, 14: 11}
    theirs |= {16: 12, 24: 13, 28: 14, 33: 15, 34: 16, 36: 17, 39: 18}
    assert {ids[0]: place for place, (_, ids) in enumerate(SCANNET18, start=1)} == theirs
    names = {name: {NYU40[id - 1] for id in ids} for name, ids in NYU9}
    assert names["bed"] == {"bed"}
    assert names["table"] == {"table", "desk"}
    assert names["painting"] == {"picture"}
    assert names["tv"] == {"television"}
    assert names["sofa"] == {"sofa"}
    assert not {"wall", "floor", "ceiling", "lamp"} & set().union(*names.values())


@pytest.mark.parametrize("dataset", ["scannet", "nyuv2"])
def test_the_configurations_of_detectron2_name_these_files_and_classes(dataset):
    path = CONFIGS / f"mask_rcnn_R_50_FPN_{dataset}.yaml"
    config, text = safe_load(path.read_text()), path.read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    classes = DATASETS[dataset][0]
    assert config["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == len(classes)
    assert f"with the ids 1 to {len(classes)}: {', '.join(name for name, _ in classes)}:" in comment
    assert config["INPUT"]["MASK_FORMAT"] == "bitmask"  # else detectron2 wants polygons
    for split, key in (("train", "TRAIN"), ("val", "TEST")):
        assert config["DATASETS"][key] == [f"{dataset}_{split}"]
        assert f"{dataset}_{split}.coco.json" in comment
    assert f"pri3d-train coco {dataset}" in comment


def test_files_are_what_json_and_detectron2_read(scannet, tmp_path):
    path = convert_to_coco("scannet", scannet, tmp_path, "val", min_pixels=100).path
    made = json.loads(path.read_text())
    assert [row["id"] for row in made["categories"]] == list(range(1, 19))
    for row in made["annotations"]:
        assert isinstance(row["segmentation"]["counts"], str)
        assert row["iscrowd"] == 0
