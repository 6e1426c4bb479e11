"""Structures made from a crystal: strained, rattled, with a defect, a surface, other elements; and prototypes.

    for made in MADE["vacancy"](structure, Material(elements=("Si",), bond=Bond()), settings, rng):
        made.atoms, made.origin

| maker        | of             | frames                                                                                    |
| ------------ | -------------- | ----------------------------------------------------------------------------------------- |
| strain       | bulk           | each ratio of the volume; each independent strain of the cell, both senses                  |
| rattle       | all but atoms  | `count`, the amplitudes in turn                                                           |
| vacancy      | bulk           | each kind of site: as it is, and `count` rattled ones in all                              |
| interstitial | bulk           | each kind of void and element: as it is, and `count` rattled ones in all                  |
| surface      | bulk           | facets of low index, each termination with two like sides: as it is, and rattled           |
| substitute   | bulk           | one atom of each kind of site by each other element, and `count` with a random share        |
| prototype    | no structure   | `count` an element, distorted at random                                                    |
"""  # noqa: E501 - rows of a table

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from matgraft.core.frozen import Frozen
from matgraft.potentials.active.sampling.prototypes import Bond, compositions, distorted_supercell, prototype
from matgraft.potentials.active.sampling.rattle import rattled
from matgraft.potentials.active.sampling.settings import Maker, SampleSettings
from matgraft.potentials.checks.structures import Kind, Structure
from matgraft.potentials.simulation.defects import distinct_sites, supercell, voids, without_site
from matgraft.potentials.simulation.deform import independent_strains, scaled, strained, unit_strain
from matgraft.potentials.simulation.dynamics import box_of_motion
from matgraft.potentials.simulation.geometry import primitive_of
from matgraft.potentials.simulation.surfaces import terminations

SMALL_A = 0.05
"""Å that atoms around a defect and at a surface are displaced by: those of 300 K in a solid of medium stiffness."""
AXES = ("xx", "yy", "zz", "yz", "xz", "xy")


class Material(Frozen):
    """What of all structures and frames decides what is made: the elements that may be put in, and the bonds."""

    elements: tuple[str, ...]
    bond: Bond = Bond()


@dataclass(frozen=True)
class MadeStructure:
    """A structure, and its origin in words."""

    atoms: Atoms
    origin: str


Frames = Iterator[MadeStructure]
Rng = np.random.Generator


def strain(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield the crystal at other volumes and under strains of both senses."""
    cell = primitive_of(structure.atoms)
    for ratio in settings.volumes:
        yield MadeStructure(scaled(cell, ratio), f"strain volume {ratio:g}")
    for component in independent_strains(cell):
        for size in settings.strains:
            for amount in (size, -size):
                yield MadeStructure(
                    strained(cell, amount * unit_strain(component)), f"strain {AXES[component]} {amount:+g}"
                )


def rattle(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield displaced atoms, the amplitudes in turn."""
    box = box_of_motion(structure.atoms, settings.atoms)
    for width in islice(cycle(settings.rattle_A), settings.count):
        yield MadeStructure(rattled(box, width, rng), f"rattle {width:g} Å")


def vacancy(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield supercells without one atom."""
    whole = supercell(primitive_of(structure.atoms))
    made = [
        MadeStructure(without_site(whole, site), f"vacancy {whole.symbols[site]}")
        for site in distinct_sites(whole)
        if len(whole) > 1
    ]
    yield from _and_rattled(made, settings.count, rng)


def interstitial(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield supercells with one atom more, in the largest voids."""
    cell = primitive_of(structure.atoms)
    whole = supercell(cell)
    made = []
    for position in voids(cell):
        for symbol in dict.fromkeys(cell.symbols):
            added = whole.copy()
            added.append(symbol)
            added.positions[-1] = position
            made.append(MadeStructure(added, f"interstitial {symbol}"))
    yield from _and_rattled(made, settings.count, rng)


def surface(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield slabs, each as it is cut and with displaced atoms."""
    for plane, slabs in terminations(primitive_of(structure.atoms)).items():
        for slab in slabs:
            made = MadeStructure(slab, f"surface ({plane})")
            yield from (made, *_and_rattled([made], 1, rng, first=False))


def substitute(structure: Structure, material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield supercells in which elements take the place of others; lengths follow the mean covalent radius (Vegard)."""
    whole = supercell(primitive_of(structure.atoms))
    for site in distinct_sites(whole):
        for symbol in material.elements:
            if symbol != whole.symbols[site]:
                yield MadeStructure(
                    _swapped(whole, [site], symbol), f"substitute {whole.symbols[site]} by {symbol}, one atom"
                )
    present = list(dict.fromkeys(whole.symbols))
    pairs = [(old, new) for old in present for new in material.elements if old != new]
    for k in range(settings.count if pairs else 0):
        old, new = pairs[k % len(pairs)]
        sites = np.flatnonzero(whole.symbols == old)
        number = int(rng.integers(1, len(sites) + 1))
        chosen = rng.choice(sites, number, replace=False)
        yield MadeStructure(_swapped(whole, chosen.tolist(), new), f"substitute {old} by {new}, random")


def prototypes(material: Material, settings: SampleSettings, rng: Rng) -> Frames:
    """Yield random structures, `count` an element; every prototype comes once before one comes twice."""
    choices, number = compositions(material.elements), settings.count * len(material.elements)
    rounds = -(-number // len(choices))
    order = [choices[int(k)] for _ in range(rounds) for k in rng.permutation(len(choices))]
    for (name, elements), width in zip(order[:number], cycle(settings.rattle_A), strict=False):
        atoms = prototype(name, elements, material.bond)
        yield MadeStructure(
            distorted_supercell(atoms, width, rng), f"prototype {name} {atoms.get_chemical_formula(empirical=True)}"
        )


MADE: Mapping[Maker, Callable[[Structure, Material, SampleSettings, Rng], Frames]] = {
    "strain": strain,
    "rattle": rattle,
    "vacancy": vacancy,
    "interstitial": interstitial,
    "surface": surface,
    "substitute": substitute,
}
BULK: frozenset[Kind] = frozenset({"bulk"})
MADE_OF: Mapping[Maker, frozenset[Kind]] = dict.fromkeys(MADE, BULK) | {
    "rattle": frozenset({"bulk", "slab", "wire", "molecule"})
}
"""Maker -> kinds of structures that it takes; ``prototype`` takes none."""


def _and_rattled(made: list[MadeStructure], count: int, rng: Rng, *, first: bool = True) -> Frames:
    """Yield structures, and `count` with displaced atoms: of each in turn."""
    if first:
        yield from made
    for one in islice(cycle(made), count):
        yield MadeStructure(rattled(one.atoms, SMALL_A, rng), one.origin)


def _swapped(atoms: Atoms, sites: list[int], symbol: str) -> Atoms:
    """Return atoms with another element on some sites, lengths times the ratio of the mean covalent radii."""
    swapped = atoms.copy()
    swapped.numbers[sites] = atomic_numbers[symbol]
    ratio = covalent_radii[swapped.numbers].mean() / covalent_radii[atoms.numbers].mean()
    return scaled(swapped, float(ratio) ** 3)
