"""Measures of models: of their samples, or of their likelihoods and codes of real rows. No measure reads a family.

`catalogue` lists the measures, and `measure` has their records. `features` holds the real data. `row_functions` computes
likelihoods and codes of real rows. `scores` stores and shows scores. `images`, `sequences` and `tables` are rooms of
measures. To score a model: `gen_jax.verbs.score`.
"""
