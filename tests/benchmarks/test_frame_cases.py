"""The script that judges the files that people have: what it takes for right, on files of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matgraft.core.errors import DataError
from matgraft.potentials.run import conduct

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import frame_cases
from frame_cases import Case


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise DataError("no model here")

    made = []
    for k in range(6):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=k)
        forces = np.random.default_rng(k).standard_normal((8, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-40.0 - k, forces=forces - forces.mean(axis=0))
        made.append(atoms)
    made[2].calc.results["forces"][0, 0] = np.nan
    write(tmp_path / "nan.extxyz", made)
    monkeypatch.setattr(frame_cases, "SHARED", tmp_path)
    monkeypatch.setattr(conduct, "load_potential", none)


def test_what_is_read_and_blocked_is_held_against_what_is_true() -> None:
    row = frame_cases.judged(Case("nan.extxyz", 6, -40.0, blocks=("non-finite",)))
    assert (row["wrong"], row["blocks"], row["n_energy"], row["energy"]) == ([], ["non-finite"], 6, -40.0)
    assert row["typed"] == ["'audit.drop=[2]'"] and row["open"], "the model is refused after that"
    wrong = frame_cases.judged(Case("nan.extxyz", 7, -41.0, pressure=1.0))["wrong"]
    assert [one.split()[0] for one in wrong] == ["6", "energy", "pressure", "blocked"]
    assert frame_cases.judged(Case("nan.extxyz"))["wrong"] == ["read, though it cannot be"]
    assert frame_cases.judged(Case("gone.extxyz", 1))["wrong"] == ["refused"]


def test_every_case_is_of_another_file_and_a_machine_without_them_skips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len({case.file for case in frame_cases.CASES}) == len(frame_cases.CASES)
    monkeypatch.setattr(frame_cases, "SHARED", tmp_path / "gone")
    monkeypatch.setattr("sys.argv", ["frame_cases.py", "--out", str(tmp_path / "out.json")])
    frame_cases.main()
    assert "skipped" in capsys.readouterr().out
