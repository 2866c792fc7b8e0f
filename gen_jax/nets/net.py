"""The protocol of a net: the functions of a Flax linen module that models call, and their check in a place of a model."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gen_jax.errors import UserError
from gen_jax.registry import build


class Net(Protocol):
    """A net, such as any `flax.linen.Module`. Its weights are a pytree `{"params": ...}`, which is passed to it."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the weights, from (key, *inputs)."""

    def init_with_output(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Returns the outputs and the weights, from (key, *inputs)."""

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the outputs, from (weights, *inputs)."""


@dataclass(frozen=True)
class CheckedNet:
    """A net in its place in a model. When it is traced, it refuses other inputs and outputs than the place has.

    Attributes:
      what: name of the place, for the errors.
      net: the net.
      inputs: the inputs in words, for the errors.
      shape: shape of an output without its first axis.
    """

    what: str
    net: Net
    inputs: str
    shape: tuple[int, ...]

    def init(self, key: Any, *inputs: Any) -> Any:
        """Returns the weights.

        Args:
          key: random key.
          *inputs: inputs of the net.

        Raises:
          UserError: if the net does not take these inputs.
        """
        self.refuse_inputs(inputs)
        return self.net.init(key, *inputs)

    def init_with_output(self, key: Any, *inputs: Any) -> tuple[Any, Any]:
        """Returns the outputs and the weights.

        Args:
          key: random key.
          *inputs: inputs of the net.

        Raises:
          UserError: if the net does not take these inputs, or its output has another shape.
        """
        self.refuse_inputs(inputs)
        output, weights = self.net.init_with_output(key, *inputs)
        self.refuse_output(output)
        return output, weights

    def apply(self, weights: Any, *inputs: Any, **options: Any) -> Any:
        """Returns the outputs.

        Args:
          weights: the weights of the net.
          *inputs: inputs of the net.
          **options: as those of `flax.linen.Module.apply`.

        Raises:
          UserError: if the net does not take these inputs, or its output has another shape.
        """
        self.refuse_inputs(inputs)
        result = self.net.apply(weights, *inputs, **options)
        self.refuse_output(result[0] if "mutable" in options else result)
        return result

    def refuse_inputs(self, inputs: tuple[Any, ...]) -> None:
        """Raises UserError if the net does not take so many inputs.

        Args:
          inputs: the inputs.
        """
        if not callable(self.net):
            return
        try:
            inspect.signature(self.net).bind(*inputs)
        except TypeError as error:
            raise UserError(
                f"{self.what} {type(self.net).__name__}: {error}; expected __call__(self, {self.inputs})"
            ) from None

    def refuse_output(self, output: Any) -> None:
        """Raises UserError if an output has another shape than its place in the model needs.

        Args:
          output: of the net.
        """
        shape = getattr(output, "shape", None)
        accepted = [self.shape] if self.shape else [(), (1,)]  # logits may have a last axis
        if shape is None or tuple(shape[1:]) not in accepted:
            found = f"an output of type {type(output).__name__}" if shape is None else f"an output of shape {[*shape]}"
            expected = ", ".join(map(str, ("N", *self.shape)))
            raise UserError(f"{self.what} {type(self.net).__name__} gives {found}; expected [{expected}]")


def build_net(
    place: str, choices: Mapping[str, Callable], options: Any, *facts: Any, inputs: str, shape: tuple
) -> CheckedNet:
    """Builds a net of a model, which is checked when it is traced: also nets that a user has registered under a name.

    Args:
      place: name of the place, for the errors.
      choices: functions by name.
      options: the net, as `registry.build` takes it.
      *facts: facts that the model gives to the functions.
      inputs: the inputs in words, for the errors.
      shape: shape of an output without its first axis.

    Raises:
      UserError: as `registry.build`, and for an object that is no net.
    """
    net = build(place, choices, options, *facts)
    if not hasattr(net, "init") or not hasattr(net, "apply"):
        raise UserError(
            f"{place} is an object of type {type(net).__name__}, which has no init and apply; expected a Flax linen module, "
            f"or an NNX module as gen_jax.nets.NnxNet(lambda rngs: {type(net).__name__}(..., rngs=rngs))"
        )
    return CheckedNet(place, net, inputs, tuple(shape))
