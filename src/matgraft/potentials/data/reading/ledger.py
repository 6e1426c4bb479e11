"""What all files of a reading held together, and what is to be said of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from matgraft.core.provenance import Provenance, SourceFile, few_names
from matgraft.potentials.data.reading.keys import Choices, fitting, present
from matgraft.potentials.data.reading.raw import RawFrame


@dataclass
class Ledger:
    """What all files together held, to judge at the end whether every wish was met, and what is to be said of them."""

    files: list[SourceFile] = field(default_factory=list)
    existing: dict[str, frozenset[str]] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    cheap: set[str] = field(default_factory=set)
    labelled: set[str] = field(default_factory=set)
    absent: dict[str, str] = field(default_factory=dict)
    typed: bool = False
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def see(self, frame: RawFrame, choices: Choices) -> None:
        """Enter the keys of a frame, the quantities that their shapes fit, and which of the user's keys it has."""
        for key, value in frame.values.items():
            if value is not None and key not in self.existing:
                self.existing[key] = fitting(value, len(frame.atoms))
        self.typed = self.typed or bool(frame.types)
        self.matched.update(q for q, key in choices.keys.items() if present(q, frame.values, key))
        self.cheap.update(q for q, key in choices.cheap.items() if present(q, frame.values, key))

    def note(self, name: str, text: str) -> None:
        """Enter a note on a file."""
        self.notes[text].append(name)

    def provenance(self) -> Provenance:
        """Return the files, and each note once with the files that it is on."""
        notes = tuple(f"{few_names(names)}: {text}" for text, names in self.notes.items())
        return Provenance(files=tuple(self.files), notes=notes)
