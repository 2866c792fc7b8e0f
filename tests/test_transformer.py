"""The transformer against attention by hand; its cache, its window, and the ends of its rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorder import recording

from gen_jax.errors import UserError
from gen_jax.nets.recurrent import build_recurrent
from gen_jax.nets.transformer import Transformer, one_query_attention, rotated, visible

KEY = jax.random.key(0)
ROWS, FRAMES, INPUTS = 3, 8, 5
X = jax.random.normal(KEY, (ROWS, FRAMES, INPUTS))


def weights_of(net: Transformer):
    """Weights that are nowhere zero, so that each part takes part."""
    params = net.init(KEY, net.init_carry(ROWS), X, method="unroll")
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [leaf + 0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    )


@partial(jax.jit, static_argnums=0)
def compiled(net: Transformer, params, carry, x, length, reset, rngs):
    return net.apply(params, carry, x, length, reset, method="unroll", rngs=rngs)


def unrolled(net: Transformer, params, x, length=None, carry=None, reset=None, rngs=None):
    carry = net.init_carry(len(x)) if carry is None else carry
    return compiled(net, params, carry, x, length, reset, rngs or {})


def small(**options) -> Transformer:
    return Transformer(**{"units": 8, "layers": 2, "heads": 2, "context": 16, **options})


@pytest.mark.study
@pytest.mark.parametrize(("context", "pieces"), [(1, (3, 5)), (3, (1,) * FRAMES), (4, (3, 3, 2)), (16, (7, 1))])
def test_frames_in_pieces_are_the_frames_at_once(context, pieces):
    net = small(context=context)
    params = weights_of(net)
    """Of a context of 1 the whole is read in pieces as well, for it has more than `LONG` contexts."""
    whole, carry, outs, start = unrolled(net, params, X)[1], net.init_carry(ROWS), [], 0
    for piece in pieces:
        carry, out = unrolled(net, params, X[:, start : start + piece], carry=carry)
        outs.append(out)
        start += piece
    np.testing.assert_allclose(np.concatenate(outs, 1), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(carry[0], [FRAMES] * ROWS)


@pytest.mark.study
def test_a_row_that_ends_goes_on_where_it_ended():
    net = small(context=4)
    params, length = weights_of(net), jnp.array([2, 5, 0])
    carry, out = unrolled(net, params, X[:, :5], length)
    assert not np.asarray(out)[np.arange(5)[None] >= np.asarray(length)[:, None]].any()
    more = unrolled(net, params, X[:, 5:], carry=carry)[1]
    for row, end in enumerate([2, 5, 0]):
        together = jnp.concatenate([X[row : row + 1, :end], X[row : row + 1, 5:]], 1)
        expected = net.apply(params, net.init_carry(1), together, method="unroll")[1]
        np.testing.assert_allclose(more[row], expected[0, end:], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out[row, :end], expected[0, :end], rtol=1e-4, atol=1e-5)


@pytest.mark.study
def test_a_long_sequence_is_read_context_by_context():
    x, length = jax.random.normal(KEY, (2, 19, INPUTS)), jnp.array([19, 7])
    net = small(context=3)
    params = weights_of(net)
    carry, out = unrolled(net, params, x, length)  # 7 contexts
    again, outs = net.init_carry(2), []
    for start in range(0, 19, 9):  # at most 3 contexts
        part = x[:, start : start + 9]
        again, h = unrolled(net, params, part, (length - start).clip(0, part.shape[1]), carry=again)
        outs.append(h)
    np.testing.assert_allclose(np.concatenate(outs, 1), out, rtol=1e-4, atol=1e-5)
    for one, two in zip(jax.tree.leaves(carry), jax.tree.leaves(again)):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.study
def test_no_key_of_a_long_sequence_is_used_twice_and_each_context_has_noise_of_its_own():
    net = small(context=1, dropout=0.5)
    params = weights_of(net)
    with recording() as (key, recorded):
        jax.block_until_ready(net.apply(params, net.init_carry(ROWS), X, method="unroll", rngs={"dropout": key})[1])
        assert not recorded.faults() and recorded.counts
    equal = unrolled(net, params, jnp.ones((1, FRAMES, INPUTS)), rngs={"dropout": KEY})[1][0]
    assert len({frame.tobytes() for frame in np.asarray(equal)}) == FRAMES


@pytest.mark.study
def test_a_row_that_is_reset_begins_anew():
    net = small(context=4)
    params = weights_of(net)
    carry = unrolled(net, params, X)[0]
    reset = jnp.array([True, False, True])
    out = unrolled(net, params, X, carry=carry, reset=reset)[1]
    fresh, going_on = unrolled(net, params, X)[1], unrolled(net, params, X, carry=carry)[1]
    np.testing.assert_allclose(out, jnp.where(reset[:, None, None], fresh, going_on), rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(fresh - going_on)[:, 0]).max() > 1e-3


@pytest.mark.study
@pytest.mark.parametrize("context", [2, 16])
def test_a_frame_sees_the_frames_of_its_window_alone(context):
    net = small(context=context)
    params = weights_of(net)
    slopes = jax.jacobian(lambda x: unrolled(net, params, x[None])[1][0].sum(-1))(X[0])  # [T, T, D]
    seen = np.abs(slopes).max(-1) > 1e-9
    gap = np.arange(FRAMES)[:, None] - np.arange(FRAMES)[None]
    np.testing.assert_array_equal(seen, (gap >= 0) & (gap <= 2 * (context - 1)))  # two layers


def test_one_layer_is_attention_by_hand():
    net = small(layers=1, context=16)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights_of(net))["params"]["stack"]
    layer = params["layer_0"]

    def rms(x, name):
        scale = layer[name]["scale"] if name in layer else params[name]["scale"]
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def turned(x):  # [T, size]: complex numbers times exp(i place speed)
        z = x[:, :2] + 1j * x[:, 2:]
        z = z * np.exp(1j * np.arange(FRAMES)[:, None] * np.array([1, 10_000**-0.5])[None])
        return np.concatenate([z.real, z.imag], -1)

    h = np.asarray(X[0], np.float64) @ params["project"]["kernel"] + params["project"]["bias"]
    query, key, value = np.split(rms(h, "attention_norm") @ layer["attention"]["kernel"], 3, -1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        q, k = turned(rms(query[:, head], "query_norm")), turned(rms(key[:, head], "key_norm"))
        scores = np.where(np.tri(FRAMES) > 0, q @ k.T / 2, -np.inf)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(share / share.sum(-1, keepdims=True) @ value[:, head])
    h = h + np.concatenate(heads, -1) @ layer["attention_out"]["kernel"]
    gate, up = np.split(rms(h, "feedforward_norm") @ layer["feedforward"]["kernel"], 2, -1)
    h = h + (gate / (1 + np.exp(-gate)) * up) @ layer["feedforward_out"]["kernel"]
    np.testing.assert_allclose(unrolled(net, weights_of(net), X)[1][0], rms(h, "norm"), rtol=1e-3, atol=1e-4)


def test_scores_of_rotated_vectors_depend_on_their_distance_alone():
    query, key = jax.random.normal(KEY, (2, 1, 1, 1, 8))
    scores = [
        float((rotated(query, jnp.array([[place + 3]])) * rotated(key, jnp.array([[place]]))).sum())
        for place in (0, 5, 900)
    ]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-3)


def test_the_cache_is_a_ring():
    seen = np.asarray(visible(jnp.array([0, 2, 7]), 2, 4))  # [B, T, 4 slots and 2 frames]
    assert not seen[0, :, :4].any() and not seen[1, :, 2:4].any()  # slots that hold nothing
    np.testing.assert_array_equal(seen[1, 1], [1, 1, 0, 0, 1, 1])
    np.testing.assert_array_equal(seen[2, 0], [1, 1, 1, 0, 1, 0])  # slots hold 4, 5, 6, 3; 7 sees 4 to 7
    np.testing.assert_array_equal(seen[2, 1], [0, 1, 1, 0, 1, 1])


@pytest.mark.study
def test_it_begins_as_the_normalised_projection_and_options_keep_the_output():
    net = small()
    params = net.init(KEY, net.init_carry(ROWS), X, method="unroll")
    h = X @ params["params"]["stack"]["project"]["kernel"] + params["params"]["stack"]["project"]["bias"][None, None]
    out = unrolled(net, params, X)[1]
    np.testing.assert_allclose(out, h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-6), rtol=1e-4, atol=1e-5)
    params = weights_of(net)
    plain = unrolled(net, params, X)[1]
    loss = lambda net: jax.grad(lambda params: unrolled(net, params, X)[1].sum())(params)  # noqa: E731
    for one, two in zip(jax.tree.leaves(loss(net)), jax.tree.leaves(loss(small(remat=True)))):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)
    half = unrolled(small(dtype="bfloat16"), params, X)[1]
    assert half.dtype == jnp.float32 and 0 < np.abs(half - plain).max() < 0.2
    dropped = unrolled(small(dropout=0.5), params, X, rngs={"dropout": KEY})[1]
    assert np.abs(dropped - plain).max() > 0.1
    np.testing.assert_array_equal(unrolled(small(dropout=0.5), params, X)[1], plain)
    carry = net.init_carry(ROWS)
    np.testing.assert_allclose(net.apply(params, carry, X[:, 0], method="step")[1], plain[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 10, "heads": 4}, "units is 10 for 4 heads; expected a multiple of 8"),
        ({"context": 0}, "context is 0; expected a whole number"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a share from 0 to below 1"),
        ({"dtype": "float16"}, "dtype.*'float16'"),
        ({"unit": 8}, "unit"),
    ],
)
def test_options_that_no_transformer_can_have(options, message):
    with pytest.raises(UserError, match=message):
        build_recurrent("cell", {"name": "transformer", **options}).init_carry(1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_of_one_query_is_that_of_jax(dtype):
    keys = jax.random.split(KEY, 4)
    query, key, value = (jax.random.normal(each, (3, num, 2, 4)).astype(dtype) for each, num in zip(keys, (1, 7, 7)))
    mask = jax.random.bernoulli(keys[3], 0.6, (3, 1, 1, 7)).at[..., 0].set(True)
    expected = jax.nn.dot_product_attention(query, key, value, mask=mask)
    out = one_query_attention(query, key, value, mask)
    assert out.shape == expected.shape and out.dtype == expected.dtype
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(np.asarray(out, np.float32), np.asarray(expected, np.float32), atol=tolerance)
