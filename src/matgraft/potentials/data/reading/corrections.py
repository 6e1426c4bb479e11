"""Whether an energy was corrected after DFT, by its key and by what stands beside it.

| in the frame                                                      | the energy is                                    |
| ----------------------------------------------------------------- | ------------------------------------------------ |
| it was read from ``uncorrected_total_energy``                     | as DFT gave it                                   |
| it was read from ``corrected_total_energy``                       | corrected                                        |
| read from another key, with one of these beside it                | whichever of the two it equals                   |
| an entry of pymatgen (``"@class": "ComputedStructureEntry"``)     | as DFT gave it: its ``correction`` is not in it  |
| ``correction`` or ``energy_adjustments``, and none of the above   | not stated; a note says so                       |

The scheme is named where ``energy_adjustments`` name it. A correction of zero says nothing. Corrections such as MP2020
are steps between kinds of compounds, of which forces know nothing: Wang et al., Scientific Reports 11, 15496 (2021).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.provenance import CORRECTED, UNCORRECTED, LevelOfTheory
from matgraft.potentials.data.reading.keys import bare
from matgraft.potentials.data.reading.labels import Label
from matgraft.potentials.data.reading.raw import RawFrame
from matgraft.potentials.data.reading.theory_fields import agree

_SAID = {
    f"{word}_{stem}": said
    for word, said in (("uncorrected", UNCORRECTED), ("corrected", CORRECTED))
    for stem in ("total_energy", "energy", "energy_per_atom")
}
"""Key in lower case -> what it says of its energy."""

_BESIDE = ("correction", "energy_correction", "energy_adjustments")
_ENTRIES = ("ComputedEntry", "ComputedStructureEntry")
_TOLERANCE = 1e-4
"""eV/atom: energies that differ by less are one, printed with few digits."""


@dataclass
class Corrections:
    """What the frames of a file say of corrections, and how many leave it open.

    Attributes
    ----------
    open
        Number of frames that have a correction beside their energy, where nothing says whether it is in it.
    """

    open: int = 0

    def of(self, frame: RawFrame, energy: Label | None) -> str | None:
        """Return how a frame's energy was corrected, as `LevelOfTheory.correction`; None where nothing says."""
        if energy is None:
            return None
        values = {bare(key).lower(): value for key, value in frame.values.items() if value is not None}
        said = _SAID.get(bare(energy.key).lower()) or _by_value(float(energy.value), values, len(frame.atoms))
        if said is None and values.get("@class") in _ENTRIES:
            said = UNCORRECTED
        if said is None and any(_counts(values[name]) for name in _BESIDE if name in values):
            self.open += 1
        return _scheme(values) if said == CORRECTED else said

    def notes(self, n: int) -> Iterator[str]:
        """Say where it was left open, of `n` frames."""
        if self.open:
            yield (
                f"{self.open} of {n} frames have a correction beside their energy, and nothing says whether it is in "
                "it: a YAML file beside them would (`correction: none`, `correction: MP2020`)"
            )


def _by_value(energy: float, values: Mapping[str, Any], n_atoms: int) -> str | None:
    """Return what the keys beside an energy say of it that have its value; None where they contradict or lack."""
    found = set()
    for name, said in _SAID.items():
        try:
            other = float(values[name]) * (n_atoms if name.endswith("per_atom") else 1)
        except (KeyError, TypeError, ValueError):
            continue
        same = abs(other - energy) < _TOLERANCE * n_atoms
        found.add(said if same else {UNCORRECTED: CORRECTED, CORRECTED: UNCORRECTED}[said])
    return found.pop() if len(found) == 1 else None


def _counts(value: Any) -> bool:
    """Say whether a correction is one: neither zero nor NaN nor an empty list."""
    try:
        return bool(np.nan_to_num(np.asarray(value, dtype=float)).any())
    except (TypeError, ValueError):
        return bool(value)


def _scheme(values: Mapping[str, Any]) -> str:
    named = json.dumps(values.get("energy_adjustments", ""), default=str)
    return "MP2020" if "2020" in named else CORRECTED


def with_correction(
    theory: LevelOfTheory | None, correction: str | None, where: str, *, is_run: bool
) -> LevelOfTheory | None:
    """Record how a frame's energy was corrected; of two names of one scheme the stated one is kept.

    Parameters
    ----------
    is_run
        The energy is a code's own, which knows no corrections, unless its user states one.

    Raises
    ------
    DataError
        If another scheme was stated.
    """
    if correction is None:
        if not is_run or theory is None or theory.correction is not None:
            return theory
        correction = UNCORRECTED
    found = (theory or LevelOfTheory()).model_copy(update={"correction": correction})
    if theory is None or theory.correction is None:
        return found
    if not agree(theory, found):
        raise DataError(
            f"energies are {found.correction_words} by their key, {theory.correction_words} as stated",
            where=where,
            remedy="put the statement right, or name the key of the other energy",
        )
    return theory
