"""Options of a sampler that a user writes as text."""

from pathlib import Path

import numpy as np
import pytest

import gen_jax as gj
from gen_jax import inpaint, sample, train
from gen_jax.errors import UserError
from gen_jax.verbs.draw import chosen_options, draw, options_in


def test_numbers_become_numbers_and_other_values_stay_text():
    assert options_in(["steps=20", " guidance = 2.5", "", "solver=heun"]) == {
        "steps": 20,
        "guidance": 2.5,
        "solver": "heun",
    }
    assert isinstance(options_in(["steps=20"])["steps"], int)


@pytest.mark.parametrize("text", ["steps", "=3", "steps=", "steps=1,steps=2"])
def test_other_forms_are_refused(text):
    with pytest.raises(UserError, match="of the sampler is unclear; expected NAME=VALUE once"):
        options_in(text.split(","))


def test_options_of_a_command_replace_those_of_the_config():
    assert chosen_options({"how": "steps=20,guidance=2"}, {"steps": 5}) == {"steps": 5, "guidance": 2}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"step": 5}, "this model has no sampler option 'step'; expected steps, "),
        ({"how": ["steps=5"]}, "this model has no sampler option 'how'; expected steps, "),
        ({"steps": [5, 6]}, "steps has 2 values; expected one for each of the 3 samples, or one for all"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_row_is_drawn(how, message):
    spec = gj.data.arrays(np.ones((4, 2), np.float32)).spec
    model = gj.models.diffusion(spec, net={"name": "mlp"})
    with pytest.raises(UserError, match=message):
        draw(model, None, spec, seed=0, num=3, how=how)


CONFIGS = Path(__file__).parents[1] / "configs"


def run_of(folder: Path, config: str, *flags: str) -> str:
    few = ["--config.steps=1", "--config.eval_every=0", "--config.sample_every=0", "--config.model.net.width=8"]
    train.main(["train", "--config", str(CONFIGS / f"{config}.py"), "--workdir", str(folder), "--quiet", *few, *flags])
    return str(folder)


@pytest.mark.study
def test_completed_rows_of_a_file_follow_the_options(tmp_path):
    """Temperature 0 takes the likeliest level, so that all completions are alike."""
    workdir = run_of(tmp_path / "run", "masked")
    (tmp_path / "some.csv").write_text("asia,smoke\n" + "no,yes\n" * 40)
    given = ["sample", "--workdir", workdir, "--given", str(tmp_path / "some.csv"), "--out", str(tmp_path / "x.npz")]
    sample.main(given)
    varied = np.load(tmp_path / "x.npz")["x"]
    sample.main([*given, "--how", "temperature=0,steps=1"])
    alike = np.load(tmp_path / "x.npz")["x"]
    assert len(np.unique(varied, axis=0)) > 1 == len(np.unique(alike, axis=0))
    with pytest.raises(UserError, match="no sampler option 'step'; expected steps, temperature"):
        sample.main([*given, "--how", "step=1"])


@pytest.mark.study
def test_completed_images_follow_the_options(tmp_path):
    observed = ["--config.model.observed=True", "--config.model.conditional=False"]
    workdir = run_of(tmp_path / "run", "diffusion", *observed)
    command = ["inpaint", "--workdir", workdir, "--mask", "lower", "--num=2", "--out", str(tmp_path / "x.npz")]
    drawn = []
    for how in ("steps=1", "steps=1", "steps=3"):
        inpaint.main([*command, "--how", how])
        drawn.append(np.load(tmp_path / "x.npz")["completions"])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    with pytest.raises(UserError, match="no sampler option 'beam'"):
        inpaint.main([*command, "--how", "beam=2"])
