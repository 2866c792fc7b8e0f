"""NNX modules (flax.nnx) as nets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from gen_jax.references import resolve


@dataclass
class NnxNet:
    """A net made of an NNX module, with the `init` and `apply` that models call.

    All its variables are trained; a module with batch statistics or dropout is refused.

    Attributes:
      make: function (nnx.Rngs) -> module, such as `lambda rngs: MyModule(32, rngs=rngs)`, or its reference
        `module:name`. `init` calls it, so that the weights follow the seed of the run. If the function can be imported,
        another process can load the run.
    """

    make: Callable[[Any], Any] | str

    def module(self, key: jax.Array | int) -> Any:
        """Returns a new module.

        Args:
          key: random key or seed of its weights.
        """
        from flax import nnx  # slow to import

        make = resolve(self.make) if isinstance(self.make, str) else self.make
        return make(nnx.Rngs(key))

    def init(self, key: jax.Array, *inputs: Any) -> Any:
        """Returns the weights of a new module, `{"params": ...}`.

        Args:
          key: random key.
          *inputs: inputs of the module, which are not read.

        Raises:
          ValueError: for a module with variables other than weights.
        """
        from flax import nnx

        _, *parts = nnx.split(self.module(key), nnx.Param, ...)
        weights, others = parts
        if jax.tree.leaves(others):
            raise ValueError("an NNX net has variables that are no nnx.Param; expected weights alone")
        return {"params": nnx.to_pure_dict(weights)}

    def init_with_output(self, key: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        """Returns the output and the weights of a new module.

        Args:
          key: random key.
          *inputs: inputs of the module.
        """
        weights = self.init(key)
        return self.apply(weights, *inputs), weights

    def apply(self, weights: Any, *inputs: Any, rngs: Any = None, mutable: Any = None) -> Any:
        """Returns the output of the module; if `mutable` is given, (output, {}), as Flax linen does.

        Args:
          weights: weights of the module.
          *inputs: inputs of the module.
          rngs: not read.
          mutable: names of collections, which are not read; by default None.
        """
        from flax import nnx

        graph, abstract = nnx.split(nnx.eval_shape(lambda: self.module(0)))
        nnx.replace_by_pure_dict(abstract, weights["params"])
        out = nnx.merge(graph, abstract)(*inputs)
        return out if mutable is None else (out, {})
