"""What is known of a predictor that was carried over to a domain without labels, truths of the domain included.

Where the target's table has values, they are used for nothing else than these scores.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.formulas.domain.adaptation import ChosenMethod, MethodChoice
from matgraft.formulas.domain.verdict import harm_finding, overlap_finding
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.table.target import TargetTable


class TargetScores(Frozen):
    """What is said of the target's rows.

    Attributes
    ----------
    unlike
        Part of the rows whose formula is unlike the source.
    n_labelled
        Rows that have a truth.
    scores
        Of these rows; None without any.
    errors
        Of each method that was compared, on the rows that it labelled: mean absolute error, or part named wrongly.
        None without a truth.
    """

    unlike: float
    n_labelled: int
    scores: dict[str, float] | None = Field(None, exclude_if=lambda value: value is None)
    errors: dict[str, float] | None = Field(None, exclude_if=lambda value: value is None)


class DomainMetrics(MethodChoice):
    """What was chosen and found.

    Attributes
    ----------
    findings
        On the overlap of the domains, and on harm.
    target
        What the target's own rows say.
    """

    findings: tuple[Finding, ...]
    target: TargetScores


def domain_metrics(
    predictor: Predictor, adapted: ChosenMethod, table: TargetTable, prediction: Prediction
) -> DomainMetrics:
    """Describe a predictor by what it says of the target's rows."""
    known = table.labelled
    target = TargetScores(
        unlike=float(prediction.unlike.mean()),
        n_labelled=len(known),
        scores=scores_of(table.truths[known], prediction.take(known)) if len(known) else None,
        errors=_errors(predictor, adapted, table) if len(known) else None,
    )
    findings = overlap_finding(adapted.facts), harm_finding(adapted.facts)
    return DomainMetrics(**dict(adapted.facts), findings=findings, target=target)


def _errors(predictor: Predictor, adapted: ChosenMethod, table: TargetTable) -> dict[str, float]:
    """Return the error of each method's labels on the rows that it labelled, where these have a truth."""
    back, truths = predictor.calibration.transform.back, table.truths[adapted.rows]
    known = np.isfinite(truths)
    if not known.any():
        return {}
    if predictor.labels.n_classes:
        return {name: float((said != truths)[known].mean()) for name, said in adapted.labelled.items()}
    return {name: float(np.abs(back(said) - truths)[known].mean()) for name, said in adapted.labelled.items()}
