"""The schema of a measured result, `results/NAME.json`, and its check. `results/README.md` describes it in words."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

NUMBER, NUMBERS, TEXT = (int, Decimal), list, str
NONE = type(None)
Records = Mapping[str, dict]  # by the names of their files
RECORD = {  # key -> types of its value
    "title": (TEXT,),
    "measured_by": (TEXT,),
    "protocol": (TEXT,),
    "hardware": (dict,),
    "software": (dict,),
    "shared": (dict,),
    "measures": (dict,),
    "results": (dict,),
    "note": (TEXT, NONE),
}
HARDWARE = {"processor": (TEXT,), "accelerator": (TEXT, NONE), "cores": (TEXT, NONE)}
COMMIT = {"measured": (TEXT,), "stated": (TEXT, NONE)}
RESULT = {
    "label": (TEXT,),
    "group": (TEXT, NONE),
    "config": (TEXT, NONE),
    "flags": (TEXT,),
    "data": (TEXT, NONE),
    "commit": (dict,),
    "seeds": (int, NUMBERS, TEXT, NONE),
    "time": (dict, NONE),
    "metrics": (dict,),
    "note": (TEXT, NONE),
}
FIGURE = {
    "value": (*NUMBER, NONE),
    "error": NUMBER,
    "values": (NUMBERS,),
    "low": NUMBER,
    "high": NUMBER,
    "last": (*NUMBER, NONE),
    "unit": (TEXT,),
    "error_unit": (TEXT,),
    "note": (TEXT,),
}
MEASURE = {
    "title": (TEXT,),
    "unit": (TEXT,),
    "better": (TEXT, NONE),
    "error_is": (TEXT,),
    "error_unit": (TEXT,),
    "oracle": (*NUMBER, NONE),
    "oracle_is": (TEXT,),
    "floor": NUMBER,
    "floor_is": (TEXT,),
    "signed": (bool,),
    "published": (list,),
    "protocol": (TEXT, dict),
    "note": (TEXT,),
}
PUBLISHED = {**FIGURE, "source": (TEXT,)}


def load(folder: Path = FOLDER) -> dict[str, dict]:
    """Returns the records by the names of their files, with the digits of each figure as they are written."""
    return {path.stem: read(path.read_text()) for path in sorted(folder.glob("*.json"))}


def read(text: str) -> dict:
    """Returns the record that a text holds."""
    return json.loads(text, parse_float=Decimal)


def faults(record: Mapping) -> list[str]:
    """Returns where a record breaks the schema, one line for each place; none for a good record."""
    lines = wrong_keys("the file", record, RECORD, RECORD)
    if lines:
        return lines
    lines += wrong_keys("hardware", record["hardware"], HARDWARE, HARDWARE)
    if record["shared"].keys() - RESULT:
        lines.append("shared holds keys that no result has")
    for name, measure in record["measures"].items():
        lines += wrong_figure(f"measures.{name}", measure, {**MEASURE, **FIGURE}, ("title", "unit", "better"))
    for name in record["results"]:
        lines += result_faults(name, record)
    return lines


def result_faults(name: str, record: Mapping) -> list[str]:
    """Returns where one result of a record breaks the schema."""
    place = f"results.{name}"
    result = {**record["shared"], **record["results"][name]}
    lines = wrong_keys(place, result, RESULT, RESULT)
    if lines:
        return lines
    lines += wrong_keys(f"{place}.commit", result["commit"], COMMIT, COMMIT)
    if result["time"] is not None:
        lines += wrong_figure(f"{place}.time", result["time"], FIGURE, ())
    for metric, entry in result["metrics"].items():
        if metric not in record["measures"]:
            lines.append(f"{place}.metrics.{metric} is not among the measures")
        lines += wrong_figure(f"{place}.metrics.{metric}", entry, {**MEASURE, **FIGURE}, ("value",))
    return lines


def wrong_figure(place: str, entry: Mapping, types: Mapping, required: Iterable[str]) -> list[str]:
    """Returns where a figure, or the facts of a measure, break the schema.

    Args:
      place: where it stands.
      entry: the figure.
      types: key -> types of its value.
      required: keys that it must have.
    """
    lines = wrong_keys(place, entry, types, required)
    lines += [
        f"{place}.values holds something that is no number" for value in entry.get("values", ()) if not is_number(value)
    ]
    if entry.get("better") not in (None, "higher", "lower"):
        lines.append(f"{place}.better is {entry['better']!r}; expected 'higher', 'lower' or null")
    for published in entry.get("published", ()):
        lines += wrong_keys(f"{place}.published", published, PUBLISHED, ("value", "source"))
    return lines


def wrong_keys(place: str, entry: Any, types: Mapping, required: Iterable[str]) -> list[str]:
    """Returns the keys of an object that are missing, unknown or of another type."""
    if not isinstance(entry, dict):
        return [f"{place} is no object"]
    lines = [f"{place}.{key} is missing" for key in required if key not in entry]
    for key, value in entry.items():
        if key not in types:
            lines.append(f"{place}.{key} is unknown; expected one of {', '.join(types)}")
        elif not isinstance(value, types[key]) or (isinstance(value, bool) and bool not in types[key]):
            lines.append(f"{place}.{key} is {value!r}, which has the wrong type")
    return lines


def is_number(value: Any) -> bool:
    """Returns whether a value is a number, or None for a seed that has none."""
    return value is None or (isinstance(value, NUMBER) and not isinstance(value, bool))
