"""The integer network of a trained autoencoder, with which `gen_jax.compress` codes images."""

from typing import Any

import jax
import numpy as np

from gen_jax.coding.integer import Description, Network, make
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions.pixels import whole
from gen_jax.errors import UserError
from gen_jax.model import State
from gen_jax.nets.mlp import MLP

# Options of an `MLP` of dense layers with ReLU between the layers
PLAIN = {"activation": "relu", "output": "linear", "norm": "none", "pieces": 1, "concatenate": False}
Layers = list[tuple[np.ndarray, np.ndarray]]  # kernel [I, O] and bias [O] of each dense layer


def integer_network(spec: Spec, nets: Any, state: State) -> Network:
    """Returns the integer network of an autoencoder, made from its averaged weights.

    Args:
      spec: facts of the data.
      nets: the autoencoder. Its nets must be `MLP`s of dense layers with ReLU between the layers, and the `name` of its
        likelihood must be in `gen_jax.coding.integer.LIKELIHOODS`.
      state: the state of the autoencoder.

    Raises:
      UserError: for nets with other layers, a conditional or deterministic autoencoder, data that are not images of
        whole numbers, another likelihood, or weights whose sums would not be exact.
    """
    encoder, decoder = plain_net("encoder", nets.encoder.net.net), plain_net("decoder", nets.decoder.net.net)
    values = whole(spec)
    likelihood, conditional = nets.likelihood, bool(nets.conditions.names)
    deterministic = state.moments is not None
    if conditional or deterministic or not kind_of(spec).pixels or values is None:
        raise UserError(
            "this model cannot compress; expected a vae of images of whole numbers, with kl above 0 and without conditions"
        )
    height, width, channels = spec.shape
    params = jax.device_get(state.average)
    description = Description(
        encoder=dense_layers(encoder, params["encoder"]),
        decoder=grouped_by_parameter(dense_layers(decoder, params["decoder"]), likelihood.width),
        likelihood=likelihood.name,
        levels=values.top + 1,
        shift=float(np.subtract(spec.shift, spec.low)),
        scale=float(np.asarray(spec.scale)),
        shape=(height, width, channels),
    )
    return make(description)


def plain_net(part: str, net: object) -> MLP:
    """Returns a net if it consists of dense layers with ReLU between the layers.

    Args:
      part: `encoder` or `decoder`, for the error.
      net: a Flax module.

    Raises:
      UserError: for any other net, with the option that differs.
    """
    if not isinstance(net, MLP):
        raise UserError(f"the {part} is a {type(net).__name__}; expected {part}.name 'mlp' to compress by")
    for option, expected in PLAIN.items():
        value = getattr(net, option)
        if value != expected:
            raise UserError(f"{part}.{option} is {value!r}; expected {expected!r} to compress by")
    return net


def dense_layers(net: MLP, params: Any) -> Layers:
    """Returns the weights of the dense layers of a net, from the first layer to the last.

    Args:
      net: the net.
      params: variables of the net.
    """
    layers = [params["params"][f"Dense_{place}"] for place in range(len(net.hidden) + 1)]
    return [(layer["kernel"], layer["bias"]) for layer in layers]


def grouped_by_parameter(layers: Layers, width: int) -> Layers:
    """Returns the layers of a decoder whose outputs are grouped by parameter of the likelihood instead of by pixel.

    Args:
      layers: layers of the net, which puts the parameters of a pixel side by side.
      width: number of parameters of a pixel.
    """
    *hidden, (kernel, bias) = layers
    order = np.arange(len(bias)).reshape(-1, width).T.ravel()
    return [*hidden, (kernel[:, order], bias[order])]
