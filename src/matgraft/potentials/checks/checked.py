"""What a command of physical checks leaves: its findings, the verdict over them, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matgraft.core.errors import RunError
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Verdict
from matgraft.potentials.checks.physical import Case
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import Result, figures_of
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Kind, Structure
from matgraft.potentials.checks.suite import with_others
from matgraft.potentials.data.reading.read import read

STRUCTURES = "structures.extxyz"
"""The structures that were looked at, in the order of `Checked.structures`."""


class CheckedStructure(Frozen):
    """A structure that was looked at, but for its atoms."""

    name: str
    kind: Kind
    formula: str
    n_atoms: int
    source: str

    @classmethod
    def of(cls, one: Structure) -> CheckedStructure:
        """Describe a structure."""
        return cls(name=one.name, kind=one.kind, formula=one.formula, n_atoms=len(one.atoms), source=one.source)


class Checked(Frozen):
    """The content of checked.json.

    Attributes
    ----------
    subject, foundation
        Names of the models; the second is empty where there is none.
    settings
        What was asked.
    structures
        What was looked at.
    references
        Values that were compared with.
    notes
        Choices that were made for the user.
    results
        Findings with the files of what was observed.
    verdict
        Over all of them.
    seconds
        That the checks took; what was kept took none.
    folder
        Where all of it is.
    """

    subject: str
    foundation: str
    settings: CheckSettings
    structures: tuple[CheckedStructure, ...]
    references: dict[str, dict[str, Reference]]
    notes: tuple[str, ...]
    results: tuple[Result, ...]
    verdict: Verdict
    seconds: float
    folder: str

    @property
    def findings(self) -> Sequence[Finding]:
        """The findings alone."""
        return [one.finding for one in self.results]


CHECKED = RunFile("checked.json", Checked)


def checked_in(folder: Path) -> Checked:
    """Read what a folder holds; it says where the folder is now, since it may have been moved.

    Raises
    ------
    RunError
        If the file is missing or cannot be read.
    """
    return CHECKED.read(folder).model_copy(update={"folder": str(folder)})


def drawn(checked: Checked, folder: Path) -> Iterator[tuple[Result, Sequence[Block]]]:
    """Yield each result with its tables and plots, from what the folder keeps; no model is loaded."""
    structures = tuple(structures_kept(checked, folder))
    named = {one.name: one for one in structures}
    checks = {check.code: check() for check in with_others(one.code for one in checked.findings)}
    for result in checked.results:
        check = checks.get(result.finding.code)
        case = Case(structures, named.get(result.finding.about), checked.settings, references=checked.references)
        yield result, figures_of(check, result, case, folder) if check is not None else ()


def structures_kept(checked: Checked, folder: Path) -> Iterator[Structure]:
    """Read back the structures that were looked at.

    Raises
    ------
    RunError
        If the file does not hold all of them.
    """
    frames = read(folder / STRUCTURES, want=())
    if len(frames) != len(checked.structures):
        raise RunError(f"{STRUCTURES} holds {len(frames)} structures instead of {len(checked.structures)}")
    for one, sample in zip(checked.structures, frames, strict=True):
        yield Structure(one.name, sample.content, one.kind, one.source)
