"""Programs timed side by side: in one process, by turns, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping


def times(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds [rounds] of each run. A round before the first compiles and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for counted in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if counted:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return taken
