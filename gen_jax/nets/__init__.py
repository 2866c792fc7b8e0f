"""Flax linen modules. No losses, no optimizers."""

from gen_jax.nets.mlp import MLP
from gen_jax.nets.r3 import R3Discriminator, R3Generator

GENERATORS = {"mlp": MLP, "r3": R3Generator}  # Net(shape, **options): z [N, Z] -> x [N, *shape]
DISCRIMINATORS = {"mlp": MLP, "r3": R3Discriminator}  # Net(**options): x [N, ...] -> logits [N]
