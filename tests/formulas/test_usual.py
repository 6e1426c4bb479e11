"""The quick way through a formula says what the long one says, and leaves to that what may be doubted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.formulas import formula
from matgraft.formulas.formula import KNOWN, FormulaError, parse_formula
from matgraft.formulas.usual import rounded_shares, usual_amounts

PIECE = st.tuples(
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from(["", "2", "3", "7", "10", "11", "20", "100", "110", "120", "203", "995"]),
).map("".join)


def said(text):
    formula._usual.cache_clear()
    try:
        one = parse_formula(text)
    except FormulaError as error:
        return str(error)
    return one.numbers, one.fractions, one.text, one.dropped


@given(st.lists(PIECE, min_size=1, max_size=9).map("".join))
def test_both_ways_say_the_same(text):
    quick = said(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formula, "usual_amounts", lambda *_: None)
        assert said(text) == quick


@pytest.mark.parametrize(
    "text",
    [
        "Fe203",
        "SIO2",
        "SS316",
        "Fe2O3·H2O",
        "Ag(AuS)2",
        "Xx2O3",
        "",
        "fe2O3",
        "Fe2O3 ",
        "Fe0.5O",
        "Fe03O",
        "Fe20S",
        "Na1000O",
    ],
)
def test_what_needs_a_closer_look_is_left_to_it(text):
    assert usual_amounts(text, KNOWN) is None


def test_shares_are_rounded_half_to_even():
    assert rounded_shares({1: 1, 8: 2}, 9) == ((1, 8), (0.333333333, 0.666666667))
    assert rounded_shares({1: 1, 8: 7}, 2)[1] == (0.12, 0.88)  # 12.5 and 87.5 hundredths
