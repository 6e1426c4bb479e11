"""One honest verdict on a tuned model: is it better than its foundation, where not, and what not to use it for.

    found = verdict(scores, audit=findings, checks=checked)   # scores: what `summarise` gives and metrics.json holds
    found.level                                               # "better than the foundation", "mixed", ...
    found.first                                               # the caution to read first

How it is reached:

1. Each quantity's RMSE is held against its stronger baseline, the one with the lower error. For energies that is nearly
   always the foundation with shifted references: an energy that only lost its offset has learned nothing.
2. It counts as better or worse only beyond chance: where the paired interval of the ratio leaves out 1.
3. A quantity whose labels lie in fewer than five groups is undecided, whatever its figures.
4. ``"better than the foundation"`` asks that all are better. Stress and magnetic moments alone may stay undecided: few
   frames carry stress well (six numbers a frame). The verdict says so. Some better and others not is ``"mixed"``. Where
   every quantity lacks groups it is ``"undecided"``.
5. A model that is better on the test is called ``"better on the test, with reservations"`` where it lost something
   elsewhere: a check failed, an error on the validation frames rose above that of the shifted foundation, or all that
   was tested is distrusted.
6. What makes the figures themselves doubtful (shared trajectories, few groups, a validation part, allowed findings)
   changes no outcome. It stands among the cautions, the gravest first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matgraft.core.findings import Action, Finding
from matgraft.core.quantities import ENERGY, MAGMOM, POTENTIAL_QUANTITIES, STRESS
from matgraft.core.statistics import MIN_UNITS
from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Side, Use, Verdict
from matgraft.potentials.scoring.frame_errors import metric_key
from matgraft.potentials.scoring.judged import (
    TOO_FEW,
    UNRIVALLED,
    Compared,
    Judged,
    judge_quantities,
    rival_error,
    three_figures,
    trajectories,
)
from matgraft.potentials.scoring.metrics import UNSTATED, Figures
from matgraft.potentials.scoring.scores import ModelName, Scores

FOUNDATION = "the foundation"

HOT_RATIO = 2.0
"""RMSE of the worst decile by that of all: at 2 a tenth of the atoms has 40 % of the squared error (at most 3.2)."""

SMALL_GAIN = 0.9
"""A ratio above it may be beyond chance and still not worth a new model."""

NOTICED_RISE = 1.05
"""A config type whose RMSE grew by more is named; one frame's error moves by a few per cent on any refit."""

LOST: tuple[Compared, ...] = ("worse", "broken")

_USES = {
    "energy": "energy differences: formation, defect and surface energies, barriers",
    "forces": "molecular dynamics, relaxation, phonons",
    "stress": "pressures, relaxation of the cell, elastic constants",
    "magmom": "magnetic moments",
}


def verdict(
    scores: Scores,
    *,
    audit: Sequence[Finding] = (),
    checks: Sequence[Finding] = (),
    cautions: Sequence[Caution] = (),
    missing: Sequence[Use] = (),
    trained: Collection[str] | None = None,
    chosen: str = "",
) -> Verdict:
    """Judge a tuned model by its figures and by what is known of the data.

    Parameters
    ----------
    audit, checks
        Findings on the data and on the model; failed ones become cautions.
    cautions
        Of the split and of the fit, such as trajectories shared by training and test.
    missing
        Uses that the training frames do not speak for.
    trained
        Quantities that the loss contained; None where it is not known.
    chosen
        A sentence on how the model was chosen among several.
    """
    judged, worse = judge_quantities(scores), list(_worse_types(scores))
    outcome = _outcome(judged)
    losses = list(_losses(scores, [one for one in checks if one.outcome == "failed"]))
    if outcome is Outcome.BETTER:
        losses += _nothing_trusted(scores, judged, worse, trained)
        outcome = Outcome.RESERVED if losses else outcome
    hot = list(_worst_decile(scores))
    return Verdict(
        outcome=outcome,
        against=scores.named("untuned"),
        headline=_headline(scores, judged, outcome),
        reasons=(
            *(Reason(about=one.quantity.name, speaks=_side(one), text=one.sentence()) for one in judged),
            *_extrapolation(scores),
            *_relative_reasons(scores),
            *(Reason(about="largest forces", speaks="against", text=text) for text in hot),
            *(Reason(about=one.name, speaks="against", text=one.sentence()) for one in worse),
        ),
        cautions=(*losses, *cautions, *_of_figures(scores, judged), *_of_audit(audit)),
        fit_for=tuple(_fit_for(scores, judged, trained)),
        not_fit_for=(
            *_untrusted(scores, judged, trained),
            *[Use(use="strongly distorted or hot structures", reason="see the atoms with the largest forces")]
            * bool(hot),
            *(one.use() for one in worse),
            *missing,
        ),
        chosen=chosen,
    )


def _side(judged: Judged) -> Side:
    sides: Mapping[Compared, Side] = {"better": "for", "worse": "against", "broken": "against"}
    return sides.get(judged.outcome, "neither")


def _outcome(judged: Sequence[Judged]) -> Outcome:
    outcomes = {one.outcome for one in judged}
    if "broken" in outcomes:
        return Outcome.WORSE
    if not any(one.baselines for one in judged):
        return Outcome.NOT_COMPARED
    if "better" not in outcomes:
        lacking = all(one.lacks_groups for one in judged)
        return Outcome.WORSE if "worse" in outcomes else Outcome.UNDECIDED if lacking else Outcome.NO_BETTER
    decisive = {one.outcome for one in judged if one.quantity not in (STRESS, MAGMOM)} or outcomes
    return Outcome.BETTER if decisive == {"better"} and "worse" not in outcomes else Outcome.MIXED


# --- headline --------------------------------------------------------------------------------------------------------


def _headline(scores: Scores, judged: Sequence[Judged], outcome: Outcome) -> str:
    rival = scores.named("untuned")
    opening = {
        Outcome.BETTER: f"Better than {rival}",
        Outcome.RESERVED: "Better on the test, with reservations",
        Outcome.MIXED: f"Mixed: {_by_outcome(judged)}",
        Outcome.NO_BETTER: f"No better than {rival}: {_by_outcome(judged)}",
        Outcome.UNDECIDED: f"Undecided: {_by_outcome(judged)}",
        Outcome.WORSE: f"Worse than {rival}: {_by_outcome(judged)}",
        Outcome.NOT_COMPARED: f"Not compared with {rival}",
    }[outcome]
    figures = ", ".join(one.figures() for one in judged) or "nothing, for want of labels"
    frames = int(scores.test["n_frames"])
    held = f" with {scores.held}, which no training frame has," if scores.held else ""
    extent = f"{frames} {scores.part} frame{'s' if frames != 1 else ''}{held} of {trajectories(scores.n_groups)}"
    return f"{opening}. RMSE on {extent}: {figures}."


def _by_outcome(judged: Sequence[Judged]) -> str:
    order = ("not finite", "worse", "better", "no difference beyond chance", TOO_FEW, UNRIVALLED)
    names = {words: [one.quantity.name for one in judged if one.words() == words] for words in order}
    return "; ".join(f"{words} {_listed(found, words)}" for words, found in names.items() if found)


def _listed(quantities: Sequence[str], words: str) -> str:
    """Return "in energy, forces and stress"; what is judged needs no "in"."""
    *first, last = quantities
    listed = f"{', '.join(first)} and {last}" if first else last
    return listed if words == TOO_FEW else f"in {listed}"


# --- cautions --------------------------------------------------------------------------------------------------------


def _losses(scores: Scores, failed: Sequence[Finding]) -> Iterator[Caution]:
    """Say what the model lost of what its foundation could do."""
    yield from (_caution(one, Damage.HARM) for one in failed)
    if worsened := [one for one in scores.validation if one.worsened]:
        figures = ", ".join(
            f"{one.quantity} {three_figures(one.after)} instead of {three_figures(one.before)} {one.unit}"
            for one in worsened
        )
        yield Caution(
            code="validation-worsened",
            damage=Damage.HARM,
            text=f"On the validation frames the RMSE rose above that of {scores.named('shift')}: {figures}.",
            remedy="take a strategy that trains more of the model, or a larger weight of this quantity in the loss",
        )

    lost = [one for one in judge_quantities(scores.inside) if one.outcome in LOST] if scores.inside else []
    if lost:
        yield Caution(
            code="worse-inside",
            damage=Damage.HARM,
            text=f"Worse on held-out frames without {scores.held}, which are like the training frames: "
            f"{', '.join(one.figures() for one in lost)}.",
        )


def _nothing_trusted(
    scores: Scores, judged: Sequence[Judged], worse: Sequence[_WorseType], trained: Collection[str] | None
) -> Iterator[Caution]:
    """Say so where the verdict distrusts all that was tested: every quantity, or every config type."""
    types = scores.by_config_type.get("test", {})
    every_quantity = bool(judged) and all(_why_not(one.quantity.name, one.outcome, trained) for one in judged)
    what = ["quantity"] * every_quantity + ["config type"] * (
        bool(types) and sum(one.tag == "config_type" for one in worse) == len(types)
    )
    if what:
        yield Caution(
            code="nothing-trusted",
            damage=Damage.HARM,
            text=f"Every {' and every '.join(what)} that was tested is among what the model is not fit for.",
        )


def _extrapolation(scores: Scores) -> Iterator[Reason]:
    """Set each error on what was held out by a condition beside the error on held-out frames like the trained ones."""
    inside = {one.quantity.name: one for one in judge_quantities(scores.inside)} if scores.inside else {}
    for one in judge_quantities(scores):
        if (beside := inside.get(one.quantity.name)) is None:
            continue
        ratio = one.error / beside.error if beside.error else math.inf
        text = (
            f"{one.quantity.name.capitalize()}: {three_figures(ratio)} times the error where {scores.held}, which no "
            f"training frame has: {one.figures()}, and {beside.figures()} on held-out frames of the other conditions."
        )
        worse = not ratio <= HOT_RATIO and one.error > one.quantity.rounding
        yield Reason(
            about=f"{one.quantity.name} where {scores.held}", speaks="against" if worse else "neither", text=text
        )


def _relative_reasons(scores: Scores) -> Iterator[Reason]:
    """Say how the model tells phases apart, where the frames have two of one composition."""
    found = scores.relative
    if found is None or "test" not in found.between_phases:
        return
    ours, order = found.between_phases["test"], found.in_order
    rivals = [one for model, one in found.between_phases.items() if model != "test"]
    if not rivals:
        return
    rival = min(rivals, key=lambda one: one.rmse)
    shares = [one.share for model, one in order.items() if model != "test"]
    ranked = (
        f"; {100 * order['test'].share:.0f} % of the pairs in the right order instead of {100 * max(shares):.0f} %"
        if "test" in order and shares
        else ""
    )
    worse = not ours.rmse <= NOTICED_RISE * rival.rmse and ours.rmse > ENERGY.rounding
    apart = ours.interval is not None and rival.interval is not None and ours.interval[1] < rival.interval[0]
    yield Reason(
        about="energies between phases",
        speaks="against" if worse else "for" if apart else "neither",
        text=f"Energies between phases (by {found.phases_by}): RMSE {three_figures(ours.rmse)} instead of "
        f"{three_figures(rival.rmse)} meV/atom over {ours.count} pairs of frames{ranked}.",
    )


def _of_figures(scores: Scores, judged: Sequence[Judged]) -> Iterator[Caution]:
    """Say why the figures may be wrong, or right by chance."""
    if broken := [one.quantity.name for one in judged if one.outcome == "broken"]:
        text = f"The tuned model predicts numbers that are not finite: {', '.join(broken)}."
        yield Caution(code="not-finite", damage=Damage.WRONG, text=text)
    if scores.part == "validation":
        yield Caution(
            code="no-test",
            damage=Damage.DOUBT,
            text="There is no test part. These frames chose the best checkpoint, so the errors are optimistic; "
            "keep some trajectories aside for a test.",
        )
    if scores.held and scores.inside is None:
        yield Caution(
            code="nothing-inside",
            damage=Damage.NOTE,
            text=f"No frames without {scores.held} were held out: there is nothing to compare these errors with.",
            actions=(Action(settings={"split.test": 0.1}),),
        )
    if lacking := [one for one in judged if one.lacks_groups]:
        counts = ", ".join(f"{one.quantity.name} in {trajectories(one.n_groups)}" for one in lacking)
        yield Caution(
            code="few-groups",
            damage=Damage.DOUBT,
            text=f"Labels of the {scores.part} frames: {counts}. At least {MIN_UNITS} are needed to say how the model "
            "does on a new one.",
            remedy=_more_frames(scores.part),
        )
    for one in judged:
        if one.outcome == "better" and one.ratio > SMALL_GAIN:
            text = f"The gain in {one.quantity.name} is beyond chance but small (ratio {one.ratio:.2f})."
            yield Caution(code="small-gain", damage=Damage.NOTE, text=text)


def _more_frames(part: str) -> str:
    """Say where labels of further simulations belong."""
    if part in ("test", "validation"):
        return "label frames of further simulations, and give them as --test FILE"
    return "add labelled frames of further simulations to the file"


def _of_audit(findings: Sequence[Finding]) -> Iterator[Caution]:
    """Say what the audit found: what blocks was allowed, and makes labels and figures wrong."""
    yield from (_caution(one, Damage.WRONG) for one in findings if one.blocks)
    yield from (_caution(one, Damage.NOTE) for one in findings if one.outcome == "failed" and one.severity == "warning")


def _caution(finding: Finding, damage: Damage) -> Caution:
    text = f"{finding.title}: {finding.evidence}" if finding.evidence else finding.title
    return Caution(code=finding.code, damage=damage, text=text, remedy=finding.remedy, actions=finding.actions)


# --- uses ------------------------------------------------------------------------------------------------------------


def _fit_for(scores: Scores, judged: Sequence[Judged], trained: Collection[str] | None) -> Iterator[Use]:
    """Name the uses of quantities that are better on the test and no worse on validation."""
    worsened = _worsened(scores)
    for one in judged:
        name = one.quantity.name
        if one.outcome == "better" and name not in worsened and not _why_not(name, one.outcome, trained):
            yield Use(use=_USES[name], reason=f"{one.figures()} on frames like those of the test")


def _untrusted(scores: Scores, judged: Sequence[Judged], trained: Collection[str] | None) -> Iterator[Use]:
    outcomes = {one.quantity.name: one.outcome for one in judged}
    for name in POTENTIAL_QUANTITIES:
        if name == MAGMOM.name and name not in outcomes:
            continue  # most frames have no moments, and no user of them expects any
        rose = "its error rose on the validation frames" if name in _worsened(scores) else ""
        if reason := _why_not(name, outcomes.get(name), trained) or rose:
            yield Use(use=_USES[name], reason=reason)


def _worsened(scores: Scores) -> set[str]:
    return {one.quantity for one in scores.validation if one.worsened}


def _why_not(name: str, outcome: Compared | None, trained: Collection[str] | None) -> str:
    reasons = {
        None: f"no {name} labels to score by",
        "worse": f"{name} became worse",
        "broken": f"no finite prediction of {name}",
    }
    untrained = f"no {name} in the loss" if trained is not None and name not in trained else ""
    return "; ".join(reason for reason in (untrained, reasons.get(outcome, "")) if reason)


def _worst_decile(scores: Scores) -> Iterator[str]:
    """Say where the atoms with the largest forces fare much worse than all, or gain nothing."""
    tenths = scores.worst_force_decile
    for quantity in POTENTIAL_QUANTITIES.values():
        key = metric_key(quantity, "rmse")
        if key not in tenths.get("test", {}):
            continue
        error, overall, unit = tenths["test"][key], scores.test[key], quantity.report_unit
        if error <= quantity.rounding:
            continue
        largest = "differences of forces" if scores.corrects else "forces"
        who = f"On the tenth of the atoms with the largest {largest} the RMSE is {three_figures(error)} {unit}"
        if error > HOT_RATIO * overall:
            share = 10 * (error / overall) ** 2 if overall else 100
            yield f"{who}, against {three_figures(overall)} on all: they hold {share:.0f} % of the squared error."
        rival = rival_error(tenths, key)
        if error >= rival:
            yield f"{who}, no better than {scores.named('untuned')}'s {three_figures(rival)}."


@dataclass(frozen=True)
class _WorseType:
    """A kind of frames that lost, such as a config type, with the figures of each quantity that did."""

    tag: str
    value: str
    n_frames: int
    figures: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.tag} {self.value if self.value == UNSTATED else repr(self.value)}"

    def sentence(self) -> str:
        frames = f"{self.n_frames} frame{'s' if self.n_frames != 1 else ''}"
        return f"Worse on {self.name} ({frames}): {', '.join(self.figures.values())}."

    def use(self) -> Use:
        return Use(use=f"structures of {self.name}", reason=f"{' and '.join(self.figures)} became worse")


def _worse_types(scores: Scores) -> Iterator[_WorseType]:
    """Name the kinds of frames whose RMSE rose or is not finite; no interval stands behind these.

    A value of another tag that all scored frames have says what the figures of all say, and is left out.
    """
    every = scores.test.get("n_frames")
    for tag, tables in scores.tables.items():
        yield from (one for one in _worse_rows(tag, tables) if tag == "config_type" or one.n_frames != every)


def _worse_rows(tag: str, tables: Mapping[ModelName, Mapping[str, Figures]]) -> Iterator[_WorseType]:
    for value, found in tables.get("test", {}).items():
        rivals = {name: table.get(value, {}) for name, table in tables.items()}
        figures = {}
        for name, quantity in POTENTIAL_QUANTITIES.items():
            key = metric_key(quantity, "rmse")
            error, rival = found.get(key, 0.0), rival_error(rivals, key)
            if not math.isfinite(error) or error > NOTICED_RISE * max(rival, quantity.rounding):
                instead = f"{name} {three_figures(error)} instead of {three_figures(rival)} {quantity.report_unit}"
                figures[name] = instead.rstrip()
        if figures:
            yield _WorseType(tag, value, int(found["n_frames"]), figures)
