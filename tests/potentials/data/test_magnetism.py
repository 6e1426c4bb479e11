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
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.structures import duplicates
from matgraft.potentials.data.heads import assign_heads
from matgraft.potentials.data.magnetism import along_one_axis, magnetic_order
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
    (found,) = run_looks(read(path, want=["energy"]), None, looks=(duplicates,))
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


FLAT = [0.0, 0.0]
ALONG_X, ALONG_Z = [4.0, 0.1, 4.0, 0.1, -4.0, 0.1, -4.0, 0.1], [4.0, 0.1, -4.0, 0.1, -4.0, 0.1, 4.0, 0.1]


@pytest.mark.parametrize(
    ("energies", "moments", "orders", "left_out"),
    [
        ([-60, -60.8, -60.2], [UP, DOWN, FLAT], "AFM, FM, NM", (0, 2)),
        ([-60, -60.8, -60], [ALONG_X, ALONG_Z, [-m for m in ALONG_X]], "AFM 1, AFM 2", (0, 2)),
        ([-60.8, -60, -60.8], [UP, [1.5, 0.1], UP], "FM 1, FM 2", (1,)),
    ],
)
def test_every_kind_of_state_is_a_caution_that_keeps_the_lowest(
    tmp_path: Path, energies: list[float], moments: list[list[float]], orders: str, left_out: tuple[int, ...]
) -> None:
    found = judged(frames(tmp_path / "a.xyz", energies, moments))
    assert (found.severity, found.blocks) == ("warning", False)
    assert f"several magnetic orders ({orders})" in found.evidence and "contradict" not in found.evidence
    assert found.actions[0].drop == left_out


def test_moments_at_the_start_tell_where_there_are_no_others(tmp_path: Path) -> None:
    written = []
    for energy, moments in ((-60.0, UP), (-60.8, DOWN)):
        atoms = bulk("FeO", "rocksalt", a=4.3, cubic=True)
        atoms.set_initial_magnetic_moments(np.resize(moments, 8))
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        written.append(atoms)
    write(tmp_path / "a.xyz", written, format="extxyz")
    found = judged(tmp_path / "a.xyz")
    assert found.severity == "warning" and "several magnetic orders at the start (AFM, FM)" in found.evidence


def test_vectors_along_one_axis_have_an_order() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    moments = along_one_axis(np.outer([4.0, -4.0, 0.1], axis))
    assert moments is not None and magnetic_order(moments) == "AFM"
    assert along_one_axis([[0.0, 0.0, 2.0]]) is not None
    assert along_one_axis([[2.0, 0, 0], [0, 2.0, 0]]) is None


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
