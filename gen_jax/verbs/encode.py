"""Returns the latents of rows, and a picture of the latents in a plane."""

import io
from collections.abc import Mapping

import jax
import numpy as np

from gen_jax.data.feed.rows import Rows
from gen_jax.data.spec import Spec, rows_to_model
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.model import Model, State
from gen_jax.verbs.alignments import alignment_picture
from gen_jax.verbs.draw import CHUNK

LEGEND = 20  # largest number of classes in a legend
TSNE_ROWS = 3000  # largest number of rows in a picture by t-SNE, because more rows take minutes


def encode(model: Model, state: State, spec: Spec, rows: Rows) -> Rows:
    """Returns the codes of raw rows: `z`, `scale` if the model has it, and `y` if the rows have labels.

    Args:
      model: the model.
      state: the state.
      spec: facts of the data.
      rows: raw rows [N, ...].

    Returns:
      Arrays [N, ...] by name.

    Raises:
      UserError: for a model without `encode`, or rows without the labels that the model reads.
    """
    if model.encode is None:
        raise UserError(
            "this model has no encode; expected an autoencoder or a hidden Markov model, which have codes of data"
        )
    if "y" in model.given and "y" not in rows:
        raise UserError(
            "labels of these rows are missing; expected labels beside x, which this model reads. Give a .npz with x "
            "and y"
        )
    key, num, chunks = root(0, "codes"), len(rows["x"]), []
    for start in range(0, num, CHUNK):
        chosen = np.arange(start, start + CHUNK) % num  # fills the last chunk, so that there is one compilation
        part = {name: value[chosen] for name, value in rows.items()}
        codes = model.encode(jax.random.fold_in(key, start // CHUNK), state, rows_to_model(spec, part))
        chunks.append(jax.device_get(codes))
    codes_of_model = [name for name in chunks[0] if name not in ("c", "c_length")]  # the rows have them already
    found = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in codes_of_model}
    return {**found, **({"y": rows["y"]} if "y" in rows else {})}


def plot_of_codes(model: Model, spec: Spec, rows: Rows, codes: Mapping[str, np.ndarray], by: str) -> bytes:
    """Returns a picture of codes as a PNG: alignments beside the rows, if the model has them, and else `plot`.

    Args:
      model: the model.
      spec: facts of the data.
      rows: raw rows.
      codes: codes of the rows.
      by: a name in `BY`.

    Raises:
      UserError: as `plot`.
    """
    return alignment_picture(spec, rows, codes["z"]) if "alignment" in model.extras else plot(codes, spec, by)


def by_pca(z: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns codes along the two directions of largest variance [N, 2], and the names of the axes.

    Args:
      z: codes [N, D].
    """
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full").fit(z)
    first, second = pca.explained_variance_ratio_
    return pca.transform(z), (f"component 1 ({first:.0%})", f"component 2 ({second:.0%})")


def by_tsne(z: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns codes laid out by t-SNE (van der Maaten & Hinton 2008) [N, 2], and the names of the axes.

    Args:
      z: codes [N, D].
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(z) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(z), ("t-SNE 1", "t-SNE 2")


BY = {"pca": by_pca, "tsne": by_tsne}


def plot(codes: Mapping[str, np.ndarray], spec: Spec, by: str) -> bytes:
    """Returns the codes as a PNG with one colour a class.

    Two latents are drawn as they are, more latents by `by`, and one latent as a histogram.

    Args:
      codes: `z` [N, ...], and `y` [N] if there are labels.
      spec: facts of the data.
      by: a name in `BY`.

    Raises:
      UserError: for codes that are whole numbers, or too few codes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z = codes["z"]
    if not np.issubdtype(z.dtype, np.floating):
        raise UserError(f"codes of this model are {z.dtype}; expected real numbers for --plot. Leave --plot out")
    z, y = z.reshape(len(z), -1), codes.get("y", np.zeros(len(z), np.int32))
    if len(z) < 4:
        raise UserError(f"number of codes is {len(z)}; expected at least 4 for --plot")
    if by == "tsne" and z.shape[1] > 2:
        z, y = z[:TSNE_ROWS], y[:TSNE_ROWS]
    at, names = (z, ("z[0]", "z[1]")) if z.shape[1] <= 2 else BY[by](z)
    classes = np.unique(y)
    labels = [spec.classes[each] if each < len(spec.classes) else str(each) for each in classes]
    figure = FigureCanvasAgg(Figure(figsize=(7, 6), dpi=100, layout="constrained")).figure
    panel = figure.subplots()
    from matplotlib import color_sequences, colormaps

    if len(classes) <= LEGEND:
        colours = np.asarray(color_sequences["tab10" if len(classes) <= 10 else "tab20"][: len(classes)])
    else:
        colours = colormaps["turbo"](np.linspace(0, 1, len(classes)))
    if at.shape[1] == 1:
        panel.hist(
            [at[y == each, 0] for each in classes],
            60,
            stacked=True,
            histtype="stepfilled",
            color=list(colours),
            label=labels,
        )
        panel.set_ylabel("rows")
    else:
        order = np.random.default_rng(0).permutation(len(at))  # so that no class covers the other classes
        points = colours[np.searchsorted(classes, y)]
        size = float(np.clip(20_000 / len(at), 4, 16))
        panel.scatter(at[order, 0], at[order, 1], s=size, alpha=0.6, linewidths=0, c=points[order])
        for colour, label in zip(colours, labels):
            panel.scatter([], [], s=16, color=[colour], label=label)
        panel.set_ylabel(names[1])
    panel.set_xlabel(names[0])
    if "y" in codes and len(classes) <= LEGEND:
        panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
