"""Trains a run from its config: what the command and `gen_jax.fit` do."""

import shutil
import signal
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, overload

import jax
from ml_collections import ConfigDict

from gen_jax import config
from gen_jax.data.dataset import DataSet
from gen_jax.data.spec import schema_lines
from gen_jax.devices import placement, processes
from gen_jax.devices.signals import stop_requests
from gen_jax.errors import UserError, choose
from gen_jax.model import Model, training_rows
from gen_jax.references import described, place_of
from gen_jax.registry import epochs_as_examples
from gen_jax.run import Run, load
from gen_jax.storage import checkpoint, directory
from gen_jax.storage.registration import trusted_config
from gen_jax.storage.trust import trust
from gen_jax.training import curves, log, selection
from gen_jax.training.hooks import Hook, check_hooks, hooks_of_run
from gen_jax.training.loop import loop
from gen_jax.training.prepare import Job, prepare, refuse_too_large
from gen_jax.training.start import first_state

OUTPUTS = {"pictures": "samples", "curves": "curves.png", "figures": "metrics.jsonl"}


@overload
def fit(
    config: str | Path | ConfigDict,
    place: str | Path | None = None,
    /,
    *,
    workdir: str | Path | None = None,
    quiet: bool = ...,
    hooks: Sequence[Hook] = ...,
    **settings: Any,
) -> Run: ...


@overload
def fit(
    model: Model,
    data: DataSet,
    /,
    *,
    workdir: str | Path,
    quiet: bool = ...,
    hooks: Sequence[Hook] = ...,
    **settings: Any,
) -> Run: ...


def fit(
    experiment: str | Path | ConfigDict | Model,
    place: Any = None,
    /,
    *,
    workdir: str | Path | None = None,
    quiet: bool = True,
    hooks: Sequence[Hook] = (),
    **settings: Any,
) -> Run:
    """Trains a config, `fit(config, workdir)`, or a model on data, `fit(model, data, workdir=...)`, and loads the run.

    Called again it resumes, or finds the run complete and loads it. In the main thread, Ctrl-C (a notebook's stop button)
    saves the run and raises KeyboardInterrupt, so that a script does not go on with a model that is not trained. A hook
    that returns `gen_jax.STOP` saves and ends the run, which is then returned.

    Args:
      experiment: a config file, or the config that its `get_config` returns; or a model of `data.spec`.
      place: of a model its data, see `gen_jax.data.open` and `gen_jax.data.arrays`; of a config the directory of the run.
      workdir: directory of the run, if `place` is not it.
      quiet: a line per log instead of settings and a bar.
      hooks: what is done between the steps besides, as in `[gen_jax.every(100, function)]`.
      **settings: that differ from the config, or for a model from the defaults: `steps`, `batch_size`, `seed`, `eval_every`,
        ..., and sections as mappings: `evaluate={"metrics": ("nelbo",)}`. Of a config also options of its model:
        `model={"latent_size": 2, "optimizer": {"learning_rate": 1e-3}}`.

    Returns:
      The trained run.

    Raises:
      UserError: for whatever the command refuses, and if a hook fails.
      KeyboardInterrupt: after a Ctrl-C. The run is saved.
      SystemExit: after a SIGTERM, with the exit code of the command. The run is saved.
    """
    users = check_hooks(hooks)
    if isinstance(experiment, Model):
        if not isinstance(place, DataSet):
            raise UserError(
                f"data of gen_jax.fit(model, data) is of type {type(place).__name__}; expected data, as "
                "gen_jax.data.open or gen_jax.data.arrays returns"
            )
        if workdir is None:
            raise UserError(
                "workdir of gen_jax.fit(model, data) is missing; expected the directory of the run, as in "
                "workdir='runs/NAME'"
            )
        source = None if "data" in settings else place.source
        job = prepare(settings_of_fit(experiment, place, settings), Path(workdir), quiet, experiment, source)
        end_if_stopped(train(job, None, f"gen_jax.fit(model, data, workdir={str(workdir)!r}, ...)", users))
        return load(workdir, model=experiment)
    folders = [folder for folder in (place, workdir) if folder is not None]
    if len(folders) != 1:
        raise UserError(
            "directory of gen_jax.fit(config) is missing; expected the directory of the run, as in "
            "gen_jax.fit(config, 'runs/NAME')"
        )
    job = prepare(changed_config(experiment, settings), Path(folders[0]), quiet)
    end_if_stopped(train(job, None, f"gen_jax.fit(config, {str(folders[0])!r})", users))
    return load(folders[0])


def end_if_stopped(code: int) -> None:
    """Ends the program of a user as the signal would have done that stopped its run.

    Args:
      code: what `train` returned.

    Raises:
      KeyboardInterrupt: for 128 + SIGINT.
      SystemExit: for 128 + another signal.
    """
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


def settings_of_fit(model: Model, data: DataSet, settings: Mapping[str, Any]) -> ConfigDict:
    """Returns the config of a run of a model on data.

    Args:
      model: the model.
      data: its data.
      settings: that differ from the defaults of `config.base_config`.

    Raises:
      UserError: for an unknown setting, or a value of another type than it may have.
    """
    complete = config.base_config()
    complete.model = ConfigDict(model.origin or {"name": None, "object": None, "type": place_of(model)})
    change_settings(complete, {**config.flat(data.options, "data."), **config.flat(settings)})
    return complete


def changed_config(experiment: str | Path | ConfigDict, settings: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of a config with changed settings.

    Args:
      experiment: the config, or its file.
      settings: that change; sections are mappings.

    Raises:
      UserError: for an unknown setting, or a value of another type than it may have.
    """
    if isinstance(experiment, ConfigDict):
        complete = config.referenced(config.unshared(experiment))
    else:
        complete = trusted_config(Path(experiment))
    others = dict(settings)
    if "model" in others:
        options = others.pop("model")
        if not isinstance(options, Mapping):
            raise UserError(f"model is {options!r}; expected its options, as in model={{'latent_size': 2}}")
        complete.model = ConfigDict(described(changed_part(complete.model.to_dict(), options)))
    change_settings(complete, config.flat(others))
    return complete


def changed_part(old: Any, new: Any) -> Any:
    """Returns a part of a model with changed options; a part of another name, and what is no part, replaces the old value.

    Args:
      old: the value of an option.
      new: its new value, or the options of a part that change.
    """
    if not isinstance(new, Mapping) or not isinstance(old, Mapping):
        return new
    if new.get("name", old.get("name")) != old.get("name"):
        return new
    return {**old, **{option: changed_part(old.get(option), value) for option, value in new.items()}}


def change_settings(complete: ConfigDict, changes: Mapping[str, Any]) -> None:
    """Changes settings of a config that are not of its model.

    Args:
      complete: the config.
      changes: `section.name` -> value.

    Raises:
      UserError: for an unknown setting, or a value of another type than it may have.
    """
    for setting, value in changes.items():
        choose("setting", setting, [key for key in config.flat(complete, inner=True) if not key.startswith("model")])
        section, _, name = setting.rpartition(".")
        settings = complete[section] if section else complete
        try:
            settings[name] = value
        except TypeError:
            raise UserError(f"{setting} is {value!r}; expected {settings.get_type(name).__name__}") from None


def train(job: Job, fork: Path | None, again: str, users: Sequence[Hook] = ()) -> int:
    """Trains a run to its last step, from its newest checkpoint if it has one.

    Args:
      job: the prepared run.
      fork: a run whose newest checkpoint this one starts from if it has none of its own.
      again: the command that continues this run, printed when it is interrupted.
      users: the hooks of the user.

    Returns:
      0, also if a hook stopped the run; or 128 + the signal that stopped it, as a shell would, so that whoever restarts
      failed commands restarts it.

    Raises:
      UserError: if the run belongs to other settings or another process, a metric is not finite, or a hook fails.
    """
    workdir, total = job.workdir, job.data.steps
    if fork is not None and fork.resolve() == workdir.resolve():
        raise UserError(f"--fork {fork} is the run itself; expected another run. Choose another --workdir")
    refuse_too_large(job)
    trust(config.plain(job.settings))
    leads, alone = processes.leads(), processes.alone()
    with directory.locked(workdir) if leads else nullcontext(), stop_requests(alone) as received_signal:
        begun = directory.begun_config(workdir)
        if begun is None and leads:
            remove_unfinished_start(workdir)
        processes.meet("settings and run", repr((config.plain(job.settings), begun)))
        with checkpoint.opened(workdir / "checkpoints", job.settings.keep) as manager:
            start, state = first_state(job, manager, fork)
            if start > total:
                raise UserError(
                    f"{workdir} starts at step {start}; expected at most {total}, the number of steps asked for. Give "
                    "more steps"
                )
            if start == total and begun is not None:
                print(f"{workdir} is complete: all {total} steps are done")
                return 0
            if not job.quiet:
                describe(job)
            print_late_schedules(job)
            print_large_batch(job)
            if start:
                print(f"resuming after step {start}")
            logged = log.opened(workdir, start, total, job.metrics, job.quiet) if leads else nullcontext(log.SILENT)
            with logged as journal, selection.opened(workdir, job.settings.select) as offer:
                hooks = hooks_of_run(job, manager, journal, offer, users)
                end = loop(job, hooks, manager, journal, start, state, processes.stop_request(received_signal))
        if leads:
            curves.draw_curves(workdir)
    if end.step < total:
        by = f" by hook {end.stopper!r}" if end.stopper else ""
        print(f"stopped{by}: step {end.step} of {total} is saved; resume with\n  {again}")
        # Because JAX tells the other processes of a SIGTERM, it is the signal if this process got none.
        return 0 if end.stopper else 128 + (received_signal() or signal.SIGTERM)
    outputs = [f"{what} in {workdir / name}" for what, name in OUTPUTS.items() if (workdir / name).exists()]
    print("done: " + ", ".join(outputs))
    return 0


def remove_unfinished_start(workdir: Path) -> None:
    """Removes the checkpoints of a start that was killed before it became a run."""
    for folder in ("checkpoints", directory.BEST):
        shutil.rmtree(workdir / folder, ignore_errors=True)


def describe(job: Job) -> None:
    """Prints the settings, a line a group, and the facts that a reader checks before a long run."""
    groups = {**settings_by_section(job.settings), "state": [sizes_of(job)]}
    for section, entries in groups.items():
        line = f"{section}: {' '.join(entries)}"
        print(textwrap.fill(line, 120, subsequent_indent="    ", break_long_words=False))
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


def print_late_schedules(job: Job) -> None:
    """Prints which schedules of the model end after the run does, a line for each end: a run that was cut short has some."""
    examples = job.data.steps * job.data.at(0)["weight"].shape[-1] * processes.hosts()[1]
    late: dict[int, list[str]] = {}
    options = epochs_as_examples(config.plain(job.settings.model), training_rows(job.data.spec))
    for key, value in config.flat(options).items():
        name, _, option = key.rpartition(".")
        if option == "examples" and value > examples > 0:
            late.setdefault(value, []).append(name)
    for end, names in late.items():
        print(f"schedules: {', '.join(names)} end at {end:,} examples; this run sees {examples:,}")


def print_large_batch(job: Job) -> None:
    """Prints that a step reads rows several times, if the batch size is larger than the number of rows."""
    data, settings = job.data.spec, job.settings
    rows, size = data.sizes[settings.data.split], settings.batch_size
    if settings.data.order == "shuffle" and size > rows:
        print(f"batch_size is {size:,} and {data.name} has {rows:,} rows: each step reads a row more than once")


def settings_by_section(settings: ConfigDict) -> dict[str, list[str]]:
    """Returns the settings that are set as NAME=VALUE, by their section; those of no section are of `run`."""
    groups: dict[str, list[str]] = {}
    for key, value in config.flat(config.plain(settings)).items():
        if value not in (None, [], ""):
            section, _, name = key.rpartition(".")
            groups.setdefault(section or "run", []).append(f"{name}={value}")
    return groups


def sizes_of(job: Job) -> str:
    """Returns in words how many numbers the state holds, in all and by its parts."""
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in job.state._asdict().items()}
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size > 1)
    return f"{sum(sizes.values()):,} numbers: {parts}"
