"""An ASE calculator around a vendor's own: a cell that the vendor understands, and reference energies in float64.

    TunedCalculator(vendor, {"Ge": -57164.12}, cutoff=6.0)

Its text is copied into every calculator.py that is exported, together with that of `boxes`: it imports nothing else of
matgraft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from matgraft.potentials.data.boxes import box_vectors, near_origin, spanned_volume


class TunedCalculator(Calculator):
    """Energy eV, forces (n, 3) eV/Å and, for a cell of three vectors, stress (6,) eV/Å³ of a vendor's calculator.

    The vendor is given a right-handed crystal in three directions: where the structure does not repeat, with vacuum
    wider than the cutoff. So a slab is the same with or without its third vector, whatever `pbc` says of the vacuum.
    Its stress is that of the cell as it was given.

    Parameters
    ----------
    vendor
        A calculator of ASE in eV, eV/Å and eV/Å³.
    references
        Symbol -> eV an atom that the vendor's file leaves out, added in float64.
    cutoff
        Å, of the neighbours.
    """

    def __init__(self, vendor: Calculator, references: Mapping[str, float], cutoff: float) -> None:
        super().__init__()
        others = [name for name in ("magmoms", "charges") if name in vendor.implemented_properties]
        self.implemented_properties = ["energy", "free_energy", "forces", "stress", *others]
        self.vendor, self.references, self.cutoff = vendor, dict(references), float(cutoff)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Ask the vendor, and put the results together."""
        super().calculate(atoms, properties, system_changes)
        given: Any = self.atoms  # a copy of the atoms
        cell, positions = given.cell.array, given.positions
        vectors, periodic = box_vectors(cell, given.pbc, positions, self.cutoff)
        near = near_origin(positions, vectors, periodic)
        vectors = vectors * np.sign(np.linalg.det(vectors))
        crystal = Atoms(given.numbers, near, cell=vectors, pbc=True)
        self.vendor.calculate(crystal, ["energy", "forces", "stress"], all_changes)
        found = self.vendor.results
        energy = float(found["energy"]) + sum(self.references.get(symbol, 0.0) for symbol in given.symbols)
        self.results = {name: found[name] for name in self.implemented_properties[4:] if name in found}
        forces = np.asarray(found["forces"], dtype=float)
        self.results |= {"energy": energy, "free_energy": energy, "forces": forces}
        if spanned_volume(cell):
            stress = np.asarray(found["stress"], dtype=float) * spanned_volume(vectors) / spanned_volume(cell)
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress) if stress.shape == (3, 3) else stress
