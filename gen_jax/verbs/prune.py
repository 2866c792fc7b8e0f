"""Sets the smallest weights of a trained model to zero, and scores the pruned model."""

import io

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError
from gen_jax.metrics.scores import heading, sample_count
from gen_jax.model import State
from gen_jax.storage import loading
from gen_jax.verbs.score import scorer_of


def is_weight(path: tuple, leaf: jax.Array) -> bool:
    """Returns whether an array of a state is pruned: floats with at least two axes, except bias, scale and shift.

    Args:
      path: path of the array in the state.
      leaf: the array.
    """
    names = {str(getattr(entry, "key", entry)) for entry in path}
    return jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim >= 2 and not names & {"bias", "scale", "shift"}


def prune(state: State, sparsity: float) -> State:
    """Returns the state with the share `sparsity` of each of its weight arrays set to 0, by smallest magnitude.

    This is magnitude pruning with the same share in every layer: Han et al. 2015 (arXiv 1506.02626), section 3, and the
    mask of Zhu & Gupta 2017 (arXiv 1710.01878), section 3, in one step. The remaining weights are not trained again,
    and the sparsity is not raised by a schedule, unlike in these papers. Of equal magnitudes the first entries are set
    to 0.

    A state does not show which of its arrays sampling reads. So a discriminator and the moments of an optimizer are
    pruned too, which does not affect samples.

    Args:
      state: the state.
      sparsity: share of the entries, 0 to 1.
    """

    def pruned(path: tuple, leaf: jax.Array) -> jax.Array:
        if not is_weight(path, leaf):
            return leaf
        value = np.array(leaf)
        smallest = np.argsort(np.abs(value), axis=None, kind="stable")[: round(sparsity * value.size)]
        value.flat[smallest] = 0
        return jnp.asarray(value)

    return jax.tree.map_with_path(pruned, state)


def share_of_zeros(state: State) -> float:
    """Returns the share of zeros in the weight arrays of a state.

    Args:
      state: the state.

    Raises:
      UserError: for a state without weight arrays.
    """
    weights = [np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state) if is_weight(path, leaf)]
    if not weights:
        raise UserError("this model has no weight arrays; expected weights to prune")
    return sum(int(np.sum(each == 0)) for each in weights) / sum(each.size for each in weights)


def parse_sparsity(text: str) -> list[float]:
    """Returns shares in ascending order, from a text with commas.

    Args:
      text: shares from 0 to 1, separated by commas.

    Raises:
      UserError: for the first text that is not such a share.
    """
    shares = set()
    for item in text.split(","):
        try:
            share = float(item)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            hint = f". Write {share:g} % as {share / 100:g}" if 2 <= share <= 100 else ", for example 0,0.5,0.9"
            raise UserError(f"--sparsity is {item!r}; expected shares of the weights from 0 to 1{hint}")
        shares.add(share)
    return sorted(shares)


def draw_curves(figures: dict) -> bytes:
    """Returns a PNG of every metric over the sparsity, one panel each, with the score of real data as a dashed line.

    Args:
      figures: results of `measure`.
    """
    from matplotlib.figure import Figure

    metrics = figures["metrics"]
    figure = Figure(figsize=(4 * len(metrics), 3.2), layout="constrained")
    for panel, (name, entry) in zip(figure.subplots(1, len(metrics), squeeze=False).flat, metrics.items()):
        values = [np.nan if value is None else value for value in entry["values"]]
        panel.plot(figures["sparsity"], values, marker="o", markersize=4)
        if entry["oracle"] is not None:
            panel.axhline(entry["oracle"], color="grey", linestyle="--", linewidth=1, label="real data")
            panel.legend(fontsize=8)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("share of weights removed", fontsize=9)
        panel.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    return buffer.getvalue()


def show(figures: dict) -> None:
    """Prints the results as a table: sparsity, share of zeros, and every metric.

    Args:
      figures: results of `measure`.
    """
    names = list(figures["metrics"])
    print(heading(figures["step"], figures["metrics"]))
    print("".join(f"{title:>14}" for title in ("sparsity", "zeros", *names)))
    columns = (figures["metrics"][name]["values"] for name in names)
    for row in zip(figures["sparsity"], figures["zeros"], *columns):
        print("".join(f"{'-' if cell is None else format(cell, '.4g'):>14}" for cell in row))
    oracles = [figures["metrics"][name]["oracle"] for name in names]
    print(f"{'real data':>28}" + "".join(f"{'-' if cell is None else format(cell, '.4g'):>14}" for cell in oracles))


def measure(loaded: loading.Loaded, shares: list[float], names: list[str], num: int) -> dict:
    """Scores the pruned model of a run, and returns the score of each metric for each sparsity as plain data.

    Args:
      loaded: the run.
      shares: sparsities, 0 to 1: shares of the entries of a weight array that are set to 0.
      names: names of the metrics.
      num: number of samples that are scored.

    Raises:
      UserError: if the data of the run have changed, or no metric applies to them.
    """
    scorer = scorer_of(loaded, names, num)
    states = (prune(loaded.state, share) for share in shares)
    zeros, scores = zip(*((share_of_zeros(state), scorer.score(loaded.model, state)) for state in states))
    if not scores[0]:
        raise UserError(f"no metric applies to {loaded.spec.name}; expected data that a metric measures")
    metrics = {
        name: {
            "values": [score[name]["value"] for score in scores],
            "oracle": each["oracle"],
            "protocol": each["protocol"],
        }
        for name, each in scores[0].items()
    }
    facts = {"step": loaded.step, "samples": sample_count(scores[0]), "sparsity": shares, "zeros": list(zeros)}
    return {**facts, "metrics": metrics}
