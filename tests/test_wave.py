"""Sounds of one length, and the nets of WaveGAN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.config import base_config, plain
from gen_jax.data.kinds import kind_of
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.wavegan import shifted

RATE, LENGTHS = 8000, [300, 100, 256, 200]
RANDOM = np.random.default_rng(0)


@pytest.fixture
def options(tmp_path):
    audio = RANDOM.integers(-9999, 9999, sum(LENGTHS), np.int16)
    split = np.array(["train", "train", "test", "train"])
    np.savez(tmp_path / "x.npz", audio=audio, length=LENGTHS, rate=RATE, y=np.array([0, 1, 0, 1]), split=split)
    config = base_config()
    config.data.path, config.data.encoding, config.data.frames = str(tmp_path / "x.npz"), "waveform", 256
    return plain(config.data)


def test_recordings_are_cut_or_end_in_silence(options, capsys):
    source = open_source(options)
    assert (source.kind, source.shape, source.lengths) == ("wave", (256, 1), None)
    rows = source.rows("train", np.arange(3))
    assert rows["y"].tolist() == [0, 1, 1] and "length" not in rows and not rows["x"][1, 100:].any()
    assert "1 of 3 recordings of train are cut to 0.03 s" in capsys.readouterr().out
    whole = open_source({**options, "frames": None}).rows("train", np.arange(3))
    np.testing.assert_array_equal(rows["x"][0, :, 0], whole["x"][0, :256])
    facts = [source.name, source.kind, source.shape, "float32", 0.0, 1.0, -1.0, 1.0, source.classes, source.sizes]
    spec = Spec(*facts, "content", dict(source.info))
    kind = kind_of(spec)
    np.testing.assert_allclose(kind.sounds(rows, spec)[1], rows["x"][1, :, 0])
    assert kind.write[".wav"](rows, spec)[:4] == b"RIFF" and np.asarray(kind.picture(rows["x"], spec)).std() > 10
    with pytest.raises(UserError, match="data.frames is 0; expected at least 1 sample"):
        open_source({**options, "frames": 0})


@pytest.mark.study
def test_nets_read_conditions_and_fit_each_other():
    c = Embedded(vector=jax.nn.one_hot(jnp.arange(3) % 2, 2))
    generator, critic = nets.WaveGenerator((256, 1), (8, 4)), nets.WaveDiscriminator((8, 4))
    z = jax.random.normal(jax.random.key(0), (3, 5))
    x, _ = generator.init_with_output(jax.random.key(1), z, c)
    assert x.shape == (3, 256, 1) and float(jnp.abs(x).max()) <= 1
    logits, params = critic.init_with_output({"params": jax.random.key(2)}, x, c)
    assert logits.shape == (3,)
    params = jax.tree.map(lambda each: each + 0.1 * RANDOM.normal(size=each.shape).astype(np.float32), params)
    logits = critic.apply(params, x, c)
    rolled = critic.apply(params, x, Embedded(vector=jnp.roll(c.vector, 1, 0)))
    assert not np.allclose(logits, rolled, atol=1e-6)
    np.testing.assert_allclose(critic.apply(params, x[:1], Embedded(vector=c.vector[:1])), logits[:1], rtol=1e-4)
    mixed = critic.apply(params, x, c, rngs={"dropout": jax.random.key(3)})
    assert not np.allclose(mixed, logits, atol=1e-6)


def test_a_shift_moves_each_sound_by_a_few_places():
    x = jnp.arange(20.0).reshape(1, 10, 2).repeat(200, 0)
    moved = np.asarray(shifted(jax.random.key(0), x, 2))
    shifts = moved[:, 5, 0] / 2 - 5
    assert {*shifts.astype(int)} == {-2, -1, 0, 1, 2}
    np.testing.assert_array_equal(moved[shifts == 0][0], x[0])
    first = moved[shifts == -2][0][:, 0] / 2
    np.testing.assert_array_equal(first, [2, 1, 0, 1, 2, 3, 4, 5, 6, 7])  # the border is reflected


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(
        UserError, match="sounds have 300 samples; expected a multiple of 16 .* Set --config.data.frames=304"
    ):
        nets.WaveGenerator((300, 1), (8, 4)).init(jax.random.key(0), jnp.zeros((1, 2)))
    with pytest.raises(UserError, match="wavegan is for sounds, and a row has the shape \\[8, 8, 3\\]"):
        nets.WaveDiscriminator((8,)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
