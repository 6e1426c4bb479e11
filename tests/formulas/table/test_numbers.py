"""Cells as numbers: the harmless are read and told, the rest is refused by what it seems to be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.formulas.table.cell import seems
from matgraft.formulas.table.numbers import Marks, decimal_mark, is_numeric, numbers_in


def column(*cells, name="gap"):
    return pd.Series(cells, index=range(2, len(cells) + 2), name=name, dtype=object)


@pytest.mark.parametrize(
    ("cells", "values", "codes"),
    [
        (("4.54eV", "3.57eV"), (4.54, 3.57), ["unit"]),
        (("300 °C", "25 °C"), (300, 25), ["unit"]),
        (("−3.08", "–1", "2"), (-3.08, -1, 2), ["number-form"]),
        (("1.17×10^-1", "8×10⁻³", "1.2x10-3", "10^-3", "2·10**4"), (0.117, 0.008, 0.0012, 1e-3, 2e4), ["number-form"]),
        (("1.2d-3", "5"), (1.2e-3, 5), []),
        (("４．５", "1"), (4.5, 1), []),
        (("4,54", "1,5"), (4.54, 1.5), ["decimal-comma"]),
        (("3,5 eV", "4,1 eV"), (3.5, 4.1), ["decimal-comma", "unit"]),
        (("1.234,5", "2"), (1234.5, 2), ["decimal-comma", "thousands"]),
        (("4,540", "1.5"), (4540, 1.5), ["thousands"]),
        (("1,234,567", "3"), (1234567, 3), ["thousands"]),
        (("1 234.5", "12\u202f345"), (1234.5, 12345), ["thousands", "thousands"]),
        (("1'000", "2"), (1000, 2), ["thousands"]),
        (("12%", "3%"), (12, 3), ["unit"]),
    ],
)  # fmt: skip
def test_harmless_forms_are_read_and_told(cells, values, codes):
    found = numbers_in(column(*cells))
    assert found.faults == ()
    assert found.values.tolist() == list(values)
    assert sorted(one.code for one in found.decisions) == codes


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("<0.1", "censored"), ("≥ 3", "censored"), ("below 0.2", "censored"), ("4.54-4.74", "range"),
        ("4.5 – 4.7", "range"), ("4.5 to 4.7 eV", "range"), ("4.54±0.1", "uncertainty"), ("4.54(10)", "uncertainty"),
        ("~4.5", "approximate"), ("ca. 4.5", "approximate"), ("4.5 eV", "unit"), ("2021-03-01", "date"),
        ("#DIV/0!", "error of a spreadsheet"), ("1e400", "not a finite number"), ("inf", "not a finite number"),
        ("two", "not a finite number"), ("1.2×103", "power of ten"), ("1_000", "not a finite number"),
        ("1,23", "not a finite number"), ("0x1F", "not a finite number"), ("2H", "not a finite number"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_named_with_line_cell_and_meaning(cell, said):
    found = numbers_in(column("1.5", cell, "2.25"))
    (fault,) = found.faults
    assert (fault.line, fault.column, fault.cell) == (3, "gap", cell)
    assert said in fault.found and fault.remedy
    assert np.isnan(found.values[1]) and found.values[[0, 2]].tolist() == [1.5, 2.25]


def test_a_comma_that_may_be_either_is_read_by_the_file_or_not_at_all():
    open_to_both = column("4,540", "3,570")
    assert len(numbers_in(open_to_both).faults) == 2
    assert numbers_in(open_to_both, Marks(separator=",")).values.tolist() == [4540, 3570]
    assert numbers_in(open_to_both, Marks(separator=";")).values.tolist() == [4.54, 3.57]
    assert numbers_in(open_to_both, Marks(decimal=".")).values.tolist() == [4540, 3570]
    (fault,) = numbers_in(column("1.234", "2,5")).faults
    assert fault.line == 2 and "two readings" in fault.found


def test_the_decimal_mark_of_a_file_is_that_of_all_its_columns():
    assert decimal_mark([column("KF", "NaCl"), column("1,5", "2")]) == ","
    assert decimal_mark([column("1.5", "2"), column("4,540", "1")]) == "."
    assert decimal_mark([column("1.5"), column("1,5")]) is None
    assert decimal_mark([column("4,540", "word")]) is None


def test_a_unit_that_the_header_states_may_stand_at_some_cells():
    assert numbers_in(column("4.5 eV", "3.5", name="gap (eV)")).values.tolist() == [4.5, 3.5]
    assert len(numbers_in(column("5 GPa", "5 MPa")).faults) == 2


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (("2.1±0.1 eV", "3200±100 meV"), "a unit that not every cell has"), (("4.5±2%",), "in per cent of the value"),
        (("5.0±0.2×10^3",), "power of ten"), (("4.5±0.1*",), "footnote"), (("4.5±0.1 or so",), "not a finite number"),
    ],
)  # fmt: skip
def test_uncertainties_of_another_unit_or_scale_are_refused(cells, found):
    numbers = numbers_in(column(*cells), uncertain=True)
    assert all(found in fault.found for fault in numbers.faults) and len(numbers.faults) == len(cells)


def test_powers_of_ten_of_uncertainties_are_read():
    numbers = numbers_in(column("(5.0±0.2)×10^3", "5±2e-1", "(1.5 +/- 0.1) x 10^-2 eV"), uncertain=True)
    assert numbers.values.tolist() == pytest.approx([5000, 5, 0.015])
    assert numbers.uncertainties.tolist() == pytest.approx([200, 0.2, 0.001])


def test_uncertainties_are_read_where_they_are_wanted():
    found = numbers_in(column("4.5±0.1", "3.2 +/- 0.2 eV", "1.54(12)"), uncertain=True)
    assert found.values.tolist() == [4.5, 3.2, 1.54]
    assert found.uncertainties.tolist() == pytest.approx([0.1, 0.2, 0.12])


def test_columns_of_names_are_no_numbers():
    assert not is_numeric(column("2H", "4H", "6H"))
    assert not is_numeric(column("a", "1", "b", "c"))
    assert is_numeric(column("<1", "2 eV", "word", "", "-"))
    assert not is_numeric(column("1-2", "2-3"), ranges=False)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_numbers_are_read_to_the_bit(value):
    cells = column(repr(value), "1.5")
    assert numbers_in(cells).values[0] == pd.to_numeric(cells)[2]


@given(st.text(max_size=40))
def test_any_cell_is_a_number_or_is_refused(text):
    cell = seems(text)
    assert (cell.seems in ("number", "unit", "uncertainty")) == np.isfinite(cell.value)
    numbers_in(column(text, "1"))


@pytest.mark.parametrize("text", ["1" * 100_000 + "x", "1," * 50_000, "<" + "1" * 100_000, "±" * 100_000])
def test_long_cells_take_no_time(text):
    (fault,) = numbers_in(column(text, "1")).faults
    assert fault.line == 2
