"""Completing hidden pixels by a trained run: what is seen comes back to the bit, completions differ, masks are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec
from PIL import Image

import gen_jax
from gen_jax import inpaint, train
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.verbs import complete
from gen_jax.verbs.latent_search import with_latent_search

CONFIG = """
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({"steps": 10, "batch_size": 16, "log_every": 0, "sample_every": 0, "eval_every": 0, "save_every": 10})
    net = {"name": "mlp", "hidden": (16,)}
    config.model = MODEL
    return config
"""
RUNS = {
    "vae": '{"name": "vae", "encoder": net, "decoder": net, "latent_size": 3, "sweeps": 4, "conditional": True,'
    ' "likelihood": {"name": "gaussian"}}',
    "gan": '{"name": "gan", "generator": net, "discriminator": net, "latent_size": 3}',
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Tiny runs on digits: family -> directory."""
    folder, first = tmp_path_factory.mktemp("runs"), placement.make_mesh(jax.devices()[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "make_mesh", lambda devices=None: first)
        for name, model in RUNS.items():
            (folder / f"{name}.py").write_text(CONFIG.replace("MODEL", model))
            argv = ["train", "--config", str(folder / f"{name}.py"), "--workdir", str(folder / name), "--quiet"]
            train.main(argv)
    return {name: folder / name for name in RUNS}


def call(workdir, out, *flags):
    inpaint.main(["inpaint", "--workdir", str(workdir), "--out", str(out), *flags])
    return dict(np.load(out.with_suffix(".npz")))


@pytest.mark.study
@pytest.mark.parametrize("family", RUNS)
def test_what_is_seen_comes_back_and_completions_differ(family, runs, tmp_path):
    flags = ("--mask=lower", "--num=3", "--completions=2")
    found = call(runs[family], tmp_path / "a.png", *flags)
    x, mask, completions = found["x"], found["mask"], found["completions"]
    assert x.shape == mask.shape == (3, 8, 8, 1) and completions.shape == (3, 2, 8, 8, 1)
    assert x.dtype == completions.dtype == np.uint8 and mask[:, :4].all() and not mask[:, 4:].any()
    np.testing.assert_array_equal(completions[:, :, :4], np.stack([x[:, :4]] * 2, 1))
    assert all(not np.array_equal(*each) for each in completions[:, :, 4:])
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (3 * 57, 4 * 57)
    again = call(runs[family], tmp_path / "b.npz", *flags)
    other = call(runs[family], tmp_path / "b.npz", *flags, "--seed=1")
    np.testing.assert_array_equal(again["completions"], completions)
    assert not np.array_equal(other["completions"], completions) and not (tmp_path / "b.png").exists()
    fewer = call(runs[family], tmp_path / "c.npz", "--mask=lower", "--num=2", "--completions=2")
    np.testing.assert_array_equal(fewer["completions"], completions[:2])  # what a row gets depends on its place alone


@pytest.mark.study
def test_a_model_itself_keeps_what_it_is_given(runs):
    """What the command pastes is what `sample` has given back: the model honours the mask, not only the command."""
    for workdir in runs.values():
        loaded = gen_jax.load(workdir)
        model, random = complete.completing(loaded.model, loaded.spec), np.random.default_rng(0)
        assert (model is loaded.model) == ("mask" in loaded.model.given) and {"x", "mask"} <= set(model.given)
        x, mask = random.uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32), random.random((4, 8, 8, 1)) < 0.5
        labels = {"y": np.arange(4, dtype=np.int32)} if "y" in model.given else {}
        got = model.sample(jax.random.key(0), loaded.state, 4, {"x": x, "mask": mask, **labels})
        np.testing.assert_array_equal(np.asarray(got["x"])[mask], x[mask])


LINE = make_spec("vector", (3,))._replace(classes=("a", "b", "c"))


def line(conditional: bool = False) -> Model:
    """x = (z, 2 z, y): what is seen of the first tells the second."""

    def prior(key, state, num):
        labels = {"y": jnp.zeros(num, jnp.int32)} if conditional else {}
        return {"z": jax.random.normal(key, (num, 1)), **labels}

    def decode(key, state, latent):
        y = latent["y"][:, None].astype(jnp.float32) if conditional else jnp.zeros_like(latent["z"])
        labels = {"y": latent["y"]} if conditional else {}
        return {"x": jnp.concatenate([latent["z"], 2 * latent["z"], y], 1), **labels}

    def sample(key, state, num, given=None, how=None):
        return decode(key, state, {**prior(key, state, num), **(given or {})})

    return Model(None, None, sample, prior=prior, decode=decode, given=("y",) * conditional)


@pytest.mark.study
def test_the_search_draws_the_posterior_of_a_linear_model():
    model, num = with_latent_search(line(True), LINE, noise=0.5), 2000
    x, mask = np.tile(np.array([[0.8, 0, 0]], np.float32), (num, 1)), np.tile([[1, 0, 0]], (num, 1))
    got = model.sample(jax.random.key(0), None, num, {"x": x, "mask": mask, "y": np.arange(num, dtype=np.int32) % 3})
    assert np.all(np.asarray(got["x"])[:, 0] == x[:, 0]) and got["x"][:4, 2].tolist() == [0, 1, 2, 0]
    s2 = 0.25 * 5 / 3  # the mean variance of (z, 2 z, 0)
    z = np.asarray(got["x"])[:, 1] / 2
    assert z.mean() == pytest.approx(0.8 / (1 + s2), abs=0.05)
    assert z.var() == pytest.approx(s2 / (1 + s2), rel=0.15)
    plain = model.sample(jax.random.key(3), None, 2)["x"]
    np.testing.assert_array_equal(plain, line(True).sample(jax.random.key(3), None, 2)["x"])


def test_what_cannot_be_searched():
    good = {"x": np.zeros((2, 3), np.float32), "mask": np.ones((2, 3))}
    model = with_latent_search(line(), LINE)
    for given, message in {
        "y": "cannot be conditioned on 'y'; expected x, mask",
        "mask": "given mask is missing; expected x and mask",
        "x": "given x is missing; expected x and mask",
    }.items():
        asked = {**good, "y": np.zeros(2, np.int32)} if given == "y" else {k: v for k, v in good.items() if k != given}
        with pytest.raises(UserError, match=message):
            model.sample(jax.random.key(0), None, 2, asked)
    with pytest.raises(UserError, match=r"shape of given x is \(2, 2\); expected \(2, 3\)"):
        model.sample(jax.random.key(0), None, 2, {"x": np.zeros((2, 2), np.float32), "mask": np.ones((2, 2))})
    labelled = with_latent_search(line(True)._replace(sample=None), LINE)  # labels are checked without a draw
    for y, message in (
        ([0, 3], "given y is 3; expected a class from 0 to 2"),
        ([0.0, 1.0], "expected 2 whole numbers"),
    ):
        with pytest.raises(UserError, match=message):
            labelled.sample(jax.random.key(0), None, 2, {**good, "y": np.array(y)})
    with pytest.raises(UserError, match="no prior and decode"):
        with_latent_search(line()._replace(decode=None), LINE)


def test_masks(tmp_path):
    spec = make_spec("image", (8, 6, 3))
    for name, hidden in {"centre": 4 * 4, "lower": 24, "upper": 24, "left": 24, "right": 24, "random:0.25": 12}.items():
        mask = complete.parse_mask(name, 5, 0, spec)
        assert mask.shape == (5, 8, 6, 3) and ((~mask).sum((1, 2)) == hidden).all(), name
    drawn = complete.parse_mask("random:0.5", 5, 1, spec)
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[:2], complete.parse_mask("random:0.5", 2, 1, spec))
    hole = np.ones((8, 6), np.uint8)
    hole[2:4] = 0
    for shape in ((8, 6), (8, 6, 3), (5, 8, 6, 3)):
        full = hole.reshape(8, 6, *(1,) * (len(shape) > 2)) * np.ones(shape, np.uint8)
        np.save(tmp_path / "hole.npy", full)
        mask = complete.parse_mask(str(tmp_path / "hole.npy"), 5, 0, spec)
        np.testing.assert_array_equal(mask, np.broadcast_to(hole[None, ..., None] > 0, (5, 8, 6, 3)))
    assert complete.parse_mask("random:0.5", 4, 0, make_spec("vector", (6,))).sum(1).tolist() == [3] * 4
    with pytest.raises(UserError, match="holds vector data; expected random:0.5"):
        complete.parse_mask("lower", 4, 0, make_spec("vector", (6,)))


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--mask is missing; expected centre, lower"),
        (["--mask=lowr"], "unknown --mask 'lowr'; expected centre.*random:0.5.*Did you mean 'lower'"),
        (["--mask=random:50"], "--mask is random:50; expected a share that is hidden, above 0 and at most 1"),
        (["--mask=random:half"], "--mask is random:half; expected a share"),
        (["--mask=no.npy"], "--mask no.npy is not readable"),
        (["--mask=wide.npy"], r"wide.npy is \(8, 9\); expected \(8, 8\) or \(8, 8, 1\) or \(8, 8, 8, 1\)"),
        (["--mask=twos.npy"], "expected 1 for what is seen and 0 for what is hidden"),
        (["--mask=ones.npy"], "hides nothing"),
        (["--mask=lower", "--num=0"], "--num is 0; expected 1 to"),
        (["--mask=lower", "--num=400"], "split 'test' of .* has 359 rows; expected at least 400"),
        (["--mask=lower", "--completions=0"], "--completions is 0; expected 1 to"),
        (["--mask=lower", "--data=bare.npy"], "labels of these rows are missing"),
        (["--mask=lower", "--out=x.jpg"], "unknown file type of --out '.jpg'"),
    ],
)
def test_wrong_repairs(runs, flags, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, x in {"wide": np.zeros((8, 9)), "twos": np.full((8, 8), 2), "ones": np.ones((8, 8))}.items():
        np.save(f"{name}.npy", x)
    np.save("bare.npy", np.zeros((8, 8, 8), np.uint8))
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        inpaint.main(["inpaint", "--workdir", str(runs["vae"]), "--out=x.png", *flags])
    assert set(tmp_path.iterdir()) == before
