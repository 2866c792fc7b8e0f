"""Measures of models with latents: bounds of the likelihood of real rows, and what their codes keep of them."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions.pixels import whole
from gen_jax.metrics.features import UNIT, Real, Rows, some, unit
from gen_jax.metrics.likelihood import DENSITY, VALID, in_units
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.rows import Coded, Lacking

ACTIVE = 0.01  # variance over rows of a latent that is used (Burda et al. 2016, arXiv 1509.00519, section 5.3)
MOST, NUMBERS = 10_000, 1 << 26  # rows of a split that are encoded, or fitted to, at most, and what they hold
Codes = Callable[..., Iterator[Coded]]  # (raw rows, decoded=False) -> batches


def elbo(real: Real) -> Measure | None:
    """Mean ELBO of the test rows, in nats a row, of the data's own numbers."""
    return _bound(real, real.test, "elbo", "elbo", 1.0)


def valid_elbo(real: Real) -> Measure | None:
    """As `elbo`, of the validation split, which may choose a checkpoint."""
    return _bound(real, VALID, "elbo", "valid/elbo", 1.0)


def nll_bound(real: Real) -> Measure | None:
    """Minus the importance weighted bound of the test rows, in nats a row, of the data's own numbers."""
    return _bound(real, real.test, "bound", "nll_bound", -1.0)


def bits_per_dim(real: Real) -> Measure | None:
    """Minus the ELBO in bits a number, channels counted: the net rate of bits-back coding; of whole numbers alone."""
    if whole(real.spec) is None:
        return None
    protocol = {"rate": "net rate of bits-back coding, by the ELBO"}
    return _bound(real, real.test, "elbo", "bits_per_dim", -1 / (np.prod(real.spec.shape) * np.log(2)), protocol)


def _bound(
    real: Real, split: str | None, of: str, name: str, factor: float, more: Mapping[str, Any] = {}
) -> Measure | None:
    spec = real.spec
    if kind_of(spec).time or not spec.sizes.get(split):
        return None

    def values(bound: Callable[[Rows], np.ndarray]) -> Mapping[str, Any]:
        rows = real.whole(split)
        nats = np.asarray(bound(rows), np.float64)
        nats = in_units(spec, nats, rows["x"]) if spec.tabular else nats - volume(spec)
        error = abs(factor) * nats.std() / np.sqrt(len(nats))
        return {name: float(factor * nats.mean()), "standard_error": float(error), "rows": len(nats)}

    units = "probability of whole numbers" if whole(spec) else "density in the data's own units"
    units = DENSITY if spec.tabular else units
    return Measure(values, lambda: {"split": split, "rows": spec.sizes[split], "units": units, **more}, of=of)


def volume(spec: Spec) -> float:
    """Log of how much volume of the data's own units one of model space is: 0 for whole numbers, which have probabilities."""
    return 0.0 if whole(spec) else float(np.log(np.broadcast_to(spec.scale, spec.shape)).sum())


def active_units(real: Real) -> Measure | None:
    """How many latents have posterior means that differ between test rows."""
    if not _encoded(real.spec, real.test):
        return None

    def values(codes: Codes) -> Mapping[str, Any]:
        z = _numbers(codes, read(real, real.test))
        return {"active_units": int((z.var(0, dtype=np.float64) > ACTIVE).sum()), "latents": z.shape[1]}

    protocol = {**_rows(real, real.test), "variance_above": ACTIVE}
    return Measure(values, lambda: protocol, of="codes")


def reconstruction(real: Real) -> Measure | None:
    """Mean squared error a number of test rows decoded from their codes, beside PCA with as many components as latents."""
    spec = real.spec
    if not _encoded(spec, real.test):
        return None
    components = _components(real)

    def values(codes: Codes) -> Mapping[str, Any]:
        errors, numbers = np.zeros(3), 0  # of the model, of PCA, of the train rows' mean
        for raw, latent, back in codes(read(real, real.test), decoded=True):
            x, pca = unit(spec, raw), components(latent["z"].shape[1])
            guesses = unit(spec, back), pca.inverse_transform(pca.transform(x)), pca.mean_[None]
            errors += [np.square(x - guess, dtype=np.float64).sum() for guess in guesses]
            numbers += x.size
        real_numbers = latent["z"].dtype.kind == "f"  # a code of a few bits is not compared with a number of 32
        share = 1 - errors / errors[2] if errors[2] else np.full(3, np.nan)
        baseline = {"pca_reconstruction": errors[1] / numbers, "pca_explained_variance": share[1]}
        found = {"reconstruction": errors[0] / numbers, "explained_variance": share[0]}
        found |= baseline if real_numbers else {}
        return {**{name: float(value) for name, value in found.items()}, "latents": latent["z"].shape[1]}

    protocol = {**_rows(real, real.test), "domain": UNIT, **_baseline(real)}
    return Measure(values, lambda: protocol, of="codes")


def probe_accuracy(real: Real) -> Measure | None:
    """Accuracy on test rows of a linear classifier of the codes, beside one of as many principal components."""
    spec = real.spec
    if not _encoded(spec, real.test) or len(spec.classes or ()) < 2:
        return None
    components = _components(real)

    def values(codes: Codes) -> Mapping[str, Any]:
        train, test = read(real, real.train), read(real, real.test)
        z = [_numbers(codes, rows, unlabelled=True) for rows in (train, test)]
        pca = components(z[0].shape[1])
        principal = [pca.transform(unit(spec, rows["x"])) for rows in (train, test)]

        def accuracy(x: list[np.ndarray]) -> float:
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            return float(classifier.fit(x[0], train["y"]).score(x[1], test["y"]))

        figures = {"probe_accuracy": accuracy(z), "pca_probe_accuracy": accuracy(principal)}
        return {**figures, "latents": z[0].shape[1]}

    probe = "multinomial logistic regression, L2 1, of standardised codes"
    protocol = {**_rows(real, real.test), "probe": probe, **_baseline(real)}
    return Measure(values, lambda: protocol, of="codes")


def read(real: Real, split: str) -> Rows:
    """Raw rows of a split, in random order, as many as are encoded."""
    return some(real.rows(split), _most(real.spec, split))


def _most(spec: Spec, split: str) -> int:
    return min(MOST, NUMBERS // int(np.prod(spec.shape)), spec.sizes[split])


def _rows(real: Real, split: str) -> dict[str, Any]:
    return {"split": split, "rows": _most(real.spec, split)}


def _baseline(real: Real) -> dict[str, Any]:
    return {"fitted_on": real.train, "fitted_rows": _most(real.spec, real.train)}


def _encoded(spec: Spec, test: str | None) -> bool:
    return not (kind_of(spec).time or spec.tabular) and test is not None


def _components(real: Real) -> Callable[[int], Any]:
    """Principal components of the train rows: as many as there are latents, or as the rows have."""

    @cache
    def fitted(latents: int) -> Any:
        from sklearn.decomposition import PCA

        x = unit(real.spec, read(real, real.train)["x"])
        return PCA(min(latents, *x.shape), random_state=0).fit(x)

    return fitted


def _numbers(codes: Codes, rows: Rows, unlabelled: bool = False) -> np.ndarray:
    """Codes [N, L] of real numbers; `unlabelled` ones are made without the label.

    Raises:
      Lacking: where the model's are not.
    """
    found = []
    for _, latent, _ in codes(rows):
        if latent["z"].dtype.kind != "f":
            raise Lacking("codes of real numbers, which this model does not have")
        if unlabelled and "y" in latent:
            raise Lacking("codes that are made without the label, which this model does not have")
        found.append(latent["z"])
    return np.concatenate(found)
