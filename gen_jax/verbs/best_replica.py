"""Finds the replica of a run that a user names by its number, or as the best."""

import math
from pathlib import Path

from gen_jax import files
from gen_jax.errors import UserError, whole_number
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
        raise UserError(f"--replica is {text}; expected a number, or best")
    from gen_jax.metrics import catalogue  # slow to import

    path = Path(workdir) / directory.BEST / REPLICAS
    if not path.exists():
        raise UserError(
            f"--replica is best, and {workdir} has no replicas that a metric selects among; expected a number. Set "
            "--config.select to train with a selection"
        )
    record = files.read_json(path)
    signs = catalogue.signs()
    signs |= {old: -signs[name] for old, name in catalogue.NEGATED.items() if name in signs}
    if record.get("metric") not in signs or not isinstance(record.get("values"), list):
        raise UserError(
            f"{path} holds no values of a metric; expected some for --replica best. Choose a replica by its number"
        )
    sign = signs[record["metric"]]
    return max(
        range(len(record["values"])),
        key=lambda one: -math.inf if record["values"][one] is None else sign * record["values"][one],
    )
