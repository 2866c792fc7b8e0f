"""Whether pictures from captions obey their captions, for skin tones and genders that were left out of the training.

    python benchmarks/emoji.py --workdir=runs/emoji [--others=runs/emoji_diffusion] --data=FOLDER [--how=guidance=2] [--seed=0]

FOLDER holds emoji_32.npz and emoji.json. For each caption of the splits test_tone and test_gender a run draws a picture. A
classifier of tones and one of genders, trained on the real training pictures, read the pictures. Beside each run stand the
true pictures (the ceiling), the training picture of the most similar caption, the same emoji in its next tone, and the run
with the captions in another order, which must be at chance. `l1` is the mean absolute error on [-1, 1].
`retrieval` is the share of pictures that are nearest to their own true picture among those of the split.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gen_jax
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import Spec
from gen_jax.devices import startup
from gen_jax.metrics.images import classifier
from gen_jax.storage.loading import Loaded
from gen_jax.verbs.conditioning import request_of
from gen_jax.verbs.draw import HOW, draw, options_in

TONES = ["light", "medium-light", "medium", "medium-dark", "dark"]
GENDERS = ["person", "man", "woman"]
SPLITS = {"test_tone": ("tone", TONES), "test_gender": ("gender", GENDERS)}
Records = list[dict[str, str]]


def judge(
    spec: Spec, x: np.ndarray, records: Records, fact: str, names: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function of pictures that gives the number of a fact, learnt from the training pictures that have it."""
    spec = spec._replace(classes=tuple(names))
    rows = [at for at, record in enumerate(records) if record["split"] == "train" and record[fact] in names]
    labels = np.array([names.index(records[at][fact]) for at in rows])
    params = classifier.fit(spec, x[rows], labels, f"judge of the {fact}")
    return lambda pictures: classifier.describe(spec, params, pictures)[1].argmax(1)


def scores(pictures: np.ndarray, truth: np.ndarray, read: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns the figures of pictures [N, H, W, 3] of uint8, whose fact was read as `read` [N]; -1 marks no label."""
    flat, true = (each.reshape(len(each), -1) / 127.5 for each in (pictures, truth))
    squares = (flat**2).sum(1)[:, None] + (true**2).sum(1)[None] - 2 * flat @ true.T
    known = labels >= 0
    return {
        "fact": float((read == labels)[known].mean()),
        "l1": float(np.abs(flat - true).mean()),
        "retrieval": float((squares.argmin(1) == np.arange(len(flat))).mean()),
    }


def similar(records: Records, rows: list[int]) -> np.ndarray:
    """Returns the training row whose caption shares most of its words with the caption of each row."""
    words = [{*record["caption"].replace(",", "").replace(":", "").split()} for record in records]
    train = [at for at, record in enumerate(records) if record["split"] == "train"]
    share = lambda one, other: len(one & other) / len(one | other)
    return np.array([max(train, key=lambda other: share(words[row], words[other])) for row in rows])


def next_tone(records: Records, rows: list[int]) -> np.ndarray:
    """Returns the training row of the same emoji in the nearest tone. Each emoji of test_tone has one."""
    found = []
    for row in rows:
        record = records[row]
        same = [
            at
            for at, other in enumerate(records)
            if other["split"] == "train"
            and other["tone"] in TONES
            and record["tone"] in TONES
            and (other["subject"], other["gender"]) == (record["subject"], record["gender"])
        ]
        distance = lambda at: abs(TONES.index(records[at]["tone"]) - TONES.index(record["tone"]))
        found.append(min(same, key=distance))
    return np.array(found)


def drawn(loaded: Loaded, captions: list[str], how: dict, seed: int) -> np.ndarray:
    """Returns a picture of each caption."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(captions) + "\n")
        file.flush()
        request = request_of(loaded.model, loaded.spec, loaded.config, [f"text=@{file.name}"], len(captions))
    return draw(loaded.model, loaded.state, loaded.spec, seed, request.num, request.given, how)["x"]


def main(argv: list[str]) -> None:
    """Prints a table of the runs that `--workdir` and `--others` name."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of a run"),
            "others": ("", "more runs, separated by commas"),
            "data": ("../shared/data/emoji", "folder of emoji_32.npz and emoji.json"),
            "how": ([], HOW),
            "seed": (0, "of the pictures"),
        },
        required="workdir",
    )
    startup.start()
    folder = Path(flags.data)
    records = json.loads((folder / "emoji.json").read_text())
    with np.load(folder / "emoji_32.npz") as arrays:
        x = arrays["noto"]
    runs = {workdir: gen_jax.load(workdir) for workdir in [flags.workdir, *filter(None, flags.others.split(","))]}
    spec = next(iter(runs.values())).spec
    print(f"{'':<44}{'fact':>8}{'l1':>8}{'retrieval':>11}")
    for split, (fact, names) in SPLITS.items():
        read = judge(spec, x, records, fact, names)
        rows = [at for at, record in enumerate(records) if record["split"] == split]
        labels = np.array([names.index(records[at][fact]) if records[at][fact] in names else -1 for at in rows])
        captions = [records[at]["caption"] for at in rows]
        others = np.random.default_rng(0).permutation(len(rows))
        pictures = {
            "true pictures": x[rows],
            "picture of the most similar caption": x[similar(records, rows)],
            "same emoji, next tone": x[next_tone(records, rows)] if fact == "tone" else None,
        }
        for workdir, loaded in runs.items():
            options = options_in(flags.how)
            how = {name: options[name] for name in options if name in loaded.model.options}
            pictures[workdir] = drawn(loaded, captions, how, flags.seed)
            pictures[f"{workdir}, other captions"] = drawn(loaded, [captions[at] for at in others], how, flags.seed)
        for name, each in pictures.items():
            if each is not None:
                figures = scores(each, x[rows], read(each), labels)
                print(
                    f"{split + ': ' + name:<44}{figures['fact']:8.3f}{figures['l1']:8.3f}{figures['retrieval']:11.3f}"
                )


if __name__ == "__main__":
    command(main)
