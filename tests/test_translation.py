"""Texts from texts: attention to a condition, rows that end, beam search, BLEU, and the command from pairs to a text."""

from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec

import gen_jax as gj
from gen_jax import evaluate, sample, train
from gen_jax.data.feed.load import load
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.sequences.lexicon import learnt_lexicon, translated
from gen_jax.metrics.sequences.paired_texts import nearest_translations, translation
from gen_jax.metrics.sequences.summaries import SUMMARY, defined, first_words, rouge, summary
from gen_jax.models.autoregressive import AutoregressiveNet, autoregressive, next_frame_loss
from gen_jax.models.autoregressive.beam import beam_search
from gen_jax.verbs.draw import chosen_options

CONFIG = Path(__file__).parents[1] / "configs" / "translate.py"
KEY = jax.random.key(0)
END, VALUES, FRAMES, WORDS = 2, 3, 4, 5
SOURCE = make_spec("text", (3,))._replace(info={"vocabulary": list("vwxyz"), "ragged": True})
TARGET = make_spec("text", (FRAMES,))._replace(
    info={"vocabulary": ["a", "b", "<end>"], "end": END, "ragged": True}, condition=SOURCE
)
SMALL = {"name": "transformer", "units": 8, "layers": 2, "encoder": 1, "heads": 2, "context": 8}
NETS = {"transformer": SMALL, "gru": {"name": "gru", "units": 8}}
SHARED = TARGET._replace(condition=SOURCE._replace(info={"vocabulary": ["a", "b", "<end>"], "ragged": True}))
every_net = pytest.mark.parametrize("net", [*NETS, "copies"])


@lru_cache
def model_of(net: str = "transformer"):
    if net == "copies":
        return with_weights(SHARED, NETS["transformer"], copies=True)
    return with_weights(TARGET, NETS[net])


def with_weights(spec, net: dict, **options):
    """A model whose weights are nowhere zero, so that each part takes part, and its state."""
    model = autoregressive(spec, net, conditional=True, **options)
    batch = {"x": jnp.zeros((1, FRAMES), jnp.int32), **sources([[0, 1, 2]])}
    state = jax.jit(model.init)(KEY, batch)
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    params = jax.tree.unflatten(
        tree, [leaf + 0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    )
    return model, state._replace(params=params, average=params)


def sources(rows: list[list[int]]) -> dict:
    """Conditions [N, 3] of one to three tokens."""
    c = np.zeros((len(rows), 3), np.int32)
    for row, tokens in enumerate(rows):
        c[row, : len(tokens)] = tokens
    return {"c": jnp.asarray(c), "c_length": jnp.asarray([len(tokens) for tokens in rows], jnp.int32)}


@lru_cache
def outcomes() -> tuple[np.ndarray, np.ndarray]:
    """All rows that end, and all rows that are full: tokens [N, T] and lengths."""
    rows = []
    for length in range(1, FRAMES + 1):
        rows += [(*tokens, END) for tokens in product(range(END), repeat=length - 1)]
    rows += [*product(range(END), repeat=FRAMES)]
    x = np.zeros((len(rows), FRAMES), np.int32)
    for row, tokens in enumerate(rows):
        x[row, : len(tokens)] = tokens
    return x, np.array([len(tokens) for tokens in rows], np.int32)


def log_probs(model, state, condition: list[int]) -> np.ndarray:
    """Of all outcomes, for one condition."""
    x, length = outcomes()
    return np.asarray(
        model.log_prob(KEY, state, {"x": jnp.asarray(x), "length": length, **sources([condition] * len(x))})
    )


@every_net
@pytest.mark.parametrize("condition", [[0], [2, 1, 0]])
def test_probabilities_of_all_texts_that_end_and_of_full_rows_sum_to_one(net, condition):
    model, state = model_of(net)
    assert np.exp(log_probs(model, state, condition)).sum() == pytest.approx(1, abs=1e-5)


@every_net
def test_samples_end_with_the_probabilities_that_are_scored(net):
    model, state = model_of(net)
    num = 4096
    drawn = jax.device_get(model.sample(KEY, state, num, sources([[2, 1, 0]] * num)))
    assert not drawn["x"][np.arange(FRAMES)[None] >= drawn["length"][:, None]].any()
    x, length = outcomes()
    shares = [((drawn["x"] == row).all(1) & (drawn["length"] == size)).mean() for row, size in zip(x, length)]
    assert sum(shares) == pytest.approx(1)
    np.testing.assert_allclose(shares, np.exp(log_probs(model, state, [2, 1, 0])), atol=0.03)


@every_net
def test_what_a_sampler_reads_once_is_what_a_score_reads(net):
    """The likeliest next token at every place, by the cache, is that of the whole row."""
    model, state = model_of(net)
    given = sources([[0], [2, 1, 0], [1, 1]])
    drawn = model.sample(KEY, state, 3, given, {"temperature": 0})
    for row in range(3):
        length = int(drawn["length"][row])
        for place in range(length):
            options = jnp.tile(drawn["x"][row], (VALUES, 1)).at[:, place].set(jnp.arange(VALUES))
            rows = {name: jnp.repeat(value[row : row + 1], VALUES, 0) for name, value in given.items()}
            scores = model.log_prob(KEY, state, {"x": options, "length": np.full(VALUES, place + 1, np.int32), **rows})
            assert int(scores.argmax()) == int(drawn["x"][row, place])


@every_net
def test_a_beam_of_one_is_greedy(net):
    model, state = model_of(net)
    given = sources([[0], [2, 1, 0], [1, 1], [1]])
    greedy = model.sample(KEY, state, 4, given, {"temperature": 0})
    found = model.sample(KEY, state, 4, given, {"beam": 1})
    ends = np.asarray(greedy["x"] == END).any(1)
    np.testing.assert_array_equal(np.asarray(found["x"])[ends], np.asarray(greedy["x"])[ends])


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_full_beam_is_the_enumeration(penalty):
    model, state = model_of()
    conditions = [[0], [2, 1, 0], [2, 2], [4], [1, 0]]
    how = {"beam": VALUES**FRAMES, "length_penalty": penalty}
    found = model.sample(KEY, state, len(conditions), sources(conditions), how)
    x, length = outcomes()
    for row, condition in enumerate(conditions):
        scores = log_probs(model, state, condition) / ((5 + length) / 6) ** penalty
        scores[(x != END).all(1)] = -np.inf  # rows that do not end
        np.testing.assert_array_equal(found["x"][row], x[scores.argmax()])
        alone = model.sample(KEY, state, 1, sources([condition]), how)["x"][0]
        np.testing.assert_array_equal(found["x"][row], alone)


def test_a_beam_of_which_no_hypothesis_ends_is_the_likeliest_full_row():
    log_p = jnp.log(jnp.array([[0.1, 0.6, 0.3, 1e-12], [0.6, 0.2, 0.2, 1e-12], [0.2, 0.1, 0.7, 1e-12]]))

    def move(lanes, time):
        return lanes, jnp.tile(log_p[time], (2, 1))

    lanes = (jnp.zeros(2), jnp.zeros(2, jnp.int32))
    x = beam_search(move, lanes, jnp.zeros((1, 3), jnp.int32), jnp.zeros(1, jnp.int32), 3, 2, jnp.float32(0))
    np.testing.assert_array_equal(x, [[1, 0, 2]])


@pytest.mark.parametrize("how", [{"beam": 2}, {"temperature": 1.0}])
def test_a_prefix_stays_and_an_asked_length_is_not_cut_short(how):
    model, state = model_of()
    num = 32
    start = np.tile(np.array([[1, 0, 0, 0]], np.int32), (num, 1))
    given = {**sources([[2, 1, 0]] * num), "x": start, "mask": np.tile([1, 0, 0, 0], (num, 1))}
    drawn = model.sample(KEY, state, num, given, how)
    assert (np.asarray(drawn["x"])[:, 0] == 1).all()
    drawn = model.sample(KEY, state, num, {**sources([[2, 1, 0]] * num), "length": np.full(num, 3, np.int32)}, how)
    assert (np.asarray(drawn["length"]) == 3).all() and not (np.asarray(drawn["x"])[:, :2] == END).any()


@pytest.mark.parametrize(
    ("spec", "how", "message"),
    [
        (TARGET, {"beam": -1}, "beam is -1; expected a whole number, at least 0"),
        (TARGET, {"beam": 2, "temperature": 0.5}, "beam is 2 beside temperature; expected one of them"),
        (TARGET, {"beam": 2, "stream": print}, "beam is 2 beside stream; expected one of them"),
        (TARGET, {"length_penalty": 1.0}, "length_penalty is 1.0 without beam; expected a beam search"),
        (TARGET, {"beam": 2, "length_penalty": -1.0}, "length_penalty is .*; expected a number from 0 to 10"),
        (
            TARGET._replace(info={"vocabulary": list("abc")}),
            {"beam": 2},
            "have no symbol that ends them; expected data with data.end",
        ),
    ],
)
def test_searches_that_cannot_be(spec, how, message):
    model, state = model_of()
    model = autoregressive(spec, SMALL, conditional=True)
    with pytest.raises(UserError, match=message):
        model.sample(KEY, state, 2, sources([[0], [1]]), how)


@pytest.mark.study
def test_defaults_beside_a_beam_change_nothing_and_a_row_that_has_ended_stays():
    model, state = model_of()
    given = sources([[0], [2, 1, 0]])
    plain = model.sample(KEY, state, 2, given, {"beam": 2})
    told = model.sample(KEY, state, 2, given, {"beam": 2, "temperature": 1.0, "top_p": 1.0, "length_penalty": 0.6})
    np.testing.assert_array_equal(plain["x"], told["x"])
    ended = {**given, "x": np.array([[0, END, 0, 0]] * 2, np.int32), "mask": np.array([[1, 1, 0, 0]] * 2)}
    for how in ({"beam": 2}, {}):
        drawn = model.sample(KEY, state, 2, ended, how)
        assert drawn["length"].tolist() == [2, 2] and drawn["x"].tolist() == [[0, END, 0, 0]] * 2


def test_options_of_a_user_replace_those_of_the_config():
    assert chosen_options({"beam": 4, "temperature": None}) == {"beam": 4}
    assert chosen_options({"beam": 4}, {"temperature": 0.5}) == {"temperature": 0.5}
    assert chosen_options({"beam": 4}, {"stream": print}) == {"stream": print}
    assert chosen_options({"temperature": 0.5}, {"beam": 2}) == {"beam": 2}
    assert chosen_options({"beam": 4}, {"length_penalty": 1.0}) == {"beam": 4, "length_penalty": 1.0}


def test_a_tied_table_serves_both_sides_and_the_logits():
    """Tokens of a shared vocabulary: the weights are one table, and the gradient reaches it from all three."""
    model, state = with_weights(SHARED, {**SMALL, "tied": True})
    weights = state.params["params"]
    assert {*weights} == {"table", "bias", "recurrent"} and weights["table"]["embedding"].shape == (VALUES, 8)
    model, state = with_weights(TARGET, {**SMALL, "tied": True})  # another vocabulary
    assert {*state.params["params"]} == {"table", "bias", "recurrent", "condition"}
    with pytest.raises(UserError, match="tied is true for a head without logits of tokens"):
        series = autoregressive(make_spec("series", (4, 2)), {**SMALL, "tied": True})
        series.init(KEY, {"x": jnp.zeros((1, 4, 2))})


@pytest.mark.study
def test_what_is_copied_is_what_attention_points_to():
    """With a closed gate a token has the sum of the shares of its places in the text, by hand; others are impossible."""
    model, state = model_of("copies")
    net, params = model.init.args[0], state.params["params"]
    closed = {**params["gate"], "bias": jnp.full(1, -50.0), "kernel": 0 * params["gate"]["kernel"]}
    params = {"params": {**params, "gate": closed}}
    out = jax.jit(net.unroll)(params, None, jnp.full((1, 1), -1), sources([[0, 1, 0]]))[1]
    shares = np.exp(np.asarray(out[0, 0]))
    assert shares.sum() == pytest.approx(1) and shares[END] < 1e-15 and 0 < shares[1] < 1
    for copy in ([0], [0, 0, 0]):
        out = jax.jit(net.unroll)(params, None, jnp.full((1, 1), -1), sources([copy]))[1]
        np.testing.assert_allclose(np.exp(np.asarray(out[0, 0])), [1, 0, 0], atol=1e-6)
    x, length = outcomes()
    without = {"c": jnp.zeros((len(x), 3), jnp.int32), "c_length": jnp.zeros(len(x), jnp.int32)}
    nats = model.log_prob(KEY, state, {"x": jnp.asarray(x), "length": length, **without})  # no token of the text
    assert np.exp(np.asarray(nats)).sum() == pytest.approx(1, abs=1e-5)
    for spec, net in ((TARGET, SMALL), (SHARED, NETS["gru"])):
        with pytest.raises(UserError, match="copies is true; expected a transformer, and a text as condition"):
            autoregressive(spec, net, conditional=True, copies=True)


@pytest.mark.study
def test_label_smoothing_changes_the_step_and_not_the_metric():
    batch = {"x": jnp.array([[0, 1, END, 0]], jnp.int32), "length": jnp.array([3]), **sources([[0, 1]])}
    plain, smooth = (autoregressive(TARGET, SMALL, conditional=True, label_smoothing=share) for share in (0.0, 0.1))
    state = jax.jit(plain.init)(KEY, batch)
    results = [jax.jit(model.step)(KEY, state, batch) for model in (plain, smooth)]
    assert results[0][1]["nats_per_token"] == results[1][1]["nats_per_token"]
    assert results[0][1]["gradient_norm"] != results[1][1]["gradient_norm"]
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match="label_smoothing is .*; expected a share from 0"):
            autoregressive(TARGET, SMALL, label_smoothing=share)


@pytest.mark.study
@pytest.mark.parametrize("lanes", [False, True])
def test_gradients_of_parts_are_that_of_the_batch(lanes):
    """Rows of different lengths, one of them padding; and lanes, which go on."""
    spec = TARGET._replace(condition=None, info={"vocabulary": list("abc")})
    x = jax.random.randint(KEY, (6, FRAMES), 0, VALUES)
    batch = {"x": x, "weight": jnp.array([1.0, 1, 1, 1, 1, 0])}
    batch |= {"reset": jnp.arange(6) < 3} if lanes else {"length": jnp.array([1, 4, 2, 3, 4, 4])}
    results = []
    for parts in (1, 3):
        model = autoregressive(spec, NETS["gru"], optimizer={"name": "sgd", "learning_rate": 1.0}, accumulate=parts)
        step, state = jax.jit(model.step), jax.jit(model.init)(KEY, batch)
        for _ in range(2):
            state, metrics = step(KEY, state, batch)
        results.append((state, metrics))
    chex.assert_trees_all_close(*results, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="accumulate is 4 and a batch has 6 rows; expected a divisor"):
        model = autoregressive(spec, NETS["gru"], accumulate=4)
        model.step(KEY, state, batch)


@pytest.mark.study
def test_the_smoothed_loss_is_the_cross_entropy_with_smoothed_targets():
    model = autoregressive(TARGET, SMALL, conditional=True, label_smoothing=0.2)
    net = model.init.args[0]
    assert isinstance(net, AutoregressiveNet)
    _, state = model_of()
    x, length = jnp.array([[0, 1, END, 0], [1, END, 0, 0]], jnp.int32), jnp.array([3, 2])
    batch = {"x": x, "length": length, **sources([[0, 1], [2]])}
    before = jnp.concatenate([jnp.full((2, 1), -1), x[:, :-1]], 1)
    out = jax.jit(net.unroll)(state.params, None, before, sources([[0, 1], [2]]), length)[1]
    target = 0.8 * jax.nn.one_hot(x, VALUES) + 0.2 / VALUES
    every = -(target * jax.nn.log_softmax(out)).sum(-1)
    seen = jnp.arange(FRAMES)[None] < length[:, None]
    expected = jnp.where(seen, every, 0).sum() / 5
    assert jax.jit(partial(next_frame_loss, net))(state.params, None, batch)[0] == pytest.approx(
        float(expected), rel=1e-5
    )


def test_a_lexicon_of_ibm_model_1_knows_words_that_always_stand_together():
    sources = ["the house", "the book", "a book", "a big house"]
    targets = ["das haus", "das buch", "ein buch", "ein grosses haus"]
    lexicon = learnt_lexicon([text.split() for text in sources], [text.split() for text in targets])
    assert lexicon == {"the": "das", "house": "haus", "book": "buch", "a": "ein", "big": "grosses"}
    assert translated(lexicon, ["a", "small", "house"]) == ["ein", "small", "haus"]
    assert nearest_translations(sources, targets, ["big big house"]) == ["ein grosses haus"]


def rows_of_pairs() -> list[tuple[str, str]]:
    """Sentences of digits, and their words in German."""
    words = dict(zip("0123456789", "null eins zwei drei vier fünf sechs sieben acht neun".split()))
    random = np.random.default_rng(0)
    numbers = {"".join(random.choice([*words], random.integers(1, 6))) for _ in range(400)}
    return [(" ".join(number), " ".join(words[digit] for digit in number)) for number in sorted(numbers)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "numbers.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in rows_of_pairs()))
    return path


FLAGS = """
    --quiet --config.steps=30 --config.batch_size=16 --config.log_every=10 --config.sample_every=30 --config.eval_every=0
    --config.save_every=30 --config.data.condition=1 --config.data.target=2 --config.data.test_split=test
    --config.data.subwords=300 --config.sample.num=3 --config.model.net.units=16 --config.model.net.layers=1
    --config.model.net.encoder=1 --config.model.net.context=16
"""


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translate") / "run"
    flags = ["--config", str(CONFIG), f"--config.data.path={pairs}", "--workdir", str(folder), *FLAGS.split()]
    train.main(["train", *flags])
    return folder


@pytest.mark.study
def test_from_pairs_to_a_text_in_commands(run, tmp_path, capsys):
    evaluate.main(
        [
            "evaluate",
            "--workdir",
            str(run),
            "--num",
            "20",
            "--metrics=bleu,chrf,bleu_copy,bleu_lexicon,bleu_nearest",
            "--beam=2",
        ]
    )
    scores = gj.load(run).score(["bleu", "bleu_lexicon"], 20)
    assert "bleu" in capsys.readouterr().out and scores["bleu_lexicon"]["value"] > scores["bleu"]["value"]
    assert scores["bleu"]["oracle"] == pytest.approx(100)
    sample.main(
        [
            "sample",
            "--workdir",
            str(run),
            "--given",
            "text=1 2 3",
            "--num=2",
            "--beam=2",
            "--out",
            str(tmp_path / "x.tsv"),
        ]
    )
    lines = (tmp_path / "x.tsv").read_text().splitlines()
    assert (
        lines[0] == "condition\tsample" and len(lines) == 3 and lines[1] == lines[2] and lines[1].startswith("1 2 3\t")
    )
    sample.main(["sample", "--workdir", str(run), "--given", "split=test", "--num=2", "--out", str(tmp_path / "x.txt")])
    assert len((tmp_path / "x.txt").read_text().split("-" * 80)) == 2
    for flags in (["--temperature=0"], ["--stream", "--num=1"]):  # the config asks for a beam
        sample.main(["sample", "--workdir", str(run), "--given", "text=1 2", "--out", str(tmp_path / "x.txt"), *flags])
    shown = (run / "samples" / "30.txt").read_text()
    assert len(shown.split("-" * 80)[0].strip().split("\n")) == 3  # condition, sample and truth


def options_of(pairs) -> dict:
    options = {
        "path": str(pairs),
        "condition": "1",
        "target": "2",
        "vocabulary": "subwords",
        "subwords": 300,
        "end": True,
    }
    return {**gj.config.base_config().data.to_dict(), **options}


def test_bleu_and_its_floors_are_sacrebleus(pairs):
    from sacrebleu.metrics import BLEU

    data = load(options_of(pairs), batch_size=4, seed=0, steps=1, quiet=True)
    real = real_data(data.spec, data.read, ("train", "test"))
    computation, rows = translation(real), real.held_out(10)
    drawn = {**rows, "x": np.roll(rows["x"], 1, 0), "length": np.roll(rows["length"], 1), "truth": rows["x"]}
    drawn["truth_length"] = rows["length"]
    values = computation.values(drawn)
    texts = dict(rows_of_pairs())
    read = partial(gj.data.kinds.kind_of(data.spec).read_tokens, data.spec)
    truth = [read(x) for x in rows["x"]]
    assert {*truth} <= {*texts.values()}
    rolled = [*truth[-1:], *truth[:-1]]
    assert values["bleu"] == pytest.approx(BLEU().corpus_score(rolled, [truth]).score)
    assert values["bleu_lexicon"] == pytest.approx(100)  # for a digit is a word
    assert values["bleu_copy"] < 5 and "tok:13a" in computation.protocol()["bleu"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.data.target=3"], "has no column '3'; expected a number from 1 to 2, or a name of its first line"),
        (["--config.batch_size=5000"], "batch_size is 5000 with data.order 'by_length'; expected at most"),
        (["--config.sample.beam=-1"], "sample.beam is -1; expected 0 to"),
        (
            ["--config.data.end=False"],
            "sample.beam is 4 and numbers has no symbol that ends a text; expected 0, or data.end",
        ),
        (["--config.data.subwords=0"], "data.subwords is 0; expected at least 300"),
        (["--config.model.optimizer.rates=3"], "rates is 3.*; expected factors by a part of a path"),
    ],
)
def test_mistakes_are_refused_before_the_run(pairs, tmp_path, flags, message):
    settings = [
        "--config",
        str(CONFIG),
        f"--config.data.path={pairs}",
        "--workdir",
        str(tmp_path / "run"),
        *FLAGS.split(),
    ]
    with pytest.raises(UserError, match=message):
        train.main(["train", *settings, *flags])
    assert not (tmp_path / "run").exists()


def test_a_beam_for_a_model_without_one_is_no_option(tmp_path, one_device):
    markov = ["--config", str(CONFIG.with_name("markov.py")), "--config.model.order=1", "--config.data.window=200"]
    flags = [
        "--config.steps=2",
        "--config.sample_every=0",
        "--config.eval_every=0",
        "--quiet",
        "--config.batch_size=50",
    ]
    train.main(["train", *markov, "--workdir", str(tmp_path / "run"), *flags])
    with pytest.raises(UserError, match="this model has no sampler option 'beam'"):
        evaluate.main(["evaluate", "--workdir", str(tmp_path / "run"), "--num", "20", "--beam=2"])


def test_rouge_and_the_rules_beside_it():
    text = "Foo is an editor of plain texts for small and large screens. It contains a viewer."
    assert (
        defined(text) == "editor of plain texts for small and large"
        and defined("A viewer of maps.") == "A viewer of maps."
    )
    assert first_words(text) == "Foo is an editor of plain texts for"
    scores = rouge(["the cats sat", "a b"], ["the cat sat down", "c d"])
    assert scores == pytest.approx({"rouge_1": 50 * 6 / 7, "rouge_2": 50 * 4 / 5, "rouge_l": 50 * 6 / 7})  # cats is cat


def test_rouge_of_pairs_stands_beside_its_floors(pairs):
    data = load(options_of(pairs), batch_size=4, seed=0, steps=1, quiet=True)
    real = real_data(data.spec, data.read, ("train", "test"))
    computation, rows = summary(real), real.held_out(5)
    values = computation.values({**rows, "truth": rows["x"], "truth_length": rows["length"]})
    assert values["rouge_1"] == values["rouge_l"] == pytest.approx(100)
    assert values["rouge_1_lead"] == values["rouge_1_rule"] == 0 and 0 < values["rouge_1_nearest"] < 100
    assert {*values} <= {metric.name for metric in SUMMARY.metrics}
