"""A check holds a tuned model against something other than its own test frames, and says what came of it as a finding.

    findings = run_checks([Forgetting()], CheckEvidence(tuned, foundation, references, train))

A check = one file with one class, one section of the docs, one test that fires and one that does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from matgraft.core.findings import Finding
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.references import ReferenceShift


@dataclass(frozen=True)
class CheckEvidence:
    """What a check may look at.

    Attributes
    ----------
    tuned, foundation
        The model and its foundation.
    references
        The shift of the elements' energies that the tuned model started from.
    train
        The target's training frames.
    folder
        Where a check keeps what it made and may want again, beside the cache.
    quiet
        No progress bars.
    """

    tuned: Potential
    foundation: Potential
    references: ReferenceShift
    train: Dataset
    folder: Path | None = None
    quiet: bool = True


class Check(Protocol):
    """One look at a tuned model.

    Attributes
    ----------
    code, title
        As of the finding.
    slow
        True if it takes longer than predicting some hundred small cells.
    needs
        Names of the quantities without which it says nothing.
    """

    code: str
    title: str
    slow: bool
    needs: frozenset[str]

    def run(self, evidence: CheckEvidence) -> Finding:
        """Return what was found: passed, failed, or not applicable with its reason."""
        ...


def run_checks(checks: Sequence[Check], evidence: CheckEvidence, *, slow: bool = True) -> list[Finding]:
    """Run checks, one finding each.

    Parameters
    ----------
    slow
        False leaves the slow ones out; their finding says so.
    """

    def one(check: Check) -> Finding:
        missing = sorted(check.needs - set(evidence.tuned.quantities))
        reason = f"the model has no {', '.join(missing)}" if missing else ""
        reason = reason or ("slow, and slow checks were left out" if check.slow and not slow else "")
        if reason:
            return Finding(code=check.code, title=check.title, outcome="not applicable", evidence=reason)
        return check.run(evidence)

    return [one(check) for check in checks]
