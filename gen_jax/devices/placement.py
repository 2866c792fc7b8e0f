"""The mesh of devices, and where on it a batch and a state lie."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


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


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices, or of those given, over the one axis `data`."""
    return Mesh(np.asarray(list(jax.devices() if devices is None else devices)), ("data",))


def describe(mesh: Mesh) -> str:
    """The devices in words, as `2 x cpu`."""
    device = mesh.devices.flat[0]
    kind = device.device_kind if device.platform != "cpu" else "cpu"
    return f"{mesh.size} x {kind}, {jax.process_count()} process(es)"


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
