"""The state from which a run starts: its newest checkpoint, the checkpoint of another run, or the initial state."""

from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import CheckpointManager

from gen_jax import config, files
from gen_jax.data.feed.order import ORDERS
from gen_jax.data.spec import Spec
from gen_jax.devices import placement, processes, replicas
from gen_jax.errors import UserError
from gen_jax.model import State
from gen_jax.models import state_shapes
from gen_jax.storage import checkpoint, directory
from gen_jax.training.prepare import Job


def first_state(job: Job, manager: CheckpointManager, fork: Path | None) -> tuple[int, State]:
    """Returns the step and the state from which a run continues.

    It is the newest intact checkpoint of the run. For a new run it is the newest checkpoint of `fork`, or the initial
    state. A new run is written to disk only after its state is known to fit. A fork saves its first state at once.

    Args:
      job: the prepared run.
      manager: manager of the checkpoints of the run.
      fork: directory of another run, or None.

    Raises:
      UserError: if the settings or the data have changed, or if no checkpoint is intact or fits.
    """
    begun = directory.begun_config(job.workdir)
    if begun is not None:
        return resumed_state(job, manager, begun, fork)
    if fork is not None:
        return forked_state(job, manager, fork)
    if processes.leads():
        directory.claim(job.workdir, job.data.spec)
        directory.settle(job.workdir, config.plain(job.settings), None)
    return 0, initial_state(job)


def resumed_state(job: Job, manager: CheckpointManager, begun: dict, fork: Path | None) -> tuple[int, State]:
    """Returns the newest intact checkpoint of a begun run, and writes the settings that may have changed.

    Args:
      job: the prepared run.
      manager: manager of the checkpoints of the run.
      begun: settings with which the run was begun.
      fork: directory of another run, or None.
    """
    settings = config.plain(job.settings)
    directory.refuse_other(job.workdir, begun, settings, job.data.spec, fork)
    newest = whole_checkpoint(checkpoint.newest(manager, job.state, repair=True), job.workdir)
    if processes.leads():
        files.write_json(job.workdir / "config.json", settings)
    return newest


def forked_state(job: Job, manager: CheckpointManager, fork: Path) -> tuple[int, State]:
    """Returns the newest checkpoint of another run, and saves it as the first checkpoint of this run.

    Args:
      job: the prepared run.
      manager: manager of the checkpoints of the run.
      fork: directory of the other run.
    """
    step, state = state_of_fork(job, fork)
    if processes.leads():
        directory.claim(job.workdir, job.data.spec)
    checkpoint.save(manager, step, state)
    checkpoint.finish(manager)
    if processes.leads():
        directory.settle(job.workdir, config.plain(job.settings), {"from": str(fork.resolve()), "step": step})
    print(f"forked from step {step} of {fork}")
    return step, state


def state_of_fork(job: Job, fork: Path) -> tuple[int, State]:
    """Returns the newest checkpoint of another run as (step, state).

    If the number of lanes changes, the parts of the state that belong to lanes begin anew.

    Args:
      job: the prepared run.
      fork: directory of the other run.

    Raises:
      UserError: if there is no checkpoint, or it does not fit this model or its tokens.
    """
    old, rows = directory.begun_config(fork), job.settings.batch_size
    if old is None:
        raise UserError(f"--fork {fork} holds no checkpoint; expected a run with a checkpoint to start from")
    refuse_other_tokens(job.data.spec, directory.read_spec(fork), fork)
    lanes = ORDERS[job.settings.data.order].lanes and ORDERS[old["data"]["order"]].lanes
    if not lanes or old["batch_size"] == rows:
        return whole_checkpoint(checkpoint.newest_in(fork / "checkpoints", job.state), fork)
    shapes = state_shapes(job.model, job.data.spec, old["batch_size"], lanes=True)
    abstract = placement.abstract_state(job.mesh, shapes, job.replicas, job.settings.sharding is not None)
    step, state = whole_checkpoint(checkpoint.newest_in(fork / "checkpoints", abstract), fork)
    print(f"batch_size was {old['batch_size']} in {fork} and is {rows}: every lane begins anew, with nothing carried")
    return step, jax.tree.map(lambda a, b: a if a.shape == b.shape else b, state, initial_state(job))


def refuse_other_tokens(spec: Spec, old: Spec, fork: Path) -> None:
    """Refuses weights that were trained on other tokens under the same numbers.

    Args:
      spec: facts of the data.
      old: facts of the data of the other run.
      fork: directory of the other run, for the error.

    Raises:
      UserError: for the first token that is another.
    """
    for name in spec.fields.keys() & old.fields.keys():
        new_tokens, old_tokens = spec.fields[name].vocabulary, old.fields[name].vocabulary
        for number, (new, before) in enumerate(zip(new_tokens, old_tokens)):
            if new != before:
                raise UserError(
                    f"token {number} of {name} is {new!r} and was {before!r} in --fork {fork}; expected the same vocabulary"
                )


def whole_checkpoint(newest: tuple[int, State] | None, workdir: Path) -> tuple[int, State]:
    """Returns the newest checkpoint of a run that has saved a state: the number of its step, and the state.

    Args:
      newest: the newest checkpoint; None if no checkpoint can be read.
      workdir: directory of the run, for the error.

    Raises:
      UserError: if no checkpoint can be read.
    """
    if newest is None:
        raise UserError(f"{workdir / 'checkpoints'} holds no checkpoint that can be read; expected one. Put one back")
    return newest


def initial_state(job: Job) -> State:
    """Returns the state before the first step, for all replicas.

    Args:
      job: the prepared run.
    """
    fed, places = placement.place_rows(job.mesh, job.data.at(0)), replicas.places(job.state)

    def init(key: jax.Array, arrays: dict, fed: dict) -> State:
        return job.model.init(key, job.data.batch(arrays, fed))

    init_replicas = init if job.replicas == 1 else jax.vmap(init, in_axes=(0, None, 0))
    return jax.jit(init_replicas, out_shardings=places)(job.init_key, place_arrays(job), fed)


def place_arrays(job: Job) -> dict[str, jax.Array]:
    """Returns the resident rows on the devices; an empty dictionary if rows are streamed.

    Args:
      job: the prepared run.
    """
    return placement.place_whole(job.mesh, {name: np.asarray(value) for name, value in job.data.arrays.items()})
