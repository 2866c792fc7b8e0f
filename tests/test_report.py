"""The report: one page, of runs' directories alone, that needs no other file."""

import base64
import json
from html.parser import HTMLParser

import pytest
from conftest import make_spec

from gen_jax import files, report
from gen_jax.config import base_config, plain
from gen_jax.errors import UserError
from gen_jax.storage import directory
from gen_jax.verbs import reports

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


class Page(HTMLParser):
    """The elements of a page with their attributes, and the cells of its tables, row by row."""

    def __init__(self, content: str):
        super().__init__()
        self.elements, self.rows, self.inside = [], [], None
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, text):
        if self.inside:
            self.rows[-1][-1] += text


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in a setting, of which one is scored, both in directories of the same name."""

    def make(folder, scale, steps, scores):
        spec = make_spec("image", (8, 8, 1))
        directory.claim(folder, spec._replace(name="<digits>"))
        settings = plain(base_config()) | {"model": {"name": "vae", "net": {"scale": scale}}, "replicas": 2}
        directory.settle(folder, settings, None)
        lines = [{"step": step, "seconds": 1.5 * step, "elbo": -scale * step} for step in steps]
        files.write(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for step in steps:
            files.write(folder / "samples" / f"{step}.png", PIXEL)
            files.write(folder / "samples" / f"{step}.txt", "<b>ROMEO")
        if scores:
            files.write_json(folder / "evaluation.json", {"step": steps[-1], "metrics": scores})
        return str(folder)

    entry = lambda value, num: {"value": value, "oracle": None, "standard_error": 0.25, "protocol": {"samples": num}}
    todays = entry(90.5, 1000) | {"no_oracle": "model only"}
    return [  # the second run is scored by an earlier version, which stored the ELBO itself
        make(tmp_path / "a" / "vae", 1.0, [0, 10], {"nelbo": todays, "other": entry(1.0, 1000)}),
        make(tmp_path / "b" / "vae", 2.0, range(0, 300, 10), {"elbo": entry(-80.5, 500)}),
    ]


def test_a_report_shows_samples_curves_scores_and_differences(runs, tmp_path):
    report.main(["report", *runs, "--out", str(tmp_path / "page.html")])
    content = (tmp_path / "page.html").read_text()
    page = Page(content)
    assert ["a/vae", "vae", "<digits>", "10 of 1000", "15", "0 to 1"] in page.rows
    assert ["nelbo ↓ †", "90.5 ± 0.25", "model only", "80.5 ± 0.25", "model only"] in page.rows
    assert ["other", "1 ± 0.25", "not stored", "not scored", "not scored"] in page.rows
    assert "↓ lower is better" in content
    at = page.rows.index(["setting", "a/vae", "b/vae"])
    assert page.rows[at + 1 : at + 3] == [["model.net.scale", "1.0", "2.0"], ["setting", "of every run"]]
    pictures = [facts for tag, facts in page.elements if tag == "img"]
    assert all(base64.b64decode(facts["src"].split(",")[1]) == PIXEL for facts in pictures)
    steps = [int(facts["alt"].split()[-1]) for facts in pictures]
    assert steps[:2] == [0, 10] and len(steps) == 2 + reports.SHOTS and steps[2] == 0 and steps[-1] == 290
    assert sum(tag == "svg" for tag, _ in page.elements) == 1  # elbo, both runs in one panel
    outside = [facts for _, facts in page.elements if facts.get("src", "data:")[:5] != "data:" or "href" in facts]
    assert all(facts["href"].startswith("#") for facts in outside if "href" in facts) and "<b>ROMEO" not in content
    report.main(["report", *runs, "--out", str(tmp_path / "again.html")])
    assert (tmp_path / "again.html").read_text() == content


def test_a_run_that_was_never_evaluated(runs, tmp_path, capsys):
    (tmp_path / "b" / "vae" / "evaluation.json").unlink()
    page = reports.page(reports.read(runs[1:]))
    assert "None" not in page and ["model.net.scale", "2.0"] in Page(page).rows
    assert f"was never evaluated; its scores come from <code>python -m gen_jax.evaluate --workdir {runs[1]}" in page
    beside = reports.page(reports.read(runs))
    assert "step None" not in beside and beside.count(f"--workdir {runs[1]}<") == 1
    assert ["metric", "a/vae (step 10)", "real data", "b/vae (never evaluated)", "real data"] in Page(beside).rows
    assert ["nelbo ↓", "90.5 ± 0.25", "model only", "not scored", "not scored"] in Page(beside).rows
    report.main(["report", *runs, "--out", str(tmp_path / "page.html")])
    assert f"{runs[1]} was never evaluated" in capsys.readouterr().out


@pytest.mark.parametrize(
    "folders, message",
    [([], "DIR is missing"), (["no/such"], "no run in no/such"), ([0, 0], "given twice")],
)
def test_what_is_no_run_is_refused(runs, tmp_path, folders, message):
    named = [runs[each] if isinstance(each, int) else each for each in folders]
    with pytest.raises(UserError, match=message):
        report.main(["report", *named, "--out", str(tmp_path / "page.html")])
    assert not (tmp_path / "page.html").exists()
