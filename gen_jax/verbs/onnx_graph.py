"""Writes the decoder of a run as an ONNX graph: from latents, or from the noise of a diffusion model, to rows."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from gen_jax.data.domain import aligned
from gen_jax.data.spec import levels
from gen_jax.errors import UserError, first_line
from gen_jax.keys import root
from gen_jax.storage.loading import Loaded

PACKAGES = ("onnx", "onnxruntime", "jax2onnx")
TOLERANCE = 1e-4  # largest difference to the rows of the run, as a share of their range


def make_graph(loaded: Loaded, rows: int) -> bytes:
    """Returns the decoder of a run as an ONNX graph. Its rows are compared with those of the run.

    The inputs are the arrays of a latent of `Model.prior`, by name. The output `x` has the units of the data, as float32
    that is not rounded.

    Args:
      loaded: the run.
      rows: number of rows of a call of the graph.

    Raises:
      UserError: if a package is missing, for a model without a decoder of real latents, for data that are levels, for an
        operation that ONNX or jax2onnx lacks, or if rows of the graph differ from those of the run.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise UserError(f"package {package} is missing; expected it for ONNX. See docs/guides/export.md")
    model, spec, name = loaded.model, loaded.spec, loaded.config["model"]["name"]
    if model.prior is None or model.decode is None:
        raise UserError(f"a {name} has no decoder of latents; expected one for ONNX. Export a .zip instead")
    if spec.tabular or levels(spec):
        raise UserError(f"{spec.name} holds {spec.kind} data; expected numbers for ONNX. Export a .zip instead")
    latent = {each: np.asarray(value) for each, value in model.prior(root(0, "samples"), loaded.state, rows).items()}
    if not np.issubdtype(latent["z"].dtype, np.floating):
        raise UserError(f"latent of this {name} holds codes; expected numbers for ONNX. Export a .zip instead")
    expected = np.asarray(decoded(loaded, latent))
    jax.clear_caches()  # jax2onnx replaces functions of JAX while it traces, and what is compiled is not traced again
    try:
        content = graph_of(loaded, latent)
        rows_of_graph = drawn_by(content, latent)
    except Exception as error:  # a converter of another project, which raises any exception
        raise UserError(
            f"jax2onnx cannot convert this {name} ({first_line(error)}); expected operations that it knows. Export a .zip "
            "instead"
        ) from None
    finally:
        jax.clear_caches()
    refuse_difference(rows_of_graph, expected)
    return content


def decoded(loaded: Loaded, latent: Mapping[str, Any]) -> jax.Array:
    """Returns the rows of latents in the units of the data, not rounded, [N, *shape] float32.

    Args:
      loaded: the run.
      latent: arrays of N latents by name.
    """
    assert loaded.model.decode is not None
    x = loaded.model.decode(root(0, "samples"), loaded.state, latent)["x"]
    scale, shift = (aligned(np.asarray(value, np.float32), x) for value in (loaded.spec.scale, loaded.spec.shift))
    return x * scale + shift


def graph_of(loaded: Loaded, latent: Mapping[str, np.ndarray]) -> bytes:
    """Returns the ONNX graph of `decoded`.

    Args:
      loaded: the run.
      latent: arrays of latents by name.
    """
    names = list(latent)
    inputs = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in latent.values()]

    def rows(*arrays: jax.Array) -> jax.Array:
        return decoded(loaded, dict(zip(names, arrays)))

    to_onnx = import_module("jax2onnx").to_onnx
    return to_onnx(rows, inputs=inputs, input_names=names, output_names=["x"]).SerializeToString()


def drawn_by(content: bytes, latent: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the rows that a graph gives for latents.

    Args:
      content: the graph.
      latent: arrays of latents by name.
    """
    session = import_module("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["x"], {each.name: latent[each.name] for each in session.get_inputs()})[0]


def refuse_difference(rows: np.ndarray, expected: np.ndarray) -> None:
    """Refuses rows that differ from the expected rows by more than `TOLERANCE`.

    Args:
      rows: the rows.
      expected: the expected rows.

    Raises:
      UserError: for such rows, with the largest difference.
    """
    share = np.abs(rows - expected).max() / max(float(np.ptp(expected)), 1e-12)
    if not share <= TOLERANCE:
        raise UserError(f"rows of the ONNX graph differ by {share:.1e} of their range; expected at most {TOLERANCE:g}")
