"""Writes the pages that are generated: families, commands, settings, measures, kinds of data, the API, the map of imports.

Signatures, docstrings, flags and records are read, and nothing is typed twice. `generate(folder)` writes `reference/` and
`notebooks/` into the folder; git ignores both.
"""

import ast
import importlib
import importlib.util
import inspect
import io
import json
import os
import re
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from gen_jax import __main__ as overview
from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.data.dataset import DataSet
from gen_jax.data.kinds import KINDS
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics.catalogue import MEASURES
from gen_jax.metrics.measure import Measure, Metric
from gen_jax.model import Model
from gen_jax.models import MODELS, build_model
from gen_jax.registry import choices_of

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FRAGMENTS = DOCS / "families"
API = {  # modules whose docstrings are the reference, and what each is for
    "gen_jax": "The public interface: what `import gen_jax` gives.",
    "gen_jax.data": "Data sets: of arrays in memory, of files, by name.",
    "gen_jax.models": "The families, and how a config becomes a model.",
    "gen_jax.model": "The record that every model is.",
    "gen_jax.conditions": "How a family reads conditions and sampler options, and refuses what it cannot honour.",
    "gen_jax.run": "A trained run and what it can do.",
    "gen_jax.nets": "The nets that families are built of.",
    "gen_jax.nets.ladder": "The nets of a ladder.",
    "gen_jax.nets.embedding": "Conditions in the form that nets read.",
    "gen_jax.nets.recurrent": "Layers of recurrent cells.",
    "gen_jax.nets.transformer": "A causal transformer with a cache.",
    "gen_jax.distributions.pixels": "The likelihoods of images, vectors and tables.",
    "gen_jax.distributions.frames": "The densities of the frames of sequences.",
    "gen_jax.metrics.measure": "The records of a measure.",
    "gen_jax.losses.adversarial": "The losses of a GAN.",
    "gen_jax.losses.penalties": "Penalties on the gradient of a discriminator.",
    "gen_jax.losses.reconstruction": "Distances of a generated row to the true row of its condition.",
    "gen_jax.losses.variational": "Bounds of latent variable models.",
    "gen_jax.losses.quantise": "Vector quantisation.",
    "gen_jax.losses.markov_chain": "The Markov-chain loss.",
}
COPIES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}  # of the top
LIKELIHOODS = {"log_prob": "exact", "log_prob_bound": "lower bound"}  # field of the record -> kind of likelihood
DIRECTIONS = {1: "higher", -1: "lower"}  # of a metric
SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Yields:")
ARXIV = re.compile(r"(?:arXiv |\b)(\d{4}\.\d{5})\b|arXiv (\d{4}\.\d{4})\b")
AUTHOR = r"(?:(?:van den |de )?[A-Z][\w'-]+)"
CITATION = re.compile(
    rf"({AUTHOR}(?:(?:, | & | and ){AUTHOR})*(?: et al\.)? (?:19|20)\d\d)(?:(?:, | \()(arXiv \d{{4}}\.\d{{4,5}}))?"
)


class Docstring(NamedTuple):
    """The parts of a docstring in the Google style."""

    summary: str  # the first sentence, on one line
    body: str  # the paragraphs after it
    arguments: dict[str, str]  # name -> meaning, on one line
    errors: dict[str, str]  # exception -> when it is raised
    attributes: dict[str, str]  # field of a record -> meaning, on one line


class Use(NamedTuple):
    """A model that a config builds on data that need no download."""

    config: str  # stem of the file
    kind: str  # of the data
    model: Model


def generate(folder: Path) -> None:
    """Writes all generated pages.

    Args:
      folder: the source folder of the site; `reference/` and `notebooks/` in it are written.
    """
    pages: dict[str, str | bytes] = {
        "reference/families/index.md": families_page(),
        "reference/commands/index.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/measures.md": measures_page(),
        "reference/kinds.md": kinds_page(),
        "reference/record.md": record_page(),
        "reference/api/index.md": api_page(),
        "reference/imports.md": imports_page(),
        "reference/imports.svg": imports_picture(),
    }
    pages |= {f"reference/families/{name}.md": family_page(name) for name in MODELS}
    pages |= {f"reference/commands/{name}.md": command_page(name) for name in command_names()}
    pages |= {f"reference/api/{name}.md": module_page(name, purpose) for name, purpose in API.items()}
    pages |= {f"notebooks/{path.name}": path.read_text() for path in notebooks()}
    pages |= {f"reference/{page}": copied((ROOT / file).read_text()) for file, page in COPIES.items()}
    pages["reference/results.txt"] = results_menu()
    for name, content in pages.items():
        write(folder / name, content)
    for path in [*(folder / "reference").rglob("*"), *(folder / "notebooks").iterdir()]:
        if path.is_file() and path.relative_to(folder).as_posix() not in pages:
            path.unlink()  # a page of something that is gone


def write(path: Path, content: str | bytes) -> None:
    """Writes a file unless it has this content already, so that Sphinx reads again only what changed."""
    raw = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == raw:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


def notebooks() -> list[Path]:
    """Returns the notebooks, in the order of their numbers."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


# Text


def parse_docstring(text: str | None) -> Docstring:
    """Returns the parts of a docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    starts = [number for number, line in enumerate(lines) if line in SECTIONS] + [len(lines)]
    sections = {lines[start]: lines[start + 1 : stop] for start, stop in zip(starts, starts[1:])}
    summary, _, body = "\n".join(lines[: starts[0]]).strip().partition("\n\n")
    arguments, errors, attributes = (entries(sections.get(name, [])) for name in ("Args:", "Raises:", "Attributes:"))
    return Docstring(" ".join(summary.split()), body, arguments, errors, attributes)


def entries(lines: Iterable[str]) -> dict[str, str]:
    """Returns the entries `name: meaning` of a section of a docstring; a meaning may take several lines."""
    meanings: dict[str, str] = {}
    name = ""
    for line in lines:
        start = re.match(r"  (\S[^:]*): (.*)", line)
        if start:
            name = start[1]
            meanings[name] = start[2]
        elif name:
            meanings[name] = f"{meanings[name]} {line.strip()}".strip()
    return meanings


def prose(text: str) -> str:
    """Returns the text of a docstring as Markdown: signs outside code stay as they are, arXiv numbers are links."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else linked(escaped(part)) for part in parts)


def paragraphs(body: str) -> str:
    """Returns the paragraphs of a docstring as Markdown. Paragraphs that are indented are Python."""
    blocks: list[str] = []
    for indented, group in groupby(re.split(r"\n\n+", body), lambda block: block.startswith("    ")):
        text = "\n\n".join(group)
        blocks.append(f"```python\n{textwrap.dedent(text)}\n```" if indented else prose(text))
    return "\n\n".join(blocks)


def escaped(text: str) -> str:
    """Returns text whose signs have no meaning in Markdown."""
    return re.sub(r"([*<$|])", r"\\\1", text)


def linked(text: str) -> str:
    """Returns text whose arXiv numbers are links."""
    return ARXIV.sub(
        lambda match: f"[arXiv {match[1] or match[2]}](https://arxiv.org/abs/{match[1] or match[2]})", text
    )


def noun(summary: str) -> str:
    """Returns the first sentence of a function without its verb: what the function returns."""
    text = summary.removeprefix("Returns ")
    return text[:1].upper() + text[1:]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table of Markdown."""
    head = [*head]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def cell(text: str) -> str:
    """Returns text that fits into a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def listed(names: Iterable[str]) -> str:
    """Returns names as code, between commas."""
    return ", ".join(f"`{name}`" for name in names)


def value(default: Any) -> str:
    """Returns a default value as code; a dash for none."""
    if default is None or default is inspect.Parameter.empty:
        return "–"
    if isinstance(default, bool):
        return f"`{default}`"
    if isinstance(default, Mapping):
        return f"`{default['name']}`" if [*default] == ["name"] else f"`{json.dumps(default)}`"
    return f"`{default!r}`" if isinstance(default, str) else f"`{default}`"


def page(title: str, *parts: str) -> str:
    """Returns a page of Markdown; parts without text are left out."""
    return "\n\n".join([f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def toctree(names: Iterable[str], **options: Any) -> str:
    """Returns a list of pages that the menu shows."""
    lines = [f":{name}: {text}" for name, text in options.items()]
    return "\n".join(["```{toctree}", *lines, "", *names, "```"])


def markdown_of(docstring: str) -> str:
    """Returns the docstring of a config or a command as Markdown: indented lines and commands become blocks of code."""
    blocks: list[str] = []
    for block in re.split(r"\n\n+", docstring.strip()):
        runs: list[tuple[bool, list[str]]] = []
        for line in block.splitlines():
            code = line.startswith(("    ", "python -m "))
            if not runs or runs[-1][0] != code:
                runs.append((code, []))
            runs[-1][1].append(line)
        for code, lines in runs:
            text = textwrap.dedent("\n".join(lines))
            blocks.append(f"```sh\n{text}\n```" if code else prose(text))
    return "\n\n".join(blocks)


# Records


def fields_of(record: type) -> list[tuple[str, str, str]]:
    """Returns the fields of a record: name, default as code, and its meaning.

    The meaning is in the docstring of the record, or in the comment beside or above the field.
    """
    meanings = parse_docstring(record.__doc__).attributes
    source = textwrap.dedent(inspect.getsource(record))
    comments, alone = comments_in(source)
    fields = []
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign):
            continue
        above = []
        line = node.lineno - 1
        while line in alone:
            above.insert(0, comments[line])
            line -= 1
        beside = [comments[line] for line in range(node.lineno, node.end_lineno + 1) if line in comments]
        default = f"`{ast.unparse(node.value)}`" if node.value else "–"
        name = ast.unparse(node.target)
        fields.append((name, default, meanings.get(name, " ".join(above + beside))))
    return fields


def comments_in(source: str) -> tuple[dict[int, str], set[int]]:
    """Returns the comments of some code by their lines, and the lines that hold nothing else."""
    comments, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ")
            if token.line.lstrip().startswith("#"):
                alone.add(token.start[0])
    return comments, alone


# Families


@cache
def configs() -> dict[str, Any]:
    """Returns the configs by the stem of their file."""
    return {path.stem: config.load_file(path) for path in sorted((ROOT / "configs").glob("*.py"))}


def configs_of(name: str) -> list[str]:
    """Returns the configs of a family; the one that has its name is first."""
    return sorted((stem for stem, each in configs().items() if each.model.name == name), key=lambda stem: stem != name)


@cache
def uses(name: str) -> tuple[Use, ...]:
    """Returns the models of the configs of a family whose data need no download."""
    models = []
    for stem in configs_of(name):
        spec = spec_of(json.dumps(config.plain(configs()[stem].data)))
        if spec is not None:
            models.append(Use(stem, spec.kind, build_model(config.plain(configs()[stem].model), spec)))
    return tuple(models)


@cache
def spec_of(settings: str) -> Spec | None:
    """Returns the facts of the data that some settings, as JSON, describe; None for data that must be downloaded."""
    options = json.loads(settings)
    with mock.patch.dict(os.environ, TFDS_DATA_DIR=os.devnull):  # the pages are the same on every machine
        try:
            return DataSet(options, open_source(options)).spec
        except UserError:
            return None


def likelihood_of(name: str) -> str:
    """Returns in words which likelihood the models of a family have."""
    words = [word for field, word in LIKELIHOODS.items() if any(getattr(use.model, field) for use in uses(name))]
    return " or ".join(words) or "none"


def conditions_of(name: str) -> list[str]:
    """Returns the conditions that some model of a family honours."""
    return [*dict.fromkeys(condition for use in uses(name) for condition in use.model.given)]


def families_page() -> str:
    """Returns the page that lists the families."""
    rows = []
    for name, family in MODELS.items():
        kinds = dict.fromkeys(KINDS[use.kind].plural for use in uses(name))
        summary = prose(noun(parse_docstring(family.__doc__).summary))
        rows.append(
            (f"[{name}]({name}.md)", summary, ", ".join(kinds), likelihood_of(name), listed(conditions_of(name)) or "–")
        )
    return page(
        "Families",
        "A config names a family in `model.name`, and every other key of `model` is an argument of its function. In Python a "
        "family is a function, `gen_jax.models.NAME(spec, ...)`, which returns a [record](../record.md).",
        "The third column says on which kinds of data the configs without downloads train the family. "
        "[Choosing a family](../../guides/choosing.md) says which one to begin with.",
        table(("family", "what it is", "data of its configs", "likelihood", "conditions"), rows),
        toctree(MODELS, hidden=""),
    )


def family_page(name: str) -> str:
    """Returns the page of a family."""
    docstring = parse_docstring(MODELS[name].__doc__)
    return page(
        f"`{name}`",
        prose(noun(docstring.summary)),
        samples(name),
        f"```{{include}} /families/{name}.md\n```" if (FRAGMENTS / f"{name}.md").is_file() else "",
        "## How it works",
        paragraphs(docstring.body),
        ability(name),
        "## Arguments",
        f"`gen_jax.models.{name}(spec, ...)` in Python, `--config.model.ARGUMENT=VALUE` on the command line.",
        arguments(name, docstring),
        "It refuses, with a `UserError`: " + prose(" ".join(docstring.errors.values())),
        "## Configs",
        *(config_section(stem) for stem in configs_of(name)),
        papers(name),
    )


def samples(name: str) -> str:
    """Returns the samples of a family that stand beside its fragment: a picture or a text."""
    picture, text = FRAGMENTS / f"{name}.png", FRAGMENTS / f"{name}.txt"
    if picture.is_file():
        return f"```{{figure}} /families/{name}.png\n:alt: samples of {name}\n\nSamples of `{configs_of(name)[0]}.py`.\n```"
    if text.is_file():
        return f"A sample of `{configs_of(name)[0]}.py`:\n\n```text\n{text.read_text().strip()}\n```"
    return ""


def ability(name: str) -> str:
    """Returns what the models of a family can do, read from their records."""
    models = [use.model for use in uses(name)]
    if not models:
        return ""
    options = {option: default for model in models for option, default in model.options.items()}
    extras = [*dict.fromkeys(extra for model in models for extra in model.extras)]
    fields = [field for field in ("prior", "encode", "decode") if any(getattr(model, field) for model in models)]
    rows = [
        ("likelihood", likelihood_of(name)),
        ("conditions, in `given`", listed(conditions_of(name)) or "none"),
        (
            "sampler options, in `how`",
            ", ".join(f"`{option}={default}`" for option, default in options.items()) or "none",
        ),
        ("latents", listed(fields) or "none"),
        ("extras", listed(extras) or "none"),
    ]
    tried = ", ".join(f"`{use.config}.py`" for use in uses(name))
    return f"What the models of {tried} offer:\n\n" + table(("", f"`{name}`"), rows)


def arguments(name: str, docstring: Docstring) -> str:
    """Returns the table of the arguments of a family: name, default, choices and meaning."""
    parameters = [*inspect.signature(MODELS[name]).parameters.values()][1:]
    parts = choices_of(MODELS[name])
    rows = []
    for parameter in parameters:
        meaning = prose(docstring.arguments.get(parameter.name, ""))
        choices = parts.get(parameter.name)
        if choices is not None and choices.table:
            meaning += f" Names: {listed(choices.table)}."
        rows.append((f"`{parameter.name}`", value(parameter.default), meaning))
    return table(("argument", "default", "meaning"), rows)


def config_section(stem: str) -> str:
    """Returns the docstring of a config as a section."""
    path = ROOT / "configs" / f"{stem}.py"
    return f"### `{path.name}`\n\n" + markdown_of(ast.get_docstring(ast.parse(path.read_text())) or "")


def citations_of(name: str) -> dict[str, str]:
    """Returns the papers that the docstring and the fragment of a family name: authors and year -> arXiv number or ""."""
    fragment = FRAGMENTS / f"{name}.md"
    text = f"{MODELS[name].__doc__} {fragment.read_text() if fragment.is_file() else ''}"
    names: dict[str, str] = {}
    for match in CITATION.finditer(" ".join(re.sub(r"[][]|\(https[^)]*\)", "", text).split())):
        names[match[1]] = names.get(match[1]) or match[2] or ""
    return names


def papers(name: str) -> str:
    """Returns the list of the papers of a family; nothing if its texts name none."""
    names = citations_of(name)
    if not names:
        return ""
    lines = [f"- {who}, {linked(place)}" if place else f"- {who}" for who, place in names.items()]
    return "## Papers\n\n" + "\n".join(lines)


# Commands and settings


class Command(NamedTuple):
    """What a command asks the parser of the command line for."""

    options: Mapping[str, tuple[Any, str]]  # flag -> default and help
    required: str | None = None
    positional: tuple[str, ...] = ()


class Asked(Exception):
    """Ends a command as soon as it has said what its flags are."""


def command_names() -> list[str]:
    """Returns the names of the commands."""
    files = sorted(overview.HOME.glob("*.py"))
    return [path.stem for path in files if overview.first_line(path).startswith(overview.PREFIX)]


@cache
def command(name: str) -> Command:
    """Returns the flags of a command: what its `main` gives to the parser."""
    asked = []

    def record(argv: list[str], options: Mapping, required: str | None, positional: tuple[str, ...] = ()) -> None:
        asked.append(Command(options, required, positional))
        raise Asked

    module = importlib.import_module(f"gen_jax.{name}")
    with mock.patch.object(command_line, "parse", record):
        try:
            module.main([name])
        except Asked:
            pass
    return asked[0]


def commands_page() -> str:
    """Returns the page that lists the commands."""
    rows = []
    for name in command_names():
        text = overview.first_line(overview.HOME / f"{name}.py").removeprefix(overview.PREFIX)
        rows.append((f"[{name}]({name}.md)", prose(text)))
    return page(
        "Commands",
        "`python -m gen_jax` lists the commands, the families and the configs. Each command has `--help`.",
        table(("command", "what it does"), rows),
        toctree(command_names(), hidden=""),
    )


def command_page(name: str) -> str:
    """Returns the page of a command."""
    module = importlib.import_module(f"gen_jax.{name}")
    first, _, rest = inspect.cleandoc(module.__doc__).partition("\n")
    text = first.removeprefix(overview.PREFIX)
    flags = command(name)
    rows = [flag_row(flag, flags) for flag in (*flags.positional, *set_in_order(flags))]
    if flags.required == "config":
        rows.insert(
            0, ("`--config`", "required", "config file of the experiment; `--config.a.b=VALUE` changes a setting")
        )
    return page(
        f"`{name}`",
        prose(text[:1].upper() + text[1:]),
        markdown_of(rest),
        prose(" ".join(inspect.cleandoc(module.main.__doc__).split())),
        "## Flags",
        table(("flag", "default", "meaning"), rows),
        "The settings that `--config.a.b=VALUE` changes are in [Settings](../settings.md)."
        if flags.required == "config"
        else "",
    )


def set_in_order(flags: Command) -> list[str]:
    """Returns the flags that are no positional arguments."""
    return [flag for flag in flags.options if flag not in flags.positional]


def flag_row(flag: str, flags: Command) -> tuple[str, str, str]:
    """Returns the row of a flag: its name, its default and its help."""
    default, text = flags.options[flag]
    shown = f"`{flag}`" if flag in flags.positional else f"`--{flag}`"
    if flag in flags.positional or flag == flags.required:
        return shown, "required", prose(text)
    if isinstance(default, bool):
        return shown, "on" if default else "off", prose(text)
    return shown, "–" if default in (None, []) else f"`{default}`", prose(text)


def settings_page() -> str:
    """Returns the page of the settings that every config has."""
    defaults = config.flat(config.plain(config.base_config()))
    rows = [
        (f"`{name}`", value(defaults.get(name)), prose(text), change_of(name)) for name, text in config.MEANINGS.items()
    ]
    return page(
        "Settings",
        "Every config has these settings; `gen_jax.config.base_config()` returns them with their defaults. The section `model` "
        "holds the arguments of the [family](families/index.md). The command line changes a setting by "
        "`--config.SETTING=VALUE`, and `--config FILE --help` prints those of a file.",
        "The last column says what a run that has begun accepts when it resumes. Another change is refused, and "
        "`--fork` starts a new run from the old one.",
        table(("setting", "default", "meaning", "in a resumed run"), rows),
    )


def change_of(setting: str) -> str:
    """Returns in words how a resumed run may change a setting."""
    if setting in config.GROWING:
        return "may grow"
    return "may change" if any(setting.startswith(free) for free in config.FREE) else ""


# Measures, kinds, the record


def measures_page() -> str:
    """Returns the page of the measures."""
    legend = [
        (f"`{name}`", prose(comment)) for name, _, comment in fields_of(Metric) if name not in ("name", "definition")
    ]
    index = [
        (f"`{metric.name}`", prose(metric.definition), facts_of(metric))
        for measure in MEASURES
        for metric in measure.metrics
    ]
    return page(
        "Measures",
        "None of these measures needs downloaded weights. `gen_jax.evaluate` stores each value in `evaluation.json`, with what "
        "real held-out rows score in the place of samples (the oracle), and with the protocol: number of samples, seed, "
        "split, and the hash of the classifier. [Scoring runs](../guides/scoring.md) explains how to read the scores.",
        table(("metric", "definition", "facts"), index),
        "The facts of a metric are:",
        table(("fact", "meaning"), legend),
        *map(measure_section, MEASURES),
    )


def facts_of(metric: Metric) -> str:
    """Returns the fields of a metric after its definition, without those that say nothing."""
    facts = []
    for name, field in metric._asdict().items():
        if name in ("name", "definition") or not field:
            continue
        if isinstance(field, bool):
            facts.append(f"`{name}`")
        else:
            facts.append(f"`{name}` {DIRECTIONS.get(field, field)}")
    return ", ".join(facts) or "–"


def measure_section(measure: Measure) -> str:
    """Returns the section of a measure: what it needs and where it is from."""
    rows = [("needs, of the data", prose(measure.data))]
    if measure.reading is not None:
        rows.append(("needs, of the model", prose(measure.reading.need)))
    else:
        rows.append(("reads", f"samples with {listed(measure.fields)}, at least {measure.least}"))
        rows.append(("oracle", prose(measure.oracle)))
    if measure.reference:
        rows.append(("reference", linked(escaped(measure.reference))))
    return f"## {listed(metric.name for metric in measure.metrics)}\n\n" + table(("", ""), rows)


def kinds_page() -> str:
    """Returns the page of the kinds of data."""
    meanings = {name: comment for name, _, comment in fields_of(Kind)}
    rows = [
        (
            f"`{kind.name}`",
            " × ".join(kind.axes),
            listed(kind.read) or "–",
            listed(kind.suffixes),
            f"`{kind.default_transform}`",
            listed(f"data.{option}" for option in kind.options) or "–",
        )
        for kind in KINDS.values()
    ]
    fields = [(f"`{name}`", prose(comment)) for name, comment in meanings.items()]
    return page(
        "Kinds of data",
        "A kind says what one row of the data is, which files of yours it reads and which files of samples it writes. Every "
        "kind writes `.npz` besides. Array files (`.npy`, `.npz`) and folders of images are read for several kinds; see "
        "[Your own data](../start/own_data.md).",
        f"Axes: {meanings['axes'].partition(': ')[2]}.",
        table(("kind", "axes of a row", "reads", "writes samples as", "transform", "options"), rows),
        "## The record of a kind",
        "[Contributing](contributing.md) says how a kind is added: one file with one record.",
        table(("field", "meaning"), fields),
    )


def record_page() -> str:
    """Returns the page of the fields of the record."""
    docstring = parse_docstring(Model.__doc__)
    rows = [(f"`{name}`", default, prose(comment)) for name, default, comment in fields_of(Model)]
    return page(
        "The fields of the record",
        prose(docstring.summary),
        paragraphs(docstring.body),
        "[The record](../concepts/record.md) explains the idea. These are the fields of `gen_jax.Model`:",
        table(("field", "default", "meaning"), rows),
    )


def results_menu() -> str:
    """Returns the part of the menu with the measured results, which another program renders; nothing without results."""
    names = [f"{folder}/index" for folder in ("results", "benchmarks") if (DOCS / folder / "index.md").is_file()]
    return toctree(names, caption="Results", hidden="") if names else ""


def copied(text: str) -> str:
    """Returns the text of a file at the top of the repository as a page: a link to a file without a page is its name."""

    def link(match: re.Match) -> str:
        name, target = match.groups()
        if target in COPIES:
            return f"[{name}]({COPIES[target]})"
        if target.startswith("docs/") and target.endswith(".md"):
            return f"[{name}](../{target.removeprefix('docs/')})"
        return name if name == target else f"{name} (`{target}`)"

    return re.sub(r"\[([^]]*)\]\((?![a-z]+:)([^)\s]+)\)", link, text)


# The API and the imports


def api_page() -> str:
    """Returns the page that lists the modules."""
    rows = [(f"[`{name}`]({name}.md)", purpose) for name, purpose in API.items()]
    return page("API", table(("module", "what it holds"), rows), toctree(API, hidden=""))


def module_page(name: str, purpose: str) -> str:
    """Returns the page of a module, which autodoc fills in; names with a page of their own are linked."""
    homes = {each: module for module in API if module != "gen_jax" for each in public(module)}
    blocks, rows = [], []
    for each in public(name):
        kind = kind_in_api(name, each)
        if name == "gen_jax" and each in homes:
            summary = parse_docstring(getattr(importlib.import_module(name), each).__doc__).summary
            rows.append((f"[`{each}`]({homes[each]}.md)", prose(summary)))
        elif kind:
            blocks.append(f".. auto{kind}:: {name}.{each}" + ("\n   :members:" if kind == "class" else ""))
    families = f"The [families](../families/index.md) have pages of their own: {listed(MODELS)}."
    return page(
        f"`{name}`",
        purpose,
        families if name == "gen_jax.models" else "",
        table(("name", "what it is"), rows) if rows else "",
        "\n\n".join(["```{eval-rst}", f".. currentmodule:: {name}", *blocks]) + "\n```",
    )


def public(name: str) -> list[str]:
    """Returns the public names of a module: those of `__all__`, or the functions and classes that it defines."""
    module = importlib.import_module(name)
    if hasattr(module, "__all__"):
        return [*module.__all__]
    return [
        each
        for each, thing in vars(module).items()
        if not each.startswith("_") and getattr(thing, "__module__", None) == name and hasattr(thing, "__qualname__")
    ]


def kind_in_api(module: str, name: str) -> str:
    """Returns whether a name of a module is a function or a class; nothing for other objects."""
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing):
        return "class"
    return "function" if inspect.isroutine(thing) else ""


@cache
def house() -> Any:
    """Returns `tests/test_house.py`, which computes the graph of imports and says on which floor a room is."""
    spec = importlib.util.spec_from_file_location("test_house", ROOT / "tests" / "test_house.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms() -> dict[str, set[str]]:
    """Returns which rooms the modules of each room import; the commands are one room."""
    graph: dict[str, set[str]] = {}
    for name, others in house().graph().items():
        if name:
            graph.setdefault(room(name), set()).update(room(other) for other in others if other)
    return {name: others - {name} for name, others in graph.items()}


def room(module: str) -> str:
    """Returns the room of a module."""
    first = house().room_of(module)
    return "commands" if first in house().COMMANDS else first


def imports_page() -> str:
    """Returns the page of the imports."""
    rows = []
    for floor in reversed(floors()):
        for name in floor:
            count = sum(room(module) == name for module in house().MODULES if module)
            rows.append((f"`{name}`", str(count), listed(sorted(rooms()[name])) or "–"))
    return page(
        "Map of imports",
        "A room is a folder of `gen_jax/`, or a file at its top; the commands are one room. Imports go from a higher floor to "
        "a lower one, or stay within a room. There is no circle. The picture is drawn from the code, by the functions "
        "of `tests/test_house.py`, which enforce these rules. An arrow is left out where other arrows lead the same way; the "
        "table has all imports.",
        "```{image} imports.svg\n:alt: the rooms of the package on their floors, with arrows for imports\n```",
        table(("room", "modules", "imports"), rows),
    )


def floors() -> list[list[str]]:
    """Returns the rooms of each floor, the lowest floor first."""
    order: dict[int, set[str]] = {}
    for module in house().MODULES:
        if module:
            order.setdefault(house().floor_of(module), set()).add(room(module))
    return [sorted(order[floor]) for floor in sorted(order)]


def direct_imports() -> dict[str, set[str]]:
    """Returns the imports of each room, without those to which its other imports lead as well."""
    graph = rooms()

    @cache
    def reached(name: str) -> frozenset[str]:
        return frozenset(graph[name]).union(*map(reached, graph[name]))

    return {name: others.difference(*map(reached, others)) for name, others in graph.items()}


def imports_picture() -> bytes:
    """Returns the map of rooms as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "gen_jax", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(8.5, 8), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        places = {
            name: ((column + 1) / (len(floor) + 1), height)
            for height, floor in enumerate(floors())
            for column, name in enumerate(floor)
        }
        for name, others in direct_imports().items():
            for other in others:
                style = {"arrowstyle": "-|>", "color": "#4c72b0", "linewidth": 0.9, "shrinkA": 12, "shrinkB": 12}
                axes.annotate("", places[other], places[name], arrowprops=style)
        for name, (x, y) in places.items():
            box = {"boxstyle": "round,pad=0.35", "facecolor": "#eef2f8", "edgecolor": "#4c72b0"}
            axes.text(x, y, name, ha="center", va="center", bbox=box, zorder=5)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.5, len(floors()) - 0.5)
        buffer = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


if __name__ == "__main__":
    generate(DOCS)


BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"


def first_paper(name: str) -> str:
    """Returns the first paper that the texts of a family name, with a link if it is in the arXiv; a dash if they name none."""
    who, place = next(iter(citations_of(name).items()), ("–", ""))
    return f"[{who}](https://arxiv.org/abs/{place.removeprefix('arXiv ')})" if place else who


def readme_with_families(text: str) -> str:
    """Returns the text of README.md with a new table of the families between its marks."""
    rows = [
        (
            f"[`{name}`](docs/families/{name}.md)",
            ", ".join(dict.fromkeys(KINDS[use.kind].plural for use in uses(name))),
            likelihood_of(name),
            listed(conditions_of(name)) or "–",
            first_paper(name),
            f"[`{configs_of(name)[0]}.py`](configs/{configs_of(name)[0]}.py)",
        )
        for name in MODELS
    ]
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    head = ("Family", "Data of its configs", "Likelihood", "Conditions", "Paper", "Config")
    return f"{before}{BEGIN}\n{table(head, rows)}\n{END}{after}"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme_with_families((ROOT / "README.md").read_text()))
