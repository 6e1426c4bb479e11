"""The report of a pretraining: its losses by objective, errors by property, and its formulas in two dimensions.

>>> write_pretraining_report(Path("runs/pretrain"))
PosixPath('runs/pretrain/report.html')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from matgraft.core.errors import RunError
from matgraft.core.files import write_text
from matgraft.core.frozen import Frozen
from matgraft.core.locks import works_in
from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Column,
    Document,
    Drawing,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    Verbatim,
    nothing,
)
from matgraft.core.report.figures import COLOURS
from matgraft.core.report.html import to_html
from matgraft.core.run_folder import RunFile, resume_commands
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.pretraining.run import HISTORY, MAP, RUN, PretrainingRun
from matgraft.formulas.prompts.material_class import MATERIAL_CLASSES, material_class
from matgraft.formulas.report.facts import CARD, described_pretraining
from matgraft.formulas.report.page import FOOTER
from matgraft.formulas.report.plots import embedding_figure, loss_figure, said
from matgraft.formulas.report.rows import CellValue, Spots, read_rows

OBJECTIVES = {"properties": "Properties", "masked": "Masked atoms", "contrast": "Contrast"}
ERROR = "validation_mae_"
"""With what the names of the errors by property begin in the history."""


class PretrainingReport(Frozen):
    """What the page shows.

    Attributes
    ----------
    run
        Name of the folder.
    figures
        What came of it, in names and values.
    asked
        Files and settings; None of a folder that does not say.
    history
        Columns of history.csv.
    errors
        By property, the error of each encoder at its lowest validation loss, standardised.
    map
        Formulas at their principal components: formula, x, y, material_class, held_out; empty where there is no map.
    """

    run: str
    figures: list[tuple[str, str]]
    asked: PretrainingRun | None
    history: Spots
    errors: dict[str, list[float | None]]
    map: Spots


REPORT = RunFile("report.json", PretrainingReport, indent=None)


@works_in("run")
def write_pretraining_report(run: Path) -> Path:
    """Write report.html and report.json (the facts) into the folder of a pretraining.

    Raises
    ------
    RunError
        If the run is not finished.
    """
    facts = pretraining_report(run)
    REPORT.write(run, facts)
    write_text(run / "report.html", to_html(pretraining_document(facts)))
    return run / "report.html"


def pretraining_report(run: Path) -> PretrainingReport:
    """Return everything that the page shows; errors as of `write_pretraining_report`."""
    card = CARD.find(run)
    if card is None or not (run / HISTORY).is_file():
        raise RunError("the pretraining is not finished", where=str(run), commands=resume_commands(run))
    history = read_rows(run / HISTORY)
    best = [rows.loc[rows["validation_loss"].idxmin()] for _, rows in history.groupby("encoder")]
    names = [str(name) for name in history.columns if str(name).startswith(ERROR)]
    return PretrainingReport(
        run=run.resolve().name,
        figures=[("encoder", f"{card.n_parameters:,} parameters"), *described_pretraining(card)],
        asked=RUN.find(run),
        history=_columns(history),
        errors={name.removeprefix(ERROR): [_number(row[name]) for row in best] for name in names},
        map=_map(run),
    )


def _map(run: Path) -> Spots:
    if not (run / MAP).is_file():
        return {}
    places = read_rows(run / MAP)
    classes = [material_class(parse_formula(text, is_spelled=True)) for text in places["formula"]]
    return _columns(places) | {"material_class": list[CellValue](classes)}


def pretraining_document(facts: PretrainingReport) -> Document:
    """Return the report."""
    sections = [
        Section("pretraining", "Pretraining", [Pairs(facts.figures)], EVERYWHERE),
        losses_section(facts),
        errors_section(facts.errors),
        map_section(facts.map),
        _asked(facts.asked),
    ]
    return Document(facts.run, sections, footer=FOOTER)


def losses_section(facts: PretrainingReport) -> Section:
    """Return the curves: the whole loss, and what each objective gives on the chemical systems held out."""
    history = facts.history | {"fold": facts.history["encoder"]}  # a thin line an encoder
    weights = facts.asked.settings.weights.model_dump() if facts.asked else dict.fromkeys(OBJECTIVES, 1.0)
    whole = {"train_loss": COLOURS["untuned"], "validation_loss": COLOURS["tuned"]}
    plots = [Plot("Loss", [Drawing("loss", loss_figure(history, whole, "loss"), "loss by epoch", "curve")])]
    for name, title in OBJECTIVES.items():
        column = f"validation_{name}"
        if weights[name] and column in history:
            figure = loss_figure(history, {column: COLOURS["tuned"]}, "loss, not weighted")
            small = f"weight {weights[name]:g}"
            plots.append(Plot(title, [Drawing(f"loss-{name}", figure, f"{title} by epoch", "curve")], small))
    lead = "Validation is on chemical systems that were held out. Thin lines: the encoders; thick: their mean."
    return Section("losses", "Losses by objective", [Text(lead, "lead"), Plots(plots)])


def errors_section(errors: Mapping[str, Sequence[float | None]]) -> Section:
    """Return the errors by property."""
    if not errors:
        said_ = Text("No property was learned: formulas alone.", "nothing")
        return Section("errors", "Errors by property", [said_])
    n = len(next(iter(errors.values())))
    columns = [Column("Property", number=False), *(Column(f"Encoder {i + 1}") for i in range(n))]
    rows = [Row(name, *(said(value) for value in values)) for name, values in errors.items()]
    lead = (
        "Mean absolute error on held-out chemical systems, standardised (1 is the width of the property), of yes or no "
        "that of the probability; at the lowest validation loss."
    )
    return Section("errors", "Errors by property", [Text(lead, "lead"), Table(columns, rows, "fit")])


def map_section(places: Spots) -> Section:
    """Return the formulas in two dimensions, coloured by their class."""
    title = "Map of the embedding"
    if not places:
        return Section("map", title, [nothing(MAP)])
    found = places["material_class"]
    classes = [name for name in MATERIAL_CLASSES if name in found]
    spots = places | {"truth": [classes.index(str(one)) for one in found], "line": list(range(len(found)))}
    held = {i for i, out in enumerate(places["held_out"]) if out}
    drawing = Drawing("map", embedding_figure(spots, classes, held), "formulas by two principal components of features")
    small = f"{len(found):,} formulas drawn at random; circles: chemical systems that were held out"
    return Section("map", title, [Plots([Plot("By the class of the material", [drawing], small)])])


def _asked(run: PretrainingRun | None) -> Section:
    blocks: list[Block] = [nothing(RUN.name)]
    if run is not None:
        files = {"corpus": run.corpus, "properties": run.properties}
        rows = [(role, str(path)) for role, path in files.items() if path]
        blocks = [Pairs(rows), Verbatim(run.settings.model_dump_json(indent=2))]
    return Section("asked", "Files and settings", blocks)


def _columns(table: pd.DataFrame) -> Spots:
    return {str(name): [_value(value) for value in table[name].tolist()] for name in table.columns}


def _value(value: CellValue) -> CellValue:
    return None if isinstance(value, float) and value != value else value


def _number(value: float) -> float | None:
    return None if value != value else float(value)
