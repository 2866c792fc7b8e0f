"""Recurrent cells: their equations on time-major arrays, and the loops that unroll them. No layers, no modules.

A cell reads `x W + b` and its carry. A gated cell also reads h through `h U + c`. A linear cell is h_t = a_t h_{t-1} +
b_t, where a and b depend on x alone, so that its loop may run in parallel.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax.experimental import rnn

Carry = tuple[jax.Array, ...]  # arrays [B, H] float32; the first is h


class Gated(NamedTuple):
    """A gated cell, carry' = gates(carry, x W + b, h U + c)."""

    gates: Callable[[Carry, jax.Array, jax.Array], Carry]
    width: int  # width of x W + b, in multiples of the number of units
    arrays: int = 1  # number of arrays of the carry
    bias: Callable[[jax.Array], jax.Array] = lambda bias: bias  # zeros [gates, units] -> the initial b
    hidden_bias: bool = False  # whether the cell has the bias c
    deep: bool = False  # whether `gates` takes U instead of h U + c, and multiplies by it itself


class Linear(NamedTuple):
    """Describes a linear cell, h_t = a_t h_{t-1} + b_t, where a_t and b_t are terms(weights, x_t W + b).

    The next layer reads out(weights, h_t).
    """

    terms: Callable[[dict, jax.Array], tuple[jax.Array, jax.Array]]
    width: int  # width of x W + b, in multiples of the number of units
    arrays: int = 1  # 2 if h is complex; the carry holds its real and imaginary parts
    bias: Callable[[jax.Array], jax.Array] = lambda bias: bias  # zeros -> the initial b
    weights: Callable[[jax.Array, int], dict] = lambda key, units: {}  # (key, units) -> weights besides W and b
    out: Callable[[dict, jax.Array], jax.Array] = lambda weights, h: h


def elman(activation: Callable, carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """Computes one step of an Elman cell, h = f(W x + U h + b) (Elman 1990).

    Args:
      activation: the function f.
      carry: (h,) [B, H].
      from_x: W x + b [B, H].
      from_h: U h [B, H].

    Returns:
      The new carry.
    """
    return (activation(from_x + from_h),)


def lstm(carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """Computes one step of an LSTM, c = f c + i g and h = o tanh(c).

    Hochreiter & Schmidhuber 1997; Gers et al. 2000. The barriers keep XLA:CPU from fusing slices with the operations
    that read them, because the fused loop is four times as slow.

    Args:
      carry: (h, c), [B, H] each.
      from_x: x W + b [B, 4 H], gates in the order i, f, o, g.
      from_h: h U [B, 4 H].

    Returns:
      The new carry.
    """
    units = carry[1].shape[-1]
    gates = jax.lax.optimization_barrier(from_x + from_h)
    gates = jax.nn.sigmoid(gates[:, : 3 * units]), jnp.tanh(gates[:, 3 * units :])
    gates, candidate = jax.lax.optimization_barrier(gates)
    i, f, o = jnp.split(gates, 3, -1)
    c = f * carry[1] + i * candidate
    return o * jnp.tanh(c), c


def gru(carry: Carry, from_x: jax.Array, from_h: jax.Array) -> Carry:
    """Computes one step of a GRU, h = (1 - z) n + z h with n = tanh(x W_n + r (h U_n + c_n)).

    The reset gate r is applied after the product, as in cuDNN and PyTorch.

    Args:
      carry: (h,) [B, H].
      from_x: x W + b [B, 3 H], gates in the order r, z, n.
      from_h: h U + c [B, 3 H].

    Returns:
      The new carry.
    """
    (h,) = carry
    (r_x, z_x, n_x), (r_h, z_h, n_h) = jnp.split(from_x, 3, -1), jnp.split(from_h, 3, -1)
    r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
    n = jnp.tanh(n_x + r * n_h)
    return (n + z * (h - n),)


def gru_reset_before(carry: Carry, from_x: jax.Array, recurrent: jax.Array) -> Carry:
    """Computes one step of a GRU, h = (1 - z) n + z h with n = tanh(x W_n + (r h) U_n).

    The reset gate r is applied before the product (Cho et al. 2014, eq. 8).

    Args:
      carry: (h,) [B, H].
      from_x: x W + b [B, 3 H], gates in the order r, z, n.
      recurrent: weights U [H, 3 H].

    Returns:
      The new carry.
    """
    (h,), units = carry, carry[0].shape[-1]
    r, z = jnp.split(jax.nn.sigmoid(from_x[:, : 2 * units] + h @ recurrent[:, : 2 * units]), 2, -1)
    n = jnp.tanh(from_x[:, 2 * units :] + (r * h) @ recurrent[:, 2 * units :])
    return (n + z * (h - n),)


def min_gru(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes a and b of a minGRU, h = (1 - z) h + z (x W_h + b_h).

    Feng et al. 2024 (arXiv 2410.01201), section 3.1, in linear space.

    Args:
      weights: the weights of the cell, which are not read.
      from_x: x W + b [..., 2 H], in the order z, h.

    Returns:
      The factors a = 1 - z and the terms b, [..., H] each.
    """
    z, candidate = jnp.split(from_x, 2, -1)
    z = jax.nn.sigmoid(z)
    return 1 - z, z * candidate


def min_lstm(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes a and b of a minLSTM, h = f' h + i' (x W_h + b_h) with f' = f / (f + i) and i' = i / (f + i).

    Feng et al. 2024 (arXiv 2410.01201), section 3.2.

    Args:
      weights: the weights of the cell, which are not read.
      from_x: x W + b [..., 3 H], in the order f, i, h.

    Returns:
      The factors a = f' and the terms b, [..., H] each.
    """
    f, i, candidate = jnp.split(from_x, 3, -1)
    forget = jax.nn.sigmoid(jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i))
    return forget, (1 - forget) * candidate


def lru(weights: dict, from_x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes a and b of a linear recurrent unit, h = lambda h + gamma B x with lambda = exp(-exp(nu) + i exp(theta)).

    Orvieto et al. 2023 (arXiv 2303.06349), section 3.4. gamma = sqrt(1 - |lambda|^2) stays tied to lambda; the paper
    only initialises gamma so, and trains it. h is linear in x. The block adds the parts between layers: `residual`, in
    place of the paper's D x, and `feedforward`.

    Args:
      weights: `nu` and `theta` [H].
      from_x: real and imaginary parts of B x [T, B, 2 H].

    Returns:
      The factors a and the terms b, complex [T, B, H] each.
    """
    log_size = -jnp.exp(weights["nu"])
    gamma = jnp.sqrt(-jnp.expm1(2 * log_size))
    real, imaginary = jnp.split(from_x, 2, -1)
    a = jnp.exp(jax.lax.complex(log_size, jnp.exp(weights["theta"])))
    return jnp.broadcast_to(a, real.shape), jax.lax.complex(real, imaginary) * gamma[None, None]


def lru_weights(key: jax.Array, units: int, low: float = 0.9, high: float = 0.999) -> dict:
    """Draws the weights of a linear recurrent unit, with eigenvalues uniform on the ring low <= |lambda| <= high.

    Phases reach up to pi / 10 (Orvieto et al. 2023, section 3.3 and appendix A).

    Args:
      key: random key.
      units: number of units H.
      low: inner radius of the ring; by default 0.9.
      high: outer radius of the ring; by default 0.999.

    Returns:
      `nu` and `theta` [H], and `out` [2 H, H].
    """
    size_key, phase_key, out_key = jax.random.split(key, 3)
    size = jax.random.uniform(size_key, (units,), minval=low**2, maxval=high**2)
    phase = jax.random.uniform(phase_key, (units,), minval=1e-3, maxval=jnp.pi / 10)
    out = initializers.lecun_normal()(out_key, (2 * units, units))
    return {"nu": jnp.log(-0.5 * jnp.log(size)), "theta": jnp.log(phase), "out": out}


def lru_out(weights: dict, h: jax.Array) -> jax.Array:
    """Returns the output of a linear recurrent unit, Re(C h).

    Args:
      weights: `out` [2 H, H].
      h: complex state [T, B, H].
    """
    return jnp.concatenate([h.real, h.imag], -1) @ weights["out"]


CELLS: dict[str, Gated | Linear] = {
    "vanilla": Gated(partial(elman, jnp.tanh), 1),
    "sigmoid": Gated(partial(elman, jax.nn.sigmoid), 1),
    "lstm": Gated(lstm, 4, 2, lambda bias: bias.at[1].set(1)),  # because a forget gate with bias 1 remembers at first
    "gru": Gated(gru, 3, hidden_bias=True),
    "gru_reset_before": Gated(gru_reset_before, 3, deep=True),
    "mingru": Linear(min_gru, 2),
    "minlstm": Linear(min_lstm, 3),
    "lru": Linear(lru, 2, 2, weights=lru_weights, out=lru_out),
}


def next_carry(valid: jax.Array | None, new: Carry, old: Carry) -> Carry:
    """Returns the new carry of rows that continue, and the old carry of rows beyond their end.

    Args:
      valid: rows that continue [B, 1] bool; None if all continue.
      new: the new carry.
      old: the old carry.
    """
    return new if valid is None else jax.tree.map(lambda n, o: jnp.where(valid, n, o), new, old)


def unroll_gated(
    cell: Gated, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None
) -> tuple[Carry, jax.Array]:
    """Unrolls a gated cell over frames.

    Args:
      cell: the cell.
      weights: `input` W [D, G], `bias` b [G], `recurrent` U [H, G], and `hidden_bias` c [G] if the cell has it.
      carry: the carry before the first frame.
      x: frames [T, B, D].
      valid: [T, B, 1] bool, false beyond the end of a row; None if no row ends.

    Returns:
      The carry after the last frame, and h of all frames [T, B, H].
    """
    if not cell.deep:
        return gathered(cell.gates, weights, carry, x, valid)

    def move(carry: Carry, now: tuple) -> tuple[Carry, jax.Array]:
        x, valid = now
        new = cell.gates(carry, x @ weights["input"] + weights["bias"][None], weights["recurrent"])
        new = next_carry(valid, new, carry)
        return new, new[0]

    return jax.lax.scan(move, carry, (x, valid))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def gathered(
    gates: Callable, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None
) -> tuple[Carry, jax.Array]:
    """Unrolls a gated cell as `unroll_gated` does, with a faster gradient.

    The gradient of every weight is one product after the loop, not a sum inside it.

    Args:
      gates: the gates of the cell.
      weights: the weights of `unroll_gated`.
      carry: the carry before the first frame.
      x: frames [T, B, D].
      valid: [T, B, 1] bool; None if no row ends.

    Returns:
      The carry after the last frame, and h of all frames [T, B, H].
    """
    return gathered_forward(gates, weights, carry, x, valid)[0]


def gathered_forward(gates: Callable, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None) -> tuple:
    """Returns the results of `gathered`, and the values that `gathered_backward` needs.

    Args:
      gates: the gates of the cell.
      weights: the weights of `unroll_gated`.
      carry: the carry before the first frame.
      x: frames [T, B, D].
      valid: [T, B, 1] bool; None if no row ends.
    """

    def move(carry: Carry, now: tuple) -> tuple[Carry, tuple]:
        x, valid = now
        from_x = x @ weights["input"] + weights["bias"][None]
        from_h = carry[0] @ weights["recurrent"]
        from_h = from_h + weights["hidden_bias"][None] if "hidden_bias" in weights else from_h
        new = next_carry(valid, gates(carry, from_x, from_h), carry)
        return new, (new[0], carry, from_x, from_h)

    last, (h, *seen) = jax.lax.scan(move, carry, (x, valid))
    return (last, h), (weights, x, valid, seen)


def over_frames(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the sum of x y' over all frames, computed by `tensordot`.

    `einsum` would put B first, which copies both arrays.

    Args:
      x: [T, B, D].
      y: [T, B, G].

    Returns:
      [D, G].
    """
    return jnp.tensordot(x, y, ((0, 1), (0, 1)))


def gathered_backward(gates: Callable, residuals: tuple, cotangent: tuple) -> tuple:
    """Returns the gradients of `gathered`: of the weights, the carry and the frames, and None for `valid`.

    Args:
      gates: the gates of the cell.
      residuals: values kept by `gathered_forward`.
      cotangent: cotangents of the last carry, and of h [T, B, H].
    """
    weights, x, valid, carries = residuals
    last, h = cotangent
    back = weights["recurrent"].T

    def move(later: Carry, now: tuple) -> tuple[Carry, tuple]:
        (carry, from_x, from_h), valid, h = now
        _, pull = jax.vjp(lambda *now: next_carry(valid, gates(*now), now[0]), carry, from_x, from_h)
        carry, from_x, from_h = pull((later[0] + h, *later[1:]))
        return (carry[0] + from_h @ back, *carry[1:]), (from_x, from_h)

    carry, (from_x, from_h) = jax.lax.scan(move, last, (carries, valid, h), reverse=True)
    gradient = {
        "input": over_frames(x, from_x),
        "bias": from_x.sum((0, 1)),
        "recurrent": over_frames(carries[0][0], from_h),
        "hidden_bias": from_h.sum((0, 1)),
    }
    return {name: gradient[name] for name in weights}, carry, from_x @ weights["input"].T, None


gathered.defvjp(gathered_forward, gathered_backward)


def unroll_cudnn(weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None) -> tuple[Carry, jax.Array]:
    """Unrolls an LSTM over frames by one call of cuDNN.

    It needs an NVIDIA GPU. It cannot run under `vmap`, and is differentiable only once.

    Args:
      weights: the weights of `unroll_gated`.
      carry: the carry before the first frame.
      x: frames [T, B, D].
      valid: [T, B, 1] bool; None if no row ends.

    Returns:
      The carry after the last frame, and h of all frames [T, B, H].
    """
    units, inputs, rows = carry[0].shape[-1], x.shape[-1], x.shape[1]

    def flat(weight: jax.Array) -> jax.Array:
        """Returns weights [D, 4 H] in cuDNN's layout: gates in the order i, f, g, o, with [H, D] for a gate."""
        i, f, o, g = jnp.split(weight, 4, -1)
        return jnp.concatenate([gate.T.ravel() for gate in (i, f, g, o)])

    parts = [flat(weight) for weight in (weights["input"], weights["recurrent"], weights["bias"][None])]
    kernels = jnp.concatenate([*parts, jnp.zeros(4 * units)])  # cuDNN's second bias
    length = jnp.full(rows, len(x), jnp.int32) if valid is None else valid[..., 0].sum(0).astype(jnp.int32)
    h, c = (each[None] for each in carry)
    shape = {"input_size": inputs, "hidden_size": units, "num_layers": 1, "dropout": 0.0, "bidirectional": False}
    out, h, c = rnn.lstm(x.swapaxes(0, 1), h, c, kernels, jnp.maximum(length, 1), **shape)
    return next_carry((length > 0)[:, None], (h[0], c[0]), carry), out.swapaxes(0, 1)


def unroll_linear(
    cell: Linear, weights: dict, carry: Carry, x: jax.Array, valid: jax.Array | None, parallel: bool
) -> tuple[Carry, jax.Array]:
    """Unrolls a linear cell over frames.

    Args:
      cell: the cell.
      weights: `input` W [D, G], `bias` b [G], and the weights that the cell adds.
      carry: the carry before the first frame.
      x: frames [T, B, D].
      valid: [T, B, 1] bool, false beyond the end of a row; None if no row ends.
      parallel: whether to use a parallel scan (Martin & Cundy 2018, arXiv 1709.04057) instead of a loop over frames.

    Returns:
      The carry after the last frame, and the output of all frames [T, B, H].
    """
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
