"""Datasets in COCO's form: what of a file is taken, in which order, and what is said of a wrong one."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.evaluate.coco_data import (
    CocoImages,
    collate,
    find_images,
    read_coco,
    shared_categories,
    with_objects,
)
from pri3d_zoo.training.evaluate.coco_masks import compress, decode_masks, encode_mask, mask_area, mask_box

SIZE = (20, 30)


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def row(id, image=7, category=3, box=(2, 3, 4, 5), segmentation=None, **more):
    left, top, width, height = box
    segmentation = segmentation or polygon(left, top, left + width, top + height)
    return {
        "id": id,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def content(annotations=None, images=("b", "a")):
    """Two images, b with the id 7 and a with the id 4; categories 3 and 90."""
    return {
        "images": [
            {"id": id, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
            for id, name in zip((7, 4), images, strict=False)
        ],
        "annotations": [row(1), row(2, image=4, category=90)] if annotations is None else annotations,
        "categories": [{"id": 90, "name": "brush"}, {"id": 3, "name": "car"}],
    }


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def write(folder, content, name="train.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def dataset(folder, content):
    file = read_coco(write(folder, content))
    return CocoImages(with_objects(find_images(file, folder), file), list(file.categories))


def test_boxes_labels_and_masks(folder):
    images = dataset(folder, content())
    assert [image.number for image in images.images] == [4, 7]  # by id, not as they stand in the file
    batch = pickle.loads(pickle.dumps(images))[1]
    (color,), (target,) = batch.colors, batch.targets
    assert np.array_equal(color.permute(1, 2, 0).numpy(), np.array(Image.open(folder / "b.png")))
    assert target["boxes"].tolist() == [[2, 3, 6, 8]]
    assert target["labels"].tolist() == [1]  # category 3 is the first, 90 the second
    assert images[0].targets[0]["labels"].tolist() == [2]
    expected = torch.zeros(1, *SIZE, dtype=torch.uint8)
    expected[0, 3:8, 2:6] = 1
    assert torch.equal(target["masks"], expected)


def test_a_byte_order_mark_is_no_part_of_the_annotations(folder):
    path = write(folder, content())
    before = read_coco(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_coco(path).categories == before.categories


def test_half_of_the_seeds_mirror_an_image(folder):
    images = dataset(folder, content())
    plain = images[1]
    mirrored = 0
    for seed in range(200):
        batch = images[1, seed]
        again = images[1, seed]
        assert torch.equal(batch.colors[0], again.colors[0])
        if torch.equal(batch.colors[0], plain.colors[0]):
            assert torch.equal(batch.targets[0]["boxes"], plain.targets[0]["boxes"])
            continue
        mirrored += 1
        assert torch.equal(batch.colors[0], plain.colors[0].flip(-1))
        assert batch.targets[0]["boxes"].tolist() == [[24, 3, 28, 8]]
        assert torch.equal(batch.targets[0]["masks"], plain.targets[0]["masks"].flip(-1))
    assert 75 <= mirrored <= 125


def test_what_is_left_out_is_counted(folder, caplog):
    annotations = [
        row(1),
        row(2, box=(1, 1, 0, 5), segmentation=polygon(1, 1, 6, 6)),  # no width
        row(3, box=(40, 1, 5, 5), segmentation=polygon(1, 1, 6, 6)),  # beyond the right border
        row(4, segmentation=[[1, 1, 5, 5]]),  # a line is no polygon
        row(5, box=(25, 15, 50, 50), segmentation=polygon(25, 15, 75, 65)),  # reaches beyond
        row(6, segmentation={"size": list(SIZE), "counts": [10, 50, 540]}, iscrowd=1),
        row(7, image=4, segmentation=polygon(3, 3, 3, 3)),
    ]
    with caplog.at_level("INFO"):
        images = dataset(folder, content(annotations))
    assert "2 objects in 1 images; left out: 1 crowds, 4 objects without extent, 1 images without an object" in (
        caplog.text
    )
    assert images[0].targets[0]["boxes"].tolist() == [[2, 3, 6, 8], [25, 15, 30, 20]]
    assert images[0].targets[0]["masks"].sum((1, 2)).tolist() == [20, 25]


def test_batches_of_images_of_any_size(folder):
    images = dataset(folder, content())
    batch = collate([images[0], images[1]]).to(torch.device("cpu"))
    assert (len(batch.colors), len(batch.targets), batch.numbers) == (2, 2, [4, 7])


def test_masks_there_and_back():
    rng = np.random.default_rng(1)
    masks = rng.random((3, 13, 17)) < 0.4
    encoded = [encode_mask(mask) for mask in masks]
    assert np.array_equal(decode_masks(json.loads(json.dumps(encoded)), (13, 17)), masks)
    assert [mask_area(each) for each in encoded] == masks.sum((1, 2)).tolist()
    rows, columns = np.nonzero(masks[0])
    assert mask_box(encoded[0]) == [
        columns.min(),
        rows.min(),
        columns.max() - columns.min() + 1,
        rows.max() - rows.min() + 1,
    ]
    assert decode_masks([], (13, 17)).shape == (0, 13, 17)


def test_every_form_of_a_segmentation_gives_the_same_mask():
    mask = np.zeros(SIZE, bool)
    mask[3:8, 2:6] = True
    columns = mask.T.ravel()  # COCO counts along columns, zeros first
    changes = np.flatnonzero(np.diff(columns.astype(int))) + 1
    plain = np.diff([0, *changes, columns.size]).tolist()
    for form in (
        polygon(2, 3, 6, 8),
        polygon(2, 3, 4, 8) + polygon(4, 3, 6, 8),
        {"size": list(SIZE), "counts": plain},
        encode_mask(mask),
    ):
        assert np.array_equal(decode_masks([compress(form, SIZE)], SIZE)[0], mask)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_that_would_lead_pycocotools_astray(seed):
    """It aborts the program over some of them; what is let through must be the text of a mask of that size."""
    rng = np.random.default_rng(seed)
    good = encode_mask(rng.random(SIZE) < rng.random() / 4)
    assert compress(good, SIZE) == good
    text = list(good["counts"])
    place = rng.integers(len(text))
    for letter in map(chr, range(48, 112)):
        wrong = {"size": list(SIZE), "counts": "".join([*text[:place], letter, *text[place + 1 :]])}
        try:
            compress(wrong, SIZE)
        except ValueError:
            continue
        assert decode_masks([wrong], SIZE).shape == (1, *SIZE)
    for counts in ("", "0o", "\n", good["counts"][:-1], [10, 50], [600, -10, 10], "é"):
        with pytest.raises(ValueError, match=r"run lengths|ascii"):
            compress({"size": list(SIZE), "counts": counts}, SIZE)


def test_files_number_their_categories_alike(folder):
    first = read_coco(write(folder, content()))
    more = content()
    more["categories"].append({"id": 5, "name": "plane"})
    assert shared_categories(first, read_coco(write(folder, more, "more.json"))) == {3: "car", 5: "plane", 90: "brush"}
    more["categories"][0]["name"] = "comb"
    with pytest.raises(InputError, match=r"more.json: category 90 is comb, and brush in .*train.json"):
        shared_categories(first, read_coco(write(folder, more, "more.json")))


def broken(change):
    made = content()
    change(made)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("{", r"train.json cannot be read as COCO annotations \(.*\); get it again"),
        ("[]", "has no list of images"),
        (broken(lambda c: c.pop("annotations")), "has no list of annotations"),
        (broken(lambda c: c["annotations"][0].pop("bbox")), "one of its annotations lacks one of bbox"),
        (broken(lambda c: c.update(images=[])), "names no image: the split is empty"),
        (broken(lambda c: c["images"][0].update(id=4)), "two images have one id"),
        (broken(lambda c: c["annotations"][0].update(category_id=8)), "annotation 1 has category_id 8, which the file"),
        (broken(lambda c: c["annotations"][1].update(image_id=9)), "annotation 2 has image_id 9, which the file"),
        (broken(lambda c: c["images"][0].update(file_name="c.png")), "names 1 images that are not in .*such as c.png"),
        (broken(lambda c: c.update(annotations=[])), "no image of this split has an object to learn"),
        (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, 3])), "annotation 1 is broken"),
        (broken(lambda c: c["annotations"][0].update(segmentation=5)), "annotation 1 is broken"),
        (broken(lambda c: c["annotations"][0].update(segmentation=polygon(0, 0, 1e9, 5))), r"reaches 1e\+09 pixels"),
        (broken(lambda c: c["annotations"][0].update(segmentation=polygon(0, 0, float("nan"), 5))), "reaches nan"),
        (broken(lambda c: c["annotations"][0].update(segmentation=[[0, 0, 5, 0, 5, 5, 0]])), "polygon of 7 numbers"),
        (
            broken(lambda c: c["annotations"][0].update(segmentation={"size": [5, 5], "counts": [25]})),
            r"annotation 1 is broken \(its mask is for images of \[5, 5\], and the image is \[20, 30\]",
        ),
    ],
)
def test_wrong_files_are_told(folder, made, message):
    with pytest.raises(InputError, match=message) as error:
        dataset(folder, made)
    assert "train.json" in str(error.value)


def test_wrong_images_are_told(folder):
    images = dataset(folder, content())
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(folder / "b.png")
    with pytest.raises(InputError, match=r"b.png is \(5, 6\), and its annotations say \(20, 30\)"):
        images[1]
    (folder / "b.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"b\.png"):
        images[1]
    with pytest.raises(InputError, match="there is no image in this split"):
        CocoImages([], [1])
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        read_coco(folder / "none.json")


def test_coco_mini(real_data):
    root = real_data / "coco_mini"
    train, val = (read_coco(root / f"instances_{split}2017.json") for split in ("train", "val"))
    categories = shared_categories(train, val)
    assert list(categories) == sorted(categories)
    assert categories[1] == "person"
    images = CocoImages(with_objects(find_images(train, root / "images"), train), list(categories))
    target = images[0].targets[0]
    # polygons and boxes of COCO were drawn by hand, and agree to a pixel or two
    for box, mask in zip(target["boxes"], target["masks"], strict=True):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        around = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        assert (box - around).abs().max() <= 2
