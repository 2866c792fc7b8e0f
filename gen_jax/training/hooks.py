"""Hooks: a list of tasks that the training loop does between its steps.

After a step the hooks that are due run in this order:

1. `score` scores the model and keeps the best state, after every `eval_every` steps;
2. the user's hooks, in the order in which `gen_jax.fit` got them;
3. `log` writes the metrics after every `log_every` steps, and the numbers of the hooks before it at any step;
4. `sample` draws samples, after every `sample_every` steps and before the first;
5. `save` saves a checkpoint, after every `save_every` steps and when the run is asked to stop.

All hooks are also due after the last step, unless their period is 0. With a period of 0 only `log` and `save` are due
then. Saving is last, so that a checkpoint implies that all other tasks of its step are done. A run that was killed
before it repeats the step and its hooks.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from orbax.checkpoint import CheckpointManager

from gen_jax import config
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
from gen_jax.verbs.alignments import alignment_of_request
from gen_jax.verbs.conditioning import conditions_of_rows, needs_condition, request_of
from gen_jax.verbs.draw import chosen_options, draw_request
from gen_jax.verbs.given import Request
from gen_jax.verbs.score import Scorer

Numbers = dict[str, float | None]


class Stop(Enum):
    """Holds what a user's hook returns to stop its run."""

    STOP = "stop"


STOP = Stop.STOP


class Clock(NamedTuple):
    """Holds the progress of a run between two steps."""

    step: int  # number of steps that are done
    total: int  # number of steps of the whole run
    stops: bool = False  # whether the run ends here, because it was asked to stop
    stopper: str | None = None  # name of the hook that asked, if it was a hook


class Moment(NamedTuple):
    """Holds the arguments that the loop gives its hooks."""

    clock: Clock
    state: State  # state of all replicas on the devices; the next step donates it
    metrics: Numbers  # metrics of the step; empty before the first step
    returned: Numbers  # numbers that earlier hooks returned at this step


class Hook(NamedTuple):
    """Describes a task that the loop does between steps.

    Attributes:
      name: name for error messages.
      due: function (clock) -> whether the hook runs now.
      run: function (job, moment) -> numbers to log by name, STOP to end the run, or None.
    """

    name: str
    due: Callable[[Clock], bool]
    run: Callable[[Job, Moment], Mapping[str, float | None] | Stop | None]


class Snapshot(NamedTuple):
    """Holds a run after a step, for a user's hook. The arrays are copies, which stay valid.

    Attributes:
      step: number of steps that are done.
      total: number of steps of the whole run.
      state: state of the first replica on one device, as `model.sample` takes it.
      states: states of all replicas.
      metrics: metrics of this step, with scores and the numbers of earlier hooks.
      model: the model.
      spec: facts of the data.
      workdir: directory of the run.
      config: settings of the run, as `config.json` holds them.
    """

    step: int
    total: int
    state: State
    states: tuple[State, ...]
    metrics: Numbers
    model: Model
    spec: Spec
    workdir: Path
    config: dict[str, Any]


def every(period: int, function: Callable[[Snapshot], Mapping[str, float] | Stop | None]) -> Hook:
    """Returns a hook that calls a function after every `period` steps and after the last step.

    If the function returns `gen_jax.STOP`, the run is saved and ends after this step. `gen_jax.fit` then returns the run,
    and goes on if it is called again. Apart from this, the function cannot change the training. If a run has several
    processes, the first process calls the function. A run that was killed and resumed calls it again at the steps that it
    repeats.

    Args:
      period: number of steps between two calls, at least 1.
      function: function of a `Snapshot`. It may return None, `gen_jax.STOP`, or numbers by name, which are logged with the
        metrics. A number that is not finite is logged as null.

    Raises:
      UserError: for a period that is not a whole number of steps, or an object that cannot be called.
    """
    if isinstance(period, bool) or not isinstance(period, int) or period < 1:
        raise UserError(f"period of every() is {period!r}; expected a whole number of steps, at least 1")
    if not callable(function):
        raise UserError(f"function of every() is {function!r}; expected a function of a snapshot of the run")
    return Hook(name_of(function), partial(regular, period), partial(call, function))


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name of a function in error messages.

    Args:
      function: the function.
    """
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def check_hooks(hooks: Any) -> list[Hook]:
    """Returns the hooks of a user as a list.

    Args:
      hooks: a sequence of hooks.

    Raises:
      UserError: for anything but a sequence of hooks.
    """
    expected = "a list, as in hooks=[gen_jax.every(100, function)]"
    if isinstance(hooks, Hook) or not isinstance(hooks, Sequence):
        raise UserError(f"hooks is {hooks!r:.80}; expected {expected}")
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise UserError(f"hooks holds {hook!r:.80}; expected {expected}")
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
      manager: manager of the checkpoints.
      journal: log of the run.
      offer: function that keeps a state if its scores are the best, see `selection`.
      users: hooks of the user.
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
    """Returns whether a task with a period is due after this step; never if the period is 0.

    Args:
      period: number of steps between two runs of the task; 0 for never.
      clock: the progress of the run.
    """
    return period > 0 and clock.step > 0 and (clock.step % period == 0 or clock.step == clock.total)


def regular_or_last(period: int, clock: Clock) -> bool:
    """Returns whether `regular` is true, or this is the last step. The last step counts even if the period is 0.

    Args:
      period: number of steps between two runs of the task; 0 for the last step alone.
      clock: the progress of the run.
    """
    return regular(period, clock) or 0 < clock.step == clock.total


def regular_or_first(period: int, clock: Clock) -> bool:
    """Returns whether `regular` is true, or no step is done yet. A task with a period of 0 is never due.

    Args:
      period: number of steps between two runs of the task; 0 for never.
      clock: the progress of the run.
    """
    return regular(period, clock) or (period > 0 and clock.step == 0)


def regular_or_stopped(period: int, clock: Clock) -> bool:
    """Returns whether `regular` is true, or the run ends here, even before its first step.

    Args:
      period: number of steps between two runs of the task; 0 for the end of the run alone.
      clock: the progress of the run.
    """
    return regular(period, clock) or clock.stops or clock.step == clock.total


def any_due(schedules: list[Callable[[Clock], bool]], clock: Clock) -> bool:
    """Returns whether at least one of several schedules is due.

    Args:
      schedules: the schedules.
      clock: the progress of the run.
    """
    return any(due(clock) for due in schedules)


def run_hooks(job: Job, hooks: list[Hook], moment: Moment) -> Clock:
    """Runs the hooks that are due, one after the other. A hook gets the numbers that earlier hooks returned.

    Args:
      job: the prepared run.
      hooks: all hooks of the run.
      moment: the arguments of the loop.

    Returns:
      The progress of the run, which ends here if a hook stops it. The later hooks know it, so that the run is saved.
    """
    for hook in hooks:
        if not hook.due(moment.clock):
            continue
        returned = hook.run(job, moment)
        if isinstance(returned, Stop):
            moment = moment._replace(clock=moment.clock._replace(stops=True, stopper=hook.name))
        elif returned:
            moment = moment._replace(returned={**moment.returned, **returned})
    return moment.clock


def score_and_offer(scorer: Scorer, offer: Callable[[int, Scores, State], None], job: Job, moment: Moment) -> Numbers:
    """Scores the model, keeps its state if it is the best, and returns the values of the scores.

    Args:
      scorer: scorer of the run.
      offer: function that keeps a state if its scores are the best, see `selection`.
      job: the prepared run.
      moment: the arguments of the loop.
    """
    scores = score(scorer, job, moment.state, moment.clock.step)
    offer(moment.clock.step, scores, moment.state)
    return {name: entry["value"] for name, entry in scores.items()}


def score(scorer: Scorer, job: Job, state: State, step: int) -> Scores:
    """Scores every replica, writes the mean scores to `evaluation.json`, and returns them.

    Only the first process scores. The other processes return no scores.

    Args:
      scorer: scorer of the run.
      job: the prepared run.
      state: state of all replicas.
      step: number of the step.
    """
    state = gathered(job, state)
    if not processes.leads():
        return {}
    states = (replicas.replica(state, index, job.replicas) for index in range(job.replicas))
    scores = mean_scores([scorer.score(job.model, state) for state in states])
    save_scores(job.workdir, step, scores)
    return scores


def call(function: Callable[[Snapshot], Any], job: Job, moment: Moment) -> Numbers | Stop | None:
    """Calls a user's function with a snapshot of the run, in the first process. All processes stop if it says so.

    Args:
      function: the function.
      job: the prepared run.
      moment: the arguments of the loop.

    Raises:
      UserError: with the name of the function, if it fails or returns anything but numbers by name.
    """
    state = gathered(job, moment.state)
    returned = called(function, job, moment, state) if processes.leads() else None
    return STOP if processes.first(returned is STOP) else returned


def called(function: Callable[[Snapshot], Any], job: Job, moment: Moment, state: State) -> Numbers | Stop | None:
    """Returns what a user's function returns for a snapshot of the run.

    Args:
      function: the function.
      job: the prepared run.
      moment: the arguments of the loop.
      state: state of all replicas on this process.

    Raises:
      UserError: as `call`.
    """
    views = (replicas.replica(state, index, job.replicas) for index in range(job.replicas))
    states = tuple(jax.tree.map(jnp.copy, view) for view in views)  # because the next step donates the arrays
    step, total, *_ = moment.clock
    metrics = {**moment.metrics, **moment.returned}
    settings = config.plain(job.settings)
    snapshot = Snapshot(step, total, states[0], states, metrics, job.model, job.data.spec, job.workdir, settings)
    try:
        returned = function(snapshot)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"hook {name_of(function)!r} failed after step {step} ({what}); expected a hook that returns"
        ) from error
    if returned is STOP:
        return STOP
    return returned_numbers(name_of(function), returned, {"step", "seconds", job.settings.select, *metrics})


def returned_numbers(name: str, returned: Any, logged_names: set[str]) -> Numbers | None:
    """Returns the result of a user's hook as numbers that can be logged.

    Args:
      name: name of the hook.
      returned: result of the hook.
      logged_names: names that are logged already.

    Raises:
      UserError: with the name of the hook, for anything but None or numbers by new names.
    """
    if returned is None:
        return None
    if not isinstance(returned, Mapping):
        raise UserError(
            f"hook {name!r} returned {returned!r:.80}; expected None, gen_jax.STOP, or numbers by name to be logged"
        )
    for key, value in returned.items():
        if not isinstance(key, str) or key in logged_names:
            raise UserError(
                f"hook {name!r} returned a number named {key!r}; expected a name that is not logged already"
            )
        if not (isinstance(value, Real) or getattr(value, "shape", None) == ()):
            raise UserError(f"hook {name!r} returned {key!r} as {value!r:.80}; expected a number")
    return {key: finite(float(value)) for key, value in returned.items()}


def log_numbers(journal: Log, turn: Callable[[Clock], bool], job: Job, moment: Moment) -> None:
    """Logs the metrics if the log is due, and the numbers that earlier hooks returned.

    Args:
      journal: log of the run.
      turn: schedule of the log.
      job: the prepared run.
      moment: the arguments of the loop.
    """
    numbers = {**(moment.metrics if turn(moment.clock) else {}), **moment.returned}
    if numbers:
        journal.record(moment.clock.step, numbers)


def draw_samples(journal: Log, job: Job, moment: Moment) -> None:
    """Draws samples of the first replica, always from the same latents, and the curves of the run so far.

    Args:
      journal: log of the run.
      job: the prepared run.
      moment: the arguments of the loop.
    """
    state = gathered(job, moment.state)
    if not processes.leads():
        return
    step, total, *_ = moment.clock
    how, spec = job.settings.sample, job.data.spec
    request = asked_for_pictures(job)
    options = chosen_options(how)
    first = replicas.replica(state, 0, job.replicas)
    samples = draw_request(job.model, first, spec, how.seed, request, options)
    contents = encode(samples, spec, kind_of(spec).suffixes[0])
    journal.show(step, contents)
    for suffix, content in contents.items():
        write(job.workdir / "samples" / f"{step}{suffix}", content)
    alignment = alignment_of_request(job.model, first, spec, request)
    if alignment is not None:
        write(job.workdir / "samples" / f"alignment-{step}.png", alignment)
    if 0 < step < total:  # because `train` draws the curves after the last step
        curves.draw_curves(job.workdir)


def asked_for_pictures(job: Job) -> Request:
    """Returns the conditions of the pictures of a run.

    A model that needs a condition gets `sample.given`, or else the conditions of the validation split, or of the test
    split, or of the training split.

    Args:
      job: the prepared run.
    """
    how, spec, model = job.settings.sample, job.data.spec, job.model
    if how.given is not None or not needs_condition(model):
        texts = [] if how.given is None else [how.given]
        return request_of(model, spec, config.plain(job.settings), texts, how.num, how.length)
    settings = job.settings.data
    splits = dict.fromkeys(("validation", settings.test_split, settings.split))
    split = next(name for name in splits if spec.sizes.get(name))
    return conditions_of_rows(model, spec, job.data.read(split, min(how.num, spec.sizes[split])))


def save(manager: CheckpointManager, job: Job, moment: Moment) -> None:
    """Saves a checkpoint in the background.

    Args:
      manager: manager of the checkpoints.
      job: the prepared run.
      moment: the arguments of the loop.
    """
    checkpoint.save(manager, moment.clock.step, moment.state)


def gathered(job: Job, state: State) -> State:
    """Returns the state on one device of this process. All processes must call this function.

    Replicas are in one process, and stay on their devices.

    Args:
      job: the prepared run.
      state: state of all replicas.
    """
    return placement.gathered(job.mesh, state) if job.replicas == 1 else state
