"""Magnetic moments as labels: found in the files that have them, one number an atom in µB."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pymatgen.core import Structure

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import find_unit
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store

from .test_read_vasp import outcar, put

MOMENTS = [4.1, -3.9]


def iron_oxide() -> Atoms:
    atoms = bulk("FeO", "rocksalt", a=4.3)
    atoms.positions[1] += 0.1
    return atoms


def extxyz(path: Path, **results: object) -> Path:
    atoms = iron_oxide()
    atoms.calc = SinglePointCalculator(atoms, energy=-12.0, forces=np.ones((2, 3)), **results)
    write(path, atoms, format="extxyz")
    return path


def test_moments_of_atoms_are_labels_and_that_of_the_cell_is_none(tmp_path: Path) -> None:
    path = extxyz(tmp_path / "a.xyz", magmoms=MOMENTS, magmom=0.2)
    (sample,) = data = read(path)
    np.testing.assert_allclose(sample.labels["magmom"], MOMENTS)
    assert data.provenance.files[0].keys["magmom"] == "magmoms"
    assert data.provenance.files[0].units["magmom"] == "µB"
    (total_alone,) = read(extxyz(tmp_path / "b.xyz", magmom=0.2))
    assert "magmom" not in total_alone.labels


def test_vectors_are_read_by_their_length(tmp_path: Path) -> None:
    vectors = np.array([[0, 3.0, 4.0], [0, 0, -1.0]])
    (sample,) = read(extxyz(tmp_path / "a.xyz", magmoms=vectors))
    np.testing.assert_allclose(sample.labels["magmom"], [5, 1])


def test_initial_moments_are_no_labels_and_are_named(tmp_path: Path) -> None:
    atoms = iron_oxide()
    atoms.set_initial_magnetic_moments([5.0, 0.0])
    atoms.calc = SinglePointCalculator(atoms, energy=-12.0, forces=np.ones((2, 3)))
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    data = read(tmp_path / "a.xyz")
    assert "magmom" not in data[0].labels
    assert "keys.magmom=initial_magmoms reads it" in "\n".join(data.provenance.notes)
    (asked,) = read(tmp_path / "a.xyz", keys={"magmom": "initial_magmoms"})
    np.testing.assert_allclose(asked.labels["magmom"], [5, 0])


def test_zero_moments_are_computed_and_nan_is_none(tmp_path: Path) -> None:
    (none,) = read(extxyz(tmp_path / "a.xyz", magmoms=[0.0, 0.0]))
    np.testing.assert_array_equal(none.labels["magmom"], [0, 0])
    (absent,) = read(extxyz(tmp_path / "b.xyz", magmoms=[np.nan, np.nan]))
    assert "magmom" not in absent.labels


def test_frames_with_moments_have_weights_too(tmp_path: Path) -> None:
    path = extxyz(tmp_path / "a.xyz", magmoms=MOMENTS)
    path.write_text(path.read_text().replace("energy=", "config_weight=2 magmom_weight=0.5 energy=", 1))
    (sample,) = read(path)
    assert (sample.weight, sample.label_weights) == (2.0, {"magmom": 0.5})


def test_a_wrong_shape_is_an_error_where_the_key_is_named(tmp_path: Path) -> None:
    path = extxyz(tmp_path / "a.xyz", magmom=0.2)
    with pytest.raises(DataError, match=r"magmom has the shape \(\)"):
        read(path, keys={"magmom": "magmom"})
    with pytest.raises(OptionError, match="not a unit of magmom"):
        read(path, units={"magmom": "eV"})


@pytest.mark.parametrize("text", ["µB", "muB", "mu_B", "μB", "Bohr magneton", "ub"])
def test_spellings_of_the_unit(text: str) -> None:
    unit = find_unit(text, "magmom")
    assert unit and unit.factor == 1.0
    assert find_unit("au", "magmom") is find_unit("eV", "magmom") is None


def table(axis: str, moments: np.ndarray) -> str:
    rows = "".join(f"    {i + 1}   -0.010   0.020  {m - 0.01:8.3f}  {m:8.3f}\n" for i, m in enumerate(moments))
    line = "-" * 50
    head = f"\n magnetization ({axis})\n \n# of ion       s       p       d       tot\n{line}\n"
    return f"{head}{rows}{line}\ntot    0.0  0.0  0.0  {moments.sum():8.3f}\n\n"


def with_tables(steps: int, tables: list[str]) -> str:
    first, *rest = outcar(steps=steps).split("  FORCE on cell")
    return first + "".join(f"{own}  FORCE on cell{text}" for own, text in zip(tables, rest, strict=True))


def test_an_outcar_has_a_table_for_each_step(tmp_path: Path) -> None:
    n = len(read(put(tmp_path / "OUTCAR", outcar()))[0].content)
    moments = np.linspace(-2.5, 3.5, n)
    data = read(put(tmp_path / "OUTCAR", with_tables(2, [table("x", moments), table("x", moments + 0.25)])))
    np.testing.assert_allclose(data[0].labels["magmom"], moments, atol=1e-3)
    np.testing.assert_allclose(data[1].labels["magmom"], moments + 0.25, atol=1e-3)


def test_an_outcar_of_a_noncollinear_run_has_vectors_and_a_cut_table_is_none(tmp_path: Path) -> None:
    n = len(read(put(tmp_path / "OUTCAR", outcar()))[0].content)
    vector = "".join(table(axis, np.full(n, size)) for axis, size in (("x", 2.0), ("y", -1.0), ("z", 2.0)))
    cut = table("x", np.full(n, 2.0)).replace("  2.000\n", "  *****\n")
    data = read(put(tmp_path / "OUTCAR", with_tables(2, [vector, cut])))
    np.testing.assert_allclose(data[0].labels["magmom"], np.full(n, 3.0), atol=1e-3)
    assert "magmom" not in data[1].labels


@pytest.mark.parametrize("beside", [True, False])
def test_records_have_moments_beside_the_structure_or_with_its_sites(tmp_path: Path, beside: bool) -> None:
    atoms = iron_oxide()
    structure = Structure(atoms.cell[:], atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    if not beside:
        structure.add_site_property("magmom", MOMENTS)
    record = {"structure": structure.as_dict(), "energy": -12.0, "forces": np.ones((2, 3)).tolist()}
    record |= {"magmom": MOMENTS} if beside else {}
    (tmp_path / "a.json").write_text(json.dumps([record, {**record, "energy": -12.5}]))
    assert [sample.labels["magmom"].tolist() for sample in read(tmp_path / "a.json")] == [MOMENTS] * 2


def test_a_store_keeps_them(tmp_path: Path) -> None:
    data = read(extxyz(tmp_path / "a.xyz", magmoms=MOMENTS))
    plain = Sample(iron_oxide(), {"energy": np.array(-1.0)})
    write_store([data[0], plain], tmp_path / "a.h5", lambda: data.provenance)
    stored = open_store(tmp_path / "a.h5")
    assert stored.count("magmom") == 1
    np.testing.assert_array_equal(stored[0].labels["magmom"], MOMENTS)
    assert "magmom" not in stored[1].labels
