"""The report of a run on a table of formulas: one HTML page that stands alone, as for potentials.

>>> write_property_report(Path("runs/gaps"))
PosixPath('runs/gaps/report.html')
"""

from __future__ import annotations

from pathlib import Path

import yaml

from matgraft.core.files import write_text
from matgraft.core.locks import works_in
from matgraft.core.report.document import (
    EVERYWHERE,
    PAGE,
    Block,
    Cell,
    Column,
    Document,
    Drawing,
    Heading,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    Verbatim,
    finding_blocks,
    nothing,
    verdict_section,
)
from matgraft.core.report.figures import beyond_note
from matgraft.core.report.html import to_html
from matgraft.core.report.text import percent
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.report.domain import domain_section
from matgraft.formulas.report.facts import REPORT, HeldPart, PropertyReport, TargetReport, property_facts, uneven
from matgraft.formulas.report.further import further_sections
from matgraft.formulas.report.plots import (
    WORST,
    beyond_truth,
    distance_figure,
    drawn_rows,
    embedding_figure,
    in_unit,
    reliability_figure,
    roc_figure,
    said,
    truth_figure,
)
from matgraft.formulas.report.prompts import prompts_section
from matgraft.formulas.report.suggested import suggested_section
from matgraft.formulas.report.training import curves_section
from matgraft.formulas.scoring.metrics import SCORES, SHARES
from matgraft.formulas.scoring.target import TargetMetrics
from matgraft.formulas.scoring.verdict import gain_sentence
from matgraft.formulas.settings import TableSettings
from matgraft.formulas.table.audit.audit import AUDIT, TableAudit
from matgraft.formulas.table.facts import READINGS, SKIPPED, TableReadings
from matgraft.formulas.table.faults import sentences
from matgraft.formulas.table.units import shown_beside

MOST_SKIPPED = 20
"""Cells that the page names."""
FOOTER = (
    "Written by matgraft. This page is complete and loads nothing from the network; the same facts as data "
    "are in report.json."
)


@works_in("run")
def write_property_report(run: Path) -> Path:
    """Write report.html and report.json (the facts) into the folder of a run on a table.

    Raises
    ------
    RunError
        If the folder holds no metrics, or a file of it is of another version.
    """
    facts = property_facts(run)
    REPORT.write(run, facts)
    write_text(run / "report.html", to_html(property_document(facts)))
    return run / "report.html"


def property_document(facts: PropertyReport) -> Document:
    """Return the report: a few sections a target, then where the data and the encoder come from."""
    sections: list[Section] = []
    for i, target in enumerate(facts.targets):
        sections += [
            scores_section(target.name, target, f"target-{i}"),
            *(further_sections(target.test, target.further, i) if target.test and target.further else []),
            *([domain_section(target, target.domain, i)] if target.domain else []),
            members_section(target.name, target, f"members-{i}"),
            table_audit_section(target.name, facts.audit, i),
            *([suggested_section(facts.suggested[target.name], f"next-{i}")] if target.name in facts.suggested else []),
            labels_section(target, i),
            figures_section(target, facts.settings, i),
            *([curves_section(target.name, target.history, i)] if target.history else []),
        ]
    prompts = [prompts_section(facts.prompts)] if facts.prompts else []
    read = [*prompts, reading_section(facts.readings), sources_section(facts)]
    return Document(facts.run, [*sections, *read], footer=FOOTER)


def scores_section(name: str, metrics: TargetMetrics, anchor: str) -> Section:
    """Return the verdict on a target with its scores."""
    left_out = {"without a value": metrics.without_value, "of weight 0": metrics.without_weight}
    rows = str(metrics.n) + "".join(f" ({n} {which} left out)" for which, n in left_out.items() if n)
    weighted = ", weighted" if metrics.weighted else ""
    scores = [
        (SCORES[score] + weighted, percent(value) if score in SHARES else said(value))
        for score, value in metrics.scores.items()
    ]
    unlike = ("unlike the others", f"{percent(metrics.unlike)} of the rows")
    scale = [("learned on the scale", metrics.scale)] if metrics.scale != "none" else []
    strip = Pairs([("rows", rows), *scores, unlike, *scale], "strip")
    return verdict_section(metrics.verdict, [strip], name=anchor, of=name)


def members_section(name: str, metrics: TargetMetrics, anchor: str) -> Section:
    """Return what each member gave, and what the mixture gives."""
    titles = "Member", "Reads the pretrained encoder", metrics.criterion.capitalize(), "Weight"
    rows = [Row(one.name, yes(one.pretrained), said(one.score), percent(one.weight)) for one in metrics.members]
    rows += [
        Row(one.name, yes(one.pretrained), f"{said(one.score)}, first fold", "not needed") for one in metrics.dropped
    ]
    rows.append(Row("Mixture", "", said(metrics.score), "", manner="strong"))
    lead = "Every formula predicted by fits that did not see it. The mixture is chosen on these predictions."
    table = Table([Column(title, number=i > 1) for i, title in enumerate(titles)], rows, "fit")
    note = [Text(_against(metrics), "note")] if metrics.tried else []
    title = f"{name}: the error of each member"
    return Section(anchor, title, [Text(lead, "lead"), table, *note], EVERYWHERE, nav=None)


def _against(metrics: TargetMetrics) -> str:
    baseline = metrics.baseline
    between = "; too few formulas or groups are independent of each other for an interval"
    if baseline.interval:
        low, high = baseline.interval
        between = f", with 95 % between {low:+.3g} and {high:+.3g} over rows that share no formula and no group"
    gain = gain_sentence(metrics)
    return (
        f"Against {baseline.name} ({said(baseline.score)}): {baseline.difference:+.3g}{between}. {gain and gain + '.'}"
    )


def table_audit_section(name: str, audit: TableAudit | None, i: int) -> Section:
    """Return what the audit of the table found for a target."""
    findings = audit.targets.get(name) if audit else None
    blocks = [nothing(AUDIT.name)] if findings is None else finding_blocks(findings)
    return Section(f"audit-{i}", f"{name}: audit of the table", blocks, PAGE | {"markdown"}, nav=None)


def labels_section(target: TargetReport, i: int) -> Section:
    """Return the errors with and without a label in the encoder's pretraining."""
    title = f"{target.name}: what the pretraining knew"
    if target.pretraining is None:
        unknown = (
            "Not known: the folder of this encoder has no labels.npz, the list of the formulas that had labels in its "
            "pretraining."
        )
        return Section(f"labels-{i}", title, [Text(unknown, "nothing")], nav=None)
    lead = (
        "A formula that had a computed label in the encoder's pretraining is not new to the encoder, whatever the "
        "property."
    )
    titles = ["Formulas", "Rows", target.criterion.capitalize()]
    rows = [[row.part, str(row.n), said(row.ours)] for row in target.by_label]
    if any(row.baseline is not None for row in target.by_label):
        titles += ["Descriptors and trees", "Difference (95 % interval)"]
        for cells, row in zip(rows, target.by_label, strict=True):
            ends = row.interval and f" ({row.interval[0]:+.3g} to {row.interval[1]:+.3g})"
            cells += [said(row.baseline), "" if row.difference is None else f"{row.difference:+.3g}{ends or ''}"]
    table = Table([Column(one, number=one != "Formulas") for one in titles], [Row(*cells) for cells in rows], "fit")
    named = ", ".join(f"{name} {n}" for name, n in target.pretraining.by_property.items())
    note = [Text(f"Rows by the label that their formula had: {named}.", "note")] if named else []
    return Section(f"labels-{i}", title, [Text(lead, "lead"), table, *note], nav=None)


def figures_section(target: TargetReport, settings: TableSettings | None, i: int) -> Section:
    """Return the figures, what the intervals hold, and the worst predictions."""
    files = {"predictions.csv": target.held, "map.csv": target.map}
    missing = [nothing(file) for file, content in files.items() if not content]
    plots = [*_of_predictions(target, i), *_of_map(target, i)]
    blocks: list[Block] = [*missing, *([Plots(plots)] if plots else [])]
    blocks += [*_intervals(target, settings), *_worst(target)]
    return Section(f"figures-{i}", f"{target.name}: figures", blocks, nav=None)


def _of_predictions(target: TargetReport, i: int) -> list[Plot]:
    held, classes, error = target.held, target.classes, target.error
    if not held:
        return []
    shown = len(drawn_rows(error))
    drawn = f"{shown:,} of {len(error):,} rows drawn: the {WORST} of the largest errors, and a random draw"
    some = [drawn] if shown < len(error) else []

    def plot(title: str, drawing: Drawing, *notes: str) -> Plot:
        return Plot(title, [drawing], "; ".join(notes))

    unit = shown_beside(target.name, target.unit)
    axis = "1 − probability of the truth" if classes else f"absolute error{in_unit(target.unit)}"
    distance = Drawing(f"distance-{i}", distance_figure(held, error, axis), f"{target.name}: errors against distance")
    apart = plot("Error by distance from the training set", distance, *some)
    if not classes:
        label = f"{target.name}: out-of-fold predictions with intervals against the values in the table"
        parity = Drawing(f"parity-{i}", truth_figure(target.name, held, error, unit=unit), label)
        beyond = beyond_note(beyond_truth(held, error))
        unknown = "" if target.unit else "the table names no unit: --unit says it"
        return [plot("Parity", parity, *filter(None, (*some, beyond, unknown))), apart]
    of = f" of {classes[1]}" if len(classes) == 2 else ""
    roc = Drawing(f"roc-{i}", roc_figure(held, classes), f"{target.name}: receiver operating characteristic")
    label = f"{target.name}: how often a stated probability came true"
    reliability = Drawing(f"reliability-{i}", reliability_figure(held, classes), label)
    return [plot(f"ROC{of}", roc), plot(f"Calibration of the probabilities{of}", reliability), apart]


def _of_map(target: TargetReport, i: int) -> list[Plot]:
    if not target.map:
        return []
    lines, unlike = (target.held.get(column, []) for column in ("line", "unlike"))
    far = {line for line, is_far in zip(lines, unlike, strict=True) if is_far}
    on_map = len(target.map["x"])
    drawn = f"; {on_map:,} of {target.n:,} rows drawn at random" if on_map < target.n else ""
    values = f"{target.name}{in_unit(shown_beside(target.name, target.unit))}"
    label = f"{target.name}: formulas by the first two principal components of the encoder"
    drawing = Drawing(f"map-{i}", embedding_figure(target.map, target.classes, far, values), label)
    return [Plot("Map of the embedding", [drawing], f"circles: unlike the others{drawn}")]


def _intervals(target: TargetReport, settings: TableSettings | None) -> list[Block]:
    if not target.held_by:
        return []
    level = percent(settings.run.settings.level) if settings else "90.0 %"
    counts = " Here each row counts alike, whatever its weight." if target.weighted else ""
    columns = [Column("Part", number=False), Column("Rows"), Column("Held")]
    rows = [Row(row.part, str(row.n), percent(row.held)) for row in target.held_by]
    title = Heading("Do the intervals hold what they state?")
    remarks = [Text(_remark(more, less), "note") for more, less in uneven(target.held_by)]
    return [title, Text(f"Stated: {level}.{counts}", "lead"), Table(columns, rows, "fit"), *remarks]


def _remark(more: HeldPart, less: HeldPart) -> str:
    return (
        f"The intervals hold {percent(more.held)} in the {more.part} and {percent(less.held)} in the {less.part}: "
        f"those of the {less.part} are too narrow."
    )


def _worst(target: TargetReport) -> list[Block]:
    if not target.worst:
        return []
    last = "Probability of the truth" if target.classes else "Interval"
    titles = "Line", "Formula", "In the table", "Predicted", last, "Distance"
    rows = []
    for row in target.worst:
        if target.classes:
            sure = percent(float(row[f"p_{row['truth']}"] or 0))
        else:
            sure = f"{said(row['lower'])} to {said(row['upper'])}"
        far = f"{row['distance']:.2f}{', unlike' if row['unlike'] else ''}"
        rows.append(Row(said(row["line"]), said(row["formula"]), said(row["truth"]), said(row["value"]), sure, far))
    columns = [Column(title, number=k > 1) for k, title in enumerate(titles)]
    note = Text("A wrong value in the table looks like this as well: read these lines again.", "note")
    return [Heading("The worst predictions"), Table(columns, rows, "fit"), note]


def reading_section(readings: TableReadings | None) -> Section:
    """Return how the tables were read: what was decided on the way, and which rows were left out."""
    lead = "What a table leaves open was decided as follows; a wrong decision is a wrong table."
    blocks: list[Block] = [] if readings else [nothing(READINGS.name)]
    for one in readings.tables if readings else ():
        said = [(str(i), sentence) for i, sentence in enumerate(sentences(one.decisions), 1)]
        blocks += [Heading(one.table), Pairs(said) if said else Text("Nothing was left open.", "note")]
        rows = [Row(str(bad.line), bad.column, bad.cell[:60], bad.found) for bad in one.skipped[:MOST_SKIPPED]]
        columns = [Column("Line"), *(Column(name, number=False) for name in ("Column", "Cell", "Why it is left out"))]
        more = f"Cells left out: {len(one.skipped):,}; {SKIPPED} in the folder of the run has every one."
        blocks += [Table(columns, rows), Text(more, "note")] if rows else []
    return Section("reading", "How the table was read", [Text(lead, "lead"), *blocks], PAGE | {"markdown"})


def sources_section(facts: PropertyReport) -> Section:
    """Return where the table, the settings and the encoder come from."""
    settings = _settings(facts.settings) if facts.settings else [nothing("settings.json")]
    encoder: list[Block] = [nothing("model/card.json")]
    if facts.card:
        encoder = [Pairs([*((name, str(value)) for name, value in facts.card.items()), *facts.pretraining])]
    return Section("provenance", "Provenance", [*settings, Heading("Encoder"), *encoder])


def _settings(settings: TableSettings) -> list[Block]:
    run = settings.run
    rows: list[tuple[str, str | Cell]] = [("table", run.table), ("sha256", Cell(settings.table_sha256, code=True))]
    for role, file, digest in (
        ("target", run.adapt_to, settings.adapt_to_sha256),
        ("test", run.test, settings.test_sha256),
    ):
        rows += [(role, file), ("sha256", Cell(digest, code=True))] if file and digest else []
    columns = {"formula": run.formula, "covariates": ", ".join(run.covariates), "weight": run.weight,
               "group": run.group, "order": ", ".join(run.order)}  # fmt: skip
    rows += [(name, value) for name, value in columns.items() if value]
    return [Heading("Table and settings"), Pairs(rows), Verbatim(_as_yaml(run.settings))]


def _as_yaml(settings: PredictorSettings) -> str:
    """Write settings as a recipe says them; what is left to the strategy is left out."""
    return yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True), sort_keys=False).rstrip()


def yes(value: bool) -> str:
    """Write yes or no."""
    return "yes" if value else "no"
