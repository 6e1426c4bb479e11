"""The verdict over checks: each rule of `checks/uses.py` by itself."""

from __future__ import annotations

import pytest

from matgraft.core.findings import Finding, Measure
from matgraft.core.verdict import Caution, Damage, Outcome, Use, Verdict
from matgraft.potentials.checks.physical import FOUNDATION, PhysicalCheck
from matgraft.potentials.checks.settings import EVERY_USE, CheckSettings
from matgraft.potentials.checks.uses import judge_uses


def check_of(code: str, *uses: str) -> type[PhysicalCheck]:
    return type(code, (PhysicalCheck,), {"code": code, "title": code.title(), "gates_uses": frozenset(uses)})


SUITE = (check_of("cell", "relax"), check_of("waves", "phonons"), check_of("force", "relax", "phonons"))


def found(code: str, outcome: str = "passed", severity: str = "info", about: str = "Si8") -> Finding:
    return Finding(code=code, title=code.title(), about=about, outcome=outcome, severity=severity, evidence="so it is")


def judge(*findings: Finding, tuned: Verdict | None = None, **settings: object) -> Verdict:
    return judge_uses(CheckSettings.model_validate(settings), findings, tuned, SUITE)


def uses(listed: tuple[Use, ...]) -> dict[str, str]:
    return {one.use: one.reason for one in listed}


def test_a_model_is_fit_for_a_use_whose_checks_were_all_run_and_passed() -> None:
    verdict = judge(found("cell"), found("force"))
    assert (verdict.outcome, verdict.exit_code, verdict.tone) == (Outcome.FIT, 0, "good")
    assert uses(verdict.fit_for) == {"relaxation at 0 K": "passed: cell, force"}
    assert uses(verdict.not_fit_for) == {"phonons": "not judged: waves not run"}


def test_a_use_that_was_asked_for_and_whose_check_is_missing_is_not_judged() -> None:
    verdict = judge(found("force"), uses=("phonons",))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.UNJUDGED, 6)


def test_a_failure_makes_a_model_unfit_for_its_uses_alone_and_fails_the_command() -> None:
    verdict = judge(found("cell"), found("force"), found("waves", "failed", "error"))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.NOT_FIT, 1)
    assert list(uses(verdict.fit_for)) == ["relaxation at 0 K"]
    assert uses(verdict.not_fit_for) == {"phonons": "failed: waves of Si8"}
    assert verdict.first is not None and verdict.first.damage == Damage.HARM
    assert "Failed: waves of Si8." in verdict.headline


def test_a_difference_from_the_foundation_alone_is_doubt_and_no_verdict() -> None:
    verdict = judge(found("cell", "failed", "warning"), found("force"), uses=("relax",))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.UNJUDGED, 6)
    assert verdict.cautions[0].damage == Damage.DOUBT
    assert judge(found("cell", "failed", "warning"), found("force")).outcome == Outcome.UNJUDGED


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("errored", "not judged: cell of Si8 broke off"), ("not applicable", "not judged: no check of this use applied")],
)
def test_what_broke_off_or_did_not_apply_is_no_pass(outcome: str, reason: str) -> None:
    verdict = judge(found("cell", outcome), *([found("force")] if outcome == "errored" else []), uses=("relax",))
    if outcome == "not applicable":
        verdict = judge(found("cell", outcome), found("force", outcome), uses=("relax",))
    assert verdict.outcome == Outcome.UNJUDGED
    assert uses(verdict.not_fit_for)["relaxation at 0 K"].startswith(reason)


def test_checks_of_every_use_alone_make_a_model_fit_for_none() -> None:
    suite = (*SUITE, check_of("sums", *EVERY_USE))
    asked = CheckSettings(uses=("phonons",))
    bare = [found("waves", "not applicable"), found("force", "not applicable"), found("sums")]
    verdict = judge_uses(asked, bare, None, suite)
    assert verdict.outcome == Outcome.UNJUDGED
    assert uses(verdict.not_fit_for)["phonons"].startswith("not judged: no check of this use applied")
    assert judge_uses(asked, [found("waves"), *bare[1:]], None, suite).outcome == Outcome.FIT


def test_one_of_two_structures_that_fails_decides() -> None:
    verdict = judge(found("cell"), found("cell", "failed", "error", "Ge8"), found("force"), uses=("relax",))
    assert verdict.outcome == Outcome.NOT_FIT
    assert uses(verdict.not_fit_for) == {"relaxation at 0 K": "failed: cell of Ge8"}


def test_single_checks_pass_or_fail_without_a_use() -> None:
    assert judge(found("cell"), only=("cell",)).exit_code == 0
    assert judge(found("cell", "failed", "error"), only=("cell",)).exit_code == 1
    assert judge(found("cell", "errored"), only=("cell",)).exit_code == 6
    assert judge(found("cell", "failed", "warning"), only=("cell",)).exit_code == 6


def test_the_verdict_on_the_fit_is_weighed_with_the_physics() -> None:
    forgotten = Caution(code="forgetting", damage=Damage.HARM, text="Moved far.")
    unlike = Use(use="surfaces", reason="no frame is a surface")
    better = Verdict(outcome=Outcome.RESERVED, headline="", cautions=(forgotten,), not_fit_for=(unlike,))
    verdict = judge(found("cell"), found("force"), tuned=better)
    assert verdict.outcome == Outcome.FIT
    assert verdict.first == forgotten and "surfaces" in uses(verdict.not_fit_for)
    worse = Verdict(outcome=Outcome.WORSE, headline="")
    assert judge(found("cell"), found("force"), tuned=worse).outcome == Outcome.NOT_FIT


def test_temperatures_stand_with_dynamics() -> None:
    suite = (check_of("run", "md"),)
    settings = CheckSettings(uses=("md",), temperature_K=(300, 1200))
    assert judge_uses(settings, [found("run")], suite=suite).fit_for[0].use == "molecular dynamics at 300 to 1200 K"


def test_what_was_compared_with_nothing_of_ones_own_is_told() -> None:
    def measured(by: str) -> Finding:
        measure = Measure(name="a", unit="Å", value=1.0, allowed=(0, 2), reference=1.0, reference_from=by)
        return found("cell").model_copy(update={"measures": (measure,)})

    assert [one.code for one in judge(measured(FOUNDATION), found("force")).cautions] == ["no-reference"]
    assert not judge(measured("reference.yaml"), found("force")).cautions


def test_single_checks_judge_a_use_that_was_asked_for_only_if_all_of_its_checks_are_among_them() -> None:
    alone = judge(found("cell"), only=("cell",), uses=("relax",))
    assert (alone.outcome, alone.exit_code) == (Outcome.UNJUDGED, 6)
    assert judge(found("cell"), only=("cell",), uses=("phonons",)).exit_code == 6
    assert judge(found("cell"), found("force"), only=("cell", "force"), uses=("relax",)).exit_code == 0


def test_a_check_that_broke_off_leaves_the_whole_unjudged() -> None:
    assert judge(found("cell"), found("force"), found("waves", "errored")).exit_code == 6
    assert judge(found("cell"), found("cell", "errored", about="Ge8"), only=("cell",)).exit_code == 6
