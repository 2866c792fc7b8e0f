"""gen_jax: generative models in JAX behind one record of functions and one loop.

`data` opens rows, `models` holds the families, `fit` trains, `load` loads a run, `every` makes a hook, which stops a
run by `STOP`, and `register` gives a name to a family, a net or a loss of your own.

These modules are public too, for authors:

  - of a family: `gen_jax.model`, `gen_jax.conditions` and `gen_jax.optimizers`;
  - of a net: `gen_jax.nets.embedding`, `gen_jax.nets.nnx`, `gen_jax.nets.ladder` and `gen_jax.nets.recurrent`;
  - of a loss or a penalty: `gen_jax.losses.adversarial`, `gen_jax.losses.penalties` and `gen_jax.losses.reconstruction`;
  - of a likelihood: `gen_jax.distributions.pixels`, and `gen_jax.distributions.frames` for sequences;
  - of a measure: `gen_jax.metrics.measure`;
  - of a config file: `gen_jax.config`.

All other modules are internal. `help` of a family says what its nets and losses must look like.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_jax import data, models, nets
    from gen_jax.data.dataset import DataSet
    from gen_jax.errors import UserError
    from gen_jax.model import Model
    from gen_jax.run import Run, load
    from gen_jax.storage.registration import register
    from gen_jax.training.fit import fit
    from gen_jax.training.hooks import STOP, every

HOMES = {  # imported on use: a worker that only reads data never starts JAX
    "DataSet": "gen_jax.data.dataset",
    "Model": "gen_jax.model",
    "Run": "gen_jax.run",
    "STOP": "gen_jax.training.hooks",
    "UserError": "gen_jax.errors",
    "every": "gen_jax.training.hooks",
    "fit": "gen_jax.training.fit",
    "load": "gen_jax.run",
    "register": "gen_jax.storage.registration",
}
ROOMS = ("data", "models", "nets")
__all__ = ["STOP", "DataSet", "Model", "Run", "UserError", "data", "every", "fit", "load", "models", "nets", "register"]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name in ROOMS:
        return import_module(f"gen_jax.{name}")
    if name == "__version__":
        return installed_version()
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")


def installed_version() -> str:
    """Returns the version of the installed package; 0 for a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes 20 times as long to import as this package

    try:
        return version("gen_jax")
    except PackageNotFoundError:
        return "0"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
