"""Descriptors of bonding, against what chemistry says."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.formulas.formula import parse_formula
from matgraft.formulas.valence import NAMES, nearest_charge, valence


def of(text, name):
    return valence([parse_formula(text)])[0, NAMES.index(name)]


@pytest.mark.parametrize("text", ["NaCl", "MgO", "Fe2O3", "BaTiO3", "Al2O3", "CuSO4·5H2O", "GaAs", "CaF2"])
def test_salts_balance(text):
    assert of(text, "charge nearest, common states") == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("text", ["NaCl2", "MgAl", "Ba2YCu3O7", "CaF"])
def test_other_compounds_are_left_with_charge(text):
    assert of(text, "charge nearest, common states") > 0.05


def test_electrons_are_counted():
    assert of("GaAs", "valence electrons") == pytest.approx(4)
    assert of("NaCl", "valence electrons by non-metal") == pytest.approx(8)
    assert of("NaCl", "charge left by its octet") == pytest.approx(0)
    assert of("Na2Cl", "charge left by its octet") == pytest.approx(1 / 3)
    assert of("NO", "odd electrons") == 1
    assert of("CO", "odd electrons") == 0
    assert of("Fe0.62C0.000953Mn0.37", "odd electrons") == -1


def test_ionicity_is_paulings():
    expected = 1 - np.exp(-((3.16 - 0.93) ** 2) / 4)
    assert of("NaCl", "ionicity, largest") == pytest.approx(expected)
    assert of("NaCl", "ionicity, mean") == pytest.approx(expected / 2)
    assert of("Fe", "ionicity, largest") == 0


states = st.lists(st.integers(-4, 7), min_size=1, max_size=4, unique=True)


@given(st.lists(st.tuples(st.floats(0.01, 1), states), min_size=1, max_size=5))
def test_the_nearest_charge_is_that_of_trying_every_choice(parts):
    fractions = np.array([fraction for fraction, _ in parts])
    choices = [np.array(some, float) for _, some in parts]
    tried = min(abs(float(fractions @ choice)) for choice in itertools.product(*choices))
    assert nearest_charge(fractions, choices) == pytest.approx(tried, abs=2e-3)


def test_an_alloy_of_thirty_elements_is_no_burden():
    text = "LiBeBCNOFNaMgAlSiPSClKCaScTiVCrMnFeCoNiCuZnGaGeAsSeO20"
    row = valence([parse_formula(text)])
    assert np.isfinite(row).all()
    nearest, low, high = row[0, 3:6]  # over the states of the ICSD
    assert low < 0 < high
    assert nearest < 2e-3


def test_nothing_is_a_table_of_no_rows():
    assert valence([]).shape == (0, len(NAMES))


def test_helium_has_two_valence_electrons():
    assert of("He", "valence electrons") == 2 and of("Ne", "valence electrons") == 8
