"""The benchmark of measured values: folds, errors and gains on numbers that are known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from matgraft.core.errors import DataError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.seen_labels import SeenLabels
from matgraft.formulas.table.reading import read_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import measured


def test_gains_and_errors_are_those_of_the_rows_and_of_units() -> None:
    errors, units = np.array([1.0, 3, 2, 6, 4, 8, 5, 7]), np.array([0, 0, 1, 2, 3, 4, 5, 6])
    plain = measured.Held(errors, np.array([True] * 6 + [False] * 2))
    ours = measured.Held(errors / 2, np.ones(8, bool))
    row = measured.compared(np.arange(8) < 7, units, errors * 3, plain, ours)
    assert (row["n"], row["systems"]) == (7, 6)
    mean = 29 / 7
    assert [row[name][0] for name in ("median", "descriptors", "ours", "gain")] == pytest.approx(
        [3 * mean, mean, mean / 2, mean / 2], rel=1e-4
    )
    sums, counts = np.array([4.0, 2, 6, 4, 8, 5]), np.array([2, 1, 1, 1, 1, 1])
    without = (29 - sums) / (7 - counts)  # the jackknife over units
    assert row["descriptors"][1] == pytest.approx(np.sqrt(5 / 6 * ((without - mean) ** 2).sum()), rel=1e-4)
    assert row["held"] == {"descriptors": pytest.approx(6 / 7, rel=1e-4), "ours": 1.0}


def test_the_median_is_of_the_other_folds(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("formula,x\nNaCl,1\nMgO,2\nKBr,4\nCaO,8\n")
    table = replace(read_table(tmp_path / "t.csv", "x"), folds=("a", "a", "b", "b"))
    assert measured.of_median(table).tolist() == [5, 4, 2.5, 6.5]


def test_labels_come_from_the_encoder_and_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("formula,x\nNaCl,1.5\nMgO,2\n")
    table = read_table(tmp_path / "t.csv", "x")
    backbone = CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8)
    backbone.labels = SeenLabels.made_of({"gap": [table.formulas[1]]})
    assert measured.seen(table, backbone, "runs/x").tolist() == [False, True]
    backbone.labels = None
    with pytest.raises(DataError, match=r"no list of its labels"):
        measured.seen(table, backbone, "runs/x")


def test_its_tables_are_there() -> None:
    for table in measured.TABLES.values():
        assert table.target in table.file.read_text(encoding="utf-8").partition("\n")[0].split(",")
