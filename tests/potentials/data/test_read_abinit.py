"""ABINIT: main outputs of versions 8 and 9, true to format, with numbers that tell every component apart."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from ase import units

from matgraft.potentials.data.reading.read import read

ALL = ("energy", "forces", "stress")
FORCE = units.Hartree / units.Bohr
PRESSURE = units.Hartree / units.Bohr**3
FORCES = np.array([[0.011, -0.012, 0.013], [-0.014, 0.015, -0.016]])  # Hartree/Bohr
STRESS = np.array([[1.0, 0.4, 0.6], [0.4, 2.0, 0.5], [0.6, 0.5, 3.0]]) * 1e-4  # Hartree/Bohr³
CELL = np.array([[0.0, 4.0, 4.0], [4.0, 0.0, 4.0], [4.0, 4.0, 0.0]])  # Bohr
POSITIONS = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.1]])  # Bohr


def head(version: str = "9.4.2", echo: str = "") -> str:
    return f"""
.Version {version} of ABINIT
.(MPI version, prepared for a x86_64_linux_intel19.0 computer)

- input  file    -> run.abi
- output file    -> run.abo

 Values of the parameters that define the memory need of the present run
     natom =       2  nloc_mem =       2    nspden =       2   nspinor =       1
 -outvars: echo values of preprocessed input variables --------
            acell      1.0000000000E+00  1.0000000000E+00  1.0000000000E+00 Bohr
             ecut      2.00000000E+01 Hartree
              ixc     -101130
         kptrlatt        4    0    0      0    4    0      0    0    6
P           mkmem           2
            natom           2
           nspden           2
           nsppol           2
           ntypat           2
           occopt           3
        pawecutdg      4.00000000E+01 Hartree
           shiftk      5.00000000E-01  5.00000000E-01  0.00000000E+00
           tsmear      1.00000000E-02 Hartree
            typat      1  2
          usepawu           1
            lpawu      2 -1
            upawu      1.50000000E-01  0.00000000E+00 Hartree
             xred      0.0000000000E+00  0.0000000000E+00  0.0000000000E+00
                       2.5000000000E-01  2.5000000000E-01  2.6250000000E-01
            znucl       26.00000    8.00000
{echo}
================================================================================
"""


def rows(table: np.ndarray, numbered: bool = False) -> str:
    lines = ("".join(f" {x:21.14E}" for x in row) for row in table)
    return "\n".join((f"{i:5d}" if numbered else "") + line for i, line in enumerate(lines, 1))


def dataset(number: int = 1) -> str:
    cell = "\n".join(
        f" R({i})=" + "".join(f"{x:11.7f}" for x in row) + f"  G({i})=  9.0000000  9.0000000  9.0000000"
        for i, row in enumerate(CELL, 1)
    )
    return f"""
== DATASET {number:2d} ==================================================================

 Real(R)+Recip(G) space primitive vectors, cartesian coordinates (Bohr,Bohr^-1):
{cell}
- pspini: atom type   1  psp file is ./PSPs/Fe.GGA_PBE-JTH.xml
- pspini: atom type   2  psp file is ./PSPs/O.GGA_PBE-JTH.xml
"""


CONVERGED = " At SCF step    9       nres2   =  1.34E-11 < tolvrs=  1.00E-10 =>converged.\n"
LOOSE = "\n scprqt:  WARNING -\n  nstep=   20 was not enough SCF cycles to converge;\n"


def scf(energy: float, how: str = CONVERGED, scale: float = 1.0) -> str:
    s = STRESS * scale
    return f"""
---SELF-CONSISTENT-FIELD CONVERGENCE--------------------------------------------

     iter   Etot(hartree)      deltaE(h)  residm     nres2
 ETOT  1  -99.000000000000    -1.152E+01 1.227E-01 5.126E+00
 ETOT  2  {energy:.12f}    -5.432E-03 4.834E-04 8.689E-01

{how}
 Cartesian components of stress tensor (hartree/bohr^3)
  sigma(1 1)= {s[0, 0]:15.8E}  sigma(3 2)= {s[2, 1]:15.8E}
  sigma(2 2)= {s[1, 1]:15.8E}  sigma(3 1)= {s[2, 0]:15.8E}
  sigma(3 3)= {s[2, 2]:15.8E}  sigma(2 1)= {s[1, 0]:15.8E}

"""


def end_of_dataset(version: int = 9, entropy: float = -0.002) -> str:
    energies = (
        f"--- !EnergyTerms\nkinetic             :  1.0E+00\n'-kT*entropy'       : {entropy:.14E}\n...\n"
        if version >= 9
        else f" Components of total free energy (in Hartree) :\n    -kT*entropy     = {entropy:.14E}\n"
    )
    return f"""
 ----iterations are completed or convergence reached----

 cartesian coordinates (angstrom) at end:
{rows(POSITIONS * units.Bohr, numbered=True)}

 cartesian forces (hartree/bohr) at end:
{rows(FORCES, numbered=True)}
 frms,max,avg= 0.0000000E+00 0.0000000E+00   0.000E+00  0.000E+00  0.000E+00 h/b

 cartesian forces (eV/Angstrom) at end:
{rows(FORCES * 51, numbered=True)}

{energies}
- Cartesian components of stress tensor (GPa)         [Pressure= -1.4282E+01 GPa]
- sigma(1 1)=  1.42821999E+01  sigma(3 2)=  0.00000000E+00
"""


def step(energy: float, z: float = 0.0, scale: float = 1.0, cell: bool = True) -> str:
    """Return a step of a relaxation: where it goes, its SCF cycle, what it found."""
    moved = POSITIONS + np.array([[0, 0, 0], [0, 0, z]])
    place = f" Cartesian coordinates (xcart) [bohr]\n{rows(moved)}\n Reduced coordinates (xred)\n{rows(moved / 8)}\n"
    lattice = f" Real space primitive translations (rprimd) [bohr]\n{rows(CELL * (1 + z))}\n" if cell else ""
    return f"""
--- Iteration: ( 1/50) Internal Cycle: (1/1)
{place}{lattice}{scf(energy + 5, scale=scale)}
---OUTPUT-----------------------------------------------------------------------

{place} Cartesian forces (fcart) [Ha/bohr]; max,rms= 0.00000E+00 0.00000E+00 (free atoms)
{rows(FORCES * scale)}
 Reduced forces (fred)
{rows(FORCES * 7)}
{lattice} Stress tensor in cartesian coordinates (strten) [Ha/bohr^3]
{rows(STRESS * scale)}
 Total energy (etotal) [Ha]= {energy:.14E}
"""


END = """
== END DATASET(S) ==============
 -outvars: echo values of variables after computation  --------
            etotal    -7.0

 Calculation completed.
"""


def put(folder: Path, text: str, name: str = "run.abo") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("version", ["8.10.2", "9.4.2"])
def test_a_single_point_gives_energy_forces_and_stress(tmp_path, version):
    text = head(version) + dataset() + scf(-20.5) + end_of_dataset(int(version.split(".")[0])) + END
    data = read(put(tmp_path, text, "any.txt"), want=ALL)
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(-20.5 * units.Hartree)
    np.testing.assert_allclose(sample.labels["forces"], FORCES * FORCE)
    np.testing.assert_allclose(sample.labels["stress"], STRESS * PRESSURE)
    np.testing.assert_allclose(sample.content.cell[:], CELL * units.Bohr)
    np.testing.assert_allclose(sample.content.positions, POSITIONS * units.Bohr)
    assert (str(sample.content.symbols), sample.tags["converged"]) == ("FeO", "true")
    inner = read(tmp_path / "any.txt", keys={"energy": "e_wo_entrp"})
    assert inner[0].labels["energy"] == pytest.approx(-20.498 * units.Hartree)


def test_the_level_of_theory_is_that_of_the_input_variables(tmp_path):
    theory = read(put(tmp_path, head() + dataset() + scf(-20.5) + end_of_dataset() + END))[0].theory
    assert (theory.code, theory.version, theory.functional) == ("ABINIT", "9.4.2", "PBE")
    assert theory.cutoff_eV == pytest.approx(20 * units.Hartree)
    assert theory.density_cutoff_eV == pytest.approx(40 * units.Hartree)
    assert (theory.kpoints, theory.kpoint_offset) == ((4, 4, 6), (0.5, 0.5, 0.0))
    assert (theory.smearing, theory.spin, theory.soc) == ("Fermi-Dirac", True, False)
    assert theory.smearing_width_eV == pytest.approx(0.01 * units.Hartree)
    assert theory.hubbard_u == {"Fe": pytest.approx(0.15 * units.Hartree)}
    assert theory.hubbard_orbital == {"Fe": "d"}
    assert theory.potentials == ("Fe.GGA_PBE-JTH.xml", "O.GGA_PBE-JTH.xml")


def test_a_charge_is_a_tag(tmp_path):
    text = head(echo="           charge      1.00000000E+00") + dataset() + scf(-20.5) + end_of_dataset() + END
    assert read(put(tmp_path, text))[0].tags["charge"] == "1"


def test_each_step_of_a_relaxation_has_its_structure_and_the_end_repeats_the_last(tmp_path):
    text = head() + dataset() + step(-20.5) + step(-20.6, 0.1, 2.0) + end_of_dataset() + END
    data = read(put(tmp_path, text), want=ALL)
    np.testing.assert_allclose([float(s.labels["energy"]) for s in data], np.array([-20.5, -20.6]) * units.Hartree)
    np.testing.assert_allclose(data[1].content.cell[:], CELL * 1.1 * units.Bohr)
    np.testing.assert_allclose([s.content.positions[1, 2] for s in data], np.array([2.1, 2.2]) * units.Bohr)
    np.testing.assert_allclose(data[1].labels["forces"], 2 * FORCES * FORCE)
    np.testing.assert_allclose(data[1].labels["stress"], 2 * STRESS * PRESSURE)


def test_a_fixed_cell_is_printed_once(tmp_path):
    data = read(put(tmp_path, head() + dataset() + step(-20.5, cell=False) + step(-20.6, 0.1, cell=False) + END))
    np.testing.assert_allclose(data[1].content.cell[:], CELL * units.Bohr)


def test_data_sets_have_their_own_variables(tmp_path):
    echo = "            ecut1      2.50000000E+01 Hartree\n            ecut2      3.00000000E+01 Hartree"
    text = head(echo=echo).replace("             ecut      2.00000000E+01 Hartree\n", "")
    text += dataset(1) + scf(-20.5) + end_of_dataset() + dataset(2) + scf(-20.6) + end_of_dataset() + END
    data = read(put(tmp_path, text))
    np.testing.assert_allclose([s.theory.cutoff_eV for s in data], np.array([25, 30]) * units.Hartree)
    np.testing.assert_allclose([float(s.labels["energy"]) for s in data], np.array([-20.5, -20.6]) * units.Hartree)


def test_a_cycle_that_did_not_converge_is_tagged(tmp_path):
    data = read(put(tmp_path, head() + dataset() + scf(-20.5, LOOSE) + end_of_dataset() + END))
    assert data[0].tags["converged"] == "false"


@pytest.mark.parametrize("cut", [-37, -25, 60, 700])
def test_a_run_that_broke_off_keeps_its_finished_steps(tmp_path, cut):
    text = head() + dataset() + step(-20.5) + step(-20.6, 0.1)
    (tmp_path / "run.abo.bz2").write_bytes(bz2.compress(text[: -cut - 40].encode()))
    data = read(tmp_path)
    assert len(data) == 1
    assert any("broke off; its 1 finished" in note for note in data.provenance.notes)


def test_the_log_beside_the_output_is_no_second_run(tmp_path):
    text = head() + dataset() + scf(-20.5) + end_of_dataset() + END
    put(tmp_path, text)
    put(tmp_path, text, "log")
    assert read(tmp_path).tag("file") == ["run.abo"]
