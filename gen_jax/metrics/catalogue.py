"""The list of all measures, and their metrics by name."""

from gen_jax.metrics import latent, likelihood
from gen_jax.metrics.images import distances, labels, modes, neighbours, parzen
from gen_jax.metrics.measure import Measure, Metric
from gen_jax.metrics.sequences import copies, timegan
from gen_jax.metrics.tables import detection, efficacy, marginal, pairwise, privacy

ALL = "all"  # the name that stands for every metric that applies
MEASURES: tuple[Measure, ...] = (  # in the order of the scores
    modes.MODES,
    distances.FRECHET,
    distances.KERNEL,
    neighbours.PRDC,
    labels.CLASSES,
    labels.LABEL_ACCURACY,
    labels.CLASSIFICATION_ACCURACY,
    copies.MEMORISATION,
    copies.DUPLICATES,
    parzen.PARZEN,
    copies.MEMORISED_TEXT,
    timegan.DISCRIMINATIVE,
    timegan.PREDICTIVE,
    likelihood.PER_TOKEN,
    likelihood.PER_FRAME,
    likelihood.VALID_PER_TOKEN,
    likelihood.VALID_PER_FRAME,
    likelihood.LOG_LIKELIHOOD,
    likelihood.BIC,
    marginal.MARGINAL,
    pairwise.PAIRWISE,
    detection.DETECTION,
    efficacy.EFFICACY,
    privacy.NEAREST_RECORD,
    latent.ELBO_OF_TEST,
    latent.NLL_BOUND,
    latent.BITS_PER_DIM,
    latent.VALID_ELBO,
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


def defaults() -> tuple[str, ...]:
    """Returns the names of the metrics that are scored while a model trains whose config names none."""
    return tuple(name for name, metric in metrics().items() if metric.default)


def signs() -> dict[str, int]:
    """Returns the metrics that may select a checkpoint: 1 if a higher value is better, -1 if a lower value is."""
    return {name: metric.sign for name, metric in metrics().items() if metric.sign}
