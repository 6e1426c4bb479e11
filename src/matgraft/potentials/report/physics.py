"""The page of physical checks: the verdict, what each check measured beside its allowed range, plots, references.

    write_physics(checked)          # physics/report.html and report.md in the folder of the checks
    show_physics(screen, checked)   # the short form, on the terminal

It is made from what the folder keeps; no model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from matgraft.core.errors import MatgraftError
from matgraft.core.files import write_text
from matgraft.core.findings import Finding, Measure
from matgraft.core.options import shell
from matgraft.core.report.document import (
    EVERYWHERE,
    PAGE,
    Block,
    Bullets,
    Cell,
    Column,
    Document,
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
from matgraft.core.report.text import short_number, written
from matgraft.core.verdict import Tone, Verdict
from matgraft.potentials.checks.checked import Checked, drawn
from matgraft.potentials.checks.physical import FOUNDATION
from matgraft.potentials.checks.runner import Result, without_plots
from matgraft.potentials.checks.uses import caution_of

MARKS: dict[str, str] = {"passed": "passed", "failed": "FAILED", "errored": "broke off", "not applicable": "\u2013"}
TONES: dict[str, Tone] = {"failed": "bad", "errored": "unknown"}


def physics_document(checked: Checked, folder: Path | None = None) -> Document:
    """Return the page; without a folder the short form, which has no plots."""
    return Document(
        f"Physical checks of {checked.subject}",
        [
            verdict_section(_told_once(checked), summary_blocks(checked)),
            *(() if folder is None else _check_sections(checked, folder)),
            _structures(checked),
            _references(checked),
            _files(checked),
        ],
        level=checked.verdict.level,
    )


def _told_once(checked: Checked) -> Verdict:
    """Return the verdict without what the table of checks tells: reasons, and the evidence in its cautions."""
    told = {one.code for one in checked.findings}
    reasons = tuple(one for one in checked.verdict.reasons if one.about not in told)
    failed = [one for one in checked.findings if one.outcome == "failed"]
    short = {caution_of(one).text: f"{one.title}{f' of {one.about}' if one.about else ''}: failed" for one in failed}
    cautions = tuple(one.model_copy(update={"text": short.get(one.text, one.text)}) for one in checked.verdict.cautions)
    return checked.verdict.model_copy(update={"reasons": reasons, "cautions": cautions})


def physics_sections(checked: Sequence[Checked]) -> Iterator[Section]:
    """Yield the physical checks of a run as sections of its report: a summary for each model, then each check."""
    for one in checked:
        blocks: list[Block] = [Text(one.verdict.headline, "headline"), *summary_blocks(one)]
        title = f"Physical checks{f' of {one.subject}' if len(checked) > 1 else ''}: {one.verdict.level}"
        yield Section("physics", title, blocks, EVERYWHERE, one.verdict.tone, nav="Physical checks")
        yield from _check_sections(one, Path(one.folder))


def summary_blocks(checked: Checked) -> list[Block]:
    """Return one row a finding: outcome, and its first sentence."""
    told = [one for one in checked.findings if one.outcome != "not applicable"]
    columns = [Column(title, number=False) for title in ("Check", "Outcome", "What was found")]
    rows = [_summary_row(one) for one in told]
    passed_over = [one for one in checked.findings if one.outcome == "not applicable"]
    reasons = {f"{one.code}: {one.evidence}" for one in passed_over}
    blocks: list[Block] = [Table(columns, rows)] if rows else [Text("No check was run.", "nothing")]
    files = [f"{checked.folder}/{one.structures}" for found in told for one in found.actions if one.structures]
    lists = [
        Bullets(files, "Label these next", "!", "caution"),
        Bullets(sorted(reasons), "Not applicable"),
        Bullets(checked.notes, "Notes"),
    ]
    return [*blocks, *(one for one in lists if one.lines)]


def _summary_row(one: Finding) -> Row:
    bad = one.outcome in ("failed", "errored")
    return Row(Cell(one.code, one.about), MARKS[one.outcome], one.evidence, manner="strong" if bad else "")


def _check_sections(checked: Checked, folder: Path) -> Iterator[Section]:
    """Yield a section a check, with the findings of all structures."""
    sections: dict[str, list[Block]] = {}
    titles: dict[str, str] = {}
    outcomes: dict[str, set[str]] = {}
    for result, figures in _drawn(checked, folder):
        found = result.finding
        if found.outcome == "not applicable":
            continue
        titles[found.code] = found.title
        outcomes.setdefault(found.code, set()).add(found.outcome)
        sections.setdefault(found.code, []).extend([*check_blocks(found), *figures])
    for code, blocks in sections.items():
        tone: Tone = "bad" if outcomes[code] & {"failed"} else "unknown" if outcomes[code] & {"errored"} else "good"
        yield Section(code, titles[code], blocks, PAGE, tone)


def _drawn(checked: Checked, folder: Path) -> list[tuple[Result, Sequence[Block]]]:
    """Return the results with their plots, or why there are none: the structures are gone, or changed."""
    try:
        return list(drawn(checked, folder))
    except MatgraftError as error:
        return [(result, (without_plots(error),) if result.own else ()) for result in checked.results]


def check_blocks(found: Finding) -> list[Block]:
    """Return what one check found on one structure: evidence, measures, what to do."""
    mark = f"{found.about or 'All structures'}: {MARKS[found.outcome]}."
    tone: Tone = TONES.get(found.outcome, "good")
    blocks: list[Block] = [Text(found.evidence, mark=mark, tone=tone)]
    if found.measures:
        blocks.append(measures_table(found.measures))
    if found.remedy:
        blocks.append(Text(found.remedy, mark="What to do:", tone="caution"))
    options = [("option", Cell(shell(one.options), code=True)) for one in found.actions if one.options]
    files = [("structures to label", Cell(one.structures, code=True)) for one in found.actions if one.structures]
    return [*blocks, *([Pairs([*options, *files])] if options or files else [])]


def measures_table(measures: Sequence[Measure]) -> Table:
    """Return value, reference and allowed range of each measure; those outside are bold."""
    columns = [
        Column("Measured", number=False),
        Column("Model"),
        Column("Reference"),
        Column("Allowed", number=False),
        Column("Compared with", number=False),
    ]
    return Table(columns, [_measure_row(one) for one in measures])


def _measure_row(one: Measure) -> Row:
    return Row(
        Cell(one.name, one.unit),
        written(one.value),
        written(one.reference),
        _allowed(one.allowed),
        Cell(one.reference_from, one.gate),
        manner="" if one.passes else "strong",
    )


def _allowed(ends: tuple[float | None, float | None] | None) -> str:
    if ends is None:
        return "–"
    low, high = ends
    if low is None:
        return "any" if high is None else f"at most {_bound(high)}"
    return f"at least {_bound(low)}" if high is None else f"{_bound(low)} to {_bound(high)}"


def _bound(value: float) -> str:
    """Write an end of a range with three significant digits, and no zeros behind them."""
    return short_number(float(f"{value:.3g}"))


def _structures(checked: Checked) -> Section:
    columns = [Column(title, number=title == "Atoms") for title in ("Structure", "Kind", "Formula", "Atoms", "From")]
    rows = [Row(one.name, one.kind, one.formula, written(one.n_atoms, 0), one.source) for one in checked.structures]
    return Section("structures", "Structures", [Table(columns, rows)], PAGE)


def _references(checked: Checked) -> Section:
    lead = (
        "Values of your DFT count first. Where there is none, the foundation is compared with, and more is allowed: "
        f"gates.foundation={checked.settings.gates.foundation:g} times as much."
    )
    rows = [
        Row(name, key, written(value.value), value.source)
        for name, values in checked.references.items()
        for key, value in values.items()
    ]
    columns = [Column(title, number=title == "Value") for title in ("Structure", "Property", "Value", "From")]
    rival = checked.foundation or "none"
    blocks: list[Block] = [Text(lead, "lead"), Pairs([(FOUNDATION, rival)]), *([Table(columns, rows)] if rows else [])]
    return Section("references", "What it is compared with", blocks, PAGE)


def _files(checked: Checked) -> Section:
    rows = [
        ("took", f"{checked.seconds:.0f} s"),
        ("folder", checked.folder),
        ("page", str(Path(checked.folder) / "report.html")),
    ]
    return Section("files", "Files", [Pairs(rows)], EVERYWHERE, nav=None)


def show_physics(screen: Console, checked: Checked) -> None:
    """Print the verdict and one row a check."""
    show_document(screen, physics_document(checked))


def write_physics(checked: Checked) -> Path:
    """Write report.html and report.md beside the findings; return the page."""
    folder = Path(checked.folder)
    write_text(folder / "report.html", to_html(physics_document(checked, folder)))
    write_text(folder / "report.md", to_markdown(physics_document(checked)))
    return folder / "report.html"
