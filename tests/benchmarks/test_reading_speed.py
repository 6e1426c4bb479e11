"""The benchmark of reading: its files are true to format, and every reader finds the same in them."""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import pytest

from matgraft import read

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import reading_speed

FORMS = {"frames.extxyz": "extxyz", "vasprun.xml": "vasp-xml", "OUTCAR": "vasp-out"}


@pytest.mark.parametrize("name", FORMS)
def test_the_files_are_what_others_read_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    reading_speed.MAKERS[name](path, 0.0005 if name == "OUTCAR" else 0.004)
    frames = ase.io.read(path, ":", format=FORMS[name])
    data = read(path, want=("energy", "forces", "stress"))
    assert len(data) == len(frames) == {"frames.extxyz": 40, "vasprun.xml": 2, "OUTCAR": 3}[name]
    options = {} if name == "frames.extxyz" else {"force_consistent": True}
    for sample, atoms in zip(data, frames, strict=True):
        assert float(sample.labels["energy"]) == pytest.approx(atoms.get_potential_energy(**options))
        assert sample.labels["forces"] == pytest.approx(atoms.get_forces(), abs=1e-6)
        assert sample.content.positions == pytest.approx(atoms.positions, abs=1e-4)
    assert reading_speed.timed("matgraft", path)[1] == reading_speed.timed("ASE", path)[1] == len(frames)
    if name != "frames.extxyz":
        assert reading_speed.timed("pymatgen", path)[1] == len(frames)


def test_a_row_of_the_table_has_a_dash_where_a_reader_has_nothing() -> None:
    seconds, ratios = {"matgraft": 1.0, "ASE": 1.5}, {"ASE": 1.5}
    row = {"file": "frames.extxyz", "MB": 38.8, "frames": {"matgraft": 10_000}, "seconds": seconds, "ratios": ratios}
    assert reading_speed.line(row) == ["extended XYZ", "38.8", "10,000", "1.00", "1.50", "–", "1.50", "–"]
