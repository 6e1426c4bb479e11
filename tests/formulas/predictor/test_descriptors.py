"""Descriptors against their definition, written out for one formula."""

import numpy as np
import pytest

from matgraft.formulas.descriptors import element_fractions, magpie
from matgraft.formulas.elements import element_table
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.inputs import Inputs

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


def test_a_formula_of_many_rows_is_encoded_once(small, monkeypatch):
    asked = []
    encode = CompositionBackbone.embed_with_properties
    monkeypatch.setattr(
        CompositionBackbone, "embed_with_properties", lambda self, some: asked.append(len(some)) or encode(self, some)
    )
    formulas = [parse_formula(text) for text in ("NaCl", "MgO", "Na2Cl2", "NaCl", "KBr")]
    found = Inputs.of(formulas, small, np.arange(5.0)[:, None])
    assert asked == [3]
    alone = Inputs.of([formulas[4]], small, np.array([[4.0]]))
    for name, block in found.blocks.items():
        np.testing.assert_allclose(block[4], alone.blocks[name][0], atol=1e-5)
        if name != "covariates":
            assert (block[0] == block[2]).all() and (block[0] == block[3]).all()
