"""A model that was built anew says what the vendor's own says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from matgraft.core.model import Batch
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.mace.vendor import vendor_noise
from matgraft.potentials.models.potential import Potential

_REBUILT = 1e-5
"""eV/atom by which the energies of a file may differ when it is built anew, at least: stored constants of float32."""


def difference_to_vendor(exact: Potential, head: int, vendor: Any, rounding: float) -> tuple[float, float]:
    """Return how far energies of distorted cells are from the vendor's own forward, and how far they may be: eV/atom.

    Both are evaluated in float64, so that neither all-electron references nor large energies of the network hide a
    difference or make one: float32 alone resolves 0.24 meV in 2,081 eV. What is left of float32 are stored constants,
    which other versions may have rounded otherwise. The cells hold every element of the card, eight a cell, so that no
    row of the element table goes unseen.

    Parameters
    ----------
    exact
        The model in float64.
    head
        Place of its head among the vendor's.
    rounding
        Of the precision that the file has.
    """
    elements = exact.card.elements
    with vendor_noise():
        vendor = copy.deepcopy(vendor).double()
    batch = exact.collate([exact.encode(Sample(_cell(elements, i), {})) for i in range(0, len(elements), 8)])
    with torch.no_grad():
        energies = exact.sum_sites(exact.features(batch), batch)
    theirs = vendor(_vendor_graph(batch, len(elements), head), compute_force=False)
    difference = (energies - theirs["energy"].detach()).abs() / batch.counts
    network = theirs["interaction_energy"].detach().abs() / batch.counts
    return float(difference.max()), max(_REBUILT, 100 * rounding * float(network.max()))


def _vendor_graph(batch: Batch, n_elements: int, head: int) -> dict[str, Tensor]:
    """Return a batch as mace-torch's own forward takes it."""
    shifts = torch.einsum("ei,eij->ej", batch["image"], batch["cell"][batch.owner[batch["sender"]]])
    return {
        "node_attrs": F.one_hot(batch["element"], n_elements).to(shifts.dtype),
        "positions": batch["positions"].clone(),
        "cell": batch["cell"].flatten(0, 1),
        "edge_index": torch.stack([batch["sender"], batch["receiver"]]),
        "unit_shifts": batch["image"],
        "shifts": shifts,
        "batch": batch.owner,
        "ptr": F.pad(batch.counts.cumsum(0), (1, 0)),
        "head": torch.full_like(batch.counts, head),
    }


def _cell(elements: Sequence[str], first: int) -> Atoms:
    """Return a distorted diamond cell of eight elements from the `first` on, or of fewer in turn."""
    atoms = bulk("Si", "diamond", a=5.5, cubic=True)
    chosen = elements[first : first + len(atoms)]
    atoms.symbols = [chosen[i % len(chosen)] for i in range(len(atoms))]
    atoms.positions += 0.1 * np.random.default_rng(first).standard_normal(atoms.positions.shape)
    return atoms
