"""Options as words: a shell keeps them, and they are read back to the same value."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from matgraft.core.errors import DataError, OptionError
from matgraft.core.findings import Action, Finding
from matgraft.core.options import shell, word
from matgraft.core.quantities import VOIGT, compose_shears, parse_shear, reorder_shear, voigt_to_full
from matgraft.core.settings import parted, read_yaml, validated
from matgraft.core.texts import parse_value
from matgraft.potentials.recipe import make_recipe

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
@example("my energy")
@example("1e-3")
@example("nan")
@example("null")
@example("a: b")
@example("it's")
@example(" edge ")
@example("Ångström\n")
@example({"config_type=a b": "xz,yz,xy", "x=[1], 'y'": "yz,xz,xy"})
def test_a_word_is_read_back_to_the_same_value(value: Any) -> None:
    (kept,) = shlex.split(shell({"some.key": value}))
    key, _, text = kept.partition("=")
    assert (key, parse_value(text)) == ("some.key", value)


def test_numbers_with_exponents_are_numbers_and_quoted_ones_are_text() -> None:
    assert parse_value("1e-3") == 1e-3
    assert parse_value("'1e-3'") == "1e-3"
    assert math.isnan(parse_value("nan"))
    with pytest.raises(ValueError, match="parsing"):
        parse_value("[1")


def test_plain_options_stay_plain() -> None:
    assert word("units.energy", "eV/atom") == "units.energy=eV/atom"
    assert word("audit.drop", (3, 5)) == "audit.drop=[3,5]"
    assert shell({"units.stress": None, "units.virial": "eV"}) == "units.stress=null units.virial=eV"


def test_a_real_shell_hands_the_words_over() -> None:
    settings = {"keys.energy": "my $HOME 'energy' [eV]", "shear": {"config_type=größer als": "xz,yz,xy"}}
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {shell(settings)}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\0")[:-1] == [word(key, value) for key, value in settings.items()]


def test_an_error_prints_its_options_as_a_shell_takes_them() -> None:
    error = DataError("no energy", options=[{"keys.energy": "my energy"}, {"want": ["forces"]}])
    assert str(error).splitlines()[1:] == ["option: 'keys.energy=my energy'", "option: 'want=[forces]'"]


@given(st.permutations(VOIGT[3:]), st.permutations(VOIGT[3:]))
def test_two_orders_of_the_shear_are_one(first: list[str], second: list[str]) -> None:
    stress = voigt_to_full([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    twice = reorder_shear(reorder_shear(stress, parse_shear(",".join(first))), parse_shear(",".join(second)))
    assert (reorder_shear(stress, parse_shear(compose_shears(",".join(first), ",".join(second)))) == twice).all()


def test_options_that_no_command_takes_come_with_another_way(tmp_path: Path) -> None:
    many = list(range(0, 60_000, 2))
    error = DataError("too many", options=[{"audit.drop": many}, {"seed": 1}])
    assert str(error).splitlines()[2:] == ["option: seed=1"]
    assert "too long to type: audit.drop" in str(error) and "audit.drop=@FILE" in str(error)
    assert error.facts()["options"] == [{"audit.drop": many}, {"seed": 1}]
    action = Action(settings={"audit.drop": many})
    assert Finding(code="x", title="x", outcome="failed", actions=(action,)).option == ""
    (tmp_path / "my numbers.json").write_text(json.dumps(many))
    assert make_recipe(None, ["train=a", f"audit.drop=@{tmp_path / 'my numbers.json'}"]).audit.drop == tuple(many)
    with pytest.raises(OptionError, match="no such file"):
        make_recipe(None, ["train=a", f"audit.drop=@{tmp_path / 'gone'}"])


@pytest.mark.parametrize("text", ["nan", ".nan", ".inf", "-.inf", "1e999", "[1, .inf]", "{a: [.nan]}"])
def test_a_number_that_is_not_finite_is_refused(text):
    with pytest.raises(OptionError, match="not finite") as told:
        parted(f"fit.rate={text}", [])
    assert told.value.remedy


def test_no_value_at_all_is_an_empty_text_and_no_number():
    assert parted("exclude=", []) == ("exclude", "")
    with pytest.raises(OptionError, match=r"fit\.rate.*valid number"):
        make_recipe(None, ["train=a", "fit.rate= "])


@pytest.mark.parametrize("text", ["1e-3", "null", "none", "infinite", "[1, 2]"])
def test_finite_numbers_and_words_are_values(text):
    assert parted(f"fit.rate={text}", [])[0] == "fit.rate"


def test_a_recipe_has_finite_numbers(tmp_path):
    (tmp_path / "r.yaml").write_text("fit: {rate: .inf}\n")
    with pytest.raises(OptionError, match="a number of 'fit' is not finite"):
        read_yaml(tmp_path / "r.yaml")


class Fitted(BaseModel):
    epochs: int = 1
    rate: float = 1.0
    drop: tuple[int, ...] = ()
    stored: bool | int = False


class Asked(BaseModel):
    fit: Fitted = Fitted()
    weights: dict[str, float] = {}


@pytest.mark.parametrize(
    "content",
    [{"fit": {"epochs": True}}, {"fit": {"rate": False}}, {"fit": {"drop": [3, True]}}, {"weights": {"energy": True}}],
    ids=["integer", "number", "list", "mapping"],
)
def test_true_is_no_number(content: dict[str, object]) -> None:
    """YAML reads yes, on and true as a truth value, and pydantic would take it as 1."""
    with pytest.raises(OptionError, match="is true or false, and a number is wanted"):
        validated(Asked, content)


def test_truth_values_are_taken_where_they_are_wanted() -> None:
    assert validated(Asked, {"fit": {"stored": True, "epochs": 1}}).fit.stored is True
