"""What models ask of a net: the two functions of a Flax linen module."""

from typing import Any, Protocol


class Net(Protocol):
    """A net, such as any `flax.linen.Module`; its weights are `{"params": ...}`, a pytree that is passed to it."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """(key, *inputs) -> weights."""

    def init_with_output(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """(key, *inputs) -> outputs, weights."""

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """(weights, *inputs) -> outputs."""
