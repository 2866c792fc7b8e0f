"""The only training loop: compiled steps, with a list of hooks between them."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import CheckpointManager

from gen_jax.devices import placement, replicas
from gen_jax.errors import UserError
from gen_jax.model import State
from gen_jax.storage import checkpoint
from gen_jax.training.hooks import Clock, Hook, Moment, Numbers, run_hooks
from gen_jax.training.log import Log
from gen_jax.training.prepare import Job
from gen_jax.training.start import place_arrays

NEVER = np.iinfo(np.int32).max


def compile_step(job: Job) -> Callable:
    """Returns the compiled step: (state, broken, step, arrays, fed) -> (state, broken, metrics).

    State and broken are donated. `broken` holds, for each metric, the first step at which it was not finite. So the
    loop sees it when a hook is due, and need not wait for it before. Metrics of replicas are their mean and its
    standard error.

    Args:
      job: the prepared run.
    """

    def train_step(
        key: jax.Array, state: State, broken: dict, step: jax.Array, arrays: dict, fed: dict
    ) -> tuple[State, dict, dict]:
        batch = job.data.batch(arrays, fed)
        state, metrics = job.model.step(jax.random.fold_in(key, step), state, batch)
        first = {name: jnp.where(jnp.isfinite(value), NEVER, step + 1) for name, value in metrics.items()}
        return state, jax.tree.map(jnp.minimum, broken, first), metrics

    if job.replicas == 1:
        places = replicas.places(job.state), placement.shared(job.mesh), placement.shared(job.mesh)
        return partial(jax.jit(train_step, donate_argnums=(1, 2), out_shardings=places), job.step_key)
    broken = {name: jnp.zeros(job.replicas, jnp.int32) for name in job.metrics}
    varied = job.step_key, job.state, broken, job.data.at(0)
    key, state, broken, fed = jax.eval_shape(lambda trees: replicas.replica(trees, 0, job.replicas), varied)
    shapes = key, state, broken, np.int32(0), job.data.arrays, fed
    return partial(replicas.replicated(train_step, shapes, job.replicas, job.mesh), job.step_key)


def loop(
    job: Job,
    hooks: list[Hook],
    manager: CheckpointManager,
    journal: Log,
    start: int,
    state: State,
    stopping: Callable[[int], bool],
) -> Clock:
    """Trains to the last step, or until the run is asked to stop.

    The metrics of a step are fetched from the device only if a hook is due after it.

    Args:
      job: the prepared run.
      hooks: tasks between steps, in their order (see `hooks`).
      manager: manager of the checkpoints, which the hooks save.
      journal: log, whose progress bar is moved.
      start: number of steps that are done.
      state: state after these steps.
      stopping: function of a step that returns whether all processes stop after it.

    Returns:
      The progress of the run after its last step, which is saved.

    Raises:
      UserError: if a metric is not finite, or a hook fails.
    """
    total = job.data.steps
    step_fn = compile_step(job)
    arrays = place_arrays(job)
    broken = initially_broken(job)
    clock = Clock(start, total)
    if start == 0:
        run_hooks(job, hooks, Moment(clock, state, {}, {}))
    for step, fed in zip(range(start, total), job.data.stream(start, total)):
        fed = placement.place_rows(job.mesh, fed)
        state, broken, metrics = step_fn(state, broken, np.int32(step), arrays, fed)
        clock = Clock(step + 1, total, stopping(step + 1))
        journal.tick(clock.step)
        if any(hook.due(clock) for hook in hooks):
            numbers = finite_numbers(job, manager, metrics, broken)
            clock = run_hooks(job, hooks, Moment(clock, state, numbers, {}))
        if clock.stops:
            break
    checkpoint.finish(manager)
    return clock


def initially_broken(job: Job) -> dict[str, jax.Array]:
    """Returns the value of `broken` if every metric was finite so far, on the devices.

    Args:
      job: the prepared run.
    """
    if job.replicas == 1:
        return placement.place_whole(job.mesh, {name: np.int32(NEVER) for name in job.metrics})
    return placement.place_rows(job.mesh, {name: np.full(job.replicas, NEVER, np.int32) for name in job.metrics})


def finite_numbers(job: Job, manager: CheckpointManager, metrics: dict, broken: dict) -> Numbers:
    """Returns the metrics of a step as numbers. It waits for the device.

    Args:
      job: the prepared run.
      manager: manager of the checkpoints.
      metrics: metrics of the step, on the device.
      broken: first step at which each metric was not finite, for every replica.

    Raises:
      UserError: with the first metric that was not finite, and its step.
    """
    metrics, broken = jax.device_get((metrics, broken))
    first = {name: np.min(steps) for name, steps in broken.items()}
    name = min(first, key=first.__getitem__)
    if first[name] < NEVER:
        checkpoint.finish(manager)
        left = checkpoint.describe_latest(manager)
        raise UserError(
            f"{name} is not finite at step {first[name]} in {job.workdir}; expected finite numbers. The run stops: "
            f"{left}"
        )
    return {name: float(value) for name, value in metrics.items()}
