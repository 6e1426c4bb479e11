"""The runner of checks: one finding each, and a reason where a check says nothing."""

from __future__ import annotations

from matgraft.core.findings import Finding
from matgraft.potentials.checks.base import CheckEvidence, run_checks
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.references import keep_references


class Weighing:
    """A check that passes, and notes that it ran."""

    code, title = "weighing", "Weighing"

    def __init__(self, needs: str = "energy", slow: bool = False) -> None:
        self.needs, self.slow, self.runs = frozenset({needs}), slow, 0

    def run(self, evidence: CheckEvidence) -> Finding:
        self.runs += 1
        return Finding(code=self.code, title=self.title, outcome="passed", evidence=evidence.tuned.card.name)


def test_each_check_gives_a_finding_or_a_reason(chgnet: Potential, pairs: Dataset) -> None:
    evidence = CheckEvidence(chgnet, chgnet, keep_references(pairs), pairs)
    checks = [Weighing(), Weighing("magmoms"), Weighing(slow=True)]
    found = run_checks(checks, evidence, slow=False)
    assert [finding.outcome for finding in found] == ["passed", "not applicable", "not applicable"]
    assert [finding.evidence for finding in found[1:]] == [
        "the model has no magmoms",
        "slow, and slow checks were left out",
    ]
    assert [check.runs for check in checks] == [1, 0, 0]
    assert run_checks(checks[2:], evidence)[0].outcome == "passed"
