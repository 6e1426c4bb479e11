"""A predictor on a further table with labels: rows that the fit has seen are told apart, and the others judge it.

A row is seen if its formula, or its group, is one of the training table's. What is judged are the rows of new formulas
and new groups; where there are none, those that are nearest to it, and a caution says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.statistics import MIN_UNITS, Units, joined_units, mean_difference, mean_loss
from matgraft.core.verdict import THAN, Caution, Damage, Outcome, Use, Verdict
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.predictor.facts import BaselineComparison
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.store import TargetNames
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.verdict import FAR, UNLIKE, outcome_of_comparison
from matgraft.formulas.table.formula_table import GROUPINGS, FormulaTable

Seen = Literal["new", "known group", "known formula"]
SEEN: tuple[Seen, ...] = ("new", "known group", "known formula")
"""What the fit knew of a row, from nothing to its formula."""
Place = Literal["like", "unlike"]
BASELINE = "trees on descriptors"
OLDER = "The run is of an earlier version and does not say which groups it was trained on: some may be here"
SURE = 0.05
"""Chance at which so few held intervals are no accident any more."""
LEAST = 1e-3
"""Smallest probability that a log loss counts, as where members are weighed."""


class PartScores(Frozen):
    """Scores of some rows.

    Attributes
    ----------
    n, n_units
        Rows, and sets of them that share no formula and no group.
    scores
        By name (`matgraft.formulas.scoring.metrics`).
    error
        Mean loss: absolute error, or log loss of classes.
    interval
        Its 95 % interval over the sets; None with too few of them.
    """

    n: int
    n_units: int
    scores: dict[str, float]
    error: float
    interval: tuple[float, float] | None


class FurtherScores(Frozen):
    """What a further table says of the predictor of a target.

    Attributes
    ----------
    target, file
        Whose values they are, and where they stand.
    classes
        Names of the classes in order; empty for numbers.
    criterion
        What `PartScores.error` is.
    n, without_value, without_weight
        Rows scored, and rows left out.
    weighted
        Whether rows count differently.
    parts
        Scores by what the fit knew of the rows, of those parts that have rows.
    judged
        The part that the verdict is on.
    places
        Scores of its rows that are like, and unlike, the training set.
    against
        The predictor against trees on descriptors that were fitted on the same training rows, on the judged rows.
    lacks
        Columns of the training table that this one does not have.
    groups_known
        False of a run of an earlier version, which does not say which groups it was trained on.
    """

    target: str
    file: str
    classes: tuple[str, ...]
    criterion: str
    n: int
    without_value: int
    without_weight: int
    weighted: bool
    parts: dict[Seen, PartScores]
    judged: Seen
    places: dict[Place, PartScores]
    against: BaselineComparison
    lacks: tuple[str, ...]
    groups_known: bool
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class FurtherRows:
    """A further table with what is predicted of it.

    Attributes
    ----------
    seen
        (n,) what the fit knew of each row.
    """

    table: FormulaTable
    prediction: Prediction
    seen: tuple[Seen, ...]


@dataclass(frozen=True, eq=False)
class _Losses:
    """Losses (n,) of the predictor and of the baseline, times the weights (n,), and the unit of each row."""

    ours: Array
    baseline: Array
    weights: Array
    units: Units

    def of(self, rows: NDArray[np.int_], rows_of: FurtherRows) -> PartScores:
        ours, weights = self.ours[rows], self.weights[rows]
        found = mean_loss(ours, weights, self.units[rows])
        return PartScores(
            n=len(rows),
            n_units=found.n_units,
            scores=scores_of(rows_of.table.values[rows], rows_of.prediction.take(rows), weights),
            error=found.value,
            interval=found.above_zero,
        )

    def compared(self, rows: NDArray[np.int_]) -> BaselineComparison:
        weights, units = self.weights[rows], self.units[rows]
        found = mean_difference(self.ours[rows], self.baseline[rows], weights, units)
        score = float(self.baseline[rows].sum() / weights.sum())
        return BaselineComparison(
            name=BASELINE, score=score, difference=found.value, interval=found.interval, n_units=found.n_units
        )


def score_further(
    predictor: Predictor, names: TargetNames, table: FormulaTable, by: str, *, file: str, lacks: Sequence[str] = ()
) -> tuple[FurtherScores, FurtherRows]:
    """Predict a further table with labels, and score it.

    Parameters
    ----------
    by
        What the run never tore apart: ``formula``, ``chemical-system``, or a column.
    lacks
        Columns of the training table that this one does not have.
    """
    inputs = Inputs.of(table.formulas, predictor.tools.backbone, table.covariates)
    prediction = predictor.predict_inputs(inputs)
    groups_known = by in GROUPINGS or names.groups is not None
    rows_of = FurtherRows(table, prediction, _seen(predictor, names, table, prediction, by))
    units = joined_units(table.keys, table.named(by))
    losses = _Losses(
        table.weights * _losses(prediction.probabilities, prediction.value, table),
        table.weights * _baseline_losses(predictor, inputs, table),
        table.weights,
        units,
    )
    known = np.array(rows_of.seen)
    parts = {part: np.flatnonzero(known == part) for part in SEEN}
    judged = next(part for part in SEEN if len(parts[part]))
    rows = parts[judged]
    far = prediction.unlike[rows]
    places: dict[Place, NDArray[np.int_]] = {"like": rows[~far], "unlike": rows[far]}
    scored = {part: losses.of(some, rows_of) for part, some in parts.items() if len(some)}
    against = losses.compared(rows)
    weighted = "weighted " if table.weighted else ""
    criterion = weighted + ("log loss" if table.classes else "mean absolute error")
    untold = "" if groups_known else OLDER
    if by in lacks:
        untold = f"This table has no column {by!r}: rows of groups that were trained on cannot be told from others"
    verdict = _verdict(predictor, scored, judged, against, criterion, float(far.mean()), untold)
    found = FurtherScores(
        target=names.target,
        file=file,
        classes=table.classes,
        criterion=criterion,
        n=len(table.values),
        without_value=table.without_value,
        without_weight=table.without_weight,
        weighted=table.weighted,
        parts=scored,
        judged=judged,
        places={place: losses.of(some, rows_of) for place, some in places.items() if len(some)},
        against=against,
        lacks=tuple(lacks),
        groups_known=groups_known,
        verdict=verdict,
    )
    return found, rows_of


def _seen(
    predictor: Predictor, names: TargetNames, table: FormulaTable, prediction: Prediction, by: str
) -> tuple[Seen, ...]:
    """Return (n,) what the fit knew of each row."""
    assert prediction.in_training is not None
    trained: set[str] = set()
    if by == "chemical-system":
        trained = {formula.chemical_system for formula in predictor.inputs.formulas}
    elif table.groups:
        trained = set(names.groups or ())
    of_row = zip(prediction.in_training, table.named(by), strict=True)
    return tuple("known formula" if known else "known group" if one in trained else "new" for known, one in of_row)


def _losses(probabilities: Array | None, value: Array, table: FormulaTable) -> Array:
    if probabilities is None:
        return np.abs(value - table.values)
    true = probabilities[np.arange(len(probabilities)), table.values.astype(int)]
    return -np.log(np.clip(true, LEAST, 1))


def _baseline_losses(predictor: Predictor, inputs: Inputs, table: FormulaTable) -> Array:
    said = predictor.baseline(inputs)
    return _losses(said, said, table) if table.classes else _losses(None, said, table)


def _verdict(
    predictor: Predictor,
    parts: Mapping[Seen, PartScores],
    judged: Seen,
    against: BaselineComparison,
    criterion: str,
    unlike: float,
    untold: str,
) -> Verdict:
    pairs = zip(predictor.members, predictor.calibration.weights, strict=True)
    pretrained = any(member.pretrained and weight for member, weight in pairs)
    outcome = outcome_of_comparison(against) if pretrained else Outcome.NOT_COMPARED
    ours = parts[judged]
    cautions = tuple(_cautions(ours, judged, predictor.settings.level, unlike, untold))
    wrong = any(caution.damage >= Damage.WRONG for caution in cautions)
    if wrong and outcome == Outcome.BETTER:
        outcome = Outcome.RESERVED
    fit = () if wrong or outcome == Outcome.WORSE else (Use(use="formulas like those of this table"),)
    return Verdict(
        outcome=outcome,
        against=against.name,
        headline=_headline(ours, judged, against, criterion, outcome),
        cautions=cautions,
        fit_for=fit,
        not_fit_for=(UNLIKE,),
    )


def _headline(ours: PartScores, judged: Seen, against: BaselineComparison, criterion: str, outcome: Outcome) -> str:
    rows = {"new": "of new formulas", "known group": "of known groups", "known formula": "of known formulas"}[judged]
    error = f"{criterion} {ours.error:.4g}{_span(ours.interval)} on {ours.n} rows {rows}"
    if outcome == Outcome.NOT_COMPARED:
        return f"{error[:1].upper()}{error[1:]}; no member with the pretrained encoder counts, so nothing is compared"
    than = f"{outcome.capitalize()} {'than' if outcome in THAN else 'against'} {against.name}"
    difference = f"difference {against.difference:+.3g}{_span(against.interval)}"
    return f"{than}: {error} against {against.score:.4g} ({difference})"


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f", 95 % between {interval[0]:.3g} and {interval[1]:.3g}"


def _cautions(ours: PartScores, judged: Seen, level: float, unlike: float, untold: str) -> Iterator[Caution]:
    if judged != "new":
        what = "formula" if judged == "known formula" else "group"
        text = f"The fit was trained on the {what} of every row: these errors do not hold for a new {what}"
        yield Caution(code="all-seen", damage=Damage.WRONG, text=text, remedy=f"Score it on rows of another {what}")
    if untold:
        yield Caution(code="unknown-groups", damage=Damage.DOUBT, text=untold)
    if (held := ours.scores.get("coverage")) is not None:
        from scipy.stats import binomtest

        # Rows that share a formula or a group miss together: a set of them counts once.
        inside = binomtest(round(held * ours.n_units), ours.n_units, level, alternative="less")
        if inside.pvalue < SURE:
            text = f"Intervals stated to hold {level:.0%} held {held:.1%} of {ours.n} rows"
            yield Caution(code="interval-coverage", damage=Damage.WRONG, text=text)
    if ours.n_units < MIN_UNITS:
        text = f"{ours.n_units} sets of rows that share no formula and no group: too few for an interval"
        yield Caution(code="few-rows", damage=Damage.DOUBT, text=text)
    if unlike > FAR:
        text = f"{unlike:.0%} of the rows have a formula unlike the training set"
        yield Caution(code="out-of-domain", damage=Damage.DOUBT, text=text)
