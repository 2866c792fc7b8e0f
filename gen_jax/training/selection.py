"""Keeps the best checkpoint of a run by one of its metrics (`config.select`), in `best/`.

The mean over the replicas selects the step. `best/replicas.json` holds the value of each replica at that step.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gen_jax import files
from gen_jax.devices import processes
from gen_jax.metrics import catalogue
from gen_jax.model import State
from gen_jax.storage import checkpoint, directory
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.verbs.best_replica import REPLICAS


@contextmanager
def opened(workdir: Path, name: str | None) -> Iterator[Callable[[int, Mapping, State], None]]:
    """Yields a function (step, scores, state) that saves the state if its score is the best of the run so far.

    If there are several processes, the first process has the scores. After a resume the same scores are computed again.
    Checkpoints that are already saved for them are kept, not rewritten.

    Args:
      workdir: directory of the run.
      name: name of the metric. If it is None or empty, no state is saved.
    """
    if not name:
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
