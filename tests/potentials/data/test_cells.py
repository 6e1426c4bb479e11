"""The box of a structure, and its volume: whichever way a sheet is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from ase.neighborlist import neighbor_list

from matgraft.core.errors import DataError
from matgraft.potentials.audit.same import same_structure
from matgraft.potentials.data.cells import box, boxed, volume, with_clear_cell
from matgraft.potentials.data.geometry import closest_pair
from matgraft.potentials.data.neighbours import frame_distance
from matgraft.potentials.data.reading.read import read

CUTOFF = 4.0


def atoms(cell: object, pbc: object) -> Atoms:
    positions = np.random.default_rng(0).uniform(-3, 9, (5, 3))
    return Atoms("Si5", positions=positions, cell=np.array(cell, dtype=float), pbc=pbc)


@pytest.mark.parametrize(
    ("cell", "pbc", "periodic"),
    [
        (np.diag([5, 6, 7]), True, [True, True, True]),
        ([[5, 0, 0], [1, 6, 0], [0, 0, 0]], [True, True, False], [True, True, False]),
        ([[5, 0, 0], [1, 6, 0], [0, 0, 0]], True, [True, True, False]),
        ([[5, 0, 0], [0, 0, 0], [0, 2, 6]], [True, False, True], [True, False, True]),
        ([[5, 0, 0], [0, 6, 0], [5, 6, 0]], [True, True, False], [True, True, False]),  # a third vector in the plane
        ([[1, 2, 3], [0, 0, 0], [0, 0, 0]], [True, False, False], [True, False, False]),
        ([[5, 0, 0], [1, 6, 0], [0, 0, 1e-12]], True, [True, True, False]),  # too short to repeat
        ([[5, 0, 0], [1e-3, 0, 0], [0, 2, 6]], True, [True, False, True]),
        (np.zeros((3, 3)), False, [False] * 3),
        (np.diag([5, 6, 7]), False, [False] * 3),
    ],
)
def test_the_box_keeps_what_repeats_and_separates_the_rest(cell: object, pbc: object, periodic: list[bool]) -> None:
    frame = atoms(cell, pbc)
    found = box(frame, CUTOFF)
    assert found.periodic.tolist() == periodic
    np.testing.assert_array_equal(found.vectors[found.periodic], frame.cell[:][found.periodic])
    across = found.vectors[~found.periodic]
    np.testing.assert_allclose(across @ found.vectors[found.periodic].T, 0, atol=1e-9)
    np.testing.assert_allclose(across @ across.T, np.diag(np.diag(across @ across.T)), atol=1e-9)
    # The neighbours of the boxed crystal are those of ASE with the true periodicity.
    true = frame.copy()
    true.set_cell(found.vectors)
    true.pbc = found.periodic
    expected = np.sort(neighbor_list("d", true, CUTOFF))
    np.testing.assert_allclose(np.sort(neighbor_list("d", boxed(frame, CUTOFF), CUTOFF)), expected)


@pytest.mark.parametrize("cell", [[[5, 0, 0], [0, 6, 0], [5, 6, 0]], [[5, 0, 0], [0, 6, 0], [5, 6, 1e-7]]])
def test_periodic_vectors_in_a_plane_are_refused(cell: object) -> None:
    with pytest.raises(DataError, match=r"a.xyz frame 3: the periodic cell vectors .* are not independent"):
        box(atoms(cell, True), CUTOFF, "a.xyz frame 3")
    assert volume(atoms(cell, True)) == 0


def test_a_cell_that_is_not_finite_is_refused() -> None:
    frame = atoms([[5, 0, 0], [0, np.nan, 0], [0, 0, 5]], True)
    with pytest.raises(DataError, match="the cell is not finite"):
        box(frame, CUTOFF)
    assert volume(frame) == 0


@pytest.mark.parametrize("pbc", [True, False, [True, True, False]])
def test_three_vectors_have_a_volume_whatever_repeats(pbc: object) -> None:
    assert volume(atoms([[0, 6, 0], [5, 0, 0], [1, 1, 7]], pbc)) == pytest.approx(210)  # left-handed
    assert volume(atoms([[5, 0, 0], [0, 6, 0], [0, 0, 0]], pbc)) == 0


@pytest.mark.parametrize("pbc", [True, False, [True, True, False]])
def test_positions_near_the_origin_are_those_of_the_same_structure(pbc: object) -> None:
    frame = atoms([[5, 0, 0], [1, 6, 0], [1, 1, 7]], pbc)
    far = frame.copy()
    far.translate([700, -700, 300])
    far.positions[1] += (frame.pbc * [20, -7, 3]) @ frame.cell[:]
    around = box(far, CUTOFF)
    near = Atoms(far.numbers, around.near_origin(far.positions), cell=around.vectors, pbc=around.periodic)
    assert np.abs(near.positions).max() < 25
    given = Atoms(frame.numbers, frame.positions, cell=around.vectors, pbc=around.periodic)
    np.testing.assert_allclose(near.get_all_distances(mic=True), given.get_all_distances(mic=True), atol=1e-10)


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("third", [1e-5, 1e-3, 0.09])
def test_a_crystal_that_repeats_in_next_to_nothing_is_refused(tmp_path: Path, third: float) -> None:
    write(tmp_path / "flat.extxyz", Atoms("C", cell=[[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, third]], pbc=True))
    with pytest.raises(DataError, match=f"{third:.2g} Å apart"):
        read(tmp_path / "flat.extxyz", want=())


@pytest.mark.parametrize("third", [0.0, 1e-12, 1e-7])
def test_a_sheet_is_read_with_its_two_periods(tmp_path: Path, third: float) -> None:
    """As a period, so short a vector has images without number; a zero one stands for 1 Å in some searches."""
    cell = [[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, third]]
    graphene = Atoms("C2", [[0, 0, 0], [1.23, 0.71, 0]], cell=cell, pbc=True)
    write(tmp_path / "sheet.extxyz", graphene)
    (sample,) = read(tmp_path / "sheet.extxyz", want=())
    sheet = sample.content
    assert sheet.pbc.tolist() == [True, True, False] and volume(sheet) == 0
    assert closest_pair(sheet) == (np.inf, np.inf)  # no pair is closer than chemistry allows
    right = graphene.copy()
    right.set_cell([*cell[:2], [0, 0, 20]])
    right.pbc = [True, True, False]
    assert frame_distance(sheet, right) < 1e-9 and same_structure(sheet, right)


@pytest.mark.parametrize(
    ("pbc", "told"), [([0, 0, 0], True), ([1, 0, 0], True), ([1, 1, 0], False), ([1, 1, 1], False)]
)
def test_vectors_along_which_nothing_repeats_are_told(tmp_path: Path, pbc: str, told: bool) -> None:
    write(tmp_path / "a.extxyz", atoms([[5, 0, 0], [0, 6, 0], [0, 0, 0]], [int(one) for one in pbc]))
    notes = read(tmp_path / "a.extxyz", want=()).provenance.notes
    assert any('where they do, write pbc="T T F"' in note for note in notes) == told


@pytest.mark.parametrize("rows", [[[5, 0, 0], [0, 6, 0], [5, 6, 0]], [[5, 0, 0], [0, 0, 1], [10, 0, 0]]])
def test_vectors_in_a_plane_are_refused_where_they_are_read(tmp_path: Path, rows: list[list[float]]) -> None:
    write(tmp_path / "flat.extxyz", [atoms(np.diag([5, 6, 7]), True), atoms(rows, True)])
    with pytest.raises(DataError, match=r"flat.extxyz frame 1: the periodic cell vectors .* are not independent"):
        read(tmp_path / "flat.extxyz", want=())


def test_vectors_that_do_not_repeat_are_left_out_where_they_say_nothing() -> None:
    cleared = with_clear_cell(atoms([[5, 0, 0], [0, 6, 0], [5, 6, 0]], [True, False, False]))
    np.testing.assert_array_equal(cleared.cell[:], [[5, 0, 0], [0, 6, 0], [0, 0, 0]])
    assert cleared.pbc.tolist() == [True, False, False]
    assert not with_clear_cell(atoms(np.zeros((3, 3)), True)).pbc.any()
    crystal = atoms(np.diag([5, 6, 7]), [True, True, False])
    assert with_clear_cell(crystal) is crystal
