"""Records of cells as a table: where the header stands, what lies above and under it, and rows that do not fit it.

    cells, decisions, faults = as_table(records, path)

Above a header stand titles, blank rows and comments, under it a row of units. Names of columns are stripped of blanks;
those that come twice get a number, as pandas gives it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from matgraft.core.errors import DataError
from matgraft.formulas.table.cell import is_unit
from matgraft.formulas.table.faults import BadCell, Decision

if TYPE_CHECKING:
    import pandas as pd

FORMULA_NAMES = ("formula", "composition", "material", "compound", "alloy")
FURTHER_NAMES = (
    "chemical formula", "pretty formula", "formula pretty", "reduced formula", "full formula", "chem formula",
    "molecular formula", "empirical formula", "nominal composition", "chemical composition", "formulas", "compositions",
    "materials", "compounds", "alloys", "formel", "summenformel", "chemische formel", "zusammensetzung", "verbindung",
    "formule", "composé", "fórmula", "formula chimica", "composición", "компонент", "формула", "состав", "化学式",
    "組成式", "組成", "组成", "组成式", "化学组成", "化学組成", "化学組成式", "成分",
    "材料", "材料名", "物質", "物質名", "化合物", "化合物名", "合金", "分子式", "분자식", "화학식", "조성",
)  # fmt: skip
"""What a column of formulas is called beside the names that errors list."""
_KNOWN = frozenset((*FORMULA_NAMES, *FURTHER_NAMES))
_UNIT_BEHIND = re.compile(r"\s*(?:[\[(（][^\[\]()（）]{0,40}[\])）]|(?:/|,|\bin\b)\s*[^\s/,]{1,20})\s*$")


class Record(NamedTuple):
    """A line of a file, or a row of a sheet, as its cells."""

    line: int
    cells: tuple[str, ...]


def plain_name(name: str) -> str:
    """Return what a column is called without capitals, unit, underscores and further blanks: ``band gap``."""
    text = unicodedata.normalize("NFKC", name).strip().strip("\"'").strip()
    without = _UNIT_BEHIND.sub("", text) or text
    return re.sub(r"[\s_]+", " ", without).strip().casefold()


def is_formula_name(name: str) -> bool:
    """Say whether a column of this name holds the formulas."""
    return plain_name(name) in _KNOWN


def find_header(records: Sequence[Record], columns: int) -> tuple[int, bool]:
    """Return where the header stands, and whether it names a column of formulas.

    It is the first record of so many columns; or, among the first 30, the one that names the formulas.
    """
    for i, record in enumerate(records[:30]):
        if len(record.cells) == columns and any(map(is_formula_name, record.cells)):
            return i, True
    for i, record in enumerate(records):
        if len(record.cells) == columns and (columns == 1 or _filled(record) > 1):
            return i, False
    return 0, False


def as_table(records: Sequence[Record], path: Path) -> tuple[pd.DataFrame, tuple[Decision, ...], tuple[BadCell, ...]]:
    """Return cells by columns, with what was decided and the rows that do not fit.

    Raises
    ------
    DataError
        If there is no record.
    """
    import pandas as pd

    records = _without_margins(records)
    if not records:
        raise DataError("not readable as a table: it is empty", where=str(path))
    widths = Counter(len(record.cells) for record in records)
    usual = max(widths, key=lambda n: (widths[n], n))
    at, known = find_header(records, usual)
    if not known and len(records[0].cells) >= usual:
        at = 0
    if not known and usual > 1 and _filled(records[at]) == 1 and len(records) > at + 1:
        at = next((i for i, one in enumerate(records[:30]) if _filled(one) > 1), at)
    if known and len(records) > at + 2 and _is_second_header(records[at + 1], usual):
        at += 1
    header, rows = records[at], list(records[at + 1 :])
    told = [Decision(code="preamble", count=at)] if at else []
    if known and rows and (joined := _joined_header(header, rows[0], rows[1:4])):
        header, rows = Record(header.line, joined), rows[1:]
        told.append(Decision(code="header-rows", value=", ".join(name for name in joined if name)))
    names, doubled = _unique(header.cells)
    if doubled:
        told.append(Decision(code="duplicate-columns", value=", ".join(doubled[:5]), count=len(doubled)))
    if rows and (units := _units(rows[0], rows[1:4], names)):
        told.append(
            Decision(
                code="unit-row",
                value=", ".join(f"{name} in {unit}" for name, unit in units.items()),
                lines=(rows[0].line,),
            )
        )
        names = [
            f"{name} ({units[name]})" if name in units and not _UNIT_BEHIND.search(name) else name for name in names
        ]
        rows = rows[1:]
    rows, again = _without_header(rows, header)
    told += again
    fitting, faults = _fitting(rows, names)
    index = pd.Index([record.line for record in fitting], dtype="int64")
    cells = pd.DataFrame([record.cells for record in fitting], index=index, columns=names, dtype=object)
    return cells, tuple(told), tuple(faults)


def _fitting(rows: Sequence[Record], names: Sequence[str]) -> tuple[list[Record], list[BadCell]]:
    """Return rows as wide as the header, without comments, and those that are wider."""
    fitting: list[Record] = []
    faults: list[BadCell] = []
    for record in rows:
        if len(record.cells) == len(names) and not record.cells[0].lstrip().startswith("#"):  # nearly all
            fitting.append(record)
            continue
        filled = tuple(record.cells)
        while len(filled) > len(names) and not filled[-1].strip():
            filled = filled[:-1]
        if len(filled) > len(names):
            found = f"{len(filled)} cells, where the header has {len(names)}"
            faults.append(
                BadCell(line=record.line, found=found, remedy="put a cell that holds a separator into quotes")
            )
        elif filled[0].lstrip().startswith("#") and not any(cell.strip() for cell in filled[1:]) and len(names) > 1:
            continue  # a comment among the rows
        else:
            fitting.append(Record(record.line, filled + ("",) * (len(names) - len(filled))))
    return fitting, faults


def _is_second_header(record: Record, columns: int) -> bool:
    """Say whether the row under a header is the header proper: it names the formulas, and holds no number."""
    named = any(map(is_formula_name, record.cells)) and len(record.cells) == columns and _filled(record) == columns
    return named and not any(letter.isdigit() for cell in record.cells for letter in cell)


def _joined_header(first: Record, second: Record, behind: Sequence[Record]) -> tuple[str, ...]:
    """Return the names of a header of two rows, such as ``E`` over ``PBE`` and ``HSE``; empty where it is one row.

    The second row goes on where the first is empty or says a name again, and holds words over numbers.
    """
    upper, lower = (tuple(cell.strip() for cell in one.cells) for one in (first, second))
    upper, lower = (one + ("",) * (max(len(upper), len(lower)) - len(one)) for one in (upper, lower))
    places = [i for i, cell in enumerate(lower) if cell]
    is_open = any(not upper[i] or upper.count(upper[i]) > 1 for i in places)
    names_formulas = any(is_formula_name(upper[i]) and lower[i] and lower[i] != upper[i] for i in places)
    words = not any(letter.isdigit() for cell in lower for letter in cell) and not all(
        is_unit(lower[i]) for i in places
    )
    over_numbers = behind and all(
        any(letter.isdigit() for letter in row.cells[i]) for row in behind for i in places
        if i < len(row.cells) and lower[i] != upper[i] and (not upper[i] or upper.count(upper[i]) > 1)
    )  # fmt: skip
    if not (places and is_open and words and over_numbers) or names_formulas:
        return ()
    names = tuple(below or above for above, below in zip(upper, lower, strict=True))
    if len(set(filter(None, names))) == len(list(filter(None, names))):
        return names
    titles, title = [], ""
    for above in upper:
        title = above or title
        titles.append(title)
    return tuple(f"{t} {b}" if b and b != t else a for t, a, b in zip(titles, upper, lower, strict=True))


def _without_header(rows: list[Record], header: Record) -> tuple[list[Record], list[Decision]]:
    """Leave out rows that repeat the header, as tables of several pages have them."""
    plain = [cell.strip() for cell in header.cells]
    start = plain[0] if plain else ""
    alike = (row for row in rows if row.cells and row.cells[0].strip() == start)  # the first cells tell nearly all
    again = [row.line for row in alike if [cell.strip() for cell in row.cells] == plain]
    if not again:
        return rows, []
    told = Decision(code="repeated-header", count=len(again), lines=tuple(again[:10]))
    return [row for row in rows if row.line not in set(again)], [told]


def _filled(record: Record) -> int:
    return sum(bool(cell.strip()) for cell in record.cells)


def _without_margins(records: Sequence[Record]) -> list[Record]:
    """Leave out rows and last columns that are empty throughout, as sheets have them."""
    filled = [record for record in records if any(map(str.strip, record.cells))]
    widest = max((len(record.cells) for record in filled), default=0)

    def holds(i: int) -> bool:
        return any(len(record.cells) > i and record.cells[i].strip() for record in filled)

    first = next(filter(holds, range(widest)), 0)  # of most tables a look at the first row tells it
    last = next(filter(holds, reversed(range(widest))), 0) + 1
    if not first and last >= widest:
        return filled
    return [Record(record.line, record.cells[first:last]) for record in filled]


def _unique(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return names without blanks around them, each once; and those that came again."""
    seen: Counter[str] = Counter()
    found, doubled = [], []
    for i, name in enumerate(names):
        plain = " ".join(name.replace("\ufeff", "").split()) or f"Unnamed: {i}"
        again = f"{plain}.{seen[plain]}" if seen[plain] else plain
        seen[plain] += 1
        found.append(again)
        if again != plain:
            doubled.append(again)
    return found, doubled


def _units(record: Record, behind: Sequence[Record], names: Sequence[str]) -> dict[str, str]:
    """Return units by column, if a row holds units alone and the rows behind it hold numbers there."""
    cells = [cell.strip().strip("[]()") for cell in record.cells]
    empty = ("", "-", "–", "—", "1")
    named = {name: cell for name, cell in zip(names, cells, strict=False) if cell not in empty}
    if not named or not all(is_unit(cell) for cell in named.values()) or not behind:
        return {}
    places = [i for i, cell in enumerate(cells) if cell not in empty]
    numeric = all(
        any(letter.isdigit() for letter in row.cells[i]) for row in behind for i in places if i < len(row.cells)
    )
    return named if numeric else {}
