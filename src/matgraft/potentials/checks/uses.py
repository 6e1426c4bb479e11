"""The verdict over physical checks: what a model is fit for, what it is not fit for, and what could not be judged.

1. A model is fit for a use if every check that stands for the use was run and none failed, and at least one of them
   could judge that does not stand for every use. That energies add up says nothing of phonons. Checks that do not apply
   to a structure say nothing.
2. It is not fit for a use if one of these checks failed. A failure that rests on the foundation alone is doubt: the
   outcome is then "could not be judged".
3. A use is not judged where a check of it broke off, was not run, or had nothing to compare with.
4. A tuned model that is worse than its foundation on the test is not fit, whatever the checks say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matgraft.core.findings import Finding
from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Use, Verdict
from matgraft.potentials.checks.physical import FOUNDATION
from matgraft.potentials.checks.settings import EVERY_USE, USES, CheckedUse, CheckSettings, use_in_words
from matgraft.potentials.checks.suite import SUITE, Checks


def judge_uses(
    settings: CheckSettings, findings: Sequence[Finding], tuned: Verdict | None = None, suite: Checks = SUITE
) -> Verdict:
    """Return the verdict.

    Parameters
    ----------
    tuned
        Of the fit, where there was one: its gain, forgetting and coverage are weighed with the physics.
    """
    failed = [one for one in findings if one.outcome == "failed"]
    wrong = [one for one in failed if one.severity == "error"]
    judged = {use: _of_use(use, findings, suite) for use in _asked(settings, findings, suite)}
    fit = [use for use, why in judged.items() if why is None]
    clean = bool(_passed(findings)) and not failed and not _errored(findings)
    outcome = _outcome(settings, judged, bool(wrong) or _is_worse(tuned), clean)
    return Verdict(
        outcome=outcome,
        headline=_headline(outcome, findings, failed, [_words(use, settings) for use in fit]),
        reasons=(*_reasons(findings), *([] if tuned is None else tuned.reasons)),
        cautions=(
            *map(caution_of, failed),
            *map(_unjudged, _errored(findings)),
            *_without_dft(findings),
            *_of_fit(tuned),
        ),
        fit_for=tuple(Use(use=_words(use, settings), reason=_passing(use, findings, suite)) for use in fit),
        not_fit_for=(
            *(Use(use=_words(use, settings), reason=why) for use, why in judged.items() if why is not None),
            *([] if tuned is None else tuned.not_fit_for),
        ),
    )


def _asked(settings: CheckSettings, findings: Sequence[Finding], suite: Checks) -> list[CheckedUse]:
    """Return the uses that were asked for; else those that what was run says something of."""
    if settings.uses:
        return list(settings.uses)
    said = {one.code for one in findings if one.outcome in ("passed", "failed", "errored")}
    return [use for use in USES if any(check.code in said and use in check.gates_uses for check in suite)]


def _of_use(use: CheckedUse, findings: Sequence[Finding], suite: Checks) -> str | None:
    """Return why a model is not fit for a use, or why that is not known; None where it is fit."""
    codes = [check.code for check in suite if use in check.gates_uses]
    own = [one for one in findings if one.code in codes]
    if failed := [one for one in own if one.outcome == "failed" and one.severity == "error"]:
        return f"failed: {_named(failed)}"
    if doubted := [one for one in own if one.outcome == "failed"]:
        return f"in doubt, far from the foundation: {_named(doubted)}"
    if errored := _errored(own):
        return f"not judged: {_named(errored)} broke off"
    if missing := [code for code in codes if code not in {one.code for one in own}]:
        return f"not judged: {', '.join(missing)} not run"
    of_all = {check.code for check in suite if check.gates_uses == EVERY_USE}
    if any(one.code not in of_all for one in _passed(own)):
        return None
    return "not judged: no check of this use applied, or there was nothing to compare with"


def _outcome(settings: CheckSettings, judged: Mapping[CheckedUse, str | None], wrong: bool, clean: bool) -> Outcome:
    """Return the outcome; `clean` says that something passed, and nothing failed or broke off."""
    if wrong:
        return Outcome.NOT_FIT
    if not clean:
        return Outcome.UNJUDGED
    unknown = [use for use, why in judged.items() if why is not None]
    enough = not unknown if settings.uses else bool(settings.only) or len(unknown) < len(judged)
    return Outcome.FIT if enough else Outcome.UNJUDGED


def _headline(outcome: Outcome, findings: Sequence[Finding], failed: Sequence[Finding], fit: Sequence[str]) -> str:
    counts = {name: sum(one.outcome == name for one in findings) for name in ("passed", "failed", "errored")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "passed")
    first = f" Failed: {_named(failed)}." if failed else ""
    fit_for = f" Fit for {', '.join(fit)}." if fit and outcome == Outcome.FIT else ""
    return f"{str(outcome).capitalize()}: {said}.{first}{fit_for}"


def _reasons(findings: Sequence[Finding]) -> Iterator[Reason]:
    for one in findings:
        about = one.about or "all structures"
        if one.outcome in ("passed", "failed"):
            speaks = "for" if one.outcome == "passed" else "against"
            yield Reason(about=one.code, speaks=speaks, text=f"{one.title} ({about}): {one.evidence}")


def caution_of(finding: Finding) -> Caution:
    """Return a failed finding as a caution."""
    return Caution(
        code=finding.code,
        damage=Damage.HARM if finding.severity == "error" else Damage.DOUBT,
        text=f"{finding.title}{f' of {finding.about}' if finding.about else ''}: {finding.evidence}",
        remedy=finding.remedy,
        actions=finding.actions,
    )


def _unjudged(finding: Finding) -> Caution:
    of = f" of {finding.about}" if finding.about else ""
    return Caution(code=finding.code, damage=Damage.DOUBT, text=f"{finding.title}{of} broke off: {finding.evidence}")


def _without_dft(findings: Sequence[Finding]) -> Iterator[Caution]:
    """Say so where nothing was compared with the user's own DFT."""
    known = {one.reference_from for found in findings for one in found.measures} - {"", FOUNDATION}
    if _passed(findings) and not known:
        yield Caution(
            code="no-reference",
            damage=Damage.DOUBT,
            text="No value of your own DFT was compared with: what passed does not contradict itself, and may be wrong",
            remedy="give values by --reference, or labelled frames by --frames",
        )


def _of_fit(tuned: Verdict | None) -> Iterator[Caution]:
    yield from () if tuned is None else tuned.cautions


def _is_worse(tuned: Verdict | None) -> bool:
    return tuned is not None and tuned.tone == "bad"


def _passed(findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.outcome == "passed"]


def _errored(findings: Sequence[Finding]) -> list[Finding]:
    return [one for one in findings if one.outcome == "errored"]


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{one.code}{f' of {one.about}' if one.about else ''}" for one in findings)


def _passing(use: CheckedUse, findings: Sequence[Finding], suite: Checks) -> str:
    codes = {check.code for check in suite if use in check.gates_uses}
    return f"passed: {', '.join(dict.fromkeys(one.code for one in _passed(findings) if one.code in codes))}"


def _words(use: CheckedUse, settings: CheckSettings) -> str:
    return use_in_words(use, settings.temperature_K)
