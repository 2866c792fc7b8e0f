"""Measures by name: of samples, or of functions of real rows (log-probabilities, bounds, codes). They never see a family."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.metrics.features import (
    Real,
    Reals,
    Rows,
    channel_classifier,
    real_data,
    some,
    unit,
)
from gen_jax.metrics.images.classifier import RECIPE, accuracy, fit
from gen_jax.metrics.images.distances import frechet_distance, inception_score, kernel_distance
from gen_jax.metrics.images.modes import Judge, classifier_judge, gaussian_judge, mode_statistics
from gen_jax.metrics.images.neighbours import neighbour_statistics
from gen_jax.metrics.images.parzen import parzen_statistics
from gen_jax.metrics.latent import (
    active_units,
    bits_per_dim,
    elbo,
    nll_bound,
    probe_accuracy,
    reconstruction,
    valid_elbo,
)
from gen_jax.metrics.likelihood import bic, per_frame, per_row, per_token, valid_per_frame, valid_per_token
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.sequences.copies import duplicates, learnt_by_heart, memorisation
from gen_jax.metrics.sequences.sounds import spoken
from gen_jax.metrics.sequences.timegan import discriminative, predictive
from gen_jax.metrics.tables.detection import detection
from gen_jax.metrics.tables.efficacy import efficacy
from gen_jax.metrics.tables.marginal import marginal
from gen_jax.metrics.tables.pairwise import pairwise
from gen_jax.metrics.tables.privacy import nearest_record

__all__ = ["ALL", "DEFAULT", "METRICS", "NEEDS", "SELECTING", "Measure", "Real", "Reals", "Rows", "real_data"]

JUDGED = 5000  # rows the SVC of labelled images is trained on, at most
NEIGHBOURS = 5
HELD_OUT = 10_000  # rows of the test split that measures read, at most
VALIDATION = 1000  # last rows of the train split, on which a Parzen window chooses its width


def modes(real: Real) -> Measure | None:
    """Mode coverage, where the modes are known: a mixture of Gaussians, or labelled images of two classes or more."""
    spec = real.spec
    if "means" in spec.info:
        judge, num = gaussian_judge(spec.info["means"], spec.info["deviation"]), len(spec.info["means"])
        protocol = {"judge": "nearest mean, high quality within 3 standard deviations"}
        return Measure(lambda samples: mode_statistics(*judge(samples["x"]), num), lambda: protocol)
    if spec.stacked and spec.classes:
        return _stacked_modes(real)
    if not kind_of(spec).pixels or real.classifier is None:
        return None

    @cache
    def trained() -> tuple[Judge, int]:  # at the first score, not before the first step
        rows = some(real.rows(real.train), JUDGED)
        return classifier_judge(rows["x"], rows["y"], np.min(spec.low), np.max(spec.high)), len(np.unique(rows["y"]))

    def values(samples: Rows) -> Mapping[str, Any]:
        judge, num = trained()
        return mode_statistics(*judge(samples["x"]), num)

    num = min(JUDGED, spec.sizes[real.train])
    return Measure(values, lambda: {"judge": f"SVC on {num} rows of {real.train}, high quality from probability 0.9"})


def _stacked_modes(real: Real) -> Measure:
    """Modes by the most likely class of each channel, whatever its probability: Lin et al. 2018 (1712.04086), section 4.2."""
    spec, classifier = real.spec, cache(lambda: channel_classifier(real))

    def values(samples: Rows) -> Mapping[str, Any]:
        channels = np.split(samples["x"], spec.shape[-1], axis=-1)
        digits = [classifier().describe(channel)[1] for channel in channels]  # [N, K] each
        mode = sum(each.argmax(1) * each.shape[1] ** place for place, each in enumerate(reversed(digits)))
        statistics = mode_statistics(mode, np.ones(len(mode), bool), len(spec.classes))
        return {**statistics, "high_quality": None}

    return Measure(values, lambda: {"judge": "most likely class of each channel", **classifier().protocol})


def frechet(real: Real) -> Measure | None:
    """Frechet distance from the features of train rows to those of samples."""
    return _distance(real, "frechet", frechet_distance)


def kernel(real: Real) -> Measure | None:
    """Unbiased squared MMD between the features of train rows and those of samples."""
    return _distance(real, "kernel", kernel_distance)


def _distance(real: Real, name: str, distance: Callable[[np.ndarray, np.ndarray], float]) -> Measure | None:
    features = real.features
    if features is None or real.spec.sizes[real.train] < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        return {name: distance(features.of(samples["x"]), features.reference())}

    return Measure(values, features.protocol, least=2)


def prdc(real: Real) -> Measure | None:
    """Precision, recall, density and coverage, of as many samples as there are reference rows and the other way round."""
    features = real.features
    if features is None or real.spec.sizes[real.train] <= NEIGHBOURS:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        x, reference = features.of(samples["x"]), features.reference()
        num = min(len(x), len(reference))
        return neighbour_statistics(x[:num], reference[:num], NEIGHBOURS)

    def protocol() -> Mapping[str, Any]:
        return {**features.protocol(), "k": NEIGHBOURS, "rows": "as many samples as reference rows"}

    return Measure(values, protocol, least=NEIGHBOURS + 1)


def classes(real: Real) -> Measure | None:
    """Inception score by the classifier; number of classes with at least a tenth of their share of train rows."""
    features = real.features
    if real.classifier is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        log_prob = features.log_prob(samples["x"])  # [N, K]
        counts = np.bincount(log_prob.argmax(1), minlength=log_prob.shape[1])
        wanted = np.bincount(real.rows(real.train)["y"], minlength=log_prob.shape[1])
        found = (counts > 0) & (counts / counts.sum() >= wanted / wanted.sum() / 10)
        names = dict(zip(real.spec.classes, counts.tolist()))
        return {"inception": inception_score(log_prob), "classes": int(found.sum()), "counts": names}

    return Measure(values, lambda: real.classifier().protocol)


def label_accuracy(real: Real) -> Measure | None:
    """Share of samples that the classifier reads as the label they carry, which a conditional model was asked for."""
    features = real.features
    if kind_of(real.spec).sound:
        return spoken(real)
    if real.classifier is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        return {"label_accuracy": float((features.log_prob(samples["x"]).argmax(1) == samples["y"]).mean())}

    return Measure(values, lambda: real.classifier().protocol, needs=("x", "y"))


def classification_accuracy(real: Real) -> Measure | None:
    """Accuracy on real held-out rows of a classifier that learnt from samples and their labels alone.

    Ravuri & Vinyals 2019 (arXiv 1905.10887), section 3; the oracle learnt from as many train rows.
    """
    spec = real.spec
    if real.classifier is None or real.test is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        test = real.held_out(HELD_OUT)
        params = fit(spec, samples["x"], samples["y"], "classifier of samples")
        return {"classification_accuracy": accuracy(spec, params, test["x"], test["y"])}

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, some(real.rows(real.train), num)

    tested = min(HELD_OUT, spec.sizes[real.test])
    protocol = {"recipe": RECIPE["version"], "tested_on": real.test, "tested_rows": tested}
    return Measure(values, lambda: protocol, oracle, ("x", "y"))


def window(real: Real) -> Measure | None:
    """Parzen-window log-likelihood of the test rows in nats, of images with pixels in [0, 1]; the oracle's are train rows."""
    spec = real.spec
    if real.test is None or not kind_of(spec).pixels:
        return None
    chosen = max(1, min(VALIDATION, spec.sizes[real.train] // 4))

    def values(samples: Rows) -> Mapping[str, Any]:
        validation, test = real.rows(real.train)["x"][-chosen:], real.held_out(HELD_OUT)["x"]
        return parzen_statistics(unit(spec, samples["x"]), unit(spec, validation), unit(spec, test))

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, some({"x": real.rows(real.train)["x"][:-chosen]}, num)

    protocol = {"validation": f"last {chosen} rows of {real.train}", "tested_on": real.test}
    return Measure(values, lambda: protocol, oracle)


METRICS = {  # name -> (what is known of the real data) -> Measure, or None where these data cannot have it
    "modes": modes,
    "high_quality": modes,
    "reverse_kl": modes,
    "frechet": frechet,
    "kernel": kernel,
    "precision": prdc,
    "recall": prdc,
    "density": prdc,
    "coverage": prdc,
    "inception": classes,
    "classes": classes,
    "label_accuracy": label_accuracy,
    "classification_accuracy": classification_accuracy,
    "memorisation": memorisation,
    "duplicates": duplicates,
    "parzen": window,
    "longest_copy": learnt_by_heart,
    "overlap": learnt_by_heart,
    "discriminative_score": discriminative,
    "predictive_score": predictive,
    "nats_per_token": per_token,
    "bits_per_token": per_token,
    "perplexity": per_token,
    "nats_per_frame": per_frame,
    "valid/nats_per_token": valid_per_token,
    "valid/nats_per_frame": valid_per_frame,
    "log_likelihood": per_row,
    "bic": bic,
    "marginal": marginal,
    "pairwise": pairwise,
    "detection": detection,
    "tstr_f1": efficacy,
    "nearest_record": nearest_record,
    "elbo": elbo,
    "nll_bound": nll_bound,
    "bits_per_dim": bits_per_dim,
    "valid/elbo": valid_elbo,
    "active_units": active_units,
    "reconstruction": reconstruction,
    "probe_accuracy": probe_accuracy,
}
NEEDS = {  # what the data lack where there is None
    modes: "known modes, or labelled images",
    frechet: "labels, or rows of at most 256 numbers",
    kernel: "labels, or rows of at most 256 numbers",
    prdc: "labels, or rows of at most 256 numbers",
    classes: "labels of two classes or more",
    label_accuracy: "labels of two classes or more",
    classification_accuracy: "labels and a test split",
    memorisation: "a test split, and rows of numbers of one length",
    duplicates: "rows of numbers of one length",
    window: "images and a test split",
    learnt_by_heart: "text",
    discriminative: "series of one length, of two frames or more",
    predictive: "series of one length, of two frames or more",
    per_token: "sequences of tokens and a split to score",
    per_frame: "sequences of frames and a test split",
    valid_per_token: "sequences of tokens and a validation split",
    valid_per_frame: "sequences of frames and a validation split",
    per_row: "a table or vectors, and a test split (of a table of your own: data.test_path)",
    bic: "a table or vectors",
    marginal: "a table",
    pairwise: "a table of two columns or more",
    detection: "a table of ten rows or more",
    efficacy: "a table with a column of two levels or more, and a test split (of a table of your own: data.test_path)",
    nearest_record: "a table, and a test split of two rows or more (of a table of your own: data.test_path)",
    elbo: "images, vectors or a table, and a test split",
    nll_bound: "images, vectors or a table, and a test split",
    bits_per_dim: "images or vectors of whole numbers, and a test split",
    valid_elbo: "images, vectors or a table, and a validation split",
    active_units: "images or vectors, and a test split",
    reconstruction: "images or vectors, and a test split",
    probe_accuracy: "images or vectors, labels of two classes or more, and a test split",
}
DEFAULT = (  # while a model trains, where its config names none: they are cheap
    *("modes", "high_quality", "reverse_kl"),
    *("valid/nats_per_token", "valid/nats_per_frame", "valid/elbo", "log_likelihood"),
)
SELECTING = {  # what may choose a checkpoint, for it reads no test row -> 1 where larger is better, -1 where smaller is
    **dict.fromkeys(("modes", "high_quality", "precision", "recall", "coverage", "classes"), 1),
    **dict.fromkeys(("inception", "label_accuracy", "valid/elbo"), 1),
    **dict.fromkeys(("reverse_kl", "frechet", "kernel", "bic"), -1),
    **dict.fromkeys(("valid/nats_per_token", "valid/nats_per_frame"), -1),
}
ALL = "all"  # the name that stands for every metric that applies
