"""Data sets of other programs: DeePMD folders, MTP's cfg, LAMMPS dumps, npz archives, LMDB and JSON records."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from pymatgen.core import Lattice, Structure

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.quantities import STRESS_UNITS, full_to_voigt
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import Stream, read
from matgraft.potentials.data.sample import Sample

ALL = ("energy", "forces", "stress")
KCAL = units.kcal / units.mol
STRESS = np.array([[0.01, 0.002, -0.003], [0.002, -0.02, 0.001], [-0.003, 0.001, 0.03]])
"""eV/Å³, ASE's sign; every component is another number."""


def frames(n: int = 3) -> list[Sample]:
    """Copper sulphide off symmetry in a skew cell, with right labels."""
    made = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        atoms = bulk("CuS", "zincblende", a=5.4)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        labels = {"energy": -8.1 - 0.1 * seed, "forces": rng.normal(size=(2, 3)), "stress": STRESS * (1 + seed)}
        made.append(Sample(atoms, labels))
    return made


def check(data: Dataset, expected: list[Sample], labels: tuple[str, ...] = ALL, tolerance: float = 1e-9) -> None:
    assert len(data) == len(expected)
    for one, other in zip(data, expected, strict=True):
        assert one.content.get_chemical_symbols() == other.content.get_chemical_symbols()
        np.testing.assert_array_equal(one.content.pbc, other.content.pbc)
        np.testing.assert_allclose(one.content.cell[:], other.content.cell[:], atol=tolerance)
        np.testing.assert_allclose(one.content.positions, other.content.positions, atol=tolerance)
        assert set(one.labels) == set(labels)
        for name in labels:
            np.testing.assert_allclose(one.labels[name], other.labels[name], atol=tolerance)


def virial(sample: Sample) -> np.ndarray:
    return -sample.labels["stress"] * sample.content.get_volume()


# --- DeePMD ---


def arrays_of(samples: list[Sample]) -> dict[str, np.ndarray]:
    columns: dict[str, list[Any]] = {"coord": [], "box": [], "energy": [], "force": [], "virial": []}
    for sample in samples:
        columns["coord"].append(sample.content.positions.ravel())
        columns["box"].append(sample.content.cell[:].ravel())
        columns["energy"].append(sample.labels["energy"])
        columns["force"].append(sample.labels["forces"].ravel())
        columns["virial"].append(virial(sample).ravel())
    return {name: np.array(rows) for name, rows in columns.items()}


def system(folder: Path, samples: list[Sample], raw: bool = False, cut: int = 2, **more: np.ndarray) -> Path:
    """Write a system of Cu and S, in sets of `cut` frames or as raw text."""
    folder.mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n")
    (folder / "type_map.raw").write_text("Cu\nS\n")
    columns = arrays_of(samples) | more
    if raw:
        for name, array in columns.items():
            np.savetxt(folder / f"{name}.raw", array)
        return folder
    for start in range(0, len(samples), cut):
        part = folder / f"set.{start // cut:03d}"
        part.mkdir()
        for name, array in columns.items():
            np.save(part / f"{name}.npy", array[start : start + cut])
    return folder


@pytest.mark.parametrize("raw", [False, True], ids=["npy", "raw"])
def test_a_deepmd_system_comes_back(tmp_path: Path, raw: bool) -> None:
    data = read(system(tmp_path / "CuS", frames(), raw), want=ALL)
    check(data, frames())
    file = data.provenance.files[0]
    assert file.name == "CuS"
    assert file.units == {"energy": "eV", "forces": "eV/Å", "stress": "eV (virial)"}
    assert data.tag("trajectory") == ["", "", ""]


def test_the_hash_of_a_system_is_that_of_its_arrays(tmp_path: Path) -> None:
    one, other = frames(), frames()
    other[2] = other[2].with_labels(energy=np.array(-9.0))
    first, second = system(tmp_path / "a", one), system(tmp_path / "b", other)
    hashes = {read(folder).provenance.files[0].sha256 for folder in (first, second)}
    assert len(hashes) == 2


def test_a_folder_of_many_systems_and_one_set_alone(tmp_path: Path) -> None:
    system(tmp_path / "data/iter.0/CuS", frames(3))
    system(tmp_path / "data/iter.1/CuS", frames(2), raw=True)
    data = read(tmp_path / "data", want=ALL)
    assert [sample.file for sample in data] == ["iter.0/CuS"] * 3 + ["iter.1/CuS"] * 2
    check(data, frames(3) + frames(2))
    check(read(tmp_path / "data/iter.0/CuS/set.001", want=ALL), frames(3)[2:])


def test_a_level_of_theory_stands_beside_a_system(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames())
    (tmp_path / "CuS.yaml").write_text("functional: PBE\n")
    theory = read(folder)[0].theory
    assert theory is not None
    assert theory.functional == "PBE"


def test_without_a_type_map_elements_are_asked_for(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames())
    (folder / "type_map.raw").unlink()
    with pytest.raises(DataError, match="does not say the element of types 0, 1") as caught:
        read(folder)
    assert "elements=Cu,S" in caught.value.remedy
    check(read(folder, elements=["Cu", "S"], want=ALL), frames())
    with pytest.raises(DataError, match=r"type 1 has no element: elements=Cu names 1, of the types from 0"):
        read(folder, elements=["Cu"])


def test_a_folder_is_read_although_one_system_lacks_its_elements(tmp_path: Path) -> None:
    system(tmp_path / "a", frames())
    (system(tmp_path / "b", frames()) / "type_map.raw").unlink()
    data = read(tmp_path)
    check(data, frames())
    assert [sample.content for sample in Stream(tmp_path)] == [sample.content for sample in data]
    (note,) = [note for note in data.provenance.notes if "left out" in note]
    assert note.startswith("b: left out: a DeePMD folder does not say the element of types 0, 1; ")
    assert "elements=Cu,S" in note
    assert len(read(tmp_path, elements=["Cu", "S"])) == 6
    with pytest.raises(DataError, match=r"^b frame 0: .* does not say the element"):
        read([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a" / "type_map.raw").unlink()
    for walk in (read, lambda path: list(Stream(path))):
        with pytest.raises(DataError, match=r"^a frame 0: .* does not say the element"):
            walk(tmp_path)


def test_files_of_frames_that_a_search_leaves_alone_are_told(tmp_path: Path) -> None:
    system(tmp_path / "a", frames())
    for name in ("b.xyz", "notes.txt"):
        (tmp_path / name).write_text("1\nenergy=-1\nHe 0 0 0\n", encoding="utf-8")
    stream = Stream(tmp_path)
    assert len(list(stream)) == len(read(tmp_path)) == 3
    for origin in (stream.provenance(), read(tmp_path).provenance):
        (note,) = [note for note in origin.notes if "not read" in note]
        assert note.startswith("b.xyz: not read: a folder is searched")
    both = read([tmp_path, tmp_path / "b.xyz"])
    assert len(both) == 4
    assert not any("not read" in note for note in both.provenance.notes)


def test_names_of_types_begin_with_their_element(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames())
    (folder / "type_map.raw").write_text("Cu1 S_bulk\n")
    data = read(folder, want=ALL)
    check(data, frames())
    assert "CuS: types are taken by their names: Cu1 as Cu, S_bulk as S" in data.provenance.notes


def test_a_system_without_cell_has_no_stress(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames())
    (folder / "nopbc").touch()
    data = read(folder)
    assert not data[0].content.pbc.any()
    assert data.quantities() == ("energy", "forces")


def test_a_mixed_system_has_its_types_frame_by_frame(tmp_path: Path) -> None:
    folder = system(tmp_path / "2", frames(), real_atom_types=np.array([[1, 0], [0, 1], [0, -1]]))
    (folder / "type.raw").write_text("0\n0\n")
    data = read(folder)
    assert [str(sample.content.symbols) for sample in data] == ["SCu", "CuS", "Cu"]
    np.testing.assert_allclose(data[2].labels["forces"], frames()[2].labels["forces"][:1])


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("force", np.zeros((2, 5)), r"force has the shape \(2, 5\)"),
        ("energy", np.zeros(7), r"energy has the shape \(7,\)"),
        ("virial", np.zeros((2, 6)), r"virial has the shape \(2, 6\)"),
        ("energy", np.array([None, None]), "Python objects"),
    ],
)
def test_arrays_that_contradict_are_named(tmp_path: Path, name: str, array: np.ndarray, said: str) -> None:
    folder = system(tmp_path / "CuS", frames(2))
    np.save(folder / f"set.000/{name}.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=said) as caught:
        read(folder)
    assert caught.value.where.startswith("CuS/set.000")


def test_a_system_without_types_says_what_is_missing(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames(2))
    (folder / "type.raw").unlink()
    with pytest.raises(DataError, match="cannot be read") as caught:
        read(folder)
    assert caught.value.where == "CuS/type.raw"


def test_a_cut_array_is_refused(tmp_path: Path) -> None:
    folder = system(tmp_path / "CuS", frames(2))
    file = folder / "set.000/force.npy"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be read"):
        read(folder)


def test_published_systems_agree_with_their_other_forms(shared: Path) -> None:
    other = shared / "data/real/other"
    data = read(other / "cp2k/aimd_stress/deepmd", want=ALL)
    assert data[0].labels["energy"] == pytest.approx(-219.65547238)
    atoms, forces = data[0].content, data[0].labels["forces"]
    # Of a molecule far from its images the virial is the sum of positions times forces.
    by_forces = -(atoms.positions - atoms.positions.mean(axis=0)).T @ forces / atoms.get_volume()
    assert np.corrcoef(by_forces.ravel(), data[0].labels["stress"].ravel())[0, 1] > 0.9
    spin = read(other / "tmp.deepmd.spin", want=ALL)
    assert [float(energy) for energy in (one.labels["energy"] for one in spin)] == [-54546.234016, -54546.209555]
    assert str(spin[0].content.symbols) == "Fe16"
    with pytest.raises(DataError, match="types 0, 1"):
        read(other / "poscars/deepmd.h2o.md")
    water = read(other / "poscars/deepmd.h2o.md", elements=["O", "H"])
    assert water[0].labels["energy"] == pytest.approx(-28.38622624)


# --- MTP ---


def cfg(sample: Sample, columns: str = "id type cartes_x cartes_y cartes_z fx fy fz", **more: str) -> str:
    atoms = sample.content
    own = {"id": [1, 2], "type": [0, 1]}
    for i, axis in enumerate("xyz"):
        own |= {f"cartes_{axis}": atoms.positions[:, i], f"f{axis}": sample.labels["forces"][:, i]}
        own |= {f"direct_{axis}": atoms.get_scaled_positions(wrap=False)[:, i]}
    rows = "".join(" ".join(f"{own[name][k]:.12g}" for name in columns.split()) + "\n" for k in range(2))
    cell = "".join(" ".join(f"{x:.12f}" for x in vector) + "\n" for vector in atoms.cell[:])
    words = dict(zip(["xx", "yy", "zz", "yz", "xz", "xy"], full_to_voigt(virial(sample)), strict=True))
    order = more.get("order", "xx yy zz yz xz xy").split()
    sign = -1 if more.get("stress") == "Stress:" else 1
    stress = f" {more.get('stress', 'PlusStress:')} {' '.join(order)}\n" + " ".join(
        f"{sign * words[w]:.12f}" for w in order
    )
    return (
        f"BEGIN_CFG\n Size\n    2\n Supercell\n{cell} AtomData: {columns}\n{rows} Energy\n"
        f"    {float(sample.labels['energy']):.12f}\n{stress}\n Feature   EFS_by       {more.get('by', 'VASP')}\n"
        "END_CFG\n\n"
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"columns": "fx fy fz type direct_x direct_y direct_z"},
        {"order": "xy xx yz yy xz zz"},
        {"stress": "Stress:"},
    ],
)
def test_mtp_configurations_come_back(tmp_path: Path, more: dict[str, str]) -> None:
    path = tmp_path / "train.cfg"
    path.write_text("".join(cfg(sample, **more) for sample in frames()))
    data = read(path, elements=["Cu", "S"], want=ALL)
    check(data, frames())
    assert data.tag("EFS_by") == ["VASP"] * 3
    assert data.provenance.files[0].units == {"energy": "eV", "forces": "eV/Å", "stress": "eV (virial)"}


def test_mtp_asks_for_elements(tmp_path: Path) -> None:
    path = tmp_path / "any name"
    path.write_text(cfg(frames()[0]))
    with pytest.raises(DataError, match="cfg file does not say the element of types 0, 1"):
        read(path)


def test_mtp_without_a_cell_is_a_molecule_and_labels_of_a_potential_are_told(tmp_path: Path) -> None:
    lines = cfg(frames()[0], by="MultiMTP").splitlines(keepends=True)
    path = tmp_path / "a.cfg"
    path.write_text("".join(lines[:3] + lines[7:]))
    data = read(path, elements=["Cu", "S"])
    assert not data[0].content.pbc.any()
    assert data.quantities() == ("energy", "forces")
    assert "a.cfg: labels of 1 frames were computed by a potential, says EFS_by" in data.provenance.notes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("END_CFG", "", "the file ends in the middle"),
        ("    2\n", "    3\n", "2 atoms, Size says 3"),
        ("cartes_x", "place_x", "no positions among"),
        (" AtomData:", " Data:", "no AtomData"),
        ("yz xz xy", "yz xz ab", "'ab' is not a component"),
    ],
)
def test_broken_configurations_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "a.cfg"
    path.write_text(cfg(frames()[0]) + cfg(frames()[0]).replace(old, new))
    with pytest.raises(DataError, match=said) as caught:
        read(path, elements=["Cu", "S"])
    assert caught.value.where == "a.cfg frame 1"


# --- LAMMPS ---


def skew() -> Sample:
    """A cell as LAMMPS has them: the first vector along x, the second in the xy plane."""
    cell = np.array([[4.0, 0, 0], [-1.2, 4.2, 0], [0.7, -0.9, 5.0]])
    atoms = Atoms("CuSS", [[0.1, 0.2, 0.3], [2.0, 1.0, 2.6], [0.5, 3.1, 4.0]], cell=cell, pbc=True)
    return Sample(atoms, {"forces": np.arange(9.0).reshape(3, 3) - 4.0})


def dump(columns: str, head: str = "", scale: float = 1.0, n: int = 1) -> str:
    """Write the frame with its origin at (1, 2, 3), atoms in another order than their ids."""
    atoms, forces = skew().content, skew().labels["forces"] * scale
    origin = np.array([1.0, 2.0, 3.0])
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell[:]
    low = origin + np.array([min(0, xy, xz, xy + xz), min(0, yz), 0])
    high = origin + np.array([lx + max(0, xy, xz, xy + xz), ly + max(0, yz), lz])
    own: dict[str, Any] = {
        "id": [1, 2, 3],
        "type": [1, 2, 2],
        "element": ["Cu", "S", "S"],
        "mass": [63.546, 32.06, 32.06],
    }
    for i, axis in enumerate("xyz"):
        own |= {axis: (atoms.positions + origin)[:, i], f"{axis}u": (atoms.positions + origin)[:, i]}
        own |= {f"{axis}s": atoms.get_scaled_positions(wrap=False)[:, i], f"f{axis}": forces[:, i]}
    rows = "".join(" ".join(str(own[name][k]) for name in columns.split()) + " \n" for k in (2, 0, 1))
    bounds = "".join(f"{a!s} {b!s} {c!s}\n" for a, b, c in zip(low, high, (xy, xz, yz), strict=True))
    return head + "".join(
        f"ITEM: TIMESTEP\n{10 * step}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS xy xz yz pp pp pp\n{bounds}"
        f"ITEM: ATOMS {columns} \n{rows}"
        for step in range(n)
    )


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("places", ["x y z", "xu yu zu", "xs ys zs"])
@pytest.mark.parametrize("kind", ["element", "mass"])
def test_a_dump_with_elements_and_forces(tmp_path: Path, places: str, kind: str) -> None:
    path = saved(tmp_path / "run.dump", dump(f"id {kind} {places} fx fy fz", n=2))
    data = read(path, want=["forces"], units={"forces": "eV/Å"})
    check(data, [skew()] * 2, ("forces",))
    assert data.tag("timestep") == ["0", "10"]
    assert data.tag("trajectory") == ["run.dump"] * 2


@pytest.mark.parametrize(
    ("style", "per_eV_A"),
    [("metal", 1.0), ("real", 1 / KCAL)],
)
def test_a_dump_that_states_its_units_is_not_asked(tmp_path: Path, style: str, per_eV_A: float) -> None:
    path = saved(tmp_path / "a", dump("id element x y z fx fy fz", f"ITEM: UNITS\n{style}\n", per_eV_A))
    check(read(path, want=["forces"]), [skew()], ("forces",))


def test_a_dump_in_bohr(tmp_path: Path) -> None:
    path = saved(tmp_path / "a", dump("id element x y z fx fy fz", "ITEM: UNITS\nelectron\n"))
    data = read(path, want=["forces"])
    np.testing.assert_allclose(data[0].content.positions, skew().content.positions * units.Bohr)
    np.testing.assert_allclose(data[0].labels["forces"], skew().labels["forces"] * units.Hartree / units.Bohr)


def test_a_dump_asks_for_all_at_once(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.dump", dump("id type x y z fx fy fz"))
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.found == (
        "a LAMMPS dump does not say the element of types 1, 2 nor the unit of forces; it never holds energy"
    )
    assert "elements=Cu,S; with it goes units.forces=eV/Å want=[forces] or units.forces=kcal/mol/Å want=[forces]" in (
        caught.value.remedy
    )
    check(read(path, elements=["Cu", "S"], units={"forces": "eV/Å"}, want=["forces"]), [skew()], ("forces",))


def test_a_dump_with_elements_offers_what_can_be_typed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.dump", dump("id element x y z fx fy fz"))
    with pytest.raises(DataError, match="does not say the unit of forces; it never holds energy") as caught:
        read(path)
    assert caught.value.options == (
        {"units.forces": "eV/Å", "want": ["forces"]},
        {"units.forces": "kcal/mol/Å", "want": ["forces"]},
    )


def test_a_dump_without_forces_has_nothing_to_train_on(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.dump", dump("id element x y z"))
    with pytest.raises(DataError, match="no frame has energy under a known name"):
        read(path)
    assert len(read(path, want=[])) == 1
    typed = saved(tmp_path / "b.dump", dump("id type x y z"))
    with pytest.raises(DataError, match="the element of types 1, 2; it never holds energy and here no other label"):
        read(typed)


def test_other_dumps_of_lammps_are_refused(tmp_path: Path) -> None:
    text = dump("id element x y z fx fy fz").replace("ITEM: NUMBER OF ATOMS", "ITEM: NUMBER OF ENTRIES")
    with pytest.raises(DataError, match="does not read like a LAMMPS dump"):
        read(saved(tmp_path / "a.dump", text), want=["forces"])


def test_a_dump_that_broke_off_keeps_its_whole_frames(tmp_path: Path) -> None:
    text = dump("id element x y z fx fy fz", n=3)
    data = read(saved(tmp_path / "a.dump", text[:-40]), want=["forces"], units={"forces": "eV/Å"})
    assert len(data) == 2
    assert "a.dump: the last frame is cut off and left out" in data.provenance.notes


def test_published_dumps_are_refused_with_the_way_on(shared: Path) -> None:
    case = shared / "data/cases/frames/d01_lammps.dump"
    with pytest.raises(DataError, match="the element of type 1 nor the unit of forces; it never holds energy"):
        read(case)
    data = read(case, elements=["Ti"], units={"forces": "eV/Å"}, want=["forces"])
    assert data[0].labels["forces"].shape == (data[0].n_atoms, 3)
    for name in ("traj.dump", "traj_with_random_type_id.dump", "traj_partial_spin.dump"):
        with pytest.raises(DataError, match="the element of"):
            read(shared / "data/real/other/lammps" / name)


# --- npz ---


def ethanol(n: int = 4) -> tuple[Atoms, dict[str, np.ndarray]]:
    atoms = molecule("CH3CH2OH")
    rng = np.random.default_rng(0)
    positions = atoms.positions + 0.05 * rng.normal(size=(n, 9, 3))
    return atoms, {"R": positions, "E": -97000.0 + rng.normal(size=n), "F": 20 * rng.normal(size=(n, 9, 3))}


def archive(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def check_ethanol(data: Dataset, energy: float, force: float, length: float = 1.0) -> None:
    atoms, arrays = ethanol()
    assert len(data) == 4
    for i, sample in enumerate(data):
        assert sample.content.get_chemical_symbols() == atoms.get_chemical_symbols()
        assert not sample.content.pbc.any()
        np.testing.assert_allclose(sample.content.positions, arrays["R"][i] * length)
        np.testing.assert_allclose(sample.labels["energy"], arrays["E"][i] * energy)
        np.testing.assert_allclose(sample.labels["forces"], arrays["F"][i] * force)


def test_md17_is_taken_for_kcal_and_told(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    path = archive(tmp_path / "md17.npz", z=atoms.numbers, **(arrays | {"E": arrays["E"][:, None]}), name="ethanol")
    data = read(path)
    check_ethanol(data, KCAL, KCAL)
    assert any("the arrays of MD17: energies are read as kcal/mol" in note for note in data.provenance.notes)
    assert data.tag("name") == ["ethanol"] * 4
    check_ethanol(read(path, units={"energy": "eV", "forces": "eV/Å"}), 1.0, 1.0)


def test_one_frame_without_the_axis_of_frames(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    one = {name: array[0] for name, array in arrays.items()}
    data = read(archive(tmp_path / "a.npz", z=atoms.numbers, **one, name="ethanol"))
    assert len(data) == 1
    np.testing.assert_allclose(data[0].labels["energy"], arrays["E"][0] * KCAL)
    np.testing.assert_allclose(data[0].labels["forces"], arrays["F"][0] * KCAL)
    assert data.tag("name") == ["ethanol"]


def test_rmd17(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    own = {"coords": arrays["R"], "energies": arrays["E"], "forces": arrays["F"], "nuclear_charges": atoms.numbers}
    data = read(archive(tmp_path / "a.npz", **own, old_indices=np.arange(4), old_energies=arrays["E"]))
    check_ethanol(data, KCAL, KCAL)
    assert data.tag("old_indices") == ["0", "1", "2", "3"]


def test_units_that_an_archive_states_act(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    path = archive(tmp_path / "a.npz", z=atoms.numbers, **arrays, e_unit="eV", r_unit="Ang")
    check_ethanol(read(path), 1.0, 1.0)
    path = archive(tmp_path / "b.npz", z=atoms.numbers, **arrays, e_unit="Hartree", r_unit="Bohr")
    check_ethanol(read(path), units.Hartree, units.Hartree / units.Bohr, units.Bohr)
    path = archive(tmp_path / "c.npz", z=atoms.numbers, **arrays, e_unit="furlong")
    with pytest.raises(DataError, match=r"its units are .*furlong"):
        read(path)


def test_species_are_not_taken_from_partial_charges(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    path = archive(tmp_path / "a.npz", charges=np.full((4, 9), 0.1), z=atoms.numbers, **arrays)
    check_ethanol(read(path), KCAL, KCAL)


def test_species_as_symbols_and_as_types(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    symbols = np.array(atoms.get_chemical_symbols())
    units_of_eV = {"energy": "eV", "forces": "eV/Å"}
    path = archive(tmp_path / "a.npz", species=symbols, **arrays)
    check_ethanol(read(path, units=units_of_eV), 1.0, 1.0)
    types = np.array([["C", "H", "O"].index(symbol) for symbol in symbols])
    for species in (types, np.tile(types, (4, 1))):
        path = archive(tmp_path / "b.npz", species=species, **arrays)
        with pytest.raises(DataError, match="the element of types 0, 1, 2 nor the unit of energy and forces"):
            read(path)
        check_ethanol(read(path, units=units_of_eV, elements=["C", "H", "O"]), 1.0, 1.0)


@pytest.mark.parametrize("species", [np.full(9, 0.5), np.full(9, 200), np.array(["C"] * 8 + ["Q"])])
def test_species_that_are_none_are_refused(tmp_path: Path, species: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"not (an element|atomic numbers)"):
        read(archive(tmp_path / "a.npz", species=species, **ethanol()[1]))


def test_other_names_ask_for_units_and_padding_is_no_atom(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    padded = {"R": np.pad(arrays["R"], ((0, 0), (0, 2), (0, 0))), "F": np.pad(arrays["F"], ((0, 0), (0, 2), (0, 0)))}
    z = np.tile(np.pad(atoms.numbers, (0, 2)), (4, 1))
    path = archive(tmp_path / "a.npz", Z=z, N=np.full(4, 9), E=arrays["E"], **padded)
    with pytest.raises(DataError, match="npz archive does not say the unit of energy and forces") as caught:
        read(path)
    assert {"units.energy": "Hartree", "units.forces": "Hartree/Bohr"} in caught.value.options
    check_ethanol(read(path, units={"energy": "eV", "forces": "eV/Å"}), 1.0, 1.0)


def test_a_packed_and_a_cut_archive(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    whole = archive(tmp_path / "a.npz", z=atoms.numbers, **arrays).read_bytes()
    (tmp_path / "a.npz.gz").write_bytes(gzip.compress(whole))
    check_ethanol(read(tmp_path / "a.npz.gz"), KCAL, KCAL)
    (tmp_path / "b.npz").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="it cannot be read"):
        read(tmp_path / "b.npz")


def test_archives_are_never_unpickled_nor_trusted_in_size(tmp_path: Path) -> None:
    atoms, arrays = ethanol()
    path = archive(tmp_path / "a.npz", z=atoms.numbers, **arrays, notes=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="allow_pickle=False"):
        read(path)
    claimed = io.BytesIO()
    np.lib.format.write_array_header_1_0(claimed, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)})
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("R.npy", claimed.getvalue())
    with pytest.raises(DataError, match=r"R\.npy has not the"):
        read(tmp_path / "b.npz")


def test_an_archive_larger_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms, arrays = ethanol()
    path = archive(tmp_path / "a.npz", z=atoms.numbers, **arrays)
    monkeypatch.setattr("matgraft.potentials.data.reading.formats.npz.available_memory", lambda: Free(100))
    with pytest.raises(DataError, match="GiB are free"):
        read(path)


class Free:
    def __init__(self, number: int) -> None:
        self.bytes = number


@pytest.mark.parametrize("lacking", ["z", "R"])
def test_an_archive_without_a_structure_names_what_is_there(tmp_path: Path, lacking: str) -> None:
    atoms, arrays = ethanol()
    own = {"z": atoms.numbers, **arrays}
    del own[lacking]
    with pytest.raises(DataError, match=r"no array holds (species|positions); there are"):
        read(archive(tmp_path / "a.npz", **own))


# --- records ---


def row_of(sample: Sample) -> dict[str, Any]:
    atoms, labels = sample.content, sample.labels
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell[:].tolist(),
        "pbc": atoms.pbc.tolist(),
        "energy": float(labels["energy"]),
        "forces": labels["forces"].tolist(),
        "stress": full_to_voigt(labels["stress"]).tolist(),
    }


def matpes_of(sample: Sample, index: int) -> dict[str, Any]:
    atoms, labels = sample.content, sample.labels
    structure = Structure(
        Lattice(atoms.cell[:]), atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True
    )
    return {
        "matpes_id": f"matpes-x_{index}",
        "structure": structure.as_dict(),
        "energy": float(labels["energy"]),
        "forces": labels["forces"].tolist(),
        "stress": (full_to_voigt(labels["stress"]) / -STRESS_UNITS["kBar"]).tolist(),
        "functional": "r2SCAN",
        "cohesive_energy_per_atom": -4.0,
        "provenance": {"original_mp_id": "mp-1", "md_step": index},
    }


@pytest.mark.parametrize("lines", [True, False], ids=["lines", "array"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "matpes"])
def test_records_one_a_line_and_in_an_array(tmp_path: Path, lines: bool, name: str) -> None:
    records = [matpes_of(sample, i) for i, sample in enumerate(frames())]
    text = "\n".join(map(json.dumps, records)) + "\n" if lines else json.dumps(records)
    data = read(saved(tmp_path / name, text), want=ALL)
    for one, other in zip(data, frames(), strict=True):
        for label in ALL:
            np.testing.assert_allclose(one.labels[label], other.labels[label], atol=1e-9)
    assert data.tag("trajectory") == ["mp-1"] * 3
    assert data.tag("md_step") == ["0", "1", "2"]
    assert data[0].theory is not None
    assert data[0].theory.metagga == "r2SCAN"
    assert any("level of theory: r2SCAN, VASP" in note for note in data.provenance.notes)


def test_records_of_two_functionals_have_a_level_of_theory_each(tmp_path: Path) -> None:
    records = [matpes_of(sample, i) | {"functional": ("PBE", "r2SCAN")[i % 2]} for i, sample in enumerate(frames())]
    levels = [sample.theory for sample in read(saved(tmp_path / "a.json", json.dumps(records)))]
    assert [level.functional if level else "" for level in levels] == ["PBE", None, "PBE"]


def test_records_in_words_of_ase_have_its_units(tmp_path: Path) -> None:
    rows = [row_of(sample) for sample in frames()]
    rows[1]["positions"] = {"__ndarray__": [[2, 3], "float64", np.ravel(rows[1]["positions"]).tolist()]}
    check(read(saved(tmp_path / "omat.jsonl", "\n".join(map(json.dumps, rows))), want=ALL), frames())


def test_a_cut_line_is_named(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row_of(sample)) for sample in frames())
    with pytest.raises(DataError, match="line 3 is not valid JSON"):
        read(saved(tmp_path / "a.jsonl", text[:-20]))


def lmdb_file(path: Path, values: dict[bytes, bytes]) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(path), subdir=False, map_size=2**20, lock=False) as environment,
        environment.begin(write=True) as view,
    ):
        for key, value in values.items():
            view.put(key, value)
    return path


def test_rows_of_an_aselmdb(tmp_path: Path) -> None:
    rows = [
        row_of(sample) | {"data": {"sid": f"s{i}"}, "key_value_pairs": {"kind": "rattled"}}
        for i, sample in enumerate(frames())
    ]
    packed = {str(i + 9).encode(): zlib.compress(json.dumps(row).encode()) for i, row in enumerate(rows)}
    data = read(lmdb_file(tmp_path / "data.0000.aselmdb", packed | {b"nextid": zlib.compress(b"12")}), want=ALL)
    check(data, frames())
    assert data.tag("sid") == ["s0", "s1", "s2"]
    assert data.tag("kind") == ["rattled"] * 3


@pytest.mark.parametrize(("value", "said"), [(b"\x80\x04K\x01.", "pickled objects"), (b"plain", "not compressed JSON")])
def test_other_lmdb_files_are_refused(tmp_path: Path, value: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(lmdb_file(tmp_path / "a.lmdb", {b"0": value}))


@pytest.mark.parametrize("part", [0.02, 0.6, 0.99])
def test_a_cut_lmdb_is_refused_before_it_is_opened(tmp_path: Path, part: float) -> None:
    path = lmdb_file(tmp_path / "a.aselmdb", {str(i).encode(): bytes(3000) for i in range(20)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match="the file is cut off"):
        read(path)


def test_published_matpes_records_are_right(shared: Path) -> None:
    data = read(shared / "data/cases/frames/j01_matpes_style.json", want=ALL)
    # The same frames stand in an extended XYZ file in eV/Å³.
    plain = read(shared / "data/cases/frames/e13_stress_nan.extxyz")
    assert data[0].labels["energy"] == plain[0].labels["energy"]
    np.testing.assert_allclose(data[0].labels["stress"], plain[0].labels["stress"], atol=1e-9)


# --- keys and options ---


def test_keys_of_sevennet_fix_unit_sign_and_order(tmp_path: Path) -> None:
    sample = frames()[0]
    xx, yy, zz, yz, xz, xy = -full_to_voigt(sample.labels["stress"])
    atoms = sample.content
    lines = [
        f"{s} {' '.join(map(str, p))} {' '.join(map(str, f))}"
        for s, p, f in zip(atoms.symbols, atoms.positions, sample.labels["forces"], strict=True)
    ]
    head = (
        f'Lattice="{" ".join(map(str, atoms.cell[:].ravel()))}" Properties=species:S:1:pos:R:3:y_force:R:3 '
        f'y_energy={float(sample.labels["energy"])} y_stress="{xx} {yy} {zz} {xy} {yz} {xz}" pbc="T T T"'
    )
    check(read(saved(tmp_path / "a.extxyz", "\n".join(["2", head, *lines, ""])), want=ALL), [sample])


def test_elements_that_nothing_reads_are_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", json.dumps([row_of(frames()[0])]))
    with pytest.raises(OptionError, match="the files name the elements") as caught:
        read(path, elements=["Cu", "S"])
    assert caught.value.options == ({"elements": None},)
    assert len(read(path, elements=["Cu", "S"], beside=True)) == 1


@pytest.mark.parametrize("wrong", ["cu", "X", "Steel"])
def test_elements_are_symbols(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(MatgraftError, match="is not an element"):
        read(system(tmp_path / "CuS", frames()), elements=[wrong])


@pytest.mark.parametrize("place", [48, 4096 + 48, 8192 + 2, 8192 + 16, 12288])
def test_pages_of_an_lmdb_that_lead_nowhere_are_refused(tmp_path: Path, place: int) -> None:
    """LMDB maps the file into memory; what lies beyond its end would end the program by SIGBUS."""
    path = lmdb_file(tmp_path / "a.aselmdb", {str(i).encode(): bytes(3000) for i in range(20)})
    content = bytearray(path.read_bytes())
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(DataError):
        read(path)
