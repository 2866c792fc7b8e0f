"""The page of `gen_jax.demo`: what a run can be asked for, and the web page that asks it."""
