"""The metrics of one target, and the files of a run that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Verdict
from matgraft.formulas.predictor.facts import PredictorFacts
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.scoring.domain import DomainMetrics
from matgraft.formulas.scoring.further import FurtherScores
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.pretraining import PretrainingFacts, pretraining_facts
from matgraft.formulas.scoring.verdict import property_verdict
from matgraft.formulas.seen_labels import SeenLabels
from matgraft.formulas.table.formula_table import FormulaTable


class TargetMetrics(PredictorFacts):
    """What is known of the predictor of one target.

    Attributes
    ----------
    n
        Rows of the table that it was made from.
    without_value, without_weight
        Rows that were left out.
    weighted
        Whether rows count differently.
    classes
        Names of the classes in order; empty for numbers.
    scores
        Out of fold, by name (`matgraft.formulas.scoring.metrics`).
    unlike
        Part of the rows whose formula is unlike the others.
    pretraining
        What the encoder's pretraining knew of the rows; None where it is not known.
    verdict
        On the predictor; where it was carried over to a domain, on that.
    domain
        How it was carried over, where it was.
    test
        What the table of ``--test`` says, where there is one that has the target.
    """

    n: int
    without_value: int
    without_weight: int
    weighted: bool
    classes: tuple[str, ...]
    scores: dict[str, float]
    unlike: float
    pretraining: PretrainingFacts | None
    verdict: Verdict
    domain: DomainMetrics | None = Field(None, exclude_if=lambda value: value is None)
    test: FurtherScores | None = Field(None, exclude_if=lambda value: value is None)


class TableMetrics(Frozen):
    """What metrics.json of a run holds, by target."""

    targets: dict[str, TargetMetrics]


class TableVerdicts(Frozen):
    """What verdict.json of a run holds, by target."""

    targets: dict[str, Verdict]


TARGET = RunFile("metrics.json", TargetMetrics)
"""In the folder of a predictor."""
METRICS = RunFile("metrics.json", TableMetrics)
VERDICTS = RunFile("verdict.json", TableVerdicts)


def target_metrics(
    predictor: Predictor, table: FormulaTable, seen: SeenLabels | None, findings: Sequence[Finding] = ()
) -> TargetMetrics:
    """Score and judge a predictor that was just fitted on its own rows, out of fold; `findings` are of their audit."""
    held, facts = predictor.out_of_fold, predictor.facts
    assert held is not None and facts is not None
    scores, unlike = scores_of(table.values, held, table.weights), float(held.unlike.mean())
    compared = predictor.held_losses if facts.tried else None
    known = pretraining_facts(seen, table.examples(), held, compared)
    return TargetMetrics(
        **dict(facts),
        n=len(table.values),
        without_value=table.without_value,
        without_weight=table.without_weight,
        weighted=table.weighted,
        classes=table.classes,
        scores=scores,
        unlike=unlike,
        pretraining=known,
        verdict=property_verdict(
            facts, scores, known, n=len(table.values), unlike=unlike, level=predictor.settings.level, findings=findings
        ),
    )
