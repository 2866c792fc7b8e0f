"""How data become noise: schedules z = a(t) x + s(t) e, densities of t in training, and what a net predicts.

Time runs from noise, t = 0, to data, t = 1. Given z, each of x, e, the velocity u = a' x + s' e and v determines the
others, because each is a sum p x + q e. A prediction is therefore the pair (p, q), and x and e follow by a 2 x 2 system.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError
from gen_jax.registry import Choices

Curve = Callable[[jax.Array], jax.Array]  # of times in [0, 1]
SMALLEST = 1e-4  # of a share of data or noise that divides
FARTHEST = 3.0  # largest |x| that a prediction of the noise stands for, in standard deviations of the data


class Schedule(NamedTuple):
    """Describes z = a(t) x + s(t) e for t from 0 (noise) to 1 (data).

    Attributes:
      data: a, the share of the data.
      noise: s, the standard deviation of the noise.
      time: function of s / a -> t.
      ends: whether s(1) is 0, so that the last time of a sampler is 1.
    """

    data: Curve
    noise: Curve
    time: Curve
    ends: bool = True

    def velocity(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns a'(t) and s'(t).

        Args:
          t: times [...].
        """
        one = jnp.ones_like(t)
        return jax.jvp(self.data, (t,), (one,))[1], jax.jvp(self.noise, (t,), (one,))[1]

    def grid(self, steps: int) -> "Grid":
        """Returns the times of a sampler, from noise to data. They are computed in float64.

        Args:
          steps: number of steps.
        """
        count = steps if self.ends else max(steps - 1, 1)
        t = np.arange(steps) / count
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            a, s = (np.asarray(curve(jnp.asarray(t, jnp.float64)), np.float64) for curve in (self.data, self.noise))
        return Grid(t, np.append(a, 1.0), np.append(s, 0.0))


class Grid(NamedTuple):
    """Holds the times of a sampler, and the shares of data and noise there and at the end; NumPy float64."""

    t: np.ndarray  # [steps]
    a: np.ndarray  # [steps + 1]
    s: np.ndarray  # [steps + 1]


def flow() -> Schedule:
    """Returns the straight path a = t, s = 1 - t of flow matching (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023)."""
    return Schedule(lambda t: t, lambda t: 1 - t, lambda ratio: 1 / (1 + ratio))


def cosine() -> Schedule:
    """Returns a = sin(pi t / 2), s = cos(pi t / 2), which keep the variance (Nichol & Dhariwal 2021, arXiv 2102.09672)."""
    return Schedule(
        lambda t: jnp.sin(np.pi / 2 * t),
        lambda t: jnp.cos(np.pi / 2 * t),
        lambda ratio: 1 - 2 / np.pi * jnp.arctan(ratio),
    )


def edm(smallest: float = 0.002, largest: float = 80.0, power: float = 7.0) -> Schedule:
    """Returns a = 1 and s between two standard deviations, whose power 1 / `power` is linear in t (arXiv 2206.00364, eq. 5).

    Args:
      smallest: standard deviation of the noise at t = 1; by default 0.002.
      largest: standard deviation of the noise at t = 0; by default 80.
      power: rho of the source; by default 7.

    Raises:
      UserError: for standard deviations that do not grow from above 0, or a power below 1.
    """
    if not 0 < smallest < largest or power < 1:
        raise UserError(
            f"smallest {smallest}, largest {largest} and power {power} are no edm schedule; expected 0 < smallest < largest "
            "and a power of at least 1"
        )
    first, last = largest ** (1 / power), smallest ** (1 / power)

    def noise(t: jax.Array) -> jax.Array:
        return (first + t * (last - first)) ** power

    def time(ratio: jax.Array) -> jax.Array:
        return jnp.clip((ratio ** (1 / power) - first) / (last - first), 0, 1)

    return Schedule(jnp.ones_like, noise, time, ends=False)


SCHEDULES: dict[str, Callable[..., Schedule]] = {"flow": flow, "cosine": cosine, "edm": edm}
ScheduleChoice = Annotated[Mapping, Choices(SCHEDULES)]

Density = Callable[[Schedule, jax.Array], jax.Array]  # (schedule, u in (0, 1)) -> t: the inverse distribution function


def uniform() -> Density:
    """Returns t ~ U(0, 1)."""
    return lambda schedule, u: u


def logit_normal(mean: float = 0.0, deviation: float = 1.0) -> Density:
    """Returns t = sigmoid(m) with m ~ N(mean, deviation^2) (Esser et al. 2024, arXiv 2403.03206, eq. 19).

    Args:
      mean: mean of the logit of t; by default 0.
      deviation: standard deviation of the logit; by default 1.
    """
    return lambda schedule, u: jax.nn.sigmoid(mean + deviation * jax.scipy.special.ndtri(u))


def log_normal(mean: float = -1.2, deviation: float = 1.2) -> Density:
    """Returns ln(s / a) ~ N(mean, deviation^2) (Karras et al. 2022, arXiv 2206.00364, table 1).

    Args:
      mean: mean of ln(s / a); by default -1.2.
      deviation: standard deviation of ln(s / a); by default 1.2.
    """
    return lambda schedule, u: schedule.time(jnp.exp(mean + deviation * jax.scipy.special.ndtri(u)))


DENSITIES: dict[str, Callable[..., Density]] = {
    "uniform": uniform,
    "logit_normal": logit_normal,
    "log_normal": log_normal,
}
DensityChoice = Annotated[Mapping, Choices(DENSITIES)]


class Shares(NamedTuple):
    """Holds the facts of some times: a, s, their derivatives, and the standard deviations of z and of the data; all [...]."""

    a: jax.Array
    s: jax.Array
    da: jax.Array
    ds: jax.Array
    scale: jax.Array
    deviation: jax.Array

    def predicted(self, name: str) -> tuple[jax.Array, jax.Array]:
        """Returns (p, q) of the prediction p x + q e.

        Args:
          name: a name in `PREDICTIONS`.
        """
        return PREDICTIONS[name](self)

    def solved(self, name: str, z: jax.Array, out: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns x and e from z and a prediction.

        Args:
          name: a name in `PREDICTIONS`.
          z: noisy data [...].
          out: the prediction [...].
        """
        if name == "x":
            return out, (z - self.a * out) / jnp.maximum(self.s, SMALLEST)
        if name == "e":  # whose x is unknown in pure noise; a bound lets a sampler correct it in its next steps
            most = FARTHEST * self.deviation
            x = jnp.clip((z - self.s * out) / jnp.maximum(self.a, SMALLEST), -most, most)
            return x, jnp.where(abs(x) < most, out, (z - self.a * x) / jnp.maximum(self.s, SMALLEST))
        p, q = self.predicted(name)
        determinant = p * self.s - q * self.a  # is never 0
        return (self.s * out - q * z) / determinant, (p * z - self.a * out) / determinant


def shares_of(schedule: Schedule, deviation: float, t: jax.Array) -> Shares:
    """Returns the facts of some times.

    Args:
      schedule: the schedule.
      deviation: standard deviation of the data.
      t: times [...].
    """
    a, s = schedule.data(t), schedule.noise(t)
    scale = jnp.sqrt(jnp.square(deviation * a) + jnp.square(s))
    return Shares(a, s, *schedule.velocity(t), scale, jnp.full_like(t, deviation))


PREDICTIONS: dict[str, Callable[[Shares], tuple[jax.Array, jax.Array]]] = {
    "x": lambda at: (jnp.ones_like(at.a), jnp.zeros_like(at.a)),
    "e": lambda at: (jnp.zeros_like(at.a), jnp.ones_like(at.a)),
    "u": lambda at: (at.da, at.ds),
    # Salimans & Ho 2022 (arXiv 2202.00512), in units in which data and z have variance 1. With the schedule edm it is the
    # output of EDM's net with another sign.
    "v": lambda at: (-at.s / (at.deviation * at.scale), at.deviation * at.a / at.scale),
}


def strata(key: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns numbers in (0, 1) [N], one in each of as many equal parts as there are rows, in a turned order.

    Padding rows do not count, so that they change nothing (Kingma et al. 2021, arXiv 2107.00630, section I.1).

    Args:
      key: random key.
      weight: weights of the rows [N]; 0 for padding rows.
    """
    valid = (weight > 0).astype(jnp.float32)
    rank, count = jnp.cumsum(valid) - valid, jnp.maximum(valid.sum(), 1)
    u = (jax.random.uniform(key) + rank / count) % 1.0
    return jnp.clip(u, SMALLEST, 1 - SMALLEST)
