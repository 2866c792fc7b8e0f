"""The pages of the site, without Sphinx: what is generated is complete, and links, code and commands of written pages hold."""

import importlib
import itertools
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen_jax.cli import command_line
from gen_jax.config import MEANINGS
from gen_jax.data.kinds import KINDS
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec
from gen_jax.distributions.frames import Head
from gen_jax.distributions.pixels import Likelihood
from gen_jax.losses.adversarial import AdversarialLoss
from gen_jax.metrics import catalogue
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.model import Model
from gen_jax.models import MODELS
from gen_jax.nets.ladder import Nets
from gen_jax.training.hooks import Snapshot

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402

GENERATED = ("_build", "reference", "notebooks")
RENDERED = ("results", "benchmarks")  # folders of pages that another program writes
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in GENERATED + RENDERED)
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|^```\{(?:image|figure|include)\} (\S+)$", re.MULTILINE)
OTHER_FLAGS = {"config", "help", "logdir"}  # of every command, or of other programs
README = ROOT / "README.md"
written_pages = pytest.mark.parametrize("path", [README, *WRITTEN], ids=lambda path: path.relative_to(ROOT).as_posix())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Returns a folder with the generated pages."""
    folder = tmp_path_factory.mktemp("site")
    generate.generate(folder)
    return folder


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """Yields the blocks of code of a page in some languages."""
    for language, code in BLOCK.findall(path.read_text()):
        if language in languages:
            yield code


def test_everything_has_its_page(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {f"reference/families/{name}.md" for name in MODELS} <= pages
    assert {f"reference/commands/{name}.md" for name in generate.command_names()} <= pages
    assert len(generate.command_names()) > 12
    measures = (site / "reference" / "measures.md").read_text()
    assert [name for name in catalogue.metrics() if f"\n| `{name}` |" not in measures] == []
    kinds = (site / "reference" / "kinds.md").read_text()
    assert [name for name in KINDS if f"\n| `{name}` |" not in kinds] == []
    settings = (site / "reference" / "settings.md").read_text()
    assert [name for name in MEANINGS if f"\n| `{name}` |" not in settings] == []


def test_every_argument_and_flag_has_its_meaning(site):
    for name in MODELS:
        page = (site / "reference" / "families" / f"{name}.md").read_text()
        rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", page.partition("## Arguments")[2], re.MULTILINE)
        assert rows and all(meaning.strip() for _, meaning in rows), name
    for name in generate.command_names():
        page = (site / "reference" / "commands" / f"{name}.md").read_text()
        assert [flag for flag in generate.command(name).options if f"{flag}` |" not in page] == [], name


def test_every_fragment_belongs_to_a_family():
    names = {path.stem for path in (DOCS / "families").iterdir()}
    assert names == {path.stem for path in (DOCS / "families").glob("*.md")} == {*MODELS}


def test_what_is_gone_is_removed(site):
    stale = site / "reference" / "families" / "gone.md"
    stale.write_text("# gone\n")
    generate.generate(site)
    assert not stale.exists()


def targets(path: Path) -> Iterator[str]:
    """Yields the links and pictures of a page that lead to files, and the pages that its menu names."""
    text = path.read_text()
    for link, file in LINK.findall(text):
        target = (link or file).partition("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            yield target
    for menu in blocks(path, "{toctree}"):
        lines = [line for line in menu.splitlines() if line and not line.startswith(":")]
        yield from (line if "*" in line else f"{line}.md" for line in lines)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(path, site):
    place = path.parent.relative_to(DOCS)
    if place.as_posix() == "families":  # is included by a page of this folder
        place = Path("reference/families")
    for target in targets(path):
        relative = Path(target.lstrip("/")) if target.startswith("/") else place / target
        candidates = [(folder / relative) for folder in (DOCS, site)]
        assert "*" in target or any(Path(*normal(each)).exists() for each in candidates), f"{path}: {target}"


def test_the_readme_is_short_and_its_links_and_families_hold():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert [target for target in targets(README) if not (ROOT / target).exists()] == []
    assert generate.readme_with_families(text) == text


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(README, "python")).replace("steps=500", "steps=3"), {})  # noqa: S102 (our own README)
    assert {path.name for path in tmp_path.iterdir()} >= {"digits.png", "rows.npz", "runs"}


@pytest.mark.study
def test_the_measure_of_the_page_scores_a_run_and_is_evaluated(tmp_path, monkeypatch, capsys):
    from gen_jax import evaluate
    from gen_jax.storage import registration

    page = DOCS / "start" / "own_measure.md"
    module, program = blocks(page, "python")
    (command,) = blocks(page, "sh")
    (tmp_path / "brightness.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(catalogue, "MEASURES", catalogue.MEASURES)
    monkeypatch.setattr(registration, "OWN", {})
    monkeypatch.delitem(sys.modules, "brightness", raising=False)
    exec(program, {})  # noqa: S102 (our own page)
    evaluate.main(shlex.split(command)[2:])
    monkeypatch.delitem(sys.modules, "brightness")
    printed = capsys.readouterr().out
    assert printed.count("brightness_gap v") + printed.count("brightness_gap \N{DOWNWARDS ARROW}") == 2
    config = json.loads((tmp_path / "runs" / "mine" / "config.json").read_text())
    assert config["registered"] == {"measure": {"brightness": "brightness:BRIGHTNESS"}}


def test_help_of_a_family_leads_to_the_contracts_of_its_parts():
    for name in ("gan", "vae"):
        text = MODELS[name].__doc__
        assert "class " in text and "def __call__(self" in text
        for module, record in re.findall(r"`(gen_jax\.[a-z_.]+)\.([A-Z]\w+)`", text):
            assert "Attributes:" in getattr(importlib.import_module(module), record).__doc__
    for record in (Model, Spec, Kind, Measure, Metric, Computation, Snapshot, Likelihood, AdversarialLoss, Head, Nets):
        assert [*generate.parse_docstring(record.__doc__).attributes] == [*record._fields], record


@pytest.mark.study
@pytest.mark.parametrize("name", ["start/own_data", "guides/latents", "guides/missing_values", "guides/questions"])
def test_the_python_of_pages_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shade = np.random.default_rng(0)
    for split, kind in itertools.product(("train", "test"), ("circle", "square")):
        (tmp_path / "shapes" / split / kind).mkdir(parents=True)
        for number in range(4):
            image = Image.fromarray(shade.integers(0, 256, (8, 8, 3), np.uint8))
            image.save(tmp_path / "shapes" / split / kind / f"{number}.png")
    lines = [f"{20 + number % 9},{'yes' if number % 2 else ''}" for number in range(60)]
    (tmp_path / "patients.csv").write_text("\n".join(["age,smoker", *lines, ",no"]) + "\n")
    code = "\n".join(blocks(DOCS / f"{name}.md", "python"))
    exec(re.sub(r"steps=(800|2000)", "steps=2", code).replace("resize=32", "resize=8"), {})  # noqa: S102 (our own pages)


def normal(path: Path) -> list[str]:
    """Returns the parts of a path without `..`, whether the folders exist or not."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return parts


@written_pages
def test_python_compiles(path):
    for code in blocks(path, "python"):
        compile(code, str(path), "exec")


@written_pages
def test_commands_are_understood(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for code in blocks(path, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            match = re.match(r"python -m gen_jax\.(\w+) (.*)", line)
            if match:
                options, required, positional = generate.command(match[1])
                try:
                    command_line.parse([match[1], *shlex.split(match[2], comments=True)], options, required, positional)
                except SystemExit as end:  # of --help
                    assert end.code == 0


@written_pages
def test_flags_and_settings_exist(path):
    """Those that a text names, in code without a command."""
    flags = {flag for name in generate.command_names() for flag in generate.command(name).options}
    for code in re.findall(r"`([^`\n]+)`", BLOCK.sub("", path.read_text())):
        settings = re.findall(r"--config\.([a-z_.]+)", code)
        settings += re.findall(r"^((?:data|evaluate|sample)\.(?!py$)[a-z_]+)(?==|$)", code)
        assert [name for name in settings if not name.startswith("model") and name not in MEANINGS] == []
        named = re.findall(r"(?<!\S)--([a-z_]+)", code) if "launch/" not in code and "mpirun" not in code else []
        assert [name for name in named if name not in flags | OTHER_FLAGS] == []


@written_pages
def test_metrics_exist(path):
    """Those that commands and code of a page ask for, and those of the table in the guide to scoring."""
    text = path.read_text()
    lists = re.findall(r"--metrics (\S+)", text) + re.findall(r"\.score\(\[([^]]*)\]", text)
    names = [name.strip('" ') for each in lists for name in each.split(",")]
    if path.name == "scoring.md":
        table = text.partition("| data | measures |")[2].partition("\n\n")[0]
        names += re.findall(r"`(\w+)`", table)
    assert [name for name in names if name not in catalogue.metrics()] == []
