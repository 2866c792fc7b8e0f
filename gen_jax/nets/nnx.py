"""NNX modules (flax.nnx) as nets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from gen_jax.references import resolve


@dataclass
class NnxNet:
    """A net of an NNX module, with the `init` and `apply` that models ask for.

    All its variables are trained; a module with batch statistics or dropout is refused.

    Attributes:
      make: (nnx.Rngs) -> module, such as `lambda rngs: MyModule(32, rngs=rngs)`, or its reference `module:name`. It is
        called by `init`, so that the weights follow the seed of the run. With a function that can be imported, a run loads
        in another process.
    """

    make: Callable[[nnx.Rngs], Any] | str

    def module(self, key: jax.Array | int) -> Any:
        """Returns a new module."""
        make = resolve(self.make) if isinstance(self.make, str) else self.make
        return make(nnx.Rngs(key))

    def init(self, key: jax.Array, *inputs: Any) -> Any:
        """Returns the weights of a new module, `{"params": ...}`.

        Raises:
          ValueError: for a module that has other variables than weights.
        """
        _, *parts = nnx.split(self.module(key), nnx.Param, ...)
        weights, others = parts
        if jax.tree.leaves(others):
            raise ValueError("an NNX net with variables that are no nnx.Param: expected weights alone")
        return {"params": nnx.to_pure_dict(weights)}

    def init_with_output(self, key: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        """Returns the output of a new module, and its weights."""
        weights = self.init(key)
        return self.apply(weights, *inputs), weights

    def apply(self, weights: Any, *inputs: Any, rngs: Any = None, mutable: Any = None) -> Any:
        """Returns the output of the module with these weights; with `mutable` (output, {}), as Flax linen does."""
        graph, abstract = nnx.split(nnx.eval_shape(lambda: self.module(0)))
        nnx.replace_by_pure_dict(abstract, weights["params"])
        out = nnx.merge(graph, abstract)(*inputs)
        return out if mutable is None else (out, {})
