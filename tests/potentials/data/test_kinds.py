"""Liquids, adsorbates, boundaries and paths are told where they are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, surface

from matgraft.potentials.audit import coverage as looked
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.audit.kinds import order
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample

HOT = 2.0


def frame(atoms: Atoms, tags: dict[str, str] | None = None, force: float = 0.0) -> Sample:
    forces = np.zeros((len(atoms), 3))
    forces[:, 0] = force * (-1.0) ** np.arange(len(atoms))
    return Sample(atoms, {"forces": forces}, tags or {})


def families(*samples: Sample) -> dict[str, int]:
    return coverage(Dataset(samples)).families


def missing(*samples: Sample) -> str:
    return " ".join(one.use for one in coverage(Dataset(samples)).missing)


def random_cell(n: int = 64) -> Atoms:
    """Atoms of silicon's density, no two closer than 1.8 Å."""
    rng, side = np.random.default_rng(0), float(np.cbrt(20.0 * n))
    placed: list[np.ndarray] = []
    while len(placed) < n:
        new = rng.uniform(0, side, 3)
        apart = np.array(placed).reshape(-1, 3) - new
        apart -= side * np.round(apart / side)
        if not len(placed) or np.linalg.norm(apart, axis=1).min() > 1.8:
            placed.append(new)
    return Atoms(f"Si{n}", positions=placed, cell=[side] * 3, pbc=True)


def rattled(atoms: Atoms, size: float) -> Atoms:
    atoms.rattle(size, seed=1)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "force", "liquid"),
    [
        (random_cell(), HOT, 1),
        (random_cell(), 0.0, 0),  # a glass, or a crystal of many atoms: not hot
        (random_cell(24), HOT, 0),  # too few atoms to tell
        (rattled(bulk("Si", cubic=True) * (2, 2, 2), 0.25), HOT, 0),
        (rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2), 0.3), HOT, 0),
        (rattled(bulk("Mg") * (4, 4, 4), 0.3), HOT, 0),
        (rattled(bulk("Si", cubic=True) * (2, 2, 2), 0.2)[1:], HOT, 0),
    ],
)
def test_a_liquid_is_hot_and_without_order(atoms: Atoms, force: float, liquid: int) -> None:
    assert families(frame(atoms, force=force))["liquid"] == liquid
    assert ("melting" in missing(frame(atoms, force=force))) == (not liquid)


def test_a_perfect_crystal_scatters_as_one_atom() -> None:
    assert order(bulk("Cu", cubic=True) * (3, 3, 3)) == pytest.approx(1.0)
    assert order(bulk("Si", cubic=True) * (2, 2, 2)) == pytest.approx(1.0)
    assert order(bulk("Cu")) is None


def on_copper(what: str, height: float, size: tuple[int, int, int] = (2, 2, 3)) -> Atoms:
    slab = fcc111("Cu", size, vacuum=8.0, periodic=True)
    add_adsorbate(slab, molecule(what) if len(what) > 1 else what, height, "ontop")
    return slab


def layers(one: Atoms, count: int, gap: float = 3.3) -> Atoms:
    made = one.copy()
    made.set_cell([*one.cell[:2], [0, 0, 25.0]])
    for k in range(1, count):
        made += Atoms(one.numbers, np.add(one.positions, [0, 0, k * gap]))
    made.pbc = True
    return made


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        (on_copper("CO", 1.9), 1),
        (on_copper("O", 1.2), 1),
        (on_copper("H2O", 3.2, (3, 3, 3)), 1),
        (fcc111("Cu", (2, 2, 4), vacuum=8.0, periodic=True), 0),
        (surface(bulk("MgO", "rocksalt", a=4.21, cubic=True), (1, 0, 0), 3, vacuum=8.0, periodic=True), 0),
        (layers(graphene(size=(2, 2, 1)), 4), 0),
        (molecule("H2O", cell=[15.0] * 3, pbc=True), 0),
        (bulk("Si", cubic=True), 0),
    ],
)
def test_an_adsorbate_lies_on_a_slab_and_is_not_of_it(atoms: Atoms, count: int) -> None:
    assert families(frame(atoms))["adsorbate"] == count
    assert ("adsorption" in missing(frame(atoms))) == (not count)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"config_type": "liquid"}, "liquid"),
        ({"config_type": "melt_2000K"}, "liquid"),
        ({"config_type": "gb_sigma5"}, "grain boundary"),
        ({"config_type": "GrainBoundary"}, "grain boundary"),
        ({"description": "Si/SiO2 interface"}, "interface"),
        ({"config_type": "NEB"}, "transition state"),
        ({"config_type": "ci-neb_3"}, "transition state"),
        ({"config_type": "saddle_point"}, "transition state"),
        ({"config_type": "TS"}, "transition state"),
        ({"config_type": "rxn12_ts3"}, "transition state"),
        ({"config_type": "irc"}, "transition state"),
        ({"description": "by PBE+TS"}, None),
        ({"config_type": "tsunami"}, None),
        ({"config_type": "bolts"}, None),
        ({"image_index": "3"}, "transition state"),
        ({"config_type": "CO_ads_Cu111"}, "adsorbate"),
        ({"config_type": "bulk_melting"}, None),
        ({"config_type": "AIMD-NVT"}, None),
        ({"config_type": "nebula"}, None),
        ({"config_type": "pads"}, None),
        ({"image": "sun.png"}, None),
    ],
)
def test_tags_name_them(tags: dict[str, str], kind: str | None) -> None:
    named = ("liquid", "adsorbate", "grain boundary", "interface", "transition state")
    found = families(frame(bulk("Si"), tags))
    assert {one for one in named if found[one]} == ({kind} if kind else set())


@pytest.mark.parametrize(("element", "melts"), [("Si", ("2530 K", "3374 K", "300 K")), ("Mo", ("6000 K",))])
def test_the_published_sets_have_melts_and_nothing_else(shared: object, element: str, melts: tuple[str, ...]) -> None:
    """In the Si set the two series of vacancies have each other's names: the melted ones say 300 K."""
    data = read(f"{shared}/data/potentials/{element}_train.extxyz")
    survey = looked._survey(data)
    assert not any(survey.families[kind] for kind in ("adsorbate", "grain boundary", "interface", "transition state"))
    named = {data[i].tags["trajectory"] for i in survey.families["liquid"]}
    assert named and all(one.endswith(melts) for one in named)
    assert not any("normal structure at 300 K" in one for one in named)


def test_large_sets_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looked, "MOST_FRAMES", 3)
    found = coverage(Dataset([frame(bulk("Si"))] * 8))
    assert (found.n_frames, found.n_examined) == (8, 3)
