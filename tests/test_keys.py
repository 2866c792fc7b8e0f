"""No key is used twice: by the syntax of every function, by the values of keys, and by what draws have in common."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from key_syntax import key_faults
from recorder import recording
from scipy import stats

import gen_jax
from gen_jax import keys
from gen_jax.model import Model
from gen_jax.models.gan import gan
from gen_jax.models.smote import smote
from gen_jax.verbs import paths
from gen_jax.verbs.draw import CHUNK, draw

KEY = jax.random.key(0)
ROOT = Path(gen_jax.__file__).parents[1]
SOURCES = [*ROOT.glob("gen_jax/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
JUDGE = (
    "gen_jax/metrics/images/classifier.py",
    "gen_jax/metrics/images/segmenter.py",
    "gen_jax/metrics/sequences/recogniser.py",
)  # its seed is a part of its recipe, which every Frechet distance depends on
UNUSED = (
    "gen_jax/metrics/row_functions.py",
    "gen_jax/models/__init__.py",
)  # a key for shapes: nothing that it draws is kept


def test_no_function_uses_a_key_twice():
    faults = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in SOURCES
        if re.search("^(import|from) jax", path.read_text(), re.MULTILINE) and (found := key_faults(path.read_text()))
    }
    assert not faults


def test_only_roots_are_made_of_seeds():
    made = {str(path.relative_to(ROOT)) for path in SOURCES if "random.key(" in path.read_text()}
    assert {path for path in made if path.startswith("gen_jax")} == {"gen_jax/keys.py", *JUDGE, *UNUSED}


FAULTY = {
    "drawn twice": "a = normal(key)\n b = uniform(key)",
    "split and folded": "a, b = split(key)\n c = fold_in(key, 0)",
    "drawn and split": "a = normal(key)\n b, c = split(key)",
    "in a loop": "for i in range(3):\n  a = normal(key)",
    "in a comprehension": "a = [normal(key) for i in range(3)]",
    "in a nested function": "def f(): return normal(key)\n a = uniform(key)",
    "in one of two branches": "if x:\n  a = normal(key)\n b = uniform(key)",
    "in both parts of a dict": "return {'a': normal(key), 'b': uniform(key)}",
    "handed on and folded": "a = sample(key, 3)\n b = normal(fold_in(key, 1))",
    "under a name of its own": "x_key, y_key = split(key)\n a = normal(x_key)\n b = normal(key=x_key)",
}
SOUND = {
    "split": "x_key, y_key = split(key)\n return normal(x_key), normal(y_key)",
    "folded often": "return [normal(fold_in(key, i)) for i in range(3)]",
    "split again under one name": "a_key, key = split(key)\n b_key, key = split(key)\n return a_key, b_key, normal(key)",
    "in exclusive branches": "if x:\n  return normal(key)\n return uniform(key)",
    "in an expression's branches": "return normal(key) if x else uniform(key)",
    "a new one in each round": "for key in split(key, 3):\n  a = normal(key)",
    "folded by a partial": "return vmap(partial(fold_in, key))(arange(3))",
    "a parameter of a nested function": "a = normal(key)\n return lambda key: normal(key)",
}


@pytest.mark.parametrize("name", FAULTY)
def test_the_syntax_of_a_fault_is_seen(name):
    assert key_faults(f"def f(key, x):\n {FAULTY[name]}")


@pytest.mark.parametrize("name", SOUND)
def test_the_syntax_of_a_sound_function_passes(name):
    assert not key_faults(f"def f(key, x):\n {SOUND[name]}")


def reused_by_fold(key: jax.Array) -> jax.Array:  # fold_in(key, 0) is the first child of a split
    return jax.random.normal(jax.random.split(key)[0]) + jax.random.normal(jax.random.fold_in(key, 0))


def repeated(key: jax.Array) -> jax.Array:
    return jax.lax.map(lambda _: jax.random.normal(key), jnp.arange(3))


def child_of_a_drawn_key(key: jax.Array) -> jax.Array:
    return jax.random.normal(key) + jax.random.normal(jax.random.fold_in(key, 5))


def of_each_row(key: jax.Array) -> jax.Array:
    return jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row)))(jnp.arange(3))


def rejecting(key: jax.Array) -> jax.Array:  # its loop runs on for rows that are done
    return jax.random.beta(key, jnp.arange(1.0, 5), 2.0)


@pytest.mark.parametrize("function", [reused_by_fold, child_of_a_drawn_key])
def test_the_recorder_sees_what_jax_does_not(function):
    with recording() as (key, uses):
        jax.jit(function)(key)
        assert uses.faults()


@pytest.mark.parametrize("function", [of_each_row, rejecting])
def test_the_recorder_passes_sound_functions(function):
    with recording() as (key, uses):
        jax.jit(function)(key)
        assert uses.counts and not uses.faults()


def test_jax_sees_a_key_that_a_loop_repeats():
    with recording() as (key, _), pytest.raises(jax.errors.KeyReuseError):
        jax.jit(repeated)(key)


def test_roots_of_purposes_and_their_children_are_apart():
    """Those of chunks, steps and splits: `fold_in(key, i)` is `split(key, n)[i]`."""
    seen = {}
    for seed in range(3):
        for purpose in keys.PURPOSES:
            key = keys.root(seed, purpose)
            for child in [key, *jax.random.split(key, 50)]:
                seen.setdefault(tuple(jax.random.key_data(child).tolist()), []).append((seed, purpose))
    assert all(len(places) == 1 for places in seen.values())


def listening() -> tuple[Model, dict[str, list]]:
    """A model of points, and the keys that its functions were given."""
    heard: dict[str, list] = {"sample": [], "prior": [], "decode": []}

    def function(name: str, field: str, size: int):
        def call(key: jax.Array, state, *args) -> dict:
            heard[name].append(tuple(jax.random.key_data(key).tolist()))
            num = args[0] if isinstance(args[0], int) else len(args[0]["z"])
            return {field: jnp.zeros((num, size))}

        return call

    sample, prior, decode = function("sample", "x", 2), function("prior", "z", 2), function("decode", "x", 2)
    return Model(None, None, sample, prior=prior, decode=decode), heard


def test_chunks_of_samples_and_paths_share_no_key_with_each_other_or_with_training():
    model, heard = listening()
    spec = make_spec("vector", (2,))
    draw(model, None, spec, 0, 3 * CHUNK)
    paths.decode(model, None, spec, paths.draws(model, None, 0, 3 * CHUNK))
    root = keys.root(0, "training")
    training = [tuple(jax.random.key_data(key).tolist()) for key in (root, *jax.random.split(root, 5))]
    every = [*heard["sample"], *heard["prior"], *heard["decode"], *training]
    assert len(heard["sample"]) == len(heard["prior"]) == len(heard["decode"]) == 3
    assert len(set(every)) == len(every)


def chi_square(one: np.ndarray, other: np.ndarray, sizes: tuple[int, int]) -> float:
    """The p-value of independence of two columns of whole numbers."""
    counts = np.zeros(sizes)
    np.add.at(counts, (one, other), 1)
    return stats.chi2_contingency(counts).pvalue


def test_levels_of_a_gan_are_independent_of_its_latents():
    """With weights 0 a level tells nothing of the latent, which once was drawn by the same key: all levels were its argmax."""
    blank = {"name": "mlp", "hidden": (), "initializer": "normal", "scale": 0.0}
    spec = table_spec(4, 4, 4, missing=False)
    model = gan(spec, generator=blank, discriminator=blank, penalty="none", loss="non_saturating", latent_size=12)
    state = model.init(KEY, {"x": jnp.zeros((8, 3)), "weight": jnp.ones(8)})
    keys_of_chunks = jax.random.split(KEY, 16)
    latents = [np.asarray(model.prior(jax.random.split(key)[0], state, 256)["z"]) for key in keys_of_chunks]
    latents += [np.asarray(model.prior(key, state, 256)["z"]) for key in keys_of_chunks]  # of whichever key it may be
    levels = np.concatenate([np.asarray(model.sample(key, state, 256)["x"]) for key in keys_of_chunks]).astype(int)
    for z in np.split(np.concatenate(latents), 2):
        for column in range(3):
            likeliest = z.reshape(-1, 3, 4)[:, column].argmax(1)
            assert chi_square(levels[:, column], likeliest, (4, 4)) > 1e-4


def test_a_donor_of_smote_is_independent_of_the_row_that_it_completes():
    """The noise of both was the same bits, which meet where there are as many rows as columns."""
    x = np.zeros((5, 5), np.float32)
    x[:, 0], x[:2, 2] = (0, 1, 100, 101, 102), (10, 11)
    mask = np.ones((5, 5), bool)
    mask[2:, 2] = False  # those near 100 take this cell from one of the other two
    batch = {"x": jnp.asarray(x), "mask": jnp.asarray(mask), "weight": jnp.ones(5)}
    model = smote(table_spec(*[None] * 5, rows=5), neighbours=1)
    state = jax.jit(model.step)(KEY, jax.jit(model.init)(KEY, batch), batch)[0]
    drawn = np.asarray(model.sample(KEY, state, 4000)["x"])
    drawn = drawn[drawn[:, 0] >= 100]
    assert len(drawn) > 2000 and set(drawn[:, 2]) == {10, 11}
    assert chi_square((drawn[:, 0] < 100.5).astype(int), drawn[:, 2].astype(int) - 10, (2, 2)) > 1e-4
