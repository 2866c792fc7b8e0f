"""A diffusion model without its weights, and its estimate of the data and the noise in a noisy row."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import Conditions, Given
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions.columns import Representation
from gen_jax.model import like_rows
from gen_jax.models.diffusion.pairing import Pairing
from gen_jax.models.diffusion.schedules import Density, Schedule, Shares, shares_of
from gen_jax.nets.embedding import ConditionedNet

LARGEST = 8.0  # largest |ln(a / s)| that a net reads


class Diffusion(NamedTuple):
    """Describes a diffusion model without its weights.

    Attributes:
      spec: facts of the data.
      net: (weights, z, conditions, level, evidence) -> prediction.
      conditions: conditions that the net reads.
      form: how a row becomes an array of real numbers, and back.
      schedule: the path from noise to data.
      density: density of the times in training.
      prediction: what the net predicts, a name in `PREDICTIONS`.
      target: what the loss compares, a name in `PREDICTIONS`.
      deviation: standard deviation of the data in model space, by which nets read numbers of variance 1.
      drop: share of the rows of training whose conditions are hidden, so that samples can be guided.
      observed: whether the net reads observed numbers, so that it completes rows.
      pairing: which noise stands beside which row in training.
      mean_flow: share of the rows of training from which the net learns mean velocities; 0 for none.
    """

    spec: Spec
    net: ConditionedNet
    conditions: Conditions
    form: Representation
    schedule: Schedule
    density: Density
    prediction: str
    target: str
    deviation: float
    drop: float
    observed: bool
    pairing: Pairing
    mean_flow: float


class Estimate(NamedTuple):
    """Holds the estimates of the data x and the noise e in z = a x + s e, [N, *shape] each."""

    x: jax.Array
    e: jax.Array


def predict(
    model: Diffusion,
    params: Any,
    z: jax.Array,
    t: jax.Array,
    c: Given | None,
    evidence: jax.Array | None = None,
    rngs: Mapping[str, jax.Array] | None = None,
    until: jax.Array | None = None,
) -> tuple[jax.Array, Shares]:
    """Returns the prediction of the net [N, *shape], and the facts of the times.

    The net reads ln(a / s) of each row. With `mean_flow` it reads two times and predicts the mean velocity between them.

    Args:
      model: the model.
      params: weights of the net.
      z: noisy rows [N, *shape].
      t: time of each row [N].
      c: conditions of the rows, or None.
      evidence: observed numbers and where they are [N, *shape, 2]; None if the net reads none.
      rngs: random keys of dropout; by default none.
      until: with `mean_flow`, later times [N]; by default t, for the velocity at t itself.
    """
    at = shares_of(model.schedule, model.deviation, t)
    level = jnp.log(jnp.maximum(at.a, 1e-6)) - jnp.log(jnp.maximum(at.s, 1e-6))
    level = jnp.clip(level, -LARGEST, LARGEST) / LARGEST
    if model.mean_flow:
        level = 2 * jnp.stack([t, t if until is None else until], 1) - 1
    inputs = () if evidence is None else (evidence,)
    out = model.net.apply(params, z / like_rows(at.scale, z), c, level, *inputs, rngs=rngs or {})
    return out, Shares(*(like_rows(value, z) for value in at))


def estimate(
    model: Diffusion, params: Any, z: jax.Array, t: jax.Array, c: Given | None, evidence: jax.Array | None = None
) -> Estimate:
    """Returns the data and the noise in noisy rows.

    Args:
      model: the model.
      params: weights of the net.
      z: noisy rows [N, *shape].
      t: time of each row [N].
      c: conditions of the rows, or None.
      evidence: observed numbers and where they are [N, *shape, 2]; None if the net reads none.
    """
    out, at = predict(model, params, z, t, c, evidence)
    return Estimate(*at.solved(model.prediction, z, out))


def hidden(conditions: Conditions, c: Given | None, hide: jax.Array) -> dict[str, jax.Array] | None:
    """Returns the conditions, hidden in some rows: no label or class, an empty text, zeros for numbers.

    Args:
      conditions: facts of the conditions.
      c: conditions of the rows, or None.
      hide: whether to hide the conditions of a row [N] bool.
    """
    if c is None:
        return None
    empty = {"y": -1}  # whose one-hot vector is zero
    if conditions.field is not None and levels(conditions.field) and not conditions.text:
        empty["c"] = -1
    if conditions.text and "c_length" not in c:  # because the texts are of one length
        c = {**c, "c_length": jnp.full(len(c["c"]), c["c"].shape[1])}
    return {
        name: jnp.where(like_rows(hide, value), jnp.asarray(empty.get(name, 0), value.dtype), value)
        for name, value in c.items()
    }
