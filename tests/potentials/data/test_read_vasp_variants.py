"""What VASP writes differently: by version, by NWRITE, under pressure, with dispersion, learned forces or images."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.units import GPa

from matgraft.core.errors import DataError
from matgraft.core.quantities import STRESS_UNITS
from matgraft.potentials.data.reading.formats.vasp.outcar_header import read_header
from matgraft.potentials.data.reading.read import read

from .test_read_vasp import (
    CELL,
    FORCES,
    FREE,
    INCAR,
    PARAMETERS,
    STRESS,
    ZERO,
    calculation,
    outcar,
    outcar_head,
    put,
    vasprun,
)

ALL = ("energy", "forces", "stress")


def energies_of(path: Path, **options: object) -> list[float]:
    return [float(sample.labels["energy"]) for sample in read(path, **options)]


def notes_of(path: Path) -> str:
    return "\n".join(read(path, want=["energy"]).provenance.notes)


# --- convergence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_nelm_of_the_response_functions_is_another(tmp_path: Path, first: bool) -> None:
    block = '<separator name="response functions" ><i type="int" name="NELM">    1</i></separator>'
    own = '<separator name="electronic" >'
    text = vasprun().replace(own, block + own) if first else vasprun().replace("</parameters>", f"{block}</parameters>")
    assert text != vasprun()
    assert read(put(tmp_path / "vasprun.xml", text)).tag("converged") == ["true", "false"]  # 2 and 3 steps, NELM 3


def iterations(count: int, first: str = "1") -> str:
    rule = "---------------------------------------"
    return "".join(f"{rule} Iteration {first:>6}({i:4})  {rule}\n\n" for i in range(2, count + 1))


@pytest.mark.parametrize(
    ("count", "line", "converged"),
    [
        (59, "aborting loop because EDIFF is reached", "true"),
        (60, "aborting loop because EDIFF is reached", "false"),
        (60, "aborting loop EDIFF was not reached (unconverged)", "false"),
        (12, "aborting loop EDIFF was not reached (unconverged)", "false"),
        (12, "aborting loop because hard stop was set", "false"),
        (12, "", "false"),
    ],
)
def test_an_outcar_that_used_up_nelm_did_not_converge_whatever_it_says(
    tmp_path: Path, count: int, line: str, converged: str
) -> None:
    said = "------------------------ aborting loop because EDIFF is reached ----------------------------------------"
    rule = "-" * 24
    text = outcar(steps=1).replace(said, iterations(count) + f"{rule} {line} {rule}")
    echoed = text.replace("Automatic generation", "   NELM = 400\n   NELM      =      1\nAutomatic generation")
    assert read(put(tmp_path / "a" / "OUTCAR", text)).tag("converged") == [converged]
    assert read(put(tmp_path / "b" / "OUTCAR", echoed)).tag("converged") == [converged]


# --- enthalpy --------------------------------------------------------------------------------------------------------

PRESSURE = 500.0  # kBar
SMALLER = 0.95 * CELL


def enthalpy(cell: np.ndarray) -> float:
    """Return P V of `PRESSURE`, eV."""
    return float(PRESSURE / 10 * GPa * np.linalg.det(cell))


def pressed_vasprun() -> str:
    """Return a relaxation of two steps with PSTRESS and ISIF = 3: the cell shrinks."""
    steps = []
    for shift, cell in ((0.0, CELL), (0.5, SMALLER)):
        text = calculation(shift, 2)
        for row, other in zip(CELL, cell, strict=True):
            old, new = ("<v> " + " ".join(f"{x:16.8f}" for x in r) + " </v>" for r in (row, other))
            text = text.replace(old, new)
        head, last = text.rsplit("<energy>", 1)
        for value, name in ((FREE + shift, "e_fr_energy"), (-17.0 + shift, "e_wo_entrp")):
            last = last.replace(f"{value:16.8f}", f"{value + enthalpy(cell):16.8f}")
            assert name in last
        steps.append(f"{head}<energy>{last}")
    return vasprun(parameters=PARAMETERS | {"PSTRESS": f"{PRESSURE:.8f}"}, steps="".join(steps))


def test_with_pstress_the_energy_is_without_p_v(tmp_path: Path) -> None:
    path = put(tmp_path / "a" / "vasprun.xml", pressed_vasprun())
    data = read(path, want=ALL)
    assert energies_of(path) == pytest.approx([FREE, FREE + 0.5], abs=2e-5)  # VASP's constants are of 1986
    assert data[1].content.cell.volume == pytest.approx(np.linalg.det(SMALLER))
    assert energies_of(path, keys={"energy": "e_0_energy"}) == pytest.approx([ZERO, ZERO + 0.5], abs=2e-5)
    assert "P V is taken off in 2 steps: with PSTRESS=500 kBar" in notes_of(path)
    line = f"  enthalpy is  TOTEN    = {FREE + enthalpy(CELL):18.8f} eV   P V= {enthalpy(CELL):18.8f}\n"
    text = outcar(header="  PSTRESS=  500.0 pullay stress\n").replace(f"= {ZERO:17.8f}\n", f"= {ZERO:17.8f}\n{line}")
    other = read(put(tmp_path / "b" / "OUTCAR", text), want=ALL)
    assert float(other[0].labels["energy"]) == pytest.approx(float(data[0].labels["energy"]), abs=2e-5)
    np.testing.assert_allclose(other[0].labels["stress"], data[0].labels["stress"], atol=1e-9)


def test_nothing_is_taken_off_where_nothing_was_added(tmp_path: Path) -> None:
    none = put(tmp_path / "a" / "vasprun.xml", vasprun(parameters=PARAMETERS | {"PSTRESS": "0.00000000"}))
    same = put(tmp_path / "b" / "vasprun.xml", vasprun(parameters=PARAMETERS | {"PSTRESS": "20.00000000"}))
    for path in (none, same):
        assert energies_of(path) == pytest.approx([FREE, FREE + 0.5])
        assert "P V" not in notes_of(path)


# --- what is printed -------------------------------------------------------------------------------------------------


def without_titles(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "TITEL" not in line)


def test_nwrite_0_names_the_pseudopotentials_in_other_lines(tmp_path: Path) -> None:
    data = read(put(tmp_path / "OUTCAR", without_titles(outcar())), want=ALL)
    assert data[0].content.get_chemical_symbols() == ["Fe", "O"]
    assert data[0].theory is not None
    assert data[0].theory.potentials == ("PAW_PBE Fe_pv 02Aug2007", "PAW_PBE O 08Apr2002")


def test_steps_without_printed_positions_are_left_out(tmp_path: Path) -> None:
    """With NWRITE = 0 positions and forces are printed in the first and the last step alone."""
    parts = without_titles(outcar(steps=3)).split("--------------------------------------- Iteration")
    start, end = parts[2].index("VOLUME and BASIS"), parts[2].index("  FREE ENERGIE")
    parts[2] = parts[2][:start] + parts[2][end:]
    path = put(tmp_path / "OUTCAR", "--------------------------------------- Iteration".join(parts))
    data = read(path, want=ALL)
    assert energies_of(path) == pytest.approx([FREE, FREE + 1.0])
    np.testing.assert_allclose(data[1].labels["forces"], FORCES + 1.0, atol=1e-9)
    assert "1 steps left out: their positions are not printed" in notes_of(path)


def test_a_calculation_without_forces_has_its_energy(tmp_path: Path) -> None:
    text = outcar(steps=1)
    table = text[text.index(" POSITION  ") : text.index("  FREE ENERGIE")]
    rows = "\n".join("".join(f"{x:12.8f}" for x in row) for row in np.array([[0, 0, 0], [0.5, 0.5, 0.48]]) @ CELL)
    first = f" position of ions in cartesian coordinates  (Angst):\n{rows}\n\n"
    text = text.replace(table, "").replace("\n\n--------------------------------------- It", f"{first}\n------ It", 1)
    data = read(put(tmp_path / "OUTCAR", text), want=["energy"])
    assert float(data[0].labels["energy"]) == pytest.approx(FREE)
    assert "forces" not in data[0].labels
    np.testing.assert_allclose(data[0].content.positions[1], [0.5, 0.5, 0.48] @ CELL, atol=1e-6)


def test_vasp_4_prints_the_energies_first(tmp_path: Path) -> None:
    steps = []
    for text in outcar(steps=2).split("  FORCE on cell")[1:]:
        at = text.index("  FREE ENERGIE")
        end = text.index("\n\n", text.index("energy(sigma->0)", at)) + 2
        steps.append(text[at:end] + "  FORCE on cell" + text[:at] + text[end:])
    first = outcar(steps=2).split("  FORCE on cell")[0]
    data = read(put(tmp_path / "OUTCAR", first + "".join(steps)), want=ALL)
    assert [float(s.labels["energy"]) for s in data] == pytest.approx([FREE, FREE + 0.5])
    np.testing.assert_allclose(data[1].labels["forces"], FORCES + 0.5, atol=1e-9)
    np.testing.assert_allclose(data[1].labels["stress"], -STRESS * STRESS_UNITS["kBar"], atol=1e-12)


def test_columns_without_dispersion_are_not_taken(tmp_path: Path) -> None:
    out = []
    for line in outcar().splitlines():
        if "TOTAL-FORCE" in line:
            line += ",                                   FORCE-w/o vdW (eV/Angst)"
        elif line.startswith("  free  energy   TOTEN"):
            line += "    w/o vdW =       -16.00000000 eV"
        elif line.startswith("  energy  without entropy="):
            left, right = line.split("  energy(sigma->0)")
            line = f"{left} eV    w/o vdW =   -15.0  energy(sigma->0){right} eV    w/o vdW =   -15.5"
        elif len(words := line.split()) == 6 and line.startswith("     ") and len(words[0].split(".")[-1]) == 5:
            line += "         0.500000           NaN      0.500000"
        out.append(line)
    path = put(tmp_path / "OUTCAR", "\n".join(out) + "\n")
    assert path.read_text().count("NaN") == 4
    assert energies_of(path) == pytest.approx([FREE, FREE + 0.5])
    assert energies_of(path, keys={"energy": "e_0_energy"}) == pytest.approx([ZERO, ZERO + 0.5])
    np.testing.assert_allclose(read(path)[1].labels["forces"], FORCES + 0.5, atol=1e-9)


@pytest.mark.parametrize("force", ["           NaN", "**************"])
def test_a_force_that_is_no_number_stays_in_its_place(tmp_path: Path, force: str) -> None:
    text = outcar(steps=1)
    last = f"{FORCES[1, 2]:13.6f}"
    row = next(line for line in text.splitlines() if line.endswith(last) and "0.120000" in line)
    cut = row.index(f"{FORCES[1, 1]:13.6f}")
    changed = f"{row[:cut]}{force}{row[cut + 13 :]}"
    found = read(put(tmp_path / "OUTCAR", text.replace(row, changed)))[0].labels["forces"][1]
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], FORCES[1, [0, 2]], atol=1e-9)


def test_numbers_that_touch_each_other_are_told_apart(tmp_path: Path) -> None:
    text = outcar(steps=1)
    rows = [line for line in text.splitlines() if line.count(".") == 6][-2:]
    for x, row in zip((100.0, 103.0), rows, strict=True):
        touching = f"{x:13.5f}{-123456.25:13.5f}{-200.5:13.5f}   {1.5:14.6f}{-1000000.5:14.6f}{2000000.25:14.6f}"
        assert "0-123456.25000" in touching and "1.500000-1000000.5000002000000.250000" in touching
        text = text.replace(row, touching)
    frame = read(put(tmp_path / "OUTCAR", text))[0]
    np.testing.assert_allclose(frame.labels["forces"], [[1.5, -1000000.5, 2000000.25]] * 2)
    np.testing.assert_allclose(frame.content.positions, [[x, -123456.25, -200.5] for x in (100.0, 103.0)])


MANY = ("Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W", "Fe", "Co", "Ni")


def many_header(counts: str, n_ions: int) -> list[str]:
    """Return the header of twelve species, whose lists go over two lines."""
    titles = "".join(f"   TITEL  = PAW_PBE {element} 08Apr2002\n" for element in MANY)
    again = "\n" + " " * 44
    changes = {
        "   ions per type =               1   1\n": counts,
        "NIONS =      2": f"NIONS = {n_ions:6}",
        "   TITEL  = PAW_PBE Fe_pv 02Aug2007\n": titles,
        "   TITEL  = PAW_PBE O 08Apr2002\n": "",
        "LDAUL =     2   -1": "LDAUL =" + "   -1" * 9 + f"    2{again}    2   -1",
        "LDAUU =   5.3  0.0": "LDAUU =" + "  0.0" * 9 + f"  5.3{again}  3.3  0.0",
        "LDAUJ =   1.0  0.0": "LDAUJ =" + "  0.0" * 10 + f"{again}  0.0  0.0",
    }
    text = outcar_head("", "")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text.splitlines()


def test_a_long_vector_touches_the_number_before_it() -> None:
    head = outcar_head("", "").splitlines()
    cell = "      direct lattice vectors                 reciprocal lattice vectors\n" + "".join(
        "   " + "".join(f"{x:13.9f}" for x in row) + "   " + f"{0.0:13.9f}" * 3 + "\n" for row in np.diag([3, 4, 108.8])
    )
    assert "0.000000000108.800000000" in cell
    found = read_header([*head, *cell.splitlines()]).cell
    np.testing.assert_allclose(found, np.diag([3, 4, 108.8]))


def test_more_than_ten_species_go_over_several_lines() -> None:
    counts = "   ions per type =            " + "   2" * 10 + "\n" + " " * 30 + "   1   3\n"
    header = read_header(many_header(counts, 24))
    assert [kind.element for kind in header.species] == list(MANY)
    assert [kind.count for kind in header.species] == [2] * 10 + [1, 3]
    assert [header.words[tag][9:11] for tag in ("LDAUL", "LDAUU")] == [["2", "2"], ["5.3", "3.3"]]
    assert len(header.words["LDAUJ"]) == 12


def test_vasp_6_writes_the_counts_beyond_ten_into_a_second_block() -> None:
    """The numbers of the 11th species and of further ones stand in the fields of a block that begins anew."""
    counts = "   ions per type =            " + "   2" * 10 + "\n"
    counts += " Dimension of arrays:\n   k-points           NKPTS =      1   k-points in BZ     NKDIM =      3"
    counts += "   number of bands    NBANDS=\n   NGX,Y,Z   is equivalent  to a cutoff of  10.34, 10.34, 10.34 a.u.\n"
    header = read_header(many_header(counts, 24))
    assert [kind.count for kind in header.species] == [2] * 10 + [1, 3]


def test_counts_of_four_digits_touch_each_other() -> None:
    counts = "   ions per type =            " + "   21000" + "   1" * 8 + "\n" + " " * 30 + "10001200\n"
    header = read_header(many_header(counts, 3210))
    assert [kind.count for kind in header.species] == [2, 1000, *[1] * 8, 1000, 1200]
    with pytest.raises(ValueError, match="ions by type stand against 3211 ions"):
        read_header(many_header(counts, 3211))


# --- learned force fields --------------------------------------------------------------------------------------------


def learned(energy: float) -> str:
    """Return what VASP 6.4 prints of one step by a machine-learned force field."""
    return f"""
  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)
  Direction    XX          YY          ZZ          XY          YZ          ZX
  --------------------------------------------------------------------------------------
  Total:      1.00000     1.00000     1.00000     0.00000     0.00000     0.00000
  in kB       9.00000     9.00000     9.00000     9.00000     9.00000     9.00000
  external pressure =       -1.00 kB  Pullay stress =        1.00 kB

  volume of cell :     1000.00
      direct lattice vectors                 reciprocal lattice vectors
     9.000000000  0.000000000  0.000000000     0.111111111  0.000000000  0.000000000
     0.000000000  9.000000000  0.000000000     0.000000000  0.111111111  0.000000000
     0.000000000  0.000000000  9.000000000     0.000000000  0.000000000  0.111111111

  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         9.000000      9.000000      9.000000
      2.00000      2.00000      2.00000        -9.000000     -9.000000     -9.000000
 -----------------------------------------------------------------------------------

  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy ML TOTEN  = {energy:18.8f} eV

  ML energy  without entropy= {energy:17.8f}  ML energy(sigma->0) = {energy:17.8f}

  enthalpy is ML TOTEN    = {energy + 1:18.8f} eV   P V=        1.00000000

"""


def test_only_the_steps_by_dft_are_read_of_a_learning_run(tmp_path: Path) -> None:
    """A prediction stands before the electronic steps of an ionic one; alone where there are none."""
    head, *steps = outcar().split("\n--------------------------------------- Iteration")
    cut = "\n--------------------------------------- Iteration"
    text = head + learned(-1.0) + cut + steps[0] + learned(-2.0) + learned(-3.0) + learned(-4.0) + cut + steps[1]
    path = put(tmp_path / "OUTCAR", text)
    data = read(path, want=ALL)
    assert energies_of(path) == pytest.approx([FREE, FREE + 0.5])
    np.testing.assert_allclose(data[0].labels["stress"], -STRESS * STRESS_UNITS["kBar"], atol=1e-12)
    np.testing.assert_allclose(data[0].labels["forces"], FORCES, atol=1e-9)
    np.testing.assert_allclose(data[0].content.cell[:], CELL)
    assert "2 steps of a machine-learned force field left out" in notes_of(path)


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_a_run_by_a_learned_force_field_alone_is_refused(tmp_path: Path, name: str) -> None:
    head = outcar().split("\n--------------------------------------- Iteration")[0]
    end = " General timing and accounting informations for this job:\n"
    xml = vasprun(parameters=PARAMETERS | {"ML_LMLFF": "T"}, steps=calculation(0.0, 0) + calculation(0.5, 0))
    path = put(tmp_path / name, xml if name == "vasprun.xml" else head + learned(-1.0) + learned(-2.0) + end)
    with pytest.raises(DataError, match="its 2 steps are of a machine-learned force field"):
        read(path)


# --- chains of images ------------------------------------------------------------------------------------------------

CHAIN = np.array([[0.5, 0.25, -0.125], [-0.5, 0.125, 0.25]])


def rows(table: np.ndarray, form: str) -> str:
    return "\n".join("".join(f"{x:{form}}" for x in row) for row in table)


def own_band(text: str, forces: np.ndarray) -> str:
    """Add what VASP's own elastic band prints to a single step: forces along the chain, and the sum with the others."""
    tables = f"""  energy of chain is (eV)        -17.100000 for this image        -17.100000
  tangential force (eV/A)         0.100000
 TANGENT                                        CHAIN-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{rows(np.hstack([CHAIN, CHAIN]), "13.5f")}
 -----------------------------------------------------------------------------------
 CHAIN + TOTAL  (eV/Angst)
 ----------------------------------------------
{rows(forces + CHAIN, "13.5f")}
 ----------------------------------------------
"""
    return text.replace(" General timing", f"{tables} General timing")


def test_forces_of_an_elastic_band_are_those_of_dft(tmp_path: Path) -> None:
    path = put(tmp_path / "01" / "OUTCAR", own_band(outcar(steps=1), FORCES))
    np.testing.assert_allclose(read(path)[0].labels["forces"], FORCES, atol=1e-9)
    summed = put(tmp_path / "02" / "OUTCAR", own_band(outcar(steps=1), FORCES - CHAIN))
    np.testing.assert_allclose(read(summed)[0].labels["forces"], FORCES - CHAIN, atol=2e-5)


def tools(text: str, largest: float) -> str:
    """Add what the transition state tools print to a single step."""
    said = f""" NEB: projections on to tangent (spring, REAL)    0.000000   -0.812345    0.543210
 FORCES: max atom, RMS     {largest:.6f}    0.100000
"""
    return text.replace(" General timing", f"{said} General timing")


def test_forces_that_may_hold_the_chain_are_no_labels(tmp_path: Path) -> None:
    size = float(np.linalg.norm(FORCES[0]))
    path = put(tmp_path / "01" / "OUTCAR", tools(outcar(steps=1), size))
    with pytest.raises(DataError, match="no frame has forces") as caught:
        read(path)
    assert "keys.forces=chain_forces" in str(caught.value)
    assert "forces left out in 1 steps of an image" in notes_of(path)
    np.testing.assert_allclose(read(path, keys={"forces": "chain_forces"})[0].labels["forces"], FORCES, atol=1e-9)
    other = put(tmp_path / "02" / "OUTCAR", tools(outcar(steps=1), size + 0.1))  # the atoms were moved by others
    np.testing.assert_allclose(read(other)[0].labels["forces"], FORCES, atol=1e-9)


@pytest.mark.parametrize("line", ["   ICHAIN = 2\n", " CHAIN: Read ICHAIN           2\n"])
def test_forces_of_a_dimer_are_no_labels(tmp_path: Path, line: str) -> None:
    path = put(tmp_path / "OUTCAR", outcar(steps=1, header=line))
    assert "forces" not in read(path, want=["energy"])[0].labels
    usual = put(tmp_path / "b" / "OUTCAR", outcar(steps=1, header=line.replace("2\n", "0\n")))
    assert "forces" in read(usual)[0].labels


@pytest.mark.parametrize("tags", [{"IMAGES": "4", "SPRING": "-5"}, {"ICHAIN": "2"}])
def test_a_vasprun_of_an_image_gives_way_to_the_outcar_beside_it(tmp_path: Path, tags: dict[str, str]) -> None:
    steps = calculation(0.0, 2)
    path = put(tmp_path / "01" / "vasprun.xml", vasprun(incar=INCAR | tags, steps=steps))
    assert "forces left out in 1 steps of an image" in notes_of(path)
    assert "forces" not in read(path, want=["energy"])[0].labels
    put(path.parent / "OUTCAR", own_band(outcar(steps=1), FORCES))
    np.testing.assert_allclose(read(path)[0].labels["forces"], FORCES, atol=1e-9)
    assert "read from OUTCAR beside it: vasprun.xml may hold forces along a chain of images" in notes_of(path)
    none = put(tmp_path / "none" / "vasprun.xml", vasprun(incar=INCAR | {"IMAGES": "0", "ICHAIN": "0"}, steps=steps))
    assert "forces" in read(none)[0].labels


def test_each_image_is_a_trajectory(tmp_path: Path) -> None:
    for image in ("00", "01", "02"):
        put(tmp_path / image / "OUTCAR", own_band(outcar(steps=1), FORCES))
    assert read(tmp_path).tag("trajectory") == ["00/OUTCAR", "01/OUTCAR", "02/OUTCAR"]


# --- which file of a run ---------------------------------------------------------------------------------------------


def broken_vasprun() -> str:
    return vasprun()[: vasprun().index("</scstep>")]


def test_the_outcar_is_read_where_the_vasprun_is_broken(tmp_path: Path) -> None:
    path = put(tmp_path / "vasprun.xml", broken_vasprun())
    put(tmp_path / "OUTCAR", outcar())
    for given in (path, tmp_path):
        data = read(given, want=ALL)
        assert [float(s.labels["energy"]) for s in data] == pytest.approx([FREE, FREE + 0.5])
        np.testing.assert_allclose(data[0].labels["stress"], -STRESS * STRESS_UNITS["kBar"], atol=1e-12)
        assert any("read from OUTCAR beside it: vasprun.xml cannot be read" in n for n in data.provenance.notes)
        assert data.provenance.files[0].format == "VASP's OUTCAR"
    before = data.provenance.files[0].sha256
    put(tmp_path / "OUTCAR", outcar().replace("PAW_PBE O 08Apr2002", "PAW_PBE O 08Apr2003"))
    assert read(path).provenance.files[0].sha256 != before


def test_the_file_with_more_finished_steps_is_read(tmp_path: Path) -> None:
    half = vasprun()[: vasprun().rindex("</calculation>")]
    path = put(tmp_path / "vasprun.xml.relax1", half)
    (tmp_path / "OUTCAR.relax1.gz").write_bytes(gzip.compress(outcar().encode()))
    put(tmp_path / "OUTCAR.relax2", outcar(steps=3))  # of another run
    assert len(read(path)) == 2
    assert "read from OUTCAR.relax1.gz beside it: vasprun.xml.relax1 broke off" in notes_of(path)


def test_a_broken_outcar_gives_way_to_a_whole_vasprun(tmp_path: Path) -> None:
    cut = outcar()[: outcar().rindex("energy  without entropy")]
    path = put(tmp_path / "OUTCAR", cut)
    assert len(read(path)) == 1
    put(tmp_path / "vasprun.xml", vasprun())
    data = read(path)
    assert len(data) == 2
    assert data.provenance.files[0].format == "VASP's vasprun.xml"


def test_a_file_is_read_as_it_is_where_nothing_sounder_is_beside_it(tmp_path: Path) -> None:
    path = put(tmp_path / "vasprun.xml", vasprun()[: vasprun().rindex("</calculation>")])
    moved = outcar().replace("0.00000      0.00000      0.00000", "1.00000      0.00000      0.00000")
    put(tmp_path / "OUTCAR", moved)  # of another structure
    assert len(read(path)) == 1
    put(tmp_path / "OUTCAR", outcar(steps=1))  # has no more to give
    assert len(read(path)) == 1
    assert "broke off; its 1 finished" in notes_of(path)
    put(tmp_path / "OUTCAR", "of no use")
    assert len(read(path)) == 1
    broken = put(tmp_path / "b" / "vasprun.xml", broken_vasprun())
    put(tmp_path / "b" / "OUTCAR.1", outcar())
    put(tmp_path / "b" / "OUTCAR.2", outcar())  # which of them is of this run is open
    with pytest.raises(DataError, match="no finished ionic step"):
        read(broken)


def test_files_of_any_name_are_found_in_a_folder(tmp_path: Path) -> None:
    for name in ("OUTCAR.a.b", "OUTCAR.not-converged", "foo.bar", "deep/calc.log"):
        put(tmp_path / name, outcar())
    for name in ("vasprun.xml.relax2.gz", "deep/relax.out.gz"):
        (tmp_path / name).write_bytes(gzip.compress(vasprun().encode()))
    put(tmp_path / "screen.log", " vasp.6.3.0 20Jan22 complex\n POSCAR found\n")
    put(tmp_path / "OUTCAR.extxyz", "1\n\nH 0 0 0\n")
    assert [file.name for file in read(tmp_path).provenance.files] == [
        *("OUTCAR.a.b", "OUTCAR.not-converged", "deep/calc.log", "deep/relax.out.gz", "foo.bar"),
        "vasprun.xml.relax2.gz",
    ]


# --- real files ------------------------------------------------------------------------------------------------------

CASES = [
    ("cases/frames/v02_nelm_reached.OUTCAR.gz", 3, -23.96537837, ["false", "false", "true"]),
    ("cases/frames/v03_nwrite0.OUTCAR.gz", 1, -57.48343729, ["true"]),
    ("cases/frames/v05_vdw_columns.OUTCAR.gz", 1, -33.36815582, ["true"]),
    ("cases/frames/v09_npt_shear.OUTCAR.gz", 10, -369.40258132, ["true"] * 10),
    ("cases/frames/v11_vasprun.xml.relax2.gz", 3, -10.83820748, ["true"] * 3),
    ("cases/frames/vasprun_v01_nelm_default.xml.gz", 19, -42.91231666, ["true"] * 19),
    ("cases/frames/vasprun_v04_ti_aimd.xml.gz", 10, -253.15557734, ["true"] * 10),
    ("cases/frames/vasprun_v06_pstress.xml.gz", 1, -20.24695937, ["true"]),
    ("real/vasp/AgAc_relax.OUTCAR.gz", 1, -6.97148118, ["true"]),
    ("real/vasp/AgAc_relax.vasprun.xml.gz", 3, -7.13733633, ["true"] * 3),
    ("real/vasp/dftu.OUTCAR.gz", 1, -0.915070, ["true"]),
    ("real/vasp/dftu_two_U.OUTCAR.gz", 1, -130.40703524, ["true"]),
]


@pytest.mark.parametrize(("name", "n", "energy", "converged"), CASES, ids=[case[0].split("/")[-1] for case in CASES])
def test_real_runs(shared: Path, name: str, n: int, energy: float, converged: list[str]) -> None:
    data = read(shared / "data" / name, want=["energy"])
    assert len(data) == n
    assert float(data[0].labels["energy"]) == pytest.approx(energy, abs=1e-7)
    assert data.tag("converged") == converged
