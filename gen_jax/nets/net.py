"""The protocol of a net: the functions of a Flax linen module that models call."""

from typing import Any, Protocol


class Net(Protocol):
    """A net, such as any `flax.linen.Module`. Its weights are a pytree `{"params": ...}`, which is passed to it."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the weights, from (key, *inputs)."""

    def init_with_output(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Returns the outputs and the weights, from (key, *inputs)."""

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the outputs, from (weights, *inputs)."""
