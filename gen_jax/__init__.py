"""gen_jax: generative models in JAX behind one record of functions and one loop."""

from importlib import import_module

HOMES = {
    "every": "gen_jax.training.hooks",
    "fit": "gen_jax.training.fit",
    "load": "gen_jax.storage.loading",
}  # imported on use: a worker that only reads data never starts JAX


def __getattr__(name: str):
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")
