"""Outputs of ORCA, Gaussian and Psi4: which energy, the sign of forces, convergence, parts, broken runs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read

POSITIONS = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.47]])  # Å
GRADIENT = np.array([[0.01, -0.02, 0.03], [-0.004, 0.005, -0.006], [-0.006, 0.015, -0.024]])  # Hartree/Bohr
SYMBOLS = ("O", "H", "H")


def check(data: Dataset, index: int, energy: float, shift: float = 0.0) -> None:
    """Compare a frame with the numbers of the fixtures; energy in Hartree, shift of the positions in Å."""
    sample = data[index]
    assert sample.labels["energy"] == pytest.approx(energy * Hartree, abs=1e-8)
    np.testing.assert_allclose(sample.content.positions, POSITIONS + shift, atol=1e-6)
    np.testing.assert_allclose(sample.labels["forces"], -GRADIENT * Hartree / Bohr, atol=1e-7)


# --- ORCA ------------------------------------------------------------------------------------------------------------

ORCA_HEAD = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

                         Program Version 5.0.4 -  RELEASE  -

================================================================================
                                       INPUT FILE
================================================================================
NAME = water.inp
|  1> ! B3LYP D3BJ def2-SVP EnGrad  # a comment
|  2> * xyz -1 2
|  3> *
|  4>{}                         ****END OF INPUT****
================================================================================
 Total Charge           Charge          ....   -1
 Multiplicity           Mult            ....    2
"""
ORCA_END = "                             ****ORCA TERMINATED NORMALLY****\n"


def orca_geometry(shift: float = 0.0) -> str:
    rows = (f"  {s:<2}{x:13.6f}{y:12.6f}{z:12.6f}" for s, (x, y, z) in zip(SYMBOLS, POSITIONS + shift, strict=True))
    head = "---------------------------------\nCARTESIAN COORDINATES (ANGSTROEM)\n---------------------------------\n"
    return head + "\n".join(rows) + "\n\n----------------------------\nCARTESIAN COORDINATES (A.U.)\n"


def orca_energy(energy: float, remark: str = "") -> str:
    return (
        "               *           SCF CONVERGED AFTER  13 CYCLES          *\n"
        f"Dispersion correction           -0.000577777\nTotal Energy       :         {energy + 0.5:.8f} Eh\n"
        f"-------------------------   --------------------\nFINAL SINGLE POINT ENERGY {remark}  {energy:.12f}\n"
    )


def orca_gradient() -> str:
    rows = (
        f"{i:4d}   {s:<4}:{x:15.9f}{y:15.9f}{z:15.9f}"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, GRADIENT, strict=True), 1)
    )
    return (
        "------------------\nCARTESIAN GRADIENT\n------------------\n\n"
        + "\n".join(rows)
        + "\n\nDifference to translation invariance:\n"
    )


def test_orca_takes_the_final_energy_and_turns_the_gradient(tmp_path: Path) -> None:
    (tmp_path / "any.name").write_text(ORCA_HEAD + orca_geometry() + orca_energy(-76.25) + orca_gradient() + ORCA_END)
    data = read(tmp_path / "any.name")
    check(data, 0, -76.25)
    theory = data[0].theory
    assert theory is not None
    assert (theory.code, theory.version, theory.functional) == ("ORCA", "5.0.4", "B3LYP")
    assert (theory.dispersion, theory.basis, theory.energy) == ("D3(BJ)", "def2-SVP", "free")
    assert (data[0].tags["charge"], data[0].tags["spin"], data[0].tags["converged"]) == ("-1", "2", "true")
    assert data.provenance.files[0].fixed == ("energy", "forces")


def test_an_optimisation_of_orca_is_one_trajectory_with_its_last_energy_without_forces(tmp_path: Path) -> None:
    steps = "".join(orca_geometry(k / 10) + orca_energy(-76.0 - k) + orca_gradient() for k in range(2))
    text = ORCA_HEAD + steps + orca_geometry(0.2) + orca_energy(-78.0) + ORCA_END
    (tmp_path / "opt.out.gz").write_bytes(gzip.compress(text.encode()))
    data = read(tmp_path)
    assert [sample.tags["trajectory"] for sample in data] == ["opt.out.gz"] * 3
    check(data, 0, -76.0)
    check(data, 1, -77.0, 0.1)
    assert data[2].labels["energy"] == pytest.approx(-78.0 * Hartree)
    assert "forces" not in data[2].labels


def test_an_unconverged_energy_of_orca_is_tagged_and_one_without_coordinates_left_out(tmp_path: Path) -> None:
    text = ORCA_HEAD + orca_geometry() + orca_energy(-76.25, "(Wavefunction not fully converged!)") + orca_gradient()
    text += orca_energy(-76.5) + orca_gradient().replace(
        "0.01", "0.09"
    )  # a step of dynamics, which prints no coordinates
    (tmp_path / "a.out").write_text(text)
    data = read(tmp_path / "a.out")
    assert len(data) == 1
    check(data, 0, -76.25)
    assert data[0].tags["converged"] == "false"
    notes = " ".join(data.provenance.notes)
    assert "1 energies without coordinates of their own are left out" in notes
    assert "broke off" in notes


def test_runs_in_layers_of_orca_are_left_out(tmp_path: Path) -> None:
    text = ORCA_HEAD + orca_geometry() + orca_energy(0.019, "(MM)") + orca_geometry() + orca_energy(-76.25)
    text += "FINAL SINGLE POINT ENERGY (QM/MM)      -76.200270108260\n" + orca_geometry(0.1) + orca_energy(-76.5)
    (tmp_path / "a.out").write_text(text + orca_gradient() + ORCA_END)
    data = read(tmp_path / "a.out")
    assert len(data) == 1
    check(data, 0, -76.5, 0.1)
    assert any("2 structures of runs in layers" in note for note in data.provenance.notes)


def test_an_orca_run_whose_scf_failed_says_so(tmp_path: Path) -> None:
    failed = "               *        SCF NOT CONVERGED AFTER 125 CYCLES         *\n"
    (tmp_path / "a.out").write_text(ORCA_HEAD + orca_geometry() + failed)
    with pytest.raises(DataError, match="its SCF did not converge"):
        read(tmp_path / "a.out")


def test_jobs_of_orca_keep_their_own_level_of_theory(tmp_path: Path) -> None:
    jobs = " $new_job\n|  5> ! RHF RI-MP2 cc-pVTZ/C cc-pVTZ EnGrad\n|  6>"
    mp2 = "The final MP2 gradient\n" + "".join(
        f"{i:3d}:{x:14.8f}{y:14.8f}{z:14.8f}\n" for i, (x, y, z) in enumerate(GRADIENT)
    )
    text = ORCA_HEAD.format(jobs) + orca_geometry() + orca_energy(-76.25) + orca_gradient()
    text += "          *       JOB NUMBER  2        *\n" + orca_geometry() + orca_energy(-76.5) + mp2 + ORCA_END
    (tmp_path / "a.out").write_text(text)
    data = read(tmp_path / "a.out")
    check(data, 0, -76.25)
    check(data, 1, -76.5)
    assert [(s.theory.functional, s.theory.basis) for s in data if s.theory] == [
        ("B3LYP", "def2-SVP"),
        ("MP2", "cc-pVTZ"),
    ]
    assert any("2 levels of theory" in note for note in data.provenance.notes)


def test_a_geometry_with_dummy_atoms_is_left_out_and_told(tmp_path: Path) -> None:
    dummy = orca_geometry().replace("  H      0.000000   -0.760000", "  DA     0.000000   -0.760000")
    text = ORCA_HEAD + dummy + orca_energy(-76.25) + orca_geometry() + orca_energy(-76.5) + orca_gradient() + ORCA_END
    assert "DA" in text
    (tmp_path / "a.out").write_text(text)
    data = read(tmp_path / "a.out")
    assert len(data) == 1
    check(data, 0, -76.5)
    assert any("1 geometries with ghost atoms, dummy atoms" in note for note in data.provenance.notes)


def engrad() -> str:
    """Return an engrad of the fixture's frame, positions in Bohr."""
    atoms = zip((8, 1, 1), POSITIONS / Bohr, strict=True)
    return (
        "#\n# Number of atoms\n#\n 3\n#\n# The current total energy in Eh\n#\n    -76.250000000000\n"
        "#\n# The current gradient in Eh/bohr\n#\n"
        + "".join(f"  {x:20.12f}\n" for x in GRADIENT.ravel())
        + "#\n# The atomic numbers and current coordinates in Bohr\n#\n"
        + "".join(f"  {z}   {x:12.7f} {y:12.7f} {w:12.7f}\n" for z, (x, y, w) in atoms)
    )


def test_an_engrad_is_read_where_no_output_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one.engrad").write_text(engrad())
    check(read(tmp_path / "one.engrad"), 0, -76.25)
    (tmp_path / "two.engrad").write_text(engrad())
    (tmp_path / "two.out").write_text(ORCA_HEAD + orca_geometry() + orca_energy(-76.5) + orca_gradient() + ORCA_END)
    assert [file.name for file in read(tmp_path).provenance.files] == ["one.engrad", "two.out"]


def test_an_engrad_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.engrad").write_text(engrad()[:-60])
    with pytest.raises(DataError, match="cut off"):
        read(tmp_path / "one.engrad")


# --- Gaussian --------------------------------------------------------------------------------------------------------

RULE = " " + "-" * 69 + "\n"


def gaussian_head(route: str, charge: int = 0, spin: int = 1) -> str:
    return (
        " Entering Gaussian System, Link 0=g16\n Gaussian 16, Revision C.01,\n"
        " ---------------\n"
        f" {route}\n ---------------\n Charge = {charge:2d} Multiplicity = {spin}\n"
        " Standard basis: 6-31G(d,p) (6D, 7F)\n"
    )


def gaussian_geometry(shift: float = 0.0, kind: str = "Input", cell: float = 0.0) -> str:
    rows = [(z, *xyz) for z, xyz in zip((8, 1, 1), POSITIONS + shift, strict=True)]
    rows += [(-2, *vector) for vector in np.eye(3) * cell] if cell else []
    table = "".join(f"{i:7d}{z:11d}{0:12d}{x:16.6f}{y:12.6f}{w:12.6f}\n" for i, (z, x, y, w) in enumerate(rows, 1))
    return (
        f"                          {kind} orientation:                          \n{RULE}"
        " Center     Atomic      Atomic             Coordinates (Angstroms)\n"
        f" Number     Number       Type             X           Y           Z\n{RULE}{table}{RULE}"
    )


def gaussian_scf(energy: float, kind: str = "RB3LYP") -> str:
    return f" SCF Done:  E({kind}) =  {energy:.9f}     A.U. after    8 cycles\n"


def gaussian_forces(cell: bool = False) -> str:
    rows = "".join(
        f"{i:7d}{z:9d}{x:20.9f}{y:15.9f}{w:15.9f}\n"
        for i, (z, (x, y, w)) in enumerate(zip((8, 1, 1), -GRADIENT, strict=True), 1)
    )
    rows += "              -2          -0.000000162   -0.000000016    0.000000000\n" * (3 * cell)
    return (
        f" ***** Axes restored to original set *****\n{RULE}"
        " Center     Atomic                   Forces (Hartrees/Bohr)\n"
        f" Number     Number              X              Y              Z\n{RULE}{rows}{RULE}"
    )


GAUSSIAN_END = " Normal termination of Gaussian 16 at Tue Jun 25 00:14:07 2019.\n"
TURNED = "Standard"


def test_gaussian_forces_belong_to_the_input_orientation(tmp_path: Path) -> None:
    text = gaussian_head("#p force b3lyp/6-31g** EmpiricalDispersion=GD3BJ", 1, 2)
    text += gaussian_geometry() + gaussian_geometry(5.0, TURNED) + gaussian_scf(-76.25, "UB3LYP") + gaussian_forces()
    (tmp_path / "water").write_text(text + GAUSSIAN_END)
    data = read(tmp_path / "water")
    assert len(data) == 1
    check(data, 0, -76.25)
    theory = data[0].theory
    assert theory is not None
    assert (theory.version, theory.functional, theory.basis) == ("16 C.01", "B3LYP", "6-31G(d,p)")
    assert (theory.dispersion, theory.energy) == ("D3(BJ)", "free")
    assert (data[0].tags["charge"], data[0].tags["spin"]) == ("1", "2")


def test_numerical_forces_of_gaussian_do_not_go_to_a_displaced_structure(tmp_path: Path) -> None:
    text = gaussian_head("# force ccsd(t)/6-31g** iop(3/76=1000)")
    for shift in (0.0, 0.01):
        text += gaussian_geometry(shift) + gaussian_scf(-75.5, "RHF") + " CCSD(T)= -0.76250000000D+02\n"
        text += " Re-enter D1Numr: IAtom= 1 IXYZ=1 IStep= 1.\n"
    (tmp_path / "a.log").write_text(text + gaussian_forces() + GAUSSIAN_END)
    data = read(tmp_path / "a.log", want=("energy",))
    assert not any("forces" in sample.labels for sample in data)
    assert data[0].theory is not None
    assert data[0].theory.functional == "CCSD(T)"
    assert any("1 tables of forces by numerical derivatives are left out" in note for note in data.provenance.notes)


def test_gaussian_03_names_b3lyp_otherwise(tmp_path: Path) -> None:
    text = gaussian_head("#P B3LYP/6-31G(d,p) Force") + gaussian_geometry() + gaussian_scf(-76.25, "RB+HF-LYP")
    (tmp_path / "a.log").write_text(text + gaussian_forces() + GAUSSIAN_END)
    data = read(tmp_path / "a.log")
    check(data, 0, -76.25)
    assert data[0].theory is not None
    assert data[0].theory.functional == "B3LYP"


@pytest.mark.parametrize(
    ("route", "beyond", "energy", "method"),
    [
        ("# force mp2/6-31g**", " E2 =    -0.1965107684D+00 EUMP2 =    -0.76250000000000D+02\n", -76.25, "MP2"),
        (
            "# force b2plyp/6-31g**",
            " E2(B2PLYP) =    -0.11D+00 E(B2PLYP) =    -0.76250000000000D+02\n",
            -76.25,
            "B2PLYP",
        ),
        (
            "# force ccsd(t)/6-31g**",
            " E2 =    -0.19D+00 EUMP2 =    -0.762D+02\n Wavefunction amplitudes converged. E(Corr)=     -76.240\n"
            " T4(CCSD)= -0.57D-02\n T5(CCSD)=  0.10D-03\n CCSD(T)= -0.76250000000D+02\n",
            -76.25,
            "CCSD(T)",
        ),
        ("# force td b3lyp/6-31g**", " Total Energy, E(TD-HF/TD-DFT) =  -76.2500000000\n", -76.25, "TD-B3LYP"),
    ],
)
def test_gaussian_takes_the_energy_that_the_forces_belong_to(
    route: str, beyond: str, energy: float, method: str, tmp_path: Path
) -> None:
    text = gaussian_head(route) + gaussian_geometry() + gaussian_scf(-75.5, "RHF") + beyond + gaussian_forces()
    (tmp_path / "a.log").write_text(text + GAUSSIAN_END)
    data = read(tmp_path / "a.log")
    check(data, 0, energy)
    assert data[0].theory is not None
    assert data[0].theory.functional == method


def test_links_of_gaussian_keep_their_own_level_of_theory(tmp_path: Path) -> None:
    steps = "".join(gaussian_geometry(k / 10) + gaussian_scf(-76.0 - k) + gaussian_forces() for k in range(2))
    text = gaussian_head("# opt b3lyp/6-31g**") + steps + gaussian_geometry(0.1) + GAUSSIAN_END
    text += gaussian_head("# force mp2/6-31g**") + gaussian_geometry(0.1) + gaussian_scf(-75.0, "RHF")
    text += " E2 =  -0.19D+00 EUMP2 =    -0.76250000000000D+02\n" + gaussian_forces() + GAUSSIAN_END
    (tmp_path / "a.log").write_text(text)
    data = read(tmp_path)
    assert len(data) == 3
    check(data, 1, -77.0, 0.1)
    check(data, 2, -76.25, 0.1)
    assert [sample.theory.functional for sample in data if sample.theory] == ["B3LYP", "B3LYP", "MP2"]


def test_a_periodic_gaussian_run_has_its_cell(tmp_path: Path) -> None:
    text = gaussian_head("# force b3lyp/6-31g**") + gaussian_geometry(cell=9.0) + gaussian_scf(-76.25)
    (tmp_path / "a.log").write_text(text + gaussian_forces(cell=True) + GAUSSIAN_END)
    data = read(tmp_path / "a.log")
    check(data, 0, -76.25)
    np.testing.assert_allclose(data[0].content.cell[:], np.eye(3) * 9.0)
    assert data[0].content.pbc.all()


def test_a_gaussian_run_that_broke_off_leaves_its_unfinished_energy_out(tmp_path: Path) -> None:
    text = gaussian_head("# opt mp2/6-31g**") + gaussian_geometry() + gaussian_scf(-75.5, "RHF")
    text += " E2 =  -0.19D+00 EUMP2 =    -0.76250000000000D+02\n" + gaussian_forces()
    text += gaussian_geometry(0.1) + gaussian_scf(-75.6, "RHF")  # MP2 never came
    (tmp_path / "a.log").write_text(text)
    data = read(tmp_path / "a.log")
    assert len(data) == 1
    check(data, 0, -76.25)
    assert any("broke off" in note for note in data.provenance.notes)


def test_a_gaussian_scf_that_failed_says_so(tmp_path: Path) -> None:
    text = gaussian_head("# force b3lyp/6-31g**") + gaussian_geometry()
    text += " >>>>>>>>>> Convergence criterion not met.\n" + gaussian_scf(-76.0)
    text += " Convergence failure -- run terminated.\n Error termination via Lnk1e in l502.exe\n"
    (tmp_path / "a.log").write_text(text)
    with pytest.raises(DataError, match="an SCF did not converge"):
        read(tmp_path / "a.log")


def test_forces_without_their_orientation_are_left_out_and_told(tmp_path: Path) -> None:
    text = gaussian_head("# force b3lyp/6-31g**") + gaussian_geometry(kind=TURNED) + gaussian_scf(-76.25)
    (tmp_path / "a.log").write_text(text + gaussian_forces() + GAUSSIAN_END)
    data = read(tmp_path / "a.log", want=("energy",))
    assert "forces" not in data[0].labels
    assert any("PrintInputOrient" in note for note in data.provenance.notes)


@pytest.mark.parametrize("same", [True, False])
def test_a_standard_orientation_is_turned_back_to_the_input_if_that_is_printed(same: bool, tmp_path: Path) -> None:
    given = POSITIONS if same else POSITIONS * 1.1
    rows = zip(SYMBOLS, given, strict=True)
    table = "".join(f" {s:<2}{x:20.5f}{y:10.5f}{z:10.5f} \n" for s, (x, y, z) in rows)
    text = gaussian_head("# opt b3lyp/6-31g**") + f" Symbolic Z-matrix:\n Charge =  0 Multiplicity = 1\n{table} \n\n"
    turned = gaussian_geometry(3.0, TURNED) + gaussian_scf(-76.25) + gaussian_forces()
    (tmp_path / "a.log").write_text(text + turned + turned + GAUSSIAN_END)
    data = read(tmp_path / "a.log", want=("energy",))
    assert "forces" not in data[1].labels
    assert ("forces" in data[0].labels) == same
    if same:
        check(data, 0, -76.25)


def test_dynamics_of_gaussian(tmp_path: Path) -> None:
    text = gaussian_head("#N ADMP(MaxPoint=2,FullSCF)/B3LYP/6-31G") + gaussian_geometry(kind="Z-Matrix")
    text += gaussian_scf(-76.0) + gaussian_forces() + " Summary information for step      0\n EPot   =    -76.0\n"
    text += gaussian_geometry(0.1) + gaussian_scf(-77.0) + gaussian_forces() + GAUSSIAN_END
    (tmp_path / "a.log").write_text(text)
    data = read(tmp_path / "a.log")
    check(data, 0, -76.0)
    check(data, 1, -77.0, 0.1)


def test_counterpoise_parts_are_no_frames(tmp_path: Path) -> None:
    text = gaussian_head("# counterpoise=2 b3lyp/6-31g**") + gaussian_geometry() + gaussian_scf(-76.25)
    (tmp_path / "a.log").write_text(text + GAUSSIAN_END)
    with pytest.raises(DataError, match="counterpoise"):
        read(tmp_path / "a.log", want=("energy",))


# --- Psi4 ------------------------------------------------------------------------------------------------------------


def psi4_geometry(shift: float = 0.0) -> str:
    rows = zip(SYMBOLS, (POSITIONS + shift) / Bohr, (15.99, 1.0, 1.0), strict=True)
    table = "".join(f"         {s:<4}{x:20.12f}{y:20.12f}{z:20.12f}{m:18.12f}\n" for s, (x, y, z), m in rows)
    return (
        "    Geometry (in Bohr), charge = 0, multiplicity = 3:\n\n"
        "       Center              X                  Y                   Z               Mass       \n"
        f"    ------------   -----------------  -----------------  -----------------  -----------------\n{table}\n"
    )


def psi4_run(*energies: float, reference: str = "UKS") -> str:
    """Return an optimisation; the gradient prints each geometry once more."""
    text = "          Psi4: An Open-Source Ab Initio Electronic Structure Package\n          Psi4 1.9.1 release\n\n"
    functional = "   => Composite Functional: B3LYP-D3BJ <= \n" if "KS" in reference else ""
    gradient = "".join(f"{i:8d}{x:20.12f}{y:20.12f}{z:20.12f}\n" for i, (x, y, z) in enumerate(GRADIENT, 1))
    for k, energy in enumerate(energies):
        text += f"                              {reference} Reference\n{psi4_geometry(k / 10)}"
        text += f"  Basis Set: DEF2-SVP\n{functional}  Basis Set: (DEF2-SVP AUX)\n"
        text += f"  Energy and wave function converged.\n\n  @DF-{reference} Final Energy: {energy:20.14f}\n"
        text += f"{psi4_geometry(k / 10)}  -Total Gradient:\n     Atom            X                  Y\n"
        text += f"    ------   -----------------  -----------------\n{gradient}\n"
    return text


PSI4_END = "*** Psi4 exiting successfully. Buy a developer a beer!\n"


def test_an_optimisation_of_psi4(tmp_path: Path) -> None:
    (tmp_path / "output.dat").write_text(psi4_run(-76.0, -77.0) + PSI4_END)
    data = read(tmp_path)
    assert len(data) == 2
    check(data, 0, -76.0)
    check(data, 1, -77.0, 0.1)
    theory = data[1].theory
    assert theory is not None
    assert (theory.version, theory.functional, theory.dispersion, theory.basis) == (
        "1.9.1",
        "B3LYP",
        "D3(BJ)",
        "DEF2-SVP",
    )
    assert (data[1].tags["charge"], data[1].tags["spin"], data[1].tags["converged"]) == ("0", "3", "true")


def test_a_psi4_run_beyond_the_scf_is_refused_and_one_that_broke_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(
        psi4_run(-76.0, reference="RHF") + "        * CCSD(T) total energy  =  -76.3\n" + PSI4_END
    )
    with pytest.raises(DataError, match="beyond HF and DFT"):
        read(tmp_path / "a.out")
    (tmp_path / "a.out").write_text(psi4_run(-76.0, reference="RHF"))
    data = read(tmp_path / "a.out")
    assert data[0].theory is not None
    assert data[0].theory.functional == "HF"
    assert any("broke off" in note for note in data.provenance.notes)


# --- outputs that no one here made -----------------------------------------------------------------------------------


def test_real_molecular_outputs(shared: Path) -> None:
    folder = shared / "data/real/other"
    orca = read(folder / "orca/orca.spout")
    assert orca[0].labels["energy"] == pytest.approx(-513.113388868587 * 27.211386, abs=2e-4)
    assert orca[0].labels["forces"][0, 1] == pytest.approx(-0.024701072 * 51.422067, abs=1e-5)
    gaussian = read([folder / "gaussian/methane.gaussianlog", folder / "gaussian/h2pbc.gaussianlog"])
    assert gaussian[0].labels["energy"] == pytest.approx(-40.5240137309 * 27.211386, abs=2e-5)
    assert gaussian[1].content.cell.lengths().tolist() == [10.0, 10.0, 10.0]
    assert gaussian[1].labels["forces"][0, 0] == pytest.approx(0.066019420 * 51.422067, abs=1e-5)
    assert np.abs(np.cross(gaussian[1].content.positions, gaussian[1].labels["forces"]).sum(axis=0)).max() < 1e-6
    psi4 = read(folder / "psi4/psi4.out")
    assert psi4[0].labels["energy"] == pytest.approx(-79.8685493165660603 * 27.211386, abs=5e-5)
    assert psi4[0].labels["forces"][2, 0] == pytest.approx(-0.00862382497882 * 51.422067, abs=1e-6)
    assert np.abs(np.cross(psi4[0].content.positions, psi4[0].labels["forces"]).sum(axis=0)).max() < 1e-3
    with pytest.raises(DataError, match="did not converge"):
        read(folder / "gaussian/noncoveraged.gaussianlog")


@pytest.mark.parametrize("lost", range(1, 140, 9))
def test_a_table_that_is_cut_off_gives_no_label(lost: int, tmp_path: Path) -> None:
    whole = ORCA_HEAD + orca_geometry() + orca_energy(-76.25) + orca_gradient().split("\n\nDifference")[0]
    (tmp_path / "a.out").write_text(whole[:-lost])
    data = read(tmp_path / "a.out", want=("energy",))
    assert data[0].labels["energy"] == pytest.approx(-76.25 * Hartree)
    assert "forces" not in data[0].labels
    text = ORCA_HEAD + orca_geometry() + orca_energy(-76.123456789)
    (tmp_path / "b.out").write_text(text[: text.index("-76.123456789") + 4 + lost // 18])
    with pytest.raises(DataError, match="no finished ionic step"):
        read(tmp_path / "b.out", want=("energy",))
