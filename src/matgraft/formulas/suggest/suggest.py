"""What to measure next, by the predictor of a run on a table.

found = suggest("runs/gaps", "candidates.csv", n=10, maximise=True)
found = suggest("runs/gaps", ["GaN", "AlN", "InN"], n=2, target_value=1.4)
found = suggest("runs/gaps", Compositions(elements=("Ga", "Al", "N", "O")), explore=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from ase.data import chemical_symbols
from scipy.spatial.distance import cdist

from matgraft.core.errors import OptionError, choose
from matgraft.core.locks import works_in
from matgraft.core.settings import validated
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.store import TargetNames
from matgraft.formulas.report.page import write_property_report
from matgraft.formulas.report.rows import read_rows
from matgraft.formulas.report.suggested import (
    SUGGESTIONS,
    Goal,
    Measured,
    Reason,
    Suggested,
    Suggestion,
    Suggestions,
)
from matgraft.formulas.scoring.target import METRICS
from matgraft.formulas.suggest.batch import Pick
from matgraft.formulas.suggest.candidates import Candidates, Given, gather_candidates
from matgraft.formulas.suggest.propose import Proposal, points_of, propose
from matgraft.formulas.suggest.settings import SuggestOptions, SuggestSettings
from matgraft.formulas.suggest.worth import entropy
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions

HIGH = 0.9
"""A candidate whose prediction is as good as that of the best tenth has a high one."""
UNSURE = 0.75
"""A candidate whose standard deviation is in the upper quarter is uncertain."""


def suggest(
    run: str | Path,
    candidates: Given,
    n: int = 10,
    *,
    conditions: Mapping[str, float | str] | None = None,
    formula: str | None = None,
    reading: ReadOptions | None = None,
    **options: Unpack[SuggestOptions],
) -> Suggested:
    """Return the n candidates that are best measured next, the first one first.

    Parameters
    ----------
    run
        Folder of a run on a table.
    candidates
        A table's file, formulas, a table in memory, or `Compositions` of elements.
    conditions
        Values of the run's covariates that all candidates share.
    formula
        Column of the formulas in a table.
    reading
        How a table's file is read.
    **options
        What is wanted, as of `SuggestSettings`: ``maximise=True``, ``minimise=True``, ``target_value=1.4``,
        ``wanted_class="metal"`` or ``explore=True``; ``target``, ``information`` and ``seed``.

    Raises
    ------
    OptionError
        If it is open what is wanted, or the run cannot give it.
    DataError
        If a candidate cannot be read, or each is measured already.
    RunError
        If the run is not finished.
    """
    asked = validated(SuggestSettings, {"n": n, **options})
    model = PropertyModel.open(run)
    target = _target(model, asked.target)
    names = model.names[target]
    goal = asked.goal(target, names.classes)
    columns = ColumnNames(formula=formula, reading=reading or ReadOptions())
    gathered = gather_candidates(model, target, candidates, conditions or {}, columns)
    predictor = model.predictor(target)
    _refuse_value(goal, predictor)
    new = gathered.new(predictor.inputs)
    inputs = Inputs.of(new.formulas, model.backbone, new.covariates)
    wanted = names.classes.index(goal.wanted) if goal.wanted else 0
    proposal = propose(predictor, inputs, goal, asked.n, share=asked.share, wanted=wanted, seed=asked.seed)
    measured = _measured(model, predictor, names)
    return Suggested(
        run=str(run),
        target=target,
        goal=goal,
        n=asked.n,
        share=asked.share,
        best=_best(goal, predictor, measured) if not names.classes else None,
        scale=predictor.calibration.transform.scale,
        level=predictor.settings.level,
        file=new.file,
        made=new.made,
        n_candidates=len(new.formulas),
        n_measured=new.n_measured,
        n_repeated=new.n_repeated,
        n_unlike=int(proposal.prediction.unlike.sum()),
        suggestions=tuple(_suggestions(proposal, new, inputs, predictor, names, measured, goal, wanted)),
    )


@works_in("run")
def keep_suggestions(run: Path, found: Suggested) -> None:
    """Write suggestions into the run folder, in the place of earlier ones for the target, and its page anew."""
    before = SUGGESTIONS.find(run) or Suggestions()
    SUGGESTIONS.write(run, Suggestions(targets={**before.targets, found.target: found}))
    if METRICS.find(run) is not None:
        write_property_report(run)


def _target(model: PropertyModel, asked: str | None) -> str:
    if asked is not None:
        choose(asked, dict.fromkeys(model.targets), "target of the run")
        return asked
    if len(model.targets) > 1:
        raise OptionError(
            f"the run has {len(model.targets)} targets",
            where=str(model.folder),
            remedy="say which one is to be measured",
            options=[{"--target": name} for name in model.targets],
        )
    return model.targets[0]


def _refuse_value(goal: Goal, predictor: Predictor) -> None:
    if goal.value is not None and goal.value <= 0 and predictor.calibration.transform.scale == "log":
        raise OptionError(
            f"--target-value {goal.value:g}: the target was learned by its logarithm", allowed=["values above 0"]
        )


def _measured(model: PropertyModel, predictor: Predictor, names: TargetNames) -> list[Measured]:
    """Return the training rows, formulas as they stand in the table where the folder still says how."""
    texts = [formula.reduced for formula in predictor.inputs.formulas]
    file = model.folder / "predictions.csv"
    if file.is_file():
        rows = read_rows(file)
        own = rows.loc[rows["target"] == names.target, "formula"]
        texts = list(own) if len(own) == len(texts) else texts
    y = predictor.labels.y
    values: Sequence[float | str] = (
        [names.classes[int(i)] for i in y] if names.classes else predictor.calibration.transform.back(y).tolist()
    )
    return [Measured(formula=text, value=value) for text, value in zip(texts, values, strict=True)]


def _best(goal: Goal, predictor: Predictor, measured: Sequence[Measured]) -> Measured | None:
    if goal.kind == "explore":
        return None
    y, transform = predictor.labels.y, predictor.calibration.transform
    if goal.value is not None:
        return measured[int(np.argmin(np.abs(y - transform.forward(np.array(goal.value)))))]
    return measured[int(np.argmax(y if goal.kind == "maximise" else -y))]


def _suggestions(
    proposal: Proposal,
    candidates: Candidates,
    inputs: Inputs,
    predictor: Predictor,
    names: TargetNames,
    measured: Sequence[Measured],
    goal: Goal,
    wanted: int,
) -> list[Suggestion]:
    chosen = np.array([pick.index for pick in proposal.picks])
    apart = cdist(points_of(predictor, inputs.take(chosen)), points_of(predictor, predictor.inputs))
    told, classes = proposal.prediction, names.classes
    known = {Z for formula in predictor.inputs.formulas for Z in formula.numbers}
    found = []
    for rank, (pick, near) in enumerate(zip(proposal.picks, apart.argmin(1), strict=True), 1):
        i, formula = pick.index, candidates.formulas[pick.index]
        new = tuple(chemical_symbols[Z] for Z in formula.numbers if Z not in known)
        likely = None if told.probabilities is None else told.probabilities[i]
        found.append(
            Suggestion(
                rank=rank,
                formula=str(formula),
                line=candidates.lines[i] if candidates.lines else None,
                conditions=candidates.conditions[i],
                value=classes[int(told.value[i])] if classes else float(told.value[i]),
                lower=None if classes else float(told.lower[i]),
                upper=None if classes else float(told.upper[i]),
                chosen_for=pick.chosen_for,
                improvement=None if classes else pick.improvement,
                probability=float(likely[wanted]) if likely is not None and goal.wanted else None,
                entropy=None if likely is None else float(entropy(likely[None])[0]),
                information=pick.information,
                distance=float(told.distance[i]),
                new_elements=new,
                reasons=_reasons(pick, proposal, bool(new), goal),
                nearest=measured[int(near)],
            )
        )
    return found


def _reasons(pick: Pick, proposal: Proposal, has_new: bool, goal: Goal) -> tuple[Reason, ...]:
    worth, i = proposal.worth, pick.index
    good = goal.kind != "explore" and pick.chosen_for == "improvement" and _among(worth.good(worth.place), i, HIGH)
    found: list[Reason] = ["prediction"] if good else []
    found += ["uncertain"] if _among(proposal.deviation, i, UNSURE) else []
    found += ["new chemistry"] if has_new or proposal.prediction.unlike[i] else []
    return tuple(found) or (("both",) if pick.chosen_for == "improvement" else ("speaks for others",))


def _among(values: Array, i: int, level: float) -> bool:
    """Say whether a value is above the quantile of all at a level."""
    return bool(values[i] > np.quantile(values, level) or values[i] == values.max())
