"""Compression gives back every bit, on any machine, or says in one line why not; what is damaged is never an image."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from families import FAMILIES, model_of
from PIL import Image
from scipy.stats import betabinom, norm

from gen_jax import compress, decompress
from gen_jax.coding import chunks, codec, container, images, integer, rivals
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.storage import loading
from gen_jax.verbs.compress import compress as compress_images
from gen_jax.verbs.compress import make_compressor
from gen_jax.verbs.decompress import compressor
from gen_jax.verbs.decompress import decompress as decompress_images

GOLDEN = Path(__file__).parent / "golden"
LEVELS = {"bernoulli": 2, "beta_binomial": 256}
SHAPE = (6, 5, 1)
# the slowest code paths of the libraries beneath NumPy, one thread
OLD = {"OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"}


def described(likelihood, levels=None, sharp=4.0, seed=0):
    """A small VAE that nobody trained: its posterior is wide, and its images are nearly the same ones."""
    rng = np.random.default_rng(seed)
    levels, pixels, hidden, latents = levels or LEVELS[likelihood], int(np.prod(SHAPE)), 8, 3
    outs = pixels * (1 if likelihood == "bernoulli" else 2)

    def dense(inputs, outputs, scale, bias):
        return rng.normal(size=(inputs, outputs)).astype(np.float32) * scale, rng.normal(size=outputs) * bias

    encoder = [dense(pixels, hidden, 0.2, 0.1), dense(hidden, 2 * latents, 0.1, 0.1)]
    decoder = [dense(latents, hidden, 0.5, 0.1), dense(hidden, outs, 0.2, sharp)]
    half = (levels - 1) / 2
    return integer.Description(encoder, decoder, likelihood, levels, half, half, SHAPE)


def drawn(network, num, seed=0):
    """Images [num, *SHAPE] of symbols that the model finds likely."""
    rng = np.random.default_rng(seed)
    z = np.rint(rng.normal(size=(num, 3)) * codec.UNIT)
    p = np.cumsum(integer.likelihood(network, z), axis=-1)
    symbols = (p < p[..., -1:] * rng.random((num, p.shape[1], 1))).sum(-1)
    return symbols.astype(np.uint8).reshape(num, *SHAPE)


@pytest.fixture(scope="module", params=LEVELS)
def network(request):
    return integer.make(described(request.param))


@pytest.fixture(scope="module")
def binary():
    return integer.make(described("bernoulli"))


@pytest.fixture
def home(tmp_path, binary):
    """A directory with the compressor of two levels, and how to call the commands there."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "compressor.npz").write_bytes(integer.to_bytes(binary))

    def call(verb, *arguments):
        verb.main(["verb", "--workdir", str(tmp_path / "runs"), *map(str, arguments)])

    return SimpleNamespace(path=tmp_path, call=call)


def whole_file(network, x, size=1000, **facts):
    """A file of images that are in memory, and the SHA-256 it was made for."""
    digest = hashlib.sha256(integer.to_bytes(network)).digest()
    images = open_images_of(x)._replace(**facts)
    return compress_images(images, network, digest, size), digest


def open_images_of(x):
    return images.Images(len(x), x.shape[1:], 4, "uint8", (), lambda start, stop: x[start:stop])


def images_in(content, network, digest):
    _, decoded = decompress_images(content, network, digest)
    return np.concatenate([np.zeros((0, *network.shape), np.uint8), *decoded])


def test_a_chain_gives_back_its_images_whatever_the_batches(network, monkeypatch):
    x = drawn(network, 250).reshape(250, -1)
    words = codec.encode(network, x)
    for size in (1, 7, 100, 1000):
        monkeypatch.setattr(codec, "ENCODED", size)
        np.testing.assert_array_equal(codec.encode(network, x), words)
    np.testing.assert_array_equal(codec.decode(network, words, 250), x)


def test_the_rate_is_that_of_the_latents_that_were_drawn(network, monkeypatch):
    x, seen, real = drawn(network, 1500).reshape(1500, -1), [], integer.likelihood
    monkeypatch.setattr(integer, "likelihood", lambda network, z: seen.append(z) or real(network, z))
    spent = 32 * len(codec.encode(network, x))
    z = np.concatenate(seen[::-1])  # [N, Z], in steps of the grid
    direct = (z % codec.UNIT == 0).all(1)
    assert 1 <= direct.sum() <= 16 and direct[-direct.sum() :].all()
    mean, scale = integer.posterior(network, x)
    bits_back = norm.logpdf(z, mean, scale) - norm.logpdf(z, 0, codec.UNIT)
    coarse = -np.log(norm.cdf(z / codec.UNIT + 0.5) - norm.cdf(z / codec.UNIT - 0.5))
    p = real(network, z)
    p = np.take_along_axis(p, x[..., None].astype(int), -1)[..., 0] / p.sum(-1) + 2.0**-codec.SYMBOL  # none has less
    flags = -np.log(np.where(direct, codec.DIRECT, 1 - codec.DIRECT))
    ideal = (flags - np.log(p).sum(1) + np.where(direct[:, None], coarse, bits_back).sum(1)).sum() / np.log(2)
    assert abs(spent - ideal) < 64 + 0.001 * ideal  # the coder ends in whole words


def test_few_images_need_no_seed(binary):
    x = drawn(binary, 1).reshape(1, -1)
    p = integer.likelihood(binary, np.zeros((1, 3)))
    ideal = -np.log2(np.take_along_axis(p, x[..., None].astype(int), -1)).sum() + 3 * 1.4
    assert 32 * len(codec.encode(binary, x)) < ideal + 6 + 32 + 32


def test_sums_are_exact_in_any_order(network):
    rng = np.random.default_rng(0)
    x = rng.integers(0, network.levels, (300, 30))
    expected = integer.forward(network.encoder, x.astype(np.float64))
    order = rng.permutation(30)
    first, *rest = network.encoder
    shuffled = [first._replace(kernel=first.kernel[order]), *rest]
    np.testing.assert_array_equal(integer.forward(shuffled, x[:, order].astype(np.float64)), expected)
    for size in (1, 7, 100):
        parts = [integer.forward(network.encoder, x[i : i + size].astype(np.float64)) for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    h = x.astype(object)  # Python's integers
    for place, layer in enumerate(network.encoder):
        total = h @ layer.kernel.astype(int).astype(object) + layer.bias.astype(int).astype(object)
        h = (total >> layer.shift) if layer.shift >= 0 else total * 2**-layer.shift
        h = np.clip(h, 0, int(integer.ACTIVATION)) if place == 0 else h
    np.testing.assert_array_equal(h.astype(np.float64), expected)
    einsum = np.einsum("ni,io->no", x.astype(np.float64)[:, ::-1], first.kernel[::-1])
    np.testing.assert_array_equal(einsum, x.astype(np.float64) @ first.kernel)


def test_the_integer_network_is_near_the_float_one(network):
    likelihood = "bernoulli" if network.levels == 2 else "beta_binomial"
    wanted = described(likelihood)
    x = np.random.default_rng(0).integers(0, network.levels, (50, 30))
    h = (x - wanted.shift) / wanted.scale
    for place, (kernel, bias) in enumerate(wanted.encoder):
        h = h @ kernel + bias
        h = np.maximum(h, 0) if place == 0 else h
    mean, scale = integer.posterior(network, x)
    assert np.abs(mean / codec.UNIT - h[:, :3]).max() < 0.01
    assert np.abs(np.log(scale / codec.UNIT) - h[:, 3:]).max() < 0.03


def test_beta_binomial_tables_are_the_distribution():
    tables, values = integer.beta_binomial(256), integer.row_values(448)
    for one, other in ((0, 0), (0, 447), (447, 447), (224, 300), (100, 200), (447, 400)):
        p = tables[0, one] * tables[1, other]
        expected = betabinom.pmf(np.arange(256), 255, np.exp(values[one]), np.exp(values[other]))
        np.testing.assert_allclose(p / p.sum(), expected, rtol=1e-7, atol=1e-14)
    with np.errstate(over="raise", invalid="raise"):
        sums = np.einsum("is,js->ij", tables[0], tables[1])
    assert np.isfinite(sums).all() and sums.min() > np.finfo(np.float64).tiny


def test_every_row_of_the_tables_codes_every_symbol(network):
    rng = np.random.default_rng(0)
    rows = len(network.tables[0])
    weights = np.ones((900, network.levels))
    for table in network.tables:
        weights *= table[np.concatenate([rng.integers(0, rows, 890), [0, 0, rows - 1, rows - 1, 1] * 2])]
    symbols = rng.integers(0, network.levels, 900).astype(np.int32)
    coder = codec.AnsCoder()
    coder.encode_reverse(symbols, codec._pixel, weights)
    np.testing.assert_array_equal(coder.decode(codec._pixel, weights), symbols)
    assert coder.is_empty()


@pytest.mark.parametrize("num", [0, 1, 2, 101])
def test_any_number_of_images(network, num):
    x = drawn(network, num)
    content, digest = whole_file(network, x, 50)
    np.testing.assert_array_equal(images_in(content, network, digest), x)
    assert whole_file(network, x, 50)[0] == content


def test_unlikely_images_are_never_larger_than_stored(network):
    rng = np.random.default_rng(0)
    top = network.levels - 1
    for x in (np.zeros((60, *SHAPE)), np.full((60, *SHAPE), top), rng.integers(0, top + 1, (60, *SHAPE))):
        x = x.astype(np.uint8)
        content, digest = whole_file(network, x)
        np.testing.assert_array_equal(images_in(content, network, digest), x)
        held = len(container.read(content, digest)[1])
        plain = len(chunks.pack(x.reshape(60, -1), network.levels))
        assert len(content) <= container.FIXED.size + held * container.ENTRY.size + container.CHECK.size + plain


def test_each_method_is_used_where_it_is_the_smallest(binary):
    rng = np.random.default_rng(0)
    parts = {
        chunks.BITS_BACK: drawn(binary, 200),
        chunks.LZMA: np.ones((200, *SHAPE), np.uint8),
        chunks.STORED: rng.integers(0, 2, (200, *SHAPE)).astype(np.uint8),
    }
    content, digest = whole_file(binary, np.concatenate(list(parts.values())), 200)
    assert [chunk.method for chunk in container.read(content, digest)[1]] == list(parts)
    np.testing.assert_array_equal(images_in(content, binary, digest), np.concatenate(list(parts.values())))


def named(error):
    assert isinstance(error.value, container.Damaged | container.OtherModel | container.OtherVersion)
    assert error.value.code in (3, 4, 5)


def test_every_change_of_a_file_is_noticed(binary):
    rng = np.random.default_rng(0)
    x = np.concatenate([drawn(binary, 40), rng.integers(0, 2, (40, *SHAPE)).astype(np.uint8)])
    content, digest = whole_file(binary, x, 40)
    payloads = sum(len(chunk.payload) for chunk in container.read(content, digest)[1])
    for place in [*range(len(content)), *rng.integers(0, len(content), 1000 - len(content))]:
        changed = bytearray(content)
        changed[place] ^= rng.integers(1, 256)
        with pytest.raises(UserError) as error:
            images_in(bytes(changed), binary, digest)
        named(error)
        assert re.match("chunk [01] of the file is damaged", str(error.value)) or place < len(content) - payloads
    for length in range(len(content)):
        with pytest.raises(UserError) as error:
            images_in(content[:length], binary, digest)
        named(error)
    with pytest.raises(container.Damaged, match="something follows"):
        images_in(content + b"\0", binary, digest)


def test_damage_that_checks_of_bytes_miss_is_noticed(network):
    x = drawn(network, 40)
    for chunk in (chunks.encode(network, x), chunks.encode(network, np.zeros_like(x))):
        assert chunk.method
        rng = np.random.default_rng(0)
        for _ in range(150):
            changed = bytearray(chunk.payload)
            changed[rng.integers(len(changed))] ^= rng.integers(1, 256)
            changed = changed[: len(changed) - rng.integers(3)]
            try:
                found = chunks.decode(network, chunk._replace(payload=bytes(changed)), 40)
            except chunks.Damaged:
                continue
            np.testing.assert_array_equal(found, x * (chunk.method == chunks.BITS_BACK))  # of LZMA, a byte none needs


@pytest.mark.parametrize("num, message", [(39, "bits are left over"), (41, "the bits ran out")])
def test_words_of_other_images_are_noticed(binary, num, message):
    words = codec.encode(binary, drawn(binary, 40).reshape(40, -1))
    with pytest.raises(UserError, match=message):
        codec.decode(binary, words, num)


def test_a_panic_of_the_coder_is_one_line(binary, monkeypatch):
    words = codec.encode(binary, drawn(binary, 40).reshape(40, -1))
    monkeypatch.setattr(codec.integer, "posterior", lambda network, x: (np.zeros((1, 3)), np.zeros((1, 3))))
    with pytest.raises(UserError, match="the coder stopped"):
        codec.decode(binary, words, 40)


@pytest.mark.parametrize("likelihood", LEVELS)
def test_files_of_another_day_are_read(likelihood):
    """Written on x86-64 by constriction 0.5.0 and NumPy 2.4.6; `python tests/test_compress.py` writes them anew."""
    content = (GOLDEN / likelihood / "images.gjx").read_bytes()
    network, digest = compressor(GOLDEN / likelihood)
    assert chunks.BITS_BACK in {chunk.method for chunk in container.read(content, digest)[1]}
    x = images_in(content, network, digest)
    assert hashlib.sha256(x.tobytes()).hexdigest() == json.loads((GOLDEN / "images.json").read_text())[likelihood]
    assert whole_file(network, x, 40)[0] == content.replace(digest, hashlib.sha256(integer.to_bytes(network)).digest())


@pytest.mark.study
def test_other_processes_write_and_read_the_same(home, binary):
    np.save(home.path / "x.npy", drawn(binary, 90))
    home.call(compress, "--chunk=50", home.path / "x.npy", home.path / "x.gjx")
    for verb, source, out in (("decompress", "x.gjx", "y.npy"), ("compress", "x.npy", "y.gjx")):
        chunk = ["--chunk=50"] if verb == "compress" else []
        command = [sys.executable, "-m", f"gen_jax.{verb}", "--workdir", "runs", *chunk, source, out]
        environment = {**os.environ, **OLD, "PYTHONPATH": str(Path(compress.__file__).parents[1])}
        subprocess.run(command, cwd=home.path, env=environment, check=True)
    assert (home.path / "y.npy").read_bytes() == (home.path / "x.npy").read_bytes()
    assert (home.path / "y.gjx").read_bytes() == (home.path / "x.gjx").read_bytes()


def test_decompressing_needs_no_jax_and_damage_has_its_exit_code(home):
    (home.path / "x.gjx").write_bytes(b"GJXC" + bytes(100))
    code = "import sys; from gen_jax import decompress; from gen_jax.cli import process; sys.argv[1:] = ['--workdir=runs', 'x.gjx', 'y.npy']\n"
    code += "try: process.command(decompress.main)\nfinally: assert 'jax' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(compress.__file__).parents[1])}
    for first, expected in ((b"GJXC\1", 3), (b"GJXC\2", 5), (b"\x93NUMPY", 3)):
        (home.path / "x.gjx").write_bytes(first + bytes(200))
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, cwd=home.path, env=environment, capture_output=True
        )
        assert (done.returncode, done.stderr.count(b"\n")) == (expected, 1), done.stderr
    assert sorted(os.listdir(home.path)) == ["runs", "x.gjx"]


@pytest.mark.parametrize("dtype, top, channels", [("uint8", 1, True), ("uint8", 255, False), ("bool", 1, True)])
def test_arrays_come_back_as_they_were(home, binary, capsys, dtype, top, channels):
    x = (drawn(binary, 120) * np.uint8(top)).astype(dtype)
    np.save(home.path / "x.npy", x if channels else x[..., 0])
    home.call(compress, home.path / "x.npy", home.path / "x.gjx")
    home.call(decompress, home.path / "x.gjx", home.path / "y.npy")
    assert (home.path / "x.npy").read_bytes() == (home.path / "y.npy").read_bytes()
    said = capsys.readouterr().out
    assert "verified" in said and "bits back" in said and "compressor.npz" in said
    assert re.search(r"\nraw +450 bytes +1\.0000 bits per dimension\n", said)


def test_folders_come_back_with_their_names(home, binary):
    x, folder = drawn(binary, 12)[..., 0] * np.uint8(255), home.path / "folder"
    names = [f"{'ab'[index % 2]}/déjà vu {index}.png" for index in range(12)]
    for name, image in zip(names, x):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image if name[0] == "a" else image.astype(bool)).save(folder / name)
    home.call(compress, folder, home.path / "x.gjx")
    home.call(decompress, home.path / "x.gjx", home.path / "again")
    found = {file.relative_to(home.path / "again").as_posix() for file in (home.path / "again").rglob("*.png")}
    assert found == set(names)
    for name, image in zip(names, x):
        np.testing.assert_array_equal(np.asarray(Image.open(home.path / "again" / name)), image)
    with pytest.raises(UserError, match="exists"):
        home.call(decompress, home.path / "x.gjx", home.path / "again")


def test_names_never_leave_the_folder(home, binary):
    x = drawn(binary, 1)
    for name in ("../x.png", "/x.png", "a/../../x.png", ""):
        content, _ = whole_file(binary, x, dims=0, names=(name,))
        (home.path / "x.gjx").write_bytes(content)
        with pytest.raises(container.Damaged, match="name"):
            home.call(decompress, home.path / "x.gjx", home.path / "out")
    assert sorted(os.listdir(home.path)) == ["runs", "x.gjx"]


def deep(file):
    """A PNG file of 16 bits a channel, of which Pillow reads 8."""
    parts = (
        (b"IHDR", struct.pack(">II5B", 5, 6, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(6 * 31))),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda at: None, "does not exist"),
        (lambda at: at.write_bytes(b"text"), "expected a .npy array or a folder"),
        (lambda at: np.save(at, np.zeros((2, 7, 7, 1), np.uint8)), "7x7 pixels of 1 channel; expected .*5x6 pixels"),
        (lambda at: np.save(at, np.zeros((0, 7, 7, 1), np.uint8)), "7x7 pixels of 1 channel"),
        (lambda at: np.save(at, np.zeros((2, *SHAPE))), r"holds float64\[2, 6, 5, 1\]; expected images"),
        (lambda at: np.save(at, np.zeros((2, 30), np.uint8)), r"holds uint8\[2, 30\]"),
        (lambda at: np.save(at, np.array([{}]), allow_pickle=True), "expected a .npy array"),
        (lambda at: np.save(at, np.arange(60, dtype=np.uint8).reshape(2, *SHAPE)), "image 0 holds the value 1; .* 59"),
    ],
)
def test_what_cannot_be_compressed_is_said(home, make, message):
    make(home.path / "x.npy")
    before = sorted(os.listdir(home.path))
    with pytest.raises(UserError, match=message):
        home.call(compress, home.path / "x.npy", home.path / "x.gjx")
    assert sorted(os.listdir(home.path)) == before


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda at: (at / "notes.txt").write_text(""), "notes.txt is no PNG file"),
        (lambda at: (at / "a.png").write_text(""), "a.png is not readable .*a PNG file"),
        (lambda at: Image.new("I;16", (5, 6)).save(at / "a.png"), "a.png .*expected one picture of 8 bits"),
        (lambda at: deep(at / "a.png"), "a.png .*expected one picture of 8 bits"),
        (lambda at: Image.new("P", (5, 6)).save(at / "a.png"), "mode P"),
        (lambda at: Image.new("L", (5, 6)).save(at / "a.png", transparency=3), "expected one picture"),
        (lambda at: Image.new("L", (5, 7)).save(at / "z.png"), "z.png is 5x7 pixels of 1 channel; expected 5x6"),
    ],
)
def test_a_folder_of_anything_else_is_refused(home, make, message):
    (home.path / "x").mkdir()
    Image.new("L", (5, 6)).save(home.path / "x" / "b.png")
    make(home.path / "x")
    with pytest.raises(UserError, match=message):
        home.call(compress, home.path / "x", home.path / "x.gjx")
    assert sorted(os.listdir(home.path)) == ["runs", "x"]


def test_another_model_and_another_version_are_named(home, binary, monkeypatch):
    content, digest = whole_file(binary, drawn(binary, 3))
    with pytest.raises(container.OtherModel, match=digest.hex()):
        images_in(content, binary, bytes(32))
    monkeypatch.setattr(container, "CODER", b"constriction 0.6")
    with pytest.raises(container.OtherVersion, match=r"is constriction 0\.5; expected constriction 0\.6"):
        images_in(content, binary, digest)
    assert {error.code for error in (container.Damaged, container.OtherModel, container.OtherVersion)} == {3, 4, 5}


def test_a_file_that_does_not_decode_is_not_written(home, binary, monkeypatch):
    np.save(home.path / "x.npy", drawn(binary, 40))
    real = codec.encode
    monkeypatch.setattr(codec, "encode", lambda network, symbols, progress: real(network, symbols[::-1], progress))
    with pytest.raises(container.Damaged):
        home.call(compress, home.path / "x.npy", home.path / "x.gjx")
    assert sorted(os.listdir(home.path)) == ["runs", "x.npy"]
    home.call(compress, "--noverify", home.path / "x.npy", home.path / "x.gjx")
    with pytest.raises(container.Damaged, match="other images"):
        home.call(decompress, home.path / "x.gjx", home.path / "y.npy")
    assert sorted(os.listdir(home.path)) == ["runs", "x.gjx", "x.npy"]


def test_results_replace_files_and_nothing_else(home, binary):
    np.save(home.path / "x.npy", drawn(binary, 2))
    os.mkfifo(home.path / "pipe")
    (home.path / "folder").mkdir()
    (home.path / "real").write_bytes(b"")
    (home.path / "link").symlink_to("real")
    before = sorted(os.listdir(home.path))
    for out, message in (("pipe", "expected the name of a file"), ("folder", "Is a directory")):
        with pytest.raises(UserError, match=message):
            home.call(compress, home.path / "x.npy", home.path / out)
    home.call(compress, home.path / "x.npy", home.path / "link")
    assert (home.path / "link").is_symlink() and (home.path / "real").stat().st_size
    with pytest.raises(UserError, match="ends in .npy"):
        home.call(decompress, home.path / "real", home.path / "y.npz")
    assert sorted(os.listdir(home.path)) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "IN is missing; expected --workdir runs/gan IN OUT"),
        (("x.npy",), "OUT is missing"),
        (("x.npy", "y", "z"), "unexpected argument 'z'"),
        (("x.npy", "y", "--chunk=0"), "--chunk is 0; expected 1 to 65536"),
    ],
)
def test_the_command_line(home, arguments, message):
    with pytest.raises(UserError, match=message):
        home.call(compress, *arguments)


def test_the_compressor_is_made_once_from_a_run(tmp_path, binary, monkeypatch, capsys):
    model = own_model(lambda state: integer.make(described("bernoulli", seed=state)))
    loaded = loading.Loaded(model, 0, None, {"model": {"name": "flow"}}, 7, tmp_path / "run")
    monkeypatch.setattr(loading, "load", lambda workdir: loaded)
    np.save(tmp_path / "x.npy", drawn(binary, 3))
    arguments = ["verb", "--workdir", str(tmp_path / "run"), str(tmp_path / "x.npy"), str(tmp_path / "x.gjx")]
    compress.main(arguments)
    assert "compressor.npz of step 7" in capsys.readouterr().out
    content = (tmp_path / "run" / "compressor.npz").read_bytes()
    assert content == integer.to_bytes(binary)
    monkeypatch.setattr(loading, "load", lambda workdir: loaded._replace(state=1))
    compress.main(arguments)
    assert (tmp_path / "run" / "compressor.npz").read_bytes() == content
    monkeypatch.setattr(loading, "load", lambda workdir: loaded._replace(model=model._replace(extras={})))
    with pytest.raises(
        UserError, match="other holds a model 'flow'; expected a vae, or a model of your own with the extra"
    ):
        make_compressor(tmp_path / "other")


def own_model(network_of):
    """A model of a user, as far as the compressor asks for it."""
    return Model(init=None, step=None, sample=None, extras={"integer_network": network_of})


def test_the_families_that_compress_are_those_that_the_command_names():
    offering = [name for name in FAMILIES if "integer_network" in model_of(name).extras]
    assert {FAMILIES[name].build.func.__name__ for name in offering} == {"vae"}


@pytest.mark.parametrize("field, value", [("kernel", 0.5), ("kernel", 2.0**15), ("kernel", np.nan), ("bias", 0.5)])
def test_a_network_of_other_numbers_writes_no_file(tmp_path, binary, monkeypatch, field, value):
    """The file holds whole numbers: what it rounds would be another network than the user's."""
    layer = binary.decoder[1]
    wrong = layer._replace(**{field: np.full_like(getattr(layer, field), value)})
    model = own_model(lambda state: binary._replace(decoder=[binary.decoder[0], wrong]))
    monkeypatch.setattr(loading, "load", lambda workdir: loading.Loaded(model, 0, None, {}, 7, tmp_path))
    with pytest.raises(
        UserError, match="layer 1 of the decoder has weights of another type; expected whole numbers of 16 bits"
    ):
        make_compressor(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_run_of_a_vae_compresses(tmp_path):
    """As users do it: the run is trained, and the commands read it from its directory."""
    shutil.copytree(GOLDEN / "kept" / "vae", tmp_path / "run")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).binomial(16, 0.3, (20, 8, 8, 1)).astype(np.uint8))
    for verb, source, out in ((compress, "x.npy", "x.gjx"), (decompress, "x.gjx", "y.npy")):
        verb.main(["verb", "--workdir", str(tmp_path / "run"), str(tmp_path / source), str(tmp_path / out)])
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()


def test_a_network_that_would_not_be_exact_is_refused():
    wanted = described("bernoulli")
    wide = [(np.full((30, 8), 1e6), np.full(8, 2.0**60)), wanted.encoder[1]]
    with pytest.raises(UserError, match="layer 0 of the encoder has sums of up to .* are exact"):
        integer.make(wanted._replace(encoder=wide))
    with pytest.raises(UserError, match="not finite"):
        integer.make(wanted._replace(encoder=[(wide[0][0] * np.nan, wide[0][1]), wide[1]]))
    with pytest.raises(UserError, match="the decoder has layers of .*; expected 3 numbers in and 60 out"):
        integer.make(wanted._replace(likelihood="beta_binomial"))
    with pytest.raises(UserError, match="'poisson'; expected one of bernoulli, beta_binomial|unknown likelihood"):
        integer.make(wanted._replace(likelihood="poisson"))
    with pytest.raises(UserError, match="levels is 256; expected 2"):
        integer.make(wanted._replace(levels=256))


def test_a_damaged_compressor_is_said(tmp_path, binary):
    content = integer.to_bytes(binary)
    for wrong in (
        b"",
        b"text",
        content[:-30],
        content[: len(content) // 2],
        b"\x93NUMPY" + bytes(200),
        zlib.compress(content),
    ):
        (tmp_path / "compressor.npz").write_bytes(wrong)
        with pytest.raises(UserError, match="compressor.npz"):
            compressor(tmp_path)


@pytest.mark.parametrize("field, value", [("scales", 0.0), ("scales", np.nan), ("tables", -1.0), ("tables", np.inf)])
def test_tables_that_the_coder_would_panic_at_are_refused(binary, field, value):
    changed = getattr(binary, field).copy()
    changed.flat[-1] = value
    with pytest.raises(UserError, match="lack scales or probabilities"):
        integer.from_bytes(integer.to_bytes(binary._replace(**{field: changed})))


def test_rivals_take_what_their_own_programs_take(binary):
    import bz2
    import gzip

    x = drawn(binary, 100)
    sizes = rivals.rivals(iter([x[:30], x[30:]]), 2)
    plain = np.packbits(x[:30]).tobytes() + np.packbits(x[30:]).tobytes()
    assert sizes["raw"] == len(plain)
    assert sizes["bz2 -9"] == len(bz2.compress(plain, 9)) and sizes["gzip -9"] == len(gzip.compress(plain, 9, mtime=0))


if __name__ == "__main__":
    facts = {}
    for likelihood, levels in (("bernoulli", 2), ("beta_binomial", 4)):
        network = integer.make(described(likelihood, levels))
        x = drawn(network, 80)
        x[40:] = np.random.default_rng(0).integers(0, levels, x[40:].shape)
        (GOLDEN / likelihood).mkdir(parents=True, exist_ok=True)
        (GOLDEN / likelihood / "compressor.npz").write_bytes(integer.to_bytes(network))
        (GOLDEN / likelihood / "images.gjx").write_bytes(whole_file(network, x, 40)[0])
        facts[likelihood] = hashlib.sha256(x.tobytes()).hexdigest()
    (GOLDEN / "images.json").write_text(json.dumps(facts, indent=2) + "\n")
