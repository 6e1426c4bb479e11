"""The structures that an export is checked on: some of the training frames, and crystals of every element of the card.

    keep(train, folder)                       # when a model is saved: a few frames, beside its card
    Structures.of(backbone, folder)           # when it is exported

calculator.py takes the frames as they were. LAMMPS and torch-sim are given crystals, which no energy depends on: what
does not repeat in all directions stands in a box of vacuum, and a left-handed cell is given by the negatives of its
vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write as write_atoms

from matgraft.core.files import whole
from matgraft.potentials.data.cells import boxed
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.formats.ase_files import read_structures
from matgraft.potentials.models.potential import Potential

FILE = "structures.extxyz"
"""Training frames in a model folder, without labels."""
TYPICAL = 200
"""Atoms of the largest frame that is kept for its size alone."""
SHARES = (1, 2, 2, 3)
"""Atoms of four elements in a cell of eight: unequal, so that opposite errors of two elements do not cancel."""


@dataclass(frozen=True)
class Structures:
    """What an export is checked on.

    Attributes
    ----------
    given
        Frames that the model was trained on, as they were written; none if they are not known.
    trained
        The same as right-handed crystals.
    made
        Distorted crystals of all elements of the card.
    elements
        Of the card: every one of them is in `made`.
    """

    given: tuple[Atoms, ...]
    trained: tuple[Atoms, ...]
    made: tuple[Atoms, ...]
    elements: tuple[str, ...]

    @classmethod
    def of(cls, backbone: Potential, folder: Path | None = None) -> Structures:
        """Collect them; those of a run lie beside the card, in the folder of the model."""
        file = folder / FILE if folder else None
        frames = tuple(read_structures(file)) if file and file.is_file() else ()
        cutoff = float(backbone.card.cutoff_A or 0)
        trained = tuple(_right_handed(boxed(atoms, cutoff)) for atoms in frames)
        elements = backbone.card.elements
        return cls(frames, trained, tuple(crystals_of(elements)), elements)

    @property
    def all(self) -> tuple[Atoms, ...]:
        """Crystals, the training frames first."""
        return (*self.trained, *self.made)

    @property
    def as_given(self) -> tuple[Atoms, ...]:
        """As `all`, the training frames in the cells that they were written with."""
        return (*self.given, *self.made)

    @property
    def text(self) -> str:
        """What they are, for people."""
        made = f"{len(self.made)} small distorted crystals of {', '.join(self.elements)}"
        if not self.trained:
            return f"{made} (no training frames lie beside the model)"
        formulas = ", ".join(atoms.get_chemical_formula() for atoms in self.trained)
        return f"{len(self.trained)} training frames ({formulas}) and {made}"


def keep(train: Dataset, folder: Path) -> None:
    """Write the frames that `choose_frames` takes into a model folder."""
    frames = [train[i].content for i in choose_frames(train)]
    if frames:
        plain = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames]
        with whole(folder / FILE) as part:
            write_atoms(part, plain, format="extxyz")


def choose_frames(train: Dataset) -> list[int]:
    """Return the positions of a few frames: the smallest of each periodicity, a typical one, and one for each element.

    Frames of one atom are left out: they have no bonds, and some vendors' calculators fail on them.
    """
    facts = [
        (i, len(sample.content), _directions(sample.content), set(sample.content.symbols))
        for i, sample in enumerate(train)
    ]
    facts = sorted((fact for fact in facts if fact[1] > 1), key=lambda fact: (fact[1], fact[0]))
    chosen = {directions: i for i, _, directions, _ in reversed(facts)}
    taken = list(chosen.values())
    taken += [i for i, size, _, _ in facts[len(facts) // 2 :][:1] if size <= TYPICAL]
    has = {i: symbols for i, _, _, symbols in facts}
    missing = set().union(*has.values()) - set().union(*(has[i] for i in taken))
    while missing:
        best = max(facts, key=lambda fact: len(fact[3] & missing))[0]  # of several the smallest
        taken.append(best)
        missing -= has[best]
    return sorted(set(taken))


def crystals_of(elements: Sequence[str], seed: int = 0) -> list[Atoms]:
    """Return distorted crystals of eight atoms: each of up to four elements alone, of more four together in each.

    The first cell vector lies along x and the second in the xy plane, as LAMMPS wants them.
    """
    if len(elements) <= len(SHARES):  # the last cell mixes them
        return [distorted_diamond([symbol] * 8, seed + i) for i, symbol in enumerate(elements)] + [
            distorted_diamond([elements[i % len(elements)] for i in range(8)], seed + len(elements))
        ]
    groups = [elements[i : i + len(SHARES)] for i in range(0, len(elements), len(SHARES))]
    if len(groups[-1]) < len(SHARES):
        groups[-1] = elements[-len(SHARES) :]
    return [distorted_diamond(list(np.repeat(group, SHARES)), seed + i) for i, group in enumerate(groups)]


def distorted_diamond(symbols: Sequence[str], seed: int) -> Atoms:
    """Return a strained diamond cell of eight atoms, each of them displaced, without any symmetry."""
    atoms = bulk("Si", "diamond", a=5.5, cubic=True)
    atoms.symbols = list(symbols)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
    atoms.positions += 0.08 * rng.standard_normal((8, 3))
    return upright(atoms)


def upright(atoms: Atoms) -> Atoms:
    """Return a crystal turned so that its first cell vector lies along x and its second in the xy plane."""
    turned = atoms.copy()
    cell, _ = atoms.cell.standard_form()
    turned.set_cell(cell, scale_atoms=True)
    return turned


def _right_handed(atoms: Atoms) -> Atoms:
    if np.linalg.det(atoms.cell[:]) < 0:
        atoms.set_cell(-atoms.cell[:])
    return atoms


def _directions(atoms: Atoms) -> int:
    """Count the directions in which a structure repeats."""
    return int((np.asarray(atoms.pbc) & atoms.cell[:].any(axis=1)).sum())
