"""Sequences as data: text, piano rolls, recordings and series as rows, and samples of them as files."""

import io
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import mido
import numpy as np
import pytest
from conftest import host, make_spec
from PIL import Image
from scipy.io import savemat, wavfile

import gen_jax
from gen_jax import data, train
from gen_jax.data.kinds import midi_sound
from gen_jax.data.kinds.audio import from_mu_law, spectrogram, to_mu_law
from gen_jax.data.kinds.sample_files import encode
from gen_jax.data.kinds.text import UNSEEN, read_text, text_source, tokens_of
from gen_jax.data.sources.opening import open_source
from gen_jax.data.sources.windows import windowed
from gen_jax.data.spec import levels, to_data, to_model
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.likelihood import joined, nats
from gen_jax.metrics.sequences.copies import copies
from gen_jax.models.hmm import hmm
from gen_jax.models.markov import markov
from gen_jax.verbs.given import parse_given
from gen_jax.verbs.score import make_scorer

SHARED = Path(__file__).parents[2] / "shared" / "data"
CONFIGS = Path(__file__).parents[1] / "configs"
OPTIONS = {"split": "train", "test_split": "test", "feed": "resident", "order": "once"}


def loaded(batch_size=1, steps=1, epochs=None, **options):
    return data.load({**OPTIONS, **options}, batch_size=batch_size, seed=0, steps=steps, epochs=epochs, quiet=True)


def batch_at(found, step=0):
    return found.batch({name: np.asarray(value) for name, value in found.arrays.items()}, found.at(step))


def shared(name):
    if not (SHARED / name).exists():
        pytest.skip(f"needs {SHARED / name}")
    return SHARED / name


def raw_text(source, split):
    rows = source.rows(split, np.arange(source.sizes[split]))
    return [row[:length] for row, length in zip(rows["x"], rows["length"])]


@pytest.fixture(scope="module")
def plays():
    return loaded(name="tiny_shakespeare")


def test_shakespeare_is_whole_and_its_tokens_are_its_text(plays):
    assert plays.spec.sizes == {"train": 1, "validation": 1, "test": 1} and levels(plays.spec) == 66
    batch = batch_at(plays)
    assert batch["x"].dtype == np.int32 and batch["length"] == 1_003_854
    text = read_text(plays.spec, batch["x"][0])
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.") and UNSEEN not in text
    assert np.array_equal(tokens_of(plays.spec, text[:500]), batch["x"][0, :500])
    test = plays.read("test")
    assert test["length"] == plays.read("validation")["length"] == 55_770
    assert read_text(plays.spec, test["x"][0, : test["length"][0]]).endswith("Whiles thou art waking.\n")


def test_shakespeare_of_tfds_has_the_same_tokens(plays):
    theirs = loaded(name="tiny_shakespeare", data_dir=str(shared("tfds")))
    assert theirs.spec.info == plays.spec.info
    for split in plays.spec.sizes:
        assert np.array_equal(theirs.read(split)["x"], plays.read(split)["x"])


def test_own_text_is_split_and_unseen_characters_are_counted(tmp_path, capsys):
    text = "ab\u00e9c" * 225 + "ab\u00e9c" * 12 + "zz" + "abyc" * 12  # 950 characters known, some at the end not
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    source = open_source({**OPTIONS, "path": str(tmp_path / "own.txt")})
    assert "".join(source.info["vocabulary"]) == "abc\u00e9" + UNSEEN
    assert sum(source.info["unseen"].values()) == 14 and source.info["unseen"]["test"] >= 12
    parts = [raw_text(source, split)[0] for split in ("train", "validation", "test")]
    spec = make_spec("text", source.shape)._replace(info=source.info)
    assert "".join(read_text(spec, part) for part in parts) == "".join(c if c not in "zy" else UNSEEN for c in text)
    encoded = len(text.encode())
    assert abs(len(read_text(spec, parts[0]).encode()) - 0.9 * encoded) < 4


def test_the_vocabulary_is_that_of_the_split_that_trains(tmp_path):
    (tmp_path / "own.txt").write_text("abc" * 300 + "bcd" * 33 + "b")  # validation lacks a, training d
    for split in ("train", "validation"):
        found = loaded(path=str(tmp_path / "own.txt"), split=split)
        x, length = (found.read("validation")[name][0] for name in ("x", "length"))
        assert set(read_text(found.spec, x[:length])) == ({"b", "c", UNSEEN} if split == "train" else {"b", "c", "d"})


def test_bytes_take_any_file(tmp_path):
    content = bytes(range(256)) * 4
    (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"byte 128 of .* is not UTF-8.*vocabulary=bytes"):
        open_source({**OPTIONS, "path": str(tmp_path / "own.txt")})
    source = open_source({**OPTIONS, "path": str(tmp_path / "own.txt"), "vocabulary": "bytes"})
    parts = [raw_text(source, split)[0].tobytes() for split in source.sizes]
    assert b"".join(parts) == content and len(source.info["vocabulary"]) == 256 and not source.info["unseen"]


@pytest.mark.parametrize("window", [1, 7, 100, 5000])
def test_windows_are_consecutive_pieces(tmp_path, window):
    text = "".join(chr(97 + n % 23) for n in range(1000))
    (tmp_path / "own.txt").write_text(text)
    whole = open_source({**OPTIONS, "path": str(tmp_path / "own.txt")})
    pieces = open_source({**OPTIONS, "path": str(tmp_path / "own.txt"), "window": window})
    assert pieces.shape == (window,) and pieces.content != whole.content
    for split in whole.sizes:
        assert np.array_equal(np.concatenate(raw_text(pieces, split)), raw_text(whole, split)[0])
        spec = make_spec("text", (window,))._replace(info=pieces.info)
        again = joined(spec, pieces.rows(split, np.arange(pieces.sizes[split])))
        assert np.array_equal(again["x"][0], raw_text(whole, split)[0])


@pytest.mark.parametrize("feed", ["resident", "streaming"])
def test_lanes_go_on_where_they_were(tmp_path, feed):
    (tmp_path / "own.txt").write_text("".join(chr(97 + n % 26) for n in range(1000)))
    found = loaded(4, 100, path=str(tmp_path / "own.txt"), window=10, order="lanes", feed=feed)
    batches = [batch_at(found, step) for step in range(45)]  # 90 windows, 22 to a lane
    for step, batch in enumerate(batches):
        assert np.array_equal(batch["reset"], [step % 22 == 0] * 4)
        if step and not batch["reset"][0]:
            assert np.array_equal(batch["x"][:, 0], (batches[step - 1]["x"][:, -1] + 1) % 26)
    assert np.array_equal(batches[0]["x"], batches[22]["x"])
    assert loaded(4, None, path=str(tmp_path / "own.txt"), window=10, order="lanes", epochs=1).steps == 22
    with pytest.raises(UserError, match="rows is 1 with data.order 'lanes'; expected at least 4"):
        loaded(4, 10, path=str(tmp_path / "own.txt"), order="lanes", window=1000)
    with pytest.raises(UserError, match=r"own \(text\) has no windows of sequences; .*data.window=64"):
        loaded(4, 10, path=str(tmp_path / "own.txt"), order="lanes")


@pytest.mark.parametrize("order", ["lanes", "shuffle"])
def test_lanes_begin_anew_with_each_text(monkeypatch, order):
    texts = {"train": [b"abcdefg", b"hij", b"", b"klmnopqrs"], "test": [b"abcde", b"fgh"]}

    def three(options):
        return text_source("three", texts.__getitem__, list(texts), options, "three")

    monkeypatch.setattr("gen_jax.data.feed.load.open_source", lambda options: windowed(three(options), 3))
    found = loaded(1, 14, order=order, feed="streaming")
    batches = [batch_at(found, step) for step in range(14)]
    assert order == "lanes" or not any("reset" in batch for batch in batches)
    if order == "lanes":
        begins = ["".join(chr(97 + token) for token in each["x"][0]) for each in batches if each["reset"][0]]
        assert begins == ["abc", "hij", "klm"] * 2
    source = windowed(three(OPTIONS), 3)
    again = joined(found.spec, source.rows("test", np.arange(source.sizes["test"])))
    assert again["length"].tolist() == [5, 3] and again["x"].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 0, 0]]


@pytest.mark.parametrize(
    "option, message",
    [
        ({"window": 3}, "data.window is 3 and gaussians.* holds vector data; expected text or tokens or audio"),
        ({"vocabulary": "bytes"}, "data.vocabulary is 'bytes' and .* expected text"),
        ({"encoding": "waveform"}, "data.encoding is 'waveform' and .* expected audio"),
        ({"label": "speaker"}, "data.label is 'speaker' and .* expected audio"),
        ({"kind": "series"}, "data.kind is 'series' and .* expected data.kind unset"),
    ],
)
def test_options_of_other_data_are_refused(option, message):
    with pytest.raises(UserError, match=message):
        open_source({**OPTIONS, "name": "gaussians", **option})


@pytest.mark.study
def test_a_run_over_lanes_goes_on_where_it_stopped(tmp_path, one_device):
    (tmp_path / "own.txt").write_text("to be or not to be, that is the question. " * 40)
    flags = ["--config", str(CONFIGS / "markov.py"), f"--config.data.path={tmp_path / 'own.txt'}", "--quiet"]
    flags += ["--config.data.window=20", "--config.data.order=lanes", "--config.batch_size=4", "--config.model.order=2"]
    flags += ["--config.sample_every=0", "--config.eval_every=0", "--config.save_every=0", "--config.log_every=0"]
    for name, stops in {"straight": (12,), "stopped": (5, 12)}.items():
        for stop in stops:
            train.main(["train", *flags, f"--config.steps={stop}", "--workdir", str(tmp_path / name)])
    straight, stopped = (gen_jax.load(tmp_path / name) for name in ("straight", "stopped"))
    assert straight.state.context.shape == (4, 2)
    chex.assert_trees_all_equal(host(straight.state), host(stopped.state))
    assert straight.state.counts[2].sum() == 12 * 4 * 20 - 4 * 2  # no 3-gram is lost between batches
    with pytest.raises(
        UserError, match="batch_size is 4 with data.order 'lanes'; expected a multiple of the 3 devices"
    ):
        options = {**OPTIONS, "path": str(tmp_path / "own.txt"), "window": 20, "order": "lanes"}
        data.load(options, batch_size=4, seed=0, steps=12, multiple=3)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "holds no text"),
        (b" \n ", {}, "holds no text"),
        (b"abc", {"window": 0}, "data.window is 0; expected at least 1"),
        (b"abc", {"vocabulary": "letters"}, "unknown data.vocabulary 'letters'"),
        (b"abc" * 50, {"transform": "unit"}, "data.transform is 'unit' and .* holds tokens"),
    ],
)
def test_unusable_text(tmp_path, content, options, message):
    (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        loaded(path=str(tmp_path / "own.txt"), **options)


def pieces_of(*lengths):
    random = np.random.default_rng(sum(lengths))
    return [(random.random((length, 88)) < 0.1).astype(np.uint8) for length in lengths]


def write_mat(path, **fields):
    held = {}
    for name, pieces in fields.items():
        held[name] = np.empty((1, len(pieces)), object)
        for number, piece in enumerate(pieces):
            held[name][0, number] = piece
    savemat(path, held)


def test_rolls_are_read_with_their_lengths(tmp_path):
    train = pieces_of(5, 9, 3)
    write_mat(tmp_path / "own.mat", traindata=train, validdata=pieces_of(4), testdata=pieces_of(12))
    found = loaded(3, path=str(tmp_path / "own.mat"))
    batch = batch_at(found)
    assert found.spec.kind == "roll" and batch["x"].shape == (3, 12, 88) and batch["x"].dtype == np.float32
    assert batch["length"].tolist() == [5, 9, 3]
    for x, piece in zip(batch["x"], train):
        assert np.array_equal(x[: len(piece)], piece) and not x[len(piece) :].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"traindata": pieces_of(3), "testdata": pieces_of(3)},
            "field 'validdata' of .* is missing; expected it beside t",
        ),
        ({key: [np.ones((3, 80))] for key in ("traindata", "validdata", "testdata")}, r"shape \(3, 80\)"),
        ({key: [np.full((3, 88), 7.0)] for key in ("traindata", "validdata", "testdata")}, "keys that are 0 or 1"),
    ],
)
def test_unusable_rolls(tmp_path, fields, message):
    write_mat(tmp_path / "own.mat", **fields)
    with pytest.raises(UserError, match=message):
        loaded(path=str(tmp_path / "own.mat"))
    (tmp_path / "torn.mat").write_bytes(b"no MATLAB")
    with pytest.raises(UserError, match="is not readable .*expected a .mat file"):
        loaded(path=str(tmp_path / "torn.mat"))


def test_the_chorales_have_the_published_sizes():
    source = open_source({**OPTIONS, "path": str(shared("polyphonic/JSB_Chorales.mat"))})
    assert source.sizes == {"train": 229, "validation": 76, "test": 77}
    frames = {split: int(source.rows(split, np.arange(rows))["length"].sum()) for split, rows in source.sizes.items()}
    assert frames == {"train": 13_807, "validation": 4602, "test": 4725}


@pytest.fixture
def archive(tmp_path):
    """Recordings of two digits by two speakers, and what they hold."""
    random, sounds = np.random.default_rng(0), {}
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as file:
        for digit in "27":
            for speaker in ("Ann", "bob"):
                for number in (0, 4, 5, 31):
                    sound = random.integers(-32768, 32768, 40 + number, dtype=np.int16)
                    buffer = io.BytesIO()
                    wavfile.write(buffer, 8000, sound)
                    file.writestr(f"recordings/{digit}_{speaker}_{number}.wav", buffer.getvalue())
                    sounds[digit, speaker, number] = sound
    return tmp_path / "own.zip", sounds


@pytest.mark.parametrize("label", ["digit", "speaker"])
@pytest.mark.parametrize("encoding", ["mu_law", "waveform"])
def test_recordings_are_read_with_their_labels(archive, encoding, label):
    path, sounds = archive
    source = open_source({**OPTIONS, "path": str(path), "encoding": encoding, "label": label})
    assert source.sizes == {"train": 8, "test": 8} and source.info["rate"] == 8000
    assert source.classes == (("2", "7") if label == "digit" else ("Ann", "bob"))
    for split, numbers in {"train": (31, 5), "test": (0, 4)}.items():
        rows = source.rows(split, np.arange(8))
        wanted = sorted(key for key in sounds if key[2] in numbers)
        wanted.sort(key=lambda key: f"recordings/{key[0]}_{key[1]}_{key[2]}.wav")
        for row, key in enumerate(wanted):
            assert source.classes[rows["y"][row]] == key[LABELLED[label]] and rows["length"][row] == len(sounds[key])
            x = rows["x"][row, : rows["length"][row]]
            sound = from_mu_law(x) if encoding == "mu_law" else x
            assert np.abs(sound - sounds[key] / 32768).max() < (0.03 if encoding == "mu_law" else 1e-6)


LABELLED = {"digit": 0, "speaker": 1}


def test_mu_law_is_its_inverse_and_fine_near_zero():
    assert np.array_equal(to_mu_law(from_mu_law(np.arange(256))), np.arange(256))
    x = np.linspace(-1, 1, 10_001)
    assert np.abs(from_mu_law(to_mu_law(x)) - x).max() < 0.025
    quiet = np.abs(x) < 0.01
    assert np.abs(from_mu_law(to_mu_law(x[quiet])) - x[quiet]).max() < 4e-4


def test_unusable_recordings(tmp_path, archive):
    (tmp_path / "torn.zip").write_bytes(archive[0].read_bytes()[:200])
    with pytest.raises(UserError, match="is not readable .*expected an archive"):
        loaded(path=str(tmp_path / "torn.zip"))
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as file:
        for name in ("readme.txt", "10_ann_0.wav", "__MACOSX/._1_ann_0.wav"):
            file.writestr(name, "nothing")
    with pytest.raises(UserError, match=r"expected files DIGIT_SPEAKER_NUMBER.wav"):
        loaded(path=str(tmp_path / "none.zip"))
    with pytest.raises(UserError, match="unknown data.encoding 'mulaw'; expected .*Did you mean 'mu_law'"):
        loaded(path=str(archive[0]), encoding="mulaw")


def test_the_spoken_digits():
    source = open_source({**OPTIONS, "path": str(shared("audio/free-spoken-digit-dataset.zip"))})
    assert source.sizes == {"train": 2700, "test": 300} and len(source.classes) == 10


def test_series_are_scaled_and_the_inverse_is_kept(tmp_path):
    x = np.random.default_rng(0).normal((100, -3), (20, 0.1), (50, 7, 2))
    np.save(tmp_path / "own.npy", x)
    found = loaded(50, path=str(tmp_path / "own.npy"), kind="series", transform="unit")
    model_space = batch_at(found)["x"]
    assert found.spec.kind == "series" and found.spec.shape == (7, 2)
    np.testing.assert_allclose(model_space.min((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(model_space.max((0, 1)), 1, atol=1e-6)
    np.testing.assert_allclose(to_data(found.spec, model_space), x, rtol=1e-5)
    assert loaded(50, path=str(tmp_path / "own.npy")).spec.kind == "image"
    with pytest.raises(UserError, match="unknown data.kind 'serie'; expected .*Did you mean 'series'"):
        loaded(path=str(tmp_path / "own.npy"), kind="serie")


def test_sines_are_those_of_timegan():
    found = loaded(2000, name="sines", split="test", transform="none")
    x = batch_at(found)["x"].astype(np.float64)
    assert found.spec.sizes["train"] == 10_000 and x.shape[1:] == (24, 5) and 0 <= x.min() and x.max() <= 1
    angle = np.arcsin(np.clip(2 * x[:, :10] - 1, -1, 1))  # f t + p, below a quarter turn for t < 10
    frequency, phase = np.diff(angle, axis=1).mean(1), angle[:, 0]
    np.testing.assert_allclose(angle[:, 5], 5 * frequency + phase, atol=1e-3)
    for drawn in (frequency, phase):
        assert drawn.min() >= -1e-3 and drawn.max() <= 0.1 + 1e-3 and abs(drawn.mean() - 0.05) < 2e-3


def text_spec():
    info = {"vocabulary": [*"\nabcd", UNSEEN], "ragged": True, "pieces": False}
    return make_spec("text", (6,))._replace(dtype="uint8", info=info, low=0, high=5)


def test_texts_are_saved_as_text():
    samples = {"x": np.array([[1, 2, 0, 3, 0, 0], [4, 4, 4, 4, 4, 4]]), "length": np.array([4, 6])}
    assert encode(samples, text_spec(), ".txt") == {".txt": ("ab\nc\n" + "-" * 80 + "\ndddddd\n").encode()}
    with pytest.raises(UserError, match=r"file type of samples of text data '.png'.*\.npz, \.txt"):
        encode(samples, text_spec(), ".png")


def test_music_is_saved_as_midi_with_its_picture():
    x = np.zeros((2, 6, 88), np.uint8)
    x[0, 1:4, 39] = x[0, 2, 43] = x[1, 0, 0] = 1
    x[:, 5] = 1  # beyond the end
    spec = make_spec("roll", (6, 88))._replace(info={"ragged": True}, low=0.0, high=1.0)
    files = encode({"x": x, "length": np.array([5, 2])}, spec, ".mid")
    now, notes, held = 0, [], {}
    for message in mido.MidiFile(file=io.BytesIO(files[".mid"])).tracks[0]:
        now += message.time
        if message.type == "note_on":
            held[message.note] = now
        if message.type == "note_off":
            notes.append((message.note - 21, held.pop(message.note) // 480, now // 480))
    assert sorted(notes) == [(0, 7, 8), (39, 1, 4), (43, 2, 3)] and not held
    picture = np.asarray(Image.open(io.BytesIO(files[".png"])))
    factor = picture.shape[1] // 6
    small = picture[:, ::factor]
    assert (small[88 - 39] == [255, 0, 0, 0, 255, 200]).all() and small[90 + 88, 0] == 0


def test_music_is_heard_at_the_pitch_of_its_keys():
    x = np.zeros((2, 4, 88), np.uint8)
    x[0, :2, 48] = x[0, 2:, 60] = x[1, :2, 39] = 1  # A4, A5 and C4, as keys of a piano
    spec = make_spec("roll", (4, 88))._replace(low=0.0, high=1.0)
    rate, sound = wavfile.read(io.BytesIO(encode({"x": x}, spec, ".wav")[".wav"]))
    peaks = [np.abs(np.fft.rfft(sound[at * rate : (at + 1) * rate].astype(float))).argmax() for at in (0, 1, 3)]
    np.testing.assert_allclose(peaks, [440, 880, 261.63], atol=1)  # seconds, because a frame is half a second
    assert np.abs(sound).max() == 32767 and np.abs(sound[rate * 21 // 10 : rate * 29 // 10]).max() == 0
    silence = wavfile.read(io.BytesIO(encode({"x": 0 * x}, spec, ".wav")[".wav"]))[1]
    assert not silence.any()


def test_the_sound_of_long_music_ends(capsys, monkeypatch):
    assert midi_sound.LONGEST == 600
    monkeypatch.setattr(midi_sound, "LONGEST", 10.0)
    x = np.zeros((1, 40, 88), np.uint8)
    x[:, :30, 48] = x[:, 35:, 60] = 1  # of 20 seconds
    spec = make_spec("roll", (40, 88))._replace(low=0.0, high=1.0)
    rate, sound = wavfile.read(io.BytesIO(encode({"x": x}, spec, ".wav")[".wav"]))
    assert len(sound) / rate == pytest.approx(10, abs=1)
    assert "the sound ends after 10 of 20 s of music; a MIDI file holds all of it" in capsys.readouterr().out


def test_sound_is_saved_as_wav():
    sound = np.sin(np.arange(400) / 5) * 0.5
    spec = make_spec("audio", (500,))._replace(info={"vocabulary": list(range(256)), "rate": 4000})
    x = np.pad(to_mu_law(sound), (0, 100))[None]
    files = encode({"x": x, "length": np.array([400])}, spec, ".wav")
    assert set(files) == {".wav", ".png"}
    rate, written = wavfile.read(io.BytesIO(files[".wav"]))
    assert rate == 4000 and written.shape == (400 + 1000,) and written.dtype == np.int16
    np.testing.assert_allclose(written[:400] / 32767, sound, atol=0.015)
    assert not written[400:].any()


@pytest.mark.study
@pytest.mark.parametrize("kind", ["series", "audio"])
def test_series_are_drawn(kind):
    x = np.random.default_rng(0).uniform(-1, 1, (20, 30, 2) if kind == "series" else (20, 30))
    (content,) = encode({"x": x}, make_spec(kind, x.shape[1:]), ".png").values()
    picture = np.asarray(Image.open(io.BytesIO(content)))
    (other,) = encode({"x": x[:, ::-1]}, make_spec(kind, x.shape[1:]), ".png").values()
    assert picture.std() > 10 and content != other


def test_a_spectrogram_shows_pitch_and_time():
    tone = np.where(np.arange(4096) < 2048, 0, np.sin(2 * np.pi * np.arange(4096) * 1000 / 8000))
    loudness = spectrogram(tone)
    assert loudness.shape == (129, 61) and loudness.max() == 0
    assert loudness[::-1].argmax(0)[40] == 32  # of 128 bands up to 4 kHz
    assert (loudness[:, :28] < -100).all() and loudness[96, 40] > -1


def test_given_prefix_and_length():
    given = parse_given("prefix=ab\ncd", 3, text_spec(), 9).given
    assert given["x"].tolist() == [[1, 2, 0, 3, 4, 0, 0, 0, 0]] * 3 and given["length"].tolist() == [9] * 3
    assert given["mask"].tolist() == [[True] * 5 + [False] * 4] * 3
    assert parse_given(None, 2, text_spec()).given is None
    with pytest.raises(
        UserError, match=r"character 'Q' of 'aQ' is not in the vocabulary of made-up; expected characters of abcd"
    ):
        parse_given("prefix=aQ", 1, text_spec())
    with pytest.raises(UserError, match=r"--given is prefx=a; expected y=CLASS or y=all, or prefix=TEXT"):
        parse_given("prefx=a", 1, text_spec())
    with pytest.raises(UserError, match="--length is 5 and made-up holds image data"):
        parse_given(None, 1, make_spec("image", (8, 8, 1)), 5)
    with pytest.raises(UserError, match="--length is 3000000000; expected 1 to"):
        parse_given(None, 1, text_spec(), 3_000_000_000)


@pytest.mark.parametrize("build", [partial(hmm, states=3), partial(markov, order=2)], ids=["hmm", "markov"])
@pytest.mark.parametrize("length", [None, 4, 9])
def test_a_prefix_is_continued_to_the_length(build, length):
    model, key = build(text_spec()), jax.random.key(0)
    batch = {"x": jnp.asarray(np.random.default_rng(0).integers(0, 5, (20, 6)), jnp.int32)}
    state = jax.jit(model.step)(key, model.init(key, batch), batch)[0]
    sample = model.sample(key, state, 3, parse_given("prefix=abc", 3, text_spec(), length).given)
    assert sample["x"].shape == (3, length or 6)
    assert (sample["x"][:, :3] == jnp.asarray([[1, 2, 3]])).all()
    longer = sample["x"][:, 3:]
    assert longer.shape[1] >= 1 and ((longer >= 0) & (longer < 6)).all()


def test_nats_are_of_all_tokens_together_and_of_each_split():
    spec = text_spec()._replace(info={**text_spec().info, "pieces": True})
    rows = {
        "validation": {"x": np.zeros((3, 6), np.uint8), "length": np.array([6, 6, 2]), "reset": np.arange(3) == 0},
        "test": {"x": np.ones((2, 6), np.uint8), "length": np.array([6, 4]), "reset": np.arange(2) == 0},
    }
    seen = []

    def log_prob(batch):
        seen.append(batch["x"].shape)
        return -np.where(batch["x"][:, 0] == 0, 2.0, 3.0) * batch["length"]

    found = nats(spec, log_prob, rows)
    assert seen == [(1, 14), (1, 10)]  # each split is one text
    assert found["nats_per_token"] == pytest.approx((2 * 14 + 3 * 10) / 24)
    assert found["bits_per_token"] == pytest.approx(found["nats_per_token"] / np.log(2))
    assert found["perplexity"] == pytest.approx(np.exp(found["nats_per_token"]))
    assert found["per_split"] == {"validation": 2.0, "test": 3.0}


def test_densities_are_of_the_data_not_of_model_space():
    x = np.random.default_rng(0).normal(5, 2, (200, 4, 1))
    spec = make_spec("series", (4, 1))._replace(shift=[5.0], scale=[10.0])

    def log_prob(rows):  # N(0, 0.2^2) in model space
        z = to_model(spec, rows["x"]) / 0.2
        return (-0.5 * z**2 - np.log(0.2 * np.sqrt(2 * np.pi))).sum((1, 2))

    entropy = 0.5 * np.log(2 * np.pi * np.e * 4)
    assert nats(spec, log_prob, {"test": {"x": x}})["nats_per_frame"] == pytest.approx(entropy, abs=0.05)


def test_copies_are_found_to_the_token():
    random = np.random.default_rng(0)
    train, pieces = random.integers(0, 50, 5000), random.integers(0, 50, (4, 40))
    pieces[0, 5:25] = train[100:120]
    pieces[1] = train[-40:]
    longest, share = copies(train, pieces, n=4)
    text = ",".join(map(str, train)) + ","

    def held(run):
        return ("," + text).count("," + ",".join(map(str, run)) + ",") > 0

    exact = [max(n for n in range(1, 41) if any(held(p[i : i + n]) for i in range(41 - n))) for p in pieces]
    assert longest.tolist() == exact and exact[0] >= 20 and exact[1] == 40 and max(exact[2:]) < 6
    assert share == pytest.approx(np.mean([held(p[i : i + 4]) for p in pieces for i in range(37)]))
    assert np.isnan(copies(train, pieces[:, :3], n=4)[1])


@pytest.mark.parametrize("window", [60, 300])  # shorter than a piece, and longer
def test_a_copier_of_text_is_told_from_real_text(tmp_path, window):
    random = np.random.default_rng(0)
    (tmp_path / "own.txt").write_text(" ".join("".join(random.choice(list("abcdefgh"), 5)) for _ in range(3000)))
    found = loaded(path=str(tmp_path / "own.txt"), window=window)
    train = found.read("train", None)["x"].ravel()[:9000].reshape(-1, 300)
    model = SimpleNamespace(
        given=(),
        options={},
        sample=lambda key, state, num, given, how: {"x": train[:num].astype(np.int32)},
        log_prob=None,
    )
    scores = make_scorer(
        real_data(found.spec, found.read, ("train", "test")), ["longest_copy", "overlap"], num=5, seed=0
    ).score(model, None)
    assert scores["longest_copy"]["value"] == 200 and scores["overlap"]["value"] == 1
    assert scores["longest_copy"]["oracle"] < 15 and scores["overlap"]["oracle"] < 0.1
    assert scores["overlap"]["protocol"]["ngram"] == 12


def test_rolls_and_recordings_have_windows_too(tmp_path):
    train, rest = pieces_of(5, 9, 3), pieces_of(4)
    write_mat(tmp_path / "own.mat", traindata=train, validdata=rest, testdata=rest)
    found = loaded(2, 2, path=str(tmp_path / "own.mat"), window=4, order="lanes")
    assert found.spec.shape == (4, 88) and found.spec.sizes == {"train": 6, "validation": 1, "test": 1}
    rows = found.read("train", None)
    assert rows["length"].tolist() == [4, 1, 4, 4, 1, 3] and rows["reset"].tolist() == [1, 0, 1, 0, 0, 1]
    again = joined(found.spec, rows)
    for piece, x, length in zip(train, again["x"], again["length"]):
        assert length == len(piece) and np.array_equal(x[:length], piece)
    assert batch_at(found)["reset"].tolist() == [True, True]  # a lane begins
    assert batch_at(found, 1)["reset"].tolist() == [False, False]
    sounds = open_source({**OPTIONS, "path": str(shared("audio/free-spoken-digit-dataset.zip")), "window": 1000})
    rows = joined(make_spec("audio", (1000,))._replace(info=sounds.info), sounds.rows("test", np.arange(30)))
    whole = open_source({**OPTIONS, "path": str(shared("audio/free-spoken-digit-dataset.zip"))}).rows(
        "test", np.arange(3)
    )
    assert np.array_equal(rows["y"][:3], whole["y"]) and np.array_equal(rows["length"][:3], whole["length"])
    assert np.array_equal(rows["x"][0, : whole["length"][0]], whole["x"][0, : whole["length"][0]])


def test_rounds_are_canons():
    options = {"split": "train", "test_split": "test", "feed": "resident", "order": "shuffle", "name": "rounds"}
    loaded = data.load(options, batch_size=4, seed=0, steps=1, quiet=True)
    assert (loaded.spec.kind, loaded.spec.shape) == ("roll", (96, 88))
    assert loaded.spec.sizes == {"train": 58, "validation": 7, "test": 7}
    rows = np.concatenate([loaded.read(split, None)["x"] for split in loaded.spec.sizes])
    alone = [x for x in rows if x.sum() == 96]  # a frame has one key
    assert len(alone) == 18 and len(np.unique(rows, axis=0)) == 72
    for line in alone:
        canons = [
            [np.max([shifted(line, delay * voice) for voice in range(voices)], axis=0) for voices in range(1, 5)]
            for delay in (12, 16)
        ]
        assert sum(all((rows == canon).all((1, 2)).any() for canon in each) for each in canons) == 1


def shifted(x: np.ndarray, frames: int) -> np.ndarray:
    """A roll [T, 88] that begins so many frames later."""
    return np.pad(x, ((frames, 0), (0, 0)))[: len(x)]
