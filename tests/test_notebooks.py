"""The notebooks, executed as a reader does, each in a fresh kernel and folder; their imports; and what git may hold of them."""

import ast
import base64
import inspect
import io
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from conftest import CHEAP
from nbclient import NotebookClient
from PIL import Image

import gen_jax as gj

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
EXPECTED = {  # pictures, and what its texts tell
    "01_first_gan": (6, [r"step 2000/2000", r"high_quality ↑ +0\.[4-9]", r"modes ↑ +10 "]),
    "02_vae_latents": (5, [r"16 latents\nmetric.*\nnelbo ↓ +9\d\.", r"active_units +2 "]),
    "03_text_and_music": (2, [r"order 4\nROMEO:", r"step 150/150 .*nats_per_token=[12]\.", r"step 240/240"]),
    "04_tables_and_networks": (3, [r"do\(dysp\)=yes +P\(bronc=yes\) = 0\.4", r"graph +2\.25", r"1\.4,0\.2,setosa"]),
    "05_write_your_own_model": (3, [r"step 1000/1000", r"2000 samples of step 1000", r"= 16 passed, 3 skipped"]),
    "06_your_own_arrays_and_nets": (
        4,
        [
            r"step 600/600 .*hole=[12]\.",
            r"active_units +2 ",
            r"600 Samples\(x uint8\[3, 16, 16, 1\]",
            r"load\(.*model=model",
        ],
    ),
    "07_pictures_from_pictures": (
        3,
        [r"contrast without critic: \d\.\d\ncontrast with critic: [23]\d\.\d\n", r"miou ↑ +0\.9"],
    ),
    "08_translation_and_tunes": (
        0,
        [
            r"right to the letter: (0\.[89]|1\.0)",
            r"another row: [1-9]\.",
            r"of their chord: (0\.9|1\.0)",
            r"another row: 0\.[23]",
        ],
    ),
    "10_speech": (
        2,
        [r"frames of vowels and spaces: [789], of consonants: [345]", r"own text is likelier in (0\.9|1\.0)"],
    ),
    "09_diffusion_beside_gan": (
        4,
        [r"diffusion: 0\.[89]\d\d near a centre", r"integral: (0\.9[89]|1\.0[01])", r"way there and back: 0\.0"],
    ),
}
AUTHORS = (  # modules that are public for who writes families, nets, measures and config files
    "gen_jax.conditions",
    "gen_jax.config",
    "gen_jax.distributions.frames",
    "gen_jax.distributions.pixels",
    "gen_jax.losses.adversarial",
    "gen_jax.losses.penalties",
    "gen_jax.losses.reconstruction",
    "gen_jax.metrics.measure",
    "gen_jax.model",
    "gen_jax.nets.embedding",
    "gen_jax.nets.ladder",
    "gen_jax.nets.nnx",
    "gen_jax.nets.recurrent",
    "gen_jax.optimizers",
)
BY_AUTHORS = ("05_write_your_own_model",)

FAST = ("01_first_gan",)  # trains longer than it compiles
QUICK = CHEAP.replace("optimization_level=0", "optimization_level=1")  # compiles longer, and trains in less time


def code_of(path: Path) -> list[str]:
    """Returns the code of each cell, also of cells that write a file."""
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return ["\n".join(line for line in cell.splitlines() if not line.startswith(("%", "!"))) for cell in cells]


def inner_names(code: str, modules: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the names of the package that code uses and that are not public.

    Args:
      code: the code.
      modules: modules that are public besides.
    """
    public = {*(f"gen_jax.{name}" for name in gj.__all__), *modules}
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import():
                imports = [(alias.name, alias.asname) for alias in node.names if alias.name.startswith("gen_jax")]
                yield from (name for name, short in imports if (name, short) != ("gen_jax", "gj"))
            case ast.ImportFrom(module="gen_jax"):
                yield from {f"gen_jax.{alias.name}" for alias in node.names} - public
            case ast.ImportFrom(module=str(module)) if module.startswith("gen_jax.") and module not in modules:
                yield module
            case ast.Attribute(ast.Name("gj"), name) if name not in gj.__all__:
                yield f"gj.{name}"
            case ast.Attribute(ast.Attribute(ast.Name("gj"), room), name):
                if inspect.ismodule(getattr(getattr(gj, room, None), name, None)):
                    yield f"gj.{room}.{name}"


@pytest.mark.study
@every_notebook
def test_notebook_runs_in_a_fresh_kernel(path, tmp_path):
    for folder in ("configs", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(path, 4)
    place = {"metadata": {"path": str(tmp_path / "notebooks")}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "settings")}  # which code is trusted
    environment |= {"XLA_FLAGS": "" if path.stem in FAST else QUICK, "PYTHONPATH": str(ROOT)}
    client.execute(env={**environment, "IPYTHONDIR": str(tmp_path / "ipython")})

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = "".join(output.text if output.output_type == "stream" else output.data["text/plain"] for output in outputs)
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    num, patterns = EXPECTED[path.stem]
    assert len(pictures) == num
    for each in pictures:
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("L")).std() > 5
    for pattern in patterns:
        assert re.search(pattern, texts), (pattern, texts)


@every_notebook
def test_notebook_uses_public_names(path):
    modules = AUTHORS if path.stem in BY_AUTHORS else ()
    assert [*inner_names("\n".join(code_of(path)), modules)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import gen_jax",
        "import gen_jax.verbs as verbs",
        "from gen_jax import verbs",
        "from gen_jax.verbs.paths import paths",
        "from gen_jax.model import Model",
        "gj.storage",
        "gj.data.kinds.KINDS",
    ],
)
def test_an_inner_name_is_seen(code):
    import_module("gen_jax.storage")  # an attribute of the package since then
    assert [*inner_names(code)] != []


def test_the_package_says_which_modules_are_public_for_authors():
    assert {*re.findall(r"gen_jax\.[a-z_.]*[a-z]", gj.__doc__)} == {*AUTHORS}
    assert all(import_module(name) for name in AUTHORS)


@every_notebook
def test_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.source
        assert "execution" not in cell.metadata


def test_the_notebooks_family_is_forty_lines_and_the_same_on_eight_devices(monkeypatch):
    import families
    import test_laws

    module = code_of(ROOT / "notebooks" / "05_write_your_own_model.ipynb")[0]
    family = module[module.index("def flow") :]
    assert len([line for line in family.splitlines() if line and '"""' not in line]) <= 40
    names: dict = {}
    exec(module, names)  # noqa: S102 (our own notebook)
    batch = families.vectors()
    row = families.Family(
        lambda **more: names["flow"](families.VECTOR, layers=2, **more), batch, {"optimizer": families.SGD}, None
    )
    monkeypatch.setitem(families.FAMILIES, "flow", row)
    assert len(jax.devices()) == 8
    test_laws.test_eight_devices_and_padding_rows_change_nothing("flow")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_equations_have_no_doubled_backslash(path):
    """In the JSON of a notebook a backslash is doubled once; doubled twice, a command of LaTeX becomes a new line."""
    cells = nbformat.read(path, 4).cells
    equations = [
        each for cell in cells if cell.cell_type == "markdown" for each in re.findall(r"\$[^$]+\$", cell.source)
    ]
    assert [equation for equation in equations if re.search(r"\\\\[a-zA-Z]", equation)] == []
