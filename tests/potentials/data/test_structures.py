"""Structures made offline: every element has its turn, no two atoms coincide, and a seed says it all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.data import chemical_symbols

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.structures import (
    CLOSEST,
    GOLDSCHMIDT,
    PROTOTYPES,
    VACUUM,
    Prototype,
    closest,
    make_structures,
    neighbours,
)

KNOWN = chemical_symbols[1:95]


@pytest.fixture(scope="module")
def made() -> Dataset:
    return make_structures(["Si", "Ge"], KNOWN, 400, seed=3)


def hashes(dataset: Dataset) -> set[str]:
    return {dataset[[i]].hash() for i in range(len(dataset))}


def of_kind(made: Dataset, kind: str) -> Dataset:
    return made[np.array(made.tag("config_type")) == kind]


def test_every_element_has_its_turn(made: Dataset) -> None:
    assert set(made.elements()) == set(KNOWN)
    atoms = Counter(symbol for sample in made for symbol in set(sample.content.symbols))
    near = {"C", "Al", "P", "Ga", "As", "Sn"}  # around Si and Ge
    assert min(atoms["Si"], atoms["Ge"]) > min(atoms[symbol] for symbol in near) > 10
    assert max(atoms[symbol] for symbol in set(KNOWN) - near - {"Si", "Ge"}) < 10


def test_every_kind_meets_every_chemistry(made: Dataset) -> None:
    pairs = Counter(zip(made.tag("config_type"), made.tag("chemistry"), strict=True))
    assert len(pairs) == 10 and min(pairs.values()) >= 20
    assert made.tag("chemistry").count("inside") == 200
    for sample in made:
        assert (sample.tags["chemistry"] == "inside") == (set(sample.content.symbols) <= {"Si", "Ge"})


def test_atoms_keep_their_distance_but_for_dimers(made: Dataset) -> None:
    nearest = {kind: [closest(s.content) for s in of_kind(made, kind)] for kind in set(made.tag("config_type"))}
    dimers = nearest.pop("dimer")
    assert min(map(min, nearest.values())) >= CLOSEST
    assert 0.6 <= min(dimers) < CLOSEST < max(dimers) <= 1.1
    assert max(nearest["rattled"]) < 1.3


def test_the_cells_are_small(made: Dataset) -> None:
    sizes = [sample.n_atoms for sample in made]
    assert max(sizes) <= 27
    assert np.mean(sizes) < 6


def test_a_slab_stands_under_vacuum(made: Dataset) -> None:
    for atoms in (sample.content for sample in of_kind(made, "surface")):
        normal = np.cross(atoms.cell[0], atoms.cell[1])
        normal /= np.linalg.norm(normal)
        height = np.ptp(atoms.positions @ normal)
        assert abs(float(atoms.cell[2] @ normal)) - height > 0.8 * VACUUM
        assert atoms.pbc.all()


def test_a_seed_says_it_all(made: Dataset) -> None:
    assert make_structures(["Si", "Ge"], KNOWN, 80, seed=3).hash() == made[:80].hash()
    assert not hashes(made[:80]) & hashes(make_structures(["Si", "Ge"], KNOWN, 80, seed=4))


def test_a_foundation_without_other_elements() -> None:
    assert set(make_structures(["Si"], ["Si"], 20).tag("chemistry")) == {"inside"}


def test_an_element_that_the_foundation_does_not_know() -> None:
    with pytest.raises(DataError, match="Og: unknown to the foundation"):
        make_structures(["Si", "Og"], KNOWN, 4)


def named(name: str) -> Prototype:
    return next(prototype for prototype in PROTOTYPES if prototype.name == name)


@pytest.mark.parametrize(
    ("name", "symbols", "volume"),
    [
        ("fcc", ["Al"], 16.6),
        ("bcc", ["W"], 15.8),
        ("diamond", ["Si"], 20.0),
        ("hcp", ["Mg"], 23.2),
        ("honeycomb", ["C"], 8.8),
        ("rocksalt", ["Na", "Cl"], 22.4),
        ("zincblende", ["Ga", "As"], 22.6),
        ("CsCl (B2)", ["Cs", "Cl"], 70.0),
    ],
)
def test_volumes_are_those_of_nature(name: str, symbols: list[str], volume: float) -> None:
    """Å³ an atom, measured ones."""
    atoms = named(name).atoms(symbols)
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume, rel=0.15)


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda prototype: prototype.name)
def test_the_first_atoms_to_touch_set_the_size(prototype: Prototype) -> None:
    atoms = prototype.atoms(["Mg", "Si", "O"])
    assert closest(atoms) == pytest.approx(GOLDSCHMIDT[prototype.coordination] / GOLDSCHMIDT[4])
    assert len(atoms) == len(prototype.kinds) == len(prototype.sites)


def test_hydrogen_is_no_denser_than_diamond() -> None:
    for prototype in PROTOTYPES:
        atoms = prototype.atoms(["H", "H", "H"])
        assert atoms.get_volume() / len(atoms) >= 4.999


def test_neighbours_in_the_periodic_table() -> None:
    assert neighbours("Si") == {"C", "Al", "P", "Ge"}
    assert neighbours("Gd") == {"Eu", "Tb"}
    assert neighbours("Og") == {"Ts", "Rn"}
