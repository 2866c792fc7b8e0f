"""Columns as nets read them, training by sampling, and the measures of tables: against brute force and known answers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import table_spec
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from gen_jax import config, data, files, train
from gen_jax.data.feed.order import ORDERS, Plan, levels_of, permutations
from gen_jax.data.spec import rows_to_model, to_data
from gen_jax.data.tables.column_modes import with_modes
from gen_jax.data.tables.statistics import parts
from gen_jax.distributions import columns as form
from gen_jax.distributions.pixels import fitting
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.tables.detection import aucs
from gen_jax.metrics.tables.efficacy import f1
from gen_jax.metrics.tables.marginal import marginal, total_variation
from gen_jax.metrics.tables.pairwise import associations
from gen_jax.metrics.tables.privacy import nearer
from gen_jax.models.gan import gan
from gen_jax.models.smote import smote
from gen_jax.storage import directory
from gen_jax.verbs.score import make_scorer

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
LEVEL = RANDOM.choice(3, 400, p=(0.7, 0.2, 0.1))
NUMBER = np.where(RANDOM.random(400) < 0.5, -1.5, 1.5) + RANDOM.normal(0, 0.1, 400)
ROWS = np.stack([NUMBER, LEVEL, RANDOM.choice(2, 400)], 1)
EMPTY = RANDOM.random(ROWS.shape) < 0.1
SPEC = with_modes(table_spec(None, 3, 2, rows=400), np.where(EMPTY, np.nan, ROWS))


@pytest.mark.study
def test_rows_come_back_to_the_cell_and_empty_cells_are_read_as_such():
    layout = form.layout_of(SPEC)
    assert layout.groups.sizes.tolist() == [len(SPEC.info["columns"][0]["modes"]["mean"]) + 1, 4, 3]
    x = jnp.asarray(ROWS, jnp.float32)
    flat = form.read(layout, KEY, x)
    distance, held = form.split(layout, flat)
    np.testing.assert_array_equal(held @ layout.member, np.ones(ROWS.shape))
    assert np.abs(distance).max() <= 1 and np.abs(distance).mean() < 0.5
    back = form.draw_rows(layout, KEY, jnp.where(held > 0, 0.0, -1e9), distance)
    np.testing.assert_allclose(back, x, atol=1e-5)
    flat = form.read(layout, None, jnp.where(EMPTY, jnp.nan, x))
    distance, held = form.split(layout, flat)
    assert np.isfinite(flat).all() and (np.asarray(distance)[EMPTY[:, 0]] == 0).all()
    np.testing.assert_array_equal(np.asarray(held)[:, ~layout.possible], EMPTY)


def test_relaxed_levels_are_a_distribution_and_near_a_draw_of_it():
    layout, rep = form.layout_of(SPEC), form.representation(SPEC)
    out = jnp.asarray(np.tile(np.random.default_rng(1).normal(size=rep.shape), (4000, 1)), jnp.float32)
    _, soft = form.split(layout, rep.relaxed(KEY, out))
    np.testing.assert_allclose(soft @ layout.member, 1, rtol=1e-5)
    logits = np.asarray(out)[0, 1:]
    p = np.exp(logits) / (np.exp(logits) @ layout.member @ layout.member.T)
    np.testing.assert_allclose((soft > 0.5).mean(0), p, atol=0.04)  # Gumbel-max
    codes = np.asarray(rep.drawn(KEY, out))[:, 1]
    of_column = p[layout.groups.column == 1][:3]  # the fourth: an empty cell, never drawn
    np.testing.assert_allclose(np.bincount(codes.astype(int)) / 4000, of_column / of_column.sum(), atol=0.03)


def test_the_likeliest_level_is_the_first_of_the_largest():
    layout = form.layout_of(SPEC)
    flat = np.random.default_rng(3).integers(0, 3, (200, len(layout.groups.column))).astype(np.float32)  # with ties
    expected = [flat[:, layout.groups.column == at].argmax(1) for at in range(3)]
    np.testing.assert_array_equal(form.likeliest(layout, jnp.asarray(flat)), np.stack(expected, 1))
    out = jnp.asarray(np.pad(flat, ((0, 0), (1, 0))))
    draw = fitting(SPEC, {"name": "mixed", "temperature": 0.0}).draw(KEY, {"log_scale": jnp.array([-1.5])}, out)
    known = np.where(layout.possible, flat, -1)  # an empty cell is never drawn
    expected = [known[:, layout.groups.column == at].argmax(1) for at in (1, 2)]
    np.testing.assert_array_equal(draw[:, 1:], np.stack(expected, 1))


def test_a_temperature_sharpens_what_levels_are_drawn_by():
    layout, num, own = form.layout_of(SPEC), 4000, {"log_scale": jnp.array([-1.5])}
    out = jnp.asarray(
        np.tile(np.random.default_rng(1).normal(size=form.representation(SPEC).shape), (num, 1)), jnp.float32
    )
    logits = np.where(layout.possible, np.asarray(out)[0, 1:], -np.inf)
    for temperature in (0.5, 2):
        drawn = fitting(SPEC, {"name": "mixed", "temperature": temperature}).draw(KEY, own, out)
        for at in (1, 2):
            p = np.exp(logits[layout.groups.column == at] / temperature)
            shares = np.bincount(np.asarray(drawn)[:, at].astype(int), minlength=len(p)) / num
            np.testing.assert_allclose(shares, p / p.sum(), atol=0.03)
    with pytest.raises(UserError, match="temperature is -1; expected at least 0"):
        fitting(SPEC, {"name": "mixed", "temperature": -1})


@pytest.mark.study
def test_the_mixed_likelihood_is_a_density_of_what_is_observed():
    likelihood, layout = fitting(SPEC, None), form.layout_of(SPEC)
    out = jnp.asarray(np.random.default_rng(2).normal(size=(1, *likelihood.shape)), jnp.float32)
    own = {"log_scale": jnp.array([-1.5])}
    grid = np.linspace(-8, 8, 4001)
    x = np.stack([grid, 0 * grid + 1, 0 * grid], 1).astype(np.float32)
    each = np.asarray(likelihood.log_prob(own, jnp.tile(out, (len(grid), 1)), x))
    assert (
        0.5 < np.exp(each[:, 0]).sum() * (grid[1] - grid[0]) <= 1.001
    )  # a lower bound, by the modes' responsibilities
    levels = np.stack([np.zeros(3), np.arange(3), np.zeros(3)], 1).astype(np.float32)
    p = np.exp(likelihood.log_prob(own, jnp.tile(out, (3, 1)), levels))[:, 1]
    assert p.sum() == pytest.approx(1, abs=1e-5)
    logits = np.asarray(out)[0, 1:][layout.groups.column == 1][:3]
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
    hidden = likelihood.log_prob(own, out, jnp.full((1, 3), jnp.nan))
    np.testing.assert_array_equal(hidden, 0)
    gradient = jax.grad(lambda out: likelihood.log_prob(own, out, jnp.full((1, 3), jnp.nan)).sum())(out)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.study
def test_levels_alone_have_a_likelihood_that_learns_no_scale():
    likelihood = fitting(table_spec(3, 2), None)
    assert likelihood.weights == {}  # an array without elements could not be saved
    x = jnp.array([[a, b] for a in range(3) for b in range(2)], jnp.float32)
    out = jnp.tile(
        jnp.asarray(np.random.default_rng(2).normal(size=likelihood.shape), jnp.float32),
        (6, *[1] * len(likelihood.shape)),
    )
    np.testing.assert_allclose(jnp.exp(likelihood.log_prob({}, out, x).sum(1)).sum(), 1, rtol=1e-5)
    assert set(map(tuple, np.asarray(likelihood.draw(KEY, {}, out)))) <= set(map(tuple, np.asarray(x)))


def test_training_by_sampling_draws_columns_alike_and_levels_by_the_log_of_their_rows():
    codes = np.where(EMPTY, np.nan, ROWS)[:, 1:]
    plan = Plan(0, len(codes), 20_000, 10**9, permutations(0, len(codes)), levels_of(codes, (3, 2)))
    indices, labels = ORDERS["by_level"].rows(plan, 0).values()
    held = np.where(labels < 3, codes[indices, 0], codes[indices, 1] + 3)
    np.testing.assert_array_equal(held, labels)  # a row has the level by which it was drawn
    counts = [np.log1p((codes[:, at] == level).sum()) for at, level in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))]
    expected = np.concatenate([each / sum(each) / 2 for each in (counts[:3], counts[3:])])
    np.testing.assert_allclose(np.bincount(labels) / 20_000, expected, atol=0.015)
    assert len(np.unique(indices)) == (~np.isnan(codes).all(1)).sum()
    few = plan._replace(size=9)
    first, second = (ORDERS["by_level"].rows(few, 1) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in ("index", "y"))


@pytest.mark.study
def test_a_run_on_modes_and_levels_is_described_by_its_spec():
    defaults = config.plain(config.base_config())["data"]
    options = {**defaults, "name": "iris", "transform": "modes", "order": "by_level"}
    loaded, again = (data.load(options, batch_size=16, seed=0, steps=3, quiet=True) for _ in range(2))
    assert loaded.spec == again.spec and loaded.spec.classes == (
        "species=setosa",
        "species=versicolor",
        "species=virginica",
    )
    batch = loaded.batch(loaded.arrays, loaded.at(1))
    np.testing.assert_array_equal(batch["x"][:, 4], batch["y"])
    rep = form.representation(loaded.spec)
    x = jnp.asarray(rows_to_model(loaded.spec, loaded.read("train", None))["x"])
    layout = form.layout_of(loaded.spec)
    distance, held = form.split(layout, rep.read(KEY, x))
    back = to_data(loaded.spec, form.draw_rows(layout, KEY, jnp.where(held > 0, 0.0, -1e9), distance))
    np.testing.assert_array_equal(back, loaded.read("train", None)["x"])  # decimals and all
    with pytest.raises(UserError, match="digits.* has no levels; .*'by_level'.*data.order=shuffle"):
        data.load({**defaults, "order": "by_level"}, batch_size=16, seed=0, steps=3, quiet=True)
    with pytest.raises(UserError, match="'x0' has no modes; .* Set --config.data.transform=modes"):
        gan(table_spec(None, 3))


def test_a_gan_is_asked_for_one_level_of_one_column():
    spec = SPEC._replace(classes=("x1=a", "x1=b", "x1=c", "x2=a", "x2=b"))
    spec.info["marginals"] = [[], [0.7, 0.2, 0.1], [0.5, 0.5]]
    rep = form.representation(spec)
    np.testing.assert_allclose(rep.shares, [0.35, 0.1, 0.05, 0.25, 0.25])
    mask = np.array([[0, 1, 0], [0, 0, 1]], bool)
    assert rep.asked(np.array([[0, 2, 0], [0, 0, 1]]), mask).tolist() == [2, 4]
    for wrong in ([[1, 1, 0]] * 2, [[1, 0, 0]] * 2, [[0, 0, 0]] * 2):
        with pytest.raises(UserError, match="not one level of one column.* x1, x2"):
            rep.asked(np.zeros((2, 3)), np.array(wrong, bool))
    out = jnp.zeros((2, *rep.shape))
    np.testing.assert_allclose(rep.mismatch(out, jnp.array([1, 3])), np.log([4, 3]), rtol=1e-5)  # with the empty cell


@pytest.mark.study
def test_interpolation_stays_between_neighbours_of_one_level():
    spec = table_spec(None, None, 2, rows=40, missing=False)
    x = np.stack([np.arange(40.0), 2 * np.arange(40.0), np.arange(40) % 2], 1).astype(np.float32)
    model = smote(spec, neighbours=2, within="x2")
    state = jax.jit(model.init)(KEY, {"x": x})
    state, metrics = model.step(KEY, state, {"x": x, "weight": np.ones(40)})
    drawn = np.asarray(model.sample(KEY, state, 500)["x"])
    assert metrics["rows"] == 40
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0], rtol=1e-5)
    inner = drawn[(drawn[:, 0] > 4) & (drawn[:, 0] < 35)]
    off = np.abs(inner[:, 0, None] - x[None, :, 0])
    for level in (0, 1):
        assert (off[inner[:, 2] == level][:, x[:, 2] == level].min(1) <= 1).all()  # rows of a level are 2 apart
    given = {"x": np.tile(np.float32([10, 0, 0]), (50, 1)), "mask": np.tile([True, False, False], (50, 1))}
    drawn = np.asarray(model.sample(KEY, state, 50, given)["x"])
    assert (drawn[:, 0] == 10).all() and (np.abs(drawn[:, 1] - 20) <= 4).all()
    with pytest.raises(UserError, match="model.within 'x1'"):
        smote(spec, within="x1")


def test_distances_of_columns_and_their_pairs_are_those_of_their_definitions():
    random = np.random.default_rng(3)
    x, y = random.normal(size=300), random.normal(0.5, 2, 300)
    spec = table_spec(None, 2, rows=300)._replace(scale=[2.0, 1.0])
    levels = np.arange(300) % 2
    real = real_data(spec, lambda split, num: {"x": np.stack([y, levels], 1)}, ("train", "test"))
    found = marginal(real).values({"x": np.stack([x, 0 * levels], 1)})
    at = np.concatenate([x, y])[:, None]
    assert found["columns"]["x0"] == pytest.approx(np.abs((x <= at).mean(1) - (y <= at).mean(1)).max())
    assert found["wasserstein"] == pytest.approx(np.abs(np.sort(x) - np.sort(y)).mean() / 2)  # of as many rows each
    assert found["marginal"] == pytest.approx((found["columns"]["x0"] + 0.5) / 2)
    y = y[:200]
    assert total_variation(np.array([0, 0, 1, 2]), np.array([0, 1]), 4) == pytest.approx(0.25)
    a, b = random.choice(3, 300), random.choice(4, 300)
    b = np.where(random.random(300) < 0.5, a, b)
    rows = np.stack([x, x + y[random.choice(200, 300)] + a, a, b], 1)
    found = associations(table_spec(None, None, 3, 4), rows)
    assert found[0, 1] == pytest.approx(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1])
    assert found[2, 3] == pytest.approx(stats.contingency.association(stats.contingency.crosstab(a, b).count))
    means = np.array([rows[a == level, 1].mean() for level in a])
    assert found[1, 2] == pytest.approx(means.std() / rows[:, 1].std())
    np.testing.assert_array_equal(found, found.T)


def test_parts_of_a_range_hold_as_many_values_each():
    for column, values in (
        ({"kind": "integer", "low": 2.0, "high": 9.0}, np.arange(2, 10)),
        ({"kind": "integer", "low": 1.0, "high": 99.0}, np.arange(1, 100)),
        ({"kind": "continuous", "decimals": 1, "low": 0.1, "high": 2.5}, np.arange(1, 26) / 10),
    ):
        counts = np.histogram(values, parts(column))[0]
        assert counts.sum() == len(values) and len(counts) <= 20 and set(counts[:-1]) == {counts[0]} and counts[-1]
    assert len(parts({"kind": "continuous", "decimals": 17, "low": 0.0, "high": 1.0})) == 21


def test_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    y, said = np.array([0, 0, 1, 2, 1, 0]), np.array([0, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(f1(y, said, 3), f1_score(y, said, average=None, zero_division=0))


def test_nearest_records_are_those_of_every_subset():
    random = np.random.default_rng(4)
    samples, train, others = (random.normal(size=(rows, 2)) for rows in (5, 6, 2))
    samples[0], samples[1] = train[3], others[0]
    train[5] = others[1]  # a tie
    samples[2] = others[1]
    from itertools import combinations

    far = lambda x, rows: np.round(np.linalg.norm(rows - x, axis=1).min(), 9)
    expected = [
        np.mean([np.sign(far(x, others) - far(x, train[[*some]])) / 2 + 0.5 for some in combinations(range(6), 2)])
        for x in samples
    ]
    np.testing.assert_allclose(nearer(samples, train, others), expected, atol=1e-9)


def table_of(num: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    g, x = random.choice(2, num, p=(0.7, 0.3)), random.normal(size=num)
    return np.stack([x + 2 * g, random.choice(3, num), g], 1)


def test_a_number_that_both_rows_lack_is_that_of_another_row():
    x = np.array([[0.0, 5.0], [0.1, np.nan], [0.2, np.nan], [9.0, 7.0], [9.1, np.nan], [9.2, np.nan]], np.float32)
    model = smote(table_spec(None, None, rows=6), neighbours=2)
    batch = {"x": jnp.nan_to_num(jnp.asarray(x)), "mask": jnp.asarray(~np.isnan(x))}
    state = jax.jit(model.step)(KEY, jax.jit(model.init)(KEY, batch), batch)[0]
    drawn = np.asarray(model.sample(KEY, state, 300)["x"])[:, 1]
    assert set(np.unique(drawn)) == {5.0, 7.0} and abs((drawn[:150] == 5).mean() - 0.5) < 0.15


@pytest.mark.study
def test_a_config_of_ours_takes_a_table_without_a_test_split(tmp_path):
    rows = np.random.default_rng(2).normal(size=(30, 2)).round(3)
    np.savetxt(tmp_path / "own.csv", rows, "%.3f", ",", header="a,b", comments="")
    flags = [f"--config.data.path={tmp_path / 'own.csv'}", "--config.steps=1", "--config.model.max_leaves=2"]
    file = Path(__file__).parents[1] / "configs" / "forest.py"
    train.main(["train", "--config", str(file), "--workdir", str(tmp_path / "run"), "--quiet", *flags])
    assert not files.read_json(tmp_path / "run" / "evaluation.json")["metrics"]
    assert directory.read_config(tmp_path / "run")["model"]["max_leaves"] == 2
    with pytest.raises(UserError, match="max_leaves is 2.5; expected int"):
        train.main(["train", "--config", str(file), "--config.model.max_leaves=2.5"])


@pytest.mark.study
def test_measures_of_tables_tell_good_samples_from_bad_ones_and_copies():
    splits = {"train": table_of(400, 0), "test": table_of(400, 1)}
    spec = table_spec(None, 3, 2, missing=False)._replace(sizes=dict.fromkeys(splits, 400))
    spec.info["columns"][0] |= {"low": -9.0, "high": 9.0}
    reals = lambda split, num: {"x": splits[split][:num]} if split in splits else None
    names = ["marginal", "pairwise", "detection", "tstr_f1", "nearest_record"]
    found, score = {}, make_scorer(real_data(spec, reals, ("train", "test")), names, num=400, seed=0).score
    for name, x in {
        "good": table_of(400, 2),
        "copies": splits["train"],
        "apart": np.random.default_rng(3).permuted(table_of(400, 2), axis=0),
    }.items():
        found[name] = score_fixed(score, x)
    good, copies, apart = ({name: found[each][name]["value"] for name in names} for each in found)
    oracle = {name: found["good"][name]["oracle"] for name in names}
    assert good["marginal"] < 0.1 and apart["marginal"] < 0.1 and copies["marginal"] == 0 and copies["pairwise"] < 1e-12
    assert good["pairwise"] < 0.1 < apart["pairwise"]
    assert abs(good["detection"] - 0.5) < 0.1 and abs(oracle["detection"] - 0.5) < 0.1 and apart["detection"] > 0.6
    assert abs(good["tstr_f1"] - oracle["tstr_f1"]) < 0.1 and apart["tstr_f1"] < oracle["tstr_f1"] - 0.1
    assert copies["nearest_record"] > 0.6 and abs(good["nearest_record"] - 0.5) < 0.08
    details = found["good"]["tstr_f1"]["details"]
    assert set(details["f1"]) == {"a", "b"} and len(details["classifiers"]) == 4
    assert found["good"]["tstr_f1"]["protocol"]["target"] == "x2"
    for target, words in {
        "x1": None,
        "x9": "unknown column in evaluate.target 'x9'",
        "x0": "'x0' holds numbers",
    }.items():
        if words is None:
            make_scorer(real_data(spec, reals, ("train", "test"), target=target), ["tstr_f1"], num=400, seed=0)
            continue
        with pytest.raises(UserError, match=words):
            make_scorer(real_data(spec, reals, ("train", "test"), target=target), ["tstr_f1"], num=400, seed=0)


def score_fixed(score, x):
    from gen_jax.model import Model

    drawn = iter([x[at : at + 256] for at in range(0, len(x), 256)])

    def sample(key, state, num, given=None, how=None):
        part = next(drawn)
        return {"x": np.resize(part, (num, x.shape[1]))}

    return score(Model(None, None, sample), None)


def test_judges_of_tables_use_one_thread(monkeypatch):
    """Threads of small loops wait for one another: beside another program they took ten times longer."""
    threads = set()

    def fit(self, *arrays, fit=HistGradientBoostingClassifier.fit):
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return fit(self, *arrays)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit)
    random = np.random.default_rng(0)
    with threadpool_limits(2):
        aucs(random.normal(size=(20, 2)), random.normal(size=(20, 2)))
    assert threads == {1}
