"""Measures of models with latents: bounds of the likelihood of real rows, and what their codes keep of the rows."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions.pixels import whole
from gen_jax.metrics.features import UNIT, Real, Rows, subset, unit
from gen_jax.metrics.likelihood import DENSITY, VALID, row_nats
from gen_jax.metrics.measure import NEGATIVE, Computation, Measure, Metric
from gen_jax.metrics.row_functions import BOUND, CODES, ELBO, RECONSTRUCTIONS, Coded, Lacking, Reconstructed

ACTIVE = 0.01  # variance over rows from which a latent is active
MOST_ROWS, MOST_NUMBERS = 10_000, 1 << 26  # of a split that are encoded, or that PCA is fitted to
Codes = Callable[[Rows], Iterator[Coded]]  # raw rows -> batches
Reconstructions = Callable[[Rows], Iterator[Reconstructed]]  # raw rows -> batches
Bound = Callable[[Rows], np.ndarray]  # raw rows -> [N] nats, in model space


def nelbo(real: Real) -> Computation | None:
    """Prepares the mean negative ELBO of the test rows."""
    return _bound(real, real.test, "nelbo", NEGATIVE)


def valid_nelbo(real: Real) -> Computation | None:
    """Prepares the mean negative ELBO of the validation rows."""
    return _bound(real, VALID, "valid/nelbo", NEGATIVE)


def nll_bound(real: Real) -> Computation | None:
    """Prepares the mean negative importance weighted bound of the test rows."""
    return _bound(real, real.test, "nll_bound", {})


def bits_per_dim(real: Real) -> Computation | None:
    """Prepares the mean negative ELBO of the test rows in bits per number; None unless the data are whole numbers.

    Args:
      real: the real data.
    """
    if whole(real.spec) is None:
        return None
    rate = {"rate": "net rate of bits-back coding, by the ELBO"}
    return _bound(real, real.test, "bits_per_dim", rate, np.prod(real.spec.shape) * np.log(2))


def _bound(
    real: Real, split: str | None, name: str, facts: Mapping[str, str], unit_nats: float = 1.0
) -> Computation | None:
    """Prepares the mean over rows of the bound with its sign changed.

    Args:
      real: the real data.
      split: whose rows are scored.
      name: of the metric.
      facts: further entries of its protocol.
      unit_nats: nats of one unit of the metric.
    """
    spec = real.spec
    sequences = kind_of(spec).time and not levels(spec)
    if split is None or sequences or not spec.sizes.get(split):
        return None

    def values(bound: Bound) -> Mapping[str, Any]:
        rows = real.whole(split)
        nats = row_nats(spec, np.asarray(bound(rows)), rows["x"])
        factor = -1 / unit_nats
        error = abs(factor) * nats.std() / np.sqrt(len(nats))
        return {name: float(factor * nats.mean()), "standard_error": float(error), "rows": len(nats)}

    units = "probability of whole numbers" if whole(spec) or levels(spec) else "density in the data's own units"
    units = DENSITY if spec.tabular else units
    return Computation(values, lambda: {"split": split, "rows": spec.sizes[split], "units": units, **facts})


def active_units(real: Real) -> Computation | None:
    """Prepares the number of latents whose posterior means differ between test rows."""
    test = _encoded_split(real)
    if test is None:
        return None

    def values(codes: Codes) -> Mapping[str, Any]:
        z = _real_codes(codes, read(real, test))
        return {"active_units": int((z.var(0, dtype=np.float64) > ACTIVE).sum()), "latents": z.shape[1]}

    protocol = {**_rows(real, test), "variance_above": ACTIVE}
    return Computation(values, lambda: protocol)


def reconstruction(real: Real) -> Computation | None:
    """Prepares the error of test rows decoded from their codes, beside PCA with as many components as latents.

    PCA is left out for codes that are whole numbers, because a code of a few bits does not compare with 32 bits.
    """
    spec, test = real.spec, _encoded_split(real)
    if test is None:
        return None
    components = _components(real)

    def values(reconstructions: Reconstructions) -> Mapping[str, Any]:
        errors, numbers = np.zeros(3), 0  # squared errors of the model, of PCA and of the mean training row
        for raw, latent, decoded in reconstructions(read(real, test)):
            x, pca = unit(spec, raw), components(latent["z"].shape[1])
            guesses = unit(spec, decoded), pca.inverse_transform(pca.transform(x)), pca.mean_[None]
            errors += [np.square(x - guess, dtype=np.float64).sum() for guess in guesses]
            numbers += x.size
        explained = 1 - errors / errors[2] if errors[2] else np.full(3, np.nan)
        figures = {"reconstruction": errors[0] / numbers, "explained_variance": explained[0]}
        if latent["z"].dtype.kind == "f":
            figures |= {"pca_reconstruction": errors[1] / numbers, "pca_explained_variance": explained[1]}
        return {**{name: float(value) for name, value in figures.items()}, "latents": latent["z"].shape[1]}

    protocol = {**_rows(real, test), "domain": UNIT, **_baseline(real)}
    return Computation(values, lambda: protocol)


def probe_accuracy(real: Real) -> Computation | None:
    """Prepares the accuracy of a linear classifier of the codes, beside that of as many principal components."""
    spec, test_split = real.spec, _encoded_split(real)
    if test_split is None or len(spec.classes) < 2:
        return None
    components = _components(real)

    def values(codes: Codes) -> Mapping[str, Any]:
        train, test = read(real, real.train), read(real, test_split)
        train_z, test_z = (_real_codes(codes, rows, unlabelled=True) for rows in (train, test))
        pca = components(train_z.shape[1])
        train_pca, test_pca = (pca.transform(unit(spec, rows["x"])) for rows in (train, test))
        return {
            "probe_accuracy": _linear_accuracy(train_z, train["y"], test_z, test["y"]),
            "pca_probe_accuracy": _linear_accuracy(train_pca, train["y"], test_pca, test["y"]),
            "latents": train_z.shape[1],
        }

    probe = "multinomial logistic regression, L2 1, of standardised codes"
    protocol = {**_rows(real, test_split), "probe": probe, **_baseline(real)}
    return Computation(values, lambda: protocol)


def _linear_accuracy(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(x, y).score(test_x, test_y))


def read(real: Real, split: str) -> Rows:
    """Returns the raw rows of a split that are encoded, in random order."""
    return subset(real.rows(split), _num_rows(real.spec, split))


def _num_rows(spec: Spec, split: str) -> int:
    return min(MOST_ROWS, MOST_NUMBERS // int(np.prod(spec.shape)), spec.sizes[split])


def _rows(real: Real, split: str) -> dict[str, Any]:
    return {"split": split, "rows": _num_rows(real.spec, split)}


def _baseline(real: Real) -> dict[str, Any]:
    return {"fitted_on": real.train, "fitted_rows": _num_rows(real.spec, real.train)}


def _encoded_split(real: Real) -> str | None:
    """Returns the name of the test split, whose rows are encoded; None for sequences and tables, whose rows are not."""
    return None if kind_of(real.spec).time or real.spec.tabular else real.test


def _components(real: Real) -> Callable[[int], Any]:
    """Returns the function (number of latents) -> PCA of the training rows with as many components."""

    @cache
    def fitted(latents: int) -> Any:
        from sklearn.decomposition import PCA

        x = unit(real.spec, read(real, real.train)["x"])
        return PCA(min(latents, *x.shape), random_state=0).fit(x)

    return fitted


def _real_codes(codes: Codes, rows: Rows, unlabelled: bool = False) -> np.ndarray:
    """Returns the codes [N, L] of rows.

    Args:
      codes: see `Codes`.
      rows: raw rows.
      unlabelled: refuse codes that are made with the label.

    Raises:
      Lacking: for codes that are not real numbers, or that are made with the label.
    """
    parts = []
    for _, latent in codes(rows):
        if latent["z"].dtype.kind != "f":
            raise Lacking("codes of real numbers, which this model does not have")
        if unlabelled and "y" in latent:
            raise Lacking("codes that are made without the label, which this model does not have")
        parts.append(latent["z"])
    return np.concatenate(parts)


BURDA = "Burda et al. 2016 (arXiv 1509.00519)"
NELBO = Measure(
    (Metric("nelbo", "mean negative ELBO of the test rows in the units of the data, nats per row", better=-1),),
    nelbo,
    data="images, vectors, texts or a table, and a test split",
    reading=ELBO,
)
NLL_BOUND = Measure(
    (Metric("nll_bound", "mean negative importance weighted bound of the test rows, nats per row", better=-1),),
    nll_bound,
    data="images, vectors, texts or a table, and a test split",
    reading=BOUND,
    reference=f"{BURDA}, equation 8",
)
BITS_PER_DIM = Measure(
    (
        Metric(
            "bits_per_dim",
            "negative ELBO of the test rows, bits per number, channels counted: the net rate of bits-back coding",
            better=-1,
        ),
    ),
    bits_per_dim,
    data="images or vectors of whole numbers, and a test split",
    reading=ELBO,
)
VALID_NELBO = Measure(
    (Metric("valid/nelbo", "nelbo of the validation split", better=-1, selects=True, default=True),),
    valid_nelbo,
    data="images, vectors, texts or a table, and a validation split",
    reading=ELBO,
)
ACTIVE_UNITS = Measure(
    (Metric("active_units", f"number of latents whose posterior means have a variance above {ACTIVE} over test rows"),),
    active_units,
    data="images or vectors, and a test split",
    reading=CODES,
    reference=f"{BURDA}, section 5.2",
)
RECONSTRUCTION = Measure(
    (
        Metric(
            "reconstruction",
            "mean squared error per number, scaled to [0, 1], of test rows decoded from their codes; in the details "
            "the error of PCA with as many components as latents",
            better=-1,
        ),
    ),
    reconstruction,
    data="images or vectors, and a test split",
    reading=RECONSTRUCTIONS,
)
PROBE_ACCURACY = Measure(
    (
        Metric(
            "probe_accuracy",
            "accuracy on test rows of a linear classifier of the codes; in the details the accuracy of as many "
            "principal components",
            better=1,
        ),
    ),
    probe_accuracy,
    data="images or vectors, labels of two classes or more, and a test split",
    reading=CODES,
)
