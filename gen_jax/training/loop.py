"""The only training loop: steps, and what is logged, scored, drawn and saved between them."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import CheckpointManager

from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.files import encode
from gen_jax.devices import placement, processes, replicas
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.metrics.scores import Scores, mean_scores, save_scores
from gen_jax.model import State
from gen_jax.storage import checkpoint
from gen_jax.training import curves, log
from gen_jax.training.prepare import Job, place_arrays
from gen_jax.verbs.draw import draw
from gen_jax.verbs.given import parse_given

NEVER = np.iinfo(np.int32).max


def compile_step(job: Job) -> Callable:
    """The compiled step: (state, broken, step, arrays, fed) -> (state, broken, metrics); state and broken are donated.

    `broken` remembers, for each metric, the first step at which it was not finite, so that the loop learns of it
    when it logs and never waits for it before. Metrics of replicas are their mean and its standard error.
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
        one = jax.jit(train_step, donate_argnums=(1, 2), out_shardings=places)
        return partial(one, job.step_key)
    broken = {name: jnp.zeros(job.replicas, jnp.int32) for name in job.metrics}
    varied = job.step_key, job.state, broken, job.data.at(0)
    *first, fed = jax.eval_shape(lambda trees: replicas.replica(trees, 0, job.replicas), varied)
    each = replicas.replicated(train_step, (*first, np.int32(0), job.data.arrays, fed), job.replicas, job.mesh)
    return partial(each, job.step_key)


def loop(
    job: Job,
    manager: CheckpointManager,
    offer: Callable[[int, dict, State], None],
    journal: log.Log,
    start: int,
    state: State,
    stopping: Callable[[int], bool],
) -> int:
    """Trains from step `start` to the last, or until `stopping(step)`; returns the step that was reached and saved."""
    every, total = job.settings, job.data.steps
    step_fn = compile_step(job)
    arrays = place_arrays(job)
    never = np.int32(NEVER) if job.replicas == 1 else np.full(job.replicas, NEVER, np.int32)
    place = placement.place_whole if job.replicas == 1 else placement.place_rows
    broken = place(job.mesh, {name: never for name in job.metrics})
    done = start
    if start == 0 and every.sample_every:
        draw_samples(job, journal, state, 0)
    for step, fed in zip(range(start, total), job.data.stream(start, total)):
        fed = placement.place_rows(job.mesh, fed)
        state, broken, metrics = step_fn(state, broken, np.int32(step), arrays, fed)
        done = step + 1
        end, stop, values = done == total, stopping(done), {}
        saves, logs = end or stop or due(done, every.save_every), end or due(done, every.log_every)
        if saves or logs:
            numbers = finite(job, manager, metrics, broken)
            values = numbers if logs else {}
        if job.scorer and (end or due(done, every.eval_every)):
            scores = score(job, state, done)
            values |= {name: each["value"] for name, each in scores.items()}
            offer(done, scores, state)
        journal.tick(done)
        if values:
            journal.record(done, values)
        if every.sample_every and (end or due(done, every.sample_every)):
            draw_samples(job, journal, state, done)
            if not end and processes.leads():  # by train() otherwise
                curves.draw_curves(job.workdir)
        if saves:
            checkpoint.save(manager, done, state)
        if stop:
            break
    if total == start == 0:
        checkpoint.save(manager, 0, state)
    checkpoint.finish(manager)
    return done


def due(step: int, every: int) -> bool:
    """Whether something that happens every so many steps happens at this one."""
    return every > 0 and step % every == 0


def finite(job: Job, manager: CheckpointManager, metrics: dict, broken: dict) -> dict[str, float]:
    """The metrics as numbers; waits for the device.

    Raises:
      UserError: naming the first metric that was not finite, and the first step at which it was not.
    """
    metrics, broken = jax.device_get((metrics, broken))
    broken = {name: np.min(first) for name, first in broken.items()}  # of all replicas
    name = min(broken, key=broken.get)
    if broken[name] < NEVER:
        checkpoint.finish(manager)
        left = checkpoint.left(manager)
        raise UserError(f"{name} is not finite at step {broken[name]}: the run in {job.workdir} stops; {left}")
    return {name: float(value) for name, value in metrics.items()}


def score(job: Job, state: State, step: int) -> Scores:
    """Scores the model and keeps the scores in `evaluation.json`; nothing in other processes than the first."""
    state = local(job, state)
    if not processes.leads():
        return {}
    states = (replicas.replica(state, each, job.replicas) for each in range(job.replicas))
    scores = mean_scores([job.scorer(job.model, each) for each in states])
    save_scores(job.workdir, step, scores)
    return scores


def draw_samples(job: Job, journal: log.Log, state: State, step: int) -> None:
    """Leaves samples (of the first replica) as what they are, from the same latents every time."""
    state = local(job, state)
    if not processes.leads():
        return
    how, spec = job.settings.sample, job.data.spec
    given = parse_given(how.given, how.num, spec, how.length).given
    samples = draw(job.model, replicas.replica(state, 0, job.replicas), spec, how.seed, how.num, given)
    files = encode(samples, spec, kind_of(spec).suffixes[0])
    journal.show(step, files)
    for suffix, content in files.items():
        write(job.workdir / "samples" / f"{step}{suffix}", content)


def local(job: Job, state: State) -> State:
    """The state on one device of this process, to sample from; replicas lie in one process and stay where they are."""
    return placement.gathered(job.mesh, state) if job.replicas == 1 else state
