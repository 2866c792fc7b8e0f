"""Measured results: their schema, the pages that are rendered from them, and that no figure is typed."""

import ast
import importlib
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from gen_jax import evaluate
from gen_jax.errors import UserError
from gen_jax.verbs import result_file

ROOT = Path(__file__).parents[1]
NUMERAL = r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?"
UNITS = r"(?: ?%| ± | (?:nats|bits|seconds|minutes|ms|s|MB|GFLOP/s|MFLOP|F1|steps)\b)"
FIGURE = re.compile(rf"(?<![\w.])({NUMERAL}{UNITS}|\d+(?:,\d{{3}})+(?:\.\d+)?|\d+\.\d+(?:e-\d+)?|\d+e-\d+)")
NO_RESULTS = {
    "3.11",
    "3.13",
    "0.12",
    "22.05",
    "1,797",
    "1,115,394",
    "1,024",
}  # versions; sizes of data and of a cluster
PAPER = re.compile(r"\b\d{4}\.\d{4,5}\b")  # of arXiv
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "results")
    return lambda name: importlib.import_module(name)


def numerals_of(text):
    """Returns the numerals of a text without commas between thousands."""
    return {numeral.replace(",", "") for numeral in re.findall(NUMERAL, text)}


def recorded():
    """Returns the numerals that stand in the files of results."""
    return {numeral for path in (ROOT / "results").glob("*.json") for numeral in numerals_of(path.read_text())}


def typed(text, recorded):
    """Returns the figures of a text, outside code, that no file of results has."""
    figures = FIGURE.findall(PAPER.sub("", CODE.sub("", text)))
    return [figure for figure in figures if figure not in NO_RESULTS and not numerals_of(figure) & recorded]


def test_each_record_keeps_the_schema(results):
    schema = results("schema")
    records = schema.load()
    assert len(records) > 50
    assert [f"{name}: {line}" for name, record in records.items() for line in schema.faults(record)] == []
    for record in records.values():
        for entry in record["results"].values():
            config = {**record["shared"], **entry}["config"]
            assert config is None or (ROOT / config).is_file()


def test_breaks_of_the_schema_are_named(results):
    schema = results("schema")
    record = json.loads((ROOT / "results" / "vae.json").read_text(), parse_float=Decimal)
    metrics = record["results"]["vae"]["metrics"]
    metrics["nelbo"] = {"value": "90.2", "colour": 1}
    metrics["other"] = {"value": 1}
    record["results"]["vae"].pop("seeds")
    record["measures"]["bits"]["better"] = "up"
    lines = "\n".join(schema.faults(record))
    assert "measures.bits.better is 'up'" in lines and "results.vae.seeds is missing" in lines
    record["results"]["vae"]["seeds"] = 1
    lines = "\n".join(schema.faults(record))
    for part in ("nelbo.value is '90.2'", "nelbo.colour is unknown", "metrics.other is not among the measures"):
        assert part in lines


def test_rendered_files_are_fresh(results):
    render = results("render")
    assert render.stale(render.load()) == [], "run make tables"


def test_a_changed_figure_makes_its_page_stale(results):
    render = results("render")
    records = render.load()
    records["vae"]["results"]["vae"]["metrics"]["nelbo"]["value"] = Decimal("90.20")
    assert render.stale(records) == [ROOT / "docs" / "results" / "autoencoders.md"]


def test_figures_keep_their_digits(results):
    render, schema = results("render"), results("schema")
    figures = schema.read(
        '{"value": 0.240, "error": 0.010, "low": -1234.50, "high": 2000000, "values": [3.5e-6, null]}'
    )
    assert render.figure(figures, "s") == "0.240 ± 0.010 s (-1,234.50 to 2,000,000 s) (3.5e-6, - s)"
    assert render.figure(schema.read('{"value": 19.6, "error": 31, "error_unit": "%"}'), "ms") == "19.6 ms ± 31 %"
    assert render.number(schema.read("[-90.23844909667969]")[0]) == "-90.24"
    with pytest.raises(SystemExit, match="vae.vae.elbow"):
        render.render(render.load(), "{{vae.vae.elbow}}")


def test_no_figure_is_typed(results):
    figures = recorded()
    assert typed((ROOT / "README.md").read_text(), figures) == []
    for path in (ROOT / "configs").glob("*.py"):
        assert typed(ast.get_docstring(ast.parse(path.read_text())), figures) == [], path
    for path in (ROOT / "results" / "pages").glob("*/*.md"):
        page = re.sub(r"\{\{.+?\}\}", "", path.read_text(), flags=re.DOTALL)
        assert typed(page, figures) == [], path
    assert typed("It has -90.25 nats, 12,345 rows in 47 ms and 0.3333.", figures) == [
        "90.25 nats",
        "12,345",
        "47 ms",
        "0.3333",
    ]


def test_evaluate_records_a_result(undisturbed, results, tmp_path, monkeypatch):
    schema, workdir, file = results("schema"), undisturbed(), tmp_path / "new.json"
    config = workdir.parent / "tiny.py"
    command = ["evaluate", "--workdir", str(workdir), "--num=50", "--metrics=modes", "--record", str(file)]
    evaluate.main([*command, "--config", str(config)])
    record = schema.read(file.read_text())
    assert schema.faults(record) == []
    entry = record["results"]["12"]
    stored = json.loads((workdir / "evaluation.json").read_text())["metrics"]["modes"]
    assert float(entry["metrics"]["modes"]["value"]) == stored["value"]
    assert record["measures"]["modes"]["protocol"]["samples"] == 50
    assert float(record["measures"]["modes"]["oracle"]) == stored["oracle"]
    assert (entry["config"], entry["flags"], entry["seeds"]) == (config.as_posix(), "", [0])
    assert entry["time"]["value"] > 0 and record["hardware"]["processor"] and entry["commit"]["measured"]
    with pytest.raises(UserError, match="exists; expected a new name"):
        evaluate.main(command)
    changed = {**json.loads((workdir / "config.json").read_text()), "steps": 24}
    assert result_file.changed_flags(config, changed) == "--config.steps=24"
    seeds = {"value": 2.0, "standard_error": 1.0, "values": [1.0, 3.0], "oracle": None, "protocol": {}}
    assert result_file.figure(seeds) == {"value": 2.0, "error": 1.0, "values": [1.0, 3.0]}
    monkeypatch.setattr(result_file.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError))
    assert result_file.commit() == "unknown"
