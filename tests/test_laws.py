"""The laws that every family of `families.py` obeys: shapes, compilation, conditions, resume, devices, keys."""

import inspect
from functools import lru_cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host
from families import FAMILIES, HERE, KEY, asked, compiled_of, every_family, model_of, trained
from recorder import recording

from gen_jax.devices import placement, replicas
from gen_jax.errors import UserError
from gen_jax.storage import checkpoint

SIGNATURES = {
    "init": ("key", "batch"),
    "step": ("key", "state", "batch"),
    "sample": ("key", "state", "num", "given", "how"),
    "log_prob": ("key", "state", "batch"),
    "log_prob_bound": ("key", "state", "batch", "num_samples"),
    "prior": ("key", "state", "num"),
    "encode": ("key", "state", "batch"),
    "decode": ("key", "state", "latent"),
}


@every_family
def test_functions_have_the_parameters_of_the_record(name):
    for field, expected in SIGNATURES.items():
        function = getattr(model_of(name), field)
        if function is not None:
            parameters = inspect.signature(function).parameters
            assert (*parameters,)[: len(expected)] == expected, field
            more = [*parameters.values()][len(expected) :]
            assert all(each.default is not each.empty for each in more), field
    defaults = inspect.signature(model_of(name).sample).parameters
    assert defaults["given"].default is None and defaults["how"].default is None


@every_family
def test_init_needs_shapes_only(name):
    abstract = jax.eval_shape(model_of(name).init, KEY, jax.eval_shape(lambda: FAMILIES[name].batch))
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, trained(name, 0)[0])


@every_family
def test_state_is_float32_and_integers(name):
    for leaf in jax.tree.leaves(trained(name, 0)[0]):
        assert leaf.dtype in (jnp.float32, jnp.int32, jnp.uint32, jnp.bool_), leaf.dtype


@every_family
def test_step_keeps_the_state_and_compiles_once(name):
    state = trained(name, 0)[0]
    step, compiled = compiled_of(name)[1], None
    for each in range(3):
        after, _ = step(each, state, FAMILIES[name].batch)
        chex.assert_trees_all_equal_structs(state, after)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after)):
            assert (old.shape, old.dtype, old.weak_type) == (new.shape, new.dtype, new.weak_type)
        state, compiled = after, compiled or step._cache_size()
    assert step._cache_size() == compiled


@every_family
def test_step_counts(name):
    assert int(trained(name, 3)[0].step) == 3
    state, greatest = trained(name, 0)[0], jnp.iinfo(jnp.int32).max
    for before in (greatest - 1, greatest) if hasattr(state, "examples") else ():  # a sum would begin anew below 0
        full = state._replace(examples=jnp.full_like(state.examples, before))
        assert int(compiled_of(name)[1](0, full, FAMILIES[name].batch)[0].examples) == greatest


@every_family
def test_metrics_are_finite_scalars(name):
    metrics = trained(name, 3)[1]
    assert metrics
    for value in metrics.values():
        assert value.shape == () and np.isfinite(value)


@every_family
def test_sample_looks_like_a_batch(name):
    model, batch, state = model_of(name), FAMILIES[name].batch, trained(name, 3)[0]
    given = asked(batch, 5)
    sample = model.sample(KEY, state, 5, given)
    assert set(sample) <= set(batch)
    for field, value in sample.items():
        assert value.shape == (5, *batch[field].shape[1:]) and value.dtype == batch[field].dtype
    again, other = model.sample(KEY, state, 5, given), model.sample(jax.random.key(1), state, 5, given)
    assert np.array_equal(sample["x"], again["x"])
    assert not np.array_equal(sample["x"], other["x"])


@every_family
def test_decode_of_prior_is_a_sample(name):
    model, state = model_of(name), trained(name, 3)[0]
    if model.prior is None:
        pytest.skip("no latent")
    latent = {**model.prior(KEY, state, 4), **(asked(FAMILIES[name].batch, 4) or {})}
    assert latent["z"].shape[0] == 4
    assert model.decode(KEY, state, latent)["x"].shape == (4, *FAMILIES[name].batch["x"].shape[1:])
    if not np.issubdtype(latent["z"].dtype, np.floating):
        return  # codes have no gradient
    gradient = jax.grad(lambda z: model.decode(KEY, state, {**latent, "z": z})["x"].sum())(latent["z"])
    assert np.abs(gradient).max() > 0


@every_family
def test_exact_log_prob_sums_to_one(name):
    model, outcomes = model_of(name), FAMILIES[name].outcomes
    if outcomes is None or model.log_prob is None:
        pytest.skip("no exact log_prob, or too many outcomes")
    for steps in (0, 3):
        log_prob = model.log_prob(KEY, trained(name, steps)[0], outcomes)
        assert log_prob.shape == (len(outcomes["x"]),)
        assert float(np.exp(np.asarray(log_prob, np.float64)).sum()) == pytest.approx(1, abs=1e-5)


@every_family
def test_bounds_of_all_outcomes_sum_to_at_most_one(name):
    """What is a bound on average: exp of the mean over keys, within its error. A loose one need not come near to one."""
    model, outcomes = model_of(name), FAMILIES[name].outcomes
    if outcomes is None or model.log_prob_bound is None:
        pytest.skip("no bound, or too many outcomes")
    for steps in (0, 3):
        state = trained(name, steps)[0]
        bounds = [model.log_prob_bound(key, state, outcomes) for key in jax.random.split(KEY, 100)]
        bounds = np.asarray(bounds, np.float64)  # [keys, outcomes]
        p = np.exp(bounds.mean(0))
        assert 0.01 < p.sum() < 1 + 5 * np.std(bounds @ p) / 10


@every_family
def test_unusable_given_raises(name):
    with pytest.raises(UserError, match="no_such_condition"):
        model_of(name).sample(KEY, trained(name, 0)[0], 2, given={"no_such_condition": jnp.zeros(2)})
    with pytest.raises(UserError, match="no_such_option"):
        model_of(name).sample(KEY, trained(name, 0)[0], 2, how={"no_such_option": 1})


@every_family
def test_default_options_change_nothing(name):
    model, (state, _) = model_of(name), trained(name, 0)
    given = asked(FAMILIES[name].batch, 2)
    chex.assert_trees_all_equal(
        model.sample(KEY, state, 2, given), model.sample(KEY, state, 2, given, how=dict(model.options))
    )


@every_family
def test_given_names_what_a_sample_honours(name):
    """A condition that the rows have must be given, and no other than the model names may be."""
    model, state, x = model_of(name), trained(name, 0)[0], FAMILIES[name].batch["x"][:2]
    for condition in {"x", "mask", "y", "length"} - set(model.given):
        with pytest.raises(UserError, match=f"conditioned on '{condition}'"):
            model.sample(KEY, state, 2, {condition: np.zeros(2, np.int32)})
    if "c" in model.given:
        with pytest.raises(UserError, match="given"):
            model.sample(KEY, state, 2)
    if {"x", "mask"} <= set(model.given):
        given = {**some_observed(FAMILIES[name].batch, 2), **(asked(FAMILIES[name].batch, 2) or {})}
        drawn = np.asarray(model.sample(KEY, state, 2, given)["x"])
        assert np.array_equal(drawn[given["mask"]], np.asarray(x)[given["mask"]])


@every_family
def test_sample_has_the_labels_that_are_given(name):
    model, state = model_of(name), trained(name, 3)[0]
    if "y" not in model.sample(KEY, state, 2, asked(FAMILIES[name].batch, 2)):
        pytest.skip("models no labels")
    labels = np.array([2, 0, 0, 1], np.int32)
    assert np.array_equal(model.sample(KEY, state, 4, {"y": labels})["y"], labels)
    for wrong in (np.array([0, 1, 3, 0]), np.array([-1, 0, 0, 0]), np.zeros(3, int), np.zeros(4)):
        with pytest.raises(UserError, match="given y"):
            model.sample(KEY, state, 4, {"y": wrong})


@every_family
def test_learning_helps(name):
    family, model = FAMILIES[name], model_of(name)
    before, after = trained(name, 0)[0], trained(name, family.steps)[0]
    assert family.distance(model, after) < 0.5 * family.distance(model, before)


@every_family
def test_resume_is_bitwise(name, tmp_path):
    step = compiled_of(name)[1]
    state = trained(name, 3)[0]
    abstract = placement.abstract_state(HERE.mesh, jax.eval_shape(lambda: state))
    with checkpoint.opened(tmp_path, keep=1) as manager:
        checkpoint.save(manager, 3, state)
    with checkpoint.opened(tmp_path) as manager:
        found, resumed = checkpoint.newest(manager, abstract)
    assert found == 3
    for each in range(3, 6):
        resumed, _ = step(each, resumed, FAMILIES[name].batch)
    chex.assert_trees_all_equal(host(resumed), host(trained(name, 6)[0]))


GARBAGE = 1e4  # what padding rows hold in the place of real numbers


def garbage(value: np.ndarray, padding: int) -> np.ndarray:
    """Padding rows of a field: real numbers far from all data, the largest label, token or level, and flags that are set."""
    if value.dtype == bool:
        return np.ones((padding, *value.shape[1:]), bool)
    whole = (value == np.rint(value)).all(0)  # [*shape] labels, tokens, levels: others would not be of the data's kind
    return np.tile(np.where(whole, value.max(0), GARBAGE).astype(value.dtype)[None], (padding, *[1] * (value.ndim - 1)))


@lru_cache
def plain_of(name: str) -> tuple:
    """A model whose optimizer does not amplify rounding, its compiled step (key, state, batch) -> state, a first state."""
    family = FAMILIES[name]
    model, initial = family.build(**family.sgd), dict(jax.tree.leaves_with_path(trained(name, 0)[0]))
    shapes = jax.eval_shape(model.init, KEY, family.batch)
    state = jax.tree.map_with_path(lambda path, leaf: initial.get(path, jnp.zeros(leaf.shape, leaf.dtype)), shapes)
    return model, jax.jit(lambda key, state, batch: model.step(key, state, batch)[0]), state


def rows_and_padding(name: str) -> tuple[int, int]:
    """How many rows of the batch learn, and how many are padding; a lane is a row of every batch."""
    return (48, 0) if "reset" in FAMILIES[name].batch else (36, 12)


def some_rows(name: str, rows: int, padding: int) -> dict:
    """The first rows of the batch, and some of weight 0."""
    fields = {field: np.asarray(value) for field, value in FAMILIES[name].batch.items()}
    batch = {field: np.concatenate([value[:rows], garbage(value, padding)]) for field, value in fields.items()}
    return {**batch, "weight": np.concatenate([np.ones(rows, np.float32), np.zeros(padding, np.float32)])}


def stepped(name: str, keys: jax.Array, state, batch: dict, devices: int = 1):
    """`state` after a step by each key, on so many devices."""
    mesh = placement.make_mesh(jax.devices()[:devices])
    batch, state = placement.place_rows(mesh, batch), placement.place_whole(mesh, state)
    for key in keys:
        state = plain_of(name)[1](key, state, batch)
    chex.assert_tree_all_finite(state)  # NaN would equal NaN
    return host(state)


@every_family
def test_eight_devices_and_padding_rows_change_nothing(name):
    (rows, padding), keys, state = rows_and_padding(name), jax.random.split(KEY, 20), plain_of(name)[2]
    eight = stepped(name, keys, state, some_rows(name, rows, padding), 8)
    one = stepped(name, keys, state, some_rows(name, rows, 0))
    chex.assert_trees_all_close(eight, one, rtol=1e-5, atol=1e-6)


@every_family
def test_replicas_are_the_runs_of_their_seeds(name):
    """By what a run of several replicas compiles: each has its own key, state and batch."""
    model, _, state = plain_of(name)
    batch = some_rows(name, rows_and_padding(name)[0], 0)
    batches = [batch, {field: value if field == "reset" else value[::-1] for field, value in batch.items()}]
    keys, steps = jax.random.split(KEY), 4

    def step(key: jax.Array, state, broken: dict, number, arrays: dict, fed: dict) -> tuple:
        return *model.step(jax.random.fold_in(key, number), state, fed)[:1], broken, {}

    stacked = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *([state] * 2)),
        jax.tree.map(lambda *x: np.stack(x), *batches),
    )
    together = replicas.replicated(step, (keys[0], state, {}, np.int32(0), {}, batch), 2, HERE.mesh)
    both = stacked[0]
    for number in range(steps):
        both = together(keys, both, {}, np.int32(number), {}, stacked[1])[0]
    for index, (key, batch) in enumerate(zip(keys, batches)):
        alone = stepped(name, [jax.random.fold_in(key, number) for number in range(steps)], state, batch)
        chex.assert_trees_all_close(host(replicas.replica(both, index, 2)), alone, rtol=1e-5, atol=1e-6)


def some_observed(batch: dict, rows: int) -> dict:
    """Conditions that hold the first half of each of some rows; of sequences, the first two frames."""
    x = batch["x"][:rows]
    size = int(np.prod(x.shape[1:]))
    half = np.arange(size).reshape(x.shape[1:]) < size // 2 if x.ndim != 3 else np.arange(x.shape[1]) < 2
    return {"x": x, "mask": np.stack([half] * rows)}


def drawing(name: str, key: jax.Array) -> dict:
    """Every use of a model that may draw, each as a function of a key of its own."""
    model, batch, state = model_of(name), FAMILIES[name].batch, trained(name, 3)[0]
    first, rows = trained(name, 0)[0], {field: value[:5] for field, value in batch.items() if field != "reset"}
    uses = {
        "init": lambda key: jax.jit(model.init)(key, batch),
        "step": lambda key: jax.jit(model.step)(key, first, batch),
        "sample": lambda key: model.sample(key, state, 5, asked(batch, 5)),
    }
    if {"x", "mask"} <= set(model.given):
        given = {**some_observed(batch, 5), **(asked(batch, 5) or {})}
        uses["completion"] = lambda key: model.sample(key, state, 5, given)
    if model.prior is not None:
        latent = {**model.prior(key, state, 5), **(asked(batch, 5) or {})}
        uses["prior"] = lambda key: model.prior(key, state, 5)
        uses["decode"] = lambda key: model.decode(key, state, latent)
    if model.encode is not None:
        uses["encode"] = lambda key: model.encode(key, state, rows)
    if model.log_prob is not None:
        uses["log_prob"] = lambda key: model.log_prob(key, state, rows)
    if model.log_prob_bound is not None:
        uses["log_prob_bound"] = lambda key: model.log_prob_bound(key, state, rows, 2)
    return uses


@every_family
def test_no_key_is_used_twice(name):
    """By the values of keys, as `recorder` has them, and by JAX's own check, which does not see what is folded."""
    uses = drawing(name, jax.random.key(1))
    with recording() as (key, recorded):
        for number, (use, function) in enumerate(uses.items()):
            recorded.counts.clear()
            jax.block_until_ready(function(jax.random.fold_in(key, number)))
            assert not recorded.faults(), use
