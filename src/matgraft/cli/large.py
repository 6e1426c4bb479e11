"""Tables of many rows: `predict` into a file, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matgraft.cli.common import tell
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.cli.options import FileOptions, LargeOptions, Shown


def tell_large(
    run: Path,
    what: list[str],
    out: Path | None,
    formula: str | None,
    file: FileOptions,
    shown: Shown,
    large: LargeOptions,
) -> bool:
    """Predict a table of many rows, or on the workers of an executor, into a file; say whether it was one.

    Parameters
    ----------
    what
        Tables; none where formulas were typed.

    Raises
    ------
    OptionError
        If an option has no use: formulas that were typed, several tables, no file to write.
    """
    if not (what or large.executor or large.fast):  # formulas that were typed wait for no import
        return False
    from matgraft.core.executor import read_executor
    from matgraft.core.targets import is_stream
    from matgraft.formulas.large.parts import cut_into_parts

    where = read_executor(large.executor) if large.executor else None
    usable = len(what) == 1 and out is not None and not is_stream(out) and not file.sheet
    table = cut_into_parts(Path(what[0])) if usable else None
    if table is None and (where or large.fast):
        raise OptionError(
            f"{'--executor' if where else '--fast'} is read with one table that can be cut into parts, and with -o",
            allowed=["a table in UTF-8 (.csv, .tsv, .txt) or .parquet, and -o FILE.csv or FILE.parquet"],
        )
    if table is None or out is None or (not large.fast and where is None and len(table.parts) < 2):
        return False
    from matgraft.formulas.large.predict import Question, predict_large
    from matgraft.formulas.report.text import show_many_written
    from matgraft.formulas.table.formula_table import ColumnNames

    question = Question(run, table, out, ColumnNames(formula=formula, reading=file.reading()), where, large.fast)
    written, reading = predict_large(question, quiet=shown.silent)
    teller(shown.silent, skipped_beside(out, Path(what[0])))(reading)
    tell(written, show_many_written, shown.as_json)
    return True
