"""Digits for letters, charges, elements that the encoder never saw."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.chemistry import (
    can_balance,
    charge_balance,
    digit_for_letter,
    elements_not_pretrained,
    likely_reading,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Fe203", "Fe2O3"), ("H20", "H2O"), ("Al203", "Al2O3"), ("Ti02", "TiO2"), ("LiFe204", "LiFe2O4"),
     ("KC1", "KCl"), ("CaC12", "CaCl2")],
)  # fmt: skip
def test_a_zero_for_o_and_a_one_for_l(text, meant):
    assert likely_reading(as_it_stands(text)) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [("NaCI", "NaCl"), ("MgCI2", "MgCl2"), ("FeCI3", "FeCl3"), ("CaCo3", "CaCO3"), ("Na2Co3", "Na2CO3"),
     ("CI4", ""), ("Y2CI2", ""), ("CaCo5", ""), ("CH3NH3PbI3", ""), ("FeCo3", "")],
)  # fmt: skip
def test_a_capital_i_for_l_and_a_small_o_for_o(text, meant):
    assert likely_reading(parse_formula(text)) == meant


def test_cobalt_is_no_slip_beside_other_compounds_of_metals(ask, plain):
    cells = plain.copy()
    cells.loc[4, "formula"] = "CaCo3"
    assert ask(digit_for_letter, cells).lines == (6,)
    cells.loc[5, "formula"] = "Ni3Al"
    assert ask(digit_for_letter, cells).outcome == "passed"


def as_it_stands(text):
    """Return a formula whose zeros are digits, as earlier tables were read; reading now refuses them."""
    return replace(parse_formula(re.sub(r"(\d+)", r"\1.0", text)), text=text)


@pytest.mark.parametrize(
    "text",
    ["C60", "B10H14", "Fe20Ni80", "Co20Fe60B20", "Fe2O3", "SmC10", "S8", "Si1C1", "Fe0.5Ni0.5", "C10H8",
     "Ag2O", "Na20Ca10Si70", "Cu50Zr50", "P4O10", "(C2H4)10", "C12H22O11", "La0.7Sr0.3MnO3"],
)  # fmt: skip
def test_sound_formulas_with_zeros_and_ones_are_left_alone(text):
    assert likely_reading(parse_formula(text)) == ""


def test_a_digit_blocks_with_line_and_reading_where_nobody_writes_so(ask, plain):
    cells = plain.copy()
    cells.loc[4, "formula"] = "Fe203"
    with pytest.raises(DataError, match=r"line 6, column 'formula'(.*\n)*.*likely Fe2O3"):
        ask(digit_for_letter, cells)
    cells.loc[4, "formula"] = "CaC12"
    assert ask(digit_for_letter, cells).severity == "warning"
    assert ask(digit_for_letter, plain).outcome == "passed"


@pytest.mark.parametrize("text", ["Fe3O4", "FeO", "CsO2", "NaCl", "Ba2CaOsO6", "AuCl", "UO2", "La1.85Sr0.15CuO4"])
def test_charges_that_can_balance(text):
    assert can_balance(parse_formula(text))


@pytest.mark.parametrize("text", ["MgF5", "Al2O9", "KCl2", "La3NiBr3"])
def test_charges_that_cannot(text):
    assert not can_balance(parse_formula(text))


def test_formulas_that_cannot_be_neutral_are_listed(ask, plain):
    cells = plain[plain["formula"].isin(["Li2O", "Mg1O", "Ca1O", "Zn1O", "Li1F", "Na1Cl", "Ga2O"])]
    assert ask(charge_balance, cells).outcome == "passed"
    cells = cells.copy()
    cells.iloc[0, 0] = "MgF5"
    found = ask(charge_balance, cells)
    assert (found.outcome, found.severity, found.lines) == ("failed", "warning", (2,))


def test_elements_that_no_formula_of_the_pretraining_had(evidence, plain):
    cells = plain.copy()
    cells.loc[0, "formula"] = "AmO2"
    asked = evidence(cells)
    known = tuple({symbol for formula in asked.table.formulas for symbol in formula.symbols} - {"Am"})
    seen = SimpleNamespace(card=SimpleNamespace(elements=known))
    (found,) = elements_not_pretrained(TableEvidence(asked.table, "gap", asked.columns, seen))
    assert (found.outcome, found.lines) == ("failed", (2,))
    assert next(iter(elements_not_pretrained(asked))).outcome == "not applicable"


@given(st.text("CFOe0123()", min_size=1, max_size=12))
def test_no_reading_of_a_formula_fails_or_reads_as_itself(text):
    try:
        formula = parse_formula(text)
    except ValueError:
        return
    except Exception as error:
        assert type(error).__name__ == "FormulaError"
        return
    meant = likely_reading(formula)
    assert not meant or parse_formula(meant) != formula
