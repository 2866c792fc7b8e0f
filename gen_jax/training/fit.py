"""Trains a run from its config: what the command and `gen_jax.fit` do."""

import shutil
import signal
import textwrap
from contextlib import nullcontext
from pathlib import Path

import jax
from ml_collections import ConfigDict

from gen_jax import config
from gen_jax.data.spec import schema_lines
from gen_jax.devices import placement, processes, startup
from gen_jax.devices.signals import stop_requests
from gen_jax.errors import UserError
from gen_jax.storage import checkpoint, directory, loading
from gen_jax.training import curves, log, selection
from gen_jax.training.loop import loop
from gen_jax.training.prepare import Job, prepare, refuse_too_large
from gen_jax.training.start import first_state


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
    if spec.tabular:
        for line in schema_lines(spec):
            print(textwrap.shorten(f"column {line}", 120, placeholder=" ..."))
        print(f"schema: {job.workdir / directory.SCHEMA}, to be edited and passed back by --config.data.schema=FILE")
    for split, count in spec.unseen.items():
        print(f"data: {count} characters of {split} are not in the vocabulary; they become one symbol")
    print(f"devices: {placement.describe(job.mesh)}; run: {job.workdir}")


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
    leads, alone = processes.leads(), processes.alone()
    with directory.locked(workdir) if leads else nullcontext(), stop_requests(alone) as asked:
        begun = directory.begun_config(workdir)
        new = begun is None
        if new and leads:
            for folder in ("checkpoints", directory.BEST):
                shutil.rmtree(workdir / folder, ignore_errors=True)  # of a start that was killed
        processes.meet("settings and run", repr((config.plain(job.settings), begun)))
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
            stopping = processes.stop_request(asked)
            with logged as journal, selection.opened(workdir, job.settings.select) as offer:
                done = loop(job, manager, offer, journal, start, state, stopping)
        if leads:
            curves.draw_curves(workdir)
    if done < total:
        print(f"stopped: step {done} of {total} is saved; resume with\n  {again}")
        return 128 + (asked() or signal.SIGTERM)  # of which JAX tells the other processes
    left = {"pictures": "samples", "curves": "curves.png", "figures": "metrics.jsonl"}
    found = [f"{what} in {workdir / name}" for what, name in left.items() if (workdir / name).exists()]
    print("done: " + ", ".join(found))
    return 0


def fit(settings: ConfigDict, workdir: str | Path, quiet: bool = True) -> loading.Run:
    """Trains as the command does, for a notebook or a program, and loads what was learnt.

    Called again it resumes, or finds the run complete and loads it. Ctrl-C (a notebook's stop button) saves first.

    Args:
      settings: an experiment, as the `get_config` of a config file gives it; see `gen_jax.config.base_config`.
      workdir: directory of the run.
      quiet: a line per log instead of settings and a bar.

    Raises:
      UserError: for whatever the command refuses.
    """
    startup.start()
    train(prepare(settings, Path(workdir), quiet), None, f"gen_jax.fit(config, {str(workdir)!r})")
    return loading.load(workdir)
