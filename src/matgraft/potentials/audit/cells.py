"""Frames without a volume, and crystals that are written as if they ended at the faces of their cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from matgraft.core.findings import Code, Fault, Finding, Severity
from matgraft.potentials.audit.base import Evidence, count
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.geometry import closest_pair, neighbours_within

NO_CELL = Code("no-cell", "frames without a cell", "info")

BOND, APART = 1.25, 0.6
"""Of the sum of covalent radii: atoms nearer than the first are bonded; where images come nearer than the second, the
cell is a placeholder. Mo at 6000 K comes down to 0.61."""

_LARGEST = 2000  # atoms of a frame whose bonds are counted


def no_cell(evidence: Evidence) -> Iterator[Finding]:
    """Look for frames that cannot have a stress, and for crystals that do not repeat."""
    samples = evidence.dataset.samples
    ending = [int(i) for i in evidence.sound if ends_at_its_cell(samples[i].content)]
    frames = [int(i) for i in evidence.sound if not volume(samples[i].content) and i not in set(ending)]
    if ending:
        said = f"{count(len(ending), len(samples))} have a cell and pbc F F F, but atoms at opposite faces are as near "
        said += "as bonded ones: crystals that are taken for clusters, without a volume and a stress."
        remedy = 'write pbc="T T T" into the file, or leave pbc out of its header, if crystals are meant'
        yield NO_CELL.failed(Fault(ending, said, remedy, numbers={"n_ending": len(ending)}, severity="warning"))
    if frames:
        yield _without(evidence, frames)
    elif not ending:
        yield NO_CELL.passed(f"{count(len(samples), len(samples))} have a cell of three vectors.".capitalize())


def ends_at_its_cell(atoms: Atoms) -> bool:
    """Say whether a frame does not repeat, though it would be a crystal with bonds across the faces of its cell."""
    if atoms.pbc.any() or atoms.cell.rank < 3 or not 0 < len(atoms) <= _LARGEST:
        return False
    across = bonds(atoms, np.ones(3, dtype=bool))
    if across <= bonds(atoms, np.zeros(3, dtype=bool)):
        return False
    repeated = atoms.copy()
    repeated.pbc = True
    return closest_pair(repeated)[0] >= APART


def bonds(atoms: Atoms, periodic: np.ndarray) -> int:
    """Return how many ordered pairs of atoms, images along periodic directions too, are as near as bonded ones."""
    radii = covalent_radii[atoms.numbers]
    reach = 2 * BOND * float(radii.max())
    one, other, distance = neighbours_within(reach, atoms.positions, atoms.cell[:], periodic)
    return int((distance < BOND * (radii[one] + radii[other])).sum())


def _without(evidence: Evidence, frames: list[int]) -> Finding:
    samples = evidence.dataset.samples
    stressed = [i for i in frames if "stress" in samples[i].labels]
    repeating = [i for i in frames if samples[i].content.pbc.any()]
    said = f"{count(len(frames), len(samples))} have no cell of three independent vectors, so no volume and no stress"
    said += f"; {count(len(repeating))} of them repeat along the vectors that they have" if repeating else ""
    said += f"; {count(len(stressed))} of them carry a stress label all the same." if stressed else "."
    meant = "slabs, wires or molecules" if repeating else "molecules or clusters"
    remedy = "write three cell vectors into the file" if stressed else f"nothing, if {meant} are meant"
    severity: Severity = "warning" if stressed else "info"
    numbers = {"n_repeating": len(repeating), "n_with_stress": len(stressed)}
    return NO_CELL.failed(Fault(frames, said, remedy, numbers=numbers, severity=severity))
