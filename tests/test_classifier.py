"""The classifier behind the measures: accuracy, determinism, its cache; and the measures that see through it."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from conftest import make_spec

from gen_jax import data
from gen_jax.data.cache import cache_folder
from gen_jax.data.kinds.audio import to_mu_law
from gen_jax.data.spec import to_model
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.features import real_data, subset
from gen_jax.metrics.images import classifier
from gen_jax.metrics.images.motion import DRIFT, MOTION, ORDER
from gen_jax.metrics.sequences.bars import VALID_BARS
from gen_jax.metrics.sequences.paired_texts import TRANSLATION
from gen_jax.metrics.sequences.pitch import PITCH
from gen_jax.metrics.sequences.summaries import SUMMARY
from gen_jax.model import Model
from gen_jax.verbs.score import make_scorer

SPLITS = ("train", "test")
SEQUENCES = {"bits_per_token", "perplexity", "discriminative_score", "predictive_score", "longest_copy", "overlap"}
SEQUENCES |= {name for name in catalogue.metrics() if "nats" in name}  # what only sequences have
LATENTS = {"nelbo", "valid/nelbo", "nll_bound", "bits_per_dim", "active_units", "reconstruction", "probe_accuracy"}
TABLES = {"nll", "valid/nll", "bic", "marginal", "pairwise", "detection", "tstr_f1", "nearest_record"}
PAIRED = {
    "miou",
    "pixel_accuracy",
    "miou_prior",
    "miou_nearest",
    "psnr",
    "psnr_bicubic",
    "valid/psnr",
    "valid/psnr_bicubic",
    "patch_auc",
    "patch_auc_bicubic",
    "fine_energy",
    "fine_energy_bicubic",
}
PAIRED |= {
    name for name in catalogue.metrics() if name.startswith(("absolute_error", "segmented_", "word_error", "dtw_"))
} | {"retrieval"}
TEXTS = {metric.name for measure in (TRANSLATION, SUMMARY, VALID_BARS) for metric in measure.metrics}
CLIPS = {metric.name for measure in (MOTION, DRIFT, ORDER, PITCH) for metric in measure.metrics}
OTHERS = SEQUENCES | LATENTS | TABLES | PAIRED | TEXTS | CLIPS


@pytest.fixture(scope="module", autouse=True)
def fast():
    """Code that is fast, where the suite's is compiled fast: these tests train. A step takes a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1}))
        classifier.functions.cache_clear()  # of what other modules have compiled
        yield
    classifier.functions.cache_clear()


@pytest.fixture(scope="module")
def digits():
    """Spec and reader of scikit-learn's digits."""
    options = {"name": "digits", "split": "train", "test_split": "test", "feed": "auto", "order": "shuffle"}
    loaded = data.load(options, batch_size=64, seed=0, steps=1)
    return loaded.spec, loaded.read


def sampler(spec, x, y=None):
    """A model that draws given raw rows, and their labels where there are any."""
    drawn = [0]

    def sample(key, state, num, given=None, how=None):
        index = (drawn[0] + np.arange(num)) % len(x)
        drawn[0] += num
        batch = {"x": to_model(spec, x[index])}
        return batch if y is None else {**batch, "y": y[index]}

    return Model(None, None, sample), None


@pytest.mark.study
def test_it_knows_the_digits_and_scores_see_through_it(digits):
    spec, reals = digits
    train, test = reals("train", None), reals("test", None)
    others = (*OTHERS, "modes", "high_quality", "reverse_kl", "label_accuracy", "classification_accuracy")
    names = [name for name in catalogue.metrics() if name not in others]
    score = make_scorer(real_data(spec, reals, SPLITS), names, num=len(test["x"]), seed=0).score
    real = score(*sampler(spec, test["x"]))
    assert real["frechet"]["protocol"]["classifier_accuracy"] >= 0.97
    for each in real.values():
        assert each["value"] == each["oracle"] or each["protocol"]["oracle_split"] == "train"
    assert json.loads(json.dumps(real)) == real
    new = score(*sampler(spec, subset(train, 359, seed=1)["x"]))  # not held out, but another draw
    threes = score(*sampler(spec, test["x"][test["y"] == 3]))
    noise = score(*sampler(spec, np.random.default_rng(0).integers(0, 17, (359, 8, 8, 1)).astype(np.uint8)))
    value = {name: [each[name]["value"] for each in (real, new, threes, noise)] for name in names}
    assert max(value["frechet"][:2]) * 5 < min(value["frechet"][2:])
    assert max(value["kernel"][:2]) * 5 < min(value["kernel"][2:])
    assert value["precision"][0] > 0.9 and value["density"][3] < 0.5 and value["density"][0] > 0.9
    assert value["coverage"][0] > 0.8 and max(value["coverage"][2:]) < 0.2
    assert value["inception"][0] > 8 and value["inception"][2] < 1.5
    assert value["classes"][:2] == [10, 10] and value["classes"][2] <= 3  # some threes are taken for others
    counts = real["classes"]["details"]["counts"]
    assert sum(counts.values()) == 359 and min(counts.values()) > 15 and list(counts) == list(spec.classes)
    assert value["memorisation"][0] == 1 and value["memorisation"][1] == 0
    assert value["duplicates"][1] < 0.03 and value["duplicates"][2] == 1  # each three is drawn many times
    assert value["parzen_nll"][1] == pytest.approx(new["parzen_nll"]["oracle"], abs=8)
    assert value["parzen_nll"][3] > 0
    assert 0 < new["parzen_nll"]["details"]["parzen_error"] < 3
    asked = make_scorer(real_data(spec, reals, SPLITS), ["label_accuracy"], num=len(test["x"]), seed=0).score
    half = np.where(np.arange(len(test["y"])) % 2, test["y"], (test["y"] + 1) % 10)
    for labels, right in ((test["y"], 1), (half, 0.5), ((test["y"] + 1) % 10, 0)):
        entry = asked(*sampler(spec, test["x"], labels))["label_accuracy"]
        assert entry["value"] == pytest.approx(right, abs=0.04) and entry["oracle"] >= 0.97


@pytest.mark.study
def test_accuracy_of_a_classifier_that_learnt_from_samples(digits, monkeypatch):
    spec, reals = digits
    monkeypatch.setattr(classifier, "RECIPE", classifier.RECIPE._replace(least_steps=250))
    train = reals("train", None)
    score = make_scorer(real_data(spec, reals, SPLITS), ["classification_accuracy"], num=1000, seed=0).score
    entry = score(*sampler(spec, train["x"], train["y"]))["classification_accuracy"]
    assert entry["value"] > 0.93 and entry["oracle"] > 0.93
    assert entry["protocol"]["oracle_split"] == "train" and entry["protocol"]["tested_rows"] == 359
    wrong = score(*sampler(spec, train["x"], (train["y"] + 1) % 10))["classification_accuracy"]
    assert wrong["value"] < 0.05 and wrong["oracle"] == entry["oracle"]
    with pytest.raises(UserError, match="'classification_accuracy' needs samples with 'y', which this model does not"):
        score(*sampler(spec, train["x"]))


def test_samples_without_labels_are_not_asked_for_their_accuracy(digits, short):
    spec, reals = digits
    x = reals("train", None)["x"]
    scores = make_scorer(real_data(spec, reals, SPLITS), ["all"], num=40, seed=0).score(*sampler(spec, x))
    assert scores.keys() == catalogue.metrics().keys() - {"label_accuracy", "classification_accuracy", *OTHERS}


def files():
    return sorted((cache_folder() / "classifiers").glob("*.npz"))


@pytest.mark.study
def test_it_is_trained_once_to_the_same_bytes(digits, short, monkeypatch):
    spec, reals = digits
    spec = spec._replace(content="once")
    before = set(files())
    first = real_data(spec, reals, SPLITS).classifier()
    (path,) = set(files()) - before
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "fit", None)
        kept = real_data(spec, reals, SPLITS).classifier()
    assert kept.protocol == first.protocol and len(first.protocol["classifier"]) == 24
    for damaged in (b"", whole[:-100], whole[: len(whole) // 2] + b"\x00\xff" * 50 + whole[len(whole) // 2 + 100 :]):
        path.write_bytes(damaged)
        again = real_data(spec, reals, SPLITS).classifier()
        assert again.protocol == first.protocol and path.read_bytes() == whole
    x = reals("test", None)["x"]
    for one, other in zip(first.describe(x), kept.describe(x)):
        np.testing.assert_array_equal(one, other)
    other = real_data(spec._replace(content="other"), reals, SPLITS).classifier()
    assert set(files()) - before > {path} and other.protocol == first.protocol  # another key, the same training


def test_descriptions_do_not_depend_on_how_many_rows_there_are(digits, short):
    spec, reals = digits
    x = reals("train", None)["x"]
    describe = real_data(spec, reals, SPLITS).classifier().describe
    features, log_prob = describe(x[:1200])
    assert features.shape == (1200, 64) and log_prob.shape == (1200, 10)
    np.testing.assert_allclose(np.exp(log_prob).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(describe(x[500:507])[0], features[500:507])


@pytest.mark.parametrize("kind, shape", [("vector", (5,)), ("image", (70, 40, 3))])
def test_other_kinds_of_labelled_rows(kind, shape, short):
    random = np.random.default_rng(0)
    y = np.arange(200, dtype=np.int32) % 3
    x = (random.normal(size=(200, *shape)) * 0.1 + (y - 1).reshape(-1, *[1] * len(shape))).astype(np.float32)
    sizes = {"train": 200}
    spec = make_spec(kind, shape)._replace(classes=("a", "b", "c"), sizes=sizes, content=f"{shape}")
    real = real_data(spec, lambda split, num: {"x": x[:num], "y": y[:num]}, SPLITS)
    judge = real.classifier()
    assert judge.protocol["classifier_accuracy"] is None  # there is no test split
    assert (judge.describe(x)[1].argmax(1) == y).mean() > 0.95
    assert real.features.embed(x).shape == (200, 64)


@pytest.mark.study
def test_recordings_are_judged_by_their_spectrograms(short, monkeypatch):
    random = np.random.default_rng(0)
    y, length = np.arange(160, dtype=np.int32) % 2, random.integers(600, 1000, 160, np.int32)
    phase = random.uniform(0, 6, (160, 1))
    tones = np.sin(phase + np.arange(1000) * np.array([0.3, 1.5])[:, None, None])  # [2, N, T]: both in each, one louder
    x = to_mu_law(0.5 * np.where(y[:, None], tones[0] + 0.2 * tones[1], 0.2 * tones[0] + tones[1]))
    spec = make_spec("audio", (1000,))._replace(info={"vocabulary": list(range(256)), "ragged": True}, dtype="uint8")
    spec = spec._replace(classes=("low", "high"), sizes={"train": 120, "test": 40}, shift=0.0, scale=1.0, high=255.0)
    places = {"train": slice(0, 120), "test": slice(120, 160)}
    rows = {"x": x, "length": length, "y": y}

    def reals(split, num):
        return {name: each[places[split]][:num] for name, each in rows.items()}

    def scored(labels):
        model = Model(
            None, None, lambda key, state, num, given, how: {"x": x[:num].astype(np.int32), "y": labels[:num]}
        )
        return make_scorer(real_data(spec, reals, SPLITS), ["label_accuracy"], num=16, seed=0).score(model, None)[
            "label_accuracy"
        ]

    right = scored(y)
    assert right["oracle"] == 1 and right["value"] == 1 and scored(1 - y)["value"] == 0
    assert right["protocol"]["judge"] == "spectrograms"
    monkeypatch.setattr("gen_jax.metrics.sequences.sounds.RANGE", 20)
    assert scored(y)["protocol"]["classifier"] != right["protocol"]["classifier"]  # other pictures, another classifier
