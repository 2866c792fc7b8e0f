"""Real rows under a model, some at a time: their exact log-probabilities, bounds of them, their codes. No measure lives here."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, rows_to_model, to_data
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.metrics.features import Rows
from gen_jax.metrics.progress import progress
from gen_jax.model import Batch, Model, State

SEQUENCES_TOGETHER = 64  # whose log-probabilities are computed together
TOGETHER, NUMBERS = (16, 500), 1 << 19  # rows of one batch: least and most, and between them what has so many numbers
Coded = tuple[np.ndarray, Batch, np.ndarray | None]  # raw x [n, *shape], latent, and raw x decoded from it, unrounded
NEEDED = {  # what a measure is of -> fields of the model that it needs, and what they are
    "log_prob": (("log_prob",), "an exact log-likelihood"),
    "fit": (("log_prob", "free_parameters"), "an exact log-likelihood and a number of parameters"),
    "elbo": (("log_prob_bound",), "a bound of the log-likelihood"),
    "bound": (("log_prob_bound",), "a bound of the log-likelihood"),
    "codes": (("encode", "decode"), "an encoder and a decoder"),
}


class Lacking(UserError):
    """A model lacks what a measure needs: such a measure is left out, unless it was asked for by name."""


def under(
    of: str, model: Model, state: State, spec: Spec, seed: int, num_samples: int
) -> tuple[Callable[[Rows], Any], dict[str, Any]]:
    """The function of raw rows that a measure is `of`, and what else its values depend on.

    Args:
      of: `log_prob` (exact, -> [N] nats), `fit` (-> the same, and how many parameters were learnt), `elbo` or `bound`
        (-> [N] nats, of one latent a row or of `num_samples`), `codes` (-> batches of `Coded`).

    Raises:
      Lacking: where the model does not have it.
    """
    fields, what = NEEDED[of]
    if any(getattr(model, field, model.extras.get(field)) is None for field in fields):
        raise Lacking(f"{what}, which this model does not have")
    if of == "log_prob":
        return partial(log_prob_of_rows, model, state, spec), {}
    if of == "fit":
        return lambda rows: (log_prob_of_rows(model, state, spec, rows), model.extras["free_parameters"](state)), {}
    facts = {"seed": seed, **({"given": "y"} if conditional(model, state) else {})}
    if of == "codes":
        return partial(codes_of_rows, model, state, spec, seed), facts
    num = {"elbo": 1, "bound": num_samples}[of]
    return partial(bound_of_rows, model, state, spec, seed, num), {"num_samples": num, **facts}


def conditional(model: Model, state: State) -> bool:
    """Whether labels are given to a model, not modelled: then its latents have them, and its bounds are of log p(x | y)."""
    return model.prior is not None and "y" in model.prior(jax.random.key(0), state, 1)


def log_prob_of_rows(model: Model, state: State, spec: Spec, rows: Rows) -> np.ndarray:
    """Exact log-probabilities [N] in nats of raw rows; frames beyond the longest row of a batch are cut off."""
    found, root_key = [], root(0, "scores")
    if not kind_of(spec).time:
        for key, part, num in batches(spec, 0, rows):
            found.append(np.asarray(model.log_prob(key, state, rows_to_model(spec, part)))[:num])
        return np.concatenate(found)
    for start in range(0, len(rows["x"]), SEQUENCES_TOGETHER):
        part = {name: value[start : start + SEQUENCES_TOGETHER] for name, value in rows.items()}
        if "length" in part:
            part["x"] = part["x"][:, : part["length"].max()]
        batch = rows_to_model(spec, part)
        found.append(
            np.asarray(model.log_prob(jax.random.fold_in(root_key, start // SEQUENCES_TOGETHER), state, batch))
        )
    return np.concatenate(found)


def batches(spec: Spec, seed: int, rows: Rows) -> Iterator[tuple[jax.Array, Rows, int]]:
    """Raw rows in parts of one size, so that one compilation serves them all, each with a key.

    The last part is filled up with the last row; the number beside each is how many of its rows count.
    """
    key, num = root(seed, "scores"), len(rows["x"])
    size = min(num, int(np.clip(NUMBERS // np.prod(spec.shape), *TOGETHER)))
    for start in progress(range(0, num, size), "rows", "batch"):
        index = np.minimum(np.arange(start, start + size), num - 1)
        part = {name: value[index] for name, value in rows.items()}
        yield jax.random.fold_in(key, start // size), part, min(size, num - start)


def bound_of_rows(model: Model, state: State, spec: Spec, seed: int, num_samples: int, rows: Rows) -> np.ndarray:
    """Lower bounds [N] in nats of the log-probabilities of raw rows, by `num_samples` latents for each."""
    found = []
    for key, part, num in batches(spec, seed, rows):
        batch = rows_to_model(spec, part)
        found.append(np.asarray(model.log_prob_bound(key, state, batch, num_samples))[:num])
    return np.concatenate(found)


def codes_of_rows(
    model: Model, state: State, spec: Spec, seed: int, rows: Rows, decoded: bool = False
) -> Iterator[Coded]:
    """Raw rows with their latents, of which `z` is [n, L]; with what is decoded from these too, where that is asked for."""
    for key, part, num in batches(spec, seed, rows):
        encode_key, decode_key = jax.random.split(key)
        latent = model.encode(encode_key, state, rows_to_model(spec, part))
        back = None
        if decoded:
            x = model.decode(decode_key, state, latent)["x"]
            back = to_data(spec._replace(dtype="float32"), x)[:num]
        latent = {name: np.asarray(value)[:num] for name, value in latent.items()}
        yield part["x"][:num], {**latent, "z": latent["z"].reshape(num, -1)}, back
