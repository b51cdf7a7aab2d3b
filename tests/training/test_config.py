from dataclasses import dataclass

import pytest
import yaml
from omegaconf import MISSING

from pri3d_zoo.training.config import flat_keys, load_config, read_config, recipe_text, save_config
from pri3d_zoo.training.errors import InputError

NEEDED = ["run=r", "data.store=s"]


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
        ("mixture", NEEDED, ["data.weights=[1.0, 1.0]", "one number above 0 for each store, and there are 1"]),
        ("demo", [*NEEDED, "loss.correspondence=near"], ["near", "loss.correspondence"]),
        ("demo", [*NEEDED, "model.decoder=heavy"], ["heavy", "model.decoder"]),
        ("demo", [*NEEDED, "loss.depth_weight=-1"], ["loss.depth_weight=-1", "0 (no depth head) or more"]),
        ("demo", [*NEEDED, "batch_norm.momentum=0"], ["batch_norm.momentum=0", "greater than 0"]),
        ("demo", [*NEEDED, "base=authors"], ["unknown key 'base'"]),
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


def test_a_recipe_starts_from_its_base(tmp_path):
    (tmp_path / "first.yaml").write_text("steps: 7\nloss: {matches: 9, temperature: 0.2}\n")
    (tmp_path / "second.yaml").write_text("base: first.yaml\nloss: {matches: 10}\n")
    (tmp_path / "third.yaml").write_text(f"base: {tmp_path / 'second.yaml'}\nseed: 5\n")
    (tmp_path / "fourth.yaml").write_text("base: authors\nloss: {radius: 0.1}\n")
    config = load_config(str(tmp_path / "third.yaml"), NEEDED)
    assert (config.steps, config.loss.matches, config.loss.temperature, config.seed) == (7, 10, 0.2, 5)
    config = load_config(str(tmp_path / "fourth.yaml"), NEEDED)
    assert (config.loss.radius, config.loss.voxel_radius) == (0.1, 0.2)


@dataclass
class Other:
    run: str = MISSING
    epochs: int = 3


def test_a_schema_of_ones_own(tmp_path):
    (tmp_path / "first.yaml").write_text("epochs: 7\n")
    (tmp_path / "second.yaml").write_text("base: first.yaml\n")
    config = load_config(str(tmp_path / "second.yaml"), ["run=r"], Other)
    assert config == Other("r", 7)
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", Other) == config
    with pytest.raises(InputError, match="needs run=FOLDER"):
        load_config(str(tmp_path / "second.yaml"), [], Other)
    with pytest.raises(InputError, match=r"unknown key 'loss\.method' in the command line; there are run, epochs"):
        load_config(str(tmp_path / "second.yaml"), ["run=r", "loss.method=view"], Other)


def test_errors_of_bases(tmp_path):
    (tmp_path / "one.yaml").write_text("base: two.yaml\n")
    (tmp_path / "two.yaml").write_text("base: one.yaml\n")
    with pytest.raises(InputError, match=r"one\.yaml is a base of itself, by way of .*two\.yaml"):
        load_config(str(tmp_path / "one.yaml"), NEEDED)
    (tmp_path / "three.yaml").write_text("base: four.yaml\n")
    with pytest.raises(InputError, match=r"there is no recipe file .*four\.yaml"):
        load_config(str(tmp_path / "three.yaml"), NEEDED)
    (tmp_path / "four.yaml").write_text("stesp: 3\n")
    with pytest.raises(InputError, match=r"'stesp' in .*four\.yaml"):  # where it stands, not where it came to light
        load_config(str(tmp_path / "three.yaml"), NEEDED)


def test_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("values", ["[1]", "[1,2,3]", "[1,0]"])
def test_weights_are_one_for_each_store(values):
    with pytest.raises(InputError, match=r"data.weights=.* one number above 0 for each store, and there are 2"):
        load_config("demo", [*NEEDED, "data.more_stores=[other]", f"data.weights={values}"])
    assert load_config("demo", [*NEEDED, "data.more_stores=[other]", "data.weights=[1,2]"]).data.weights == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"run: \xff\xfe", "cannot be read as YAML"),
        (b"[" * 1500, "cannot be read as YAML"),
        (b"steps: 1" + b"0" * 5000, "cannot be read as YAML"),
        (b"steps: !!int", "cannot be read as YAML"),
        (b"run: r\ndata: {store: s}\nsize: [64, {6: null}]", "'{6: None}'"),
        (b"steps: !!bool maybe", "cannot be read as YAML"),
        (b"steps: !!timestamp x", "cannot be read as YAML"),
        (b"run: &a [x, x]\ninit: *a", "has aliases (*name), which are not read; write out"),
        (b"- run", "holds a list"),
        (b"7", "cannot be read as YAML"),
        (b"run: ${nothing}\ndata: {store: s}", "nothing"),
        (b"run: ${run}\ndata: {store: s}", "run"),
        (b"steps: 3", "missing mandatory value: run"),
        (b'"st\\neps": 3', r"unknown key 'st\neps'"),
    ],
)
def test_a_stranger_s_configuration_is_read_or_refused(tmp_path, text, words):
    path = tmp_path / "config.yaml"
    path.write_bytes(text)
    with pytest.raises(InputError) as error:
        read_config(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_aliases_of_aliases_fill_no_memory(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="has aliases"):
        load_config(str(tmp_path / "bomb.yaml"), NEEDED)


def test_all_keys_of_a_recipe_are_told():
    told = yaml.safe_load(recipe_text("demo"))
    assert told["data"]["store"] == "???"  # to be given
    config = load_config("demo", NEEDED)
    assert {key for key in flat_keys(config) if "." not in key} <= told.keys()
    assert told["loss"]["temperature"] == config.loss.temperature
    assert told["model"]["encoder"] == config.model.encoder
