"""Keeps the best checkpoint of a run by one of its metrics (`config.select`), in `best/`.

The mean over the replicas selects the step. `best/replicas.json` holds the value of each replica at that step.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gen_jax import files
from gen_jax.devices import processes
from gen_jax.errors import UserError, whole_number
from gen_jax.metrics import catalogue
from gen_jax.model import State
from gen_jax.storage import checkpoint, directory
from gen_jax.storage.metrics_file import read_metrics

REPLICAS = "replicas.json"


@contextmanager
def opened(workdir: Path, name: str | None) -> Iterator[Callable[[int, Mapping, State], None]]:
    """Yields a function (step, scores, state) that saves the state if its score is the best of the run so far.

    If there are several processes, the first process has the scores. After a resume the same scores are computed again.
    Checkpoints that are already saved for them are kept, not rewritten.

    Args:
      workdir: directory of the run.
      name: name of the metric. If it is None, no state is saved.
    """
    if name is None:
        yield lambda step, scores, state: None
        return
    sign = catalogue.signs()[name]

    def beats(scores: Mapping) -> bool:
        before = [sign * each[name] for each in read_metrics(workdir) if each.get(name) is not None]
        value = scores[name]["value"]
        return value is not None and sign * value > max(before, default=-math.inf)

    with checkpoint.opened(workdir / directory.BEST, keep=1) as manager:

        def offer(step: int, scores: Mapping, state: State) -> None:
            better = processes.first(processes.leads() and beats(scores))
            each = scores[name].get("values") if processes.leads() else None
            if better and each and step >= (manager.latest_step() or -1):
                files.write_json(workdir / directory.BEST / REPLICAS, {"step": step, "metric": name, "values": each})
            if better and step > (manager.latest_step() or -1):
                checkpoint.save(manager, step, state)
                checkpoint.finish(manager)  # before a newer checkpoint, after which this score does not come again

        yield offer


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
