"""The only file that knows devices: start-up, the mesh, where a batch and a state lie."""

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gen_jax.data.source import cache_folder


def start() -> None:
    """Turns on JAX's persistent compilation cache, in the user's cache folder, once per process.

    The folder is named after the processor: code compiled for one may not run on another that shares a home.
    """
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [f"model name {platform.processor()}"]
    facts = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    name = hashlib.blake2b("".join([platform.machine(), *facts]).encode(), digest_size=6).hexdigest()
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled" / name))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices, or of those given, over the one axis `data`."""
    return Mesh(np.asarray(devices or jax.devices()), ("data",))


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
    """This host's rows as global arrays spread over the devices."""
    if mesh.size == 1:
        return rows  # the compiled step takes NumPy arrays without a detour
    return jax.tree.map(lambda value: jax.make_array_from_process_local_data(split(mesh), value), rows)


def place_whole(mesh: Mesh, tree: Any) -> Any:
    """Host arrays as global arrays, whole on every device."""
    return jax.device_put(tree, shared(mesh))


def abstract_state(mesh: Mesh, shapes: Any) -> Any:
    """Shapes of a state with the place its arrays have, which is what a checkpoint is restored against."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shared(mesh)), shapes)
