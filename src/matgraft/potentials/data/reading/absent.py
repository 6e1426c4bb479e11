"""Labels that stand for "not computed": NaN in every component, and zeros where a computed value would not be zero.

| label  | exactly zero in every component is taken for absent where                                       |
| ------ | ----------------------------------------------------------------------------------------------- |
| forces | the neighbours of some atom pull unevenly; a single atom or a perfect crystal has none by symmetry |
| stress | atoms have neighbours; isolated atoms and far dimers have none                                   |
| magmom | never: most materials have none                                                                 |
| energy | atoms have neighbours, and energies of the file's other frames are far from zero                 |

What is absent is counted and told, and is no label. NaN in some components is a fault: the audit reports it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase import Atoms
from pymatgen.optimization.neighbors import find_points_in_spheres

from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box, volume
from matgraft.potentials.data.reading.labels import Label
from matgraft.potentials.data.sense import nonsense

_REACH_A = 5.0
"""Atoms further apart than this hardly pull: such zeros are believed."""
_NEIGHBOURS = 400
"""Neighbours of an atom that tell enough; where positions are in a wrong unit there would be millions."""
_UNEVEN = 1e-3
"""Part of all pulls that is left over. A displacement of 0.001 Å leaves so much, and a force of some 0.01 eV/Å."""
_NEAR_ZERO, _SHARE = 0.5, 0.05
"""Where this part of other energies is nearer to zero than so many eV/atom, zero is an energy like them: of a set whose
lowest energy was taken off, or of formation energies."""


@dataclass
class Absences:
    """Takes out of the labels of a file's frames what was not computed, and counts it.

    Attributes
    ----------
    column
        Returns the energies of all frames of the file in eV/atom; asked for only where an energy is zero.
    counts
        (Quantity, what stood there) -> number of frames.
    """

    column: Callable[[], Array]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take_out(self, atoms: Atoms, labels: Mapping[str, Label]) -> dict[str, Label]:
        """Return the labels of a frame that were computed."""
        reasons = {q: reason for q in labels if (reason := self._reason(q, atoms, labels))}
        self.counts.update(reasons.items())
        return {quantity: label for quantity, label in labels.items() if quantity not in reasons}

    def by_quantity(self) -> dict[str, int]:
        """Return quantity -> number of frames that it was taken out of."""
        total: Counter[str] = Counter()
        for (quantity, _), m in self.counts.items():
            total[quantity] += m
        return dict(total)

    def notes(self, n: int) -> list[str]:
        """Say what was taken out of `n` frames."""
        return [
            f"{quantity} is {what} in {m} of {n} frames: read as not computed, and left out"
            for (quantity, what), m in self.counts.items()
        ]

    def _reason(self, quantity: str, atoms: Atoms, labels: Mapping[str, Label]) -> str:
        value = labels[quantity].value
        first = value.flat[0]  # tells of nearly every label
        if np.isnan(first) and np.isnan(value).all():
            return "NaN"
        if first or value.any() or quantity == "magmom":
            return ""
        others = [
            label.value for name, label in labels.items() if name != quantity and np.nan_to_num(label.value).any()
        ]
        missing = {"energy": self._no_energy, "forces": _no_forces, "stress": _no_stress}[quantity]
        return "exactly zero" if missing(atoms, others) else ""

    def _no_energy(self, atoms: Atoms, others: list[Array]) -> bool:
        if not _pulls(atoms)[1]:
            return False
        if not len(self._energies):
            return bool(others) or self._n_energies > 1
        return float(np.mean(np.abs(self._energies) < _NEAR_ZERO)) < _SHARE

    @cached_property
    def _all_energies(self) -> Array:
        return self.column()

    @property
    def _n_energies(self) -> int:
        return len(self._all_energies)

    @cached_property
    def _energies(self) -> Array:
        known = self._all_energies
        return known[np.isfinite(known) & (known != 0)]


def _no_forces(atoms: Atoms, others: list[Array]) -> bool:
    left, pulls = _pulls(atoms)
    return len(atoms) > 1 and left > _UNEVEN * pulls


def _no_stress(atoms: Atoms, others: list[Array]) -> bool:
    return any(value.ndim == 2 for value in others) or _pulls(atoms)[1] > 0


def _pulls(atoms: Atoms) -> tuple[float, float]:
    """Return what is left over of the pulls of neighbours at the atom where most is, and all pulls at an atom.

    A pull is a vector to the neighbour, as long as the neighbour is heavy and near. It is any odd function of the
    vector: where symmetry forbids a force at an atom, the sum over its neighbours vanishes.
    """
    if nonsense(atoms) is not None:
        return 0.0, 0.0
    room = volume(atoms) / len(atoms) if atoms.pbc.all() else 0.0
    reach = min(_REACH_A, (_NEIGHBOURS * room * 3 / (4 * np.pi)) ** (1 / 3) or _REACH_A)
    around = box(atoms, reach)
    positions = np.ascontiguousarray(atoms.positions, dtype=float)
    i, j, images, distances = find_points_in_spheres(
        positions, positions, reach, around.periodic.astype(np.int64), around.vectors, tol=1e-8
    )
    vectors = positions[j] + images @ around.vectors - positions[i]
    sizes = np.where(distances > 1e-8, atoms.numbers[j] * (1 - distances / reach) ** 2, 0.0)
    pulls = sizes[:, None] * vectors / np.maximum(distances, 1e-8)[:, None]
    left = np.stack([np.bincount(i, pulls[:, axis], len(atoms)) for axis in range(3)], axis=1)
    return float(np.linalg.norm(left, axis=1).max()), float(np.bincount(i, sizes, len(atoms)).max(initial=0.0))
