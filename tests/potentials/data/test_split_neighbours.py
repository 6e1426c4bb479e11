"""Near-duplicates: the distance is invariant, it has a meaning, and planted copies are counted."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from matgraft.potentials.data import neighbours
from matgraft.potentials.data.neighbours import (
    CUTOFF_A,
    NEAR_A,
    STEP_A,
    close_pairs,
    coordination_fingerprint,
    frame_distance,
    near_duplicates,
    reduced_formula,
)
from matgraft.potentials.data.sample import Sample

seeds = st.integers(0, 2**32 - 1)


def rattled(atoms: Atoms, stdev: float, seed: int) -> Atoms:
    moved = atoms.copy()
    moved.rattle(stdev, seed=seed)
    return moved


SALT = bulk("NaCl", "rocksalt", a=5.64, cubic=True)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_invariant_to_translation_rotation_permutation_and_wrapping(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = rattled(SALT, 0.2, seed)
    same = atoms[rng.permutation(len(atoms))]
    same.positions += rng.normal(size=3) * 10
    same.wrap()
    turn = Rotation.random(rng=rng).as_matrix()
    same.set_cell(same.cell[:] @ turn.T)
    same.positions = same.positions @ turn.T
    assert frame_distance(atoms, same) < 1e-9


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_another_cell_of_the_same_crystal_is_the_same_frame(seed: int) -> None:
    atoms = rattled(bulk("Si"), 0.1, seed)
    sheared = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    assert frame_distance(atoms, sheared) < 1e-9


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_symmetric_and_continuous(seed: int) -> None:
    first, second = rattled(SALT, 0.1, seed), rattled(SALT, 0.1, seed + 1 if seed < 2**32 - 1 else 0)
    assert frame_distance(first, second) == pytest.approx(frame_distance(second, first), abs=1e-12)
    assert frame_distance(first, rattled(first, 1e-9, seed)) < 1e-8
    assert frame_distance(SALT, rattled(SALT, 1e-9, seed)) < 1e-8  # shells of the ideal crystal, equal to rounding


def test_distance_is_the_mean_move_of_the_neighbours() -> None:
    # Two atoms alone have one neighbour each: pulling them 0.3 Å apart moves it by just that.
    pair, pulled = Atoms("Ar2", [[0, 0, 0], [3.01, 0, 0]]), Atoms("Ar2", [[0, 0, 0], [3.31, 0, 0]])
    assert frame_distance(pair, pulled) == pytest.approx(0.3, abs=1e-9)


def test_counts_agree_with_ase() -> None:
    atoms = rattled(SALT, 0.1, 1)
    i, j, d = neighbor_list("ijd", atoms, CUTOFF_A)
    found = coordination_fingerprint(atoms).mean.reshape(2, 2, -1)
    for a, first in enumerate((11, 17)):
        for b, second in enumerate((11, 17)):
            pairs = (atoms.numbers[i] == first) & (atoms.numbers[j] == second)
            expected = (pairs & (d < 4.0)).sum() / len(atoms)
            at = round(4.0 / STEP_A)  # dealt linearly onto the grid: right to within one step
            assert found[a, b, at - 2] <= expected <= found[a, b, at + 2]


def test_reduced_formula_is_that_of_any_cell() -> None:
    assert reduced_formula(SALT) == reduced_formula(SALT * (2, 1, 1)) == "Na1Cl1"


def test_other_compositions_are_never_close() -> None:
    assert frame_distance(SALT, bulk("KCl", "rocksalt", a=5.64)) == float("inf")
    assert not list(close_pairs([coordination_fingerprint(SALT)], [coordination_fingerprint(bulk("Si"))]))


def test_a_molecule_and_a_lone_atom_can_be_compared() -> None:
    water, lone = molecule("H2O"), Atoms("H")
    assert frame_distance(water, rattled(water, 1e-4, 0)) < NEAR_A
    assert frame_distance(lone, lone) == 0.0


def test_snapshots_are_near_and_strained_copies_are_not() -> None:
    crystal = bulk("Si", cubic=True, a=5.47) * 2
    cold = [rattled(crystal, 0.05, seed) for seed in (1, 2)]
    strained = crystal.copy()
    strained.set_cell(crystal.cell[:] * [1.02, 1, 1], scale_atoms=True)
    assert frame_distance(*cold) < NEAR_A < frame_distance(crystal, strained)


def test_planted_copies_are_counted() -> None:
    crystals = [bulk("Si", cubic=True, a=a) for a in (5.2, 5.3, 5.4, 5.5, 5.6)]
    samples = [Sample(atoms, {}) for atoms in [*crystals, rattled(crystals[1], 1e-4, 0), crystals[1], crystals[4]]]
    validation, test, between = near_duplicates(samples, {"train": [0, 1, 2, 6], "validation": [3], "test": [4, 5, 7]})
    assert (validation.part, validation.against, validation.pairs) == ("validation", "train", 0)
    assert (test.frames, test.pairs, test.size) == ((5,), 2, 3)
    assert (between.against, between.pairs) == ("validation", 0)
    assert "1 of 3 test frames" in test.describe()


def test_of_large_parts_frames_evenly_spread_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs grow as the square: what is counted is a part of it, and the sentence says so."""
    crystals = [bulk("Si", cubic=True, a=5.0 + 0.1 * i) for i in range(7)]
    samples = [Sample(atoms, {}) for atoms in [*crystals, *crystals[::2]]]
    parts = {"train": range(7), "test": range(7, 11)}
    (whole,) = near_duplicates(samples, parts)
    assert (whole.frames, whole.pairs, whole.among) == ((7, 8, 9, 10), 4, "")
    monkeypatch.setattr(neighbours, "COMPARED", 3)
    (some,) = near_duplicates(samples, parts)
    assert (some.frames, some.pairs) == ((7, 10), 2)  # train 0, 3, 6 against the copies of 0, 2, 6
    assert some.describe().endswith("at least: compared were 3 of 4 test frames and 3 of 7 train frames")
