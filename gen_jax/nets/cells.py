"""Recurrent cells: their equations on arrays, time-major, and the two loops that unroll them. No layers, no modules.

A cell reads `x W + b` and its carry. A gated one reads h as well, through `h U + c`; a linear one is
h_t = a_t h_{t-1} + b_t with a and b from x alone, so that its loop may run in parallel.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax.experimental import rnn

Carry = tuple[jax.Array, ...]  # [B, H] float32 each, the first is h


class Gated(NamedTuple):
    """carry' = gates(carry, x W + b, h U + c)."""

    gates: Callable[[Carry, jax.Array, jax.Array], Carry]
    width: int  # of x W + b, in units
    arrays: int = 1  # of the carry
    bias: Callable[[jax.Array], jax.Array] = lambda bias: bias  # zeros [gates, units] -> b at the start
    hidden_bias: bool = False  # whether there is a c
    deep: bool = False  # `gates` takes U in the place of h U + c, for a product of its own


class Linear(NamedTuple):
    """h' = a h + b, (a, b) = terms(weights, x W + b), and what layers above see, out(weights, h)."""

    terms: Callable[[dict, jax.Array], tuple[jax.Array, jax.Array]]
    width: int
    arrays: int = 1  # 2: h is complex, its parts are carried
    bias: Callable[[jax.Array], jax.Array] = lambda bias: bias
    weights: Callable[[jax.Array, int], dict] = lambda key, units: {}  # besides W and b
    out: Callable[[dict, jax.Array], jax.Array] = lambda weights, h: h


def elman(activation: Callable, carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """h = f(W x + U h + b) (Elman 1990)."""
    return (activation(from_x + from_h),)


def lstm(carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """c = f c + i g, h = o tanh(c) (Hochreiter & Schmidhuber 1997; Gers et al. 2000), gates in the order i, f, o, g.

    The barriers keep XLA:CPU from fusing slices with what they feed, which then runs four times as slowly.
    """
    units = carry[1].shape[-1]
    gates = jax.lax.optimization_barrier(from_x + from_h)
    gates = jax.nn.sigmoid(gates[:, : 3 * units]), jnp.tanh(gates[:, 3 * units :])
    gates, candidate = jax.lax.optimization_barrier(gates)
    i, f, o = jnp.split(gates, 3, -1)
    c = f * carry[1] + i * candidate
    return o * jnp.tanh(c), c


def gru(carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """h = (1 - z) n + z h, n = tanh(x W_n + r (h U_n + c_n)): the reset gate after the product, as in cuDNN and PyTorch."""
    (h,) = carry
    (r_x, z_x, n_x), (r_h, z_h, n_h) = jnp.split(from_x, 3, -1), jnp.split(from_h, 3, -1)
    r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
    n = jnp.tanh(n_x + r * n_h)
    return (n + z * (h - n),)


def gru_reset_before(carry: Carry, from_x: jax.Array, recurrent: jax.Array) -> Carry:
    """h = (1 - z) n + z h, n = tanh(x W_n + (r h) U_n): the reset gate before the product (Cho et al. 2014, eq. 8)."""
    (h,), units = carry, carry[0].shape[-1]
    r, z = jnp.split(jax.nn.sigmoid(from_x[:, : 2 * units] + h @ recurrent[:, : 2 * units]), 2, -1)
    n = jnp.tanh(from_x[:, 2 * units :] + (r * h) @ recurrent[:, 2 * units :])
    return (n + z * (h - n),)


def min_gru(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h = (1 - z) h + z (x W_h + b_h) (Feng et al. 2024, arXiv 2410.01201, section 3.1), in linear space."""
    z, candidate = jnp.split(from_x, 2, -1)
    z = jax.nn.sigmoid(z)
    return 1 - z, z * candidate


def min_lstm(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h = f' h + i' (x W_h + b_h), f' = f / (f + i), i' = i / (f + i) (Feng et al. 2024, section 3.2)."""
    f, i, candidate = jnp.split(from_x, 3, -1)
    forget = jax.nn.sigmoid(jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i))
    return forget, (1 - forget) * candidate


def lru(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h = lambda h + gamma B x, lambda = exp(-exp(nu) + i exp(theta)) (Orvieto et al. 2023, arXiv 2303.06349, section 3.4).

    gamma = sqrt(1 - |lambda|^2) stays tied to lambda, where the paper learns it from there. h is linear in x: what lies
    between layers, `residual` in the place of the paper's D x and `feedforward`, is for the block.
    """
    log_size = -jnp.exp(weights["nu"])
    gamma = jnp.sqrt(-jnp.expm1(2 * log_size))
    real, imaginary = jnp.split(from_x, 2, -1)
    a = jnp.exp(jax.lax.complex(log_size, jnp.exp(weights["theta"])))
    return jnp.broadcast_to(a, real.shape), jax.lax.complex(real, imaginary) * gamma[None, None]


def lru_weights(key: jax.Array, units: int, low: float = 0.9, high: float = 0.999) -> dict:
    """Eigenvalues uniform on the ring low <= |lambda| <= high, with phases up to pi / 10 (section 3.3, appendix A)."""
    size_key, phase_key, out_key = jax.random.split(key, 3)
    size = jax.random.uniform(size_key, (units,), minval=low**2, maxval=high**2)
    phase = jax.random.uniform(phase_key, (units,), minval=1e-3, maxval=jnp.pi / 10)
    out = initializers.lecun_normal()(out_key, (2 * units, units))
    return {"nu": jnp.log(-0.5 * jnp.log(size)), "theta": jnp.log(phase), "out": out}


def lru_out(weights: dict, h: jax.Array) -> jax.Array:
    """Re(C h)."""
    return jnp.concatenate([h.real, h.imag], -1) @ weights["out"]


CELLS: dict[str, Gated | Linear] = {
    "vanilla": Gated(partial(elman, jnp.tanh), 1),
    "sigmoid": Gated(partial(elman, jax.nn.sigmoid), 1),
    "lstm": Gated(lstm, 4, 2, lambda bias: bias.at[1].set(1)),  # remembers at first
    "gru": Gated(gru, 3, hidden_bias=True),
    "gru_reset_before": Gated(gru_reset_before, 3, deep=True),
    "mingru": Linear(min_gru, 2),
    "minlstm": Linear(min_lstm, 3),
    "lru": Linear(lru, 2, 2, weights=lru_weights, out=lru_out),
}


def held(valid: jax.Array | None, new: Carry, old: Carry) -> Carry:
    """`new` where a row still goes on, `old` beyond its end."""
    return new if valid is None else jax.tree.map(lambda n, o: jnp.where(valid, n, o), new, old)


def unroll_gated(
    cell: Gated, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None
) -> tuple[Carry, jax.Array]:
    """The carry after the last frame, and h of every frame [T, B, H].

    Args:
      weights: `input` W [D, G], `bias` b [G], `recurrent` U [H, G], and `hidden_bias` c [G] where the cell has it.
      x: [T, B, D]; valid: [T, B, 1] bool, false beyond the end of a row; None where all rows are whole.
    """
    if not cell.deep:
        return gathered(cell.gates, weights, carry, x, valid)

    def move(carry: Carry, now: tuple) -> tuple[Carry, jax.Array]:
        x, valid = now
        new = cell.gates(carry, x @ weights["input"] + weights["bias"][None], weights["recurrent"])
        new = held(valid, new, carry)
        return new, new[0]

    return jax.lax.scan(move, carry, (x, valid))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def gathered(
    gates: Callable, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None
) -> tuple[Carry, jax.Array]:
    """`unroll_gated`, whose gradients of the weights are one product each behind the loop, not a sum inside it."""
    return gathered_forward(gates, weights, carry, x, valid)[0]


def gathered_forward(gates: Callable, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None) -> tuple:
    def move(carry: Carry, now: tuple) -> tuple[Carry, tuple]:
        x, valid = now
        from_x = x @ weights["input"] + weights["bias"][None]
        from_h = carry[0] @ weights["recurrent"]
        from_h = from_h + weights["hidden_bias"][None] if "hidden_bias" in weights else from_h
        new = held(valid, gates(carry, from_x, from_h), carry)
        return new, (new[0], carry, from_x, from_h)

    last, (h, *seen) = jax.lax.scan(move, carry, (x, valid))
    return (last, h), (weights, x, valid, seen)


def over_frames(x: jax.Array, y: jax.Array) -> jax.Array:
    """The sum of x y' over all frames [T, B]: [D, G]. By `einsum`, which orders them B first, both are copied before."""
    return jnp.tensordot(x, y, ((0, 1), (0, 1)))


def gathered_backward(gates: Callable, kept: tuple, cotangent: tuple) -> tuple:
    weights, x, valid, seen = kept
    last, h = cotangent
    back = weights["recurrent"].T

    def move(later: Carry, now: tuple) -> tuple[Carry, tuple]:
        (carry, from_x, from_h), valid, h = now
        _, pull = jax.vjp(lambda *now: held(valid, gates(*now), now[0]), carry, from_x, from_h)
        carry, from_x, from_h = pull((later[0] + h, *later[1:]))
        return (carry[0] + from_h @ back, *carry[1:]), (from_x, from_h)

    carry, (from_x, from_h) = jax.lax.scan(move, last, (seen, valid, h), reverse=True)
    gradient = {
        "input": over_frames(x, from_x),
        "bias": from_x.sum((0, 1)),
        "recurrent": over_frames(seen[0][0], from_h),
        "hidden_bias": from_h.sum((0, 1)),
    }
    return {name: gradient[name] for name in weights}, carry, from_x @ weights["input"].T, None


gathered.defvjp(gathered_forward, gathered_backward)


def unroll_cudnn(weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None) -> tuple[Carry, jax.Array]:
    """`unroll_gated` of an LSTM by cuDNN, in one call: for an NVIDIA GPU, not under `vmap`, differentiable once."""
    units, inputs, rows = carry[0].shape[-1], x.shape[-1], x.shape[1]

    def flat(each: jax.Array) -> jax.Array:
        """Weights [D, 4 H] as cuDNN keeps them: gates in the order i, f, g, o, each [H, D]."""
        i, f, o, g = jnp.split(each, 4, -1)
        return jnp.concatenate([gate.T.ravel() for gate in (i, f, g, o)])

    parts = [flat(weight) for weight in (weights["input"], weights["recurrent"], weights["bias"][None])]
    kernels = jnp.concatenate([*parts, jnp.zeros(4 * units)])  # its second bias
    length = jnp.full(rows, len(x), jnp.int32) if valid is None else valid[..., 0].sum(0).astype(jnp.int32)
    h, c = (each[None] for each in carry)
    shape = {"input_size": inputs, "hidden_size": units, "num_layers": 1, "dropout": 0.0, "bidirectional": False}
    out, h, c = rnn.lstm(x.swapaxes(0, 1), h, c, kernels, jnp.maximum(length, 1), **shape)
    return held((length > 0)[:, None], (h[0], c[0]), carry), out.swapaxes(0, 1)


def unroll_linear(
    cell: Linear, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None, parallel: bool
) -> tuple[Carry, jax.Array]:
    """As `unroll_gated`, in `parallel` (Martin & Cundy 2018, arXiv 1709.04057) or frame by frame."""
    a, b = cell.terms(weights, x @ weights["input"] + weights["bias"][None, None])  # [T, B, H]
    if valid is not None:
        a, b = jnp.where(valid, a, 1), jnp.where(valid, b, 0)
    start = carry[0] if cell.arrays == 1 else jax.lax.complex(*carry)
    if parallel:
        all_a, all_b = jax.lax.associative_scan(lambda p, q: (q[0] * p[0], q[0] * p[1] + q[1]), (a, b))
        h = all_a * start[None] + all_b
    else:
        h = jax.lax.scan(lambda h, ab: (ab[0] * h + ab[1],) * 2, start, (a, b))[1]
    last = (h[-1],) if cell.arrays == 1 else (h[-1].real, h[-1].imag)
    return last, cell.out(weights, h)
