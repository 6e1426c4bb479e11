"""The script that judges the tables that people have: what it takes for right, on files of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import table_cases
from table_cases import Case


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("formula;gap;word\nKF;4,5;a\nNaCl;5,5;none\nSi;1,1;b\nGe;<0,7;a\n")
    monkeypatch.setattr(table_cases, "SHARED", tmp_path)


def test_what_is_read_and_refused_is_held_against_what_is_true() -> None:
    row = table_cases.judged(Case("t.csv", "gap", None, "censored"))
    assert (row["wrong"], row["typed"], row["open"]) == ([], ["--skip-bad"], False)
    wrong = table_cases.judged(Case("t.csv", "gap", 4, "nothing of it"))["wrong"]
    assert wrong == ["None rows, true are 4", "'nothing of it' is not said"]
    read = table_cases.judged(Case("t.csv", "gap", 4, "decimal point", 4.0, options={"--skip-bad": True}))
    assert read["wrong"] == ["3 rows, true are 4", "the first value is 4.5, true is 4.0"]
    assert table_cases.judged(Case("t.csv", "gap", options={"--skip-bad": True}))["wrong"] == [
        "read, though it must be refused"
    ]
    asked = table_cases.judged(Case("t.csv", "word", None, "a class, or no value"))
    assert (asked["wrong"], asked["typed"][0]) == ([], "--classes a,b,none")


def test_a_machine_without_the_files_skips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [(case.file, case.target, str(case.options)) for case in table_cases.CASES]
    assert len(set(names)) == len(names)
    monkeypatch.setattr(table_cases, "SHARED", tmp_path / "gone")
    monkeypatch.setattr("sys.argv", ["table_cases.py", "--out", str(tmp_path / "out.json")])
    table_cases.main()
    assert "skipped" in capsys.readouterr().out
