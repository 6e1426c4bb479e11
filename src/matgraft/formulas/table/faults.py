"""What is wrong in a table and what was decided in reading it: both are kept as facts, and said at the end.

refuse([BadCell(line=3, column="gap", cell="<0.1", found="...")], path)        # all of them in one error
for line in sentences(decisions): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.frozen import Frozen

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN = 10
"""Faults that one error names."""
MOST_LINES = 3
"""Lines that a sentence names."""
SKIP = "--skip-bad"

DecisionCode = Literal[
    "encoding", "separator", "format", "sheet", "hidden", "hidden-rows", "header-rows", "merged", "comments",
    "preamble", "header", "repeated-header", "unit-row", "duplicate-columns", "decimal-comma", "thousands", "unit",
    "number-form", "missing", "column", "composition", "ppm", "balance", "normalised", "empty-composition",
    "notation", "integers", "class-case", "word-case", "covariate-missing", "imputed", "uncertainty", "skipped",
]  # fmt: skip


class Decision(Frozen):
    """One thing that was decided in reading a table.

    Attributes
    ----------
    code
        What was decided.
    column
        Where it is about one column.
    value
        What was taken, as a word of the table's or of ours.
    example
        One of the words concerned.
    count
        Cells or rows concerned; 0 where it is about all.
    lines
        The first of them.
    """

    code: DecisionCode
    column: str = ""
    value: str = ""
    example: str = Field("", exclude_if=lambda text: not text)
    count: int = 0
    lines: tuple[int, ...] = ()


_SENTENCES: dict[DecisionCode, tuple[str, str]] = {
    "encoding": ("", "the text is not UTF-8: it is read as {value}{example}"),
    "separator": ("", "columns are separated by {value}"),
    "format": ("", "the content is {value}; the file's name is not used"),
    "sheet": ("", "sheet {value!r} is read"),
    "comments": ("comment line", "{n} passed over"),
    "preamble": ("line", "{n} above the header passed over"),
    "header": ("", "the header is the comment above the first row: {value}"),
    "unit-row": ("", "the row under the header holds units: {value}"),
    "duplicate-columns": ("", "several columns have one name; the further ones are called {value}"),
    "decimal-comma": ("", "column {column!r}: a comma is the decimal point"),
    "thousands": ("cell", "column {column!r}: {value!r} parts thousands in {n}"),
    "unit": ("", "column {column!r}: every number has the unit {value}, which is taken off"),
    "number-form": ("number", "column {column!r}: {n} written as {value}"),
    "missing": ("cell", "column {column!r}: {value} stands for no value in {n}"),
    "column": ("", "column {column!r} is taken for {value!r}"),
    "composition": ("", "the composition is that of the columns {value}"),
    "ppm": ("", "{value}; 10,000 are one per cent"),
    "merged": ("cell", "{n} of merged ones filled with what the first of them holds"),
    "repeated-header": ("row", "{n} like the header passed over"),
    "hidden": ("", "hidden sheets are ignored: {value}"),
    "hidden-rows": ("row", "{n} that the sheet hides, such as by a filter, read as the others are"),
    "header-rows": ("", "the header has two rows: {value}"),
    "balance": ("row", "{value} is the balance in {n}"),
    "normalised": ("composition", "{n} scaled to 100: the amounts come to {value}"),
    "empty-composition": ("cell", "{n} of the composition without an amount: taken as 0"),
    "notation": ("formula", "{value} taken off or written out in {n}"),
    "integers": (
        "whole number",
        "column {column!r}: {n} taken as numbers; if they are classes, say --classes {value}, or --order {value}",
    ),
    "class-case": ("", "column {column!r}: {value} differ in capitals alone and are one class"),
    "word-case": ("", "column {column!r}: {value} differ in capitals alone and are one word"),
    "covariate-missing": ("row", "column {column!r}: {n} without a value left out; --impute fills them"),
    "imputed": ("missing value", "column {column!r}: {n} filled with {value}"),
    "uncertainty": ("row", "column {column!r}: {n} weighed by the inverse square of the uncertainty"),
    "skipped": ("row", "{n} that cannot be used left out"),
}
"""Code -> what is counted, and what is said."""


def sentences(decisions: Iterable[Decision]) -> list[str]:
    """Say what was decided, a sentence each."""
    said = []
    for one in decisions:
        noun, text = _SENTENCES[one.code]
        n = f"{one.count:,} {noun}{'' if one.count == 1 else 's'}"
        more = ", ..." if one.lines and max(one.count, len(one.lines)) > MOST_LINES else ""
        lines = ", ".join(map(str, one.lines[:MOST_LINES])) + more
        said.append(
            text.format(
                n=n, value=one.value, column=one.column, example=f", such as {one.example!r}" * bool(one.example)
            )
            + (f" (line {lines})" if lines else "")
        )
    return said


class BadCell(Frozen):
    """A cell or a row that cannot be used.

    Attributes
    ----------
    line
        Of the file; of a sheet its row.
    column, cell
        Where it is about one cell.
    found
        What is wrong.
    remedy
        What to do, in words.
    place
        Where in the cell.
    """

    line: int
    column: str = ""
    cell: str = ""
    found: str
    remedy: str = ""
    place: str = ""

    @classmethod
    def at(cls, column: pd.Series, line: int, found: str, remedy: str = "") -> BadCell:
        """Return a cell of a column whose index holds the lines."""
        text = str(column.loc[line])
        return cls(line=int(line), column=str(column.name), cell=text, found=found, remedy=remedy)

    def error(self, path: Path | None) -> DataError:
        """Return the error of this fault alone; without a path the place in the file only."""
        parts = [f"{path} line {self.line}" if path else f"line {self.line}"]
        parts += [f"column {self.column!r}"] * bool(self.column) + [self.place] * bool(self.place)
        return DataError(self.found, where=", ".join(parts), remedy=self.remedy)


def refuse(
    faults: Sequence[BadCell], path: Path, options: Sequence[dict[str, object]] = (), can_skip: bool = True
) -> None:
    """Raise one error for all faults, which names the first ten and says how many there are; nothing without faults.

    Raises
    ------
    DataError
        With the option that leaves the rows out.
    """
    if not faults:
        return
    faults = sorted(faults, key=lambda fault: fault.line)
    lines = len({fault.line for fault in faults})
    skip: list[dict[str, object]] = [{SKIP: True}] if can_skip else []
    offered = [*options, *skip]
    if len(faults) == 1:
        alone = faults[0].error(path)
        raise DataError(alone.found, where=alone.where, remedy=alone.remedy, options=offered)
    shown = faults[:MOST_SHOWN]
    remedies = {fault.remedy for fault in faults}
    alike = remedies.pop() if len(remedies) == 1 else ""
    causes = [fault.model_copy(update={"remedy": ""}) if alike else fault for fault in shown]
    raise DataError(
        f"{lines} row{'s' * (lines > 1)} cannot be used"
        + (f"; the first {MOST_SHOWN} of them" if len(faults) > MOST_SHOWN else ""),
        where=str(path),
        remedy=alike or "correct them, or leave them out",
        options=offered,
        causes=[fault.error(None) for fault in causes],
    )


def write_skipped(skipped: Iterable[tuple[str, BadCell]], path: Path) -> None:
    """Write what was left out of tables and why as CSV: table, line, column, cell, found, remedy."""
    import pandas as pd

    rows = [{"table": table, **bad.model_dump(exclude={"place"})} for table, bad in skipped]
    with whole(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False)
