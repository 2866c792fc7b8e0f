"""The nets against their definitions: resampling, grouped convolution, fix-up, sizes, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from gen_jax.errors import UserError
from gen_jax.nets import DISCRIMINATORS, GENERATORS
from gen_jax.nets.mlp import MLP
from gen_jax.nets.r3 import (
    R3Discriminator,
    R3Generator,
    convolve,
    convolve_by_group,
    downsample,
    grouped_convolve,
    stage_sides,
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
    g, d = generator.init(KEY, z), discriminator.init(KEY, x)
    assert generator.apply(g, z).shape == (3, *shape)
    assert discriminator.apply(d, x).shape == (3,)


def test_r3_blocks_start_as_the_identity():
    x = random(2, 8, 8, 1)
    params = R3Discriminator(**SMALL).init(KEY, x)
    projections = [leaf for path, leaf in jax.tree.leaves_with_path(params) if "project" in jax.tree_util.keystr(path)]
    assert len(projections) == 2 and all((leaf == 0).all() for leaf in projections)
    deeper = R3Discriminator(**{**SMALL, "blocks": 3})
    scale = [jax.tree.leaves_with_path(net.init(KEY, x)) for net in (R3Discriminator(**SMALL), deeper)]
    spread = [
        np.std(next(v for p, v in each if "stage_0_block_0']['expand" in jax.tree_util.keystr(p))) for each in scale
    ]
    assert spread[0] / spread[1] == pytest.approx(3**0.25, rel=1e-5)  # fix-up: L^(-1/4), L = 2 and 6 blocks


def test_r3_discriminator_treats_rows_alone():
    x = random(4, 8, 8, 1)
    net = R3Discriminator(**SMALL)
    params = net.init(KEY, x)
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
        params = half.init(KEY, value)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
        output = half.apply(params, value)
        assert output.dtype == jnp.float32
        assert 0 < np.abs(output - full.apply(params, value)).max() < 0.1
        jaxpr = str(jax.make_jaxpr(half.apply)(params, value))
        assert "bf16" in jaxpr and "bf16" not in str(jax.make_jaxpr(full.apply)(params, value))


def test_maxout_is_the_largest_of_its_maps():
    net = MLP((), hidden=(4,), pieces=3, activation="linear")
    x = random(5, 2)
    params = net.init(KEY, x)["params"]
    maps = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]
    hidden = np.stack([maps[:, 3 * unit : 3 * unit + 3].max(1) for unit in range(4)], 1)
    expected = hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"][None]
    np.testing.assert_allclose(net.apply({"params": params}, x), expected[:, 0], rtol=1e-4)


def test_dropout_needs_its_key():
    net = MLP((), hidden=(64,), dropout=(0.5, 0.5))
    x = random(5, 8)
    params = net.init(KEY, x)
    assert np.array_equal(net.apply(params, x), net.apply(params, x))
    dropped = net.apply(params, x, rngs={"dropout": KEY})
    assert not np.allclose(dropped, net.apply(params, x))


@pytest.mark.parametrize("option", ["initializer", "activation", "output"])
def test_unknown_names_list_the_choices(option):
    with pytest.raises(UserError, match="'no_such'.*choices are"):
        MLP((), **{option: "no_such"}).init(KEY, random(1, 2))


def test_resampling_equals_the_depthwise_convolutions_of_the_benchmark():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "benchmarks" / "r3_forms.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("r3_forms", path))
    module.__spec__.loader.exec_module(module)
    x = random(2, 6, 8, 3)
    np.testing.assert_allclose(module.OBVIOUS["upsample"](x), upsample(x), atol=1e-5)
    np.testing.assert_allclose(module.OBVIOUS["downsample"](x), downsample(x), atol=1e-5)
