"""Writes runs as one page of HTML: samples over time, scores, curves, and the settings in which the runs differ.

The page needs no other file, and it is a function of the run directories alone.
"""

import base64
import html
import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen_jax import config
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics.scores import MARKS, Scores, legend, marked, read_evaluation, real_data_cell
from gen_jax.storage import directory, metrics_file

SHOTS = 8  # steps of a run whose samples are shown, at most
CHARACTERS = 600  # of a text that is shown, at most
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")  # Okabe and Ito 2008
DASHES = ("-", "--", ":", "-.")  # for more runs than there are colours
VOID = ("img", "br", "meta")  # elements without content
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"  # nothing runs or is fetched
STEP = re.compile("0|[1-9][0-9]{0,9}")
SAMPLE_SUFFIXES = (".gif", ".png", ".wav", ".txt")
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #eee }
td.number { text-align: right; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
.strip { display: flex; gap: .8rem; overflow-x: auto; align-items: flex-start; padding-bottom: .5rem }
figure { margin: 0 } figcaption { color: #666; font-size: .85rem }
.strip img { min-height: 10rem; max-height: 18rem; max-width: 44rem }
.strip pre { width: 22rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .5rem }
.curves svg { width: 100%; height: auto } .run { border-left: .35rem solid; padding-left: .5rem }
details { margin: .3rem 0 } summary { cursor: pointer; color: #555 } small { color: #666 }
"""


class RunFacts(NamedTuple):
    """The content of a run directory, and the look of the run on the page."""

    name: str
    folder: Path
    settings: dict[str, Any]  # flat
    spec: Spec
    metrics: list[dict]  # a line of the log each
    scores: Scores
    scored: int | None  # step of the scores
    colour: str
    dash: str


def read(folders: Sequence[str]) -> list[RunFacts]:
    """Reads run directories.

    Args:
      folders: the directories.

    Raises:
      UserError: for a directory without a run, or one that is given twice.
    """
    paths = [Path(folder) for folder in folders]
    return [_read_run(path, name, number) for number, (path, name) in enumerate(zip(paths, names_of(paths)))]


def _read_run(folder: Path, name: str, number: int) -> RunFacts:
    settings = directory.read_config(folder)
    if settings is None:
        state = "is empty" if folder.exists() else "does not exist"
        raise UserError(f"no run in {folder}, which {state}; expected a directory of runs")
    directory.refuse_incomplete(settings, folder)
    scored: int | None = None
    scores: Scores = {}
    if (folder / "evaluation.json").exists():
        scored, scores = read_evaluation(folder)
    return RunFacts(
        name=name,
        folder=folder,
        settings=config.flat(settings),
        spec=directory.read_spec(folder),
        metrics=metrics_file.read_metrics(folder),
        scores=scores,
        scored=scored,
        colour=COLOURS[number % len(COLOURS)],
        dash=DASHES[number // len(COLOURS) % len(DASHES)],
    )


def names_of(folders: Sequence[Path]) -> list[str]:
    """Returns the last parts of each path, as many as tell the paths apart.

    Args:
      folders: the paths.

    Raises:
      UserError: for a directory that is given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    for place, path in enumerate(parts):
        if path in parts[:place]:
            raise UserError(f"{folders[place]} is given twice; expected it once")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            break
    return names


class Html(str):
    """Text that is HTML already. All other text is escaped when it becomes a part of the page."""


def joined(*parts: Any) -> Html:
    """Returns parts one after the other; a part that is not HTML is escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(str(part)) for part in parts))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """Returns an element of HTML.

    Args:
      tag: its name.
      *content: the parts between its tags; a part that is not HTML is escaped.
      **attributes: escaped; an underscore at the end of a name is removed.
    """
    written = "".join(f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items())
    if tag in VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{joined(*content)}</{tag}>")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    """Returns a table; cells that look like numbers are aligned on the right.

    Args:
      heads: of the columns.
      rows: cells of each row.
    """

    def cell(content: str) -> Html:
        numeric = content == "-" or content.lstrip("-")[:1].isdecimal()
        return element("td", content, **{"class_": "number"} if numeric else {})

    head_row = element("tr", *(element("th", head) for head in heads))
    body = (element("tr", *map(cell, row)) for row in rows)
    return element("div", element("table", head_row, *body), class_="wide")


def title(run: RunFacts) -> Html:
    """Returns the name of a run in its colour."""
    return element("span", run.name, class_="run", style=f"border-color: {run.colour}")


def number(value: float | None) -> str:
    """Returns a number in four digits; a dash for None."""
    return "-" if value is None else f"{value:.4g}"


def overview(runs: Sequence[RunFacts]) -> Html:
    """Returns the table of the model, the data and the progress of each run."""
    rows = []
    for run in runs:
        last = run.metrics[-1] if run.metrics else {"step": 0, "seconds": 0}
        first, replicas = run.settings["seed"], run.settings["replicas"]
        seeds = f"{first} to {first + replicas - 1}" if replicas > 1 else str(first)
        step, seconds = f"{last['step']} of {run.settings['steps']}", f"{last['seconds']:.0f}"
        rows.append([title(run), str(run.settings.get("model.name")), run.spec.name, step, seconds, seeds])
    return table(("run", "model", "data", "step", "seconds", "seeds"), rows)


def differences(runs: Sequence[RunFacts]) -> Html:
    """Returns the settings in which the runs differ, and the settings that they share."""

    def value_text(run: RunFacts, key: str) -> str:
        return json.dumps(run.settings[key]) if key in run.settings else ""

    keys = sorted({key for run in runs for key in run.settings})
    differing = [key for key in keys if len({value_text(run, key) for run in runs}) > 1]
    rows = [[key, *(value_text(run, key) for run in runs)] for key in differing]
    different = table(["setting", *map(title, runs)], rows) if differing else ""
    shared = [[key, value_text(runs[0], key)] for key in keys if key not in differing]
    summary = "the settings that they share" if len(runs) > 1 else "its settings"
    same = table(["setting", "of every run"], shared)
    return joined(different, element("details", element("summary", summary), same))


def scores(runs: Sequence[RunFacts]) -> Html:
    """Returns the metrics of the runs beside the metrics of real data; a dagger marks protocols that differ."""
    names = list(dict.fromkeys(name for run in runs for name in run.scores))
    if not names:
        return element("p", *(_not_evaluated(run) for run in runs))
    rows = [_score_row(runs, name) for name in names]
    protocols = [_protocol(run, name) for name in names for run in runs if name in run.scores]
    heads: list[str] = ["metric"]
    for run in runs:
        when = "never evaluated" if run.scored is None else f"step {run.scored}"
        heads += [joined(title(run), f" ({when})"), "real data"]
    unscored = [run for run in runs if run.scored is None]
    missing = element("p", *(_not_evaluated(run) for run in unscored)) if unscored else ""
    dagger = ""
    if any(" †" in row[0] for row in rows):
        dagger = element("p", "† taken in different ways: do not compare these.")
    details = element("details", element("summary", "how each was taken"), *protocols)
    directions = element("p", legend(rows, MARKS)) if legend(rows, MARKS) else ""
    return joined(table(heads, rows), directions, missing, dagger, details)


def _not_evaluated(run: RunFacts) -> Html:
    """Returns the sentence about a run without scores, with the command that scores it."""
    return joined(title(run), " was never evaluated; its scores come from ", element("code", evaluation(run)), ". ")


def evaluation(run: RunFacts) -> str:
    """Returns the command that scores a run."""
    return f"python -m gen_jax.evaluate --workdir {shlex.quote(str(run.folder))}"


def _score_row(runs: Sequence[RunFacts], name: str) -> list[str]:
    entries = [run.scores.get(name) for run in runs]
    protocols = {json.dumps(entry["protocol"], sort_keys=True) for entry in entries if entry}
    shown = marked(name, MARKS)
    row = [f"{shown} †" if len(protocols) > 1 else shown]
    for entry in entries:
        if entry is None:
            row += ["not scored", "not scored"]
            continue
        error = entry.get("standard_error")
        value = number(entry["value"])
        if error is not None:
            value += f" ± {number(error)}"
        row += [value, real_data_cell(name, entry)]
    return row


def _protocol(run: RunFacts, name: str) -> Html:
    facts = "; ".join(f"{key} {json.dumps(value)}" for key, value in run.scores[name]["protocol"].items())
    return element("p", element("b", name), ", ", title(run), ": ", facts)


def curve(runs: Sequence[RunFacts], name: str) -> Html:
    """Returns a metric against the step as SVG, a line for each run.

    Args:
      runs: the runs.
      name: of the metric.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2.5), layout="constrained")
    panel = figure.subplots()
    for run in runs:
        points = [(line["step"], line[name]) for line in run.metrics if line.get(name) is not None]
        if points:
            marker = "." if len(points) < 30 else ""
            panel.plot(*zip(*points), color=run.colour, linestyle=run.dash, linewidth=1.2, marker=marker)
    panel.set_title(name, fontsize=10, parse_math=False)
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=8)
    panel.locator_params(axis="x", nbins=5)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return element("figure", Html("<svg" + buffer.getvalue().partition("<svg")[2]))


def embedded(path: Path, kind: str) -> str:
    """Returns a file as a data address.

    Args:
      path: the file.
      kind: its media type.
    """
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def samples(run: RunFacts) -> Html:
    """Returns the samples of a run at up to `SHOTS` evenly spaced steps, the first and the last among them.

    Links are not followed, because a run directory may come from somebody else.
    """
    files = {path.name: path for path in (run.folder / "samples").glob("*") if path.is_file() and not path.is_symlink()}
    steps = sorted({int(path.stem) for path in files.values() if STEP.fullmatch(path.stem)})
    if not steps or (run.folder / "samples").is_symlink():
        return element("p", "no samples yet")
    places = {round(shot * (len(steps) - 1) / (SHOTS - 1)) for shot in range(SHOTS)}
    return element("div", *(step_samples(steps[place], files) for place in sorted(places)), class_="strip")


def step_samples(step: int, files: Mapping[str, Path]) -> Html:
    """Returns the samples of one step as HTML: a picture, a sound and a text, if there are such files.

    Args:
      step: number of the step.
      files: paths of the sample files of all steps, by their names.
    """
    paths = {suffix: files[f"{step}{suffix}"] for suffix in SAMPLE_SUFFIXES if f"{step}{suffix}" in files}
    content = []
    for suffix in (".gif", ".png"):
        if suffix in paths:
            picture = embedded(paths[suffix], f"image/{suffix[1:]}")
            content.append(element("img", src=picture, alt=f"samples of step {step}"))
    if ".wav" in paths:
        content += [element("br"), element("audio", controls="", src=embedded(paths[".wav"], "audio/wav"))]
    if ".txt" in paths:
        content.append(element("pre", paths[".txt"].read_text(errors="replace")[:CHARACTERS]))
    return element("figure", *content, element("figcaption", f"step {step}"))


def page(runs: Sequence[RunFacts]) -> str:
    """Returns the page about runs."""
    names = list(dict.fromkeys(name for run in runs for line in run.metrics for name in line))
    curves = [curve(runs, name) for name in names if name not in ("step", "seconds")]
    drawn = element("div", *curves, class_="curves") if curves else element("p", "nothing is logged yet")
    pictures = joined(*(joined(element("h3", title(run)), samples(run)) for run in runs))
    sections = {"Samples over time": pictures, "Scores": scores(runs), "Curves": drawn, "Settings": differences(runs)}
    heading = ", ".join(run.name for run in runs)
    policy = element("meta", **{"http-equiv": "Content-Security-Policy", "content": POLICY})
    style = element("style", Html(STYLE))
    head = element("head", element("meta", charset="utf-8"), policy, element("title", heading), style)
    parts = (joined(element("h2", name), content) for name, content in sections.items())
    body = element("body", element("h1", heading), overview(runs), *parts)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
