"""FHI-aims: outputs true to format, with numbers that tell every component apart."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from matgraft.potentials.data.reading.read import read

ALL = ("energy", "forces", "stress")
FORCES = np.array([[0.11, -0.12, 0.13], [-0.14, 0.15, -0.16]])
STRESS = np.array([[0.01, 0.04, 0.06], [0.04, 0.02, 0.05], [0.06, 0.05, 0.03]])
CELL = np.array([[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]])

HEAD = """------------------------------------------------------------
          Invoking FHI-aims ...
          Version 151211
  Parsing control.in (first pass over file, find array dimensions only).
  -----------------------------------------------------------------------

    xc                 pbe
    spin               collinear
    relativistic       atomic_zora scalar
  # xc                 pw-lda
    k_grid             4 4 6
    k_offset           0.5 0.5 0.0
    vdw_correction_hirshfeld
    species        Ga
      plus_u         3 d 2.5
  #  Suggested "tight" defaults for Ga atom (to be pasted into control.in file)
  #  Suggested "light" defaults for As atom (to be pasted into control.in file)
  -----------------------------------------------------------------------
  Completed first pass over input file control.in .

  | Number of species                 :        2
  | Number of atoms                   :        2
  | Number of spin channels           :        2
  Occupation type: Gaussian broadening, width =   0.200000E-01 eV.
  Input geometry:
  | Unit cell:
  |         0.00000000        2.70000000        2.70000000
  |         2.70000000        0.00000000        2.70000000
  |         2.70000000        2.70000000        0.00000000
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
  |    1: Species Ga            0.00000000        0.00000000        0.00000000
  |    2: Species As            1.35000000        1.35000000        1.36000000

"""
END = "\n          Have a nice day.\n------------------------------------------------------------\n"
DYNAMICS = "  Running Born-Oppenheimer  molecular dynamics in NVE ensemble.\n"


def scf(energy: float, converged: bool = True, compact: bool = True) -> str:
    block = "".join(
        f"  | {name:30s}: {(energy + shift) / 27.2:20.8f} Ha {energy + shift:20.8f} eV  <-- do not rely on this value\n"
        for name, shift in (("Total energy", 0.2), ("Total energy, T -> 0", 0.1), ("Electronic free energy", 0.0))
    )
    per_atom = f"  | Electronic free energy per atom  :  {energy / 2:20.8f} eV\n"
    final = f"""
  Energy and forces in a compact form:
  | Total energy uncorrected      :    {energy + 0.2:.15E} eV
  | Total energy corrected        :    {energy + 0.1:.15E} eV  <-- do not rely on this value for anything but metals
  | Electronic free energy        :    {energy:.15E} eV
"""
    return (
        "          Begin self-consistency loop: Re-initialization.\n"
        + block.replace("-4", "-9")
        + block
        + per_atom
        + ("  Self-consistency cycle converged.\n" if converged else "")
        + final * compact
    )


def forces(scale: float = 1.0, fixed: int = 0, raw: bool = True) -> str:
    table = FORCES * scale
    before = "  atomic forces [eV/Ang]:\n" + "".join(
        f"   Total forces({i:4d})            :{x:14.6E}{y:14.6E}{z:14.6E}\n" for i, (x, y, z) in enumerate(table, 1)
    )
    zeroed = np.where(np.arange(2)[:, None] < fixed, 0.0, table)
    how = "were cleaned, then relaxation constraints were applied" if fixed else "cleaned"
    return (
        before * raw
        + f"  Total atomic forces (unitary forces {how}) [eV/Ang]:\n"
        + "".join(f"  |{i:4d} {x:30.15E}{y:30.15E}{z:30.15E}\n" for i, (x, y, z) in enumerate(zeroed, 1))
    )


def stress(scale: float = 1.0) -> str:
    rows = "".join(
        f"  |  {x} {a:17.8f}{b:17.8f}{c:17.8f}           |\n"
        for x, (a, b, c) in zip("xyz", STRESS * scale, strict=True)
    )
    return f"""  +-------------------------------------------------------------------+
  |              Analytical stress tensor - Symmetrized               |
  |                  Cartesian components [eV/A**3]                   |
  +-------------------------------------------------------------------+
  |                x                y                z                |
  |                                                                   |
{rows}  |                                                                   |
  |  Pressure:      -0.02000000   [eV/A**3]                           |
"""


def structure(title: str, z: float, velocities: bool = False, lattice: float = 2.8) -> str:
    cell = "".join("  lattice_vector " + "".join(f"{x:17.8f}" for x in row) + "\n" for row in CELL * lattice / 2.7)
    atoms = [f"   atom {0:17.8f}{0:17.8f}{0:17.8f}  Ga\n", f"   atom {1.4:17.8f}{1.4:17.8f}{z:17.8f}  As\n"]
    after = "     velocity 1.0 2.0 3.0\n" if velocities else ""
    frac = "  Fractional coordinates:\n       atom_frac 0.0 0.0 0.0  Ga\n       atom_frac 0.2 0.2 0.2  As\n"
    columns = "                         x [A]             y [A]             z [A]\n"
    return f"  {title}:\n{columns}{'' if velocities else cell}{after.join([*atoms, ''])}{'' if velocities else frac}\n"


def put(folder: Path, text: str, name: str = "aims.out") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_single_point_gives_the_free_energy_forces_and_stress(tmp_path):
    data = read(put(tmp_path, HEAD + scf(-4000.0) + stress() + forces() + END, "some.log"), want=ALL)
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(-4000.0, abs=1e-9)
    np.testing.assert_allclose(sample.labels["forces"], FORCES)
    np.testing.assert_allclose(sample.labels["stress"], STRESS)
    np.testing.assert_allclose(sample.content.cell[:], CELL)
    np.testing.assert_allclose(sample.content.positions[1], [1.35, 1.35, 1.36])
    assert (str(sample.content.symbols), sample.tags["converged"]) == ("GaAs", "true")
    assert data.provenance.files[0].energies == ("free",)


@pytest.mark.parametrize(("key", "energy"), [("e_wo_entrp", -3999.8), ("e_0_energy", -3999.9)])
@pytest.mark.parametrize("compact", [True, False])
def test_the_other_energies_can_be_chosen(tmp_path, key, energy, compact):
    path = put(tmp_path, HEAD + scf(-4000.0, compact=compact) + forces() + END)
    assert read(path, keys={"energy": key})[0].labels["energy"] == pytest.approx(energy, abs=1e-7)


def test_the_level_of_theory_is_that_of_control_in(tmp_path):
    theory = read(put(tmp_path, HEAD + scf(-4000.0) + forces() + END))[0].theory
    assert (theory.code, theory.version, theory.functional, theory.dispersion) == ("FHI-aims", "151211", "PBE", "TS")
    assert (theory.kpoints, theory.kpoint_offset) == ((4, 4, 6), (0.5, 0.5, 0.0))
    assert (theory.smearing, theory.smearing_width_eV, theory.spin) == ("Gaussian", 0.02, True)
    assert (theory.hubbard_u, theory.hubbard_orbital) == ({"Ga": 2.5}, {"Ga": "d"})
    assert theory.potentials == ("Ga tight atomic_zora_scalar", "As light atomic_zora_scalar")


def test_a_relaxation_prints_the_next_structure(tmp_path):
    text = HEAD + scf(-4000.0) + stress() + forces() + structure("Updated atomic structure", 1.41)
    text += scf(-4001.0) + stress(2) + forces(2) + structure("Final atomic structure", 1.41) + END
    data = read(put(tmp_path, text), want=ALL)
    assert [float(sample.labels["energy"]) for sample in data] == [-4000.0, -4001.0]
    np.testing.assert_allclose([sample.content.positions[1, 2] for sample in data], [1.36, 1.41])
    np.testing.assert_allclose(data[1].content.cell[:], CELL * 2.8 / 2.7, atol=1e-7)
    np.testing.assert_allclose(data[1].labels["stress"], 2 * STRESS)


def test_molecular_dynamics_prints_the_structure_just_computed(tmp_path):
    title = "tomic structure (and velocities) as used in the preceding time step"
    text = HEAD + DYNAMICS + scf(-4000.0) + forces() + structure(f"A{title}", 1.41, velocities=True)
    text += scf(-4001.0) + forces(2) + structure(f"Final a{title}", 1.42, velocities=True) + END
    data = read(put(tmp_path, text))
    np.testing.assert_allclose([sample.content.positions[1, 2] for sample in data], [1.41, 1.42])
    np.testing.assert_allclose(data[1].labels["forces"], 2 * FORCES)
    np.testing.assert_allclose(data[1].content.cell[:], CELL)


def test_a_stress_by_finite_differences_belongs_to_the_cycle_after_it(tmp_path):
    numerical = stress().replace("Analytical stress tensor - Symmetrized", "          Numerical stress tensor     ")
    data = read(put(tmp_path, HEAD + scf(-3999.0) + numerical + scf(-4000.0) + forces() + END), want=ALL)
    assert len(data) == 1
    assert data[0].labels["energy"] == -4000.0
    np.testing.assert_allclose(data[0].labels["stress"], STRESS)


@pytest.mark.parametrize("raw", [True, False], ids=["printed before", "not printed before"])
def test_forces_of_fixed_atoms_are_no_zeros(tmp_path, raw):
    text = HEAD + scf(-4000.0) + forces(fixed=1, raw=raw) + structure("Updated atomic structure", 1.41)
    data = read(put(tmp_path, text + END), want=("energy",))
    assert data.count("forces") == raw
    if raw:
        np.testing.assert_allclose(data[0].labels["forces"], FORCES)
    assert any("atoms are fixed" in note for note in data.provenance.notes)


def test_a_cycle_that_did_not_converge_is_tagged(tmp_path):
    data = read(put(tmp_path, HEAD + scf(-4000.0, converged=False) + forces() + END))
    assert data[0].tags["converged"] == "false"
    assert any("1 of 1 steps did not converge" in note for note in data.provenance.notes)


@pytest.mark.parametrize("cut", [1, 30, 200, 500])
def test_a_run_that_broke_off_keeps_its_finished_steps(tmp_path, cut):
    text = HEAD + scf(-4000.0) + forces() + structure("Updated atomic structure", 1.41)
    text += scf(-4001.0, converged=False) + forces(raw=False)
    (tmp_path / "aims.out.gz").write_bytes(gzip.compress(text[:-cut].encode()))
    data = read(tmp_path)
    assert len(data) == 1
    assert any("broke off; its 1 finished" in note for note in data.provenance.notes)


@pytest.mark.parametrize(
    ("name", "n", "energy"),
    [
        ("H2O_md", 5, -2078.47042902594),
        ("Si_relax", 5, -15696.1246183849),
        ("Fe_spin", 1, -34705.8342686694),
        ("GaAs_HSE06_SOC", 1, -115078.906678080),
    ],
)
def test_real_outputs(shared, name, n, energy):
    data = read(shared / f"data/real/aims/{name}.out.gz", want=("energy",))
    assert len(data) == n
    assert data[0].labels["energy"] == pytest.approx(energy, abs=1e-7)
    assert set(data.tag("converged")) == {"true"}


def test_a_real_relaxation_has_forces_before_its_constraints_and_its_own_cells(shared):
    data = read(shared / "data/real/aims/Si_relax.out.gz", want=ALL)
    assert 0 < np.abs(data[0].labels["forces"]).max() < 1e-8
    np.testing.assert_allclose(data[1].content.cell[0], [2.70166394, 2.70166398, -0.00166398])
    assert data[0].labels["stress"].trace() / 3 == pytest.approx(-0.00570633, abs=2e-8)
