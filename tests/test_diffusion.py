"""Diffusion: the change of basis, schedules, solvers and densities against closed forms, guidance, completion, refusals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from scipy import stats
from scipy.optimize import linear_sum_assignment

from gen_jax.distributions.pixels import whole
from gen_jax.errors import UserError
from gen_jax.models.diffusion import denoising_loss, diffusion, error_of
from gen_jax.models.diffusion.bound import bound
from gen_jax.models.diffusion.denoising import Estimate
from gen_jax.models.diffusion.mean_flow import mean_flow_error
from gen_jax.models.diffusion.pairing import transported
from gen_jax.models.diffusion.schedules import DENSITIES, PREDICTIONS, SCHEDULES, shares_of, strata
from gen_jax.models.diffusion.solvers import Method, normal, solved, solver_of
from gen_jax.nets.denoisers import PatchTransformer, patches, unpatched
from gen_jax.nets.denoising_unet import DenoisingUNet

KEY = jax.random.key(0)
NOISE = {"name": "mlp", "width": 32, "blocks": 1}
VECTOR = make_spec("vector", (2,))
IMAGE = make_spec("image", (4, 4, 1))
MEAN, SPREAD = np.array([0.3, -0.2]), 0.4
TIMES = jnp.linspace(0.02, 0.98, 25)


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_is_the_inverse_of_the_share_of_noise_and_velocities_are_slopes(name):
    schedule = SCHEDULES[name]()
    a, s = schedule.data(TIMES), schedule.noise(TIMES)
    np.testing.assert_allclose(schedule.time(s / a), TIMES, atol=2e-5)
    with jax.enable_x64(True):
        for slope, curve in zip(schedule.velocity(TIMES), (schedule.data, schedule.noise)):
            t, step = np.asarray(TIMES, np.float64), 1e-6
            finite = (curve(jnp.asarray(t + step)) - curve(jnp.asarray(t - step))) / (2 * step)
            np.testing.assert_allclose(slope, finite, rtol=1e-4, atol=1e-5)
    if name == "cosine":
        np.testing.assert_allclose(a**2 + s**2, 1, rtol=1e-6)
    grid = schedule.grid(10)
    assert (np.diff(grid.s) < 0).all() and (np.diff(grid.a) >= 0).all() and (grid.a[-1], grid.s[-1]) == (1, 0)


def test_the_grid_of_edm_is_that_of_the_paper():
    steps, low, high, rho = 18, 0.002, 80.0, 7.0
    i = np.arange(steps)
    expected = (high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    np.testing.assert_allclose(SCHEDULES["edm"]().grid(steps).s, [*expected, 0], rtol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_prediction_gives_back_the_data_and_the_noise(schedule, name):
    random = np.random.default_rng(0)
    x, e = (jnp.asarray(random.uniform(-1.5, 1.5, 25), jnp.float32) for _ in range(2))  # within what a bound allows
    at = shares_of(SCHEDULES[schedule](), 0.7, TIMES)
    p, q = at.predicted(name)
    found = at.solved(name, at.a * x + at.s * e, p * x + q * e)
    clear = np.asarray(at.s / at.a > 1e-3) & np.asarray(at.s / at.a < 1e3)  # float32 tells both apart
    np.testing.assert_allclose(np.asarray(found[0])[clear], np.asarray(x)[clear], atol=2e-3)
    np.testing.assert_allclose(np.asarray(found[1])[clear], np.asarray(e)[clear], atol=6e-2 if name == "x" else 2e-2)


def test_v_is_the_output_of_edm_with_another_sign():
    """c_skip, c_out and the target of the net of Karras et al. 2022, table 1."""
    deviation, schedule = 0.5, SCHEDULES["edm"]()
    at, sigma = shares_of(schedule, deviation, TIMES), np.asarray(schedule.noise(TIMES), np.float64)
    x, e = np.random.default_rng(0).normal(size=(2, 25))
    skip = deviation**2 / (sigma**2 + deviation**2)
    out = sigma * deviation / np.sqrt(sigma**2 + deviation**2)
    target = (x - skip * (x + sigma * e)) / out
    p, q = (np.asarray(share, np.float64) for share in at.predicted("v"))
    np.testing.assert_allclose(-(p * x + q * e), target, rtol=2e-3, atol=1e-3)


def test_the_error_of_another_target_is_that_target_of_x_and_e():
    random = np.random.default_rng(0)
    x, e, wrong = (jnp.asarray(random.normal(size=(25, 2)), jnp.float32) for _ in range(3))
    model = diffusion(VECTOR, net=NOISE, prediction="x", target="u").init.args[0]
    at = shares_of(model.schedule, 1.0, TIMES[:, None])
    z = at.a * x + at.s * e
    seen = error_of(model, at, z, x, e, wrong)
    noise = (z - at.a * wrong) / at.s  # that goes with the wrong x
    expected = (wrong - noise) - (x - e)
    np.testing.assert_allclose(seen[:-2], expected[:-2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DENSITIES)
def test_times_follow_their_density(name):
    schedule = SCHEDULES["edm"]() if name == "log_normal" else SCHEDULES["flow"]()
    t = np.asarray(DENSITIES[name]()(schedule, (jnp.arange(2000) + 0.5) / 2000))
    if name == "log_normal":
        logs = np.log(np.asarray(schedule.noise(jnp.asarray(t))))
        np.testing.assert_allclose((logs.mean(), logs.std()), (-1.2, 1.2), atol=0.02)
    else:
        cdf = stats.norm(0, 1).cdf(np.log(t / (1 - t))) if name == "logit_normal" else t
        np.testing.assert_allclose(cdf, (np.arange(2000) + 0.5) / 2000, atol=1e-4)


def test_every_stratum_has_one_row_and_padding_rows_take_none():
    weight = jnp.asarray([1, 1, 0, 1, 1, 0, 0, 1.0])
    u = np.asarray(strata(KEY, weight))[np.asarray(weight) > 0]
    assert sorted(np.floor(5 * ((u - u[0]) % 1) + 1e-3).astype(int)) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(u, strata(KEY, jnp.ones(5)), rtol=1e-6)


def exact(schedule, z: jax.Array, weight: jax.Array, t: jax.Array) -> Estimate:
    """The best estimate for data that are N(MEAN, SPREAD^2)."""
    a, s = schedule.data(t), schedule.noise(t)
    gain = a * SPREAD**2 / (a**2 * SPREAD**2 + s**2)
    x = MEAN[None] + gain * (z - a * MEAN[None])
    return Estimate(x, jnp.where(s > 0, (z - a * x) / jnp.where(s > 0, s, 1), 0))


@cache
def drawn(schedule: str, solver: str, steps: int, churn: float = 0.0) -> np.ndarray:
    path = SCHEDULES[schedule]()
    numbers = solver_of(path.grid(steps), churn, 1.0, 0.0, 1.0)
    keys = jax.random.split(KEY, 4000)
    scale = np.sqrt(numbers.s[0] ** 2 + SPREAD**2 * numbers.a[0] ** 2)
    start = scale * normal(keys, (2,)) + numbers.a[0] * MEAN[None]
    return np.asarray(solved(partial(exact, path), keys, start, numbers, Method(solver, False, churn > 0)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "solver, steps, churn", [("euler", 200, 0.0), ("heun", 40, 0.0), ("multistep", 60, 0.0), ("euler", 400, 1.0)]
)
def test_solvers_end_at_the_gaussian_that_the_data_are(schedule, solver, steps, churn):
    x = drawn(schedule, solver, steps, churn)
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.03)
    np.testing.assert_allclose(x.std(0), SPREAD, rtol=0.05)
    for column in ((x - MEAN) / SPREAD).T:
        assert stats.kstest(column, "norm").pvalue > 1e-4


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_solvers_have_their_order(schedule):
    """The map from noise to data is linear; its slope is SPREAD over the scale of the noise."""

    def error(solver: str, steps: int) -> float:
        x = drawn(schedule, solver, steps)
        return abs(x.std(0) - drawn(schedule, "heun", 640).std(0)).max()

    rates = {solver: np.log2(error(solver, 80) / error(solver, 160)) for solver in ("euler", "heun", "multistep")}
    assert 0.9 < rates["euler"] < 1.1 and rates["heun"] > 1.8 and rates["multistep"] > 1.3, rates
    assert error("multistep", 40) < error("euler", 40) / 4


@cache
def fitted(schedule: str = "flow", ode_steps: int = 100, prediction: str = "v"):
    """A model of N(MEAN, SPREAD^2), and its state after some steps."""
    settings = {
        "net": NOISE,
        "deviation": 0.5,
        "optimizer": {"name": "adam", "learning_rate": 3e-3},
        "ema_half_life": 5e3,
    }
    model = diffusion(VECTOR, schedule={"name": schedule}, ode_steps=ode_steps, prediction=prediction, **settings)
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, {"x": jnp.zeros((256, 2))})
    random = np.random.default_rng(0)
    for number in range(400):
        x = MEAN + SPREAD * random.normal(size=(256, 2))
        state, _ = step(jax.random.fold_in(KEY, number), state, {"x": jnp.asarray(x, jnp.float32)})
    return model, state


@pytest.mark.study
def test_the_density_integrates_to_one_and_is_that_of_the_data_and_of_the_samples():
    model, state = fitted()
    axis = np.linspace(-2.2, 2.8, 101)
    grid = np.stack(np.meshgrid(axis, axis - 0.5, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(np.asarray(model.log_prob(KEY, state, {"x": jnp.asarray(grid, jnp.float32)}), np.float64))
    assert p.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=2e-3)
    x = MEAN + SPREAD * np.random.default_rng(1).normal(size=(2000, 2))
    log_p = np.asarray(model.log_prob(KEY, state, {"x": jnp.asarray(x, jnp.float32)}))
    assert abs(log_p - stats.norm.logpdf(x, MEAN, SPREAD).sum(1)).mean() < 0.1
    samples = np.asarray(model.sample(KEY, state, 2000)["x"])
    inside = p.reshape(101, 101).sum(1).cumsum() * (axis[1] - axis[0]) ** 2
    assert stats.kstest(np.interp(samples[:, 0], axis + (axis[1] - axis[0]) / 2, inside), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_decoding_what_is_encoded_gives_it_back(schedule):
    model, state = fitted(schedule, 200)
    x = jnp.asarray(MEAN + SPREAD * np.random.default_rng(2).normal(size=(50, 2)), jnp.float32)
    latent = model.encode(KEY, state, {"x": x})
    np.testing.assert_allclose(model.decode(KEY, state, latent)["x"], x, atol=3e-3)
    assert abs(np.asarray(latent["z"]).std() - 1) < 0.3


LABELLED = make_spec("vector", (2,))._replace(classes=("left", "right"))


@cache
def of_two_labels():
    """Labels whose rows lie at -1 and 1."""
    model = diffusion(
        LABELLED,
        net=NOISE,
        conditional=True,
        drop=0.3,
        optimizer={"name": "adam", "learning_rate": 3e-3},
        ema_half_life=5e3,
    )
    random, step = np.random.default_rng(0), jax.jit(model.step)
    batch = {"x": jnp.zeros((256, 2)), "y": jnp.zeros(256, jnp.int32)}
    state = jax.jit(model.init)(KEY, batch)
    for number in range(400):
        y = random.integers(0, 2, 256)
        x = (2 * y - 1)[:, None] + 0.6 * random.normal(size=(256, 2))
        state, _ = step(jax.random.fold_in(KEY, number), state, {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y)})
    return model, state


@pytest.mark.study
def test_guidance_of_one_is_none_and_more_moves_samples_away_from_the_other_label():
    model, state = of_two_labels()
    given = {"y": jnp.zeros(500, jnp.int32)}
    draws = [
        np.asarray(model.sample(KEY, state, 500, given, how)["x"])
        for how in (None, {"guidance": 1.0}, {"guidance": 3.0})
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert draws[0].mean() == pytest.approx(-1, abs=0.15) and draws[2].mean() < draws[0].mean() - 0.2
    for how in ({"guidance": 3.0, "guide_from": 0.9, "guide_to": 0.1}, {"guide_from": 0.5}):
        with pytest.raises(UserError, match="which guides no step"):
            model.sample(KEY, state, 500, given, how)
    late = np.asarray(model.sample(KEY, state, 500, given, {"guidance": 3.0, "guide_from": 0.5})["x"])
    assert draws[2].mean() < late.mean() < draws[0].mean()
    none = np.asarray(model.sample(KEY, state, 500, given, {"guidance": 0.0})["x"])
    assert abs(none.mean()) < 0.3 and none.std() > draws[0].std()  # as without labels


@pytest.mark.study
def test_draws_of_a_row_do_not_depend_on_the_other_rows():
    model, state = of_two_labels()
    y = jnp.arange(9) % 2
    for how in ({}, {"churn": 1.0, "solver": "euler"}, {"guidance": 2.0, "solver": "multistep"}):
        few, many = (np.asarray(model.sample(KEY, state, num, {"y": y[:num]}, how)["x"]) for num in (4, 9))
        np.testing.assert_allclose(few, many[:4], atol=1e-5)
    turned = np.asarray(model.sample(KEY, state, 9, {"y": 1 - y})["x"])
    assert (abs(turned - many) > 1e-3).any(1).all()


@pytest.mark.study
def test_observed_numbers_stay_and_the_others_follow_them():
    """The two numbers of a row are nearly equal."""
    model = diffusion(
        VECTOR, net=NOISE, observed=True, optimizer={"name": "adam", "learning_rate": 3e-3}, ema_half_life=5e3
    )
    assert model.log_prob is None and model.decode is None
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, {"x": jnp.zeros((256, 2))})
    random = np.random.default_rng(0)
    for number in range(600):
        x = random.normal(size=(256, 1)) * 0.5 + 0.05 * random.normal(size=(256, 2))
        state, _ = step(jax.random.fold_in(KEY, number), state, {"x": jnp.asarray(x, jnp.float32)})
    x = jnp.asarray(np.repeat(random.normal(size=(200, 1)) * 0.5, 2, 1), jnp.float32)
    mask = jnp.asarray(np.arange(2)[None] == np.zeros((200, 1)))
    drawn = np.asarray(model.sample(KEY, state, 200, {"x": jnp.where(mask, x, 77), "mask": mask})["x"])
    np.testing.assert_array_equal(drawn[:, 0], x[:, 0])
    assert np.corrcoef(drawn.T)[0, 1] > 0.9
    free = np.asarray(model.sample(KEY, state, 200)["x"])
    assert np.corrcoef(free.T)[0, 1] > 0.9 and free.std() == pytest.approx(0.5, abs=0.12)


@pytest.mark.study
def test_observed_cells_of_a_table_stay_and_the_others_follow_them():
    """The level says the sign of the number. A third of the cells is missing."""
    spec = table_spec(2, None)
    spec.info["columns"][1]["modes"] = {"weight": [0.5, 0.5], "mean": [-1.0, 1.0], "deviation": [0.2, 0.2]}
    adam = {"name": "adam", "learning_rate": 3e-3}
    model = diffusion(spec, net={**NOISE, "width": 64}, observed=True, optimizer=adam, ema_half_life=5e3)
    assert model.given == ("x", "mask")
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, {"x": jnp.zeros((256, 2)), "mask": jnp.ones((256, 2))})
    random = np.random.default_rng(0)
    for number in range(400):
        y = random.integers(0, 2, 256)
        x = np.stack([y, 2 * y - 1 + 0.2 * random.normal(size=256)], 1)
        batch = {"x": jnp.asarray(x, jnp.float32), "mask": jnp.asarray(random.random((256, 2)) < 0.67)}
        state, _ = step(jax.random.fold_in(KEY, number), state, batch)
    y = np.arange(300) % 2
    both = jnp.asarray(np.stack([y, 2.0 * y - 1], 1), jnp.float32)
    for column in (0, 1):
        mask = jnp.asarray(np.arange(2)[None] == np.full((300, 1), column))
        drawn = np.asarray(model.sample(KEY, state, 300, {"x": jnp.where(mask, both, jnp.nan), "mask": mask})["x"])
        np.testing.assert_array_equal(drawn[:, column], both[:, column])
        assert ((drawn[:, 1] > 0) == (drawn[:, 0] == 1)).mean() > 0.95
    free = np.asarray(model.sample(KEY, state, 300)["x"])
    assert ((free[:, 1] > 0) == (free[:, 0] == 1)).mean() > 0.9 and 0.35 < free[:, 0].mean() < 0.65
    with pytest.raises(UserError, match="row 0, column 0 of x is 3; expected a level from 0 to 1"):
        model.sample(KEY, state, 1, {"x": jnp.asarray([[3.0, 0.0]]), "mask": jnp.ones((1, 2), bool)})


def test_noise_is_transported_at_the_least_cost_within_a_class_and_padding_keeps_its_own():
    random = np.random.default_rng(1)
    x, e = (random.normal(size=(24, 2, 3)).astype(np.float32) for _ in range(2))
    y, weight = np.arange(24) % 3, np.where(np.arange(24) < 20, 1.0, 0.0)
    paired = np.asarray(jax.jit(transported)(x, e, y, weight))
    np.testing.assert_array_equal(paired[20:], e[20:])
    for label in range(3):
        rows = (y == label) & (weight > 0)
        cost = np.square(x[rows][:, None] - e[rows][None]).sum((2, 3))
        np.testing.assert_array_equal(paired[rows], e[rows][linear_sum_assignment(cost)[1]])
    alone = transported(x[:20], e[:20], None, weight[:20])
    cost = np.square(x[:20][:, None] - e[:20][None]).sum((2, 3))
    np.testing.assert_array_equal(alone, e[:20][linear_sum_assignment(cost)[1]])


def test_noise_is_transported_in_groups_of_neighbours():
    x, e = np.random.default_rng(2).normal(size=(2, 150, 2)).astype(np.float32)
    paired = np.asarray(jax.jit(transported)(x, e, None, jnp.ones(150)))
    for rows in (slice(0, 64), slice(64, 128), slice(128, 150)):
        cost = np.square(x[rows][:, None] - e[rows][None]).sum(2)
        np.testing.assert_array_equal(paired[rows], e[rows][linear_sum_assignment(cost)[1]])


def test_transport_leaves_no_fresh_noise():
    """With independent noise, e is N(0, 1) for each row, and a step may replace a part of it. With transport it is not."""
    model = diffusion(VECTOR, NOISE, pairing="transport")
    state = jax.jit(model.init)(KEY, {"x": jnp.zeros((1, 2))})
    with pytest.raises(UserError, match="churn is 0.5 and this model was trained with pairing=transport; expected 0"):
        model.sample(KEY, state, 3, how={"churn": 0.5})


def test_mean_velocities_leave_no_fresh_noise():
    model = diffusion(VECTOR, NOISE, prediction="u", mean_flow=0.25)
    state = jax.jit(model.init)(KEY, {"x": jnp.zeros((1, 2))})
    with pytest.raises(UserError, match="churn is 0.5 with the solver mean, which draws no fresh noise; expected 0"):
        model.sample(KEY, state, 3, how={"churn": 0.5})


@pytest.mark.study
def test_transport_makes_paths_straighter():
    """Euler's method in four steps comes nearer to the end of the path in 200 steps."""
    x = jnp.asarray([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5], [0.0, -1.5]])[jnp.arange(64) % 4]
    errors = []
    for pairing in ("independent", "transport"):
        model = diffusion(
            VECTOR,
            {"name": "mlp", "width": 48, "blocks": 2},
            pairing=pairing,
            prediction="u",
            ema_half_life=500.0,
            optimizer={"name": "adam", "learning_rate": 3e-3},
        )
        state, step = jax.jit(model.init)(KEY, {"x": x}), jax.jit(model.step)
        for number in range(300):
            state, _ = step(jax.random.key(number), state, {"x": x})
        few, many = (model.sample(KEY, state, 500, how={"steps": steps, "solver": "euler"})["x"] for steps in (4, 200))
        errors.append(float(jnp.abs(few - many).mean()))
    assert errors[1] < 0.6 * errors[0]


class MeanVelocity:
    """The exact mean velocity of the straight path for data that are N(MEAN, SPREAD^2)."""

    def init(self, *inputs):
        return {"params": {}}

    def apply(self, weights, z, c, level, **options):
        t, until = ((time + 1) / 2 for time in level.T[..., None])
        z = z * jnp.sqrt(0.25 * t**2 + (1 - t) ** 2)
        widths = [jnp.sqrt((SPREAD * time) ** 2 + (1 - time) ** 2) for time in (t, until)]
        end = until * MEAN[None] + widths[1] / widths[0] * (z - t * MEAN[None])
        slope = (SPREAD**2 * t - (1 - t)) / widths[0]  # of the width in t
        velocity = MEAN[None] + slope / widths[0] * (z - t * MEAN[None])
        apart = until - t > 1e-3
        return jnp.where(apart, (end - z) / jnp.where(apart, until - t, 1), velocity)


@pytest.mark.parametrize("t, until", [(0.0, 1.0), (0.2, 0.7), (0.5, 0.9), (0.4, 0.4)])
def test_the_exact_mean_velocity_has_no_error_for_any_noisy_row(t, until):
    model = diffusion(VECTOR, MeanVelocity(), prediction="u", mean_flow=0.5, deviation=0.5).init.args[0]
    num = 200_000
    random = np.random.default_rng(0)
    x, e = MEAN + SPREAD * random.normal(size=(num, 2)), random.normal(size=(num, 2))
    times = jnp.full(num, t), jnp.full(num, until)
    error = np.asarray(mean_flow_error(model, {}, KEY, jnp.float32(x), jnp.float32(e), times, None, None))
    z = t * x + (1 - t) * e
    for feature in (1.0, z - z.mean(0)):
        product = error * feature
        assert (abs(product.mean(0)) < 5 * product.std(0) / np.sqrt(num) + 1e-4).all()
    assert error.std() > 0.1  # a single row has an error: the velocity of its own data


@pytest.mark.study
def test_steps_of_mean_velocities_end_where_the_path_ends():
    model = diffusion(VECTOR, MeanVelocity(), prediction="u", mean_flow=0.5, deviation=0.5)
    state = model.init(KEY, {"x": jnp.zeros((1, 2))})
    one, four = (model.sample(KEY, state, 3000, how=how)["x"] for how in (None, {"steps": 4, "solver": "mean"}))
    np.testing.assert_allclose(one, four, atol=1e-5)
    path = model.sample(KEY, state, 3000, how={"steps": 200, "solver": "heun"})["x"]
    np.testing.assert_allclose(one, path, atol=2e-3)
    np.testing.assert_allclose(one.mean(0), MEAN, atol=0.03)
    another = [
        model.sample(KEY, state, 9, how=how)["x"] for how in ({"solver": "heun"}, {"solver": "heun", "steps": 50})
    ]
    np.testing.assert_array_equal(*another)  # not in the one step of the solver `mean`


@pytest.mark.study
def test_one_step_of_a_trained_mean_flow_draws_the_data():
    """The rows are -1 or 1. Euler's step from noise ends at their mean, 0."""
    net = {"name": "mlp", "width": 64, "blocks": 2}
    adam = {"name": "adam", "learning_rate": 3e-3}
    model = diffusion(
        make_spec("vector", (1,)), net, prediction="u", mean_flow=0.5, deviation=1.0, optimizer=adam, ema_half_life=5e3
    )
    x = jnp.asarray(1.0 - 2 * (np.arange(256) % 2), jnp.float32)[:, None]
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, {"x": x})
    for number in range(800):
        state, _ = step(jax.random.fold_in(KEY, number), state, {"x": x})
    mean, euler = (
        np.asarray(model.sample(KEY, state, 1000, how=how)["x"]) for how in ({}, {"solver": "euler", "steps": 1})
    )
    distances = [abs(abs(x) - 1).mean() for x in (mean, euler)]
    assert distances[0] < 0.5 < 0.8 < distances[1] and 0.4 < (mean > 0).mean() < 0.6


@pytest.mark.study
def test_gradients_of_the_loss_are_those_of_finite_differences():
    model = diffusion(VECTOR, net=NOISE, prediction="e", schedule={"name": "cosine"}).init.args[0]
    params = model.net.init(KEY, jnp.zeros((1, 2)), None, jnp.zeros(1))
    leaves, tree = jax.tree.flatten(params)
    params = tree.unflatten(
        [leaf + 0.1 * jax.random.normal(jax.random.key(at), leaf.shape) for at, leaf in enumerate(leaves)]
    )
    batch = {"x": jax.random.normal(KEY, (16, 2))}
    with jax.enable_x64(True):
        params, batch = (jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), each) for each in (params, batch))
        loss = partial(denoising_loss, model)
        gradient = jax.grad(loss)(params, KEY, batch)
        path = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(leaf.size).normal(size=leaf.shape)), params)
        ends = [
            loss(jax.tree.map(lambda leaf, way: leaf + step * way, params, path), KEY, batch) for step in (1e-5, -1e-5)
        ]
        slope = sum(jax.tree.leaves(jax.tree.map(lambda g, way: (g * way).sum(), gradient, path)))
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, slope, rtol=1e-5)


def test_patches_come_back_and_the_transformer_refuses_sizes_that_do_not_fit():
    x = jax.random.normal(KEY, (3, 6, 4, 2))
    np.testing.assert_array_equal(unpatched(patches(x, 2), 2, (6, 4, 2)), x)
    np.testing.assert_array_equal(patches(x, 2)[0, 1], x[0, :2, 2:].reshape(-1))
    for options, shape, line in (
        ({"patch": 3}, (4, 4, 1), "patch of transformer is 3; expected a divisor of both sides of images of 4x4"),
        ({"units": 20, "heads": 4}, (4, 4, 1), "units of transformer is 20 with 4 heads; expected a multiple of 16"),
        ({}, (5,), "expected images for the net transformer, or the net mlp"),
        ({"dropout": 2.0}, (4, 4, 1), "dropout of transformer is 2.0; expected a share from 0 to below 1"),
    ):
        with pytest.raises(UserError, match=line):
            PatchTransformer(shape, **options).check()


def test_the_unet_refuses_sizes_that_do_not_fit():
    for options, shape, line in (
        ({}, (6, 8, 1), "unet has 3 resolutions; expected sides that are multiples of 4, and images have 8x6 pixels"),
        ({"channels": 12, "groups": 8}, (8, 8, 1), "groups of unet is 8; expected a divisor of channels 12"),
        ({"channels": 12, "groups": 4, "heads": 5}, (8, 8, 1), "heads of unet is 5; expected a divisor of channels 12"),
        ({}, (5,), "expected images for the net unet, or the net mlp"),
        ({"multiples": ()}, (8, 8, 1), "multiples of unet is empty; expected a width for each resolution"),
        ({"multiples": (1, 1.5)}, (8, 8, 1), "multiples of unet is 1.5; expected a whole number, at least 1"),
        ({"dropout": 1.0}, (8, 8, 1), "dropout of unet is 1.0; expected a share from 0 to below 1"),
        ({"dtype": "bfloat"}, (8, 8, 1), "unknown dtype 'bfloat'; expected one of .*bfloat16"),
    ):
        with pytest.raises(UserError, match=line):
            DenoisingUNet(shape, **options).check()


@pytest.mark.study
def test_pixels_of_the_unet_reach_each_other_and_rows_do_not():
    net = DenoisingUNet((8, 8, 1), channels=8, multiples=(1, 2), blocks=1, heads=2, groups=4)
    z, level = jax.random.normal(KEY, (2, 8, 8, 1)), jnp.zeros(2)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(KEY, leaf.shape), jax.jit(net.init)(KEY, z, None, level)
    )
    change = jax.jit(jax.grad(lambda z: net.apply(params, z, None, level)[0, 0, 0, 0]))(z)
    assert (change[0] != 0).all() and (change[1] == 0).all()


@pytest.mark.parametrize(
    "spec, options, line",
    [
        (VECTOR, {"prediction": "w"}, "unknown prediction 'w'; expected one of x, e, u, v"),
        (VECTOR, {"target": "w"}, "unknown target 'w'"),
        (VECTOR, {"schedule": {"name": "line"}}, "unknown schedule 'line'"),
        (VECTOR, {"schedule": {"name": "edm", "smallest": 3.0, "largest": 2.0}}, "are no edm schedule"),
        (VECTOR, {"times": {"name": "normal"}}, "unknown times 'normal'.*log_normal"),
        (VECTOR, {"prediction": "e", "schedule": {"name": "edm"}}, "prediction is 'e' with the schedule edm"),
        (VECTOR, {"prediction": "u", "schedule": "edm"}, "prediction is 'u' with the schedule edm"),
        (VECTOR, {"deviation": 0.0}, "deviation is 0.0; expected a number above 0"),
        (VECTOR, {"drop": 1.0}, "drop is 1.0; expected a share"),
        (VECTOR, {"ode_steps": 0}, "ode_steps is 0"),
        (
            make_spec("series", (4, 2))._replace(info={"ragged": True}),
            {},
            "expected rows of one length for a diffusion",
        ),
        (VECTOR, {"conditional": True}, "labels of .* are missing"),
        (VECTOR, {"pairing": "optimal"}, "unknown pairing .optimal.; expected one of independent, transport"),
        (VECTOR, {"pairing": "transport", "observed": True}, "pairing is .transport. with observed numbers"),
        (make_spec("text", (4,))._replace(info={"vocabulary": list("ab")}), {}, "holds text data; expected images"),
        (VECTOR, {"mean_flow": 1.0}, "mean_flow is 1.0; expected a share"),
        (VECTOR, {"mean_flow": "half"}, "mean_flow is half; expected a share"),
        (VECTOR, {"mean_flow": True}, "mean_flow is True; expected a share"),
        (VECTOR, {"ema_half_life": -5}, "ema_half_life is -5; expected at least 0"),
        (VECTOR, {"ema_half_life": {"start": 0.0, "stop": -1.0, "examples": 9}}, "ema_half_life is -1.0; expected at"),
        (VECTOR, {"mean_flow": 0.5}, "mean_flow is 0.5 with prediction 'v' and target None; expected prediction='u'"),
        (make_spec("class_map", (2, 2)), {"observed": True}, "observed is true and .* holds class_map data"),
    ],
)
def test_faulty_models_are_refused(spec, options, line):
    with pytest.raises(UserError, match=line):
        diffusion(spec, **options)


@pytest.mark.parametrize(
    "how, line",
    [
        ({"steps": 0}, "steps is 0"),
        ({"solver": "rk4"}, "unknown solver 'rk4'; expected one of euler, heun, multistep"),
        ({"solver": "mean"}, "unknown solver 'mean'; expected one of euler, heun, multistep"),
        ({"churn": 2.0}, "churn is .*expected a number from 0 to 1"),
        ({"guidance": 2.0}, "guidance is 2 and this model was trained without hidden conditions"),
        ({"guidance": [1.0, 1.0]}, "guidance is an array; expected one number"),
        ({"temperature": 1.0}, "no sampler option 'temperature'"),
    ],
)
def test_faulty_options_of_the_sampler_are_refused(how, line):
    model = diffusion(VECTOR, net=NOISE)
    state = model.init(KEY, {"x": jnp.zeros((1, 2))})
    with pytest.raises(UserError, match=line):
        model.sample(KEY, state, 2, how=how)


@pytest.mark.study
def test_samples_of_whole_numbers_are_whole_numbers_of_the_domain():
    spec = IMAGE._replace(dtype="uint8", low=0, high=3)
    model = diffusion(spec, net=NOISE)
    state = model.init(KEY, {"x": jnp.zeros((1, 4, 4, 1))})
    x = np.asarray(model.sample(KEY, state, 50, how={"steps": 2})["x"])
    assert {*np.unique(x)} <= {0.0, 1.0, 2.0, 3.0}
    assert model.log_prob is None and model.log_prob_bound is not None


@pytest.mark.parametrize(
    "schedule, prediction", [("flow", "e"), ("cosine", "e"), ("flow", "x"), ("cosine", "u"), ("edm", "x")]
)
def test_every_prediction_draws_the_data(schedule, prediction):
    model, state = fitted(schedule, 100, prediction)
    x = np.asarray(model.sample(KEY, state, 2000)["x"])
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.08)
    np.testing.assert_allclose(x.std(0), SPREAD, rtol=0.25)
    assert (model.log_prob is None) == (prediction != "u") == (model.encode is None)


class PosteriorMean:
    """The best net for one pixel that is one of some levels, each as likely."""

    def __init__(self, levels: np.ndarray):
        self.levels = levels

    def init(self, *inputs):
        return {"params": {}}

    def apply(self, weights, z, c, level, **options):
        ratio = jnp.exp(-8.0 * level)[:, None]  # s / a
        centre = z.reshape(-1, 1) * jnp.sqrt(0.25 + ratio**2)
        share = jax.nn.softmax(-0.5 * jnp.square((centre - self.levels[None]) / ratio))
        return (share * self.levels[None]).sum(1).reshape(z.shape)


@pytest.mark.parametrize("schedule", [{"name": "flow"}, {"name": "edm", "smallest": 0.05}, {"name": "edm"}])
@pytest.mark.parametrize("bits", [8, 12])
def test_the_bound_of_the_best_net_is_at_most_the_entropy(schedule, bits):
    """Also where the schedule ends at more noise than tells the levels apart."""
    half = (2**bits - 1) / 2
    levels = ((np.arange(3) + 2 ** (bits - 1) - 1) - half) / half
    spec = make_spec("image", (1, 1, 1))._replace(dtype="uint16", low=0, high=2 * half, shift=half, scale=half)
    model = diffusion(spec, net=PosteriorMean(levels), prediction="x", schedule=schedule)
    x = jnp.asarray(np.resize(levels, 3000), jnp.float32).reshape(-1, 1, 1, 1)
    values = bound(model.init.args[0], whole(spec), KEY, {"params": {}}, {"x": x}, 20)
    assert float(values.mean()) < -np.log(3) + 5 * float(values.std()) / np.sqrt(3000)
