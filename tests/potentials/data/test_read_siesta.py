"""SIESTA's output: steps, which energy, the sign of the stress, convergence, forces beside."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
from ase.units import GPa, Ry

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

KBAR = GPa / 10
ALL = ("energy", "forces", "stress")
CELL = np.array([[5.0, 0.0, 0.0], [0.5, 5.2, 0.0], [0.0, 0.3, 5.4]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.4, 1.5, 1.6]])
FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
VOIGT = (1.0, 2.0, 3.0, 0.4, 0.5, 0.6)  # kBar, in the order in which they are printed
STRESS_4_0 = np.array([[1.0, 0.4, 0.6], [0.4, 2.0, 0.5], [0.6, 0.5, 3.0]])  # xx yy zz xy yz xz
STRESS_4_1 = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])  # xx yy zz yz xz xy
HEAD = """Siesta Version  : v4.1.5
                           *  WELCOME TO SIESTA  *
PAO.BasisSize DZP
LatticeConstant    2.00 Ang
reinit: System Label: gaas
 Species number:            1  Label: Ga_x Atomic number:          31
 Species number:            2  Label: As Atomic number:          33
xc_check: Exchange-correlation functional:
xc_check: GGA PBEsol: Perdew et al 2008
redata: Spin configuration                          = none
redata: Number of spin components        =     2
redata: Mesh Cutoff                      =   200.0000 Ry
redata: Net charge of the system         =     -1.0000 |e|
redata: Max. number of SCF Iter          =       40
redata: Electronic Temperature           =   300.0000 K
siesta: k-grid: Supercell and displacements
siesta: k-grid:    4   0   0      0.500
siesta: k-grid:    0   5   0      0.000
siesta: k-grid:    0   0   6      0.500
stepf: Fermi-Dirac step function
"""
END = ">> End of run:   7-SEP-2019  17:41:42\nJob completed\n"
CONVERGED = "SCF Convergence by dMax criterion\nSCF cycle converged after   12 iterations\n"


def geometry(shift: float = 0.0, kind: str = "Ang", positions: np.ndarray = POSITIONS) -> str:
    rows = zip(positions + shift, (1, 2), ("Ga_x", "As"), strict=True)
    table = "".join(f"{x:14.8f}{y:14.8f}{z:14.8f}{k:4d}{k:8d}  {s}\n" for (x, y, z), k, s in rows)
    vectors = "".join(f"    {x:12.6f}{y:12.6f}{z:12.6f}\n" for x, y, z in CELL)
    return f"outcoor: Atomic coordinates ({kind}):\n{table}\noutcell: Unit cell vectors (Ang):\n{vectors}\n"


def computed(energy: float, *, end: str = CONVERGED, forces: bool = True, iterations: int = 12) -> str:
    """Return an SCF; the free energy lies 0.02 eV below E_KS."""
    table = "".join(f"{i:6d}{x:12.6f}{y:12.6f}{z:12.6f}\n" for i, (x, y, z) in enumerate(FORCES, 1)) if forces else ""
    return (
        "siesta: Program's energy decomposition (eV):\nsiesta: FreeEng =       -1.000000\n"
        "   scf: iscf   Eharris(eV)      E_KS(eV)   FreeEng(eV)    dDmax  Ef(eV)\n"
        f"   scf:{iterations:5d} {energy + 1:12.4f} {energy + 0.001:12.4f} {energy - 0.019:12.4f}  0.00002 -4.6077\n"
        f"{end}\nsiesta: E_KS(eV) = {energy:20.4f}\n\nsiesta: E_KS - E_eggbox = {energy:14.4f}\n\n"
        f"siesta: Atomic forces (eV/Ang):\n{table}----------------------------------------\n"
        "   Tot    0.000000    0.000000    0.000000\n----------------------------------------\n   Max    0.300000\n"
        "Stress tensor Voigt[x,y,z,yz,xz,xy] (kbar): " + "".join(f"{x:12.2f}" for x in VOIGT) + "\n"
    )


def test_each_step_has_the_free_energy_and_the_stress_with_its_own_sign(tmp_path: Path) -> None:
    steps = geometry() + computed(-100.0) + geometry(0.1) + computed(-101.0)
    old = "Stress-tensor-Voigt (kbar):"
    text = HEAD + steps.replace("Stress tensor Voigt[x,y,z,yz,xz,xy] (kbar):", old, 1) + END
    (tmp_path / "job-12.xz").write_bytes(lzma.compress(text.encode()))
    data = read(tmp_path / "job-12.xz", want=ALL)
    assert len(data) == 2
    assert [sample.labels["energy"] for sample in data] == pytest.approx([-100.02, -101.02])
    np.testing.assert_allclose(data[0].labels["stress"], STRESS_4_0 * KBAR)
    np.testing.assert_allclose(data[1].labels["stress"], STRESS_4_1 * KBAR)
    np.testing.assert_allclose(data[1].labels["forces"], FORCES)
    np.testing.assert_allclose(data[1].content.positions, POSITIONS + 0.1)
    np.testing.assert_allclose(data[1].content.cell[:], CELL)
    assert data[1].content.get_chemical_symbols() == ["Ga", "As"]
    assert (data[0].tags["charge"], data[0].tags["converged"]) == ("-1", "true")
    theory = data[0].theory
    assert theory is not None
    assert (theory.version, theory.functional, theory.basis, theory.energy) == ("4.1.5", "PBEsol", "DZP", "free")
    assert (theory.spin, theory.kpoints, theory.kpoint_offset) == (True, (4, 5, 6), (0.5, 0.0, 0.5))
    assert theory.density_cutoff_eV == pytest.approx(200 * Ry, rel=1e-5)
    assert theory.smearing_width_eV == pytest.approx(0.02585, abs=1e-5)
    assert read(tmp_path, keys={"energy": "e_wo_entrp"})[0].labels["energy"] == pytest.approx(-100.0)


@pytest.mark.parametrize("kind", ["Bohr", "scaled", "fractional"])
def test_coordinates_in_other_units(kind: str, tmp_path: Path) -> None:
    written = {
        "Bohr": POSITIONS / 0.529177249,
        "scaled": POSITIONS / 2.0,
        "fractional": POSITIONS @ np.linalg.inv(CELL),
    }
    (tmp_path / "a.out").write_text(HEAD + geometry(kind=kind, positions=written[kind]) + computed(-100.0) + END)
    np.testing.assert_allclose(read(tmp_path / "a.out")[0].content.positions, POSITIONS, atol=1e-6)


def test_an_scf_that_used_up_its_iterations_did_not_converge(tmp_path: Path) -> None:
    told = geometry() + computed(-100.0, end="SCF_NOT_CONV: SCF did not converge in maximum number of steps.\n")
    silent = geometry(0.1) + computed(-101.0, end="", iterations=40) + geometry(0.2) + computed(-102.0, end="")
    (tmp_path / "a.out").write_text(HEAD + told + silent + END)
    assert [sample.tags["converged"] for sample in read(tmp_path / "a.out")] == ["false", "false", "true"]


def test_the_last_structure_is_not_read_twice_and_has_its_energy_with_all_digits(tmp_path: Path) -> None:
    static = "".join(f"siesta: {x:12.6f}{y:12.6f}{z:12.6f}\n" for x, y, z in STRESS_4_1 * 0.001)
    final = (
        geometry().replace("outcoor: Atomic coordinates", "outcoor: Relaxed atomic coordinates")
        + "siesta: Program's energy decomposition (eV):\nsiesta: FreeEng =     -100.020049\n\n"
        + "siesta: Final energy (eV):\nsiesta: D3 dispersion =      -0.500000\nsiesta: FreeEng =     -100.020051\n"
        + f"siesta: Stress tensor (static) (eV/Ang**3):\n{static}\nsiesta: Stress tensor (total) (eV/Ang**3):\n{static}"
    )
    (tmp_path / "a.out").write_text(HEAD + geometry() + computed(-100.0) + final + END)
    data = read(tmp_path / "a.out", want=ALL)
    assert len(data) == 1
    assert data[0].labels["energy"] == pytest.approx(-100.020051, abs=1e-9)
    np.testing.assert_allclose(data[0].labels["stress"], STRESS_4_1 * 0.001)


def test_the_stress_of_dynamics_is_the_static_one(tmp_path: Path) -> None:
    static = "".join(f"   {x:12.6f}{y:12.6f}{z:12.6f}\n" for x, y, z in STRESS_4_1 * 0.001)
    tables = f"siesta: Stress tensor (static) (eV/Ang**3):\n{static}\nsiesta: Pressure (static):          7.6  kBar\n"
    tables += f"siesta: Stress tensor (total) (eV/Ang**3):\n{static.replace('0.001', '0.009')}"
    text = HEAD + "redata: Dynamics option                  =     Annealing MD run\n"
    old = computed(-101.0).replace("   scf:", "siesta:")
    text += geometry() + computed(-100.0) + tables + geometry(0.1) + old + END
    (tmp_path / "a.out").write_text(text)
    data = read(tmp_path / "a.out", want=ALL)
    np.testing.assert_allclose(data[0].labels["stress"], STRESS_4_1 * 0.001)
    assert "stress" not in data[1].labels
    assert data[1].labels["energy"] == pytest.approx(-101.02)


def test_forces_are_taken_from_the_file_beside_if_it_agrees(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(HEAD + geometry() + computed(-100.0, forces=False) + END)
    table = "".join(f"{i:6d}{x:18.9f}{y:18.9f}{z:18.9f}\n" for i, (x, y, z) in enumerate(FORCES, 1))
    (tmp_path / "gaas.FA").write_text(f"{2:6d}\n{table}")
    data = read(tmp_path / "a.out")
    np.testing.assert_allclose(data[0].labels["forces"], FORCES)
    assert any("read from gaas.FA" in note for note in data.provenance.notes)
    (tmp_path / "gaas.FA").write_text(f"{2:6d}\n{table.replace('0.3', '0.7')}")
    with pytest.raises(DataError, match="no frame has forces"):
        read(tmp_path / "a.out")


def test_steps_without_coordinates_are_left_out_and_told(tmp_path: Path) -> None:
    text = HEAD + geometry() + computed(-100.0) + computed(-101.0)  # broke off, too
    (tmp_path / "a.out").write_text(text)
    data = read(tmp_path / "a.out")
    assert [sample.labels["energy"] for sample in data] == pytest.approx([-100.02])
    notes = " ".join(data.provenance.notes)
    assert "1 steps whose coordinates are not printed" in notes
    assert "broke off" in notes


def test_a_real_run_against_its_forces_and_another_reader(shared: Path) -> None:
    folder = shared / "data/real/other/siesta/scf"
    data = read(folder / "siesta_output", want=ALL)
    frame = data[0]
    assert frame.labels["energy"] == pytest.approx(float((folder / "ref_energy").read_text()), abs=1e-4)
    np.testing.assert_allclose(frame.labels["forces"], np.loadtxt(folder / "ref_force"))
    np.testing.assert_allclose(frame.content.positions, np.loadtxt(folder / "ref_coord"))
    np.testing.assert_allclose(frame.content.cell[:], np.loadtxt(folder / "ref_cell"))
    # A molecule in a box: its virial is the sum of positions times forces, which fixes the sign.
    virial = frame.content.positions.T @ frame.labels["forces"]
    np.testing.assert_allclose(frame.labels["stress"], -virial / frame.content.get_volume(), atol=1e-5)
