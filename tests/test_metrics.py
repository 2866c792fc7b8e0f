"""Measures against closed forms, brute force, a perfect sampler, a collapsed one and copies."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.metrics.images.distances import frechet_distance, inception_score, kernel_distance
from gen_jax.metrics.images.modes import classifier_judge, gaussian_judge, mode_statistics
from gen_jax.metrics.images.neighbours import nearest, neighbour_statistics, radii
from gen_jax.metrics.images.parzen import DEVIATIONS, parzen_log_prob, parzen_statistics

# High quality of a perfect sampler is P(chi^2_2 < 9) = 1 - e^-4.5; its reverse KL is about (K - 1) / 2N (target G1, G2).
ORACLE = {"grid": (0.98889, 0.0049, 0.0014), "ring": (0.98889, 0.0014, 0.0007)}


def perfect(name, seed, num=2500):
    means, deviation = MIXTURES[name]
    random = np.random.default_rng(seed)
    return random.normal(means[random.integers(len(means), size=num)], deviation)


@pytest.mark.parametrize("name", ORACLE)
def test_a_perfect_sampler_scores_its_oracle(name):
    means, deviation = MIXTURES[name]
    judge = gaussian_judge(means, deviation)
    scores = [mode_statistics(*judge(perfect(name, seed)), len(means)) for seed in range(20)]
    quality, divergence, spread = ORACLE[name]
    assert all(score["modes"] == len(means) for score in scores)
    assert np.mean([score["high_quality"] for score in scores]) == pytest.approx(quality, abs=0.0015)
    assert np.mean([score["reverse_kl"] for score in scores]) == pytest.approx(divergence, abs=spread)


def test_one_mode_only():
    means, deviation = MIXTURES["grid"]
    x = np.random.default_rng(0).normal(means[7], deviation, (2500, 2))
    score = mode_statistics(*gaussian_judge(means, deviation)(x), 25)
    assert score["modes"] == 1 and score["reverse_kl"] == pytest.approx(np.log(25))


def test_three_deviations_by_distance_and_one_sample_captures():
    judge = gaussian_judge(np.zeros((1, 2)), 0.5)
    _, good = judge(np.array([[1.49, 0], [1.06, 1.06], [1.07, 1.07], [0, 1.51]]))
    assert good.tolist() == [True, True, False, False]
    score = mode_statistics(np.array([0, 0, 0, 1, 2]), np.array([True] * 4 + [False]), 4)
    assert score["modes"] == 2 and score["high_quality"] == 0.8
    assert score["reverse_kl"] == pytest.approx(0.75 * np.log(3) + 0.25 * np.log(1))


def test_nothing_good_has_no_divergence():
    assert mode_statistics(np.array([0, 1]), np.array([False, False]), 2) == {
        "modes": 0,
        "high_quality": 0.0,
        "reverse_kl": None,
    }


def test_the_classifier_is_sure_of_real_digits_and_not_of_noise():
    from sklearn.datasets import load_digits

    digits = load_digits()
    test = np.arange(1797) % 5 == 4
    x = digits.images[..., None].astype(np.uint8)
    judge = classifier_judge(x[~test], digits.target[~test], 0, 16)
    mode, good = judge(x[test])
    assert (mode == digits.target[test]).mean() > 0.97 and 0.87 < good.mean() < 0.95
    noise = np.random.default_rng(0).integers(0, 17, (300, 8, 8, 1)).astype(np.uint8)
    assert judge(noise)[1].mean() < 0.1
    score = mode_statistics(*judge(x[test][digits.target[test] == 3]), 10)
    assert score["modes"] <= 2 and score["reverse_kl"] > 2


def gaussian_rows(seed, num, mean, covariance):
    """Rows whose mean and unbiased covariance are those given, to rounding."""
    x = np.random.default_rng(seed).normal(size=(num, len(mean)))
    x = x - x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(len(mean), -1)).T)
    return x @ np.linalg.cholesky(covariance).T + mean


def test_frechet_of_two_gaussians_is_the_closed_form():
    random = np.random.default_rng(0)
    means = random.normal(size=(2, 6))
    one, other = (a @ a.T + 0.1 * np.eye(6) for a in random.normal(size=(2, 6, 6)))
    x, y = gaussian_rows(1, 300, means[0], one), gaussian_rows(2, 200, means[1], other)
    wanted = np.square(means[0] - means[1]).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(wanted, rel=1e-9)
    line = (
        gaussian_rows(3, 50, np.array([1.0]), np.array([[4.0]])),
        gaussian_rows(4, 50, np.array([3.0]), np.array([[9.0]])),
    )
    assert frechet_distance(*line) == pytest.approx((3 - 1) ** 2 + (3 - 2) ** 2)


def test_frechet_never_fails_on_too_few_or_constant_rows():
    random = np.random.default_rng(0)
    few, other = random.normal(size=(2, 5, 64))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(frechet_distance(few, other))
    many = random.normal(size=(500, 8)) * [1, 1, 1, 1, 1, 1, 0, 0] + 5
    assert frechet_distance(many, many[::-1]) == pytest.approx(0, abs=1e-9)
    point = np.full((10, 8), 2.0)
    wanted = np.square(many.mean(0) - 2).sum() + many.var(0, ddof=1).sum()
    assert frechet_distance(point, many) == pytest.approx(wanted)
    assert frechet_distance(point, point) == 0


def test_kernel_is_unbiased_and_the_brute_force():
    random = np.random.default_rng(0)
    repeats = [kernel_distance(random.normal(size=(40, 3)), random.normal(size=(60, 3))) for _ in range(400)]
    assert abs(np.mean(repeats)) < 3 * np.std(repeats) / 20 and min(repeats) < 0
    x, y = random.normal(size=(7, 3)), random.normal(size=(5, 3)) + 1

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    across = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(sum(within) - 2 * across)
    assert kernel_distance(x, y) > 0.1


def test_inception_score_of_constant_and_of_certain_predictions():
    certain = np.where(np.arange(30)[:, None] % 10 == np.arange(10), 0.0, -np.inf)
    assert inception_score(certain) == pytest.approx(10)
    assert inception_score(certain[:1].repeat(30, 0)) == pytest.approx(1)
    assert inception_score(np.log(np.full((30, 10), 0.1))) == pytest.approx(1)
    half = np.log(np.array([[0.9, 0.1], [0.1, 0.9]]))
    assert inception_score(half) == pytest.approx(np.exp(0.9 * np.log(1.8) + 0.1 * np.log(0.2)))


def brute_force(samples, real, k):
    def distances(a, b):
        return np.sqrt(np.square(a[:, None] - b[None]).sum(-1))

    def ball(a):
        return np.sort(distances(a, a), axis=1)[:, k]  # itself is the first

    across = distances(samples, real)  # [N, M]
    return {
        "precision": (across < ball(real)).any(1).mean(),
        "recall": (across < ball(samples)[:, None]).any(0).mean(),
        "density": (across < ball(real)).sum() / k / len(samples),
        "coverage": (across.min(0) < ball(real)).mean(),
    }


@pytest.mark.parametrize("block", [1 << 22, 100])
def test_neighbours_are_the_brute_force(block, monkeypatch):
    monkeypatch.setattr("gen_jax.metrics.images.neighbours.BLOCK", block)
    random = np.random.default_rng(0)
    samples, real = random.normal(size=(80, 3)) * 0.7 + 0.5, random.normal(size=(90, 3)) + 100
    samples += 100
    assert neighbour_statistics(samples, real, 5) == pytest.approx(brute_force(samples, real, 5))
    assert 0.3 < neighbour_statistics(samples, real, 5)["coverage"] < 0.95
    apart = np.sqrt(np.square(samples[:, None] - real[None]).sum(-1))
    np.testing.assert_allclose(nearest(samples, real), apart.min(1), rtol=1e-5)
    own = np.sqrt(np.square(samples[:, None] - samples[None]).sum(-1)) + np.diag(np.full(80, np.inf))
    np.testing.assert_allclose(nearest(samples, samples, others=True), own.min(1), rtol=1e-5)


def test_equal_distributions_have_the_expected_density_and_coverage():
    random = np.random.default_rng(0)
    scores = [neighbour_statistics(*random.normal(size=(2, 1000, 16)), 5) for _ in range(4)]
    mean = {name: np.mean([score[name] for score in scores]) for name in scores[0]}
    assert mean["coverage"] == pytest.approx(1 - 2.0**-5, abs=0.01)
    assert mean["density"] == pytest.approx(1, abs=0.05)
    assert mean["precision"] == pytest.approx(mean["recall"], abs=0.05)


def test_balls_are_open_and_a_point_has_none():
    grid = np.arange(6.0)[:, None]
    assert radii(grid, 1).tolist() == [1] * 6
    assert neighbour_statistics(np.array([[-1.0], [6.0]]), grid, 1)["precision"] == 0  # at the very radius
    point = np.full((20, 4), 0.1)
    score = neighbour_statistics(point, np.random.default_rng(0).normal(size=(20, 4)), 5)
    assert score["recall"] == 0 and score["coverage"] < 1
    assert neighbour_statistics(point, point, 5) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_parzen_is_the_brute_force_and_the_closed_form():
    random = np.random.default_rng(0)
    x, samples = random.uniform(size=(4, 3)), random.uniform(size=(7, 3))
    one = parzen_log_prob(x, samples[:1], np.array([0.3]))[0]
    np.testing.assert_allclose(one, multivariate_normal(samples[0], 0.09 * np.eye(3)).logpdf(x))
    for deviation, found in zip(DEVIATIONS, parzen_log_prob(x, samples, DEVIATIONS)):
        each = [multivariate_normal(sample, deviation**2 * np.eye(3)).logpdf(x) for sample in samples]
        np.testing.assert_allclose(found, logsumexp(each, axis=0) - np.log(7))
    assert np.isfinite(parzen_log_prob(x + 1e4, samples, DEVIATIONS)).all()


def test_parzen_chooses_its_width_on_validation_rows():
    random = np.random.default_rng(0)
    validation, test = random.normal(0.5, 0.2, size=(2, 300, 2))
    found = parzen_statistics(
        np.full((1, 2), 0.5), validation, test
    )  # one sample: the best window is the data's own deviation
    assert found["parzen_deviation"] == DEVIATIONS[3]  # 0.2154
    log_prob = multivariate_normal([0.5, 0.5], DEVIATIONS[3] ** 2).logpdf(test)
    assert found["parzen_nll"] == pytest.approx(-log_prob.mean())
    assert found["parzen_error"] == pytest.approx(log_prob.std() / np.sqrt(300))
