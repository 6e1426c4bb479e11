"""A table cut into parts of rows, each of which any process reads by itself.

    table = cut_into_parts(Path("candidates.csv"))        # None: of a kind that is read at once
    table.source(table.parts[7])                  # cells as text; the index holds the lines of the whole file

Text is cut between rows, parquet between batches of its row groups. A part has a hash of its content, by which what was
made of it is found again.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from matgraft.core.errors import DataError
from matgraft.core.frozen import Frozen
from matgraft.core.limits import limits
from matgraft.core.manifest import file_sha256
from matgraft.formulas.table.cell import Mark
from matgraft.formulas.table.opening import marks_of
from matgraft.formulas.table.sources import TableSource, cells_of, source_of

ROWS = 20_000
"""Of a part: seconds of work, and some 20 MB."""
TEXT = (".csv", ".tsv", ".txt")
HEAD_BYTES = 2**20
"""In which the header of a text is looked for."""


class Part(Frozen):
    """Some rows of a table.

    Attributes
    ----------
    first
        Line of its first row.
    rows
        How many; of a text its lines.
    start, stop
        Bytes of a text, rows of parquet.
    group, batch
        Of parquet, its row group and which batch of that.
    sha256
        Of what decides its cells.
    """

    first: int
    rows: int
    start: int
    stop: int
    group: int = 0
    batch: int = 0
    sha256: str


class PartedTable(Frozen):
    """A table and its parts.

    Attributes
    ----------
    head
        Of a text, everything above its first row.
    rows
        Of a part, at most.
    decimal
        What the first rows say of the decimal mark; every part is read by it. None where they do not tell.
    """

    path: Path
    is_parquet: bool
    head: bytes = b""
    rows: int
    decimal: Mark | None = None
    parts: tuple[Part, ...]

    def source(self, part: Part, most: int | None = None) -> TableSource:
        """Read the cells of a part, or of its first rows, `most` of them or a few more."""
        if self.is_parquet:
            cells = cells_of(_batch(self.path, part, self.rows)[:most], part.first)
            return TableSource(cells, decimal=self.decimal)
        with self.path.open("rb") as file:
            file.seek(part.start)
            text = file.read(part.stop - part.start) if most is None else _first(file, part.stop - part.start, most)
        source = source_of(self.head + text, self.path)
        above = self.head.count(b"\n")
        cells = source.cells.set_axis([_moved(line, above, part) for line in source.cells.index])
        faults = tuple(bad.model_copy(update={"line": _moved(bad.line, above, part)}) for bad in source.faults)
        return replace(source, cells=cells, faults=faults, decimal=self.decimal)


def cut_into_parts(path: Path, rows: int = ROWS) -> PartedTable | None:
    """Cut a table into parts; None where it is packed, in sheets, or not in UTF-8, and so is read at once.

    Raises
    ------
    DataError
        If it is no parquet file, though it is called so.
    """
    kind = path.suffix.lower()
    if not path.is_file() or kind not in (*TEXT, ".parquet"):
        return None
    return _parquet(path, rows) if kind == ".parquet" else _text(path, rows)


def _moved(line: int, above: int, part: Part) -> int:
    return int(line) if line <= above else int(line) - above - 1 + part.first


# ------------------------------------------------------------------- text


def _text(path: Path, rows: int) -> PartedTable | None:
    with path.open("rb") as file:
        sample = file.read(HEAD_BYTES)
    if b"\n" not in sample or b"\0" in sample:
        return None
    if len(sample) == HEAD_BYTES:
        sample = sample[: sample.rindex(b"\n") + 1]
    try:
        sample.decode("utf-8")
        source = source_of(sample, path)
    except (UnicodeDecodeError, DataError, csv.Error):
        return None  # whatever is wrong with it, the reader of whole files says it
    if source.cells.empty:
        return None
    above = int(source.cells.index[0]) - 1
    try:
        head, parts = _cut(path, above, rows)
    except UnicodeDecodeError:
        return None
    decimal = marks_of(source).decimal
    return PartedTable(path=path, is_parquet=False, head=head, rows=rows, decimal=decimal, parts=tuple(parts))


def _cut(path: Path, above: int, rows: int) -> tuple[bytes, list[Part]]:
    """Return the lines above the first row, and parts that end where no quotation is open."""
    parts: list[Part] = []
    longest = limits().line_bytes
    with path.open("rb") as file:
        head = b"".join(file.readline(longest) for _ in range(above))
        start = at = len(head)
        line = first = above + 1
        digest, quotes = hashlib.sha256(head), 0
        for text in _lines(file, longest):
            if not text.isascii():
                text.decode("utf-8")
            digest.update(text)
            quotes += text.count(b'"')
            at, line = at + len(text), line + 1
            if line - first >= rows and not quotes % 2:
                parts.append(Part(first=first, rows=line - first, start=start, stop=at, sha256=digest.hexdigest()))
                start, first, digest = at, line, hashlib.sha256(head)
        if at > start:
            parts.append(Part(first=first, rows=line - first, start=start, stop=at, sha256=digest.hexdigest()))
    return head, parts


def _first(file: Any, size: int, most: int) -> bytes:
    """Return the first lines of a part of so many bytes, up to one at which no quotation is open."""
    text = b""
    while len(text) < size and (most > 0 or text.count(b'"') % 2):
        text, most = text + file.readline(), most - 1
    return text


def _lines(file: Any, longest: int) -> Iterator[bytes]:
    while line := file.readline(longest):
        yield line


# ------------------------------------------------------------------- parquet


def _parquet(path: Path, rows: int) -> PartedTable:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(path).metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"not readable as parquet: {error}", where=str(path)) from None
    whole, parts, at = file_sha256(path), [], 0
    for group, count in enumerate(counts):
        for batch, start in enumerate(range(0, count, rows)):
            n = min(rows, count - start)
            digest = hashlib.sha256(f"{whole} {group} {batch} {rows}".encode()).hexdigest()
            parts.append(Part(first=at + 2, rows=n, start=at, stop=at + n, group=group, batch=batch, sha256=digest))
            at += n
    table = PartedTable(path=path, is_parquet=True, rows=rows, parts=tuple(parts))
    decimal = marks_of(table.source(parts[0])).decimal if parts else None
    return table.model_copy(update={"decimal": decimal})


def _batch(path: Path, part: Part, rows: int) -> pd.DataFrame:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for i, batch in enumerate(file.iter_batches(rows, row_groups=[part.group])):
            if i == part.batch:
                return batch.to_pandas()
    raise DataError("the file has changed while it was read", where=str(path), remedy="type the command again")
