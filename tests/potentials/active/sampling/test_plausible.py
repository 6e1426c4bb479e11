"""Frames that no reference calculation is worth are named, and ordinary ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import given
from hypothesis import strategies as st

from matgraft.potentials.active.sampling.plausible import Bounds, StartFrames, farthest_neighbour

SILICON = bulk("Si", cubic=True)
START = StartFrames.of(SILICON, -40.0)
BOUNDS = Bounds()


def why(atoms: Atoms, energy: float = -40.0, force: float = 0.1, start: StartFrames = START) -> str | None:
    return BOUNDS.why_not(atoms, energy, np.full((len(atoms), 3), force), start)


def changed(k: int, position: list[float]) -> Atoms:
    atoms = SILICON.copy()
    atoms.positions[k] = position
    return atoms


def scaled(factor: float) -> Atoms:
    atoms = SILICON.copy()
    atoms.set_cell(factor * atoms.cell, scale_atoms=True)
    return atoms


def test_each_reason_is_found() -> None:
    assert why(SILICON) is None
    assert why(SILICON, energy=np.nan) == why(SILICON, force=np.inf) == why(changed(0, [np.nan] * 3)) == "not finite"
    assert why(changed(1, (SILICON.positions[0] + [0.5, 0, 0]).tolist())) == "too close"
    assert why(scaled(1.3)) == why(scaled(0.7)) == "volume"
    assert why(SILICON, force=70.0) == "force" and why(SILICON, energy=-130.0) == why(SILICON, energy=50.0) == "energy"


def test_an_atom_that_has_left_a_slab_or_a_bulk_is_found_and_one_of_a_molecule_is_not() -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=10)
    start = StartFrames.of(slab)
    assert why(slab, start=start) is None
    away = slab.copy()
    away.positions[-1, 2] += 6
    assert why(away, start=start) == "evaporated"
    whole = bulk("Si", cubic=True).repeat(2)
    distances = whole.get_distances(0, range(len(whole)), mic=True)
    assert why(whole[(distances == 0) | (distances > 4.0)]) == "evaporated"
    assert why(whole[distances > 4.0]) is None  # a hole by itself is a defect
    water = molecule("H2O", vacuum=5)
    apart = water.copy()
    apart.positions[1] += 4
    assert why(apart, start=StartFrames.of(water)) is None


def test_nothing_is_compared_where_there_is_nothing_to_compare_with() -> None:
    assert why(scaled(1.3), energy=-1e6, start=StartFrames()) is None


def test_a_lone_atom_and_an_empty_neighbourhood_have_no_distance() -> None:
    assert farthest_neighbour(Atoms("Si")) is None
    assert farthest_neighbour(SILICON) == pytest.approx(2.35, abs=0.01)
    assert why(Atoms("Si", positions=[[0, 0, 0]]), energy=0.0, start=StartFrames.of(Atoms("Si"))) is None


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.1), st.floats(0.9, 1.1))
def test_thermal_frames_are_plausible(seed: int, width: float, factor: float) -> None:
    atoms = scaled(factor)
    atoms.positions += np.clip(width * np.random.default_rng(seed).standard_normal((8, 3)), -0.25, 0.25)
    assert why(atoms) is None


@given(
    st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=3, max_size=3), min_size=8, max_size=8)
)
def test_any_positions_get_an_answer(positions: list[list[float]]) -> None:
    atoms = SILICON.copy()
    atoms.positions = np.array(positions)
    said = BOUNDS.why_not_shape(atoms, START)
    assert said is None or said in {"not finite", "too close", "evaporated"}
