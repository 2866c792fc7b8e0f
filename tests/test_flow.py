"""Normalizing flows: splines, layers and densities against their inverses, Jacobians and integrals; what is refused."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from families import complete_table
from scipy import stats

from gen_jax.errors import UserError
from gen_jax.models.flow import flow, splines

KEY = jax.random.key(0)
VECTOR = make_spec("vector", (3,))
NETS = {"mlp": {"name": "mlp", "width": 16, "blocks": 1}, "made": {"name": "made", "hidden": (16, 16)}}


@pytest.mark.parametrize("bins", [2, 5])
def test_a_spline_rises_comes_back_and_its_slope_is_its_derivative(bins):
    with jax.enable_x64(True):
        params = 3 * jax.random.normal(KEY, (splines.width(bins),), jnp.float64)
        spline = splines.spline_of(params, bins, 2.0)
        x = jnp.linspace(-3, 3, 601)
        many = jax.tree.map(lambda knots: jnp.tile(knots[None], (601, 1)), spline)
        y, log_slope = splines.forward(many, x, 2.0)
        assert (np.diff(y) > 0).all()
        np.testing.assert_allclose(splines.inverse(many, y, 2.0), x, atol=1e-9)
        slope = jax.vmap(jax.grad(lambda each, one: splines.forward(one, each, 2.0)[0]))(x, many)
        np.testing.assert_allclose(jnp.exp(log_slope), slope, rtol=1e-8)
        outside = abs(np.asarray(x)) >= 2
        np.testing.assert_array_equal(np.asarray(y)[outside], np.asarray(x)[outside])
        np.testing.assert_allclose(spline.x[..., [0, -1]], [-2, 2])


def test_a_spline_is_that_of_the_paper():
    """Equation 4, written out for one bin."""
    with jax.enable_x64(True):
        spline = splines.Spline(
            *(jnp.asarray(each) for each in ([[-1.0, 0.2, 1.0]], [[-1.0, -0.5, 1.0]], [[1.0, 2.5, 1.0]]))
        )
        x = 0.6
        y, _ = splines.forward(spline, jnp.asarray([x]), 1.0)
        s, way, left, right = 1.5 / 0.8, (x - 0.2) / 0.8, 2.5, 1.0
        top = 1.5 * (s * way**2 + left * way * (1 - way))
        expected = -0.5 + top / (s + (left + right - 2 * s) * way * (1 - way))
        assert float(y[0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.study
def test_parameters_of_zero_are_the_identity_and_gradients_stay_finite_far_outside():
    spline = splines.spline_of(jnp.zeros((5, splines.width(8))), 8, 3.0)
    x = jnp.asarray([-1e6, -3.0, 0.0, 2.9, 1e6])
    y, log_slope = splines.forward(spline, x, 3.0)
    np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(log_slope, 0, atol=1e-6)
    gradient = jax.grad(lambda params: splines.forward(splines.spline_of(params, 8, 3.0), x, 3.0)[1].sum())
    assert np.isfinite(gradient(jnp.ones((5, splines.width(8))))).all()


@cache
def noisy(net: str, **options):
    """A flow whose weights are random."""
    model = flow(VECTOR, net=NETS[net], layers=3, bins=4, **options)
    state = model.init(KEY, {"x": jnp.zeros((1, 3))})
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(KEY, len(leaves))
    leaves = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    return model, state._replace(params=tree.unflatten(leaves), average=tree.unflatten(leaves))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("linear", [True, False])
def test_a_flow_comes_back_and_its_density_has_the_determinant_of_its_jacobian(net, linear):
    model, state = noisy(net, linear=linear)
    x = 1.5 * jax.random.normal(KEY, (40, 3))
    latent = model.encode(KEY, state, {"x": x})
    np.testing.assert_allclose(model.decode(KEY, state, latent)["x"], x, atol=5e-4)
    one = lambda row: model.encode(KEY, state, {"x": row[None]})["z"][0]
    jacobian = np.stack([np.asarray(jax.jacfwd(one)(row), np.float64) for row in x])
    expected = stats.norm.logpdf(np.asarray(latent["z"])).sum(1) + np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x}), expected, atol=2e-3)


@pytest.mark.study
@pytest.mark.parametrize("net", NETS)
def test_a_density_integrates_to_one_and_its_samples_follow_it(net):
    spec = make_spec("vector", (2,))
    model = flow(spec, net=NETS[net], layers=2, bins=4, optimizer={"name": "adam", "learning_rate": 5e-3})
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, {"x": jnp.zeros((128, 2))})
    random = np.random.default_rng(0)
    for number in range(150):
        first = random.choice([-1, 1], (128, 1)) + 0.3 * random.normal(size=(128, 1))
        x = np.concatenate([first, first**2 + 0.3 * random.normal(size=(128, 1))], 1)
        state, _ = step(jax.random.fold_in(KEY, number), state, {"x": jnp.asarray(x, jnp.float32)})
    axis = np.linspace(-6, 6, 301)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(np.asarray(model.log_prob(KEY, state, {"x": jnp.asarray(grid, jnp.float32)}), np.float64))
    area = (axis[1] - axis[0]) ** 2
    assert p.sum() * area == pytest.approx(1, abs=5e-3)
    drawn = np.asarray(model.sample(KEY, state, 2000)["x"])
    for column in range(2):
        below = np.cumsum(p.reshape(301, 301).sum(1 - column)) * area
        u = np.interp(drawn[:, column], axis + (axis[1] - axis[0]) / 2, below / below[-1])
        assert stats.kstest(u, "uniform").pvalue > 1e-4


@pytest.mark.study
def test_draws_of_a_row_do_not_depend_on_the_other_rows():
    model, state = noisy("mlp")
    few, many = (np.asarray(model.sample(KEY, state, num)["x"]) for num in (4, 9))
    np.testing.assert_allclose(few, many[:4], atol=1e-6)


@pytest.mark.study
def test_a_table_of_numbers_is_modelled_and_one_number_too():
    spec = complete_table(None, None)
    model = flow(spec, layers=1, net=NETS["mlp"])
    state = model.init(KEY, {"x": jnp.zeros((1, 2))})
    assert model.sample(KEY, state, 3)["x"].shape == (3, 2) and model.log_prob is not None
    single = flow(make_spec("vector", (1,)), layers=2, net=NETS["mlp"])
    state = single.init(KEY, {"x": jnp.zeros((1, 1))})
    np.testing.assert_allclose(single.log_prob(KEY, state, {"x": jnp.zeros((1, 1))}), stats.norm.logpdf(0.0), rtol=1e-5)


@pytest.mark.parametrize(
    "spec, options, line",
    [
        (complete_table(2, None), {}, "column 'x0' of .* holds levels; expected complete columns of numbers"),
        (table_spec(None, None), {}, "column 'x0' of .* may have missing cells"),
        (make_spec("series", (4, 2)), {}, "holds series data; expected images, vectors or a table of numbers"),
        (VECTOR, {"layers": 0}, "layers is 0"),
        (VECTOR, {"bins": 1}, "bins is 1"),
        (VECTOR, {"box": -1.0}, "box is -1.0; expected a number above 0"),
        (VECTOR, {"net": {"name": "unet"}}, "unknown net 'unet'; expected one of mlp, made"),
        (VECTOR, {"net": {"name": "made", "hidden": (0,)}}, "a width in hidden of made is 0"),
        (VECTOR, {"conditional": True}, "labels of .* are missing"),
    ],
)
def test_faulty_models_are_refused(spec, options, line):
    with pytest.raises(UserError, match=line):
        flow(spec, **options)
