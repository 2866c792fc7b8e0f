"""Renders the tables of the site and of README.md from the measured results in `results/*.json`.

    python results/render.py            # `make tables`: writes docs/results, docs/benchmarks and a part of README.md
    python results/render.py --check    # writes nothing; fails if a rendered file is stale

A page is a file of `results/pages/` whose marks in double braces are replaced. `results/README.md` describes the marks and
the schema of a result. This file reads the standard library alone.
"""

import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from schema import FOLDER, Records, faults, load

ROOT = FOLDER.parent
PAGES = FOLDER / "pages"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MARK = re.compile(r"\{\{(.+?)\}\}", re.DOTALL)
DIGITS = 7  # a figure with more significant digits comes from a program, and is shown with four


def number(value: int | Decimal | None) -> str:
    """Returns a number as it is written, with commas between thousands."""
    if value is None:
        return "-"
    if 0 < abs(value) < Decimal("1e-4"):
        return f"{Decimal(f'{value:.4g}'):e}"
    if isinstance(value, Decimal) and value.as_tuple().exponent < 0 and len(value.as_tuple().digits) > DIGITS:
        return f"{value:,.{max(0, 3 - value.adjusted())}f}"
    return f"{value:,}"


def figure(entry: Mapping, unit: str = "") -> str:
    """Returns a figure as text: the value with its error and unit, the range, and the values of the seeds.

    Args:
      entry: the figure.
      unit: that stands behind the value.
    """
    behind = f" {unit}" if unit else ""
    parts = []
    if entry.get("value") is not None:
        text = number(entry["value"])
        if entry.get("signed") and entry["value"] > 0:
            text = f"+{text}"
        error_unit = entry.get("error_unit")
        if "error" in entry and error_unit:
            text += f"{behind} ± {number(entry['error'])} {error_unit}"
        elif "error" in entry:
            text += f" ± {number(entry['error'])}{behind}"
        else:
            text += behind
        parts.append(text)
    if "low" in entry:
        parts.append(f"{number(entry['low'])} to {number(entry['high'])}{behind}")
    if "values" in entry:
        parts.append(", ".join(map(number, entry["values"])) + behind)
    text = parts[0] + "".join(f" ({part})" for part in parts[1:]) if parts else "-"
    return f"{text} ({entry['note']})" if "note" in entry else text


def result_of(records: Records, file: str, name: str) -> dict:
    """Returns a result with the facts that it shares with the other results of its file."""
    record = records[file]
    return {**record["shared"], **record["results"][name]}


def figure_of(records: Records, file: str, name: str, metric: str) -> dict:
    """Returns a figure with the facts of its measure, but without their note."""
    facts = {key: value for key, value in records[file]["measures"][metric].items() if key != "note"}
    return {**facts, **result_of(records, file, name)["metrics"][metric]}


def render(records: Records, text: str) -> str:
    """Returns a page with its marks replaced."""
    return MARK.sub(lambda match: mark(records, match[1]), text)


def mark(records: Records, text: str) -> str:
    """Returns what stands in the place of a mark: a table, or one figure.

    Raises:
      SystemExit: for a mark that names something that no record has.
    """
    first, *words = text.split()
    tables: dict[str, Callable[..., str]] = {"list": listing, "matrix": matrix, "beside": beside, "notes": notes}
    try:
        return tables[first](records, *words) if first in tables else inline(records, first)
    except (KeyError, ValueError) as error:
        raise SystemExit(f"the mark {{{{{text}}}}} names {error}; no file of results/ has it") from None


def inline(records: Records, address: str) -> str:
    """Returns one figure of an address FILE.RESULT.METRIC, or one field of it for FILE.RESULT.METRIC.FIELD."""
    file, name, metric, *field = address.split(".")
    if metric == "time":
        return time(result_of(records, file, name))
    if metric == "seeds":
        return seeds(result_of(records, file, name))
    entry = figure_of(records, file, name, metric)
    if not field:
        return figure({key: entry[key] for key in entry if key != "note"}, entry["unit"])
    if field[0] == "published":
        return published(entry)
    if field[0] == "values":
        return ", ".join(map(number, entry["values"]))
    return number(entry[field[0]])


def listing(records: Records, *files: str) -> str:
    """Returns a table with a line for each metric of each result, and below it how they were measured."""
    head = [
        "Config",
        "Data",
        "Measure",
        "Result",
        "Real data",
        "Known value",
        "Published",
        "Seeds",
        "Time",
        "Stated in",
    ]
    lines = []
    for file in files:
        for name in records[file]["results"]:
            lines += result_lines(records, file, name)
    return f"{markdown(head, lines)}\n\n{notes(records, *files)}"


def result_lines(records: Records, file: str, name: str) -> list[list[str]]:
    """Returns the lines of one result, whose facts stand in the first of them."""
    result = result_of(records, file, name)
    lines = []
    for metric in result["metrics"]:
        entry = figure_of(records, file, name, metric)
        shared_unit = "" if "unit" in result["metrics"][metric] else entry["unit"]
        own_unit = entry["unit"] if "unit" in result["metrics"][metric] else ""
        known = f"{number(entry['floor'])} ({entry['floor_is']})" if "floor" in entry else ""
        lines.append(
            [
                "" if lines else result["label"],
                "" if lines else result["data"] or "",
                title(entry["title"], shared_unit, entry["better"]),
                figure(entry, own_unit),
                number(entry["oracle"]) if entry.get("oracle") is not None else "",
                known,
                published(entry),
                "" if lines else seeds(result),
                "" if lines else time(result),
                "" if lines else commit(result),
            ]
        )
    return lines


def notes(records: Records, *files: str) -> str:
    """Returns how the results of some files were measured, one item for each file."""
    return "\n".join(note(records, file) for file in files)


def note(records: Records, file: str) -> str:
    """Returns protocol, hardware, flags and notes of one file."""
    record = records[file]
    hardware = record["hardware"]
    parts = [f"- **{record['title']}** (`results/{file}.json`, by `{record['measured_by']}`).", record["protocol"]]
    errors = {facts["error_is"]: None for facts in record["measures"].values() if "error_is" in facts}
    parts += [f"Errors: {', '.join(errors)}."] if errors else []
    machine = [f"processor {hardware['processor']}", f"accelerator {hardware['accelerator'] or 'none'}"]
    machine += [hardware["cores"]] if hardware["cores"] else []
    parts.append(f"Hardware: {', '.join(machine)}.")
    parts += [facts["note"] for facts in record["measures"].values() if "note" in facts]
    parts += [record["note"]] if record["note"] else []
    results = [result_of(records, file, name) for name in record["results"]]
    unknown = [result["label"] for result in results if result["flags"] == "unknown"]
    parts += [f"The flags are unknown of {'; '.join(unknown)}."] if unknown else []
    lines = [" ".join(parts)]
    for result in results:
        texts = [result["note"]] if result["note"] else []
        if result["flags"] not in ("", "unknown"):
            texts.insert(0, f"Flags: `{result['flags']}`.")
        if texts:
            lines.append(f"  - {result['label']}: {' '.join(texts)}")
    return "\n".join(lines)


def matrix(records: Records, file: str, *columns: str) -> str:
    """Returns a table with a line for each result of a file that has one of the named metrics.

    Args:
      records: the records.
      file: name of the file.
      columns: metrics; METRIC.published for the published figure; group, config, data, seeds, time or commit.
    """
    record = records[file]
    measures = [column for column in columns if column not in FACTS]
    lines = []
    oracles = [record["measures"].get(column, {}).get("oracle") for column in columns]
    if any(value is not None for value in oracles):
        lines.append(["real data", *("" if value is None else number(value) for value in oracles)])
    for name in record["results"]:
        result = result_of(records, file, name)
        if any(cell(records, file, name, column) for column in measures):
            lines.append([result["label"], *(cell(records, file, name, column) for column in columns)])
    heads = ["", *(heading(record, column) for column in columns)]
    if columns[0] == "group":  # the group stands before the label, once
        heads, *lines = ([line[1], line[0], *line[2:]] for line in [heads, *lines])
        groups = [line[0] for line in lines]
        for line, above in zip(lines[1:], groups, strict=False):
            line[0] = "" if line[0] == above else line[0]
    return markdown(heads, lines)


def heading(record: Mapping, column: str) -> str:
    """Returns the heading of a column of a matrix."""
    if column in FACTS:
        return FACTS[column]
    metric, _, field = column.partition(".")
    measure = record["measures"][metric]
    if field:
        sources = sources_of(record, metric)
        return f"{measure['title']}, published" + (f" by {sources[0]}" if len(sources) == 1 else "")
    return title(measure["title"], measure["unit"], measure["better"])


def sources_of(record: Mapping, metric: str) -> list[str]:
    """Returns the sources of the published figures of a metric, each once."""
    entries = [result["metrics"].get(metric, {}) for result in record["results"].values()]
    return list({other["source"]: None for entry in entries for other in entry.get("published", ())})


def cell(records: Records, file: str, name: str, column: str) -> str:
    """Returns the text of one cell of a matrix; empty if the result lacks the metric."""
    result = result_of(records, file, name)
    metric, _, field = column.partition(".")
    if column in SPECIAL:
        return SPECIAL[column](result)
    if column in FACTS:
        return result[column] or ""
    if metric not in result["metrics"]:
        return ""
    entry = figure_of(records, file, name, metric)
    if field and len(sources_of(records[file], metric)) == 1:  # the heading names it
        return "; ".join(map(figure, entry.get("published", ())))
    if field:
        return published(entry)
    return figure(entry, entry["unit"] if "unit" in result["metrics"][metric] else "")


def beside(records: Records, *addresses: str) -> str:
    """Returns a table of results beside the published figures."""
    lines = []
    for address in addresses:
        file, name, metric = address.split(".")
        result, entry = result_of(records, file, name), figure_of(records, file, name, metric)
        wanted = ("value", "error", "error_unit") if entry["value"] is not None else ("values", "low", "high")
        here = figure({key: entry[key] for key in wanted if key in entry})
        what = title(entry["title"], entry["unit"], entry["better"])
        lines.append([result["label"], result["data"] or "", what, here, published(entry), seeds(result)])
    return markdown(["Config", "Data", "Measure", "Here", "Published", "Seeds"], lines)


def title(text: str, unit: str, better: str | None) -> str:
    """Returns the title of a measure with its unit, and an arrow to better values."""
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[better]
    return f"{text}, {unit}{arrow}" if unit else f"{text}{arrow}"


def published(entry: Mapping) -> str:
    """Returns the published figures of a metric with their sources."""
    return "; ".join(f"{figure(other)} ({other['source']})" for other in entry.get("published", ()))


def seeds(result: Mapping) -> str:
    """Returns the number of seeds of a result, or that it has none because it is exact."""
    value = result["seeds"]
    if value is None:
        return "unknown"
    return str(len(value)) if isinstance(value, list) else str(value)


def time(result: Mapping) -> str:
    """Returns the time of a result; empty if it is unknown."""
    entry = result["time"]
    if entry is None:
        return ""
    text = figure({key: entry[key] for key in entry if key != "note"}, entry.get("unit", "s"))
    return f"{text}, {entry['note']}" if "note" in entry else text


def commit(result: Mapping) -> str:
    """Returns the commit that was measured, or else in brackets the first commit whose text states the figures."""
    measured, stated = result["commit"]["measured"], result["commit"]["stated"]
    return measured if measured != "unknown" else f"({stated or 'unknown'})"


FACTS = {"group": "", "config": "Config", "data": "Data", "seeds": "Seeds", "time": "Time", "commit": "Stated in"}
SPECIAL = {"seeds": seeds, "time": time, "commit": commit}


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """Returns a table without the columns that are empty in each line."""
    kept = [place for place, name in enumerate(head) if any(line[place] for line in lines)]
    rows = [[head[place] for place in kept], ["---"] * len(kept), *([line[place] for place in kept] for line in lines)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def rendered(records: Records) -> dict[Path, str]:
    """Returns the text of each rendered file by its path; README.md has new text between its marks alone."""
    texts = {}
    for page in sorted(PAGES.glob("*/*.md")):
        path = page.relative_to(PAGES)
        origin = f"<!-- Rendered from results/pages/{path.as_posix()} by `make tables`. Edit that file. -->\n\n"
        texts[ROOT / "docs" / path] = origin + render(records, page.read_text())
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md lacks {BEGIN} or {END}; put both where the short table of results stands")
    table = render(records, (PAGES / "README.md").read_text()).strip()
    texts[readme] = f"{before}{BEGIN}\n{table}\n{END}{after}"
    return texts


def stale(records: Records) -> list[Path]:
    """Returns the rendered files that differ from what the records say, and files beside them that no page renders."""
    texts = rendered(records)
    written = [path for name in ("results", "benchmarks") for path in sorted((ROOT / "docs" / name).glob("*.md"))]
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    return changed + [path for path in written if path not in texts]


def main(argv: list[str]) -> None:
    """Writes the rendered files, or with `--check` only names the stale ones."""
    records = load()
    broken = [f"results/{name}.json: {line}" for name, record in records.items() for line in faults(record)]
    if broken:
        raise SystemExit("\n".join(broken))
    if "--check" in argv:
        names = [str(path.relative_to(ROOT)) for path in stale(records)]
        raise SystemExit(f"stale: {', '.join(names)}; run make tables" if names else 0)
    for path, text in rendered(records).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(sys.argv)
