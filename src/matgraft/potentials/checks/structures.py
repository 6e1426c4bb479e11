"""The structures that checks look at: what each is, and which of a user's frames to take.

    whole = structures_of(["si.cif"])             # as files have them
    own = structures_in(frames)                   # the lowest crystal of each composition among labelled frames

What a structure is follows from its cell and its vacuum: bulk, slab or molecule. It decides which checks apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from ase.io import read as read_file
from pymatgen.core import Structure as Crystal
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from spglib import SpglibError

from matgraft.core.errors import DataError
from matgraft.core.quantities import ENERGY
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import SLAB_A, joined, vacuum
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import nonsense, require_sense

Kind = Literal["bulk", "slab", "wire", "molecule"]
EVERY_KIND: frozenset[Kind] = frozenset(get_args(Kind))

TOLERANCES_A = (0.01, 0.05, 0.1, 0.2, 0.3)
"""Å within which a frame's atoms are moved onto the sites of a symmetric crystal. A frame that has symmetry within the
first keeps it; of another the tolerance counts at which its primitive cell is the smallest. Thermal displacements at
300 K are some 0.1 Å, and the largest difference between two of many atoms three times that."""

MOST_STRUCTURES = 4
"""Structures that are taken from a user's frames: the most frequent compositions first."""


@dataclass(frozen=True, eq=False)
class Structure:
    """One structure to simulate.

    Attributes
    ----------
    name
        Short and unique among those of a command: ``"si.cif"``, ``"Si8"``.
    atoms
        Without calculator, labels and constraints.
    kind
        ``"bulk"``, ``"slab"``, ``"wire"`` or ``"molecule"``.
    source
        Where it comes from, in words.
    """

    name: str
    atoms: Atoms
    kind: Kind
    source: str

    @property
    def formula(self) -> str:
        """Composition in lowest terms."""
        return str(self.atoms.get_chemical_formula(empirical=True))

    @property
    def lone(self) -> bool:
        """True for a single atom, on which no force acts."""
        return self.kind == "molecule" and len(self.atoms) == 1


def kind_of_structure(atoms: Atoms) -> Kind:
    """Tell bulk, slab, wire and molecule by the number of directions with vacuum, or without repetition."""
    kinds: tuple[Kind, ...] = ("bulk", "slab", "wire", "molecule")
    return kinds[int((vacuum(atoms) > SLAB_A).sum())]


def structures_of(files: Sequence[str | Path]) -> tuple[Structure, ...]:
    """Read structures; a file with several gives each its number: ``pool.extxyz#3``.

    Raises
    ------
    DataError
        If a file cannot be read, holds none or one that makes no sense, or has sites that are partly occupied.
    """
    found: list[Structure] = []
    for file in files:
        _refuse_disorder(Path(file))
        frames = read(file, want=())
        if not len(frames):
            raise DataError("there is no structure", where=str(file))
        found += [
            _structure(sample, Path(file).name + (f"#{i}" if len(frames) > 1 else ""), f"frame {i} of {file}")
            for i, sample in enumerate(frames)
        ]
    return tuple(_numbered(found))


def structures_given(frames: Sequence[Atoms]) -> tuple[Structure, ...]:
    """Take structures from memory, each by its formula.

    Raises
    ------
    DataError
        If one makes no sense.
    """
    samples = [Sample(atoms, {}, file="structures", index=i) for i, atoms in enumerate(frames)]
    for one in samples:
        require_sense(one.content, one.where)  # before its formula is asked for
    names = [str(atoms.get_chemical_formula()) for atoms in frames]
    found = [_structure(one, name, f"structure {one.index}") for one, name in zip(samples, names, strict=True)]
    return tuple(_numbered(found))


def structures_in(frames: Dataset, most: int = MOST_STRUCTURES) -> tuple[tuple[Structure, ...], int]:
    """Take structures from labelled frames: of each composition and kind the one of the lowest energy per atom.

    Returns them, and how many compositions and kinds are left out. A bulk frame becomes the conventional cell of the
    crystal that its atoms are near to, where they are near to one.
    """
    chosen: dict[tuple[str, Kind], list[Sample]] = {}
    for sample in frames:
        if nonsense(sample.content) is None:
            key = (str(sample.content.get_chemical_formula(empirical=True)), kind_of_structure(sample.content))
            chosen.setdefault(key, []).append(sample)
    ranked = sorted(chosen.values(), key=lambda group: -len(group))
    return tuple(_numbered([_from_frames(group) for group in ranked[:most]])), len(ranked[most:])


def crystal_of(atoms: Atoms) -> tuple[Atoms, str]:
    """Return the conventional cell of the crystal that atoms are near to, with its space group; else the atoms."""
    crystal = AseAtomsAdaptor.get_structure(_bare(atoms))
    candidates: list[tuple[int, int, float, str, Crystal]] = []
    for tolerance in TOLERANCES_A:
        try:
            found = SpacegroupAnalyzer(crystal, symprec=tolerance)
            symbol, refined = found.get_space_group_symbol(), found.get_refined_structure()
            sites = len(found.find_primitive())
            rotations = len(np.unique(found.get_symmetry_dataset().rotations, axis=0))
        except (ValueError, SpglibError):  # no symmetry at this tolerance; pymatgen's own error is a ValueError
            continue
        kept = abs(refined.density / crystal.density - 1) < 1e-3  # spglib may lose atoms at a wide tolerance
        if kept and (rotations > 1 or sites < len(crystal)):
            candidates.append((sites, -rotations, tolerance, symbol, refined))
        if candidates and tolerance == TOLERANCES_A[0]:
            break
    if candidates:  # displaced atoms show a part of the symmetry first: the smallest cell, then the most of it counts
        _, _, tolerance, symbol, refined = min(candidates, key=lambda one: one[:3])
        cell = AseAtomsAdaptor.get_atoms(_smaller(refined, crystal), msonable=False)
        return _bare(cell), f"space group {symbol} within {tolerance:g} Å"
    return _bare(atoms), "no symmetry found"


def _refuse_disorder(file: Path) -> None:
    """Raise a DataError if sites of a CIF file are partly occupied: readers take one element of each site."""
    if file.suffix.lower() != ".cif" or not file.is_file():
        return
    try:
        blocks = read_file(file, index=":", format="cif", fractional_occupancies=True)
    except Exception:  # whoever reads the structure says what is wrong with it
        return
    for atoms in blocks:
        sites = [site for site in atoms.info.get("occupancy", {}).values() if len(site) > 1 or min(site.values()) < 1]
        if sites:
            shown = ", ".join(f"{symbol} {part:g}" for symbol, part in sites[0].items())
            raise DataError(
                f"{len(sites)} sites are partly occupied ({shown})",
                where=str(file),
                remedy="give an ordered structure, such as a supercell with one element on each site",
            )


def _smaller(refined: Crystal, crystal: Crystal) -> Crystal:
    """Return the conventional cell; the primitive one where it is the larger structure."""
    return refined if len(refined) <= max(len(crystal), 16) else refined.get_primitive_structure()


def _from_frames(group: Sequence[Sample]) -> Structure:
    energies = [float(one.labels[ENERGY.name]) / one.n_atoms if ENERGY.name in one.labels else np.inf for one in group]
    lowest = group[int(np.argmin(energies))]
    kind = kind_of_structure(lowest.content)
    atoms, said = crystal_of(lowest.content) if kind == "bulk" else (_whole(lowest.content, kind), "as it is")
    chosen = f"{lowest.where}, the lowest of {len(group)} in energy" if np.isfinite(min(energies)) else lowest.where
    name = str(atoms.get_chemical_formula()) + ("" if kind == "bulk" else f" {kind}")
    return Structure(name, atoms, kind, f"{chosen}; {said}")


def _structure(sample: Sample, name: str, source: str) -> Structure:
    kind = kind_of_structure(sample.content)
    return Structure(name, _whole(sample.content, kind), kind, source)


def _whole(atoms: Atoms, kind: Kind) -> Atoms:
    """Return numbers, positions, cell and periodicity alone; a molecule is no longer cut by a face of its box."""
    return joined(_bare(atoms)) if kind == "molecule" else _bare(atoms)


def _bare(atoms: Atoms) -> Atoms:
    """Return numbers, positions, cell and periodicity alone."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)


def _numbered(structures: Sequence[Structure]) -> Iterator[Structure]:
    """Give each structure a name that no other has."""
    seen: dict[str, int] = {}
    for one in structures:
        seen[one.name] = seen.get(one.name, 0) + 1
        number = seen[one.name]
        yield one if number == 1 else Structure(f"{one.name} ({number})", one.atoms, one.kind, one.source)
