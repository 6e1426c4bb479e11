"""A finished run on a table, scored on a further table with labels: `matgraft evaluate RUN labelled.csv`.

evaluations/<table>-<hash>.json  .csv (the predictions)  .html (the page)
"""

from __future__ import annotations

from pathlib import Path

from matgraft.core.errors import OptionError
from matgraft.core.files import write_text
from matgraft.core.locks import works_in
from matgraft.core.provenance import file_hash
from matgraft.core.report.document import Document
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.core.run_folder import RunFile
from matgraft.core.targets import ending
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.report.facts import TableEvaluation
from matgraft.formulas.report.further import further_sections, further_spots
from matgraft.formulas.report.page import FOOTER
from matgraft.formulas.report.rows import TableRow, further_rows, write_rows
from matgraft.formulas.scoring.further import FurtherScores, score_further
from matgraft.formulas.table.facts import TableReading, Tell
from matgraft.formulas.table.formula_table import ReadOptions
from matgraft.formulas.table.opening import targets_in

FOLDER = "evaluations"
FORMS = {".html": to_html, ".md": to_markdown}
"""Suffix of a page -> what writes it."""


@works_in("run")
def evaluate_table(
    run: Path, table: Path, page: Path | None = None, *, reading: ReadOptions | None = None, tell: Tell | None = None
) -> TableEvaluation:
    """Score the predictors of a run on a further table, and write what came of it into the run folder.

    Rows whose formula or group was trained on are scored apart; the verdict is on the others.

    Parameters
    ----------
    page
        Where the page goes, .html or .md; by default into the run folder.
    reading
        How the table is read; what is not said is that of the run.
    tell
        Is told how it was read.

    Raises
    ------
    DataError, OptionError
        If the folder is no finished run on a table, a cell cannot be used, or the table has none of its targets.
    """
    form = ending(page, FORMS, stream=".md") if page is not None else ".html"
    if form is None:
        raise OptionError(f"{page}: the page is of no known form", allowed=FORMS)
    model = PropertyModel.open(run)
    how = model.run.reading_like(reading)
    asked = targets_in(table, model.targets, how.columns)
    read = {target: how.read_further(table, target, model.names[target]) for target in asked}
    if tell:
        tell(TableReading.of(table, [further for further, _ in read.values()]))
    scores: dict[str, FurtherScores] = {}
    rows: dict[str, list[TableRow]] = {}
    for target, (further, lacks) in read.items():
        scores[target], found = score_further(
            model.predictor(target), model.names[target], further, model.run.group, file=str(table), lacks=lacks
        )
        rows[target] = further_rows(found, target)
    stem = f"{table.name.partition('.')[0]}-{file_hash(table)[:8]}"
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    evaluation = TableEvaluation(
        run=str(run),
        file=str(table),
        predictions=str(folder / f"{stem}.csv"),
        report=str(page or folder / f"{stem}.html"),
        targets=scores,
        without=tuple(name for name in model.targets if name not in asked),
    )
    write_rows([row for own in rows.values() for row in own], folder / f"{stem}.csv")
    spots = {target: further_spots(own) for target, own in rows.items()}
    sections = [
        one for i, (name, score) in enumerate(scores.items()) for one in further_sections(score, spots[name], i)
    ]
    document = Document(f"{run.resolve().name} on {table.name}", sections, footer=FOOTER)
    write_text(Path(evaluation.report), FORMS[form](document))
    RunFile(f"{FOLDER}/{stem}.json", TableEvaluation).write(run, evaluation)
    return evaluation
