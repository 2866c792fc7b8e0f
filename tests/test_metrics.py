"""Mode coverage against the perfect sampler, a collapsed one and PacGAN's definitions."""

import numpy as np
import pytest

from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.metrics.modes import classifier_judge, gaussian_judge, mode_statistics

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
