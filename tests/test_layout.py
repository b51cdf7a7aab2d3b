"""The shape of the code base, read from its import statements: who may know whom."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What the modules of training/ may import of training/; a package stands for everything in it.
TRAINING = {
    "": set(),
    "__main__": {"cli"},
    "errors": set(),
    "seeds": set(),
    "geometry": set(),
    "losses": set(),
    "norms": set(),
    "config": {"errors"},
    "checkpoint": {"errors"},
    "matches": {"geometry", "seeds"},
    "data": {"data", "geometry", "errors", "seeds"},
    "networks": {"networks", "matches", "geometry", "errors"},
    "colors": {"data.augment", "errors"},
    "initialise": {"colors", "config", "data.augment", "errors", "networks"},
    "tasks": {"config", "data.augment", "data.batch", "networks", "losses", "matches"},
    "metrics": set(),
    "loop": {"checkpoint", "errors", "metrics", "seeds"},
    "moco": {"data.augment", "data.batch", "seeds"},
    "run_folder": {"checkpoint", "config", "errors", "initialise", "networks", "norms"},
    "pretrain": {
        "config",
        "data.augment",
        "data.batch",
        "data.dataset",
        "data.memory",
        "data.store",
        "errors",
        "geometry",
        "initialise",
        "loop",
        "moco",
        "networks",
        "run_folder",
        "tasks",
    },
    "evaluate": {
        "evaluate",
        "checkpoint",
        "colors",
        "config",
        "data.augment",
        "data.batch",
        "data.dataset",
        "data.nyu40",
        "data.image_files",
        "data.loader",
        "data.scene",
        "data.scene_lists",
        "data.store",
        "errors",
        "geometry",
        "loop",
        "matches",
        "metrics",
        "pretrain",
        "run_folder",
        "seeds",
    },
    "export": {"config", "data.augment", "errors", "run_folder"},
    "bench": {"config", "data", "errors", "geometry", "initialise", "networks", "pretrain", "tasks"},
    "report": {
        "config",
        "data",
        "errors",
        "evaluate.backbones",
        "evaluate.probe",
        "initialise",
        "matches",
        "metrics",
        "networks",
        "pretrain",
        "run_folder",
        "tasks",
    },
    "cli": {
        "bench",
        "config",
        "data.dry_run",
        "data.prepare",
        "data.sources",
        "data.write_folder",
        "errors",
        "evaluate",
        "export",
        "pretrain",
        "report",
        "run_folder",
    },
}
ZOO = {
    "": {"convert", "factory", "resunet", "weights"},
    "files": set(),
    "weights": set(),
    "names": set(),
    "decoder": set(),
    "convert": {"weights"},
    "checkpoint_files": {"convert", "weights"},
    "convert_files": {"checkpoint_files", "convert", "files", "resunet", "weights"},
    "download": {"files", "weights"},
    "image_facts": {"weights"},
    "hub": {"convert", "download", "image_facts", "names", "weights"},
    "pri3d_resnet": {"hub", "names"},
    "resunet": {"decoder", "hub", "names"},
    "factory": {"hub", "names", "weights", "pri3d_resnet", "resunet"},
    "publish": {"download", "factory", "files", "hub", "names", "weights"},
    "page": set(),
    "features": {"files", "page", "resunet"},
    "d2": {"checkpoint_files", "convert", "convert_files", "files", "hub", "weights"},
    "cli": {"__version__", "convert", "convert_files", "factory", "features", "hub", "weights"},
}
OPTIONAL = {"MinkowskiEngine", "detectron2", "open3d", "scenezoo"}


def imports_of(file: Path, package: str, at_import_only: bool = False):
    """Absolute names of the modules that a file imports, relative imports resolved against ``package``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if at_import_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import a, b` names modules, `from .a import b` names what is in one
            yield from ([f"{module}.{alias.name}" for alias in node.names] if node.module is None else [module])


def modules(folder: str, package: str):
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT / folder).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        parent = ".".join([package, *parts[:-1]])
        yield name, file, parent


def allowed(name: str, table: dict[str, set[str]]) -> set[str] | None:
    return next((table[key] for key in sorted(table, key=len, reverse=True) if f"{name}.".startswith(f"{key}.")), None)


def is_within(name: str, packages: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("folder", "package", "table"), [("training", "pri3d_zoo.training", TRAINING), ("pri3d_zoo", "pri3d_zoo", ZOO)]
)
def test_imports_go_one_way(folder, package, table):
    wrong = []
    for name, file, parent in modules(folder, package):
        permitted = allowed(name, table)
        assert permitted is not None, f"{folder}/{name} has no line in the table"
        for imported in imports_of(file, parent):
            inside = imported.removeprefix(f"{package}.")
            if inside != imported and not is_within(inside, permitted):
                wrong.append(f"{folder}/{name} imports {imported}")
    assert not wrong


@pytest.mark.parametrize(("folder", "package"), [("training", "pri3d_zoo.training"), ("pri3d_zoo", "pri3d_zoo")])
def test_no_modules_import_each_other(folder, package):
    graph = {}
    for name, file, parent in modules(folder, package):
        graph[f"{package}.{name}".removesuffix(".")] = set(imports_of(file, parent, at_import_only=False))
    TopologicalSorter(graph).prepare()  # raises where there is a circle, types included


def test_zoo_knows_nothing_of_training():
    for _, file, parent in modules("pri3d_zoo", "pri3d_zoo"):
        for imported in imports_of(file, parent):
            assert not imported.startswith("pri3d_zoo.training"), f"{file} imports {imported}"


def test_only_the_command_line_knows_sources():
    for name, file, parent in modules("training", "pri3d_zoo.training"):
        if name == "cli" or name.startswith("data.sources"):
            continue
        for imported in imports_of(file, parent):
            assert not imported.startswith("pri3d_zoo.training.data.sources"), f"{file} imports {imported}"


def test_optional_packages_are_not_imported_at_import_time():
    for folder in ("pri3d_zoo", "training"):
        for _, file, parent in modules(folder, folder):
            for imported in imports_of(file, parent, at_import_only=True):
                assert imported.partition(".")[0] not in OPTIONAL, f"{file} imports {imported}"


def test_resolving_relative_imports(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("from . import a\nfrom .b import c\nfrom ..d.e import f\nimport g.h\n")
    assert list(imports_of(file, "p.q")) == ["p.q.a", "p.q.b", "p.d.e", "g.h"]
