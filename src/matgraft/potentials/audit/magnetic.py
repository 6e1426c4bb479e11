"""Magnetic states of one structure: frames that are one structure and differ in their moments do not contradict.

Each frame has the order of its moments (`matgraft.potentials.data.magnetism`). Frames of one order may still be in two
states: antiferromagnetic along two directions, or with large and with small moments. Moments in the file tell these
apart; where it has those at the start alone, the order is all that is known.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from matgraft.core.quantities import MAGMOM, Array
from matgraft.potentials.audit.base import Evidence, Frames
from matgraft.potentials.audit.same import same_structure
from matgraft.potentials.data.magnetism import INITIAL_ORDER_TAG, ORDER_TAG, counting

OTHER_MUB = 0.3
"""Difference of an atom's moment that is another state: one state repeats to some hundredths."""


def order_tag(evidence: Evidence, frames: Frames) -> str:
    """Return the tag that tells the magnetic order of all these frames; empty where none does."""
    tags = [evidence.dataset.samples[int(i)].tags for i in frames]
    return next((name for name in (ORDER_TAG, INITIAL_ORDER_TAG) if all(own.get(name) for own in tags)), "")


def magnetic_states(evidence: Evidence, group: Frames, tag: str) -> list[str]:
    """Return the magnetic state of each frame of one structure: ``["FM", "AFM 1", "AFM 2"]``.

    Parameters
    ----------
    tag
        That tells the order of them all.
    """
    found: list[tuple[str, int]] = []
    kinds: dict[str, list[tuple[Atoms, Array]]] = {}
    for sample in (evidence.dataset.samples[i] for i in group.tolist()):
        order, moments = sample.tags[tag], sample.labels.get(MAGMOM.name)
        if tag != ORDER_TAG or moments is None:
            moments = np.zeros(sample.n_atoms)
        known = kinds.setdefault(order, [])
        k = next((k for k, (one, own) in enumerate(known) if _alike(one, own, sample.content, moments)), len(known))
        known += [(sample.content, moments)] * (k == len(known))
        found.append((order, k))
    return [f"{order} {k + 1}" if len(kinds[order]) > 1 else order for order, k in found]


def _alike(first: Atoms, one: Array, second: Atoms, other: Array) -> bool:
    """Say whether two frames of one structure have one arrangement of moments, whatever its axis."""
    if np.abs(np.sort(np.abs(one)) - np.sort(np.abs(other))).max() > OTHER_MUB:
        return False
    return any(same_structure(_decorated(first, one), _decorated(second, sign * other)) for sign in (1, -1))


def _decorated(atoms: Atoms, moments: Array) -> Atoms:
    """Return the atoms with another species for each direction of the moments that count."""
    up_or_down = np.where(counting(moments), np.sign(moments), 0).astype(int)
    decorated = atoms.copy()
    decorated.numbers = 3 * atoms.numbers + up_or_down
    return decorated
