"""One finding: what an audit, a check or a verdict says, with its evidence and its remedy.

A finding has a stable code, so that scripts can allow it and the docs can explain it. It is made whether the thing
looked for was found or not: a reader sees what was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, JsonValue, computed_field

from matgraft.core.frozen import Frozen
from matgraft.core.options import shell, typeable

Outcome = Literal["passed", "failed", "not applicable", "errored"]
Severity = Literal["error", "warning", "info"]
Part = Literal["train", "test"]

GRAVITY: tuple[Severity, ...] = ("error", "warning", "info")

DROP: dict[Part, str] = {"train": "audit.drop", "test": "audit.drop_test"}
"""The option that leaves frames out, by the part that they belong to."""


class Action(Frozen):
    """What puts right what a finding found, as options of a recipe.

    Attributes
    ----------
    settings
        Options by their name, all of them to be set together; None takes back what was said under a name.
    drop
        Frames to leave out, counted as those of the finding.
    part
        Which frames are meant: those to train on, or those of the test file.
    structures
        File of structures to label and to add to the training frames; relative to the folder of the findings.
    """

    settings: dict[str, JsonValue] = Field(default_factory=dict)
    drop: tuple[int, ...] = ()
    part: Part = "train"
    structures: str = ""

    @property
    def options(self) -> dict[str, object]:
        """All options by their name, that of the frames to leave out among them."""
        return {**self.settings, **({DROP[self.part]: self.drop} if self.drop else {})}


class Measure(Frozen):
    """One measured number of a check, and what it is held against.

    Attributes
    ----------
    name, unit
        Such as ``"C11"`` and ``"GPa"``.
    value
        None where it could not be measured.
    allowed
        Smallest and largest value that passes, None for no bound on a side; None where nothing is allowed or forbidden.
    reference, reference_from
        What it is compared with, and where that comes from, such as ``"your frames"`` or ``"the foundation"``.
    gate
        Where the allowed range comes from, in one sentence.
    """

    name: str
    unit: str
    value: float | None
    allowed: tuple[float | None, float | None] | None = None
    reference: float | None = None
    reference_from: str = ""
    gate: str = ""

    @property
    def passes(self) -> bool:
        """True if the value lies in the allowed range; a value that is missing or not finite lies in none."""
        if self.allowed is None:
            return True
        low, high = self.allowed
        at_least, at_most = -math.inf if low is None else low, math.inf if high is None else high
        return self.value is not None and math.isfinite(self.value) and at_least <= self.value <= at_most


class Finding(Frozen):
    """The outcome of one look at data or at a model.

    Attributes
    ----------
    code
        Stable identifier, such as ``"stress-shear"``; the docs have a section for each.
    title
        What was looked at, in a few words.
    about
        What was looked at, where it is one of several: the name of a structure.
    outcome
        ``"failed"`` says that the trouble is there; ``"not applicable"`` has its reason in `evidence`, and so has
        ``"errored"``: the look itself broke off.
    severity
        How bad a failure is: ``"error"`` blocks training, ``"warning"`` goes into the verdict.
    frames
        Numbers, from 0, of the frames concerned: in the dataset that was audited or, where `files` names one for each
        frame, in these files as they were read, whatever was left out since.
    files
        Names of the files of `frames`, one for each; empty where frames are counted in the dataset.
    part
        Whether they are frames to train on or frames of the test file.
    lines
        Lines of a table that are concerned, the first line of the file being 1.
    evidence
        One or two sentences with the figures.
    numbers
        The figures by name, units in the name.
    measures
        The figures of a physical check, with what they are held against.
    remedy
        What to do, in words.
    actions
        Options that do it, where there are some; each is enough, the first is the one to prefer.
    details
        Tables for a report, as JSON can hold them.
    """

    code: str
    title: str
    about: str = ""
    outcome: Outcome
    severity: Severity = "info"
    frames: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    part: Part = "train"
    lines: tuple[int, ...] = Field((), exclude_if=lambda lines: not lines)
    evidence: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    remedy: str = ""
    actions: tuple[Action, ...] = ()
    details: dict[str, JsonValue] = Field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def option(self) -> str:
        """The first action as it can be typed into a shell, ``units.energy=eV/atom``; empty where there is none."""
        return next((shell(action.options) for action in self.actions if typeable(action.options)), "")

    def __repr__(self) -> str:
        """Return code, outcome, what was seen and what to do; the fields have all of it."""
        grave = f" ({self.severity})" if self.outcome == "failed" else ""
        about = f" of {self.about}" if self.about else ""
        todo = f" -> {self.option or self.remedy}" if self.outcome == "failed" and (self.option or self.remedy) else ""
        return f"{self.code}{about} {self.outcome}{grave}: {self.evidence}{todo}"

    __str__ = __repr__

    @property
    def blocks(self) -> bool:
        """True if training must not start on this."""
        return self.outcome == "failed" and self.severity == "error"

    def counted(self, positions: Sequence[int]) -> Finding:
        """Return the finding on a part of a dataset with frames counted in the whole: frame i is ``positions[i]``."""
        actions = tuple(
            action.model_copy(update={"drop": tuple(positions[i] for i in action.drop)}) for action in self.actions
        )
        return self.model_copy(update={"frames": tuple(positions[i] for i in self.frames), "actions": actions})


@dataclass(frozen=True)
class Code:
    """A stable code with its title and how bad a failure is; makes the findings."""

    code: str
    title: str
    severity: Severity = "warning"

    def passed(self, evidence: str, **numbers: float) -> Finding:
        """Say that nothing is wrong."""
        return Finding(code=self.code, title=self.title, outcome="passed", evidence=evidence, numbers=_numbers(numbers))

    def skipped(self, reason: str, **numbers: float) -> Finding:
        """Say why it cannot be told."""
        return Finding(
            code=self.code, title=self.title, outcome="not applicable", evidence=reason, numbers=_numbers(numbers)
        )

    def failed(self, fault: Fault) -> Finding:
        """Say what is wrong."""
        return Finding(
            code=self.code,
            title=self.title,
            outcome="failed",
            severity=fault.severity or self.severity,
            frames=tuple(int(i) for i in fault.frames),
            lines=tuple(int(i) for i in fault.lines),
            evidence=fault.evidence,
            numbers=_numbers(fault.numbers),
            remedy=fault.remedy,
            actions=tuple(fault.actions),
        )


@dataclass(frozen=True)
class Fault:
    """What a failed finding says beyond its code; `severity` overrides the code's.

    The remedy is in words. What can be typed is an action, so that whoever prints it quotes it, and whoever counts
    frames otherwise changes data, not text.
    """

    frames: Iterable[int]
    evidence: str
    remedy: str
    actions: Sequence[Action] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    severity: Severity | None = None
    lines: Iterable[int] = ()


class Findings(Frozen):
    """What a file of findings holds.

    Attributes
    ----------
    findings
        In the order in which they were made.
    """

    findings: tuple[Finding, ...] = ()


def list_frames(frames: Sequence[object], files: Sequence[str], most: int = 8) -> str:
    """Return the first numbers of frames, by file where there are several: ``a.xyz 3, 5; b.xyz 0, …``."""
    shown: dict[str, list[str]] = {}
    for k, number in enumerate(frames[:most]):
        shown.setdefault(files[k] if k < len(files) else "", []).append(str(number))
    named = len(set(files)) > 1
    parts = [f"{file} {', '.join(numbers)}" if named else ", ".join(numbers) for file, numbers in shown.items()]
    return "; ".join(parts) + (", …" if len(frames) > most else "")


def blocking(findings: Iterable[Finding], allow: Iterable[str] = ()) -> list[Finding]:
    """Return the findings that block, less those whose code is allowed.

    A finding on the test file cannot be allowed: its frames cannot be scored, whatever is learned from the others.
    """
    allowed = set(allow)
    return [one for one in findings if one.blocks and (one.code not in allowed or one.part == "test")]


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings sorted: errors, then warnings."""
    return sorted(findings, key=lambda one: GRAVITY.index(one.severity))


def _numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}
