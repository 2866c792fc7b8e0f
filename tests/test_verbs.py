"""The commands that use a trained run: paths through its latent space, and its curve as weights are removed."""

import io
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from PIL import Image, ImageSequence

import gen_jax
from gen_jax import evaluate, interpolate, prune, train
from gen_jax.data.kinds.pictures import animate, picture, strip
from gen_jax.data.spec import columns
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.storage import loading
from gen_jax.verbs import paths
from gen_jax.verbs.draw import CHUNK
from gen_jax.verbs.prune import prune as zeroed
from gen_jax.verbs.prune import share_of_zeros

CONFIG = """
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({"steps": 20, "batch_size": 16, "log_every": 0, "sample_every": 0, "eval_every": 0, "save_every": 10})
    config.evaluate.num = 300
    net = {"name": "mlp", "hidden": (16,)}
    config.model = {"name": "gan", "generator": net, "discriminator": net, "loss": "minimax", "penalty": "none",
                    "latent_size": 4}
    return config
"""
TILE = 57  # pixels of a digit and its border


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run on digits."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.py").write_text(CONFIG)
    first = placement.make_mesh(jax.devices()[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "make_mesh", lambda devices=None: first)
        train.main(["train", "--config", str(folder / "tiny.py"), "--workdir", str(folder / "digits"), "--quiet"])
    return folder / "digits"


@pytest.fixture
def call(trained, tmp_path):
    """Runs a verb on the tiny run and returns the bytes it wrote."""

    def call(verb, out, *flags):
        verb.main(["verb", "--workdir", str(trained), "--out", str(tmp_path / out), *flags])
        return (tmp_path / out).read_bytes()

    return call


def frames(content: bytes) -> list[np.ndarray]:
    """The pictures of a GIF as grey values."""
    stills = ImageSequence.Iterator(Image.open(io.BytesIO(content)))
    return [np.asarray(each.convert("L")) for each in stills]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_strip_has_one_path_a_row(call):
    first = call(interpolate, "a.png", "--num=3", "--steps=5")
    assert pixels(first).shape == (3 * TILE, 5 * TILE)
    assert first == call(interpolate, "b.png", "--num=3", "--steps=5")
    for change in ("--seed=1", "--step=10", "--latents=linear"):
        assert first != call(interpolate, "c.png", "--num=3", "--steps=5", change), change
    one = call(interpolate, "d.png", "--num=1", "--steps=5")
    np.testing.assert_array_equal(pixels(one), pixels(first)[:TILE])  # path i depends on (seed, i) alone


def test_a_path_goes_from_draw_to_draw_of_the_prior(trained, call):
    loaded = gen_jax.load(trained)
    x = paths.paths(loaded, 3, 5, 7, paths.spherical, closed=False)
    assert x.shape == (3, 5, 8, 8, 1) and x.dtype == np.dtype(loaded.spec.dtype)
    z = paths.draws(loaded.model, loaded.state, 7, 12)["z"].reshape(3, 4, -1)
    for place, corner in ((0, 0), (-1, 1)):
        decoded = loaded.model.decode(jax.random.key(0), loaded.state, {"z": jnp.asarray(z[:, corner])})["x"]
        raw = np.asarray(decoded, np.float64) * loaded.spec.scale + loaded.spec.shift
        np.testing.assert_allclose(x[:, place], np.clip(raw, 0, 16), atol=0.51)  # pixels are whole numbers, 0 to 16
        assert len({image.tobytes() for image in x[:, place]}) == 3
    shown = pixels(call(interpolate, "a.png", "--num=3", "--steps=5", "--seed=7"))
    np.testing.assert_array_equal(shown, pixels(strip(x, loaded.spec)))


def test_an_animation_is_a_closed_loop(trained, call):
    first = call(interpolate, "a.gif", "--num=3", "--steps=5")
    assert first == call(interpolate, "b.gif", "--num=3", "--steps=5")
    image, shown = Image.open(io.BytesIO(first)), frames(first)
    assert image.info["loop"] == 0 and image.info["duration"] == 60
    assert len(shown) == 4 * (5 - 1) and shown[0].shape == (2 * TILE, 2 * TILE)
    strip = pixels(call(interpolate, "c.png", "--num=3", "--steps=5"))
    for time in range(5):  # the first leg of the loop is the strip
        np.testing.assert_array_equal(shown[time][:TILE, :TILE], strip[:TILE, time * TILE :][:, :TILE])
    steps = [np.abs(a.astype(int) - b).mean() for a, b in zip(shown, [*shown[1:], shown[0]])]
    assert 0 < min(steps) and steps[-1] < 2 * np.max(steps[:-1])  # the end leads back to the beginning


@pytest.mark.filterwarnings("error")
def test_names_in_letters_that_the_font_lacks_are_drawn_without_a_warning():
    spec = table_spec(2, None)
    facts = [{**column, "name": f"名前{at}"} for at, column in enumerate(columns(spec))]
    spec = spec._replace(info={"columns": facts, "marginals": [[0.5, 0.5], [0.05] * 20]})
    assert picture({"x": np.zeros((3, 2))}, spec)[:4] == b"\x89PNG"


def test_pictures_of_other_shapes():
    colours = np.random.default_rng(0).uniform(-1, 1, (6, 4, 16, 16, 3)).astype(np.float32)
    assert pixels(strip(colours[:2], make_spec("image", (16, 16, 3)))).shape == (2 * 65, 4 * 65, 3)
    assert len(frames(animate(colours, make_spec("image", (16, 16, 3))))) == 6
    numbers, spec = np.linspace(-1, 1, 24).reshape(4, 6, 1), make_spec("vector", (1,))
    assert pixels(strip(numbers, spec)).shape == (500, 500, 3) and len(frames(animate(numbers, spec))) == 4
    for draw in (strip, animate, lambda x, spec: picture({"x": x}, spec)):
        with pytest.raises(UserError, match="unknown kind of data to draw 'text'; expected one of image,.* vector"):
            draw(numbers, make_spec("text", (1,)))


VECTORS = np.random.default_rng(0).normal(size=(2, 50, 6))


def test_great_circles():
    a, b = VECTORS
    path = paths.spherical(a, b, 9)
    assert path.shape == (50, 9, 6)
    np.testing.assert_array_equal(path[:, [0, -1]], np.stack([a, b], 1))
    lengths = np.linalg.norm(path, axis=-1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[:, 0], lengths[:, -1], 9, axis=1))
    unit = path / lengths[..., None]
    angles = np.arccos(np.sum(unit[:, 1:] * unit[:, :-1], -1))
    whole = np.arccos(np.sum(unit[:, 0] * unit[:, -1], -1))
    np.testing.assert_allclose(angles, np.broadcast_to(whole[:, None] / 8, angles.shape), rtol=1e-6)
    middle = paths.spherical(a, b, 3)[:, 1] / np.linalg.norm(a, axis=1, keepdims=True)
    mean = a / np.linalg.norm(a, axis=1, keepdims=True) + b / np.linalg.norm(b, axis=1, keepdims=True)
    assert np.all(np.sum(middle * mean, 1) > 0)  # the short way round
    np.testing.assert_allclose(paths.spherical(b, a, 9), path[:, ::-1], atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_great_circles_between_special_ends(size):
    a = VECTORS[0, :, :size].astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(paths.spherical(a, a, 5), np.repeat(a[:, None], 5, 1), atol=1e-12)
    doubled = paths.spherical(a, 2 * a, 5)
    np.testing.assert_allclose(doubled, a[:, None] * np.linspace(1, 2, 5)[:, None], rtol=1e-9)
    for end in (-a, -3 * a, 0 * a, -a * (1 + 1e-12)):
        for start, stop in ((a, end), (end, a)):
            path = paths.spherical(start, stop, 5)
            assert (
                np.isfinite(path).all() and np.linalg.norm(path, axis=-1).max() < 4 * np.linalg.norm(a, axis=-1).max()
            )
            np.testing.assert_array_equal(path[:, 0], start)
            np.testing.assert_array_equal(path[:, -1], stop)


def test_straight_lines():
    a, b = VECTORS
    path = paths.linear(a, b, 5)
    np.testing.assert_array_equal(path[:, [0, -1]], np.stack([a, b], 1))
    np.testing.assert_allclose(path[:, 2], (a + b) / 2)
    np.testing.assert_allclose(np.diff(path, axis=1), np.repeat((b - a)[:, None] / 4, 4, 1))


def conditional(sizes: list[int]) -> Model:
    """A model whose samples show their latent: x is (z, y); it notes the sizes it decodes."""

    def prior(key, state, num):
        z_key, y_key = jax.random.split(key)
        return {"z": jax.random.normal(z_key, (num, 2)), "y": jax.random.randint(y_key, (num,), 0, 10)}

    def decode(key, state, latent):
        sizes.append(len(latent["z"]))
        return {"x": jnp.concatenate([latent["z"], latent["y"][:, None].astype(jnp.float32)], axis=1)}

    return Model(None, None, None, prior=prior, decode=decode)


@pytest.mark.parametrize("closed", [False, True])
def test_labels_are_held_and_chunks_have_one_size(closed):
    sizes, spec = [], make_spec("vector", (3,))
    loaded = loading.Loaded(conditional(sizes), None, spec, {}, 0, Path())
    x = paths.paths(loaded, 70, 6, 0, paths.linear, closed)
    points = 4 * 5 if closed else 6
    assert x.shape == (70, points, 3) and sizes == [CHUNK] * (-(-70 * points // CHUNK))
    assert np.all(x[:, :, 2] == x[:, :1, 2]) and len(set(x[:, 0, 2])) == 10
    latent = paths.draws(loaded.model, None, 0, 280)
    corners = latent["z"].reshape(70, 4, 2)
    np.testing.assert_array_equal(x[:, 0, 2], latent["y"][::4])
    np.testing.assert_array_equal(x[:, 0::5, :2] if closed else x[:, [0, -1], :2], corners[:, : 4 if closed else 2])
    few = paths.paths(loaded, 3, 6, 0, paths.linear, closed)
    np.testing.assert_array_equal(few, x[:3])


@pytest.mark.parametrize("out, pictures", [("a.png", 1), ("a.gif", 4)])
def test_vectors_are_drawn(call, monkeypatch, out, pictures):
    loaded = loading.Loaded(conditional([]), None, make_spec("vector", (3,)), {}, 0, Path())
    monkeypatch.setattr(loading, "load", lambda *args: loaded)
    first = call(interpolate, out, "--num=20", "--steps=2")
    assert first == call(interpolate, f"again.{out}", "--num=20", "--steps=2")
    shown = frames(first) if pictures > 1 else [pixels(first)]
    assert len(shown) == pictures and all(each.shape[:2] == (500, 500) and each.std() > 1 for each in shown)


def test_models_without_a_latent_path_are_named():
    model = conditional([])
    for lacking in ("prior", "decode"):
        with pytest.raises(UserError, match=f"no {lacking}; .* latent paths. Use gen_jax.sample"):
            paths.draws(model._replace(**{lacking: None}), None, 0, 4)
    whole = model._replace(prior=lambda key, state, num: {"z": jnp.zeros((num, 3), jnp.int32)})
    with pytest.raises(UserError, match="latent of this model is int32; expected real numbers"):
        paths.draws(whole, None, 0, 4)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--out=x.jpg"], "unknown file type of --out '.jpg'; expected one of .png, .gif"),
        ([], "--out is missing; .* --out paths.png"),
        (["--out=x.png", "--steps=1"], "--steps is 1; expected 2 to 1000"),
        (["--out=x.png", "--num=0"], "--num is 0; expected 1 to 1000"),
        (["--out=x.png", "--seed=-1"], "--seed is -1; expected 0 to"),
        (
            ["--out=x.png", "--latents=sperical"],
            "unknown kind of --latents 'sperical'; expected .*Did you mean 'spherical'",
        ),
        (["--out=x.png", "--step=7"], r"no checkpoint of step 7 in .*expected one of \[10, 20\]"),
        (["--out=x.png", "--workdir=/no/such/run"], "no run in /no/such/run, which does not exist"),
        (["--out=/proc/x.png"], "cannot write /proc/x.png"),
    ],
)
def test_wrong_paths(trained, flags, message):
    with pytest.raises(UserError, match=message):
        interpolate.main(["interpolate", "--workdir", str(trained), *flags])


def test_the_smallest_weights_go_first():
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32))
    state = {"w": weight, "k": weight.reshape(3, 3, 7, 1) * 5, "b": weight[0], "step": jnp.int32(3)}
    state["norm"] = {"bias": weight[None], "scale": {"embedding": weight}}
    for share in (0, 0.1, 0.5, 0.9, 1):
        pruned = zeroed(state, share)
        assert jax.tree.structure(pruned) == jax.tree.structure(state)
        jax.tree.map(
            np.testing.assert_array_equal, *({n: each[n] for n in ("b", "step", "norm")} for each in (pruned, state))
        )
        for name in ("w", "k"):
            before, after = np.asarray(state[name]), np.asarray(pruned[name])
            assert after.shape == before.shape and after.dtype == before.dtype
            gone = after == 0
            assert gone.sum() == round(share * 63)
            np.testing.assert_array_equal(after[~gone], before[~gone])
            assert np.abs(before[gone]).max(initial=0) <= np.abs(before[~gone]).min(initial=np.inf)
        assert share_of_zeros(pruned) == pytest.approx(round(share * 63) / 63)
    equal = zeroed({"w": jnp.ones((2, 4))}, 0.5)["w"]  # of equal magnitudes the first, and no more than asked for
    np.testing.assert_array_equal(equal, [[0, 0, 0, 0], [1, 1, 1, 1]])
    with pytest.raises(UserError, match="no weight arrays"):
        share_of_zeros({"b": jnp.ones(3)})


@pytest.mark.study
def test_a_curve_and_its_figures(trained, call, tmp_path, capsys):
    flags = ["--sparsity=0.9,0,0.5,1", "--metrics=high_quality,modes,reverse_kl"]
    capsys.readouterr()
    first = call(prune, "curve.png", *flags)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 20, 300 samples" and len(lines) == 7
    assert lines[1].split() == ["sparsity", "zeros", "high_quality", "modes", "reverse_kl"]
    figures = json.loads((tmp_path / "curve.json").read_text())
    assert figures["sparsity"] == [0, 0.5, 0.9, 1]
    np.testing.assert_allclose(figures["zeros"], figures["sparsity"], atol=0.02)
    assert [line.split()[0] for line in lines[2:6]] == ["0", "0.5", "0.9", "1"]
    assert pixels(first).shape[0] == 320 and pixels(first).std() > 10
    assert first == call(prune, "again.png", *flags)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "curve.json").read_bytes()
    assert call(prune, "only.json", *flags) == (tmp_path / "curve.json").read_bytes()
    assert not (tmp_path / "only.png").exists()
    evaluate.main(["evaluate", "--workdir", str(trained), *flags[1:]])
    scores = json.loads((trained / "evaluation.json").read_text())["metrics"]
    for name, each in figures["metrics"].items():
        assert each["values"][0] == scores[name]["value"] and each["oracle"] == scores[name]["oracle"]
        assert each["protocol"] == scores[name]["protocol"]
    assert figures["metrics"]["modes"]["values"][-1] <= 1  # without weights every sample is the same


def test_pruning_leaves_the_run_alone(trained, call):
    before = gen_jax.load(trained).state
    call(prune, "x.json", "--sparsity=1", "--metrics=modes", "--num=20")
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(gen_jax.load(trained).state)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--out=x.jpg"], "unknown file type of --out '.jpg'; expected one of .png, .json"),
        ([], "--out is missing; .* --out curve.png"),
        (["--out=x.png", "--sparsity=0,1.2"], "'1.2'; expected shares of the weights from 0 to 1, for example"),
        (["--out=x.png", "--sparsity=50"], "--sparsity is '50'; expected .* from 0 to 1. Write 50 % as 0.5"),
        (["--out=x.png", "--sparsity=half"], "--sparsity is 'half'; expected shares"),
        (["--out=x.png", "--sparsity=nan"], "--sparsity is 'nan'; expected shares"),
        (["--out=x.png", "--metrics=mode"], "unknown metric 'mode'; expected .*Did you mean 'modes'"),
        (["--out=x.png", "--num=0"], "--num is 0; expected a whole number, at least 1"),
        (["--out=x.png", "--step=7"], r"no checkpoint of step 7 in .*expected one of \[10, 20\]"),
        (["--out=x.png", "--workdir=/no/such/run"], "no run in /no/such/run, which does not exist"),
        (["--out=/proc/x.png", "--sparsity=0", "--num=5"], "cannot write /proc/x.png"),
    ],
)
def test_wrong_pruning(trained, flags, message):
    with pytest.raises(UserError, match=message):
        prune.main(["prune", "--workdir", str(trained), *flags])
