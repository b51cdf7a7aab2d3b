import pytest

from pri3d_zoo.training.config import RECIPES, flat_keys, load_config, read_config, save_config
from pri3d_zoo.training.errors import InputError

NEEDED = ["run=r", "data.store=s"]


@pytest.mark.parametrize("recipe", sorted(file.stem for file in RECIPES.glob("*.yaml")))
def test_every_recipe_loads_with_the_names_that_stay(recipe):
    keys = flat_keys(load_config(recipe, NEEDED))
    assert {"run", "data.store", "steps", "batch_size", "size", "seed", "init"} <= keys.keys()


def test_order_of_precedence(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 7\nloss: {matches: 9}\n")
    config = load_config(str(file), [*NEEDED, "loss.matches=11", "size=[64,96]"])
    assert (config.steps, config.loss.matches, config.loss.temperature) == (7, 11, 0.4)
    assert config.size == [64, 96]
    assert config.loss.method == "joint"


def test_saved_configuration_reads_back(tmp_path):
    config = load_config("demo", [*NEEDED, "loss.method=view", "data.holdout=[a,b]"])
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        ("dmo", NEEDED, ["no recipe 'dmo'", "demo"]),
        ("missing.yaml", NEEDED, ["missing.yaml"]),
        ("../config", NEEDED, ["no recipe '../config'"]),
        ("demo", [*NEEDED, "stesp=3"], ["'stesp'", "did you mean steps?"]),
        ("demo", [*NEEDED, "loss.temprature=3"], ["'loss.temprature'", "loss.temperature"]),
        ("demo", [*NEEDED, "loss=3"], ["loss is a group"]),
        ("demo", [*NEEDED, "steps=many"], ["steps", "many"]),
        ("demo", [*NEEDED, "steps=0"], ["steps=0", "greater than 0"]),
        ("demo", [*NEEDED, "loss.method=sideways"], ["sideways", "loss.method"]),
        ("demo", [*NEEDED, "size=[240]"], ["size=[240]"]),
        ("demo", [*NEEDED, "steps"], ["'steps' is not an override", "key=value"]),
        ("demo", [*NEEDED, "steps=[1"], ["steps=[1"]),
        ("demo", ["run=r"], ["data.store=FOLDER"]),
        ("demo", ["data.store=s"], ["run=FOLDER"]),
    ],
)
def test_errors_name_key_value_and_way_out(recipe, overrides, words):
    with pytest.raises(InputError) as error:
        load_config(recipe, overrides)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_recipe_that_is_not_yaml(tmp_path):
    (tmp_path / "bad.yaml").write_text("steps: [1\n")
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_config(str(tmp_path / "bad.yaml"), NEEDED)
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(InputError, match=r"list\.yaml"):
        load_config(str(tmp_path / "list.yaml"), NEEDED)


def test_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("values", ["[1]", "[1,2,3]", "[1,0]"])
def test_weights_are_one_for_each_store(values):
    with pytest.raises(InputError, match=r"data.weights=.* one number above 0 for each store, and there are 2"):
        load_config("demo", [*NEEDED, "data.more_stores=[other]", f"data.weights={values}"])
    assert load_config("demo", [*NEEDED, "data.more_stores=[other]", "data.weights=[1,2]"]).data.weights == [1, 2]
