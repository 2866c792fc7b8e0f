"""The list of all measures, and their metrics by name."""

from collections.abc import Iterable

from gen_jax.errors import UserError, choose
from gen_jax.metrics import latent, likelihood
from gen_jax.metrics.images import (
    distances,
    fine_detail,
    labels,
    modes,
    motion,
    neighbours,
    parzen,
    segmentation,
    super_resolution,
    translation,
)
from gen_jax.metrics.measure import Measure, Metric
from gen_jax.metrics.sequences import bars, copies, paired_texts, pitch, summaries, timegan, voices_floor, word_error
from gen_jax.metrics.tables import detection, efficacy, marginal, pairwise, privacy

ALL = "all"  # the name that stands for every metric that applies
NEGATED = {  # log-likelihoods of earlier versions -> the same figures with the other sign
    "elbo": "nelbo",
    "valid/elbo": "valid/nelbo",
    "log_likelihood": "nll",
    "parzen": "parzen_nll",
}
MEASURES: tuple[Measure, ...] = (  # in the order of the scores
    modes.MODES,
    distances.FRECHET,
    distances.KERNEL,
    neighbours.PRDC,
    labels.CLASSES,
    labels.LABEL_ACCURACY,
    labels.CLASSIFICATION_ACCURACY,
    segmentation.SEGMENTATION,
    segmentation.DRAWN_PHOTOS,
    translation.RECONSTRUCTION_ERROR,
    paired_texts.TRANSLATION,
    summaries.SUMMARY,
    word_error.WORD_ERROR,
    word_error.RETRIEVAL,
    pitch.PITCH,
    motion.MOTION,
    motion.DRIFT,
    motion.ORDER,
    copies.MEMORISATION,
    copies.DUPLICATES,
    parzen.PARZEN,
    super_resolution.PSNR,
    super_resolution.VALID_PSNR,
    fine_detail.FINE_DETAIL,
    copies.MEMORISED_TEXT,
    bars.VALID_BARS,
    timegan.DISCRIMINATIVE,
    timegan.PREDICTIVE,
    likelihood.PER_TOKEN,
    likelihood.PER_FRAME,
    likelihood.VALID_PER_TOKEN,
    voices_floor.HOLD_OR_JUMP,
    likelihood.VALID_PER_FRAME,
    likelihood.NLL,
    likelihood.VALID_NLL,
    likelihood.BIC,
    marginal.MARGINAL,
    pairwise.PAIRWISE,
    detection.DETECTION,
    efficacy.EFFICACY,
    privacy.NEAREST_RECORD,
    latent.NELBO,
    latent.NLL_BOUND,
    latent.BITS_PER_DIM,
    latent.VALID_NELBO,
    latent.ACTIVE_UNITS,
    latent.RECONSTRUCTION,
    latent.PROBE_ACCURACY,
)


def metrics() -> dict[str, Metric]:
    """Returns all metrics by name."""
    return {metric.name: metric for measure in MEASURES for metric in measure.metrics}


def measures() -> dict[str, Measure]:
    """Returns the measure of each metric by the name of the metric."""
    return {metric.name: measure for measure in MEASURES for metric in measure.metrics}


def negated(name: str) -> str | None:
    """Returns today's name of a log-likelihood of earlier versions; None for any other name."""
    return None if name in metrics() else NEGATED.get(name)


def current(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of metrics that a run of any version has stored, as they are today."""
    return tuple(negated(name) or name for name in names)


def checked_name(setting: str, name: str, choices: Iterable[str]) -> str:
    """Returns the name of a metric if it is a choice.

    Args:
      setting: the setting, for the message.
      name: of a metric.
      choices: names of metrics.

    Raises:
      UserError: for any other name. The message says what became of a name of earlier versions.
    """
    new_name = negated(name)
    if new_name is not None:
        raise UserError(f"{setting} {name!r} has a new name; expected {new_name!r}, its negative (lower is better)")
    return choose(setting, name, choices)


def defaults() -> tuple[str, ...]:
    """Returns the names of the metrics that are scored while a model trains whose config names none."""
    return tuple(name for name, metric in metrics().items() if metric.default)


def signs() -> dict[str, int]:
    """Returns the metrics that may select a checkpoint: 1 if a higher value is better, -1 if a lower value is."""
    return {name: metric.better for name, metric in metrics().items() if metric.selects}
