"""The box of a structure, and its volume: whichever way a sheet is written."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from matgraft.data.cells import box, boxed, volume
from matgraft.errors import DataError

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
