"""From a file to its cells: text with any separator and encoding, sheets of Excel, JSON lines, parquet, standard input.

    source = read_source(Path("gaps.xlsx"), sheet="oxides")
    source.cells          # every cell as text; the index holds the lines of the file, of a sheet its rows
    source.decisions      # what was found out: encoding, separator, sheet, comment lines

The content decides what a file is, and the ending of its name where the content does not tell. Nothing is run: macros
and formulas of a sheet are not, and of a formula the value that was stored is taken. `table_bytes` and `table_cells` of
`matgraft.core.limits` bound the work on any file, packed ones too.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import whole
from matgraft.core.limits import limits, require
from matgraft.core.unpack import PACKED, SIGNED, is_packed_bytes, refuse_archive, unpacked
from matgraft.formulas.table.cell import Mark
from matgraft.formulas.table.encodings import decoded
from matgraft.formulas.table.faults import BadCell, Decision
from matgraft.formulas.table.layout import Record, as_table, find_header, is_formula_name

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".tsv", ".txt", ".dat", ".tab")
SHEETS = (".xlsx", ".xlsm")
LINES = (".jsonl", ".ndjson", ".json")
_SURE = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
TYPES = (*_SURE, *(f"{ending}{packed}" for ending in _SURE for packed in PACKED), *SHEETS, ".parquet")
"""Endings that say that a file is a table."""
READABLE = (*TYPES, ".dat", ".tab", ".json", ".xls")
"""Endings that a table may have; of .xls only those that hold text."""
STDIN = Path("-")
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
_BLANKS = {"  ": re.compile(r"\s{2,}|\t"), " ": re.compile(r"\s+")}
"""Separators that are tried where no other fits: two blanks or more, then one."""
_USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
SAMPLE = 300
"""Records on which a separator is chosen."""
MOST_LINES = 100
"""Lines of a cell in quotes."""
_SIGNATURES = (
    (b"PK\x03\x04", "sheets"), (b"PAR1", "parquet"), (b"\xd0\xcf\x11\xe0", "old sheets"),
)  # fmt: skip
_SAVE_AS = "open it in the spreadsheet and save it as .xlsx or as CSV (UTF-8)"
_FRAMES = "save a table as .csv; of frames with DFT labels `matgraft tune FRAMES` takes no --target"


@dataclass(frozen=True, eq=False)
class TableSource:
    """The cells of a file.

    Attributes
    ----------
    cells
        (n, k) text; the index holds the lines.
    decisions
        What was found out.
    faults
        Lines whose cells do not fit the header; they are not among the cells.
    separator
        Of its columns, where it is text.
    decimal
        The decimal mark of the whole file, where these are the cells of a part of it.
    """

    cells: pd.DataFrame
    decisions: tuple[Decision, ...] = ()
    faults: tuple[BadCell, ...] = ()
    separator: str = ""
    decimal: Mark | None = None


def read_source(path: Path, sheet: str | None = None) -> TableSource:
    """Return the cells of a file; ``-`` is standard input.

    Parameters
    ----------
    sheet
        Of a file with sheets.

    Raises
    ------
    DataError
        If it is no table, or larger than the bounds.
    OptionError
        If there is no such sheet, several could be meant, or the file has none.
    """
    if path == STDIN:
        return _read(path, 0, sheet)
    if path.is_dir() or not path.exists():
        raise DataError("there is no such file" if not path.exists() else "this is a folder", where=str(path))
    if not path.is_file():
        raise DataError(
            "it is not a file, but a pipe, a socket or a device", where=str(path), remedy="`-` reads standard input"
        )
    refuse_archive(path.name, b"", str(path))
    if not path.name.lower().endswith(READABLE):
        remedy = _SAVE_AS if path.suffix.lower() in (".ods", ".numbers", ".xlsb") else _FRAMES
        known = [*_SURE, *SHEETS, ".parquet", f"packed text: {', '.join(PACKED)}"]
        raise DataError("not a table of a known type", where=str(path), allowed=known, remedy=remedy)
    return _read(path.resolve(), path.stat().st_mtime_ns, sheet, path)


def source_of(content: bytes, path: Path) -> TableSource:
    """Return the cells of a part of a text file, whose bytes begin with its header; lines count from that."""
    return _of_content(content, path, None)


def keep_stdin(run: Path) -> Path:
    """Write standard input into a file beside a run folder, which a run needs to go on, and return its name."""
    content = _content(STDIN, STDIN)
    kind = next((kind for start, kind in _SIGNATURES if content.startswith(start)), "text")
    endings = {"sheets": ".xlsx", "parquet": ".parquet"}
    ending = endings.get(kind, ".jsonl" if content.lstrip().startswith(b"{") else ".csv")
    run.parent.mkdir(parents=True, exist_ok=True)
    with whole(run.with_name(f"{run.name}-table{ending}")) as part:
        part.write_bytes(content)
    return run.with_name(f"{run.name}-table{ending}")


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, sheet: str | None, name: Path | None = None) -> TableSource:
    """Read a file once, however many targets it has."""
    shown = name or path
    content = _content(path, shown)
    source = _of_content(content, shown, sheet)
    if sheet and not content.startswith(b"PK\x03\x04"):
        raise OptionError(
            "--sheet is not read: the file has no sheets", where=str(shown), remedy="leave the option out"
        )
    return source


def _content(path: Path, shown: Path) -> bytes:
    """Return the bytes of a file, unpacked, up to `table_bytes`."""
    bound = limits().table_bytes
    if path == STDIN:
        content = sys.stdin.buffer.read(bound + 1)
    else:
        with path.open("rb") as file:
            content = file.read(bound + 1)
    return unpacked(content, "table_bytes", str(shown))


def _of_content(content: bytes, path: Path, sheet: str | None) -> TableSource:
    kind = next((kind for start, kind in _SIGNATURES if content.startswith(start)), "text")
    endings = [one.lower() for one in path.suffixes[-2:]]
    ending = next((one for one in (*TEXT, *LINES) if one in endings), path.suffix.lower())
    if kind == "old sheets":
        raise DataError("a workbook of an old format (.xls)", where=str(path), remedy=_SAVE_AS)
    if is_packed_bytes(content):
        raise DataError("a packed file inside a packed file", where=str(path), remedy="unpack it")
    if kind == "text":
        refuse_archive("", content[:SIGNED], str(path))
    if kind == "sheets":
        from matgraft.formulas.table.workbook import read_workbook

        records, decisions = read_workbook(content, path, sheet)
        return _told_kind(_tabled(records, path, decisions), kind, ending in SHEETS, path)
    if kind == "parquet":
        return _told_kind(TableSource(_parquet(content, path)), kind, ending == ".parquet", path)
    if path.suffix.lower() in (*SHEETS, ".parquet"):
        raise DataError(
            f"no file of type {path.suffix}", where=str(path), remedy="name it .csv if it is text; else save it again"
        )
    return _of_text(content, path, ending)


def _told_kind(source: TableSource, kind: str, is_usual: bool, path: Path) -> TableSource:
    told = () if is_usual or path == STDIN else (Decision(code="format", value=kind),)
    return replace(source, decisions=(*told, *source.decisions))


def _of_text(content: bytes, path: Path, ending: str) -> TableSource:
    text, decisions = decoded(content, path)
    start = text.lstrip()[:200].lower()
    if start.startswith("version https://git-lfs"):
        raise DataError("a pointer of Git LFS, not the file", where=str(path), remedy="git lfs pull")
    if start.startswith(("<!doctype", "<html", "<table", "<?xml")):
        raise DataError("a page of the web, not a table", where=str(path), remedy=_SAVE_AS)
    is_json = ending in LINES or (path == STDIN and start.startswith(("{", "[{")))
    if is_json:
        from matgraft.formulas.table.json_lines import read_json_cells

        return TableSource(read_json_cells(text, path), decisions)
    if not text.strip():
        raise DataError("not readable as a table: it is empty", where=str(path))
    found = _chosen(text.split("\n"), ending)
    source = _tabled(found.records, path, (*decisions, *found.decisions))
    return replace(source, separator=found.separator)


def _tabled(records: Sequence[Record], path: Path, decisions: Sequence[Decision]) -> TableSource:
    _refuse_large(len(records), max((len(record.cells) for record in records), default=0), path)
    cells, told, faults = as_table(records, path)
    return TableSource(cells, (*decisions, *told), faults)


def _refuse_large(rows: int, columns: int, path: Path) -> None:
    require("table_cells", rows * columns, f"cells in {rows:,} rows of {columns} columns", str(path))


# ------------------------------------------------------------------- text


@dataclass(frozen=True)
class _Text:
    """Records of a text by one separator."""

    records: tuple[Record, ...]
    separator: str = ""
    decisions: tuple[Decision, ...] = ()


def _chosen(lines: list[str], ending: str) -> _Text:
    """Split a text by the separator under which its lines agree."""
    comments = _comments(lines)
    body = len(comments)
    usual = _USUAL.get(ending, "")
    tried = {sign: _sampled(lines, body, sign) for sign in SEPARATORS}
    scores = {sign: _score(sample, sign == usual) for sign, sample in tried.items()}
    separator = max(scores, key=lambda sign: scores[sign])
    if scores[separator][0] == 0 and _is_one_column(tried[separator]):
        separator = usual or ","
    elif scores[separator][0] == 0:
        split_by = {sign: _sampled(lines, body, sign) for sign in _BLANKS}
        blank = {sign: _score(sample, False) for sign, sample in split_by.items()}
        best = max(blank, key=lambda sign: blank[sign])
        separator = best if blank[best][0] else usual or ","
    records = tuple(_records(lines, body, separator))
    told = (
        [Decision(code="comments", count=sum(bool(line.strip()) for line in comments))]
        if any(map(str.strip, comments))
        else []
    )
    if (
        separator != usual
        and any(len(record.cells) > 1 for record in records[:SAMPLE])
        and not (ending not in _USUAL and separator == "\t")
    ):
        told.append(Decision(code="separator", value=SEPARATORS.get(separator, "blanks")))
    header = _header_in_comment(comments, records, separator)
    if header is not None:
        records = (header, *records)
        told.append(Decision(code="header", value=", ".join(header.cells)[:100]))
    return _Text(records, separator, tuple(told))


def _is_one_column(sample: Sequence[Record]) -> bool:
    """Say whether the first line is the name of a column of formulas, and no more: blanks below it part nothing."""
    return bool(sample) and len(sample[0].cells) == 1 and is_formula_name(sample[0].cells[0])


def _comments(lines: list[str]) -> list[str]:
    """Return the lines above the header that are comments or blank."""
    for i, line in enumerate(lines):
        start = line.lstrip().lstrip('"')
        if start and not start.startswith(("#", "//", "!")) and not re.match(r"%\s", start):
            return lines[:i]
    return []


def _header_in_comment(comments: list[str], records: Sequence[Record], separator: str) -> Record | None:
    """Return the last comment as a header, where it has as many cells as the rows and the first row holds numbers."""
    if not comments or not records:
        return None
    (last, *_) = [*_records([comments[-1].lstrip().lstrip("#/!%").strip()], 0, separator), Record(0, ())]
    first = records[0].cells
    if len(last.cells) < 2 or len(last.cells) != len(first) or not any(_is_number(cell) for cell in first):
        return None
    return None if any(_is_number(cell) for cell in last.cells) else Record(len(comments), last.cells)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?\s*", text) is not None


def _sampled(lines: list[str], start: int, separator: str) -> list[Record]:
    found = []
    for record in _records(lines[: start + 2 * SAMPLE], start, separator, strict=False):
        found.append(record)
        if len(found) == SAMPLE:
            break
    return found


def _score(sample: Sequence[Record], is_usual: bool) -> tuple[float, float, float, float, int]:
    """Return how well a separator fits: a known header, an early one, lines that agree, the usual sign, columns."""
    counts = Counter(len(record.cells) for record in sample if len(record.cells) > 1)
    if not counts:
        return (0, 0, 0, 0, 0)
    most = max(counts, key=lambda n: (counts[n], n))
    at, known = find_header(sample, most)
    agree = sum(len(record.cells) == most for record in sample[at:]) / max(1, len(sample) - at)
    if agree < 0.5 or at > 30:
        return (0, 0, 0, 0, 0)
    return (1 + known, -at, round(agree, 1), float(is_usual), most)


def _records(lines: list[str], start: int, separator: str, *, strict: bool = True) -> Iterator[Record]:
    """Yield records with the number of their first line; blank lines are passed over."""
    if separator in _BLANKS:
        for number, line in enumerate(lines[start:], start + 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield Record(number, tuple(_BLANKS[separator].split(line.strip())))
        return
    reader = csv.reader((line + "\n" for line in lines[start:]), delimiter=separator, skipinitialspace=True)
    before = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if strict:
                where = f"line {start + before + 1}"
                raise DataError(f"not readable as a table: {error}", where=where) from None
            return
        number, used, before = start + before + 1, reader.line_num - before, reader.line_num
        if used > MOST_LINES and strict:
            raise DataError("a quotation mark is not closed", where=f"line {number}", remedy="close it, or remove it")
        if any(map(str.strip, cells)):
            yield Record(number, tuple(cells))


# ------------------------------------------------------------------- parquet


def _parquet(content: bytes, path: Path) -> pd.DataFrame:
    """Return the cells of a parquet file; a missing value is an empty cell, as in CSV."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(io.BytesIO(content))
        texts = [
            field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        # What repeats is kept once: a text of 1 MB in a million rows would be 1 TB.
        file = parquet.ParquetFile(io.BytesIO(content), read_dictionary=texts)
        _refuse_large(file.metadata.num_rows, file.metadata.num_columns, path)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        require("table_bytes", size, "bytes, unpacked", str(path))
        table = file.read()
        longest = max((len(text) for name in texts for text in _distinct(table.column(name))), default=0)
        require("table_bytes", longest * table.num_rows, "bytes in its longest text, repeated in every row", str(path))
        return cells_of(table.to_pandas(), 2)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"not readable as parquet: {error}", where=str(path)) from None


def cells_of(table: pd.DataFrame, first: int) -> pd.DataFrame:
    """Return rows of a parquet file as text, the first of them in line `first`: the header is line 1."""
    import pandas as pd

    cells = table.reset_index(drop=not any(table.index.names))
    cells.columns = [str(name) for name in cells.columns]
    cells.index = pd.RangeIndex(first, first + len(cells))
    return cells.astype(object).where(cells.notna(), "").astype(str)


def _distinct(column: Any) -> Iterator[str]:
    """Walk over the texts of a column, each of them once or a few times."""
    return (text for part in column.chunks for text in part.dictionary.to_pylist() if text is not None)
