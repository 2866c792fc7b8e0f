"""The only file that knows devices: start-up, processes, the mesh, where a batch and a state lie, replicas."""

import atexit
import ctypes
import grp
import hashlib
import os
import platform
import pwd
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gen_jax.data.source import cache_folder, forget_oldest, say_once
from gen_jax.errors import UserError

TRIM, MAP, ARENAS = -1, -3, -8  # of glibc's mallopt: how much free memory goes back, how large a block is mapped, heaps
COMPILED_BYTES = 2 << 30  # that JAX's compilation cache holds when a command begins
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead, and all others end
PEER_LOST = ("gloo", "nccl", "connection", "heartbeat", "coordination")  # in what XLA says when it misses a process


CHOSEN: set[str] = set()  # folders for compiled code that `start` has chosen


def start() -> None:
    """Keeps freed memory in the process, and turns on JAX's compilation cache, in the user's cache folder; once per process.

    A folder that the user has chosen, by `JAX_COMPILATION_CACHE_DIR` or `jax.config`, stays as it is.

    glibc gives the buffers of a step back to the system, and gets them anew from it page by page at the next: half of
    the time of a VAE's step on a CPU. A heap of a thread's own holds no block above 64 MiB: hence one
    heap for all, which threads that JAX has started before do not join.

    The folder is named after the processor: code compiled for one may not run on another that shares a home. What was used
    longest ago is deleted where all of it is more than `COMPILED_BYTES`; JAX's own bound needs a lock, and fails beside older files.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(ARENAS, 1)
        mallopt(TRIM, 2**30)
        mallopt(MAP, 2**30)
    if jax.config.jax_compilation_cache_dir not in (None, *CHOSEN):
        return  # the user's own, by JAX_COMPILATION_CACHE_DIR or in a program
    folder = compiled_folder()
    if folder is None:
        return
    forget_oldest(folder, COMPILED_BYTES)
    own = str(folder / processor())
    CHOSEN.add(own)
    jax.config.update("jax_compilation_cache_dir", own)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def processor() -> str:
    """Returns a short name of the kind of processor."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [f"model name {platform.processor()}"]
    facts = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.blake2b("".join([platform.machine(), *facts]).encode(), digest_size=6).hexdigest()


def compiled_folder() -> Path | None:
    """Returns the folder for compiled code, which nobody but its user can write: in the cache, or else in the user's home.

    Compiled code is native code, which is loaded and run: in a cache that several users share it could be anybody's.
    None, and a line that says why, if there is no such folder.
    """
    homes = [cache_folder()]
    with suppress(RuntimeError, KeyError):  # of a user without a home
        homes.append(Path.home() / ".cache" / "gen_jax")
    for home in homes:
        folder = home / "compiled"
        with suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if all(map(only_mine, (home, folder))):
                return folder
    say_once(
        f"compiled code is not kept: others may write to {homes[0]}; JAX_COMPILATION_CACHE_DIR names a folder for it"
    )
    return None


def only_mine(folder: Path) -> bool:
    """Whether nobody but this user, or a group of this user alone, can put files into a folder or take them away."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & stat.S_IWOTH:
        return False
    if not facts.st_mode & stat.S_IWGRP:
        return True
    try:
        group = grp.getgrgid(facts.st_gid)
        return group.gr_name == pwd.getpwuid(os.getuid()).pw_name and not {*group.gr_mem} - {group.gr_name}
    except KeyError:
        return False


class Lost(UserError):
    """Another process of the run has ended before this one."""

    code = 6


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
    names = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    try:
        given = {each: int(os.environ[name]) for each, name in names.items() if name in os.environ}
        found = "deactivate" if len(given) == 2 else None  # nothing is left to be asked of a cluster
        jax.distributed.initialize(**given, cluster_detection_method=found, heartbeat_timeout_seconds=HEARTBEAT)
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


def free_bytes(mesh: Mesh) -> int | None:
    """Returns the memory that is free on a device of the mesh, of a CPU in this machine or container; None if it is not known."""
    device = mesh.devices.flat[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
    try:
        (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")]
        free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    with suppress(OSError, ValueError):  # `max` where a container has no limit of its own
        most, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, most - used)
    return free


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


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices, or of those given, over the one axis `data`."""
    return Mesh(np.asarray(list(jax.devices() if devices is None else devices)), ("data",))


def describe(mesh: Mesh) -> str:
    """The devices in words, as `2 x cpu`."""
    device = mesh.devices.flat[0]
    kind = device.device_kind if device.platform != "cpu" else "cpu"
    return f"{mesh.size} x {kind}, {jax.process_count()} process(es)"


def hosts() -> tuple[int, int]:
    """Number of this host among all, and how many there are."""
    return jax.process_index(), jax.process_count()


def shared(mesh: Mesh) -> NamedSharding:
    """Whole on every device: states, resident arrays, scalars."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Rows spread over the devices: batches."""
    return NamedSharding(mesh, PartitionSpec("data"))


def place_rows(mesh: Mesh, rows: Any) -> Any:
    """This host's rows, or the replicas' leaves, as global arrays spread over the devices."""
    if mesh.size == 1:
        return rows  # the compiled step takes NumPy arrays without a detour
    return jax.tree.map(lambda value: jax.make_array_from_process_local_data(split(mesh), value), rows)


def place_whole(mesh: Mesh, tree: Any) -> Any:
    """Host arrays, the same in every process, as global arrays, whole on every device."""
    if mesh.size == 1:
        return jax.device_put(tree, shared(mesh))
    return jax.tree.map(lambda each: jax.make_array_from_process_local_data(shared(mesh), np.asarray(each)), tree)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Global arrays as arrays of one device of this process; every process must ask for them."""
    if mesh.size == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), jax.device_put(tree, shared(mesh)))


def abstract_state(mesh: Mesh, shapes: Any, replicas: int = 1, spread: bool = False) -> Any:
    """Shapes of a state with the place its arrays have, which is what a checkpoint is restored against.

    The states of several replicas lie behind one leading axis, which is spread over the devices. One state lies whole on
    every device, or with `spread` each array by its longest axis that the devices divide, where it has one: fully sharded
    data parallelism (Rajbhandari et al. 2020, arXiv 1910.02054, stage 3), for which XLA inserts the gathers.
    """

    def struct(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sides = [side if side % mesh.size == 0 else 0 for side in leaf.shape]
        if replicas > 1:
            shape, place = (replicas, *leaf.shape), split(mesh)
        elif spread and any(sides):
            shape, place = leaf.shape, NamedSharding(mesh, PartitionSpec(*[None] * int(np.argmax(sides)), "data"))
        else:
            shape, place = leaf.shape, shared(mesh)
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=place)

    return jax.tree.map(struct, shapes)


def places(tree: Any) -> Any:
    """Where the arrays of a tree lie, or will."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def replica(tree: Any, index: int, replicas: int) -> Any:
    """What belongs to one of several replicas; all of it where there is only one."""
    return tree if replicas == 1 else jax.tree.map(lambda leaf: leaf[index], tree)


def replicated(step: Callable, arguments: Sequence[Any], replicas: int, mesh: Mesh) -> Callable:
    """The compiled `step(key, state, broken, number, arrays, fed)` of several replicas; `number`, `arrays` are shared.

    The devices run apart, by the `shard_map` that `jax.pmap` is built on, so that the state keeps the sharding it is restored
    with. The replicas of a device are vmapped; a single one is the step as it is, and so the run of its seed to the bit.
    Vmapped convolutions become grouped ones, 15 to 40 times slower on a CPU: there all devices take one replica each, as
    often as they have one. State and broken are donated; the metrics are means over the replicas and, under NAME_se, their
    standard errors.

    Args:
      arguments: shapes of the arguments of one replica's step.
    """

    def only(key: jax.Array, state: Any, broken: dict, number: Any, arrays: dict, fed: dict) -> Any:
        key, state, broken, fed = replica((key, state, broken, fed), 0, replicas)
        return jax.tree.map(lambda leaf: leaf[None], step(key, state, broken, number, arrays, fed))

    whole, each, here = PartitionSpec(), PartitionSpec("data"), replicas // mesh.size  # replicas of a device
    apart = partial(jax.shard_map, mesh=mesh, out_specs=each, check_vma=False)
    compiled = partial(jax.jit, donate_argnums=(1, 2))
    own = {"in_specs": (each, each, each, whole, whole, each)}
    if here == 1:
        return averaged(compiled(apart(only, **own)))
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if on_cpu and "conv_general_dilated" in str(jax.make_jaxpr(step)(*arguments)):
        return averaged(in_turn(compiled(apart(only, **own)), here, partial(apart, in_specs=each)))
    return averaged(compiled(apart(jax.vmap(step, in_axes=(0, 0, 0, None, None, 0)), **own)))


def in_turn(step: Callable, here: int, apart: Callable) -> Callable:
    """A compiled step of one replica a device as that of `here` replicas a device, one after the other.

    Args:
      apart: makes a function of what each device has one of what all have.
    """

    @jax.jit
    @apart
    def parts(trees: Any) -> list:
        return [jax.tree.map(lambda leaf, at=at: leaf[at : at + 1], trees) for at in range(here)]

    @jax.jit
    @apart
    def together(outcomes: list) -> Any:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outcomes)

    def each(key: jax.Array, state: Any, broken: dict, number: Any, arrays: dict, fed: dict) -> Any:
        taken = parts((key, state, broken, fed))
        return together([step(key, state, broken, number, arrays, fed) for key, state, broken, fed in taken])

    return each


def averaged(step: Callable) -> Callable:
    """`step` with its metrics [replicas] as means and standard errors."""

    @jax.jit
    def mean_and_error(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
        errors = {f"{name}_se": jnp.std(value, ddof=1) / len(value) ** 0.5 for name, value in metrics.items()}
        return {name: jnp.mean(value) for name, value in metrics.items()} | errors

    def each(*arguments: Any) -> tuple:
        state, broken, metrics = step(*arguments)
        return state, broken, mean_and_error(metrics)

    return each
