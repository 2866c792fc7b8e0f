"""Walks through the space of latents: between draws, between rows, along one latent."""

from collections.abc import Callable

import jax
import numpy as np

from gen_jax.data.feed.rows import Rows, read_rows
from gen_jax.data.spec import Spec, to_data
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.model import Batch, Model, State
from gen_jax.storage import loading
from gen_jax.verbs.draw import CHUNK
from gen_jax.verbs.encode import encode

CORNERS = 4  # draws that the loop of an animation visits; a strip goes from the first to the second
PRIOR_ROWS = 4096  # draws that tell the spread and the reach of the prior
TEST_ROWS = 1000  # whose codes tell which latents are active, at most
REACH = 3  # standard deviations that a traversal goes, each way
TINY = 1e-9  # far above the rounding of float64, far below the angle between any two draws
Between = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # start, end [N, D], steps T -> [N, T, D]


def linear(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Returns the straight lines (1 - t) start + t end at `steps` times t from 0 to 1, [N, T, D].

    Args:
      start: first points of the lines [N, D].
      end: last points of the lines [N, D].
      steps: number of points T of a line.
    """
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) * start[:, None] + t * end[:, None]


def spherical(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Returns paths along great circles, whose length changes linearly from that of the start to that of the end, [N, T, D].

    Draws of a normal prior in many dimensions lie near a sphere, and the straight line between two draws leaves the sphere
    (Shoemake 1985; White 2016, arXiv 1609.04468, section 2.1). Opposite points, which many circles join, are joined
    through 0.

    Args:
      start: first points of the paths [N, D].
      end: last points of the paths [N, D].
      steps: number of points T of a path.
    """
    start_length, end_length = (np.linalg.norm(z, axis=-1, keepdims=True) for z in (start, end))  # [N, 1]
    u, v = start / np.maximum(start_length, TINY), end / np.maximum(end_length, TINY)
    cosine = np.sum(u * v, axis=-1, keepdims=True)
    across = v - cosine * u  # at right angles to u, in the plane of both
    sine = np.linalg.norm(across, axis=-1, keepdims=True)
    across = np.where(sine > TINY, across / np.maximum(sine, TINY), 0)
    angle = np.linspace(0, 1, steps)[:, None] * np.arctan2(sine, cosine)[:, None]  # [N, T, 1]
    direction = np.cos(angle) * u[:, None] + np.sin(angle) * across[:, None]
    path = direction * linear(start_length, end_length, steps)
    path[:, 0], path[:, -1] = start, end  # to the bit
    return path


PATHS = {"spherical": spherical, "linear": linear}


def latent_functions(model: Model) -> tuple[Callable[..., Batch], Callable[..., Batch]]:
    """Returns the prior and the decoder of a model.

    Raises:
      UserError: for a model that lacks one of them.
    """
    if model.prior is None or model.decode is None:
        lacking = [name for name in ("prior", "decode") if getattr(model, name) is None]
        raise UserError(
            f"this model has no {' and no '.join(lacking)}; expected both for latent paths. Use gen_jax.sample"
        )
    return model.prior, model.decode


def draws(model: Model, state: State, seed: int, num: int) -> dict[str, np.ndarray]:
    """Draws `num` latents from the prior of a model, leaves [num, ...]; the first latents are the same for every `num`.

    Raises:
      UserError: for a model without a continuous latent.
    """
    prior, _ = latent_functions(model)
    key = root(seed, "paths")
    chunks = [jax.device_get(prior(jax.random.fold_in(key, chunk), state, CHUNK)) for chunk in range(-(-num // CHUNK))]
    latent = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:num], *chunks)
    if not np.issubdtype(latent["z"].dtype, np.floating):
        raise UserError(f"latent of this model is {latent['z'].dtype}; expected real numbers, which have paths")
    return latent


def walk(latent: dict[str, np.ndarray], steps: int, between: Between, closed: bool) -> dict[str, np.ndarray]:
    """Returns paths through the latents of C corners: from the first corner to the second, or a loop through all of them.

    Args:
      latent: `z` [N, C, ...] and other leaves [N, C, ...], such as labels, which stay those of the first corner.
      steps: number of points from a corner to the next, both included.
      between: the path between two points.
      closed: whether the path is a loop, on which the first point follows the last.

    Returns:
      The latents of the paths, leaves [N, T, ...]. T is `steps`, or C * (steps - 1) for loops.
    """
    z = latent["z"].astype(np.float64)
    shape, z = z.shape, z.reshape(*z.shape[:2], -1)  # [N, C, D]
    if closed:
        legs = [between(z[:, each], z[:, (each + 1) % shape[1]], steps)[:, :-1] for each in range(shape[1])]
        path = np.concatenate(legs, axis=1)
    else:
        path = between(z[:, 0], z[:, 1], steps)
    held = {name: np.repeat(leaf[:, :1], path.shape[1], axis=1) for name, leaf in latent.items()}
    return {**held, "z": path.astype(latent["z"].dtype).reshape(*path.shape[:2], *shape[2:])}


def decode(model: Model, state: State, spec: Spec, latent: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the decoded rows [M, *shape] of latents [M, ...], in the domain of the data. It compiles for one size of chunk."""
    _, decode_latent = latent_functions(model)
    key, num, x = root(0, "codes"), len(latent["z"]), []
    for start in range(0, num, CHUNK):
        rows = np.arange(start, start + CHUNK) % num  # the last chunk is filled up with the first rows
        chunk = {name: leaf[rows] for name, leaf in latent.items()}
        x.append(jax.device_get(decode_latent(jax.random.fold_in(key, start // CHUNK), state, chunk)["x"]))
    return to_data(spec, np.concatenate(x)[:num])


def paths(
    loaded: loading.Loaded, num: int, steps: int, seed: int, between: Between, closed: bool, rows: Rows | None = None
) -> np.ndarray:
    """Returns decoded paths [num, T, *shape] in the domain of the data, with T as in `walk`.

    Path i depends on (seed, i). The paths join draws of the prior, or the codes of raw `rows` in their order.

    Raises:
      UserError: for a model without a continuous latent or a decoder, or another number of rows than the paths join.
    """
    corners = CORNERS if closed else 2
    if rows is not None and len(rows["x"]) != num * corners:
        raise UserError(
            f"number of rows is {len(rows['x'])}; expected {num * corners}, {corners} for each of {num} paths"
        )
    draws_of = draws(loaded.model, loaded.state, seed, num * CORNERS if rows is None else 1)
    latent = draws_of if rows is None else codes(loaded, rows, tuple(draws_of))
    ends = {name: leaf.reshape(num, -1, *leaf.shape[1:]) for name, leaf in latent.items()}
    return decoded(loaded, walk(ends, steps, between, closed))


def decoded(loaded: loading.Loaded, walked: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the decoded rows [N, T, *shape] of latents [N, T, ...]."""
    shape = walked["z"].shape[:2]
    x = decode(loaded.model, loaded.state, loaded.spec, {k: v.reshape(-1, *v.shape[2:]) for k, v in walked.items()})
    return x.reshape(*shape, *x.shape[1:])


def codes(loaded: loading.Loaded, rows: Rows, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns the latents of raw rows with the leaves that `decode` reads: `z`, the mean of the posterior, and labels."""
    found = encode(loaded.model, loaded.state, loaded.spec, rows)
    return {name: found[name] for name in names}


def traversals(loaded: loading.Loaded, order: np.ndarray, num: int, steps: int, seed: int) -> np.ndarray:
    """Returns decoded traversals [num, steps, *shape]: row i moves the latent `order[i]` of a draw and holds the others.

    A latent goes from -3 to 3 standard deviations of the prior around its mean, as far as draws of the prior reach.
    """
    latent = draws(loaded.model, loaded.state, seed, 1)
    prior_z = draws(loaded.model, loaded.state, 0, PRIOR_ROWS)["z"].reshape(PRIOR_ROWS, -1).astype(np.float64)
    order = order[:num]
    walked = {
        name: np.tile(leaf[:, None], (len(order), steps, *(1,) * (leaf.ndim - 1))) for name, leaf in latent.items()
    }
    z = walked["z"].reshape(len(order), steps, -1)
    for row, each in zip(z, order):
        path = prior_z[:, each].mean() + prior_z[:, each].std() * np.linspace(-REACH, REACH, steps)
        row[:, each] = np.clip(path, prior_z[:, each].min(), prior_z[:, each].max())
    return decoded(loaded, {**walked, "z": z.reshape(walked["z"].shape)})


def by_activity(loaded: loading.Loaded) -> tuple[np.ndarray, str]:
    """Returns the latents in the order of a traversal, the most active latents first, and this order in words.

    Activity is the variance of the mean of the posterior over test rows (Burda et al. 2016, arXiv 1509.00519, section 5.2).
    If the model does not encode, or its test rows cannot be read, the latents stand in the order of their numbers.
    """
    size = draws(loaded.model, loaded.state, 0, 1)["z"].size
    try:
        rows = read_rows(loaded.spec, loaded.config["data"])[1]
        rows = {name: value[:TEST_ROWS] for name, value in rows.items()}
        z = encode(loaded.model, loaded.state, loaded.spec, rows)["z"]
    except UserError:
        return np.arange(size), "the first latents"
    activity = z.reshape(len(z), -1).astype(np.float64).var(0)
    return np.argsort(-activity, kind="stable"), "the most active latents"
