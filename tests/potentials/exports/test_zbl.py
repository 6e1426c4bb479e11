"""Short-range repulsion: against the published formula, finite differences, and silence beyond its reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import Bohr, Hartree

from matgraft.potentials.exports.repulsion import CLOSEST, ClosestPairs, reach_of_pairs
from matgraft.potentials.exports.zbl import INNER, Repelled, pair_energy, pairs_of, repulsion


def zbl(r: float, Z_a: int, Z_b: int) -> float:
    """The formula once more, in atomic units."""
    a = 0.8854 / (Z_a**0.23 + Z_b**0.23)
    x = r / Bohr / a
    phi = 0.1818 * np.exp(-3.2 * x) + 0.5099 * np.exp(-0.9423 * x) + 0.2802 * np.exp(-0.4029 * x)
    return Hartree * Z_a * Z_b / (r / Bohr) * (phi + 0.02817 * np.exp(-0.2016 * x))


@pytest.mark.parametrize(("Z_a", "Z_b", "r"), [(14, 14, 0.8), (1, 8, 0.3), (32, 14, 1.0), (79, 79, 0.5)])
def test_inside_it_is_the_published_repulsion(Z_a: int, Z_b: int, r: float) -> None:
    value, _ = pair_energy(np.array([r]), np.array([Z_a]), np.array([Z_b]), np.array([r / INNER * 1.001]))
    assert value[0] == pytest.approx(zbl(r, Z_a, Z_b), rel=1e-3)


def test_it_falls_smoothly_to_nothing_at_its_reach() -> None:
    r = np.linspace(0.5, 2.0, 3001)
    value, slope = pair_energy(r, np.full(len(r), 14), np.full(len(r), 14), np.full(len(r), 1.8))
    assert np.all(np.diff(value[r < 1.8]) < 0) and not value[r > 1.8].any() and not slope[r > 1.8].any()
    assert np.gradient(value, r)[1:-1] == pytest.approx(slope[1:-1], rel=1e-3, abs=1e-2)
    bend = np.gradient(slope, r)
    assert np.abs(np.diff(bend))[r[1:] > 1.5].max() < 0.02 * np.abs(bend).max()


def test_forces_and_stress_follow_from_the_energy() -> None:
    atoms = bulk("Cu", a=2.6, cubic=True)
    atoms.symbols[0] = "Au"
    atoms.rattle(0.05, seed=1)
    reach = {"Au-Cu": 2.4, "Cu-Cu": 2.2, "Au-Au": 2.6}
    _, forces, virial = repulsion(atoms, reach)

    def energy(change) -> float:
        moved = atoms.copy()
        change(moved)
        return repulsion(moved, reach)[0]

    h = 1e-5

    def push(sign):
        return lambda one: one.positions.__setitem__((1, 2), one.positions[1, 2] + sign * h)

    def strain(sign):
        bent = np.eye(3)
        bent[0, 0] += sign * h
        return lambda one: one.set_cell(one.cell[:] @ bent, scale_atoms=True)

    assert forces[1, 2] == pytest.approx(-(energy(push(1)) - energy(push(-1))) / (2 * h), rel=1e-5)
    assert virial[0, 0] == pytest.approx((energy(strain(1)) - energy(strain(-1))) / (2 * h), rel=1e-5)
    assert forces.sum(axis=0) == pytest.approx(0, abs=1e-9)


def test_a_model_is_untouched_where_no_pair_is_close_and_repelled_where_one_is() -> None:
    crystal = bulk("Cu", cubic=True)
    plain, repelled = EMT(), Repelled(EMT(), {"Cu-Cu": 2.0})
    for name in ("energy", "forces", "stress"):
        assert np.array_equal(repelled.get_property(name, crystal), plain.get_property(name, crystal))
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.9]])
    assert repelled.get_potential_energy(pair) > plain.get_potential_energy(pair) + 100
    assert repelled.get_forces(pair)[1, 2] > plain.get_forces(pair)[1, 2] + 100


def test_what_is_said_of_each_atom_is_left_out_for_it_lacks_the_repulsion() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    assert {"energies", "magmoms"} <= set(EMT().implemented_properties)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    atoms.calc = Repelled(EMT(), {"Cu-Cu": 3.0})
    atoms.get_potential_energy()
    assert not {"energies", "stresses"} & (set(atoms.calc.results) | set(atoms.calc.implemented_properties))


def test_pairs_stand_in_the_order_of_the_alphabet() -> None:
    assert pairs_of(["Si", "Ge"]) == ["Ge-Ge", "Ge-Si", "Si-Si"]


@pytest.mark.parametrize(
    ("a", "b", "bond"), [("N", "N", 1.098), ("C", "O", 1.128), ("C", "N", 1.156), ("C", "C", 1.203)]
)
def test_real_triple_bonds_are_left_alone_where_no_frame_has_the_pair(
    tmp_path: Path, a: str, b: str, bond: float
) -> None:
    CLOSEST.write(tmp_path, ClosestPairs(distance_A={}))
    dimer = Atoms([a, b], positions=[[0, 0, 0], [0, 0, bond]])
    energy, forces, _ = repulsion(dimer, reach_of_pairs(tmp_path, [a, b]))
    assert energy == 0.0 and not forces.any()
