"""One honest verdict on a tuned model: is it better than its foundation, where not, and what not to use it for.

    outcome = verdict(summary, findings, split_warnings)   # summary: what `summarise` gives and metrics.json holds
    outcome.level                                          # "better than the foundation", "mixed", ...
    print(outcome.headline)                                # the sentence to read first, with the figures

How it is reached:

1. Each quantity's RMSE is held against its stronger baseline, the one with the lower error. For energies that is nearly
   always the foundation with shifted references: an energy that only lost its offset has learned nothing.
2. It counts as better or worse only beyond chance: where the paired interval of the ratio leaves out 1.
3. A quantity whose labels lie in fewer than five groups is undecided, whatever its figures.
4. ``"better than the foundation"`` asks that all are better. Stress alone may stay undecided, since few frames carry
   it well (six numbers a frame), and the verdict says so. Some better and others not is ``"mixed"``. Where every
   quantity lacks groups it is ``"undecided"``.
5. What makes the figures themselves doubtful (shared trajectories, few groups, a validation part, allowed findings)
   changes no level. It stands first among the cautions, and the headline ends with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from matgraft.core.findings import Finding
from matgraft.core.quantities import POTENTIAL_QUANTITIES, STRESS, Quantity
from matgraft.core.statistics import MIN_UNITS
from matgraft.potentials.scoring.metrics import BASELINES, ROUNDING, UNSTATED, metric_key

Level = Literal[
    "better than the foundation", "mixed", "no better", "undecided", "worse for some heads", "worse", "not compared"
]
Outcome = Literal["better", "worse", "undecided", "broken"]

HOT_RATIO = 2.0
"""RMSE of the worst decile by that of all: at 2 a tenth of the atoms has 40 % of the squared error (at most 3.2)."""

SMALL_GAIN = 0.9
"""A ratio above it may be beyond chance and still not worth a new model."""

NOTICED_RISE = 1.05
"""A config type whose RMSE grew by more is named; one frame's error moves by a few per cent on any refit."""

WIDE = 1.5
"""Ends of an interval further apart than this factor leave room for a gain worth having and for its opposite."""

TOO_FEW = "too few trajectories to judge"
UNRIVALLED = "no finite figure to hold it against"

_NAMES = {"untuned": "the foundation", "shift": "the foundation with shifted reference energies"}
_USES = {
    "energy": "energy differences: formation, defect and surface energies, barriers",
    "forces": "molecular dynamics, relaxation, phonons",
    "stress": "pressures, relaxation of the cell, elastic constants",
}


class Verdict(BaseModel):
    """What to think of a tuned model.

    Attributes
    ----------
    level
        The outcome in a word or two.
    headline
        The sentence to read first: outcome, figures, and the gravest caution.
    reasons_for, reasons_against
        One sentence a quantity or a group of frames, with figures.
    cautions
        Why the figures may mislead, gravest first.
    do_not_trust_for
        Uses and structures that nothing here speaks for.
    chosen
        How the model was chosen among several, where it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level
    headline: str
    reasons_for: tuple[str, ...] = ()
    reasons_against: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    do_not_trust_for: tuple[str, ...] = ()
    chosen: str = ""


def verdict(
    summary: Mapping[str, Any],
    findings: Sequence[Finding] = (),
    split_warnings: Sequence[str] = (),
    coverage_missing: Sequence[str] = (),
    *,
    trained: Collection[str] | None = None,
    quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES,
    chosen: str = "",
) -> Verdict:
    """Judge a tuned model by its figures and by what is known of the data.

    Parameters
    ----------
    summary
        What `matgraft.potentials.scoring.metrics.summarise` returned, or metrics.json read back.
    findings
        Of the audit and of later checks; failed ones become cautions.
    split_warnings
        What the split warns of, such as trajectories shared by training and test.
    coverage_missing
        Kinds of structures absent from the training set.
    trained
        Quantities that the loss contained; None where it is not known.
    chosen
        A sentence on how the model was chosen among several.
    """
    judged = [_judge(summary, quantity) for quantity in quantities.values() if _scored(summary, quantity)]
    level = _level(judged)
    grave, mild = _grave_cautions(summary, findings, split_warnings, judged), _mild_cautions(findings, judged)
    return Verdict(
        level=level,
        headline=_headline(summary, judged, level, grave),
        reasons_for=tuple(one.sentence() for one in judged if one.outcome == "better"),
        reasons_against=(
            *(one.sentence() for one in judged if one.outcome != "better"),
            *_worst_decile(summary, quantities),
            *(one.sentence() for one in _worse_types(summary, quantities)),
        ),
        cautions=(*grave, *mild),
        do_not_trust_for=tuple(_distrusted(summary, judged, trained, quantities, coverage_missing)),
        chosen=chosen,
    )


@dataclass(frozen=True)
class _Judged:
    """One quantity held against its stronger baseline; errors are RMSEs in the unit of reports.

    `n_groups` carry the quantity.
    """

    quantity: Quantity
    error: float
    baselines: Mapping[str, float]
    n_groups: int
    interval: tuple[float, float] | None = None

    @property
    def rival(self) -> str:
        return min(self.baselines, key=lambda name: self.baselines[name], default="")

    @property
    def ratio(self) -> float:
        rival = self.baselines[self.rival]
        return self.error / rival if rival else (math.inf if self.error else 1.0)

    @property
    def lacks_groups(self) -> bool:
        return self.n_groups < MIN_UNITS

    @property
    def outcome(self) -> Outcome:
        if not math.isfinite(self.error):
            return "broken"
        low, high = self.interval or (0.0, math.inf)
        return "better" if high < 1 - ROUNDING else "worse" if low > 1 + ROUNDING else "undecided"

    def figures(self) -> str:
        """Give the errors, shortest form: ``energy 7.6 instead of 40.1 meV/atom``."""
        instead = f" instead of {_figure(self.baselines[self.rival])}" if self.baselines else ""
        return f"{self.quantity.name} {_figure(self.error)}{instead} {self.quantity.report_unit}".rstrip()

    def sentence(self) -> str:
        """Give the outcome with all that it rests on."""
        name, unit = self.quantity.name.capitalize(), self.quantity.report_unit
        if self.outcome == "broken":
            return f"{name}: the tuned model predicts numbers that are not finite."
        if not self.baselines:
            return f"{name}: RMSE {_figure(self.error)} {unit}; there is no baseline to hold it against."
        return f"{name}: {self.words()}. RMSE {_figure(self.error)} {unit}; {self._rivals()}. {self._odds()}"

    def _rivals(self) -> str:
        figures = {name: _figure(value) for name, value in self.baselines.items()}
        if len(set(figures.values())) == 1:
            return f"the foundation has {figures[self.rival]}"
        return "; ".join(f"{_NAMES[name]} has {figure}" for name, figure in figures.items())

    def words(self) -> str:
        """Give the outcome in words, telling "no difference" from "nobody can say"."""
        if self.outcome != "undecided":
            return {"broken": "not finite"}.get(self.outcome, self.outcome)
        if self.interval is None:
            rivalled = bool(self.baselines) and math.isfinite(self.ratio)
            return TOO_FEW if self.lacks_groups or rivalled else UNRIVALLED
        low, high = self.interval
        return TOO_FEW if high > WIDE * low else "no difference beyond chance"

    def _odds(self) -> str:
        if self.interval is None:
            found = f"{_trajectories(self.n_groups)} with {self.quantity.name} labels, {MIN_UNITS} are needed"
            return f"Ratio {self.ratio:.2f}, without an interval{f' ({found})' if self.lacks_groups else ''}."
        low, high = self.interval
        return f"Ratio {self.ratio:.2f} to the stronger (95 % interval {low:.2f} to {high:.2f})."


def _scored(summary: Mapping[str, Any], quantity: Quantity) -> bool:
    return metric_key(quantity, "rmse") in summary["test"]


def _judge(summary: Mapping[str, Any], quantity: Quantity) -> _Judged:
    key = metric_key(quantity, "rmse")
    # A file holds "inf" and "nan" as words: JSON has no numbers for them.
    baselines = {name: float(summary[name][key]) for name in BASELINES if key in summary.get(name, {})}
    n_groups = summary.get("n_groups_with", {}).get(quantity.name, summary["n_groups"])  # older runs: of all frames
    judged = _Judged(quantity, float(summary["test"][key]), baselines, n_groups)
    ends = summary["gain"][judged.rival][key]["interval"] if baselines else None
    return replace(judged, interval=(float(ends[0]), float(ends[1]))) if ends and not judged.lacks_groups else judged


def _level(judged: Sequence[_Judged]) -> Level:
    outcomes = {one.outcome for one in judged}
    if "broken" in outcomes:
        return "worse"
    if not any(one.baselines for one in judged):
        return "not compared"
    if "better" not in outcomes:
        lacking = all(one.lacks_groups for one in judged)
        return "worse" if "worse" in outcomes else "undecided" if lacking else "no better"
    decisive = {one.outcome for one in judged if one.quantity.name != STRESS.name} or outcomes
    return "better than the foundation" if decisive == {"better"} and "worse" not in outcomes else "mixed"


def _headline(summary: Mapping[str, Any], judged: Sequence[_Judged], level: Level, grave: Sequence[str]) -> str:
    opening = {
        "better than the foundation": "Better than the foundation",
        "mixed": "Mixed: " + _by_outcome(judged),
        "no better": "No better than the foundation: " + _by_outcome(judged),
        "undecided": "Undecided: " + _by_outcome(judged),
        "worse": "Worse than the foundation: " + _by_outcome(judged),
        "not compared": "Not compared with the foundation",
    }[level]
    figures = ", ".join(one.figures() for one in judged) or "nothing, for want of labels"
    caution = f" But read first: {grave[0]}" if grave else ""
    return f"{opening}. RMSE on {_extent(summary)}: {figures}.{caution}"


def _by_outcome(judged: Sequence[_Judged]) -> str:
    order = ("not finite", "worse", "better", "no difference beyond chance", TOO_FEW, UNRIVALLED)
    names = {words: [one.quantity.name for one in judged if one.words() == words] for words in order}
    return "; ".join(f"{words} {_listed(found, words)}" for words, found in names.items() if found)


def _listed(quantities: Sequence[str], words: str) -> str:
    """Return "in energy, forces and stress"; what is judged needs no "in"."""
    *first, last = quantities
    listed = f"{', '.join(first)} and {last}" if first else last
    return listed if words == TOO_FEW else f"in {listed}"


def _extent(summary: Mapping[str, Any]) -> str:
    frames, groups = int(summary["test"]["n_frames"]), _trajectories(summary["n_groups"])
    return f"{frames} {summary['part']} frame{'s' if frames != 1 else ''} of {groups}"


def _trajectories(count: int) -> str:
    return f"{count} {'trajectory' if count == 1 else 'trajectories'}"


def _figure(value: float) -> str:
    """Three figures, without an exponent where that can be read."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _grave_cautions(
    summary: Mapping[str, Any], findings: Sequence[Finding], split_warnings: Sequence[str], judged: Sequence[_Judged]
) -> tuple[str, ...]:
    """Say what forbids taking the figures at their face."""
    found = [*split_warnings, *(_caution(one) for one in findings if one.blocks)]
    if summary["part"] == "validation":
        found.append(
            "There is no test part. These frames chose the best checkpoint, so the errors are optimistic; "
            "keep some trajectories aside for a test."
        )
    if lacking := [one for one in judged if one.lacks_groups]:
        counts = ", ".join(f"{one.quantity.name} in {_trajectories(one.n_groups)}" for one in lacking)
        found.append(
            f"Labels of the {summary['part']} frames: {counts}. At least {MIN_UNITS} are needed to say how the model "
            f"does on a new one: {_more_frames(summary['part'])}."
        )
    return tuple(found)


def _more_frames(part: str) -> str:
    """Say where labels of further simulations belong."""
    if part in ("test", "validation"):
        return "label frames of further simulations, and give them as --test FILE"
    return "add labelled frames of further simulations to the file"


def _mild_cautions(findings: Sequence[Finding], judged: Sequence[_Judged]) -> tuple[str, ...]:
    found = [
        f"The gain in {one.quantity.name} is beyond chance but small (ratio {one.ratio:.2f})."
        for one in judged
        if one.outcome == "better" and one.ratio > SMALL_GAIN
    ]
    warnings = [one for one in findings if one.outcome == "failed" and one.severity == "warning"]
    return (*found, *(_caution(one) for one in warnings))


def _caution(finding: Finding) -> str:
    return f"{finding.title} [{finding.code}]: {finding.evidence}".removesuffix(": ")


def _worst_decile(summary: Mapping[str, Any], quantities: Mapping[str, Quantity]) -> Iterator[str]:
    """Say where the atoms with the largest forces fare much worse than all, or gain nothing."""
    tenths = summary.get("worst_force_decile", {})
    for quantity in quantities.values():
        key = metric_key(quantity, "rmse")
        if key not in tenths.get("test", {}):
            continue
        error, overall, unit = float(tenths["test"][key]), float(summary["test"][key]), quantity.report_unit
        who = f"On the tenth of the atoms with the largest forces the RMSE is {_figure(error)} {unit}"
        if error > HOT_RATIO * overall:
            share = 10 * (error / overall) ** 2 if overall else 100
            yield f"{who}, against {_figure(overall)} on all: they hold {share:.0f} % of the squared error."
        rival = min((float(tenths[name][key]) for name in BASELINES if key in tenths.get(name, {})), default=math.inf)
        if error >= rival and error > 0:
            yield f"{who}, no better than the foundation's {_figure(rival)}."


@dataclass(frozen=True)
class _WorseType:
    """A config type that lost, with the figures of each quantity that did."""

    value: str
    n_frames: float
    figures: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"config_type {self.value if self.value == UNSTATED else repr(self.value)}"

    def sentence(self) -> str:
        frames = f"{int(self.n_frames)} frame{'s' if self.n_frames != 1 else ''}"
        return f"Worse on {self.name} ({frames}): {', '.join(self.figures.values())}."


def _worse_types(summary: Mapping[str, Any], quantities: Mapping[str, Quantity]) -> Iterator[_WorseType]:
    """Name the config types whose RMSE rose; no interval stands behind these."""
    tables = summary.get("by_config_type", {})
    for value, found in tables.get("test", {}).items():
        rivals = {name: tables.get(name, {}).get(value, {}) for name in BASELINES}
        figures = {}
        for name, quantity in quantities.items():
            key = metric_key(quantity, "rmse")
            rival = min((float(each[key]) for each in rivals.values() if key in each), default=math.inf)
            error = float(found.get(key, 0.0))
            if error > NOTICED_RISE * rival:
                instead = f"{name} {_figure(error)} instead of {_figure(rival)} {quantity.report_unit}"
                figures[name] = instead.rstrip()
        if figures:
            yield _WorseType(value, found["n_frames"], figures)


def _distrusted(
    summary: Mapping[str, Any],
    judged: Sequence[_Judged],
    trained: Collection[str] | None,
    quantities: Mapping[str, Quantity],
    coverage_missing: Sequence[str],
) -> Iterator[str]:
    outcomes = {one.quantity.name: one.outcome for one in judged}
    for name in quantities:
        if reason := _why_not(name, outcomes.get(name), trained):
            yield f"{_USES.get(name, name)} ({reason})"
    if any(_worst_decile(summary, quantities)):
        yield "strongly distorted or hot structures (see the atoms with the largest forces)"
    for one in _worse_types(summary, quantities):
        yield f"structures of {one.name} ({' and '.join(one.figures)} became worse)"
    yield from (_untaught(sentence) for sentence in coverage_missing)


def _untaught(sentence: str) -> str:
    """Turn "no frame has X: do not trust Y" of the coverage into "Y (no frame has X)"."""
    reason, _, use = sentence.partition(": do not trust ")
    return f"{use} ({reason})" if use else sentence


def _why_not(name: str, outcome: Outcome | None, trained: Collection[str] | None) -> str:
    reasons = {
        None: f"no {name} labels to score by",
        "worse": f"{name} became worse",
        "broken": f"{name} is not finite",
    }
    untrained = f"{name} was not trained" if trained is not None and name not in trained else ""
    return "; ".join(reason for reason in (untrained, reasons.get(outcome, "")) if reason)
