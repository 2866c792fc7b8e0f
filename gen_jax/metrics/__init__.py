"""Measures of models: of their samples, or of what they give for real rows. No measure reads a family or its state.

`registry` lists the measures, and `measure` has their records. `features` holds the real data, `rows` what a model
gives for real rows, and `scores` the scores as they are stored and shown. `images`, `sequences` and `tables` are rooms
of measures. To score a model: `gen_jax.verbs.score`.
"""
