"""Draws docs/wall.png: what eight configs draw after training, on data that the package ships or makes.

    python docs/wall.py

About ten minutes on two CPU cores. Runs that are there already, in runs/wall, are loaded.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import gen_jax as gj

ROOT = Path(__file__).parents[1]
SIDE = 420  # pixels of a tile


def trained(name: str, **settings) -> gj.Run:
    """Returns the run of a config, which is trained if it is not there yet."""
    return gj.fit(ROOT / "configs" / f"{name}.py", ROOT / "runs" / "wall" / name, **settings)


def digits() -> Image.Image:
    return trained("gan").sample(25).picture()


def grid_of_gaussians() -> Image.Image:
    examples = {"examples": 20_000 * 128}
    optimizer = {"learning_rate": examples}
    model = {"gamma": examples, "generator_optimizer": optimizer, "discriminator_optimizer": optimizer}
    return trained("gan_gaussians", steps=20_000, model=model).sample(2500).picture()


def paths() -> Image.Image:
    run = trained("conv_vae")
    return run.strip(run.interpolate(5, 6, seed=2))


def completions() -> Image.Image:
    run = trained("conv_vae")
    x = gj.data.open("digits").rows("test", 5)["x"]
    return run.strip(np.concatenate([x[:, None], run.inpaint(x, "lower", completions=5)], 1))


def classes() -> Image.Image:
    run = trained("vqvae")
    x = run.sample(60, given="y=all")["x"]
    return run.strip(x.reshape(6, 10, *x.shape[1:])[:, :6])


def series() -> Image.Image:
    return trained("rcgan").sample(16).picture()


def graph() -> Image.Image:
    return trained("bayes_net", data={"name": "asia"}).graph()


def text() -> Image.Image:
    lines = textwrap.wrap(str(trained("markov").sample(1, length=470, seed=1)).partition("\n")[2], 36)[:14]
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSerif.ttf", 18)
    ImageDraw.Draw(picture).multiline_text((12, 20), "\n".join(lines), "black", font, spacing=9)
    return picture


TILES: dict[str, Callable[[], Image.Image]] = {
    "gan: digits": digits,
    "gan: 25 Gaussians": grid_of_gaussians,
    "vae: paths between latents": paths,
    "vae: lower halves completed": completions,
    "vqvae: asked for 0 to 5": classes,
    "gan of recurrent nets: sines": series,
    "bayes_net: the graph of asia": graph,
    "markov: order 4 on Shakespeare": text,
}


def tile(picture: Image.Image, title: str) -> Image.Image:
    """Returns a picture in a square of `SIDE` pixels with a title below."""
    square = Image.new("RGB", (SIDE, SIDE + 30), "white")
    sharp = picture.height < SIDE  # small images keep their pixels
    scale = min(SIDE / picture.width, SIDE / picture.height)
    size = (round(picture.width * scale), round(picture.height * scale))
    method = Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS
    square.paste(picture.convert("RGB").resize(size, method), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 20)
    ImageDraw.Draw(square).text((SIDE / 2, SIDE + 15), title, "black", font, anchor="mm")
    return square


def main() -> None:
    wall = Image.new("RGB", (4 * (SIDE + 20), 2 * (SIDE + 50)), "white")
    for place, (title, draw) in enumerate(TILES.items()):
        row, column = divmod(place, 4)
        wall.paste(tile(draw(), title), (column * (SIDE + 20) + 10, row * (SIDE + 50) + 10))
    wall.quantize(128).save(ROOT / "docs" / "wall.png", optimize=True)


if __name__ == "__main__":
    main()
