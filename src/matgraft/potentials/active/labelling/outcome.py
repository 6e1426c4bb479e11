"""From what a calculator did to a label, or to the reason why there is none.

Where a program left an output that one of matgraft's readers knows, the label is read from it: then convergence, energy
and units are those of all other frames, and the structure in the output must be the one that was asked. Otherwise it is
taken from the calculator, the free energy before the energy at sigma -> 0, since forces belong to it.
"""

from __future__ import annotations

import lzma
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array, voigt_to_full
from matgraft.potentials.active.labelling.wire import Arrays
from matgraft.potentials.data.cells import volume

SAME_A = 2e-3
"""Å by which positions of an output may differ from those asked: programs print four decimals of a length unit."""
MOST_OUTPUT = 2**26
"""Bytes of an output that is kept beside its label."""


class FailedError(Exception):
    """There is no label, and why; `again` says whether another try may do better."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class FoundLabel(NamedTuple):
    """A label: arrays in canonical units, and the level of theory as far as an output states it."""

    labels: Arrays
    theory: LevelOfTheory | None = None


def found_in(folder: Path, atoms: Atoms) -> FoundLabel | None:
    """Return the label in the output that a program left in a folder; None where no reader knows one.

    Raises
    ------
    FailedError
        If it broke off, did not converge, or is that of another structure.
    """
    from matgraft.potentials.data.reading.formats.registry import find_runs  # a second, which engines without
    from matgraft.potentials.data.reading.read import read  # files do without

    runs, _ = find_runs(folder)
    if not runs:
        return None
    try:
        samples = tuple(read(str(folder), want=()))
    except DataError as error:
        raise FailedError(f"its output cannot be used: {error.found}") from error
    sample = samples[-1]
    if sample.tags.get("converged") == "false":
        raise FailedError("the electrons did not converge", again=False)
    order = order_of(atoms, sample.content)
    return FoundLabel({name: _ordered(name, value, order) for name, value in sample.labels.items()}, sample.theory)


def order_of(asked: Atoms, printed: Atoms) -> NDArray[np.int64]:
    """Return for each atom that was asked its number in an output.

    Raises
    ------
    FailedError
        If the output is that of another structure.
    """
    if sorted(asked.numbers) != sorted(printed.numbers):
        raise FailedError(f"its output is that of {printed.get_chemical_formula()}")
    if asked.pbc.any() and not np.allclose(asked.cell[:], printed.cell[:], atol=SAME_A):
        raise FailedError("its output is that of another cell")
    free, order = list(range(len(printed))), []
    for number, place in zip(asked.numbers, asked.positions, strict=True):
        rows = [row for row in free if printed.numbers[row] == number]
        _, distances = find_mic(printed.positions[rows] - place, asked.cell.complete(), pbc=asked.pbc)
        best = int(np.argmin(distances))
        if distances[best] > SAME_A:
            raise FailedError(f"its output is that of other positions: an atom lies {distances[best]:.3g} Å away")
        order.append(rows[best])
        free.remove(rows[best])
    return np.array(order, dtype=np.int64)


def of_calculator(calculator: BaseCalculator, asked: Collection[str]) -> FoundLabel:
    """Return the label that a calculator holds; what it lacks is missing."""
    results = dict(getattr(calculator, "results", None) or {})
    energy = results.get("free_energy")
    results[ENERGY.name] = results.get(ENERGY.name) if energy is None else energy
    labels = {name: np.array(results[name], dtype=float) for name in asked if results.get(name) is not None}
    if STRESS.name in labels and labels[STRESS.name].shape == (6,):
        labels[STRESS.name] = voigt_to_full(labels[STRESS.name])
    return FoundLabel(labels)


def asked_of(quantities: Collection[str], atoms: Atoms) -> tuple[str, ...]:
    """Return what a label of a frame must hold: stress where the calculator has one and the frame is a crystal."""
    crystal = bool(atoms.pbc.all()) and volume(atoms) > 0
    return (ENERGY.name, FORCES.name, *([STRESS.name] if crystal and STRESS.name in quantities else []))


def refuse_unsound(labels: Arrays, atoms: Atoms, asked: Collection[str], max_force: float) -> None:
    """Refuse a label that lacks something, is not finite, or has a force beyond any sense.

    Raises
    ------
    FailedError
        With the reason.
    """
    shapes = {ENERGY.name: (), FORCES.name: (len(atoms), 3), STRESS.name: (3, 3)}
    if missing := [name for name in asked if name not in labels]:
        raise FailedError(f"it gave no {' and no '.join(missing)}")
    for name in shapes.keys() & labels.keys():
        value = labels[name]
        if np.shape(value) != shapes[name]:
            raise FailedError(f"its {name} has the shape {np.shape(value)}, not {shapes[name]}")
        if not np.isfinite(value).all():
            raise FailedError(f"its {name}: not finite")
    if large := too_large(labels, max_force):
        raise FailedError(large, again=False)


def too_large(labels: Arrays, max_force: float) -> str:
    """Return why forces are beyond any sense; empty where they are not."""
    largest = float(np.linalg.norm(labels[FORCES.name], axis=1).max(initial=0.0))
    return f"a force of {largest:.4g} eV/Å: beyond max_force_eV_per_A={max_force:g}" if largest > max_force else ""


def output_in(folder: Path) -> tuple[str, bytes]:
    """Return name and content, packed by xz, of the output in a folder; nothing where there is none or it is long."""
    from matgraft.potentials.data.reading.formats.registry import find_runs

    runs, _ = find_runs(folder)
    paths = [path for path, _ in runs] or sorted(folder.glob("*.*o")) + sorted(folder.glob("*.out"))
    for path in paths:
        if path.is_file() and 0 < path.stat().st_size <= MOST_OUTPUT:
            return path.name, lzma.compress(path.read_bytes(), preset=1)
    return "", b""


def complaint_in(folder: Path) -> str:
    """Return what a program said last: on standard error, or between the lines that Quantum ESPRESSO puts about it."""
    for path in [*sorted(folder.glob("*.*o")), *sorted(folder.glob("*.out")), *sorted(folder.glob("*.err"))]:
        lines = [line.strip() for line in _tail(path).splitlines() if line.strip()]
        said = [line for line in lines if not line.startswith("%%%")]
        fenced = [i for i, line in enumerate(lines) if line.startswith("%%%%")]
        if len(fenced) >= 2:
            return " ".join(lines[fenced[-2] + 1 : fenced[-1]])[:300]
        if path.suffix == ".err" and said:
            return said[-1][:300]
    return ""


def _tail(path: Path, length: int = 1 << 16) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read().decode("utf-8", "replace")


def _ordered(name: str, value: Array, order: NDArray[np.int64]) -> Array:
    return value[order] if name in (FORCES.name, "magmom") else value
