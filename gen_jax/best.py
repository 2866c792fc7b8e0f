"""The best checkpoint of a run by one of its metrics (`config.select`), kept in `best/` beside the newest ones."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gen_jax import checkpoint
from gen_jax.log import read_metrics
from gen_jax.metrics import SELECTING
from gen_jax.model import State

FOLDER = "best"


@contextmanager
def opened(workdir: Path, name: str | None) -> Iterator[Callable[[int, Mapping, State], None]]:
    """A function (step, scores, state) that saves the state where its score is the best of the run so far.

    A run that was killed and continues comes again to the scores it had: what it saved then is left as it is.

    Args:
      name: of the metric; where it is None nothing is saved.
    """
    if name is None:
        yield lambda step, scores, state: None
        return
    sign = SELECTING[name]
    with checkpoint.opened(workdir / FOLDER, keep=1) as manager:

        def offer(step: int, scores: Mapping, state: State) -> None:
            before = [sign * each[name] for each in read_metrics(workdir) if each.get(name) is not None]
            better = scores[name] is not None and sign * scores[name] > max(before, default=-math.inf)
            if better and step > (manager.latest_step() or -1):
                checkpoint.save(manager, step, state)
                manager.wait_until_finished()  # before a newest checkpoint after which its score would not come again

        yield offer
