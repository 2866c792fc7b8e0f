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

TRIES = 20  # number of attempts to read a checkpoint of a run that deletes old checkpoints
LOOKS = 2  # number of further looks for a checkpoint in a folder that seems empty
PAUSE = 0.05  # seconds between two attempts
SMALL = 1 << 26  # bytes of a state up to which reading on the host costs less than compiling a function of the state
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}  # bytes of a number -> type of its bits
Array = np.ndarray | jax.Array


class Deleted(Exception):
    """Reports a checkpoint that its run has deleted since it was listed."""


class Damaged(Exception):
    """Reports a checkpoint whose bytes differ from the bytes that were saved."""


def inspect(leaves: list[Array]) -> tuple[list[Array], list[Array]]:
    """Returns whether each array is finite, and its checksum sum_i bits_i (2 i + 1) mod 2^32.

    Every flipped bit changes the checksum. NumPy arrays are inspected with NumPy, other arrays with JAX.

    Args:
      leaves: the arrays.
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
    """Returns the shape and the type of each array of a state: path -> [shape, dtype].

    Args:
      state: arrays, or their shapes.
    """
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves}


def checksums(state: Any) -> tuple[dict[str, int], str | None]:
    """Returns the checksum of each array of a state, and the path of the first array that is not finite.

    Args:
      state: the state.

    Returns:
      The checksums by path, and the path or None.
    """
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
    """Yields the manager of the checkpoints in a folder.

    Args:
      folder: folder of the checkpoints of a run.
      keep: number of newest checkpoints that stay when another checkpoint is written. None, the default, only reads.
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
            if processes.alone():  # because other processes may never reach the barrier of closing
                with suppress(Exception):  # of a save, because another error has ended the run already
                    manager.close()
            drop_failed_tasks()
            raise
        manager.close()


def save(manager: CheckpointManager, step: int, state: Any) -> None:
    """Saves a state in the background, after every array is checked.

    Args:
      manager: manager of the checkpoints.
      step: number of steps that are done.
      state: the state, which is copied before this function returns.

    Raises:
      UserError: if an array is not finite (nothing is written then), or if this save or the previous save fails.
    """
    sums, broken = checksums(state)
    if broken:
        finish(manager)
        raise UserError(
            f"the state is not finite at step {step} ({broken}); expected finite numbers. The run stops: "
            f"{describe_latest(manager)}"
        )
    facts = {name: [*shape_and_type, sums[name]] for name, shape_and_type in layout(state).items()}
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts))
    attempt(manager, partial(manager.save, step, args=args))


def finish(manager: CheckpointManager) -> None:
    """Waits until the running save is on disk.

    Args:
      manager: manager of the checkpoints.

    Raises:
      UserError: if the save fails.
    """
    attempt(manager, manager.wait_until_finished)


def describe_latest(manager: CheckpointManager) -> str:
    """Returns in words which checkpoint a run that ends has saved.

    Args:
      manager: manager of the checkpoints.
    """
    good = manager.latest_step()
    return "it had saved no checkpoint yet" if good is None else f"its last good checkpoint is of step {good}"


def attempt(manager: CheckpointManager, function: Callable[[], Any]) -> None:
    """Calls a function that saves.

    Args:
      manager: manager of the checkpoints.
      function: the function.

    Raises:
      UserError: if it fails, with the reason of the system and the last saved checkpoint.
    """
    try:
        function()
        return
    except Exception as error:
        if not processes.alone() and processes.peer_lost(error):
            raise
        reason = reason_of(error)
    # Raised outside of the handler, because a reference to the first error would keep the failed tasks of Orbax alive.
    raise UserError(
        f"cannot save a checkpoint in {manager.directory} ({reason}); expected a disk that can be written. The run "
        f"stops: {describe_latest(manager)}. Mend that, and the same command goes on from there"
    )


def reason_of(error: Exception) -> str:
    """Returns the message of the system in an error of Orbax, or else the beginning of the error's message.

    Args:
      error: the error.
    """
    causes = [os.strerror(number) for number in errno.errorcode if os.strerror(number) in str(error)]
    return max(causes, key=len, default=" ".join(str(error).split())[:300])


def restore(manager: CheckpointManager, step: int, abstract: Any) -> Any:
    """Returns the state that was saved at a step.

    Args:
      manager: manager of the checkpoints.
      step: step of the checkpoint.
      abstract: shapes and shardings of the state.

    Raises:
      UserError: if the state of the model has other arrays than the saved state, with the first difference.
      Damaged: if the bytes cannot be read, or differ from the bytes that were saved.
    """
    facts = read_item(manager, step, "facts", ocp.args.JsonRestore())
    refuse_other_layout(saved_layout(facts), layout(abstract), f"checkpoint {step} in {manager.directory}")
    state = read_item(manager, step, "state", ocp.args.StandardRestore(abstract))
    sums, _ = checksums(state)
    for name, (_, _, expected) in facts.items():
        if sums[name] != expected:
            raise Damaged(f"the checksum of {name} is {sums[name]}; expected {expected}")
    return state


def read_item(manager: CheckpointManager, step: int, item: str, args: Any) -> Any:
    """Returns one item of a checkpoint, `facts` or `state`.

    Args:
      manager: manager of the checkpoints.
      step: step of the checkpoint.
      item: `facts` or `state`.
      args: arguments of Orbax for this item.

    Raises:
      Damaged: with the reason, if the item cannot be read. The error does not keep the failed tasks of Orbax alive.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
    except Exception as error:  # noqa: BLE001 (a damaged file makes Orbax raise any error)
        reason = str(error)
    raise Damaged(reason)


def saved_layout(facts: Any) -> dict[str, list]:
    """Returns the layout of a saved state.

    Args:
      facts: facts of the checkpoint.

    Raises:
      Damaged: if the facts do not hold a layout.
    """
    try:
        return {name: [shape, dtype] for name, (shape, dtype, _) in facts.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def refuse_other_layout(saved: dict[str, list], model_layout: dict[str, list], checkpoint_name: str) -> None:
    """Refuses a saved state that has other arrays than the state of the model.

    Args:
      saved: layout of the saved state.
      model_layout: layout of the state of the model.
      checkpoint_name: name of the checkpoint, for the error.

    Raises:
      UserError: for the first array that differs.
    """
    for name in sorted(saved.keys() | model_layout.keys()):
        if saved.get(name) != model_layout.get(name):
            raise UserError(
                f"{checkpoint_name} does not fit this model, because {name} was {saved.get(name, 'absent')}; expected "
                f"{model_layout.get(name, 'absent')}. Other code or settings wrote it"
            )


def newest_in(folder: Path, abstract: Any, step: int | None = None) -> tuple[int, Any] | None:
    """Returns the newest intact checkpoint of a run that is only read, see `newest`.

    The run may be training. If it deletes a checkpoint during the read, its newer checkpoints are read.

    Args:
      folder: the checkpoints of the run.
      abstract: shapes and shardings of the state.
      step: step of the checkpoint. None, the default, is the newest step.

    Returns:
      (step, state); None if the run was stopped before its first save.

    Raises:
      UserError: in the cases of `newest`, and if checkpoints are deleted faster than they are read.
    """
    empty = 0
    with silenced():  # also during the pauses, because threads of TensorStore may print late
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
        f"checkpoints of {folder} are deleted before they are read; expected a checkpoint that stays. Set a larger "
        "--config.keep"
    )


def is_deleted(folder: Path, step: int, last: int) -> bool:
    """Returns whether a run has deleted a checkpoint, or begins to delete it.

    A run deletes checkpoints after it has written a newer checkpoint than the last one that was listed.

    Args:
      folder: folder of the checkpoints of the run.
      step: step of the checkpoint.
      last: step of the last checkpoint that was listed.
    """
    names = {path.name for path in folder.iterdir()}
    return str(step) not in names or any(name.isdecimal() and int(name) > last for name in names)


def newest(
    manager: CheckpointManager, abstract: Any, step: int | None = None, repair: bool = False
) -> tuple[int, Any] | None:
    """Returns the newest intact checkpoint, or the checkpoint of a step.

    A damaged checkpoint is skipped with a warning.

    Args:
      manager: manager of the checkpoints.
      abstract: shapes and shardings of the state.
      step: step of the checkpoint. None, the default, is the newest step.
      repair: whether damaged checkpoints are renamed to `damaged-STEP`; by default False.

    Returns:
      (step, state), or None if the run has never saved a checkpoint.

    Raises:
      UserError: if there is no checkpoint at `step`, or no intact checkpoint.
      Deleted: if a run that is only read has deleted the checkpoint.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    last = max(steps, default=0)
    if step is not None:
        if step not in steps:
            raise UserError(f"no checkpoint of step {step} in {manager.directory}; expected one of {steps[::-1]}")
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
            f"no whole checkpoint in {manager.directory}, because all of {steps[::-1]} are damaged; expected one. "
            "Nothing was changed"
        )
    return None


def move_away(manager: CheckpointManager, damaged: list[int]) -> None:
    """Renames damaged checkpoints to `damaged-STEP`. The first process renames, and all processes wait for it.

    Args:
      manager: manager of the checkpoints.
      damaged: steps of the damaged checkpoints.
    """
    if not damaged:
        return
    if processes.leads():
        for step in damaged:
            shutil.rmtree(manager.directory / f"damaged-{step}", ignore_errors=True)
            (manager.directory / str(step)).rename(manager.directory / f"damaged-{step}")
    processes.meet("checkpoints", str(damaged))
    manager.reload()
