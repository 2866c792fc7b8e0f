"""Finds the replica of a run that a user names by its number, or as the best."""

import math
from pathlib import Path

from gen_jax import files
from gen_jax.errors import UserError, whole_number
from gen_jax.metrics import catalogue
from gen_jax.storage import directory

REPLICAS = "replicas.json"  # in the folder of the best checkpoint: the value of each replica


def replica(workdir: Path, text: str) -> int:
    """Returns the number of the replica that `--replica` names: a number, or `best`.

    `best` is the replica with the best value of the metric that selects.

    Args:
      workdir: directory of the run.
      text: a number, or `best`.

    Raises:
      UserError: for another text, or if no metric has selected among the replicas.
    """
    number = whole_number(text)
    if number is not None:
        return number
    if text != "best":
        raise UserError(f"--replica={text}: expected a number, or best")
    path = Path(workdir) / directory.BEST / REPLICAS
    if not path.exists():
        raise UserError(f"--replica=best: {workdir} has no replicas that a metric selects among: set --config.select")
    found = files.read_json(path)
    signs = catalogue.signs()
    signs |= {old: -signs[name] for old, name in catalogue.NEGATED.items() if name in signs}
    if found.get("metric") not in signs or not isinstance(found.get("values"), list):
        raise UserError(f"{path} holds no values of a metric: choose a replica by its number")
    sign = signs[found["metric"]]
    return max(
        range(len(found["values"])),
        key=lambda one: -math.inf if found["values"][one] is None else sign * found["values"][one],
    )
