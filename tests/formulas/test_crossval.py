"""Cross-validation of tables: what its folds keep apart, and what its scores count."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import AuditError, DataError
from matgraft.formulas.crossval import crossval, held_out_folds
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.table.formula_table import ColumnNames, FormulaTable
from matgraft.formulas.table.reading import read_table

TEXTS = [f"{metal}{anion}" for metal in ("Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Zn") for anion in "OSFCI"]


def table_of(texts, values, papers=(), classes=()):
    n = len(texts)
    return FormulaTable(
        tuple(map(parse_formula, texts)), np.asarray(values, float), classes, np.zeros((n, 0)), {}, np.ones(n),
        tuple(papers), (), tuple(range(2, n + 2)), 0,
    )  # fmt: skip


def test_no_formula_and_no_paper_stands_on_both_sides_of_an_outer_fold():
    """Every second paper repeats a formula of the one before it, written otherwise."""
    papers = [str(i // 5) for i in range(40)]
    table = table_of([*TEXTS, "OLi", "OK", "OCa", "OFe"], np.arange(44.0), [*papers, "1", "3", "5", "7"])
    parts = list(held_out_folds(table, "paper", 4, 0))
    assert sorted(i for _, _, test in parts for i in test) == list(range(44))
    for _, train, test in parts:
        assert sorted([*train, *test]) == list(range(44))
        assert not {table.groups[i] for i in test} & {table.groups[i] for i in train}
        assert not {table.keys[i] for i in test} & {table.keys[i] for i in train}
    with pytest.raises(DataError, match="4 sets of rows that share neither a formula nor a paper cannot fill 5 folds"):
        list(held_out_folds(table, "paper", 5, 0))
    with pytest.raises(
        DataError, match=r"40 sets of rows that share no formula cannot fill 41 folds\nremedy: fewer --folds$"
    ):
        list(held_out_folds(replace(table, groups=()), "formula", 41, 0))


def test_a_class_that_one_fold_holds_alone_is_an_error_before_any_fit(monkeypatch):
    kinds = [0.0] * 36 + [1.0] * 4
    table = table_of(TEXTS, kinds, classes=("a", "b"))
    for _, train, _ in held_out_folds(table, "formula", 2, 0):
        assert set(table.values[train]) == {0, 1}
    monkeypatch.setattr("matgraft.formulas.crossval._fold", lambda *_: 1 / 0)
    own = replace(table, folds=tuple("x" if kind else "y" for kind in kinds))
    with pytest.raises(DataError, match=r"fold x: .*no row of class 'b'"):
        crossval(own, None, audited=(), progress="")


def test_folds_of_the_table_that_share_formulas_are_counted(monkeypatch):
    """Every formula was measured twice, and each fold has one of the two."""
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 5)
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
    twice = table_of(TEXTS[:12] * 2, np.arange(24.0) % 12 + 0.1)
    own = replace(twice, folds=("x",) * 12 + ("y",) * 12)
    small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a",))
    settings = PredictorSettings(strategy="descriptors", inner_folds=2)
    scored, rows = crossval(own, small, settings=settings, audited=(), progress="")
    assert scored.n_in_training == 24 and all(row["in_training"] for row in rows)


def test_the_table_is_audited_before_any_fit_as_the_command_line_does(tmp_path, monkeypatch):
    """The target stands among the covariates."""
    path = tmp_path / "t.csv"
    values = np.arange(len(TEXTS)) / 10 + 1
    pd.DataFrame({"formula": TEXTS, "gap": values, "copy": values}).to_csv(path, index=False)
    table = read_table(path, "gap", ColumnNames(covariates=("copy",)))
    small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a",))
    monkeypatch.setattr("matgraft.formulas.crossval._fold", lambda *_: 1 / 0)
    with pytest.raises(AuditError, match="copy"):
        crossval(table, small, progress="")
    with pytest.raises(ZeroDivisionError):
        crossval(table, small, audited=(), progress="")
