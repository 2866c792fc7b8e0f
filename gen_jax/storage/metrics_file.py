"""Reads the metrics that a run has logged."""

import json
from pathlib import Path
from typing import Any


def read_metrics(workdir: Path) -> list[dict]:
    """The objects of `metrics.jsonl`, in order of step, up to the first line that is none, such as a last one that was cut off."""
    path = Path(workdir) / "metrics.jsonl"
    objects = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_record(found):
            break
        objects.append(found)
    return objects


def _is_record(found: Any) -> bool:
    """Whether this is a step, the seconds that it took, and numbers or None by name."""
    if not isinstance(found, dict) or not isinstance(found.get("step"), int) or found.get("seconds") is None:
        return False
    return all(value is None or isinstance(value, int | float) for value in found.values())
