"""Hooks: a list of the things that the loop does between its steps.

After a step the hooks that are due run in this order:

1. `score` scores the model and keeps the best state, after every `eval_every` steps;
2. the user's hooks, in the order in which `gen_jax.fit` got them;
3. `log` writes the metrics, after every `log_every` steps, and at any step the numbers that a hook before it returned;
4. `sample` draws samples, after every `sample_every` steps and before the first;
5. `save` saves a checkpoint, after every `save_every` steps and when the run is asked to stop.

All are due after the last step too, unless their period is 0: then only `log` and `save` are. Saving is last, so that a
checkpoint says that all else of its step is done: a run that was killed comes to the step again, and to its hooks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from orbax.checkpoint import CheckpointManager

from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.sample_files import encode
from gen_jax.data.spec import Spec
from gen_jax.devices import placement, processes, replicas
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.metrics.scores import Scores, finite, mean_scores, save_scores
from gen_jax.model import Model, State
from gen_jax.storage import checkpoint
from gen_jax.training import curves
from gen_jax.training.log import Log
from gen_jax.training.prepare import Job
from gen_jax.verbs.draw import draw
from gen_jax.verbs.given import parse_given
from gen_jax.verbs.score import Scorer

Numbers = dict[str, float | None]


class Clock(NamedTuple):
    """The progress of a run between two steps."""

    step: int  # steps that are done
    total: int  # steps of the whole run
    stops: bool = False  # the run was asked to stop, and ends here


class Moment(NamedTuple):
    """The arguments that the loop gives its hooks."""

    clock: Clock
    state: State  # of all replicas, as it lies on the devices; the next step donates it
    metrics: Numbers  # of the step; none before the first step
    returned: Numbers  # by the hooks that ran before at this step


class Hook(NamedTuple):
    """Something that the loop does between steps."""

    name: str
    due: Callable[[Clock], bool]  # the schedule
    run: Callable[[Job, Moment], Mapping[str, float | None] | None]  # returns numbers to be logged, or None


class Snapshot(NamedTuple):
    """A run after a step, as a user's hook gets it. The arrays are copies, which stay valid."""

    step: int  # steps that are done
    total: int  # steps of the whole run
    state: State  # as `model.sample` takes it, on one device; of the first replica if there are several
    states: tuple[State, ...]  # of every replica
    metrics: Numbers  # of this step, and what scores and the hooks before this one give at it
    model: Model
    spec: Spec
    workdir: Path


def every(period: int, function: Callable[[Snapshot], Mapping[str, float] | None]) -> Hook:
    """Returns a hook that calls a function after every `period` steps and after the last step.

    The function cannot change the training. In a run of several processes the first process calls it. A run that is killed
    calls it again at the steps that it comes to again.

    Args:
      period: steps between two calls, at least 1.
      function: takes a `Snapshot`. Numbers by name that it returns are logged beside the metrics, a number that is not
        finite as none; it may return None.

    Raises:
      UserError: for a period that is no whole number of steps, or something that cannot be called.
    """
    if isinstance(period, bool) or not isinstance(period, int) or period < 1:
        raise UserError(f"every({period!r}, ...): expected a whole number of steps, at least 1")
    if not callable(function):
        raise UserError(f"every({period}, {function!r}): expected a function of a snapshot of the run")
    return Hook(name_of(function), partial(regular, period), partial(call, function))


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name by which errors call a function."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def check_hooks(hooks: Any) -> list[Hook]:
    """Returns the hooks of a user as a list.

    Raises:
      UserError: for anything but a sequence of hooks.
    """
    expected = "expected a list, as in hooks=[gen_jax.every(100, function)]"
    if isinstance(hooks, Hook) or not isinstance(hooks, Sequence):
        raise UserError(f"hooks is {hooks!r:.80}: {expected}")
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise UserError(f"hooks holds {hook!r:.80}: {expected}")
    return [*hooks]


def hooks_of_run(
    job: Job,
    manager: CheckpointManager,
    journal: Log,
    offer: Callable[[int, Scores, State], None],
    users: Sequence[Hook],
) -> list[Hook]:
    """Returns all hooks of a run, in the order in which they run.

    Args:
      job: the prepared run.
      manager: of its checkpoints.
      journal: its log.
      offer: keeps a state if its scores are the best, see `selection`.
      users: the hooks of the user.
    """
    settings = job.settings
    turn = partial(regular_or_last, settings.log_every)
    scoring = []
    if job.scorer is not None:
        scoring.append(
            Hook("score", partial(regular, settings.eval_every), partial(score_and_offer, job.scorer, offer))
        )
    before = [*scoring, *users]
    return [
        *before,
        Hook("log", partial(any_due, [turn, *(hook.due for hook in before)]), partial(log_numbers, journal, turn)),
        Hook("sample", partial(regular_or_first, settings.sample_every), partial(draw_samples, journal)),
        Hook("save", partial(regular_or_stopped, settings.save_every), partial(save, manager)),
    ]


def regular(period: int, clock: Clock) -> bool:
    """Returns whether this is a step after which something with a period is due; never if the period is 0."""
    return period > 0 and clock.step > 0 and (clock.step % period == 0 or clock.step == clock.total)


def regular_or_last(period: int, clock: Clock) -> bool:
    """Returns `regular`, or whether this is the last step, if the period is 0 too."""
    return regular(period, clock) or 0 < clock.step == clock.total


def regular_or_first(period: int, clock: Clock) -> bool:
    """Returns `regular`, or whether this is before the first step, unless the period is 0."""
    return regular(period, clock) or (period > 0 and clock.step == 0)


def regular_or_stopped(period: int, clock: Clock) -> bool:
    """Returns `regular`, or whether the run ends here, also before its first step."""
    return regular(period, clock) or clock.stops or clock.step == clock.total


def any_due(schedules: list[Callable[[Clock], bool]], clock: Clock) -> bool:
    """Returns whether one of several schedules is due."""
    return any(due(clock) for due in schedules)


def run_hooks(job: Job, hooks: list[Hook], moment: Moment) -> None:
    """Runs hooks one after the other; a later one sees what the earlier ones returned."""
    for hook in hooks:
        numbers = hook.run(job, moment)
        if numbers:
            moment = moment._replace(returned={**moment.returned, **numbers})


def score_and_offer(scorer: Scorer, offer: Callable[[int, Scores, State], None], job: Job, moment: Moment) -> Numbers:
    """Scores the model, keeps its state if it is the best, and returns the scores' values."""
    scores = score(scorer, job, moment.state, moment.clock.step)
    offer(moment.clock.step, scores, moment.state)
    return {name: entry["value"] for name, entry in scores.items()}


def score(scorer: Scorer, job: Job, state: State, step: int) -> Scores:
    """Scores every replica, keeps the mean scores in `evaluation.json` and returns them; none in processes but the first."""
    state = gathered(job, state)
    if not processes.leads():
        return {}
    states = (replicas.replica(state, index, job.replicas) for index in range(job.replicas))
    scores = mean_scores([scorer.score(job.model, state) for state in states])
    save_scores(job.workdir, step, scores)
    return scores


def call(function: Callable[[Snapshot], Any], job: Job, moment: Moment) -> Numbers | None:
    """Calls a user's function with a snapshot of the run, in the first process.

    Raises:
      UserError: naming the function, if it fails or returns something else than numbers by name.
    """
    state = gathered(job, moment.state)
    if not processes.leads():
        return None
    views = (replicas.replica(state, index, job.replicas) for index in range(job.replicas))
    states = tuple(jax.tree.map(jnp.copy, view) for view in views)  # the next step donates the arrays of the run
    step, total, _ = moment.clock
    metrics = {**moment.metrics, **moment.returned}
    snapshot = Snapshot(step, total, states[0], states, metrics, job.model, job.data.spec, job.workdir)
    try:
        returned = function(snapshot)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"hook {name_of(function)!r} failed after step {step}: {what}") from error
    return returned_numbers(name_of(function), returned, {"step", "seconds", job.settings.select, *metrics})


def returned_numbers(name: str, returned: Any, taken: set[str]) -> Numbers | None:
    """Returns what a user's hook returned as numbers that can be logged.

    Args:
      name: of the hook.
      returned: by the hook.
      taken: the names that are logged already.

    Raises:
      UserError: naming the hook, for anything but None or numbers by names that are not taken.
    """
    if returned is None:
        return None
    if not isinstance(returned, Mapping):
        raise UserError(f"hook {name!r} returned {returned!r:.80}: expected None, or numbers by name to be logged")
    for key, value in returned.items():
        if not isinstance(key, str) or key in taken:
            raise UserError(
                f"hook {name!r} returned a number named {key!r}: expected a name that is not logged already"
            )
        if not (isinstance(value, Real) or getattr(value, "shape", None) == ()):
            raise UserError(f"hook {name!r} returned {key!r} as {value!r:.80}: expected a number")
    return {key: finite(float(value)) for key, value in returned.items()}


def log_numbers(journal: Log, turn: Callable[[Clock], bool], job: Job, moment: Moment) -> None:
    """Logs the metrics if it is the log's turn, and whatever the hooks before it returned."""
    numbers = {**(moment.metrics if turn(moment.clock) else {}), **moment.returned}
    if numbers:
        journal.record(moment.clock.step, numbers)


def draw_samples(journal: Log, job: Job, moment: Moment) -> None:
    """Draws samples of the first replica, from the same latents every time, and the curves of the run so far."""
    state = gathered(job, moment.state)
    if not processes.leads():
        return
    step, total, _ = moment.clock
    how, spec = job.settings.sample, job.data.spec
    given = parse_given(how.given, how.num, spec, how.length).given
    samples = draw(job.model, replicas.replica(state, 0, job.replicas), spec, how.seed, how.num, given)
    contents = encode(samples, spec, kind_of(spec).suffixes[0])
    journal.show(step, contents)
    for suffix, content in contents.items():
        write(job.workdir / "samples" / f"{step}{suffix}", content)
    if 0 < step < total:  # after the last step `train` draws the curves
        curves.draw_curves(job.workdir)


def save(manager: CheckpointManager, job: Job, moment: Moment) -> None:
    """Saves a checkpoint, in the background."""
    checkpoint.save(manager, moment.clock.step, moment.state)


def gathered(job: Job, state: State) -> State:
    """Returns the state on one device of this process; every process must ask for it.

    Replicas lie in one process, and stay on their devices.
    """
    return placement.gathered(job.mesh, state) if job.replicas == 1 else state
