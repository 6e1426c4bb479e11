"""What LAMMPS hands to a vendor's pair style, made here without LAMMPS: own atoms, ghosts, neighbours.

An adapter whose vendor has a file for LAMMPS returns a `LammpsFile`. Its `evaluate` opens the file as the pair style
does and gives it the same tensors, so that an export can be held against the model on a machine without LAMMPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.quantities import Array


@dataclass(frozen=True)
class LammpsFile:
    """A vendor's file for a pair style of LAMMPS.

    Attributes
    ----------
    name
        Of the file in the folder of an export.
    style
        What stands behind ``pair_style``.
    build
        Which LAMMPS has that style, for people.
    commands
        Further lines that the style wants before the atoms are read.
    write
        Writes the file.
    evaluate
        From the file and a periodic structure: energy eV, forces (N, 3) eV/Å, stress (3, 3) eV/Å³, by the tensors
        that the pair style hands over.
    """

    name: str
    style: str
    build: str
    commands: tuple[str, ...]
    write: Callable[[Path], None]
    evaluate: Callable[[Path, Atoms], Mapping[str, Array]]


def with_ghosts(atoms: Atoms, reach: float) -> tuple[Atoms, Array]:
    """Return a periodic structure as one domain of LAMMPS: its own atoms, then their images, without periodicity.

    Parameters
    ----------
    reach
        Å. Images farther than that from every own atom are left out.

    Returns
    -------
    Atoms
        (N + ghosts) atoms, the own ones first.
    ndarray
        (N + ghosts,) the own atom that each one is an image of.
    """
    from scipy.spatial import KDTree

    heights = 1 / np.linalg.norm(atoms.cell.reciprocal()[:], axis=1)
    # Atoms may stand outside the cell: by how many cells, rounded up, their images must go further out.
    spread = np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)
    counts = np.ceil(reach / heights + spread).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    cells = cells[cells.any(axis=1)]
    images = (atoms.positions[None] + (cells @ atoms.cell[:])[:, None]).reshape(-1, 3)
    origin = np.tile(np.arange(len(atoms)), len(cells))
    near = np.isfinite(KDTree(atoms.positions).query(images, distance_upper_bound=np.nextafter(reach, np.inf))[0])
    owner = np.concatenate([np.arange(len(atoms)), origin[near]])
    return Atoms(atoms.numbers[owner], np.concatenate([atoms.positions, images[near]])), owner
