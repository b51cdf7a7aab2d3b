"""Every recipe of pre-training that is shipped: it loads, says what DESIGN says, and its networks are built and run."""

from functools import cache

import pytest
import torch
from yaml import safe_load

from pri3d_zoo.names import METHODS
from pri3d_zoo.training.config import RECIPES, Config, flat_keys, load_config
from pri3d_zoo.training.initialise import build_network
from pri3d_zoo.training.metrics import read_metrics
from pri3d_zoo.training.pretrain import pretrain
from pri3d_zoo.training.run_folder import trained_model

TASKS = ("semseg_", "detect_")  # whose recipes have keys of their own
NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml") if not file.stem.startswith(TASKS))
NEEDED = ["run=r", "data.store=s", "data.more_stores=[t]"]
FAMILIES = ("authors_{}_resnet{}_scannet", "paper_{}_resnet{}_scannet", "synthrooms_{}_resnet{}")


@cache
def load(name: str) -> Config:
    return load_config(name, NEEDED)


def test_the_recipes_that_are_promised_are_there():
    families = [family.format(method, depth) for family in FAMILIES for method in METHODS for depth in (18, 50)]
    others = ["demo", "authors", "paper", "kitti_view", "megadepth_view", "mixture", "moco_v2_resnet50_scannet"]
    others += ["synthrooms_joint_convnext_tiny", "synthrooms_joint_vit_small"]
    assert {*families, *others} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_with_the_names_that_stay(name):
    assert {"run", "data.store", "steps", "batch_size", "size", "seed", "init"} <= flat_keys(load(name)).keys()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("depth", [18, 50])
def test_a_family_differs_by_method_and_encoder_alone(family, method, depth):
    keys = flat_keys(load(family.format(method, depth)))
    assert (keys["loss.method"], keys["model.encoder"]) == (method, f"resnet{depth}")
    first = flat_keys(load(family.format("joint", 50)))
    assert {key for key in keys if keys[key] != first[key]} <= {"loss.method", "model.encoder"}


COMMON = {
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.dampening": 0.1,
    "optimizer.weight_decay": 0.0,
    "optimizer.poly_power": 0.9,
    "batch_size": 64,
    "steps": 5 * 840_000 // 64,
    "size": [240, 320],
    "batch_norm.sync": False,
    "data.augment": True,
    "data.geometric": False,
    "model.decoder": "authors",
    "model.unet3d": "minkunet34c",
    "loss.matches": 1024,
    "loss.temperature": 0.4,
}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("authors")])
def test_the_authors_figures(name):
    expected = COMMON | {
        "loss.correspondence": "depth",
        "loss.radius": 0.05,
        "loss.voxel_radius": 0.2,
        "loss.depth_weight": 1,
        "data.chunk_box": "pixels",
        "batch_norm.momentum": 0.5,
        "batch_norm.halve_every": 20,
        "batch_norm.least": 0.001,
        "init": "imagenet:tv_in1k",
    }
    assert {key: value for key, value in flat_keys(load(name)).items() if key in expected} == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("paper")])
def test_the_papers_figures(name):
    expected = COMMON | {
        "loss.correspondence": "distance",
        "loss.radius": 0.02,
        "loss.voxel_radius": None,  # a voxel, 2 cm
        "loss.depth_weight": 0,
        "data.chunk_box": "frustum",
        "batch_norm.momentum": None,
    }
    assert {key: value for key, value in flat_keys(load(name)).items() if key in expected} == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_holds_only_what_differs(name):
    """Neither what its base says already, nor, without one, the default."""
    written = safe_load((RECIPES / f"{name}.yaml").read_text())
    start = flat_keys(load(written["base"])) if "base" in written else flat_keys(Config(run="r"))
    for key, value in leaves(written):
        assert key == "base" or start[key] != value, f"{name} repeats {key}"


def leaves(tree: dict, prefix: str = ""):
    for key, value in tree.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def parts(config: Config) -> tuple[object, ...]:
    """What the networks are made of."""
    return *vars(config.model).values(), config.loss.method == "moco", config.loss.depth_weight > 0


@pytest.mark.slow
def test_the_networks_of_every_recipe_are_built_and_run():
    """On shapes alone: what has no value costs nothing. Recipes of the same parts are represented by one of them."""
    for config in {parts(load(name)): load(name) for name in NAMES}.values():
        check_networks(config)


def check_networks(config: Config) -> None:
    with torch.device("meta"):
        model = build_network(config)
        if config.loss.method == "moco":
            features = model.backbone.encoder.forward_features(torch.empty(2, 3, *config.size))
            assert features.shape[0] == 2
            return
        pixels = torch.zeros(1, 8, dtype=torch.long)
        asked = None if config.loss.method == "view" else torch.zeros(2, 8, dtype=torch.long)
        found = model(torch.empty(2, 3, *config.size), (pixels, pixels), None, asked, asked)
    channels = model.backbone.num_features
    assert found.first.shape == found.second.shape == (1, 8, channels)
    assert (found.voxel is None) == (config.loss.method == "view")
    if found.voxel is not None:
        assert found.pixel.shape == found.voxel.shape == (2, 8, 64)
    assert (found.depth is None) == (config.loss.depth_weight == 0)
    if found.depth is not None:
        assert found.depth.shape == (2, *config.size)


@pytest.mark.parametrize("recipe", ["authors", "synthrooms_joint_resnet18"])
def test_a_recipe_runs_to_its_end(recipe, tiny_settings, tmp_path):
    small = ["model.encoder=test_resnet", "model.unet3d=minkunet14s", "init=scratch", *tiny_settings]
    small += ["batch_norm.halve_every=2", "optimizer.lr=0.02"]
    assert pretrain(load_config(recipe, [f"run={tmp_path}", *small]))
    row = read_metrics(tmp_path)[-1]
    _, model = trained_model(tmp_path)
    assert ("depth" in row) == hasattr(model.headnet, "weight") == (recipe == "authors")
    assert row["loss"] == pytest.approx(row["view"] + row["geo"] + row.get("depth", 0), rel=1e-5)
    assert all(row[f"{name}_matches"] > 8 for name in ("view", "geo"))
