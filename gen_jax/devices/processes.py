"""The processes of a run: how they find each other, who prints, and how they end together."""

import atexit
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from gen_jax.errors import UserError

HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead, and all others end
PEER_LOST = ("gloo", "nccl", "connection", "heartbeat", "coordination")  # in what XLA says when it misses a process


class Lost(UserError):
    """Another process of the run has ended before this one."""

    code = 6


def number_in(variable: str) -> int | None:
    """Returns the number in a variable of the environment; None if the variable is not set.

    Raises:
      ValueError: if its text is no whole number.
    """
    return int(os.environ[variable]) if variable in os.environ else None


@contextmanager
def joined() -> Iterator[None]:
    """Makes this one of the processes of a run for as long as the body runs, where `GEN_JAX_DISTRIBUTED` is set.

    Number and count of the process are `JAX_PROCESS_ID` and `JAX_NUM_PROCESSES`, the address of process 0 is
    `JAX_COORDINATOR_ADDRESS`; without them JAX asks Slurm, Open MPI or the TPU pod. Only process 0 prints. A process that
    fails ends at once, and does not wait for the others, which wait for it. Where the variable says `supervised`, whoever
    started the processes says which has failed.

    Raises:
      UserError: where the environment does not say which processes there are.
      Lost: where another process has ended.
    """
    if not os.environ.get("GEN_JAX_DISTRIBUTED"):
        yield
        return
    try:
        count, number = number_in("JAX_NUM_PROCESSES"), number_in("JAX_PROCESS_ID")
        jax.distributed.initialize(
            num_processes=count,
            process_id=number,
            # Nothing is left to be asked of a cluster if both are set.
            cluster_detection_method=None if count is None or number is None else "deactivate",
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"GEN_JAX_DISTRIBUTED is set, and the processes do not find each other: {error}") from None
    if not leads():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        yield
    except BaseException as error:
        lost = peer_lost(error)
        code = Lost.code if lost else getattr(error, "code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        atexit.register(leave, code)
        if lost and os.environ["GEN_JAX_DISTRIBUTED"] == "supervised":
            sys.exit(code)
        if lost:
            raise Lost("another process of this run has ended: start all again, to go on from the newest checkpoint")
        raise


def peer_lost(error: BaseException) -> bool:
    """Whether this is what XLA raises when another process is gone."""
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in PEER_LOST)


def leave(code: int) -> None:
    """Ends this process without the meeting of all at which `jax.distributed` ends a run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leads() -> bool:
    """Whether this process writes the files of the run; one of them does."""
    return jax.process_index() == 0


def alone() -> bool:
    """Whether there is only this process."""
    return jax.process_count() == 1


def first(value: bool) -> bool:
    """What process 0 says."""
    return value if alone() else bool(multihost_utils.broadcast_one_to_all(np.bool_(value)))


def meet(what: str, facts: str = "") -> None:
    """Waits until all processes are here.

    Raises:
      UserError: where they do not come with the same facts.
    """
    if alone():
        return
    digest = np.frombuffer(hashlib.blake2b(facts.encode(), digest_size=8).digest(), np.uint32)
    if len(np.unique(multihost_utils.process_allgather(digest), axis=0)) > 1:
        raise UserError(f"the processes do not see the same {what}: give all one command and a --workdir they share")


def stop_request(asked: Callable[[], int]) -> Callable[[int], bool]:
    """A function of the step, to be called after each: whether all processes stop after it.

    JAX tells all processes of a SIGTERM that one of them gets, and names them one step.
    """
    return (lambda step: asked() > 0) if alone() else multihost_utils.reached_preemption_sync_point


def hosts() -> tuple[int, int]:
    """Number of this host among all, and how many there are."""
    return jax.process_index(), jax.process_count()
