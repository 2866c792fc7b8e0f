"""The only file that knows devices: start-up, the mesh, where a batch and a state lie, replicas."""

import ctypes
import hashlib
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gen_jax.data.source import cache_folder

TRIM, MAP = -1, -3  # of glibc's mallopt: how much free memory goes back, how large a block is mapped by itself


def start() -> None:
    """Keeps freed memory in the process, and turns on JAX's compilation cache, in the user's cache folder; once per process.

    glibc gives the buffers of a step back to the system, and gets them anew from it page by page at the next: half of
    the time of a VAE's step on a CPU.

    The folder is named after the processor: code compiled for one may not run on another that shares a home.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM, 2**28)
        mallopt(MAP, 2**26)
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [f"model name {platform.processor()}"]
    facts = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    name = hashlib.blake2b("".join([platform.machine(), *facts]).encode(), digest_size=6).hexdigest()
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled" / name))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


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
    """Host arrays as global arrays, whole on every device."""
    return jax.device_put(tree, shared(mesh))


def abstract_state(mesh: Mesh, shapes: Any, replicas: int = 1) -> Any:
    """Shapes of a state with the place its arrays have, which is what a checkpoint is restored against.

    The states of several replicas lie behind one leading axis, which is spread over the devices.
    """
    lead, place = ((), shared(mesh)) if replicas == 1 else ((replicas,), split(mesh))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype, sharding=place), shapes)


def replica(tree: Any, index: int, replicas: int) -> Any:
    """What belongs to one of several replicas; all of it where there is only one."""
    return tree if replicas == 1 else jax.tree.map(lambda leaf: leaf[index], tree)


def replicated(step: Callable, arguments: Sequence[Any], replicas: int, mesh: Mesh) -> Callable:
    """The compiled `step(key, state, broken, number, arrays, fed)` of several replicas; `number`, `arrays` are shared.

    The replicas of a device are vmapped, and the devices run apart, by the `shard_map` that `jax.pmap` is built on, so
    that the state keeps the sharding it is restored with. Vmapped convolutions become grouped ones, 15 to 40 times
    slower on a CPU: there each replica is one call of the one compiled step. State and broken are donated; the metrics
    are means over the replicas and, under NAME_se, their standard errors.

    Args:
      arguments: shapes of the arguments of one replica's step.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if on_cpu and "conv_general_dilated" in str(jax.make_jaxpr(step)(*arguments)):
        return averaged(in_turn(jax.jit(step, donate_argnums=(1, 2)), replicas))
    axes = (0, 0, 0, None, None, 0)
    specs = tuple(PartitionSpec() if axis is None else PartitionSpec("data") for axis in axes)
    each = jax.vmap(step, in_axes=axes)
    each = jax.shard_map(each, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("data"), check_vma=False)
    return averaged(jax.jit(each, donate_argnums=(1, 2)))


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


def in_turn(step: Callable, replicas: int) -> Callable:
    """A compiled step called for each replica, one after the other; the results are stacked."""
    unstack = jax.jit(lambda trees: [replica(trees, index, replicas) for index in range(replicas)])
    stack = jax.jit(lambda *outcomes: jax.tree.map(lambda *leaves: jnp.stack(leaves), *outcomes))

    def each(key: jax.Array, state: Any, broken: dict, number: Any, arrays: dict, fed: dict) -> tuple:
        apart = unstack((key, state, broken, fed))
        return stack(*(step(key, state, broken, number, arrays, fed) for key, state, broken, fed in apart))

    return each
