"""The documentation: it builds without a warning, and what README.md and docs/ name exists and can be typed in."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import typer

from pri3d_zoo.cli import _parser
from pri3d_zoo.training.cli import app
from pri3d_zoo.training.config import RECIPES, Config, load_config
from pri3d_zoo.training.evaluate.detection_config import DetectionConfig
from pri3d_zoo.training.evaluate.segmentation_config import SegmentationConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMAS = {"pretrain": Config, "bench": Config, "semseg": SegmentationConfig, "detect": DetectionConfig}
FOLDERS = ("pri3d_zoo", "training", "tests", "docs", "examples", "benchmarks", "fuzz")
SHELLS = ("sh", "bash", "console")


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason=f"{package} is not installed, the extra dev brings it")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-b", "html", str(ROOT / "docs"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api.html").read_text()
    assert 'id="pri3d_zoo.create_model"' in page
    assert 'id="pri3d_zoo.d2.check_loaded"' in page


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each fenced block."""
    for match in re.finditer(r"^```([\w{}-]*)[^\n]*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = prose(page)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    for named in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[^\s`]*)`", prose(page)):
        for path in alternatives(named):
            assert any(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"
    for command in re.findall(r"\b((?:examples|benchmarks)/\w+\.py)", page.read_text()):
        assert (ROOT / command).is_file(), f"{page.name} names {command}"


def alternatives(text: str) -> Iterator[str]:
    """`a/{b,c}` as the shell takes it: a/b and a/c."""
    parts = re.split(r"\{([^}]*)\}", text)
    yield from map("".join, product(*(part.split(",") if odd % 2 else [part] for odd, part in enumerate(parts))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_that_are_named_exist(page):
    known = {file.stem for file in RECIPES.glob("*.yaml")}
    families = {name.partition("_")[0] for name in known}
    listed = re.findall(r"--recipe ([a-z]\w+)", page.read_text())
    for named in re.findall(r"`([a-z][\w{},]*)`", prose(page)):
        # in a list of recipes, or as one: `paper_{view,geo}_resnet{18,50}_scannet`
        if "{" in named and named.partition("_")[0] in families:
            listed += alternatives(named)
    assert set(listed) <= known, f"{page.name} names {set(listed) - known}"


def commands(page: Path) -> Iterator[list[str]]:
    """The lines of a page's shell blocks that run this package, as lists of arguments from its name on."""
    for language, block in blocks(page):
        if language not in SHELLS:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] in (["pri3d-zoo"], ["pri3d-train"]):
                yield words
            elif "pri3d_zoo.training" in words:  # torchrun and its like
                yield ["pri3d-train", *words[words.index("pri3d_zoo.training") + 1 :]]


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_pages_hold_commands():
    assert len(COMMANDS) > 30
    assert {words[0] for _, words in COMMANDS} == {"pri3d-zoo", "pri3d-train"}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda part: part if isinstance(part, str) else part[1])
def test_commands_can_be_typed_in(page, words):
    line = f"{page}: {shlex.join(words)}"
    if words[0] == "pri3d-zoo":
        try:
            _parser().parse_args(words[1:])
        except SystemExit as error:
            pytest.fail(f"{line}: {error}")
        return
    known = typer.main.get_command(app).commands
    assert words[1] in known, line
    try:
        context = known[words[1]].make_context(words[1], words[2:])
    except Exception as error:
        pytest.fail(f"{line}: {error}")
    if words[1] in SCHEMAS and context.params["recipe"].islower():  # NAME stands for any
        overrides = context.params["overrides"] or []
        if words[1] == "bench":
            overrides = ["run=bench", "data.store=none", *overrides]
        load_config(context.params["recipe"], overrides, SCHEMAS[words[1]])


def test_sentences_of_errors_are_those_of_the_code():
    """What docs/faq.md quotes between `…` is what some message says."""
    texts = set()
    for folder in ("pri3d_zoo", "training"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.add(node.value)
    quoted = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert len(quoted) > 20
    for sentence in quoted:
        for part in re.split(r"\s*…\s*", sentence):
            if len(part) > 6:
                assert any(part in text for text in texts), f"no message says {part!r}"
