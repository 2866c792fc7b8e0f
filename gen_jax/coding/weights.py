"""What the compressor needs of a trained autoencoder: its weights as an exact network of whole numbers takes them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gen_jax.coding.integer import Description
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels as likelihoods
from gen_jax.errors import UserError
from gen_jax.models.vae import VaeState


def integer_network(spec: Spec, options: Mapping, state: VaeState) -> Description:
    """The weights of a vae of ReLU layers as plain arrays, for the exact integer network of the compressor.

    Raises:
      UserError: for nets of other layers, a conditional vae, or data that are no images of whole numbers.
    """
    nets = {name: dict(options.get(name) or {"name": "mlp"}) for name in ("encoder", "decoder")}
    for name, net in nets.items():
        plain = {"norm": "none", "output": "linear", "pieces": 1}
        for option, wanted in {"name": "mlp", "activation": "relu", **plain}.items():
            found = net.get(option, plain.get(option, "leaky_relu"))
            if found != wanted:
                raise UserError(f"compression needs {name}.{option} {wanted!r}, this run has {found!r}")
    values = likelihoods.whole(spec)
    if options.get("conditional") or options.get("kl") == 0 or not kind_of(spec).pixels or values is None:
        raise UserError("compression needs a vae of images of whole numbers, with kl above 0 and without labels")
    params = jax.device_get(state.average)
    layers = {
        name: [(layer["kernel"], layer["bias"]) for _, layer in sorted(params[name]["params"].items(), key=_number)]
        for name in nets
    }
    kernel, bias = layers["decoder"][-1]  # the numbers of a pixel side by side: first those of all pixels
    pixels = int(np.prod(spec.shape))
    order = np.arange(len(bias)).reshape(pixels, -1).T.ravel()
    layers["decoder"][-1] = kernel[:, order], bias[order]
    name = (options.get("likelihood") or {"name": "bernoulli" if values.top == 1 else "beta_binomial"})["name"]
    shift, scale = (float(each) for each in (spec.shift - spec.low, spec.scale))
    return Description(layers["encoder"], layers["decoder"], name, values.top + 1, shift, scale, spec.shape)


def _number(layer: tuple[str, Any]) -> int:
    return int(layer[0].rpartition("_")[2])
