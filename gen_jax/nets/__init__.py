"""Nets, as Flax linen modules. Losses and optimizers live in other rooms."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

from gen_jax.nets.conv import ConvDecoder, ConvEncoder, GridDecoder, GridEncoder
from gen_jax.nets.dcgan import DCDiscriminator, DCGenerator
from gen_jax.nets.denoisers import DenoisingMLP, EntryTransformer, PatchTransformer
from gen_jax.nets.denoising_unet import DenoisingUNet
from gen_jax.nets.ladder import conv_ladder, mlp_ladder
from gen_jax.nets.mlp import MLP
from gen_jax.nets.net import Net
from gen_jax.nets.nnx import NnxNet
from gen_jax.nets.r3 import R3Discriminator, R3Generator
from gen_jax.nets.rcgan import RecurrentDiscriminator, RecurrentGenerator
from gen_jax.nets.recurrent import RECURRENT
from gen_jax.nets.space_time import VideoDiscriminator, VideoGenerator, VideoTransformer
from gen_jax.nets.subpixel import SuperResolver
from gen_jax.nets.unet import PatchDiscriminator, UNet
from gen_jax.nets.wavegan import WaveDiscriminator, WaveGenerator
from gen_jax.registry import Choices

__all__ = [
    "DECODERS",
    "DENOISERS",
    "DISCRIMINATORS",
    "ENCODERS",
    "GENERATORS",
    "GRID_DECODERS",
    "GRID_ENCODERS",
    "INFILLERS",
    "LADDERS",
    "MLP",
    "RECURRENT",
    "ConvDecoder",
    "ConvEncoder",
    "DCDiscriminator",
    "DCGenerator",
    "DenoisingMLP",
    "DenoisingUNet",
    "EntryTransformer",
    "GridDecoder",
    "GridEncoder",
    "Net",
    "NnxNet",
    "PatchDiscriminator",
    "PatchTransformer",
    "R3Discriminator",
    "R3Generator",
    "RecurrentDiscriminator",
    "RecurrentGenerator",
    "SuperResolver",
    "UNet",
    "VideoDiscriminator",
    "VideoGenerator",
    "VideoTransformer",
    "WaveDiscriminator",
    "WaveGenerator",
]


def __dir__() -> list[str]:
    return __all__


# Net(shape, **options): (z [N, Z], conditions or None, mask [N] or None, 0 for padding) -> x [N, *shape]
Nets = Mapping[str, Callable[..., Any]]

GENERATORS: Nets = {
    "mlp": MLP,
    "dcgan": DCGenerator,
    "r3": R3Generator,
    "recurrent": RecurrentGenerator,
    "unet": UNet,
    "sr": SuperResolver,
    "video": VideoGenerator,
    "wavegan": WaveGenerator,
}
# Net(**options): (x [N, ...], conditions, mask) -> logits [N], or [N, P] for P patches
DISCRIMINATORS: Nets = {
    "mlp": partial(MLP, ()),
    "dcgan": DCDiscriminator,
    "r3": R3Discriminator,
    "recurrent": RecurrentDiscriminator,
    "patch": PatchDiscriminator,
    "video": VideoDiscriminator,
    "wavegan": WaveDiscriminator,
}
# Net(shape, **options): (x [N, ...], conditions or None) -> [N, *shape]
ENCODERS: Nets = {"mlp": MLP, "conv": ConvEncoder}
DECODERS: Nets = {"mlp": MLP, "conv": ConvDecoder}
# Net(shape, **options): (z [N, *shape], conditions or None, level [N], evidence [N, *shape, 2] or nothing) -> [N, *shape]; level is [N, 2] with mean_flow
DENOISERS: Nets = {
    "mlp": DenoisingMLP,
    "transformer": PatchTransformer,
    "unet": DenoisingUNet,
    "video": VideoTransformer,
}
# Net((D, V), **options): (one-hot levels [N, D, V], conditions or None, share hidden [N], visible [N, D]) -> [N, D, V]
INFILLERS: Nets = {"mlp": DenoisingMLP, "transformer": EntryTransformer}
# Net(size, base, **options): x [N, H, W, C] -> grid [N, h, w, size]; Net(shape, base, **options): grid -> [N, *shape]
GRID_ENCODERS: Nets = {"conv": GridEncoder}
GRID_DECODERS: Nets = {"conv": GridDecoder}
# ladder(shape, conditions, **options) -> Nets
LADDERS: Nets = {"mlp": mlp_ladder, "conv": conv_ladder}

# Arguments of families: a `name` in one of the dictionaries and the options of that net, or a net of the user.
Generator = Annotated[Mapping | Net, Choices(GENERATORS, 1)]
Discriminator = Annotated[Mapping | Net, Choices(DISCRIMINATORS)]
Encoder = Annotated[Mapping | Net, Choices(ENCODERS, 1)]
Decoder = Annotated[Mapping | Net, Choices(DECODERS, 1)]
Denoiser = Annotated[Mapping | Net, Choices(DENOISERS, 1)]
Infiller = Annotated[Mapping | Net, Choices(INFILLERS, 1)]
GridEncoderChoice = Annotated[Mapping | Net, Choices(GRID_ENCODERS, 2)]
GridDecoderChoice = Annotated[Mapping | Net, Choices(GRID_DECODERS, 2)]
LadderChoice = Annotated[Mapping, Choices(LADDERS, 2)]
