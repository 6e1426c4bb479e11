"""Descriptors against their definition, written out for one formula."""

import numpy as np
import pytest

from matgraft.formulas.descriptors import element_fractions, magpie
from matgraft.formulas.elements import element_table
from matgraft.formulas.formula import parse_formula

TEXTS = ["Fe2O3", "NaCl", "H", "Fe0.62C0.000953Mn0.000521", "Ba2YCu3O7"]


@pytest.mark.parametrize("text", TEXTS)
def test_statistics_are_those_of_the_definition(text):
    formula = parse_formula(text)
    row = magpie([parse_formula(other) for other in TEXTS])[TEXTS.index(text)]
    values = element_table()[list(formula.numbers)].astype(float)
    fractions = np.array(formula.fractions)
    mean = fractions @ values
    expected = [mean, fractions @ np.abs(values - mean), values.min(0), values.max(0), np.ptp(values, axis=0)]
    norms = [len(fractions), *((fractions**p).sum() ** (1 / p) for p in (2, 3, 5))]
    np.testing.assert_allclose(row, np.concatenate([*expected, norms]), atol=1e-9)


def test_fractions_stand_at_their_elements():
    rows = element_fractions([parse_formula(text) for text in TEXTS])
    np.testing.assert_allclose(rows.sum(1), 1)
    assert rows[0, 25] == pytest.approx(0.4)
    assert rows[0, 7] == pytest.approx(0.6)
    assert (rows[2] > 0).sum() == 1


def test_nothing_is_a_table_of_no_rows():
    assert len(element_fractions([])) == len(magpie([])) == 0
