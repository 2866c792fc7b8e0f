"""Reads the metrics that a run has logged."""

import json
from pathlib import Path
from typing import Any


def read_metrics(workdir: Path) -> list[dict]:
    """Returns the objects of `metrics.jsonl` in the order of their steps.

    It stops at the first line that is not such an object, for example a last line that was cut off.

    Args:
      workdir: directory of the run.
    """
    path = Path(workdir) / "metrics.jsonl"
    objects = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_record(record):
            break
        objects.append(record)
    return objects


def _is_record(record: Any) -> bool:
    """Returns whether an object holds a step, its seconds, and numbers or None by name."""
    if not isinstance(record, dict) or not isinstance(record.get("step"), int) or record.get("seconds") is None:
        return False
    return all(value is None or isinstance(value, int | float) for value in record.values())
