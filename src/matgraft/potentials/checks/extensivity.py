"""What no change of description may change: two cells have twice the energy of one, wherever and however they lie.

A distorted cell is evaluated beside

1. its double along a repeating direction, or two copies of a molecule out of each other's reach;
2. a copy that is shifted, one that is rotated with its cell, and one whose atoms stand in another order.

Forces must add up to zero. Where the range of the model is known (cutoff times steps of messages), an atom beyond it
moves: the forces here must not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, Array
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.potentials.checks.physical import Case, PhysicalCheck, Seen, limited
from matgraft.potentials.checks.settings import EVERY_USE
from matgraft.potentials.checks.structures import EVERY_KIND
from matgraft.potentials.data.geometry import SLAB_A, vacuum
from matgraft.potentials.simulation.probes import distorted
from matgraft.potentials.simulation.subject import Subject

FAR_A = 20.0
"""Å between two copies of a molecule where the range of the model is not known."""
MOST_FAR_ATOMS = 400
"""Atoms of the long cell that the range is tested in; a structure that needs more is not tested."""
MOVE_A = 0.3
SEED = 3


class SizeChange(Frozen):
    """How much a change of description changed.

    Attributes
    ----------
    what
        In words.
    energy_meV_per_atom
        None where forces alone are compared.
    forces_eV_per_A
        Root mean square.
    """

    what: str
    energy_meV_per_atom: float | None
    forces_eV_per_A: float


class Invariance(Frozen):
    """What is seen.

    Attributes
    ----------
    changes
        One for each change of description.
    net_force_eV_per_A
        Size of the sum of all forces, by atom.
    range_A
        Beyond it nothing acts on an atom; None where it is not known, or the cell to test it would be too large.
    """

    changes: tuple[SizeChange, ...]
    net_force_eV_per_A: float
    range_A: float | None


class ExtensivityCheck(PhysicalCheck[Invariance]):
    """Hold what must not change against rounding."""

    code, title, observation = "extensivity", "Energy adds up, and does not depend on place, turn and order", Invariance
    kinds = EVERY_KIND
    gates_uses = EVERY_USE
    cost = 30
    beside_foundation: ClassVar[bool] = False

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why it does not apply: a single atom has nothing to add up."""
        return super().why_not(subject, case) or ("a single atom has no neighbours" if case.own.lone else "")

    def observe(self, subject: Subject, case: Case) -> Invariance:
        """Evaluate all descriptions in one batch, and the long cell."""
        atoms = distorted(case.own.atoms, SEED, strained=case.own.kind == "bulk")
        reach = range_of(subject)
        changes, net = _described_anew(atoms, reach, subject)
        far = _far_away(case.own.atoms, reach, subject) if reach is not None else None
        return Invariance(
            changes=(*changes, *([far] if far else [])), net_force_eV_per_A=net, range_A=reach if far else None
        )

    def judge(self, seen: Seen[Invariance], case: Case) -> Finding:
        """Fail a change beyond rounding."""
        own, gates = seen.own, case.settings.gates
        measures = []
        for one in own.changes:
            if one.energy_meV_per_atom is not None:
                measures.append(
                    limited(
                        f"energy: {one.what}",
                        "meV/atom",
                        one.energy_meV_per_atom,
                        (None, gates.invariance_meV_per_atom),
                        "invariance_meV_per_atom",
                    )
                )
            limit = (None, gates.invariance_eV_per_A)
            measures.append(limited(f"forces: {one.what}", "eV/Å", one.forces_eV_per_A, limit, "invariance_eV_per_A"))
        limit = (None, gates.invariance_eV_per_A)
        measures.append(limited("net force on an atom", "eV/Å", own.net_force_eV_per_A, limit, "invariance_eV_per_A"))
        return self.finding(
            case, measures, _sentence(own, [one.name for one in measures if not one.passes]), remedy=REMEDY
        )

    def figures(self, seen: Seen[Invariance], case: Case) -> Sequence[Block]:
        """Return a table of the changes."""
        rows = [
            Row(
                one.what,
                "" if one.energy_meV_per_atom is None else f"{one.energy_meV_per_atom:.2g}",
                f"{one.forces_eV_per_A:.2g}",
            )
            for one in seen.own.changes
        ]
        columns = [Column(case.own.name, number=False), Column("Energy", "meV/atom"), Column("Forces", "eV/Å")]
        return [Table(columns, [*rows, Row("net force", "", f"{seen.own.net_force_eV_per_A:.2g}")], "fit")]


REMEDY = (
    "the model, or the code around it, breaks a symmetry that physics has: look for a constant that is added once a "
    "structure, a force that is added to every atom, half precision, and neighbours that are counted twice"
)


def range_of(subject: Subject) -> float | None:
    """Return beyond how many Å nothing acts on an atom; None where it is not known.

    Every interaction of a network carries a message over one cutoff, and so may its embedding.
    """
    if subject.potential is None or subject.cutoff_A is None:
        return None
    interactions = sum(stage.name.startswith("interaction-") for stage in subject.potential.stages())
    return subject.cutoff_A * (interactions + 1)


def _described_anew(atoms: Atoms, reach: float | None, subject: Subject) -> tuple[list[SizeChange], float]:
    random = np.random.default_rng(SEED)
    shifted, rotated = atoms.copy(), atoms.copy()
    shifted.positions += random.uniform(-2, 2, 3)
    turn = Rotation.random(rng=random).as_matrix()
    rotated.set_cell(atoms.cell[:] @ turn.T)
    rotated.positions = atoms.positions @ turn.T
    order = random.permutation(len(atoms))
    images = [atoms, _doubled(atoms, FAR_A if reach is None else reach + 1), shifted, rotated, atoms[order]]
    found = subject.evaluate(images)
    energies = [float(one[ENERGY.name]) / len(image) for one, image in zip(found, images, strict=True)]
    forces = [np.asarray(one[FORCES.name]) for one in found]
    if not (np.isfinite(energies).all() and all(np.isfinite(one).all() for one in forces)):
        raise RunError("energies or forces of the distorted structure are not finite")
    alike = [np.tile(forces[0], (2, 1)), forces[0], forces[0] @ turn.T, forces[0][order]]
    words = ["two of it", "shifted", "rotated", "in another order"]
    changes = [
        SizeChange(
            what=what,
            energy_meV_per_atom=1000 * abs(energy - energies[0]),
            forces_eV_per_A=_rms(own - expected),
        )
        for what, energy, own, expected in zip(words, energies[1:], forces[1:], alike, strict=True)
    ]
    return changes, float(np.linalg.norm(forces[0].sum(axis=0))) / len(atoms)


def _doubled(atoms: Atoms, apart: float) -> Atoms:
    """Return two cells along the first direction that repeats; of a molecule two copies so many Å apart."""
    axes = np.flatnonzero(vacuum(atoms) <= SLAB_A)
    if not len(axes):
        return _two_molecules(atoms, apart)
    return atoms.repeat([2 if k == axes[0] else 1 for k in range(3)])


def _two_molecules(atoms: Atoms, apart: float) -> Atoms:
    one = Atoms(atoms.numbers, atoms.positions)
    other = one.copy()
    other.positions[:, 0] += np.ptp(one.positions[:, 0]) + apart
    return one + other


def _far_away(atoms: Atoms, reach: float, subject: Subject) -> SizeChange | None:
    """Move an atom, and compare the forces on all that are out of its range; None where that takes a too large cell."""
    axes = np.flatnonzero(vacuum(atoms) <= SLAB_A)
    if len(axes):
        heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.complete()[:]), axis=0)
        counts = np.ceil(2 * (reach + MOVE_A) / heights).astype(int) + 1
        axis = int(axes[np.argmin(counts[axes])])
        if counts[axis] * len(atoms) > MOST_FAR_ATOMS:
            return None
        long = atoms.repeat([int(counts[k]) if k == axis else 1 for k in range(3)])
    else:
        long = _two_molecules(atoms, reach + 2 * MOVE_A)
    long.positions += 0.02 * np.random.default_rng(SEED).standard_normal((len(long), 3))
    moved = long.copy()
    moved.positions[0] += MOVE_A * np.array([0.6, 0.64, 0.48])
    beyond = np.minimum(*(one.get_distances(0, range(len(long)), mic=bool(len(axes))) for one in (long, moved))) > reach
    before, after = (np.asarray(one[FORCES.name]) for one in subject.evaluate([long, moved]))
    return SizeChange(
        what="an atom out of range moves", energy_meV_per_atom=None, forces_eV_per_A=_rms((after - before)[beyond])
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if np.size(values) else 0.0


def _sentence(own: Invariance, failed: Sequence[str]) -> str:
    energy = max(one.energy_meV_per_atom or 0.0 for one in own.changes)
    forces = max(one.forces_eV_per_A for one in own.changes)
    field = (
        f"nothing beyond {own.range_A:.0f} Å acts on an atom"
        if own.range_A is not None
        else "how far atoms act on each other is not known, or too far to test"
    )
    broken = f"; broken: {', '.join(failed)}" if failed else f"; {field}"
    return (
        f"twice the cell, a shift, a rotation and another order change the energy by at most {energy:.2g} meV/atom and "
        f"forces by {forces:.2g} eV/Å; the net force is {own.net_force_eV_per_A:.2g} eV/Å an atom{broken}"
    )
