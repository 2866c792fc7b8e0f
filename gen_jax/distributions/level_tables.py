"""Tables whose columns all hold levels: their layout, and the probability of a row given the logits of its levels."""

import jax
import jax.numpy as jnp

from gen_jax.data.spec import Spec, columns, schema_setting
from gen_jax.distributions import categorical
from gen_jax.distributions.pixels import Likelihood
from gen_jax.errors import UserError


def levels_of(spec: Spec, family: str, may_miss: bool = False) -> categorical.Levels:
    """Returns the levels of the columns of a table.

    Args:
      spec: facts of the data.
      family: name of the family, for the errors.
      may_miss: whether the family reads rows with missing cells; by default False.

    Raises:
      UserError: for a column of numbers, or cells that may be missing.
    """
    for column in columns(spec):
        if column["missing"] and not may_miss:
            raise UserError(
                f"cells of column {column['name']!r} may be missing; expected complete rows for the {family}. "
                "The models masked, forest and bayes_net read missing cells"
            )
        if "levels" not in column:
            raise UserError(
                f"column {column['name']!r} of {spec.name} holds numbers; expected levels for the {family}. "
                f"Make them levels by {schema_setting({column['name']: {'kind': 'categorical'}})}"
            )
    return categorical.levels_of(columns(spec))


def of_levels(levels: categorical.Levels) -> Likelihood:
    """Returns the probability of the levels of a table, given their logits.

    Args:
      levels: places of the levels of all D columns.
    """

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.take_along_axis(jax.nn.log_softmax(out), x.astype(jnp.int32)[..., None], -1)[..., 0]

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        return jax.random.categorical(key, out).astype(jnp.float32)

    return Likelihood(
        int(levels.sizes.max()),
        log_prob,
        mean=lambda params, out: out.argmax(-1).astype(jnp.float32),
        draw=draw,
        read=lambda x: categorical.indicators(levels, x, None),
    )
