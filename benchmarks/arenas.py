"""The data of the atlas, and the families that meet on them: a config of `configs/` each, with the few settings that the data ask for.

The settings were written down before the first run, and none was changed by a score. A family has one setting.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.model import NOTHING

CONFIGS = Path(__file__).parents[1] / "configs"


class Member(NamedTuple):
    """A family on one kind of data."""

    config: str  # file of `configs/`, or of a user
    changes: Mapping[str, Any] = NOTHING  # settings that differ from the config; sections are mappings
    steps: int | None = None  # of a model that is fitted exactly or by few passes; None: as many as the time allows


class Arena(NamedTuple):
    """Data on which families meet, and how they are scored."""

    title: str
    data: Mapping[str, Any]  # settings; a family keeps its own order and representation unless they are here
    quality: str  # the metric whose goal is timed
    goal: float
    better: int  # 1: a higher quality is better; -1: a lower one
    metrics: tuple[str, ...]  # further metrics, of those families that they can score
    num: int  # samples that are scored and timed
    shown: int  # samples in the picture
    members: Mapping[str, Member]
    length: int | None = None  # of a sample of a sequence
    true_nll: Callable[[np.ndarray], float] | None = None  # of test rows under the density that they come from


def grid_nll(x: np.ndarray) -> float:
    """Returns the negative log-likelihood in nats of points [N, 2] under the grid of Gaussians."""
    means, deviation = MIXTURES["grid"]
    squares = np.square((x[:, None] - means) / deviation).sum(-1) / 2
    log_prob = -squares - math.log(2 * math.pi * deviation**2 * len(means))
    return -float(logsumexp(log_prob, axis=1).mean())


GRID = Arena(
    "A grid of 25 Gaussians",
    {"name": "gaussians", "variant": "grid", "transform": "none"},
    "high_quality",
    0.9,
    1,
    ("modes", "reverse_kl"),
    2500,
    2500,
    {
        "gaussian": Member("gaussian.py", steps=1),
        "smote": Member("smote.py", steps=1),
        "mixture": Member("mixture.py", {"model": {"components": 25}}, steps=100),
        "forest": Member("forest.py", steps=10),
        "vae": Member("vae.py", {"model": {"likelihood": {"name": "gaussian"}, "latent_size": 2}}),
        "gan": Member("gan_gaussians.py"),
        "flow": Member("flow.py", {"model": {"optimizer": {"weight_decay": 0.0}}}),
        "diffusion": Member("diffusion_gaussians.py"),
    },
    true_nll=grid_nll,
)
MNIST = Arena(
    "MNIST",
    {"name": "mnist"},
    "frechet",
    50.0,
    -1,
    ("precision", "recall", "coverage", "memorisation"),
    5000,
    20,
    {
        "vae": Member("vae.py"),
        "vae, convolutions": Member("conv_vae.py"),
        "vqvae": Member("vqvae.py", {"model": {"conditional": False}}),
        "gan, DCGAN": Member("dcgan.py"),
        "gan, R3": Member("r3gan.py"),
        "diffusion": Member("diffusion_mnist.py", {"model": {"conditional": False}}),
    },
)
SHAKESPEARE = Arena(
    "Shakespeare's plays",
    {"name": "tiny_shakespeare"},
    "nats_per_token",
    1.7,
    -1,
    ("longest_copy", "overlap"),
    64,
    1,
    {
        "markov": Member("markov.py", steps=1),
        "hmm": Member("hmm.py"),
        "autoregressive, GRU": Member("gru.py"),
        "autoregressive, LSTM": Member("lstm.py"),
        "autoregressive, minGRU": Member("mingru.py"),
        "autoregressive, transformer": Member("transformer.py"),
    },
    length=500,
)
NO_VALIDATION = {"select": None}  # for a config that selects, on data without a validation split
BINARY = MNIST._replace(
    title="MNIST in black and white",
    data={"name": "mnist", "transform": "static_binary"},
    members={
        "vae": Member("vae.py", {"model": {"likelihood": {"name": "bernoulli"}}}),
        "ladder": Member("ladder_vae.py"),
        "vqvae": Member("vqvae.py", {"model": {"conditional": False}}),
        "autoregressive, MADE": Member("made.py", NO_VALIDATION),
        "autoregressive, patches": Member("patch_transformer.py", NO_VALIDATION),
        "masked": Member("masked.py"),
    },
)
CHORALES = Arena(
    "Chorales",
    {"path": "JSB_Chorales.mat"},
    "nats_per_frame",
    7.0,
    -1,
    (),
    16,
    2,
    {
        "hmm": Member("jsb_hmm.py", steps=60),
        "autoregressive, GRU, independent keys": Member("jsb_gru.py"),
        "autoregressive, GRU": Member("jsb_gru_structured.py"),
        "autoregressive, LSTM, independent keys": Member("jsb_lstm.py"),
        "autoregressive, transformer": Member("jsb_transformer.py"),
    },
    length=64,
)
ADULT = Arena(
    "Adult, a census",
    {"name": "adult"},
    "tstr_f1",
    0.6,
    1,
    ("detection", "marginal", "pairwise", "nearest_record"),
    10_000,
    8,
    {
        "smote": Member("smote.py", {"model": {"within": "income"}}, steps=1),
        "mixture": Member("mixture.py", {"model": {"components": 50}}, steps=60),
        "bayes_net": Member("bayes_net.py", {"model": {"max_bins": 10, "structure": {"bootstraps": 0}}}, steps=1),
        "forest": Member("forest.py", {"model": {"min_rows": 5, "trees": 10, "delta": 0.5}}, steps=10),
        "vae, TVAE": Member("tvae.py", {"batch_size": 200}),
        "gan, CTGAN": Member("ctgan.py", {"batch_size": 500}),
        "diffusion": Member("diffusion_table.py", {"batch_size": 500}),
    },
)
SPECTROGRAMS = {"data": {"encoding": "log_mel", "frames": 64}}
DIGITS = Arena(
    "Spoken digits",
    {"path": "free-spoken-digit-dataset.zip"},
    "label_accuracy",
    0.75,
    1,
    ("frechet", "recall", "coverage", "memorisation"),
    300,
    10,
    {
        "vae": Member("cvae.py", SPECTROGRAMS),
        "vae, convolutions": Member("conv_vae.py", {**SPECTROGRAMS, "model": {"conditional": True}}),
        "gan": Member("digit_gan.py"),
        "diffusion": Member("digit_diffusion.py"),
        "autoregressive, GRU of samples": Member("speech_rnn.py"),
    },
)
ARENAS = {
    "grid": GRID,
    "shakespeare": SHAKESPEARE,
    "mnist": MNIST,
    "binary": BINARY,
    "chorales": CHORALES,
    "adult": ADULT,
    "digits": DIGITS,
}
