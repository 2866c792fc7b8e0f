"""The laws that every family obeys. A new family is one row of `FAMILIES`; exceptions live there, not in the laws."""

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host, make_spec, table_spec

from gen_jax import checkpoint, sharding
from gen_jax.data.modes import with_modes
from gen_jax.errors import UserError
from gen_jax.models.bayesnet import bayes_net
from gen_jax.models.bernoulli import bernoulli
from gen_jax.models.forest import random_forest
from gen_jax.models.gan import gan
from gen_jax.models.gaussian import gaussian
from gen_jax.models.hmm import hmm
from gen_jax.models.ladder import ladder
from gen_jax.models.markov import markov
from gen_jax.models.mixture import mixture
from gen_jax.models.rnn import rnn
from gen_jax.models.smote import smote
from gen_jax.models.vae import vae
from gen_jax.models.vqvae import vqvae

KEY = jax.random.key(0)
HERE = sharding.shared(sharding.make_mesh(jax.devices()[:1]))  # where a checkpoint is restored to as well
SGD = {"name": "sgd", "learning_rate": 0.01}
FAST = {"name": "adam", "learning_rate": 3e-3, "b1": 0.0, "b2": 0.99}
SMALL = {"name": "mlp", "hidden": (32, 32)}


class Family(NamedTuple):
    """How to build a model of the family, with what, and what learning means for it."""

    build: Callable  # (**options) -> Model
    batch: dict  # a training batch that learning fits
    sgd: dict  # options under which equality over devices is not amplified by the optimizer
    distance: Callable  # (model, state) -> how far the model is from the batch; learning halves it
    steps: int = 150  # that learning takes
    outcomes: dict | None = (
        None  # all that could be, one a row, where that is little and there is a `log_prob` or a bound
    )


def batch_of(x: np.ndarray) -> dict:
    labels = jnp.arange(len(x)) % 3
    return {"x": jnp.asarray(x, jnp.float32), "y": labels, "weight": jnp.ones(len(x))}


def vectors() -> dict:
    return batch_of(np.random.default_rng(0).normal((1.5, -1.0), 0.2, (48, 2)))


def images() -> dict:
    ramp = np.linspace(-1, 1, 8)[None, :, None, None] * np.ones((48, 8, 8, 1))
    return batch_of(ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape))


def bits() -> dict:
    batch = images()
    return {**batch, "x": (batch["x"] > 0).astype(jnp.float32)}


def ramps() -> dict:
    ramp = np.linspace(-1, 2, 4)[None, :, None] * np.ones((48, 4, 2))
    return batch_of(ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape))


def mean_distance(batch: dict, model, state) -> float:
    sample = model.sample(KEY, state, 256)["x"]
    return float(np.linalg.norm(np.mean(sample, 0) - np.mean(batch["x"], 0)))


def nats(batch: dict, least: float, model, state) -> float:
    """Nats per frame above the least there can be."""
    return float(-np.mean(model.log_prob(KEY, state, batch)) / batch["x"].shape[1]) - least


def outcomes_of(values: int, shape: tuple[int, ...], dtype: str) -> dict:
    """Every array of that shape with whole numbers below `values`."""
    return {"x": jnp.asarray([*product(range(values), repeat=int(np.prod(shape)))], dtype).reshape(-1, *shape)}


def cycles(values: int, dwell: int) -> np.ndarray:
    """Rows [48, 12] that dwell in each of some levels for some frames, from a level of their own."""
    return (np.arange(12)[None] // dwell + np.arange(48)[:, None]) % values


def levels_family(family: Callable, top: int, sgd: dict, least: float, **options) -> Family:
    """Images whose pixels are whole numbers up to `top`, in model space as they are; `least`: nats of their pixels."""
    ramp = np.linspace(0, top, 8)[None, :, None, None] + np.random.default_rng(0).normal(0, 0.3, (48, 8, 8, 1))
    batch = batch_of(np.clip(np.rint(ramp), 0, top))
    spec = make_spec("image", (8, 8, 1))._replace(dtype="uint8", low=0, high=top, classes=("a", "b", "c"))

    def distance(model, state) -> float:
        return float(-np.mean(model.log_prob_bound(KEY, state, batch)) / 64) - least

    return Family(partial(family, spec, **options), batch, sgd, distance)


def sequence_family(
    family: Callable,
    kind: str,
    x: np.ndarray,
    least: float,
    outcomes: dict | None = None,
    lanes: bool = False,
    **options,
):
    x = jnp.asarray(x, jnp.int32 if kind == "text" else jnp.float32)
    batch = {"x": x, "weight": jnp.ones(len(x)), **({"reset": jnp.arange(len(x)) < 2} if lanes else {})}
    spec = make_spec(kind, x.shape[1:])._replace(info={"vocabulary": list("abcd")} if kind == "text" else {})
    return Family(partial(family, spec, **options), batch, {}, partial(nats, batch, least), 60, outcomes)


def gan_family(spec, batch: dict, net: dict, **options) -> Family:
    nets = {"generator": net, "discriminator": net}
    adam = {"generator_optimizer": FAST, "discriminator_optimizer": FAST}
    sgd = {"generator_optimizer": SGD, "discriminator_optimizer": SGD}
    if "generator_gradient" in options:  # ranks jump where losses nearly tie
        sgd["generator_gradient"] = {**options["generator_gradient"], "shaped": False}
    build = partial(gan, spec, **{**nets, **adam, "gamma": 0.1, "latent_size": 4, **options})
    return Family(build, batch, sgd, partial(mean_distance, batch))


def vae_family(spec, batch: dict, net: dict, **options) -> Family:
    build = partial(vae, spec, encoder=net, decoder=net, latent_size=2, optimizer=QUICK["optimizer"], **options)
    few = spec.high == 1 and spec.dtype == "uint8"
    outcomes = outcomes_of(2, spec.shape, "float32") if few else None
    return Family(build, batch, {"optimizer": SGD}, partial(mean_distance, batch), outcomes=outcomes)


def pixels() -> dict:
    """Images 2 x 2 of bits, nearly alike."""
    noise = np.random.default_rng(0).uniform(-0.15, 0.15, (48, 2, 2, 1))
    grey = np.array([[0.8, 0.2], [0.05, 0.95]]).reshape(1, 2, 2, 1) + noise
    return batch_of(np.rint(grey.clip(0, 1)))


def ladder_family(spec, batch: dict, net: dict, **options) -> Family:
    build = partial(ladder, spec, **{"net": net, "optimizer": {"name": "adam", "learning_rate": 0.01}, **options})
    return Family(build, batch, {"optimizer": {**SGD, "learning_rate": 1e-4}}, partial(mean_distance, batch))


def table_family(family: Callable, columns: tuple, x: np.ndarray, hidden: float, least: float, **options) -> Family:
    """Rows of a table [48, D] whose cells are hidden, but one of each row; `least`: nats of the others, a column."""
    mask = np.random.default_rng(0).random(x.shape) >= hidden
    mask |= np.eye(x.shape[1], dtype=bool)[np.arange(48) % x.shape[1]]
    batch = {"x": jnp.where(mask, jnp.asarray(x, jnp.float32), 0), "mask": jnp.asarray(mask), "weight": jnp.ones(48)}
    few = None if None in columns else {"x": jnp.asarray([*product(*map(range, columns))], jnp.float32)}
    return Family(
        partial(family, table_spec(*columns), **options), batch, {}, partial(nats, batch, least), 60, outcomes=few
    )


def columns_family(build: Callable, labelled: bool, sgd: dict, **options) -> Family:
    """Rows of a column of three levels and two of numbers, whose level tells the numbers; a tenth of the cells is hidden."""
    level = np.random.default_rng(3).choice(3, 48, p=(0.6, 0.3, 0.1))
    x = np.stack([level, *np.array([[-2.0, 1, 2], [1, 2, -2]])[:, level]], 1)
    x[:, 1:] += np.random.default_rng(4).normal(0, 0.1, (48, 2))
    batch = {"x": jnp.asarray(x, jnp.float32), "weight": jnp.ones(48)}
    batch["mask"] = jnp.asarray(np.random.default_rng(5).random(x.shape) > 0.1 * (np.arange(3) > 0)[None])
    batch["x"] = jnp.where(batch["mask"], batch["x"], 0)
    spec = with_modes(table_spec(3, None, None, rows=48), x)
    spec.info["marginals"] = [[0.6, 0.3, 0.1], [], []]
    if labelled:
        batch["y"], spec = batch["x"][:, 0].astype(jnp.int32), spec._replace(classes=("a", "b", "c"))

    def distance(model, state) -> float:
        drawn = np.asarray(model.sample(KEY, state, 256)["x"])
        gaps = (drawn[drawn[:, 0] == each].mean(0) - x[level == each].mean(0) for each in range(3))
        return float(np.abs([*gaps]).sum(1) @ np.bincount(level) / 48)

    return Family(partial(build, spec, **options), batch, sgd, distance)


VECTOR, IMAGE = (
    make_spec(*facts)._replace(classes=("a", "b", "c")) for facts in (("vector", (2,)), ("image", (8, 8, 1)))
)
BLACK_WHITE = IMAGE._replace(dtype="uint8", low=0, high=1)
RECURRENT = {"name": "recurrent", "cell": {"name": "gru", "units": 8}}
GRID = {"name": "conv", "channels": (8,), "blocks": 1}
QUICK = {"optimizer": {"name": "adam", "learning_rate": 0.03}}
RAMP = make_spec("series", (4, 2))._replace(classes=("a", "b", "c"))
SERIES = 3 * np.eye(3)[cycles(3, 2)][..., :2] + np.random.default_rng(0).normal(0, 0.4, (48, 12, 2))
ENTROPY = 0.5 * np.log(2 * np.pi * np.e * 0.4**2)  # of that noise, in a dimension
R3 = {"name": "r3", "channels": (16, 8), "blocks": 1, "group_width": 8}
DCGAN = {"name": "dcgan", "channels": (8,)}
SPECTRAL = {**SMALL, "norm": "spectral"}
EVOLUTION = {"name": "evolution", "pairs": 8, "deviation": 0.05}
BURN_IN = {"start": 1.0, "stop": 0.1, "examples": 1000}
BITS = make_spec("image", (2, 2, 1))._replace(dtype="uint8", low=0, high=1)
CONV = {"name": "conv", "channels": (4,)}
NARROW = {"name": "mlp", "hidden": (16,)}
RISING = {"start": 0.1, "stop": 1.0, "examples": 1000, "shape": "linear"}
MAXOUT = {"name": "mlp", "hidden": (16,), "activation": "linear", "pieces": 3, "dropout": (0.1, 0.2)}

LINE = np.random.default_rng(1).normal(0, (1, 0.05, 0.05), (48, 3)) @ np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1.0]])
SWITCH = (np.arange(48)[:, None] % 8 == 0) * np.array([1, 2, 1])
KINDS = np.array([[0, 0, 0], [1, 1, 1], [0, 2, 1]])[np.arange(48) % 3]
SEARCHED = {"name": "search", "restarts": 1, "bootstraps": 2}
CLUSTERS = np.array([[2, 2, 0], [-2, 2, 1], [0, -2, 2.0]])[np.arange(48) % 3]
CLUSTERS = CLUSTERS + np.random.default_rng(2).normal(0, (0.05, 0.05, 0), (48, 3))

FAMILIES = {
    "gan": gan_family(VECTOR, vectors(), SMALL, gamma=BURN_IN, ema_half_life=BURN_IN),
    "gan_dropout": gan_family(
        VECTOR,
        vectors(),
        SMALL,
        loss="least_squares",
        penalty="gradient_penalty",
        conditional=True,
        discriminator=MAXOUT,
        n_critic=2,
    ),
    "gan_wasserstein": gan_family(
        VECTOR,
        vectors(),
        {**SMALL, "activation": "tanh"},  # a row that rounding moves over a kink changes all clipped weights
        loss="wasserstein",
        penalty="none",
        prior="uniform",
        weight_clip=0.1,
        pack=2,
        n_critic=2,
    ),
    "gan_hinge": gan_family(
        VECTOR, vectors(), SMALL, loss="hinge", penalty="none", conditional=True, discriminator=SPECTRAL
    ),
    "gan_evolution": gan_family(
        VECTOR, vectors(), SMALL, loss="non_saturating", penalty="r1", generator_gradient=EVOLUTION
    ),
    "gan_dcgan": gan_family(
        IMAGE, images(), DCGAN, loss="non_saturating", penalty="none", conditional=True, ema_half_life=BURN_IN
    ),
    "gan_r3": gan_family(IMAGE, images(), R3),
    "markov": sequence_family(markov, "text", cycles(4, 1), 0.0, outcomes_of(4, (5,), "int32"), order=2),
    "hmm_roll": sequence_family(
        hmm, "roll", np.eye(3)[cycles(3, 2)], 0.1, outcomes_of(2, (3, 3), "float32"), states=6, scan="associative"
    ),
    "bernoulli": table_family(
        bernoulli, (2, 3), np.eye(3)[np.arange(48) % 16 // 14, 1:] * [1, 2], 0.2, 0.3, strength=0.1
    ),
    "bayes_net": table_family(bayes_net, (2, 3, 2), SWITCH, 0.2, 0.1, pseudo_count=0.1, structure=SEARCHED),
    "bayes_net_tree": table_family(
        bayes_net, (None, 3, 2), SWITCH, 0.2, -0.2, pseudo_count=0.1, structure={"name": "chow_liu"}, max_bins=3
    ),
    "gaussian": table_family(gaussian, (None, None, None), LINE, 0.2, -1.2),
    "mixture": table_family(mixture, (None, None, 3), CLUSTERS, 0.2, -1.2, components=3, floor=1e-4),
    "forest": table_family(random_forest, (None, None, 3), CLUSTERS, 0.2, -0.9, trees=6, min_rows=3),
    "forest_tree": table_family(random_forest, (2, 3, 2), KINDS, 0.2, 0.3, trees=4, min_rows=3, leaves="chow_liu"),
    "gan_columns": columns_family(
        gan,
        True,
        {"generator_optimizer": SGD, "discriminator_optimizer": SGD},
        generator={**SMALL, "norm": "batch", "concatenate": True},
        discriminator=SMALL,
        loss="wasserstein",
        penalty="gradient_penalty",
        gamma=1.0,
        conditional=True,
        pack=2,
        latent_size=4,
        generator_optimizer=FAST,
        discriminator_optimizer=FAST,
    ),
    "vae_columns": columns_family(
        vae, False, {"optimizer": SGD}, encoder=NARROW, decoder=NARROW, latent_size=2, **QUICK
    ),
    "smote": columns_family(smote, False, {}, neighbours=3, within="x0"),
    "gan_recurrent": gan_family(RAMP, ramps(), RECURRENT, latent_size=8, conditional=True),
    "rnn_text": sequence_family(
        rnn,
        "text",
        cycles(4, 1),
        0.0,
        outcomes_of(4, (5,), "int32"),
        lanes=True,
        cell={"name": "gru", "units": 8, "dropout": 0.1},
        **QUICK,
    ),
    "rnn_roll": sequence_family(
        rnn,
        "roll",
        np.eye(3)[cycles(3, 2)],
        0.1,
        outcomes_of(2, (3, 3), "float32"),
        cell={"name": "lstm", "units": 8, "dropout": 0.05, "input_dropout": 0.05, "locked": False},
        head={"name": "visible"},
        **QUICK,
    ),
    "vae": vae_family(
        VECTOR, vectors(), NARROW, conditional=True, kl=RISING, free_nats=0.05, num_samples=2, ema_half_life=100.0
    ),
    "vae_dreg": vae_family(BITS, pixels(), NARROW, objective="dreg", num_samples=3),
    "vae_conv": vae_family(IMAGE, images(), CONV, conditional=True),
    "autoencoder": vae_family(VECTOR, vectors(), {**NARROW, "dropout": (0.0, 0.1)}, kl=0),
    "vqvae": levels_family(
        vqvae,
        3,
        {"optimizer": {"name": "sgd", "learning_rate": 1e-4}, "prior_optimizer": SGD},
        0.4,
        encoder=GRID,
        decoder=GRID,
        codebook_size=8,
        code_size=4,
        restart=0.1,
        prior={"name": "gru", "units": 8, "dropout": 0.1},
        conditional=True,
        prior_optimizer=QUICK["optimizer"],
        **QUICK,
    ),
    "ladder_mlp": ladder_family(
        VECTOR, vectors(), {"name": "mlp", "latents": (1, 2, 2), "hidden": (8, 16)}, conditional=True, free_nats=0.1
    ),
    "ladder_conv": ladder_family(
        BLACK_WHITE, bits(), {"name": "conv", "channels": (8,), "latent_channels": 1}, ema_half_life=100.0
    ),
    "hmm_series": sequence_family(hmm, "series", SERIES, 2 * ENTROPY + 0.6, states=3, stepwise=0.7),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


@lru_cache
def model_of(name: str):
    return FAMILIES[name].build()


@lru_cache
def compiled_of(name: str):
    model = model_of(name)
    step = jax.jit(
        lambda step, state, batch: model.step(jax.random.fold_in(KEY, step), state, batch), out_shardings=HERE
    )
    return jax.jit(model.init, out_shardings=HERE), step


@lru_cache
def trained(name: str, steps: int) -> tuple:
    """The state after so many steps, and the metrics of the last."""
    init, step = compiled_of(name)
    state, metrics = init(KEY, FAMILIES[name].batch), {}
    for each in range(steps):
        state, metrics = step(each, state, FAMILIES[name].batch)
    return state, metrics


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


@every_family
def test_metrics_are_finite_scalars(name):
    metrics = trained(name, 3)[1]
    assert metrics
    for value in metrics.values():
        assert value.shape == () and np.isfinite(value)


@every_family
def test_sample_looks_like_a_batch(name):
    model, batch, state = model_of(name), FAMILIES[name].batch, trained(name, 3)[0]
    sample = model.sample(KEY, state, 5)
    assert set(sample) <= set(batch)
    for field, value in sample.items():
        assert value.shape == (5, *batch[field].shape[1:]) and value.dtype == batch[field].dtype
    again, other = model.sample(KEY, state, 5), model.sample(jax.random.key(1), state, 5)
    assert np.array_equal(sample["x"], again["x"])
    assert not np.array_equal(sample["x"], other["x"])


@every_family
def test_decode_of_prior_is_a_sample(name):
    model, state = model_of(name), trained(name, 3)[0]
    if model.prior is None:
        pytest.skip("no latent")
    latent = model.prior(KEY, state, 4)
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


@every_family
def test_given_names_what_a_sample_honours(name):
    model, state, x = model_of(name), trained(name, 0)[0], FAMILIES[name].batch["x"][:2]
    for condition in {"x", "mask", "y", "length"} - set(model.given):
        with pytest.raises(UserError, match=f"conditioned on '{condition}'"):
            model.sample(KEY, state, 2, {condition: np.zeros(2, np.int32)})
    if {"x", "mask"} <= set(model.given):
        mask = np.arange(x[0].size).reshape(x.shape[1:]) < x[0].size // 2 if x.ndim != 3 else np.arange(x.shape[1]) < 2
        drawn = np.asarray(model.sample(KEY, state, 2, {"x": x, "mask": np.stack([mask] * 2)})["x"])
        assert np.array_equal(drawn[:, mask], np.asarray(x)[:, mask])


@every_family
def test_sample_has_the_labels_that_are_given(name):
    model, state = model_of(name), trained(name, 3)[0]
    if "y" not in model.sample(KEY, state, 2):
        pytest.skip("models no labels")
    asked = np.array([2, 0, 0, 1], np.int32)
    assert np.array_equal(model.sample(KEY, state, 4, {"y": asked})["y"], asked)
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
    abstract = sharding.abstract_state(HERE.mesh, jax.eval_shape(lambda: state))
    with checkpoint.opened(tmp_path, keep=1) as manager:
        checkpoint.save(manager, 3, state)
    with checkpoint.opened(tmp_path) as manager:
        found, resumed = checkpoint.newest(manager, abstract)
    assert found == 3
    for each in range(3, 6):
        resumed, _ = step(each, resumed, FAMILIES[name].batch)
    chex.assert_trees_all_equal(host(resumed), host(trained(name, 6)[0]))


def run_sgd(name: str, model, state, rows: int, padding: int, devices: int):
    """`state` after 20 steps of SGD on the first `rows` rows and some of weight 0, on so many devices."""
    family, mesh = FAMILIES[name], sharding.make_mesh(jax.devices()[:devices])
    batch = {field: np.concatenate([value[:rows], value[:padding]]) for field, value in family.batch.items()}
    batch["weight"] = np.concatenate([np.ones(rows, np.float32), np.zeros(padding, np.float32)])
    batch, state = sharding.place_rows(mesh, batch), sharding.place_whole(mesh, state)
    step = jax.jit(lambda number, state, batch: model.step(jax.random.fold_in(KEY, number), state, batch)[0])
    for number in range(20):
        state = step(np.int32(number), state, batch)
    return host(state)


@every_family
def test_eight_devices_and_padding_rows_change_nothing(name):
    model, initial = FAMILIES[name].build(**FAMILIES[name].sgd), dict(jax.tree.leaves_with_path(trained(name, 0)[0]))
    shapes = jax.eval_shape(model.init, KEY, FAMILIES[name].batch)
    state = jax.tree.map_with_path(lambda path, leaf: initial.get(path, jnp.zeros(leaf.shape, leaf.dtype)), shapes)
    rows, padding = (48, 0) if "reset" in FAMILIES[name].batch else (36, 12)  # a lane is a row of every batch
    eight, one = run_sgd(name, model, state, rows, padding, 8), run_sgd(name, model, state, rows, 0, 1)
    chex.assert_trees_all_close(eight, one, rtol=1e-5, atol=1e-6)
