"""VASP runs: vasprun.xml, OUTCAR, folders; labels, level of theory, broken runs.

The files are written by hand in the format of VASP 6: enough of each for a real parser (pymatgen's and ASE's read them
too), with numbers that tell every component apart.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.quantities import STRESS_UNITS, full_to_voigt
from matgraft.potentials.data.reading.formats.vasp.theory import Mesh, Species, level_of_theory, monkhorst_offset
from matgraft.potentials.data.reading.formats.vasp.vasprun import _at_once
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.theory_fields import offset

KBAR = STRESS_UNITS["kBar"]
ALL = ("energy", "forces", "stress")
FREE, WITHOUT, ZERO = -17.10, -17.00, -17.05  # eV: F, E without entropy, and their mean at sigma -> 0
FORCES = np.array([[0.11, -0.12, 0.13], [-0.11, 0.12, -0.13]])
STRESS = np.array([[10.0, 1.5, 3.5], [1.5, 20.0, 2.5], [3.5, 2.5, 30.0]])  # kBar, VASP's sign
CELL = np.diag([4.3, 4.4, 4.5])

INTEGERS = ("ISMEAR", "ISPIN", "NELM", "LDAUTYPE", "LDAUL")
INCAR = {"GGA": "PE", "ENCUT": "520", "METAGGA": "R2SCAN"}
PARAMETERS = {
    **{"ENMAX": "520.0", "ENAUG": "605.4", "ISMEAR": "0", "SIGMA": "0.05", "ISPIN": "2", "LSORBIT": "F", "NELM": "3"},
    **{"LNONCOLLINEAR": "F", "LHFCALC": "F", "AEXX": "0.0", "HFSCREEN": "0.0", "LUSE_VDW": "F", "GGA    ": "PE"},
    **{"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "2 -1", "LDAUU": "5.3 0.0", "LDAUJ": "1.0 0.0"},
}


def vectors(rows: np.ndarray) -> str:
    return "\n".join("<v> " + " ".join(f"{x:16.8f}" for x in row) + " </v>" for row in rows)


def energies(shift: float, wrong: bool = False) -> str:
    """Return an energy block; VASP 5 writes a wrong e_0_energy at the end of an ionic step."""
    return (
        f'<energy><i name="e_fr_energy">{FREE + shift:16.8f} </i><i name="e_wo_entrp">{WITHOUT + shift:16.8f} </i>'
        f'<i name="e_0_energy">{0.0 if wrong else ZERO + shift:16.8f} </i></energy>'
    )


def structure(positions: np.ndarray, name: str = "") -> str:
    return f"""<structure {name}><crystal><varray name="basis" >{vectors(CELL)}</varray><i name="volume"> 85.14 </i>
<varray name="rec_basis" >{vectors(np.linalg.inv(CELL).T)}</varray></crystal>
<varray name="positions" >{vectors(positions)}</varray></structure>"""


def calculation(shift: float, cycles: int, stress: bool = True) -> str:
    scstep = f"<scstep><time name='dav'> 0.1 0.1</time>{energies(shift)}</scstep>\n"
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.48 + shift / 100]])
    return f"""<calculation>
{scstep * cycles}{structure(positions)}
<varray name="forces" >{vectors(FORCES + shift)}</varray>
{f'<varray name="stress" >{vectors(STRESS)}</varray>' if stress else ""}
{energies(shift, wrong=True)}
</calculation>
"""


def vasprun(
    incar: dict[str, str] = INCAR,
    parameters: dict[str, str] = PARAMETERS,
    mesh: str = "Monkhorst-Pack",
    steps: str = "",
) -> str:
    """Return a vasprun.xml with two ionic steps, the second one not converged."""

    def words(table: dict[str, str]) -> str:
        rows = []
        for key, value in table.items():
            tag = "v" if " " in value.strip() else "i"
            kind = (
                "logical"
                if value in "TF"
                else "int"
                if key in INTEGERS
                else "string"
                if value.isalnum() and key != "ENCUT"
                else ""
            )
            rows.append(
                f'<{tag} type="{kind}" name="{key}"> {value}  </{tag}>'
                if kind
                else f'<{tag} name="{key}"> {value}  </{tag}>'
            )
        return "\n".join(rows)

    titles = {"Fe": "PAW_PBE Fe_pv 02Aug2007", "O": "PAW_PBE O 08Apr2002"}
    ions = "".join(f"<rc><c>{element} </c><c>   {i}</c></rc>" for i, element in enumerate(titles, start=1))
    types = "".join(
        f"<rc><c>   1</c><c>{element} </c><c> 1.0</c><c> 1.0</c><c>  {title}                </c></rc>"
        for element, title in titles.items()
    )
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.3.0  </i></generator>
 <incar>{words(incar)}</incar>
 <kpoints><generation param="{mesh}"><v type="int" name="divisions">       4        3        2 </v>
  <v name="usershift">      0.00000000       0.00000000       0.25000000 </v></generation>
  <varray name="kpointlist" ><v> 0.125 0.0 0.375 </v></varray><varray name="weights" ><v> 1.0 </v></varray></kpoints>
 <parameters><separator name="electronic" >{words(parameters)}</separator></parameters>
 <atominfo><atoms>       2 </atoms><types>       2 </types>
  <array name="atoms" ><dimension dim="1">ion</dimension><field type="string">element</field>
   <field type="int">atomtype</field><set>{ions}</set></array>
  <array name="atomtypes" ><dimension dim="1">type</dimension><field type="int">atomspertype</field>
   <field type="string">element</field><field>mass</field><field>valence</field>
   <field type="string">pseudopotential</field><set>{types}</set></array></atominfo>
{structure(np.array([[0, 0, 0], [0.5, 0.5, 0.48]]), 'name="initialpos" ')}
{steps or calculation(0.0, 2) + calculation(0.5, 3)}</modeling>
"""


def outcar(steps: int = 2, header: str = "") -> str:
    """Return an OUTCAR with converged ionic steps."""
    cell = "\n".join(
        "  ".join(f"{x:13.9f}" for x in (*row, *inverse))
        for row, inverse in zip(CELL, np.linalg.inv(CELL), strict=True)
    )
    lattice = f"      direct lattice vectors                 reciprocal lattice vectors\n{cell}\n\n"
    body = "".join(ionic_step(step, lattice) for step in range(steps))
    return outcar_head(header, lattice) + body + " General timing and accounting informations for this job:\n"


def outcar_head(header: str, lattice: str) -> str:
    """Return what an OUTCAR says of the calculation before its first step."""
    titles = ("PAW_PBE Fe_pv 02Aug2007", "PAW_PBE O 08Apr2002")
    pots = "".join(f" POTCAR:    {title}\n   TITEL  = {title}\n" for title in titles)
    return f""" vasp.6.3.0 20Jan22 (build Feb 10 2022 15:15:41) complex

 POTCAR:    PAW_PBE Fe_pv 02Aug2007
 POTCAR:    PAW_PBE O 08Apr2002
{pots}   ENMAX  =  293.238; ENMIN  =  219.929 eV
Automatic generation of k-mesh.
 generate k-points for:    4    3    2

  Shift w.r.t. Gamma in fractional coordinates (k-lattice)
     0.500000000  0.000000000  0.750000000

   number of dos      NEDOS =    301   number of ions     NIONS =      2
   ions per type =               1   1
   ISPIN  =      2    spin polarized calculation?
   LNONCOLLINEAR =      F non collinear calculations
   LSORBIT =      F    spin-orbit coupling
   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.  10.05 10.05 10.05*2*pi/ulx,y,z
   ENAUG  =  605.4 eV  augmentation charge cutoff
   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps
   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus
 LDA+U is selected, type is set to LDAUTYPE =  2
   angular momentum for each species LDAUL =     2   -1
   U (eV)           for each species LDAUU =   5.3  0.0
   J (eV)           for each species LDAUJ =   1.0  0.0
   GGA     =    PE    GGA type
   LHFCALC =     F    Hartree Fock is set to
{header}{lattice}
"""


def ionic_step(step: int, lattice: str) -> str:
    """Return what an OUTCAR says of one converged ionic step."""
    xx, yy, zz, yz, xz, xy = full_to_voigt(STRESS)
    shift = 0.5 * step
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.48 + shift / 100]]) @ CELL
    table = "\n".join(
        " ".join(f"{x:12.5f}" for x in r) + "    " + " ".join(f"{x:13.6f}" for x in f)
        for r, f in zip(positions, FORCES + shift, strict=True)
    )
    return f"""
--------------------------------------- Iteration      {step + 1}(   1)  ---------------------------------------

  free energy    TOTEN  =       -99.00000000 eV

  energy without entropy =      -99.00000000  energy(sigma->0) =      -99.00000000

------------------------ aborting loop because EDIFF is reached ----------------------------------------

  FORCE on cell =-STRESS in cart. coord.  units (eV):
  Direction    XX          YY          ZZ          XY          YZ          ZX
  --------------------------------------------------------------------------------------
  in kB   {xx:11.5f} {yy:11.5f} {zz:11.5f} {xy:11.5f} {yz:11.5f} {xz:11.5f}
  external pressure =       20.00 kB  Pullay stress =        0.00 kB

 VOLUME and BASIS-vectors are now :
 -----------------------------------------------------------------------------
{lattice}
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{table}
 -----------------------------------------------------------------------------------
    total drift:                                0.000036      0.000027      0.000055

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {FREE + shift:18.8f} eV

  energy  without entropy= {WITHOUT + shift:17.8f}  energy(sigma->0) = {ZERO + shift:17.8f}

"""


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(params=["vasprun.xml", "OUTCAR"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return put(tmp_path / "relax" / request.param, vasprun() if request.param == "vasprun.xml" else outcar())


def test_every_ionic_step_is_a_frame_in_canonical_units(run: Path) -> None:
    data = read(run, want=ALL)
    assert [float(sample.labels["energy"]) for sample in data] == pytest.approx([FREE, FREE + 0.5])
    np.testing.assert_allclose(data[1].labels["forces"], FORCES + 0.5, atol=1e-9)
    np.testing.assert_allclose(data[0].labels["stress"], -STRESS * KBAR, atol=1e-12)
    np.testing.assert_allclose(data[0].content.cell[:], CELL, atol=1e-9)
    np.testing.assert_allclose(data[1].content.positions[1], [0.5, 0.5, 0.485] @ CELL, atol=1e-5)
    assert data[0].content.get_chemical_symbols() == ["Fe", "O"]
    assert data.provenance.files[0].keys == {"energy": "e_fr_energy", "forces": "forces", "stress": "stress"}
    assert data.provenance.files[0].units["stress"] == "-kBar"


def test_other_readers_see_the_same(run: Path) -> None:
    """The hand-written files are VASP's format to ASE as well, and the numbers agree."""
    form = {"vasprun.xml": "vasp-xml", "OUTCAR": "vasp-out"}[run.name]
    data = read(run, want=ALL, keys={"energy": "e_0_energy"})
    for atoms, sample in zip(ase.io.read(run, ":", format=form), data, strict=True):
        assert sample.labels["energy"] == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(sample.labels["forces"], atoms.get_forces(apply_constraint=False), atol=1e-6)
        np.testing.assert_allclose(full_to_voigt(sample.labels["stress"]), atoms.get_stress(), rtol=1e-5)
        np.testing.assert_allclose(sample.content.positions, atoms.positions, atol=1e-4)


def test_pymatgen_sees_the_same(tmp_path: Path) -> None:
    from pymatgen.io.vasp import Vasprun

    path = put(tmp_path / "vasprun.xml", vasprun(steps=calculation(0.0, 2) + calculation(0.5, 2)))
    steps = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False).ionic_steps
    for step, sample in zip(steps, read(path, want=ALL), strict=True):
        assert sample.labels["energy"] == pytest.approx(step["e_fr_energy"])
        np.testing.assert_allclose(sample.labels["forces"], step["forces"])
        np.testing.assert_allclose(sample.labels["stress"], -KBAR * np.array(step["stress"]))
        np.testing.assert_allclose(sample.content.positions, step["structure"].cart_coords, atol=1e-9)


@pytest.mark.parametrize(
    ("keys", "energy", "kind"),
    [(None, FREE, "free"), ({"energy": "e_0_energy"}, ZERO, "sigma0"), ({"energy": "e_wo_entrp"}, WITHOUT, "internal")],
)
def test_the_energy_that_was_taken_is_recorded(run: Path, keys: dict | None, energy: float, kind: str | None) -> None:
    data = read(run, keys=keys)
    assert data[0].labels["energy"] == pytest.approx(energy)
    assert data[0].theory is not None
    assert data[0].theory.energy == kind
    assert any("neither the free energy" in note for note in data.provenance.notes) == (kind is None)


def test_level_of_theory_from_raw_parameters(run: Path) -> None:
    theory = read(run)[0].theory
    assert theory is not None
    assert (theory.code, theory.version, theory.spin, theory.soc) == ("VASP", "6.3.0", True, False)
    assert (theory.cutoff_eV, theory.density_cutoff_eV) == (520.0, 605.4)
    assert (theory.smearing, theory.smearing_width_eV) == ("Gaussian", 0.05)
    assert theory.hubbard_u == pytest.approx({"Fe": 4.3})
    assert theory.kpoints == (4, 3, 2)
    assert theory.kpoint_offset == (0.5, 0.0, 0.75)  # even divisions are shifted by half of one, plus the user's 0.25
    assert theory.potentials == ("PAW_PBE Fe_pv 02Aug2007", "PAW_PBE O 08Apr2002")
    assert (theory.functional, theory.metagga) == (("PBE", None) if run.name == "OUTCAR" else (None, "r2SCAN"))


def test_meshes_centred_on_gamma_and_lists_of_points(tmp_path: Path) -> None:
    gamma = read(put(tmp_path / "a" / "vasprun.xml", vasprun(mesh="Gamma")))[0].theory
    assert gamma is not None
    assert (gamma.kpoint_offset, gamma.kpoint_scheme) == ((0.0, 0.0, 0.25), "Gamma")
    text = vasprun().replace('name="divisions"', 'name="else"')
    listed = read(put(tmp_path / "b" / "vasprun.xml", text))[0].theory
    assert listed is not None
    assert (listed.kpoints, listed.kpoint_offset) == (None, None)


def test_odd_and_even_monkhorst_pack_meshes_are_one_level_of_theory(tmp_path: Path) -> None:
    even = read(put(tmp_path / "a" / "vasprun.xml", vasprun()))[0].theory
    odd_text = vasprun().replace("4 3 2", "3 3 3").replace("4        3        2", "3 3 3")
    odd = read(put(tmp_path / "b" / "vasprun.xml", odd_text))[0].theory
    gamma = read(put(tmp_path / "c" / "vasprun.xml", vasprun(mesh="Gamma")))[0].theory
    assert even is not None and odd is not None and gamma is not None
    assert even.kpoints != odd.kpoints and even.kpoint_offset != odd.kpoint_offset
    rules = offset(even)
    assert rules is not None and rules.agrees(offset(odd)) and not rules.agrees(offset(gamma))


FE = (Species("Fe", 1, "PAW_PBE Fe_pv 02Aug2007"), Species("O", 1, "PAW_PBE O 08Apr2002"))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"GGA": "--"}, {"functional": "PBE"}),
        ({"GGA": "PS"}, {"functional": "PBEsol"}),
        ({"GGA": "ZZ"}, {"functional": "GGA=ZZ"}),
        ({"METAGGA": "--"}, {"metagga": None, "functional": "PBE"}),
        ({"METAGGA": "SCAN"}, {"metagga": "SCAN", "functional": None}),
        ({"LHFCALC": "T", "AEXX": "0.25", "HFSCREEN": "0.2"}, {"hybrid": "HSE06 (AEXX=0.25, HFSCREEN=0.2)"}),
        ({"LHFCALC": ".TRUE.", "AEXX": "0.25"}, {"hybrid": "PBE0 (AEXX=0.25, HFSCREEN=0)"}),
        ({"LHFCALC": "T", "AEXX": "0.32", "HFSCREEN": "0.2"}, {"hybrid": "hybrid (AEXX=0.32, HFSCREEN=0.2)"}),
        ({"LHFCALC": "F", "AEXX": "0.25"}, {"hybrid": None}),
        ({"IVDW": "12"}, {"dispersion": "D3(BJ)"}),
        ({"IVDW": "0"}, {"dispersion": None}),
        ({"LUSE_VDW": "T"}, {"dispersion": "vdW-DF"}),
        ({"LDAU": "F", "LDAUU": "4 0"}, {"hubbard_u": {}}),
        (
            {"LDAU": "T", "LDAUTYPE": "1", "LDAUL": "2 -1", "LDAUU": "4 3", "LDAUJ": "1 0"},
            {"hubbard_u": {"Fe": 4.0, "Fe (J)": 1.0}},
        ),
        ({"LDAU": "T", "LDAUU": "4 0 ! eV"}, {"hubbard_u": {"Fe": 4.0}}),
        ({"ISPIN": "1"}, {"spin": False, "soc": None}),
        ({"ISPIN": "1", "LSORBIT": "T"}, {"spin": True, "soc": True}),
        ({"ISMEAR": "2"}, {"smearing": "Methfessel-Paxton 2"}),
        ({"ISMEAR": "-5"}, {"smearing": "tetrahedron (Blöchl)"}),
        ({"ISMEAR": "-14"}, {"smearing": "Fermi-Dirac (tetrahedron)"}),
        ({"ISMEAR": "-15"}, {"smearing": "Fermi-Dirac (tetrahedron, Blöchl)"}),
        ({"ISMEAR": "-3"}, {"smearing": "one of SMEARINGS"}),
        ({"ISMEAR": "-7"}, {"smearing": "ISMEAR=-7"}),
        ({}, {"spin": None, "smearing": None, "cutoff_eV": None, "energy": None}),
    ],
)
def test_parameters_mean_what_the_manual_says(tags: dict[str, str], expected: dict[str, object]) -> None:
    theory = level_of_theory({key: value.split() for key, value in tags.items()}, FE, Mesh(), "6.3.0")
    assert {name: getattr(theory, name) for name in expected} == expected


def test_potentials_without_gga_are_lda() -> None:
    assert level_of_theory({}, [Species("Si", 2, "PAW Si 02Feb1999")], Mesh(), "").functional == "LDA"
    assert level_of_theory({}, [Species("Si", 2, "PAW_GGA Si 02Feb1999")], Mesh(), "").functional == "PW91"


@given(st.lists(st.integers(1, 20), min_size=3, max_size=3))
def test_monkhorst_pack_offsets_follow_the_formula(divisions: list[int]) -> None:
    """k = (2r - N - 1) / 2N, r = 1..N: the mesh holds Γ only where N is odd."""
    for n, start in zip(divisions, monkhorst_offset(divisions, [0.0] * 3), strict=True):
        points = [(2 * r - n - 1) / 2 for r in range(1, n + 1)]  # in units of a division
        assert {point % 1.0 for point in points} == {start}


def test_wrong_parameters_section_gives_way_to_the_incar(tmp_path: Path) -> None:
    """Some versions cut LDAUU to one number in the parameters, and never name the meta-GGA there."""
    incar = INCAR | {"LDAUL": "2 -1", "LDAUU": "4.0 0.0", "LDAUJ": "0.0 0.0"}
    cut = PARAMETERS | {"LDAUL": "-1", "LDAUU": "0.0", "LDAUJ": "0.0"}
    theory = read(put(tmp_path / "vasprun.xml", vasprun(incar, cut)))[0].theory
    assert theory is not None
    assert theory.hubbard_u == {"Fe": 4.0}


def test_steps_that_used_up_nelm_are_not_converged(tmp_path: Path) -> None:
    assert read(put(tmp_path / "vasprun.xml", vasprun())).tag("converged") == ["true", "false"]
    head, tail = outcar().rsplit("------------------------ aborting loop because EDIFF is reached", 1)
    assert read(put(tmp_path / "OUTCAR", head + tail)).tag("converged") == ["true", "false"]


def test_a_run_without_stress_has_none(tmp_path: Path) -> None:
    path = put(tmp_path / "vasprun.xml", vasprun(steps=calculation(0.0, 1) + calculation(0.5, 1, stress=False)))
    data = read(path)
    assert ["stress" in sample.labels for sample in data] == [True, False]


def test_overflown_numbers_are_kept_as_not_a_number(tmp_path: Path) -> None:
    text = vasprun(steps=calculation(0.0, 1)).replace(f"{FORCES[0, 0]:16.8f}", "*" * 16)
    assert np.isnan(read(put(tmp_path / "vasprun.xml", text))[0].labels["forces"][0, 0])


@pytest.mark.parametrize(("name", "text"), [("vasprun.xml", vasprun()), ("OUTCAR", outcar())])
def test_an_unfinished_run_gives_its_finished_steps(tmp_path: Path, name: str, text: str) -> None:
    assert not any("broke off" in note for note in read(put(tmp_path / name, text)).provenance.notes)
    second = text.rindex("</calculation>" if name == "vasprun.xml" else "energy  without entropy")
    data = read(put(tmp_path / name, text[:second]))
    assert len(data) == 1
    assert any("broke off; its 1 finished ionic steps are kept" in note for note in data.provenance.notes)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode())[:-20])
    assert any("broke off" in note for note in read(packed).provenance.notes)


@settings(max_examples=80, deadline=None)
@given(where=st.floats(0, 1), length=st.integers(0, 30), junk=st.binary(max_size=8), outcar_file=st.booleans())
def test_a_damaged_run_is_read_or_refused(
    tmp_path_factory, where: float, length: int, junk: bytes, outcar_file: bool
) -> None:
    text = (outcar() if outcar_file else vasprun()).encode()
    start = int(where * len(text))
    path = tmp_path_factory.mktemp("damaged") / ("OUTCAR" if outcar_file else "vasprun.xml")
    path.write_bytes(text[:start] + junk + text[start + length :])
    try:
        assert len(read(path, want=[])) >= 1
    except DataError as error:
        assert path.name in str(error)


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1), outcar_file=st.booleans())
def test_a_run_cut_anywhere_is_read_or_refused(tmp_path_factory, where: float, outcar_file: bool) -> None:
    text = outcar() if outcar_file else vasprun()
    path = put(
        tmp_path_factory.mktemp("cut") / ("OUTCAR" if outcar_file else "vasprun.xml"), text[: int(where * len(text))]
    )
    try:
        data = read(path)
    except DataError as error:
        assert path.name in str(error)
    else:
        assert 1 <= len(data) <= 2
        assert data[0].labels["energy"] == pytest.approx(FREE)


def test_steps_of_a_learned_force_field_are_no_labels(tmp_path: Path) -> None:
    steps = calculation(0.0, 1) + calculation(0.5, 0)
    data = read(put(tmp_path / "vasprun.xml", vasprun(incar=INCAR | {"ML_LMLFF": "T"}, steps=steps)))
    assert len(data) == 1
    assert any("1 steps of a machine-learned force field left out" in note for note in data.provenance.notes)


def test_a_doctype_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE modeling [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>\n<modeling>'
    path = put(tmp_path / "vasprun.xml", vasprun().replace("<modeling>", bomb))
    with pytest.raises(DataError, match="DOCTYPE"):
        read(path)


def test_a_folder_is_searched_in_order(tmp_path: Path) -> None:
    put(tmp_path / "b" / "vasprun.xml", vasprun())
    put(tmp_path / "b" / "OUTCAR", outcar())  # stands beside a vasprun: not read twice
    put(tmp_path / "a" / "deep" / "OUTCAR", outcar())
    put(tmp_path / "notes.txt", "of no use")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "vasprun.xml.gz").write_bytes(gzip.compress(vasprun().encode()))
    data = read(tmp_path)
    names = ["a/deep/OUTCAR", "b/vasprun.xml", "c/vasprun.xml.gz"]
    assert data.tag("trajectory") == [name for name in names for _ in range(2)]
    assert data.tag("folder") == ["deep", "deep", "b", "b", "c", "c"]
    assert [file.name for file in data.provenance.files] == names
    assert sum("energy read from" in note for note in data.provenance.notes) == 1  # one note for all files


@pytest.mark.parametrize(
    "name",
    ["run1_vasprun.xml.gz", "vasprun_a.xml.bz2", "Fe.vasprun.xml.xz", "vasprun.xml.relax2.gz", "vasprun.xml-00",
     "relax.xml.gz", "calc.out", "VASPRUN.XML"],
)  # fmt: skip
def test_a_vasprun_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    open_ = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(Path(name).suffix, open)
    with open_(tmp_path / name, "wb") as file:
        file.write(vasprun().encode())
    data = read(tmp_path / name, want=ALL)
    np.testing.assert_allclose(data[0].labels["stress"], -STRESS * KBAR, atol=1e-12)  # VASP's unit and sign
    assert data[0].theory is not None and data[0].theory.metagga == "r2SCAN"
    assert data.tag("trajectory") == [name] * 2


@pytest.mark.parametrize("name", ["relax_OUTCAR.gz", "OUTCAR.a.b", "OUTCAR.not-converged", "calc.log", "run.out.gz"])
def test_an_outcar_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    text = outcar().encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    data = read(tmp_path / name, want=ALL)
    np.testing.assert_allclose(data[0].labels["stress"], -STRESS * KBAR, atol=1e-12)
    assert data[0].theory is not None and data[0].theory.cutoff_eV == 520.0


@pytest.mark.parametrize("name", ["OUTCAR.extxyz.gz", "vasprun.xml.extxyz", "my_vasprun.xyz.gz"])
def test_converted_files_are_read_as_what_they_are(tmp_path: Path, name: str) -> None:
    ase.io.write(
        tmp_path / name, ase.io.read(put(tmp_path / "vasprun.xml", vasprun()), format="vasp-xml"), format="extxyz"
    )
    assert read(tmp_path / name, keys={"energy": "energy"})[0].theory is None


def test_each_run_of_a_folder_is_read_once(tmp_path: Path) -> None:
    """An OUTCAR is left out where the vasprun.xml of its own run lies beside it, and only there."""
    for name in ("a.vasprun.xml", "vasprun.xml.relax2", "d.vasprun.xml"):
        put(tmp_path / name, vasprun())
    (tmp_path / "d.vasprun.xml.gz").write_bytes(gzip.compress(vasprun().encode()))
    for name in ("a.OUTCAR", "b.OUTCAR", "OUTCAR.relax1", "OUTCAR.relax2", "deep/OUTCAR.1", "plain/OUTCAR_final"):
        put(tmp_path / name, outcar())
    put(tmp_path / "plain" / "vasprun.xml", vasprun())
    put(tmp_path / "phonon.xml", "<phonon/>")
    names = [file.name for file in read(tmp_path).provenance.files]
    assert sorted(names) == sorted(
        ["a.vasprun.xml", "vasprun.xml.relax2", "d.vasprun.xml", "b.OUTCAR", "OUTCAR.relax1", "deep/OUTCAR.1",
         "plain/vasprun.xml"]
    )  # fmt: skip


def test_broken_runs_are_left_out_where_others_are_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "vasprun.xml", vasprun()[:300])
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "a/vasprun.xml" in str(caught.value)
    assert "b/vasprun.xml" in str(caught.value)
    put(tmp_path / "c" / "vasprun.xml", vasprun())
    data = read(tmp_path)
    assert len(data) == 2
    assert any(
        "a/vasprun.xml, b/vasprun.xml: left out: the run has no finished" in note for note in data.provenance.notes
    )
    with pytest.raises(DataError, match="no finished ionic step"):
        read([tmp_path / "a" / "vasprun.xml", tmp_path / "c"])


def test_what_is_stated_must_not_contradict_the_run(tmp_path: Path) -> None:
    path = put(tmp_path / "vasprun.xml", vasprun())
    licence = put(tmp_path / "own.yaml", "licence: CC-BY-4.0\n")
    theory = read(path, theory=licence)[0].theory
    assert theory is not None
    assert (theory.licence, theory.metagga) == ("CC-BY-4.0", "r2SCAN")
    other = put(tmp_path / "other.yaml", "energy: sigma0\n")
    with pytest.raises(DataError, match="energy is 'free' by its key, 'sigma0' was stated"):
        read(path, theory=other)
    assert read(path, theory=other, keys={"energy": "e_0_energy"})[0].theory == theory.model_copy(
        update={"energy": "sigma0", "licence": None}
    )
    with pytest.raises(DataError, match="metagga is 'r2SCAN' in the run"):
        read(path, theory=put(tmp_path / "wrong.yaml", "metagga: SCAN\n"))


@pytest.mark.parametrize(
    ("tags", "kelvins"),
    [
        ({"IBRION": "0", "TEBEG": "500.0", "TEEND": "500.0", "NSW": "2"}, ["500", "500"]),
        ({"IBRION": "0", "TEBEG": "300.0", "TEEND": "600.0", "NSW": "4"}, ["375", "450"]),
        ({"IBRION": "0", "TEBEG": "300.0", "TEEND": "-1", "NSW": "4"}, ["300", "300"]),
        ({"IBRION": "2", "TEBEG": "300.0", "TEEND": "300.0", "NSW": "4"}, ["", ""]),
        ({"IBRION": "0", "TEBEG": "0.0001", "TEEND": "0.0001", "NSW": "4"}, ["0.0001", "0.0001"]),
        ({}, ["", ""]),
    ],
)
def test_a_molecular_dynamics_run_states_its_temperature(
    tmp_path: Path, tags: dict[str, str], kelvins: list[str]
) -> None:
    xml = read(put(tmp_path / "a" / "vasprun.xml", vasprun(parameters=PARAMETERS | tags)))
    header = "".join(f"   {name:6} = {value};\n" for name, value in tags.items())
    assert xml.tag("temperature") == kelvins
    assert read(put(tmp_path / "b" / "OUTCAR", outcar(header=header))).tag("temperature") == kelvins


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["1 2 3", " -1.5e-3  0.0 7. "], [[1, 2, 3], [-1.5e-3, 0, 7]]),
        (["nan inf -inf"], [[np.nan, np.inf, -np.inf]]),
        (["1 2 3", "1 2", "1 2 3 4"], None),
        (["1 2 3", "1 2 inf 3"], None),
        (["1 2 *****"], None),
        (["1_0 2 3"], None),
        (["1D0 2 3"], None),
        ([""], None),
        ([], None),
    ],
)
def test_rows_are_read_at_once_where_they_are_plain(texts: list[str], said: list[list[float]] | None) -> None:
    found = _at_once(texts)
    assert found is None if said is None else np.array_equal(found, np.array(said), equal_nan=True)
