"""Findings: what blocks, and what a user may allow."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from matgraft.core.findings import Finding, Outcome, Severity, blocking


def finding(code: str, outcome: Outcome, severity: Severity) -> Finding:
    return Finding(code=code, title=code, outcome=outcome, severity=severity)


ALL = [
    finding("failed-error", "failed", "error"),
    finding("failed-warning", "failed", "warning"),
    finding("failed-info", "failed", "info"),
    finding("passed-error", "passed", "error"),
    finding("idle-error", "not applicable", "error"),
    finding("second-error", "failed", "error"),
]


def test_only_failed_errors_block() -> None:
    assert [one.code for one in blocking(ALL)] == ["failed-error", "second-error"]
    assert [one.code for one in ALL if one.blocks] == ["failed-error", "second-error"]


def test_what_is_allowed_does_not_block() -> None:
    assert [one.code for one in blocking(iter(ALL), iter(["failed-error", "unknown"]))] == ["second-error"]


def test_a_finding_is_frozen_strict_and_survives_json() -> None:
    one = Finding(code="net-force", title="net force", outcome="failed", frames=(3, 5), numbers={"max_eV": 0.2})
    assert Finding.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError):
        one.code = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="severty"):
        Finding(code="a", title="a", outcome="passed", severty="error")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="outcome"):
        Finding(code="a", title="a", outcome="maybe")  # type: ignore[arg-type]
