"""CLI: opens a local web page that draws samples of trained runs, moves their latents, and completes images.

python -m gen_jax.demo --workdir runs/gan [runs/vae ...]

It needs the package gradio: pip install "gen_jax[demo]".
"""

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.page.blocks import page

LARGEST_PORT = 65_535
FLAGS = {
    "workdir": ([], "directories of runs, which stand side by side"),
    "host": ("127.0.0.1", "address of the page; 0.0.0.0 for every machine that reaches this one"),
    "port": (7860, "port of the page"),
    "browser": (False, "open the page in a browser"),
}


def main(argv: list[str]) -> None:
    """Serves the page of the named runs until it is interrupted."""
    flags = command_line.parse(argv, FLAGS, required=None, positional=("workdir",))
    command_line.check_bounds(flags, {"port": (1, LARGEST_PORT)})
    startup.start()
    blocks = page(flags.workdir)
    try:
        blocks.launch(
            server_name=flags.host, server_port=flags.port, inbrowser=flags.browser, share=False, footer_links=[]
        )
    except OSError as error:
        raise UserError(f"--port is {flags.port}, which cannot be opened ({error}); expected a free port") from None


if __name__ == "__main__":
    command(main)
