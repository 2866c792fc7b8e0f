"""Functions of real rows that a model gives to measures: exact log-probabilities, their bounds, and codes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, rows_to_model, to_data, to_model
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.metrics.features import Rows
from gen_jax.metrics.progress import progress
from gen_jax.model import Batch, Model, State

SEQUENCES_TOGETHER = 64  # sequences in a batch
ROWS_TOGETHER = (16, 500)  # smallest and largest number of other rows in a batch
NUMBERS = 1 << 19  # numbers in a batch, which choose its size between these
LogProb = Callable[..., jax.Array]  # (key, state, batch) -> [B] nats


class Coded(NamedTuple):
    """Raw rows and their latents."""

    x: np.ndarray  # raw [n, *shape]
    latent: Rows  # `z` is [n, L]


class Reconstructed(NamedTuple):
    """Raw rows, their latents, and the rows that are decoded from the latents."""

    x: np.ndarray  # raw [n, *shape]
    latent: Rows  # `z` is [n, L]
    decoded: np.ndarray  # raw [n, *shape], unrounded


class Lacking(UserError):
    """Says that a model lacks what a measure needs. The measure is left out, unless it is required by name."""


class Subject(NamedTuple):
    """A trained model that is scored, and how its latents are drawn.

    Attributes:
      model: the model.
      state: its state.
      spec: facts of the data.
      seed: seed of the latents.
      num_samples: number of latents of each row for the importance weighted bound.
    """

    model: Model
    state: State
    spec: Spec
    seed: int
    num_samples: int


class Reading(NamedTuple):
    """A function of raw rows that a model gives.

    Attributes:
      need: what the model must have, in words.
      function: function (subject) -> the function of raw rows; None if the model lacks it.
      facts: function (subject) -> facts on which the function depends besides the model, for the protocol.
      no_oracle: why real data by themselves have no figure, in a few words; by default 'model only'.
    """

    need: str
    function: Callable[[Subject], Callable[..., Any] | None]
    facts: Callable[[Subject], dict[str, Any]]
    no_oracle: str = "model only"


def read(reading: Reading, subject: Subject) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns a function of raw rows that a model gives, and the facts that the function depends on besides the model.

    Args:
      reading: the function that a measure asks for.
      subject: the model.

    Raises:
      Lacking: if the model does not have it.
    """
    function = reading.function(subject)
    if function is None:
        raise Lacking(f"{reading.need}, which this model does not have")
    return function, reading.facts(subject)


def exact_log_prob(subject: Subject) -> Callable[[Rows], np.ndarray] | None:
    """Returns the function of raw rows -> exact log-probabilities [N] in nats; None for a model without such."""
    if subject.model.log_prob is None:
        return None
    return partial(log_prob_of_rows, subject.model.log_prob, subject.state, subject.spec)


def fit_of(subject: Subject) -> Callable[[Rows], tuple[np.ndarray, int]] | None:
    """Returns the function of raw rows -> exact log-probabilities [N] in nats and the number of trained parameters.

    None for a model that lacks one of them.
    """
    exact = exact_log_prob(subject)
    free_parameters = subject.model.extras.get("free_parameters")
    if exact is None or free_parameters is None:
        return None

    def fit(rows: Rows) -> tuple[np.ndarray, int]:
        return exact(rows), free_parameters(subject.state)

    return fit


def bound_with(num_samples: int, subject: Subject) -> Callable[[Rows], np.ndarray] | None:
    """Returns the function of raw rows -> lower bounds [N] in nats, by a number of latents for each row.

    None for a model without a bound.
    """
    bound = subject.model.log_prob_bound
    if bound is None:
        return None
    return partial(bound_of_rows, bound, subject.state, subject.spec, subject.seed, num_samples)


def codes_in(subject: Subject) -> Callable[[Rows], Iterator[Coded]] | None:
    """Returns the function of raw rows -> batches of their latents; None for a model that does not encode and decode."""
    model = subject.model
    if model.encode is None or model.decode is None:
        return None
    return partial(codes_of_rows, model.encode, subject.state, subject.spec, subject.seed)


def reconstructions_in(subject: Subject) -> Callable[[Rows], Iterator[Reconstructed]] | None:
    """Returns the function of raw rows -> batches of their reconstructions; None if a model does not encode and decode."""
    model = subject.model
    if model.encode is None or model.decode is None:
        return None
    return partial(reconstructions_of_rows, model.encode, model.decode, subject.state, subject.spec, subject.seed)


def samples_given(subject: Subject) -> Callable[[Rows], np.ndarray] | None:
    """Returns the function of raw conditions `c` -> one raw sample of each; None if a model takes no such condition.

    The sides of images may differ from the sides of the rows, if the nets of the model take images of any sides.
    """
    spec, model = subject.spec, subject.model
    field = spec.condition
    if field is None or "c" not in model.given:
        return None

    def samples(rows: Rows) -> np.ndarray:
        given = {**rows, "c": to_model(field, rows["c"])}
        batch = model.sample(root(subject.seed, "samples"), subject.state, len(rows["c"]), given)
        return to_data(spec, batch["x"])

    return samples


def no_facts(subject: Subject) -> dict[str, Any]:
    """Returns an empty dictionary, because an exact likelihood draws no latents that a protocol must state.

    Args:
      subject: the model that is scored; not used.
    """
    return {}


def latent_facts(subject: Subject) -> dict[str, Any]:
    """Returns the seed of the latents, and the condition of a conditional model."""
    facts: dict[str, Any] = {"seed": subject.seed}
    if conditional(subject.model, subject.state):
        facts["given"] = "y"
    return facts


def conditional(model: Model, state: State) -> bool:
    """Returns whether a model is given labels and does not model them.

    Such a model has labels in its latents, and its bounds are bounds of log p(x | y).
    """
    return model.prior is not None and "y" in model.prior(jax.random.key(0), state, 1)


LOG_PROB = Reading("an exact log-likelihood", exact_log_prob, no_facts)
FIT = Reading("an exact log-likelihood and a number of parameters", fit_of, no_facts)
ELBO = Reading(
    "a bound of the log-likelihood",
    partial(bound_with, 1),
    lambda subject: {"num_samples": 1, **latent_facts(subject)},
)
BOUND = Reading(
    "a bound of the log-likelihood",
    lambda subject: bound_with(subject.num_samples, subject),
    lambda subject: {"num_samples": subject.num_samples, **latent_facts(subject)},
)
CODES = Reading("an encoder and a decoder", codes_in, latent_facts)
SAMPLES_GIVEN = Reading("samples given a condition c", samples_given, lambda subject: {"seed": subject.seed})
RECONSTRUCTIONS = Reading("an encoder and a decoder", reconstructions_in, latent_facts)


def log_prob_of_rows(log_prob: LogProb, state: State, spec: Spec, rows: Rows) -> np.ndarray:
    """Returns the exact log-probabilities [N] of raw rows in nats.

    Args:
      log_prob: the exact likelihood of a model.
      state: of the model.
      spec: facts of the data.
      rows: raw rows; the frames beyond the longest sequence of a batch are cut off.
    """
    if kind_of(spec).time:
        return _log_prob_of_sequences(log_prob, state, spec, rows)
    parts = []
    for key, part, num in batches(spec, 0, rows):
        nats = log_prob(key, state, rows_to_model(spec, part))
        parts.append(np.asarray(nats)[:num])
    return np.concatenate(parts)


def _log_prob_of_sequences(log_prob: LogProb, state: State, spec: Spec, rows: Rows) -> np.ndarray:
    key, parts = root(0, "scores"), []
    for start in progress(range(0, len(rows["x"]), SEQUENCES_TOGETHER), "sequences", "batch"):
        part = {name: value[start : start + SEQUENCES_TOGETHER] for name, value in rows.items()}
        if "length" in part:
            part["x"] = part["x"][:, : part["length"].max()]
        batch_key = jax.random.fold_in(key, start // SEQUENCES_TOGETHER)
        parts.append(np.asarray(log_prob(batch_key, state, rows_to_model(spec, part))))
    return np.concatenate(parts)


def batches(spec: Spec, seed: int, rows: Rows) -> Iterator[tuple[jax.Array, Rows, int]]:
    """Yields raw rows in batches of one size, so that one compilation serves them all.

    Args:
      spec: facts of the data.
      seed: of the keys.
      rows: raw rows.

    Yields:
      A key, a batch, and the number of its rows that count: the last batch is filled up with the last row.
    """
    key, num = root(seed, "scores"), len(rows["x"])
    size = min(num, int(np.clip(NUMBERS // np.prod(spec.shape), *ROWS_TOGETHER)))
    for start in progress(range(0, num, size), "rows", "batch"):
        index = np.minimum(np.arange(start, start + size), num - 1)
        part = {name: value[index] for name, value in rows.items()}
        yield jax.random.fold_in(key, start // size), part, min(size, num - start)


def bound_of_rows(bound: LogProb, state: State, spec: Spec, seed: int, num_samples: int, rows: Rows) -> np.ndarray:
    """Returns lower bounds [N] of the log-probabilities of raw rows in nats.

    Args:
      bound: the bound of the likelihood of a model.
      state: of the model.
      spec: facts of the data.
      seed: of the latents.
      num_samples: number of latents of each row.
      rows: raw rows.
    """
    parts = []
    for key, part, num in batches(spec, seed, rows):
        nats = bound(key, state, rows_to_model(spec, part), num_samples)
        parts.append(np.asarray(nats)[:num])
    return np.concatenate(parts)


def codes_of_rows(encode: Callable[..., Batch], state: State, spec: Spec, seed: int, rows: Rows) -> Iterator[Coded]:
    """Yields raw rows with their latents, batch by batch.

    Args:
      encode: the encoder of a model.
      state: of the model.
      spec: facts of the data.
      seed: of the latents.
      rows: raw rows.
    """
    for key, part, num in batches(spec, seed, rows):
        encode_key, _ = jax.random.split(key)
        latent = encode(encode_key, state, rows_to_model(spec, part))
        yield Coded(part["x"][:num], _flat(latent, num))


def reconstructions_of_rows(
    encode: Callable[..., Batch], decode: Callable[..., Batch], state: State, spec: Spec, seed: int, rows: Rows
) -> Iterator[Reconstructed]:
    """Yields raw rows with their latents and what is decoded from the latents, batch by batch.

    Args:
      encode: the encoder of a model.
      decode: its decoder.
      state: of the model.
      spec: facts of the data.
      seed: of the latents.
      rows: raw rows.
    """
    for key, part, num in batches(spec, seed, rows):
        encode_key, decode_key = jax.random.split(key)
        latent = encode(encode_key, state, rows_to_model(spec, part))
        x = decode(decode_key, state, latent)["x"]
        yield Reconstructed(part["x"][:num], _flat(latent, num), to_data(spec._replace(dtype="float32"), x)[:num])


def _flat(latent: Batch, num: int) -> Rows:
    """Returns the first `num` rows of a latent, `z` as [num, L]."""
    rows = {name: np.asarray(value)[:num] for name, value in latent.items()}
    return {**rows, "z": rows["z"].reshape(num, -1)}
