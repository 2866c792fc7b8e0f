"""Root keys. Each purpose has its own roots, so that draws of two purposes never share bits."""

import jax

PURPOSES = {  # folded into the seed; a new purpose takes a new number, because a changed number changes every draw
    "training": 1,
    "samples": 2,
    "scores": 3,  # scores of real rows under the model: latents and noise of bounds and codes
    "paths": 4,  # ends of latent paths
    "codes": 5,  # codes of real rows
    "judges": 6,  # nets that are trained to judge samples
}


def root(seed: int, purpose: str) -> jax.Array:
    """Returns the key from which all keys of one purpose are split or folded.

    `fold_in(key, i)` equals `split(key, n)[i]`, and `fold_in` takes any whole number. If a key of one purpose were
    folded from the seed's own key, it could equal a key of another purpose. So only purposes are folded into the seed's
    own key.

    Args:
      seed: seed of the run or of the command.
      purpose: a name in `PURPOSES`.
    """
    return jax.random.fold_in(jax.random.key(seed), PURPOSES[purpose])
