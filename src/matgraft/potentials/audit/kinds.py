"""Kinds of structures that tags name or that a structure shows by itself: liquids, adsorbates, boundaries, paths.

Told by structure are, beyond doubt alone,

* liquids: hot frames of the bulk in which no lattice plane scatters (`order`);
* adsorbates: what lies on a slab and is not of it (`has_adsorbate`).

Grain boundaries, interfaces and transition states are told by tags alone: two grains, two phases or a saddle look like
a defect, a compound or a distortion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box
from matgraft.potentials.data.geometry import SLAB_A, neighbours_within

MOST_FRAMES = 2000
"""Frames that are looked at by structure, spread over the set."""
MOST_ATOMS, LEAST_ATOMS = 256, 48
"""Of a frame whose order is measured: of more it takes too long, of fewer a liquid scatters as a crystal does."""
ORDERED = 0.2
"""Strongest reflection by the number of atoms squared. In the Si and Mo sets crystals have 0.67 or more up to melting,
melts of 54 to 64 atoms 0.09 to 0.3."""
_REACH = 1.5  # of wave vectors, by 2 pi over the distance between atoms: past the first reflections of simple lattices
_BOND = 1.25  # distance by the sum of covalent radii
_MOLECULE = 12  # atoms of an adsorbed molecule at most

NAMED: Mapping[str, str] = {
    "liquid": r"liquid|molten|(?<![a-z])(liq|melt|melted|melts)(?![a-z])",
    "adsorbate": r"adsor[bp]|chemisor|physisor|(?<![a-z])ads(?![a-z])",
    "grain boundary": r"grain.?bound|(tilt|twist|twin).?bound|(?<![a-z0-9])gbs?(?![a-z])",
    "interface": r"interfac|heterostruct|heterojunction|heterointerf",
    "transition state": r"transition.?state|saddle|reaction.?path|minimum.?energy.?path|(?<![a-z])(ci.?)?neb(?![a-z])"
    r"|(^|[\s_/])(ts|irc)($|[\s_/\d])",  # not PBE+TS, which is a dispersion
}
"""Kind -> what tags that say what a frame is call it."""
_PATH_TAG = re.compile(r"(ci_?)?neb(_.*)?|.*_neb|reaction_(coordinate|path)|(band|path)_image|image_(index|number|id)")
"""Names of tags that images of a band have."""

_NONMETALS = np.array([atomic_numbers[one] for one in ["H", "B", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "I"]])


def names_kind(kind: str, tags: Mapping[str, str], telling: Iterable[str]) -> bool:
    """Say whether the tags of a frame name a kind; of a transition state also by the names of tags."""
    if any(re.search(NAMED[kind], tags.get(tag, ""), re.IGNORECASE) for tag in telling):
        return True
    return kind == "transition state" and any(_PATH_TAG.fullmatch(tag.lower()) and tags[tag].strip() for tag in tags)


def order(atoms: Atoms) -> float | None:
    """Return the strongest reflection of a periodic frame, |sum exp(i k r)|^2 / n^2; None where it is not measured."""
    n = len(atoms)
    if not LEAST_ATOMS <= n <= MOST_ATOMS:
        return None
    cell = np.asarray(atoms.cell[:])
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    farthest = _REACH * 2 * np.pi * float(np.cbrt(n / abs(np.linalg.det(cell))))
    most = np.floor(farthest * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[len(grid) // 2 + 1 :]  # k and -k scatter alike, and 0 always does
    waves = grid[np.linalg.norm(grid @ reciprocal, axis=1) <= farthest]
    phases = 2 * np.pi * (waves @ atoms.get_scaled_positions(wrap=False).T)
    amplitudes = np.cos(phases).sum(axis=1) ** 2 + np.sin(phases).sum(axis=1) ** 2
    return float(amplitudes.max(initial=0.0)) / n**2


def has_adsorbate(atoms: Atoms) -> bool:
    """Say whether something that is not of it lies on a slab.

    These are nonmetals of elements that the slab has not, all of them outside of it, or a molecule without a bond to
    it.
    """
    heights = _heights(atoms)
    nonmetal = np.isin(atoms.numbers, _NONMETALS)
    if heights is None or nonmetal.all() or not nonmetal.any():
        return False
    return _foreign(atoms.numbers, heights, nonmetal) or _molecule_apart(atoms, nonmetal)


def _heights(atoms: Atoms) -> Array | None:
    """Return (n,) Å along the normal of a slab, without a jump at the edge of the cell; None of what is no slab."""
    try:
        found = box(atoms, 0.0)
    except DataError:
        return None
    inverse = np.linalg.inv(found.vectors)
    tall = 1 / np.linalg.norm(inverse, axis=0)
    scaled = atoms.positions @ inverse
    empty = []
    for axis in range(3):
        own = scaled[:, axis] % 1.0 if found.periodic[axis] else scaled[:, axis]
        ordered = np.sort(own)
        gaps = np.diff(ordered, append=ordered[:1] + 1.0)
        k = int(gaps.argmax())
        if not found.periodic[axis]:
            empty.append(own * tall[axis])
        elif gaps[k] * tall[axis] > SLAB_A:
            empty.append((own - ordered[(k + 1) % len(ordered)]) % 1.0 * tall[axis])
    return empty[0] if len(empty) == 1 else None


def _foreign(numbers: NDArray[np.int64], heights: Array, nonmetal: NDArray[np.bool_]) -> bool:
    """Say whether there are nonmetals whose element lies outside of all metal atoms alone."""
    low, high = heights[~nonmetal].min(), heights[~nonmetal].max()
    outside = (heights > high) | (heights < low)
    return any(outside[numbers == Z].all() for Z in np.unique(numbers[nonmetal])) and (~nonmetal).sum() >= 4


def _molecule_apart(atoms: Atoms, nonmetal: NDArray[np.bool_]) -> bool:
    """Say whether there is a molecule of nonmetals without a bond to the rest, which is most of the frame."""
    radii, n = covalent_radii[atoms.numbers], len(atoms)
    cell = atoms.cell.complete()[:]
    i, j, distance = neighbours_within(2 * _BOND * float(radii.max()), atoms.positions, cell, atoms.pbc)
    bonded = distance < _BOND * (radii[i] + radii[j])
    count, part = connected_components(coo_matrix((np.ones(bonded.sum()), (i[bonded], j[bonded])), shape=(n, n)), False)
    sizes = np.bincount(part, minlength=count)
    pure = np.bincount(part, weights=nonmetal, minlength=count) == sizes
    return bool((pure & (sizes >= 2) & (sizes <= _MOLECULE) & (3 * sizes < n)).any())
