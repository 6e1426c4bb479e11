"""What is told of a file beside its keys and units: choices made for the user, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ase import Atoms

from matgraft.potentials.data.boxes import long_enough
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.reading.keys import Choices, fitting, is_left_out
from matgraft.potentials.data.reading.labels import Label
from matgraft.potentials.data.reading.raw import RawFrame
from matgraft.potentials.data.reading.weights import Weights


@dataclass
class Remarks:
    """Gathers over the frames of a file.

    Attributes
    ----------
    choices
        What the user said.
    """

    choices: Choices
    _lengths: set[str] = field(default_factory=set)
    _texts: dict[str, None] = field(default_factory=dict)
    _weighted: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, str | None] = field(default_factory=dict)

    def see(self, frame: RawFrame, labels: Mapping[str, Label], weights: Weights) -> None:
        """Enter a frame, its labels and its weights."""
        self._texts |= dict.fromkeys([*frame.notes, *_of_cell(frame.atoms)])
        for quantity, label in labels.items():
            self._texts |= dict.fromkeys(_of_label(quantity, label))
        said, stated = self.choices.units.get("length"), frame.units.get("length", "")
        if length := said.text if said else stated:
            self._lengths.add(length)
            over = f", as units.length says, in place of {stated}" if said and stated else ""
            self._texts[f"positions and cell are read in {length}{over}"] = None
        self._weighted |= weights.keys
        for key, value in frame.values.items():
            if key not in self._seen and value is not None:
                self._seen[key] = self._left_out(key, value, len(frame.atoms))

    def _left_out(self, key: str, value: object, n_atoms: int) -> str | None:
        """Return the quantity that a key would fit though nothing reads it, ``""`` for one per atom; or None."""
        if not is_left_out(key) or key in (*self.choices.keys.values(), *self.choices.cheap.values()):
            return None
        fits = sorted(fitting(value, n_atoms) - ({"magmom"} if "mag" not in key.lower() else set()))
        return fits[0] if fits else ""

    @property
    def units(self) -> dict[str, str]:
        """The unit of positions and cell, where it is one for all frames that state one."""
        return {"length": next(iter(self._lengths))} if len(self._lengths) == 1 else {}

    def notes(self, used: Mapping[str, object]) -> list[str]:
        """Return the notes; `used` are the quantities that some frame has."""
        notes = list(self._texts)
        for part, key in self._weighted.items():
            what = "frames" if part == "frame" else f"labels of {part}"
            notes.append(f"{what} are weighted in the loss by their key {key!r}")
        left = {key: quantity for key, quantity in self._seen.items() if quantity is not None}
        said = [
            f"{key!r}" + (f" (keys.{quantity}={key} reads it)" if quantity and quantity not in used else "")
            for key, quantity in left.items()
        ]
        return [*notes, f"not read, though named like labels: {', '.join(said)}"] if said else notes


def _of_cell(atoms: Atoms) -> list[str]:
    """Say where a cell lacks vectors, and pbc denies one that is there."""
    if atoms.pbc.all() or volume(atoms):
        return []
    there = long_enough(atoms.cell[:])
    if not (there & ~atoms.pbc).any():
        return []
    directions = " ".join("T" if one else "F" for one in there)
    return [f'frames do not repeat along cell vectors whose pbc is F; where they do, write pbc="{directions}"']


def _of_label(quantity: str, label: Label) -> list[str]:
    place = "virial" if label.virial else quantity
    texts = []
    if label.overruled:
        texts.append(f"{place} is taken in {label.unit}, as units.{place} says, in place of {label.overruled}")
    if label.components is not None:
        texts.append(f"{quantity} of slabs is a label in the plane alone: what stands normal to it is not computed")
    if label.passed_over:
        texts.append(
            f"{label.key!r} is read in place of {label.passed_over!r}, which differs: forces belong to the free "
            f"energy; keys.energy={label.passed_over} takes the other"
        )
    return texts
