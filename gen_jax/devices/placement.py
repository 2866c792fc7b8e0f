"""The mesh of devices, and the placement of batches and states on it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def free_bytes(mesh: Mesh) -> int | None:
    """Returns the free memory of a device of the mesh in bytes; None if it is unknown.

    For a CPU it is the free memory of this machine or container.

    Args:
      mesh: the devices.
    """
    device = mesh.devices.flat[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
    try:
        (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")]
        free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    with suppress(OSError, ValueError):  # because the text is `max` if a container has no limit
        most, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, most - used)
    return free


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of devices over the single axis `data`.

    Args:
      devices: the devices; by default all devices.
    """
    return Mesh(np.asarray(list(jax.devices() if devices is None else devices)), ("data",))


def describe(mesh: Mesh) -> str:
    """Returns the devices in words, such as `2 x cpu`.

    Args:
      mesh: the devices.
    """
    device = mesh.devices.flat[0]
    kind = device.device_kind if device.platform != "cpu" else "cpu"
    return f"{mesh.size} x {kind}, {jax.process_count()} process(es)"


def shared(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that are whole on every device: states, resident arrays and scalars.

    Args:
      mesh: the devices.
    """
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose rows are spread over the devices: batches.

    Args:
      mesh: the devices.
    """
    return NamedSharding(mesh, PartitionSpec("data"))


def place_rows(mesh: Mesh, rows: Any) -> Any:
    """Returns rows of this host, or leaves of the replicas, as global arrays that are spread over the devices.

    Args:
      mesh: the devices.
      rows: arrays of this host.
    """
    if mesh.size == 1:
        return rows  # because the compiled step takes NumPy arrays directly
    return jax.tree.map(lambda value: jax.make_array_from_process_local_data(split(mesh), value), rows)


def place_whole(mesh: Mesh, tree: Any) -> Any:
    """Returns host arrays as global arrays that are whole on every device.

    Args:
      mesh: the devices.
      tree: host arrays, which are the same in every process.
    """
    if mesh.size == 1:
        return jax.device_put(tree, shared(mesh))
    return jax.tree.map(lambda each: jax.make_array_from_process_local_data(shared(mesh), np.asarray(each)), tree)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Returns global arrays as arrays on one device of this process. All processes must call this function.

    Args:
      mesh: the devices.
      tree: global arrays.
    """
    if mesh.size == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), jax.device_put(tree, shared(mesh)))


def abstract_state(mesh: Mesh, shapes: Any, replicas: int = 1, spread: bool = False) -> Any:
    """Returns the shapes and shardings of a state, against which a checkpoint is restored.

    The states of several replicas have a leading axis, which is spread over the devices. A single state is whole on
    every device. With `spread`, each array is spread over the devices along its longest axis that their number divides,
    if there is such an axis. This is fully sharded data parallelism (Rajbhandari et al. 2020, arXiv 1910.02054, stage
    3), for which XLA inserts the gathers.

    Args:
      mesh: the devices.
      shapes: shapes of the state of one replica.
      replicas: number of replicas; by default 1.
      spread: whether a single state is spread over the devices; by default False.
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
