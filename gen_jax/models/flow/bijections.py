"""The layers of a normalizing flow: bijections of rows [N, D] with the log determinants of their Jacobians."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import Given
from gen_jax.models.flow import splines
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.made import Layout


class Bijection(Protocol):
    """A bijection of rows, without its weights."""

    def init(self, key: jax.Array, c: Given | None) -> Any:
        """Returns the weights, of which the bijection is the identity or near it."""

    def forward(self, params: Any, x: jax.Array, c: Given | None) -> tuple[jax.Array, jax.Array]:
        """Returns z [N, D] and log |dz/dx| [N]."""

    def inverse(self, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
        """Returns x [N, D] whose `forward` is z."""


class Coupling(NamedTuple):
    """Describes splines of some numbers, whose knots depend on the other numbers (Dinh et al. 2017, arXiv 1605.08803)."""

    net: ConditionedNet  # (weights, x [N, D], c, level [1], which is 0) -> parameters [N, D, P]
    fixed: np.ndarray  # [D] bool: numbers that stay, and that the net reads
    bins: int
    box: float

    def init(self, key: jax.Array, c: Given | None) -> Any:
        """Returns the weights of the net."""
        return self.net.init(key, jnp.zeros((1, len(self.fixed))), c, jnp.zeros(1))

    def spline(self, params: Any, x: jax.Array, c: Given | None) -> splines.Spline:
        """Returns the splines of the numbers that move, which depend on the fixed ones."""
        out = self.net.apply(params, jnp.where(self.fixed[None], x, 0), c, jnp.zeros(1))
        return splines.spline_of(out[:, ~self.fixed], self.bins, self.box)

    def forward(self, params: Any, x: jax.Array, c: Given | None) -> tuple[jax.Array, jax.Array]:
        """Returns z and the log determinants."""
        z, log_slope = splines.forward(self.spline(params, x, c), x[:, ~self.fixed], self.box)
        return x.at[:, ~self.fixed].set(z), log_slope.sum(1)

    def inverse(self, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
        """Returns x, whose fixed numbers are those of z."""
        x = splines.inverse(self.spline(params, z, c), z[:, ~self.fixed], self.box)
        return z.at[:, ~self.fixed].set(x)


class Autoregressive(NamedTuple):
    """Describes splines of all numbers, each given the numbers before it (Papamakarios et al. 2017, arXiv 1705.07057)."""

    net: ConditionedNet  # made: (weights, x [N, D], c, layout, place) -> parameters [N, D, P]
    layout: Layout
    place: np.ndarray  # [D] place of each number in the order
    bins: int
    box: float

    def init(self, key: jax.Array, c: Given | None) -> Any:
        """Returns the weights of the net."""
        weights = self.net.init(key, jnp.zeros((1, len(self.place))), c, self.layout, jnp.asarray(self.place))
        return jax.tree.map_with_path(lambda path, leaf: 0 * leaf if path[-1].key == "out" else leaf, weights)

    def spline(self, params: Any, x: jax.Array, c: Given | None) -> splines.Spline:
        """Returns the splines of all numbers, each of which depends on the numbers before it."""
        out = self.net.apply(params, x, c, self.layout, jnp.asarray(self.place))
        return splines.spline_of(out, self.bins, self.box)

    def forward(self, params: Any, x: jax.Array, c: Given | None) -> tuple[jax.Array, jax.Array]:
        """Returns z and the log determinants."""
        z, log_slope = splines.forward(self.spline(params, x, c), x, self.box)
        return z, log_slope.sum(1)

    def inverse(self, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
        """Returns x, number by number."""

        def move(x: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
            found = splines.inverse(self.spline(params, x, c), z, self.box)
            return jnp.where((jnp.asarray(self.place) == now)[None], found, x), None

        return jax.lax.scan(move, jnp.zeros_like(z), jnp.arange(len(self.place)))[0]


class Linear(NamedTuple):
    """Describes a linear map L U of the numbers in a fixed order (Kingma & Dhariwal 2018, arXiv 1807.03039, section 3.2)."""

    order: np.ndarray  # [D]

    def init(self, key: jax.Array, c: Given | None) -> Any:
        """Returns the weights: below and above the diagonal, the logs of the diagonal of U, and a shift."""
        size = len(self.order)
        return {
            "below": jnp.zeros((size, size)),
            "above": jnp.zeros((size, size)),
            "scale": jnp.zeros(size),
            "shift": jnp.zeros(size),
        }

    def factors(self, params: Any) -> tuple[jax.Array, jax.Array]:
        """Returns L and U."""
        lower = jnp.tril(params["below"], -1) + jnp.eye(len(self.order))
        return lower, jnp.triu(params["above"], 1) + jnp.diag(jnp.exp(params["scale"]))

    def forward(self, params: Any, x: jax.Array, c: Given | None) -> tuple[jax.Array, jax.Array]:
        """Returns z and the log determinants."""
        lower, upper = self.factors(params)
        z = x[:, self.order] @ upper.T @ lower.T + params["shift"][None]
        return z, jnp.full(len(x), params["scale"].sum())

    def inverse(self, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
        """Returns x."""
        lower, upper = self.factors(params)
        y = jax.scipy.linalg.solve_triangular(lower, (z - params["shift"][None]).T, lower=True)
        return jax.scipy.linalg.solve_triangular(upper, y).T[:, np.argsort(self.order)]
