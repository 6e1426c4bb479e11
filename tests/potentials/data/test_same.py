"""One structure in any setting is one; what differs by more than the tolerance is not, however large the cell is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.same import (
    NEIGHBOURS,
    REACH_A,
    SAME_A,
    group_same,
    lattice,
    nearest_distances,
    same_structure,
)
from matgraft.potentials.audit.structures import duplicates
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import closest_pair, neighbours_within
from matgraft.potentials.data.sample import Sample

CELLS: dict[str, Callable[[], Atoms]] = {
    "silicon": lambda: bulk("Si", "diamond", a=5.43, cubic=True),
    "salt": lambda: bulk("NaCl", "rocksalt", a=5.64),
    "hexagonal": lambda: bulk("Zn", "hcp", a=2.66, c=4.95),
    "triclinic": lambda: Atoms("TiO2", [[0, 0, 0], [1.9, 0.3, 0.2], [0.4, 2.0, 1.1]],
                               cell=[[4.1, 0, 0], [0.7, 4.6, 0], [0.3, 1.1, 5.2]], pbc=True),
    "slab": lambda: fcc111("Al", (1, 1, 3), vacuum=7),
}  # fmt: skip


def disguised(atoms: Atoms, seed: int) -> Atoms:
    """Shift, invert perhaps, wrap and reorder; turn with the cell, or write in other vectors of the same lattice."""
    rng = np.random.default_rng(seed)
    turn = rng.choice([-1, 1]) * np.eye(3)
    turned = seed % 2 == 0
    if turned:
        turn = turn @ Rotation.random(random_state=seed).as_matrix()
    other = atoms[rng.permutation(len(atoms))]
    cell = atoms.cell[:].copy()
    if atoms.pbc.all() and not turned:
        cell[0] += rng.integers(-1, 2) * cell[1]
        cell[2] += rng.integers(-1, 2) * cell[0]
        cell = cell[rng.permutation(3)]
    other.set_cell(cell @ turn.T)
    other.positions = other.positions @ turn.T + rng.normal(0, 4, 3)
    if other.pbc.any():
        other.wrap()
    return other


@settings(max_examples=25)
@given(st.sampled_from(sorted(CELLS)), st.integers(1, 3), st.integers(0, 10**6), st.booleans())
def test_one_structure_in_any_setting(name: str, size: int, seed: int, rattled: bool) -> None:
    atoms = CELLS[name]().repeat((size, size, 1 if name == "slab" else size))
    if rattled:
        atoms.rattle(0.1, seed=seed % 1000)
    assert same_structure(atoms, disguised(atoms, seed))


@settings(max_examples=25)
@given(
    st.sampled_from(["silicon", "salt", "triclinic"]),
    st.integers(1, 4),
    st.floats(1.5 * SAME_A, 0.3),
    st.integers(0, 10**6),
)
def test_a_displaced_sublattice_is_another_structure(name: str, size: int, shift: float, seed: int) -> None:
    """Along a bond, so that no symmetry maps the moved frame back; half the tolerance is none."""
    cell = CELLS[name]()
    moved, hardly = cell.copy(), cell.copy()
    step = cell.get_distance(0, 1, mic=True, vector=True)
    step /= np.linalg.norm(step)
    moved.positions[1::2] += shift * step
    hardly.positions[1::2] += SAME_A / 2 * step
    whole = cell.repeat(size)
    assert not same_structure(whole, disguised(moved.repeat(size), seed))
    assert same_structure(whole, hardly.repeat(size))


@pytest.mark.parametrize("name", ["H2O", "CO2", "CH4", "C6H6", "CH3CH2OH", "H2", "C60"])
def test_a_turned_molecule_is_the_same_and_a_stretched_one_is_not(name: str) -> None:
    atoms = molecule(name)
    assert all(same_structure(atoms, disguised(atoms, seed)) for seed in range(5))
    stretched = disguised(atoms, 1)
    stretched.set_distance(0, 1, stretched.get_distance(0, 1) + 3 * SAME_A, fix=0)
    assert not same_structure(atoms, stretched)


def test_one_crystal_in_supercells_of_two_shapes() -> None:
    cell = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    cell.set_cell(cell.cell[:] * [[1], [1.1], [1.25]], scale_atoms=True)
    assert same_structure(cell.repeat((2, 1, 1)), disguised(cell.repeat((1, 1, 2)), 3))


@given(st.floats(1.0015, 1.3), st.integers(1, 3))
def test_a_scaled_cell_is_another_structure(factor: float, size: int) -> None:
    atoms = CELLS["triclinic"]().repeat(size)
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell[:] * factor, scale_atoms=True)
    assert not same_structure(atoms, scaled)


def test_strains_along_equivalent_axes_are_a_series() -> None:
    """Shear along yz, xz and xy of a cubic crystal: a symmetry maps each on the others, but none is a copy."""
    frames = []
    for i, j in ((1, 2), (0, 2), (0, 1)):
        atoms = CELLS["silicon"]().repeat(2)
        strain = np.eye(3)
        strain[i, j] = strain[j, i] = 0.03
        atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
        frames.append(atoms)
    assert group_same(frames) == []
    assert [group.tolist() for group in group_same([*frames, disguised(frames[1], 0)])] == [[1, 3]]


def test_a_quarter_turn_of_a_cubic_cell_is_a_copy() -> None:
    atoms = CELLS["silicon"]()
    atoms.rattle(0.1, seed=1)
    turned = atoms.copy()
    turned.rotate(90, "z", rotate_cell=True)
    turned.wrap()
    assert same_structure(atoms, turned)


def test_another_structure_of_the_same_lattice_and_atoms() -> None:
    salt, blende = (bulk("MgO", kind, a=4.21, cubic=True).repeat(3) for kind in ("rocksalt", "zincblende"))
    assert not same_structure(salt, blende)
    swapped = salt.copy()
    swapped.numbers = salt.numbers[::-1]
    assert same_structure(salt, swapped), "the two elements of rocksalt stand alike"


def test_a_series_in_small_steps_is_not_one_structure() -> None:
    """Steps of 0.001 Å: every member is within the tolerance of the first of its group, and no group grows on."""
    lengths = np.linspace(3.55, 3.60, 51)
    frames = [bulk("Cu", a=length) for length in lengths]
    groups = group_same(frames)
    assert max(np.ptp(lengths[group]) for group in groups) <= 3 * SAME_A
    assert len(groups) > 5


def test_a_frozen_phonon_in_a_supercell_is_no_contradiction() -> None:
    """The energies of five displacements of the zone-centre mode of silicon, 3 x 3 x 3 cells: none is a copy."""
    samples = []
    for shift in (0.0, 0.05, 0.1, 0.15, 0.2):
        cell = CELLS["silicon"]()
        cell.positions[1::2, 0] += shift
        samples.append(Sample(cell.repeat(3), {"energy": 216 * (-5.0 + 3.0 * shift**2)}))
    (finding,) = duplicates(Evidence(Dataset(tuple(samples))))
    assert finding.outcome == "passed"


def test_many_frames_take_time_in_proportion() -> None:
    """Copies of one frame and frames that differ: comparisons do not grow as the square."""
    from matgraft.potentials.audit import same

    calls = 0
    compare = same._same

    def counted(*args: object) -> bool:
        nonlocal calls
        calls += 1
        return compare(*args)  # type: ignore[arg-type]

    rng = np.random.default_rng(0)
    base = CELLS["silicon"]()
    frames = [base.copy() for _ in range(60)]
    for atoms in frames[:40]:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(same, "_same", counted)
        groups = group_same(frames)
    assert [group.tolist() for group in groups] == [list(range(40, 60))]
    assert calls < 2 * len(frames)


@pytest.mark.parametrize("seed", range(40))
def test_the_closest_pair_and_neighbours_are_those_of_a_search_through_everything(seed: int) -> None:
    """The reach grows only as far as it must; clusters, sheets, dense and empty cells, single atoms."""
    rng = np.random.default_rng(seed)
    n, width = int(rng.integers(1, 25)), rng.uniform(1, 12)
    cell = np.eye(3) * rng.uniform(2, 15) + rng.normal(size=(3, 3)) * rng.uniform(0, 1)
    atoms = Atoms(rng.choice([1, 6, 14, 42, 82], n), rng.uniform(0, width, (n, 3)), cell=cell, pbc=rng.random(3) < 0.6)
    vectors, periodic = lattice(atoms)
    centre, other, distance = neighbours_within(REACH_A, atoms.positions, vectors, periodic)
    radii = covalent_radii[atoms.numbers]
    near = distance < 1.6 * radii.max()
    ratios = (distance / (radii[centre] + radii[other]))[near]
    best = (ratios.min(), distance[near][ratios.argmin()]) if near.any() else (np.inf, np.inf)
    assert closest_pair(atoms) == pytest.approx(best)
    nearest = [np.sort([*distance[centre == k], *[REACH_A] * NEIGHBOURS])[:NEIGHBOURS] for k in range(n)]
    np.testing.assert_allclose(nearest_distances(atoms.positions, vectors, periodic), nearest)
