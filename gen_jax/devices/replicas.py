"""Several seeds of one run, over the devices or one after the other."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec


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
