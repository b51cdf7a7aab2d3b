"""The wheel: built, unpacked into an empty folder, and every module of it imported from there."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

IMPORT_ALL = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
names = [".".join(f.relative_to(root).with_suffix("").parts) for f in sorted(root.rglob("*.py"))]
for name in names:
    module = importlib.import_module(name.removesuffix(".__init__"))
    assert str(root) in str(module.__file__), module.__file__
print(len(names))
"""


@pytest.mark.slow
def test_every_module_of_the_wheel_imports(tmp_path):
    source = tmp_path / "source"  # a copy: a build leaves folders behind that would find their way into the next one
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("pri3d_zoo", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tracked = {f"pri3d_zoo/{f.relative_to(ROOT / 'pri3d_zoo')}" for f in (ROOT / "pri3d_zoo").rglob("*.py")}
    tracked |= {f"pri3d_zoo/training/{f.relative_to(ROOT / 'training')}" for f in (ROOT / "training").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == tracked
    configs = {f"pri3d_zoo/configs/detectron2/{f.name}" for f in (ROOT / "pri3d_zoo" / "configs").rglob("*.yaml")}
    assert len(configs) == 7
    bundled = {f"pri3d_zoo/{f.relative_to(ROOT / 'pri3d_zoo')}" for f in (ROOT / "pri3d_zoo/bundled").glob("*/*")}
    assert {name for name in names if name.startswith("pri3d_zoo/bundled")} == bundled
    assert {"pri3d_zoo/py.typed", "pri3d_zoo/training/recipes/demo.yaml", *configs} <= set(names)
    assert not any(name.startswith(("training", "tests")) for name in names)
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(site)], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(tracked)
