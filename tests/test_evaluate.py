"""The scorer over every measure: a perfect sampler, a collapsed one and copies; protocols; what is refused."""

import numpy as np
import pytest
from conftest import make_spec

from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.features import real_data
from gen_jax.metrics.images.distances import frechet_distance
from gen_jax.metrics.images.neighbours import prdc
from gen_jax.metrics.scores import finite, read_scores, refuse_other_protocol, save_scores, table
from gen_jax.model import Model
from gen_jax.verbs.score import make_scorer

SPLITS = ("train", "test")


def mixture(random, num):
    means, deviation = MIXTURES["ring"]
    return random.normal(means[random.integers(8, size=num)], deviation).astype(np.float32)


@pytest.fixture(scope="module")
def ring():
    """Unlabelled rows in order, as files may have them, and a reader of them."""
    random = np.random.default_rng(0)
    splits = {"train": mixture(random, 3000), "test": mixture(random, 1000)}
    splits["train"] = splits["train"][splits["train"][:, 0].argsort()]
    limits = {"low": [-1.1, -1.1], "high": [1.1, 1.1], "sizes": {name: len(x) for name, x in splits.items()}}
    spec = make_spec("vector", (2,))._replace(content="ring", **limits)
    return spec, lambda split, num: {"x": splits[split][:num]} if split in splits else None


def sampler(*rows, y=None):
    """A model that draws given rows, and labels with them."""
    x = np.concatenate(rows)

    def sample(key, state, num, given=None, how=None):
        start = state["drawn"]
        state["drawn"] += num
        index = np.arange(start, start + num) % len(x)
        return {"x": x[index]} if y is None else {"x": x[index], "y": y[index]}

    return Model(None, None, sample), {"drawn": 0}


def test_raw_features_tell_a_good_sampler_from_a_bad_one(ring):
    spec, reals = ring
    score = make_scorer(real_data(spec, reals, SPLITS), ["all"], num=500, seed=0).score
    random = np.random.default_rng(1)
    good = score(*sampler(mixture(random, 500)))
    means = MIXTURES["ring"][0]
    mode = score(*sampler(random.normal(means[0], 0.01, (500, 2)).astype(np.float32)))
    copies = score(*sampler(reals("train", 3000)["x"][::6]))
    point = score(*sampler(np.full((500, 2), 0.5, np.float32)))
    assert (
        good.keys()
        == mode.keys()
        == {*("frechet", "kernel", "precision", "recall", "density", "coverage", "memorisation", "duplicates")}
    )
    for scores in (good, mode, copies, point):
        assert all(each["value"] is not None for each in scores.values())
    for name in ("frechet", "kernel"):
        assert abs(good[name]["value"]) < 0.01 and mode[name]["value"] > 0.1
    for name, limit in {"precision": 0.1, "recall": 0.1, "density": 0.15, "coverage": 0.05}.items():
        assert good[name]["value"] == pytest.approx(good[name]["oracle"], abs=limit)
    assert mode["coverage"]["value"] < 0.2 and mode["recall"]["value"] < 0.2 and mode["precision"]["value"] > 0.8
    assert copies["memorisation"]["value"] == 0 and good["memorisation"]["value"] == pytest.approx(1, abs=0.15)
    assert good["duplicates"]["value"] < 0.04 and good["duplicates"]["oracle"] < 0.04
    assert point["duplicates"]["value"] == 1
    protocol = good["coverage"]["protocol"]
    assert protocol["k"] == 5 and protocol["samples"] == 500 and protocol["reference"] == "train"
    assert protocol["features"].startswith("raw") and protocol["content"] == "ring"
    assert (protocol["oracle_split"], protocol["oracle_samples"]) == ("test", 500)


def test_no_test_row_is_read_for_what_may_select(ring):
    spec, reals = ring

    def watched(split, num):
        assert split == "train"
        return reals(split, num)

    spec = spec._replace(sizes={"train": 3000})
    score = make_scorer(real_data(spec, watched, SPLITS), ["frechet", "coverage", "duplicates"], num=100, seed=0).score
    scores = score(*sampler(mixture(np.random.default_rng(1), 100)))
    assert all(each["value"] is not None and each["oracle"] is None for each in scores.values())
    with pytest.raises(UserError, match="'memorisation' needs a test split, .*; made-up has none"):
        make_scorer(real_data(spec, watched, SPLITS), ["memorisation"], num=100, seed=0)


def test_metrics_that_data_or_samples_cannot_have(ring):
    spec, reals = ring
    for names, num, message in [
        (["frechett"], 100, "unknown metric 'frechett': did you mean 'frechet'"),
        (["parzen"], 100, "metric 'parzen' needs images and a test split; made-up has none"),
        (["classes"], 100, "metric 'classes' needs labels of two classes or more"),
        (["precision"], 5, "metric 'precision' needs at least 6 samples, not 5"),
        (["all"], 1, "metric 'frechet' needs at least 2 samples, not 1"),
        (["all", "frechett"], 100, "unknown metric 'frechett'"),
        (["all", "classes"], 100, "metric 'classes' needs labels of two classes or more"),
    ]:
        with pytest.raises(UserError, match=message):
            make_scorer(real_data(spec, reals, SPLITS), names, num=num, seed=0)
    few = {**spec.sizes, "train": 1}
    assert make_scorer(real_data(spec._replace(sizes=few), reals, SPLITS), ["all"], num=100, seed=0).score(
        *sampler(mixture(np.random.default_rng(1), 100))
    ).keys() == {"memorisation", "duplicates"}
    large = make_spec("image", (28, 28, 1))
    assert real_data(large, reals, SPLITS).features is None
    assert prdc(real_data(large, reals, SPLITS)) is None
    broken = np.full((100, 2), np.nan, np.float32)
    with pytest.raises(UserError, match="100 of 100 samples are not finite"):
        make_scorer(real_data(spec, reals, SPLITS), ["frechet"], num=100, seed=0).score(*sampler(broken))


def test_scores_compare_under_one_protocol_only(ring, tmp_path):
    spec, reals = ring
    score = make_scorer(real_data(spec, reals, SPLITS), ["frechet", "coverage"], num=100, seed=0).score
    scores = score(*sampler(mixture(np.random.default_rng(1), 100)))
    save_scores(tmp_path, 7, scores)
    refuse_other_protocol(scores, read_scores(tmp_path), "runs/other")
    refuse_other_protocol({"frechet": scores["frechet"]}, {"kernel": scores["coverage"]}, "runs/other")
    head, *lines = table(scores, {"frechet": {"value": 0.125}}, "other").splitlines()
    assert head.split() == ["metric", "value", "real", "data", "other"]
    assert [line.split()[-1] for line in lines] == ["0.125", "-"]
    for change, message in [
        ({"samples": 200}, "samples is 100 here and 200 there"),
        ({"k": 3}, "k is 5 here and 3 there"),
        ({"content": "grid"}, "content is 'ring' here and 'grid' there"),
        ({"classifier": "f00"}, "classifier is None here and 'f00' there"),
    ]:
        others = read_scores(tmp_path)
        others["coverage"]["protocol"] |= change
        with pytest.raises(UserError, match=f"coverage does not compare with that of runs/other: {message}"):
            refuse_other_protocol(scores, others, "runs/other")
    with pytest.raises(UserError, match="absent has no scores yet; first run: python -m gen_jax.evaluate"):
        read_scores(tmp_path / "absent")
    assert finite(np.inf) is None and finite(None) is None and finite(0.0) == 0


def test_training_scores_the_cheap_metrics_unless_told_otherwise(ring):
    spec, reals = ring
    means, deviation = MIXTURES["ring"]
    known = spec._replace(info={"means": means.tolist(), "deviation": deviation})
    drawn = sampler(mixture(np.random.default_rng(1), 100))
    assert make_scorer(real_data(known, reals, SPLITS), (), num=100, seed=0).score(*drawn).keys() == {
        "modes",
        "high_quality",
        "reverse_kl",
    }
    assert (
        make_scorer(real_data(known, reals, SPLITS), ("all",), num=100, seed=0).score(*drawn).keys()
        < catalogue.metrics().keys()
    )
    assert make_scorer(real_data(spec, reals, SPLITS), (), num=100, seed=0).score(*drawn) == {}


def test_features_of_a_users_network_take_the_place_of_the_classifiers(tmp_path):
    spec = make_spec("image", (4, 4, 1))._replace(
        dtype="uint8", shift=127.5, scale=127.5, low=0.0, high=255.0, sizes={"train": 150, "test": 150}
    )
    with pytest.raises(UserError, match="no such file of features: none.pt"):
        make_scorer(real_data(spec, None, SPLITS, "none.pt"), ["frechet"], num=10, seed=0)
    with pytest.raises(UserError, match="are of images with 1 or 3 channels"):
        make_scorer(real_data(make_spec("vector", (2,)), None, SPLITS, "none.pt"), ["frechet"], num=10, seed=0)
    torch = pytest.importorskip("torch")
    (tmp_path / "bad.pt").write_bytes(b"no network")
    with pytest.raises(UserError, match="bad.pt is no TorchScript file"):
        make_scorer(real_data(spec, None, SPLITS, str(tmp_path / "bad.pt")), ["frechet"], num=10, seed=0)

    class Means(torch.nn.Module):
        """The mean of each half of the rows, of the green channel."""

        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            assert x.dtype == torch.uint8 and x.shape[1] == 3 and return_features
            return x[:, 1].double().reshape(len(x), 2, -1).mean(2)

    torch.jit.script(Means()).save(str(tmp_path / "means.pt"))
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 1)).astype(np.uint8)
    rows = {"train": {"x": images[:150]}, "test": {"x": images[150:]}}
    reals = lambda split, num: {"x": rows[split]["x"][:num]}
    score = make_scorer(real_data(spec, reals, SPLITS, str(tmp_path / "means.pt")), ["frechet"], num=150, seed=0).score
    entry = score(*sampler(images[150:] / np.float32(127.5) - 1))["frechet"]
    halves = images.reshape(300, 2, 8).mean(2)
    assert entry["value"] == pytest.approx(frechet_distance(halves[150:], halves[:150]), rel=1e-6)
    assert entry["value"] == entry["oracle"] and entry["protocol"]["features"] == "means.pt"
