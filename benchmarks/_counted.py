"""A calculator for `label_faults.py` that writes into a side file which frame it begins and ends. No benchmark."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT


class Counted(EMT):
    """EMT that takes its time, and says what it computes: the first atom's x tells frames apart."""

    def __init__(self, side: str, wait: float) -> None:
        super().__init__()
        self.side, self.wait = side, wait

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        self._note("begin", atoms)
        time.sleep(self.wait)
        super().calculate(atoms, properties, system_changes)
        self._note("end", atoms)

    def _note(self, word: str, atoms: Any) -> None:
        with Path(self.side).open("a") as file:  # a short line is written at once
            file.write(f"{word} {atoms.positions[0, 0]:.8f} {os.getpid()}\n")


def make(side: str, wait: float = 0.2) -> Counted:
    """Return the calculator."""
    return Counted(side, wait)
