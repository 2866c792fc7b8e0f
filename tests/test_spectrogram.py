"""Log-mel spectrograms: conventions against librosa, sounds that come back, recordings as pictures, files of sounds."""

import io
import zipfile

import numpy as np
import pytest
from conftest import make_spec
from scipy.io import wavfile

from gen_jax.config import base_config, plain
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.audio import to_mu_law
from gen_jax.data.kinds.mel import Mel, filters, from_spectrum, log_mel, sound_of, spectrum, to_hertz, to_mel
from gen_jax.data.sources.opening import open_source
from gen_jax.errors import UserError

RATE = 8000
SETTINGS = Mel(RATE)
TIME = np.arange(8192) / RATE


def voice(pitch: float) -> np.ndarray:
    """A sound with harmonics that begins and ends softly."""
    waves = sum(np.sin(2 * np.pi * pitch * (1 + 0.05 * TIME) * TIME * k) / k for k in range(1, 12))
    return 0.3 * np.sin(np.pi * TIME / TIME[-1]) ** 2 * waves


def test_filters_are_those_of_librosa():
    """By `librosa.filters.mel` 0.11: the sum, the largest values of some filters and their bins, and another size."""
    banks = filters(SETTINGS)
    some = banks[[0, 10, 40, 63]]
    assert banks.shape == (64, 257) and banks.sum() == pytest.approx(4.094621613505159, rel=1e-6)
    assert some.argmax(1).tolist() == [2, 25, 105, 247]
    np.testing.assert_allclose(some.max(1), [0.02402529, 0.02304202, 0.0157903, 0.00671607], rtol=1e-6)
    assert filters(Mel(22050, 1024, 256, 80)).max() == pytest.approx(0.024146901073277983, rel=1e-6)
    hertz = np.array([0.0, 500, 999, 1001, 3500])
    np.testing.assert_allclose(to_hertz(to_mel(hertz)), hertz, rtol=1e-9, atol=1e-9)


def test_a_sound_comes_back_from_its_spectrum_and_nearly_from_its_log_mel_spectrogram():
    sound = np.random.default_rng(0).normal(size=9000)
    back = from_spectrum(spectrum(sound, SETTINGS), SETTINGS)
    np.testing.assert_allclose(back, sound[: len(back)], atol=1e-9)
    assert len(spectrum(sound, SETTINGS)) == 1 + 9000 // 128 and len(back) == 70 * 128
    for pitch in (110.0, 205.0):
        mel = log_mel(voice(pitch), SETTINGS)
        again = log_mel(sound_of(mel, SETTINGS), SETTINGS)
        decibels = abs(again - mel[: len(again)]).mean() * 20 / np.log(10)
        assert decibels < 1.5 and abs(log_mel(voice(pitch * 1.1), SETTINGS) - mel).mean() * 20 / np.log(10) > 3
        np.testing.assert_array_equal(sound_of(mel, SETTINGS), sound_of(mel, SETTINGS))


def test_silence_is_silent():
    mel = log_mel(np.zeros(8192), SETTINGS)
    np.testing.assert_allclose(mel, np.log(SETTINGS.floor))
    np.testing.assert_array_equal(sound_of(mel, SETTINGS), 0)


@pytest.fixture
def options(tmp_path):
    """Options that open an archive of four recordings, one of which is long."""
    with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
        for digit, (number, length) in enumerate([(0, 3000), (1, 9000), (7, 3000), (8, 5000)]):
            content = io.BytesIO()
            wavfile.write(content, RATE, np.int16(20000 * voice(100.0 + 40 * digit)[:length]))
            archive.writestr(f"{digit % 2}_ann_{number}.wav", content.getvalue())
    config = base_config()
    config.data.path, config.data.encoding = str(tmp_path / "sounds.zip"), "log_mel"
    config.data.frames = 64
    return plain(config.data)


def test_recordings_are_pictures_of_one_width(options, capsys):
    source = open_source(options)
    assert (source.kind, source.shape, source.lengths) == ("spectrogram", (64, 64, 1), None)
    rows = source.rows("train", np.arange(2))
    low, high = source.limits
    assert rows["x"].dtype == np.float32 and rows["y"].tolist() == [0, 1] and "length" not in rows
    assert rows["x"].min() == np.float32(low) and low < rows["x"].max() < high
    np.testing.assert_array_equal(rows["x"][0, :, 30:], np.float32(low))  # 3000 samples are 24 frames and half a window
    energy = np.exp(rows["x"][0, :, :20, 0]).sum(1)
    assert energy[32:].sum() > 5 * energy[:32].sum()  # low sounds are below
    capsys.readouterr()
    short = open_source({**options, "frames": 16})
    assert short.shape == (64, 16, 1) and short.content != source.content
    assert "2 of 2 recordings of test are cut to 0.26 s; see data.frames" in capsys.readouterr().out
    with pytest.raises(UserError, match="data.frames is 2; expected at least 3"):
        open_source({**options, "frames": 2})
    with pytest.raises(UserError, match="data.frames is 16 and .* holds audio data; expected video or spectrogram"):
        open_source({**options, "encoding": "mu_law", "frames": 16})


def test_spectrograms_are_written_as_sounds(options):
    source = open_source(options)
    low, high = source.limits
    spec = make_spec("spectrogram", source.shape)._replace(low=low, high=high, info=dict(source.info))
    samples = source.rows("train", np.arange(2))
    rate, sound = wavfile.read(io.BytesIO(kind_of(spec).write[".wav"](samples, spec)))
    assert rate == RATE and len(sound) == 2 * (63 * 128 + RATE // 4)
    loud = np.abs(sound[: 63 * 128].astype(float))
    assert loud[:3000].mean() > 100 * loud[4500:].mean()
    picture, paths = kind_of(spec).picture(samples["x"], spec), kind_of(spec).strip(samples["x"][None], spec)
    assert picture.size[0] >= 2 * 64 and paths.size == picture.size


def test_recordings_of_an_array_file_are_rows_with_splits_and_labels(tmp_path):
    tokens = np.stack([to_mu_law(voice(100.0 + 40 * row)[:5000]) for row in range(4)])
    facts = {
        "length": [5000, 3000, 5000, 4000],
        "y": [1, 0, 1, 1],
        "classes": ["low", "high"],
        "pitch": [60, 64, 60, 67],
    }
    facts |= {"split": ["train", "train", "test", "train"], "rate": RATE}
    np.savez(tmp_path / "x.npz", x=tokens, **facts)
    parts = [row[:length] for row, length in zip(tokens, facts["length"])]
    np.savez(tmp_path / "audio.npz", audio=np.concatenate(parts), **facts)
    options = {"path": str(tmp_path / "x.npz"), "split": "train", "test_split": "test"}
    for name in ("x.npz", "audio.npz"):
        source = open_source({**options, "path": str(tmp_path / name)})
        assert (source.kind, source.sizes, source.classes) == ("audio", {"train": 3, "test": 1}, ("low", "high"))
        rows = source.rows("train", np.arange(3))
        assert rows["y"].tolist() == [1, 0, 1] and rows["length"].tolist() == [5000, 3000, 4000]
        np.testing.assert_array_equal(rows["x"][1, :3000], tokens[1, :3000])
    pitch = open_source({**options, "label": "pitch", "encoding": "log_mel", "frames": 64})
    assert pitch.classes == ("60", "64", "67") and pitch.rows("train", np.arange(3))["y"].tolist() == [0, 1, 2]
    assert pitch.info["rate"] == RATE and pitch.kind == "spectrogram"
    np.savez(tmp_path / "plain.npz", x=voice(100.0)[None].repeat(20, 0), rate=16000)
    source = open_source({**options, "path": str(tmp_path / "plain.npz"), "encoding": "waveform", "holdout": 0.1})
    assert source.sizes == {"train": 18, "test": 2} and source.classes == () and source.info["rate"] == 16000
    np.testing.assert_allclose(source.rows("test", np.arange(1))["x"][0], voice(100.0), atol=1e-6)


FAULTY = [
    ({"rate": np.array([1.5])}, "rate of data.path .* is 1.5; expected a whole number of samples a second"),
    ({"y": np.arange(4)}, r"labels 'y' of data.path .* are int64\[4\]; expected 3 whole numbers or texts"),
    ({"y": np.array([0.5, 1, 2])}, r"labels 'y' of data.path .* are float64\[3\]; expected 3 whole numbers or texts"),
    ({"split": np.array(["train"])}, r"split of data.path .* is <U5\[1\]; expected 3 names of splits"),
    ({"classes": np.array("a")}, r"classes of data.path .* are <U1\[\] and y is int64\[3\]; expected a name for each"),
    ({"classes": np.array(["a", "b"])}, "y of data.path .* goes from 0 to 2; expected 0 to 1"),
    ({"length": np.array([5.0, 6.0, 7.0])}, r"holds samples \[3, 10\] and \[3\] lengths"),
    ({"x": np.zeros((0, 10)), "y": np.zeros(0, int)}, r"holds samples \[0, 10\] and \[0\] lengths"),
    ({"x": np.zeros((3, 10), np.int64)}, "has a rate and holds samples of type int64; expected x"),
    ({"x": None}, "has a rate and holds rate, y; expected x"),
    ({"x": np.full((3, 10), 2.0)}, "holds amplitudes up to 2; expected at most 1"),
    ({"x": np.zeros((3, 10)), "length": np.array([5, 11, 3])}, r"holds samples \[3, 10\] and \[3\] lengths"),
    ({"x": None, "audio": np.zeros(10)}, r"holds samples \[10\] and no lengths"),
    ({"x": None, "audio": np.zeros(10), "length": np.array([5, 6])}, r"holds samples \[10\] and \[2\] lengths"),
]


@pytest.mark.parametrize("arrays, line", FAULTY)
def test_faulty_array_files_of_recordings_are_refused(arrays, line, tmp_path):
    arrays = {"x": np.zeros((3, 10)), "rate": RATE, "y": np.arange(3), **arrays}
    np.savez(tmp_path / "x.npz", **{name: array for name, array in arrays.items() if array is not None})
    options = {"path": str(tmp_path / "x.npz"), "split": "train", "test_split": "test"}
    with pytest.raises(UserError, match=line):
        open_source(options)


def test_an_array_named_rate_with_a_number_for_each_row_is_no_rate_of_sounds(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4, 4)), rate=np.arange(3))
    assert open_source({"path": str(tmp_path / "x.npz"), "split": "train"}).kind == "image"


def test_rows_are_the_same_data_however_a_default_is_written(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 10)), rate=np.array([RATE]), y=np.arange(3))
    options = {"path": str(tmp_path / "x.npz"), "split": "train", "test_split": "test"}
    written = [{}, {"encoding": "mu_law"}, {"label": "y"}]
    assert len({open_source({**options, **more}).content for more in written}) == 1
    assert open_source({**options, "encoding": "waveform"}).content != open_source(options).content


def test_loud_sounds_are_not_clipped_and_rates_without_filters_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.sin(2 * np.pi * np.array([[250.0], [1000.0]]) * TIME[None]), rate=RATE)
    options = {"path": str(tmp_path / "x.npz"), "split": "train", "test_split": "train", "encoding": "log_mel"}
    source = open_source(options)
    assert source.rows("train", np.arange(2))["x"].max() < source.limits[1]
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 9000)), rate=96_000)
    with pytest.raises(
        UserError, match="have 96000 samples a second; expected at most 48000 for data.encoding=log_mel"
    ):
        open_source(options)


def test_an_unknown_label_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 10)), rate=RATE, y=np.arange(3), pitch=np.arange(3))
    with pytest.raises(UserError, match="unknown data.label 'pich'; expected one of pitch, y. Did you mean 'pitch'"):
        open_source({"path": str(tmp_path / "x.npz"), "split": "train", "test_split": "test", "label": "pich"})


def test_a_folder_of_wav_files_is_read_with_its_classes_and_splits(tmp_path):
    kinds = {"low": (np.int16, 20000), "high": (np.float32, 0.6)}
    for number, pitch in enumerate([100.0, 140.0, 180.0, 220.0, 260.0, 300.0]):
        for name, (dtype, scale) in kinds.items():
            (tmp_path / "sounds" / name).mkdir(parents=True, exist_ok=True)
            sound = (scale * voice(pitch)[:2000]).astype(dtype)
            stereo = np.stack([sound, sound], 1) if number == 1 else sound
            wavfile.write(tmp_path / "sounds" / name / f"{number}.wav", RATE, stereo)
    options = {"path": str(tmp_path / "sounds"), "split": "train", "test_split": "test", "holdout": 0.2}
    source = open_source({**options, "encoding": "waveform"})
    assert (source.sizes, source.classes, source.kind) == ({"train": 10, "test": 2}, ("high", "low"), "audio")
    rows = source.rows("train", np.arange(10))
    assert rows["x"].shape == (10, 2000) and {*rows["y"]} == {0, 1} and (rows["length"] == 2000).all()
    assert open_source({**options, "encoding": "log_mel", "frames": 64}).shape == (64, 64, 1)
    assert open_source({**options, "encoding": "log_mel"}).shape == (16, 64)
    for split in ("train", "test"):
        (tmp_path / "divided" / split).mkdir(parents=True)
        wavfile.write(tmp_path / "divided" / split / "a.wav", RATE, np.int16(9000 * voice(200.0)))
    divided = open_source({**options, "path": str(tmp_path / "divided")})
    assert divided.sizes == {"train": 1, "test": 1} and divided.classes == ()
    wavfile.write(tmp_path / "divided" / "test" / "b.wav", 16000, np.int16(9000 * voice(200.0)))
    with pytest.raises(UserError, match="b.wav has 16000 Hz and a.wav has 8000 Hz; expected one rate"):
        open_source({**options, "path": str(tmp_path / "divided")})
    (tmp_path / "divided" / "test" / "b.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match="b.wav"):
        open_source({**options, "path": str(tmp_path / "divided")})


@pytest.mark.parametrize("dtype, scale, offset", [(np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.uint8, 128, 128)])
def test_samples_of_every_type_are_amplitudes(dtype, scale, offset, tmp_path):
    wave = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    wavfile.write(tmp_path / "a.wav", RATE, (wave * scale + offset).astype(dtype))
    source = open_source({"path": str(tmp_path), "split": "train", "test_split": "test", "encoding": "waveform"})
    np.testing.assert_allclose(source.rows("train", np.arange(1))["x"][0], wave, atol=1e-6)
