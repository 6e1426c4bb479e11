"""The benchmark of domains: what is scored, and how methods are held against source-only."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from matgraft.formulas.formula import parse_formula

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import domain


def test_methods_are_scored_on_the_rows_that_count() -> None:
    truths, scored = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, True])
    case = domain.Case([], np.zeros(0), [], truths, scored)
    rows = np.array([0, 2, 3])
    said = {"source": np.array([1.5, 99.0, 4.5]), "coral": np.array([2.0, -99.0, 4.0])}
    found = domain.method_errors(SimpleNamespace(rows=rows, labelled=said), lambda z: z, case)
    assert found["source"] == {"mae": 0.5, "difference": 0, "error": 0}
    assert (found["coral"]["mae"], found["coral"]["difference"]) == (0.5, 0.0)
    assert found["coral"]["error"] == pytest.approx(np.std([0.5, -0.5], ddof=1) / 2**0.5)


def test_rows_are_drawn_once_and_alike() -> None:
    formulas = [parse_formula(text) for text in ("SiC", "NaCl", "CH4", "Fe3C", "CaCO3", "TiC")]
    drawn, values = domain.drawn(formulas, np.arange(6.0), 3, domain.is_carbon_rich)
    again, _ = domain.drawn(formulas, np.arange(6.0), 3, domain.is_carbon_rich)
    assert drawn == again
    assert len(drawn) == 3
    assert {str(one) for one in drawn} <= {"SiC", "CH4", "Fe3C", "CaCO3", "TiC"}
    assert [formulas[int(value)] for value in values] == drawn
