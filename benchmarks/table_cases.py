"""What is read of tables that people have, and what is refused with which meaning, against what is true.

    python benchmarks/table_cases.py
    python benchmarks/table_cases.py --report

Files of ``../shared/data/cases/tables`` are read as `matgraft tune` reads them, column by column; nothing is fitted.
`CASES` says what is true of each: from the README of the cases. Options that an error prints are typed until none is
left. The first reading is what a user sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from common import HERE, RESULTS, Results, Row, judge_cases, sentence, show

from matgraft.core.errors import MatgraftError
from matgraft.core.options import shell
from matgraft.formulas.settings import TableRun
from matgraft.formulas.table.faults import sentences
from matgraft.formulas.table.formula_table import FormulaTable

SHARED = HERE.parents[1] / "shared" / "data" / "cases" / "tables"
ROUNDS = 3
"""Times that a printed option is typed."""
FLAGS = {"--skip-bad": "skip_bad", "--impute": "impute", "--composition": "composition", "--weight": "weight"}
LISTS = {"--classes": "classes", "--order": "order", "--covariate": "covariates"}


@dataclass(frozen=True)
class Case:
    """What is true of a column of a file.

    Attributes
    ----------
    rows
        With a value, in the first reading; None where it must be refused.
    said
        Words of the error, or of what is told.
    first
        The first value.
    before
        What version 298fc34 did, where that was wrong.
    """

    file: str
    target: str = "gap"
    rows: int | None = None
    said: str = ""
    first: float | None = None
    before: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


def _numbers() -> Iterator[Case]:
    told = {"unit": "eV", "thousand": "thousands", "unicode_minus": "Unicode", "x10": "powers of ten"}
    first = {"unit": 4.54, "thousand": 4540.0, "unicode_minus": -3.08, "x10": 0.117, "sci": 0.117, "hform": -3.078}
    for name in ("sigma", "sigma0", "hform", "unit", "thousand", "unicode_minus", "sci", "x10", "int01"):
        before = "holds 54 different words" if name in told else ""
        yield Case("c13_numbers.csv", name, 60, told.get(name, ""), first.get(name), before)
    refused = {
        "lt": "limit",
        "pm": "uncertainty",
        "range": "range",
        "tilde": "approximate",
        "inf": "not a finite number",
    }
    for name, said in refused.items():
        yield Case("c13_numbers.csv", name, None, said, before="holds 54 different words" * (name != "inf"))
    yield Case("c13_numbers.csv", "const", None, "one value only", before="better than trees")


def _classes() -> Iterator[Case]:
    yield Case("c12_classes.csv", "order", None, "a class, or no value", before="32 of 60 rows vanish")
    yield Case("c12_classes.csv", "amorphous", None, "a class, or no value", before="23 of 60 rows vanish")
    yield Case("c12_classes.csv", "phase", 60, "--classes 1,2,3")
    yield Case("c12_classes.csv", "yn", 60, "capitals alone", before="no row of class 0")
    yield Case("c12_classes.csv", "rare", None, "'rare' (1 rows", before="no row of class 0")
    yield Case("c12_classes.csv", "imb1", None, "'pos' (1 rows", before="no row of class 0")
    yield Case("c12_classes.csv", "metal", 58)
    yield Case("c12_classes.csv", "metal10", 60)
    yield Case("c12_classes.csv", "imb", 60)
    yield Case("c12_classes.csv", "phase12", 60)


def _formulas() -> Iterator[Case]:
    read = {"a_fraction": "", "e_charge": "charge", "h_zerowidth": "invisible", "i_quotes": "quotes",
            "j_polymer": "repeat sign", "l_fullwidth": ""}  # fmt: skip
    for name, said in read.items():
        yield Case(f"c23{name}.csv", rows=20, said=said, first=4.54, before="refused")
    yield Case("c23d_hyphen.csv", said="without amounts", before="refused at its first hyphen")
    yield Case("c23g_cyrillic.csv", said="likely CoO", before="refused, without the reading")
    yield Case("c19_uppercase.csv", said="likely AlF3", before="read as N, I and O")
    yield Case("c19b_lowercase.csv", said="likely AlF3", before="refused at the first")
    yield Case("c21_roman.csv", rows=30, said="oxidation state", before="iodine")
    yield Case("c22_zero_for_O.csv", said="likely Al2O3", before="H20 and Al203 read as they stand")


CASES = (
    Case("c01_semicolon_comma.csv", "Bandlücke", 60, "decimal point", 4.54, "refused"),
    Case("c01b_semicolon_point.csv", rows=60, said="semicolons", first=4.54, before="refused"),
    Case("c02_utf16.csv", rows=60, said="UTF-16", first=4.54, before="refused"),
    Case("c03b_utf8_japanese.csv", "バンドギャップ(eV)", 60, first=4.54, before="no column of formulas"),
    Case("c04_bom.csv", rows=60, first=4.54),
    Case("c05_latin1.csv", rows=60, said="Latin-1", first=4.54, before="refused"),
    Case("c06_comments.csv", rows=60, said="comment", first=4.54, before="refused"),
    Case("c07_colnames_blank.csv", "band gap", 60, "Band gap (eV)", 4.54, "no column"),
    Case("c08_table.xlsx", rows=60, first=4.54, before="not of a known type"),
    Case("c09_txt.txt", rows=60, first=4.54, before="not of a known type"),
    Case("c10_crlf_blank_lines.csv", rows=60, first=4.54),
    Case("c11_nan_formula.csv", rows=58, first=4.54),
    Case("c14_outlier.csv", rows=60, first=4.54),
    Case("c15_duplicates_papers.csv", rows=120, first=3.13),
    Case("c16_20rows.csv", rows=20, first=4.54),
    Case("c16_5rows.csv", rows=5, first=4.54),
    Case("c17_covariates.csv", rows=118, said="left out", before="refused",
         options={"--covariate": "T_missing,method_missing"}),
    Case("c17_covariates.csv", rows=120, said="the unit K", before="words", options={"--covariate": "TK"}),
    Case("c17_covariates.csv", said="covariate as well", before="error 0.0005", options={"--covariate": "gap"}),
    Case("c18_wtpercent_columns.csv", "yield_MPa", None, "per cent of weight or of atoms",
         before="no column of formulas"),
    Case("c18_wtpercent_columns.csv", "yield_MPa", 60, "in wt%", 1297.0, options={"--composition": "wt%"}),
    *_classes(), *_numbers(), *_formulas(),
)  # fmt: skip


def judged(case: Case) -> Row:
    """Return what is read and said of a column, and in what that departs from what is true."""
    begun = perf_counter()
    read, error = _read(case, case.options)
    typed, last = _answered(case, error)
    told = " ".join(sentences(read.decisions)) if read else ""
    said = str(error).replace(f"{SHARED}/", "") if error else told
    row = {
        "rows": len(read.values) if read else None,
        "first": float(read.values[0]) if read and not read.classes else None,
        "classes": list(read.classes) if read else [],
        "told": told,
        "refused": said.splitlines()[0] if error else "",
        "typed": [shell(one) for one in typed],
        "open": last is not None,
    }
    wrong = list(_departures(case, row, said))
    name = f"{case.file} {case.target} {shell(case.options)}".strip()
    return {"case": name, **row, "wrong": wrong, "seconds": round(perf_counter() - begun, 2), "before": case.before}


def _read(case: Case, options: Mapping[str, object]) -> tuple[FormulaTable | None, MatgraftError | None]:
    settings = {FLAGS[name]: value for name, value in options.items() if name in FLAGS}
    settings |= {LISTS[name]: tuple(str(value).split(",")) for name, value in options.items() if name in LISTS}
    try:
        return TableRun(table=str(SHARED / case.file), targets=(case.target,), **settings).read(case.target), None
    except MatgraftError as error:
        return None, error


def _answered(case: Case, error: MatgraftError | None) -> tuple[list[Mapping[str, object]], MatgraftError | None]:
    """Type the first option that is printed, until the table is read or nothing is printed."""
    typed: list[Mapping[str, object]] = []
    while error is not None and error.options and len(typed) < ROUNDS:
        typed.append(error.options[0])
        merged = dict(case.options)
        for one in typed:
            merged |= one
        _, error = _read(case, merged)
    return typed, error


def _departures(case: Case, row: Row, said: str) -> Iterator[str]:
    """Say in what a column is read otherwise than is true."""
    if case.rows is None and row["rows"] is not None:
        yield "read, though it must be refused"
    if case.rows is not None and row["rows"] != case.rows:
        yield f"{row['rows']} rows, true are {case.rows}"
    if case.first is not None and row["first"] is not None and abs(row["first"] - case.first) > 1e-9:
        yield f"the first value is {row['first']}, true is {case.first}"
    if case.said not in said:
        yield f"{case.said!r} is not said"


def main() -> None:
    """Judge every file that is there, and print the table."""
    results = Results(RESULTS / "table_cases.json", keys=("case",), head=summary)
    judge_cases(__doc__ or "", results, SHARED, CASES, judged, report)


def summary(rows: list[Row]) -> Row:
    """Return how many columns are read or refused rightly, and how many refusals the printed options cure."""
    refused = [row for row in rows if row["refused"]]
    return {
        "columns": len(rows),
        "right": sum(not row["wrong"] for row in rows),
        "wrong or unclear before": sum(bool(row["before"]) for row in rows),
        "refused": len(refused),
        "of these, cured by what is printed": sum(not row["open"] for row in refused),
    }


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the table."""
    lines = [
        [
            row["case"],
            row["before"] or "right",
            (row["refused"] or row["told"] or f"{row['rows']} rows")[:110],
            "; ".join(row["typed"])[:60],
            "; ".join(row["wrong"]) or "right",
        ]
        for row in rows
    ]
    show("tables that people have", ("case", "before", "now", "typed", ""), lines, as_markdown=as_markdown)
    print(sentence(summary(rows)))


if __name__ == "__main__":
    main()
