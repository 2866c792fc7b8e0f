"""Checkpoints of (step, state): asynchronous and atomic by Orbax, verified by a checksum of every array."""

import errno
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import CheckpointManager

from gen_jax.devices import processes
from gen_jax.errors import UserError

logging.getLogger("absl").disabled = True  # Orbax narrates every save, with all tracebacks of one that fails

TRIES, LOOKS = (
    20,
    2,
)  # to read a checkpoint of a run that deletes old ones, and to find one in a folder that seems empty
PAUSE = 0.05  # seconds between them
WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def _bits(leaf: jax.Array) -> jax.Array:
    leaf = leaf.astype(jnp.uint8) if leaf.dtype == bool else leaf
    return jax.lax.bitcast_convert_type(leaf, WORDS[leaf.dtype.itemsize]).astype(jnp.uint32).reshape(-1)


@jax.jit
def _inspect(leaves: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
    """Of each array: whether it is finite, and sum_i bits_i (2 i + 1) mod 2^32, which every flipped bit changes."""
    odd = [2 * jnp.arange(leaf.size, dtype=jnp.uint32) + 1 for leaf in leaves]
    sums = [jnp.sum(_bits(leaf) * weights, dtype=jnp.uint32) for leaf, weights in zip(leaves, odd)]
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
    return finite, sums


def layout(state: Any) -> dict[str, list]:
    """Path of each array of a state (or of its shapes) -> [shape, dtype]."""
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves}


def checksums(state: Any) -> tuple[dict[str, int], str | None]:
    """Path of each array -> its checksum, and the path of the first array that is not finite, or None."""
    leaves = jax.tree.leaves_with_path(state)
    finite, sums = jax.device_get(_inspect([leaf for _, leaf in leaves]))
    paths = [jax.tree_util.keystr(path) for path, _ in leaves]
    broken = next((path for path, good in zip(paths, finite) if not good), None)
    return dict(zip(paths, map(int, sums))), broken


@cache
def _hush() -> None:
    """Silences the tracebacks that tasks of Orbax and threads of TensorStore print after a failure, which is said in one line."""
    logging.getLogger("asyncio").disabled = True
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        of_thread, task = found.object is None, getattr(found.object, "cr_code", None)
        if not of_thread and (task is None or "orbax" not in task.co_filename):
            before(found)

    sys.unraisablehook = hook


class Deleted(Exception):
    """A checkpoint that its run has deleted since it was listed."""


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were saved."""


@contextmanager
def opened(folder: Path, keep: int | None = None) -> Iterator[CheckpointManager]:
    """The checkpoints of a run; with `keep` they can be written, and only the newest that many stay."""
    _hush()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, read_only=keep is None, create=keep is not None, cleanup_tmp_directories=keep is not None
    )
    manager = CheckpointManager(folder.resolve(), options=options)
    try:
        yield manager
        finish(manager)
    except BaseException:
        if processes.alone():  # others may never come to where a manager closes
            with suppress(Exception):  # of a save, after what has ended the run
                manager.close()
        raise
    manager.close()


def save(manager: CheckpointManager, step: int, state: Any) -> None:
    """Saves in the background, after a look at every array.

    Raises:
      UserError: where an array is not finite, and nothing is written then; where this save or the one before fails.
    """
    sums, broken = checksums(state)
    if broken:
        finish(manager)
        raise UserError(f"the state is not finite at step {step}: {broken}; {left(manager)}")
    facts = {name: [*of, sums[name]] for name, of in layout(state).items()}
    with _said(manager):
        manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts)))


def finish(manager: CheckpointManager) -> None:
    """Waits until what is being saved is on the disk.

    Raises:
      UserError: where it cannot be saved.
    """
    with _said(manager):
        manager.wait_until_finished()


def left(manager: CheckpointManager) -> str:
    """What a run that ends has saved, in words."""
    good = manager.latest_step()
    return "it had saved no checkpoint yet" if good is None else f"its last good checkpoint is of step {good}"


@contextmanager
def _said(manager: CheckpointManager) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not processes.alone() and processes.peer_lost(error):
            raise
        causes = [os.strerror(number) for number in errno.errorcode if os.strerror(number) in str(error)]
        reason = max(causes, key=len, default=" ".join(str(error).split())[:300])
        raise UserError(
            f"cannot save a checkpoint in {manager.directory}: {reason}; the run stops, {left(manager)}: "
            f"mend that, and the same command goes on from there"
        ) from None


def restore(manager: CheckpointManager, step: int, abstract: Any) -> Any:
    """The state saved at `step`.

    Raises:
      UserError: where the model's state has other arrays than the saved one, naming the first.
      Damaged: where the bytes cannot be read or are not those that were saved.
    """
    try:
        facts = manager.restore(step, args=ocp.args.Composite(facts=ocp.args.JsonRestore())).facts
        saved = {name: [shape, dtype] for name, (shape, dtype, _) in facts.items()}
    except Exception as error:  # noqa: BLE001 (a torn file makes Orbax raise anything)
        raise Damaged(error) from None
    wanted = layout(abstract)
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise UserError(
                f"checkpoint {step} in {manager.directory} does not fit this model: {name} was "
                f"{saved.get(name, 'absent')} and is now {wanted.get(name, 'absent')}; it is of other code or settings"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))).state
    except Exception as error:  # noqa: BLE001
        raise Damaged(error) from None
    sums, _ = checksums(state)
    for name, (_, _, expected) in facts.items():
        if sums[name] != expected:
            raise Damaged(f"the checksum of {name} is {sums[name]}, expected {expected}")
    return state


def newest_in(folder: Path, abstract: Any, step: int | None = None) -> tuple[int, Any] | None:
    """As `newest`, of a run that is only read; None where it was stopped before its first save.

    The run may be training: a checkpoint that it deletes meanwhile is looked for no more, and the newer ones are.

    Raises:
      UserError: as `newest`, and where checkpoints are deleted faster than they are read.
    """
    empty = 0
    for _ in range(TRIES):
        if not folder.exists():
            return None
        with suppress(Deleted, FileNotFoundError), opened(folder) as manager:
            found = newest(manager, abstract, step)
            empty += found is None
            if found or empty > LOOKS:
                return found
        time.sleep(PAUSE)
    raise UserError(
        f"{folder}: its checkpoints are deleted before they are read; a larger --config.keep keeps more of them"
    )


def _deleted(folder: Path, step: int, last: int) -> bool:
    """Whether its run has deleted a checkpoint, or begins to: it does so when it has one that is newer than the `last` listed."""
    names = {path.name for path in folder.iterdir()}
    return str(step) not in names or any(name.isdecimal() and int(name) > last for name in names)


def newest(
    manager: CheckpointManager, abstract: Any, step: int | None = None, repair: bool = False
) -> tuple[int, Any] | None:
    """The newest whole checkpoint as (step, state), or the one at `step`; None where there never was one.

    A damaged one is passed over with a warning; with `repair` it is then moved out of the way, to `damaged-STEP`.

    Raises:
      UserError: where there is none at `step`, or none that is whole.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    last = max(steps, default=0)
    if step is not None:
        if step not in steps:
            raise UserError(f"no checkpoint of step {step} in {manager.directory}; there are {steps[::-1]}")
        steps = [step]
    damaged = []
    for each in steps:
        try:
            state = restore(manager, each, abstract)
        except Damaged as error:
            if not repair and _deleted(manager.directory, each, last):
                raise Deleted from None
            reason = " ".join(str(error).split())[:200]
            print(f"warning: checkpoint {each} in {manager.directory} is damaged, passed over ({reason})")
            damaged.append(each)
            continue
        for other in damaged if repair and processes.leads() else ():
            shutil.rmtree(manager.directory / f"damaged-{other}", ignore_errors=True)
            (manager.directory / str(other)).rename(manager.directory / f"damaged-{other}")
        if damaged and repair:
            processes.meet("checkpoints", str(damaged))
            manager.reload()
        return each, state
    if steps:
        raise UserError(
            f"no whole checkpoint in {manager.directory}: all of {steps[::-1]} are damaged; nothing was changed"
        )
    return None
