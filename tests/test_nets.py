"""The nets against their definitions: resampling, grouped convolution, fix-up, sizes, precision."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from gen_jax.errors import UserError
from gen_jax.nets import DISCRIMINATORS, GENERATORS
from gen_jax.nets.dcgan import DCDiscriminator, DCGenerator
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.layers import BatchNorm, packed, stage_sides, strided_product, upconvolve
from gen_jax.nets.mlp import MLP
from gen_jax.nets.r3 import (
    R3Discriminator,
    R3Generator,
    convolve,
    convolve_by_group,
    downsample,
    grouped_convolve,
    upsample,
)

KEY = jax.random.key(0)
KERNEL = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
SMALL = {"channels": (16, 8), "blocks": 1, "group_width": 8}


def random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_upsample_is_zero_insertion_and_low_pass():
    image = random(6, 6)
    spread = np.zeros((12, 12), np.float32)
    spread[::2, ::2] = image
    expected = scipy.signal.convolve2d(spread, 4 * KERNEL, "full")[1:13, 1:13]
    np.testing.assert_allclose(upsample(image[None, ..., None])[0, ..., 0], expected, atol=1e-5)


def test_downsample_is_low_pass_and_decimation():
    image = random(8, 12)
    expected = scipy.signal.convolve2d(np.pad(image, 1), KERNEL, "valid")[::2, ::2]
    np.testing.assert_allclose(downsample(image[None, ..., None])[0, ..., 0], expected, atol=1e-5)


def test_resampling_keeps_a_constant_inside():
    constant = jnp.ones((1, 8, 8, 3))
    np.testing.assert_allclose(upsample(constant)[0, 2:-2, 2:-2], 1, atol=1e-6)
    np.testing.assert_allclose(downsample(constant)[0, 1:-1, 1:-1], 1, atol=1e-6)


def test_grouped_convolution_has_one_result_in_every_form():
    x, kernel = random(2, 5, 5, 12), random(3, 3, 4, 12)
    grouped = convolve(x, kernel, groups=3)
    np.testing.assert_allclose(convolve_by_group(x, kernel, 3), grouped, atol=1e-4)
    np.testing.assert_allclose(jax.jit(grouped_convolve, static_argnums=2)(x, kernel, 3), grouped, atol=1e-4)
    by_hand = np.concatenate(
        [convolve(x[..., g * 4 : g * 4 + 4], kernel[..., g * 4 : g * 4 + 4]) for g in range(3)], -1
    )
    np.testing.assert_allclose(grouped, by_hand, atol=1e-4)


@pytest.mark.parametrize("side, stages", {8: [4, 8], 28: [7, 14, 28], 32: [4, 8, 16, 32], 4: [4], 7: [7]}.items())
def test_stages_halve_down_to_four_to_seven_pixels(side, stages):
    assert [height for height, _ in stage_sides((side, side, 1))] == stages


def test_a_side_that_cannot_be_halved_is_named():
    with pytest.raises(UserError, match="30x30.*resize=32"):
        stage_sides((30, 30, 1))


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (16, 32, 3)])
def test_r3_nets_mirror_each_other(shape):
    generator, discriminator = R3Generator(shape, **SMALL), R3Discriminator(**SMALL)
    z, x = random(3, 10), random(3, *shape)
    g, d = jax.eval_shape(generator.init, KEY, z), jax.eval_shape(discriminator.init, KEY, x)
    assert jax.eval_shape(generator.apply, g, z).shape == (3, *shape)
    assert jax.eval_shape(discriminator.apply, d, x).shape == (3,)


@pytest.mark.study
def test_r3_blocks_start_as_the_identity():
    x = random(2, 8, 8, 1)
    params = jax.jit(R3Discriminator(**SMALL).init)(KEY, x)
    projections = [leaf for path, leaf in jax.tree.leaves_with_path(params) if "project" in jax.tree_util.keystr(path)]
    assert len(projections) == 2 and all((leaf == 0).all() for leaf in projections)
    deeper = R3Discriminator(**{**SMALL, "blocks": 3})
    scale = [jax.tree.leaves_with_path(jax.jit(net.init)(KEY, x)) for net in (R3Discriminator(**SMALL), deeper)]
    spread = [
        np.std(next(v for p, v in each if "stage_0_block_0']['expand" in jax.tree_util.keystr(p))) for each in scale
    ]
    assert spread[0] / spread[1] == pytest.approx(3**0.25, rel=1e-5)  # fix-up: L^(-1/4), L = 2 and 6 blocks


@pytest.mark.study
def test_r3_discriminator_treats_rows_alone():
    x = random(4, 8, 8, 1)
    net = R3Discriminator(**SMALL)
    params = jax.jit(net.init)(KEY, x)
    np.testing.assert_allclose(net.apply(params, x)[1:2], net.apply(params, x[1:2]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{"name": "mlp"}, {"name": "r3", **SMALL}])
def test_bfloat16_keeps_float32_weights_and_outputs(options):
    options = dict(options)
    name = options.pop("name")
    z, x = random(3, 10), random(3, 8, 8, 1)
    for net, value in (
        (lambda **kw: GENERATORS[name]((8, 8, 1), **options, **kw), z),
        (lambda **kw: DISCRIMINATORS[name](**options, **kw), x),
    ):
        full, half = net(), net(dtype="bfloat16")
        params = jax.jit(half.init)(KEY, value)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
        output = jax.jit(half.apply)(params, value)
        assert output.dtype == jnp.float32
        assert 0 < np.abs(output - jax.jit(full.apply)(params, value)).max() < 0.1
        jaxpr = str(jax.make_jaxpr(half.apply)(params, value))
        assert "bf16" in jaxpr and "bf16" not in str(jax.make_jaxpr(full.apply)(params, value))


def test_maxout_is_the_largest_of_its_maps():
    net = MLP((), hidden=(4,), pieces=3, activation="linear")
    x = random(5, 2)
    params = jax.jit(net.init)(KEY, x)["params"]
    maps = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]
    hidden = np.stack([maps[:, 3 * unit : 3 * unit + 3].max(1) for unit in range(4)], 1)
    expected = hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"][None]
    np.testing.assert_allclose(net.apply({"params": params}, x), expected[:, 0], rtol=1e-4)


def test_dropout_needs_its_key():
    net = MLP((), hidden=(64,), dropout=(0.5, 0.5))
    x = random(5, 8)
    params = jax.jit(net.init)(KEY, x)
    assert np.array_equal(net.apply(params, x), net.apply(params, x))
    dropped = net.apply(params, x, rngs={"dropout": KEY})
    assert not np.allclose(dropped, net.apply(params, x))


@pytest.mark.parametrize("option", ["initializer", "activation", "output"])
def test_unknown_names_list_the_choices(option):
    with pytest.raises(UserError, match="'no_such'.*expected one of"):
        MLP((), **{option: "no_such"}).init(KEY, random(1, 2))


def test_resampling_equals_the_depthwise_convolutions_of_the_benchmark(monkeypatch):
    import importlib
    from pathlib import Path

    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    obvious = importlib.import_module("pairs.r3").obvious_forms()
    x = random(2, 6, 8, 3)
    np.testing.assert_allclose(obvious["upsample"](x), upsample(x), atol=1e-5)
    np.testing.assert_allclose(obvious["downsample"](x), downsample(x), atol=1e-5)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("sides", [(4, 4), (7, 5)])
def test_upconvolve_is_the_transposed_convolution(kernel, sides):
    x, weights = random(2, *sides, 3), random(kernel, kernel, 3, 5)
    layout = ("NHWC", "HWIO", "NHWC")

    def transposed(x, weights):
        return jax.lax.conv_transpose(x, weights, (2, 2), "SAME", dimension_numbers=layout)

    @jax.jit
    def both(x, weights):
        forms = (upconvolve, transposed)
        slopes = [jax.grad(lambda *pair, f=form: jnp.sum(jnp.sin(f(*pair))), argnums=(0, 1)) for form in forms]
        return [(form(x, weights), slope(x, weights)) for form, slope in zip(forms, slopes)]

    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-3), *both(x, weights))


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_strided_product_is_the_strided_convolution(kernel):
    x, weights = random(2, 6, 8, 3), random(kernel, kernel, 3, 5)
    expected = jax.lax.conv_general_dilated(x, weights, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(strided_product(x, weights, (2, 2), "SAME"), expected, atol=1e-5)


DC_SIZES = [
    ((8, 8, 1), None, 4),
    ((28, 28, 3), 7, 5),
    ((28, 28, 4), None, 4),
    ((32, 32, 3), 4, 3),
    ((12, 24, 2), None, 4),
]


@pytest.mark.parametrize("shape, base, kernel", DC_SIZES)
def test_dcgan_for_many_sizes(shape, base, kernel):
    options = {"channels": (8, 4), "base": base, "kernel": kernel}
    generator, discriminator = DCGenerator(shape, **options), DCDiscriminator(**options)
    for c in (None, Embedded(np.eye(5, dtype=np.float32)[[0, 4, 2]])):
        z, x = random(3, 6), random(3, *shape)
        g, d = jax.eval_shape(generator.init, KEY, z, c), jax.eval_shape(discriminator.init, KEY, x, c)
        run = partial(discriminator.apply, mutable=["batch_stats"])
        assert jax.eval_shape(generator.apply, g, z, c).shape == (3, *shape)
        assert jax.eval_shape(run, d, x, c)[0].shape == (3,)


@pytest.mark.parametrize("shape, base", [((28, 28, 1), 4), ((9, 9, 1), None), ((4, 4, 1), None), ((3,), None)])
def test_dcgan_refuses_sizes_it_cannot_halve(shape, base):
    with pytest.raises(UserError, match="a dcgan"):
        DCGenerator(shape, base=base).init(KEY, random(1, 6))


def test_batch_norm_normalises_by_the_rows_that_count():
    x, mask = random(8, 3, 3, 5), np.array([1, 1, 1, 1, 1, 0, 0, 0.0])
    net = BatchNorm()
    variables = jax.jit(net.init)(KEY, x)
    out, changed = net.apply(variables, x, mask=mask, mutable=["batch_stats"])
    real = x[:5].reshape(-1, 5)
    np.testing.assert_allclose(out[:5], (x[:5] - real.mean(0)) / np.sqrt(real.var(0) + 1e-5), atol=1e-5)
    statistics = [np.asarray(leaf) for leaf in jax.tree.leaves(changed)]
    np.testing.assert_allclose(statistics[0], 0.1 * real.mean(0), atol=1e-6)
    np.testing.assert_allclose(statistics[1], 0.9 + 0.1 * real.var(0), atol=1e-6)
    fixed = net.apply({**variables, **changed}, x)  # running averages where they may not be written
    np.testing.assert_allclose(fixed, (x - statistics[0]) / np.sqrt(statistics[1] + 1e-5), atol=1e-5)


def test_conditional_batch_norm_scales_and_shifts_by_the_label():
    x, y = random(4, 2, 2, 3), np.array([0, 1, 1, 0])
    net, c = BatchNorm(), Embedded(np.eye(2, dtype=np.float32)[y])
    variables = jax.jit(net.init)(KEY, x, c)
    variables["params"]["scale"]["embedding"] = jnp.array([[1.0, 1, 1], [2, 2, 2]])
    variables["params"]["shift"]["embedding"] = jnp.array([[0.0, 0, 0], [5, 5, 5]])
    plain = BatchNorm().apply(BatchNorm().init(KEY, x), x, mutable=["batch_stats"])[0]
    out = net.apply(variables, x, c, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(out[y == 0], plain[y == 0], atol=1e-5)
    np.testing.assert_allclose(out[y == 1], 2 * plain[y == 1] + 5, atol=1e-5)


@pytest.mark.parametrize("name, options", {"mlp": {"hidden": (6,)}, "dcgan": {"channels": (6,)}}.items())
def test_spectral_norm_divides_by_the_largest_singular_value(name, options):
    net, x = DISCRIMINATORS[name](norm="spectral", **options), random(2, 8, 8, 1)
    variables, run = jax.jit(net.init)(KEY, x), jax.jit(partial(net.apply, mutable=["spectral"]))
    for _ in range(100):
        logits, changed = run(variables, x)
        variables = {**variables, **changed}

    def divided(leaf):
        return leaf if leaf.ndim < 2 else leaf / np.linalg.norm(leaf.reshape(-1, leaf.shape[-1]), 2)

    params = jax.tree.map(divided, variables["params"])
    expected = DISCRIMINATORS[name](norm="none", **options).apply({"params": params}, x)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-5)
    assert not np.allclose(logits, DISCRIMINATORS[name](norm="none", **options).apply(variables, x), rtol=1e-2)


@pytest.mark.study
def test_spectral_norm_lets_the_gradient_through_the_singular_value():
    net, x = DISCRIMINATORS["mlp"](hidden=(), norm="spectral", output="linear"), random(4, 6)
    variables = jax.jit(net.init)(KEY, x)
    for _ in range(3):
        variables = {**variables, **net.apply(variables, x, mutable=["spectral"])[1]}
    gradient = jax.grad(lambda p: net.apply({**variables, "params": p}, x).sum())(variables["params"])
    kernel = variables["params"]["Dense_0"]["kernel"]
    # D(x) = x W / |W| does not change with the length of W: its gradient is orthogonal to W (Miyato et al., eq. 12)
    assert abs(np.vdot(gradient["Dense_0"]["kernel"], kernel)) < 1e-5 * np.linalg.norm(kernel)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "r3"])
def test_conditional_nets_read_the_label(name):
    options = {"mlp": {"hidden": (8,)}, "dcgan": {"channels": (8,)}, "r3": SMALL}[name]
    x, z, labels = random(3, 8, 8, 1), random(3, 5), np.eye(3, dtype=np.float32)
    generator, discriminator = GENERATORS[name]((8, 8, 1), **options), DISCRIMINATORS[name](**options)
    for net, value in ((generator, z), (discriminator, x)):

        @jax.jit
        def of(label, net=net, value=value):  # labels that start alike are moved apart
            variables = jax.jit(net.init)(KEY, value, Embedded(labels))
            moved = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(KEY, leaf.shape), variables)
            return net.apply(moved, value, Embedded(label), mutable=["batch_stats"])[0]

        assert np.abs(of(labels) - of(labels[[1, 2, 0]])).max() > 1e-3


def test_projection_adds_the_inner_product_with_the_label():
    x, y = random(3, 8, 8, 1), np.array([0, 1, 1])
    c = Embedded(np.eye(2, dtype=np.float32)[y])
    net = DCDiscriminator(channels=(6,), norm="none")
    variables = jax.jit(net.init)(KEY, x, c)
    features = {}

    def spy(call, args, kwargs, context):
        out = call(*args, **kwargs)
        features[context.module.name] = out
        return out

    with nn.intercept_methods(spy):
        logits = net.apply(variables, x, c)
    pooled = nn.leaky_relu(features["conv_0"], 0.2).sum((1, 2))
    embedded = variables["params"]["embed"]["embedding"][y]
    np.testing.assert_allclose(logits, features["output"][:, 0] + (pooled * embedded).sum(1), rtol=1e-4)


def test_packing_puts_examples_side_by_side_in_the_last_axis():
    x = random(6, 4, 4, 2)
    pairs = packed(x, 2)
    assert pairs.shape == (3, 4, 4, 4)
    np.testing.assert_array_equal(pairs[1], np.concatenate([x[2], x[3]], axis=-1))
    np.testing.assert_array_equal(packed(x[:, 0, 0], 3)[1], x[3:, 0, 0].reshape(-1))


@pytest.mark.parametrize("name", ["dcgan", "r3"])
@pytest.mark.parametrize("channels", [(), (0,), (8, -1), (2.5,)])
def test_widths_that_no_stage_can_have(name, channels):
    with pytest.raises(UserError, match="channels .*expected whole numbers above 0"):
        GENERATORS[name]((16, 16, 1), channels=channels).init(KEY, random(1, 6))


@pytest.mark.parametrize("name, option", [("dcgan", "base"), ("r3", "expansion")])
def test_sizes_that_no_net_can_have(name, option):
    with pytest.raises(UserError, match=f"{option} of .* is 0; expected at least 1"):
        GENERATORS[name]((16, 16, 1), **{option: 0}).init(KEY, random(1, 6))
