"""One finding: what an audit, a check or a verdict says, with its evidence and its remedy.

A finding has a stable code, so that scripts can allow it and the docs can explain it. It is made whether the thing
looked for was found or not: a reader sees what was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["passed", "failed", "not applicable"]
Severity = Literal["error", "warning", "info"]


class Finding(BaseModel):
    """The outcome of one look at data or at a model.

    Attributes
    ----------
    code
        Stable identifier, such as ``"stress-shear"``; the docs have a section for each.
    title
        What was looked at, in a few words.
    outcome
        ``"failed"`` says that the trouble is there; ``"not applicable"`` has its reason in `evidence`.
    severity
        How bad a failure is: ``"error"`` blocks training, ``"warning"`` goes into the verdict.
    frames
        Positions in the dataset, from 0, of the frames concerned.
    evidence
        One or two sentences with the figures.
    numbers
        The figures by name, units in the name.
    remedy
        What to do.
    option
        Where there is one, the very option that does it: ``units.energy=eV/atom``.
    details
        Tables for a report, as JSON can hold them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    title: str
    outcome: Outcome
    severity: Severity = "info"
    frames: tuple[int, ...] = ()
    evidence: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)
    remedy: str = ""
    option: str = ""
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """True if training must not start on this."""
        return self.outcome == "failed" and self.severity == "error"


def blocking(findings: Iterable[Finding], allow: Iterable[str] = ()) -> list[Finding]:
    """Return the findings that block, less those whose code is allowed."""
    allowed = set(allow)
    return [finding for finding in findings if finding.blocks and finding.code not in allowed]
