"""pri3d-train as a user meets it: the whole way once, and one clear sentence for each thing that can be wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pri3d_zoo.training.checkpoint import CHECKPOINT, save_checkpoint
from pri3d_zoo.training.data.store import SceneStore, scene_files

pytestmark = pytest.mark.slow  # a process for each, which takes seconds to import torch


def run(*arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "pri3d_zoo.training", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def complaint(*arguments) -> str:
    """The last sentence on stderr of a command that must fail without a traceback."""
    done = run(*arguments, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pri3d-train: "), done.stderr
    return last


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    """One rendered room of five frames in the plain folder layout."""
    out = tmp_path_factory.mktemp("rooms")
    run("render", out, "--scenes", 1, "--frames", 5, "--size", 48, 64, "--seed", 3)
    return out


@pytest.fixture
def scene(rooms, tmp_path) -> Path:
    """A copy of that room to be broken; ``scene.parent`` is a dataset."""
    subprocess.run(["cp", "-r", str(rooms), str(tmp_path / "rooms")], check=True)
    (folder,) = (tmp_path / "rooms").iterdir()
    return folder


@pytest.mark.slow
def test_the_whole_way(tmp_path, rooms, tiny_settings):
    store, folder = tmp_path / "store", tmp_path / "run"
    prepared = run("prepare", "folder", rooms, store, "--size", 48, 64, "--voxel-size", 0.1, "--workers", 1)
    assert "5 frames (0 skipped)" in prepared.stdout
    again = run("prepare", "folder", rooms, store, "--size", 48, 64, "--voxel-size", 0.1, "--workers", 1)
    assert "1 there already" in again.stdout
    settings = [s for s in tiny_settings if not s.startswith("data.store")]
    trained = run("pretrain", f"run={folder}", f"data.store={store}", *settings)
    assert "4 steps done" in trained.stdout
    run("export", folder, tmp_path / "dense", "--dense")
    probed = run("probe", folder, tmp_path / "dense", store, "--size", 48, 64, "--out", tmp_path / "probe.json")
    assert "recall@10 px" in probed.stdout
    assert (tmp_path / "probe.json").is_file()
    reported = run("report", folder)
    assert str(folder / "report.html") in reported.stdout
    assert (folder / "report.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    "command", ["", "render", "prepare", "pretrain", "probe", "export", "report"], ids=lambda c: c or "pri3d-train"
)
def test_help(command):
    assert "Usage" in run(*command.split(), "--help").stdout


def test_missing_folder(tmp_path):
    assert str(tmp_path / "nowhere") in complaint("prepare", "folder", tmp_path / "nowhere", tmp_path / "store")


def test_unknown_source(tmp_path):
    line = complaint("prepare", "scanet", tmp_path, tmp_path / "store")
    assert "scanet" in line
    assert "folder" in line
    assert "synthrooms" in line


def test_bad_frames_are_left_out_and_named(scene, tmp_path):
    ids = sorted(file.stem for file in (scene / "color").iterdir())
    cut = scene / "depth" / f"{ids[0]}.png"
    cut.write_bytes(cut.read_bytes()[:100])
    pose = np.loadtxt(scene / "pose" / f"{ids[1]}.txt")
    pose[0, 3] = -np.inf
    np.savetxt(scene / "pose" / f"{ids[1]}.txt", pose)
    (scene / "depth" / f"{ids[2]}.png").unlink()  # so there is more colour than depth
    done = run("prepare", "folder", scene.parent, tmp_path / "s", "--size", 48, 64, "--workers", 1)
    output = done.stdout + done.stderr
    assert "2 frames (3 skipped)" in output
    assert all(name in output for name in ids[:3])
    assert "Traceback" not in output
    skipped = SceneStore(tmp_path / "s").scene(scene.name).manifest["skipped"]
    assert sorted(entry["id"] for entry in skipped) == ids[:3]
    assert all(entry["reason"] for entry in skipped)


def test_nothing_readable_at_all(scene, tmp_path):
    for file in (scene / "depth").iterdir():
        file.write_bytes(b"not an image")
    done = run("prepare", "folder", scene.parent, tmp_path / "s", "--workers", 1, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert scene.name in done.stdout + done.stderr


def test_colour_and_depth_of_different_size(scene, tmp_path):
    (first, *_) = sorted((scene / "color").iterdir())
    Image.open(first).resize((32, 24)).save(first)
    done = run("prepare", "folder", scene.parent, tmp_path / "s", "--size", 48, 64, "--workers", 1)
    assert "(1 skipped)" in done.stdout
    assert first.stem in done.stdout + done.stderr


def test_unknown_recipe_and_key():
    assert "no recipe 'demmo'" in complaint("pretrain", "--recipe", "demmo", "run=a", "data.store=b")
    assert "did you mean steps?" in complaint("pretrain", "run=a", "data.store=b", "stepps=3")
    assert "run=FOLDER" in complaint("pretrain", "data.store=b")


def test_store_of_another_version_or_broken(tiny_store, tmp_path, tiny_settings):
    other = tmp_path / "store"
    subprocess.run(["cp", "-r", str(tiny_store), str(other)], check=True)
    path = scene_files(other)[0]
    data = path.read_bytes()
    settings = [f"run={tmp_path / 'run'}", *tiny_settings, f"data.store={other}"]
    path.write_bytes(data[: len(data) // 2])
    assert path.name in complaint("pretrain", *settings)
    import json
    import zipfile

    with zipfile.ZipFile(scene_files(tiny_store)[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                content = json.dumps(json.loads(content) | {"version": 99}).encode()
            new.writestr(name, content)
    line = complaint("pretrain", *settings)
    assert path.name in line
    assert "99" in line
    assert "prepare" in line
    assert "no prepared scene" in complaint("pretrain", f"run={tmp_path / 'run'}", f"data.store={tmp_path}")


def test_checkpoint_that_does_not_fit(tmp_path, tiny_settings):
    save_checkpoint(tmp_path, {"step": 1, "model": {}, "optimizer": {}})
    assert "does not fit" in complaint("pretrain", f"run={tmp_path}", *tiny_settings)
    (tmp_path / CHECKPOINT).write_bytes(b"junk")
    assert "cannot be read" in complaint("pretrain", f"run={tmp_path}", *tiny_settings)


def test_export_and_report_of_no_run(tmp_path):
    assert "not the folder of a run" in complaint("export", tmp_path, tmp_path / "out")
    assert "not the folder of a run" in complaint("report", tmp_path)
    assert "no model 'resnet19'" in complaint("probe", "resnet19", tmp_path)


def test_without_the_extra_it_says_which_one_is_missing():
    code = "import sys; sys.modules['typer'] = None; from pri3d_zoo.training.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "pri3d-train needs typer: install the extra, pip install 'pri3d-zoo[train]'\n"
