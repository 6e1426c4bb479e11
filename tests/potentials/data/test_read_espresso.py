"""Quantum ESPRESSO: what pw.x prints, true to its versions 5 to 7, with numbers that tell every component apart."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import units

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

RY_BOHR = units.Rydberg / units.Bohr
RY_BOHR3 = units.Rydberg / units.Bohr**3
ALL = ("energy", "forces", "stress")
ALAT = 10.2
SITES = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.26]])  # alat
FORCES = np.array([[0.01, -0.02, 0.03], [-0.01, 0.02, -0.03]])  # Ry/Bohr
STRESS = np.array([[1.0e-4, 4.0e-5, 6.0e-5], [4.0e-5, 2.0e-4, 5.0e-5], [6.0e-5, 5.0e-5, 3.0e-4]])  # Ry/Bohr³

HEADER = f"""
     Program PWSCF v.7.2 starts on  1Mar2025 at 10: 0: 0

     bravais-lattice index     =            0
     lattice parameter (alat)  =      {ALAT:.4f}  a.u.
     unit-cell volume          =     265.3020 (a.u.)^3
     number of atoms/cell      =            2
     number of atomic types    =            2
     kinetic-energy cutoff     =      60.0000  Ry
     charge density cutoff     =     480.0000  Ry
     Exchange-correlation= PBE
                           (   1   4   3   4   0   0   0)

     celldm(1)=  {ALAT:.6f}  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   0.000000   0.500000   0.500000 )
               a(2) = (   0.500000   0.000000   0.500000 )
               a(3) = (   0.500000   0.500000   0.000000 )

     PseudoPot. # 1 for Fe1 read from file:
     /home/me/pseudo/Fe.pbe-spn-kjpaw_psl.UPF

     PseudoPot. # 2 for O  read from file:
     /home/me/pseudo/o_pbe_v1.2.uspp.F.UPF

     Hubbard projectors: ortho-atomic
     Hubbard parameters of DFT+U (Dudarev formulation) in eV:
     U(Fe1-3d) =  4.6000

     Starting magnetic structure

     site n.     atom                  positions (alat units)
         1           Fe1 tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           O   tau(   2) = (   0.2500000   0.2500000   0.2600000  )

     number of k points=    10  SMEARING
                       cart. coord. in units 2pi/alat
        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   0.0312500
"""
GAUSSIAN = "Gaussian smearing, width (Ry)=  0.0200"
CONVERGED = "     convergence has been achieved in   8 iterations\n"
NOT = "     convergence NOT achieved after 100 iterations: stopping\n"
DONE = "\n=---=\n   JOB DONE.\n=---=\n"


def rows(table: np.ndarray, form: str = "{:15.8f}") -> str:
    return "\n".join("".join(form.format(x) for x in row) for row in table)


def scf(shift: float = 0.0, mark: str = "!   ", converged: str = CONVERGED, entropy: float = -0.004) -> str:
    smearing = f"     smearing contrib. (-TS)   =      {entropy:.8f} Ry\n" if entropy else ""
    return f"""
     Self-consistent Calculation

     total energy              =     -99.00000000 Ry
     End of self-consistent calculation

{mark} total energy              =    {-300.1 + shift:.8f} Ry
     estimated scf accuracy    <          2.8E-09 Ry
{smearing}
{converged}"""


def forces(shift: float = 0.0, stress: bool = True) -> str:
    listed = "".join(
        f"     atom {i:4d} type  1   force = {x:14.8f}{y:14.8f}{z:14.8f}\n"
        for i, (x, y, z) in enumerate(FORCES * (1 + shift), 1)
    )
    contribution = "     The non-local contrib.  to forces\n" + listed.replace("0.0", "7.0")
    tensor = rows(np.hstack([STRESS * (1 + shift), STRESS * 147105]))
    return (
        "\n     Forces acting on atoms (cartesian axes, Ry/au):\n\n"
        f"\n     negative rho (up, down):  2.052E-03 1.758E-03\n{listed}{contribution}\n     Total force = 0.05\n"
        + f"\n          total   stress  (Ry/bohr**3)                   (kbar)     P=       29.97\n{tensor}\n"
        * stress
    )


def moved(cell: str = "", unit: str = "crystal", z: float = 0.27, fixed: str = "") -> str:
    return f"""{cell}
ATOMIC_POSITIONS ({unit})
Fe1              0.0000000000        0.0000000000        0.0000000000{fixed}
O                0.2500000000        0.2500000000        {z:.10f}

"""


def output(*parts: str, smearing: str = GAUSSIAN) -> str:
    return HEADER.replace("SMEARING", smearing) + "".join(parts)


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_single_step_gives_free_energy_forces_and_stress_with_the_sign_turned(tmp_path):
    data = read(put(tmp_path / "any.name", output(scf(), forces(), DONE)), want=ALL)
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(-300.1 * units.Rydberg)
    np.testing.assert_allclose(sample.labels["forces"], FORCES * RY_BOHR, atol=1e-7)
    np.testing.assert_allclose(sample.labels["stress"], -STRESS * RY_BOHR3, atol=1e-9)
    np.testing.assert_allclose(sample.content.positions, SITES * ALAT * units.Bohr, atol=1e-6)
    np.testing.assert_allclose(sample.content.cell[0], np.array([0, 0.5, 0.5]) * ALAT * units.Bohr, atol=1e-6)
    assert str(sample.content.symbols) == "FeO"
    assert sample.tags["converged"] == "true"
    assert data.provenance.files[0].fixed == ("energy", "forces", "stress")
    assert data.provenance.files[0].energies == ("free",)


@pytest.mark.parametrize(("key", "energy"), [("e_wo_entrp", -300.096), ("e_0_energy", -300.098)])
def test_the_other_energies_can_be_chosen(tmp_path, key, energy):
    data = read(put(tmp_path / "pw.out", output(scf(), forces(), DONE)), keys={"energy": key})
    assert data[0].labels["energy"] == pytest.approx(energy * units.Rydberg)
    assert data[0].theory.energy == {"e_wo_entrp": "internal", "e_0_energy": "sigma0"}[key]


def test_a_smearing_without_a_midpoint_offers_no_energy_at_sigma_0(tmp_path):
    smearing = "Marzari-Vanderbilt smearing, width (Ry)=  0.0200"
    path = put(tmp_path / "pw.out", output(scf(), forces(), DONE, smearing=smearing))
    with pytest.raises(Exception, match="matches no key"):
        read(path, keys={"energy": "e_0_energy"})


def test_the_level_of_theory_is_what_is_printed(tmp_path):
    theory = read(put(tmp_path / "pw.out", output(scf(), forces(), DONE)))[0].theory
    assert (theory.code, theory.version, theory.functional) == ("Quantum ESPRESSO", "7.2", "PBE")
    assert theory.cutoff_eV == pytest.approx(60 * units.Rydberg)
    assert theory.density_cutoff_eV == pytest.approx(480 * units.Rydberg)
    assert (theory.smearing, theory.spin, theory.soc) == ("Gaussian", True, False)
    assert theory.smearing_width_eV == pytest.approx(0.02 * units.Rydberg)
    assert (theory.hubbard_u, theory.hubbard_orbital) == ({"Fe": 4.6}, {"Fe": "d"})
    assert theory.potentials == ("Fe.pbe-spn-kjpaw_psl.UPF", "o_pbe_v1.2.uspp.F.UPF")


def test_each_step_of_a_relaxation_has_the_structure_that_it_was_computed_for(tmp_path):
    alat = f"CELL_PARAMETERS (alat= {ALAT:.8f})\n" + rows(np.array([[0, 0.6, 0.6], [0.6, 0, 0.6], [0.6, 0.6, 0]]))
    text = output(
        scf(), forces(), moved(alat), scf(0.01), forces(0.1), "Begin final coordinates\n", moved(alat),
        "End final coordinates\n", DONE,
    )  # fmt: skip
    data = read(put(tmp_path / "relax.out", text), want=ALL)
    assert len(data) == 2
    np.testing.assert_allclose(data[0].content.positions, SITES * ALAT * units.Bohr, atol=1e-6)
    cell = np.array([[0, 0.6, 0.6], [0.6, 0, 0.6], [0.6, 0.6, 0]]) * ALAT * units.Bohr
    np.testing.assert_allclose(data[1].content.cell[:], cell, atol=1e-7)
    np.testing.assert_allclose(data[1].content.positions[1], np.array([0.25, 0.25, 0.27]) @ cell, atol=1e-7)
    assert data[1].labels["energy"] == pytest.approx(-300.09 * units.Rydberg)
    np.testing.assert_allclose(data[1].labels["stress"], -1.1 * STRESS * RY_BOHR3, atol=1e-9)


@pytest.mark.parametrize(
    ("unit", "scale"), [("angstrom", 1.0), ("bohr", units.Bohr), ("alat", ALAT * units.Bohr)], ids=lambda x: str(x)
)
def test_positions_in_every_unit_and_with_fixed_atoms(tmp_path, unit, scale):
    text = output(scf(), forces(), moved(unit=unit, fixed="    0   0   0"), scf(), forces(), DONE)
    data = read(put(tmp_path / "md.out", text))
    np.testing.assert_allclose(data[1].content.positions[1], np.array([0.25, 0.25, 0.27]) * scale, atol=1e-6)


def test_a_step_that_did_not_converge_is_tagged_and_told(tmp_path):
    text = output(scf(), forces(), moved(), scf(mark="    ", converged=NOT), forces(), DONE)
    data = read(put(tmp_path / "relax.out", text))
    assert [sample.tags["converged"] for sample in data] == ["true", "false"]
    assert data[1].labels["energy"] == pytest.approx(-300.1 * units.Rydberg)
    assert any("1 of 2 steps did not converge" in note for note in data.provenance.notes)


def test_a_run_that_stops_for_want_of_convergence_keeps_its_energy(tmp_path):
    data = read(put(tmp_path / "scf.out", output(scf(mark="    ", converged=NOT), DONE)), want=("energy",))
    assert data[0].tags["converged"] == "false"
    assert "forces" not in data[0].labels


@pytest.mark.parametrize("cut", ["after the energy", "within the forces", "within a number"])
def test_a_run_that_broke_off_keeps_its_finished_steps(tmp_path, cut):
    whole = output(scf(), forces(), moved(), scf(), forces())
    end = {
        "after the energy": whole.rindex("     Forces acting"),
        "within the forces": whole.index("     atom    2 type", whole.rindex("     Forces acting")),
        "within a number": whole.rindex("     smearing contrib") + 34,
    }[cut]
    data = read(put(tmp_path / "relax.out", whole[:end]))
    assert len(data) == 1
    assert any("broke off; its 1 finished" in note for note in data.provenance.notes)


def test_a_cut_archive_keeps_its_finished_steps(tmp_path):
    packed = gzip.compress(output(*[part for i in range(40) for part in (scf(i), forces(i), moved(z=i / 7))]).encode())
    (tmp_path / "relax.out.gz").write_bytes(packed[: len(packed) * 2 // 3])
    data = read(tmp_path / "relax.out.gz")
    assert 1 <= len(data) < 40
    assert any("broke off" in note for note in data.provenance.notes)


def test_a_run_without_a_finished_step_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no finished ionic step"):
        read(put(tmp_path / "pw.out", output("\n     Self-consistent Calculation\n")))


def test_a_line_that_cannot_be_read_is_named(tmp_path):
    text = output(scf().replace("total energy              =", "total energy  "), forces(), DONE)
    with pytest.raises(DataError, match=r"line \d+ cannot be read"):
        read(put(tmp_path / "pw.out", text))


def test_a_hybrid_functional_gives_the_energy_of_its_outer_loop(tmp_path):
    inner = scf(-5.0) + "     EXX: now go back to refine exchange calculation\n"
    data = read(put(tmp_path / "pw.out", output(inner, scf(mark="!!  "), forces(), DONE)))
    assert len(data) == 1
    assert data[0].labels["energy"] == pytest.approx(-300.1 * units.Rydberg)


def test_runs_one_after_another_have_their_own_theory(tmp_path):
    other = output(scf(), forces(), DONE).replace("cutoff     =      60.0000", "cutoff     =      80.0000")
    other = other.replace("     Starting magnetic structure\n", "")
    data = read(put(tmp_path / "tests.log", output(scf(), forces(), moved(), scf(), forces()) + other))
    np.testing.assert_allclose([s.theory.cutoff_eV / units.Rydberg for s in data], [60, 60, 80])
    assert [s.theory.spin for s in data] == [True, True, False]


def test_a_folder_is_searched_by_content_and_packed_copies_are_left_out(tmp_path):
    text = output(scf(), forces(), DONE)
    (tmp_path / "a").mkdir()
    put(tmp_path / "a" / "slurm-123.txt", text)
    (tmp_path / "a" / "slurm-123.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "b.log.bz2").write_bytes(bz2.compress(text.encode()))
    put(tmp_path / "pw.in", "&control\n calculation='scf'\n/\n")
    assert read(tmp_path).tag("trajectory") == ["a/slurm-123.txt", "b.log.bz2"]


@pytest.mark.parametrize(
    ("name", "n", "energy"),
    [("Si_md", 50, -14.44793733), ("TiO2_relax", 6, -406.00177990), ("Pt_noncollinear", 1, -261.62984154)],
)
def test_real_outputs(shared, name, n, energy):
    data = read(shared / f"data/real/qe/{name}.out.gz")
    assert len(data) == n
    assert data[0].labels["energy"] == pytest.approx(energy * units.Rydberg)
    assert set(data.tag("converged")) == {"true"}
    assert data[0].theory.spin == data[0].theory.soc == (name == "Pt_noncollinear")


def test_the_cell_of_a_real_relaxation_ends_with_its_final_scf(shared):
    data = read(shared / "data/real/qe/TiO2_relax.out.gz", want=ALL)
    assert data[-1].labels["energy"] == pytest.approx(-406.00260887 * units.Rydberg)
    assert data[-1].content.get_volume() == pytest.approx(426.7252 * units.Bohr**3, rel=1e-6)
    np.testing.assert_allclose(data[0].labels["stress"][0, 0], -21.34e-3, atol=1e-5)


# --- XML -------------------------------------------------------------------------------------------------------------

HARTREE3 = units.Hartree / units.Bohr**3


def xml_structure(z: float) -> str:
    return f"""<atomic_structure nat="2" alat="10.2"><atomic_positions>
<atom name="Fe1" index="1">0.0 0.0 0.0</atom><atom name="O" index="2">2.5 2.5 {z}</atom></atomic_positions>
<cell><a1>0.0 5.1 5.1</a1><a2>5.1 0.0 5.1</a2><a3>5.1 5.1 0.0</a3></cell></atomic_structure>"""


def xml_results(energy: float, scale: float = 1.0) -> str:
    tensor = "\n".join(" ".join(f"{x:.15e}" for x in row) for row in STRESS * scale)
    table = "\n".join(" ".join(f"{x:.15e}" for x in row) for row in FORCES * scale)
    return f"""<total_energy><etot>{energy!r}</etot><demet>-2.0e-3</demet></total_energy>
<forces rank="2" dims="3 2" order="F">{table}</forces><stress rank="2" dims="3 3" order="F">{tensor}</stress>"""


def xml_step(energy: float, z: float, converged: str = "true", scale: float = 1.0) -> str:
    scf_conv = (
        f"<scf_conv><convergence_achieved>{converged}</convergence_achieved><n_scf_steps>6</n_scf_steps></scf_conv>"
    )
    return f'<step n_step="1">{scf_conv}{xml_structure(z)}{xml_results(energy, scale)}</step>'


def schema(steps: str, energy: float, z: float, scale: float = 1.0) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns/qes/qes-1.0" Units="Hartree atomic units">
<general_info><creator NAME="PWSCF" VERSION="7.2">XML file generated by PWSCF</creator></general_info>
<input><control_variables><calculation>vc-relax</calculation></control_variables>
<atomic_species ntyp="2"><species name="Fe1"><mass>55</mass><pseudo_file>Fe.pbe-spn.UPF</pseudo_file></species>
<species name="O"><mass>16</mass><pseudo_file>o_pbe.UPF</pseudo_file></species></atomic_species>
<bands><occupations>smearing</occupations><smearing degauss="1.0e-2">gaussian</smearing></bands></input>
{steps}
<output><convergence_info><scf_conv><convergence_achieved>true</convergence_achieved></scf_conv></convergence_info>
{xml_structure(z)}
<basis_set><ecutwfc>30.0</ecutwfc><ecutrho>240.0</ecutrho></basis_set>
<dft><functional>PBE</functional><vdW><vdw_corr>grimme-d3</vdw_corr><dftd3_version>4</dftd3_version></vdW></dft>
<magnetization><lsda>true</lsda><noncolin>false</noncolin><spinorbit>false</spinorbit></magnetization>
{xml_results(energy, scale)}
<band_structure><starting_k_points><monkhorst_pack nk1="4" nk2="4" nk3="2" k1="1" k2="1" k3="0">Monkhorst-Pack
</monkhorst_pack></starting_k_points><ks_energies><k_point weight="2">0 0 0</k_point></ks_energies></band_structure>
</output></qes:espresso>
"""


def test_the_xml_of_a_single_point(tmp_path):
    data = read(put(tmp_path / "si.xml", schema("", -150.05, 2.6)), want=ALL)
    sample = data[0]
    assert sample.labels["energy"] == pytest.approx(-150.05 * units.Hartree)
    np.testing.assert_allclose(sample.labels["forces"], FORCES * units.Hartree / units.Bohr)
    np.testing.assert_allclose(sample.labels["stress"], -STRESS * HARTREE3)
    np.testing.assert_allclose(sample.content.positions[1], np.array([2.5, 2.5, 2.6]) * units.Bohr)
    np.testing.assert_allclose(sample.content.cell[0], np.array([0, 5.1, 5.1]) * units.Bohr)
    assert (str(sample.content.symbols), sample.tags["converged"]) == ("FeO", "true")
    middle = read(tmp_path / "si.xml", keys={"energy": "e_0_energy"})
    assert middle[0].labels["energy"] == pytest.approx(-150.049 * units.Hartree)


def test_the_xml_states_the_level_of_theory(tmp_path):
    theory = read(put(tmp_path / "si.xml", schema("", -150.05, 2.6)))[0].theory
    assert (theory.code, theory.version, theory.functional) == ("Quantum ESPRESSO", "7.2", "PBE")
    assert (theory.dispersion, theory.spin, theory.soc, theory.smearing) == ("D3(BJ)", True, False, "Gaussian")
    assert (theory.kpoints, theory.kpoint_offset) == ((4, 4, 2), (0.5, 0.5, 0.0))
    widths = (theory.cutoff_eV, theory.density_cutoff_eV, theory.smearing_width_eV)
    assert widths == pytest.approx((30 * units.Hartree, 240 * units.Hartree, 0.01 * units.Hartree))
    assert theory.potentials == ("Fe.pbe-spn.UPF", "o_pbe.UPF")


def test_the_output_of_the_xml_is_a_frame_where_it_is_no_repetition(tmp_path):
    steps = xml_step(-150.0, 2.5, "false") + xml_step(-150.05, 2.6, scale=2.0)
    repeated = read(put(tmp_path / "md.xml", schema(steps, -150.05, 2.7, 2.0)))
    assert repeated.tag("converged") == ["false", "true"]
    np.testing.assert_allclose([s.content.positions[1, 2] for s in repeated], np.array([2.5, 2.6]) * units.Bohr)
    final = read(put(tmp_path / "vc.xml", schema(steps, -150.07, 2.7, 3.0)), want=ALL)
    assert len(final) == 3
    np.testing.assert_allclose(final[2].labels["stress"], -3 * STRESS * HARTREE3)


def test_a_cut_xml_keeps_its_finished_steps(tmp_path):
    text = schema(xml_step(-150.0, 2.5) + xml_step(-150.05, 2.6), -150.05, 2.6)
    data = read(put(tmp_path / "cut.xml", text[: text.rindex("</step>") - 40]))
    assert len(data) == 1
    assert any("broke off" in note for note in data.provenance.notes)


def test_a_folder_gives_one_source_for_a_run_of_several_files(tmp_path):
    save = tmp_path / "out" / "si.save"
    save.mkdir(parents=True)
    put(save / "data-file-schema.xml", schema("", -150.05, 2.6))
    put(tmp_path / "out" / "si.xml", schema("", -150.05, 2.6))
    assert read(tmp_path).tag("file") == ["out/si.save/data-file-schema.xml"]
    put(tmp_path / "pw.out", output(scf(), forces(), DONE))
    assert read(tmp_path).tag("file") == ["pw.out"]


def test_an_xml_with_a_doctype_is_refused(tmp_path):
    text = schema("", -150.05, 2.6).replace("<qes:", '<!DOCTYPE a [<!ENTITY b "c">]>\n<qes:', 1)
    with pytest.raises(DataError, match="DOCTYPE"):
        read(put(tmp_path / "si.xml", text))


# --- cp.x ------------------------------------------------------------------------------------------------------------

CP_INPUT = """&control
 calculation = 'cp', prefix='water' ! a comment
/
&system
 ibrav = 8, celldm(1) = 10.D0, celldm(2) = 1.1, celldm(3) = 1.2
 nat = 3, ntyp = 2, ecutwfc = 80.D0, ecutrho = 320, input_dft = 'PBE', tot_charge = -1
/
&electrons
 emass = 300
/
ATOMIC_SPECIES
O 15.9994 O.pbe.UPF
H 1.00794 H.pbe.UPF
ATOMIC_POSITIONS {bohr}
O 0.0 0.0 0.0
H 1.0 1.0 0.0
H -1.0 1.0 0.0
"""


def blocks(table: np.ndarray, *steps: int) -> str:
    return "".join(f"{n:7d}  {n / 1000:.8f}\n" + rows(table + n, "{:25.14E}") + "\n" for n in steps)


def trajectory(folder: Path, evp: str = "", text: str = CP_INPUT) -> Path:
    table = np.arange(9.0).reshape(3, 3)
    put(folder / "water.in", text)
    put(folder / "water.pos", blocks(table, 10, 20))
    put(folder / "water.for", blocks(table / 100, 10, 20))
    titles = "# nfi time(ps) ekinc T_cell(K) Tion(K) etot enthal econs econt Volume Pressure(GPa)\n"
    line = " {} 0.01 1.0E-03 0.0E+00 300.0 {} -16.0 -15.0 -14.0 1.0E+03 0.1\n"
    put(folder / "water.evp", evp or titles + line.format(10, -17.1) + line.format(20, -17.2) + line.format(30, -17.3))
    return folder


@pytest.mark.parametrize("named", ["", "water.pos", "water.for", "water.evp"])
def test_a_trajectory_of_cp_is_one_source_whichever_file_is_named(tmp_path, named):
    data = read(trajectory(tmp_path) / named)
    assert data.tag("file") == ["water.pos", "water.pos"]
    np.testing.assert_allclose([float(s.labels["energy"]) for s in data], np.array([-17.1, -17.2]) * units.Hartree)
    np.testing.assert_allclose(data[1].content.positions[2], np.array([26, 27, 28]) * units.Bohr)
    np.testing.assert_allclose(
        data[0].labels["forces"][1], np.array([10.03, 10.04, 10.05]) * units.Hartree / units.Bohr
    )
    np.testing.assert_allclose(data[0].content.cell.lengths(), np.array([10, 11, 12]) * units.Bohr)
    assert (str(data[0].content.symbols), data[0].theory.functional) == ("OH2", "PBE")
    assert data[0].tags["charge"] == "-1"


def test_an_evp_of_old_versions_has_its_energy_by_its_title(tmp_path):
    titles = "#   nfi    ekinc     temphc  tempp        etot      enthal       econs\n"
    old = titles + " 10 0.001 0.0 300.0 -17.1 -16.0 -15.0\n"
    data = read(trajectory(tmp_path, old))
    assert [float(s.labels["energy"]) for s in data] == [pytest.approx(-17.1 * units.Hartree)]


def test_a_trajectory_of_cp_asks_for_what_it_lacks(tmp_path):
    mixed = CP_INPUT.replace("O 0.0 0.0 0.0\nH 1.0 1.0 0.0\n", "H 1.0 1.0 0.0\nO 0.0 0.0 0.0\n")
    with pytest.raises(DataError, match="one species after another"):
        read(trajectory(tmp_path, text=mixed))
    (tmp_path / "water.in").unlink()
    with pytest.raises(DataError, match=r"the \.in file of the run is missing"):
        read(tmp_path / "water.pos")


def test_real_trajectories_of_cp(shared):
    folder = shared / "data/real/other/qe.traj"
    water = read(folder / "oh-md.for")
    assert len(water) == 2
    assert str(water[0].content.symbols) == "O64H127"
    assert water[1].labels["energy"] == pytest.approx(-1100.03189493 * units.Hartree)
    assert water[0].labels["forces"][0, 0] == pytest.approx(0.13954951037786e-1 * units.Hartree / units.Bohr)
    si = read(folder / "si")
    assert si[0].labels["energy"] == pytest.approx(-45.33322432 * units.Hartree)
    assert si[0].content.get_volume() == pytest.approx(1204.809 * units.Bohr**3, rel=1e-5)
