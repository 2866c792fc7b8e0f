"""Flax linen modules. No losses, no optimizers."""

from functools import partial

from gen_jax.nets.cells import CELLS
from gen_jax.nets.dcgan import DCDiscriminator, DCGenerator
from gen_jax.nets.mlp import MLP
from gen_jax.nets.r3 import R3Discriminator, R3Generator
from gen_jax.nets.recurrent import Recurrent

# Net(shape, classes, **options): (z [N, Z], labels [N] or None, mask [N] or None, 0 = a padding row) -> x [N, *shape]
GENERATORS = {"mlp": MLP, "dcgan": DCGenerator, "r3": R3Generator}
# Net(classes, **options): (x [N, ...], labels, mask) -> logits [N]
DISCRIMINATORS = {"mlp": partial(MLP, ()), "dcgan": DCDiscriminator, "r3": R3Discriminator}
# Net(**options), its contract is `init_carry`, `unroll` and `step`
RECURRENT = {cell: partial(Recurrent, cell) for cell in CELLS}
