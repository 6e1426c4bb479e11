"""Isolated atoms among frames: energies of reference, and nothing to learn a potential from.

A frame of one atom is isolated if its tags say so (``config_type=IsolatedAtom``), or if it has no neighbour: it repeats
nowhere, or in steps longer than `FAR_A`. It has no forces and no stress, and its energy is far off all others.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import nonsense

FAR_A = 8.0
"""Å from an atom to its next image, from which on it is isolated: no crystal of one atom a cell is so wide."""
_NAMES = re.compile(
    r"isolated|(isolated|iso|free|lone)[-_ ]?atoms?([-_ ][a-z]{1,2})?|atoms?[-_ ](isolated|iso|free)", re.IGNORECASE
)

_PULLED = 1e-3  # eV/Å³ of stress: an atom that has neighbours, though the frame does not say that it repeats
_OF_READING = ("file", "frame", "trajectory", "folder")


def is_isolated(sample: Sample) -> bool:
    """Say whether a frame is an isolated atom."""
    return len(sample.content) == 1 and (_named(sample) or (_far(sample.content) and not _strained(sample)))


def _named(sample: Sample) -> bool:
    return any(_NAMES.fullmatch(value.strip()) for name, value in sample.tags.items() if name not in _OF_READING)


def _strained(sample: Sample) -> bool:
    stress = sample.labels.get("stress")
    return stress is not None and bool(np.nanmax(np.abs(stress), initial=0.0) > _PULLED)


def _far(atoms: Atoms) -> bool:
    cell = np.asarray(atoms.cell[:], dtype=float)
    periodic = np.asarray(atoms.pbc, dtype=bool) & (np.abs(cell) > 0).any(axis=1)
    if not periodic.any():
        return True
    if nonsense(atoms) is not None:
        return False
    shortest, _ = minkowski_reduce(cell, periodic)
    return bool(np.linalg.norm(shortest[periodic], axis=1).min() >= FAR_A)


def without_isolated(dataset: Dataset) -> Dataset:
    """Return the frames that are no isolated atoms; the energies of these, and a note, are in the provenance.

    Raises
    ------
    DataError
        If every frame is an isolated atom.
    """
    single = [i for i, numbers in enumerate(dataset.samples.numbers()) if len(numbers) == 1]
    found = [i for i in single if is_isolated(dataset[i])]
    if not found:
        return dataset
    if len(found) == len(dataset):
        raise DataError("every frame is an isolated atom", where=dataset[0].where, allowed=["frames of several atoms"])
    energies: dict[str, float] = dict(dataset.provenance.isolated_atoms)
    for sample in dataset[found]:
        if "energy" in sample.labels and np.isfinite(energy := float(sample.labels["energy"])):
            (symbol,) = sample.content.symbols
            energies[symbol] = min(energy, energies.get(symbol, np.inf))
    listed = ", ".join(f"{symbol} {energy:.6g} eV" for symbol, energy in energies.items()) or "none has an energy"
    note = (
        f"{len(found)} frames are isolated atoms ({listed}): reference energies, neither learned from nor judged on; "
        "references.mode=isolated takes them"
    )
    told = {"notes": (*dataset.provenance.notes, note), "isolated_atoms": energies}
    kept = dataset[np.setdiff1d(np.arange(len(dataset)), found)]
    return replace(kept, provenance=dataset.provenance.model_copy(update=told))
