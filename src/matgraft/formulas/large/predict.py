"""A table of any size in, its predictions out as CSV or parquet: streamed, on many workers, never begun anew.

    written = predict_large(Path("runs/gaps"), Path("candidates.csv"), Path("gaps.parquet"), ColumnNames())

Parts are predicted by processes of this machine that share the fitted model, or by the workers of an executor
(`matgraft.core.executor`). They lie in ``gaps.parquet.parts/`` until the file is whole: the command that was killed
goes on with those that are missing when it is typed again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from matgraft.core import manifest
from matgraft.core.errors import ChangedError, DataError, RunError
from matgraft.core.executor import executor
from matgraft.core.executor_settings import ExecutorSettings, Lost
from matgraft.core.files import remove, whole
from matgraft.core.locks import locked
from matgraft.core.processes import bar, cores, map_in_processes
from matgraft.formulas.large.parts import Part, PartedTable
from matgraft.formulas.large.teaching import refuse_few, taught
from matgraft.formulas.large.work import FAULTY, Asked, PartFacts, digest_of, opened, predict_part
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.report.facts import Closeness, WrittenTable
from matgraft.formulas.table.facts import TableReading
from matgraft.formulas.table.faults import refuse
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.parsing import alloy_cures

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes
    ----------
    run, out
        Folder of the run, and the file that is written: .csv or .parquet.
    table
        As it was cut (`parts.cut_into_parts`).
    columns
        How it is read.
    where
        Workers; by default processes of this machine, one a core.
    fast
        Have small networks predict that learn from the run (`matgraft.formulas.large.student`).
    """

    run: Path
    table: PartedTable
    out: Path
    columns: ColumnNames
    where: ExecutorSettings | None = None
    fast: bool = False


def predict_large(asked: Question, *, quiet: bool = False) -> tuple[WrittenTable, TableReading]:
    """Predict a table, and return what was written and how the table was read.

    Raises
    ------
    DataError
        If rows cannot be predicted, and are not to be left out; parts that were predicted before are kept.
    RunError
        If a part was lost with the process that worked on it, again and again.
    """
    columns, parts = asked.columns, asked.table.parts
    skip_bad = columns.reading.skip_bad
    how = Asked(
        run=asked.run.resolve(),
        store=asked.out.with_name(f"{asked.out.name}.parts").resolve(),
        table=asked.table.model_copy(update={"parts": (), "path": asked.table.path.resolve()}),
        columns=replace(columns, reading=replace(columns.reading, skip_bad=True)),
        sha256=digest_of(asked.run, columns, asked.table),
        skip_bad=skip_bad,
    )
    if asked.fast:
        refuse_few(sum(part.rows for part in parts))
    close: tuple[Closeness, ...] = ()
    with locked(how.store, new=True):
        manifest.begin(how.store)
        manifest.settle(how.store)
        remove(how.store / FAULTY)
        if asked.fast:
            students, close = taught(how, parts, "" if quiet else asked.table.path.name)
            how = how.model_copy(update={"students": students, "sha256": f"fast {how.sha256}"})
        targets = range(len(PropertyModel.open(asked.run).names))
        kept = {part: said for part in parts if (said := _kept(how, part, targets)) is not None}
        missing = [part for part in parts if part not in kept]
        found = dict(zip(missing, _predicted(how, missing, asked.where, "" if quiet else "parts"), strict=True))
        facts = [kept.get(part) or found[part] for part in parts]
        bad = [one for part in facts for one in part.bad]
        if bad and (not skip_bad or not any(part.predictions for part in facts)):
            can_skip = columns.reading.can_skip and len({one.line for one in bad}) < sum(part.rows for part in parts)
            refuse(bad, asked.table.path, alloy_cures(sum(part.alloys for part in facts)), can_skip=can_skip)
        results = (how.result(part, i) for i in targets for part in parts)
        _write([manifest.check_file(one) for one in results if manifest.is_there(one)], asked.out)
    remove(how.store)
    decisions = dict.fromkeys(one for part in facts for one in part.decisions)
    reading = TableReading(table=str(asked.table.path), decisions=tuple(decisions), skipped=tuple(bad))
    written = WrittenTable(
        file=str(asked.out), predictions=sum(part.predictions for part in facts),
        unlike=sum(part.unlike for part in facts), parts=len(parts), computed=len(missing), closeness=close,
    )  # fmt: skip
    return written, reading


def _kept(how: Asked, part: Part, targets: Iterable[int]) -> PartFacts | None:
    """Return what was said of a part; None where it was not predicted, or its files are not what was written."""
    try:
        if not manifest.is_there(how.facts(part)):
            return None
        for one in (how.result(part, i) for i in targets):
            if manifest.is_there(one):  # of prompts, nothing may be asked of a target
                manifest.check_file(one)
        return PartFacts.model_validate_json(manifest.checked(how.facts(part)))
    except (ChangedError, ValidationError):
        return None


def _predicted(how: Asked, parts: Sequence[Part], where: ExecutorSettings | None, title: str) -> list[PartFacts]:
    """Predict parts by forked processes that share the fitted model, or by an executor; facts in their order."""
    work = partial(predict_part, how)
    if not parts:
        return []
    if where is None:
        opened(how.run, how.sha256, how.students)  # once, before the processes part
        return map_in_processes(work, parts, cores(), title)
    found: dict[int, PartFacts] = {}
    with bar(title, len(parts)) as tick, executor(where, how.store) as pool:

        def done(number: int, facts: PartFacts | Lost) -> None:
            if isinstance(facts, Lost):
                raise RunError(
                    f"a part was lost: {facts.reason}",
                    where=f"{how.table.path}, from line {parts[number].first}",
                    remedy="fewer workers; the parts that are done are kept",
                )
            found[number] = facts
            tick()

        pool.run(work, parts, done)
    return [found[i] for i in range(len(parts))]


# ------------------------------------------------------------------- what is written


def _write(files: Sequence[Path], out: Path) -> None:
    """Write the predictions of all parts into one file, target by target, whole or not at all."""
    if not files:
        raise DataError("there is no formula to predict")
    with whole(out) as part:
        if out.suffix.lower() == ".parquet":
            _as_parquet(files, part)
            return
        _as_text(files, part)


def _columns(files: Sequence[Path]) -> dict[str, set[str]]:
    """Return the columns of all parts, in the order in which they come, each with its types."""
    from pyarrow import parquet

    found: dict[str, set[str]] = {}
    for file in files:
        for column in parquet.read_schema(file):
            found.setdefault(column.name, set()).add(str(column.type))
    return found


def _as_text(files: Sequence[Path], part: Path) -> None:
    """Write CSV: processes turn the parts of the table into text beside them, which is then joined."""
    columns = list(_columns(files))
    packed = "" if part.suffix.lower() == ".csv" else part.suffix  # packed texts, one after another, are one
    texts = [file.with_suffix(f".csv{packed}") for file in files]
    map_in_processes(lambda pair: _text_of(*pair, columns), list(zip(files, texts, strict=True)), cores())
    pd.DataFrame(columns=columns).to_csv(part, index=False)
    with part.open("ab") as joined:
        for text in texts:
            with text.open("rb") as one:
                shutil.copyfileobj(one, joined)
            remove(text)


def _text_of(file: Path, text: Path, columns: Sequence[str]) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    with whole(text) as part:
        if text.suffix != ".csv":  # packed
            pd.read_parquet(file).reindex(columns=list(columns)).to_csv(part, index=False, header=False)
            return
        table = parquet.read_table(file)
        cells = [_words(table.column(name)) if name in table.column_names else pa.nulls(len(table)) for name in columns]
        table = pa.table(cells, names=list(columns))
        try:  # of names and numbers alone nothing needs quotation marks
            csv.write_csv(table, part, csv.WriteOptions(include_header=False, quoting_style="none"))
        except pa.ArrowInvalid:
            csv.write_csv(table, part, csv.WriteOptions(include_header=False, quoting_style="needed"))


def _words(column: Any) -> Any:
    """Return a column in which True and False are written as Python writes them."""
    import pyarrow as pa
    from pyarrow import compute

    return compute.if_else(column, "True", "False") if pa.types.is_boolean(column.type) else column


def _as_parquet(files: Sequence[Path], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = _columns(files)
    mixed = [name for name, types in columns.items() if len(types) > 1]  # values of one target, classes of another
    writer: Any = None
    try:
        for file in files:
            frame = pd.read_parquet(file).reindex(columns=list(columns))
            frame = frame.astype(dict.fromkeys(mixed, str))
            table = pa.Table.from_pandas(frame, schema=writer.schema if writer else None, preserve_index=False)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
