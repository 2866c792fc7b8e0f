"""Options of a sampler that a user writes as text."""

import pytest

from gen_jax.errors import UserError
from gen_jax.verbs.draw import chosen_options, options_in


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
