"""One family per file, each a function that returns a `Model`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gen_jax.config import settings_of, unshared
from gen_jax.data.spec import Spec, levels, may_miss
from gen_jax.model import Model, State
from gen_jax.models.autoregressive import autoregressive
from gen_jax.models.bayes_net import bayes_net
from gen_jax.models.bernoulli import bernoulli
from gen_jax.models.diffusion import diffusion
from gen_jax.models.families import Families
from gen_jax.models.flow import flow
from gen_jax.models.forest import forest
from gen_jax.models.gan import gan
from gen_jax.models.gaussian import gaussian
from gen_jax.models.hmm import hmm
from gen_jax.models.ladder import ladder
from gen_jax.models.markov import markov
from gen_jax.models.masked import masked
from gen_jax.models.mixture import mixture
from gen_jax.models.smote import smote
from gen_jax.models.speech import speech
from gen_jax.models.vae import vae
from gen_jax.models.vqvae import vqvae
from gen_jax.registry import build

MODELS = Families(  # family(spec, **options)
    {
        "autoregressive": autoregressive,
        "bayes_net": bayes_net,
        "bernoulli": bernoulli,
        "diffusion": diffusion,
        "flow": flow,
        "forest": forest,
        "gan": gan,
        "gaussian": gaussian,
        "hmm": hmm,
        "ladder": ladder,
        "markov": markov,
        "masked": masked,
        "mixture": mixture,
        "smote": smote,
        "speech": speech,
        "vae": vae,
        "vqvae": vqvae,
    }
)
RENAMED = {"rnn": ("autoregressive", {"cell": "net"})}  # family of an earlier version -> its name and options of today


def __getattr__(name: str) -> Callable[..., Model]:
    """Returns a family of the user or of another package."""
    if not name.startswith("_") and name in MODELS:
        return MODELS[name]
    raise AttributeError(f"module 'gen_jax.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["MODELS", *MODELS]


def build_model(options: Mapping, spec: Spec) -> Model:
    """Returns the model that the `model` section of a config names.

    Args:
      options: the section: `name` and the options of the family.
      spec: facts of the data.

    Raises:
      UserError: for an unknown name or option, or data that the family cannot model.
    """
    return build("model", MODELS, options, spec)


def default_settings(name: str | None) -> ConfigDict:
    """Returns the options of a family that have defaults, as settings; an empty config for an unknown name.

    Args:
      name: name of the family, or None.
    """
    family = MODELS.get(name or "")
    return ConfigDict() if family is None else settings_of(family)


def rename_old_parts(model: dict[str, Any]) -> None:
    """Gives the `model` section of the config of a run of an earlier version the names of today.

    Args:
      model: the section, which is changed.
    """
    name, options = RENAMED.get(model.get("name", ""), (None, {}))
    if name is not None:
        model["name"] = name
        for old, new in options.items():
            if old in model:
                model[new] = model.pop(old)


def complete_settings(config: ConfigDict, name: str | None = None) -> ConfigDict:
    """Returns a copy of a config whose `model` section names every option of its family.

    Args:
      config: the config of a run.
      name: name of the family; if None, the name in the config.
    """
    complete = unshared(config)
    defaults = default_settings(complete.model.get("name") if name is None else name)
    for option, value in defaults.items(preserve_field_references=True):
        if option not in complete.model:
            complete.model[option] = value
    return complete


def example_batch(spec: Spec, rows: int = 1, lanes: bool = False) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and types of a training batch, from which the shapes of a state follow.

    Args:
      spec: facts of the data.
      rows: number of rows; by default 1.
      lanes: whether each row continues the same row of the previous batch. A state may then hold a value for each row.
    """
    batch = {
        name: jax.ShapeDtypeStruct((rows, *field.shape), np.int32 if levels(field) else np.float32)
        for name, field in spec.fields.items()
    }
    batch["weight"] = jax.ShapeDtypeStruct((rows,), np.float32)
    if spec.classes:
        batch["y"] = jax.ShapeDtypeStruct((rows,), np.int32)
    if spec.ragged:
        batch["length"] = jax.ShapeDtypeStruct((rows,), np.int32)
    if spec.condition is not None and spec.condition.ragged:
        batch["c_length"] = jax.ShapeDtypeStruct((rows,), np.int32)
    if may_miss(spec):
        batch["mask"] = jax.ShapeDtypeStruct((rows, *spec.shape), np.bool_)
    if lanes:
        batch["reset"] = jax.ShapeDtypeStruct((rows,), np.bool_)
    return batch


def state_shapes(model: Model, spec: Spec, rows: int, lanes: bool) -> State:
    """Returns the shapes and types of the state of a model.

    Args:
      model: the model.
      spec: facts of the data.
      rows: number of rows of a training batch, which is read only if `lanes`.
      lanes: see `example_batch`.
    """
    return jax.eval_shape(model.init, jax.random.key(0), example_batch(spec, rows if lanes else 1, lanes))
