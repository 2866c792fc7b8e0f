"""Notes: spectrograms with phases that come back as sounds, the tracker of pitch, and the measure of notes."""

import numpy as np
import pytest

from gen_jax.config import base_config, plain
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.mel import mel_of
from gen_jax.data.kinds.phase_spectrogram import phase_picture, sound_of_picture
from gen_jax.data.source import Source
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.sequences.pitch import pitch_accuracy, pitch_of

RATE = 16000
TIME = np.arange(8192) / RATE
PITCHES = [40, 52, 60, 71, 83]


def note(pitch: float, brightness: int = 8) -> np.ndarray:
    """A decaying note with harmonics."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    waves = sum(np.sin(2 * np.pi * hertz * k * TIME + k) / k for k in range(1, brightness) if k * hertz < RATE / 2)
    return 0.3 * np.exp(-3 * TIME) * waves


@pytest.fixture
def options(tmp_path):
    notes = [note(pitch, brightness) for brightness in (5, 9) for pitch in PITCHES]
    np.savez(
        tmp_path / "notes.npz",
        x=np.stack(notes),
        rate=RATE,
        pitch=np.array(2 * PITCHES),
        split=np.array(["train"] * 5 + ["test"] * 5),
    )
    config = base_config()
    config.data.path, config.data.encoding = str(tmp_path / "notes.npz"), "instantaneous_frequency"
    config.data.frames, config.data.label, config.data.mel = 16, "pitch", "window=1024,hop=512"
    return plain(config.data)


@pytest.mark.parametrize("pitch", [36, 47.3, 60, 72.4, 84])
def test_the_pitch_of_a_tone_is_its_frequency(pitch):
    assert pitch_of(note(pitch), RATE) == pytest.approx(pitch, abs=0.1)
    with_noise = note(pitch) + 0.01 * np.random.default_rng(0).normal(size=8192)
    assert pitch_of(with_noise, RATE) == pytest.approx(pitch, abs=0.1)


def test_a_short_or_silent_sound_has_some_pitch():
    assert np.isfinite(pitch_of(np.zeros(10), RATE)) and np.isfinite(pitch_of(np.zeros(9000), RATE))


def test_a_sound_comes_back_from_its_phases(options):
    settings = mel_of(open_source(options).info)
    for pitch in PITCHES:
        picture = phase_picture(note(pitch), settings)
        assert picture.shape == (512, 17, 2) and picture.dtype == np.float32 and np.abs(picture).max() <= 1
        back = sound_of_picture(picture, settings)
        error = np.square(back - note(pitch)[: len(back)]).mean() / np.square(note(pitch)).mean()
        assert error < 1e-3, pitch  # quiet frequencies, and the constant, are left out


@pytest.mark.parametrize("name", ["gap", "quiet", "clicks"])
def test_a_sound_comes_back_after_silence(name, options):
    """The advance of a phase goes back to the last frame above the floor."""
    settings = mel_of(open_source(options).info)
    tone = 0.3 * np.sin(2 * np.pi * 440 * TIME)
    sounds = {
        "gap": np.where((TIME > 0.15) & (TIME < 0.35), 0, tone),
        "quiet": np.where(TIME < 0.2, 1e-6 * np.random.default_rng(0).normal(size=8192), tone),
        "clicks": np.isin(np.arange(8192), (700, 6000)) * 0.9,
    }
    back = sound_of_picture(phase_picture(sounds[name], settings), settings)
    assert np.square(back - sounds[name][: len(back)]).mean() < 0.01 * np.square(sounds[name]).mean()


def test_a_steady_tone_has_one_instantaneous_frequency(options):
    settings = mel_of(open_source(options).info)
    hertz = 437.0
    picture = phase_picture(np.sin(2 * np.pi * hertz * TIME), settings)[::-1]
    line = round(hertz * settings.window / RATE) - 1
    expected = (2 * hertz * settings.hop / RATE + 1) % 2 - 1
    np.testing.assert_allclose(picture[line - 1 : line + 2, 3:14, 1], expected, atol=1e-4)


def test_notes_are_pictures_with_the_pitch_as_their_label(options):
    source = open_source(options)
    assert (source.kind, source.shape) == ("phase_spectrogram", (512, 16, 2)) and source.limits == (-1, 1)
    assert source.classes == tuple(map(str, PITCHES)) and source.info["label"] == "pitch"
    rows = source.rows("test", np.arange(5))
    assert rows["y"].tolist() == [0, 1, 2, 3, 4] and "length" not in rows
    spec = spec_of(source)
    kind = kind_of(spec)
    assert kind.picture(rows["x"], spec).mode == "L" and kind.write[".wav"](rows, spec)[:4] == b"RIFF"


def spec_of(source: Source) -> Spec:
    facts = [source.name, source.kind, source.shape, "float32", 0.0, 1.0, -1.0, 1.0, source.classes, source.sizes]
    return Spec(*facts, "content", dict(source.info))


def test_notes_are_scored_by_their_pitch(options):
    source = open_source(options)
    spec = spec_of(source)
    real = real_data(spec, lambda split, num: source.rows(split, np.arange(5)), ("train", "test"))
    computation = pitch_accuracy(real)
    rows = source.rows("test", np.arange(5))
    assert computation.values(rows) == {
        "pitch_accuracy": 1.0,
        "pitch_accuracy_chance": 0.2,
        "pitch_class_accuracy": 1.0,
    }
    octave = {"x": rows["x"][[1, 1, 1, 1, 1]], "y": np.array([0, 1, 2, 3, 4])}  # 52 for 40, 52, ...
    assert computation.values(octave) == {
        "pitch_accuracy": 0.2,
        "pitch_accuracy_chance": 0.2,
        "pitch_class_accuracy": 0.4,
    }
    unlabelled = spec._replace(info={name: fact for name, fact in spec.info.items() if name != "label"})
    assert pitch_accuracy(real._replace(spec=unlabelled)) is None
    for classes in (("a", "b"), ("40", "97"), ("20", "40")):
        assert pitch_accuracy(real._replace(spec=spec._replace(classes=classes))) is None
    assert pitch_of(note(96), RATE) == pytest.approx(96, abs=0.3)
    assert np.isfinite(pitch_of(np.sin(np.arange(2000.0)), 2000))


@pytest.mark.parametrize(
    "changed, line",
    [
        ({"frames": None}, "data.frames is unset; expected a number of frames for data.encoding=instantaneous"),
        ({"frames": 1}, "data.frames is 1; expected at least 3"),
        ({"mel": "mels=64"}, "unknown name in data.mel 'mels'; expected one of window, hop"),
        ({"mel": "hop=100"}, "window and hop of data.mel are 512 and 100"),
    ],
)
def test_faulty_settings_are_refused(changed, line, options):
    with pytest.raises(UserError, match=line):
        open_source({**options, **changed})
