"""The processes of a run: how they connect, which process prints, and how they end together."""

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

HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead, and all other processes end
PEER_LOST = ("gloo", "nccl", "connection", "heartbeat", "coordination")  # words in errors of XLA for a lost process


class Lost(UserError):
    """Reports that another process of the run has ended before this process."""

    code = 6


def number_in(variable: str) -> int | None:
    """Returns the number in an environment variable; None if the variable is not set.

    Args:
      variable: name of the variable.

    Raises:
      ValueError: if its text is not a whole number.
    """
    return int(os.environ[variable]) if variable in os.environ else None


@contextmanager
def joined() -> Iterator[None]:
    """Joins this process to the processes of a run while the body runs, if `GEN_JAX_DISTRIBUTED` is set.

    `JAX_PROCESS_ID` is the number of this process, `JAX_NUM_PROCESSES` is the number of processes, and
    `JAX_COORDINATOR_ADDRESS` is the address of process 0. Without them JAX asks Slurm, Open MPI or the TPU pod. Only
    process 0 prints.

    A process that fails ends at once. It does not wait for the other processes, because they wait for it. If the
    variable is `supervised`, the program that started the processes reports which process has failed.

    Raises:
      UserError: if the environment does not define the processes.
      Lost: if another process has ended.
    """
    if not os.environ.get("GEN_JAX_DISTRIBUTED"):
        yield
        return
    try:
        count, number = number_in("JAX_NUM_PROCESSES"), number_in("JAX_PROCESS_ID")
        jax.distributed.initialize(
            num_processes=count,
            process_id=number,
            # Because both numbers are set, the cluster need not be asked.
            cluster_detection_method=None if count is None or number is None else "deactivate",
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"GEN_JAX_DISTRIBUTED is set, and the processes do not find each other ({error}); expected one "
            "coordinator that all reach"
        ) from None
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
            raise Lost(
                "another process of this run has ended; expected all processes. Start all again, to resume from the "
                "newest checkpoint"
            )
        raise


def peer_lost(error: BaseException) -> bool:
    """Returns whether an error is an error of XLA for a lost process.

    Args:
      error: the error.
    """
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in PEER_LOST)


def leave(code: int) -> None:
    """Ends this process without the barrier of all processes with which `jax.distributed` ends a run.

    Args:
      code: exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leads() -> bool:
    """Returns whether this process writes the files of the run. Only process 0 does."""
    return jax.process_index() == 0


def alone() -> bool:
    """Returns whether the run has only this process."""
    return jax.process_count() == 1


def first(value: bool) -> bool:
    """Returns the value of process 0 in all processes.

    Args:
      value: value of this process.
    """
    return value if alone() else bool(multihost_utils.broadcast_one_to_all(np.bool_(value)))


def meet(subject: str, facts: str = "") -> None:
    """Waits until all processes have called this function.

    Args:
      subject: name of the facts, for the error.
      facts: text that must be the same in all processes; by default empty.

    Raises:
      UserError: if the processes have different facts.
    """
    if alone():
        return
    digest = np.frombuffer(hashlib.blake2b(facts.encode(), digest_size=8).digest(), np.uint32)
    if len(np.unique(multihost_utils.process_allgather(digest), axis=0)) > 1:
        raise UserError(
            f"{subject} differs between the processes; expected the same in all. Give all processes one command and a "
            "shared --workdir"
        )


def stop_request(received_signal: Callable[[], int]) -> Callable[[int], bool]:
    """Returns a function of the step, to be called after each step: whether all processes stop after it.

    If one process gets a SIGTERM, JAX tells all processes, and names the same step to all of them.

    Args:
      received_signal: function that returns the signal that this process got, or 0.
    """
    return (lambda step: received_signal() > 0) if alone() else multihost_utils.reached_preemption_sync_point


def hosts() -> tuple[int, int]:
    """Returns the number of this host, and the number of hosts."""
    return jax.process_index(), jax.process_count()
