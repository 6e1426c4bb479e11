"""CASTEP: .castep, .md and .geom files true to format, with numbers that tell every component apart."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase
import numpy as np
import pytest
from ase import units

from matgraft.potentials.data.reading.read import read

ALL = ("energy", "forces", "stress")
FORCES = np.array([[0.11, -0.12, 0.13], [-0.14, 0.15, -0.16]])
STRESS = np.array([[1.0, 0.4, 0.6], [0.4, 2.0, 0.5], [0.6, 0.5, 3.0]])  # GPa, ASE's sign

HEAD = """ +-------------------------------------------------+
 | Welcome to Academic Release CASTEP version 20.11|
 +-------------------------------------------------+

 ***************************** General Parameters ******************************

 type of calculation                            : TASK
 using functional                               : Perdew Burke Ernzerhof
 DFT+D: Semi-empirical dispersion correction    : on
 SEDC with                                      : G06 correction scheme
 plane wave basis set cut-off                   :   CUTOFF   eV
 treating system as spin-polarized
 Method: Treating system as metallic with density mixing treatment of electrons,
 smearing scheme                                : Gaussian
 smearing width                                 : 0.1000       eV

                           -------------------------------
                                      Unit Cell
                           -------------------------------
        Real Lattice(A)                      Reciprocal Lattice(1/A)
     4.0000000     0.0000000     0.0000000        1.570796327   0.000000000   0.000000000
     0.0000000     5.0000000     0.0000000        0.000000000   1.256637061   0.000000000
     1.0000000     0.0000000     6.0000000        0.000000000   0.000000000   1.047197551

                       Lattice parameters(A)       Cell Angles
                    a =      4.000000          alpha =   90.000000
"""
TAIL = """
                          Files used for pseudopotentials:
                                    Fe 3|2.2|2.0|1.0|8|9|10|40:41:32(qc=5)
                                     O 2|1.5|12|13|15|20:21(qc=5)

                       MP grid size for SCF calculation is  4  3  2
                            with an offset of   0.000  0.000  0.000

                         External pressure/stress (GPa)
                          PRESSURE   0.00000   0.00000
                                    0.00000   0.00000
                                              0.00000
"""
END = "\nTotal time          =      9.33 s\n"
LOOSE = " *Warning* max. SCF cycles performed but system has not reached the groundstate.\n"


def header(task: str = "geometry optimization", cutoff: str = "500.0000", pressure: str = "0.00000") -> str:
    return (HEAD + positions() + TAIL).replace("TASK", task).replace("CUTOFF", cutoff).replace("PRESSURE", pressure)


def positions(z: float = 0.51) -> str:
    bar = "            " + "x" * 60 + "\n"
    return f"""
{bar}            x  Element    Atom        Fractional coordinates of atoms  x
            x            Number           u          v          w      x
            x----------------------------------------------------------x
            x  Fe:up        1         0.000000   0.000000   0.000000   x
            x  O            1         0.500000   0.500000   {z:.6f}   x
{bar}"""


def unit_cell(a: float) -> str:
    rows = "".join(
        "".join(f"{x:14.7f}" for x in row) + "     1.570796327   0.000000000   0.000000000\n"
        for row in np.array([[a, 0, 0], [0, 5, 0], [1, 0, 6.0]])
    )
    title = "                                      Unit Cell\n   -----\n"
    return f"{title}        Real Lattice(A)    Reciprocal Lattice(1/A)\n{rows}\n"


def scf(energy: float, warning: str = "", metal: bool = True, dispersion: float = 0.0) -> str:
    e, f, zero = energy + 0.2, energy, energy + 0.1
    lines = (
        f"Final energy, E             =  {e:.9f}     eV\nFinal free energy (E-TS)    =  {f:.9f}     eV\n"
        f"(energies not corrected for finite basis set)\n \nNB est. 0K energy (E-0.5TS)      =  {zero:.9f}     eV\n"
        if metal
        else f"Final energy =  {f:.9f}     eV\n"
    )
    if dispersion:
        lines += f"""
Dispersion corrected final energy*, Ecor            =  {e + dispersion:.9f}     eV
Dispersion corrected final free energy* (Ecor-TS)   =  {f + dispersion:.9f}     eV
NB dispersion corrected est. 0K energy* (Ecor-0.5TS)  =  {zero + dispersion:.9f}     eV
"""
    loop = "------ <-- SCF\nSCF loop      Energy           Fermi           Energy gain       Timer   <-- SCF\n"
    return loop + warning + lines


def forces(scale: float = 1.0, title: str = "Forces", bound: int = 0) -> str:
    mark = "(cons'd)"
    rows = "".join(
        f" * {s}               1 " + "".join(f"{0 if i < bound else x:13.5f}{mark * (i < bound)}" for x in row) + " *\n"
        for i, (s, row) in enumerate(zip(("Fe:up", "O"), FORCES * scale, strict=True))
    )
    return f"""
 ************************************** {title} **************************************
 *                                                                                    *
 *                           Cartesian components (eV/A)                              *
 * ---------------------------------------------------------------------------------- *
 *                         x                    y                    z                *
 *                                                                                    *
{rows} *                                                                                    *
 **************************************************************************************
"""


def stress(scale: float = 1.0) -> str:
    rows = "".join(
        f" *  {x}" + "".join(f"{v:14.6f}" for v in row) + " *\n" for x, row in zip("xyz", STRESS * scale, strict=True)
    )
    return f"""
 *********** Symmetrised Stress Tensor ***********
 *                                               *
 *          Cartesian components (GPa)           *
 * --------------------------------------------- *
 *             x             y             z     *
 *                                               *
{rows} *                                               *
 *  Pressure:   -2.0000                          *
 *************************************************
"""


def trajectory(*energies: float, moving: bool = False) -> str:
    """Return a .geom, or a .md with velocities of 0.001 atomic units."""
    blocks = []
    for i, energy in enumerate(energies):
        lines = [f"{i:25d}", f"{energy:22.10E}{energy + 9:22.10E}{'  1.0E-03' * moving}  <-- E"]
        lines += ["".join(f"{x:22.10E}" for x in row) + "  <-- h" for row in np.diag([8.0, 9.0, 10.0])]
        lines += ["".join(f"{x * 1e-4:22.10E}" for x in row) + "  <-- S" for row in STRESS]
        lines += [
            f" {s}  1 " + "".join(f"{x:22.10E}" for x in (i + at, 1, 2)) + "  <-- R" for s, at in (("Fe", 0), ("O ", 4))
        ]
        lines += [f" {s}  1 " + "".join(f"{1e-3:22.10E}" for _ in range(3)) + "  <-- V" for s in ("Fe", "O ")] * moving
        lines += [
            f" {s}  1 " + "".join(f"{x:22.10E}" for x in row) + "  <-- F" for s, row in zip("FO", FORCES, strict=True)
        ]
        blocks.append("\n".join(lines).replace(" F  1", " Fe 1"))
    return " BEGIN header\n \n END header\n \n" + "\n \n".join(blocks) + "\n \n"


def put(folder: Path, text: str, name: str = "run.castep") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_single_point_gives_the_free_energy_forces_and_stress(tmp_path):
    data = read(put(tmp_path, header() + scf(-100.0) + forces() + stress() + END, "log.txt"), want=ALL)
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(-100.0)
    np.testing.assert_allclose(sample.labels["forces"], FORCES)
    np.testing.assert_allclose(sample.labels["stress"], STRESS * units.GPa)
    np.testing.assert_allclose(sample.content.cell[:], [[4, 0, 0], [0, 5, 0], [1, 0, 6]])
    np.testing.assert_allclose(sample.content.positions[1], [2.51, 2.5, 3.06])
    assert (str(sample.content.symbols), sample.tags["converged"]) == ("FeO", "true")


@pytest.mark.parametrize(("key", "energy"), [("e_wo_entrp", -99.8), ("e_0_energy", -99.9)])
def test_the_other_energies_can_be_chosen(tmp_path, key, energy):
    path = put(tmp_path, header() + scf(-100.0) + forces() + END)
    assert read(path, keys={"energy": key})[0].labels["energy"] == pytest.approx(energy)


def test_a_charge_is_a_tag(tmp_path):
    charged = header().replace(" treating system", " net charge of system : 1.000\n treating system", 1)
    assert read(put(tmp_path, charged + scf(-100.0) + forces() + END))[0].tags["charge"] == "1"


def test_an_insulator_has_one_energy_and_dispersion_is_in_it(tmp_path):
    assert read(put(tmp_path, header() + scf(-100.0, metal=False) + forces() + END))[0].labels["energy"] == -100.0
    data = read(put(tmp_path, header() + scf(-100.0, dispersion=-0.5) + forces() + END))
    assert data[0].labels["energy"] == pytest.approx(-100.5)


def test_the_level_of_theory_is_what_is_printed(tmp_path):
    theory = read(put(tmp_path, header() + scf(-100.0) + forces() + END))[0].theory
    assert (theory.code, theory.version, theory.functional, theory.dispersion) == ("CASTEP", "20.11", "PBE", "D2")
    assert (theory.cutoff_eV, theory.spin, theory.smearing, theory.smearing_width_eV) == (500, True, "Gaussian", 0.1)
    assert (theory.kpoints, theory.kpoint_offset) == ((4, 3, 2), (0.5, 0.0, 0.5))
    assert theory.potentials == ("Fe 3|2.2|2.0|1.0|8|9|10|40:41:32(qc=5)", "O 2|1.5|12|13|15|20:21(qc=5)")


def test_each_step_of_a_relaxation_has_its_structure_and_no_enthalpy(tmp_path):
    text = header(pressure="5.00000") + scf(-100.0) + forces() + stress()
    text += " BFGS: starting iteration 1 ...\n" + unit_cell(4.1) + positions(0.52) + scf(-101.0) + forces(2) + stress(2)
    text += " BFGS: Final Configuration:\n" + unit_cell(4.1) + positions(0.52)
    text += " BFGS: Final Enthalpy     = -9.7E+001 eV\n" + forces(2) + stress(2) + END
    data = read(put(tmp_path, text), want=ALL)
    np.testing.assert_allclose([float(sample.labels["energy"]) for sample in data], [-100, -101])
    np.testing.assert_allclose([sample.content.cell[0, 0] for sample in data], [4.0, 4.1])
    np.testing.assert_allclose([sample.content.positions[1, 2] for sample in data], [3.06, 3.12])
    np.testing.assert_allclose(data[1].labels["forces"], 2 * FORCES)
    assert any("external pressure" in note for note in data.provenance.notes)


def test_forces_that_stand_at_the_end_alone_go_to_the_last_step(tmp_path):
    text = header() + scf(-100.0) + stress() + unit_cell(4.1) + positions() + scf(-101.0) + stress(2)
    text += " BFGS: Final Configuration:\n" + unit_cell(4.1) + positions() + forces(2) + stress(2) + END
    data = read(put(tmp_path, text))
    assert ["forces" in sample.labels for sample in data] == [False, True]
    np.testing.assert_allclose(data[1].labels["forces"], 2 * FORCES)


def test_the_finite_basis_correction_is_one_step(tmp_path):
    data = read(put(tmp_path, header() + scf(-99.0) + scf(-100.0) + forces() + END))
    assert [float(sample.labels["energy"]) for sample in data] == [-100]


def test_a_cycle_that_did_not_converge_is_tagged(tmp_path):
    data = read(put(tmp_path, header() + scf(-100.0, LOOSE) + forces() + positions() + scf(-101.0) + forces() + END))
    assert data.tag("converged") == ["false", "true"]


@pytest.mark.parametrize("unconstrained", [True, False])
def test_forces_of_fixed_atoms_are_no_zeros(tmp_path, unconstrained):
    text = header() + scf(-100.0) + forces(title="Unconstrained Forces") * unconstrained
    data = read(put(tmp_path, text + forces(title="Constrained Forces", bound=1) + END), want=("energy",))
    assert data.count("forces") == unconstrained
    if unconstrained:
        np.testing.assert_allclose(data[0].labels["forces"], FORCES)
    else:
        assert any("atoms are fixed" in note for note in data.provenance.notes)


def test_runs_appended_to_one_file_have_their_own_theory(tmp_path):
    text = header() + scf(-100.0) + forces() + END + header(cutoff="600.0000") + scf(-101.0) + forces() + END
    data = read(put(tmp_path, text))
    assert [sample.theory.cutoff_eV for sample in data] == [500, 600]


@pytest.mark.parametrize("cut", [100, 480, 900])
def test_a_run_that_broke_off_keeps_its_finished_steps(tmp_path, cut):
    text = header() + scf(-100.0) + forces() + positions() + scf(-101.0) + forces()
    (tmp_path / "run.castep.gz").write_bytes(gzip.compress(text[: -cut - 180].encode()))
    data = read(tmp_path)
    assert len(data) == 1
    assert any("broke off; its 1 finished" in note for note in data.provenance.notes)


@pytest.mark.parametrize("name", ["run.geom", "odd name.7"])
def test_a_trajectory_alone_is_in_atomic_units(tmp_path, name):
    data = read(put(tmp_path, trajectory(-4.0, -4.1), name), want=ALL)
    np.testing.assert_allclose([float(s.labels["energy"]) for s in data], np.array([-4.0, -4.1]) * units.Hartree)
    np.testing.assert_allclose(data[1].labels["forces"], FORCES * units.Hartree / units.Bohr)
    np.testing.assert_allclose(data[1].labels["stress"], STRESS * 1e-4 * units.Hartree / units.Bohr**3)
    np.testing.assert_allclose(data[1].content.positions[0], np.array([1, 1, 2]) * units.Bohr)


def test_the_kinetic_part_is_taken_off_the_stress_of_dynamics(tmp_path):
    data = read(put(tmp_path, trajectory(-4.0, moving=True), "run.md"), want=ALL)
    # sigma_kinetic = -sum m v v / V, with v = 0.001 atomic units in each direction
    masses = ase.Atoms("FeO").get_masses().sum() * units._amu / units._me
    kinetic = -masses * 1e-6 / 720 * np.ones((3, 3))
    expected = (STRESS * 1e-4 - kinetic) * units.Hartree / units.Bohr**3
    np.testing.assert_allclose(data[0].labels["stress"], expected, rtol=1e-6)


def test_a_cut_trajectory_keeps_its_whole_blocks(tmp_path):
    data = read(put(tmp_path, trajectory(-4.0, -4.1)[:-90], "run.geom"))
    assert len(data) == 1
    assert any("broke off" in note for note in data.provenance.notes)


def test_output_and_trajectory_of_one_run_are_one_source(tmp_path):
    put(tmp_path, header() + scf(-100.0) + forces() + END)
    put(tmp_path, trajectory(-4.0), "run.geom")
    for named in (tmp_path, tmp_path / "run.geom", [tmp_path / "run.geom", tmp_path / "run.castep"]):
        assert read(named).tag("file") == ["run.castep"]


def test_dynamics_without_positions_are_read_from_the_trajectory(tmp_path):
    text = header("molecular dynamics") + scf(-100.0) + forces() + scf(-101.0) + forces() + END
    put(tmp_path, trajectory(-4.0, -4.1, moving=True), "run.md")
    data = read(put(tmp_path, text))
    np.testing.assert_allclose([float(s.labels["energy"]) for s in data], np.array([-4.0, -4.1]) * units.Hartree)
    assert data[0].theory.functional == "PBE"
