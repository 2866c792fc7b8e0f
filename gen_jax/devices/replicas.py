"""Trains several seeds of one run together: spread over the devices, and vmapped or in turn on each device."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.sharding import Mesh, PartitionSpec

CONVOLUTION = "conv_general_dilated"  # name of the primitive


def places(tree: Any) -> Any:
    """Returns the shardings of the arrays of a tree, or of their shapes.

    Args:
      tree: arrays, or their shapes.
    """
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def replica(tree: Any, index: int, replicas: int) -> Any:
    """Returns the part of a tree that belongs to one replica.

    Args:
      tree: arrays [replicas, ...], or arrays without that axis if there is one replica.
      index: number of the replica.
      replicas: number of replicas of the run.
    """
    return tree if replicas == 1 else jax.tree.map(lambda leaf: leaf[index], tree)


def replicated(step: Callable[..., Any], arguments: Sequence[Any], replicas: int, mesh: Mesh) -> Callable[..., Any]:
    """Returns the compiled step of several replicas.

    The devices run separately, by the `shard_map` on which `jax.pmap` is built, so that the state keeps the sharding
    with which it is restored. If a device has a single replica, it runs the plain step, so that results equal the run
    of its seed to the bit. Several replicas of a device are vmapped. If the step convolves on a CPU, they run in turn,
    because vmapped convolutions become grouped convolutions, which are 15 to 40 times slower there.

    Args:
      step: function (key, state, broken, number, arrays, fed) -> (state, broken, metrics) of one replica.
      arguments: shapes of the arguments of `step`.
      replicas: number of replicas, a multiple of the number of devices.
      mesh: the devices.

    Returns:
      The step of arguments with a leading axis [replicas], except `number` and `arrays`, which all replicas share.
      State and broken are donated. The metrics are means over the replicas and, as NAME_se, their standard errors.
    """

    def single(key: jax.Array, state: Any, broken: dict, number: Any, arrays: dict, fed: dict) -> Any:
        key, state, broken, fed = replica((key, state, broken, fed), 0, replicas)
        return jax.tree.map(lambda leaf: leaf[None], step(key, state, broken, number, arrays, fed))

    shared, split = PartitionSpec(), PartitionSpec("data")
    specs = (split, split, split, shared, shared, split)
    apart = partial(jax.shard_map, mesh=mesh, out_specs=split, check_vma=False)
    compiled = partial(jax.jit, donate_argnums=(1, 2))
    per_device = replicas // mesh.size
    if per_device == 1:
        return averaged(compiled(apart(single, in_specs=specs)))
    if mesh.devices.flat[0].platform == "cpu" and convolves(step, arguments):
        return averaged(in_turn(compiled(apart(single, in_specs=specs)), per_device, partial(apart, in_specs=split)))
    vmapped = jax.vmap(step, in_axes=(0, 0, 0, None, None, 0))
    return averaged(compiled(apart(vmapped, in_specs=specs)))


def convolves(function: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """Returns whether a function computes a convolution for arguments of these shapes, at any depth of its jaxpr.

    Args:
      function: the function.
      arguments: shapes of its arguments.
    """
    return any(equation.primitive.name == CONVOLUTION for equation in equations(jax.make_jaxpr(function)(*arguments)))


def equations(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> Iterator[core.JaxprEqn]:
    """Yields the equations of a jaxpr and of all jaxprs inside it: jitted functions, branches, bodies of loops.

    Args:
      jaxpr: the jaxpr.
    """
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in(equation.params.values()):
            yield from equations(inner)


def jaxprs_in(values: Iterable[Any]) -> Iterator[core.Jaxpr | core.ClosedJaxpr]:
    """Yields the jaxprs among the parameters of an equation. A parameter may be a sequence of jaxprs.

    Args:
      values: the parameters.
    """
    for value in values:
        if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
            yield value
        elif isinstance(value, list | tuple):
            yield from jaxprs_in(value)


def in_turn(step: Callable[..., Any], per_device: int, apart: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the step of several replicas a device, which runs one replica after the other.

    Args:
      step: the compiled step of one replica a device.
      per_device: number of replicas of a device.
      apart: decorator that turns a function of the arrays of one device into a function of the arrays of all devices.
    """

    @jax.jit
    @apart
    def parts(trees: Any) -> list:
        return [jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], trees) for row in range(per_device)]

    @jax.jit
    @apart
    def together(outcomes: list) -> Any:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outcomes)

    def step_in_turn(key: jax.Array, state: Any, broken: dict, number: Any, arrays: dict, fed: dict) -> Any:
        taken = parts((key, state, broken, fed))
        return together([step(key, state, broken, number, arrays, fed) for key, state, broken, fed in taken])

    return step_in_turn


def averaged(step: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a step whose metrics are means over the replicas and, as NAME_se, their standard errors.

    Args:
      step: step whose metrics are arrays [replicas].
    """

    @jax.jit
    def mean_and_error(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
        errors = {f"{name}_se": jnp.std(value, ddof=1) / len(value) ** 0.5 for name, value in metrics.items()}
        return {name: jnp.mean(value) for name, value in metrics.items()} | errors

    def averaged_step(*arguments: Any) -> tuple:
        state, broken, metrics = step(*arguments)
        return state, broken, mean_and_error(metrics)

    return averaged_step
