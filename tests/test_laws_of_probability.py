"""Laws of probability over every family: what is drawn has the density that is stated, in whole, in part and given a part.

Where there are few outcomes all are enumerated. Densities of numbers are integrated, on a grid in one coordinate at a time or by
importance sampling in all of them. Bounds are held against integrals and against draws.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import (
    BITS,
    CONV,
    FAMILIES,
    KEY,
    NARROW,
    NOISE,
    QUICK,
    batch_of,
    diffusion_family,
    every_family,
    ladder_family,
    levels_family,
    model_of,
    outcomes_of,
    trained,
    vae_family,
)
from scipy import stats
from scipy.special import logsumexp

from gen_jax.models.vqvae import vqvae

PREFIXED = (
    "made_table",
    "patches",
    "markov",
    "autoregressive_text",
    "transformer_text",
    "autoregressive_roll",
    "autoregressive_voices",
)  # families that continue a prefix alone
DRAWS = 4096
UNLIKELY = 1e-4  # p-values below it fail; all keys are fixed, so that a test always has the same one
GRID, ROWS = 256, 400  # points in one coordinate, and rows that are integrated
STEPS = 3  # of learning where outcomes are enumerated: states that know something, and are not sure of it


def log_prob_of(model, state, batch: dict) -> np.ndarray:
    return np.asarray(model.log_prob(KEY, state, batch), np.float64)


def skip_unless(condition: bool, why: str) -> None:
    if not condition:
        pytest.skip(why)


def chi_square(drawn: np.ndarray, p: np.ndarray) -> float:
    """The p-value of counts [K] of draws under probabilities p [K]; rare outcomes are taken together."""
    assert p.sum() == pytest.approx(1, abs=1e-4)
    counts, expected = np.bincount(drawn, minlength=len(p)), len(drawn) * p / p.sum()
    rare = expected < 5
    assert not counts[expected == 0].any(), "an outcome of probability 0 was drawn"
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    counts, expected = (each[expected > 0] for each in (counts, expected))
    return stats.chisquare(counts, expected).pvalue if len(counts) > 1 else 1.0


def number_of(x: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Which of the outcomes [K, *shape] each row of x [N, *shape] is."""
    places = {row.tobytes(): number for number, row in enumerate(outcomes.astype(np.float32))}
    return np.array([places[row.tobytes()] for row in np.ascontiguousarray(x, np.float32)])


def drawn_in_chunks(model, state, num: int, given: dict | None = None, size: int = 1024) -> np.ndarray:
    """x [num, ...] of samples that are all given the same, drawn `size` at a time."""
    given = {name: np.stack([value] * size) for name, value in (given or {}).items()} or None
    keys = jax.random.split(KEY, -(-num // size))
    return np.concatenate([np.asarray(model.sample(key, state, size, given)["x"]) for key in keys])[:num]


@every_family
def test_samples_have_their_log_prob(name):
    """Chi-square over all outcomes."""
    model, outcomes = model_of(name), FAMILIES[name].outcomes
    skip_unless(bool(model.log_prob and outcomes), "no exact log_prob, or too many outcomes")
    state, outcomes = trained(name, STEPS)[0], outcomes["x"]
    given = {"length": np.int32(outcomes.shape[1])} if "length" in model.given else None
    drawn = drawn_in_chunks(model, state, DRAWS, given)[:, : outcomes.shape[1]]
    p = np.exp(log_prob_of(model, state, {"x": outcomes}))
    assert chi_square(number_of(drawn, np.asarray(outcomes)), p) > UNLIKELY


def prefixes(outcomes: np.ndarray) -> Iterator[np.ndarray]:
    """Masks of which a sequence model may be given the frames."""
    for size in range(1, outcomes.shape[1]):
        yield np.arange(outcomes.shape[1]) < size


def masks_of(name: str, outcomes: np.ndarray) -> list[np.ndarray]:
    """Masks of observed cells that the family takes, shaped as it wants them, the last with the most cells."""
    if name in PREFIXED:
        return [*prefixes(outcomes)]
    random = np.random.default_rng(0)
    return [random.random(outcomes.shape[1:]) < share for share in (0.3, 0.5, 0.7)]


def whole_mask(mask: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """A mask of frames or cells as one of cells."""
    return np.broadcast_to(mask.reshape(*mask.shape, *(1,) * (outcomes.ndim - 1 - mask.ndim)), outcomes.shape[1:])


@every_family
def test_log_prob_of_observed_cells_is_the_sum_over_the_hidden_ones(name):
    model, outcomes = model_of(name), FAMILIES[name].outcomes
    takes = bool(model.log_prob and outcomes) and {"x", "mask"} <= set(model.given)
    skip_unless(takes and name not in PREFIXED, "no exact log_prob of observed cells")
    state, x = trained(name, STEPS)[0], np.asarray(outcomes["x"])
    whole = log_prob_of(model, state, {"x": x})
    for mask in masks_of(name, x):
        hidden = np.where(mask, x, 0)
        part = log_prob_of(model, state, {"x": hidden, "mask": np.broadcast_to(mask, x.shape)})
        _, group = np.unique(hidden.reshape(len(x), -1), axis=0, return_inverse=True)
        expected = np.array([logsumexp(whole[group == number]) for number in range(group.max() + 1)])
        np.testing.assert_allclose(part, expected[group], atol=2e-5)


@every_family
def test_draws_given_a_part_have_the_conditional_probabilities(name):
    model, outcomes = model_of(name), FAMILIES[name].outcomes
    skip_unless(bool(model.log_prob and outcomes) and "mask" in model.given, "no exact conditional")
    state, x = trained(name, STEPS)[0], np.asarray(outcomes["x"])
    p = np.exp(log_prob_of(model, state, {"x": x}))
    for mask in masks_of(name, x)[:2]:
        row = x[np.random.default_rng(1).choice(len(x), p=p / p.sum())]
        agrees = np.where(whole_mask(mask, x), x == row, True).reshape(len(x), -1).all(1)
        given = {"x": np.where(whole_mask(mask, x), row, 0).astype(x.dtype), "mask": mask}
        drawn = drawn_in_chunks(model, state, DRAWS, given)
        number = number_of(drawn, x)
        assert agrees[number].all(), "an observed cell has changed"
        assert chi_square(number, np.where(agrees, p, 0) / p[agrees].sum()) > UNLIKELY


class Density(NamedTuple):
    """Rows of a family with an exact density, as flat coordinates."""

    sizes: tuple[int | None, ...]  # of the levels of each coordinate, None where it is a number
    shape: tuple[int, ...]  # of a row


DENSITIES = {
    "gaussian": Density((None, None, None), (3,)),
    "mixture": Density((None, None, 3), (3,)),
    "forest": Density((None, None, 3), (3,)),
    "bayes_net_tree": Density((None, 3, 2), (3,)),
    "hmm_series": Density((None,) * 4, (2, 2)),
}
every_density = pytest.mark.parametrize("name", DENSITIES)


def test_every_exact_family_is_enumerated_or_integrated():
    """But those of rows with a condition `c`, see `test_translation`, and densities without marginals, see `test_diffusion` and `test_flow`."""
    exact = {name for name in FAMILIES if model_of(name).log_prob and "c" not in model_of(name).given} - {
        "diffusion",
        "flow",
    }
    assert exact == {*DENSITIES, *(name for name in exact if FAMILIES[name].outcomes)} and len(exact) == 17


def learnt(name: str):
    """A state that knows its data, and how coordinates depend on each other."""
    return trained(name, FAMILIES[name].steps)[0]


@lru_cache
def drawn_rows(name: str, num: int) -> np.ndarray:
    """Samples [num, C] of a family with a density, as coordinates."""
    density = DENSITIES[name]
    given = {"length": np.int32(density.shape[0])} if len(density.shape) == 2 else None
    return drawn_in_chunks(model_of(name), learnt(name), num, given).reshape(num, -1)


def known_log_prob(name: str, x: np.ndarray, known: int) -> np.ndarray:
    """Log-density [N] of the first `known` coordinates of x [N, C]."""
    batch = {"x": jnp.asarray(x.reshape(-1, *DENSITIES[name].shape), jnp.float32)}
    if known < x.shape[1]:
        mask = np.broadcast_to(np.arange(x.shape[1]) < known, x.shape).reshape(batch["x"].shape)
        batch = {"x": jnp.where(mask, batch["x"], 0), "mask": jnp.asarray(mask)}
    return log_prob_of(model_of(name), learnt(name), batch)


def candidates(name: str, x: np.ndarray, place: int) -> np.ndarray:
    """Values of a coordinate: all its levels, or a grid that reaches well beyond the draws."""
    size = DENSITIES[name].sizes[place]
    if size:
        return np.arange(size, dtype=np.float32)
    evenly = np.linspace(x[:, place].min() - 1.5, x[:, place].max() + 1.5, GRID if place else 16 * GRID)
    often = np.quantile(
        drawn_rows(name, DRAWS)[:, place], np.linspace(0, 1, GRID)
    )  # more of them where draws are dense
    return np.unique(np.concatenate([evenly, often]).astype(np.float32))


def transforms(name: str, x: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns F(x_c | x_<c) [N] of coordinate c = `place` of rows [N, C], and the integral of p(x_<c, x_c) over x_c by p(x_<c) [N].

    A level's is drawn within its step, so that it is uniform too.
    """
    values = candidates(name, x, place)
    many = np.repeat(x[: None if place else 1, None], len(values), 1)  # [N, G, C], or [1, G, C] of the first coordinate
    many[:, :, place] = values
    log_p = known_log_prob(name, many.reshape(-1, x.shape[1]), place + 1).reshape(-1, len(values)) * np.ones(
        (len(x), 1)
    )
    before = known_log_prob(name, x, place) if place else np.zeros(len(x))
    p = np.exp(log_p - before[:, None])
    if DENSITIES[name].sizes[place]:
        below = np.cumsum(p, 1) - p
        at, rows = x[:, place].astype(int), np.arange(len(x))
        share = np.random.default_rng(place).random(len(x))
        return below[rows, at] + share * p[rows, at], p.sum(1)
    area = np.diff(values)[None] * (p[:, 1:] + p[:, :-1]) / 2
    height = np.concatenate([np.zeros((len(x), 1)), np.cumsum(area, 1)], 1)  # [N, G]
    return np.array([np.interp(*each) for each in zip(x[:, place], [values] * len(x), height)]), height[:, -1]


def uniform(u: np.ndarray) -> None:
    """Asserts that numbers [C, N] are uniform: each line as a whole, and all of them in their spread."""
    for place, line in enumerate(u):
        assert stats.kstest(line, "uniform").pvalue > UNLIKELY, place
    spread, error = np.square(u - 0.5).mean(), np.sqrt((1 / 80 - 1 / 144) / u.size)
    assert abs(spread - 1 / 12) < 4.5 * error, (spread, error)


@every_density
def test_probability_integral_transforms_of_samples_are_uniform(name):
    """Each coordinate given those before it: so the density of some coordinates is that of all, integrated, too."""
    x, lines = drawn_rows(name, ROWS), []
    for place in range(x.shape[1]):
        u, total = transforms(name, x, place)
        np.testing.assert_allclose(total, 1, atol=0.05)
        assert total.mean() == pytest.approx(1, abs=0.02)
        lines.append(u / total)
    uniform(np.array(lines))


@every_density
def test_probability_integral_transforms_of_draws_given_a_part_are_uniform(name):
    model, state, shape = model_of(name), learnt(name), DENSITIES[name].shape
    row = drawn_rows(name, ROWS)[7]
    mask = (np.arange(len(row)) < 1).reshape(shape)
    given = {"x": np.where(mask, row.reshape(shape), 0).astype(np.float32), "mask": mask}
    x = drawn_in_chunks(model, state, ROWS, given).reshape(ROWS, -1)
    assert (x[:, 0] == row[0]).all()
    lines = (transforms(name, x, place) for place in range(1, x.shape[1]))
    uniform(np.array([u / total for u, total in lines]))


class Proposal(NamedTuple):
    """Draws around rows of a model: half of them near, half far, levels alike."""

    x: np.ndarray  # [M, C]
    log_q: np.ndarray  # [M]


def proposed(rows: np.ndarray, sizes: tuple[int | None, ...], num: int) -> Proposal:
    """`num` draws about `rows` [K, C]: as near as 0.1, as a third of their covariance has it, or twice as far as that."""
    random = np.random.default_rng(0)
    numbers = np.array([size is None for size in sizes])
    centres = rows[:, numbers].astype(np.float64)
    count = centres.shape[1]
    covariance = np.cov(centres.T).reshape(count, count) + 1e-4 * np.eye(count)
    kernels = [0.01 * np.eye(count), covariance / 9, 4 * covariance]
    which, kernel = random.integers(len(rows), size=num), random.integers(len(kernels), size=num)
    roots = np.stack([np.linalg.cholesky(each) for each in kernels])
    real = centres[which] + np.einsum("mij,mj->mi", roots[kernel], random.normal(size=(num, count)))
    apart = real[:, None] - centres[None]  # [M, K, C]
    logs = [stats.multivariate_normal(cov=each).logpdf(apart).reshape(num, -1) for each in kernels]
    log_q = logsumexp(np.concatenate(logs, 1), 1) - np.log(len(kernels) * len(rows))
    x = np.zeros((num, len(sizes)), np.float32)
    x[:, numbers] = real
    for place, size in enumerate(sizes):
        if size:
            x[:, place] = random.integers(size, size=num)
            log_q = log_q - np.log(size)
    return Proposal(x, log_q)


def within(weights: np.ndarray, expected: float, slack: float = 0.003) -> None:
    """Asserts that the mean of weights [M] is what is expected, and known well enough to say so."""
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.025
    assert abs(weights.mean() - expected) < 5 * error + slack, (weights.mean(), error)


@every_density
def test_exact_densities_integrate_to_one(name):
    sizes = DENSITIES[name].sizes
    q = proposed(drawn_rows(name, ROWS)[:32], sizes, 100_000)
    within(np.exp(known_log_prob(name, q.x, len(sizes)) - q.log_q), 1)


def quick_ladder(spec, batch: dict):
    return ladder_family(spec, batch, {"name": "conv", "channels": (8,), "latent_channels": 1, "layers": (2,)})


def patterns(top: int) -> dict:
    """Images 2 x 2 of whole numbers up to `top`: one pattern, or its opposite, a tenth of the pixels another way."""
    random = np.random.default_rng(0)
    one = np.where(random.random((48, 1)) < 0.5, [[1, 0, 0, 1]], [[0, 1, 1, 0]])
    x = np.where(random.random((48, 4)) < 0.1, 1 - one, one) * top
    return batch_of(x.reshape(48, 2, 2, 1))


TRITS = outcomes_of(3, (2, 2, 1), "float32")


def clusters() -> dict:
    """Points near one of two places."""
    random = np.random.default_rng(0)
    return batch_of(random.choice([-1, 1], (48, 1)) * np.array([[1.5, -1.0]]) + random.normal(0, 0.2, (48, 2)))


BOUNDED = {  # a row for each family with a bound, where all outcomes can be enumerated or integrated over
    "vae": FAMILIES["vae"]._replace(batch=clusters()),
    "vae_dreg": vae_family(BITS, patterns(1), NARROW, objective="dreg", num_samples=3),
    "vae_conv": vae_family(BITS, patterns(1), CONV),
    "vae_columns": FAMILIES["vae_columns"],
    "masked_table": FAMILIES["masked_table"],
    "flow_labels": FAMILIES["flow_labels"]._replace(outcomes=outcomes_of(2, (2, 2, 1), "float32"), batch=patterns(1)),
    "masked_image": FAMILIES["masked_image"]._replace(outcomes=outcomes_of(2, (2, 2, 1), "float32"), batch=patterns(1)),
    "diffusion_levels": diffusion_family(BITS, patterns(1), net=NOISE, deviation=1.0)._replace(steps=400),
    "ladder_mlp": FAMILIES["ladder_mlp"]._replace(batch=clusters()),
    "ladder_conv": quick_ladder(BITS, patterns(1))._replace(outcomes=outcomes_of(2, (2, 2, 1), "float32")),
    "vqvae": levels_family(
        vqvae,
        2,
        {},
        0.0,
        shape=(2, 2),
        encoder=FAMILIES["vqvae"].build.keywords["encoder"],
        decoder=FAMILIES["vqvae"].build.keywords["decoder"],
        codebook_size=4,
        code_size=4,
        prior={"name": "gru", "units": 8},
        **QUICK,
    )._replace(batch=patterns(2), outcomes=TRITS),
}
every_bound = pytest.mark.parametrize("name", BOUNDED)


def test_every_family_with_a_bound_is_here():
    """But those of rows with a condition `c`, whose bounds have the same equations, and of texts, see `test_masked`."""
    bounds = {
        name for name in FAMILIES if model_of(name).log_prob_bound and not {"c", "length"} & {*model_of(name).given}
    }
    assert bounds == {*BOUNDED}


@lru_cache
def bounded(name: str) -> tuple:
    """The model, and a state of it whose latents tell something."""
    family = BOUNDED[name]
    if family is FAMILIES[name]:
        return model_of(name), trained(name, family.steps)[0]
    model = family.build()
    if name == "diffusion_levels":  # the bound is that of the process that draws noise anew in many steps
        model = model._replace(sample=partial(model.sample, how={"solver": "euler", "steps": 300, "churn": 1.0}))
    step, state = jax.jit(model.step), jax.jit(model.init)(KEY, family.batch)
    for key in jax.random.split(KEY, family.steps):
        state, _ = step(key, state, family.batch)
    return model, state


def labelled(model, num: int) -> dict:
    """One label for all rows, where the model reads it."""
    return {"y": np.full(num, 1, np.int32)} if "y" in model.given else {}


def bounds(name: str, x: np.ndarray, num_samples: int, repeats: int) -> np.ndarray:
    """Bounds [R, N] of rows by as many keys."""
    model, state = bounded(name)
    batch = {"x": jnp.asarray(x, jnp.float32), **labelled(model, len(x))}
    keys = jax.random.split(KEY, repeats)
    return np.array([model.log_prob_bound(key, state, batch, num_samples) for key in keys], np.float64)


@every_bound
def test_bounds_of_all_that_could_be_amount_to_at_most_one(name):
    family = BOUNDED[name]
    if family.outcomes is not None:
        values = bounds(name, family.outcomes["x"], 1, 50)
        p = np.exp(values.mean(0))
        assert 0.01 < p.sum() < 1 + 5 * np.std(values @ p) / np.sqrt(len(values)) + 1e-6
        return
    model, state = bounded(name)
    sizes = (3, None, None) if name == "vae_columns" else (None,) * 2
    rows = np.asarray(model.sample(KEY, state, 64, labelled(model, 64) or None)["x"])
    q = proposed(rows, sizes, 4000)
    weights = np.exp(bounds(name, q.x, 1, 10).mean(0) - q.log_q)
    error = weights.std() / np.sqrt(len(weights))
    assert 0.01 < weights.mean() < 1 + 5 * error and error < 0.1


@every_bound
def test_bounds_of_outcomes_are_at_most_what_is_drawn_and_tight_by_many_latents(name):
    family, (model, state) = BOUNDED[name], bounded(name)
    skip_unless(family.outcomes is not None, "too many outcomes")
    given = {field: value[0] for field, value in labelled(model, 1).items()}
    outcomes, num = np.asarray(family.outcomes["x"]), 4 * DRAWS
    count = np.bincount(number_of(drawn_in_chunks(model, state, num, given), outcomes), minlength=len(outcomes))
    most = stats.beta.ppf(1 - UNLIKELY / len(outcomes), count + 1, np.maximum(num - count, 1))  # of p, by so many draws
    values = bounds(name, outcomes, 1, 50)
    assert (values.mean(0) - 5 * values.std(0) / np.sqrt(len(values)) < np.log(most)).all()
    if name in ("vqvae", "diffusion_levels", "flow_labels"):
        return  # more codes or noise levels make the bound no tighter; a flow's draws beyond the range are clipped
    p = np.exp(bounds(name, outcomes, 64, 20))  # without bias, whatever the number of latents
    share, error = count / num, p.std(0) / np.sqrt(len(p))
    assert abs(p.mean(0).sum() - 1) < 5 * np.sqrt(np.square(error).sum())
    assert (abs(p.mean(0) - share) < 5 * np.hypot(error, np.sqrt(share * (1 - share) / num)) + 1 / num).all()


@pytest.mark.parametrize("name", ["vae", "ladder_mlp"])
def test_bounds_of_points_are_at_most_the_integral_over_latents_and_tight_by_many(name):
    """The density is the mean over the prior of N(x; decode(z), s^2), which no encoder has a part in."""
    model, state = bounded(name)
    x = np.asarray(model.sample(KEY, state, 64, labelled(model, 64))["x"])
    latent = {**model.prior(KEY, state, 1 << 17), **labelled(model, 1 << 17)}
    mean, scale = np.asarray(model.decode(KEY, state, latent)["x"]), np.exp(state.average["likelihood"]["log_scale"])
    p = np.array([np.exp(stats.norm.logpdf(row[None], mean, scale).sum(1)) for row in x])  # [N, M]
    error = p.std(1) / np.sqrt(p.shape[1]) / p.mean(1)  # of its log
    assert error.max() < 0.1
    exact = np.log(p.mean(1))
    loose, tight = bounds(name, x, 1, 50), bounds(name, x, 256, 8)
    for values in (loose, tight):
        assert (values.mean(0) < exact + 5 * np.hypot(error, values.std(0) / np.sqrt(len(values)))).all()
    many = logsumexp(tight, 0) - np.log(len(tight))  # as of all their latents together
    assert np.median(abs(exact - many)) < 0.2 and np.median(exact - loose.mean(0)) > np.median(exact - many)
    drawn = drawn_in_chunks(model, state, DRAWS, {field: value[0] for field, value in labelled(model, 1).items()})
    expected = mean + scale * np.random.default_rng(0).normal(size=mean.shape)
    for one, other in zip(drawn.T, expected.T):
        assert stats.ks_2samp(one, other).pvalue > UNLIKELY
