"""gen_jax: generative models in JAX behind one record of functions and one loop."""


def __getattr__(name: str):
    if name == "load":  # on use, so that a worker that only reads data never starts JAX
        from gen_jax.run import load

        return load
    raise AttributeError(f"module 'gen_jax' has no attribute {name!r}")
