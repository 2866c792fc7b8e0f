"""CLI, and the only training loop.

python -m gen_jax.train --config configs/gan.py [--workdir DIR] [--config.a.b=VALUE ...] [--fork OTHER] [--quiet]
"""

import math
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from gen_jax import best, checkpoint, config, data, log, run, sharding
from gen_jax.data.samples import SUFFIXES, encode
from gen_jax.errors import UserError, command, stop_requests
from gen_jax.evaluate import Scores, mean_scores, save_scores, scorer_while_training
from gen_jax.model import Model, State
from gen_jax.models import build_model, example_batch
from gen_jax.sample import draw, parse_given

NEVER = np.iinfo(np.int32).max
TRAINING = 1  # folded into the seed, so that training and sampling with one seed share no key


class Job(NamedTuple):
    """All that a run needs, checked against the data and against itself; nothing is written or compiled yet."""

    settings: ConfigDict
    workdir: Path
    mesh: Mesh
    data: data.Data
    model: Model
    init_key: jax.Array  # of each replica [N], where there are several
    step_key: jax.Array
    replicas: int
    state: State  # shapes and places only, behind an axis of the replicas where there are several
    metrics: tuple[str, ...]
    scorer: Callable | None
    quiet: bool


def prepare(settings: ConfigDict, workdir: Path, quiet: bool = False) -> Job:
    """Checks the settings, opens the data, builds the model and traces its step.

    Raises:
      UserError: for whatever the user can mend.
    """
    config.check(settings)
    plain = config.plain(settings)
    before = run.begun_config(workdir)
    if before is not None:
        config.refuse_changes(before, plain, workdir)
    replicas, mesh = settings.replicas, sharding.make_mesh()
    if replicas > 1:
        mesh = sharding.make_mesh(mesh.devices.flat[: math.gcd(replicas, mesh.size)])
    multiple = mesh.size if replicas == 1 else 1
    size, seed = settings.batch_size, settings.seed
    feed = data.load(
        plain["data"], size, seed, settings.steps, settings.epochs, multiple, sharding.hosts(), quiet, replicas
    )
    model = build_model(plain["model"], feed.spec)
    each = [jax.random.fold_in(jax.random.key(seed + replica), TRAINING) for replica in range(replicas)]
    keys = jnp.stack([jax.random.split(key) for key in each])  # [N, 2]
    rows, lanes = feed.at(0)["weight"].shape[-1] * sharding.hosts()[1], settings.data.order == "lanes"
    shapes = jax.eval_shape(model.init, keys[0, 0], example_batch(feed.spec, rows if lanes else 1, lanes))
    metrics = jax.eval_shape(model.step, keys[0, 1], shapes, example_batch(feed.spec, rows, lanes))[1]
    given = parse_given(settings.sample.given, 1, feed.spec, settings.sample.length)
    if given:  # a wrong one is said here, not by the first picture
        with suppress(jax.errors.JAXTypeError):  # of a family that looks at its state, after the condition
            jax.eval_shape(lambda state: model.sample(keys[0, 0], state, 1, given), shapes)
    scorer = scorer_while_training(plain, feed.spec, feed.read)
    init_key, step_key = keys[0] if replicas == 1 else keys.T
    state = sharding.abstract_state(mesh, shapes, replicas)
    return Job(settings, workdir, mesh, feed, model, init_key, step_key, replicas, state, tuple(metrics), scorer, quiet)


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
        one = jax.jit(train_step, donate_argnums=(1, 2), out_shardings=sharding.shared(job.mesh))
        return partial(one, job.step_key)
    broken = {name: jnp.zeros(job.replicas, jnp.int32) for name in job.metrics}
    varied = job.step_key, job.state, broken, job.data.at(0)
    *first, fed = jax.eval_shape(lambda trees: sharding.replica(trees, 0, job.replicas), varied)
    each = sharding.replicated(train_step, (*first, np.int32(0), job.data.arrays, fed), job.replicas, job.mesh)
    return partial(each, job.step_key)


def first_state(job: Job, manager: CheckpointManager, fork: Path | None) -> tuple[int, State]:
    """Where the run continues: its newest whole checkpoint, or as a new run that of `fork`, or the initial state.

    A new run is written down only once its state is known to fit; a fork keeps its first state at once.
    """
    settings, spec = config.plain(job.settings), job.data.spec
    if run.begun_config(job.workdir) is not None:
        run.refuse_other(job.workdir, settings, spec, fork)
        found = checkpoint.newest(manager, job.state, repair=True)
        run.write_json(job.workdir / "config.json", settings)
        return found
    if fork is None:
        run.claim(job.workdir, spec)
        run.settle(job.workdir, settings, None)
        fed, places = sharding.place_rows(job.mesh, job.data.at(0)), jax.tree.map(lambda leaf: leaf.sharding, job.state)

        def init(key: jax.Array, arrays: dict, fed: dict) -> State:
            return job.model.init(key, job.data.batch(arrays, fed))

        first = init if job.replicas == 1 else jax.vmap(init, in_axes=(0, None, 0))
        return 0, jax.jit(first, out_shardings=places)(job.init_key, place_arrays(job), fed)
    found = checkpoint.newest_in(fork / "checkpoints", job.state)
    if found is None:
        raise UserError(f"--fork {fork}: there is no run with a checkpoint to start from")
    run.claim(job.workdir, spec)
    checkpoint.save(manager, *found)
    manager.wait_until_finished()
    run.settle(job.workdir, settings, {"from": str(fork.resolve()), "step": found[0]})
    print(f"forked from step {found[0]} of {fork}")
    return found


def place_arrays(job: Job) -> dict[str, jax.Array]:
    """The resident rows on the devices; nothing where the feed streams."""
    return sharding.place_whole(job.mesh, {name: np.asarray(value) for name, value in job.data.arrays.items()})


def loop(
    job: Job,
    manager: CheckpointManager,
    offer: Callable[[int, dict, State], None],
    journal: log.Log,
    start: int,
    state: State,
    stopping: Callable[[], bool],
) -> int:
    """Trains from step `start` to the last, or until `stopping()`; returns the step that was reached and saved."""
    every, total = job.settings, job.data.steps
    step_fn = compile_step(job)
    arrays = place_arrays(job)
    never = np.int32(NEVER) if job.replicas == 1 else np.full(job.replicas, NEVER, np.int32)
    place = sharding.place_whole if job.replicas == 1 else sharding.place_rows
    broken = place(job.mesh, {name: never for name in job.metrics})
    done = start
    if start == 0 and every.sample_every:
        draw_samples(job, state, 0)
    for step, fed in zip(range(start, total), job.data.stream(start, total)):
        fed = sharding.place_rows(job.mesh, fed)
        state, broken, metrics = step_fn(state, broken, np.int32(step), arrays, fed)
        done = step + 1
        end, stop, values = done == total, stopping(), {}
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
            draw_samples(job, state, done)
            if not end:  # by train() otherwise
                log.draw_curves(job.workdir)
        if saves:
            checkpoint.save(manager, done, state)
        if stop:
            break
    if total == start == 0:
        checkpoint.save(manager, 0, state)
    manager.wait_until_finished()
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
        good = manager.latest_step()
        left = "it had saved no checkpoint yet" if good is None else f"its last good checkpoint is of step {good}"
        raise UserError(f"{name} is not finite at step {broken[name]}: the run in {job.workdir} stops; {left}")
    return {name: float(value) for name, value in metrics.items()}


def score(job: Job, state: State, step: int) -> Scores:
    """Scores the model and keeps the scores in `evaluation.json`."""
    states = (sharding.replica(state, each, job.replicas) for each in range(job.replicas))
    scores = mean_scores([job.scorer(job.model, each) for each in states])
    save_scores(job.workdir, step, scores)
    return scores


def draw_samples(job: Job, state: State, step: int) -> None:
    """Leaves samples (of the first replica) as what they are, from the same latents every time."""
    how, spec = job.settings.sample, job.data.spec
    given = parse_given(how.given, how.num, spec, how.length)
    samples = draw(job.model, sharding.replica(state, 0, job.replicas), spec, how.seed, how.num, given)
    for suffix, content in encode(samples, spec, SUFFIXES[spec.kind][0]).items():
        run.write(job.workdir / "samples" / f"{step}{suffix}", content)


def describe(job: Job) -> None:
    """Prints the settings and the facts a reader wants to check before a long run."""
    print(str(job.settings))
    for name, part in job.state._asdict().items():
        size = sum(leaf.size for leaf in jax.tree.leaves(part))
        print(f"state.{name}: {size:,} numbers" if size > 1 else f"state.{name}: 1 number")
    spec = job.data.spec
    feed = "resident" if job.data.arrays else "streaming"
    print(f"data: {spec.name}, {spec.kind} {list(spec.shape)} {spec.dtype}, {spec.sizes}, {feed} feed")
    for split, count in spec.info.get("unseen", {}).items():
        print(f"data: {count} characters of {split} are not in the vocabulary; they become one symbol")
    print(f"devices: {sharding.describe(job.mesh)}; run: {job.workdir}")


def train(job: Job, fork: Path | None, again: str) -> None:
    """Trains a run to its last step, from its newest checkpoint where it has one.

    Args:
      fork: a run whose newest checkpoint this one starts from, where it has none of its own.
      again: the command that continues this run, printed when it is interrupted.

    Raises:
      UserError: where the run belongs to other settings or another process, or stops being finite.
    """
    workdir, total = job.workdir, job.data.steps
    if fork is not None and fork.resolve() == workdir.resolve():
        raise UserError(f"--fork {fork} is the run itself: give a new --workdir")
    with run.locked(workdir), stop_requests() as stopping:
        new = run.begun_config(workdir) is None
        if new:
            for folder in ("checkpoints", best.FOLDER):
                shutil.rmtree(workdir / folder, ignore_errors=True)  # of a start that was killed
        with checkpoint.opened(workdir / "checkpoints", job.settings.keep) as manager:
            start, state = first_state(job, manager, fork)
            if start > total:
                raise UserError(f"{workdir} starts at step {start}, beyond the {total} asked for: give more steps")
            if start == total and not new:
                print(f"{workdir} is complete: all {total} steps are done")
                return
            if not job.quiet:
                describe(job)
            if start:
                print(f"resuming after step {start}")
            logged = log.opened(workdir, start, total, job.quiet)
            with logged as journal, best.opened(workdir, job.settings.select) as offer:
                done = loop(job, manager, offer, journal, start, state, stopping)
        log.draw_curves(workdir)
    if done < total:
        print(f"stopped: step {done} of {total} is saved; resume with\n  {again}")
    else:
        print(
            f"done: pictures in {workdir}/samples, curves in {workdir}/curves.png, figures in {workdir}/metrics.jsonl"
        )


def main(argv: list[str]) -> None:
    """Trains the experiment of `--config` in `--workdir`."""
    flags = config.parse(
        argv,
        {
            "workdir": (None, "directory of the run; runs/NAME of the config where unset"),
            "fork": (None, "another run, whose newest checkpoint this changed run starts from"),
            "quiet": (False, "a line per log instead of settings and a bar"),
        },
        required="config",
    )
    name = Path(config.config_file(argv)).stem
    workdir = Path(flags.workdir or f"runs/{name}")
    sharding.start()
    job = prepare(flags.config, workdir, flags.quiet)
    again = shlex.join([sys.executable, "-m", "gen_jax.train", *argv[1:]])
    train(job, Path(flags.fork) if flags.fork else None, again)


if __name__ == "__main__":
    command(main)
