"""Measures of models with latents: closed forms under made-up models, PCA as a model, what models and data cannot have."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec
from sklearn.decomposition import PCA

from gen_jax import evaluate, train
from gen_jax.data.spec import to_model
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.comparison import refuse_other_protocol
from gen_jax.metrics.features import real_data
from gen_jax.metrics.row_functions import batches
from gen_jax.model import Model
from gen_jax.verbs.score import make_scorer

SPLITS = ("train", "test")
LATENT = ("nelbo", "nll_bound", "bits_per_dim", "valid/nelbo", "active_units", "reconstruction", "probe_accuracy")
BYTES = {"dtype": "uint8", "shift": 127.5, "scale": 127.5, "low": 0.0, "high": 255.0}


def data_of(spec, **splits):
    """A spec with the sizes of the splits, and a reader of them."""
    sizes = {name: len(rows["x"]) for name, rows in splits.items()}
    reals = lambda split, num: {key: value[:num] for key, value in splits[split].items()} if split in splits else None
    return spec._replace(sizes=sizes, content="made up"), reals


def model_of(bound=None, encode=None, decode=None, prior=None):
    return Model(None, None, None, log_prob_bound=bound, encode=encode, decode=decode, prior=prior)


@pytest.fixture(scope="module")
def images():
    """Images of 8 bits in five classes; 1203 test rows are more than two batches."""
    random = np.random.default_rng(0)
    base = random.uniform(40, 215, (5, 6)) @ random.normal(size=(6, 32)) / 3 + 128

    def rows(num):
        y = random.integers(5, size=num)
        x = np.clip(base[y] + random.normal(0, 20, (num, 32)), 0, 255).astype(np.uint8)
        return {"x": x.reshape(num, 4, 4, 2), "y": y}

    spec = make_spec("image", (4, 4, 2))._replace(classes=tuple("abcde"), **BYTES)
    return data_of(spec, train=rows(2000), test=rows(1203), validation=rows(90))


def test_bounds_are_means_over_all_rows_in_nats_and_bits(images):
    spec, reals = images

    def bound(key, state, batch, num_samples=1):
        return -100 * batch["x"].mean((1, 2, 3)) + np.log(num_samples)

    score = make_scorer(real_data(spec, reals, SPLITS), LATENT[:4], num=10, seed=3, num_samples=7).score
    scores = score(model_of(bound), None)
    for name, split, num in (("nelbo", "test", 1), ("valid/nelbo", "validation", 1), ("nll_bound", "test", 7)):
        rows, entry = reals(split, None)["x"], scores[name]
        nats = -100 * (rows / 127.5 - 1).mean((1, 2, 3)) + np.log(num)
        assert entry["value"] == pytest.approx(-nats.mean(), rel=1e-5)
        error = nats.std() / np.sqrt(len(rows))
        assert entry["details"] == {"standard_error": pytest.approx(error, rel=1e-5), "rows": len(rows)}
        assert entry["oracle"] is None and entry["no_oracle"] == "model only"
        expected = {"num_samples": num, "split": split, "rows": len(rows), "seed": 3, "content": "made up"}
        assert expected.items() <= entry["protocol"].items() and "given" not in entry["protocol"]
    assert scores["nelbo"]["protocol"]["sign"] == "negative log-likelihood"
    rate = scores["bits_per_dim"]
    assert rate["value"] == pytest.approx(scores["nelbo"]["value"] / (4 * 4 * 2 * np.log(2)))
    assert "bits-back" in rate["protocol"]["rate"] and rate["protocol"]["split"] == "test"


@pytest.mark.parametrize("units", [1.0, 1000.0])
def test_a_density_is_one_of_the_datas_own_units(units):
    random = np.random.default_rng(0)
    deviation = np.array([0.5, 2.0, 7.0]) * units
    x = random.normal(3, deviation, (4000, 3)).astype(np.float32)
    scale = np.array([3.0, 5.0, 11.0]) * units
    spec = make_spec("vector", (3,))._replace(shift=[3.0] * 3, scale=scale.tolist())
    spec, reals = data_of(spec, train={"x": x[:10]}, test={"x": x})

    def bound(key, state, batch, num_samples):
        return jax.scipy.stats.norm.logpdf(batch["x"], 0, jnp.asarray(deviation / scale)[None]).sum(1)

    entropy = np.log(deviation * np.sqrt(2 * np.pi * np.e)).sum()
    scores = make_scorer(real_data(spec, reals, SPLITS), ["nelbo", "nll_bound"], num=10, seed=0).score(
        model_of(bound), None
    )
    error = 3 * scores["nelbo"]["details"]["standard_error"]
    assert scores["nelbo"]["value"] == pytest.approx(entropy, abs=error)
    assert scores["nll_bound"]["value"] == scores["nelbo"]["value"]
    with pytest.raises(
        UserError, match="'bits_per_dim'; expected images or vectors of whole numbers, and a test split"
    ):
        make_scorer(real_data(spec, reals, SPLITS), ["bits_per_dim"], num=10, seed=0)


def test_batches_have_one_size_and_keys_of_their_own(images):
    spec, reals = images
    parts = list(batches(spec, 0, reals("test", None)))
    assert [(len(part["x"]), num) for _, part, num in parts] == [(500, 500), (500, 500), (500, 203)]
    assert np.array_equal(np.concatenate([part["x"][:num] for _, part, num in parts]), reals("test", None)["x"])
    assert len({jax.random.key_data(key).tobytes() for key, _, _ in parts}) == 3
    large = make_spec("image", (256, 256, 3))
    assert [num for _, _, num in batches(large, 0, {"x": np.zeros((20, 256, 256, 3), np.uint8)})] == [16, 4]


def projection(spec, reals, latents):
    """PCA of the train rows as a model: of pixels in [0, 1], whose codes are maps [n, latents, 1]."""
    pca = PCA(latents, random_state=0).fit(reals("train", None)["x"].reshape(2000, -1) / np.float32(255))

    def encode(key, state, batch):
        return {"z": pca.transform((np.asarray(batch["x"]).reshape(-1, 32) + 1) / 2)[..., None]}

    def decode(key, state, latent):
        return {"x": pca.inverse_transform(np.asarray(latent["z"])[..., 0]).reshape(-1, *spec.shape) * 2 - 1}

    return pca, model_of(encode=encode, decode=decode)


def test_pca_as_a_model_scores_its_baseline(images):
    spec, reals = images
    pca, model = projection(spec, reals, 3)
    scores = make_scorer(real_data(spec, reals, SPLITS), LATENT[4:], num=10, seed=0).score(model, None)
    test = reals("test", None)["x"].reshape(-1, 32) / 255
    error = np.square(test - pca.inverse_transform(pca.transform(test))).mean()
    details = scores["reconstruction"]["details"]
    assert scores["reconstruction"]["value"] == pytest.approx(error, rel=1e-4)
    assert details["pca_reconstruction"] == pytest.approx(error, rel=1e-4) and details["latents"] == 3
    explained = 1 - error / np.square(test - pca.mean_).mean()
    assert details["explained_variance"] == pytest.approx(explained, abs=1e-4) and 0.5 < explained < 1
    assert details["pca_explained_variance"] == pytest.approx(explained, abs=1e-4)
    protocol = scores["reconstruction"]["protocol"]
    assert (protocol["split"], protocol["rows"], protocol["fitted_on"], protocol["fitted_rows"]) == (
        *("test", 1203),
        *("train", 2000),
    )
    assert "[0, 1]" in protocol["domain"]
    accuracy = scores["probe_accuracy"]
    assert accuracy["value"] == pytest.approx(accuracy["details"]["pca_probe_accuracy"], abs=0.002)
    assert accuracy["value"] > 0.8
    variance = pca.transform(test).var(0)
    assert scores["active_units"]["value"] == (variance > 0.01).sum() and scores["active_units"]["oracle"] is None


def test_a_perfect_copy_and_the_mean(images):
    spec, reals = images
    copy = model_of(encode=lambda k, s, b: {"z": b["x"]}, decode=lambda k, s, latent: {"x": latent["z"]})
    entry = make_scorer(real_data(spec, reals, SPLITS), ["reconstruction"], num=10, seed=0).score(copy, None)[
        "reconstruction"
    ]
    assert entry["value"] < 1e-12 and entry["details"]["explained_variance"] == pytest.approx(1)
    assert entry["details"]["latents"] == 32 and entry["details"]["pca_explained_variance"] == pytest.approx(1)
    mean = to_model(spec, reals("train", None)["x"]).mean(0)
    constant = copy._replace(decode=lambda k, s, latent: {"x": jnp.broadcast_to(mean, latent["z"].shape)})
    entry = make_scorer(real_data(spec, reals, SPLITS), ["reconstruction"], num=10, seed=0).score(constant, None)[
        "reconstruction"
    ]
    assert entry["details"]["explained_variance"] == pytest.approx(0, abs=1e-5)


def test_active_units_are_those_whose_means_differ(images):
    spec, reals = images
    deviation = np.array([0, 0.05, 0.099, 0.101, 1, 5], np.float32)

    def encode(key, state, batch):
        sign = np.where(np.arange(len(batch["x"])) % 2, 1.0, -1.0)  # batches of an even size: no mean
        return {"z": (7 + sign[:, None] * deviation).reshape(-1, 3, 2)}

    model = model_of(encode=encode, decode=lambda k, s, latent: {"x": jnp.zeros((len(latent["z"]), 4, 4, 2))})
    entry = make_scorer(real_data(spec, reals, SPLITS), ["active_units"], num=10, seed=0).score(model, None)[
        "active_units"
    ]
    assert entry["value"] == 3 and entry["details"] == {"latents": 6} and entry["protocol"]["variance_above"] == 0.01


def test_whole_codes_have_neither_active_units_nor_a_probe(images):
    spec, reals = images
    model = model_of(
        encode=lambda k, s, b: {"z": jnp.zeros((len(b["x"]), 2, 2), jnp.int32)},
        decode=lambda k, s, latent: {"x": jnp.zeros((len(latent["z"]), 4, 4, 2))},
    )
    model = model._replace(sample=lambda key, state, num, given, how: {"x": np.zeros((num, 4, 4, 2))})
    plain = spec._replace(classes=())  # no classifier is trained
    entries = make_scorer(real_data(plain, reals, SPLITS), ["all"], num=10, seed=0).score(model, None)
    assert {name for name in entries if name in LATENT} == {"reconstruction"} and "coverage" in entries
    assert entries["reconstruction"]["details"].keys() == {"explained_variance", "latents"}
    for name in ("active_units", "probe_accuracy"):
        with pytest.raises(UserError, match=f"metric '{name}' needs codes of real numbers, which this model does not"):
            make_scorer(real_data(spec, reals, SPLITS), [name], num=10, seed=0).score(model, None)


def test_bounds_of_a_conditional_model_say_so(images):
    spec, reals = images
    model = model_of(
        lambda key, state, batch, num_samples: jnp.zeros(len(batch["x"])),
        lambda key, state, batch: {"z": jnp.ones((len(batch["x"]), 2)), "y": batch["y"]},
        lambda key, state, latent: {"x": jnp.zeros((len(latent["y"]), 4, 4, 2))},
        lambda key, state, num: {"z": jnp.zeros((num, 2)), "y": jnp.zeros(num, jnp.int32)},
    )
    names = [name for name in LATENT if name != "probe_accuracy"]
    score = make_scorer(real_data(spec, reals, SPLITS), names, num=10, seed=0).score
    scores = score(model, None)
    assert all(each["protocol"]["given"] == "y" for each in scores.values()) and len(scores) == 6
    others = score(model._replace(prior=lambda key, state, num: {"z": jnp.zeros((num, 2))}), None)
    with pytest.raises(UserError, match="given of nelbo is 'y'; expected None"):
        refuse_other_protocol(scores, others, "runs/other")
    with pytest.raises(UserError, match="'probe_accuracy' needs codes that are made without the label, which this"):
        make_scorer(real_data(spec, reals, SPLITS), ["probe_accuracy"], num=10, seed=0).score(model, None)


def test_what_models_and_data_cannot_have(images):
    spec, reals = images
    for name in LATENT:
        what = "a bound of the log-likelihood" if name in LATENT[:4] else "an encoder and a decoder"
        with pytest.raises(UserError, match=f"metric '{name}' needs {what}, which this model does not have"):
            make_scorer(real_data(spec, reals, SPLITS), [name], num=10, seed=0).score(model_of(), None)
    plain = spec._replace(classes=())
    assert make_scorer(real_data(plain, reals, SPLITS), [], num=10, seed=0).score(model_of(), None) == {}
    with pytest.raises(
        UserError, match="'probe_accuracy'; expected .* labels of two classes or more, and a test split"
    ):
        make_scorer(real_data(plain, reals, SPLITS), ["probe_accuracy"], num=10, seed=0)
    with pytest.raises(UserError, match="'nelbo'; expected images, vectors, texts or a table, and a test split"):
        make_scorer(real_data(spec._replace(sizes={"train": 2000}), reals, SPLITS), ["nelbo"], num=10, seed=0)
    with pytest.raises(
        UserError, match="'valid/nelbo'; expected images, vectors, texts or a table, and a validation split"
    ):
        make_scorer(
            real_data(spec._replace(sizes={"train": 1, "test": 1}), reals, SPLITS), ["valid/nelbo"], num=10, seed=0
        )
    assert catalogue.signs()["valid/nelbo"] == -1 and set(LATENT) & set(catalogue.defaults()) == {"valid/nelbo"}


CONFIG = """
from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps, config.batch_size, config.save_every, config.sample_every = 300, 64, 300, 0
    config.sample.num_samples = 5
    net = {"name": "mlp", "hidden": (32,)}
    config.model = {"name": "vae", "encoder": net, "decoder": net, "latent_size": 4}
    return config
"""


@pytest.mark.study
def test_a_real_run_is_scored_by_its_command(tmp_path, one_device, capsys):
    (tmp_path / "vae.py").write_text(CONFIG)
    workdir = str(tmp_path / "run")
    train.main(["train", "--config", str(tmp_path / "vae.py"), "--workdir", workdir, "--quiet"])
    names = "nelbo,nll_bound,bits_per_dim,active_units,reconstruction,probe_accuracy"

    def scores(*flags):
        evaluate.main(["evaluate", "--workdir", workdir, *flags])
        return json.loads((tmp_path / "run" / "evaluation.json").read_text())["metrics"]

    found = scores("--metrics", names)
    assert list(found) == names.split(",") and "active_units" in capsys.readouterr().out
    assert found["nll_bound"]["protocol"]["num_samples"] == 5
    assert found["nelbo"]["value"] > found["nll_bound"]["value"] > 0
    assert 0.2 < found["probe_accuracy"]["value"] <= 1 and 0 <= found["active_units"]["value"] <= 4
    assert found["reconstruction"]["details"]["explained_variance"] > 0
    more = scores("--metrics=nll_bound", "--num_samples=50")["nll_bound"]
    assert more["protocol"]["num_samples"] == 50 and more["value"] < found["nll_bound"]["value"]
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    del settings["sample"]["num_samples"]  # as runs of earlier versions have it
    (tmp_path / "run" / "config.json").write_text(json.dumps(settings))
    assert scores("--metrics=nll_bound")["nll_bound"]["protocol"]["num_samples"] == 100
    with pytest.raises(UserError, match="--num_samples is 0; expected a whole number, at least 1"):
        scores("--num_samples=0")
