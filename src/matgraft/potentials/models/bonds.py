"""Bonds of a structure, their vectors under strain, and how the graphs of several structures are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch import Tensor

from matgraft.core.model import Batch, Encoded
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box


def find_bonds(atoms: Atoms, cutoff: float) -> tuple[Array, Array, Array]:
    """Return centres (E,), neighbours (E,) and the neighbours' cells (E, 3) of all directed bonds within the cutoff.

    Parameters
    ----------
    cutoff
        Å.
    """
    around = box(atoms, cutoff)
    centre, neighbour, images, lengths = find_points_in_spheres(
        atoms.positions,
        atoms.positions,
        r=cutoff,
        pbc=around.periodic.astype(np.int64),
        lattice=around.vectors,
        tol=1e-8,
    )
    others = (centre != neighbour) | (lengths > 1e-8)
    return centre[others], neighbour[others], images[others]


def pair_up(centre: Array, neighbour: Array, images: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find each bond's own reverse.

    Returns
    -------
    tuple
        (E,) number of the pair that a bond belongs to, (P,) one bond of each pair.
    """
    bonds = np.column_stack([centre, neighbour, images]).astype(np.int64)
    reverses = np.column_stack([neighbour, centre, -images]).astype(np.int64)
    differ = bonds != reverses
    first = np.take_along_axis(bonds - reverses, differ.argmax(1)[:, None], 1)[:, 0]
    _, one, owner = np.unique(
        np.where(first[:, None] > 0, bonds, reverses), axis=0, return_index=True, return_inverse=True
    )
    return owner.reshape(-1).astype(np.int64), one.astype(np.int64)


def join(encoded: Sequence[Encoded], raised_by: Mapping[str, str]) -> Batch:
    """Join graphs, raising indices by what stands before, with a strain of zero.

    Parameters
    ----------
    raised_by
        Name of a tensor of indices -> name of the tensor whose rows they count.
    """
    columns: dict[str, list[Tensor]] = {name: [] for name in encoded[0].tensors}
    before = dict.fromkeys(raised_by.values(), 0)
    for one in encoded:
        for name, tensor in one.tensors.items():
            columns[name].append(tensor + before[raised_by[name]] if name in raised_by else tensor)
        for name in before:
            before[name] += len(one.tensors.get(name, ()))
    tensors = {name: torch.cat(column) for name, column in columns.items()}
    tensors["strain"] = torch.zeros(len(encoded), 3, 3, dtype=tensors["positions"].dtype)
    counts = torch.tensor([one.n_atoms for one in encoded])
    return Batch(counts, torch.repeat_interleave(torch.arange(len(encoded)), counts), tensors)


def bond_vectors(batch: Batch) -> Tensor:
    """Return (E, 3) Å from centre to neighbour, under the batch's strain.

    Bonds were measured in float64; positions add how far atoms are from where they were encoded, which is zero and
    carries the gradient. Differences of float32 positions cost 2e-5 eV/Å in cells of 54 atoms; this, 5e-6.
    """
    moved = batch["positions"] - batch["origin"]
    centre, neighbour = batch["centre"], batch["neighbour"]
    vectors = batch["bond"] + moved[neighbour] - moved[centre]
    return vectors + torch.bmm(vectors[:, None], batch["strain"][batch.owner[centre]])[:, 0]
