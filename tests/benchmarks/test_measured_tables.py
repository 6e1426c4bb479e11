"""The benchmark of tables out of wheels: folds survive a kill, comparisons, and wheels that are not the right ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from matgraft.core.errors import DataError
from matgraft.formulas.table.reading import read_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import _measured
import measured_tables
from common import Results


class Mean:
    """A peer that says the mean of what it learned."""

    def fit(self, x, y):
        self.mean = float(np.mean(y))
        return self

    def predict(self, x):
        return np.full(len(x), self.mean)


@pytest.fixture
def table(tmp_path: Path):
    elements = ["Na", "K", "Rb", "Cs", "Li", "Ag", "Cu", "Tl", "Au", "H"]
    (tmp_path / "t.csv").write_text("formula,x\n" + "".join(f"{one}Cl,{i}\n" for i, one in enumerate(elements)))
    return replace(read_table(tmp_path / "t.csv", "x"), folds=tuple("01234" * 2))


def test_folds_are_kept_and_taken_again(table, tmp_path, monkeypatch):
    monkeypatch.setitem(measured_tables.PEERS, "boosting", Mean)
    row = measured_tables.score(table, "boosting", tmp_path / "kept")
    truth = np.arange(10.0)
    expected = [abs(truth[i] - np.delete(truth, [i % 5, i % 5 + 5]).mean()) for i in range(10)]
    assert row["mae"] == pytest.approx(np.mean(expected)) and len(row["folds"]) == 5
    monkeypatch.setitem(measured_tables.PEERS, "boosting", lambda: pytest.fail("fitted again"))
    assert measured_tables.score(table, "boosting", tmp_path / "kept") == row
    np.testing.assert_allclose(measured_tables.errors_of(table, tmp_path / "kept", "boosting"), expected)


def test_ours_is_compared_with_the_best_peer_and_with_itself_without_the_encoder(table, tmp_path, monkeypatch):
    for peer in measured_tables.PEERS:
        monkeypatch.setitem(measured_tables.PEERS, peer, Mean)
    for i, strategy in enumerate(measured_tables.OURS):
        ours = {"errors": [1.0 + i] * 2, "inside": [1, 0], "weights": {"trees": 1.0}, "gain": None}
        for k, fold in enumerate("01234"):
            file = tmp_path / "one" / f"{strategy}-{fold}.json"
            measured_tables.write_json(file, ours | {"cpu_seconds": 1.0, "lines": [table.lines[k], table.lines[k + 5]]})
    results = Results(tmp_path / "out.json", keys=("table", "method"))
    methods = [*measured_tables.PEERS, *measured_tables.OURS]
    measured_tables.measure(table, "one", methods, results, tmp_path)
    best = results.find(table="one", method=measured_tables.BEST)
    assert best is not None and best["gain_of_pretraining"]["per_cent"] == pytest.approx(50)
    auto = results.find(table="one", method="auto")
    assert auto is not None and auto["coverage"] == 0.5 and auto["mae"] == 1
    low, high = best["gain_over_best_peer"]["interval"]
    assert low < best["gain_over_best_peer"]["per_cent"] < high


def test_another_wheel_than_the_one_measured_on_is_refused(tmp_path):
    with pytest.raises(DataError, match="missing"):
        _measured.write_tables(tmp_path, tmp_path / "tables")
    (tmp_path / _measured.CHEMICALS).write_bytes(b"another")
    with pytest.raises(DataError, match="not the one"):
        _measured.write_tables(tmp_path, tmp_path / "tables")
