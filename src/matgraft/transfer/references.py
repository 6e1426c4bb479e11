"""Reference energies of the elements at a new level of theory, and what the data can say about them.

Two DFT set-ups differ by a constant an atom of each element, up to thousands of eV between pseudopotential sets. The
shift is fitted on the *residuals* of the foundation (label minus prediction), never on raw energies, so that the
physics the foundation knows is not fitted away:

    (E_f - prediction_f) / N_f = sum_Z (n_fZ / N_f) shift_Z      least squares over frames f

The composition matrix can be rank-deficient (all frames SiO2, say). Then the smallest shift that fits is taken, and
what stays undetermined is said. Where a model has several heads, each has a shift of its own (`HeadShifts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from pydantic import BaseModel, ConfigDict

from matgraft.data.dataset import Dataset, Sample
from matgraft.data.heads import HEAD_TAG, frames_by_head
from matgraft.errors import DataError, OptionError
from matgraft.quantities import ENERGY, Array

RANK_TOLERANCE = 1e-3
"""Singular values below this part of the largest count as zero: a spread of 0.1 % in composition fixes nothing."""

RARE = 0.01
"""An element below this part of the others is not named in a sum: what it adds to the energy is lost in the noise."""


class ReferenceShift(BaseModel):
    """A shift for each element, and how well the data determine it.

    Units: eV an atom; residuals in meV/atom, before and after the shift, root mean square over the frames.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["refit", "given", "keep"]
    shift_eV: dict[str, float]
    rank: int
    n_elements: int
    n_frames: int = 0
    undetermined: tuple[str, ...] = ()
    residual_before_meV: float | None = None
    residual_after_meV: float | None = None

    @property
    def text(self) -> str:
        """One line for screens and reports."""
        shifts = ", ".join(f"{symbol} {value:+.4f}" for symbol, value in self.shift_eV.items()) or "none"
        line = f"{self.mode}: {shifts} eV/atom (rank {self.rank} of {self.n_elements})"
        return "; ".join([line, *self.undetermined])

    def energy(self, numbers: Array) -> float:
        """Return the shift (eV) of a structure with these atomic numbers."""
        return float(sum(self.shift_eV.get(chemical_symbols[int(Z)], 0.0) for Z in numbers))

    def of(self, sample: Sample) -> float:
        """Return the shift (eV) of a sample."""
        return self.energy(sample.content.numbers)


class HeadShifts(BaseModel):
    """A shift of the elements for each head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: dict[str, ReferenceShift]

    @property
    def text(self) -> str:
        """One line for screens and reports."""
        return " | ".join(f"{name}: {shift.text}" for name, shift in self.heads.items())

    def of(self, sample: Sample) -> float:
        """Return the shift (eV) of a sample under its own head."""
        return self.heads[sample.tags[HEAD_TAG]].of(sample)


References = ReferenceShift | HeadShifts


def refit_or_keep(dataset: Dataset, predictions: Sequence[Mapping[str, Array]]) -> ReferenceShift:
    """Fit the shift on the foundation's residuals where there are energies, else keep the references."""
    return fit_references(dataset, predictions) if dataset.count(ENERGY.name) else keep_references(dataset)


def shift_heads(dataset: Dataset, shift: Callable[[Dataset, Sequence[int]], ReferenceShift]) -> HeadShifts:
    """Find the shift of each head from its own frames.

    Parameters
    ----------
    shift
        What to do with a head's frames, and their positions in `dataset`.
    """
    found = frames_by_head(dataset)
    return HeadShifts(heads={name: shift(dataset[frames], frames) for name, frames in found.items()})


def fit_references(dataset: Dataset, predictions: Sequence[Mapping[str, Array]]) -> ReferenceShift:
    """Fit the shift of each element on the foundation's residuals.

    Parameters
    ----------
    predictions
        The foundation's, aligned with `dataset`; energies in eV.

    Raises
    ------
    DataError
        If no frame has an energy.
    """
    known = np.array([atomic_numbers[symbol] for symbol in dataset.elements()])
    contents, residuals = [], []
    for sample, prediction in zip(dataset, predictions, strict=True):
        if ENERGY.name in sample.labels:
            contents.append((sample.content.numbers[:, None] == known).mean(axis=0))
            residuals.append(float(sample.labels[ENERGY.name] - prediction[ENERGY.name]) / sample.n_atoms)
    if not residuals:
        raise DataError("no frame has an energy to fit references on", remedy="references.mode=keep")
    residual, fractions = np.array(residuals), np.array(contents)
    present = fractions.any(axis=0)
    elements, fractions = tuple(chemical_symbols[Z] for Z in known[present]), fractions[:, present]
    shift, _, rank, _ = np.linalg.lstsq(fractions, residual, rcond=RANK_TOLERANCE)
    return ReferenceShift(
        mode="refit",
        shift_eV=dict(zip(elements, map(float, shift), strict=True)),
        rank=int(rank),
        n_elements=len(elements),
        n_frames=len(residual),
        undetermined=undetermined_directions(fractions, elements),
        residual_before_meV=1000 * float(np.sqrt(np.mean(residual**2))),
        residual_after_meV=1000 * float(np.sqrt(np.mean((residual - fractions @ shift) ** 2))),
    )


def given_references(shift_eV: Mapping[str, float], dataset: Dataset) -> ReferenceShift:
    """Take the user's shift (eV an atom, added to the foundation's references).

    Raises
    ------
    OptionError
        If an element is named that the data do not have: it would do nothing.
    """
    idle = sorted(set(shift_eV) - set(dataset.elements()))
    if idle:
        raise OptionError(f"references given for {', '.join(idle)}, which no frame has", allowed=dataset.elements())
    elements = dataset.elements()
    return ReferenceShift(mode="given", shift_eV=dict(shift_eV), rank=len(shift_eV), n_elements=len(elements))


def keep_references(dataset: Dataset) -> ReferenceShift:
    """Leave the foundation's references as they are."""
    return ReferenceShift(mode="keep", shift_eV={}, rank=0, n_elements=len(dataset.elements()))


def shifted(
    dataset: Dataset, predictions: Sequence[Mapping[str, Array]], references: References
) -> list[dict[str, Array]]:
    """Return the foundation's predictions with the reference shift added: the baseline that any tuning must beat."""
    return [
        {**prediction, "energy": prediction["energy"] + references.of(sample)}
        for sample, prediction in zip(dataset, predictions, strict=True)
    ]


def undetermined_directions(fractions: Array, elements: Sequence[str]) -> tuple[str, ...]:
    """Say in words which combinations of references no energy can tell.

    Parameters
    ----------
    fractions
        (n_frames, n_elements) atomic fractions.

    Examples
    --------
    >>> undetermined_directions(np.array([[1 / 3, 2 / 3]]), ["Si", "O"])
    ('only the sum Si + 2 O is determined',)
    """
    triangle = np.linalg.qr(fractions, mode="r")  # the same singular values, without a matrix of frames squared
    _, singular, directions = np.linalg.svd(triangle, full_matrices=True)
    rank = int(np.sum(singular > RANK_TOLERANCE * singular[0]))
    if rank == len(elements):
        return ()
    if rank == 1 and np.abs(directions[0]).min() > RARE:
        amounts = np.abs(directions[0]) / np.abs(directions[0]).min()
        terms = [f"{amount:.3g} {e}" if amount > 1.005 else e for amount, e in zip(amounts, elements, strict=True)]
        return (f"only the sum {' + '.join(terms)} is determined",)
    null = directions[rank:]
    involved = [e for e, weight in zip(elements, np.abs(null).max(axis=0), strict=True) if weight > 0.05]
    free = len(elements) - rank
    return (
        f"{free} combination{'s' * (free > 1)} of {', '.join(involved)} undetermined: the smallest shift was taken",
    )
