"""The notebooks, executed as a reader does, each in a fresh kernel and folder; and what git may hold of them."""

import base64
import io
import os
import re
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from conftest import CHEAP
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
EXPECTED = {  # pictures, and what its texts tell
    "01_first_gan": (6, [r"step 2000/2000", r"high_quality +0\.[4-9]", r"modes +10 "]),
    "02_vae_latents": (4, [r"16 latents\nmetric.*\nnelbo ↓ +9\d\.", r"active_units +2 "]),
    "03_text_and_music": (2, [r"order 4\nROMEO:", r"step 150/150 .*nats_per_token=[12]\.", r"step 240/240"]),
    "04_tables_and_networks": (3, [r"do\(dysp\)=yes +P\(bronc=yes\) = 0\.4", r"graph +-2\.25", r"1\.4,0\.2,setosa"]),
    "05_write_your_own_model": (2, [r"step 1000/1000", r"= 16 passed, 3 skipped"]),
}

FAST = ("01_first_gan",)  # trains longer than it compiles


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@every_notebook
def test_notebook_runs_in_a_fresh_kernel(path, tmp_path):
    for folder in ("configs", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(path, 4)
    place = {"metadata": {"path": str(tmp_path / "notebooks")}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {"XLA_FLAGS": "" if path.stem in FAST else CHEAP, "PYTHONPATH": str(ROOT)}
    client.execute(env={**environment, "IPYTHONDIR": str(tmp_path / "ipython")})

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = "".join(output.text for output in outputs if output.output_type == "stream")
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    num, patterns = EXPECTED[path.stem]
    assert len(pictures) == num
    for each in pictures:
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("L")).std() > 5
    for pattern in patterns:
        assert re.search(pattern, texts), (pattern, texts)


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

    state, family = code_of(ROOT / "notebooks" / "05_write_your_own_model.ipynb")[:2]
    code = [line for line in family.splitlines() if line and '"""' not in line]
    assert len(code) <= 40
    names: dict = {}
    exec(f"{state}\n{family}", names)  # noqa: S102 (our own notebook)
    batch = families.vectors()
    row = families.Family(
        lambda **more: names["flow"](families.VECTOR, layers=2, **more), batch, {"optimizer": families.SGD}, None
    )
    monkeypatch.setitem(families.FAMILIES, "flow", row)
    assert len(jax.devices()) == 8
    test_laws.test_eight_devices_and_padding_rows_change_nothing("flow")
