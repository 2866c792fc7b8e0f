"""Pieces of several voices: their file, their key, their MIDI files, their head and the rule that is their floor."""

import io

import jax
import jax.numpy as jnp
import mido
import numpy as np
import pytest
from conftest import make_spec

from gen_jax import data
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.voices import midi, staves
from gen_jax.data.sources.opening import open_source
from gen_jax.distributions import frames
from gen_jax.errors import UserError
from gen_jax.metrics.sequences.voices_floor import PSEUDO, HoldOrJump
from gen_jax.models.autoregressive import autoregressive
from gen_jax.models.hmm import hmm
from gen_jax.models.markov import markov

PIECES = [[[60, 55], [60, 55], [62, -1]], [[64, 50], [64, 52]], [[61, 50]]]


def voices_of(path, pieces=PIECES, **others):
    arrays = {}
    for split in ("train", "test"):
        arrays[f"x_{split}"] = np.concatenate([np.array(piece, np.int8) for piece in pieces])
        arrays[f"length_{split}"] = np.array([len(piece) for piece in pieces], np.int32)
    np.savez(path, **{**arrays, **others})
    return path


def test_a_file_gives_whole_pieces_whose_symbols_are_the_pitches(tmp_path):
    path = voices_of(tmp_path / "a.npz")
    spec, batch = data.open(path).spec, open_source({"path": path, "name": "digits"}).rows("train", np.array([0, 2]))
    assert (spec.kind, spec.shape, spec.sizes) == ("voices", (3, 2), {"train": 3, "test": 3})
    assert list(spec.vocabulary) == [-1, *range(50, 65)]
    np.testing.assert_array_equal(batch["length"], [3, 1])
    np.testing.assert_array_equal(np.array(spec.vocabulary)[batch["x"][0]], PIECES[0])
    np.testing.assert_array_equal(batch["x"][1, 1:], 0)


@pytest.mark.parametrize(
    "others, line",
    [
        ({"length_train": np.array([2, 2])}, "length_train of .* sums to 4; expected 6, the frames of x_train"),
        ({"x_valid": np.zeros(3)}, "holds the array 'x_valid'; expected length_test"),
        ({"length_train": np.array([6, 0])}, "length_train of .* is missing or wrong"),
        ({"length_test": np.array([[6]])}, "length_test of .* is missing or wrong"),
        (
            {"x_train": np.full((6, 2), 128, np.uint8)},
            "x_train of .* holds 128; expected MIDI pitches up to 127, or -1",
        ),
        ({"x_train": np.full((6, 2), -2)}, "x_train of .* holds -2"),
        ({"x_train": np.full((6, 2), 60.5)}, "x_train of .* is float64.*expected whole numbers"),
        ({"x_train": np.full((6, 3), 60)}, "pieces of .2, 3. voices; expected one number"),
        ({"x_train": np.full((6, 2), -1), "x_test": np.full((6, 2), -1)}, "holds silence alone"),
        ({"x_train": np.zeros((0, 2), int), "length_train": np.zeros(0, int)}, "expected"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, others, line):
    with pytest.raises(UserError, match=line):
        open_source({"path": voices_of(tmp_path / "a.npz", **others), "name": "digits"})


def test_an_array_file_of_one_split_is_read_as_before(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3), np.float32))
    assert open_source({"path": tmp_path / "a.npz", "name": "digits"}).kind == "vector"


@pytest.mark.parametrize("kind", ["voices", "roll"])
def test_a_piece_moves_to_another_key_unless_it_would_leave_the_range(kind):
    random = np.random.default_rng(0)
    if kind == "voices":
        x = random.choice([0, 3, 4, 5], (200, 5, 2)).astype(np.uint8)
        spec = make_spec(kind, (5, 2))._replace(info={"vocabulary": list(range(9))})
    else:
        x = (random.random((200, 5, 9)) < 0.1).astype(np.uint8)
        spec = make_spec(kind, (5, 9))
    shift = random.integers(-5, 7, 200)
    found = np.asarray(kind_of(spec).transpose(jnp.asarray(x), jnp.asarray(shift), spec))
    moved = 0
    for row, by, got in zip(x, shift, found):
        expected = np.zeros_like(row)
        places = np.argwhere(row > 0)
        if kind == "voices":
            fits = all(1 <= row[tuple(place)] + by <= 8 for place in places)
            expected = np.where(row > 0, row + (by if fits else 0), 0)
        else:
            fits = all(0 <= key + by <= 8 for _, key in places)
            for frame, key in places:
                expected[frame, key + (by if fits else 0)] = 1
        moved += fits and by != 0
        np.testing.assert_array_equal(got, expected)
    assert 30 < moved < 190


def test_batches_are_transposed_by_seed_and_step(tmp_path):
    path = voices_of(tmp_path / "a.npz", PIECES * 10)
    options = {
        "path": str(path),
        "name": "digits",
        "feed": "auto",
        "order": "shuffle",
        "split": "train",
        "test_split": "test",
    }
    opened = [
        data.load({**options, "augment": augment}, batch_size=30, seed=0, steps=4)
        for augment in ("transpose", "transpose", None)
    ]
    batches = [
        [jax.tree.map(np.asarray, each.batch(each.arrays, each.at(step))) for step in range(2)] for each in opened
    ]
    for step in range(2):
        np.testing.assert_array_equal(batches[0][step]["x"], batches[1][step]["x"])
        plain, changed = batches[2][step]["x"], batches[0][step]["x"]
        steps = np.where(plain > 0, changed - plain, 99).reshape(30, -1)
        shifts = [set(row[row != 99]) for row in steps]
        assert all(len(shift) == 1 for shift in shifts) and len(set.union(*shifts)) > 3
    assert (batches[0][0]["x"] != batches[0][1]["x"]).any()
    for faulty in ({"augment": "transpose,flip"}, {"augment": "flip"}, {"augment": "transpose", "window": 2}):
        with pytest.raises(UserError, match=f"data.augment is {faulty['augment']}"):
            data.load({**options, **faulty}, batch_size=2, seed=0, steps=1)
    with pytest.raises(UserError, match="data.augment is transpose and digits.* holds image data"):
        data.load({**options, "path": None, "augment": "transpose"}, batch_size=2, seed=0, steps=1)


@pytest.mark.study
def test_a_midi_file_holds_the_notes_of_each_voice(tmp_path):
    spec = data.open(voices_of(tmp_path / "a.npz")).spec
    rows = open_source({"path": tmp_path / "a.npz", "name": "digits"}).rows("train", np.array([0, 1]))
    file = mido.MidiFile(file=io.BytesIO(midi(rows, spec)))
    heard = []
    for track in file.tracks:
        now, on, notes = 0, {}, []
        for message in track:
            now += message.time
            if message.type == "note_on":
                on[message.note] = now
            elif message.type == "note_off":
                notes.append((message.note, on.pop(message.note) // 120, now // 120))
        heard.append(notes)
    assert heard == [[(60, 0, 2), (62, 2, 3), (64, 11, 13)], [(55, 0, 2), (50, 11, 12), (52, 12, 13)]]
    x = np.where(np.arange(3)[None, :, None] < rows["length"][:, None, None], rows["x"], np.nan)
    picture = np.asarray(staves(x, spec))
    assert picture.ndim == 3 and len({*map(tuple, picture.reshape(-1, 3))}) == 4  # white, grey and two voices


def test_the_head_is_the_product_of_the_conditionals_of_the_voices():
    spec = make_spec("voices", (4, 3))._replace(info={"vocabulary": list("abcd")})
    head = frames.fitting(spec, {"name": "chord", "hidden": 5})
    keys = iter(jax.random.split(jax.random.key(0), 3))
    weights = {name: jax.random.normal(next(keys), shape) for name, shape in head.weights.items()}
    out, x = jax.random.normal(next(keys), (head.width,)), np.array([2, 0, 3])
    expected, units = 0.0, np.asarray(out[12:], np.float64)
    for voice in range(3):
        logits = np.asarray(out[:12]).reshape(3, 4)[voice] + np.asarray(weights["to"][voice]) @ np.maximum(units, 0)
        expected += logits[x[voice]] - np.log(np.exp(logits).sum())
        units = units + np.asarray(weights["from"][voice, x[voice]])
    np.testing.assert_allclose(head.log_prob(weights, out, jnp.asarray(x)), expected, rtol=1e-5)


def test_the_rule_is_a_probability_and_holds_by_the_place_in_the_beat():
    pieces = [np.array(piece) for piece in ([[1], [1], [2], [2], [1], [1]], [[0], [0], [1], [1]])]
    rule = HoldOrJump(pieces, 3)
    each = [rule.log_prob(np.array([[a], [b], [c]])) for a in range(3) for b in range(3) for c in range(3)]
    np.testing.assert_allclose(np.exp(each).sum(), 1, rtol=1e-9)
    first = (1 + PSEUDO) / (2 + 3 * PSEUDO)  # of the symbol 1
    hold = (3 + PSEUDO) / (3 + 2 * PSEUDO)  # at the second place of a beat
    jump = (2 + PSEUDO) / (2 + 2 * PSEUDO), (1 + PSEUDO) / (1 + 2 * PSEUDO)  # at the third place, from 1 to 2
    expected = np.log(first) + np.log(hold) + np.log(jump[0]) + np.log(jump[1])
    np.testing.assert_allclose(rule.log_prob(np.array([[1], [1], [2]])), expected, rtol=1e-9)


@pytest.mark.parametrize("family", [hmm, markov])
def test_families_of_tokens_refuse_voices(family):
    spec = make_spec("voices", (4, 3))._replace(info={"vocabulary": list("abcd")})
    with pytest.raises(UserError, match="holds voices data"):
        family(spec)
    with pytest.raises(UserError, match="head is 'categorical' and .* has frames of symbols; expected chord"):
        autoregressive(spec, net={"name": "gru"}, head={"name": "categorical"})
