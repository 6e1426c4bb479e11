"""How far a short-range repulsion reaches: up to where a model has data, and never as far as a bond.

keep_closest(train, folder)                    # closest.json in the model folder, when a run ends
reach_of(folder, ["Si", "Ge"])                 # {"Ge-Ge": 1.80, "Ge-Si": 1.73, "Si-Si": 1.67}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.exports.zbl import pairs_of

BELOW_DATA = 0.95
"""Part of the shortest distance of a pair in the training frames: the repulsion is off where the model has data."""
BELOW_BOND = 0.75
"""Part of the sum of covalent radii. The triple bonds of N2, CN, C2H2 and CO have 0.77 to 0.79; bonds of solids at 100
GPa are some 10 % shorter than at rest. Dimers of V, Cr and Mo alone are shorter."""
LOOKED_AT = 2000
"""Most frames that distances are taken of, evenly spread."""


class ClosestPairs(Frozen):
    """The content of closest.json: pair of symbols -> shortest distance (Å) in the frames that were trained on."""

    distance_A: dict[str, float]


CLOSEST = RunFile("closest.json", ClosestPairs)


def keep_closest(train: Dataset, folder: Path) -> None:
    """Write the shortest distance of each pair of elements; pairs that are not nearer than a bond are left out."""
    found: dict[str, float] = {}
    for i in np.unique(np.linspace(0, len(train) - 1, LOOKED_AT).round().astype(int)):
        atoms = train[int(i)].content
        bonds = {tuple(pair.split("-")): _bond(pair) for pair in pairs_of(atoms.get_chemical_symbols())}
        first, second, distances = neighbor_list("ijd", atoms, bonds)
        symbols = atoms.get_chemical_symbols()
        for a, b, d in zip(first, second, distances, strict=True):
            pair = "-".join(sorted((symbols[a], symbols[b])))
            found[pair] = min(float(d), found.get(pair, np.inf))
    CLOSEST.write(folder, ClosestPairs(distance_A=dict(sorted(found.items()))))


def reach_of_pairs(folder: Path, elements: Sequence[str]) -> dict[str, float]:
    """Return the distance (Å) of each pair beyond which nothing is added.

    Raises
    ------
    OptionError
        If the model does not say how near its training frames have pairs.
    """
    known = CLOSEST.find(folder)
    if known is None:
        raise OptionError(
            f"{folder} does not say how near its training frames have atoms: {CLOSEST.name} is missing",
            remedy="export without --repulsion, or tune again: older runs did not keep it",
        )
    near = known.distance_A
    return {pair: min(BELOW_DATA * near.get(pair, np.inf), BELOW_BOND * _bond(pair)) for pair in pairs_of(elements)}


def _bond(pair: str) -> float:
    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair.split("-")))
