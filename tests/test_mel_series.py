"""Recordings with their texts: log-mel series, settings of spectrograms, folders in the form of LJSpeech."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import make_spec
from scipy.io import wavfile

from gen_jax import train
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.mel import Mel, log_mel
from gen_jax.data.sources.opening import open_source
from gen_jax.data.sources.tone_letters import spell, texts
from gen_jax.errors import UserError
from gen_jax.training.start import refuse_other_tokens

RATE, TEXTS = 8000, ["a b", "b", "a", "ab a"]
RANDOM = np.random.default_rng(0)
SOUNDS = [RANDOM.integers(-9999, 9999, size, np.int16) for size in (1200, 640, 700, 1500)]


def facts(**changed) -> dict:
    arrays = {"audio": np.concatenate(SOUNDS), "length": [len(sound) for sound in SOUNDS], "rate": RATE}
    return {**arrays, "text": TEXTS, "split": ["train", "train", "test", "train"], **changed}


def options(path, **more) -> dict:
    return {
        "path": str(path),
        "split": "train",
        "test_split": "test",
        "encoding": "log_mel",
        "condition": "text",
        **more,
    }


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "x.npz", **facts())
    return tmp_path / "x.npz"


def test_recordings_are_series_with_their_texts(file):
    source = open_source(options(file))
    assert (source.kind, source.sizes, source.shape) == ("mel_series", {"train": 3, "test": 1}, (1 + 1500 // 128, 64))
    rows = source.rows("train", np.arange(3))
    assert rows["length"].tolist() == [10, 6, 12] and rows["c_length"].tolist() == [3, 1, 4]
    expected = log_mel(SOUNDS[1] / 32768, Mel(RATE))
    np.testing.assert_allclose(rows["x"][1, :6], np.maximum(expected, source.limits[0]), rtol=1e-5)
    assert (rows["x"][1, 6:] == np.float32(source.limits[0])).all()
    assert source.lengths("train").tolist() == [10, 6, 12]
    condition = source.condition
    words = [
        "".join(condition.info["vocabulary"][token] for token in row[:size])
        for row, size in zip(rows["c"], rows["c_length"])
    ]
    assert words == ["a b", "b", "ab a"]


def test_symbols_between_spaces_are_tokens(file):
    source = open_source(options(file, vocabulary="symbols"))
    rows = source.rows("train", np.arange(3))
    assert source.condition.info["vocabulary"] == ["\ufffd", "a", "b", "ab"] and rows["c_length"].tolist() == [2, 1, 2]
    spec = make_spec("text", (2,))._replace(info=dict(source.condition.info))
    kind = kind_of(spec)
    assert kind.tokens(spec, "ab  b").tolist() == [3, 2] and kind.read_tokens(spec, np.array([3, 1])) == "ab a"
    with pytest.raises(UserError, match="unknown words 'A'"):
        kind.tokens(spec, "A b")


def test_settings_of_spectrograms(file):
    source = open_source(options(file, mel="window=256, hop=64,mels=40"))
    assert source.shape == (1 + 1500 // 64, 40) and source.info["hop"] == 64
    pictures = open_source(options(file, mel="mels=32", frames=16, condition=None))
    assert pictures.shape == (32, 16, 1) and pictures.kind == "spectrogram"
    for text, line in [
        ("size=3", "unknown name in data.mel 'size'"),
        ("hop=x", "data.mel has 'hop=x'; expected hop=NUMBER"),
        ("hop=100", "window and hop of data.mel are 512 and 100; expected a window"),
        ("window=64,hop=16", "hold no frequency of a window of 64"),
    ]:
        with pytest.raises(UserError, match=line):
            open_source(options(file, mel=text))
    with pytest.raises(
        UserError,
        match="data.mel is 'hop=64' and .* holds audio data; expected spectrogram or phase_spectrogram or mel_series",
    ):
        open_source(options(file, mel="hop=64", encoding="waveform"))


def test_series_become_sounds_and_pictures(file):
    source = open_source(options(file))
    low, high = source.limits
    spec = make_spec("mel_series", source.shape)._replace(low=low, high=high, info=dict(source.info))
    rows = source.rows("train", np.arange(3))
    rate, sound = wavfile.read(io.BytesIO(kind_of(spec).write[".wav"](rows, spec)))
    assert rate == RATE and len(sound) == 128 * (9 + 5 + 11) + 3 * RATE // 4
    x = np.where(np.arange(12)[None, :, None] < rows["length"][:, None, None], rows["x"], np.nan)
    assert np.asarray(kind_of(spec).picture(x, spec)).std() > 10


def test_a_short_recording_has_the_frames_of_half_a_window(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((2, 10)) / 2, rate=RATE, text=["a", "b"], split=["train", "test"])
    source = open_source(options(tmp_path / "x.npz"))
    assert source.shape == (3, 64) and source.rows("train", np.arange(1))["length"].tolist() == [3]


@pytest.mark.parametrize(
    "changed, more, line",
    [
        ({}, {"condition": "txt"}, "unknown data.condition of .* 'txt'; expected text"),
        ({"text": ["a", " ", "b", "c"]}, {}, "row 2 of .* has no text"),
        ({"text": ["a" * 11, "b", "a", "b"]}, {}, "recording 1 of .* has 10 frames and 11 symbols"),
    ],
)
def test_faulty_texts_of_recordings_are_refused(changed, more, line, tmp_path):
    np.savez(tmp_path / "x.npz", **facts(**changed))
    with pytest.raises(UserError, match=line):
        open_source(options(tmp_path / "x.npz", **more))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "voice" / "wavs").mkdir(parents=True)
    for number, sound in enumerate(SOUNDS):
        wavfile.write(tmp_path / "voice" / "wavs" / f"LJ-{number}.wav", RATE, sound)
    lines = [
        f"LJ-{number}|Dr. {text}|{text}" if number % 2 else f"LJ-{number}|{text}" for number, text in enumerate(TEXTS)
    ]
    (tmp_path / "voice" / "metadata.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "voice"


def test_a_folder_of_recordings_and_metadata_is_read(folder):
    source = open_source(options(folder, holdout=0.25))
    assert source.sizes == {"train": 3, "test": 1} and source.kind == "mel_series"
    rows = {split: source.rows(split, np.arange(size)) for split, size in source.sizes.items()}
    lengths = sorted(
        zip(
            [*rows["train"]["length"], *rows["test"]["length"]], [*rows["train"]["c_length"], *rows["test"]["c_length"]]
        )
    )
    assert lengths == [(6, 1), (6, 1), (10, 3), (12, 4)]
    waves = open_source(options(folder, holdout=0.25, encoding="waveform"))
    assert waves.kind == "audio" and waves.condition is not None
    (folder / "wavs" / "LJ-3.wav").unlink()
    with pytest.raises(UserError, match=r"LJ-3.wav of line 4 of metadata.csv does not exist; expected a recording"):
        open_source(options(folder))
    (folder / "metadata.csv").write_text("LJ-0 a b\n")
    with pytest.raises(UserError, match=r"line 1 of .*metadata.csv has 1 cells; expected NAME\|TEXT"):
        open_source(options(folder))
    with pytest.raises(UserError, match="unknown data.condition of .* 'txt'"):
        open_source(options(folder, condition="txt"))


def test_a_fork_with_other_tokens_is_refused():
    text = make_spec("text", (3,))
    old, new = (
        make_spec("series", (2, 1))._replace(condition=text._replace(info={"vocabulary": [*each]}))
        for each in ("abc", "abd")
    )
    refuse_other_tokens(old, old, Path("runs/a"))
    refuse_other_tokens(old, old._replace(condition=None), Path("runs/a"))
    with pytest.raises(
        UserError, match="token 2 of c is 'd' and was 'c' in --fork runs/a; expected the same vocabulary"
    ):
        refuse_other_tokens(new, old, Path("runs/a"))


@pytest.mark.study
def test_a_run_forks_from_no_run_with_other_tokens(tmp_path):
    for letters in ("ab", "cd"):
        (tmp_path / f"{letters}.txt").write_text(letters * 400)
    flags = ["--config", str(Path(__file__).parents[1] / "configs" / "markov.py"), "--quiet", "--config.steps=1"]

    def begin(letters: str, *more: str) -> None:
        path = f"--config.data.path={tmp_path / letters}.txt"
        train.main(["train", *flags, path, "--workdir", str(tmp_path / letters), *more])

    begin("ab")
    with pytest.raises(UserError, match="token 0 of x is 'c' and was 'a' in --fork"):
        begin("cd", "--fork", str(tmp_path / "ab"))
    assert not (tmp_path / "cd" / "config.json").exists()


def test_the_built_in_voice_says_each_letter_by_its_tones():
    assert len(texts()) == 500 and len({*texts()}) == 500
    sound = spell("ab a")
    assert len(sound) == 1024 + 512 + 1024 + 1024 and np.abs(sound[1700:2400]).max() < 0.01
    frequencies = np.abs(np.fft.rfft(spell("a")[:1000] * np.hanning(1000)))
    loud = np.argmax(frequencies[:100]) * 8, (100 + np.argmax(frequencies[100:])) * 8  # Hz
    assert loud == pytest.approx((300, 1400), abs=8)
    source = open_source(
        {"name": "tones", "split": "train", "test_split": "test", "encoding": "log_mel", "condition": "text"}
    )
    assert source.sizes == {"train": 400, "validation": 50, "test": 50} and source.kind == "mel_series"
    plain = open_source({"name": "tones", "split": "train", "test_split": "test"})
    assert plain.kind == "audio" and plain.condition is None
    with pytest.raises(UserError, match="unknown data.condition of tones: 'words'; expected text"):
        open_source({"name": "tones", "split": "train", "condition": "words"})
