"""ABACUS: logs of single points, relaxations and dynamics with their MD_dump; signs, convergence, theory, pairing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, GPa, Ry

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read

KBAR = GPa / 10
ALL = ("energy", "forces", "stress")
CELL = np.array([[1.0, 0.0, 0.0], [0.1, 1.2, 0.0], [0.0, 0.2, 1.3]])  # in lattice constants
FRACTIONS = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
STRESS = np.array([[10.0, 1.0, 2.0], [1.0, 20.0, 3.0], [2.0, 3.0, 30.0]])  # kBar, positive under compression
CONSTANT = 10.2  # Bohr
RULE = "-" * 86 + "\n"


def rows(labels: tuple[str, ...], table: np.ndarray) -> str:
    return "".join(
        f"{label:>14}" + "".join(f"{x:+20.10f}" for x in row) + "\n" for label, row in zip(labels, table, strict=True)
    )


def head(version: str = "v3.2.1", constant: float = CONSTANT) -> str:
    return (
        f"                              ABACUS {version}\n"
        "               Atomic-orbital Based Ab-initio Computation at UStc\n"
        "                           global_out_dir = OUT.test/\n"
        "                 atom label for species 1 = Fe1\n                 atom label for species 2 = O\n"
        f"                  lattice constant (Bohr) = {constant:.6g}\n"
        " Read in pseudopotential file is ../upf/Fe_ONCV_PBE-1.0.upf\n"
        "          exchange-correlation functional = PBE\n SETUP THE ELECTRONS NUMBER\n"
        "                                    nspin = 2\n"
        " orbital file: Fe_gga_8au_100Ry_4s2p2d1f.orb\n     energy cutoff for wavefunc (unit:Ry) = 100\n"
    )


def structure(shift: float = 0.0, cell: np.ndarray | None = CELL) -> str:
    text = " DIRECT COORDINATES\n         atom                   x                   y                   z\n"
    text += rows(("taud_Fe11", "taud_O1"), np.column_stack([FRACTIONS + shift, [0.0, 0.0]])) + "\n"
    if cell is not None:
        text += "             Volume (Bohr^3) = 1000\n Lattice vectors: (Cartesian coordinate: in unit of a_0)\n"
        text += "".join(f"{x:+20.10f}{y:+20.10f}{z:+20.10f}\n" for x, y, z in cell)
        text += " Reciprocal vectors: (Cartesian coordinate: in unit of 2 pi/a_0)\n                   +1  +0  +0\n"
    return text


def scf(energy: float, converged: bool = True) -> str:
    """Return an SCF of two iterations as versions up to 3.8 print it."""
    text = "".join(
        f" LCAO ALGORITHM --------------- ION=   1  ELEC={i:4d}--------------------------------\n"
        f"   E_KohnSham  {energy / Ry + i - 2:24.12f} {energy + 13.6 * (i - 2):24.12f}\n"
        for i in (1, 2)
    )
    done = f" charge density convergence is achieved\n final etot is {energy:.9f} eV\n"
    return text + (done if converged else "  convergence has NOT been achieved!\n")


def new_scf(energy: float, converged: bool = True) -> str:
    """Return an SCF as versions from 3.9 on print it."""
    told = "#SCF IS CONVERGED#" if converged else "!! SCF IS NOT CONVERGED !!"
    return (
        " --> #ION MOVE# 1  #ELEC ITER# 1\n"
        f" E_KohnSham          {energy / Ry:18.8f} {energy:18.8f}\n {told}\n #TOTAL ENERGY# {energy:.9f} eV\n"
    )


def silent_scf(energy: float, converged: bool = True) -> str:
    """Return an SCF whose energy stands in its iterations alone."""
    return "\n".join(line for line in new_scf(energy, converged).splitlines() if "TOTAL ENERGY" not in line) + "\n"


def labels() -> str:
    frame = RULE + "     atom              x              y              z\n"
    return (
        f" TOTAL-FORCE (Ry/Bohr)\n{frame}{rows(('Fe11', 'O1'), FORCES * 7)}{RULE}"
        f" TOTAL-FORCE (eV/Angstrom)\n{frame}{rows(('Fe11', 'O1'), FORCES)}{RULE}"
        f" TOTAL-STRESS (KBAR)\n{RULE}" + "".join(f"{x:+15.8f}{y:+15.8f}{z:+15.8f}\n" for x, y, z in STRESS) + RULE
    )


def end(energy: float) -> str:
    return f" !FINAL_ETOT_IS {energy:.12f} eV\n Total  Time  : +0 h +0 mins +18 secs \n"


def check(data: Dataset, index: int, energy: float, shift: float = 0.0) -> None:
    """Compare a frame with the numbers of the fixtures."""
    sample = data[index]
    assert sample.labels["energy"] == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(sample.labels["forces"], FORCES, atol=1e-9)
    np.testing.assert_allclose(sample.labels["stress"], -STRESS * KBAR)
    np.testing.assert_allclose(sample.content.cell[:], CELL * CONSTANT * Bohr)
    np.testing.assert_allclose(sample.content.get_scaled_positions(wrap=False), FRACTIONS + shift, atol=1e-8)


def test_a_run_folder_is_one_run_with_the_theory_of_its_inputs(tmp_path: Path) -> None:
    out = tmp_path / "run" / "OUT.test"
    out.mkdir(parents=True)
    (out / "running_scf.log").write_text(head() + structure() + scf(-200.0) + labels() + end(-200.0))
    (tmp_path / "run/INPUT").write_text(
        "INPUT_PARAMETERS\nsmearing_method mp # kind\nsmearing_sigma 0.02\ndft_functional pbesol\nvdw_method d3_bj\n"
        "dft_plus_u 1\norbital_corr 2 -1\nhubbard_u 4.0 0.0\nnelec_delta 1\n"
    )
    (tmp_path / "run/KPT").write_text("K_POINTS\n0\nGamma\n3 4 5 0 0 0\n")
    (tmp_path / "run/STRU").write_text("ATOMIC_SPECIES\nFe 55.8 Fe.upf\n")
    data = read(tmp_path / "run", want=ALL)
    assert [file.name for file in data.provenance.files] == ["OUT.test/running_scf.log"]
    check(data, 0, -200.0)
    assert data[0].content.get_chemical_symbols() == ["Fe", "O"]
    assert (data[0].tags["converged"], data[0].tags["charge"]) == ("true", "-1")
    theory = data[0].theory
    assert theory is not None
    assert (theory.version, theory.functional, theory.dispersion, theory.basis) == ("3.2.1", "PBEsol", "D3(BJ)", "LCAO")
    assert (theory.spin, theory.kpoints, theory.kpoint_scheme, theory.energy) == (True, (3, 4, 5), "Gamma", "free")
    assert (theory.hubbard_u, theory.hubbard_orbital) == ({"Fe": 4.0}, {"Fe": "d"})
    assert theory.potentials == ("Fe_ONCV_PBE-1.0.upf",)
    assert theory.smearing == "Methfessel-Paxton 1"
    assert theory.smearing_width_eV == pytest.approx(0.02 * Ry, rel=1e-5)
    assert theory.cutoff_eV == pytest.approx(100 * Ry, rel=1e-5)


@pytest.mark.parametrize("one", [scf, new_scf, silent_scf])
def test_a_relaxation_takes_each_structure_and_tells_which_did_not_converge(
    one: Callable[[float, bool], str], tmp_path: Path
) -> None:
    text = head() + structure() + one(-200.0, True) + labels() + structure(0.01, None) + one(-201.0, False) + labels()
    text += structure(0.02) + one(-202.0, True) + labels()
    (tmp_path / "any.log.gz").write_bytes(gzip.compress(text.encode()))  # broke off after it
    data = read(tmp_path / "any.log.gz", want=ALL)
    assert len(data) == 3
    for index in range(3):
        check(data, index, -200.0 - index, 0.01 * index)
    assert [sample.tags["converged"] for sample in data] == ["true", "false", "true"]
    assert any("broke off" in note for note in data.provenance.notes)


def test_a_lattice_constant_of_one_angstrom_is_exact(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(head(constant=1.8897261246) + structure() + scf(-1.0) + labels() + end(-1.0))
    np.testing.assert_allclose(read(tmp_path / "a.log")[0].content.cell[:], CELL, rtol=1e-12)


def stru(shift: float, cell: np.ndarray = CELL, kind: str = "Direct") -> str:
    table = FRACTIONS + shift
    if kind != "Direct":
        table = table @ cell * {"Cartesian": 1.0, "Cartesian_angstrom": CONSTANT * Bohr, "Cartesian_au": CONSTANT}[kind]
    one, two = (" ".join(f"{x:.12f}" for x in row) + " m 1 1 1 mag 1.0" for row in table)
    vectors = "".join(f"  {x:.10f} {y:.10f} {z:.10f} //vector\n" for x, y, z in cell)
    return (
        "ATOMIC_SPECIES\nFe1 55.8 Fe.upf upf201\nO 16.0 O.upf\n\nNUMERICAL_ORBITAL\nFe.orb\nO.orb\n\n"
        f"LATTICE_CONSTANT\n{CONSTANT} # Bohr\n\nLATTICE_VECTORS\n{vectors}\nATOMIC_POSITIONS\n{kind}\n\n"
        f"Fe1 #label\n0.0000 #magnetism\n1 #number of atoms\n{one}\n\nO\n0.0\n1\n{two}\n"
    )


@pytest.mark.parametrize("kind", ["Direct", "Cartesian", "Cartesian_angstrom", "Cartesian_au"])
def test_structures_that_a_relaxation_does_not_print_come_from_the_files_beside(kind: str, tmp_path: Path) -> None:
    text = head("v3.10.0") + structure() + scf(-200.0) + labels()
    text += "".join(scf(-200.0 - i) + labels() for i in (1, 2, 3)) + end(-203.0)
    (tmp_path / "running_cell-relax.log").write_text(text)
    (tmp_path / "STRU_ION1_D").write_text(stru(0.01, kind=kind))
    (tmp_path / "STRU_ION2_D").write_text(stru(0.02, CELL * 1.1))  # of another run
    data = read(tmp_path, want=ALL)
    assert len(data) == 2
    check(data, 0, -200.0)
    check(data, 1, -201.0, 0.01)
    assert any("2 steps are left out" in note and "STRU_ION1_D" in note for note in data.provenance.notes)


# --- molecular dynamics ----------------------------------------------------------------------------------------------


def dump(steps: dict[int, float], angstrom: bool, forces: np.ndarray = FORCES) -> str:
    """Return a MD_dump: step -> shift of the positions; from 3.1.4 on in Å."""
    text = ""
    for step, shift in steps.items():
        unit = CONSTANT * Bohr if angstrom else 1.0
        positions = (FRACTIONS + shift) @ CELL * unit
        length = f"{CONSTANT * Bohr:.12f} Angstrom" if angstrom else f"{CONSTANT:.12f}"
        names = "POSITION (Angstrom)" if angstrom else "POSITIONS"
        text += f"MDSTEP:  {step}\nLATTICE_CONSTANT: {length}\nLATTICE_VECTORS\n"
        text += "".join(f"  {x:.12f}  {y:.12f}  {z:.12f}\n" for x, y, z in CELL)
        text += "VIRIAL (KBAR)\n" + "".join(f"  {x:.8f}  {y:.8f}  {z:.8f}\n" for x, y, z in STRESS)
        text += f"INDEX    LABEL    {names}    FORCE (eV/Angstrom)" + "    VELOCITY (Angstrom/fs)" * angstrom + "\n"
        for i, (symbol, xyz, force) in enumerate(zip(("Fe1", "O"), positions, forces, strict=True)):
            numbers = (*xyz, *force, *((0.1, 0.2, 0.3) if angstrom else ()))
            text += f"  {i}  {symbol}  " + "  ".join(f"{x:.12f}" for x in numbers) + "\n"
        text += "\n\n"
    return text


def dynamics(first: int = 0) -> str:
    """Return a log of five steps, of which every second is dumped."""
    steps = (
        f"{scf(-200.0 - i, i != 2)}{labels()}" + f" STEP OF MOLECULAR DYNAMICS : {first + i}\n" * (i % 2 == 0)
        for i in range(5)
    )
    return head() + structure() + "".join(steps) + end(-204.0)


@pytest.mark.parametrize(("angstrom", "first"), [(False, 0), (True, 10)])
def test_steps_of_a_dump_get_their_energies(angstrom: bool, first: int, tmp_path: Path) -> None:
    (tmp_path / "running_md.log").write_text(dynamics(first))
    (tmp_path / "MD_dump").write_text(dump({first: 0.0, first + 2: 0.02, first + 4: 0.04}, angstrom))
    for source in (tmp_path, tmp_path / "running_md.log", tmp_path / "MD_dump"):
        data = read(source, want=ALL)
        assert len(data) == 3
        for index in range(3):
            check(data, index, -200.0 - 2 * index, 0.02 * index)
        assert [sample.tags["converged"] for sample in data] == ["true", "false", "true"]


def test_a_dump_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "running_md.log").write_text(dynamics())
    (tmp_path / "MD_dump").write_text(dump({0: 0.0, 2: 0.02}, True, FORCES + 0.1))
    with pytest.raises(DataError, match="other forces than the log"):
        read(tmp_path)


def test_a_log_without_its_dump_gives_the_first_step_and_a_dump_alone_none(tmp_path: Path) -> None:
    (tmp_path / "running_md.log").write_text(dynamics())
    data = read(tmp_path / "running_md.log", want=ALL)
    assert len(data) == 1
    check(data, 0, -200.0)
    assert any("4 steps are left out" in note and "MD_dump" in note for note in data.provenance.notes)
    (tmp_path / "running_md.log").unlink()
    (tmp_path / "MD_dump").write_text(dump({0: 0.0}, True))
    with pytest.raises(DataError, match="it has no energies"):
        read(tmp_path / "MD_dump")


# --- outputs that no one here made -----------------------------------------------------------------------------------


def test_real_dynamics_against_another_reader(shared: Path) -> None:
    folder = shared / "data/real/other/abacus.md"
    data = read(folder, want=ALL)
    assert [file.name for file in data.provenance.files] == ["OUT.abacus/running_md.log"]
    positions, forces = (np.array(np.loadtxt(folder / f"water_{name}")).reshape(5, 3, 3) for name in ("coord", "force"))
    virials = np.loadtxt(folder / "water_virial").reshape(5, 3, 3)
    energies = [-466.692851174, -466.699290513689, -466.698298260896, -466.703646638347, -466.697608297566]
    for index, sample in enumerate(data):
        assert sample.labels["energy"] == pytest.approx(energies[index], abs=1e-6)
        np.testing.assert_allclose(sample.content.positions, positions[index], atol=1e-6)
        np.testing.assert_allclose(sample.labels["forces"], forces[index], atol=1e-7)
        np.testing.assert_allclose(-sample.labels["stress"] * sample.content.get_volume(), virials[index], atol=1e-4)
    # A molecule in a box: its virial is the sum of positions times forces, which fixes the sign.
    trace = np.sum((positions[0] - positions[0].mean(axis=0)) * forces[0])
    assert -np.trace(data[0].labels["stress"]) * data[0].content.get_volume() == pytest.approx(trace, rel=0.1)


def test_a_real_run_that_did_not_converge_is_tagged(shared: Path) -> None:
    folder = shared / "data/real/other/abacus.scf"
    data = read([folder / "OUT.ch4/running_scf.log", folder / "OUT.ch4fail/running_scf.log"], want=ALL)
    assert [sample.tags["converged"] for sample in data] == ["true", "false"]
    assert data[0].labels["energy"] == pytest.approx(-219.64991404276591, abs=1e-9)
    assert data[0].labels["forces"][0, 1] == pytest.approx(-1.114764)
    assert data[0].labels["stress"][0, 0] == pytest.approx(-17.95102076 * KBAR)
