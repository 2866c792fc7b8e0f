"""The emission densities of hidden Markov models by name, and the choice of a density that fits the data."""

from collections.abc import Callable, Mapping
from typing import Annotated

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError, choose
from gen_jax.models.hmm.discrete_emissions import bernoulli, categorical
from gen_jax.models.hmm.emission_density import Emission
from gen_jax.models.hmm.gaussian_emissions import gaussian
from gen_jax.registry import Choices, build

EMISSIONS: dict[str, Callable[..., Emission]] = {
    "categorical": categorical,
    "bernoulli": bernoulli,
    "gaussian": gaussian,
}

EmissionChoice = Annotated[Mapping | Emission | None, Choices(EMISSIONS)]


def fitting(spec: Spec, options: Mapping | Emission | None) -> Emission:
    """Returns the emission density of a model.

    Args:
      spec: facts of the data.
      options: a `name` in `EMISSIONS` and its options; or a density; or None for the density that fits the data.

    Raises:
      UserError: for data that are no sequences, a density that does not fit them, or an unknown name or option.
    """
    if not kind_of(spec).time or (levels(spec) and len(spec.shape) > 1):
        raise UserError(f"{spec.name} holds {spec.kind} data; expected sequences of tokens, bits or numbers for an hmm")
    if kind_of(spec).binary and (spec.shift, spec.scale) != (0.0, 1.0):
        raise UserError(f"keys of {spec.name} are not 0 or 1; expected keys that are. Set --config.data.transform=none")
    fits = "categorical" if levels(spec) else "bernoulli" if kind_of(spec).binary else "gaussian"
    options = {"name": fits} if options is None else options
    if not isinstance(options, Mapping):
        return options
    if choose("emission", options.get("name", fits), EMISSIONS) != fits:
        raise UserError(f"emission is {options['name']!r} and {spec.name} holds {spec.kind} data; expected {fits!r}")
    if levels(spec):
        return build("emission", EMISSIONS, options, levels(spec))
    return build("emission", EMISSIONS, options)
