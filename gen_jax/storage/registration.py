"""Names that a user gives to families, nets, losses and measures, and their places, which a run stores."""

import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gen_jax import optimizers
from gen_jax.config import flat, load_file, plain
from gen_jax.distributions import frames, pixels
from gen_jax.errors import UserError, choose
from gen_jax.losses.adversarial import LOSSES
from gen_jax.losses.penalties import PENALTIES
from gen_jax.metrics import catalogue
from gen_jax.metrics.measure import Measure, names_of
from gen_jax.model import family
from gen_jax.models import MODELS
from gen_jax.nets import (
    DECODERS,
    DENOISERS,
    DISCRIMINATORS,
    ENCODERS,
    GENERATORS,
    GRID_DECODERS,
    GRID_ENCODERS,
    INFILLERS,
    LADDERS,
)
from gen_jax.references import place_of, reference_of, resolve
from gen_jax.storage.trust import refuse_untrusted

TABLES: Mapping[str, Any] = {  # kind of a name -> names of this package, which users extend
    "model": MODELS,
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "denoiser": DENOISERS,
    "infiller": INFILLERS,
    "grid_encoder": GRID_ENCODERS,
    "grid_decoder": GRID_DECODERS,
    "ladder_net": LADDERS,
    "optimizer": optimizers.OPTIMIZERS,
    "loss": LOSSES,
    "penalty": PENALTIES,
    "likelihood": pixels.LIKELIHOODS,
    "head": frames.HEADS,
}
KINDS_OF_NAMES = (*TABLES, "measure")
OWN: dict[tuple[str, str], Any] = {}  # (kind, name) -> object that the user has registered


def register(name: str, thing: Any, kind: str = "model") -> Any:
    """Gives a name to your own object, which a config and the commands can then use.

    A run stores the place of its definition, `module:name`, so that commands find the object again. In a config file,
    register objects that the file defines or imports.

    Args:
      name: the name, for `config.model.name`, for the `name` of a net, and so on.
      thing: a family (spec, **options) -> Model, a net, a loss, and so on. A measure is a record
        `metrics.measure.Measure`.
      kind: kind of the object: model (the default), generator, discriminator, encoder, decoder, denoiser, infiller, grid_encoder,
        grid_decoder, ladder_net, optimizer, loss, penalty, likelihood, head or measure.

    Returns:
      `thing`. For a family, a function whose models know how they were made.

    Raises:
      UserError: for an unknown kind, or a name of gen_jax itself.
    """
    choose("kind of a name", kind, KINDS_OF_NAMES)
    if kind == "measure":
        return register_measure(name, thing)
    table: MutableMapping[str, Any] = TABLES[kind]
    if name in table and (kind, name) not in OWN:
        raise UserError(f"{kind} {name!r} is a name of gen_jax itself; expected another name")
    OWN[kind, name] = thing
    table[name] = family(name)(thing) if kind == "model" else thing
    return table[name]


def register_measure(name: str, measure: Measure) -> Measure:
    """Adds a measure, and replaces a measure that was registered with the same name.

    Args:
      name: name of the measure.
      measure: the measure.

    Raises:
      UserError: for a metric whose name belongs to another measure.
    """
    if not isinstance(measure, Measure):
        raise UserError(
            f"measure {name!r} is an object of type {type(measure).__name__}; expected a gen_jax.metrics.measure.Measure"
        )
    others = tuple(other for other in catalogue.MEASURES if other is not OWN.get(("measure", name)))
    taken = {metric for other in others for metric in names_of(other)} & {*names_of(measure)}
    if taken:
        raise UserError(f"metric {min(taken)!r} is a name of another measure; expected another name")
    catalogue.MEASURES = (*others, measure)
    OWN["measure", name] = measure
    return measure


def registered(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Returns the references of the registered objects that a config names: kind -> name -> reference.

    Args:
      settings: the config.
    """
    texts: set[str] = set()
    for value in flat(settings).values():
        if isinstance(value, str):
            texts.add(value)
        elif isinstance(value, list | tuple):
            texts.update(item for item in value if isinstance(item, str))
    homes: dict[str, dict[str, str]] = {}
    for (kind, name), thing in OWN.items():
        names = {name, *names_of(thing)} if kind == "measure" else {name}
        if names & texts:
            homes.setdefault(kind, {})[name] = home_of(thing)
    return homes


def home_of(thing: Any) -> str:
    """Returns the reference of a function, a class, or another object to which a module of the user gives a name.

    Args:
      thing: the object.
    """
    reference = reference_of(thing)
    if reference is not None or hasattr(thing, "__qualname__"):
        return reference or place_of(thing)
    for module in [*sys.modules.values()]:
        if module is not None and not module.__name__.startswith("gen_jax"):
            for name, value in vars(module).items():
                if value is thing:
                    return f"{module.__name__}:{name}"
    return place_of(thing)


def trusted_config(file: Path) -> ConfigDict:
    """Returns the config of a file. The code that a run's `config.json` names must be code that the user has trained with.

    Args:
      file: a config file, or `config.json` of a run.

    Raises:
      UserError: for a file that gives no config, or other code.
    """
    config = load_file(file)
    if file.suffix == ".json":
        restore_trusted(plain(config), file.parent)
    return config


def restore_trusted(config: Mapping[str, Any], workdir: Path) -> None:
    """Restores the names of a run, after it was checked that the user has trained with all code that they name.

    Args:
      config: settings of the run.
      workdir: directory of the run, for errors.

    Raises:
      UserError: for other code, or a name that cannot be restored.
    """
    refuse_untrusted(config, workdir)
    restore(config.get("registered", {}), workdir)


def restore(homes: Mapping[str, Mapping[str, str]], workdir: Any) -> None:
    """Registers the objects that a run names, unless they are registered.

    Args:
      homes: result of `registered` when the run was started.
      workdir: directory of the run, for the error.

    Raises:
      UserError: for an object that cannot be found.
    """
    for kind, names in homes.items():
        for name, home in names.items():
            if (kind, name) in OWN:
                continue
            try:
                register(name, resolve(home), kind)
            except UserError as error:
                raise UserError(
                    f"{kind} {name!r} of {workdir} cannot be loaded from {home} ({error}); expected a registered "
                    f"{kind}. Call gen_jax.register({name!r}, ..., {kind!r}) first"
                ) from None
