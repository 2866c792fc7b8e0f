"""CLI: writes the sampler of a run as one file that draws with JAX alone, without this project.

python -m gen_jax.export --workdir runs/gan --out sampler.zip
python sampler.zip --num 64 --out digits.npz [--given y=3]

It needs the package flatbuffers: pip install "gen_jax[export]". The decoder of a run, from latents or noise to rows, as an
ONNX graph:

python -m gen_jax.export --workdir runs/vae --out decoder.onnx --rows 64
"""

from typing import Any

from gen_jax import config, files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.draw import HOW, chosen_options, options_in
from gen_jax.verbs.export import PLATFORMS, make_sampler, promise, verify
from gen_jax.verbs.onnx_graph import make_graph

FLAGS: dict[str, tuple[Any, str]] = {
    "workdir": (None, "directory of the run"),
    "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
    "replica": ("0", "number of the replica, from 0, or best"),
    "length": (None, "length of sequences, in tokens or frames; by default as in the config, or else as in the data"),
    "how": ([], HOW),
    "platforms": ("cpu,cuda,tpu", f"platforms on which the sampler can draw, of {', '.join(PLATFORMS)}"),
    "rows": (64, "number of rows of a call of an ONNX graph"),
    "out": (None, "file to write: sampler (.zip), or decoder (.onnx)"),
}


def main(argv: list[str]) -> None:
    """Writes the sampler or the decoder of `--workdir` to `--out`, after its rows were compared with those of the run."""
    flags = command_line.parse(argv, FLAGS, required="workdir")
    command_line.check_bounds(flags, {"rows": (1, config.LARGEST - 1)})
    out = command_line.output_file(flags.out, "sampler.zip", (".zip", ".onnx"))
    others = ("how", "length", "platforms") if out.suffix == ".onnx" else ("rows",)
    for name in others:
        if flags[name].present:
            raise UserError(
                f"--{name} has no meaning for {out}; expected it for {'.zip' if len(others) > 1 else '.onnx'} files"
            )
    startup.start()
    step = command_line.integer("step", flags.step)
    loaded = loading.load(flags.workdir, step, best_replica.replica(flags.workdir, flags.replica))
    if out.suffix == ".onnx":
        files.write(out, make_graph(loaded, flags.rows))
        print(f"decoder of step {loaded.step} in {out}; {flags.rows} of its rows are those of the run")
        print("its inputs are the arrays of a latent, as gen_jax.encode writes them")
        return
    length = command_line.integer("length", flags.length, 1) or loaded.config["sample"].get("length")
    how = chosen_options(loaded.config["sample"], options_in(flags.how))
    content = make_sampler(loaded, how, length, flags.platforms.split(","))
    verify(content, loaded, how, length)
    files.write(out, content)
    print(f"sampler of step {loaded.step} in {out}; a fresh process draws the same bytes by it")
    print(promise())


if __name__ == "__main__":
    command(main)
