"""Structures that are made are what their names say, at any seed."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.potentials.active.sampling.makers import MADE, MadeStructure, Material, prototypes
from matgraft.potentials.active.sampling.plausible import Bounds, StartFrames
from matgraft.potentials.active.sampling.prototypes import Bond, compositions, prototype
from matgraft.potentials.active.sampling.rattle import KEPT, rattled
from matgraft.potentials.active.sampling.settings import Maker, SampleSettings
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.data.geometry import SLAB_A, closest_pair, vacuum
from matgraft.potentials.simulation.defects import voids

SILICON = Structure("Si", bulk("Si", cubic=True), "bulk", "")
SALT = Structure("NaCl", bulk("NaCl", "rocksalt", a=5.64), "bulk", "")
MATERIAL = Material(elements=("Si", "Ge"))
SEEDS = st.integers(0, 2**32 - 1)


def made(maker: Maker, of: Structure = SILICON, material: Material = MATERIAL, **given: object) -> list[MadeStructure]:
    asked = SampleSettings.model_validate({"make": (maker,), **given})
    return list(MADE[maker](of, material, asked, np.random.default_rng(0)))


def test_strains_go_both_ways_in_volume_and_shape() -> None:
    found = made("strain", volumes=(0.9, 1.1), strains=(0.02,))
    assert [one.origin for one in found] == [
        *("strain volume 0.9", "strain volume 1.1"),
        *("strain xx +0.02", "strain xx -0.02", "strain yz +0.02", "strain yz -0.02"),
    ]
    volumes = [one.atoms.get_volume() / len(one.atoms) * 8 / SILICON.atoms.get_volume() for one in found]
    assert volumes == pytest.approx([0.9, 1.1, 1.02, 0.98, 1 - 1e-4, 1 - 1e-4], abs=1e-9)
    lower = made("strain", Structure("Mg", bulk("Mg"), "bulk", ""), strains=(0.02,), volumes=(0.9,))
    assert len(lower) == 1 + 2 * 3, "hexagonal: the plane, the axis, and a shear along it"


def test_rattles_take_the_amplitudes_in_turn() -> None:
    found = made("rattle", count=4, rattle_A=(0.02, 0.2))
    assert [one.origin for one in found] == ["rattle 0.02 Å", "rattle 0.2 Å"] * 2
    ideal = bulk("Si", cubic=True).repeat(2)
    moves = [np.sqrt(np.mean((one.atoms.positions - ideal.positions) ** 2)) for one in found]
    assert moves[0] == pytest.approx(0.02, rel=0.2) and 0.1 < moves[1] < 0.25
    assert len({one.atoms.positions.tobytes() for one in found}) == 4
    assert made("rattle", Structure("H2O", molecule("H2O"), "molecule", ""), count=2)


def test_vacancies_lack_one_atom_of_each_kind() -> None:
    found = made("vacancy", SALT, count=2)
    assert [one.origin for one in found] == ["vacancy Na", "vacancy Cl", "vacancy Na", "vacancy Cl"]
    contents = [one.atoms.symbols.formula.count() for one in found]
    assert [one["Na"] - one["Cl"] for one in contents] == [-1, 1, -1, 1]
    assert not np.array_equal(found[0].atoms.positions, found[2].atoms.positions)


def test_interstitials_sit_in_the_largest_voids() -> None:
    found = made("interstitial", count=1)[:-1]
    assert {one.origin for one in found} == {"interstitial Si"}
    distances = [np.delete(one.atoms.get_distances(-1, range(len(one.atoms)), mic=True), -1).min() for one in found]
    assert distances[0] == pytest.approx(2.35, abs=0.01), "the tetrahedral void of diamond is as wide as a bond"
    assert distances == sorted(distances, reverse=True) and distances[-1] > 1.9
    (middle,) = voids(SALT.atoms)
    assert (middle @ np.linalg.inv(SALT.atoms.cell[:])) % 1 == pytest.approx([0.25] * 3, abs=1e-6) or (
        middle @ np.linalg.inv(SALT.atoms.cell[:])
    ) % 1 == pytest.approx([0.75] * 3, abs=1e-6)


def test_surfaces_are_slabs_as_cut_and_rattled() -> None:
    found = made("surface")
    assert {one.origin for one in found} >= {"surface (100)", "surface (110)", "surface (111)"}
    assert all((vacuum(one.atoms) > SLAB_A).sum() == 1 for one in found)
    assert len(found) % 2 == 0 and len(found[0].atoms) == len(found[1].atoms)


def test_substitutions_put_other_elements_in_and_keep_bonds_in_proportion() -> None:
    found = made("substitute", count=6)
    assert found[0].origin == "substitute Si by Ge, one atom"
    counts = [one.atoms.symbols.formula.count().get("Ge", 0) for one in found]
    assert counts[0] == 1 and len(set(counts[1:])) > 2 and max(counts) <= len(found[0].atoms)
    most = max(found, key=lambda one: one.atoms.symbols.formula.count().get("Ge", 0))
    assert most.atoms.get_volume() > found[0].atoms.get_volume()
    assert not made("substitute", material=Material(elements=("Si",))), "there is nothing to put in"


def test_prototypes_have_the_bonds_of_their_elements() -> None:
    bond = Bond.of([bulk("Si")])
    volumes = {name: prototype(name, ("Si",), bond) for name in ("diamond", "fcc", "bcc", "sc", "hcp")}
    per_atom = {name: atoms.get_volume() / len(atoms) for name, atoms in volumes.items()}
    # PBE at rest: diamond 20.5, fcc 14.5, bcc 14.7, simple cubic 16.3 Å³ an atom
    assert per_atom["diamond"] == pytest.approx(20.0, rel=0.01)
    assert all(per_atom[name] == pytest.approx(known, rel=0.15) for name, known in (("fcc", 14.5), ("sc", 16.3)))


def test_every_prototype_comes_once_before_one_comes_twice() -> None:
    names = {f"{name} {'-'.join(elements)}" for name, elements in compositions(("Si", "Ge"))}
    assert len(names) == 10 + 12
    found = list(prototypes(MATERIAL, SampleSettings(make=("prototype",), count=11), np.random.default_rng(0)))
    assert len(found) == 22 and len({one.origin for one in found}) > 15
    assert len(list(prototypes(MATERIAL, SampleSettings(make=("prototype",), count=1), np.random.default_rng(0)))) == 2


@given(SEEDS, st.sampled_from(compositions(("Si", "O"))))
@settings(max_examples=30)
def test_a_prototype_is_plausible_and_follows_its_seed(seed: int, choice: tuple[str, tuple[str, ...]]) -> None:
    atoms = prototype(*choice, Bond())
    assert Bounds().why_not_shape(atoms, StartFrames()) is None
    again = [rattled(atoms, 0.1, np.random.default_rng(seed)) for _ in range(2)]
    assert np.array_equal(again[0].positions, again[1].positions)


@given(SEEDS, st.floats(0.0, 1.0))
@settings(max_examples=40)
def test_rattled_atoms_keep_their_distance_and_their_centre(seed: int, width: float) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64).repeat(2)
    moved = rattled(atoms, width, np.random.default_rng(seed))
    assert closest_pair(moved, scope=3)[0] >= KEPT * closest_pair(atoms, scope=3)[0] - 1e-9
    assert moved.positions.mean(axis=0) == pytest.approx(atoms.positions.mean(axis=0), abs=1e-9)


def test_a_lone_atom_and_a_pair_can_be_rattled() -> None:
    alone = Atoms("Si", positions=[[1.0, 2.0, 3.0]])
    assert rattled(alone, 0.5, np.random.default_rng(0)).positions == pytest.approx(alone.positions)
    pair = molecule("N2")
    assert rattled(pair, 1.0, np.random.default_rng(0)).get_distance(0, 1) >= KEPT * pair.get_distance(0, 1) - 1e-9
