"""Forces of images of an elastic band and of dimers: which numbers are those of DFT.

VASP's own elastic band prints the DFT forces, then the forces along the chain, then their sum. The transition state
tools (VTST) print what they moved the atoms by, and whether the table of forces held that or the DFT forces depends on
the version. What is not beyond doubt is kept as ``chain_forces`` and is no label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from matgraft.core.quantities import Array

_PRINTED = 2e-5  # eV/Å: two numbers of five digits after the point, added


@dataclass
class ChainTables:
    """What an ionic step prints of a chain.

    Attributes
    ----------
    chain, total
        (n_atoms, 3) eV/Å: forces along the chain, and their sum with the DFT forces; None where not printed.
    moved_by_rules
        The transition state tools have changed the forces that the atoms were moved by.
    largest
        Size of the largest force that the atoms were moved by, eV/Å.
    """

    chain: Array | None = None
    total: Array | None = None
    moved_by_rules: bool = False
    largest: float | None = None


def true_forces(forces: Array, tables: ChainTables) -> Array | None:
    """Return the DFT forces of a step, (n_atoms, 3) eV/Å; None where the table may hold others.

    Parameters
    ----------
    forces
        The table of forces as printed.
    """
    if tables.chain is not None and tables.total is not None:
        if _equal(forces, tables.total - tables.chain):
            return forces
        return forces - tables.chain if _equal(forces, tables.total) else None
    if not tables.moved_by_rules:
        return forces
    sizes = np.linalg.norm(forces, axis=1)
    differ = tables.largest is not None and not np.any(np.abs(sizes - tables.largest) < _PRINTED)
    return forces if differ else None


def _equal(a: Array, b: Array) -> bool:
    return bool(np.all(np.abs(a - b) < _PRINTED))
