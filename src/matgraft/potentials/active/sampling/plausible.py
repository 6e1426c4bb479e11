"""Which frames are physical enough for a reference calculation: the others are dropped, with a reason.

>>> Bounds().why_not(atoms, energy=-4.2, forces=forces, start=Start.of(crystal, -4.3))
'too close'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.geometry import SLAB_A, closest_pair, neighbours_within, vacuum
from matgraft.potentials.data.sense import Kind, nonsense

Reason = Literal["not finite", "too close", "volume", "evaporated", "force", "energy", "refused"]
WORDS: dict[Reason, str] = {
    "not finite": "energy, forces, positions or cell are not finite, or beyond all bounds",
    "too close": "two atoms nearly coincide",
    "volume": "the cell has collapsed or burst",
    "evaporated": "an atom has left all others",
    "force": "a force is absurd",
    "energy": "the energy is absurd",
    "refused": "the model refuses the frame",
}
_REASONS: Mapping[Kind, Reason] = {"flat": "volume", "crowded": "too close", "close": "too close"}
_FARTHEST_A = 20.0


class Bounds(Frozen):
    """What is still plausible.

    Attributes
    ----------
    closest
        Smallest distance of two atoms over the sum of their covalent radii. The shortest bonds have 0.77; at 0.6 two
        silicon atoms have climbed 16 eV (ZBL), and the cores of pseudopotentials overlap.
    volume
        Ratio of the volume per atom to that at the start, either way: matter at 2 times its volume is no solid or melt.
    apart
        Distance of an atom to its nearest neighbour over the largest such distance at the start, of bulk and slabs.
        Atoms of a liquid keep a neighbour in the first shell, which ends at some 1.4 of a bond.
    force_eV_per_A
        Size of the force on an atom: twice that of two silicon atoms at 0.6 of their radii (52 eV/Å by ZBL).
    energy_eV_per_atom
        Difference from the start: kT at 10,000 K is below 1 eV.
    """

    closest: float = Field(0.6, ge=0, le=2)
    volume: float = Field(2.0, gt=1)
    apart: float = Field(1.7, gt=1)
    force_eV_per_A: float = Field(100.0, gt=0)
    energy_eV_per_atom: float = Field(10.0, gt=0)

    def why_not(self, atoms: Atoms, energy: float, forces: Array, start: StartFrames) -> Reason | None:
        """Return why a frame is not plausible; None where it is.

        Parameters
        ----------
        energy, forces
            eV of all atoms, and (n, 3) eV/Å, of the model.
        start
            What the frame came from.
        """
        if (shape := self.why_not_shape(atoms, start)) is not None:
            return shape
        if not np.isfinite(energy) or not np.isfinite(forces).all():
            return "not finite"
        if float(np.linalg.norm(forces, axis=1).max()) > self.force_eV_per_A:
            return "force"
        known = start.energy_eV_per_atom
        if known is not None and abs(energy / len(atoms) - known) > self.energy_eV_per_atom:
            return "energy"
        return None

    def why_not_shape(self, atoms: Atoms, start: StartFrames) -> Reason | None:
        """Return why a structure is not plausible, whatever a model says of it."""
        if (why := nonsense(atoms)) is not None:
            return _REASONS.get(why.kind, "not finite")
        if start.atom_volume_A3 is not None:
            ratio = volume(atoms) / len(atoms) / start.atom_volume_A3
            if not 1 / self.volume <= ratio <= self.volume:
                return "volume"
        if closest_pair(atoms, scope=max(self.closest, 0.1))[0] < self.closest:
            return "too close"
        if start.nearest_A is not None and _alone(atoms, min(self.apart * start.nearest_A, _FARTHEST_A)):
            return "evaporated"
        return None


class StartFrames(Frozen):
    """What frames are held against; None where there is nothing to compare with.

    Attributes
    ----------
    atom_volume_A3
        Of a bulk.
    nearest_A
        Largest distance of an atom to its nearest neighbour, of bulk and slabs.
    energy_eV_per_atom
        Of the model, where the composition is kept.
    """

    atom_volume_A3: float | None = None
    nearest_A: float | None = None
    energy_eV_per_atom: float | None = None

    @classmethod
    def of(cls, atoms: Atoms, energy: float | None = None) -> StartFrames:
        """Return what a structure is held against; its energy in eV of all atoms."""
        gaps = int((vacuum(atoms) > SLAB_A).sum())
        return cls(
            atom_volume_A3=volume(atoms) / len(atoms) if gaps == 0 else None,
            nearest_A=farthest_neighbour(atoms) if gaps <= 1 else None,
            energy_eV_per_atom=None if energy is None or not np.isfinite(energy) else energy / len(atoms),
        )


def farthest_neighbour(atoms: Atoms) -> float | None:
    """Return the largest distance in Å of an atom to its nearest neighbour; None where one has none within 20 Å.

    Its own images are no neighbours, but of a lone atom in a cell.
    """
    reach = 4.0
    while reach <= _FARTHEST_A:
        centre, distance = _neighbours(atoms, reach)
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, centre, distance)
        if np.isfinite(nearest).all():
            return float(nearest.max())
        reach *= 1.5
    return None


def _alone(atoms: Atoms, reach: float) -> bool:
    """Say whether an atom has no other within so many Å."""
    return len(np.unique(_neighbours(atoms, reach)[0])) < len(atoms)


def _neighbours(atoms: Atoms, reach: float) -> tuple[NDArray[np.int64], Array]:
    centre, other, distance = neighbours_within(reach, atoms.positions, atoms.cell.complete()[:], atoms.pbc)
    counts = (centre != other) | (len(atoms) == 1)
    return centre[counts], distance[counts]
