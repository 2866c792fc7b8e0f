"""Checkpoints of (step, state): asynchronous and atomic by Orbax, verified by a checksum of every array."""

import errno
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import CheckpointManager

from gen_jax.devices import processes
from gen_jax.errors import UserError
from gen_jax.storage.silence import drop_failed_tasks, silenced

TRIES = 20  # to read a checkpoint of a run that deletes old ones
LOOKS = 2  # more, to find a checkpoint in a folder that seems empty
PAUSE = 0.05  # seconds between them
SMALL = 1 << 26  # bytes of a state that costs less to read on the host than to compile a function of it
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}  # bytes of a number -> its bits
Array = np.ndarray | jax.Array


class Deleted(Exception):
    """A checkpoint that its run has deleted since it was listed."""


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were saved."""


def inspect(leaves: list[Array]) -> tuple[list[Array], list[Array]]:
    """Returns for each array whether it is finite, and sum_i bits_i (2 i + 1) mod 2^32, which every flipped bit changes.

    It computes with NumPy if the arrays are NumPy's, and with JAX otherwise.
    """
    finite, sums = [], []
    for leaf in leaves:
        xp = np if isinstance(leaf, np.ndarray) else jnp
        numbers = leaf.reshape(-1)
        numbers = numbers.astype(xp.uint8) if numbers.dtype == bool else numbers
        bits = numbers.view(WORDS[numbers.dtype.itemsize]).astype(xp.uint32)
        odd = 2 * xp.arange(bits.size, dtype=xp.uint32) + 1
        finite.append(xp.all(xp.isfinite(leaf)))
        sums.append(xp.sum(bits * odd, dtype=xp.uint32))
    return finite, sums


inspect_on_devices = jax.jit(inspect)


def layout(state: Any) -> dict[str, list]:
    """Returns path -> [shape, dtype] of each array of a state, or of its shapes."""
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves}


def checksums(state: Any) -> tuple[dict[str, int], str | None]:
    """Returns path -> checksum of each array of a state, and the path of the first array that is not finite, or None."""
    leaves = jax.tree.leaves_with_path(state)
    arrays = [leaf for _, leaf in leaves]
    if processes.alone() and sum(leaf.nbytes for leaf in arrays) <= SMALL:
        finite, sums = inspect(jax.device_get(arrays))
    else:
        finite, sums = jax.device_get(inspect_on_devices(arrays))
    paths = [jax.tree_util.keystr(path) for path, _ in leaves]
    broken = next((path for path, good in zip(paths, finite) if not good), None)
    return dict(zip(paths, map(int, sums))), broken


@contextmanager
def opened(folder: Path, keep: int | None = None) -> Iterator[CheckpointManager]:
    """Yields the checkpoints in a folder.

    Args:
      folder: the checkpoints of a run.
      keep: number of newest checkpoints that stay when another is written; None only reads.
    """
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, read_only=keep is None, create=keep is not None, cleanup_tmp_directories=keep is not None
    )
    with silenced():
        manager = CheckpointManager(folder.resolve(), options=options)
        try:
            yield manager
            finish(manager)
        except BaseException:
            if processes.alone():  # others may never come to where a manager closes
                with suppress(Exception):  # of a save, after what has ended the run
                    manager.close()
            drop_failed_tasks()
            raise
        manager.close()


def save(manager: CheckpointManager, step: int, state: Any) -> None:
    """Saves a state in the background, after a look at every array.

    Args:
      manager: of the checkpoints.
      step: number of steps that are done.
      state: arrays, which are copied before this returns.

    Raises:
      UserError: if an array is not finite, and nothing is written then; if this save or the one before fails.
    """
    sums, broken = checksums(state)
    if broken:
        finish(manager)
        raise UserError(f"the state is not finite at step {step}: {broken}; {left(manager)}")
    facts = {name: [*shape_and_type, sums[name]] for name, shape_and_type in layout(state).items()}
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts))
    attempt(manager, partial(manager.save, step, args=args))


def finish(manager: CheckpointManager) -> None:
    """Waits until what is being saved is on the disk.

    Raises:
      UserError: if it cannot be saved.
    """
    attempt(manager, manager.wait_until_finished)


def left(manager: CheckpointManager) -> str:
    """Returns in words what a run that ends has saved."""
    good = manager.latest_step()
    return "it had saved no checkpoint yet" if good is None else f"its last good checkpoint is of step {good}"


def attempt(manager: CheckpointManager, function: Callable[[], Any]) -> None:
    """Calls a function that saves.

    Raises:
      UserError: if it fails, with the reason as the system says it, and what the run has saved.
    """
    try:
        function()
        return
    except Exception as error:
        if not processes.alone() and processes.peer_lost(error):
            raise
        reason = reason_of(error)
    # Raised outside of the handler, because the error that it would refer to keeps the failed tasks of Orbax alive.
    raise UserError(
        f"cannot save a checkpoint in {manager.directory}: {reason}; the run stops, {left(manager)}: "
        f"mend that, and the same command goes on from there"
    )


def reason_of(error: Exception) -> str:
    """Returns what the system says of an error of Orbax, or else the beginning of its message."""
    causes = [os.strerror(number) for number in errno.errorcode if os.strerror(number) in str(error)]
    return max(causes, key=len, default=" ".join(str(error).split())[:300])


def restore(manager: CheckpointManager, step: int, abstract: Any) -> Any:
    """Returns the state that was saved at a step.

    Args:
      manager: of the checkpoints.
      step: of the checkpoint.
      abstract: shapes and shardings of the state.

    Raises:
      UserError: if the model's state has other arrays than the saved state, naming the first.
      Damaged: if the bytes cannot be read or are not those that were saved.
    """
    facts = read_item(manager, step, "facts", ocp.args.JsonRestore())
    refuse_other_layout(saved_layout(facts), layout(abstract), f"checkpoint {step} in {manager.directory}")
    state = read_item(manager, step, "state", ocp.args.StandardRestore(abstract))
    sums, _ = checksums(state)
    for name, (_, _, expected) in facts.items():
        if sums[name] != expected:
            raise Damaged(f"the checksum of {name} is {sums[name]}, expected {expected}")
    return state


def read_item(manager: CheckpointManager, step: int, item: str, args: Any) -> Any:
    """Returns one item of a checkpoint, `facts` or `state`.

    Raises:
      Damaged: with the reason, if it cannot be read. It does not keep the failed tasks of Orbax alive.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
    except Exception as error:  # noqa: BLE001 (a torn file makes Orbax raise anything)
        reason = str(error)
    raise Damaged(reason)


def saved_layout(facts: Any) -> dict[str, list]:
    """Returns the layout of a saved state.

    Raises:
      Damaged: if the facts of the checkpoint hold none.
    """
    try:
        return {name: [shape, dtype] for name, (shape, dtype, _) in facts.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def refuse_other_layout(saved: dict[str, list], wanted: dict[str, list], what: str) -> None:
    """Raises UserError if a saved state has other arrays than the state of the model, naming the first array."""
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise UserError(
                f"{what} does not fit this model: {name} was {saved.get(name, 'absent')} and is now "
                f"{wanted.get(name, 'absent')}; it is of other code or settings"
            )


def newest_in(folder: Path, abstract: Any, step: int | None = None) -> tuple[int, Any] | None:
    """Returns the newest whole checkpoint of a run that is only read, see `newest`.

    The run may be training: if it deletes a checkpoint meanwhile, its newer checkpoints are read.

    Args:
      folder: the checkpoints of the run.
      abstract: shapes and shardings of the state.
      step: of the checkpoint; the newest if None.

    Returns:
      (step, state); None if the run was stopped before its first save.

    Raises:
      UserError: as `newest`, and if checkpoints are deleted faster than they are read.
    """
    empty = 0
    with silenced():  # also in the pauses, because threads of TensorStore may come late
        for _ in range(TRIES):
            if not folder.exists():
                return None
            with suppress(Deleted, FileNotFoundError, NotADirectoryError), opened(folder) as manager:
                checkpoint = newest(manager, abstract, step)
                empty += checkpoint is None
                if checkpoint or empty > LOOKS:
                    return checkpoint
            time.sleep(PAUSE)
    raise UserError(
        f"{folder}: its checkpoints are deleted before they are read; a larger --config.keep keeps more of them"
    )


def is_deleted(folder: Path, step: int, last: int) -> bool:
    """Returns whether the run of a folder has deleted a checkpoint, or begins to.

    It does so once it has a newer checkpoint than the last one that was listed.

    Args:
      folder: the checkpoints of the run.
      step: of the checkpoint.
      last: step of the last checkpoint that was listed.
    """
    names = {path.name for path in folder.iterdir()}
    return str(step) not in names or any(name.isdecimal() and int(name) > last for name in names)


def newest(
    manager: CheckpointManager, abstract: Any, step: int | None = None, repair: bool = False
) -> tuple[int, Any] | None:
    """Returns the newest whole checkpoint, or the checkpoint of a step. A damaged one is passed over with a warning.

    Args:
      manager: of the checkpoints.
      abstract: shapes and shardings of the state.
      step: of the checkpoint; the newest if None.
      repair: whether damaged checkpoints are moved out of the way, to `damaged-STEP`.

    Returns:
      (step, state); None if there never was a checkpoint.

    Raises:
      UserError: if there is none at `step`, or none that is whole.
      Deleted: if a run that is only read has deleted the checkpoint.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    last = max(steps, default=0)
    if step is not None:
        if step not in steps:
            raise UserError(f"no checkpoint of step {step} in {manager.directory}; there are {steps[::-1]}")
        steps = [step]
    damaged: list[int] = []
    for candidate in steps:
        try:
            state = restore(manager, candidate, abstract)
        except Damaged as error:
            reason = " ".join(str(error).split())[:200]
        else:
            if repair:
                move_away(manager, damaged)
            return candidate, state
        drop_failed_tasks()
        if not repair and is_deleted(manager.directory, candidate, last):
            raise Deleted
        print(f"warning: checkpoint {candidate} in {manager.directory} is damaged, passed over ({reason})")
        damaged.append(candidate)
    if steps:
        raise UserError(
            f"no whole checkpoint in {manager.directory}: all of {steps[::-1]} are damaged; nothing was changed"
        )
    return None


def move_away(manager: CheckpointManager, damaged: list[int]) -> None:
    """Renames damaged checkpoints to `damaged-STEP`; the first process does it, and all meet."""
    if not damaged:
        return
    if processes.leads():
        for step in damaged:
            shutil.rmtree(manager.directory / f"damaged-{step}", ignore_errors=True)
            (manager.directory / str(step)).rename(manager.directory / f"damaged-{step}")
    processes.meet("checkpoints", str(damaged))
    manager.reload()
