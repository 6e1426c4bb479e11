"""What an audit of data says, of frames and of tables: its findings, and the error where one of them blocks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matgraft.core.errors import AuditError
from matgraft.core.findings import Finding, blocking, gravest_first
from matgraft.core.frozen import Frozen
from matgraft.core.notebook import bullets, card, paragraph


class AuditFacts(Frozen):
    """What `matgraft audit` says.

    Attributes
    ----------
    data, notes
        What was read, in a line, and how.
    findings
        All of them.
    failed
        How many checks failed.
    blocking, allowed
        Codes that block training, and codes that would but are allowed.
    """

    data: str
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    failed: int
    blocking: tuple[str, ...]
    allowed: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How many checks failed, and what blocks training."""
        blocks = f"{', '.join(self.blocking)} block{'s' * (len(self.blocking) == 1)}" if self.blocking else ""
        return f"{self.failed} of {len(self.findings)} checks failed; {blocks or 'nothing blocks'} training"

    def __repr__(self) -> str:
        """Return how many checks failed, what blocks, and each that failed on a line."""
        failed = [one for one in gravest_first(self.findings) if one.outcome == "failed"]
        return "\n  ".join([f"AuditFacts({self.summary})", *map(repr, failed)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        head, *failed = repr(self).split("\n  ")
        tone = "bad" if self.blocking else "caution" if failed else "good"
        title = head.removeprefix("AuditFacts(").removesuffix(")")
        return card(title, tone, paragraph(self.data), bullets(failed))


def audit_facts(
    data: str, findings: Sequence[Finding], allow: Collection[str] = (), notes: Sequence[str] = ()
) -> AuditFacts:
    """Return what an audit says of data; `allow` are codes of findings that shall not block."""
    blocked = blocking(findings, allow)
    return AuditFacts(
        data=data,
        notes=tuple(notes),
        findings=tuple(findings),
        failed=sum(finding.outcome == "failed" for finding in findings),
        blocking=tuple(finding.code for finding in blocked),
        allowed=tuple(finding.code for finding in blocking(findings) if finding not in blocked),
    )


def refuse_findings(findings: Sequence[Finding], allow: Sequence[str], where: str, option: str) -> None:
    """Raise an AuditError for findings that block, unless they are allowed.

    Parameters
    ----------
    allow
        Codes of findings that shall not block.
    where
        The files that were audited.
    option
        The one that allows findings: ``audit.allow``, or ``--allow``, which takes them with commas between.
    """
    found = blocking(findings, allow)
    if not found:
        return
    causes = [
        AuditError(f"{one.code}: {one.evidence}", remedy=one.remedy, options=[each.options for each in one.actions])
        for one in found
    ]
    codes = list(dict.fromkeys([*allow, *(one.code for one in found if one.part == "train")]))
    typed = ",".join(codes) if option.startswith("--") else codes
    raise AuditError(
        f"{len(found)} finding(s) block training",
        where=where,
        causes=causes,
        remedy="put the data right" + ("; if you know better, allow the findings" if codes else ""),
        options=[{option: typed}] if codes else [],
    )
