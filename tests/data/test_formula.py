"""Formulas: what is understood, what is refused and where."""

import pytest
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st

from matgraft.data.formula import FormulaError, parse_formula

AMOUNTS = st.dictionaries(st.sampled_from(chemical_symbols[1:]), st.integers(1, 12), min_size=1, max_size=6)


def written(amounts):
    return "".join(f"{symbol}{amount}" for symbol, amount in amounts)


@given(AMOUNTS, st.randoms(), st.integers(1, 9))
def test_order_and_scale_do_not_matter(amounts, random, scale):
    items = list(amounts.items())
    shuffled = random.sample(items, len(items))
    assert parse_formula(written(items)) == parse_formula(written([(s, n * scale) for s, n in shuffled]))


@given(AMOUNTS)
def test_reduced_is_read_as_the_same_formula(amounts):
    formula = parse_formula(written(amounts.items()))
    again = parse_formula(formula.reduced)
    assert again.numbers == formula.numbers
    assert again.fractions == pytest.approx(formula.fractions, abs=1e-7)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("CuSO4·5H2O", "CuSO9H10"),
        ("CuSO4 * 5 H2O", "CuSO9H10"),
        ("K4[Fe(CN)6]·3H2O", "K4FeC6N6H6O3"),
        ("{Ca[(OH)2]}2", "CaO2H2"),
        ("Fe₂O₃", "Fe2O3"),
        (" Fe 2 O 3 ", "Fe2O3"),
        ("D2O", "H2O"),
        ("DTO", "H2O"),
        ("Li.5CoO2", "Li0.5CoO2"),
        ("Fe2O3Na0", "Fe2O3"),
        ("OO2Fe2", "Fe2O3"),
    ],
)
def test_ways_of_writing(text, same):
    assert parse_formula(text) == parse_formula(same)


def test_tiny_amounts_are_kept():
    steel = parse_formula("Fe0.9998C1e-4B0.0001")
    assert dict(zip(steel.symbols, steel.fractions, strict=True)) == pytest.approx({"B": 1e-4, "C": 1e-4, "Fe": 0.9998})


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("Fe2Ox", 4, "'x' belongs to no element"),
        ("Xx2O3", 0, "'Xx' is no element"),
        ("", 0, "no element"),
        ("  ", 1, "no element"),
        ("Fe-2O3", 2, "without a sign"),
        ("2H2O", 0, "follows no element"),
        ("Fe(OH", 2, "not closed"),
        ("FeO)2", 3, "never opened"),
        ("fe2", 0, "capital: F"),
        ("Fe0", 0, "above 0"),
        ("Fe()2", 3, "no element here"),
        ("CuSO4.5H2O", 5, "CuSO4·5H2O"),
        ("".join(chemical_symbols[1:32]), 0, "31 elements; at most 30"),
    ],
)
def test_what_is_wrong_and_where(text, position, says):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert caught.value.position == position
    assert says in str(caught.value)


def test_text_is_not_part_of_equality():
    first, second = parse_formula("Fe2O3"), parse_formula("O3Fe2")
    assert hash(first) == hash(second)
    assert (str(first), str(second)) == ("Fe2O3", "O3Fe2")
    assert first.chemical_system == "Fe-O"
