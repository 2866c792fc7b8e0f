"""Models whose rows have a condition of another kind: laws over a table of families and conditions."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec
from recorder import recording

from gen_jax.data.kinds import kind_of
from gen_jax.distributions.columns import representation
from gen_jax.errors import UserError
from gen_jax.losses.penalties import PENALTIES, squared_gradient
from gen_jax.losses.reconstruction import absolute_error, class_entropy, squared_error
from gen_jax.models.autoregressive import autoregressive
from gen_jax.models.gan import gan
from gen_jax.models.gan.losses import over_patches
from gen_jax.models.ladder import ladder
from gen_jax.models.vae import vae
from gen_jax.models.vqvae import vqvae
from gen_jax.nets.embedding import Embedded, as_image, as_vector

KEY = jax.random.key(0)
NUM = 12
PHOTO = make_spec("image", (8, 8, 2))
WORDS = make_spec("text", (5,))._replace(
    dtype="uint8", low=0, high=3, info={"vocabulary": ["red", "green", "big", "small"], "ragged": True}
)
MAP = make_spec("class_map", (8, 8))._replace(
    dtype="uint8", low=0, high=3, info={"vocabulary": ["sky", "road", "tree"]}
)
LARGE = make_spec("image", (32, 32, 3))  # a photo that is finer than the map of its classes
NUMBERS = make_spec("vector", (3,))
IMAGE = make_spec("image", (8, 8, 1))
LEVELS = IMAGE._replace(dtype="uint8", low=0, high=3)
MLP = {"name": "mlp", "hidden": (16,)}
UNET = {"name": "unet", "channels": 4, "depth": 2}
PATCH = {"name": "patch", "channels": 4, "layers": 1}
PLAYERS = {"generator": MLP, "discriminator": MLP, "loss": "non_saturating", "penalty": "r1", "latent_size": 2}
PICTURES = {"generator": UNET, "discriminator": PATCH, "loss": "non_saturating", "latent_size": 0}
L1 = {"name": "l1", "weight": 10.0}
GRID = {"encoder": {"name": "conv", "channels": (4,)}, "decoder": {"name": "conv", "channels": (4,)}}
CODES = {"codebook_size": 4, "code_size": 2, "prior": {"name": "gru", "units": 4}}

MODELS = {
    "gan, image": (gan, IMAGE, PHOTO, PLAYERS),
    "gan, text": (gan, IMAGE, WORDS, {**PLAYERS, "discriminator": {**MLP, "dropout": (0.0, 0.1)}, "matching": True}),
    "gan, numbers": (gan, IMAGE, NUMBERS, PLAYERS),
    "gan, dcgan, text": (
        gan,
        IMAGE,
        WORDS,
        {
            **PLAYERS,
            "generator": {"name": "dcgan", "channels": (4,)},
            "discriminator": {"name": "dcgan", "channels": (4,)},
        }
        | {"penalty": "none"},
    ),
    "gan, unet": (gan, IMAGE, PHOTO, {**PICTURES, "penalty": "r1_r2", "reconstruction": L1}),
    "gan, unet, text": (gan, IMAGE, WORDS, {**PICTURES, "penalty": "none", "latent_size": 2}),
    "gan, unet, maps": (gan, MAP, PHOTO, {**PICTURES, "penalty": "none", "reconstruction": {"name": "cross_entropy"}}),
    "gan, unet, plain": (gan, IMAGE, MAP, {**PICTURES, "penalty": "none", "reconstruction": L1, "adversarial": 0}),
    "gan, unet, large": (gan, MAP, LARGE, {**PICTURES, "penalty": "none", "reconstruction": {"name": "cross_entropy"}}),
    "vae, image": (vae, IMAGE, PHOTO, {"encoder": MLP, "decoder": MLP, "latent_size": 2}),
    "vae, conv, text": (
        vae,
        IMAGE,
        WORDS,
        {
            "encoder": {"name": "conv", "channels": (4,)},
            "decoder": {"name": "conv", "channels": (4,)},
            "latent_size": 2,
        },
    ),
    "vqvae, image": (vqvae, LEVELS, PHOTO, {**GRID, **CODES}),
    "vqvae, text": (vqvae, LEVELS, WORDS, {**GRID, **CODES}),
    "ladder, image": (ladder, IMAGE, PHOTO, {"net": {"name": "mlp", "latents": (1, 2), "hidden": (8,)}}),
    "ladder, text": (ladder, IMAGE, WORDS, {"net": {"name": "conv", "channels": (4,), "latent_channels": 1}}),
    "autoregressive, image": (autoregressive, make_spec("series", (4, 2)), PHOTO, {"net": {"name": "gru", "units": 8}}),
    "autoregressive, text": (autoregressive, make_spec("series", (4, 2)), WORDS, {"net": {"name": "gru", "units": 8}}),
    "made, image": (autoregressive, LEVELS, PHOTO, {"net": {"name": "made", "hidden": (128,)}}),
    "made, text": (autoregressive, LEVELS, WORDS, {"net": {"name": "made", "hidden": (8, 8), "orders": 2}}),
}


def rows_of(spec, name: str, random: np.random.Generator) -> dict:
    """Rows of a field in model space."""
    symbols = len(spec.vocabulary)
    if symbols:
        rows = {name: random.integers(0, symbols, (NUM, *spec.shape)).astype(np.int32)}
        if kind_of(spec).class_map:
            rows[name][:, 0] = symbols  # pixels without a class
    elif spec.dtype == "uint8":
        rows = {name: random.integers(0, 4, (NUM, *spec.shape)).astype(np.float32)}
    else:
        rows = {name: random.normal(size=(NUM, *spec.shape)).astype(np.float32)}
    return {**rows, "c_length": random.integers(1, 5, NUM).astype(np.int32)} if spec.ragged else rows


@cache
def trained(name: str):
    """A model, its state after two steps, the metrics, and the batch."""
    family, spec, condition, options = MODELS[name]
    random = np.random.default_rng(0)
    model = family(spec._replace(condition=condition), conditional=True, **options)
    batch = {**rows_of(spec, "x", random), **rows_of(condition, "c", random), "weight": np.ones(NUM, np.float32)}
    batch = {field: jnp.asarray(value) for field, value in batch.items()}
    state = jax.jit(model.init)(KEY, batch)
    step = jax.jit(model.step)
    for number in range(2):
        state, metrics = step(jax.random.fold_in(KEY, number), state, batch)
    return model, state, metrics, batch


def conditions(batch: dict) -> dict:
    return {name: value for name, value in batch.items() if name in ("c", "c_length")}


def rolled(batch: dict) -> dict:
    return {**batch, **{name: jnp.roll(value, 1, 0) for name, value in conditions(batch).items()}}


def scores(name: str, batch: dict) -> np.ndarray:
    """What the model says of each row of a batch: nats, or else the sample of its condition."""
    model, state, *_ = trained(name)
    score = model.log_prob or model.log_prob_bound
    if score:
        return np.asarray(score(KEY, state, {field: batch[field] for field in batch if field != "weight"}))
    return np.asarray(model.sample(KEY, state, NUM, conditions(batch))["x"])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_on_its_condition_and_draws_for_it(name):
    model, state, metrics, batch = trained(name)
    assert all(np.isfinite(value) for value in metrics.values())
    assert "c" in model.given
    sample = model.sample(KEY, state, NUM, conditions(batch))
    assert sample["x"].shape == batch["x"].shape and sample["x"].dtype == batch["x"].dtype
    np.testing.assert_array_equal(sample["c"], batch["c"])


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_without_its_condition_is_refused(name):
    model, state, _, batch = trained(name)
    with pytest.raises(UserError, match="given c is missing; expected a condition.*--given split=test"):
        model.sample(KEY, state, NUM)
    with pytest.raises(UserError, match="given c has the shape"):
        model.sample(KEY, state, NUM, {**conditions(batch), "c": batch["c"][1:]})


@pytest.mark.study
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gan, image", "other sides than in training, which generator MLP.* does not take; expected 8x8 pixels"),
        ("vae, image", r"given c has the shape \[2, 4, 6, 2\]; expected \[2, 8, 8, 2\]"),
        ("ladder, image", r"given c has the shape \[2, 4, 6, 2\]; expected \[2, 8, 8, 2\]"),
    ],
)
def test_images_of_other_sides_are_refused_by_nets_that_do_not_take_them(name, message):
    model, state, *_ = trained(name)
    with pytest.raises(UserError, match=message):
        model.sample(KEY, state, 2, {"c": np.zeros((2, 4, 6, 2), np.float32)})


@pytest.mark.parametrize("name", MODELS)
def test_rolled_conditions_change_what_a_model_says(name):
    *_, batch = trained(name)
    if name in (
        "gan, unet, maps",
        "gan, unet, large",
    ):  # classes are whole numbers: the most likely one seldom changes after two steps
        model, state, *_ = trained(name)
        step = jax.jit(model.step)
        losses = [step(KEY, state, rows)[1]["g_loss"] for rows in (batch, rolled(batch))]
        assert abs(losses[0] - losses[1]) > 1e-6
        return
    assert np.abs(scores(name, batch) - scores(name, rolled(batch))).max() > 1e-5


@pytest.mark.parametrize("name", ["gan, unet", "gan, unet, maps", "gan, unet, plain"])
def test_permuted_conditions_permute_samples_without_a_latent(name):
    *_, batch = trained(name)
    order = np.random.default_rng(1).permutation(NUM)
    permuted = {field: value[order] for field, value in batch.items()}
    np.testing.assert_allclose(scores(name, permuted), scores(name, batch)[order], atol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_, _, condition, _) in MODELS.items() if condition.ragged])
def test_tokens_beyond_the_length_change_nothing(name):
    *_, batch = trained(name)
    beyond = np.arange(batch["c"].shape[1])[None] >= np.asarray(batch["c_length"])[:, None]
    other = {**batch, "c": jnp.where(beyond, (batch["c"] + 1) % 4, batch["c"])}
    assert beyond.any()
    np.testing.assert_array_equal(scores(name, other), scores(name, batch))
    longer = {**batch, "c": jnp.pad(batch["c"], ((0, 0), (0, 3)))}
    np.testing.assert_allclose(scores(name, longer), scores(name, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_padding_rows_change_nothing(name):
    model, state, _, batch = trained(name)
    weight = jnp.asarray([1.0] * (NUM - 4) + [0.0] * 4)
    step = jax.jit(model.step)
    results = []
    for fill in (0, 1):
        padded = {
            field: value.at[-4:].set(fill if value.dtype != jnp.int32 else jnp.int32(fill + (field == "c_length")))
            for field, value in batch.items()
        }
        results.append(step(KEY, state, {**padded, "weight": weight})[1])
    for metric, value in results[0].items():
        if metric not in ("perplexity", "used"):
            np.testing.assert_allclose(value, results[1][metric], rtol=2e-4, atol=1e-5, err_msg=metric)


@pytest.mark.parametrize("name", MODELS)
def test_no_key_is_used_twice(name):
    model, state, _, batch = trained(name)
    uses = {
        "init": lambda key: jax.jit(model.init)(key, batch),
        "step": lambda key: jax.jit(model.step)(key, state, batch),
        "sample": lambda key: model.sample(key, state, NUM, conditions(batch)),
    }
    with recording() as (key, recorded):
        for number, (use, function) in enumerate(uses.items()):
            recorded.counts.clear()
            jax.block_until_ready(function(jax.random.fold_in(key, number)))
            assert recorded.counts and not recorded.faults(), use


@pytest.mark.study
def test_a_plain_generator_trains_no_critic():
    model, state, metrics, batch = trained("gan, unet, plain")
    assert set(metrics) == {"g_loss", "l1"} and float(metrics["g_loss"]) == pytest.approx(10 * float(metrics["l1"]))
    first = jax.jit(model.init)(KEY, batch)
    for before, after in zip(jax.tree.leaves(first.discriminator), jax.tree.leaves(state.discriminator)):
        np.testing.assert_array_equal(before, after)


def test_pixels_without_a_class_are_hidden_from_the_critic_and_the_loss():
    model, state, _, batch = trained("gan, unet, maps")
    step = jax.jit(model.step)
    seen = batch["x"].at[:, 0].set(1)
    assert (
        abs(step(KEY, state, batch)[1]["cross_entropy"] - step(KEY, state, {**batch, "x": seen})[1]["cross_entropy"])
        > 1e-6
    )
    assert np.asarray(model.sample(KEY, state, NUM, conditions(batch))["x"]).max() < 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"conditional": False, "latent_size": 2, "reconstruction": L1},
            "reconstruction is 'l1' without a condition; expected data with",
        ),
        (
            {"reconstruction": {"name": "cross_entropy"}},
            "reconstruction is 'cross_entropy' and .*; expected class maps",
        ),
        (
            {"reconstruction": {"name": "l1", "weight": -1.0}},
            "reconstruction.weight is -1.0; expected a number of at least",
        ),
        ({"adversarial": 0}, "adversarial is 0 without a reconstruction; expected more than 0"),
        ({"pack": 2}, "pack is 2; expected 1, because rows with a condition"),
        (
            {"generator": {**UNET, "depth": 4}},
            "unet of depth 4 cannot halve 8x8 pixels; expected sides that are multiples",
        ),
    ],
)
def test_arguments_that_no_pair_can_have(options, message):
    spec = IMAGE._replace(condition=PHOTO)
    with pytest.raises(UserError, match=message):
        model = gan(spec, **{**PICTURES, "penalty": "none", "conditional": True, **options})
        jax.eval_shape(model.init, KEY, {"x": jnp.zeros((2, 8, 8, 1))})


@pytest.mark.parametrize(
    ("class_weights", "message"),
    [
        ((1.0, 2.0), r"class_weights has 2 numbers; expected 3, one for each class of .*: sky, road, tree"),
        ((1.0, 0.0, 2.0), r"class_weights is \(1.0, 0.0, 2.0\); expected a positive number for each class"),
    ],
)
def test_class_weights_that_do_not_fit_the_classes_are_refused(class_weights, message):
    spec, term = MAP._replace(condition=PHOTO), {"name": "cross_entropy", "class_weights": class_weights}
    with pytest.raises(UserError, match=message):
        gan(spec, **{**PICTURES, "penalty": "none", "conditional": True, "reconstruction": term})


def test_a_class_map_is_read_in_smooth_channels_without_hidden_pixels():
    form = representation(MAP)
    x = jnp.asarray([[[0, 1], [2, 3]]])  # 3 is no class
    read = np.asarray(form.read(None, x))
    np.testing.assert_allclose(read[0, 0, 0], [0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3], rtol=1e-6)
    np.testing.assert_allclose(read.sum(-1), [[[1, 1], [1, 0]]], rtol=1e-6)
    out = jax.random.normal(KEY, (1, 2, 2, 3))
    relaxed = form.relaxed(KEY, out)
    np.testing.assert_allclose(relaxed.sum(-1), 1, rtol=1e-6)
    hidden = np.asarray(form.hidden(relaxed, read))
    np.testing.assert_allclose(hidden.sum(-1), [[[1, 1], [1, 0]]], rtol=1e-6)
    np.testing.assert_array_equal(form.drawn(KEY, out), np.asarray(out).argmax(-1))


def test_the_loss_of_patches_is_the_mean_over_patches():
    logits = jnp.asarray([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])
    np.testing.assert_allclose(over_patches(logits), logits.mean(1), rtol=1e-6)
    np.testing.assert_array_equal(over_patches(logits[:, 0]), logits[:, 0])
    kernel = jax.random.normal(KEY, (4, 3))
    x = jax.random.normal(jax.random.key(1), (5, 4))
    patches, squared = squared_gradient(lambda x, call: x @ kernel, x, 0)
    assert patches.shape == (5, 3)
    np.testing.assert_allclose(squared, np.full(5, np.square(np.asarray(kernel).mean(1)).sum()), rtol=1e-5)
    real, fake, penalties = PENALTIES["r1_r2"](KEY, lambda x, call: x @ kernel, x, x + 1)
    np.testing.assert_allclose(real, x @ kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fake, (x + 1) @ kernel, rtol=1e-4, atol=1e-5)
    assert penalties["r1"].shape == penalties["r2"].shape == (5,)


@pytest.mark.study
def test_the_cross_entropy_is_that_of_the_labelled_pixels():
    out, classes = (
        jax.random.normal(KEY, (3, 2, 2, 3)),
        np.array([[[0, 1], [2, 3]], [[3, 3], [3, 3]], [[1, 1], [0, 3]]]),
    )
    real = representation(MAP).read(None, jnp.asarray(classes))
    nats = -np.asarray(jax.nn.log_softmax(out))
    expected = []
    for row in range(3):
        seen = [nats[row, i, j, classes[row, i, j]] for i in range(2) for j in range(2) if classes[row, i, j] < 3]
        expected.append(np.mean(seen) if seen else 0)
    np.testing.assert_allclose(class_entropy(out, out, real), expected, rtol=1e-5)
    share = np.array([0.5, 2.0, 4.0])
    weighted = []
    for row in range(3):
        seen = [(i, j, classes[row, i, j]) for i in range(2) for j in range(2) if classes[row, i, j] < 3]
        weighted.append(
            np.average([nats[row][place] for place in seen], weights=[share[k] for *_, k in seen]) if seen else 0
        )
    np.testing.assert_allclose(class_entropy(out, out, real, tuple(share)), weighted, rtol=1e-5)
    extreme = class_entropy(out * 1e4, out, real)
    assert (
        np.isfinite(extreme).all()
        and np.isfinite(jax.grad(lambda out: class_entropy(out * 1e4, out, real).sum())(out)).all()
    )
    np.testing.assert_allclose(absolute_error(out, out, out + 2), 2, rtol=1e-6)
    np.testing.assert_allclose(squared_error(out, out, out + 2), 4, rtol=1e-6)


@pytest.mark.study
def test_a_condition_takes_the_form_that_a_net_knows():
    vector, image = jnp.arange(6.0).reshape(2, 3), jnp.arange(2 * 4 * 4.0).reshape(2, 4, 4, 1)
    sequence = jnp.ones((2, 5, 2)).at[:, 3:].set(0)
    mask = jnp.asarray([[1.0, 1, 1, 0, 0]] * 2)
    flat = as_vector(Embedded(vector, image, sequence, mask))
    assert flat.shape == (2, 3 + 16 + 2)
    np.testing.assert_array_equal(flat[:, :3], vector)
    np.testing.assert_array_equal(flat[:, -2:], 1)  # the mean over three tokens of ones
    planes = as_image(Embedded(vector, image), 4, 4)
    assert planes.shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(planes[..., :1], image)
    np.testing.assert_array_equal(planes[:, 1, 2, 1:], vector)
    assert as_image(Embedded(image=image), 2, 2).shape == (2, 2, 2, 1)
    assert as_vector(None) is None and as_image(None, 2, 2) is None
