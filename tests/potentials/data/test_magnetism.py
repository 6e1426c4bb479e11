"""The magnetic order of frames: told from their moments, kept as a tag, offered as heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.findings import Finding
from matgraft.potentials.audit.audit import audit
from matgraft.potentials.audit.structures import duplicates
from matgraft.potentials.data.heads import assign_heads
from matgraft.potentials.data.magnetism import magnetic_order
from matgraft.potentials.data.reading.read import read


@pytest.mark.parametrize(
    ("moments", "order"),
    [
        ([4.2, 4.1, 0.2, 0.2], "FM"),
        ([-2.0, -2.1], "FM"),
        ([4.2, -4.2, 0.03, 0.03], "AFM"),
        ([4.2, 4.2, -3.6, 0.1], "FiM"),
        ([0.05, -0.04], "NM"),
        ([0.0], "NM"),
        ([3.0, -0.2], "FM"),
    ],
)
def test_orders(moments: list[float], order: str) -> None:
    assert magnetic_order(moments) == order


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_neither_the_axis_nor_the_order_of_atoms_decides(moments: list[float]) -> None:
    assert magnetic_order(moments) == magnetic_order([-m for m in moments]) == magnetic_order(sorted(moments))


def frames(path: Path, energies: list[float], moments: list[list[float]], **arrays: list[float]) -> Path:
    written = []
    for energy, own in zip(energies, moments, strict=True):
        atoms: Atoms = bulk("FeO", "rocksalt", a=4.3, cubic=True)
        atoms.set_array("initial_magmoms", np.array([5.0, 5.0, 5.0, 5.0, 0, 0, 0, 0])[np.argsort(atoms.numbers)[::-1]])
        results = {"energy": energy, "forces": np.zeros((8, 3)), "magmoms": np.resize(own, 8)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        written.append(atoms)
    write(path, written, format="extxyz")
    return path


def judged(path: Path) -> Finding:
    (found,) = audit(read(path, want=["energy"]), None, looks=(duplicates,))
    return found


UP, DOWN = [4.0, 0.1], [4.0, 0.1, -4.0, 0.1]


def test_one_structure_in_two_orders_is_a_caution_with_heads(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz", [-60, -60.8, -60, -60.8], [UP, DOWN, UP, DOWN])
    found = judged(path)
    assert (found.outcome, found.severity) == ("failed", "warning")
    assert "several magnetic orders (AFM, FM)" in found.evidence and "contradict" not in found.evidence
    assert found.actions[0].options == {"strategy.name": "multihead", "heads.by": "magnetic_order"}
    data, _ = assign_heads([read(path, want=["energy"]), read(path, want=["energy"])], "magnetic_order")
    assert data.tag("head") == ["FM", "AFM", "FM", "AFM"]


def test_two_energies_of_one_order_contradict_as_before(tmp_path: Path) -> None:
    found = judged(frames(tmp_path / "a.xyz", [-60, -60.8, -60.8], [UP, UP, DOWN]))
    assert found.severity == "error" and "contradict" in found.evidence


def test_a_tag_of_the_file_and_vectors_are_left_alone(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz", [-60.0], [UP])
    assert read(path, want=["energy"])[0].tags["initial_magnetic_order"] in ("FM", "NM")
    text = path.read_text().replace("energy=", "magnetic_order=canted energy=")
    path.write_text(text)
    assert read(path, want=["energy"])[0].tags["magnetic_order"] == "canted"
    atoms = bulk("FeO", "rocksalt", a=4.3)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.eye(3)[:2])
    write(tmp_path / "b.xyz", atoms, format="extxyz")
    assert "magnetic_order" not in read(tmp_path / "b.xyz", want=["energy"])[0].tags
