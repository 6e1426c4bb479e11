"""The stress of a slab: in the plane it is a label wherever the area is known, however the slab is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.io import write

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array, parse_unit
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.slabs import VACUUM_A, plane_of

STRESS = np.array([[0.011, 0.002, 0.003], [0.002, -0.007, 0.001], [0.003, 0.001, 0.004]])
AXES = ([0, 1, 2], [2, 0, 1], [1, 2, 0])
"""Orders of the axes, with the normal along z, x and y."""


def slab(order: list[int], third: float) -> Atoms:
    """Return three layers whose normal stands in the place of 2 in `order`; without a third vector if that is 0."""
    atoms = fcc111("Si", (1, 1, 3), a=4.6)
    atoms.rattle(0.05, seed=1)
    cell = np.array([*atoms.cell[:2], [0, 0, third]])
    return Atoms(atoms.numbers, atoms.positions[:, order], cell=cell[:, order], pbc=[True, True, False])


def frames(folder: Path, atoms: Atoms, key: str, value: Array, **options: object) -> Dataset:
    atoms = atoms.copy()
    atoms.info = {"REF_energy": -1.0, key: value}
    write(folder / "slab.extxyz", atoms, format="extxyz")
    return read(folder / "slab.extxyz", want=("energy",), **options)


def normal_to(axis: int) -> Array:
    other = np.arange(3) == axis
    return np.logical_or.outer(other, other)


@pytest.mark.parametrize("order", AXES)
@pytest.mark.parametrize("nothing", [np.nan, 0.0])
@pytest.mark.parametrize("pbc", [True, False])
def test_components_normal_to_the_plane_may_be_missing(
    tmp_path: Path, order: list[int], nothing: float, pbc: bool
) -> None:
    axis = order.index(2)
    atoms = slab(order, 25.0)
    atoms.pbc = [True, True, pbc]
    given = np.where(normal_to(axis), nothing, STRESS)
    data = frames(tmp_path, atoms, "REF_stress", given)
    np.testing.assert_array_equal(data[0].components["stress"], ~normal_to(axis))
    np.testing.assert_allclose(data[0].labels["stress"], np.where(normal_to(axis), 0.0, STRESS))
    assert data[0].weight_of("stress") == pytest.approx(4 / 9)
    assert any("stress of slabs is a label in the plane alone" in note for note in data.provenance.notes)


def test_all_components_of_a_slab_in_a_full_cell_are_labels(tmp_path: Path) -> None:
    (sample,) = frames(tmp_path, slab(AXES[0], 25.0), "REF_stress", STRESS)
    assert not sample.components
    np.testing.assert_allclose(sample.labels["stress"], STRESS)


def test_missing_components_of_a_crystal_stay_a_fault(tmp_path: Path) -> None:
    crystal = Atoms("Si2", [[0, 0, 0], [1.3, 1.4, 1.3]], cell=np.diag([3, 3, 3]), pbc=True)
    (sample,) = frames(tmp_path, crystal, "REF_stress", np.where(normal_to(2), np.nan, STRESS))
    assert not sample.components and np.isnan(sample.labels["stress"]).any()


@pytest.mark.parametrize("order", AXES)
@pytest.mark.parametrize("third", [0.0, 25.0])
@pytest.mark.parametrize(("unit", "factor"), [("eV/A^2", 1.0), ("N/m", 1 / 16.02176634), ("-J/m²", -1 / 16.02176634)])
def test_a_stress_per_area_needs_no_third_vector(
    tmp_path: Path, order: list[int], third: float, unit: str, factor: float
) -> None:
    (sample,) = frames(tmp_path, slab(order, third), "REF_stress", STRESS, units={"stress": unit})
    area, axis = plane_of(sample.content)
    assert axis == order.index(2) and area == pytest.approx(4.6**2 * 3**0.5 / 4)
    height = volume(sample.content) / area
    assert height == pytest.approx(third or VACUUM_A + np.ptp(sample.content.positions[:, axis]))
    expected = np.where(normal_to(axis), 0.0, STRESS * factor / height)
    np.testing.assert_allclose(sample.labels["stress"], expected, atol=1e-12)
    np.testing.assert_array_equal(sample.components["stress"], ~normal_to(axis))


def test_a_virial_needs_no_third_vector(tmp_path: Path) -> None:
    """The product with the volume is the virial, whatever the volume is; told."""
    data = frames(tmp_path, slab(AXES[0], 0.0), "REF_virial", STRESS)
    np.testing.assert_allclose(-data[0].labels["stress"] * volume(data[0].content), STRESS)
    assert not data[0].components and data[0].content.pbc.tolist() == [True, True, False]
    assert any("are given one, with 15 Å of vacuum" in note for note in data.provenance.notes)


def test_four_numbers_are_those_in_the_plane(tmp_path: Path) -> None:
    (sample,) = frames(tmp_path, slab(AXES[1], 0.0), "REF_stress", STRESS[1:, 1:].ravel(), units={"stress": "eV/Å²"})
    found = sample.labels["stress"] * volume(sample.content) / plane_of(sample.content)[0]
    np.testing.assert_allclose(found[1:, 1:], STRESS[1:, 1:])
    assert not found[0].any() and sample.components["stress"].sum() == 4


def test_a_stress_per_volume_without_a_volume_is_left_out_and_told(tmp_path: Path) -> None:
    data = frames(tmp_path, slab(AXES[0], 0.0), "REF_stress", STRESS)
    assert "stress" not in data[0].labels and not volume(data[0].content)
    (note,) = [note for note in data.provenance.notes if "stress left out in 1 frames" in note]
    assert "units.stress=N/m" in note and "units.virial=eV" in note


def test_what_is_no_slab_has_no_stress_per_area(tmp_path: Path) -> None:
    crystal = Atoms("Si2", [[0, 0, 0], [1.3, 1.4, 1.3]], cell=np.diag([3, 3, 3]), pbc=True)
    with pytest.raises(DataError, match=r"slab.extxyz frame 0.*per area, and the frame is not a slab"):
        frames(tmp_path, crystal, "REF_stress", STRESS, units={"stress": "N/m"})


def test_units_per_area_are_told_apart() -> None:
    assert parse_unit("eV/Å²", "stress").per_area and not parse_unit("GPa", "stress").per_area
    assert parse_unit("GPa Å", "stress").factor == pytest.approx(1 / 160.21766)
