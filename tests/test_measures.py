"""The records of the measures: they are complete, and a new measure is one definition and one line in the list."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import make_spec

import gen_jax
from gen_jax import evaluate, train
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.features import real_data
from gen_jax.metrics.measure import Computation, Measure, Metric, names_of
from gen_jax.metrics.row_functions import Reading
from gen_jax.model import Model
from gen_jax.storage import directory, metrics_file
from gen_jax.training import selection
from gen_jax.verbs.score import make_scorer

CONFIG = Path(__file__).parents[1] / "configs" / "gan_gaussians.py"
FEW = ["--config.data.variant=ring", "--config.batch_size=16", "--config.evaluate.num=50", "--config.sample_every=0"]
FEW += [f"--config.model.{net}.hidden=(8,)" for net in ("generator", "discriminator")]
FEW += ["--config.steps=4", "--config.eval_every=2", "--config.save_every=4", "--quiet"]


def spread(real):
    def values(samples):
        return {"spread": float(np.std(samples["x"])), "largest": float(np.max(samples["x"]))}

    return Computation(values, lambda: {"of": f"{len(real.spec.shape)} axes"})


SPREAD = Measure(
    (Metric("spread", "standard deviation of all numbers of the samples", better=1, selects=True, default=True),),
    spread,
    data="numbers",
)


def prior_mean(real):
    return Computation(lambda mean: {"prior_mean": mean()}, dict)


def mean_of_prior(subject):
    if subject.model.prior is None:
        return None
    return lambda: float(np.mean(subject.model.prior(None, subject.state, subject.num_samples)))


PRIOR_MEAN = Measure(  # with a reading of its own
    (Metric("prior_mean", "mean of the prior"),),
    prior_mean,
    data="anything",
    reading=Reading(
        "a prior",
        mean_of_prior,
        lambda subject: {"num_samples": subject.num_samples},
    ),
)


@pytest.fixture
def listed(monkeypatch):
    monkeypatch.setattr(catalogue, "MEASURES", (*catalogue.MEASURES, SPREAD, PRIOR_MEAN))


def test_every_record_is_complete():
    names = [name for measure in catalogue.MEASURES for name in names_of(measure)]
    assert len(set(names)) == len(names) > 30
    for measure in catalogue.MEASURES:
        assert measure.data and measure.least >= 1 and "x" in measure.fields
        assert all(metric.definition and metric.better in (-1, 0, 1) for metric in measure.metrics)
        assert all(metric.better for metric in measure.metrics if metric.selects)
        assert measure.no_oracle and (measure.reading is None or measure.reading.no_oracle)
    tests = [name for name, metric in catalogue.metrics().items() if "test row" in metric.definition]
    assert "nelbo" in tests and not catalogue.signs().keys() & {*tests}


def test_all_likelihoods_are_negative_and_lower_is_better():
    """A name or a definition that speaks of a likelihood or of a bound of it has one direction."""
    words = ("likelihood", "elbo", "nats per", "bits per", "nll", "perplexity", "valid/nats")
    likelihoods = {
        name: metric
        for name, metric in catalogue.metrics().items()
        if any(word in f"{name} {metric.definition}".lower() for word in words)
    }
    assert len(likelihoods) == 13
    assert {metric.better for metric in likelihoods.values()} == {-1}
    assert not catalogue.NEGATED.keys() & catalogue.metrics().keys()
    assert {*catalogue.NEGATED.values()} <= likelihoods.keys()


@pytest.mark.parametrize("old, new", catalogue.NEGATED.items())
def test_a_log_likelihood_of_earlier_versions_is_named_as_its_negative(old, new):
    spec = make_spec("vector", (2,))._replace(sizes={"train": 10})
    real = real_data(spec, lambda split, num: {"x": np.zeros((10, 2), np.float32)}, ("train", "test"))
    with pytest.raises(
        UserError, match=f"metric '{old}' has a new name; expected '{new}', its negative .lower is better"
    ):
        make_scorer(real, [old], num=5, seed=0)
    assert catalogue.current([old, "bic"]) == (new, "bic")


@pytest.mark.study
def test_a_new_measure_scores_and_selects(listed, tmp_path, one_device):
    workdir = tmp_path / "run"
    train.main(["train", "--config", str(CONFIG), "--workdir", str(workdir), "--config.select=spread", *FEW])
    logged = {line["step"]: line["spread"] for line in metrics_file.read_metrics(workdir) if "spread" in line}
    best = max(logged, key=logged.get)
    assert logged.keys() == {2, 4} and directory.steps_in(workdir / "best") == [best]
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=spread"])
    entry = json.loads((workdir / "evaluation.json").read_text())["metrics"]["spread"]
    assert entry["value"] == logged[best] and entry["details"].keys() == {"largest"} and entry["oracle"] > 0
    assert entry["protocol"]["of"] == "1 axes" and entry["protocol"]["samples"] == 50
    with selection.opened(workdir, "spread") as offer:
        offer(6, {"spread": {"value": logged[best] - 1}}, gen_jax.load(workdir).state)
    assert directory.steps_in(workdir / "best") == [best]  # because a higher value is better


def test_errors_list_a_new_measure(listed, tmp_path):
    spec = make_spec("vector", (2,))._replace(sizes={"train": 10})
    real = real_data(spec, lambda split, num: {"x": np.zeros((10, 2), np.float32)}, ("train", "test"))
    with pytest.raises(UserError, match="unknown metric 'spred'; expected .*Did you mean 'spread'"):
        make_scorer(real, ["spred"], num=5, seed=0)
    with pytest.raises(UserError, match=f"expected one of {len(catalogue.metrics())} names, such as modes"):
        make_scorer(real, ["zzz"], num=5, seed=0)
    flags = ["--config", str(CONFIG), "--workdir", str(tmp_path / "run"), "--config.select=zzz", *FEW]
    with pytest.raises(UserError, match="unknown metric to select by 'zzz'; expected one of modes, .* spread"):
        train.main(["train", *flags])


def test_a_measure_may_bring_what_it_reads_of_a_model(listed):
    spec = make_spec("vector", (2,))._replace(sizes={"train": 10})
    real = real_data(spec, lambda split, num: {"x": np.zeros((10, 2), np.float32)}, ("train", "test"))
    scorer = make_scorer(real, ["prior_mean"], num=5, seed=0, num_samples=3)
    entry = scorer.score(Model(None, None, None, prior=lambda key, state, num: np.full(num, 7.0)), None)["prior_mean"]
    assert (entry["value"], entry["oracle"], entry["protocol"]["num_samples"]) == (7, None, 3)
    with pytest.raises(UserError, match="metric 'prior_mean' needs a prior, which this model does not have"):
        scorer.score(Model(None, None, None), None)


def test_a_scorer_draws_the_samples_that_it_scores(listed):
    spec = make_spec("vector", (2,))._replace(sizes={"train": 10})
    real = real_data(spec, lambda split, num: {"x": np.zeros((10, 2), np.float32)}, ("train", "test"))
    scorer = make_scorer(real, (), num=5, seed=3)  # the defaults
    model = Model(None, None, lambda key, state, num, *conditions: {"x": np.arange(2.0 * num).reshape(num, 2)})
    samples = scorer.draw(model, None)
    assert samples["x"].shape == (5, 2)
    assert scorer.score(model, None) == scorer.score(model, None, samples)
    assert scorer.score(model, None).keys() == {"spread"}
