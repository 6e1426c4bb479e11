"""The benchmark of prompts: what learns and what judges are kept apart, and its table says what costs what."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from matgraft.formulas.formula import parse_formula

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import prompts


def test_no_formula_is_on_both_sides() -> None:
    formulas = tuple(parse_formula(text) for text in ["NaCl", "ClNa", *(f"Fe{n}O" for n in range(1, 30))])
    train, test = prompts.split(formulas, np.arange(31.0), 0)
    assert not {one.key for one in train.formulas} & {one.key for one in test.formulas}
    assert (len(train.formulas), len(test.formulas)) == (22, 8)  # 30 distinct ones
    for table in (train, test):
        assert all(formulas[int(value)].key == one.key for one, value in zip(table.formulas, table.values, strict=True))


def test_the_table_adds_up_what_five_predictors_cost(capsys) -> None:
    rows = [
        {"strategy": strategy, "property": name, "mae": 0.5, "trained": n, "stored_MB": 1.0, "minutes": 0.2}
        | ({} if strategy == "step 0" else {"coverage": 0.9})
        for strategy, n in (("step 0", 0), ("full", 1000))
        for name in prompts.UNITS
    ]
    prompts.report(rows, as_markdown=True)
    said = capsys.readouterr().out
    assert "5,000" in said
    assert "prompt" not in said.splitlines()[-1]
    assert "90 %" in said
