"""Write docs/results.md, and tables of README.md and of pages here, from the results of the benchmarks.

    python docs/make_results.py

Every benchmark prints its committed results with ``--report``; the page is what they print, in the order below. So no
figure is typed. A test fails while a page is not what this writes.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = REPOSITORY / "benchmarks"
DOCS = Path(__file__).parent
READMES = [REPOSITORY / "README.md", REPOSITORY / "README.ja.md"]
PAGE = DOCS / "results.md"
SCRIPTS = (
    *("strategies", "held_out", "two_levels", "moments", "time_to_accuracy", "step_time", "store", "reading_speed"),
    *("audit_rules", "real_alarms", "frame_cases", "first_looks", "table_audit"),
    *("active", "selection"),
    *("hostile", "faults"),
    *(
        "formula_folds",
        "learning_curves",
        "formula_strategies",
        "measured",
        "measured_tables",
        "in_context",
        "fewshot",
        "prompts",
        "domain",
        "suggest",
        "formula_speed",
        "large_table",
    ),
    *("objective_weights", "objectives", "intervals", "uncertainty"),
)
PLACED = {
    "active.md": ("active", "selection"),
}
"""Pages of this folder, and the benchmarks whose tables stand in them between two comments."""
CARD = REPOSITORY / "src" / "matgraft" / "formulas" / "composition_weights" / "card.json"
NEQUIX = {"Si": "nequix:nequix-omat-1", "Mo": "nequix:nequix-oam-1"}
TENSORNET = "matgl:TensorNet-MatPES-PBE-v2025.1-PES"
FITS = {
    "CHGNet, 3 minutes of one core": ({"Si": "chgnet:0.3.0", "Mo": "chgnet:0.3.0"}, "full", 3.0),
    "TensorNet-MatPES, 3 minutes": ({"Si": TENSORNET, "Mo": TENSORNET}, "full", 3.0),
    "Nequix (OMat, OAM), references shifted": (
        {"Si": "nequix:nequix-omat-1", "Mo": "nequix:nequix-oam-1"},
        "shift",
        None,
    ),
    "Nequix (OMat, OAM), 20 minutes": (NEQUIX, "full", 20.0),
}
"""Words -> foundation of each element, the one of a family that errs less on validation frames; strategy, minutes."""
PUBLISHED = {"gaps": "0.2775 (a submission), 0.331 (CrabNet, tuned)", "steels": "82.3 (auto-sklearn)"}
"""The best on the official folds of Matbench 0.1 that we know of."""

Row = dict[str, Any]


def results_page() -> str:
    """Return docs/results.md."""
    head = (
        "# Results\n\nWritten by `python docs/make_results.py` from `benchmarks/results`: every table is what the "
        "benchmark prints with `--report`. How each is measured, and what it says: "
        "[benchmarks](../benchmarks/README.md).\n"
    )
    return head + "".join(
        f"\n## {title(name)}\n\n`benchmarks/{name}.py`, {dates(name)}.\n\n{printed(name)}"
        for name in SCRIPTS
        if (BENCHMARKS / "results" / f"{name}.json").is_file()
    )


def title(name: str) -> str:
    """Return the first line of a benchmark's docstring."""
    text = ast.get_docstring(ast.parse((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].rstrip(".").replace("`", "")


def dates(name: str) -> str:
    """Return the days of a benchmark's rows."""
    days = sorted({row["date"][:10] for row in rows(name) if "date" in row})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "no date"


def whole(name: str) -> Row:
    """Return a benchmark's results."""
    found: Row = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def rows(name: str) -> list[Row]:
    """Return a benchmark's rows."""
    return list(whole(name)["rows"])


def printed(name: str) -> str:
    """Return what a benchmark prints with ``--report``."""
    argv, path = sys.argv, list(sys.path)
    sys.argv, sys.path[:0] = [name, "--report"], [str(BENCHMARKS)]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as screen:
            runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path
    return screen.getvalue().rstrip() + "\n"


def readme_tables() -> dict[str, str]:
    """Return the tables of each README by the names of their places."""
    return {
        "formulas": table(
            ["mean absolute error", "measured gaps, eV", "steels, MPa", "melting points, K"], formula_rows()
        ),
        "potentials": table(["RMSE, meV/atom and eV/Å", "Si", "Mo"], potential_rows()),
    }


def formula_rows() -> Iterator[list[str]]:
    """Yield a row a way to predict, the newest of each: official Matbench folds, and folds by formula."""
    shipped = json.loads(CARD.read_text(encoding="utf-8"))["weights_sha256"][:12]
    official = [row for row in rows("formula_folds") if row["folds_by"] == "official"]
    found = [row for row in official if row["method"] != "auto" or row["weights_sha256"] == shipped]
    said = {
        "auto": "matgraft",
        "descriptors": "matgraft without the encoder",
        "extra trees": "extra trees on descriptors",
    }
    for method, words in said.items():
        cells = []
        for name, digits in (("gaps", 3), ("steels", 1)):
            newest = max(
                (r for r in found if r["table"] == name and r["method"] == method), key=lambda row: row["date"]
            )
            cells.append(f"{newest['mae']:.{digits}f}")
        (melting,) = (r for r in rows("measured_tables") if (r["table"], r["method"]) == ("melting points", method))
        yield [words, *cells, f"{melting['mae']:.0f}"]
    yield ["published", *PUBLISHED.values(), "–"]


def potential_rows() -> Iterator[list[str]]:
    """Yield foundations with shifted references and after a fit, and the best published potentials."""
    found, published = rows("strategies"), whole("strategies")["published"]
    for words, (foundations, strategy, minutes) in FITS.items():
        yield [words, *(errors(found, foundations[one], strategy, minutes, one) for one in ("Si", "Mo"))]
    for name in ("SNAP", "MTP"):
        theirs = {row["element"]: row for row in published if row["potential"] == name}
        yield [f"{name}, published", *(written(theirs[element]) for element in ("Si", "Mo"))]


def errors(found: Sequence[Row], foundation: str, strategy: str, minutes: float | None, element: str) -> str:
    """Return energy and force errors of the newest row, of fits of so many minutes."""
    own = [
        row
        for row in found
        if (row["foundation"], row["strategy"], row["element"]) == (foundation, strategy, element)
        and minutes in (None, row["max_minutes"])
    ]
    return written(max(own, key=lambda row: row["date"])["test"])


def written(scores: Row) -> str:
    """Return energy and force errors as the table has them."""
    return f"{scores['energy_rmse_meV_per_atom']:.1f} / {scores['forces_rmse_eV_per_A']:.3f}"


def table(header: Sequence[str], lines: Iterator[list[str]]) -> str:
    """Return a markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *lines)) + "\n"


def placed(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with its tables in their places."""
    for name, made in tables.items():
        begin, end = f"<!-- {name}: python docs/make_results.py -->\n", f"<!-- end of {name} -->\n"
        start = text.index(begin) + len(begin)
        text = text[:start] + made + text[text.index(end, start) :]
    return text


def pages() -> dict[Path, str]:
    """Return every page that has tables of results, as it should be."""
    tables = {DOCS / page: {name: below_a_heading(printed(name)) for name in names} for page, names in PLACED.items()}
    tables |= dict.fromkeys(READMES, readme_tables())
    own = {page: placed(page.read_text(encoding="utf-8"), each) for page, each in tables.items()}
    return {PAGE: results_page()} | own


def below_a_heading(text: str) -> str:
    """Return what a benchmark prints with its headings as lines."""
    return re.sub(r"^### (.*)$", r"\1:", text, flags=re.MULTILINE)


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
