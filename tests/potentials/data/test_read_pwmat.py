"""PWmat's MOVEMENT: which energy, the sign of what is called force, steps that are cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

CELL = np.array([[5.0, 0.0, 0.0], [0.5, 5.2, 0.0], [0.0, 0.3, 5.4]])
FRACTIONS = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
GRADIENT = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])


def step(energy: float, stress: str = "", force: str = "-force, ", time: float = 1.0, scf: int = 6) -> str:
    atoms = "".join(
        f"  {z}  {x:18.15f}  {y:18.15f}  {w:18.15f}   1  1  1\n"
        for z, (x, y, w) in zip((29, 8), FRACTIONS, strict=True)
    )
    forces = "".join(
        f"  {z}  {x:18.15f}  {y:18.15f}  {w:18.15f}\n" for z, (x, y, w) in zip((29, 8), GRADIENT, strict=True)
    )
    cell = "".join(f"  {x:.10E}  {y:.10E}  {z:.10E}{stress}\n" for x, y, z in CELL)
    return (
        f"   2 atoms,Iteration (fs) =    {time:.10E}, Etot,Ep,Ek (eV) =   {energy + 5:.10E}  {energy:.10E}   "
        f"0.5000000000E+01, SCF = {scf:5d}\n Lattice vector (Angstrom)\n{cell}"
        f" Position (normalized), move_x, move_y, move_z\n{atoms} nonperiodic_Position (normalized), move_x\n{atoms}"
        f" Force ({force}eV/Angstrom)\n{forces} Velocity (bohr/fs)\n{forces} -----------------\n"
    )


def test_the_energy_is_ep_and_the_gradient_is_turned(tmp_path: Path) -> None:
    (tmp_path / "run1").write_text(step(-100.0) + step(-101.0, "   stress (eV):  0.7E+03 -0.2E+00 -0.2E+00"))
    data = read(tmp_path)
    assert [sample.labels["energy"] for sample in data] == pytest.approx([-100.0, -101.0])
    np.testing.assert_allclose(data[1].labels["forces"], -GRADIENT)
    np.testing.assert_allclose(data[1].content.get_scaled_positions(), FRACTIONS)
    np.testing.assert_allclose(data[1].content.cell[:], CELL)
    assert data[1].content.get_chemical_symbols() == ["Cu", "O"]
    assert "stress" not in data[1].labels
    assert any("column of stress is left out" in note for note in data.provenance.notes)


def test_older_files_do_not_say_that_the_force_is_a_gradient_and_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "MOVEMENT").write_text(
        step(-100.0, force="", time=-1.0, scf=99) + step(-101.0, scf=39) + step(-102.0, scf=40)
    )
    data = read(tmp_path / "MOVEMENT")
    np.testing.assert_allclose(data[0].labels["forces"], -GRADIENT)
    assert [sample.tags["converged"] for sample in data] == ["true", "true", "false"]


def test_a_step_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    whole = step(-100.0)
    (tmp_path / "MOVEMENT").write_text(whole + whole[: whole.index(" nonper") - 70])
    data = read(tmp_path / "MOVEMENT")
    assert len(data) == 1
    assert any("broke off" in note for note in data.provenance.notes)
    (tmp_path / "MOVEMENT").write_text(whole[:200])
    with pytest.raises(DataError, match="no finished ionic step"):
        read(tmp_path / "MOVEMENT")


def test_the_energy_of_a_real_run_falls_along_its_forces(shared: Path) -> None:
    data = read(shared / "data/real/other/pwmat/MOVEMENT_1")
    one, other = data[0], data[1]
    moved = other.content.get_scaled_positions() - one.content.get_scaled_positions()
    moved = (moved - np.round(moved)) @ one.content.cell[:]
    work = np.sum((one.labels["forces"] + other.labels["forces"]) / 2 * moved)
    assert other.labels["energy"] - one.labels["energy"] == pytest.approx(-work, rel=0.05)
