"""Reference energies of the elements at a new level of theory, and what the data can say about them.

Two DFT set-ups differ by a constant an atom of each element, up to thousands of eV between pseudopotential sets. The
shift is fitted on the *residuals* of the foundation (label minus prediction), never on raw energies, so that the
physics the foundation knows is not fitted away:

    (E_f - prediction_f) / N_f = sum_Z (n_fZ / N_f) shift_Z      least squares over frames f, each times its weight

A frame of weight 2 counts as two copies of it, and a frame of weight 0 is not there. The weight of a frame's energy
(`Sample.label_weights`) is a factor on it.

The compositions may not determine every element (all frames SiO2, say). Which directions they determine is decided on
the distinct compositions, each once: how many frames a composition has plays no role. A pivoted QR decomposition
(Businger and Golub, Numerische Mathematik 7, 269 (1965)) takes the composition that is farthest from the span of those
taken before. Its distance is the lever on a new direction. A direction is determined

* if its lever is larger than `LEVER`, or
* if the residuals along it exceed what noise can do: they lower chi squared by more than `SIGNIFICANT` squared. So a
  shift of -1000 eV is found at one dopant in 2000 atoms, though the lever is small.

Outside of the determined directions the shift is zero, and the text says what is undetermined. Where a model has
several heads, each has a shift of its own (`HeadShifts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from pydantic import computed_field
from scipy.linalg import qr

from matgraft.core.errors import DataError, OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, Array
from matgraft.core.run_folder import RunFile
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import FOUNDATION, HEAD_TAG, frames_by_head
from matgraft.potentials.data.sample import Sample

LEVER = 2e-3
"""Distance of a composition from the span of others. Below it, a spread of 0.1 % say, usual errors of 10 meV/atom
would move the shift by more than 5 eV."""

SIGNIFICANT = 5.0
"""Standard deviations above which residuals count as a shift, and not as noise."""

MODEL_ERROR = 0.01
"""eV/atom: by so much a foundation's mean error differs between compositions at its own level of theory."""

_SAME = 1e-9
"""Compositions that differ by less are the same one."""

RARE = 0.01
"""An element below this part of the others is not named in a sum: what it adds to the energy is lost in the noise."""


class ReferenceShift(Frozen):
    """A shift for each element, and how well the data determine it.

    Units: eV an atom; residuals in meV/atom, before and after the shift, weighted root mean square over the frames.
    """

    mode: Literal["refit", "isolated", "given", "keep"]
    shift_eV: dict[str, float]
    rank: int
    n_elements: int
    n_frames: int = 0
    undetermined: tuple[str, ...] = ()
    residual_before_meV: float | None = None
    residual_after_meV: float | None = None

    @computed_field  # type: ignore[prop-decorator]
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


class HeadShifts(Frozen):
    """A shift of the elements for each head."""

    heads: dict[str, ReferenceShift]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """One line for screens and reports."""
        return " | ".join(f"{name}: {shift.text}" for name, shift in self.heads.items())

    def of(self, sample: Sample) -> float:
        """Return the shift (eV) of a sample under its own head."""
        return self.heads[sample.tags[HEAD_TAG]].of(sample)


References = ReferenceShift | HeadShifts
REFERENCES: RunFile[References] = RunFile("references.json", References)  # type: ignore[arg-type]  # a union is no class


def refit_or_keep(dataset: Dataset, predictions: Sequence[Mapping[str, Array]]) -> ReferenceShift:
    """Fit the shift on the foundation's residuals where there are energies, else keep the references."""
    return fit_references(dataset, predictions) if dataset.count(ENERGY.name) else keep_references(dataset)


def shift_heads(
    dataset: Dataset, shift: Callable[[Dataset, Sequence[int]], ReferenceShift], names: Sequence[str]
) -> HeadShifts:
    """Find the shift of each head from its own frames; the foundation's own head keeps its references.

    Parameters
    ----------
    shift
        What to do with a head's frames, and their positions in `dataset`.
    names
        Of the heads (`matgraft.potentials.data.heads.head_names`).
    """
    found = {name: shift(dataset[frames], frames) for name, frames in frames_by_head(dataset).items()}
    own = {name: keep_references(dataset) for name in names if name == FOUNDATION and name not in found}
    return HeadShifts(heads=found | own)


def fit_references(dataset: Dataset, predictions: Sequence[Mapping[str, Array]]) -> ReferenceShift:
    """Fit the shift of each element on the foundation's residuals.

    Parameters
    ----------
    predictions
        The foundation's, aligned with `dataset`; energies in eV.

    Raises
    ------
    DataError
        If no frame has an energy, or those that have one weigh nothing.
    """
    elements, fractions, residual, weight = _residuals(dataset, predictions)
    basis = _determined(fractions, residual, weight)
    root = np.sqrt(weight)
    shift = basis @ np.linalg.lstsq(root[:, None] * (fractions @ basis), root * residual, rcond=None)[0]
    return ReferenceShift(
        mode="refit",
        shift_eV=dict(zip(elements, map(float, shift), strict=True)),
        rank=basis.shape[1],
        n_elements=len(elements),
        n_frames=len(residual),
        undetermined=_in_words(basis, elements),
        residual_before_meV=1000 * _rms(residual, weight),
        residual_after_meV=1000 * _rms(residual - fractions @ shift, weight),
    )


def _residuals(
    dataset: Dataset, predictions: Sequence[Mapping[str, Array]]
) -> tuple[tuple[str, ...], Array, Array, Array]:
    """Return the elements, and of each frame that counts its atomic fractions, residual (eV/atom) and weight."""
    known = np.array([atomic_numbers[symbol] for symbol in dataset.elements()])
    contents, residuals, weights, labelled = [], [], [], False
    for sample, prediction in zip(dataset, predictions, strict=True):
        labelled |= ENERGY.name in sample.labels
        if ENERGY.name in sample.labels and sample.weight_of(ENERGY.name) > 0:
            contents.append((sample.content.numbers[:, None] == known).mean(axis=0))
            residuals.append(float(sample.labels[ENERGY.name] - prediction[ENERGY.name]) / sample.n_atoms)
            weights.append(sample.weight_of(ENERGY.name))
    if not residuals:
        found = "no frame with an energy has a weight above zero" if labelled else "no frame has an energy"
        raise DataError(f"{found} to fit references on", options=[{"references.mode": "keep"}])
    fractions = np.array(contents)
    present = fractions.any(axis=0)
    elements = tuple(chemical_symbols[Z] for Z in known[present])
    return elements, fractions[:, present], np.array(residuals), np.array(weights, dtype=float)


def _determined(fractions: Array, residual: Array, weight: Array) -> Array:
    """Return (n_elements, rank): an orthonormal basis of the directions of the shift that the data determine."""
    compositions, which = np.unique(np.round(fractions, 9), axis=0, return_inverse=True)
    which = which.reshape(-1)
    directions, levers = _levers(compositions)
    mean = np.bincount(which, weight * residual) / np.bincount(which, weight)
    # What the fullest fit leaves is noise: of one frame, so that copies of a frame do not make its error smaller.
    noise = MODEL_ERROR**2 + _rms(residual - _fitted(compositions @ directions, mean)[which], weight) ** 2

    def misfit(chosen: list[int]) -> float:
        return float(np.sum((mean - _fitted(compositions @ directions[:, chosen], mean)) ** 2)) / noise

    chosen = np.flatnonzero(levers > LEVER).tolist()
    for i in range(len(chosen), len(levers)):
        if misfit(chosen) - misfit([*chosen, i]) > SIGNIFICANT**2:
            chosen.append(i)
    return directions[:, chosen]


def _levers(compositions: Array) -> tuple[Array, Array]:
    """Return orthonormal directions (n_elements, r) and their levers (r,), the largest first; r is the rank."""
    directions, triangle, _ = qr(compositions.T, mode="economic", pivoting=True)
    levers = np.abs(np.diag(triangle))
    rank = int(np.sum(levers > _SAME))
    return directions[:, :rank], levers[:rank]


def _fitted(columns: Array, values: Array) -> Array:
    return np.asarray(columns @ np.linalg.lstsq(columns, values, rcond=None)[0])


def _rms(values: Array, weight: Array) -> float:
    return float(np.sqrt(np.average(values**2, weights=weight)))


def given_references(shift_eV: Mapping[str, float], dataset: Dataset) -> ReferenceShift:
    """Take the user's shift (eV an atom, added to the foundation's references).

    Raises
    ------
    OptionError
        If an element is named that the data do not have.
    """
    idle = sorted(set(shift_eV) - set(dataset.elements()))
    if idle:
        raise OptionError(f"references given for {', '.join(idle)}, which no frame has", allowed=dataset.elements())
    elements = dataset.elements()
    return ReferenceShift(mode="given", shift_eV=dict(shift_eV), rank=len(shift_eV), n_elements=len(elements))


def isolated_references(
    energies: Mapping[str, float],
    predicted: Mapping[str, float],
    dataset: Dataset,
    predictions: Sequence[Mapping[str, Array]],
) -> ReferenceShift:
    """Take the shift that gives isolated atoms their energies.

    Parameters
    ----------
    energies, predicted
        Element -> energy (eV) of an isolated atom, by the user and by the foundation; both of the same elements.
    predictions
        The foundation's of the frames, aligned with `dataset`, for the residuals.
    """
    shift = {symbol: energies[symbol] - predicted[symbol] for symbol in predicted}
    taken = ReferenceShift(mode="isolated", shift_eV=shift, rank=len(shift), n_elements=len(shift))
    if not dataset.count(ENERGY.name):
        return taken
    found, fractions, residual, weight = _residuals(dataset, predictions)
    after = residual - fractions @ np.array([shift[symbol] for symbol in found])
    told = {"n_frames": len(residual), "residual_before_meV": 1000 * _rms(residual, weight)}
    return taken.model_copy(update={**told, "residual_after_meV": 1000 * _rms(after, weight)})


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
    """Say in words which combinations of references the compositions alone do not determine, whatever the energies.

    Parameters
    ----------
    fractions
        (n_frames, n_elements) atomic fractions.

    Examples
    --------
    >>> undetermined_directions(np.array([[1 / 3, 2 / 3]]), ["Si", "O"])
    ('only the sum Si + 2 O is determined',)
    """
    directions, levers = _levers(np.unique(np.round(fractions, 9), axis=0))
    return _in_words(directions[:, levers > LEVER], elements)


def determined_by(known: Array, fractions: Array) -> NDArray[np.bool_]:
    """Say of which compositions the shift is determined by known ones, whatever the energies.

    Parameters
    ----------
    known, fractions
        (n, n_elements) atomic fractions of the known compositions, and of those that are asked about. An element that
        no known composition has is not determined, however little of it there is.
    """
    directions, levers = _levers(np.unique(np.round(known, 9), axis=0))
    basis = directions[:, levers > LEVER]
    within = np.linalg.norm(fractions - fractions @ basis @ basis.T, axis=1) <= LEVER
    return np.asarray(within & ~fractions[:, ~known.any(axis=0)].any(axis=1))


def _in_words(basis: Array, elements: Sequence[str]) -> tuple[str, ...]:
    rank = basis.shape[1]
    if rank == len(elements):
        return ()
    amounts = np.abs(basis[:, 0])
    if rank == 1 and amounts.min() > RARE:
        terms = [f"{a:.3g} {e}" if a > 1.005 else e for a, e in zip(amounts / amounts.min(), elements, strict=True)]
        return (f"only the sum {' + '.join(terms)} is determined",)
    null = np.linalg.svd(basis.T, full_matrices=True)[2][rank:]
    involved = [e for e, weight in zip(elements, np.abs(null).max(axis=0), strict=True) if weight > 0.05]
    free = len(elements) - rank
    return (
        f"{free} combination{'s' * (free > 1)} of {', '.join(involved)} undetermined: the smallest shift was taken",
    )
