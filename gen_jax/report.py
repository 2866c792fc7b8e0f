"""CLI: runs as one page of HTML that needs no other file: samples over time, curves, scores, and how their settings differ.

python -m gen_jax.report runs/gan runs/vae --out report.html
"""

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.metrics.scores import read_evaluation
from gen_jax.storage import directory, metrics_file

SHOTS, CHARACTERS = 8, 600  # of a run's samples: times shown, and of a text how much
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")  # Okabe and Ito 2008
DASHES = ("-", "--", ":", "-.")  # where there are more runs than colours
VOID = ("img", "br", "meta")  # elements without content
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"  # nothing runs or is fetched
STEP = re.compile("0|[1-9][0-9]{0,9}")
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


class Told(NamedTuple):
    """What a run directory tells."""

    name: str
    folder: Path
    settings: dict[str, Any]  # flat
    spec: Spec
    metrics: list[dict]
    scores: dict[str, dict]
    scored: int | None  # the step that the scores are of
    colour: str
    dash: str


def read(folders: list[str]) -> list[Told]:
    """The runs of `folders`.

    Raises:
      UserError: where one is no run, or is named twice.
    """
    names = names_of([Path(folder) for folder in folders])
    found = []
    for at, (folder, name) in enumerate(zip(map(Path, folders), names)):
        settings = directory.read_config(folder)
        if settings is None:
            raise UserError(f"no run in {folder}: " + ("it is empty" if folder.exists() else "no such directory"))
        directory.refuse_incomplete(settings, folder)
        scored, scores = read_evaluation(folder) if (folder / "evaluation.json").exists() else (None, {})
        looks = COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)]
        facts = config.flat(settings), directory.read_spec(folder), metrics_file.read_metrics(folder)
        found.append(Told(name, folder, *facts, scores, scored, *looks))
    return found


def names_of(folders: list[Path]) -> list[str]:
    """The last part of each path; as many more as tell them apart.

    Raises:
      UserError: where two are the same directory.
    """
    parts = [folder.resolve().parts for folder in folders]
    for at, each in enumerate(parts):
        if each in parts[:at]:
            raise UserError(f"{folders[at]} is given twice")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


class Html(str):
    """Text that is HTML already. All other text is escaped where it becomes a part of the page."""


def joined(*parts: Any) -> Html:
    """Parts one after the other: those that are HTML as they are, all others escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(str(part)) for part in parts))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """An element of HTML; attributes, and content that is not HTML, are escaped."""
    told = "".join(f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items())
    return Html(f"<{tag}{told}>" + ("" if tag in VOID else f"{joined(*content)}</{tag}>"))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    """A table; cells that look like numbers stand on the right."""

    def cell(content: str) -> Html:
        numeric = content == "-" or content.lstrip("-")[:1].isdecimal()
        return element("td", content, **{"class_": "number"} if numeric else {})

    head = element("tr", *(element("th", each) for each in heads))
    body = (element("tr", *map(cell, row)) for row in rows)
    return element("div", element("table", head, *body), class_="wide")


def title(told: Told) -> Html:
    """A run's name in its colour."""
    return element("span", told.name, class_="run", style=f"border-color: {told.colour}")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def overview(runs: list[Told]) -> Html:
    """What each run is of, and how far it came."""
    heads = "run", "model", "data", "step", "seconds", "seeds"
    rows = []
    for told in runs:
        last = told.metrics[-1] if told.metrics else {"step": 0, "seconds": 0}
        first, replicas = told.settings["seed"], told.settings["replicas"]
        seeds = f"{first} to {first + replicas - 1}" if replicas > 1 else str(first)
        what = str(told.settings.get("model.name")), told.spec.name
        rows.append(
            [title(told), *what, f"{last['step']} of {told.settings['steps']}", f"{last['seconds']:.0f}", seeds]
        )
    return table(heads, rows)


def differences(runs: list[Told]) -> Html:
    """The settings in which the runs differ, and those of each."""
    keys = sorted({key for told in runs for key in told.settings})
    shown = lambda told, key: json.dumps(told.settings[key]) if key in told.settings else ""
    differing = [key for key in keys if len({shown(told, key) for told in runs}) > 1]
    heads = ["setting", *map(title, runs)]
    both = table(heads, ([key, *(shown(told, key) for told in runs)] for key in differing)) if differing else ""
    same = table(["setting", "of every run"], ([key, shown(runs[0], key)] for key in keys if key not in differing))
    what = "the settings that they share" if len(runs) > 1 else "its settings"
    return joined(both, element("details", element("summary", what), same))


def scores(runs: list[Told]) -> Html:
    """Each metric of the runs beside that of real data, with its protocol; a dagger where protocols differ."""
    names = list(dict.fromkeys(name for told in runs for name in told.scores))
    if not names:
        how = element("code", "python -m gen_jax.evaluate --workdir DIR")
        return element("p", "None of them is scored: ", how, " does it.")
    rows, protocols = [], []
    for name in names:
        row = [told.scores.get(name) for told in runs]
        known = {json.dumps(each["protocol"], sort_keys=True) for each in row if each}
        cells = []
        for each in row:
            error = each.get("standard_error") if each else None
            more = f" ± {number(error)}" if error is not None else ""
            cells += [number(each["value"]) + more, number(each["oracle"])] if each else ["", ""]
        rows.append([name + (" †" if len(known) > 1 else ""), *cells])
        for told, each in zip(runs, row):
            if each:
                entries = "; ".join(f"{key} {json.dumps(value)}" for key, value in each["protocol"].items())
                protocols.append(element("p", element("b", name), ", ", title(told), ": ", entries))
    heads = [
        "metric",
        *(each for told in runs for each in (joined(title(told), f" (step {told.scored})"), "real data")),
    ]
    dagger = (
        element("p", "† taken in different ways: do not compare these.") if any(" †" in row[0] for row in rows) else ""
    )
    return joined(table(heads, rows), dagger, element("details", element("summary", "how each was taken"), *protocols))


def curve(runs: list[Told], name: str) -> Html:
    """A metric against the step, a line for each run, as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2.5), layout="constrained")
    panel = figure.subplots()
    for told in runs:
        points = [(each["step"], each[name]) for each in told.metrics if each.get(name) is not None]
        if points:
            marker = "." if len(points) < 30 else ""
            panel.plot(*zip(*points), color=told.colour, linestyle=told.dash, linewidth=1.2, marker=marker)
    panel.set_title(name, fontsize=10, parse_math=False)
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=8)
    panel.locator_params(axis="x", nbins=5)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return element("figure", Html("<svg" + buffer.getvalue().partition("<svg")[2]))


def embedded(path: Path, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def samples(told: Told) -> Html:
    """A run's samples at up to `SHOTS` steps, evenly spaced, the first and the last among them; links are not followed."""
    files = [path for path in (told.folder / "samples").glob("*") if path.is_file() and not path.is_symlink()]
    steps = sorted({int(path.stem) for path in files if STEP.fullmatch(path.stem)})
    if not steps or (told.folder / "samples").is_symlink():
        return element("p", "no samples yet")
    places = {round(at * (len(steps) - 1) / (SHOTS - 1)) for at in range(SHOTS)}
    found = {path.name: path for path in files}
    return element("div", *(shot(steps[place], found) for place in sorted(places)), class_="strip")


def shot(step: int, files: Mapping[str, Path]) -> Html:
    """The samples of one step, by what there is: a picture, a sound, a text."""
    found = {suffix: files[f"{step}{suffix}"] for suffix in (".png", ".wav", ".txt") if f"{step}{suffix}" in files}
    content = []
    if ".png" in found:
        content.append(element("img", src=embedded(found[".png"], "image/png"), alt=f"samples of step {step}"))
    if ".wav" in found:
        content += [element("br"), element("audio", controls="", src=embedded(found[".wav"], "audio/wav"))]
    if ".txt" in found:
        content.append(element("pre", found[".txt"].read_text(errors="replace")[:CHARACTERS]))
    return element("figure", *content, element("figcaption", f"step {step}"))


def page(runs: list[Told]) -> str:
    """The report of some runs, a function of their directories alone."""
    names = list(dict.fromkeys(key for told in runs for each in told.metrics for key in each))
    curves = [curve(runs, name) for name in names if name not in ("step", "seconds")]
    parts: Mapping[str, Html] = {
        "Samples over time": joined(*(part for told in runs for part in (element("h3", title(told)), samples(told)))),
        "Scores": scores(runs),
        "Curves": element("div", *curves, class_="curves") if curves else element("p", "nothing is logged yet"),
        "Settings": differences(runs),
    }
    heading = ", ".join(told.name for told in runs)
    policy = element("meta", **{"http-equiv": "Content-Security-Policy", "content": POLICY})
    head = element(
        "head", element("meta", charset="utf-8"), policy, element("title", heading), element("style", Html(STYLE))
    )
    sections = (each for name, content in parts.items() for each in (element("h2", name), content))
    body = element("body", element("h1", heading), overview(runs), *sections)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def main(argv: list[str]) -> None:
    """Writes the report of the runs that are named into `--out`."""
    flags = command_line.parse(
        argv,
        {"DIR": ([], "directories of runs"), "out": ("report.html", "the page")},
        required=None,
        positional=("DIR",),
    )
    path = command_line.output_file(flags.out, "report.html", (".html",))
    write(path, page(read(flags.DIR)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")


if __name__ == "__main__":
    command(main)
