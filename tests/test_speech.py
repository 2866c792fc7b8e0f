"""Speech: alignments against enumeration, likelihoods, samples, and faulty texts."""

from functools import lru_cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec
from families import FAMILIES, SPOKEN, model_of, trained
from PIL import Image

import gen_jax as gj
from gen_jax.errors import UserError
from gen_jax.models.speech import frames_of, lattice_of, said_log_prob, speech
from gen_jax.models.speech.alignment import Lattice, best_path, path_sum, path_worth, symbol_of_frames

KEY = jax.random.key(0)


def durations_of(frames: int, symbols: int) -> list[np.ndarray]:
    """Returns the numbers of frames of the symbols of every path."""
    return [np.diff([0, *cuts, frames]) for cuts in combinations(range(1, frames), symbols - 1)]


def lattice(length: list[int], symbols: list[int], frames: int = 5, most: int = 3) -> Lattice:
    keys = jax.random.split(KEY, 2)
    stay = jax.random.normal(keys[0], (len(length), most))
    return Lattice(
        frame=2 * jax.random.normal(keys[1], (len(length), frames, most)),
        stay=jax.nn.log_sigmoid(stay),
        go=jax.nn.log_sigmoid(-stay),
        length=jnp.array(length),
        symbols=jnp.array(symbols),
    )


def worth(whole: Lattice, row: int, durations: np.ndarray) -> float:
    """Returns the worth of a path, added up frame by frame."""
    total, symbol, left = 0.0, 0, durations[0]
    for time in range(int(whole.length[row])):
        if left == 0:
            total += float(whole.go[row, symbol])
            symbol, left = symbol + 1, durations[symbol + 1]
        elif time:
            total += float(whole.stay[row, symbol])
        total, left = total + float(whole.frame[row, time, symbol]), left - 1
    return total + float(whole.go[row, symbol])


@pytest.mark.study
def test_alignments_equal_enumeration():
    length, symbols = [5, 4, 3, 1, 5], [3, 2, 3, 1, 1]
    whole = lattice(length, symbols)
    sums, best = path_sum(whole), np.asarray(best_path(whole))
    for row, (frames, size) in enumerate(zip(length, symbols)):
        paths = durations_of(frames, size)
        worths = np.array([worth(whole, row, path) for path in paths])
        np.testing.assert_allclose(sums[row], np.logaddexp.reduce(worths), rtol=1e-5)
        np.testing.assert_array_equal(best[row], np.pad(paths[worths.argmax()], (0, 3 - size)))
        assert best[row].sum() == frames and worths.max() <= sums[row] + 1e-5
    frame = [
        sum(np.asarray(whole.frame)[row, np.arange(n), np.repeat(np.arange(3), best[row])])
        for row, n in enumerate(length)
    ]
    np.testing.assert_allclose(
        path_worth(whole, best) + np.array(frame), [worth(whole, row, best[row]) for row in range(5)], rtol=1e-5
    )


def test_the_gradient_of_the_sum_is_that_of_finite_differences_and_of_posteriors():
    whole = lattice([5, 4], [3, 2])
    gradient = jax.grad(lambda frame: path_sum(whole._replace(frame=frame)).sum())(whole.frame)
    for place in [(0, 0, 0), (0, 2, 1), (0, 4, 2), (1, 1, 1), (1, 4, 1)]:
        moved = [path_sum(whole._replace(frame=whole.frame.at[place].add(step))).sum() for step in (0.01, -0.01)]
        np.testing.assert_allclose(gradient[place], (moved[0] - moved[1]) / 0.02, atol=2e-3)
    inside = np.arange(5)[None] < np.array([[5], [4]])
    np.testing.assert_allclose(gradient.sum(2), inside, atol=1e-5)  # the symbols of a frame share its probability
    stays = jax.grad(lambda stay: path_sum(whole._replace(stay=stay)).sum())(whole.stay)
    np.testing.assert_allclose(stays.sum(1), [5 - 3, 4 - 2], rtol=1e-5)  # a path stays as often as it has more frames


def test_padding_changes_no_alignment():
    short, long = lattice([4], [2], frames=4, most=2), lattice([4], [2], frames=4, most=2)
    pad = [(0, 0), (0, 3), (0, 2)]
    long = long._replace(
        frame=jnp.pad(long.frame, pad, constant_values=50.0),
        stay=jnp.pad(long.stay, pad[::2], constant_values=-0.1),
        go=jnp.pad(long.go, pad[::2], constant_values=-0.1),
    )
    np.testing.assert_array_equal(path_sum(short), path_sum(long))
    np.testing.assert_array_equal(best_path(short), best_path(long)[:, :2])
    assert best_path(long)[0, 2:].sum() == 0


def test_frames_find_their_symbol():
    np.testing.assert_array_equal(symbol_of_frames(jnp.array([[2, 1, 0], [1, 2, 1]]), 4), [[0, 0, 1, 2], [0, 1, 1, 2]])


@lru_cache
def learnt(name: str) -> tuple:
    return model_of(name), trained(name, FAMILIES[name].steps)[0]


def test_the_sum_of_all_alignments_integrates_to_the_probability_of_the_length():
    """One number a frame and two frames: the integral over both is the probability that the text has two frames."""
    spec = make_spec("series", (2, 1))._replace(info={"ragged": True}, condition=SPOKEN)
    net = {"name": "conv", "units": 8, "layers": 1, "decoder_layers": 1}
    model = speech(spec, net, decoder="none", deviation=0.7)
    grid = np.linspace(-6, 6, 161, dtype=np.float32)
    x = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2, 1)
    state = model.init(KEY, {})
    for symbols in (1, 2):
        c = np.broadcast_to(np.array([[0, 2, 0]], np.int32), (len(x), 3))
        batch = {"x": x, "length": np.full(len(x), 2), "c": c, "c_length": np.full(len(x), symbols)}
        density = np.exp(np.asarray(model.log_prob(KEY, state, batch), np.float64))
        stay = 0.8  # of the first weights: four frames more than the first one, on average
        expected = stay * (1 - stay) if symbols == 1 else (1 - stay) ** 2
        assert density.sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(expected, rel=1e-3)


@pytest.mark.study
def test_the_bound_is_the_best_alignment_of_the_sum_over_all():
    """With a decoder, whose frames depend on the whole path, enumerated for a text of three tokens."""
    model, state = learnt("speech")
    batch = {name: value[2:3] for name, value in FAMILIES["speech"].batch.items()}
    inner = model.log_prob_bound.args[0]
    frames, params = int(batch["length"][0]), state.average
    symbols = inner.apply(params, "read", {name: batch[name] for name in ("c", "c_length")})
    whole = lattice_of(inner, params, symbols, batch)
    every = np.array(durations_of(frames, 3))
    states = jnp.repeat(symbols.states, len(every), 0)
    x = jnp.repeat(batch["x"], len(every), 0)
    spoken = said_log_prob(inner, params, frames_of(states, jnp.asarray(every), 8), x, {})
    paths = np.array([path_worth(whole, jnp.asarray(each)[None])[0] for each in every])
    joint = np.asarray(spoken, np.float64) + paths
    bound, exact = float(model.log_prob_bound(KEY, state, batch)[0]), np.logaddexp.reduce(joint)
    assert len(every) == 10 and exact - 3 < bound < exact
    best = int(np.flatnonzero((every == np.asarray(best_path(whole))).all(1))[0])
    assert bound == pytest.approx(joint[best], rel=1e-4)


@pytest.mark.study
def test_the_alignment_finds_the_frames_of_each_token():
    for name in ("speech", "speech_sum", "speech_flow"):
        model, state = learnt(name)
        batch = FAMILIES[name].batch
        z = np.asarray(model.encode(KEY, state, batch)["z"])
        np.testing.assert_array_equal(z.sum(1), batch["length"])
        inside = np.arange(3)[None] < np.asarray(batch["c_length"])[:, None]
        wanted = np.where(inside, 2 + (np.asarray(batch["c"]) == 1), 0)
        alone = np.asarray(batch["c_length"]) < 3  # because the last token of three may be cut
        different = (np.diff(np.asarray(batch["c"]), axis=1) != 0)[:, 0]
        assert (z == wanted)[alone & different].mean() > 0.9, name


@pytest.mark.study
def test_a_text_has_its_mean_number_of_frames_and_a_speed():
    model, state = learnt("speech")
    batch = {name: np.asarray(value) for name, value in FAMILIES["speech"].batch.items()}
    given = {"c": batch["c"][:6], "c_length": batch["c_length"][:6]}
    samples = model.sample(KEY, state, 6, given, {"frames": 40})
    assert samples["x"].shape == (6, 40, 2) and np.abs(samples["length"] - batch["length"][:6]).mean() < 1.5
    slow = model.sample(KEY, state, 6, given, {"frames": 40, "speed": 0.5})
    assert (slow["length"] > 1.5 * samples["length"]).all()
    short = model.sample(KEY, state, 6, given, {"frames": 4, "speed": 0.5})
    assert (short["length"] <= 4).all() and (short["length"] >= given["c_length"]).all()
    quiet = model.sample(KEY, state, 6, given, {"temperature": 0})
    np.testing.assert_array_equal(quiet["x"], model.sample(jax.random.key(1), state, 6, given, {"temperature": 0})["x"])
    for row, length in enumerate(samples["length"]):
        assert (np.asarray(samples["x"])[row, length:] == 0).all()


def test_faulty_texts_and_options_of_speech_are_refused():
    model, state = learnt("speech")
    batch = {name: np.asarray(value) for name, value in FAMILIES["speech"].batch.items()}
    short = {**batch, "length": np.where(batch["c_length"] == 3, 2, batch["length"])}
    with pytest.raises(UserError, match="row 3 has 2 frames for 3 symbols; expected as many frames as symbols"):
        model.encode(KEY, state, short)
    given = {"c": batch["c"][:3], "c_length": batch["c_length"][:3]}
    with pytest.raises(UserError, match="text 3 has 3 symbols; expected at most 2, the number of frames"):
        model.sample(KEY, state, 3, given, {"frames": 2})
    with pytest.raises(UserError, match="speed is .*; expected a number from 0.1 to 10"):
        model.sample(KEY, state, 3, given, {"speed": 0})
    with pytest.raises(UserError, match="given c is missing"):
        model.sample(KEY, state, 3)
    spec = make_spec("series", (8, 2))._replace(info={"ragged": True}, condition=SPOKEN)
    for options, line in [
        ({"alignment": "mean"}, "alignment 'mean'"),
        ({"decoder": "gan"}, "decoder 'gan'"),
        ({"deviation": 0}, "deviation is 0; expected a number above 0"),
    ]:
        with pytest.raises(UserError, match=line):
            speech(spec, **options)
    with pytest.raises(UserError, match="kernel is 4; expected an odd number"):
        speech(spec, {"name": "conv", "kernel": 4}).init(KEY, {})
    with pytest.raises(UserError, match="holds image data; expected series of numbers"):
        speech(make_spec("image", (8, 8, 1)))
    with pytest.raises(UserError, match="are missing; expected labels or a condition"):
        speech(spec._replace(condition=None))
    with pytest.raises(UserError, match="has no text as condition"):
        speech(spec._replace(condition=make_spec("vector", (3,))))


@pytest.mark.study
def test_a_run_draws_its_alignments_also_of_series_of_one_length(tmp_path):
    random = np.random.default_rng(0)
    x, texts = random.normal(size=(24, 6, 2)).astype(np.float32), ["ab", "ba", "a"] * 8
    data = gj.data.arrays(x, c=texts, test=(x[:4], None, texts[:4]), kind="series", vocabulary="characters")
    net = {"name": "conv", "units": 8, "layers": 1, "decoder_layers": 1}
    model = gj.models.speech(data.spec, net)
    gj.fit(model, data, workdir=tmp_path / "run", steps=1, batch_size=8, sample_every=1)
    assert Image.open(tmp_path / "run" / "samples" / "alignment-1.png").size[0] == 800
