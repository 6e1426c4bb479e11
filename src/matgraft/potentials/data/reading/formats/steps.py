"""The structures of a run as they come by, each with what was computed for it, where parts may differ in theory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ase import Atoms

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.output import Output, Steps
from matgraft.potentials.data.reading.raw import Conventions, RawFile, RawFrame

Handlers = Mapping[str, Callable[[str, Output], None]]
"""Mark -> what to do with a line that has it; the first mark that stands in a line counts."""


def hand_out(handlers: Handlers) -> Callable[[str, Output], None]:
    """Return what hands a line to the handler of the first mark that stands in it."""
    pairs = tuple(handlers.items())

    def take(line: str, output: Output) -> None:
        for mark, handle in pairs:
            if mark in line:
                return handle(line, output)
        return None

    return take


@dataclass
class StructureSteps(Steps):
    """A structure under way with its values, and those that are whole.

    Attributes
    ----------
    tags
        Of every structure from here on, such as the charge.
    theory
        Level of theory from here on; a run may have several parts.
    atoms, values
        The structure under way, and what was computed for it.
    converged
        Whether its SCF did.
    """

    tags: dict[str, str] = field(default_factory=dict)
    theory: LevelOfTheory | None = None
    atoms: Atoms | None = None
    values: dict[str, float | Array] = field(default_factory=dict)
    converged: bool = True

    def begin(self, atoms: Atoms | None) -> None:
        """Take up a structure; the one before it becomes a frame if it has an energy."""
        if self.atoms is not None and any("energy" in key for key in self.values):
            tags = {**self.tags, "converged": "true" if self.converged else "false"}
            self.frames.append(RawFrame(self.atoms, self.values, tags, theory=self.theory))
        self.drop(atoms)

    def drop(self, atoms: Atoms | None = None) -> None:
        """Forget the structure under way, and take up another."""
        self.atoms, self.values, self.converged = atoms, {}, True

    def whole(self, name: str, conventions: Conventions, broken: str) -> RawFile:
        """Finish the structure under way, and return all frames; `broken` says why the run is not whole.

        Raises
        ------
        DataError
            If there is none.
        """
        self.begin(None)
        theory = self.frames[0].theory if self.frames else None
        names = list(dict.fromkeys(frame.theory.describe() for frame in self.frames if frame.theory))
        if len(names) > 1:
            self.notes.append(f"the run has parts at {len(names)} levels of theory: {'; '.join(names)}")
        self.frames = [replace(one, theory=None) if one.theory == theory else one for one in self.frames]
        return self.file(name, conventions, theory or LevelOfTheory(), broken)
