"""Structures made offline: prototypes decorated with elements, then strained, rattled, cut, emptied. Nothing is read.

>>> made = make_structures(["Si", "Ge"], known=foundation.card.elements, size=200, seed=0)
>>> Counter(made.tag("config_type"))    # strained, rattled, vacancy, surface, dimer
>>> Counter(made.tag("chemistry"))      # inside: target's elements alone; outside: at least one other

They are what a foundation can be asked about where its own training data are not at hand: to rehearse what it knows
(`matgraft.potentials.tuning.replay`), and to see what a tuned model has forgotten
(`matgraft.potentials.checks.forgetting`).

| config_type | made by                                                                        |
| ----------- | ------------------------------------------------------------------------------ |
| strained    | the cell strained: all axes alike by -8 to +12 %, and by up to 4 % at random     |
| rattled     | a cell of 4 atoms or more, strained by a few %, each atom moved by 2 to 12 % of a bond |
| vacancy     | a cell of 8 atoms or more less one, slightly rattled                            |
| surface     | a slab under 10 Å of vacuum, slightly rattled                                   |
| dimer       | two atoms without a cell, at 0.6 to 1.1 of their bond                            |

Half of the structures hold the target's elements alone; a quarter hold a neighbour of these in the periodic table; a
quarter any element that the foundation knows, each in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice, product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii, reference_states
from pymatgen.core import Element

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

VERSION = 1
"""Raised whenever the same arguments make other structures: caches are keyed by it."""

GOLDSCHMIDT = {12: 1.0, 8: 0.97, 6: 0.96, 4: 0.88, 3: 0.81}
"""Size of an atom by its number of neighbours. Goldschmidt 1926; 3 from the bonds of graphite against diamond."""

_HALVES = {
    "fcc": (2**0.5 / 4, 12),
    "bcc": (3**0.5 / 4, 8),
    "hcp": (0.5, 12),
    "sc": (0.5, 6),
    "diamond": (3**0.5 / 8, 4),
}
"""Half the distance of neighbours in units of the lattice constant, and how many there are."""

CLOSEST = 0.7
"""No two atoms of a crystal or slab come closer than this part of their bond; dimers do."""

DENSEST = 5.0
"""Å³ an atom; diamond, where atoms stand closest of all, has 5.7. Without it hydrogen has thousands of neighbours."""

VACUUM = 10.0
"""Å; wider than any cutoff reaches, so that a slab does not see its image."""

Rng = np.random.Generator
_CUBE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_FCC = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_BCC = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))


def _hexagonal(ratio: float) -> tuple[tuple[float, float, float], ...]:
    return ((1.0, 0.0, 0.0), (-0.5, 3**0.5 / 2, 0.0), (0.0, 0.0, ratio))


@dataclass(frozen=True)
class Prototype:
    """A crystal structure without elements and without a size.

    Attributes
    ----------
    cell
        (3, 3), rows are the lattice vectors, in units of one length.
    kinds
        A letter a site; A is the least electronegative of the elements, the last letter the most.
    sites
        (n_sites, 3), in parts of the cell.
    coordination
        Neighbours of the atoms that touch, a key of `GOLDSCHMIDT`.
    """

    name: str
    cell: tuple[tuple[float, float, float], ...]
    kinds: str
    sites: tuple[tuple[float, float, float], ...]
    coordination: int

    def atoms(self, symbols: Sequence[str]) -> Atoms:
        """Return the cell with its first kind made of the first symbol and so on, as large as atoms that touch."""
        chosen = [symbols[ord(kind) - ord("A")] for kind in self.kinds]
        atoms = Atoms(chosen, cell=self.cell, scaled_positions=self.sites, pbc=True)
        touching = GOLDSCHMIDT[self.coordination] / GOLDSCHMIDT[4] / closest(atoms)
        size = max(touching, (DENSEST * len(atoms) / atoms.get_volume()) ** (1 / 3))
        atoms.set_cell(atoms.cell[:] * size, scale_atoms=True)
        return atoms


_O, _Q, _H, _T = (0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.5, 0.5, 0.5), (0.75, 0.75, 0.75)
_FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
PROTOTYPES = (
    Prototype("fcc", _FCC, "A", (_O,), 12),
    Prototype("bcc", _BCC, "A", (_O,), 8),
    Prototype("sc", _CUBE, "A", (_O,), 6),
    Prototype("hcp", _hexagonal(1.633), "AA", ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)), 12),
    Prototype("diamond", _FCC, "AA", (_O, _Q), 4),
    Prototype("honeycomb", _hexagonal(1.36), "AA", (_O, (1 / 3, 2 / 3, 0.0)), 3),
    Prototype("rocksalt", _FCC, "AB", (_O, _H), 6),
    Prototype("CsCl (B2)", _CUBE, "AB", (_O, _H), 8),
    Prototype("zincblende", _FCC, "AB", (_O, _Q), 4),
    Prototype(
        "wurtzite",
        _hexagonal(1.633),
        "AABB",
        ((1 / 3, 2 / 3, 0.0), (2 / 3, 1 / 3, 0.5), (1 / 3, 2 / 3, 0.375), (2 / 3, 1 / 3, 0.875)),
        4,
    ),
    Prototype("NiAs", _hexagonal(1.4), "AABB", (_O, (0.0, 0.0, 0.5), (1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)), 6),
    Prototype("L1_0", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 2**0.5)), "AB", (_O, _H), 12),
    Prototype("L1_2", _CUBE, "ABBB", (_O, *_FACES), 12),
    Prototype("D0_3", _FCC, "ABBB", (_O, _Q, _H, _T), 8),
    Prototype("fluorite", _FCC, "ABB", (_O, _Q, _T), 6),
    Prototype("half-Heusler", _FCC, "ABC", (_O, _Q, _H), 6),
    Prototype("Heusler", _FCC, "ABBC", (_O, _Q, _T, _H), 8),
    Prototype("perovskite", _CUBE, "ABCCC", (_O, _H, *_FACES), 6),
)


def make_structures(target: Sequence[str], known: Sequence[str], size: int, *, seed: int = 0) -> Dataset:
    """Make structures without labels.

    Parameters
    ----------
    target
        Symbols of the elements that the user's frames hold.
    known
        Symbols of the elements that the foundation knows; where there is none beside the target's, every structure is
        inside.
    size
        How many.
    seed
        The same seed makes the same structures; two seeds share none.

    Returns
    -------
    Dataset
        Cells of 1 to 27 atoms, most of 2 to 9; Å. Tags: ``config_type``, ``prototype``, ``chemistry``.

    Raises
    ------
    DataError
        If the foundation does not know an element of the target.
    """
    if unknown := sorted(set(target) - set(known)):
        raise DataError(f"{', '.join(unknown)}: unknown to the foundation", allowed=known)
    rng = np.random.default_rng(seed)
    kinds = islice(cycle(_TURNS), size)
    palettes = islice(_palettes(target, known, rng), size)
    made = []
    for i, (kind, (must, beside)) in enumerate(zip(kinds, palettes, strict=True)):
        prototype = PROTOTYPES[int(rng.integers(len(PROTOTYPES)))]
        atoms = _MAKERS[kind](prototype.atoms(_symbols(must, beside, len(set(prototype.kinds)), rng)), rng)
        inside = set(atoms.symbols) <= set(target)
        tags = {"config_type": kind, "prototype": prototype.name, "chemistry": "inside" if inside else "outside"}
        made.append(Sample(atoms, {}, tags, file="made", index=i))
    return Dataset(tuple(made))


@cache
def radius(Z: int) -> float:
    """Return the size of an atom with four neighbours, Å.

    Half the distance of neighbours in the element's ground state (ASE's `reference_states`) by Goldschmidt's factor;
    the covalent radius where the ground state is none of the simple ones.
    """
    state = reference_states[Z] or {}
    symmetry, side = str(state.get("symmetry")), state.get("a")
    if symmetry not in _HALVES or not isinstance(side, float | int):
        return float(covalent_radii[Z])
    half, coordination = _HALVES[symmetry]
    return float(half * side * GOLDSCHMIDT[4] / GOLDSCHMIDT[coordination])


def closest(atoms: Atoms) -> float:
    """Return the shortest distance of two atoms in units of their bond, the sum of their `radius`."""
    steps = [(-2, -1, 0, 1, 2) if periodic else (0,) for periodic in atoms.pbc]
    images = np.array(list(product(*steps))) @ atoms.cell[:]
    offsets = atoms.positions[None, :] - atoms.positions[:, None]
    distances = np.linalg.norm(offsets[:, :, None] + images, axis=-1)
    itself = np.eye(len(atoms), dtype=bool)[:, :, None] & ~images.any(axis=1)
    radii = np.array([radius(int(Z)) for Z in atoms.numbers])
    return float((np.where(itself, np.inf, distances).min(axis=-1) / (radii[:, None] + radii)).min())


@cache
def neighbours(symbol: str) -> frozenset[str]:
    """Return the elements beside, above and below an element in the periodic table."""
    element, others = Element(symbol), [Element.from_Z(Z) for Z in range(1, 119)]
    near = {other.symbol for other in others if abs(other.Z - element.Z) == 1}
    if element.block != "f":  # pymatgen counts all of its rows as one column
        column = [other for other in others if other.group == element.group and other.block == element.block]
        near |= {other.symbol for other in column if abs(other.row - element.row) == 1}
    return frozenset(near)


# ------------------------------------------------------------- which elements


def _palettes(target: Sequence[str], known: Sequence[str], rng: Rng) -> Iterator[tuple[str, list[str]]]:
    """Yield for each structure an element that it holds, each in its turn, and those that may stand beside it."""
    others = [symbol for symbol in known if symbol not in target]
    near = [symbol for symbol in others if any(symbol in neighbours(own) for own in target)] or others
    inside = cycle(target), list(target)
    beside = cycle(rng.permutation(near).tolist()), [*target, *near]
    anywhere = cycle(rng.permutation(others).tolist()), list(known)
    turns = (inside, beside, inside, anywhere) if others else (inside,)
    for turn, palette in cycle(turns):
        yield next(turn), palette


def _symbols(must: str, beside: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Return as many different elements as there are, from the least electronegative to the most."""
    rest = rng.permutation([symbol for symbol in beside if symbol != must]).tolist()[: count - 1]
    chosen = [must, *rest]
    chosen += rng.choice(chosen, count - len(chosen)).tolist()
    return sorted(chosen, key=_electronegativity)


@cache
def _electronegativity(symbol: str) -> float:
    """Pauling's; where he gives none (noble gases), that of an anion."""
    value = Element(symbol).data.get("X")
    return float(value) if isinstance(value, (int, float)) and value == value else 3.0


# ---------------------------------------------------------- what is done to them


def _strained(atoms: Atoms, rng: Rng, low: float = -0.08, high: float = 0.12, shear: float = 0.04) -> Atoms:
    """Strain the cell: one factor for all axes, and a symmetric shear whose entries have the spread `shear`."""
    random = shear * np.clip(rng.standard_normal((3, 3)), -2, 2) / 2
    strain = np.eye(3) * (1 + rng.uniform(low, high)) + (random + random.T) / 2
    strained = atoms.copy()
    strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    return strained


def _moved(atoms: Atoms, rng: Rng, amplitude: float) -> Atoms:
    """Move each atom at random by `amplitude` of a bond along each axis, or half as far until no two are too close."""
    bond = 2 * float(np.mean([radius(int(Z)) for Z in atoms.numbers]))
    step = amplitude * bond * rng.standard_normal((len(atoms), 3))
    moved = atoms.copy()
    moved.positions += step
    while closest(moved) < CLOSEST and np.abs(step).max() > 1e-6:
        step /= 2
        moved.positions = atoms.positions + step
    return moved


def _repeated(atoms: Atoms, at_least: int) -> Atoms:
    """Repeat the shortest axis until there are enough atoms."""
    while len(atoms) < at_least:
        times = np.ones(3, int)
        times[int(np.argmin(atoms.cell.lengths()))] = 2
        atoms = atoms.repeat(times)
    return atoms


def _rattled(atoms: Atoms, rng: Rng) -> Atoms:
    strained = _strained(_repeated(atoms, 4), rng, -0.03, 0.04, 0.02)
    return _moved(strained, rng, float(rng.choice([0.02, 0.04, 0.08, 0.12])))


def _vacancy(atoms: Atoms, rng: Rng) -> Atoms:
    crystal = _strained(_repeated(atoms, 8), rng, -0.02, 0.03, 0.01)
    del crystal[int(rng.integers(len(crystal)))]
    return _moved(crystal, rng, 0.02)


def _surface(atoms: Atoms, rng: Rng) -> Atoms:
    """Stack the cell along its third axis, and put vacuum above the plane of the other two."""
    slab = atoms.repeat((1, 1, max(2, -(-4 // len(atoms)))))
    normal = np.cross(slab.cell[0], slab.cell[1])
    normal /= np.linalg.norm(normal)
    height = float(np.ptp(slab.positions @ normal))
    slab.set_cell([slab.cell[0], slab.cell[1], (height + VACUUM) * normal])
    return _moved(slab, rng, 0.03)


def _dimer(atoms: Atoms, rng: Rng) -> Atoms:
    """Take two atoms of the cell, of two elements where it has them."""
    pair = Atoms([atoms.symbols[0], atoms.symbols[-1]])
    bond = radius(int(pair.numbers[0])) + radius(int(pair.numbers[1]))
    pair.positions[1] = [0, 0, bond * rng.uniform(0.6, 1.1)]
    return pair


_MAKERS: dict[str, Callable[[Atoms, Rng], Atoms]] = {
    "strained": _strained,
    "rattled": _rattled,
    "vacancy": _vacancy,
    "surface": _surface,
    "dimer": _dimer,
}
_TURNS = ("strained", "rattled", "vacancy", "strained", "rattled", "surface", "dimer")
"""Seven turns against four palettes: every kind meets every chemistry."""
