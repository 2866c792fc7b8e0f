"""The protocol of a net: the functions of a Flax linen module that models call, and their check in a place of a model."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flax.errors import FlaxError

from gen_jax.errors import UserError
from gen_jax.nets.embedding import Embedded
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
      place: name of the place, for the errors.
      net: the net.
      inputs: the inputs in words, for the errors.
      shape: shape of an output without its first axis.
      sides: height and width of the images that condition the net in training; None if there are none. If a condition
        has other sides, as a whole photo does after patches, images may have other sides too.
    """

    place: str
    net: Net
    inputs: str
    shape: tuple[int, ...]
    sides: tuple[int, ...] | None = None

    def init(self, key: Any, *inputs: Any) -> Any:
        """Returns the weights.

        Args:
          key: random key.
          *inputs: inputs of the net.

        Raises:
          UserError: if the net does not take these inputs.
        """
        refuse_inputs(self.place, self.net, self.inputs, inputs)
        return self.net.init(key, *inputs)

    def init_with_output(self, key: Any, *inputs: Any) -> tuple[Any, Any]:
        """Returns the outputs and the weights.

        Args:
          key: random key.
          *inputs: inputs of the net.

        Raises:
          UserError: if the net does not take these inputs, or its output has another shape.
        """
        refuse_inputs(self.place, self.net, self.inputs, inputs)
        output, weights = self.net.init_with_output(key, *inputs)
        refuse_output(self.place, self.net, output, self.shape, self.takes_other_sides(inputs))
        return output, weights

    def apply(self, weights: Any, *inputs: Any, **options: Any) -> Any:
        """Returns the outputs.

        Args:
          weights: the weights of the net.
          *inputs: inputs of the net.
          **options: as those of `flax.linen.Module.apply`.

        Raises:
          UserError: if the net does not take these inputs or the sides of a condition, or its output has another shape.
        """
        refuse_inputs(self.place, self.net, self.inputs, inputs)
        try:
            result = self.net.apply(weights, *inputs, **options)
        except (FlaxError, TypeError, ValueError) as error:
            if isinstance(error, UserError) or not self.takes_other_sides(inputs):
                raise
            assert self.sides is not None
            raise UserError(
                f"the images of given c have other sides than in training, which {self.place} {type(self.net).__name__} "
                f"does not take; expected {self.sides[1]}x{self.sides[0]} pixels"
            ) from None
        output = result[0] if "mutable" in options else result
        refuse_output(self.place, self.net, output, self.shape, self.takes_other_sides(inputs))
        return result

    def takes_other_sides(self, inputs: tuple[Any, ...]) -> bool:
        """Returns whether the images of a condition have other sides than in training.

        Args:
          inputs: inputs of the net.
        """
        images = [value.image for value in inputs if isinstance(value, Embedded) and value.image is not None]
        return self.sides is not None and any(image.shape[1:3] != self.sides for image in images)


def refuse_inputs(place: str, net: Net, names: str, inputs: tuple[Any, ...]) -> None:
    """Refuses a net that does not take so many inputs.

    Args:
      place: name of the place, for the error.
      net: the net.
      names: the inputs in words, for the error.
      inputs: the inputs.

    Raises:
      UserError: for such a net.
    """
    if not callable(net):
        return
    try:
        inspect.signature(net).bind(*inputs)
    except TypeError as error:
        raise UserError(f"{place} {type(net).__name__}: {error}; expected __call__(self, {names})") from None


def refuse_output(place: str, net: Net, output: Any, expected: tuple[int, ...], free_sides: bool = False) -> None:
    """Refuses an output of another shape than its place in the model needs.

    Args:
      place: name of the place, for the error.
      net: the net.
      output: output of the net.
      expected: shape of the output without its first axis.
      free_sides: whether an image may have any sides; by default False.

    Raises:
      UserError: for such an output.
    """
    shape = getattr(output, "shape", None)
    if free_sides and len(expected) == 3 and shape is not None and len(shape) == 4:
        expected = (*shape[1:3], expected[2])
    fits = shape is not None and (tuple(shape[1:]) == expected if expected else len(shape) <= 2)  # logits of patches
    if not fits:
        found = f"an output of type {type(output).__name__}" if shape is None else f"an output of shape {[*shape]}"
        axes = ", ".join(map(str, ("N", *expected)))
        raise UserError(f"{place} {type(net).__name__} gives {found}; expected [{axes}]")


def refuse_no_net(place: str, net: Any) -> None:
    """Refuses an object that is no net.

    Args:
      place: name of the place, for the error.
      net: the object.

    Raises:
      UserError: for an object without `init` and `apply`.
    """
    if not hasattr(net, "init") or not hasattr(net, "apply"):
        raise UserError(
            f"{place} is an object of type {type(net).__name__}, which has no init and apply; expected a Flax linen module, "
            f"or an NNX module as gen_jax.nets.NnxNet(lambda rngs: {type(net).__name__}(..., rngs=rngs))"
        )


def build_net(
    place: str,
    choices: Mapping[str, Callable],
    options: Any,
    *facts: Any,
    inputs: str,
    shape: tuple,
    sides: tuple[int, ...] | None = None,
) -> CheckedNet:
    """Builds a net of a model, which is checked when it is traced: also nets that a user has registered under a name.

    Args:
      place: name of the place, for the errors.
      choices: functions by name.
      options: the net, as `registry.build` takes it.
      *facts: facts that the model gives to the functions.
      inputs: the inputs in words, for the errors.
      shape: shape of an output without its first axis.
      sides: height and width of the images that condition the net in training; by default None.

    Raises:
      UserError: as `registry.build`, and for an object that is no net.
    """
    net = build(place, choices, options, *facts)
    refuse_no_net(place, net)
    return CheckedNet(place, net, inputs, tuple(shape), sides)
