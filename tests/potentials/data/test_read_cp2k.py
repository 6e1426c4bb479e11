"""CP2K: logs of versions 7 and 2024, and runs of several files, true to format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import units

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read

ALL = ("energy", "forces", "stress")
FORCE = units.Hartree / units.Bohr
ENERGIES = [-17.1234567891, -17.2234567891, -17.3234567891]
FORCES = np.array([[0.01, -0.02, 0.03], [-0.011, 0.021, -0.031], [0.001, -0.001, 0.001]])  # Hartree/Bohr
STRESS = np.array([[1.0, 0.4, 0.6], [0.4, 2.0, 0.5], [0.6, 0.5, 3.0]])  # GPa, positive under compression
SYMBOLS = ["O", "H", "H"]
POSITIONS = np.array([[1.0, 2.0, 3.0], [1.1, 2.2, 3.9], [0.3, 1.6, 3.4]])


def head(run: str = "MD", more: str = "", project: str = "water") -> str:
    return f""" DBCSR| Multiplication driver                                               XSMM

 CP2K| version string:                                          CP2K version 7.1

 GLOBAL| Project name                                                      {project}
 GLOBAL| Run type                                                             {run}

 CELL_TOP| Vector a [angstrom    99.000     0.000     0.000    |a| =      99.000
 CELL| Volume [angstrom^3]:                                             1000.000
 CELL| Vector a [angstrom]:      10.000     0.000     0.000    |a| =      10.000
 CELL| Vector b [angstrom]:       0.000    11.000     0.000    |b| =      11.000
 CELL| Vector c [angstrom]:       1.000     0.000    12.000    |c| =      12.042
 CELL_REF| Vector a [angstrom    98.000     0.000     0.000    |a| =      98.000
 DFT| Spin unrestricted (spin-polarized) Kohn-Sham calculation               UKS
 FUNCTIONAL| ROUTINE=NEW
 FUNCTIONAL| PBE:
 FUNCTIONAL| J.P.Perdew, K.Burke, M.Ernzerhof, Phys. Rev. Letter, vol. 77, n 18,
 vdW POTENTIAL|          DFT-D3 (Version 3.1)
 vdW POTENTIAL|          BJ Damping
 QS| Density cutoff [a.u.]:                                                200.0
  1. Atomic kind: O1                                    Number of atoms:       1
     Orbital Basis Set                                        DZVP-MOLOPT-SR-GTH
     GTH Potential information for                                    GTH-PBE-q6
  2. Atomic kind: H                                     Number of atoms:       2
     Orbital Basis Set                                        DZVP-MOLOPT-SR-GTH
     GTH Potential information for                                    GTH-PBE-q1
{more}
 POISSON| Periodicity                                                        XYZ
"""


def coordinates(shift: float = 0.0) -> str:
    rows = "".join(
        f"{i:8d}{(s == 'H') + 1:6d} {s} {8 if s == 'O' else 1:4d}{x:12.6f}{y:12.6f}{z:12.6f}      6.00      15.9994\n"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, POSITIONS + shift, strict=True), 1)
    )
    columns = "  Atom  Kind  Element       X           Y           Z          Z(eff)       Mass"
    return f"\n MODULE QUICKSTEP:  ATOMIC COORDINATES IN angstrom\n\n{columns}\n\n{rows}\n\n"


def step(energy: float, scf: str = "  *** SCF run converged in    10 steps ***\n", tables: bool = True) -> str:
    rows = "".join(
        f"{i:7d}{(s == 'H') + 1:7d}      {s + '1' * (s == 'O'):9s}{x:14.8f}{y:15.8f}{z:15.8f}\n"
        for i, (s, (x, y, z)) in enumerate(zip(SYMBOLS, FORCES, strict=True), 1)
    )
    tensor = "".join(f"  {x} {a:16.8f}{b:16.8f}{c:16.8f}\n" for x, (a, b, c) in zip("XYZ", STRESS, strict=True))
    found = f"""
 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
{rows} SUM OF ATOMIC FORCES           0.00000000     0.00000000    -0.00000000     0.00000000

 STRESS TENSOR [GPa]

            X               Y               Z
{tensor}
  1/3 Trace(stress tensor):  -1.83678792E-01

 EIGENVECTORS AND EIGENVALUES OF THE STRESS TENSOR

         9.0 9.0 9.0
"""
    return f"\n SCF WAVEFUNCTION OPTIMIZATION\n{scf}\n  Total energy:   -1.0\n" + (
        f"\n ENERGY| Total FORCE_EVAL ( QS ) energy (a.u.):     {energy:.15f}\n\n" + found * tables
    )


def new_step(energy: float) -> str:
    """Return a step as versions of 2024 print it, stress in bar."""
    rows = "".join(
        f" FORCES| {i:6d} {x:15.8E} {y:15.8E} {z:15.8E} {1:15.8E}\n" for i, (x, y, z) in enumerate(FORCES, 1)
    )
    tensor = "".join(
        f" STRESS|      {x} {a:19.11E} {b:19.11E} {c:19.11E}\n"
        for x, (a, b, c) in zip("xyz", STRESS * 1e4, strict=True)
    )
    return f"""  *** SCF run converged in     7 steps ***

 ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]           {energy:.15f}

 FORCES| Atomic forces [hartree/bohr]
 FORCES|   Atom     x               y               z               |f|
{rows} FORCES| Sum     0.0 0.0 0.0 0.0
 STRESS| Analytical stress tensor [bar]
 STRESS|                        x                   y                   z
{tensor} STRESS| 1/3 Trace                                              -7.17413478E+03
"""


END = "  **** **** ******  **  PROGRAM ENDED AT                 2020-08-14 06:10:02.425\n"


def xyz(
    energies: list[float], table: np.ndarray = POSITIONS, change: float = 0.01, md: bool = True, first: int = 0
) -> str:
    time = "time = {:12.3f}, " if md else ""
    return "".join(
        f"       3\n i = {i:8d}, {time.format(i / 2)}E = {energy:20.10f}\n"
        + "".join(
            f"  {s} {x:19.10f} {y:19.10f} {z:19.10f}\n"
            for s, (x, y, z) in zip(SYMBOLS, table + change * i, strict=True)
        )
        for i, energy in enumerate(energies, first)
    )


def cells(n: int, growth: float = 0.1) -> str:
    rows = "".join(
        f"{i:8d}{i / 2:12.3f}"
        + "".join(f"{x:16.10f}" for x in (np.diag([10, 11, 12]) + growth * i).ravel())
        + "   1.0\n"
        for i in range(n)
    )
    return "#   Step   Time [fs]       Ax [Angstrom]       Ay [Angstrom]       Az [Angstrom]\n" + rows


def stresses(n: int) -> str:
    rows = "".join(
        f"{i:8d}{i / 2:12.3f}" + "".join(f"{x:20.10f}" for x in STRESS.ravel() * 1e4) + "\n" for i in range(n)
    )
    return "#   Step   Time [fs]            xx [bar]            xy [bar]            xz [bar]\n" + rows


def put(folder: Path, **files: str) -> Path:
    """Write the files of a run; the key is a name or what the file holds."""
    names = {"log": "run.out", "pos": "water-pos-1.xyz", "frc": "water-frc-1.xyz", "cell": "water-1.cell"}
    for key, text in files.items():
        (folder / (names | {"stress": "water-1.stress"}).get(key, key)).write_text(text)
    return folder


def energies(data: Dataset) -> list[float]:
    return [float(sample.labels["energy"]) for sample in data]


def test_a_log_alone_gives_the_steps_whose_positions_it_has(tmp_path):
    log = head("ENERGY_FORCE") + coordinates() + step(ENERGIES[0]) + step(ENERGIES[1]) + END
    data = read(put(tmp_path, log=log) / "run.out", want=ALL)
    assert len(data) == 1
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(ENERGIES[0] * units.Hartree)
    np.testing.assert_allclose(sample.labels["forces"], FORCES * FORCE, atol=1e-6)
    np.testing.assert_allclose(sample.labels["stress"], -STRESS * units.GPa, atol=1e-9)
    np.testing.assert_allclose(sample.content.positions, POSITIONS, atol=1e-6)
    np.testing.assert_allclose(sample.content.cell[2], [1, 0, 12])
    assert sample.tags["converged"] == "true"
    assert any("1 steps left out" in note for note in data.provenance.notes)


def test_the_tables_of_version_2024(tmp_path):
    data = read(put(tmp_path, log=head() + coordinates() + new_step(ENERGIES[0]) + END), want=ALL)
    np.testing.assert_allclose(data[0].labels["forces"], FORCES * FORCE, atol=1e-6)
    np.testing.assert_allclose(data[0].labels["stress"], -STRESS * units.GPa, atol=1e-9)
    assert data[0].labels["energy"] == pytest.approx(ENERGIES[0] * units.Hartree)


def test_the_level_of_theory_is_what_is_printed(tmp_path):
    more = "                        Smear method:                    FERMI_DIRAC\n"
    more += "                        Electronic temperature [K]:              500.0\n"
    data = read(put(tmp_path, log=head(more=more) + coordinates() + step(ENERGIES[0]) + END))
    theory = data[0].theory
    assert (theory.code, theory.version, theory.functional, theory.dispersion) == ("CP2K", "7.1", "PBE", "D3(BJ)")
    assert (theory.spin, theory.kpoints, theory.smearing) == (True, (1, 1, 1), "Fermi-Dirac")
    assert theory.smearing_width_eV == pytest.approx(500 * units.kB)
    assert theory.density_cutoff_eV == pytest.approx(200 * units.Hartree)
    assert theory.potentials == ("O DZVP-MOLOPT-SR-GTH GTH-PBE-q6", "H DZVP-MOLOPT-SR-GTH GTH-PBE-q1")


def test_a_charge_is_a_tag(tmp_path):
    more = " DFT| Charge                                                                  -1"
    folder = put(tmp_path, log=head(more=more) + coordinates() + step(ENERGIES[0]) + END)
    assert read(folder)[0].tags["charge"] == "-1"


def test_the_entropy_is_in_the_energy_that_is_read(tmp_path):
    scf = "  *** SCF run converged in    10 steps ***\n  Electronic entropic energy:          -0.00500000000000\n"
    folder = put(tmp_path, log=head() + coordinates() + step(ENERGIES[0], scf) + END)
    assert read(folder)[0].labels["energy"] == pytest.approx(ENERGIES[0] * units.Hartree)
    inner = read(folder, keys={"energy": "e_wo_entrp"})
    assert inner[0].labels["energy"] == pytest.approx((ENERGIES[0] + 0.005) * units.Hartree)


@pytest.mark.parametrize(
    ("scf", "converged"),
    [
        ("  Leaving inner SCF loop after reaching    50 steps.\n  *** WARNING :: SCF run NOT converged ***\n", "false"),
        (
            "  Leaving inner SCF loop after reaching    50 steps.\n  outer SCF loop converged in   2 iterations\n",
            "true",
        ),
        ("  *** SCF run converged in 9 steps ***\n  outer SCF loop FAILED to converge after 5 iterations\n", "false"),
    ],
    ids=["inner", "outer after inner", "outer"],
)
def test_convergence_is_what_the_last_loop_says(tmp_path, scf, converged):
    data = read(put(tmp_path, log=head() + coordinates() + step(ENERGIES[0], scf) + END))
    assert data[0].tags["converged"] == converged


@pytest.mark.parametrize("named", ["", "run.out", "water-pos-1.xyz", "water-frc-1.xyz", "water-1.cell"])
def test_a_run_of_several_files_is_one_whichever_is_named(tmp_path, named):
    log = head() + coordinates() + "".join(step(energy) for energy in ENERGIES) + END
    put(tmp_path, log=log, pos=xyz(ENERGIES), frc=xyz(ENERGIES, FORCES, 0.5), cell=cells(3))
    data = read(tmp_path / named if named else tmp_path, want=ALL)
    assert len(data) == 3
    assert set(data.tag("file")) == {"water-pos-1.xyz"}
    np.testing.assert_allclose(data[2].content.positions, POSITIONS + 0.02, atol=1e-9)
    np.testing.assert_allclose(data[2].content.cell[:], np.diag([10, 11, 12]) + 0.2, atol=1e-9)
    np.testing.assert_allclose(data[2].labels["forces"], (FORCES + 1.0) * FORCE, atol=1e-9)
    np.testing.assert_allclose(data[2].labels["stress"], -STRESS * units.GPa, atol=1e-9)


def test_files_of_one_run_named_one_by_one_are_one_source(tmp_path):
    put(tmp_path, pos=xyz(ENERGIES), frc=xyz(ENERGIES, FORCES), cell=cells(3))
    data = read([tmp_path / "water-frc-1.xyz", tmp_path / "water-pos-1.xyz", tmp_path / "water-1.cell"])
    assert len(data) == 3
    assert len(data.provenance.files) == 1


def test_without_a_log_the_energies_are_those_of_the_comments(tmp_path):
    put(tmp_path, **{"e36_cp2k_pos.xyz": xyz(ENERGIES), "e36_cp2k_frc.xyz": xyz(ENERGIES, FORCES)})
    with pytest.raises(DataError, match="no cell is known"):
        read(tmp_path / "e36_cp2k_pos.xyz")
    put(tmp_path, **{"e36_cp2k.cell": cells(3, 0.0)})
    data = read(tmp_path / "e36_cp2k_pos.xyz")
    np.testing.assert_allclose(energies(data), np.array(ENERGIES) * units.Hartree, rtol=1e-9)
    assert data[0].theory.code == "CP2K"


def test_frames_find_their_evaluations_whatever_was_printed(tmp_path):
    """Every other step was written, and the log has line searches between them."""
    steps = "".join(step(energy) + step(energy + 0.5) for energy in ENERGIES)
    put(tmp_path, log=head() + coordinates() + steps + END, pos=xyz([ENERGIES[0], ENERGIES[2]]))
    data = read(tmp_path, want=ALL)
    np.testing.assert_allclose(energies(data), np.array([ENERGIES[0], ENERGIES[2]]) * units.Hartree, rtol=1e-9)
    assert len(data) == 2


def test_an_optimisation_of_the_cell_gives_energies_not_enthalpies(tmp_path):
    goals = [energy + 0.003 for energy in ENERGIES]
    steps = step(-17.0) + "  Total Energy               =   -16.5\n"  # a line search that took another evaluation
    steps += "".join(
        step(energy) + f" --------  Informations at step = ------------\n  Total Energy               =   {goal:.10f}\n"
        for energy, goal in zip(ENERGIES, goals, strict=True)
    )
    folder = put(tmp_path, log=head("CELL_OPT") + coordinates() + steps + END, pos=xyz(goals, md=False), cell=cells(3))
    data = read(folder, want=ALL)
    np.testing.assert_allclose(energies(data), np.array(ENERGIES) * units.Hartree, rtol=1e-9)
    assert any("enthalpies" in note for note in data.provenance.notes)
    (folder / "run.out").unlink()
    put(tmp_path, frc=xyz(goals, FORCES, md=False))
    alone = read(folder, want=("forces",))
    assert not alone.count("energy")
    assert any("energies left out" in note for note in alone.provenance.notes)


def test_a_changing_cell_without_its_file_keeps_the_first_frame(tmp_path):
    steps = "".join(step(energy) for energy in ENERGIES)
    log = head(more=" MD| Ensemble Type                                                         NPT_I")
    put(tmp_path, log=log + coordinates() + steps + END, pos=xyz(ENERGIES))
    data = read(tmp_path)
    assert len(data) == 1
    assert any("2 frames left out: the cell changes" in note for note in data.provenance.notes)


@pytest.mark.parametrize("md", [True, False])
def test_the_stress_file_counts_only_where_nothing_moves(tmp_path, md):
    put(tmp_path, pos=xyz(ENERGIES, md=md), frc=xyz(ENERGIES, FORCES, md=md), cell=cells(3, 0.0), stress=stresses(3))
    data = read(tmp_path)
    assert data.count("stress") == (0 if md else 3)
    if not md:
        np.testing.assert_allclose(data[0].labels["stress"], -STRESS * units.GPa, atol=1e-9)


def test_the_log_of_another_run_is_left_out(tmp_path):
    log = head(project="ice") + coordinates() + step(-99.0) + END
    put(tmp_path, log=log, pos=xyz(ENERGIES), frc=xyz(ENERGIES, FORCES), cell=cells(3))
    data = read(tmp_path / "water-pos-1.xyz")
    np.testing.assert_allclose(energies(data), np.array(ENERGIES) * units.Hartree, rtol=1e-9)
    assert any("log of another run" in note for note in data.provenance.notes)


def test_each_of_two_logs_of_one_project_belongs_to_its_own_run(tmp_path):
    own = head() + coordinates() + "".join(step(energy) for energy in ENERGIES) + END
    other = head() + coordinates() + step(-99.0) + END
    put(tmp_path, pos=xyz(ENERGIES), log=own, **{"older.out": other})
    assert read(tmp_path).tag("file") == ["older.out", *["water-pos-1.xyz"] * 3]
    assert energies(read(tmp_path / "older.out")) == [pytest.approx(-99 * units.Hartree)]


def test_a_line_search_that_comes_back_gives_the_evaluation_with_forces(tmp_path):
    first = step(ENERGIES[0], tables=False) + step(ENERGIES[0] + 1e-11)
    put(tmp_path, log=head("GEO_OPT") + coordinates() + first + END, pos=xyz(ENERGIES[:1], md=False))
    assert "forces" in read(tmp_path)[0].labels


def test_runs_that_broke_off_keep_their_finished_steps(tmp_path):
    log = head() + coordinates() + step(ENERGIES[0]) + step(ENERGIES[1])
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "run.log.gz").write_bytes(gzip.compress(log[: log.rindex("      2      2")].encode()))
    (tmp_path / "packed" / "water-pos-1.xyz").write_text(xyz(ENERGIES)[:-40])
    data = read(tmp_path)
    assert len(data) == 2
    assert ["forces" in sample.labels for sample in data] == [True, False]
    assert any("broke off; its 2 finished" in note for note in data.provenance.notes)


def test_velocities_alone_are_refused(tmp_path):
    put(tmp_path, **{"water-vel-1.xyz": xyz(ENERGIES)})
    with pytest.raises(DataError, match="velocities alone"):
        read(tmp_path / "water-vel-1.xyz")


@pytest.mark.parametrize("name", ["aimd_stress", "cp2k_normal_output"])
def test_real_runs_agree_with_what_another_reader_took(shared, name):
    folder = shared / f"data/real/other/cp2k/{name}"
    data = read(folder, want=ALL)
    sample, reference = data[0], {x.stem: np.load(x)[0] for x in (folder / "deepmd/set.000").glob("*.npy")}
    assert sample.labels["energy"] == pytest.approx(reference["energy"], rel=1e-8)
    np.testing.assert_allclose(sample.labels["forces"].ravel(), reference["force"], atol=1e-5)
    np.testing.assert_allclose(sample.content.positions.ravel(), reference["coord"], atol=1e-5)
    np.testing.assert_allclose(sample.content.cell[:].ravel(), reference["box"], atol=1e-5)
    virial = -sample.labels["stress"] * sample.content.get_volume()
    np.testing.assert_allclose(virial.ravel(), reference["virial"], rtol=1e-4, atol=1e-4)


def test_a_real_run_of_positions_and_a_packed_log(shared):
    data = read(shared / "data/real/cp2k", want=("energy",))
    assert len(data) == 11
    assert data[10].labels["energy"] == pytest.approx(-34.328287037884145 * units.Hartree)
    assert set(data.tag("converged")) == {"true"}
