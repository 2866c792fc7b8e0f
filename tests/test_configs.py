"""Every config as a user runs it: two steps through the real command, on an offline stand-in of its data's kind."""

import io
import json
import re
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG_REPEATS
from PIL import Image
from scipy.io import savemat, wavfile

import gen_jax
from gen_jax import sample, train
from gen_jax.cli import command_line
from gen_jax.config import load_file
from gen_jax.data.builders import BUILDERS
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.sample_files import encode
from gen_jax.data.tables.networks import ASIA
from gen_jax.data.tables.sets import SHIPPED
from gen_jax.devices import placement
from gen_jax.training.loop import compile_step, initially_broken
from gen_jax.training.prepare import prepare
from gen_jax.training.start import place_arrays

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
TINY = ["--config.model.net.units=16", "--config.model.net.layers=1", "--config.eval_every=0"]
SERIES = [f"--config.model.{net}.cell.units=4" for net in ("generator", "discriminator")]
NARROW = [f"--config.model.{net}.channels=(16,)" for net in ("generator", "discriminator")]
ONE_BLOCK = [f"--config.model.{net}.blocks=1" for net in ("generator", "discriminator")]
TESTED = "--config.data.test_name=digits"
FEW = ["--config.steps=2", "--config.sample_every=2", "--config.evaluate.num=50"]
SMALLER = {  # what takes long to compile or to run
    "r3gan": NARROW,
    "r3gan_cifar10": [*NARROW, *ONE_BLOCK, "--config.batch_size=8", "--config.model.penalty=r1"],
    "stacked_mnist": [f"--config.model.{net}.hidden=(32,)" for net in ("generator", "discriminator")],
    "jsb_hmm": ["--config.model.states=4", "--config.replicas=2", "--config.eval_every=2"],
    "gan_gaussians": ["--config.data.variant=ring"],
    "jsb_gru": ["--config.eval_every=2"],
    "jsb_transformer": [*TINY[:2], "--config.eval_every=2", "--config.batch_size=4"],
    "diffusion": ["--config.model.net.width=16"],
    "diffusion_cifar10": [
        "--config.model.net.channels=8",
        "--config.model.net.multiples=(1,2)",
        "--config.model.net.blocks=1",
        "--config.sample.how=steps=2",
        "--config.batch_size=8",
    ],
    "emoji": [f"--config.model.{net}.channels=(8,)" for net in ("generator", "discriminator")],
    "emoji_diffusion": ["--config.model.net.units=16", "--config.model.net.layers=1"],
    "diffusion_gaussians": ["--config.model.net.width=16"],
    "masked": ["--config.model.net.width=16"],
    "made": ["--config.model.net.hidden=(8,)"],
    "wavegan": [f"--config.model.{net}.channels=(4,)" for net in ("generator", "discriminator")],
    "video": [f"--config.model.{net}.channels=(4,)" for net in ("generator", "discriminator")],
    "video_diffusion": ["--config.model.net.units=16", "--config.model.net.layers=1"],
    "digit_diffusion": ["--config.model.net.units=16", "--config.model.net.layers=1"],
    "digit_gan": [f"--config.model.{net}.channels=(8,)" for net in ("generator", "discriminator")],
    "patch_transformer": [
        "--config.model.net.patch=2",
        "--config.model.net.hidden=8",
        *TINY[:2],
        "--config.model.optimizer.learning_rate.warm_up=0",
    ],
    "polyphonic_gru": [*TINY[:2], "--config.epochs=None", "--config.eval_every=2", "--config.batch_size=4"],
    "flow": ["--config.model.net.width=16", "--config.model.layers=2", "--config.model.bins=4"],
    "jsb_lstm": ["--config.eval_every=2"],
    "jsb_gru_structured": ["--config.model.net.units=16", "--config.eval_every=2"],
    "ladder_vae": ["--config.model.net.latents=(2,2)", "--config.model.net.hidden=(16,16)"],
    "markov": [
        "--config.model.order=2",
        "--config.sample.length=50",
        "--config.data.window=200",
        "--config.batch_size=100",
    ],
    **dict.fromkeys(("gru", "lstm", "mingru", "rnn", "transformer"), TINY),
    "rcgan": ["--config.batch_size=8", "--config.sample.num=2", *SERIES],
    "speech_rnn": [*TINY, "--config.batch_size=8", "--config.sample.length=300", "--config.sample.num=2"],
    "bayes_net": ["--config.model.structure.bootstraps=2"],
    "bbans": [TESTED],
    "vqvae": [f"--config.model.{net}.channels=(8,)" for net in ("encoder", "decoder")],
    "wgan": ["--config.batch_size=20"],
    "wgan_gp": ["--config.batch_size=20"],
}
pytestmark = pytest.mark.usefixtures("one_device")


def streets(folder: Path, random: np.random.Generator) -> list[str]:
    """Photos with class maps, in two folders of each split."""
    for split, num in {"train": 10, "validation": 2, "test": 5}.items():
        for name, shape, top in (("image", (12, 16, 3), 256), ("label", (12, 16), 3)):
            place = folder / "streets" / split / name
            place.mkdir(parents=True)
            for number in range(num):
                Image.fromarray(random.integers(0, top, shape, dtype=np.uint8)).save(place / f"{number}.png")
    facts = {"classes": ["sky", "road", "unlabelled"], "ignored": 2}
    (folder / "streets" / "classes.json").write_text(json.dumps(facts))
    small = [f"--config.model.{net}.channels=4" for net in ("generator", "discriminator")]
    return [f"--config.data.path={folder / 'streets'}", *small]


def styles(folder: Path, random: np.random.Generator) -> list[str]:
    """Pictures of two styles, with the split of each row in a JSON file."""
    x = random.integers(0, 256, (2, 20, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "styles.npz", noto=x[0], twemoji=x[1])
    records = [{"split": "test_tone" if number < 5 else "train"} for number in range(20)]
    (folder / "styles.json").write_text(json.dumps(records))
    small = [f"--config.model.{net}.channels=4" for net in ("generator", "discriminator")]
    return [f"--config.data.path={folder / 'styles.npz'}", f"--config.data.metadata={folder / 'styles.json'}", *small]


def captions(folder: Path, random: np.random.Generator) -> list[str]:
    """Pictures with captions, and the split of each row in a JSON file."""
    np.savez(folder / "captions.npz", noto=random.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8))
    records = [
        {"split": "test_tone" if number < 5 else "train", "caption": f"{'red' if number % 2 else 'blue'} heart"}
        for number in range(20)
    ]
    (folder / "captions.json").write_text(json.dumps(records))
    return [f"--config.data.path={folder / 'captions.npz'}", f"--config.data.metadata={folder / 'captions.json'}"]


def photos(folder: Path, random: np.random.Generator) -> list[str]:
    """Photos of several sizes."""
    (folder / "photos").mkdir()
    for number in range(4):
        pixels = random.integers(0, 256, (150 + 6 * number, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return [f"--config.data.path={folder / 'photos'}", "--config.model.generator.width=8"]


def sentences(folder: Path, random: np.random.Generator) -> list[str]:
    """Sentences of two languages, in a file of each split and language."""
    (folder / "sentences").mkdir()
    for split, num in {"train": 40, "val": 5, "test_2016_flickr": 5}.items():
        for language in ("en", "de"):
            lines = ["".join(random.choice([*"ab "], 12)) + language for _ in range(num)]
            (folder / "sentences" / f"{split}.{language}").write_text("\n".join(lines) + "\n")
    small = [
        "--config.data.subwords=300",
        "--config.batch_size=20",
        "--config.model.net.units=16",
        "--config.model.net.layers=1",
    ]
    return [f"--config.data.path={folder / 'sentences'}", *small, "--config.model.net.encoder=1"]


def synopses(folder: Path, random: np.random.Generator) -> list[str]:
    """Names, texts and summaries, in a TSV file of each split."""
    for split, num in {"train": 40, "val": 5, "test": 5}.items():
        texts = ["".join(random.choice([*"ab "], 20)) for _ in range(num)]
        rows = [f"name{row}\ta{text}b\tc{text[:4]}\n" for row, text in enumerate(texts)]
        (folder / f"{split}.tsv").write_text("".join(rows))
    small = ["--config.data.subwords=300", "--config.batch_size=20", "--config.model.net.units=16"]
    return [f"--config.data.path={folder / 'train.tsv'}", *small]


def melodies(folder: Path, random: np.random.Generator) -> list[str]:
    """A text of tunes for each split."""
    (folder / "melodies").mkdir()
    for split, num in {"train": 3000, "val": 300, "test": 300}.items():
        (folder / "melodies" / f"{split}.abc").write_text("M:2/4\n" + "".join(random.choice([*"abc|"], num)))
    return [f"--config.data.path={folder / 'melodies'}", *TINY, "--config.data.window=16"]


def pieces(folder: Path, random: np.random.Generator) -> list[str]:
    """Pieces of four voices."""
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"length_{split}"] = np.full(20, 8, np.int32)
        arrays[f"x_{split}"] = random.integers(50, 60, (160, 4)).astype(np.int8)
    np.savez(folder / "pieces.npz", **arrays)
    return [
        f"--config.data.path={folder / 'pieces.npz'}",
        *TINY[:2],
        "--config.eval_every=2",
        "--config.sample.length=8",
    ]


def black_and_white(folder: Path, random: np.random.Generator) -> list[str]:
    """A folder of small black and white images with a folder for each split."""
    for split, num in {"train": 120, "val": 10, "test": 10}.items():
        for number in range(num):
            place = folder / "images" / split / str(number % 2)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (4, 4), dtype=np.uint8)).save(place / f"{number}.png")
    return [f"--config.data.path={folder / 'images'}", "--config.eval_every=2", "--config.data.transform=static_binary"]


def squares(folder: Path, random: np.random.Generator) -> list[str]:
    """Images whose sides are multiples of 7, with labels."""
    x = random.integers(0, 256, (300, 14, 14, 1), dtype=np.uint8)
    np.savez(folder / "squares.npz", x=x, y=np.arange(300) % 10)
    small = ["--config.model.net.units=16", "--config.model.net.layers=1", "--config.model.net.heads=2"]
    return [f"--config.data.path={folder / 'squares.npz'}", *small]


def spoken_words(folder: Path, random: np.random.Generator) -> list[str]:
    """Recordings of noise with their texts."""
    lengths = random.integers(2000, 4000, 60)
    texts = ["".join(random.choice([*"ab "], size)) + "a" for size in random.integers(1, 6, 60)]
    audio = random.integers(-9999, 9999, lengths.sum(), np.int16)
    split = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    np.savez(folder / "spoken.npz", audio=audio, length=lengths, text=texts, split=split, rate=8000)
    small = [f"--config.model.net.{name}" for name in ("units=8", "layers=1", "decoder_layers=1")]
    return [f"--config.data.path={folder / 'spoken.npz'}", *small]


def hits(folder: Path, random: np.random.Generator) -> list[str]:
    """Recordings of one length with labels and pitches."""
    x = random.integers(0, 256, (60, 900), dtype=np.uint8)
    split, y = np.array(["train"] * 50 + ["test"] * 10), np.arange(60) % 3
    np.savez(folder / "hits.npz", x=x, y=y, classes=np.array(["a", "b", "c"]), pitch=60 + y, split=split, rate=16000)
    small = [f"--config.model.{net}.channels=(8,)" for net in ("generator", "discriminator")]
    return [f"--config.data.path={folder / 'hits.npz'}", *small]


def films(folder: Path, random: np.random.Generator) -> list[str]:
    """Strips of frames with labels."""
    for split, label in product(("train", "test"), ("bend", "wave")):
        (folder / "films" / split / label).mkdir(parents=True)
        strip = random.integers(0, 256, (8, 8 * 20, 3), dtype=np.uint8)
        Image.fromarray(strip).save(folder / "films" / split / label / "a.png")
    return [f"--config.data.path={folder / 'films'}", "--config.data.frames=8", "--config.batch_size=4"]


PAIRED = {
    "drum_gan": hits,
    "note_gan": hits,
    "video": films,
    "video_diffusion": films,
    "speak": spoken_words,
    "speak_numbers": spoken_words,
    "speak_voice": spoken_words,
    "chorales": pieces,
    "made": black_and_white,
    "patch_transformer": black_and_white,
    "diffusion_mnist": squares,
    "translate": sentences,
    "summarise": synopses,
    "tunes": melodies,
    "segment": streets,
    "pix2pix": streets,
    "emoji": captions,
    "emoji_diffusion": captions,
    "emoji_style": styles,
    "super_resolution": photos,
}


def stand_in(config_file: Path, folder: Path) -> list[str]:
    """Flags that give a config whose data need the network made-up data of the same kind."""
    if config_file.stem in PAIRED:
        return PAIRED[config_file.stem](folder, np.random.default_rng(0))
    if load_file(config_file).data.path == str(ASIA):
        return []
    if (
        load_file(config_file).data.name in {*BUILDERS, *SHIPPED, "asia", "tones"}
        and not load_file(config_file).data.path
    ):
        return []
    random = np.random.default_rng(0)
    if str(load_file(config_file).data.path).endswith(".mat"):
        pieces = np.empty((1, 6), object)
        for number in range(6):
            pieces[0, number] = (random.random((4 + number, 88)) < 0.05).astype(np.uint8)
        savemat(folder / "rolls.mat", dict.fromkeys(("traindata", "validdata", "testdata"), pieces))
        return [f"--config.data.path={folder / 'rolls.mat'}"]
    if str(load_file(config_file).data.path).endswith(".zip"):
        with zipfile.ZipFile(folder / "sounds.zip", "w") as archive:
            for number in range(12):  # digits 0 and 1, in the train and the test split
                sound = io.BytesIO()
                wavfile.write(sound, 8000, random.integers(-9999, 9999, 700, np.int16))
                archive.writestr(f"{number % 2}_ann_{number}.wav", sound.getvalue())
        return [f"--config.data.path={folder / 'sounds.zip'}"]
    channels = 3 if load_file(config_file).data.name == "cifar10" else 1
    x = random.integers(0, 256, (300, 8, 8, channels), dtype=np.uint8)
    np.savez(folder / "images.npz", x=x, y=np.arange(300) % 10)
    return [f"--config.data.path={folder / 'images.npz'}"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_runs_two_steps_and_samples(path, tmp_path):
    flags = [*stand_in(path, tmp_path), *SMALLER.get(path.stem, ()), *FEW]
    flags += ["--config.eval_every=2"] if load_file(path).eval_every == 1 else []
    train.main(["train", "--config", str(path), "--workdir", str(tmp_path / "run"), "--quiet", *flags])
    loaded = gen_jax.load(tmp_path / "run")
    assert loaded.step == 2
    given = [] if loaded.spec.condition is None else ["--given", f"split={loaded.config['data']['test_split']}"]
    sample.main(["sample", "--workdir", str(tmp_path / "run"), "--num=5", *given, "--out", str(tmp_path / "x.npz")])
    drawn, suffixes = dict(np.load(tmp_path / "x.npz")), kind_of(loaded.spec).suffixes
    assert all(content for suffix in suffixes for content in encode(drawn, loaded.spec, suffix).values())
    x = drawn["x"]
    frames = loaded.config["sample"]["length"] or loaded.spec.shape[0]
    assert x.shape == (5, frames, *loaded.spec.shape[1:]) and str(x.dtype) == loaded.spec.dtype
    assert (tmp_path / "run" / "samples" / f"2{suffixes[0]}").exists()
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.stem in CONFIG_REPEATS.split()], ids=lambda p: p.stem
)
def test_config_is_checked_and_its_step_is_traced(path, tmp_path):
    """What is quick of the test above, for the configs that it leaves to the studies."""
    flags = [*stand_in(path, tmp_path), *SMALLER.get(path.stem, ()), *FEW]
    config = command_line.parse(["train", "--config", str(path), *flags], {}, required="config").config
    job = prepare(config, tmp_path / "run", quiet=True)
    assert len(job.metrics) >= 1 and job.state is not None


def gpu_flags(path: Path) -> list[str]:
    """The flags of a config's docstring that make it a setting for a GPU."""
    docstring = path.read_text().split('"""')[1]
    return re.findall(r"--config\S+\b\)?", docstring.partition("For a GPU")[2])


def large_images(path: Path, folder: Path) -> list[str]:
    """Images as large as those of the data of a config for a GPU."""
    random, side = np.random.default_rng(0), {"patch_transformer": 28}.get(path.stem, 32)
    channels = 1 if path.stem == "patch_transformer" else 3
    x = random.integers(0, 2, (1100, side, side, channels), dtype=np.uint8) * 255
    np.savez(folder / "large.npz", x=x, y=np.arange(1100) % 10)
    return [f"--config.data.path={folder / 'large.npz'}"]


GPU = [path for path in CONFIGS if "for a GPU" in path.read_text() or gpu_flags(path)]


@pytest.mark.study
@pytest.mark.parametrize("path", GPU, ids=lambda path: path.stem)
def test_a_setting_for_a_gpu_compiles_for_eight_devices(path, tmp_path, monkeypatch):
    """The whole step at its full size, which no CPU runs in a reasonable time."""
    monkeypatch.undo()  # because this file's tests otherwise see one device
    sized = path.stem in ("r3gan_cifar10", "diffusion_cifar10", "patch_transformer")
    rows = large_images(path, tmp_path) if sized else stand_in(path, tmp_path)
    flags = [*rows, *gpu_flags(path), "--config.eval_every=0", "--config.select=None"]
    config = command_line.parse(["train", "--config", str(path), *flags], {}, required="config").config
    job = prepare(config, tmp_path / "run", quiet=True)
    fed = placement.place_rows(job.mesh, job.data.at(0))
    assert job.mesh.size == 8 and fed["weight"].addressable_shards[0].data.shape[0] == -(-config.batch_size // 8)
    step = compile_step(job)
    lowered = step.func.lower(*step.args, job.state, initially_broken(job), np.int32(0), place_arrays(job), fed)
    assert "num_partitions = 8" in lowered.as_text()
    if path.stem != "r3gan_cifar10":  # whose gradients of gradients compile for more than eight minutes on two cores
        assert "all-reduce" in lowered.compile().as_text()  # which sums the gradients of the devices


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_opens_with_its_command_and_figure(path):
    text = path.read_text()
    docstring = text.split('"""')[1]
    assert f"python -m gen_jax.train --config configs/{path.name}" in docstring
    assert re.search(r"\d+ (minutes|seconds|s)\b", docstring) and re.search(
        r"\d+(\.\d+)? %|KL|FID|nats|score", docstring
    )
    assert len(text.splitlines()) <= 60


def test_image_configs_run_on_mnist_by_name(tmp_path):
    mnist = Path(__file__).parents[2] / "shared" / "data" / "tfds"
    if not mnist.exists():
        pytest.skip(f"needs TFDS's mnist in {mnist}")
    flags = ["--config.data.name=mnist", f"--config.data.data_dir={mnist}", "--config.data.split=test"]
    flags += ["--config.data.test_split=test", "--config.steps=2", "--config.eval_every=0"]
    train.main(["train", "--config", str(CONFIGS[0].parent / "gan.py"), "--workdir", str(tmp_path), "--quiet", *flags])
    assert gen_jax.load(tmp_path).spec.shape == (28, 28, 1)


def test_the_model_of_the_documents_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs" / "start" / "own_model.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    model = next(place for place, block in enumerate(blocks) if "def columns" in block)
    assert len([line for line in blocks[model].splitlines() if line and "import" not in line]) <= 40
    names = {"__name__": "__main__"}
    exec(blocks[model] + blocks[model + 1], names)  # noqa: S102 (our own page)
    x, run = names["x"], names["run"]
    sample = run.sample(4000)["x"]
    np.testing.assert_allclose(sample.mean(0), x.mean(0), atol=0.15)
    np.testing.assert_allclose(sample.std(0), x.std(0), rtol=0.05)
    assert "nll" in capsys.readouterr().out
