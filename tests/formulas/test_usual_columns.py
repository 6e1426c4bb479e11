"""Usual formulas that are read together are what `parse_formula` says of each; everything else is left to it."""

from hypothesis import given
from hypothesis import strategies as st

from matgraft.formulas import formula
from matgraft.formulas.formula import KNOWN, FormulaError, parse_formula
from matgraft.formulas.usual_columns import read_usual

PIECE = st.tuples(
    st.sampled_from([*sorted(KNOWN), "Xx", "J"]), st.sampled_from(["", "1", "2", "7", "10", "20", "100", "203", "999"])
).map("".join)
ODD = st.sampled_from(
    ["", "Fe 2", "Fe2O3·H2O", "SIO2", "Fe203", "Ti6Al4V", "Ångström", "fe", "2Fe", "Fe0.5O", "O\n", "Fe2O3" * 500]
)


def alone(text):
    formula._usual.cache_clear()
    try:
        return parse_formula(text)
    except FormulaError:
        return None


@given(st.lists(st.lists(PIECE, min_size=1, max_size=8).map("".join) | ODD, max_size=12))
def test_texts_read_together_are_what_each_is_alone(texts):
    together = read_usual(texts)
    assert len(together) == len(texts)
    for text, found in zip(texts, together, strict=True):
        if found is not None:
            one = alone(text)
            assert (found.numbers, found.fractions, found.text) == (one.numbers, one.fractions, one.text)
            assert {type(x) for x in (*found.numbers, *found.fractions)} == {int, float}


def test_none_is_left_out_that_is_usual():
    texts = ["Fe2O3", "HOH", "OFe2O2", "NaCl", "D2O", "Ni10Ca12Se5", "C60"]
    assert [one.reduced if one else None for one in read_usual(texts)] == [
        "O3Fe2", "H2O", "O3Fe2", "NaCl", "H2O", "Ca12Ni10Se5", None,
    ]  # fmt: skip


def test_what_needs_a_closer_look_is_none():
    symbols = [symbol for symbol in KNOWN if symbol not in "DT"][:31]
    texts = ["", "Xx2O3", "Fe203", "Ti6Al4V", "Fe2(SO4)3", "H" + "U999" * 99, "".join(symbols), "Fe2O3" * 10_000]
    found = read_usual(texts)
    assert found[:5] == [None] * 5 and found[6:] == [None, None]
    assert read_usual([]) == []
