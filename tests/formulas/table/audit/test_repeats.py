"""Formulas that stand in several rows: scatter, copies, near copies."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.formulas.table.audit.repeats import (
    duplicate_rows,
    mean_deviation_within,
    near_duplicate_rows,
    repeated_formula,
)


def twice(cells: pd.DataFrame, n: int, shift: float) -> pd.DataFrame:
    """Let n rows stand there again, their formula written otherwise and their value moved."""
    again = cells.iloc[:n].copy()
    again["formula"] = [f"({text})2" for text in again["formula"]]
    again["gap"] = again["gap"] + shift
    return pd.concat([cells, again], ignore_index=True)


def test_the_scatter_within_formulas_is_stated_as_a_number(ask, plain):
    assert ask(repeated_formula, plain).outcome == "passed"
    found = ask(repeated_formula, twice(plain, 30, 1.0))
    assert (found.outcome, found.severity) == ("failed", "warning")
    assert found.numbers["floor_of_the_mean_error"] == pytest.approx(0.5)
    assert set(found.lines) == {*range(2, 32), *range(130, 160)}
    assert ask(repeated_formula, twice(plain, 30, 0.0)).outcome == "passed"


def test_a_condition_that_explains_the_scatter_is_offered(ask, plain):
    rng = np.random.default_rng(0)
    cells = pd.concat(
        [plain.assign(T=t, noise=rng.normal(size=len(plain))) for t in (300, 400, 500)], ignore_index=True
    )
    cells["gap"] = cells["gap"] + 0.01 * (cells["T"] - 300) + 0.05 * rng.normal(size=len(cells))
    found = ask(repeated_formula, cells)
    assert found.option == "--covariate T"
    used = ask(repeated_formula, cells, covariates=["T"])  # rows of other temperatures are other rows
    assert used.outcome == "passed"


def test_classes_of_one_formula_that_contradict(ask, plain):
    cells = plain.assign(gap=np.where(plain["gap"] > 3, "wide", "narrow"))
    again = cells.iloc[:10].assign(gap=["wide", "narrow"] * 5)
    found = ask(repeated_formula, pd.concat([cells, again], ignore_index=True))
    assert found.outcome == "failed" and found.numbers["rows_of_another_class"] > 0


def test_copies_are_found_however_they_are_written(ask, plain):
    found = ask(duplicate_rows, twice(plain, 5, 0.0))
    assert (found.outcome, found.severity) == ("failed", "info")
    assert found.lines == tuple(range(130, 135)) and found.option == "--drop 130-134"
    assert "5 of them with the formula written otherwise" in found.evidence
    assert ask(duplicate_rows, plain).outcome == "passed"
    assert ask(duplicate_rows, twice(plain, 5, 0.01)).outcome == "passed"
    assert ask(duplicate_rows, twice(plain, 40, 0.0)).severity == "warning"


def test_nearly_equal_compositions_offer_folds_by_system(ask, plain):
    steps = [f"Fe{0.6 + 0.0005 * i:.4f}Ni{0.4 - 0.0005 * i:.4f}" for i in range(40)]
    cells = pd.concat([plain, pd.DataFrame({"formula": steps, "gap": 2.0})], ignore_index=True)
    found = ask(near_duplicate_rows, cells)
    assert found.outcome == "failed" and found.option == "--group chemical-system" and len(found.lines) == 40
    assert ask(near_duplicate_rows, cells, group="chemical-system").outcome == "passed"
    other = cells.assign(gap=[*plain["gap"], *(2.0 + 2.0 * (i % 2) for i in range(40))])
    assert ask(near_duplicate_rows, other).outcome == "passed"  # their values differ
    assert ask(near_duplicate_rows, plain).outcome == "passed"


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=5), min_size=1, max_size=4))
def test_no_value_a_formula_has_a_smaller_mean_error_than_the_floor(groups):
    values = np.array([value for group in groups for value in group])
    of = np.array([k for k, group in enumerate(groups) for _ in group])
    # the error is least at one of the values
    least = [min(sum(abs(a - b) for b in group) for a in group) for group in groups]
    assert mean_deviation_within(values, of) == pytest.approx(sum(least) / len(values), abs=1e-6)
