"""Every family in one table. A new family is one row of `FAMILIES`; exceptions live there, not in the laws."""

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec

from gen_jax.data.tables.column_modes import with_modes
from gen_jax.devices import placement
from gen_jax.models.autoregressive import autoregressive
from gen_jax.models.bayes_net import bayes_net
from gen_jax.models.bernoulli import bernoulli
from gen_jax.models.diffusion import diffusion
from gen_jax.models.flow import flow
from gen_jax.models.forest import forest
from gen_jax.models.gan import gan
from gen_jax.models.gaussian import gaussian
from gen_jax.models.hmm import hmm
from gen_jax.models.ladder import ladder
from gen_jax.models.markov import markov
from gen_jax.models.masked import masked
from gen_jax.models.mixture import mixture
from gen_jax.models.smote import smote
from gen_jax.models.speech import speech
from gen_jax.models.vae import vae
from gen_jax.models.vqvae import vqvae

KEY = jax.random.key(0)
HERE = placement.shared(placement.make_mesh(jax.devices()[:1]))  # where a checkpoint is restored to as well
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


def pairs() -> dict:
    """Returns images and their negatives, which are their condition, without labels."""
    batch = images()
    batch["x"] = batch["x"] * jnp.where(batch["y"] == 0, -1, 1)[:, None, None, None]
    return {"x": batch["x"], "c": -batch["x"], "weight": batch["weight"]}


def described_images() -> dict:
    """Returns images that a text of one to three words describes: the first word is their sign."""
    batch, sign = pairs(), np.arange(48) % 3 == 0
    words = np.stack([sign, np.full(48, 2), np.full(48, 3)], 1)
    return {**batch, "c": jnp.asarray(words, jnp.int32), "c_length": jnp.arange(48, dtype=jnp.int32) % 3 + 1}


def translations() -> dict:
    """Returns texts of one to four tokens, each the successor of its token in the condition, with an END of number 3."""
    c = np.random.default_rng(0).integers(0, 3, (48, 4)).astype(np.int32)
    length = np.arange(48, dtype=np.int32) % 4 + 1
    inside = np.arange(4)[None] < length[:, None]
    x = np.concatenate([np.where(inside, (c + 1) % 3, 0), np.zeros((48, 1))], 1).astype(np.int32)
    x[np.arange(48), length] = 3
    rows = {"x": x, "length": length + 1, "c": np.where(inside, c, 0), "c_length": length, "weight": np.ones(48)}
    return {name: jnp.asarray(value, jnp.float32 if name == "weight" else jnp.int32) for name, value in rows.items()}


def ended_cycles() -> dict:
    """Returns texts of one to four tokens, each the successor of the one before, with an END of number 3."""
    length = np.arange(48, dtype=np.int32) % 4 + 1
    tokens = (np.arange(5)[None] + np.arange(48)[:, None] // 4) % 3
    x = np.where(np.arange(5)[None] < length[:, None], tokens, 0)
    x[np.arange(48), length] = 3
    return {"x": jnp.asarray(x, jnp.int32), "length": jnp.asarray(length + 1), "weight": jnp.ones(48)}


def utterances() -> dict:
    """Returns series of at most 8 frames: each token of a text of one to three has two frames or more around its vector."""
    random = np.random.default_rng(0)
    c_length = np.arange(48) % 3 + 1
    c = np.where(np.arange(3)[None] < c_length[:, None], random.integers(0, 3, (48, 3)), 0)
    vectors = np.array([[1.0, -1.0], [-1.0, 0.0], [0.5, 1.0]])
    x, length = np.zeros((48, 8, 2)), np.zeros(48)
    for row, size in enumerate(c_length):
        symbols = np.repeat(c[row, :size], 2 + (c[row, :size] == 1))[:8]
        x[row, : len(symbols)], length[row] = vectors[symbols], len(symbols)
    x += random.normal(0, 0.1, x.shape)
    rows = {"x": x, "length": length, "c": c, "c_length": c_length, "weight": np.ones(48)}
    return {
        name: jnp.asarray(value, jnp.float32 if name in ("x", "weight") else jnp.int32) for name, value in rows.items()
    }


def speech_family(**options) -> Family:
    batch, net = (
        utterances(),
        {"name": "conv", "units": 16, "layers": 1, "decoder_layers": 1, "kernel": 3, "dropout": 0.0},
    )
    spec = make_spec("series", (8, 2))._replace(info={"ragged": True}, condition=SPOKEN)
    build = partial(speech, spec, **{"net": net, "optimizer": FAST, **options})
    inside = np.arange(8)[None, :, None] < np.asarray(batch["length"])[:, None, None]

    def distance(model, state) -> float:
        drawn = np.asarray(model.sample(KEY, state, 48, asked(batch, 48))["x"])
        return float(np.abs(np.where(inside, drawn - np.asarray(batch["x"]), 0)).mean())

    return Family(build, batch, {"optimizer": SGD}, distance)


def bits() -> dict:
    batch = images()
    return {**batch, "x": (batch["x"] > 0).astype(jnp.float32)}


def ramps() -> dict:
    ramp = np.linspace(-1, 2, 4)[None, :, None] * np.ones((48, 4, 2))
    return batch_of(ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape))


def asked(batch: dict, num: int) -> dict | None:
    """Returns the conditions of `num` rows of a batch, over and over, if its rows have one; a label need not be given."""
    conditions = {name: np.asarray(value) for name, value in batch.items() if name in ("c", "c_length")}
    return {name: value[np.arange(num) % len(value)] for name, value in conditions.items()} or None


def mean_distance(batch: dict, model, state) -> float:
    sample = model.sample(KEY, state, 256, asked(batch, 256))["x"]
    return float(np.linalg.norm(np.mean(sample, 0) - np.mean(batch["x"], 0)))


def paired_distance(batch: dict, model, state) -> float:
    """Returns the mean error of samples to the true rows of their conditions."""
    sample = model.sample(KEY, state, 48, asked(batch, 48))["x"]
    return float(np.abs(np.asarray(sample) - batch["x"]).mean())


def nats(batch: dict, least: float, model, state) -> float:
    """Nats per frame above the least there can be."""
    return float(-np.mean(model.log_prob(KEY, state, batch)) / batch["x"].shape[1]) - least


def outcomes_of(values: int, shape: tuple[int, ...], dtype: str) -> dict:
    """Every array of that shape with whole numbers below `values`."""
    return {"x": jnp.asarray([*product(range(values), repeat=int(np.prod(shape)))], dtype).reshape(-1, *shape)}


def cycles(values: int, dwell: int) -> np.ndarray:
    """Rows [48, 12] that dwell in each of some levels for some frames, from a level of their own."""
    return (np.arange(12)[None] // dwell + np.arange(48)[:, None]) % values


def levels_family(family: Callable, top: int, sgd: dict, least: float, shape: tuple = (8, 8), **options) -> Family:
    """Images whose pixels are whole numbers up to `top`, in model space as they are; `least`: nats of their pixels."""
    noise = np.random.default_rng(0).normal(0, 0.3, (48, *shape, 1))
    ramp = np.linspace(0, top, shape[0])[None, :, None, None] + noise
    batch = batch_of(np.clip(np.rint(ramp), 0, top))
    spec = make_spec("image", (*shape, 1))._replace(dtype="uint8", low=0, high=top, classes=("a", "b", "c"))

    def distance(model, state) -> float:
        return float(-np.mean(model.log_prob_bound(KEY, state, batch)) / np.prod(shape)) - least

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
    symbols = kind in ("text", "voices")
    x = jnp.asarray(x, jnp.int32 if symbols else jnp.float32)
    batch = {"x": x, "weight": jnp.ones(len(x)), **({"reset": jnp.arange(len(x)) < 2} if lanes else {})}
    spec = make_spec(kind, x.shape[1:])._replace(info={"vocabulary": list("abcd")} if symbols else {})
    return Family(partial(family, spec, **options), batch, {}, partial(nats, batch, least), 60, outcomes)


def shaped(batch: dict, spec) -> dict:
    """Returns a batch of images [N, 8, 8, 1] as clips, whose second frame is the mirrored first one, or as sounds."""
    x = batch["x"]
    clips = np.stack([x, x[:, :, ::-1]], 1)
    return {**batch, "x": clips if clips.shape[1:] == spec.shape else x.reshape(-1, *spec.shape)}


def gan_family(spec, batch: dict, net: dict, **options) -> Family:
    nets = {"generator": net, "discriminator": net}
    adam = {"generator_optimizer": FAST, "discriminator_optimizer": FAST}
    sgd = {"generator_optimizer": SGD, "discriminator_optimizer": SGD}
    if "generator_gradient" in options:  # ranks jump where losses nearly tie
        sgd["generator_gradient"] = {**options["generator_gradient"], "shaped": False}
    build = partial(gan, spec, **{**nets, **adam, "gamma": 0.1, "latent_size": 4, **options})
    return Family(build, batch, sgd, partial(mean_distance, batch))


def paired_family(spec, batch: dict, **options) -> Family:
    return gan_family(spec, batch, {}, conditional=True, loss="non_saturating", **options)._replace(
        distance=partial(paired_distance, batch)
    )


def vae_family(spec, batch: dict, net: dict, **options) -> Family:
    build = partial(vae, spec, encoder=net, decoder=net, latent_size=2, **{**QUICK, **options})
    few = spec.high == 1 and spec.dtype == "uint8"
    outcomes = outcomes_of(2, spec.shape, "float32") if few else None
    sgd = {"optimizer": {**SGD, "learning_rate": 1e-4}}  # at a larger one the scale of the likelihood diverges
    return Family(build, batch, sgd, partial(mean_distance, batch), outcomes=outcomes)


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


def made_family(spec, batch: dict, least: float, **options) -> Family:
    few = [2] * 4 if spec.kind == "image" else [len(column["levels"]) for column in spec.info["columns"]]
    outcomes = {"x": jnp.asarray([*product(*map(range, few))], jnp.float32).reshape(-1, *spec.shape)}
    if options.get("conditional"):
        outcomes["y"] = jnp.ones(len(outcomes["x"]), jnp.int32)
    build = partial(autoregressive, spec, **{"optimizer": {"name": "adam", "learning_rate": 0.03}, **options})
    return Family(build, batch, {"optimizer": SGD}, partial(nats, batch, least), 60, outcomes)


def diffusion_family(spec, batch: dict, **options) -> Family:
    few = spec.high == 1 and spec.dtype == "uint8"
    outcomes = outcomes_of(2, spec.shape, "float32") if few else None
    build = partial(diffusion, spec, **{"optimizer": FAST, "ema_half_life": 500.0, "ode_steps": 20, **options})
    return Family(build, batch, {"optimizer": SGD}, partial(mean_distance, batch), outcomes=outcomes)


def masked_family(columns: tuple, x: np.ndarray, net: dict) -> Family:
    options = {"net": net, "optimizer": FAST, "ema_half_life": 500.0}
    family = table_family(masked, columns, x, 0.2, 0.0, **options)

    def distance(model, state) -> float:
        return float(-np.mean(model.log_prob_bound(KEY, state, family.batch, 8)) / x.shape[1])

    return family._replace(sgd={"optimizer": SGD}, distance=distance, steps=150)


def complete_table(*levels: int):
    """A table whose cells are never missing."""
    spec = table_spec(*levels)
    for column in spec.info["columns"]:
        column["missing"] = False
    return spec


VECTOR, IMAGE = (
    make_spec(*facts)._replace(classes=("a", "b", "c")) for facts in (("vector", (2,)), ("image", (8, 8, 1)))
)
CLIP, WAVE = (
    make_spec(*facts)._replace(classes=("a", "b", "c")) for facts in (("video", (2, 8, 8, 1)), ("wave", (64, 1)))
)
BLACK_WHITE = IMAGE._replace(dtype="uint8", low=0, high=1)
RECURRENT = {"name": "recurrent", "cell": {"name": "gru", "units": 8}}
GRID = {"name": "conv", "channels": (8,), "blocks": 1}
QUICK = {"optimizer": {"name": "adam", "learning_rate": 0.03}}
NEGATIVE = make_spec("image", (8, 8, 1))._replace(condition=make_spec("image", (8, 8, 1)))
WORDS = make_spec("text", (3,))._replace(info={"vocabulary": ["dark", "light", "and", "small"], "ragged": True})
DESCRIBED = NEGATIVE._replace(condition=WORDS)
UNET, PATCH = {"name": "unet", "channels": 4, "depth": 2, "norm": "none"}, {"name": "patch", "channels": 4, "layers": 1}
RAMP = make_spec("series", (4, 2))._replace(classes=("a", "b", "c"))
SERIES = 3 * np.eye(3)[cycles(3, 2)][..., :2] + np.random.default_rng(0).normal(0, 0.4, (48, 12, 2))
ENTROPY = 0.5 * np.log(2 * np.pi * np.e * 0.4**2)  # of that noise, in a dimension
TRANSLATED = make_spec("text", (5,))._replace(info={"vocabulary": ["a", "b", "c", "<end>"], "end": 3, "ragged": True})
TRANSLATED = TRANSLATED._replace(
    condition=make_spec("text", (4,))._replace(info={"vocabulary": ["a", "b", "c", "<end>"], "ragged": True})
)
SPOKEN = make_spec("text", (3,))._replace(info={"vocabulary": ["a", "b", "c"], "ragged": True})
R3 = {"name": "r3", "channels": (16, 8), "blocks": 1, "group_width": 8}
NOISE = {"name": "mlp", "width": 32, "blocks": 1}
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
    "gan_video": gan_family(
        CLIP,
        shaped(images(), CLIP),
        {"name": "video", "channels": (4,)},
        loss="hinge",
        penalty="none",
        conditional=True,
    ),
    "gan_wave": gan_family(
        WAVE,
        shaped(images(), WAVE),
        {"name": "wavegan", "channels": (4, 4)},
        loss="wasserstein",
        penalty="gradient_penalty",
        conditional=True,
        n_critic=2,
    ),
    "gan_image_given": paired_family(
        NEGATIVE,
        pairs(),
        generator=UNET,
        discriminator=PATCH,
        penalty="none",
        reconstruction={"name": "l1", "weight": 10.0},
        latent_size=2,
    ),
    "gan_text_given": paired_family(
        DESCRIBED, described_images(), generator=SMALL, discriminator=SMALL, penalty="r1", matching=True
    ),
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
    "forest": table_family(forest, (None, None, 3), CLUSTERS, 0.2, -0.9, trees=6, min_rows=3),
    "forest_tree": table_family(forest, (2, 3, 2), KINDS, 0.2, 0.3, trees=4, min_rows=3, leaves="chow_liu"),
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
    "autoregressive_text": sequence_family(
        autoregressive,
        "text",
        cycles(4, 1),
        0.0,
        outcomes_of(4, (5,), "int32"),
        lanes=True,
        net={"name": "gru", "units": 8, "dropout": 0.1},
        **QUICK,
    ),
    "transformer_text": sequence_family(
        autoregressive,
        "text",
        cycles(4, 1),
        0.0,
        outcomes_of(4, (5,), "int32"),
        lanes=True,
        net={"name": "transformer", "units": 8, "layers": 1, "heads": 2, "context": 4, "dropout": 0.1},
        **QUICK,
    )._replace(sgd={"optimizer": SGD}),
    "speech": speech_family(),
    "speech_sum": speech_family(decoder="none"),
    "speech_flow": speech_family(decoder="flow", alignment="max"),
    "transformer_text_to_text": Family(
        partial(
            autoregressive,
            TRANSLATED,
            conditional=True,
            label_smoothing=0.01,
            accumulate=2,
            net={
                "name": "transformer",
                "units": 16,
                "layers": 1,
                "encoder": 1,
                "heads": 2,
                "context": 8,
                "dropout": 0.05,
            }
            | {"tied": True},
            optimizer=FAST,
        ),
        translations(),
        {"optimizer": SGD},
        partial(nats, translations(), 0.05),
        150,
    ),
    "made_table": made_family(
        complete_table(2, 3, 2),
        {"x": jnp.asarray(KINDS, jnp.float32), "weight": jnp.ones(48)},
        np.log(3) / 3,
        net={"name": "made", "hidden": (16,)},
        ema_half_life=50.0,
    ),
    "made_orders": made_family(
        BITS,
        pixels(),
        0.0,
        net={"name": "made", "hidden": (16, 16), "orders": 3, "direct": False, "dropout": 0.1},
    ),
    "patches": made_family(
        BITS._replace(shape=(1, 2, 2)),
        {**pixels(), "x": pixels()["x"].reshape(-1, 1, 2, 2)},
        0.0,
        net={"name": "patches", "patch": 1, "hidden": 8, "units": 8, "layers": 1, "heads": 2, "dropout": 0.05},
    ),
    "autoregressive_roll": sequence_family(
        autoregressive,
        "roll",
        np.eye(3)[cycles(3, 2)],
        0.1,
        outcomes_of(2, (3, 3), "float32"),
        net={"name": "lstm", "units": 8, "dropout": 0.05, "input_dropout": 0.05, "locked": False},
        head={"name": "visible"},
        **QUICK,
    ),
    "autoregressive_voices": sequence_family(
        autoregressive,
        "voices",
        np.stack([cycles(4, 2), (cycles(4, 2) + 1) % 4], -1),
        0.2,
        outcomes_of(4, (2, 2), "int32"),
        net={"name": "gru", "units": 8},
        head={"name": "chord", "hidden": 6},
        **QUICK,
    ),
    "vae": vae_family(
        VECTOR, vectors(), NARROW, conditional=True, kl=RISING, free_nats=0.05, num_samples=2, ema_half_life=100.0
    ),
    "vae_text_given": vae_family(DESCRIBED, described_images(), NARROW, conditional=True),
    "vae_dreg": vae_family(BITS, pixels(), NARROW, objective="dreg", num_samples=3),
    "vae_conv": vae_family(IMAGE, images(), CONV, conditional=True),
    "autoencoder": vae_family(VECTOR, vectors(), {**NARROW, "dropout": (0.0, 0.1)}, kl=0),
    "diffusion": diffusion_family(VECTOR, vectors(), net={**NOISE, "dropout": 0.05}),
    "diffusion_labels": diffusion_family(
        IMAGE,
        images(),
        conditional=True,
        drop=0.2,
        pairing="transport",
        prediction="u",
        mean_flow=0.25,
        net={"name": "transformer", "patch": 4, "units": 16, "layers": 1, "heads": 2, "dropout": 0.05},
    ),
    "diffusion_unet": diffusion_family(
        DESCRIBED,
        described_images(),
        conditional=True,
        observed=True,
        net={"name": "unet", "channels": 8, "multiples": (1, 2), "blocks": 1, "heads": 2, "groups": 4, "dropout": 0.05},
    )._replace(distance=partial(paired_distance, described_images())),
    "diffusion_video": diffusion_family(
        CLIP,
        shaped(images(), CLIP),
        conditional=True,
        observed=True,
        net={"name": "video", "patch": 4, "units": 16, "layers": 1, "heads": 2, "dropout": 0.05},
    ),
    "diffusion_given": diffusion_family(
        NEGATIVE,
        pairs(),
        conditional=True,
        net={"name": "transformer", "patch": 4, "units": 16, "layers": 1, "heads": 2},
        observed=True,
        prediction="x",
        target="u",
        times={"name": "logit_normal"},
    )._replace(distance=partial(paired_distance, pairs())),
    "diffusion_levels": diffusion_family(
        BITS, pixels(), net=NOISE, schedule={"name": "edm", "smallest": 0.001}, times={"name": "log_normal"}
    ),
    "diffusion_series": diffusion_family(RAMP, ramps(), net={**NOISE, "width": 64}),
    "diffusion_columns": columns_family(
        diffusion,
        False,
        {"optimizer": SGD},
        net={**NOISE, "width": 64},
        schedule={"name": "cosine"},
        observed=True,
        optimizer=FAST,
        ema_half_life=500.0,
    )._replace(steps=300),
    "masked_table": masked_family((2, 3, 2), SWITCH, {"name": "mlp", "width": 32, "blocks": 1, "dropout": 0.05}),
    "masked_image": Family(
        partial(
            masked,
            BITS._replace(classes=("a", "b", "c")),
            conditional=True,
            net={"name": "transformer", "units": 16, "layers": 1, "heads": 2},
            optimizer=FAST,
            ema_half_life=500.0,
        ),
        pixels(),
        {"optimizer": SGD},
        partial(mean_distance, pixels()),
    ),
    "masked_text": Family(
        partial(
            masked,
            TRANSLATED._replace(condition=None),
            net={"name": "mlp", "width": 32, "blocks": 1},
            optimizer=FAST,
            ema_half_life=500.0,
        ),
        ended_cycles(),
        {"optimizer": SGD},
        lambda model, state: float(-np.mean(model.log_prob_bound(KEY, state, ended_cycles(), 8)) - np.log(12)),
        150,
    ),
    "flow": Family(
        partial(flow, VECTOR, layers=3, bins=4, net={"name": "mlp", "width": 16, "blocks": 1}, optimizer=FAST),
        vectors(),
        {"optimizer": {**SGD, "learning_rate": 1e-4}},
        partial(mean_distance, vectors()),
    ),
    "flow_labels": Family(
        partial(
            flow,
            BITS._replace(classes=("a", "b", "c")),
            conditional=True,
            layers=2,
            bins=4,
            net={"name": "made", "hidden": (16,)},
            optimizer=FAST,
        ),
        pixels(),
        {"optimizer": {**SGD, "learning_rate": 1e-4}},
        partial(mean_distance, pixels()),
    ),
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
        BLACK_WHITE,
        bits(),
        {"name": "conv", "channels": (8,), "latent_channels": 1, "layers": (1, 1)},
        ema_half_life=100.0,
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
