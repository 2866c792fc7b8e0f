"""Codes of data by a trained run, and the paths of gen_jax.interpolate that need them."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec
from PIL import Image, ImageSequence

import gen_jax
from gen_jax import data, encode, interpolate, train
from gen_jax.data.spec import to_model
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.storage import loading
from gen_jax.verbs import paths
from gen_jax.verbs.encode import encode as codes_of
from gen_jax.verbs.encode import plot

CONFIG = """
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({"steps": 20, "batch_size": 32, "log_every": 0, "sample_every": 0, "eval_every": 0, "save_every": 20})
    net = {"name": "mlp", "hidden": (16,)}
    config.model = {"name": "vae", "encoder": net, "decoder": net, "latent_size": 3, "conditional": False,
                    "likelihood": {"name": "gaussian"}}
    return config
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function that gives a tiny autoencoder of digits, trained once for each set of flags."""
    folder, done = tmp_path_factory.mktemp("runs"), {}
    (folder / "tiny.py").write_text(CONFIG)
    first = placement.make_mesh(jax.devices()[:1])

    def trained(*flags):
        if flags not in done:
            done[flags] = folder / str(len(done))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(placement, "make_mesh", lambda devices=None: first)
                argv = ["train", "--config", str(folder / "tiny.py"), "--workdir", str(done[flags]), "--quiet", *flags]
                train.main(argv)
        return done[flags]

    return trained


LABELS = "--config.model.conditional=True"
BINARY = ("--config.data.transform=dynamic_binary", "--config.model.likelihood.name=bernoulli")


def digits(split, num=None):
    options = {"name": "digits", "split": "train", "test_split": "test"}
    return data.reader(data.open_source(options), options, True)(split, num)


def call(workdir, *flags):
    encode.main(["encode", "--workdir", str(workdir), *flags])


@pytest.mark.study
def test_codes_are_the_means_of_the_posterior(trained, tmp_path, capsys):
    workdir = trained()
    capsys.readouterr()
    call(workdir, f"--out={tmp_path / 'c.npz'}", f"--plot={tmp_path / 'c.png'}")
    assert "posterior means z [359, 3] of step 20" in capsys.readouterr().out
    codes, rows, loaded = np.load(tmp_path / "c.npz"), digits("test"), gen_jax.load(workdir)
    assert set(codes) == {"z", "scale", "y"}
    np.testing.assert_array_equal(codes["y"], rows["y"])
    want = loaded.model.encode(jax.random.key(5), loaded.state, {"x": to_model(loaded.spec, rows["x"])})
    for name in ("z", "scale"):  # of chunks of another size: to rounding
        np.testing.assert_allclose(codes[name], want[name], rtol=1e-5, atol=1e-6)
    assert codes["z"].dtype == np.float32 and codes["scale"].min() > 0
    shown = np.asarray(Image.open(tmp_path / "c.png").convert("RGB"))
    assert shown.shape == (600, 700, 3) and len(np.unique(shown.reshape(-1, 3), axis=0)) > 10
    call(
        workdir,
        f"--out={tmp_path / 'few.npz'}",
        "--num=7",
        "--split=train",
        f"--plot={tmp_path / 'c.png'}",
        "--by=tsne",
    )
    assert len(np.load(tmp_path / "few.npz")["z"]) == 7


@pytest.mark.study
def test_a_file_of_ones_own(trained, tmp_path):
    rows = digits("test", 20)
    np.savez(tmp_path / "own.npz", **rows)
    np.save(tmp_path / "bare.npy", rows["x"])
    for workdir in (trained(), trained(LABELS)):
        call(workdir, f"--out={tmp_path / 'a.npz'}", "--num=20")
        call(workdir, f"--out={tmp_path / 'b.npz'}", f"--data={tmp_path / 'own.npz'}")
        a, b = (np.load(tmp_path / f"{name}.npz") for name in "ab")
        for name in ("z", "scale", "y"):
            np.testing.assert_array_equal(a[name], b[name])
    call(trained(), f"--out={tmp_path / 'c.npz'}", f"--data={tmp_path / 'bare.npy'}")
    np.testing.assert_array_equal(np.load(tmp_path / "c.npz")["z"], gen_means(trained, rows))
    with pytest.raises(UserError, match="labels of these rows are missing; .* Give a .npz"):
        call(trained(LABELS), f"--out={tmp_path / 'd.npz'}", f"--data={tmp_path / 'bare.npy'}")
    assert not (tmp_path / "d.npz").exists()


def gen_means(trained, rows):
    loaded = gen_jax.load(trained())
    return codes_of(loaded.model, loaded.state, loaded.spec, rows)["z"]


def test_black_and_white_runs_take_greys_and_bits(trained, tmp_path):
    workdir = trained(*BINARY)
    call(workdir, f"--out={tmp_path / 'a.npz'}", "--num=30")
    options = gen_jax.load(workdir).config["data"]
    bits = data.reader(data.open_source(options), options, True)("test", 30)["x"]
    assert set(np.unique(bits)) == {0, 1}
    for name, x in {"bits": bits, "bools": bits > 0, "greys": bits * np.uint8(255)}.items():
        np.save(tmp_path / f"{name}.npy", x)
        call(workdir, f"--out={tmp_path / 'b.npz'}", f"--data={tmp_path / name}.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["z"], np.load(tmp_path / "b.npz")["z"], name)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_plots_of_any_codes(size):
    random, spec = np.random.default_rng(0), make_spec("image", (8, 8, 1))
    codes = {"z": random.normal(size=(60, size, 1)).astype(np.float32), "y": np.arange(60) % 3}
    labelled = plot(codes, spec._replace(classes=("ant", "bee", "cat")), "pca")
    assert labelled == plot(codes, spec._replace(classes=("ant", "bee", "cat")), "pca")
    bare = plot({"z": codes["z"]}, spec, "pca")
    assert bare != labelled and Image.open(io.BytesIO(bare)).size == (700, 600)
    assert plot({**codes, "y": np.arange(60)}, spec, "pca") != labelled  # more classes than a legend holds


def test_what_has_no_codes_or_no_plot():
    model, spec, rows = Model(None, None, None), make_spec("vector", (2,)), {"x": np.zeros((5, 2), np.float32)}
    with pytest.raises(UserError, match="this model has no encode; expected an autoencoder"):
        codes_of(model, None, spec, rows)
    whole = model._replace(encode=lambda key, state, batch: {"z": jnp.zeros((len(batch["x"]), 4, 4), jnp.int32)})
    codes = codes_of(whole, None, spec, rows)
    assert codes["z"].shape == (5, 4, 4)
    with pytest.raises(UserError, match="codes of this model are int32; .* Leave --plot out"):
        plot(codes, spec, "pca")
    with pytest.raises(UserError, match="number of codes is 3; expected at least 4"):
        plot({"z": np.zeros((3, 2), np.float32)}, spec, "pca")


OWN = {
    "wide": np.zeros((4, 8, 9), np.uint8),
    "floats": np.zeros((4, 8, 8), np.float32),
    "bright": np.full((4, 8, 8), 17, np.uint8),
    "vectors": np.zeros((4, 64), np.uint8),
}


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--out is missing; .* --out codes.npz"),
        (["--out=x.png"], "unknown file type of --out '.png'.*expected .npz"),
        (["--out=x.npz", "--plot=x.jpg"], "unknown file type of --plot '.jpg'.*expected .png"),
        (["--out=x.npz", "--by=pac"], "unknown way to draw --by 'pac'; expected .*Did you mean 'pca'"),
        (["--out=x.npz", "--num=0"], "--num is 0; expected a whole number, at least 1"),
        (["--out=x.npz", "--num=5000"], "split 'test' of .* has 359 rows; expected at least 5000"),
        (["--out=x.npz", "--split=tets"], "unknown split of digits/.* 'tets'; expected .*Did you mean 'test'"),
        (["--out=x.npz", "--data=no.npy"], "--data no.npy does not exist"),
        (
            ["--out=x.npz", "--data=wide.npy"],
            r"of kind image and shape \(8, 9, 1\); expected kind image and shape \(8, 8",
        ),
        (["--out=x.npz", "--data=vectors.npy"], r"of kind vector and shape \(64,\); expected kind image"),
        (["--out=x.npz", "--data=floats.npy"], "are float32; expected uint8"),
        (["--out=x.npz", "--data=bright.npy"], "row 0 of .* holds 17; expected 0 to 16"),
        (["--out=x.npz", "--num=3", "--plot=x.png"], "number of codes is 3"),
        (["--out=/proc/x.npz"], "cannot write /proc/x.npz"),
    ],
)
def test_wrong_encodings(trained, flags, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, x in OWN.items():
        np.save(f"{name}.npy", x)
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        call(trained(), *flags)
    assert set(tmp_path.iterdir()) == before  # nothing is half written


def walk(workdir, out, *flags):
    interpolate.main(["interpolate", "--workdir", str(workdir), "--out", str(out), *flags])
    return out.read_bytes()


@pytest.mark.study
def test_traversals(trained, tmp_path, capsys):
    loaded = gen_jax.load(trained())
    order, which = paths.by_activity(loaded)
    z = codes_of(loaded.model, loaded.state, loaded.spec, digits("test"))["z"]
    assert sorted(order) == [0, 1, 2] and np.all(np.diff(z.var(0)[order]) <= 0) and "most active" in which
    seen = []
    decode = loaded.model.decode
    spy = loaded.model._replace(
        decode=lambda key, state, latent: seen.append(latent["z"]) or decode(key, state, latent)
    )
    x = paths.traversals(loaded._replace(model=spy), order, 8, 5, 4)
    assert x.shape == (3, 5, 8, 8, 1)
    walked, start = seen[0][:15].reshape(3, 5, 3), paths.draws(loaded.model, loaded.state, 4, 1)["z"][0]
    for row, each in zip(walked, order):
        np.testing.assert_allclose(row[:, each], np.linspace(-3, 3, 5), atol=0.15)
        held = np.delete(np.arange(3), each)
        np.testing.assert_array_equal(row[:, held], np.tile(start[None, held], (5, 1)))
    capsys.readouterr()
    strip = np.asarray(Image.open(io.BytesIO(walk(trained(), tmp_path / "t.png", "--traverse", "--steps=5"))))
    assert strip.shape == (3 * 57, 5 * 57)
    assert f"3 traversals of the most active latents ({', '.join(map(str, order))})" in capsys.readouterr().out
    frames = Image.open(io.BytesIO(walk(trained(), tmp_path / "t.gif", "--traverse", "--steps=5")))
    assert len(list(ImageSequence.Iterator(frames))) == 8  # there and back
    spy = loaded._replace(model=loaded.model._replace(encode=None))
    assert paths.by_activity(spy)[0].tolist() == [0, 1, 2]


@pytest.mark.study
def test_a_run_walks_and_draws_as_the_commands_do(trained, tmp_path):
    run, x = gen_jax.load(trained()), digits("test", 4)["x"]
    for drawn, flags in (
        (run.interpolate(2, steps=5, seed=3), ("--num=2", "--seed=3")),
        (run.interpolate(2, steps=5, x=x[..., 0], latents="linear"), ("--num=2", "--between", "--latents=linear")),
        (run.traverse(3, steps=5), ("--num=3", "--traverse")),
    ):
        command = np.asarray(Image.open(io.BytesIO(walk(trained(), tmp_path / "a.png", "--steps=5", *flags))))
        np.testing.assert_array_equal(np.asarray(run.strip(drawn)), command)
    codes = run.encode(x)
    np.testing.assert_array_equal(run.decode(codes)["x"], run.decode(codes["z"])["x"])
    assert run.decode(codes)["x"].shape == x.shape and run.picture(x).size == (2 * 57, 2 * 57)
    with pytest.raises(UserError, match="number of rows is 4; expected 6, 2 for each of 3 paths"):
        run.interpolate(3, x=x)


def test_a_traversal_stays_where_the_prior_reaches():
    uniform = Model(
        None,
        None,
        None,
        prior=lambda key, state, num: {"z": jax.random.uniform(key, (num, 2), minval=-1.0)},
        decode=lambda key, state, latent: {"x": latent["z"]},
    )
    loaded = loading.Loaded(uniform, None, make_spec("vector", (2,)), {}, 0, Path())
    x = paths.traversals(loaded, np.arange(2), 2, 7, 0)
    assert np.abs(x).max() <= 1 and x[0, 0, 0] < -0.99 and x[0, -1, 0] > 0.99


@pytest.mark.study
def test_paths_between_codes_of_real_rows(trained, tmp_path):
    for workdir in (trained(), trained(LABELS)):
        loaded, rows = gen_jax.load(workdir), digits("test", 4)
        x = paths.paths(loaded, 2, 5, 0, paths.linear, False, rows)
        z = codes_of(loaded.model, loaded.state, loaded.spec, rows)
        ends = {name: z[name] for name in paths.draws(loaded.model, loaded.state, 0, 1)}
        held = {**ends, **({"y": np.repeat(rows["y"][::2], 2)} if "y" in ends else {})}
        want = paths.decode(loaded.model, loaded.state, loaded.spec, held)
        np.testing.assert_array_equal(x[:, [0, -1]].reshape(want.shape), want)
    np.save(tmp_path / "two.npy", rows["x"][:2])
    flags = ("--between", "--num=1", "--steps=5", f"--data={tmp_path / 'two.npy'}")
    strip = np.asarray(Image.open(io.BytesIO(walk(trained(), tmp_path / "b.png", *flags))))
    assert strip.shape == (57, 5 * 57)
    for wrong, message in {
        ("--between", "--num=2"): "split 'train' of two has 2 rows; expected at least 4",
        ("--between", "--traverse"): "are both given",
        (): "--between is missing; .* --split or --data",
    }.items():
        with pytest.raises(UserError, match=message):
            walk(trained(), tmp_path / "x.png", *wrong, f"--data={tmp_path / 'two.npy'}")
