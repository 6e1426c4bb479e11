"""What is said between the process that wants labels and the one that computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.wire import Arrays

CHARGE_TAGS = ("charge", "spin", "multiplicity")
"""Tags of a frame that some calculators read."""


class Begin(Frozen):
    """The first message to the process that computes: what with, and the folder whose modules it finds."""

    engine: Engine
    here: str


class Ready(Frozen):
    """Its answer: which quantities the calculator has, or why there is none."""

    quantities: tuple[str, ...] = ()
    refused: str = ""


class Ask(Frozen):
    """A frame to label; its arrays come with it. `tags` are those that a calculator may read."""

    tags: dict[str, int | float | str] = Field(default_factory=dict)


class Answer(Frozen):
    """What became of a frame; a label's arrays come with it.

    Attributes
    ----------
    failed
        Why there is no label; empty where there is one.
    again
        Whether another try may do better.
    theory
        Level of theory as the output states it.
    output
        Name of the program's output, which comes along packed by xz.
    """

    failed: str = ""
    again: bool = True
    theory: LevelOfTheory | None = None
    output: str = ""


def arrays_of(atoms: Atoms) -> Arrays:
    """Return a frame as arrays; constraints and calculators stay behind."""
    found = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell[:], "pbc": atoms.pbc}
    own = ("initial_magmoms", "initial_charges")
    return found | {name: atoms.arrays[name] for name in own if name in atoms.arrays}


def tags_of(atoms: Atoms) -> dict[str, int | float | str]:
    """Return the tags of a frame that a calculator may read."""
    found = {name: atoms.info[name] for name in CHARGE_TAGS if name in atoms.info}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


def atoms_of(arrays: Mapping[str, Any], tags: Mapping[str, Any] | None = None) -> Atoms:
    """Return the frame that `arrays_of` has taken apart."""
    made = Atoms(arrays["numbers"], arrays["positions"], cell=arrays["cell"], pbc=arrays["pbc"], info=dict(tags or {}))
    for name in ("initial_magmoms", "initial_charges"):
        if name in arrays:
            made.set_array(name, np.asarray(arrays[name]))
    return made


def refused(ready: Ready) -> OptionError:
    """Return the error of a calculator that cannot be made."""
    return OptionError(f"the calculator cannot be made: {ready.refused}", where="engine")
