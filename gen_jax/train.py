"""CLI, and the only training loop.

python -m gen_jax.train --config configs/gan.py [--workdir DIR] [--config.a.b=VALUE ...] [--fork OTHER] [--quiet]

From a notebook or a program the same by `gen_jax.fit(config, workdir)`.
"""

import shlex
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from gen_jax import best, checkpoint, command_line, config, log, run, sharding
from gen_jax.data.samples import SUFFIXES, encode
from gen_jax.data.spec import schema_lines
from gen_jax.errors import UserError, command, stop_requests
from gen_jax.files import write
from gen_jax.job import Job, first_state, place_arrays, prepare, refuse_too_large
from gen_jax.metrics.scores import Scores, mean_scores, save_scores
from gen_jax.model import State
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
        places = sharding.places(job.state), sharding.shared(job.mesh), sharding.shared(job.mesh)
        one = jax.jit(train_step, donate_argnums=(1, 2), out_shardings=places)
        return partial(one, job.step_key)
    broken = {name: jnp.zeros(job.replicas, jnp.int32) for name in job.metrics}
    varied = job.step_key, job.state, broken, job.data.at(0)
    *first, fed = jax.eval_shape(lambda trees: sharding.replica(trees, 0, job.replicas), varied)
    each = sharding.replicated(train_step, (*first, np.int32(0), job.data.arrays, fed), job.replicas, job.mesh)
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
    place = sharding.place_whole if job.replicas == 1 else sharding.place_rows
    broken = place(job.mesh, {name: never for name in job.metrics})
    done = start
    if start == 0 and every.sample_every:
        draw_samples(job, journal, state, 0)
    for step, fed in zip(range(start, total), job.data.stream(start, total)):
        fed = sharding.place_rows(job.mesh, fed)
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
            if not end and sharding.leads():  # by train() otherwise
                log.draw_curves(job.workdir)
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
    if not sharding.leads():
        return {}
    states = (sharding.replica(state, each, job.replicas) for each in range(job.replicas))
    scores = mean_scores([job.scorer(job.model, each) for each in states])
    save_scores(job.workdir, step, scores)
    return scores


def draw_samples(job: Job, journal: log.Log, state: State, step: int) -> None:
    """Leaves samples (of the first replica) as what they are, from the same latents every time."""
    state = local(job, state)
    if not sharding.leads():
        return
    how, spec = job.settings.sample, job.data.spec
    given = parse_given(how.given, how.num, spec, how.length)
    samples = draw(job.model, sharding.replica(state, 0, job.replicas), spec, how.seed, how.num, given)
    files = encode(samples, spec, SUFFIXES[spec.kind][0])
    journal.show(step, files)
    for suffix, content in files.items():
        write(job.workdir / "samples" / f"{step}{suffix}", content)


def local(job: Job, state: State) -> State:
    """The state on one device of this process, to sample from; replicas lie in one process and stay where they are."""
    return sharding.gathered(job.mesh, state) if job.replicas == 1 else state


def describe(job: Job) -> None:
    """Prints the settings that are set, a line a group, and the facts a reader wants to check before a long run."""
    groups: dict[str, list[str]] = {}
    for key, value in config.flat(config.plain(job.settings)).items():
        if value not in (None, []):
            *place, name = key.split(".")
            groups.setdefault(".".join(place) or "run", []).append(f"{name}={value}")
    parts = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in job.state._asdict().items()}
    named = ", ".join(f"{name} {size:,}" for name, size in parts.items() if size > 1)
    groups["state"] = [f"{sum(parts.values()):,} numbers: {named}"]
    for place, said in groups.items():
        print(textwrap.fill(f"{place}: {' '.join(said)}", 120, subsequent_indent="    ", break_long_words=False))
    spec = job.data.spec
    feed = "resident" if job.data.arrays else "streaming"
    print(f"data: {spec.name}, {spec.kind} {list(spec.shape)} {spec.dtype}, {spec.sizes}, {feed} feed")
    if spec.kind == "table":
        for line in schema_lines(spec):
            print(textwrap.shorten(f"column {line}", 120, placeholder=" ..."))
        print(f"schema: {job.workdir / run.SCHEMA}, to be edited and passed back by --config.data.schema=FILE")
    for split, count in spec.info.get("unseen", {}).items():
        print(f"data: {count} characters of {split} are not in the vocabulary; they become one symbol")
    print(f"devices: {sharding.describe(job.mesh)}; run: {job.workdir}")


def train(job: Job, fork: Path | None, again: str) -> int:
    """Trains a run to its last step, from its newest checkpoint where it has one.

    Returns 0, or as a shell would 128 + the signal that stopped it before: who starts it again on failure then does.

    Args:
      fork: a run whose newest checkpoint this one starts from, where it has none of its own.
      again: the command that continues this run, printed when it is interrupted.

    Raises:
      UserError: where the run belongs to other settings or another process, or stops being finite.
    """
    workdir, total = job.workdir, job.data.steps
    if fork is not None and fork.resolve() == workdir.resolve():
        raise UserError(f"--fork {fork} is the run itself: give a new --workdir")
    refuse_too_large(job)
    leads, alone = sharding.leads(), sharding.alone()
    with run.locked(workdir) if leads else nullcontext(), stop_requests(alone) as asked:
        begun = run.begun_config(workdir)
        new = begun is None
        if new and leads:
            for folder in ("checkpoints", run.BEST):
                shutil.rmtree(workdir / folder, ignore_errors=True)  # of a start that was killed
        sharding.meet("settings and run", repr((config.plain(job.settings), begun)))
        with checkpoint.opened(workdir / "checkpoints", job.settings.keep) as manager:
            start, state = first_state(job, manager, fork)
            if start > total:
                raise UserError(f"{workdir} starts at step {start}, beyond the {total} asked for: give more steps")
            if start == total and not new:
                print(f"{workdir} is complete: all {total} steps are done")
                return 0
            if not job.quiet:
                describe(job)
            if start:
                print(f"resuming after step {start}")
            logged = log.opened(workdir, start, total, job.metrics, job.quiet) if leads else nullcontext(log.SILENT)
            stopping = sharding.stop_request(asked)
            with logged as journal, best.opened(workdir, job.settings.select) as offer:
                done = loop(job, manager, offer, journal, start, state, stopping)
        if leads:
            log.draw_curves(workdir)
    if done < total:
        print(f"stopped: step {done} of {total} is saved; resume with\n  {again}")
        return 128 + (asked() or signal.SIGTERM)  # of which JAX tells the other processes
    left = {"pictures": "samples", "curves": "curves.png", "figures": "metrics.jsonl"}
    found = [f"{what} in {workdir / name}" for what, name in left.items() if (workdir / name).exists()]
    print("done: " + ", ".join(found))
    return 0


def fit(settings: ConfigDict, workdir: str | Path, quiet: bool = True) -> run.Run:
    """Trains as the command does, for a notebook or a program, and loads what was learnt.

    Called again it resumes, or finds the run complete and loads it. Ctrl-C (a notebook's stop button) saves first.

    Args:
      settings: an experiment, as the `get_config` of a config file gives it; see `gen_jax.config.base_config`.
      workdir: directory of the run.
      quiet: a line per log instead of settings and a bar.

    Raises:
      UserError: for whatever the command refuses.
    """
    sharding.start()
    train(prepare(settings, Path(workdir), quiet), None, f"gen_jax.fit(config, {str(workdir)!r})")
    return run.load(workdir)


def main(argv: list[str]) -> None:
    """Trains the experiment of `--config` in `--workdir`."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run; runs/NAME of the config where unset"),
            "fork": (None, "another run, whose newest checkpoint this changed run starts from"),
            "quiet": (False, "a line per log instead of settings and a bar"),
        },
        required="config",
    )
    name = Path(command_line.config_file(argv)).stem
    workdir = Path(flags.workdir or f"runs/{name}")
    sharding.start()
    with sharding.joined():
        job = prepare(flags.config, workdir, flags.quiet)
        line = shlex.join([sys.executable, "-m", "gen_jax.train", *argv[1:]])
        again = line if sharding.alone() else "the command that launched it"
        code = train(job, Path(flags.fork) if flags.fork else None, again)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    command(main)
