"""The scorer over every measure: a perfect sampler, a collapsed one and copies; protocols; what is refused."""

import io
import pty
import re
import select
import sys
import time

import numpy as np
import pytest
import scipy.stats
from conftest import make_spec

from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue, progress
from gen_jax.metrics.comparison import Scored, comparison_table, difference, refuse_other_protocol
from gen_jax.metrics.features import real_data
from gen_jax.metrics.images.distances import frechet_distance
from gen_jax.metrics.images.neighbours import prdc
from gen_jax.metrics.scores import ASCII_MARKS, MARKS, finite, marks_for, mean_scores, read_scores, save_scores, table
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
    with pytest.raises(UserError, match="made-up does not fit metric 'memorisation'; expected a test split"):
        make_scorer(real_data(spec, watched, SPLITS), ["memorisation"], num=100, seed=0)


def test_metrics_that_data_or_samples_cannot_have(ring):
    spec, reals = ring
    for names, num, message in [
        (["frechett"], 100, "unknown metric 'frechett'; expected .*Did you mean 'frechet'"),
        (["parzen_nll"], 100, "made-up does not fit metric 'parzen_nll'; expected images and a test split"),
        (["classes"], 100, "metric 'classes'; expected labels of two classes or more"),
        (["precision"], 5, "samples is 5; expected at least 6 for metric 'precision'"),
        (["all"], 1, "samples is 1; expected at least 2 for metric 'frechet'"),
        (["all", "frechett"], 100, "unknown metric 'frechett'"),
        (["all", "classes"], 100, "metric 'classes'; expected labels of two classes or more"),
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
    assert (
        comparison_table(Scored("a", scores, (0,)), Scored("b", scores, (0,))).count("+0 without an error, paired") == 2
    )
    for change, message in [
        ({"samples": 200}, "samples of coverage is 100; expected 200"),
        ({"k": 3}, "k of coverage is 5; expected 3"),
        ({"content": "grid"}, "content of coverage is 'ring'; expected 'grid'"),
        ({"classifier": "f00"}, "classifier of coverage is None; expected 'f00'"),
    ]:
        others = read_scores(tmp_path)
        others["coverage"]["protocol"] |= change
        with pytest.raises(UserError, match=message):
            refuse_other_protocol(scores, others, "runs/other")
        (line,) = [
            line
            for line in comparison_table(Scored("a", scores, (0,)), Scored("b", others, (0,))).splitlines()
            if line.startswith("coverage")
        ]
        assert line.endswith(f"not taken alike: {next(iter(change))}")
    with pytest.raises(UserError, match="absent are missing; .* Run python -m gen_jax.evaluate"):
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
    with pytest.raises(UserError, match="none.pt does not exist"):
        make_scorer(real_data(spec, None, SPLITS, "none.pt"), ["frechet"], num=10, seed=0)
    with pytest.raises(UserError, match="no images with 1 or 3 channels"):
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


def entry_of(*values, **protocol):
    """The score of replicas, as it is stored."""
    scores = [
        {"m": {"value": value, "oracle": None, "no_oracle": "model only", "protocol": protocol}} for value in values
    ]
    return mean_scores(scores)["m"]


def test_differences_of_runs_by_brute_force():
    a, b = [3.0, 5.5, 4.0, 9.0], [2.5, 4.0, 4.5, 7.0]
    found = difference(entry_of(*a), entry_of(*b), paired=True)
    gaps = [x - y for x, y in zip(a, b)]
    mean = sum(gaps) / 4
    assert found.value == pytest.approx(mean) and found.pairs == 4
    assert found.error == pytest.approx((sum((gap - mean) ** 2 for gap in gaps) / 3 / 4) ** 0.5)
    assert found.value / found.error == pytest.approx(scipy.stats.ttest_rel(a, b).statistic)
    found = difference(entry_of(*a), entry_of(*b[:3]), paired=False)
    assert found.value == pytest.approx(np.mean(a) - np.mean(b[:3])) and found.pairs == 0
    assert found.value / found.error == pytest.approx(scipy.stats.ttest_ind(a, b[:3], equal_var=False).statistic)
    gone = difference(
        entry_of(3.0, None, 4.0), entry_of(2.0, 1.0, 2.5), paired=True
    )  # a replica without a finite value
    assert (gone.value, gone.pairs) == (1.25, 2) and gone.error == pytest.approx(0.25)
    assert difference(entry_of(1.0), entry_of(3.0), paired=True) == (-2.0, None, 1)
    assert difference(entry_of(1.0, 2.0), entry_of(3.0), paired=False) == (-1.5, None, 0)
    assert difference(entry_of(None), entry_of(3.0), paired=False) is None


def test_replicas_pair_where_their_seeds_are_equal():
    a, b = {"m": entry_of(3.0, 5.0, 4.0), "n": entry_of(1.0)}, {"m": entry_of(2.0, 4.5, 2.5)}

    def line(seeds, other_seeds):
        return comparison_table(Scored("a", a, seeds), Scored("b", b, other_seeds), ASCII_MARKS).splitlines()[2]

    paired = line((0, 1, 2), (0, 1, 2)).split("  ")
    assert [cell.strip() for cell in paired if cell] == ["m", "4 +- 0.58 (3)", "3 +- 0.76 (3)", "+1 +- 0.29 paired (3)"]
    for seeds in ((1, 2, 3), (0, 1), ()):
        assert line((0, 1, 2), seeds).endswith("+1 +- 0.96 unpaired")
    assert line((), ()).endswith("unpaired")  # because unknown seeds are not equal seeds
    table = comparison_table(Scored("a", a, (0,)), Scored("runs/b", b, (0,)), ASCII_MARKS)
    assert table.startswith("this run beside runs/b") and table.splitlines()[3].split() == [
        *"n1",
        "(1)",
        "not",
        "scored",
    ]


def test_scores_of_earlier_versions_are_read_with_the_signs_of_today(tmp_path):
    """The ELBO that an earlier version stored compares with the negative ELBO of today."""
    facts = {"split": "test", "rows": 10}
    old = {**entry_of(-90.5, -92.5, **facts), "last": -95.0}
    del old["no_oracle"]
    window = {"value": 240.0, "oracle": 260.0, "protocol": {"oracle_split": "train"}}
    bound = {"value": 87.7, "oracle": None, "protocol": {}}
    save_scores(
        tmp_path, 7, {"elbo": old, "parzen": window, "nll_bound": bound, "log_likelihood": {**bound, "value": None}}
    )
    read = read_scores(tmp_path)
    assert list(read) == ["nelbo", "parzen_nll", "nll_bound", "nll"]
    error = read["nelbo"]["standard_error"]
    assert error == pytest.approx(1.0) and read["nelbo"]["values"] == [90.5, 92.5] and read["nll"]["value"] is None
    assert (read["nelbo"]["value"], read["nelbo"]["last"], read["nelbo"]["oracle"]) == (91.5, 95.0, None)
    assert (read["parzen_nll"]["value"], read["parzen_nll"]["oracle"], read["nll_bound"]["value"]) == (-240, -260, 87.7)
    lines = table(read, MARKS).splitlines()
    assert lines[1].split() == ["nelbo", "↓", "91.5", "1", "95", "model", "only"] and lines[2].split()[-1] == "-260"
    today = {"nelbo": entry_of(80.0, 81.0, **facts, sign="negative log-likelihood")}
    refuse_other_protocol(today, read, "runs/old")
    assert "-11 ± 0.5 paired (2)" in comparison_table(Scored("a", today, (0, 1)), Scored("runs/old", read, (0, 1)))
    for change in ({"values": 3}, {"values": ["x"]}, {"no_oracle": 1}):
        save_scores(tmp_path, 7, {"elbo": old | change})
        with pytest.raises(UserError, match="holds no scores; .* Write it anew"):
            read_scores(tmp_path)
    with pytest.raises(UserError, match="sign of nelbo is None; expected"):
        refuse_other_protocol({"nelbo": entry_of(80.0, **facts)}, read, "runs/old")


def test_a_table_shows_the_better_direction_and_why_real_data_have_no_figure(ring):
    spec, reals = ring
    names = ["frechet", "coverage", "density"]
    untested = real_data(spec._replace(sizes={"train": 3000}), reals, SPLITS)
    scores = make_scorer(untested, names, num=100, seed=0).score(*sampler(mixture(np.random.default_rng(1), 100)))
    few_reals = lambda split, num: reals(split, 1 if split == "test" else num)
    few = real_data(spec._replace(sizes={**spec.sizes, "test": 1}), few_reals, SPLITS)
    lines = [line.split() for line in table(scores, MARKS).splitlines()]
    assert [line[:-4] for line in lines[1:4]] == [["frechet", "↓"], ["coverage", "↑"], ["density"]]
    assert {" ".join(line[-3:]) for line in lines[1:4]} == {"no test split"}
    assert lines[-1][0] == "↑" and lines[0] == ["metric", "value", "real", "data"]
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert (
        marks_for(ascii_stream) == ASCII_MARKS and marks_for(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) == MARKS
    )
    assert marks_for(io.StringIO()) == ASCII_MARKS  # whose encoding is unknown
    print(table(scores, ASCII_MARKS), file=ascii_stream)
    few_scores = make_scorer(few, ["frechet"], num=100, seed=0).score(*sampler(mixture(np.random.default_rng(1), 100)))
    assert few_scores["frechet"]["oracle"] is None and few_scores["frechet"]["no_oracle"] == "too few rows"


class Terminal(io.StringIO):
    """A stream that says it is a terminal, of unknown size."""

    def isatty(self):
        return True


def test_the_measure_at_work_and_the_remaining_time_are_shown_on_a_terminal_alone(ring, monkeypatch, capsys):
    spec, reals = ring
    monkeypatch.setattr(progress, "DELAY", -1)  # every bar appears at once
    samples = mixture(np.random.default_rng(1), 600)
    shown = {}
    for name, stream, wanted in (
        ("terminal", Terminal(), True),
        ("log", io.StringIO(), True),
        ("train", Terminal(), False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        scorer = make_scorer(
            real_data(spec, reals, SPLITS), ["frechet", "coverage"], num=600, seed=0, show_progress=wanted
        )
        scorer.score(*sampler(samples))
        shown[name] = stream.getvalue()
    assert "measure 1 of 2: frechet" in shown["terminal"] and "measure 2 of 2: coverage" in shown["terminal"]
    assert "drawing samples:   0%" in shown["terminal"] and "0/600 [" in shown["terminal"]
    assert shown["log"] == "" and "measure" not in shown["train"] and "drawing" not in shown["train"]
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    for items in (range(3), iter(range(3))):  # of a known number, and of an unknown one
        for _ in progress.progress(items, "rows", "batch"):
            time.sleep(0.11)
    known, _, unknown = sys.stderr.getvalue().partition("rows: 0batch")
    assert re.search(r"rows: +67%.* 2/3 \[00:00<00:00, .*batch/s\]", known)
    assert re.search(r"rows: 2batch \[00:00, .*batch/s\]", unknown) and "<" not in unknown


def test_a_terminal_that_knows_no_size_shows_the_bars(monkeypatch):
    leader, follower = pty.openpty()  # of 0 lines and 0 columns
    with open(leader, "rb", buffering=0) as screen, open(follower, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert [*progress.stages([1, 2], "measure", "number {}".format)] == [1, 2]
        shown = b""  # a terminal hands over what was written in pieces, each when it comes
        while b"measure 1 of 2: number 1" not in shown and select.select([screen], [], [], 10)[0]:
            shown += screen.read(1000)
    assert b"measure 1 of 2: number 1" in shown
