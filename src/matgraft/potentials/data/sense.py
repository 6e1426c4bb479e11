"""Structures without sense: the one gate before any neighbour is looked for and any network is asked.

>>> nonsense(atoms)                                     # None, or what is wrong
Nonsense(kind='flat', value=0.001)
>>> place = require_sense(atoms, "a.xyz frame 12")      # raises a DataError instead
>>> require_room(place, cost, free, "a.xyz frame 12")   # raises where graph and prediction exceed the memory

What passes is taken as it is: a gas, a slab under 40 Å of vacuum, a compressed hydride and 10,000 atoms all make sense.
Whether atoms are nearer than chemistry allows is another question, which the audit and the checks ask. The limits lie
beyond any matter that a potential was made for, and at what neighbour lists can still count:

| kind | refused | the nearest that makes sense |
| --- | --- | --- |
| empty | no atom | |
| array | arrays of another shape, or not of numbers | |
| number | atomic numbers below 1 or above 118 | |
| not finite | NaN or infinity in positions or cell | |
| far | a number beyond `FARTHEST_A`; atoms spread over more than `WIDEST_A3` | a gas of 20,000 molecules |
| flat | a periodic vector below `FLATTEST_A`, or so near to the plane of the others | 0.7 Å: hydrogen at 500 GPa |
| crowded | less than `DENSEST_A3` an atom, in the cell or in a cube of 2 Å | 1.2 Å³: hydrogen at 500 GPa |
| close | two atoms nearer than `CLOSEST_A` | 0.31 Å: half of the covalent distance of hydrogen |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.frozen import Frozen
from matgraft.core.machine import Memory
from matgraft.core.quantities import Array
from matgraft.potentials.data.boxes import FLAT, SHORTEST_A, short_period
from matgraft.potentials.data.crowds import (
    CUBE_A,
    StructureBytes,
    WrappedAtoms,
    crowded_frames,
    evenly_spread_bytes,
    expected_bytes,
    most_bytes,
)
from matgraft.potentials.data.dataset import Dataset

FARTHEST_A = 1e6
"""Å from the origin, 0.1 mm, where float64 resolves 1e-10 Å. No simulation drifts so far."""
WIDEST_A3 = 1e9
"""Å³ of the box around all atoms, 1000 Å cubed: linked cells of 2 Å over more take more than a gigabyte."""
FLATTEST_A = SHORTEST_A
"""Å between the planes that a periodic vector leads to: images of one atom that are nearer are without number."""
DENSEST_A3 = 0.1
"""Å³ an atom, of the whole cell and of every cube of 2 Å: a tenth of hydrogen at 500 GPa. An atom would have 9,000
neighbours within 6 Å."""
CLOSEST_A = 0.05
"""Å between two atoms. Hydrogen molecules whose lengths are read ten times too small, nm as Å, still pass (0.074)."""
APART_A = 0.75
"""Å: where no two atoms are nearer, no cube of 2 Å is crowded. Spheres of this width around its atoms fill at most 74 %
of a cube of 2.75 Å: they are 69, and 80 would be crowded."""
AT_ONCE = 256
"""Structures that are looked at together."""
MEMORY_SHARE = 0.8
"""Part of the memory that can be had that the graph of one structure and its prediction may take."""
MANY = 50_000
"""Atoms of a structure that takes seconds to look at."""
FAR = 2.0
"""Times the memory that can be had, beyond which nothing is looked at. Of copper and silicon the estimate is right
within a fifth; atoms in heaps take more."""
MOST_NAMED = 3
"""Structures that an error names; it counts them all."""
SMALL = 2**28
"""Bytes that every machine has: nobody is asked what is free."""

Kind = Literal["empty", "array", "number", "not finite", "far", "flat", "crowded", "close"]
UNITS_MAY_CURE: frozenset[Kind] = frozenset(("crowded", "close"))
"""What lengths in another unit look like: the audit of distances says which unit it is."""


class Nonsense(Frozen):
    """Why a structure makes no sense.

    Attributes
    ----------
    kind
        See the table of the module.
    value
        The offending number; of a kind without one, 0.
    """

    kind: Kind
    value: float = 0.0

    @property
    def found(self) -> str:
        """What is wrong, in words."""
        return _FOUND[self.kind](self.value)

    @property
    def allowed(self) -> str:
        """What would have been accepted."""
        return _ALLOWED[self.kind]

    @property
    def remedy(self) -> str:
        """What to do."""
        return _REMEDIES.get(self.kind, "leave the structure out")


_FOUND: dict[Kind, Callable[[float], str]] = {
    "empty": lambda _: "the structure has no atoms",
    "array": lambda _: "positions, cell or atomic numbers are not numbers, or not of one shape",
    "number": lambda value: f"an atom has the atomic number {value:.0f}, which no element has",
    "not finite": lambda _: "positions or cell are not finite",
    "far": lambda value: f"positions or cell vectors are {value:.3g} Å long",
    "flat": lambda value: (
        f"the periodic cell is flat or skewed: planes of its vectors are {value:.2g} Å apart"
        if value
        else "the periodic cell vectors are not independent: they lie in a plane or line"
    ),
    "crowded": lambda value: f"there is {value:.2g} Å³ for an atom",
    "close": lambda value: f"two atoms are {value:.2g} Å apart",
}
TITLES: dict[Kind, str] = {
    "empty": "no atoms",
    "array": "arrays of a wrong shape or type",
    "number": "atoms of no element",
    "not finite": "positions or cell not finite",
    "far": "atoms too far apart",
    "flat": "a flat or skewed cell",
    "crowded": "too many atoms in a place",
    "close": "atoms on one place",
}
"""What a count of such structures is called."""
_ALLOWED: dict[Kind, str] = {
    "empty": "one atom or more",
    "array": "positions (n, 3), cell (3, 3) and atomic numbers (n,)",
    "number": "atomic numbers 1 to 118",
    "not finite": "finite numbers in Å",
    "far": f"coordinates up to {FARTHEST_A:g} Å, of atoms that a box of {WIDEST_A3:g} Å³ holds",
    "flat": f"periodic cell vectors {FLATTEST_A:g} Å or more from the plane of the others",
    "crowded": f"{DENSEST_A3:g} Å³ an atom or more",
    "close": f"{CLOSEST_A:g} Å or more",
}
_UNITS = "see whether positions and cell are in their unit and of one frame, or leave the structure out"
_REMEDIES: dict[Kind, str] = {
    "number": "name the elements of all atoms, or leave the structure out",
    "far": _UNITS,
    "flat": "see whether the cell is that of the frame; set pbc to F along vectors that do not repeat, and reduce a "
    "skewed cell, as ase.build.niggli_reduce does",
    "crowded": _UNITS,
    "close": _UNITS,
}


# ------------------------------------------------------------------- does it make sense


def nonsense(atoms: Atoms) -> Nonsense | None:
    """Return why a structure makes no sense; None where it does. It takes 0.2 ms, and 20 ms for 10,000 atoms."""
    found = examine(atoms)
    return found if isinstance(found, Nonsense) else None


def examine(atoms: Atoms) -> WrappedAtoms | Nonsense:
    """Return where the atoms of a structure lie, or why it makes no sense."""
    if (unusable := _unusable(atoms)) is not None:
        return unusable
    if (short := short_period(atoms.cell.array, atoms.pbc)) is not None:
        return Nonsense(kind="flat", value=short)
    try:
        place = WrappedAtoms.of(atoms)
    except ValueError:  # the cell is finite: its periodic vectors lie in a plane or line
        return Nonsense(kind="flat")
    height = float(place.heights[place.periodic].min(initial=np.inf))
    if height < FLATTEST_A:
        return Nonsense(kind="flat", value=height)
    if np.prod(place.extent + CUBE_A) > WIDEST_A3:
        return Nonsense(kind="far", value=float(place.extent.max()))
    if place.room < DENSEST_A3:
        return Nonsense(kind="crowded", value=place.room)
    distance = place.nearest(CLOSEST_A)
    return Nonsense(kind="close", value=distance) if distance < CLOSEST_A else place


def _unusable(atoms: Atoms) -> Nonsense | None:
    """Look at the numbers one by one."""
    n, positions, cell = len(atoms), np.asarray(atoms.positions), np.asarray(atoms.cell[:])
    if not n:
        return Nonsense(kind="empty")
    numeric = all(array.dtype.kind in "fiu" for array in (positions, cell, atoms.numbers))
    if not numeric or positions.shape != (n, 3) or atoms.numbers.shape != (n,):
        return Nonsense(kind="array")
    low, high = int(atoms.numbers.min()), int(atoms.numbers.max())
    if low < 1 or high > 118:
        return Nonsense(kind="number", value=low if low < 1 else high)
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        return Nonsense(kind="not finite")
    reach = float(max(np.abs(positions).max(), np.abs(cell).max()))
    return Nonsense(kind="far", value=reach) if reach > FARTHEST_A else None


def require_sense(atoms: Atoms, where: str) -> WrappedAtoms:
    """Return where the atoms of a structure lie; raise a DataError that names it if it makes no sense."""
    found = examine(atoms)
    if isinstance(found, WrappedAtoms):
        return found
    raise DataError(found.found, where=where, allowed=[found.allowed], remedy=found.remedy)


def refuse_senseless(dataset: Dataset) -> None:
    """Raise a DataError if structures of a dataset make no sense; it names the first ones, and counts them."""
    found = dict(_all_nonsense(sample.content for sample in dataset))
    if not found:
        return
    causes = [
        DataError(why.found, where=dataset[i].where, allowed=[why.allowed], remedy=why.remedy)
        for i, why in list(found.items())[:MOST_NAMED]
    ]
    if len(found) == 1:
        raise causes[0]
    shown = f", here the first {len(causes)}" if len(causes) < len(found) else ""
    raise DataError(f"{len(found)} of {len(dataset)} structures make no sense{shown}", causes=causes)


# ---------------------------------------------------------------- do many make sense


def _all_nonsense(structures: Iterator[Atoms]) -> Iterator[tuple[int, Nonsense]]:
    """Return the structures that make no sense, by their places; those alone that may are examined one by one."""
    start = 0
    while part := list(islice(structures, AT_ONCE)):
        doubtful = ~certainly_sensible(part)
        yield from (
            (start + i, why) for i in np.flatnonzero(doubtful).tolist() if (why := nonsense(part[i])) is not None
        )
        start += len(part)


def certainly_sensible(structures: Sequence[Atoms]) -> NDArray[np.bool_]:
    """Return (n,) which structures make sense beyond doubt; the others may, too. It takes 0.05 ms each.

    They repeat in all directions or in none, their atoms are `APART_A` or more apart, and no limit is near.
    """
    certain = np.array([_is_array(atoms) for atoms in structures], dtype=bool)
    some = [atoms for atoms, usable in zip(structures, certain, strict=True) if usable]
    if some:
        certain[certain] = _sensible_arrays(some)
    return certain


def _is_array(atoms: Atoms) -> bool:
    n, positions, cell = len(atoms), atoms.positions, atoms.cell.array
    kinds = {positions.dtype.kind, cell.dtype.kind, atoms.numbers.dtype.kind}
    return bool(n) and kinds <= {"f", "i", "u"} and positions.shape == (n, 3) and atoms.numbers.shape == (n,)


def _sensible_arrays(structures: Sequence[Atoms]) -> NDArray[np.bool_]:
    counts = np.array([len(atoms) for atoms in structures])
    starts = np.cumsum(counts) - counts
    positions = np.concatenate([atoms.positions for atoms in structures]).astype(float)
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    cells = np.stack([atoms.cell.array for atoms in structures]).astype(float)
    repeats = np.stack([atoms.pbc for atoms in structures])
    reach = np.maximum(np.maximum.reduceat(np.abs(positions).max(axis=1), starts), np.abs(cells).max(axis=(1, 2)))
    certain = (reach <= FARTHEST_A) & (repeats.all(axis=1) | ~repeats.any(axis=1))  # NaN is no number up to a limit
    certain &= (np.minimum.reduceat(numbers, starts) >= 1) & (np.maximum.reduceat(numbers, starts) <= 118)
    periodic = certain & repeats[:, 0]
    certain[periodic] = _roomy(cells[periodic], counts[periodic])
    positions[np.repeat(~certain, counts)] = 0.0  # of the others nothing is asked any more
    cells[~certain] = 0.0
    extent = np.maximum.reduceat(positions, starts) - np.minimum.reduceat(positions, starts)
    certain &= np.prod(extent + np.abs(cells).sum(axis=1) + CUBE_A, axis=1) <= WIDEST_A3
    certain[certain] = ~crowded_frames(
        positions[np.repeat(certain, counts)], counts[certain], cells[certain], periodic[certain], APART_A
    )
    return certain


def _roomy(cells: Array, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n,) which cells (n, 3, 3) in Å have room for so many atoms, and are neither flat nor skewed."""
    volumes = np.abs(np.linalg.det(cells))
    lengths = np.linalg.norm(cells, axis=2)
    whole = (volumes > FLAT * lengths.prod(axis=1)) & (lengths >= SHORTEST_A).all(axis=1)
    areas = np.linalg.norm(np.cross(np.roll(cells, -1, axis=1), np.roll(cells, -2, axis=1)), axis=2)
    flattest = max(FLATTEST_A, 2 * APART_A)
    return np.asarray(whole & (volumes >= flattest * areas.max(axis=1)) & (volumes >= DENSEST_A3 * counts))


# ------------------------------------------------------------------------ does it fit


def is_far_too_large(atoms: Atoms, cost: StructureBytes, had: Memory) -> bool:
    """Say, at once, whether a structure of very many atoms takes several times the memory that there is.

    For who would look at it for many seconds before it is refused; what may fit is left to `require_room`.
    """
    return len(atoms) >= MANY and not _unusable(atoms) and evenly_spread_bytes(atoms, cost) > FAR * had.bytes


def no_room(n: int, needed: float, had: Memory, where: str) -> DataError:
    """Return the error of a structure of `n` atoms that takes more memory than there is."""
    return DataError(
        f"a prediction of {n} atoms takes some {needed / 2**30:.3g} GiB, more than "
        f"{MEMORY_SHARE:.0%} of the {had.bytes / 2**30:.1f} GiB that {had.by} leaves",
        where=where,
        remedy="see whether the cell is in its unit, take a smaller cell, or give the job more memory",
    )


def require_room(place: WrappedAtoms, cost: StructureBytes, free: Callable[[], Memory], where: str) -> None:
    """Raise a DataError if the graph of a structure and its prediction take more memory than there is.

    Parameters
    ----------
    cost
        What a family of models takes.
    free
        Asked only where the structure may be too large: it reads files of the system.
    """
    if most_bytes(place, cost) < SMALL:
        return
    needed, had = expected_bytes(place, cost), free()
    if needed > MEMORY_SHARE * had.bytes:
        raise no_room(len(place.positions), needed, had, where)
