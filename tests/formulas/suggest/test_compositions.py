"""Compositions of elements: which are made, and what bounds them."""

import time
from math import gcd

import numpy as np
import pytest
from ase.data import chemical_symbols
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import OptionError
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.suggest.compositions import MOST_CANDIDATES, Compositions, amounts
from matgraft.formulas.valence import elements, nearest_charge


def made(*symbols, **limits):
    formulas, _ = Compositions(elements=symbols, **limits).make()
    return {str(one) for one in formulas}


def test_known_oxides_balance_and_others_do_not():
    found = made("Fe", "O")
    assert found == {"FeO", "Fe2O3"}
    assert {"LiFePO4", "Li3PO4", "Fe2O3"} <= made("O", "Fe", "Li", "P")


def test_the_order_of_the_elements_and_repeats_do_not_matter():
    assert made("O", "Fe", "Fe") == made("Fe", "O")


@given(st.sets(st.sampled_from(["Li", "Mg", "Al", "O", "F"]), min_size=2), st.integers(2, 8), st.integers(2, 3))
@settings(max_examples=20, deadline=None)
def test_what_is_made_balances_within_the_limits(symbols, most_atoms, most_elements):
    try:
        formulas, told = Compositions(
            elements=tuple(symbols), most_atoms=most_atoms, most_elements=most_elements
        ).make()
    except OptionError as error:
        assert "balances in charge" in error.found
        return
    states = elements().icsd
    for one in formulas:
        assert 2 <= len(one) <= most_elements and one.unit_atoms <= most_atoms
        assert nearest_charge(np.array(one.fractions), [states[Z] for Z in one.numbers]) < 1e-6
    assert len({one.key for one in formulas}) == len(formulas) == told.balanced <= told.tried


def test_amounts_are_smallest_whole_numbers_each_once():
    found = amounts(3, 7, 1000)
    assert all(gcd(*one) == 1 and sum(one) <= 7 and min(one) >= 1 for one in found)
    assert len(set(found)) == len(found) and (1, 2, 4) in found and (2, 2, 2) not in found


def test_sulfur_beside_iodine_is_not_taken_for_silicon():
    """What a program spells is meant; typed by a person, KSIO3 is refused."""
    found = made("K", "S", "I", "O", charge="any", most_atoms=6)
    assert any("S" in parse_formula(one, is_spelled=True).symbols and "SI" in one for one in found)


def test_alloys_come_where_charges_may_be_any():
    with pytest.raises(OptionError, match="balances in charge") as error:
        made("Fe", "Ni", "Cr")
    assert error.value.options == ({"--charge": "any"},)
    assert "CrFeNi" in made("Fe", "Ni", "Cr", charge="any")


@pytest.mark.parametrize(
    ("symbols", "found"), [(("Fe", "Xx"), "'Xx' is not an element"), (("Fe",), "1 element"), (("X", "O"), "'X' is no")]
)
def test_elements_that_cannot_be_taken_are_named(symbols, found):
    with pytest.raises(OptionError, match=found):
        made(*symbols)


@pytest.mark.parametrize("charge", ["any", "balanced"])
@pytest.mark.parametrize("n", [8, 100])
def test_too_many_are_refused_before_they_are_made_with_limits_that_help(charge, n):
    asked = Compositions(elements=tuple(chemical_symbols[1:n]), most_elements=8, most_atoms=40, charge=charge)
    began = time.monotonic()
    with pytest.raises(OptionError, match="compositions of these elements") as error:
        asked.make()
    assert time.monotonic() - began < 20  # a second on an idle machine
    assert error.value.options
    for option in error.value.options:
        limits = {name.removeprefix("--").replace("-", "_"): value for name, value in option.items()}
        assert 0 < asked.model_copy(update=limits).count(n - 1) <= MOST_CANDIDATES
