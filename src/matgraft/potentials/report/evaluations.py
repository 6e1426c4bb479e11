"""What `matgraft evaluate` says: of a run beside its foundation, or of one model and several side by side.

show_side_by_side(screen, facts)            # facts are those of --json
write_page(side_by_side_document(facts), Path("models.html"))
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from matgraft.core.errors import OptionError
from matgraft.core.files import write_text
from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import FORCES, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Bullets,
    Cell,
    Column,
    Document,
    FindingList,
    Heading,
    Pairs,
    Row,
    Section,
    Table,
    Text,
    verdict_section,
)
from matgraft.core.report.html import to_html
from matgraft.core.report.markdown import to_markdown
from matgraft.core.report.screen import show_document
from matgraft.core.report.text import decimals, interval, written
from matgraft.core.statistics import MIN_UNITS
from matgraft.core.targets import ending
from matgraft.core.verdict import Caution
from matgraft.potentials.report.scores import relative_table, score_blocks
from matgraft.potentials.scoring.evaluate import Evaluation, SeenCounts
from matgraft.potentials.scoring.frame_errors import Statistic, metric_key
from matgraft.potentials.scoring.judged import trajectories
from matgraft.potentials.scoring.metrics import Figures
from matgraft.potentials.scoring.scores import Scores
from matgraft.potentials.scoring.standing import Standing
from matgraft.potentials.tuning.held_out import HeldOut
from matgraft.potentials.tuning.references import ReferenceShift

PAGES = {".html": to_html, ".md": to_markdown}
"""Ending of a page -> what writes it."""


class ModelScores(Frozen):
    """What one model's errors are on the frames that all models were asked about.

    Attributes
    ----------
    name
        As it was typed.
    theory
        Its level of theory, in words.
    scores
        Its errors as it comes, under ``test``.
    shifted
        The errors of its energies after a shift of the reference energies; None where none was made.
    shift
        The shift that all frames give together, or that was asked for: what tuning would begin with.
    held_out
        On which frames the shift was fitted that `shifted` is scored with; None where it is `shift` itself, which then
        was not fitted on these frames.
    frames
        What the fit of a run did with the frames; None of a model that does not say.
    """

    name: str
    theory: str
    scores: Scores
    shifted: Scores | None = None
    shift: ReferenceShift | None = None
    held_out: HeldOut | None = None
    frames: SeenCounts | None = None


class EvaluatedModels(Frozen):
    """What `matgraft evaluate` says of models on frames.

    Attributes
    ----------
    files, notes
        What was read, and how.
    elements
        Of the frames that are scored.
    grouped_by
        How the trajectories were found.
    part
        Which frames are scored: all that were given (``"given"``), those that no run was fitted on (``"unseen"``), or
        all, since there are none of these (``"seen"``).
    models
        In the order in which they were named; one that can take no frame is not there.
    standings
        Which model errs least, one a quantity; empty for one model.
    left_out
        Frames that a model cannot take; they are in no figure of any model.
    unshifted
        Frames without an energy after the shift.
    doubts
        What in the labels would block a training: the errors may be those of the reading.
    cautions
        Why the figures may mislead, the gravest first.
    next_command
        What to type next, word by word.
    """

    files: tuple[str, ...]
    notes: tuple[str, ...]
    elements: tuple[str, ...]
    grouped_by: str
    part: str
    models: tuple[ModelScores, ...]
    standings: tuple[Standing, ...] = ()
    left_out: tuple[Finding, ...] = ()
    unshifted: tuple[Finding, ...] = ()
    doubts: tuple[Finding, ...] = ()
    cautions: tuple[Caution, ...] = ()
    next_command: tuple[str, ...]


class _Shown(NamedTuple):
    """A column of errors: its title, its quantity, and where the errors of a model stand."""

    title: str
    quantity: Quantity
    of: Callable[[ModelScores], Scores | None]

    def figures(self, model: ModelScores) -> Figures:
        found = self.of(model)
        return found.test if found else {}


def evaluation_document(facts: Evaluation) -> Document:
    """Return how many of the frames the fit has seen, the verdict on the others, and the errors of both."""
    said = []
    if counts := facts.frames:
        said = [Text(f"{facts.file}: {_seen(counts)}")]
    sections = [verdict_section(facts.verdict, [*said, *score_blocks(facts)])]
    if facts.with_seen:
        title = "The same with the frames that the fit has seen; such errors look better than they are"
        sections.append(Section("seen", title, score_blocks(facts.with_seen), EVERYWHERE))
    return Document(facts.file, sections, facts.verdict.level)


def show_evaluation(screen: Console, facts: Evaluation) -> None:
    """Print the evaluation of a run."""
    show_document(screen, evaluation_document(facts))


def show_side_by_side(screen: Console, facts: EvaluatedModels) -> None:
    """Print the evaluation of one model or several."""
    show_document(screen, side_by_side_document(facts))


def write_page(document: Document, path: Path) -> None:
    """Write a document as a page, by the ending of the file; errors as of `refuse_other_page`."""
    refuse_other_page(path)
    write_text(path, PAGES[str(ending(path, PAGES, stream=".md"))](document))


def refuse_other_page(path: Path) -> None:
    """Raise an OptionError if no page of a file's ending is written."""
    if ending(path, PAGES, stream=".md") is None:
        raise OptionError(f"{path}: the page is written as HTML or markdown", allowed=[f"*{end}" for end in PAGES])


def side_by_side_document(facts: EvaluatedModels) -> Document:
    """Return the evaluation of one model or several: frames, errors, which is best, types of frames, what to do."""
    scored = facts.models[0].scores
    n_frames, n_atoms = scored.test["n_frames"], scored.test["n_atoms"]
    count = f"{n_frames:,.0f} frames, {n_atoms:,.0f} atoms of {', '.join(facts.elements)}"
    found = f"{trajectories(scored.n_groups)}, found by {facts.grouped_by}"
    title = f"{', '.join(facts.files)}: {count} in {found}"
    types = list(_types(facts))
    known = {model.name: (model.scores.relative, "test") for model in facts.models if model.scores.relative}
    relative = relative_table(known) if known else []
    command = Cell(shlex.join(facts.next_command), code=True)
    sections = [
        Section("frames", title, [Bullets([*facts.notes, *_seen_by_runs(facts)])], EVERYWHERE, nav="Frames"),
        Section("errors", "Root mean square error", list(_errors(facts)), EVERYWHERE, nav="Errors"),
        Section("types", "Root mean square error by type", types, EVERYWHERE, nav="By type"),
        Section("relative", "Relative energies", relative, EVERYWHERE),
        Section("left-out", "In no figure", [FindingList([*facts.left_out, *facts.unshifted])], EVERYWHERE),
        Section("doubts", "Labels in doubt: see to these first", [FindingList(facts.doubts)], EVERYWHERE),
        Section("next", "What to type next", [Pairs([("command", command)])], EVERYWHERE),
    ]
    there = {
        "left-out": facts.left_out or facts.unshifted,
        "doubts": facts.doubts,
        "types": types,
        "relative": relative,
    }
    kept = [section for section in sections if there.get(section.name, True)]
    return Document(", ".join(facts.files), kept, ", ".join(model.name for model in facts.models))


def _seen(counts: SeenCounts) -> str:
    return (
        f"{counts.trained_on} of {counts.total} frames were trained on, {counts.validated_on} were validated on, "
        f"{counts.unseen} are unseen"
    )


def _seen_by_runs(facts: EvaluatedModels) -> Iterator[str]:
    """Say what the runs have seen, and on which frames the figures are."""
    yield from (f"{model.name}: {_seen(model.frames)}" for model in facts.models if model.frames)
    if facts.part == "unseen" and any(
        model.frames and model.frames.unseen < model.frames.total for model in facts.models
    ):
        yield "scored are the frames that no run was trained or validated on"


def _errors(facts: EvaluatedModels) -> Iterator[Block]:
    shown = _columns(facts.models)
    hottest = [FORCES] * any(column.quantity == FORCES for column in shown)
    heads = [Column(column.title, column.quantity.report_unit) for column in shown]
    heads += [Column("Largest forces", quantity.report_unit) for quantity in hottest]
    cells = [_error_cells(facts, column) for column in shown]
    rows = []
    for i, model in enumerate(facts.models):
        tenth = model.scores.worst_force_decile["test"]
        rows += [
            Row(model.name, *(own[i] for own in cells), *(written(_figure(tenth, one, "rmse")) for one in hottest)),
            Row(
                "mean absolute error",
                *(written(_figure(column.figures(model), column.quantity, "mae")) for column in shown),
                *(written(_figure(tenth, one, "mae")) for one in hottest),
                manner="faint",
            ),
        ]
    yield Table([Column("Model", number=False), *heads], rows, "scores")
    yield Text(_intervals_note(facts), "note")
    if hottest:
        yield Text("Largest forces are those on the tenth of the atoms with the largest reference forces.", "note")
    yield from (Text(sentence, "note") for sentence in _shift_sentences(facts))
    if shifts := [f"{model.name}: {model.shift.text}" for model in facts.models if model.shift]:
        yield Bullets(shifts, "Shift of the reference energies on all frames")
    if facts.standings:
        yield Bullets([one.sentence for one in facts.standings], "Which model errs least")
    if facts.cautions:
        yield Bullets([one.text for one in facts.cautions], "Why it may mislead", "!", "caution")


def _columns(models: Sequence[ModelScores]) -> list[_Shown]:
    """Return the columns that some model has an error for; energies also after the shift."""
    every = [
        column
        for quantity in POTENTIAL_QUANTITIES.values()
        for column in (
            _Shown(quantity.name.capitalize(), quantity, lambda model: model.scores),
            _Shown(f"{quantity.name.capitalize()}, shifted", quantity, lambda model: model.shifted),
        )
    ]
    return [
        one for one in every if any(_figure(one.figures(model), one.quantity, "rmse") is not None for model in models)
    ]


def _error_cells(facts: EvaluatedModels, column: _Shown) -> list[Cell]:
    """Return the RMSE of each model with its interval, the lowest one marked."""
    errors = [_figure(column.figures(model), column.quantity, "rmse") for model in facts.models]
    places, key = decimals(errors), metric_key(column.quantity, "rmse")
    standing = next((one for one in facts.standings if _is_of(one, column)), None)
    cells = []
    for model, error in zip(facts.models, errors, strict=True):
        found = column.of(model)
        span = interval(found.intervals["test"].get(key) if found else None, places)
        lowest = "lowest" if standing and standing.best == model.name else ""
        cells.append(Cell(written(error, places), ", ".join(filter(None, (span, lowest)))))
    return cells


def _is_of(standing: Standing, column: _Shown) -> bool:
    return standing.quantity == column.quantity.name and standing.shifted == column.title.endswith(", shifted")


def _figure(figures: Figures, quantity: Quantity, statistic: Statistic) -> float | None:
    return figures.get(metric_key(quantity, statistic))


def _intervals_note(facts: EvaluatedModels) -> str:
    carried = facts.models[0].scores.n_groups_with
    over = ", ".join(f"{count} with {name} labels" for name, count in carried.items())
    said = f"Below an error stands its 95 % interval over trajectories: {over}."
    if max(carried.values(), default=0) < MIN_UNITS:
        said = f"Fewer than {MIN_UNITS} trajectories are too few for intervals: {over}."
    return f"{said} All models are scored on the same frames." if len(facts.models) > 1 else said


def _shift_sentences(facts: EvaluatedModels) -> Iterator[str]:
    """Say what the shift is and on which frames it was fitted."""
    model = next((one for one in facts.models if one.shifted), None)
    if model is None or model.shift is None:
        return
    shifted = "“Shifted” energies are those after a constant for each element is added"
    if model.held_out is None:
        yield f"{shifted}: {_NOT_FITTED[model.shift.mode]}."
        return
    others, halves = model.held_out.n_others, model.held_out.n_halves
    parts = [f"for {others} frames on other trajectories alone"] * bool(others)
    one_alone = model.scores.n_groups == 1
    why = "" if one_alone else ", whose elements no other trajectory determines,"
    rest = f"for {halves} frames{why} on the other half of {'the one' if one_alone else 'their own'} trajectory"
    parts += [rest] * bool(halves)
    yield f"{shifted}. It is fitted {', '.join(parts)}: no frame has a part in its own shift."


_NOT_FITTED = {
    "isolated": "the isolated atoms in the files give it, and nothing is fitted on the frames",
    "given": "it is the one that was given, and nothing is fitted on the frames",
}


def _types(facts: EvaluatedModels) -> Iterator[Block]:
    """Lay the errors by type and by each tag out that tells frames apart."""
    for tag, table in facts.models[0].scores.tables.items():
        sizes = {value: row["n_frames"] for value, row in table["test"].items()}
        if len(sizes) > 1:
            yield from _types_of(facts, tag, sizes)


def _types_of(facts: EvaluatedModels, tag: str, sizes: Mapping[str, float]) -> Iterator[Block]:
    """Return a column a quantity for one model, else a table a quantity and a column a model."""
    shown = _columns(facts.models)
    if len(facts.models) == 1:
        yield _types_table(tag, sizes, [(column.title, column, facts.models[0]) for column in shown])
        return
    for column in shown:
        yield Heading(f"{column.title} by {tag}", column.quantity.report_unit)
        yield _types_table(tag, sizes, [(model.name, column, model) for model in facts.models])


def _types_table(tag: str, sizes: Mapping[str, float], asked: Sequence[tuple[str, _Shown, ModelScores]]) -> Table:
    errors = []
    for _, column, model in asked:
        found = column.of(model)
        table = found.tables[tag]["test"] if found else {}
        errors.append([_figure(table.get(value, {}), column.quantity, "rmse") for value in sizes])
    places = [decimals(own) for own in errors]
    heads = [Column(title, column.quantity.report_unit) for title, column, _ in asked]
    rows = [
        Row(value, written(size, 0), *(written(own[i], place) for own, place in zip(errors, places, strict=True)))
        for i, (value, size) in enumerate(sizes.items())
    ]
    return Table([Column(tag, number=False), Column("Frames"), *heads], rows)
