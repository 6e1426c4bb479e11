"""What the report of a run on a table shows, as data: report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.model import ModelCard
from matgraft.core.run_folder import RunFile
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.pretraining.run import PretrainingFigures
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.formulas.prompts.facts import PromptFacts
from matgraft.formulas.report.rows import CellValue, Spots, TableRow, read_rows
from matgraft.formulas.report.suggested import SUGGESTIONS, Suggested
from matgraft.formulas.scoring.further import FurtherScores
from matgraft.formulas.scoring.target import METRICS, TargetMetrics
from matgraft.formulas.settings import SETTINGS, TableSettings
from matgraft.formulas.table.audit.audit import AUDIT, TableAudit
from matgraft.formulas.table.facts import READINGS, TableReadings
from matgraft.formulas.table.units import unit_of

CARD = RunFile("model/card.json", ModelCard)
PROMPTS = RunFile("prompts.json", PromptFacts)

TABLES = ("predictions", "map", "domains", "history", "test_predictions")
LISTED = 10
"""Worst predictions in the table."""
THIRDS = ("smallest", "middle", "largest")


class LabelRow(Frozen):
    """The error on the formulas with, or without, a label in the pretraining.

    Attributes
    ----------
    ours
        Mean loss of the predictor, in the criterion where it is compared with its baseline.
    baseline, difference, interval
        Of the comparison; None where there is none.
    """

    part: str
    n: int
    ours: float | None
    baseline: float | None
    difference: float | None
    interval: tuple[float, float] | None


class HeldPart(Frozen):
    """How many truths lie inside their intervals, of a part of the rows."""

    part: str
    n: int
    held: float


class TargetReport(TargetMetrics):
    """What is shown of one target.

    Attributes
    ----------
    unit
        Of the values; empty of classes, and where nobody says it.
    held
        Out-of-fold predictions by column, as in predictions.csv; empty where there is no such file.
    map, domains
        Formulas at the principal components of their features, and both domains before and after the fit.
    by_label
        Errors with and without a label in the pretraining; empty where that is not known.
    history
        How the losses of its networks went, as in history.csv; empty where there is none.
    further
        Predictions of the table of ``--test``; empty where there is none.
    error
        (n,) absolute errors, or what the probability of the true class lacks.
    worst
        Rows of the largest errors.
    held_by
        What the intervals hold, in all and by thirds.
    """

    name: str
    unit: str = ""
    held: Spots
    map: Spots
    domains: Spots
    history: Spots
    further: Spots
    by_label: tuple[LabelRow, ...]
    error: list[float]
    worst: list[TableRow]
    held_by: tuple[HeldPart, ...]


class PropertyReport(Frozen):
    """What the page shows; None stands for a file that is not there.

    Attributes
    ----------
    run
        Name of the folder.
    card
        Of the encoder.
    pretraining
        Of the encoder, in names and values.
    audit
        What was found in the table before the fits.
    suggested
        What to measure next, by target, where that was asked.
    readings
        How each table was read.
    """

    run: str
    settings: TableSettings | None
    card: dict[str, str | int]
    pretraining: list[tuple[str, str]]
    targets: tuple[TargetReport, ...]
    prompts: PromptFacts | None
    audit: TableAudit | None = None
    suggested: dict[str, Suggested] = Field(default_factory=dict)
    readings: TableReadings | None = None


class TableResult(Frozen):
    """What came of a run on a table, as the command tells it.

    Attributes
    ----------
    run, report
        The folder and its page.
    targets
        Scores, members, baseline and verdict by name.
    prompts
        What the prompts have become, of strategy prompt.
    """

    run: str
    report: str
    targets: dict[str, TargetMetrics]
    prompts: PromptFacts | None = Field(None, exclude_if=lambda value: value is None)


class TableEvaluation(Frozen):
    """What a further table says of the predictors of a run.

    Attributes
    ----------
    run, file
        The run folder and the table.
    predictions, report
        Files with the predictions, and the page.
    targets
        By name, of those that the table has.
    without
        Targets of the run that the table does not have.
    """

    run: str
    file: str
    predictions: str
    report: str
    targets: dict[str, FurtherScores]
    without: tuple[str, ...]


REPORT = RunFile("report.json", PropertyReport, indent=None)


def property_facts(run: Path) -> PropertyReport:
    """Return everything that the page shows.

    Raises
    ------
    RunError
        If the folder holds no metrics, or a file of it is of another version.
    """
    tables = {name: _table(run / f"{name}.csv") for name in TABLES}
    card, suggestions, settings = CARD.find(run), SUGGESTIONS.find(run), SETTINGS.find(run)
    typed = settings.run.unit if settings else ()
    told = ("name", "weights_from", "weights_sha256", "n_parameters")
    return PropertyReport(
        run=run.resolve().name,
        settings=settings,
        card={name: getattr(card, name) for name in told} if card else {},
        pretraining=described_pretraining(card) if card else [],
        targets=tuple(
            _target(name, metrics, {file: _of_target(table, name) for file, table in tables.items()}, typed)
            for name, metrics in METRICS.read(run).targets.items()
        ),
        prompts=PROMPTS.find(run),
        audit=AUDIT.find(run),
        suggested=suggestions.targets if suggestions else {},
        readings=READINGS.find(run),
    )


def _target(
    name: str, metrics: TargetMetrics, tables: Mapping[str, pd.DataFrame], typed: tuple[str, ...]
) -> TargetReport:
    rows, further = (_typed(tables[file], metrics.classes) for file in ("predictions", "test_predictions"))
    places = tables["map"]
    places = places.astype({"truth": float}) if len(places) else places
    error = _errors(rows, metrics.classes)
    worst = rows.iloc[np.argsort(-error, kind="stable")[:LISTED]]
    return TargetReport(
        **dict(metrics),
        name=name,
        unit="" if metrics.classes else unit_of(name, typed),
        held=_spots(rows.drop(columns="fold", errors="ignore")),
        map=_spots(places),
        domains=_spots(tables["domains"]),
        history=_spots(tables["history"]),
        further=_spots(further),
        by_label=tuple(_by_label(metrics)),
        error=error.tolist(),
        worst=[{str(key): _value(value) for key, value in row.items()} for row in worst.to_dict("records")],
        held_by=() if metrics.classes or not len(rows) else tuple(_coverage(rows)),
    )


def _typed(rows: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return predictions with truths and values as numbers where they are none of classes."""
    return rows if classes or not len(rows) else rows.astype({"truth": float, "value": float})


def _by_label(metrics: TargetMetrics) -> list[LabelRow]:
    known = metrics.pretraining
    if known is None:
        return []
    rows = []
    for part, scores in known.scores.items():
        n = known.with_label if part == "with_label" else known.n - known.with_label
        against = known.compared.get(part)
        ours = against.score + against.difference if against else scores.get("log_loss" if metrics.classes else "mae")
        row = LabelRow(
            part=part.replace("_", " a "),
            n=n,
            ours=ours,
            baseline=against and against.score,
            difference=against and against.difference,
            interval=against and against.interval,
        )
        rows += [row] * bool(n)
    return rows


def _errors(rows: pd.DataFrame, classes: tuple[str, ...]) -> Array:
    """Return absolute errors, or what the probability of the true class lacks."""
    if not len(rows):
        return np.zeros(0)
    if not classes:
        return np.abs(rows["value"].to_numpy(float) - rows["truth"].to_numpy(float))
    likely = rows[[f"p_{name}" for name in classes]].to_numpy(float)
    true = [classes.index(str(name)) for name in rows["truth"]]
    return np.asarray(1 - likely[np.arange(len(rows)), true])


def _coverage(rows: pd.DataFrame) -> list[HeldPart]:
    """Return how many truths lie inside, in all and by thirds of the intervals' widths and of the distances."""
    inside = (rows["truth"] >= rows["lower"]) & (rows["truth"] <= rows["upper"])
    found = [HeldPart(part="all", n=len(rows), held=float(inside.mean()))]
    for title, key in (("width", rows["upper"] - rows["lower"]), ("distance", rows["distance"])):
        ranks = np.argsort(np.argsort(key.to_numpy(float), kind="stable"), kind="stable") * len(THIRDS)
        thirds = ranks // max(1, len(rows))
        for i, which in enumerate(THIRDS):
            part = inside[thirds == i]
            if len(part):
                found.append(HeldPart(part=f"{which} third by {title}", n=len(part), held=float(part.mean())))
    return found


def uneven(parts: Sequence[HeldPart]) -> list[tuple[HeldPart, HeldPart]]:
    """Return the thirds whose intervals hold less than those of the other end, beyond doubt and by five in a hundred.

    Doubt is two standard errors of a difference of two shares.
    """
    found = []
    for title in ("width", "distance"):
        ends = [one for which in (THIRDS[0], THIRDS[-1]) for one in parts if one.part == f"{which} third by {title}"]
        if len(ends) == 2:
            more, less = sorted(ends, key=lambda one: -one.held)
            error = np.sqrt(sum(one.held * (1 - one.held) / one.n for one in ends))
            if more.held - less.held > max(0.05, 2 * error):
                found.append((more, less))
    return found


def described_pretraining(card: ModelCard) -> list[tuple[str, str]]:
    """Return how an encoder was pretrained; nothing of one that was not."""
    if not card.metrics:
        return []
    figures, settings = PretrainingFigures.of(card), PretrainSettings.model_validate(card.recipe)
    epochs, losses = (", ".join(values) for values in (
        [f"{n:.1f}" for n in figures.epochs], [f"{loss:.3f}" for loss in figures.losses]
    ))  # fmt: skip
    return [
        ("formulas", f"{figures.formulas:,}"),
        ("labels", f"{figures.labels:,}"),
        ("rows left out", f"those with {settings.exclude} = 1" if settings.exclude else "none"),
        ("objectives", ", ".join(f"{name} {weight:g}" for name, weight in settings.weights)),
        ("encoders", str(len(figures.best))),
        ("minutes", f"{figures.minutes:.0f} on {figures.processes} core(s), {epochs} epochs"),
        ("validation loss", f"{losses} on held-out chemical systems"),
        *((f"sha256 of {name}", value) for name, value in card.data_sha256.items()),
    ]


def _table(path: Path) -> pd.DataFrame:
    return read_rows(path) if path.is_file() else pd.DataFrame({"target": []})


def _of_target(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of one target; a table without rows where there is no such file."""
    own = table[table["target"] == name].drop(columns="target")
    return own if len(own) else pd.DataFrame()


def _spots(rows: pd.DataFrame) -> Spots:
    return {str(column): [_value(value) for value in rows[column].tolist()] for column in rows.columns}


def _value(value: CellValue) -> CellValue:
    return None if isinstance(value, float) and not np.isfinite(value) else value


class Closeness(Frozen):
    """How far a student is off the run that taught it, on rows that were held out.

    Attributes
    ----------
    target
        Of the run.
    taught, held_out
        Rows.
    value
        Mean absolute difference of the values; of classes the part of rows with another class.
    of_std
        Median difference in the run's own standard deviations; None of classes.
    unlike
        Part of the rows on which both say that a formula is unlike the training set, or both that it is not.
    """

    target: str
    taught: int
    held_out: int
    value: float
    of_std: float | None
    unlike: float


class WrittenTable(Frozen):
    """What was written of a table that was predicted part by part.

    Attributes
    ----------
    predictions, unlike
        How many, and how many of them of formulas unlike the training set.
    parts, computed
        Of the table, and how many of these were not there from before.
    closeness
        Where small networks predicted, how far they are off the run; none where the run did.
    """

    file: str
    predictions: int
    unlike: int
    parts: int
    computed: int
    closeness: tuple[Closeness, ...] = ()
