"""Draws the pictures of the concept pages, and samples for the pages of families: `python docs/pictures.py [--runs FOLDER] [NAME ...]`.

Runs that a picture needs are trained in the folder, about fifteen minutes on one core, or found there.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import generate
import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import gen_jax as gj
from gen_jax.config import load_file
from gen_jax.data.kinds import kind_of, pictures
from gen_jax.data.kinds.text import read_text
from gen_jax.data.spec import rows_to_model
from gen_jax.models import MODELS
from gen_jax.storage.metrics_file import read_metrics

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CONCEPTS = DOCS / "concepts"
BLUE, RED, GREY = "#4c72b0", "#c44e52", "#8c8c8c"
DEVICES = ("#4c72b0", "#dd8452", "#55a868", "#8172b3")
BOX = {"boxstyle": "round,pad=0.4", "facecolor": "#eef2f8", "edgecolor": BLUE}
FIELDS = (  # of the record, and what each makes possible
    ("init, step", "train, resume, replicas, many devices"),
    ("sample", "sample, pictures while training, measures of samples"),
    ("log_prob", "likelihoods, query, selection by held-out rows"),
    ("log_prob_bound", "bounds: nll_bound, bits_per_dim"),
    ("prior, decode", "interpolate, repair by a search of the latent"),
    ("encode", "encode, traversals, paths between rows"),
    ("given, options", "conditions and sampler options, checked"),
    ("extras", "graph, information, compress"),
)


def save(figure: Figure, name: str) -> None:
    """Writes a picture of a concept page."""
    with mpl.rc_context({"svg.hashsalt": "gen_jax", "svg.fonttype": "none"}):
        metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
        figure.savefig(CONCEPTS / name, dpi=110, metadata=metadata, bbox_inches="tight")


def record(runs: Path) -> None:
    """Draws the fields of the record beside what they make possible."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    for line, (fields, uses) in enumerate(FIELDS):
        y = -line
        axes.text(0.0, y, fields, family="monospace", fontsize=10, va="center", bbox=BOX)
        axes.annotate("", (0.4, y), (0.26, y), arrowprops={"arrowstyle": "-|>", "color": BLUE})
        axes.text(0.42, y, uses, fontsize=10, va="center")
    axes.set_xlim(-0.03, 1.05)
    axes.set_ylim(-len(FIELDS) + 0.4, 0.6)
    save(figure, "record.svg")


def devices(runs: Path) -> None:
    """Draws where a batch and a state lie on four devices, in three ways."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = ("default: rows are split", "sharding=fsdp: the state too", "replicas=4: one seed on each")
    for panel, title in zip(panels, titles):
        panel.set_axis_off()
        panel.set_title(title, fontsize=10)
        panel.set_xlim(0, 4.4)
        panel.set_ylim(-0.2, 5)
    for number, colour in enumerate(DEVICES):
        x = 0.25 + number
        for panel in panels[:2]:
            tile(panel, x, 3.6, 0.9, 0.8, colour, f"rows {number}")
        tile(panels[0], x, 1.0, 0.9, 1.8, colour, "state")
        tile(panels[1], x, 1.0 + 0.45 * number, 0.9, 0.45, colour, f"part {number}")
        tile(panels[2], x, 3.6, 0.9, 0.8, colour, f"batch {number}")
        tile(panels[2], x, 1.0, 0.9, 1.8, colour, f"state {number}")
        for panel in panels:
            panel.text(x + 0.45, 0.4, f"device {number}", ha="center", fontsize=7)
    save(figure, "devices.svg")


def tile(panel, x: float, y: float, width: float, height: float, colour: str, text: str) -> None:
    """Draws a rectangle with a text in it."""
    panel.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="white", alpha=0.85))
    panel.text(x + width / 2, y + height / 2, text, ha="center", va="center", color="white", fontsize=7)


def kinds(runs: Path) -> None:
    """Draws rows of embedded data sets, each by the function of its kind."""
    shown = {
        "digits, an image": ({"name": "digits"}, 49),
        "gaussians, a vector": ({"name": "gaussians", "variant": "grid"}, 1000),
        "iris, a table": ({"name": "iris"}, 120),
        "rounds, a piano roll": ({"name": "rounds"}, 3),
        "sines, a series": ({"name": "sines"}, 4),
    }
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, (title, (settings, num)) in zip(panels, shown.items()):
        data = gj.data.open(**settings)
        panel.imshow(pictures.picture_of(data.rows("train", num), data.spec).convert("RGB"))
        panel.set_title(f"{title} {list(data.spec.shape)}", fontsize=9)
    text = gj.data.open("tiny_shakespeare", window=160)
    first = read_text(text.spec, text.rows("train", 1)["x"][0])
    panels[5].text(0, 0.5, first.strip(), fontsize=8, va="center", family="serif")
    panels[5].set_title(f"tiny_shakespeare, a text {list(text.spec.shape)}", fontsize=9)
    save(figure, "kinds.png")


def conditions(runs: Path) -> None:
    """Draws digits given their label, and completions of digits whose lower half is hidden."""
    cvae = gj.fit(load_file(ROOT / "configs/cvae.py"), runs / "cvae")
    vae = gj.fit(load_file(ROOT / "configs/vae.py"), runs / "vae")
    digits = cvae.sample(40, given="y=all")["x"].reshape(4, 10, 8, 8)
    x = gj.data.open("digits").rows("test", 10)["x"]
    completed = vae.inpaint(x, "lower", completions=4)[..., 0]  # [10, 4, 8, 8]
    hidden = x[..., 0].astype(float)
    hidden[:, 4:] = 8.0  # grey
    below = np.concatenate([x[:, None, :, :, 0], hidden[:, None], completed], axis=1).swapaxes(0, 1)
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    above, beneath = figure.subplots(2, 1, height_ratios=(4, 6))
    for axes, rows, labels in (
        (above, digits, ["draw 1", "draw 2", "draw 3", "draw 4"]),
        (beneath, below, ["test digit", "what is given", *(f"completion {number}" for number in range(1, 5))]),
    ):
        tiles = np.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=16)
        axes.imshow(tiles.transpose(0, 2, 1, 3).reshape(10 * len(rows), 100), cmap="gray", vmin=0, vmax=16)
        axes.set_yticks(10 * np.arange(len(rows)) + 4.5, labels, fontsize=8)
        axes.set_xticks([])
    above.set_xticks(10 * np.arange(10) + 4.5, [f"y={label}" for label in range(10)], fontsize=8)
    above.xaxis.tick_top()
    save(figure, "conditions.png")


def faults(runs: Path) -> None:
    """Draws the loss of an undisturbed run and of a run that is killed three times; compares their last states."""
    flags = ["--config.save_every=100", "--config.log_every=20", "--config.sample_every=0", "--quiet"]
    moments = (450, 1000, 1600)  # steps from which the run is killed
    calm, killed = runs / "calm", runs / "killed"
    command = [sys.executable, "-m", "gen_jax.train", "--config", str(ROOT / "configs/vae.py"), *flags, "--workdir"]
    shutil.rmtree(killed, ignore_errors=True)  # a run that is complete cannot be killed
    subprocess.run([*command, str(calm)], check=True, cwd=ROOT)
    kills = []
    for moment in moments:
        process = subprocess.Popen([*command, str(killed)], cwd=ROOT)
        while process.poll() is None and last_step(killed) < moment:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills.append(last_step(killed))
    subprocess.run([*command, str(killed)], check=True, cwd=ROOT)
    first, second = gj.load(calm), gj.load(killed)
    same = jax.tree.map(
        lambda one, other: np.array_equal(np.asarray(one), np.asarray(other)), first.state, second.state
    )
    assert all(jax.tree.leaves(same)), "the states differ"
    curves = first.history["elbo"], second.history["elbo"]
    assert np.array_equal(curves[0].values, curves[1].values), "the logged values differ"
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*curves[0], color=BLUE, linewidth=5, alpha=0.35, label="undisturbed")
    axes.plot(*curves[1], color=RED, linewidth=1.2, label="killed three times")
    for step in kills:
        axes.axvline(step, color=GREY, linestyle="--", linewidth=0.8)
        axes.text(step - 12, -162, "SIGKILL", rotation=90, fontsize=7, color=GREY, ha="right")
    axes.set_ylim(-165, -85)
    axes.set_xlabel("step")
    axes.set_ylabel("ELBO of the batch, nats")
    axes.legend(frameon=False)
    save(figure, "faults.png")


def last_step(workdir: Path) -> int:
    """Returns the last logged step of a run; 0 if there is none."""
    try:
        return max((line["step"] for line in read_metrics(workdir)), default=0)
    except (OSError, gj.UserError):
        return 0


def seeds(runs: Path) -> None:
    """Draws the ELBO of held-out digits of eight seeds."""
    config = load_file(ROOT / "configs/vae.py")
    config.replicas, config.sample_every = 8, 0
    data = gj.data.open("digits")
    rows = {"x": rows_to_model(data.spec, data.rows("test"))["x"]}
    points: dict[int, list[float]] = {}

    def score(snapshot):
        bound = snapshot.model.log_prob_bound
        key = jax.random.key(0)
        points[snapshot.step] = [float(bound(key, state, rows).mean()) for state in snapshot.states]

    run = gj.fit(config, runs / "eight_seeds", hooks=[gj.every(100, score)])
    kept = run.workdir / "elbo.npz"
    if points:
        np.savez(kept, steps=[*points], elbo=[*points.values()])
    steps, elbo = (np.load(kept)[name] for name in ("steps", "elbo"))
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    whole, late = figure.subplots(1, 2, width_ratios=(3, 2))
    for axes in (whole, late):
        axes.plot(steps, elbo, color=BLUE, linewidth=0.8, alpha=0.6)
        axes.plot(steps, elbo.mean(1), color=RED, linewidth=1.6, label="mean of eight seeds")
        axes.set_xlabel("step")
    whole.set_ylabel("ELBO of the test digits, nats")
    whole.set_ylim(-150, -85)
    whole.legend(frameon=False)
    late.set_xlim(1500, 2000)
    end = elbo[steps >= 1500]
    late.set_ylim(end.min() - 0.3, end.max() + 0.3)
    late.set_title("the last 500 steps", fontsize=9)
    save(figure, "seeds.png")


def families(runs: Path) -> None:
    """Draws samples of each family, by the config of its page, beside the fragment of the page."""
    for name in MODELS:
        stem = generate.configs_of(name)[0]
        run = gj.fit(load_file(ROOT / f"configs/{stem}.py"), runs / stem)
        kind = kind_of(run.spec)
        if ".txt" in kind.suffixes:
            run.sample(1, length=400).save(DOCS / "families" / f"{name}.txt")
        else:
            run.sample(100 if kind.pixels else 1000).save(DOCS / "families" / f"{name}.png")


PICTURES = {picture.__name__: picture for picture in (record, conditions, kinds, faults, seeds, devices, families)}


def main() -> None:
    """Draws the pictures that the command line names; all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default="runs/docs", help="folder of the runs")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)}")
    arguments = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for name in arguments.names or PICTURES:
        PICTURES[name](Path(arguments.runs))


if __name__ == "__main__":
    main()
